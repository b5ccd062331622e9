"""Deliveries: data files in folders, read in batches and converted to the types of schema.yaml."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base import console, files
from mlops.base.errors import DataError
from mlops.data import parsing, round_trip
from mlops.data.deriving import Derive, derived
from mlops.data.schema import Schema
from mlops.intake import dialect, tables

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
# Values in a batch, which takes some hundred megabytes as text and typed together.
CELLS = 4_000_000
INTEGERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
BLOCK = 1 << 22  # bytes of CSV that are parsed at once; no row may be longer


@dataclass
class Delivered:
    """The typed rows of a folder, stored in a file, and facts about the delivery.

    `files` maps each file to its number of rows; `unparseable` has an entry per file and column with values of another
    type; `seen` is what the text of each column shows of losses.
    """

    table: tables.Stored
    rows: int = 0
    files: dict[str, int] = field(default_factory=dict)
    unparseable: list[dict[str, Any]] = field(default_factory=list)
    seen: dict[str, round_trip.Seen] = field(default_factory=dict)

    @property
    def losses(self) -> dict[str, list[dict[str, Any]]]:
        """What reading lost, by column: each kind with its rows and one value as it was written and as it was read."""
        found = {name: round_trip.losses(seen) for name, seen in self.seen.items()}
        return {name: [asdict(change) for change in changes] for name, changes in found.items() if changes}

    @property
    def rejected(self) -> int:
        """The number of rows that were left out because a value was not of its type."""
        return sum(self.files.values()) - self.rows


@contextmanager
def collected(folder: Path, schema: Schema, required: list[str], derive: Derive, aside: Path) -> Iterator[Delivered]:
    """Convert all files of a folder, in the order of their names, to typed rows in the temporary Parquet file `aside`.

    `derive` adds the project's own columns. Memory holds one batch at a time. The file `aside` is deleted afterwards.

    Raises:
        DataError: the folder has no file; or a file cannot be read, lacks a `required` column or has an unknown column;
            or every row is rejected.
    """
    delivered = Delivered(tables.Stored(aside))
    paths = present(folder)
    known = {name for path in paths for name in columns(path)} | set(schema.derived)
    try:
        delivered.rows = tables.write_batches(
            aside,
            (
                _completed(table, schema, [name for name in schema.kept if name in known])
                for path in paths
                for table in console.progress(
                    _typed(path, schema, required, derive, delivered), None, f"reading {path.name}"
                )
            ),
        )
        if not delivered.rows:
            found = delivered.unparseable[0]
            raise DataError(
                f"{folder}: all {delivered.rejected} rows have a value that is not of its column's type, such as "
                f"{found['examples'][0]['value']!r} in {found['column']}: correct them, or the type or "
                "`unparseable: reject` in schema.yaml"
            )
        yield delivered
    finally:
        aside.unlink(missing_ok=True)


def _typed(
    path: Path, schema: Schema, required: list[str], derive: Derive, delivered: Delivered
) -> Iterator[pd.DataFrame]:
    """The typed batches of one file; its facts are added to `delivered`."""
    found: dict[str, dict[str, Any]] = {}
    rows = 0
    for raw in batches(path):
        parsed = parsing.parse(raw, schema, str(path), required)
        for name, seen in parsed.seen.items():
            delivered.seen[name] = round_trip.together([delivered.seen.get(name, {}), seen])
        for wrong in parsed.unparseable:
            known = found.setdefault(wrong.column, _nothing(wrong))
            known["count"] += len(wrong.rows)
            places = (int(row) + rows for row in wrong.rows)
            known["examples"] += [
                {"at": row, "value": value} for row, value in zip(places, wrong.values, strict=False)
            ][: parsing.EXAMPLES - len(known["examples"])]
        rows += len(raw)
        yield derived(parsed.table, schema, derive)
    delivered.files[path.name] = rows
    lines = locate(path, [example["at"] for known in found.values() for example in known["examples"]])
    for known in found.values():
        known["examples"] = [{"at": lines.pop(0), "value": example["value"]} for example in known["examples"]]
    delivered.unparseable += found.values()


def _nothing(wrong: parsing.Unparseable) -> dict[str, Any]:
    became = "a rejected row" if wrong.rejected else "missing"
    return {"column": wrong.column, "expected": wrong.type, "count": 0, "became": became, "examples": []}


def _completed(table: pd.DataFrame, schema: Schema, names: list[str]) -> pd.DataFrame:
    """The table with all columns in `names`; a column that only other files have is missing in every row."""
    lacking = {
        name: pd.Series(None, table.index, parsing.DTYPES[schema.columns[name].type])
        for name in names
        if name not in table
    }
    return pd.DataFrame({**table, **lacking}, index=table.index)[names]


def listed(folder: Path) -> list[Path]:
    """The data files of a folder, sorted by name.

    Raises:
        DataError: the folder is missing, or has a file of another kind.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: run `dvc pull` to fetch the data, or put files there and `dvc add` it")
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    for path in paths:
        if not path.name.lower().endswith(ENDINGS):
            raise DataError(f"{path} is none of {', '.join(ENDINGS)}: convert it, or move it elsewhere")
    return paths


def present(folder: Path) -> list[Path]:
    """The data files of a folder, sorted by name; at least one.

    Raises:
        DataError: as `listed`, or the folder has no data file.
    """
    paths = listed(folder)
    if not paths:
        raise DataError(f"{folder} has no data: put a {', '.join(ENDINGS)} file there and `dvc add {folder}`")
    return paths


def columns(path: Path) -> list[str]:
    """The column names of a delivery.

    Raises:
        DataError: the file cannot be read.
    """
    with _errors_as_sentences(path):
        if is_parquet(path):
            import pyarrow.parquet as pq

            return _parquet_names(pq.read_schema(path).names)
        return list(dialect.of(path).names)


def batches(path: Path, wanted: list[str] | None = None, cells: int = CELLS) -> Iterator[pd.DataFrame]:
    """Read one delivery in batches of about `cells` values: CSV as text without any guess, Parquet with its types.

    `wanted` names the columns to read; the default is all. The index of a batch is the row's 0-based position in the
    file.

    Raises:
        DataError: the file has no row, a row has another number of fields, or the content does not fit the file's name.
    """
    start = 0
    rows = max(cells // max(len(wanted or columns(path)), 1), 1)
    with _errors_as_sentences(path):
        for table in _parquet(path, wanted, rows) if is_parquet(path) else _text(path, wanted, rows):
            frame = _frame(table)
            frame.index = pd.RangeIndex(start, start + len(frame))
            start += len(frame)
            yield frame
    if not start:
        raise DataError(f"{path} has a header but no row: at least one row was expected")


def whole(path: Path, wanted: list[str]) -> pd.DataFrame:
    """All rows of the `wanted` columns of one delivery.

    Raises:
        DataError: as `batches`.
    """
    return pd.concat(batches(path, wanted), ignore_index=True)


def locate(path: Path, rows: list[int]) -> list[str]:
    """The places of the rows number `rows` (0-based) in a delivery; for CSV as `file:line`.

    A quoted field may span lines, so the file is read up to the last of these rows.
    """
    if is_parquet(path) or not rows:
        return [f"{path.name}: row {row + 1}" for row in rows]
    lines = islice(dialect.records(path, dialect.of(path)), 1, max(rows) + 2)
    found = {row: line for row, (line, _, _) in enumerate(lines) if row in rows}
    return [f"{path.name}:{found[row]}" for row in rows]


@contextmanager
def _errors_as_sentences(path: Path) -> Iterator[None]:
    """Raise errors of the readers as one sentence about `path`."""
    try:
        yield
    except (ValueError, OSError, EOFError) as error:
        name = "Parquet" if is_parquet(path) else "CSV"
        ragged = None if is_parquet(path) else _ragged(path)
        raise DataError(
            ragged or f"{path} could not be read as {name}: {' '.join(str(error).split())}: export it again"
        ) from None


def select(path: Path, wanted: NDArray[np.bool_], goal: Path) -> None:
    """Write the `wanted` rows (n,) of a delivery to a file of the same kind, unchanged; `goal` may be `path` itself.

    Raises:
        DataError: the delivery does not have n rows.
    """
    with files.written_whole(goal) as part:
        if not is_parquet(path):
            dialect.copy(path, wanted, part)
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        start = 0
        with pq.ParquetFile(path) as file, pq.ParquetWriter(part, file.schema_arrow) as writer:
            for batch in file.iter_batches():
                writer.write_batch(batch.filter(pa.array(wanted[start : start + len(batch)])))
                start += len(batch)


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet by its name; otherwise it is text."""
    return path.name.lower().endswith(".parquet")


def _text(path: Path, wanted: list[str] | None, rows: int) -> Iterator["pa.Table"]:
    import pyarrow as pa
    from pyarrow import csv

    how = dialect.of(path)
    if how.spaced:
        yield from _text_by_csv(path, how, wanted, rows)
        return
    reader = csv.open_csv(
        pa.input_stream(str(path), compression="gzip" if path.name.lower().endswith(".gz") else None),
        csv.ReadOptions(
            block_size=BLOCK,
            column_names=list(how.names),
            skip_rows=how.header,
            encoding=how.encoding.removesuffix("-sig"),  # pyarrow skips the mark by itself
        ),
        csv.ParseOptions(
            delimiter=how.separator,
            quote_char=how.quote or False,
            escape_char=how.escape or False,
            newlines_in_values=True,
        ),
        csv.ConvertOptions(
            column_types=dict.fromkeys(how.names, pa.large_string()),
            include_columns=wanted or [],
            strings_can_be_null=False,
        ),
    )
    waiting: list[pa.RecordBatch] = []
    for batch in reader:
        waiting.append(batch)
        if sum(map(len, waiting)) >= rows:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _text_by_csv(path: Path, how: dialect.Dialect, wanted: list[str] | None, rows: int) -> Iterator["pa.Table"]:
    """The same by Python's own reader: only it accepts blanks between a separator and a quote."""
    import pyarrow as pa

    lines = islice(dialect.records(path, how), 1, None)
    positions = [how.names.index(name) for name in wanted or how.names]
    while some := [fields for _, _, fields in islice(lines, rows)]:
        if any(len(fields) != len(how.names) for fields in some):
            raise ValueError("rows of different lengths")
        arrays = [pa.array([fields[position] for fields in some], pa.large_string()) for position in positions]
        yield pa.table(arrays, names=[how.names[position] for position in positions])


def _ragged(path: Path) -> str | None:
    """A sentence about the first row that has more or fewer fields than the header; None if there is no such row."""
    with suppress(DataError, ValueError, OSError, EOFError):  # as of a damaged file, which is another error
        how = dialect.of(path)
        for row, (line, _, fields) in enumerate(dialect.records(path, how)):
            if row and len(fields) != len(how.names):
                return (
                    f"{path}:{line} has {len(fields)} fields where the header has {len(how.names)}: correct that "
                    f"line, or the quotes around a value that holds {how.separator!r}"
                )
    return None


def _parquet(path: Path, wanted: list[str] | None, rows: int) -> Iterator["pa.Table"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        stored = file.schema_arrow.names
        names = dict(zip(_parquet_names(stored), stored, strict=True))
        chosen = wanted or list(names)
        for batch in file.iter_batches(rows, columns=[names[name] for name in chosen]):
            table = pa.Table.from_batches([batch]).select([names[name] for name in chosen])
            yield pa.table([_plain(column) for column in table.columns], names=chosen)


def _parquet_names(stored: list[str]) -> list[str]:
    """The column names; a column without a name, such as an index that pandas stored, is called `Unnamed: 1` or so."""
    return [
        f"Unnamed: {at}" if name.startswith("__index_level_") else name.strip() or f"Unnamed: {at}"
        for at, name in enumerate(stored)
    ]


def _plain(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """The same values as numbers, truth values, times or text."""
    import pyarrow as pa
    from pyarrow import compute, types

    kind = column.type
    if types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if types.is_decimal(kind) or types.is_uint64(kind):
        return column.cast(pa.large_string())  # read as from CSV, since neither a float nor an int64 holds every digit
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return _decoded(column)
    if types.is_float16(kind):
        return column.cast(pa.float64())
    if types.is_date(kind) or types.is_timestamp(kind):
        # Times with a zone become UTC, as everywhere in this project.
        return column.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.timestamp("us"))
    if types.is_duration(kind):
        return compute.divide(column.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(pa.float64()), 1e6)
    if types.is_time(kind):
        return compute.replace_substring_regex(column.cast(pa.large_string()), r"\.0+$", "")
    if types.is_string(kind) or types.is_large_string(kind):
        return column.cast(pa.large_string())
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        return column
    return pa.chunked_array([pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.large_string())])


def _decoded(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Binary values as the text that they are, in UTF-8; what is none as its bytes in hexadecimal digits."""
    import pyarrow as pa

    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid:
        texts = [None if value is None else value.hex() for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.large_string())])


def _frame(table: "pa.Table") -> pd.DataFrame:
    """The table as a data frame in which integers and truth values may be missing."""
    import pyarrow as pa

    nullable: dict[pa.DataType, Any] = {
        pa.large_string(): pd.StringDtype(na_value=np.nan),
        pa.bool_(): pd.BooleanDtype(),
    }
    nullable |= {getattr(pa, name.lower())(): pd.api.types.pandas_dtype(name) for name in INTEGERS}
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get, ignore_metadata=True)
    return frame
