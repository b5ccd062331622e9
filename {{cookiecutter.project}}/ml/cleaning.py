"""Which rows are left out before the split, and what is reported of the data."""

from typing import Any

import pandas as pd

from ml.errors import DataError
from ml.schema import Schema


def without_duplicates(table: pd.DataFrame, schema: Schema, how: str) -> pd.DataFrame:
    """Drop rows that are equal in every column (`drop_rows`) or share their id with a later one (`drop_ids`).

    Of the rows of one id the last stays: the newest, if a column has the role time, else the last delivered.

    Raises:
        DataError: `drop_ids` without a column of the role id.
    """
    if how == "keep":
        return table
    if how == "drop_rows":
        return table[~table.duplicated()]
    ids = schema.with_role("id")
    if not ids:
        raise DataError("prepare.duplicates is drop_ids, but no column has the role id: name one in schema.yaml")
    newest = table.sort_values(schema.with_role("time"), kind="stable") if schema.with_role("time") else table
    return table[~newest.duplicated(subset=ids, keep="last").sort_index()]


def with_target(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Drop the rows without a label: they can neither train nor test.

    Raises:
        DataError: no row is left, or the target has one value only, so that there is nothing to learn.
    """
    labels = table[schema.target]
    if labels.notna().sum() == 0:
        raise DataError(f"the target {schema.target} is missing in all {len(table)} rows: deliver labelled data")
    if labels.nunique() < 2:
        raise DataError(
            f"the target {schema.target} is {labels.dropna().iloc[0]} in every row: deliver data with at least two "
            "different values, or name another target in schema.yaml"
        )
    return table[labels.notna()]


def balance(target: pd.Series) -> dict[str, Any]:
    """How a target is distributed: rows per class, or for a number its mean, spread, least and greatest."""
    if target.dtype in ("float64", "Int64") and target.nunique() > 2:
        numbers = target.astype("float64")
        return {"mean": numbers.mean(), "std": numbers.std(), "min": numbers.min(), "max": numbers.max()}
    return {str(label): int(rows) for label, rows in target.value_counts().sort_index().items()}
