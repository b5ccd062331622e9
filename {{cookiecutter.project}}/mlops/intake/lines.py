"""The lines of a text file: its encoding, and the rows that they make, however its quotes stand."""

import codecs
import gzip
import io
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops.base.errors import DataError
from mlops.intake import shapes

CHUNK = 1 << 18  # bytes; they fit into the processor's cache
LF, CR = b"\n\r"
LABEL = 80  # bytes that a word for a total is looked for in, at the start of a line
END = 1 << 12  # bytes at the end of a file, in which lines below the table are found
LONGEST = 1 << 22  # characters that a value may have; a quote that is open for longer is a stray one
ESCAPED = re.compile("[\udc80-\udcff]")  # a byte that is no UTF-8, as Python's `surrogateescape` has it
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16: its mark starts with that of UTF-16
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
NO_TEXT = "is no text, as CSV is: export it as CSV in UTF-8, or as Parquet"
STRAY = "a stray quote, read as part of its value"
DOUBTFUL = "a quoted value of several lines that may be rows of their own"
GUESSED = (
    "not in UTF-8, so the file was read as Windows-1252: see that names with accents are right; if they are not, it is "
    "in another encoding (such as Windows-1250 or 1251): save it as UTF-8"
)
BYTES = "bytes that are no UTF-8, read as Windows-1252"


class Syntax(NamedTuple):
    """How a line is separated into values.

    `spaced` means that blanks after a separator are skipped, so that several blanks separate as one does.
    """

    separator: str
    quote: str | None = '"'
    escape: str | None = None
    spaced: bool = False


class Row(NamedTuple):
    """The values of one row, the number (from 1) of the line where it starts, and its text with its line end.

    The text includes the empty lines before the row; `gap` says that there are some. `repaired` says what of the row
    was not as it should be, and how it was read.
    """

    line: int
    text: str
    fields: list[str]
    gap: bool
    repaired: str


class Grammar(NamedTuple):
    """Patterns of one syntax: a value, and lines that begin, continue and end a quoted value of several lines."""

    value: re.Pattern[str]
    opens: re.Pattern[str]
    inside: re.Pattern[str]
    ends: re.Pattern[str]
    reopens: re.Pattern[str]
    escaped: re.Pattern[str]


def opened(path: Path) -> IO[bytes]:
    """Open a file as bytes; a name that ends with .gz means gzip. The caller closes the file."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def text(path: Path, encoding: str, newline: str = "") -> IO[str]:
    """Open a file as text and keep its line ends; the caller closes the file. Bytes that are no UTF-8 are escaped."""
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    return io.TextIOWrapper(opened(path), encoding=encoding, errors=errors, newline=newline)


def marked(path: Path) -> str:
    """The encoding by the mark at the start of the file, or UTF-16 by its zeros; "" if there is neither.

    Raises:
        DataError: the file is no text.
    """
    with opened(path) as file:
        start = file.read(CHUNK)
    for mark, encoding in BOMS.items():
        if start.startswith(mark):
            return encoding
    even, odd = start[::2].count(0), start[1::2].count(0)
    if not (even or odd):
        return ""
    if min(even, odd) * 20 < max(even, odd) > len(start) / 8:
        return "utf-16-le" if odd > even else "utf-16-be"
    raise DataError(f"{path} {NO_TEXT}")


def unmarked(path: Path) -> str:
    """The encoding of a file that is not UTF-8 throughout: UTF-8 with wrong bytes if it has other signs of UTF-8.

    Raises:
        DataError: it has bytes that mean nothing in Windows-1252 either.
    """
    with text(path, "utf-8") as file:
        while part := file.read(CHUNK):
            if not ESCAPED.sub("", part).isascii():
                return "utf-8"
    try:
        with text(path, "cp1252") as file:
            while file.read(CHUNK):
                pass
    except UnicodeDecodeError:
        raise DataError(f"{path} is in an encoding that is neither UTF-8 nor Windows-1252: save it as UTF-8") from None
    return "cp1252"


def rows(
    lines: Iterable[str],
    syntax: Syntax,
    start: int = 1,
    longest: int = LONGEST,
    *,
    cut: bool = False,
    doubt: Callable[[list[list[str]]], str] = lambda alone: "",
) -> Iterator[Row]:
    """The rows that `lines` make, the first of which has the number `start`; empty lines are no rows.

    A quoted value may span lines, if its quotes are where they have to be. A quote that is elsewhere is a part of its
    value, so that it never takes the lines below into that value. With `cut`, the lines end anywhere in a file.
    `doubt` is asked about a value that spans lines, given the values of each line alone: STRAY if each is a row,
    DOUBTFUL if that may be so, "" if it is not.
    """
    separator, quote, escape, spaced = syntax
    runs, grammar = separator == " " and spaced, _grammar(syntax)
    ahead: deque[str] = deque()
    source, gap = iter(lines), ""
    while line := ahead.popleft() if ahead else next(source, ""):
        used, repaired = 1, ""
        bare = line.rstrip("\r\n").strip(" ") if runs else line.rstrip("\r\n")
        if not bare.strip(" "):
            gap += line
            start += 1
            continue
        if (quote is None or quote not in bare) and (escape is None or escape not in bare):
            fields = re.split(" +", bare) if runs else bare.split(separator)
        else:
            if grammar.opens.fullmatch(line):
                more = _more(ahead, source, grammar, longest)
                if more is None and cut:
                    return
                if more:
                    parts = [line, *islice(ahead, more)]
                    repaired = doubt([_values(part.rstrip("\r\n"), syntax, grammar)[0] for part in parts])
                    more = 0 if repaired == STRAY else more
                used += more or 0
                line += "".join(ahead.popleft() for _ in range(more or 0))
                bare = bare if used == 1 else line.rstrip("\r\n")
            fields, sound = _values(bare, syntax, grammar)
            repaired = repaired or ("" if sound else STRAY)
        if spaced:
            fields = [field.lstrip(" ") for field in fields]
        if not line.isascii() and ESCAPED.search(line):
            fields, repaired = (
                [ESCAPED.sub(_windows, field) for field in fields],
                repaired if repaired == DOUBTFUL else BYTES,
            )
        yield Row(start, gap + line, fields, bool(gap), repaired)
        gap = ""
        start += used


def _more(ahead: deque[str], source: Iterator[str], grammar: Grammar, longest: int) -> int | None:
    """How many of the next lines belong to a value whose quote is open; 0 if that quote is a stray one.

    None if the lines end before that is known. The lines that were looked at are in `ahead`.
    """
    size = 0
    for number in count(1):
        if len(ahead) < number:
            if not (line := next(source, "")):
                return None
            ahead.append(line)
        line = ahead[number - 1]
        size += len(line)
        if size > longest:
            return 0
        if grammar.ends.fullmatch(line.rstrip("\r\n")):
            return number
        if not (grammar.inside.fullmatch(line) or grammar.reopens.fullmatch(line)):
            return 0
    return None


def _values(bare: str, syntax: Syntax, grammar: Grammar) -> tuple[list[str], bool]:
    """The values of a row, and whether all its quotes are where they have to be."""
    quote, sound, fields = syntax.quote or "", True, []
    for quoted, unquoted, other in grammar.value.findall(bare + syntax.separator):
        field = quoted or unquoted
        if syntax.escape and syntax.escape in field:
            field = grammar.escaped.sub(r"\1\2", field)
        elif quoted and quote in quoted:
            field = quoted.replace(quote * 2, quote)
        if other:
            sound, field = False, other
            if len(other) > 1 and other[0] == other[-1] == quote:
                field = other[1:-1]
        fields.append(field)
    return fields, sound


@lru_cache
def _grammar(syntax: Syntax) -> Grammar:
    blanks = " *" if syntax.spaced else ""
    sign, quote, escape = (re.escape(sign or "\0") for sign in syntax[:3])
    # Possessive and atomic, so that a line that does not fit is given up at once and not tried in every way.
    between = f"{sign}++" if sign == r"\ " and syntax.spaced else sign
    inside = f"[^{quote}{escape}]*+(?:(?:{quote}{quote}|{escape}.)[^{quote}{escape}]*+)*+"
    quoted = f"{blanks}{quote}(?:{inside}){quote}{blanks}"
    unquoted = f"(?:={quote}[^{quote}]*{quote}|(?:[^{quote}{escape}{sign}]|{escape}.)*+)"  # =\"007\" is Excel's text
    value = f"(?>(?:{quoted}|{unquoted}|[^{quote}{sign}][^{sign}]*+)(?={between}))"
    begins = f"{blanks}{quote}{inside}"
    patterns = (
        f"(?:{blanks}{quote}({inside}){quote}{blanks}|({unquoted})|([^{sign}]*)){between}",
        f"(?:{value}{between})*{begins}",
        inside,
        f"{inside}{quote}{blanks}(?:{between}(?:{quoted}|{unquoted}))*",
        f"{inside}{quote}{blanks}(?:{between}(?:{quoted}|{unquoted}))*{between}{begins}",
        f"{escape}(.)|{quote}({quote})",
    )
    return Grammar(*(re.compile(pattern, re.DOTALL) for pattern in patterns))


def _windows(byte: re.Match[str]) -> str:
    """What a byte that is no UTF-8 means in Windows-1252, or else in Latin-1."""
    code = bytes([ord(byte[0]) - 0xDC00])
    try:
        return code.decode("cp1252")
    except UnicodeDecodeError:
        return code.decode("latin-1")


class Examined(NamedTuple):
    """The encoding of a file, whether Arrow reads its rows as they were meant, and the last part of its text.

    `spans` says whether quoted values span lines, `totals` whether a line begins with a word for a total.
    """

    encoding: str
    plain: bool
    spans: bool
    totals: bool
    end: str


def examine(path: Path, encoding: str, syntax: Syntax, newline: str, head: str) -> Examined:
    """What all bytes of a file show; if "" is given as the encoding, it is found in them.

    Arrow reads the rows right if, below the `head`, every quote is
    where it has to be, all lines end with `newline`, no empty line stands between rows, and no byte is repaired. The
    file is read once.
    """
    decoder, utf8 = codecs.getincrementaldecoder("utf-8")(), True
    plain, spans, totals, quotes, last = syntax[2:] == (None, False), False, False, 0, b""
    skip = len(head.encode("utf-8", "surrogateescape")) + 3 * (encoding == "utf-8-sig")
    held = b"\n"  # the last two bytes that were looked at, and the line ends behind them
    for chunk in chain(_bytes(path, encoding), [b""]):
        try:
            decoder.decode(chunk if utf8 else b"", final=not chunk)
        except UnicodeDecodeError:
            utf8 = False
        totals = totals or _says_total(last[-LABEL:] + chunk, syntax)
        last = chunk[-END:] if len(chunk) >= END else (last + chunk)[-END:]
        part, skip = held + chunk[skip:], max(skip - len(chunk), 0)
        end = len(part)
        while end and part[end - 1] in b"\r\n":
            end -= 1
        held = part[max(end - 2, 0) :]
        signs = np.frombuffer(part if chunk else part[:end] + b"\n", np.uint8)[: end + (not chunk)]
        if plain and len(signs) > 2:
            quotes, sound, across = _well_quoted(signs, syntax, quotes)
            plain, spans = sound and _well_ended(signs, newline), spans or across
    encoding = encoding or ("utf-8" if utf8 else unmarked(path))
    plain = plain and quotes % 2 == 0 and (utf8 or encoding != "utf-8")
    ending = last.decode("utf-8" if encoding.startswith("utf") else encoding, errors="replace")
    return Examined(encoding, plain, spans, totals, ending)


def _says_total(part: bytes, syntax: Syntax) -> bool:
    """Whether a line that begins in this part of a file begins with a word for a total, or a value that ends with one.

    Only the places of such words are looked at, since a look at each line would take longer than all else here.
    """
    part, edges = part.lower(), f"{syntax.separator}{syntax.quote or ''}".encode()
    label = re.compile(rb"[%b ]*+([^\r\n%b]*)" % ((re.escape(edges),) * 2))
    for word, whole in shapes.IN_SUMS.items():
        for place in whole.finditer(part) if word in part else ():
            start = max(part.rfind(end, max(place.start() - LABEL, 0), place.start()) for end in (b"\n", b"\r")) + 1
            found = label.match(part, start) if start else None
            # A label that is cut off comes again.
            if found and place.start() < found.end() < len(part) and _is_sum(found[1]):
                return True
    return False


@lru_cache(maxsize=4096)
def _is_sum(label: bytes) -> bool:
    return shapes.names_sum([label.decode(errors="replace")])


def _bytes(path: Path, encoding: str) -> Iterator[bytes]:
    """The file in chunks of bytes, in which ASCII is what it is in UTF-8."""
    if not encoding.startswith(("utf-16", "utf-32")):
        with opened(path) as file:
            while chunk := file.read(CHUNK):
                yield chunk
        return
    with text(path, encoding) as file:
        while part := file.read(CHUNK):
            yield part.encode("utf-8")


def _well_quoted(signs: NDArray[np.uint8], syntax: Syntax, quotes: int) -> tuple[int, bool, bool]:
    """The number of quotes up to the last but one of the `signs` (n,), of which `quotes` came before the second one.

    Also whether each quote with an even number (from 0) begins a value or doubles the quote before it, and each other
    quote ends a value or is doubled by the next one; and whether a line ends between them.
    """
    quote, ends = signs == ord(syntax.quote or "\0"), np.flatnonzero((signs == LF) | (signs == CR))
    if not quote.any():
        return quotes, True, bool(quotes % 2 and len(ends))
    edge = quote | (signs == ord(syntax.separator)) | (signs == LF) | (signs == CR)
    found = np.flatnonzero(quote[1:-1])
    begin, end = found[quotes % 2 :: 2], found[1 - quotes % 2 :: 2]
    across = ((quotes + np.searchsorted(found + 1, ends)) % 2).any()
    return quotes + len(found), bool(edge[:-2].take(begin).all() and edge[2:].take(end).all()), bool(across)


def _well_ended(signs: NDArray[np.uint8], newline: str) -> bool:
    """Whether all lines end with `newline`, perhaps with a carriage return before it, and none is empty."""
    feed, back = signs == LF, signs == CR
    if newline == "\r":
        return not feed[1:-1].any() and not (back[1:] & back[:-1]).any()
    if not back.any():
        return not (feed[1:] & feed[:-1]).any()
    return (
        not (back[:-1] & ~feed[1:]).any()
        and not (feed[:-2] & back[1:-1] & feed[2:]).any()
        and not (feed[1:] & feed[:-1]).any()
    )
