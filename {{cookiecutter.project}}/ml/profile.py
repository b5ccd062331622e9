"""What is kept of a table to compare later ones with: how each column is distributed, exactly, and mergeable."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
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


MICROSECONDS_A_DAY = 86_400_000_000


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
    def missing_share(self) -> float:
        """Share of the rows without a value; 0 where there are no rows."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def mean(self) -> float | None:
        """The mean of a number; None for a category, or without any value."""
        if self.kind == "category" or not self.given:
            return None
        # Not `values @ counts`: BLAS adds in another order on another number of cores.
        return float(np.sum(self.values * self.counts) / self.given)


Profile = Mapping[str, Distribution]


def profile(table: pd.DataFrame, schema: Schema) -> Profile:
    """The distribution of each feature of a typed table (n rows), and of the target if the table has it."""
    names = [*schema.features, *([schema.target] if schema.target in table else [])]
    columns = [table[name] for name in names]
    kinds = [KIND[schema.columns[name].type] for name in names]
    with ThreadPoolExecutor() as pool:  # sorting, most of the work, is done outside the interpreter's lock
        return dict(zip(names, pool.map(distribution, columns, kinds), strict=True))


def distribution(values: pd.Series, kind: Literal["number", "category"]) -> Distribution:
    """The distribution of one column of n rows."""
    given = values.dropna()
    missing = len(values) - len(given)
    if kind == "category":
        levels = given.astype("str").value_counts(sort=False).sort_index()
        return Distribution(kind, levels.index.to_numpy(dtype=object), levels.to_numpy().astype(np.int64), missing)
    if given.dtype.kind == "M":
        # Not by way of a Timestamp, which is of nanoseconds: "for ever" is often written as the year 9999.
        given = given.astype("datetime64[us]").astype("int64") / MICROSECONDS_A_DAY
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
    """The profile as one long table, to be kept as Parquet.

    For each column a row per value and then one of what is missing: `column` and `kind` (str), `missing` (bool), the
    value as `number` (float64) or `level` (str), and `rows` (int64).
    """
    numbers: list[Any] = []
    levels: list[Any] = []
    rows: list[Any] = []
    for column in profile.values():
        size = len(column.values)
        numbers += [column.values if column.kind == "number" else np.full(size, np.nan), [np.nan]]
        levels += [column.values if column.kind == "category" else np.full(size, None), [None]]
        rows += [column.counts, [column.missing]]
    sizes = [len(column.values) + 1 for column in profile.values()]
    return pd.DataFrame(
        {
            "column": pd.array(list(profile), dtype="str").repeat(sizes),
            "kind": pd.array([column.kind for column in profile.values()], dtype="str").repeat(sizes),
            "missing": np.isin(np.arange(sum(sizes)), np.cumsum(sizes) - 1),
            "number": np.concatenate(numbers),
            "level": pd.array(np.concatenate(levels), dtype="str"),
            "rows": np.concatenate(rows),
        }
    )


def from_frame(frame: pd.DataFrame) -> Profile:
    """The profile that `to_frame` made a table of."""
    profile: dict[str, Distribution] = {}
    ends = np.flatnonzero(frame["missing"]).tolist()
    for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False):
        present, missing = frame.iloc[start:end], frame.iloc[end]
        kind: Literal["number", "category"] = "number" if missing["kind"] == "number" else "category"
        values = present["number"].to_numpy() if kind == "number" else present["level"].to_numpy(dtype=object)
        counts = present["rows"].to_numpy(dtype=np.int64)
        profile[str(missing["column"])] = Distribution(kind, values, counts, int(missing["rows"]))
    return profile
