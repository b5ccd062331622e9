"""Deliveries: data files in folders, read in batches."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base import files, names, params
from mlops.base.errors import DataError
from mlops.data import parsing
from mlops.intake import dialect, shapes

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
# Values in a batch, which takes some hundred megabytes as text and typed together.
CELLS = 4_000_000
SELECTED = 65_536  # rows at a time that are copied from one file to another
INTEGERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
BLOCK = 1 << 22  # bytes of CSV that are parsed at once; no row may be longer
CONTROLS = "".join(map(chr, (*range(33), 127)))
SHOWN = 60  # characters of a row in an example
REJECT = "or leave such rows out, counted, with `ragged: reject` below prepare in params.yaml"
Ragged = Literal["refuse", "reject"]


@dataclass(frozen=True)
class Terms:
    """What a person says about text files: the names for one without a header, and what becomes of ragged rows.

    With `reject`, a row with more or fewer values than the header is left out.
    """

    header: tuple[str, ...] = ()
    ragged: Ragged = "refuse"


def terms(header: Iterable[str]) -> Terms:
    """The terms of this project's commands: `prepare.ragged`, and the names for a file without a header."""
    return Terms(tuple(header), params.load(params.Prepare, missing_ok=True).ragged)


@dataclass
class Oddities:
    """Lines of text files that are not as they should be: how many for each reason, and examples."""

    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, path: Path, note: dialect.Note) -> None:
        """Count a line, and keep it as an example of its reason as long as there are few."""
        self.reasons[note.why] += 1
        if self.reasons[note.why] <= parsing.EXAMPLES:
            row = " ".join(note.text.split())
            row = row if len(row) <= SHOWN else f"{row[: SHOWN - 1]}…"
            self.examples.append({"at": f"{path.name}:{note.line}", "why": note.why, "row": row})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"rows": self.reasons.total(), "reasons": dict(self.reasons), "examples": self.examples}

    def sentence(self, verb: str) -> str:
        """How many lines were left out or repaired, and why, each with an example; "" if there were none."""
        first = {example["why"]: example["at"] for example in reversed(self.examples)}
        why = "; ".join(f"{reason} ({count}, {first[reason]})" for reason, count in self.reasons.items())
        return f"{self.reasons.total()} line{'s' * (self.reasons.total() > 1)} {verb}: {why}" if why else ""


@dataclass
class Findings:
    """What was found in the text files of a delivery: lines that were left out, and rows that were repaired."""

    left_out: Oddities = field(default_factory=Oddities)
    repaired: Oddities = field(default_factory=Oddities)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"left_out": self.left_out.as_dict(), "repaired": self.repaired.as_dict()}

    def sentences(self) -> list[str]:
        """What a person should know; nothing if all lines are rows as they should be."""
        return list(filter(None, (self.left_out.sentence("left out"), self.repaired.sentence("repaired"))))


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


def columns(path: Path, terms: Terms = Terms()) -> list[str]:
    """The column names of a delivery.

    Raises:
        DataError: the file cannot be read.
    """
    with errors_as_sentences(path):
        if is_parquet(path):
            import pyarrow.parquet as pq

            return _parquet_names(pq.read_schema(path).names)
        return list(dialect.of(path, terms.header).names)


def batches(
    path: Path,
    wanted: list[str] | None = None,
    cells: int = CELLS,
    terms: Terms = Terms(),
    findings: Findings | None = None,
) -> Iterator[pd.DataFrame]:
    """Read one delivery in batches of about `cells` values: CSV as text without any guess, Parquet with its types.

    `wanted` names the columns to read; the default is all. The index of a batch is the row's 0-based position among the
    rows of the file. What is no row, and what is repaired, is added to `findings`.

    Raises:
        DataError: the file has no row, a row has another number of values, or the content does not fit the file's name.
    """
    start, findings = 0, Findings() if findings is None else findings
    rows = max(cells // max(len(wanted or columns(path, terms)), 1), 1)
    with errors_as_sentences(path):
        for table in _parquet(path, wanted, rows) if is_parquet(path) else _text(path, wanted, rows, terms, findings):
            frame = _frame(table)
            frame.index = pd.RangeIndex(start, start + len(frame))
            start += len(frame)
            yield frame
    if not start:
        raise DataError(f"{path} has a header but no row: at least one row was expected")


def whole(path: Path, wanted: list[str], terms: Terms = Terms(), findings: Findings | None = None) -> pd.DataFrame:
    """All rows of the `wanted` columns of one delivery.

    Raises:
        DataError: as `batches`.
    """
    return pd.concat(batches(path, wanted, terms=terms, findings=findings), ignore_index=True)


def locate(path: Path, rows: list[int], terms: Terms = Terms()) -> list[str]:
    """The places of the rows number `rows` (0-based) in a delivery; for CSV as `file:line`.

    A quoted field may span lines, so the file is read up to the last of these rows.
    """
    if is_parquet(path) or not rows:
        return [f"{path.name}: row {row + 1}" for row in rows]
    lines = (row.line for row, why in dialect.records(path, dialect.of(path, terms.header)) if not why)
    found = {row: line for row, line in enumerate(islice(lines, max(rows) + 1)) if row in rows}
    return [f"{path.name}:{found[row]}" for row in rows]


@contextmanager
def errors_as_sentences(path: Path) -> Iterator[None]:
    """Raise errors of the readers as one sentence about `path`."""
    try:
        yield
    except (ValueError, OSError, EOFError) as error:
        name = "Parquet" if is_parquet(path) else "CSV"
        said = " ".join(str(error).split())
        raise DataError(f"{path} could not be read as {name}: {said}: export it again") from None


def select(path: Path, wanted: NDArray[np.bool_], goal: Path, terms: Terms = Terms()) -> None:
    """Write the `wanted` rows (n,) of a delivery to a file of the same kind, unchanged; `goal` may be `path` itself.

    Raises:
        DataError: the delivery does not have n rows.
    """
    with files.written_whole(goal) as part:
        if not is_parquet(path):
            dialect.copy(path, wanted, part, terms.header)
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        start = 0
        with pq.ParquetFile(path) as file, pq.ParquetWriter(part, file.schema_arrow) as writer:
            for batch in _batches(file, SELECTED):
                writer.write_batch(batch.filter(pa.array(wanted[start : start + len(batch)])))
                start += len(batch)


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet by its name; otherwise it is text."""
    return path.name.lower().endswith(".parquet")


def _text(path: Path, wanted: list[str] | None, rows: int, terms: Terms, findings: Findings) -> Iterator["pa.Table"]:
    """The rows by Arrow; from the first line on that is no row as it should be, by the slower way that tells them."""
    import pyarrow as pa

    how, done = dialect.of(path, terms.header), 0
    note_header(path, terms, findings)
    if how.plain:
        try:
            compression = "gzip" if path.name.lower().endswith(".gz") else None
            for table in by_arrow(pa.input_stream(str(path), compression), how, wanted, rows, how.header):
                if may_have_header(table, how):
                    break
                yield table.select(wanted) if wanted else table
                done += len(table)
            else:
                return
        except pa.ArrowInvalid:
            pass  # it says neither which line it is, nor why
    yield from _by_line(path, how, wanted, rows, done, terms.ragged, findings)


def note_header(path: Path, terms: Terms, findings: Findings) -> None:
    """Add what the lines of a text file above its rows show."""
    how = dialect.of(path, terms.header)
    for note in how.above:
        findings.left_out.add(path, note)
    for note in how.repaired:
        findings.repaired.add(path, note)


def by_arrow(
    stream: Any, how: dialect.Dialect, wanted: list[str] | None, rows: int, header: int
) -> Iterator["pa.Table"]:
    """The rows of CSV as Arrow reads them, at least so many at a time, after so many lines of `header`.

    Besides what is `wanted`, tables have the columns that `may_have_header` looks at.

    Raises:
        ArrowInvalid: a line is no row as it should be.
    """
    import pyarrow as pa
    from pyarrow import csv

    reader = csv.open_csv(
        stream,
        csv.ReadOptions(
            block_size=BLOCK,
            column_names=list(how.names),
            skip_rows=header,
            encoding=how.encoding.removesuffix("-sig"),  # pyarrow skips the mark by itself
        ),
        csv.ParseOptions(delimiter=how.syntax.separator, quote_char=how.syntax.quote or False, newlines_in_values=True),
        csv.ConvertOptions(
            column_types=dict.fromkeys(how.names, pa.large_string()),
            # The first two columns show where the header stands again.
            include_columns=list(dict.fromkeys([*wanted, *how.names[:2]])) if wanted else [],
            strings_can_be_null=False,
        ),
    )
    waiting: list[pa.RecordBatch] = []
    for batch in reader:
        waiting.append(batch)
        if sum(map(len, waiting)) >= rows:
            yield pa.Table.from_batches(waiting).combine_chunks()  # once, and not in each step that follows
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def may_have_header(table: "pa.Table", how: dialect.Dialect) -> bool:
    """Whether a row begins with names of columns, in whatever spelling, as where the header stands again."""
    import pyarrow as pa
    from pyarrow import compute

    def spelled(column: Any) -> Any:
        if compute.all(compute.string_is_ascii(column)).as_py():  # ten times as fast
            return compute.ascii_lower(compute.ascii_trim(column, CONTROLS))
        seen = compute.replace_substring_regex(column, r"[\p{Cc}\p{Cf}]+", "")
        seen = compute.utf8_normalize(compute.replace_substring_regex(seen, r"\pZ", " "), form="NFC")
        return compute.utf8_lower(compute.utf8_trim_whitespace(seen))

    forms = {form for name in how.names for form in (name.lower(), name.casefold())}
    spellings = pa.array(["", *sorted(forms)], pa.large_string())
    found = None
    for name in how.names[:2]:
        named = compute.is_in(spelled(table[name]), spellings)
        found = named if found is None else compute.and_(found, named)
        if not compute.any(found).as_py():
            return False
    return len(how.names) > 1


def _by_line(
    path: Path,
    how: dialect.Dialect,
    wanted: list[str] | None,
    rows: int,
    done: int,
    ragged: Ragged,
    findings: Findings,
) -> Iterator["pa.Table"]:
    """The rows after the first `done` ones; what is no row is left out, or an error if it is to be refused."""
    places = {name: position for position, name in enumerate(how.names)}
    kept: list[list[str]] = []
    for row, why in dialect.records(path, how):
        note = dialect.Note(row.line, why or row.repaired, row.text)
        if why in shapes.RAGGED and ragged == "refuse":
            raise DataError(f"{dialect.ragged(path, row.line, len(row.fields), len(how.names))}; {REJECT}")
        if why:
            findings.left_out.add(path, note)
            continue
        if row.repaired:
            findings.repaired.add(path, note)
        if done:
            done -= 1
            continue
        kept.append(row.fields)
        if len(kept) == rows:
            yield _arrays(kept, wanted, places)
            kept = []
    if kept:
        yield _arrays(kept, wanted, places)


def _arrays(rows: list[list[str]], wanted: list[str] | None, places: dict[str, int]) -> "pa.Table":
    import pyarrow as pa

    columns = list(zip(*rows, strict=True))
    chosen = wanted or list(places)
    return pa.table([pa.array(columns[places[name]], pa.large_string()) for name in chosen], names=chosen)


def _parquet(path: Path, wanted: list[str] | None, rows: int) -> Iterator["pa.Table"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        stored = file.schema_arrow.names
        known = dict(zip(_parquet_names(stored), stored, strict=True))
        chosen = wanted or list(known)
        for batch in _batches(file, rows, [known[name] for name in chosen]):
            table = pa.Table.from_batches([batch]).select([known[name] for name in chosen])
            yield pa.table([_plain(column) for column in table.columns], names=chosen)


def _batches(file: "pq.ParquetFile", rows: int, columns: list[str] | None = None) -> Iterator["pa.RecordBatch"]:
    """At most `rows` rows at a time; where a part of the file's row groups ends, a batch may have fewer.

    Of all row groups at once, `iter_batches` would hold what it has read until its end: a wide table whole.
    """
    part: list[int] = []
    held, last = 0, file.num_row_groups - 1
    for group in range(file.num_row_groups):
        part.append(group)
        held += file.metadata.row_group(group).num_rows
        if held >= rows or group == last:
            yield from file.iter_batches(rows, row_groups=part, columns=columns)
            part, held = [], 0


def _parquet_names(stored: list[str]) -> list[str]:
    """The column names; a column without a name, such as an index that pandas stored, is called `Unnamed: 1` or so."""
    return list(names.unique("" if name.startswith("__index_level_") else name for name in stored))


def from_text(table: "pa.Table") -> pd.DataFrame:
    """The rows (n) of a table that `by_arrow` read."""
    return _frame(table)


def from_arrow(table: "pa.Table") -> pd.DataFrame:
    """A table of Arrow as the same table in a Parquet file is read."""
    import pyarrow as pa

    return _frame(pa.table([_plain(column) for column in table.columns], names=table.column_names))


def _plain(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """The same values as numbers, truth values, times or text."""
    import pyarrow as pa
    from pyarrow import compute, types

    kind = column.type
    if types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if types.is_uint64(kind) or (types.is_decimal(kind) and kind.scale <= 0):
        return column.cast(pa.large_string())  # digits, as in CSV: an int64 does not hold all of them
    if types.is_decimal(kind):
        return column.cast(pa.string()).cast(pa.float64())  # the nearest float, as from CSV
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return _decoded(column)
    if types.is_float16(kind):
        return column.cast(pa.float64())
    if types.is_date(kind) or types.is_timestamp(kind):
        # Times with a zone become UTC, as everywhere in this project.
        zone = getattr(kind, "tz", None)
        try:
            return column.cast(pa.timestamp("us", zone)).cast(pa.timestamp("us"))
        except pa.ArrowInvalid:  # as text, so that what is lost is told as it is of CSV
            return column.cast(pa.timestamp("ns", zone)).cast(pa.timestamp("ns")).cast(pa.large_string())
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
    """Binary values as the text that they are, in UTF-8; bytes that are none stand as Python escapes them."""
    import pyarrow as pa

    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid:
        texts = [None if value is None else value.decode(errors="backslashreplace") for value in column.to_pylist()]
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
