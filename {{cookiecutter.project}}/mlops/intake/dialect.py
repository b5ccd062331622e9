"""The dialect of a text file, found in the file itself: encoding, separator, quotes, names, lines that are no rows."""

import gzip
import io
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice, product, takewhile
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops.base import names
from mlops.base.errors import DataError
from mlops.intake import lines, shapes
from mlops.intake.lines import Row, Syntax

SAMPLE = 1 << 18  # characters at the start of a file, in which separator and quotes are found
LEAST = 20  # rows that a sample holds at least, unless the file has fewer
START = 1 << 16  # bytes at the start of a file, by which a changed file is noticed
ROW_NAMES = 0.99  # weight of rows that have one field more than the header
LEVEL = 20  # rows that are called a total and are none, from which on that is a level
PREAMBLE = 0.9  # weight of rows whose header is not the first line
MISFITS = 0.4  # share of rows with another number of values than the header, above which it is not the header
BLANKS = 0.5  # weight of rows that blanks separate
SHORT = 1000  # characters that a field may have in a sample of any size
# Quotes around a value that has been read: behind blanks, or, where there are no quotes, anywhere.
WRAPPED = {True: re.compile(r' +".*"', re.DOTALL), False: re.compile(r' *".*"', re.DOTALL)}
NOTE = re.compile(r"\([^()]*\)|[^\W\d_]+: .*")  # (12 rows affected), or Source: own
SEPARATORS = ("\t", ";", "|", ",")  # the comma is last: it also stands in texts and numbers


class Note(NamedTuple):
    """A line that is no row, or a row that was repaired: the line's number, why, and the line itself."""

    line: int
    why: str
    text: str


@dataclass(frozen=True)
class Dialect:
    """How to read a file: `header` lines precede the first row.

    `plain` means that Arrow reads all rows as they were meant. `above` and `below` are the lines around the table that
    are no rows, and `totals` the numbers of lines between rows that are none; `repaired` says how the header was read,
    and what row is kept in doubt. `look` is what values look like in each column.
    """

    encoding: str
    newline: str
    syntax: Syntax
    header: int
    names: tuple[str, ...]
    plain: bool
    above: tuple[Note, ...]
    below: tuple[Note, ...]
    repaired: tuple[Note, ...]
    look: shapes.Look
    totals: frozenset[int] = frozenset()


def of(path: Path, header: tuple[str, ...] = ()) -> Dialect:
    """Find the dialect of a CSV or TSV file; a name that ends with .gz means gzip.

    `header` names the columns of a file that has no header.

    Raises:
        DataError: the file is not text, or lacks a header or a row, or it is not clear which line is the header, or
            which lines are rows.
    """
    state = path.stat()
    with path.open("rb") as file:  # within one tick of the clock, two files of the same size can be written
        return _of(path, header, state.st_size, state.st_mtime_ns, file.read(START))


def copy(path: Path, wanted: NDArray[np.bool_], goal: Path, header: tuple[str, ...] = ()) -> None:
    """Write the header and the `wanted` (n,) rows of a file to `goal`, unchanged; the same rows give the same bytes.

    A line that has another number of values goes with the row before it. Any other line that is no row is left out:
    a total of all rows would be none of the rows that are left, and look like a row.

    Raises:
        DataError: the file does not have n rows.
    """
    dialect = of(path, header)
    with goal.open("wb") as raw:
        packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.name.lower().endswith(".gz") else raw
        errors = "surrogateescape" if dialect.encoding.startswith("utf-8") else "strict"
        with (
            io.TextIOWrapper(packed, encoding=dialect.encoding, errors=errors, newline="") as file,
            lines.text(path, dialect.encoding, dialect.newline) as source,
        ):
            file.writelines(islice(source, dialect.header))
            keep, left = True, iter(wanted)
            try:
                for row, why in records(path, dialect):
                    keep = keep if why else next(left)
                    if keep and (not why or why in shapes.RAGGED):
                        file.write(row.text)
            except StopIteration:
                left = iter([True])
            if next(left, None) is not None:
                raise DataError(
                    f"{path} has {len(wanted)} rows or another number, depending on how its quotes are read: correct "
                    "the quotes first"
                )


def records(path: Path, dialect: Dialect) -> Iterator[tuple[Row, str]]:
    """Each row below the header, and why it is no row of the table, or "".

    Raises:
        DataError: another table begins, or it is not clear whether lines are rows or a quoted value.
    """
    width, below = len(dialect.names), {note.line: note.why for note in dialect.below}
    header = [name.casefold() for name in dialect.names]
    again = frozenset(header) if width > 1 and any(map(str.isalpha, "".join(header))) else frozenset()
    other, second = 0, False  # the width of a row below a gap, if it is not that of the table; and of the next one, too
    with lines.text(path, dialect.encoding, dialect.newline) as file:
        deque(islice(file, dialect.header), maxlen=0)
        doubt = partial(_doubt, dialect)
        for row in lines.rows(file, dialect.syntax, dialect.header + 1, doubt=doubt):
            fields, why = row.fields, ""
            if row.repaired == lines.DOUBTFUL:
                last = row.line + len(re.findall(r"\r\n|\r|\n", row.text.strip("\r\n")))
                raise DataError(
                    f"{path}:{row.line} opens a quote that is closed in line {last}, but the lines look like rows of "
                    "their own: delete the quotes if they are; else write that value in a single line"
                )
            if row.line in dialect.totals:
                why = shapes.TOTAL
            elif dialect.below and row.line >= dialect.below[0].line:
                why = below.get(row.line, shapes.BELOW)
            elif len(fields) != width:
                why = shapes.MANY if len(fields) > width else shapes.FEW
            elif any(names.visible(field).casefold() in again for field in fields[:2]):
                found = [name.casefold() for name in names.unique(fields)]
                if found == header:
                    why = shapes.AGAIN
                elif sorted(found) == sorted(header):
                    raise DataError(
                        f"{path}:{row.line} has the header's names in another order: put the rows from there on into a "
                        "file of their own"
                    )
            if row.gap:
                other = len(fields) if why in shapes.RAGGED else 0
            elif why in shapes.RAGGED and len(fields) == other:
                second = True
            if second and not why:
                why = shapes.BELOW
            if row.gap and not why and shapes.is_header(fields, dialect.look):
                raise DataError(
                    f"{path}:{row.line}: another table seems to begin below an empty line: put it into a file of its "
                    "own, or delete the empty line"
                )
            yield row, why


def _doubt(dialect: Dialect, alone: list[list[str]]) -> str:
    """Whether the lines of a quoted value, given the values of each line alone, are rows of their own."""
    quote, blanks = dialect.syntax.quote or "", " " if dialect.syntax.spaced else ""
    bare = [[field.replace(quote, "").lstrip(blanks) for field in fields] for fields in alone]
    likely = shapes.doubt(bare, dialect.look, len(dialect.names))
    return lines.STRAY if likely == 1 else lines.DOUBTFUL if likely else ""


@lru_cache(maxsize=256)
def _of(path: Path, header: tuple[str, ...], _size: int, _changed: int, _start: bytes) -> Dialect:
    marked = lines.marked(path)
    found, head = _table(path, marked or "utf-8", header)
    seen = lines.examine(path, marked, found.syntax, found.newline, head)
    if seen.encoding not in (marked, "utf-8"):
        found, _ = _table(path, seen.encoding, header)
        found = replace(found, repaired=(_guessed(path, seen.encoding, found.newline), *found.repaired))
    found = replace(found, encoding=seen.encoding)
    plain = seen.plain and not (seen.spans and any(row.repaired for row, _ in records(path, found)))
    sums, called = _sums(path, found) if seen.totals else (frozenset(), [])
    found = replace(found, totals=sums)
    below = _below(path, found, seen.end)
    kept = [note for note in called if note.line not in {other.line for other in below}]
    return replace(found, plain=plain and not (below or sums), below=below, repaired=(*found.repaired, *kept))


def _guessed(path: Path, encoding: str, newline: str) -> Note:
    """The first line that shows that a file is not UTF-8, so that a person can see whether the guess is right."""
    with lines.text(path, encoding, newline) as file:
        return next(Note(at, lines.GUESSED, line) for at, line in enumerate(file, 1) if not line.isascii())


def _table(path: Path, encoding: str, header: tuple[str, ...]) -> tuple[Dialect, str]:
    """The dialect as the start of a file shows it, and the text above the first row."""
    sample, whole = _sample(path, encoding)
    if "\0" in sample:
        raise DataError(f"{path} {lines.NO_TEXT}")
    if not sample.strip("\ufeff \r\n"):
        raise DataError(f"{path} is empty: a header line and at least one row were expected")
    newline = "\r" if sample.count("\r") > 2 * sample.count("\n") else "\n"
    physical = re.findall(f"[^{newline}]*{newline}|[^{newline}]+", sample)
    text = [physical[0].lstrip("\ufeff"), *physical[1:]]
    named = re.fullmatch(r'"?sep=([^\r\n])"?[\r\n]*', text[0], re.I)
    readings = [
        (syntax, _rows(text[bool(named) :], syntax, 1 + bool(named), whole=whole))
        for syntax in _syntaxes("".join(text[bool(named) :]), named and named[1])
    ]
    syntax, rows = max(readings, key=lambda reading: _fit(*reading))  # the first of equals
    if not rows[1:]:
        raise DataError(f"{path} has a header but no row: at least one row was expected")
    top = _top(path, rows, header, syntax.quote or '"')
    if not rows[top.rows :]:
        raise DataError(f"{path} has a header but no row: at least one row was expected")
    start = rows[top.rows].line - 1
    look = shapes.look([row.fields for row in rows[top.rows :]], len(top.names))
    dialect = Dialect(encoding, newline, syntax, start, top.names, True, top.above, (), top.repaired, look)
    return dialect, "".join(physical[:start])


def _sample(path: Path, encoding: str) -> tuple[str, bool]:
    """The start of a file, at least some rows of it, and whether that is all of it."""
    with lines.text(path, encoding) as file:
        sample = file.read(SAMPLE)
        while len(re.findall(r"\r\n|\r|\n", sample)) <= LEAST and (more := file.read(len(sample))):
            sample += more
        return sample, not file.read(1)


def _syntaxes(sample: str, named: str | None) -> list[Syntax]:
    """The syntaxes that a sample may have, the usual ones first."""
    found = []
    for separator in [named] if named else [sign for sign in (*SEPARATORS, " ") if sign in sample] or [","]:
        quotes: list[str | None] = ['"', None] if '"' in sample else ['"']
        if (signs := _apostrophes(sample, separator)) != "none":
            quotes = ["'", *(quotes if signs == "some" else [])]
        for quote in quotes:
            escapes = (None, "\\") if quote and f"\\{quote}" in sample else (None,)
            blanks = (False, True) if separator == " " or (quote and f"{separator} {quote}" in sample) else (False,)
            found += [Syntax(separator, quote, *rest) for rest in product(escapes, blanks)]
    return found


def _apostrophes(sample: str, separator: str) -> Literal["none", "some", "most"]:
    """Whether apostrophes are quotes: around values at the end of most lines, separators, or doubled apostrophes."""
    value, sign = r"'(?:[^'\\]|''|\\.)*'", re.escape(separator)
    physical = re.split(r"[\r\n]+", sample.strip("\r\n"))
    ends = re.compile(f"^{value}{sign}|{sign}{value}{sign}?$")
    whole = sum(bool(ends.search(line)) for line in physical)
    around = re.findall(rf"(?:^|{sign})'[^'\r\n]*{sign}[^'\r\n]*'(?={sign}|\r|\n|$)", sample, re.M)
    doubled = re.findall(rf"(?:^|{sign})'(?:[^'\r\n]|'')*[^'\r\n]''(?:[^'\r\n]|'')*'(?={sign}|\r|\n|$)", sample, re.M)
    if whole > len(physical) / 2:
        return "most"
    return "some" if len(around) > 1 or doubled else "none"


def _rows(text: list[str], syntax: Syntax, start: int, *, whole: bool) -> list[Row]:
    """The rows of a sample; the last one is left out if the sample ends within it."""
    longest = lines.LONGEST if whole else max(sum(map(len, text)) // 4, SHORT)
    rows = list(lines.rows(text, syntax, start, longest, cut=not whole))
    return rows if whole else rows[:-1]


def _fit(syntax: Syntax, rows: list[Row]) -> tuple[float, bool, int, bool, int]:
    """How well the rows that a syntax makes of a sample fit; the greater, the better.

    In this order: the share of rows with as many values as the header (a single column counts least); no value has
    quotes around it; few rows have a quote where none has to be; nothing is escaped; few values have an odd number.
    """
    if len(rows) < 2:
        return 0.0, False, 0, False, 0
    width, header = _width(rows), len(rows[0].fields)
    even = sum(len(row.fields) == width for row in rows[1:]) / (len(rows) - 1)
    weight = 1.0 if header == width else ROW_NAMES if header == width - 1 else PREAMBLE
    if syntax.separator == " ":
        weight *= BLANKS
    share = max(0.2, weight * even) if width > 1 else 0.1 * even
    if syntax.quote is None and header != width:
        share = 0.0  # a text in quotes falls into parts, too
    wrapped = WRAPPED[syntax.quote is not None]
    values = [field for row in rows if '"' in row.text for field in row.fields if '"' in field]
    odd = sum(field.count('"') % 2 for field in values)
    stray = sum(row.repaired == lines.STRAY or (syntax.quote is None and '"' in row.text) for row in rows)
    return share, not any(map(wrapped.fullmatch, values)), -stray, syntax[2:] == (None, False), -odd


def _width(rows: list[Row]) -> int:
    """How many values rows have; the header's number, unless twice as many rows have another one."""
    widths = Counter(len(row.fields) for row in rows)
    most, count = max(widths.items(), key=lambda found: (found[1], found[0]))
    header = len(rows[0].fields)
    return header if 2 * widths[header] > count else most


class Top(NamedTuple):
    """The column names; how many rows of a sample are above the first row of the table; those that are left out."""

    names: tuple[str, ...]
    rows: int
    above: tuple[Note, ...]
    repaired: tuple[Note, ...]


def _top(path: Path, rows: list[Row], given: tuple[str, ...], quote: str) -> Top:
    """Find the header among the first rows, and what stands above and below it; `given` are names for no header.

    A stray `quote` is no part of a name.

    Raises:
        DataError: it is not clear which row is the header, or there is none.
    """
    width = _width(rows)
    at, header = _first(path, rows, width)
    above = [Note(row.line, shapes.COMMENT if _is_comment(row) else shapes.ABOVE, row.text) for row in rows[:at]]
    while at + 2 < len(rows) and (rows[at + 1].gap or _is_comment(rows[at])):
        # A title of as many words as there are columns, or a comment of as many parts.
        if not _names_columns(rows, at + 1, width):
            break
        if not shapes.look([row.fields for row in rows[at + 2 :]], width).numbers:
            raise DataError(
                f"{path}:{rows[at + 1].line}: it is not clear whether the header is this line or line {rows[at].line}: "
                "delete the one that is none, or the empty lines between them"
            )
        above.append(Note(rows[at].line, shapes.COMMENT if _is_comment(rows[at]) else shapes.ABOVE, rows[at].text))
        at += 1
        header = rows[at].fields
    row, below = rows[at], [row.fields for row in rows[at + 1 :]]
    misfits = [other for other in rows[at + 1 :] if len(other.fields) != width]
    doubtful = _is_comment(row) and rows[at + 1 :] and misfits[:1] == rows[at + 1 : at + 2]
    if len(row.fields) == width and (doubtful or len(misfits) > MISFITS * len(below)):
        raise DataError(ragged(path, misfits[0].line, len(misfits[0].fields), width))
    is_index = not row.fields[0].strip() and len({fields[0] for fields in below}) == len(below)
    if len(row.fields) == width and not is_index and _is_headerless(row.fields, shapes.look(below, width), given):
        if len(given) != width:
            named = f" ({len(given)} names are given for its {width} columns)" if given else ""
            raise DataError(
                f"{path}:{row.line}: the file seems to have no header{named}, since this line looks like those below "
                "it: put the names of the columns above it, or give them to `schema infer --header`; if it is the "
                "header, give the columns names with letters"
            )
        return Top(names.unique(given), at, tuple(above), ())  # its first row is that of the table
    repaired = []
    if row.repaired == lines.STRAY:
        repaired.append(Note(row.line, row.repaired, row.text))
        header = [field.replace(quote, "") for field in header]
    columns, first = names.unique(header), at + 1
    while first + 1 < len(rows) and names.unique(rows[first].fields) == columns:
        above.append(Note(rows[first].line, shapes.AGAIN, rows[first].text))
        first += 1
    if len(row.fields) < width and not header[0]:
        repaired.append(Note(row.line, "no name above the first values", row.text))
    if _names_columns(rows, first, width) and shapes.is_units(rows[first].fields, shapes.look(below[1:], width)):
        above.append(Note(rows[first].line, shapes.UNITS, rows[first].text))
        first += 1
    if _names_columns(rows, first, width, 2):
        raise DataError(
            f"{path}:{rows[first].line} has words where the rows below it have numbers: if it is a second header line, "
            "join it with the first one; else correct or delete it"
        )
    return Top(columns, first, tuple(above), tuple(repaired))


def _first(path: Path, rows: list[Row], width: int) -> tuple[int, list[str]]:
    """The position of the header, and its values; the first rows above it have other numbers of values.

    Raises:
        DataError: the rows have more or fewer values than the header.
    """
    header = rows[0].fields
    if len(header) == width:
        return 0, header
    others = rows[1:]
    at = next(position for position, row in enumerate(rows) if len(row.fields) == width)
    if len(header) == width - 1 > 1 and {len(row.fields) for row in others} == {width}:
        if not any(row.fields[-1].strip() for row in others):
            return 0, [*header, ""]  # a separator ends each row
        if len({row.fields[0] for row in others}) == len(others) and not _names_columns(rows, 1, width):
            return 0, ["", *header]  # the first column has row names and no header, as R writes them
    single = all(_is_comment(row) or len([field for field in row.fields if field.strip()]) == 1 for row in rows[:at])
    if (single and width > 2) or _names_columns(rows, at, width):
        return at, rows[at].fields
    wrong = next(row for row in others if len(row.fields) != len(header))
    raise DataError(ragged(path, wrong.line, len(wrong.fields), len(header)))


def ragged(path: Path, line: int, found: int, width: int) -> str:
    """A sentence about a row that has another number of values than the header."""
    return (
        f"{path}:{line} has {found} fields where the header has {width}: correct that line, or the quotes around a "
        "value that holds a separator"
    )


def _is_comment(row: Row) -> bool:
    return row.text.lstrip().startswith(("#", "//"))


def _names_columns(rows: list[Row], at: int, width: int, least: int = 1) -> bool:
    """Whether that row has words where the rows below it have numbers; or, below a gap, no level that they have."""
    if at + 1 >= len(rows):
        return False
    table = shapes.look([row.fields for row in rows[at + 1 :]], width)
    fields = rows[at].fields
    judged = bool(table.numbers or rows[at].gap or least > 1)
    return len(fields) == width and judged and shapes.is_header(fields, table, least)


def _is_headerless(fields: list[str], table: shapes.Look, given: tuple[str, ...]) -> bool:
    """Whether the first row is data; where `given` names are as many, it is no header if it has none of them."""
    if len(given) == len(fields) and not set(map(names.visible, fields)) & set(given):
        return not shapes.is_header(fields, table)
    return shapes.is_data(fields, table)


def _below(path: Path, dialect: Dialect, end: str) -> tuple[Note, ...]:
    """The lines below the table, as the `end` of the file lets one suspect."""
    width, blanks = len(dialect.names), dialect.syntax.separator == " "

    def is_note(row: Row) -> bool:  # where blanks separate, a note may have as many words as a row
        return shapes.is_note(row.fields, width) or (blanks and bool(NOTE.fullmatch(row.text.strip())))

    def suspect(row: Row) -> bool:
        return is_note(row) or shapes.says_total(row.fields)

    if not any(map(suspect, list(lines.rows(end.splitlines(keepends=True), dialect.syntax))[-3:])):
        return ()
    last: deque[Row] = deque(maxlen=4)
    last.extend(row for row, why in records(path, dialect) if why not in (shapes.TOTAL, shapes.AGAIN))
    if blanks and len(last) > 1 and all(map(is_note, last)):
        return ()  # all rows are so
    found: list[Note] = []
    tail = list(takewhile(suspect, reversed(last)))
    first = tail[-1].line if tail else 0
    while last:
        row = last.pop()
        if is_note(row):
            found.insert(0, Note(row.line, shapes.BELOW, row.text))
        elif shapes.says_total(row.fields) and (len(row.fields) < width or _is_total(path, dialect, row, first)):
            found.insert(0, Note(row.line, shapes.TOTAL, row.text))
        else:
            break
    rest = (row for row, why in records(path, dialect) if not why and row.line < first)
    if any(shapes.says_total(row.fields) for row in tail) and any(shapes.says_total(row.fields) for row in rest):
        _refuse_subtotals(path, dialect)
    return tuple(found)


def _sums(path: Path, dialect: Dialect) -> tuple[frozenset[int], list[Note]]:
    """The lines that say they are sums and are, of the rows above up to the sum before, or of all rows above.

    The sum of a single row has to be called a sum and no more, or to have a name that this row has. Also the rows that
    are called a total, each the only one of its name, and are none.
    """
    width = len(dialect.names)
    group, whole, rows, total, above = [0.0] * width, [0.0] * width, 0, 0, list[str]()
    sums: dict[int, str] = {}
    kept: dict[str, list[Note]] = {}
    for row, why in records(path, dialect):
        if why:
            continue
        if shapes.names_sum(row.fields):
            label = shapes.label(row.fields)
            named = label in shapes.SUMS or any(f" {name} " in f" {label} " for name in above)
            parts = ((rows, group), (total, whole))
            if any(count > (not named) and shapes.is_sum(row.fields, part) for count, part in parts):
                sums[row.line] = label
                group, rows = [0.0] * width, 0
                continue
            kept.setdefault(label, []).append(Note(row.line, shapes.CALLED, row.text))
            if not sums and len(kept[label]) > LEVEL:
                break
        for position, field in enumerate(row.fields):
            if (value := shapes.number(field)) is not None:
                group[position] += value
                whole[position] += value
        rows, total = rows + 1, total + 1
        above = [cell for field in row.fields if (cell := field.strip().casefold())]
    called = [notes[0] for label, notes in kept.items() if label in shapes.SUMS and len(notes) == 1]
    return frozenset(line for line, label in sums.items() if label not in kept), called


def _refuse_subtotals(path: Path, dialect: Dialect) -> None:
    """Raise an error if all rows that say so are totals of the rows above them, up to the one before."""
    group: list[list[str]] = []
    totals: list[int] = []
    for row, why in records(path, dialect):
        if why:
            continue
        if not shapes.says_total(row.fields):
            group.append(row.fields)
        elif group:
            if not shapes.is_total(row.fields, group):
                return
            totals.append(row.line)
            group = []
    if len(totals) > 1:
        some = ", ".join(map(str, totals[:5])) + ", …" * (len(totals) > 5)
        raise DataError(f"{path} has totals of the rows above them in the lines {some}: delete these lines")


def _is_total(path: Path, dialect: Dialect, last: Row, first: int) -> bool:
    """Whether the `last` row is a total of the rows above the line `first`, from which on all may be totals."""
    width = len(dialect.names)
    above = (row.fields for row, why in records(path, dialect) if not why and row.line < first)
    return len(last.fields) == width and shapes.is_total(last.fields, above)
