"""Typed tables in Parquet files, read and written whole or in batches, and their schema."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.base import yaml
from mlops.base.errors import SchemaError
from mlops.base.files import unreadable, written_whole
from mlops.data.schema import Schema

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

# Rows of a prepared table in memory at once.
BATCH = 100_000
# Batches of one column from which rows are chosen at once: 40 MB of numbers.
AT_ONCE = 50


def write(path: Path, table: "pd.DataFrame") -> None:
    """Write a typed table as Parquet; the same table gives the same bytes."""
    write_batches(path, [table])


def write_batches(path: Path, tables: Iterable["pd.DataFrame"], *, temporary: bool = False) -> int:
    """Write tables with the same columns, one below the other, as one Parquet file; return its number of rows.

    The same rows give the same bytes, whatever the sizes of the tables. Of a `temporary` file only texts have
    dictionaries: for numbers these take three times as long, and only a file that is kept gains by them.

    Raises:
        ValueError: no table is given.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, writer = 0, None
    with written_whole(path) as part:
        try:
            for table in _equal_batches(tables):
                batch = pa.Table.from_pandas(table, preserve_index=False)
                words = [field.name for field in batch.schema if not _is_number(field.type)]
                writer = writer or pq.ParquetWriter(part, batch.schema, use_dictionary=words if temporary else True)
                writer.write_table(batch)
                rows += len(table)
        finally:
            if writer:
                writer.close()
        if not writer:
            raise ValueError(f"no table was given for {path}")
    return rows


def _is_number(kind: "pa.DataType") -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_temporal(kind))


def _equal_batches(tables: Iterable["pd.DataFrame"]) -> Iterator["pd.DataFrame"]:
    """The same rows in batches of equal size, so that the file does not depend on the sizes of the tables."""
    import pandas as pd

    waiting: list[pd.DataFrame] = []
    first = True
    for table in tables:
        waiting.append(table)
        while sum(map(len, waiting)) >= BATCH:
            joined = pd.concat(waiting, ignore_index=True)
            yield joined.iloc[:BATCH]
            waiting, first = [joined.iloc[BATCH:]], False
    rest = pd.concat(waiting, ignore_index=True) if waiting else None
    if rest is not None and (first or len(rest)):
        yield rest


@cache
def _dtypes() -> dict[Any, Any]:
    """The types of a typed table that pandas, by itself, would not choose for what a Parquet file holds.

    The file's own metadata says the same, but for all columns at once: reading each column by it takes the square of
    their number.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    text = pd.StringDtype(na_value=np.nan)
    return {
        pa.string(): text,
        pa.large_string(): text,
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }


@dataclass(frozen=True)
class Stored:
    """A typed table in a Parquet file; each method reads only the columns that it needs.

    Raises:
        StoreError: the file is missing or not Parquet; the first method that reads it raises this.
    """

    path: Path

    def __getitem__(self, name: str) -> "pd.Series":
        """One column, whole."""
        values = self._file().read([name]).column(name)
        column: pd.Series = values.to_pandas(types_mapper=_dtypes().get)
        return column.rename(name)

    def __contains__(self, name: object) -> bool:
        """Whether the table has a column of that name."""
        return name in self._names

    @property
    def names(self) -> list[str]:
        """The names of the columns, in their order."""
        return list(self._description.schema.names)

    def __len__(self) -> int:
        """The number of rows."""
        return int(self._description.num_rows)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _description(self) -> Any:
        """The metadata at the end of the file, read once for all columns."""
        import pyarrow.parquet as pq

        try:
            return pq.read_metadata(self.path)
        except (OSError, ValueError) as error:
            raise unreadable(self.path, error) from None

    @cached_property
    def _readers(self) -> threading.local:
        return threading.local()

    def _file(self) -> Any:
        """A reader for each thread, since columns are read in parallel; a reader takes time for every column."""
        import pyarrow.parquet as pq

        if not hasattr(self._readers, "file"):
            self._readers.file = pq.ParquetFile(self.path, metadata=self._description)
        return self._readers.file

    def columns(self, names: list[str]) -> "pd.DataFrame":
        """All rows of some columns; without any column, a table of as many rows."""
        import pandas as pd

        rows = pd.RangeIndex(self._description.num_rows)
        return pd.DataFrame({name: self[name] for name in names}, index=rows)

    def batches(self, kept: "NDArray[np.bool_] | None" = None) -> Iterator["pd.DataFrame"]:
        """All columns in batches: all rows or the `kept` rows (n,); the index is the row's position in the file."""
        import pandas as pd

        start, file = 0, self._file()
        # Each group of rows is a batch that `write_batches` wrote; `iter_batches` would hold a wide table whole.
        for group in range(self._description.num_row_groups):
            table: pd.DataFrame = file.read_row_group(group).to_pandas()
            table.index = pd.RangeIndex(start, start + len(table))
            start += len(table)
            yield table if kept is None else table[kept[table.index]]

    def drawn(self, most: int, seed: int) -> "NDArray[np.bool_]":
        """A mask (n,) of `most` rows that are drawn at random by the seed; of all, if the table has no more rows.

        More rows of the same table are those and others, so that two results share as many rows as they can.
        """
        import numpy as np

        kept = np.full(len(self), len(self) <= most)
        if len(self) > most:
            kept[np.random.default_rng(seed).permutation(len(self))[:most]] = True
        return kept

    def sample(self, most: int, seed: int, names: list[str]) -> "pd.DataFrame":
        """At most `most` rows, drawn at random, in their order; those of the named columns that the table has.

        The same table and seed give the same rows.
        """
        import numpy as np

        return self.rows(np.flatnonzero(self.drawn(most, seed)), [name for name in names if name in self])

    def rows(self, places: "NDArray[np.intp]", names: list[str]) -> "pd.DataFrame":
        """The rows at sorted places (m,) of the file, of the named columns; memory holds some batches of one column."""
        import pyarrow as pa

        file, starts = self._file(), self._starts
        schema = file.schema_arrow  # made anew of all columns each time
        parts = [range(first, min(first + AT_ONCE, len(starts) - 1)) for first in range(0, len(starts) - 1, AT_ONCE)]
        ends = places.searchsorted([starts[part.start] for part in parts] + [len(self)])
        found: dict[str, pa.ChunkedArray] = {}
        for name in names:
            taken = []
            for part, first, end in zip(parts, ends, ends[1:], strict=False):
                if first < end:
                    column = file.read_row_groups(list(part), [name]).column(name)
                    taken += column.take(pa.array(places[first:end] - starts[part.start])).chunks
            found[name] = pa.chunked_array(taken, schema.field(name).type)
        table: pd.DataFrame = pa.table(found).to_pandas(types_mapper=_dtypes().get)
        return table

    def shuffled(self, held: int, most: int, seed: "int | list[int]", names: list[str]) -> Iterator["pd.DataFrame"]:
        """All rows in an order that the seed gives, at most `most` at a time; the index is the place in the file.

        Batches from all over the file are read until `held` rows are in memory (one batch at least), and these are put
        in a random order: so rows are mixed in a file that is sorted by something, too.
        """
        import numpy as np

        rng, file, starts = np.random.default_rng(seed), self._file(), self._starts
        groups, at_once = rng.permutation(len(starts) - 1), max(held // BATCH, 1)
        for first in range(0, len(groups), at_once):
            part = groups[first : first + at_once].tolist()
            table: pd.DataFrame = file.read_row_groups(part, names).to_pandas(types_mapper=_dtypes().get)
            table.index = np.concatenate([np.arange(starts[group], starts[group + 1]) for group in part])
            order = rng.permutation(len(table))
            for start in range(0, len(table), most):
                yield table.iloc[order[start : start + most]]

    @cached_property
    def _starts(self) -> list[int]:
        """Where each group of rows begins, and where the last one ends."""
        groups = range(self._description.num_row_groups)
        return [0, *accumulate(self._description.row_group(group).num_rows for group in groups)]

    @cached_property
    def hashes(self) -> "NDArray[np.uint64]":
        """A hash of each row, shape (n,)."""
        import numpy as np

        from mlops.data import digest

        return np.concatenate([digest.row_hashes(batch) for batch in self.batches()])

    def digest(self, kept: "NDArray[np.bool_] | None" = None) -> str:
        """The digest of all rows, or of the `kept` rows (n,), as in `mlops.data.digest`."""
        from mlops.data import digest

        return digest.digest(self.hashes, (self[name] for name in self.names), kept)


def read(path: Path, columns: list[str] | None = None) -> "pd.DataFrame":
    """Read a table that `write` wrote, with its types; all columns, or the named ones.

    Raises:
        StoreError: the file is missing or not Parquet.
    """
    import pandas as pd

    try:
        return pd.read_parquet(path, columns=columns)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def read_schema(path: Path) -> Schema:
    """Read `schema.yaml`.

    Raises:
        SchemaError: the schema contradicts itself or has an unknown name; the sentence names all mistakes.
    """
    content = yaml.read(path)
    if isinstance(content, dict) and "history" in content:
        raise SchemaError(f"{path}: history is unknown: columns that are made of events stand in params.yaml, features")
    return yaml.validate(Schema, content, str(path), SchemaError)
