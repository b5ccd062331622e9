"""What is kept of a table to compare later ones with: how each column is distributed, exactly, and mergeable."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.schema import ColumnType, Schema

KIND: dict[ColumnType, Literal["number", "category"]] = {
    "number": "number",
    "integer": "number",
    "datetime": "number",
    "category": "category",
    "boolean": "category",
}


@dataclass(frozen=True)
class Distribution:
    """The distribution of one column.

    `values` are its different values, sorted: float64 (k,) for a number (a datetime in days since 1970), str objects
    for a category; `counts` int64 (k,) says how often each occurs, `missing` how many rows have none.
    """

    kind: Literal["number", "category"]
    values: NDArray[Any]
    counts: NDArray[np.int64]
    missing: int

    @property
    def given(self) -> int:
        """Rows that have a value."""
        return int(self.counts.sum())

    @property
    def rows(self) -> int:
        """All rows."""
        return self.given + self.missing

    @property
    def mean(self) -> float | None:
        """The mean of a number; None for a category, or without any value."""
        return float(self.values @ self.counts / self.given) if self.kind == "number" and self.given else None


Profile = Mapping[str, Distribution]


def profile(table: pd.DataFrame, schema: Schema) -> Profile:
    """The distribution of each feature of a typed table (n rows), and of the target if the table has it."""
    names = [*schema.features, *([schema.target] if schema.target in table else [])]
    return {name: distribution(table[name], KIND[schema.columns[name].type]) for name in names}


def distribution(values: pd.Series, kind: Literal["number", "category"]) -> Distribution:
    """The distribution of one column of n rows."""
    given = values.dropna()
    missing = len(values) - len(given)
    if kind == "category":
        levels = given.astype("str").value_counts(sort=False).sort_index()
        return Distribution(kind, levels.index.to_numpy(dtype=object), levels.to_numpy(dtype=np.int64), missing)
    if given.dtype.kind == "M":
        given = (given - pd.Timestamp(0)) / np.timedelta64(1, "D")
    numbers, counts = np.unique(given.to_numpy(dtype=np.float64), return_counts=True)
    return Distribution(kind, numbers, counts.astype(np.int64), missing)


def merge(one: Profile, other: Profile) -> Profile:
    """The profile of two tables of the same columns, one below the other, from the profile of each."""
    merged = {}
    for name, first in one.items():
        second = other[name]
        values = np.concatenate([first.values, second.values])
        unique, position = np.unique(values, return_inverse=True)
        counts = np.bincount(position, np.concatenate([first.counts, second.counts]), minlength=len(unique))
        merged[name] = Distribution(first.kind, unique, counts.astype(np.int64), first.missing + second.missing)
    return merged


def to_frame(profile: Profile) -> pd.DataFrame:
    """The profile as one long table, to be kept as Parquet: a row per column and value, and one for what is missing."""
    parts = []
    for name, column in profile.items():
        size = len(column.values)
        is_number = column.kind == "number"
        parts.append(
            pd.DataFrame(
                {
                    "column": pd.Series([name] * (size + 1), dtype="str"),
                    "kind": pd.Series([column.kind] * (size + 1), dtype="str"),
                    "missing": [*([False] * size), True],
                    "number": np.append(column.values if is_number else np.full(size, np.nan), np.nan),
                    "level": pd.Series([*([None] * size if is_number else column.values), None], dtype="str"),
                    "rows": np.append(column.counts, column.missing),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def from_frame(frame: pd.DataFrame) -> Profile:
    """The profile that `to_frame` made a table of."""
    profile = {}
    for name, part in frame.groupby("column", sort=False):
        present = part[~part["missing"]]
        kind: Literal["number", "category"] = "number" if part["kind"].iloc[0] == "number" else "category"
        values = present["number"].to_numpy() if kind == "number" else present["level"].to_numpy(dtype=object)
        missing = int(part.loc[part["missing"], "rows"].iloc[0])
        profile[str(name)] = Distribution(kind, values, present["rows"].to_numpy(dtype=np.int64), missing)
    return profile
