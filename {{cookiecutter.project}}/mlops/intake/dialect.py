"""How a text file is a table: its encoding, its separator and its column names, found in the file itself."""

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product
from pathlib import Path
from typing import IO, Any

from mlops.base.errors import DataError

SAMPLE = 1 << 18  # characters, from which separator and quoting are told
START = 1 << 16  # bytes
ROW_NAMES = 0.99  # a header one name short is a weaker reading than one that fits
SHORT = 1000  # characters, which a field may have in any sample
CHUNK = 1 << 22  # bytes
# Separator, quote, escape, and whether blanks before a quote are no part of the value.
Way = tuple[str, str | None, str | None, bool]
PLAIN = ('"', None, False)
WRAPPED = re.compile(r' +".*"', re.DOTALL)
SEPARATORS = ("\t", ";", "|", ",")  # of two that fit as well, the comma is the one that stands in texts and numbers
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class Dialect:
    """What it takes to read a file: the header begins after `before` lines, the rows after `header` lines.

    `spaced` says that blanks stand between a separator and a quote; `quote` and `escape` are None where there is none.
    """

    encoding: str
    separator: str
    quote: str | None
    escape: str | None
    spaced: bool
    before: int
    header: int
    names: tuple[str, ...]

    def reader(self, file: IO[str]) -> Any:
        """Python's own reader of the rows, which knows the line that it is at."""
        return _reader(file, (self.separator, self.quote, self.escape, self.spaced))


def of(path: Path) -> Dialect:
    """Find out how a CSV or TSV file (gzip by its name) is written.

    Raises:
        DataError: it is no text, or has no header and at least one row.
    """
    state = path.stat()
    with path.open("rb") as file:  # two files of one size can be written within one tick of the clock
        return _of(path, state.st_size, state.st_mtime_ns, file.read(START))


def text(path: Path, encoding: str) -> IO[str]:
    """Open a file as text with its line ends as they are; the caller closes it."""
    return io.TextIOWrapper(_opened(path), encoding=encoding, newline="")


@contextmanager
def writing(path: Path, like: Path, dialect: Dialect) -> Iterator[IO[str]]:
    """A text file to be written as `like`, which is of `dialect`: encoding, compression, what precedes the header.

    The same text gives the same bytes.
    """
    with path.open("wb") as raw:
        zipped = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if like.name.lower().endswith(".gz") else raw
        with (
            io.TextIOWrapper(zipped, encoding=dialect.encoding, newline="") as file,
            text(like, dialect.encoding) as old,
        ):
            file.writelines(islice(old, dialect.before))
            yield file


def records(path: Path, dialect: Dialect) -> Iterator[tuple[int, str, list[str]]]:
    """Each row of a file: the line where it starts, its text with its line end, and its fields; the header comes first.

    Empty lines are no rows.
    """
    taken: list[str] = []

    def taking(lines: IO[str]) -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    with text(path, dialect.encoding) as file:
        for _ in range(dialect.before):
            next(file)
        start = dialect.before + 1
        reader = dialect.reader(taking(file))  # type: ignore[arg-type]
        for fields in reader:
            if fields:
                yield start, "".join(taken), fields
            start += len(taken)
            taken.clear()


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
    separator, sample, before = _announced(sample)
    blanks = (False, True) if any(f'{mark} "' in sample for mark in SEPARATORS) else (False,)
    escapes = (None, "\\") if '\\"' in sample else (None,)
    ways = list(product([separator] if separator else SEPARATORS, ('"', None), escapes, blanks))
    cut = [_rows(sample, way, whole=whole) for way in ways]
    fits = [_fit(rows, len(sample), plain=way[1:] == PLAIN) for rows, way in zip(cut, ways, strict=True)]
    best = fits.index(max(fits))  # of equals the first
    (separator, quote, escape, spaced), rows = ways[best], cut[best]
    if not rows[1:]:
        raise DataError(f"{path} has a header but no row: at least one row was expected")
    header, widths = rows[0], {len(fields) for fields in rows[1:]}
    if len(header) > 1 and widths == {len(header) + 1}:
        # Either a separator ends each row, or the first column, of row names, has none itself (as R writes it).
        header = ["", *header] if any(fields[-1].strip() for fields in rows[1:]) else [*header, ""]
    reader = _reader(io.StringIO(sample, newline=""), ways[best])
    next(fields for fields in reader if fields)
    return Dialect(encoding, separator, quote, escape, spaced, before, before + reader.line_num, _unique(header))


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _encoding(path: Path) -> str:
    """By its mark, else UTF-8 if all of it is valid, else UTF-16 by its zeros, else Windows-1252 or Latin-1."""
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
    decoder = codecs.getincrementaldecoder(encoding)()
    with _opened(path) as file:
        try:
            while chunk := file.read(CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _announced(sample: str) -> tuple[str, str, int]:
    """The separator that a first line `sep=;` names (Excel writes it), the rest, and how many lines that was."""
    first = next(io.StringIO(sample, newline=""))
    named = first.strip("\r\n").strip('"')
    announced = len(named) == len("sep=;") and named.lower().startswith("sep=")
    return (named[-1], sample[len(first) :], 1) if announced else ("", sample, 0)


def _reader(file: IO[str], way: Way) -> Any:
    separator, quote, escape, spaced = way
    csv.field_size_limit(2**31 - 1)
    return csv.reader(
        file,
        delimiter=separator,
        quotechar=quote or '"',
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        escapechar=escape,
        skipinitialspace=spaced,
    )


def _rows(sample: str, way: Way, *, whole: bool) -> list[list[str]]:
    rows = list(_reader(io.StringIO(sample, newline=""), way))
    if not whole and _short(rows[-1], len(sample)):
        rows.pop()  # cut off by the end of the sample, but by no quote that is still open
    return [fields for fields in rows if fields]


def _fit(rows: list[list[str]], size: int, *, plain: bool) -> tuple[float, bool, bool, bool, int]:
    """How well a reading fits, the greater the better.

    How many of the rows have as many fields as the header, a single column being the weakest reading; whether no quote
    was left open, which swallows rows; whether no quotes are left around a value; whether it is the plain one, with
    quotes and without escapes; and how few fields have half a pair of quotes.
    """
    if len(rows) < 2:
        return 0.0, False, False, plain, 0
    bare = not any(WRAPPED.fullmatch(field) for fields in rows for field in fields)
    torn = sum(field.count('"') % 2 for fields in rows for field in fields)
    width, widths = len(rows[0]), [len(fields) for fields in rows[1:]]
    closed = _short(rows[-1], size) and not rows[-1][-1].endswith(("\n", "\r"))
    if width == 1:
        return 0.1 * widths.count(1) / len(widths), closed, bare, plain, -torn
    return (
        max(0.2, max(widths.count(width), ROW_NAMES * widths.count(width + 1)) / len(widths)),
        closed,
        bare,
        plain,
        -torn,
    )


def _short(fields: list[str], size: int) -> bool:
    """Whether a row is no longer than a row may be, in a sample of `size` characters."""
    return max(map(len, fields), default=0) < max(size / 4, SHORT)


def _unique(header: list[str]) -> tuple[str, ...]:
    """Names without blanks around them; nameless columns and later ones of the same name are called as pandas does."""
    names: list[str] = []
    for position, raw in enumerate(header):
        name = base = raw.strip() or f"Unnamed: {position}"
        number = 0
        while name in names:
            number += 1
            name = f"{base}.{number}"
        names.append(name)
    return tuple(names)
