"""The rows to drop before the split, and the facts that are reported about the data."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import DataError
from mlops.data.levels import more_than
from mlops.data.schema import Schema


def labelled(target: pd.Series) -> NDArray[np.bool_]:
    """A mask (n,) of the rows that have a label; a row without a label can neither train nor test a model.

    Raises:
        DataError: no row has a label, or all labels are equal, so that there is nothing to learn.
    """
    if target.notna().sum() == 0:
        raise DataError(f"the target {target.name} is missing in every row ({len(target)}): deliver labelled data")
    if not more_than(target, 1):
        raise DataError(
            f"the target {target.name} is {target.dropna().iloc[0]} in every row: deliver data with at least two "
            "different values, or name another target in schema.yaml"
        )
    return target.notna().to_numpy(dtype=bool)


def distinct(keys: pd.DataFrame, hashes: NDArray[np.uint64], schema: Schema, how: str) -> NDArray[np.bool_]:
    """A mask (n,) of the rows to keep: all (`keep`), one of equal rows (`drop_rows`), or one per id (`drop_ids`).

    `keys` holds the columns of the roles id and time, `hashes` (n,) the hash of each whole row. For each id the newest
    row is kept if a column has the role time, else the row that was delivered last.

    Raises:
        DataError: `how` is `drop_ids`, but no column has the role id.
    """
    if how == "keep":
        return np.ones(len(keys), dtype=bool)
    if how == "drop_rows":
        return ~pd.Series(hashes).duplicated().to_numpy()
    ids = schema.with_role("id")
    if not ids:
        raise DataError("prepare.duplicates is drop_ids, but no column has the role id: name one in schema.yaml")
    newest = keys.sort_values(schema.with_role("time"), kind="stable") if schema.with_role("time") else keys
    return (~newest.duplicated(subset=ids, keep="last")).reindex(keys.index).to_numpy()


def period(keys: pd.DataFrame, schema: Schema) -> dict[str, str] | None:
    """The first and the last time in the rows; None without a column of the role time."""
    names = schema.with_role("time")
    if not names or keys[names[0]].isna().all():
        return None
    known = keys[names[0]].dropna()
    return {"column": names[0], "first": str(known.min()), "last": str(known.max())}


def balance(target: pd.Series) -> dict[str, Any]:
    """The distribution of a target: rows per class, or the mean, spread and range of a number."""
    if target.dtype in ("float64", "Int64") and more_than(target, 2):
        numbers = target.astype("float64")
        return {"mean": numbers.mean(), "std": numbers.std(), "min": numbers.min(), "max": numbers.max()}
    return {str(label): int(rows) for label, rows in target.value_counts().sort_index().items()}
