"""The profile of a table: the distribution of each column, to compare later tables with."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.data.schema import ColumnType, Schema

KIND: dict[ColumnType, Literal["number", "category"]] = {
    "number": "number",
    "integer": "number",
    "datetime": "number",
    "category": "category",
    "boolean": "category",
}


MICROSECONDS_A_DAY = 86_400_000_000
# A column with more different numbers is kept as this many cells of equal weight. That changes the distribution
# function by 1 / MOST_VALUES at most, a ten-thousandth of the gap that counts as drift.
MOST_VALUES = 100_000
# The number of columns that are sorted in parallel, and of their rows: each column takes about five times its size in
# memory.
AT_ONCE = 4
MOST_ROWS = 40_000_000
BLOCK = 1 << 20  # different numbers that are looked at at once


class Columns(Protocol):
    """A table that gives its columns by name: a data frame, or a table in a file."""

    def __getitem__(self, name: str, /) -> pd.Series:
        """The column called `name`."""

    def __contains__(self, name: object, /) -> bool:
        """Whether there is a column called `name`."""

    def __len__(self) -> int:
        """The number of rows."""


@dataclass(frozen=True)
class Distribution:
    """The distribution of one column.

    `values` (k,) are the different values, sorted: float64 for a number (days since 1970 for a datetime), str objects
    for a category. `counts` int64 (k,) are the rows of each value, `missing` is the number of rows without a value.
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
        """The share of rows without a value; 0 if there are no rows."""
        return self.missing / self.rows if self.rows else 0.0

    @property
    def mean(self) -> float | None:
        """The mean of a number; None for a category and for a column without values."""
        if self.kind == "category" or not self.given:
            return None
        # `values @ counts` would use BLAS, which adds in another order on another number of cores.
        return float(np.sum(self.values * self.counts) / self.given)

    @property
    def median(self) -> float | None:
        """The median of a number; None for a category and for a column without values."""
        if self.kind == "category" or not self.given:
            return None
        return float(self.values[np.searchsorted(np.cumsum(self.counts), self.given / 2)])


Profile = Mapping[str, Distribution]


def profile(table: Columns, schema: Schema) -> Profile:
    """The distribution of each feature of a typed table (n rows), and of the target if the table has a target."""
    names = [*schema.features, *([schema.target] if schema.target in table else [])]
    kinds = [KIND[schema.columns[name].type] for name in names]
    # Sorting is most of the work, and runs without the interpreter's lock.
    with ThreadPoolExecutor(max(1, min(AT_ONCE, MOST_ROWS // max(len(table), 1)))) as pool:
        found = pool.map(lambda name, kind: distribution(table[name], kind), names, kinds)
        return dict(zip(names, found, strict=True))


def distribution(values: pd.Series, kind: Literal["number", "category"]) -> Distribution:
    """The distribution of one column of n rows; exact up to 100,000 different numbers."""
    if kind == "category":
        levels = values.value_counts(sort=False)
        levels = levels.set_axis(levels.index.astype("str")).sort_index()
        counts = levels.to_numpy().astype(np.int64)
        return Distribution(kind, levels.index.to_numpy(dtype=object), counts, len(values) - int(counts.sum()))
    given = values.dropna()
    if given.dtype.kind == "M":
        # A Timestamp of nanoseconds cannot hold the year 9999, which often means "for ever".
        given = given.astype("datetime64[us]").astype("int64") / MICROSECONDS_A_DAY
    numbers = given.to_numpy(dtype=np.float64, copy=True)
    del given  # as all that follows, it has the size of the column
    numbers.sort()
    missing = len(values) - len(numbers)
    starts = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)])
    different, rows = numbers[starts], len(numbers)
    del numbers
    return Distribution(kind, *_thinned(different, starts, rows), missing)


def _thinned(
    numbers: NDArray[np.float64], starts: NDArray[np.int64], rows: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The values (k,) of a number and their rows; at most about 100,000 cells, each replaced by its mean.

    `starts` (k,) are the numbers of rows below each value. A value that fills a cell alone gets a cell of its own:
    otherwise its neighbours would move all of its weight. The overall mean stays.
    """
    counts = np.diff(starts, append=rows)
    if len(numbers) <= MOST_VALUES:
        return numbers, counts
    is_first = np.ones(len(numbers), dtype=bool)
    for start in range(1, len(numbers), BLOCK):
        block = slice(start - 1, start + BLOCK)
        cell, heavy = starts[block] * MOST_VALUES // rows, counts[block] * MOST_VALUES >= rows
        is_first[start : start + BLOCK] = (np.diff(cell) > 0) | heavy[1:] | heavy[:-1]
    cells = np.flatnonzero(is_first)
    sizes = np.diff(starts[cells], append=rows)
    return np.add.reduceat(numbers * counts, cells) / sizes, sizes


def to_frame(profile: Profile) -> pd.DataFrame:
    """The profile as one long table, to be written as Parquet.

    Each column has a row per value, then a row for missing values: `column` and `kind` (str), `missing` (bool), the
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
    """The profile from the table of `to_frame`."""
    profile: dict[str, Distribution] = {}
    ends = np.flatnonzero(frame["missing"]).tolist()
    for start, end in zip([0, *(end + 1 for end in ends)], ends, strict=False):
        present, missing = frame.iloc[start:end], frame.iloc[end]
        kind: Literal["number", "category"] = "number" if missing["kind"] == "number" else "category"
        values = present["number"].to_numpy() if kind == "number" else present["level"].to_numpy(dtype=object)
        counts = present["rows"].to_numpy(dtype=np.int64)
        profile[str(missing["column"])] = Distribution(kind, values, counts, int(missing["rows"]))
    return profile
