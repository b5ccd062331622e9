"""The dialect of a text file, found in the file itself: encoding, separator, quotes and column names."""

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice, product
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mlops.base.errors import DataError

SAMPLE = 1 << 18  # characters at the start of a file, in which separator and quotes are found
START = 1 << 16  # bytes at the start of a file, by which a changed file is noticed
ROW_NAMES = 0.99  # weight of rows that have one field more than the header
SHORT = 1000  # characters that a field may have in a sample of any size
CHUNK = 1 << 22  # bytes
# Separator, quote, escape, and whether blanks between a separator and a quote are skipped.
Syntax = tuple[str, str | None, str | None, bool]
PLAIN = ('"', None, False)
WRAPPED = re.compile(r' +".*"', re.DOTALL)
SEPARATORS = ("\t", ";", "|", ",")  # the comma is last: it also stands in texts and numbers
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16: its mark starts with that of UTF-16
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Dialect:
    """How to read a file: `before` lines precede the header, `header` lines precede the first row.

    `spaced` means that blanks stand between a separator and a quote; `quote` and `escape` are None if there is none.
    """

    encoding: str
    separator: str
    quote: str | None
    escape: str | None
    spaced: bool
    before: int
    header: int
    names: tuple[str, ...]


def of(path: Path) -> Dialect:
    """Find the dialect of a CSV or TSV file; a name that ends with .gz means gzip.

    Raises:
        DataError: the file is not text, or lacks a header or a row.
    """
    state = path.stat()
    with path.open("rb") as file:  # within one tick of the clock, two files of the same size can be written
        return _of(path, state.st_size, state.st_mtime_ns, file.read(START))


def text(path: Path, encoding: str) -> IO[str]:
    """Open a file as text and keep its line ends; the caller closes the file."""
    return io.TextIOWrapper(_opened(path), encoding=encoding, newline="")


def copy(path: Path, wanted: NDArray[np.bool_], goal: Path) -> None:
    """Write the header and the `wanted` (n,) rows of a file to `goal`, unchanged; the same rows give the same bytes.

    Raises:
        DataError: the file does not have n rows.
    """
    dialect = of(path)
    with goal.open("wb") as raw:
        packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.name.lower().endswith(".gz") else raw
        with io.TextIOWrapper(packed, encoding=dialect.encoding, newline="") as file:
            try:
                for keep, (_, record, _) in zip(chain([True], wanted), records(path, dialect), strict=True):
                    if keep:
                        file.write(record)
            except ValueError:
                raise DataError(
                    f"{path} has {len(wanted)} rows or another number, depending on how its quotes are read: correct "
                    "the quotes first"
                ) from None


def records(path: Path, dialect: Dialect) -> Iterator[tuple[int, str, list[str]]]:
    """Each row of a file, header first: the line where it starts, its text with its line end, and its fields.

    Empty lines are no rows; the text of a row includes the empty lines, and the line `sep=;`, before it.
    """
    lines: list[str] = []
    with text(path, dialect.encoding) as file:
        lines += islice(file, dialect.before)
        reader = _reader(_noted(file, lines), (dialect.separator, dialect.quote, dialect.escape, dialect.spaced))
        start = 1 + dialect.before
        for fields in reader:
            if fields:
                yield start, "".join(lines), fields
                lines.clear()
            start = 1 + dialect.before + reader.line_num


def _noted(file: IO[str], lines: list[str]) -> Iterator[str]:
    """The lines of a file, each also added to `lines`."""
    for line in file:
        lines.append(line)
        yield line


@lru_cache(maxsize=256)
def _of(path: Path, _size: int, _changed: int, _start: bytes) -> Dialect:
    encoding = _encoding(path)
    with text(path, encoding) as file:
        sample = file.read(SAMPLE)
        whole = not file.read(1)
    if "\0" in sample:
        raise DataError(f"{path} is no text, as CSV is: export it as CSV in UTF-8, or as Parquet")
    if not sample.strip():
        raise DataError(f"{path} is empty: a header line and at least one row were expected")
    separator, sample, before = _named_separator(sample)
    blanks = (False, True) if any(f'{mark} "' in sample for mark in SEPARATORS) else (False,)
    escapes = (None, "\\") if '\\"' in sample else (None,)
    readings = [
        (syntax, _rows(sample, syntax, whole=whole))
        for syntax in product([separator] if separator else SEPARATORS, ('"', None), escapes, blanks)
    ]
    syntax, rows = max(readings, key=lambda reading: _fit(reading[0], reading[1], len(sample)))  # the first of equals
    if not rows[1:]:
        raise DataError(f"{path} has a header but no row: at least one row was expected")
    header, widths = rows[0], {len(fields) for fields in rows[1:]}
    if len(header) > 1 and widths == {len(header) + 1}:
        # Either a separator ends each row, or the first column has row names and no header, as R writes them.
        header = ["", *header] if any(fields[-1].strip() for fields in rows[1:]) else [*header, ""]
    reader = _reader(io.StringIO(sample, newline=""), syntax)
    next(fields for fields in reader if fields)
    return Dialect(encoding, *syntax, before, before + reader.line_num, _unique(header))


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _encoding(path: Path) -> str:
    """The encoding by its mark, else UTF-16 by its zeros, else the first of three that decodes the whole file."""
    with _opened(path) as file:
        start = file.read(CHUNK)
    for mark, encoding in BOMS.items():
        if start.startswith(mark):
            return encoding
    even, odd = start[::2].count(0), start[1::2].count(0)
    if even or odd:
        if min(even, odd) * 20 < max(even, odd) > len(start) / 8:
            return "utf-16-le" if odd > even else "utf-16-be"
        raise DataError(f"{path} is no text, as CSV is: export it as CSV in UTF-8, or as Parquet")
    return next(encoding for encoding in ("utf-8", "cp1252", "latin-1") if _decodes(path, encoding))


def _decodes(path: Path, encoding: str) -> bool:
    try:
        with text(path, encoding) as file:
            while file.read(CHUNK):
                pass
    except UnicodeDecodeError:
        return False
    return True


def _named_separator(sample: str) -> tuple[str, str, int]:
    """The separator that Excel's first line `sep=;` names, the text after this line, and the number of such lines."""
    named = re.match(r'"?sep=([^\r\n])"?(\r\n|\r|\n)', sample, re.I)
    return (named[1], sample[named.end() :], 1) if named else ("", sample, 0)


def _reader(file: Iterable[str], syntax: Syntax) -> Any:
    separator, quote, escape, spaced = syntax
    csv.field_size_limit(2**31 - 1)
    return csv.reader(
        file,
        delimiter=separator,
        quotechar=quote or '"',
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        escapechar=escape,
        skipinitialspace=spaced,
    )


def _rows(sample: str, syntax: Syntax, *, whole: bool) -> list[list[str]]:
    rows = list(_reader(io.StringIO(sample, newline=""), syntax))
    if not whole and _short(rows[-1], len(sample)):
        rows.pop()  # the sample ends within this row; a long row is kept, since it shows a quote that nobody closed
    return [fields for fields in rows if fields]


def _fit(syntax: Syntax, rows: list[list[str]], size: int) -> tuple[float, bool, bool, bool, int]:
    """How well the rows that a syntax makes of a sample of `size` characters fit; the greater, the better.

    In this order: the share of rows with as many fields as the header (a single column counts least); no quote is left
    open, which would swallow rows; no value has quotes around it; quotes are used and escapes are not; few fields have
    an odd number of quotes.
    """
    plain = syntax[1:] == PLAIN
    if len(rows) < 2:
        return 0.0, False, False, plain, 0
    bare = not any(WRAPPED.fullmatch(field) for fields in rows for field in fields)
    odd = sum(field.count('"') % 2 for fields in rows for field in fields)
    width, widths = len(rows[0]), [len(fields) for fields in rows[1:]]
    closed = _short(rows[-1], size) and not rows[-1][-1].endswith(("\n", "\r"))
    even = max(widths.count(width), ROW_NAMES * widths.count(width + 1)) / len(widths)
    share = max(0.2, even) if width > 1 else 0.1 * widths.count(1) / len(widths)
    return share, closed, bare, plain, -odd


def _short(fields: list[str], size: int) -> bool:
    """Whether the fields of a row have a believable length for a sample of `size` characters."""
    return max(map(len, fields), default=0) < max(size / 4, SHORT)


def _unique(header: list[str]) -> tuple[str, ...]:
    """The names without blanks around them; a missing or repeated name becomes what pandas would call the column."""
    names: list[str] = []
    for position, raw in enumerate(header):
        name = base = raw.strip() or f"Unnamed: {position}"
        number = 0
        while name in names:
            number += 1
            name = f"{base}.{number}"
        names.append(name)
    return tuple(names)
