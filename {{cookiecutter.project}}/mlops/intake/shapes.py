"""What the rows of a table look like, and by which signs a line is none of them: a header, units, a total, a note."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from mlops.data.numbers import digits
from mlops.data.schema import MISSING, Decimal

MANY = "too many values"
FEW = "too few values"
RAGGED = (MANY, FEW)
AGAIN = "the header again"
UNITS = "units"
TOTAL = "a total"
COMMENT = "a comment above the header"
ABOVE = "a line above the header"
BELOW = "a line below the table"
CALLED = "called a total, but not the sum of the rows above it: kept as a row"
CELLS = 2_000  # values by which columns are judged
EVIDENCE = 5  # values of a column, at least, by which it is judged
MOSTLY = 0.8  # share of a column's values that are numbers, where it is one of numbers
FILLED = 0.9  # share of a column's rows that have a value, where an empty one is a sign of a total
OUTSIZED = 2.0  # a number this many times as large as all others of its column is no value of one row
SIGNS: tuple[Decimal, ...] = (".", ",")  # the decimal sign, in the order in which they are tried
# Letters that stand in numbers and times, as in 1e5, 12:30 pm or 2024-05-01T12:30Z.
IN_NUMBERS = ("", "e", "E", "T", "Z", "TZ", "am", "pm", "AM", "PM")
NOTHING = {word.casefold() for word in MISSING} | {"none", "nil", "unknown", "missing", "undefined", "."}
SUMS = frozenset(
    {
        *("total", "totals", "grand total", "subtotal", "sub-total", "sub total", "sum", "sums", "summe", "gesamt"),
        *("gesamtsumme", "gesamtergebnis", "insgesamt", "zwischensumme", "ergebnis", "somme", "total général"),
        *("sous-total", "totale", "totaal", "suma", "suma total", "total general", "somma", "totale generale", "summa"),
        *("итого", "всего", "合计", "总计", "合計", "総計"),
    }
)
TOTALS = SUMS | {"overall", "mean", "average", "avg", "mittelwert", "durchschnitt", "moyenne", "promedio", "media"}
# "Total North" or "North Total": the total of a group, with its name.
WORD = "|".join(sorted(SUMS, key=len, reverse=True))
OF_GROUP = re.compile(rf"(?:{WORD})\b.*|.*\s(?:{WORD})", re.DOTALL)
# What to look for in the bytes of a file, where a search of fixed letters is fast, and what has to follow.
IN_SUMS = {
    word.encode(): re.compile(word.encode() + rest)
    for rest, words in {
        b"(?:s|e|\xc3\xa9|me|ma|a)?[^a-z]": ("total", "totaal", "sum", "gesamt", "ergebnis", "somm"),
        b"": ("того", "сего", "合计", "总计", "合計", "総計"),
    }.items()
    for word in words
}
PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
UNIT = re.compile(
    r"\[.*\]|\(.*\)|<.*>|%|‰|°[CF]?|[$€£¥]|[kmcµun]?(g|m|l|s|b|w|v|a|j|n|pa|hz|wh|bar|mol|cal)[²³23]?|[mk]?bps"
    r"|(k?m|cm|mm)\^?[23]|k?m/h|m/s|mph|kg/m³?|rpm|(k|m|g)?bytes?|lbs?|oz|ft|feet|inch(es)?|mi(les)?|yards?|tons?|tonnes?"
    r"|y(ea)?rs?|months?|weeks?|d(ays?)?|h((ou)?rs?)?|min(ute)?s?|sec(ond)?s?|msec|celsius|fahrenheit|kelvin|k"
    r"|usd|eur|gbp|chf|jpy|cad|aud|sek|nok|dkk|pln|czk|inr|cny|brl|euros?|dollars?|percent|pct|degrees?|units?|pieces|pcs"
    r"|count|number|n|no\.?|#|ratio|index|score|code|id|key|name|label|flag|dimensionless"
    r"|text|string|str|char|varchar|object|int(eger)?(32|64)?|float(32|64)?|double|decimal|numeric|real|bool(ean)?"
    r"|category|categorical|nominal|ordinal|factor|enum|date|time|datetime|timestamp|yyyy-mm-dd|-+|",
    re.I,
)


class Look(NamedTuple):
    """The columns of a table by position: those of numbers (dates are some), and the levels of those that repeat.

    Of a `closed` column, every level repeats.
    """

    numbers: frozenset[int]
    levels: dict[int, frozenset[str]]
    closed: frozenset[int]


def look(rows: list[list[str]], width: int) -> Look:
    """How the first of the `rows` look that have `width` values."""
    numbers, levels, closed = set(), {}, set()
    some = [fields for fields in rows if len(fields) == width][: max(20, CELLS // width)]
    for position, column in enumerate(zip(*some, strict=True)):
        cells = [cell.strip() for cell in column if cell.strip() and not _nothing(cell)]
        if len(cells) < EVIDENCE:
            continue
        if sum(map(is_number, cells)) > MOSTLY * len(cells):
            numbers.add(position)
        elif len(cells) >= 2 * EVIDENCE and len(found := Counter(cells)) <= len(cells) / 2:
            levels[position] = frozenset(level for level, count in found.items() if count > 1)
            closed |= {position} if len(levels[position]) == len(found) else set()
    return Look(frozenset(numbers), levels, frozenset(closed))


def doubt(alone: list[list[str]], table: Look, width: int) -> float:
    """How likely the lines of a quoted value of several lines are rows of their own, of which quotes are stray.

    0 if they are not, 1 if they are, and between if it is not clear. `alone` has the values of each line without
    quotes. Such a line has as many values as a row, none begins with a blank as in prose, and all fit their columns.
    """
    signs = [_evidence(fields, table) if len(fields) == width > 1 else -1 for fields in alone]
    inner, least = signs[1:-1], min(signs)
    if least > (0 if inner else 1):
        return 1.0
    many = len(inner) > 1 and (least == 0 or sum(sign > 0 for sign in inner) > len(inner) / 2)
    return 0.5 if many or least > 0 else 0.0


def _evidence(fields: list[str], table: Look) -> int:
    """How many values are as others in their columns; -1 if one is not, or begins with a blank."""
    words, data = _votes(fields, table)
    return -1 if words or any(field.startswith(" ") for field in fields) else data


def is_number(cell: str) -> bool:
    """Whether a value is a number or a time, in whatever spelling."""
    return any(map(str.isdigit, cell)) and re.sub(r"[\W\d_]", "", cell) in IN_NUMBERS


def is_header(fields: list[str], table: Look, least: int = 1) -> bool:
    """Whether these values name columns: at least some are words where the table has numbers, or no levels of it."""
    words, data = _votes(fields, table)
    return words >= least and not data


def is_data(fields: list[str], table: Look) -> bool:
    """Whether these values are a row of the table: numbers where it has numbers; or, without those, known levels.

    Whole numbers at equal distances, such as years, may name columns; and so may numbers that increase, if there is a
    word beside them that a column of few levels lacks.
    """
    named = any(_is_new(fields[position].strip(), table.levels[position]) for position in table.closed)
    cells = [fields[position].strip() for position in sorted(table.numbers) if not _nothing(fields[position])]
    if cells:
        return all(map(is_number, cells)) and not _series(cells) and not (named and _increase(cells))
    words, data = _votes(fields, table)
    return data > 0 and not words


def is_units(fields: list[str], table: Look) -> bool:
    """Whether these values are the units of the columns, given that they are no data of the table."""
    given = [fields[position].strip() for position in table.numbers if fields[position].strip()]
    return bool(given) and all(UNIT.fullmatch(field.strip()) for field in fields)


def is_note(fields: list[str], width: int) -> bool:
    """Whether a line below a table is none of its rows: words, or nothing, in a single field."""
    said = [field for field in fields if field.strip("\x1a ")]
    single = len(said) <= 1 < width and len(fields) != width
    return single and (not said or bool(re.search(r"[^\W\d_]", said[0]) and re.search(r"^[#(*]|\s", said[0].strip())))


def says_total(fields: list[str]) -> bool:
    """Whether one of the values is a word for a total, or for a mean."""
    return any(_word(field) in TOTALS for field in fields)


def label(fields: list[str]) -> str:
    """The first value of a row that is not empty, in lower case, without what may follow a word for a total."""
    return _word(next((field for field in fields if field.strip()), ""))


def names_sum(fields: list[str]) -> bool:
    """Whether a row begins with a word for a sum, perhaps with the name of its group before or behind it."""
    return bool(OF_GROUP.fullmatch(label(fields)))


def is_sum(fields: list[str], sums: list[float]) -> bool:
    """Whether all values but the first are numbers, or missing, and each is the sum (k,) of its column."""
    rest = [(position, field) for position, field in enumerate(fields) if field.strip() and not _nothing(field)][1:]
    given = [(number(field), field, sums[position]) for position, field in rest]
    close = all(value is not None and _close(field, value, meant) for value, field, meant in given)
    return close and any(value for value, _, _ in given)


def is_total(last: list[str], rows: Iterable[list[str]]) -> bool:
    """Whether the `last` row of a table is a total of the `rows` above it, given that it says so.

    The word stands in no other row of its column; and each number is the sum, the mean or the number of the values
    above it, or far larger than all of them; or one is, and a value is missing in a column that is otherwise filled; or
    all are missing. A mean without decimals, or a mere number of rows, may be the value of any row.
    """
    said = [position for position, field in enumerate(last) if _word(field) in TOTALS]
    given = {position: value for position, field in enumerate(last) if (value := number(field)) is not None}
    if len(said) + len(given) + sum(not field.strip() or _nothing(field) for field in last) < len(last):
        return False
    sums, most, counts = dict.fromkeys(given, 0.0), dict.fromkeys(given, 0.0), dict.fromkeys(given, 0)
    filled = dict.fromkeys((position for position, field in enumerate(last) if not field.strip()), 0)
    total = 0
    for fields in rows:
        total += 1
        if any(fields[position].strip() == last[position].strip() for position in said):
            return False
        for position in filled:
            filled[position] += bool(fields[position].strip())
        for position in given:
            if (value := number(fields[position])) is not None:
                sums[position] += value
                most[position] = max(most[position], abs(value))
                counts[position] += 1
    signs, fits = [], []
    for position, value in given.items():
        if n := counts[position]:
            cell, mean = last[position], sums[position] / n
            signs.append(
                _close(cell, value, sums[position])
                or (_decimals(cell) > 0 and _close(cell, value, mean))
                or abs(value) > OUTSIZED * most[position]
            )
            fits.append(signs[-1] or _close(cell, value, mean) or value == n)
    empty = any(count > FILLED * total for count in filled.values())
    alone = not given and len(last) > len(said)
    return total > 1 and ((any(signs) and (all(fits) or empty)) or alone)


@lru_cache(maxsize=4096)
def number(cell: str) -> float | None:
    """The number that a value stands for, whichever its signs for decimals and groups; None if it is none."""
    if PLAIN.fullmatch(cell):  # ten times as fast
        return float(cell)
    found = next(filter(None, (digits(cell.strip(), sign, share=False) for sign in SIGNS)), None)
    return None if found is None else float(found)


def _close(cell: str, value: float, meant: float) -> bool:
    """Whether a number that was rounded as the cell shows it is what is meant."""
    return abs(value - meant) <= 0.51 * 10.0 ** -_decimals(cell) + 1e-9 * abs(meant)


def _decimals(cell: str) -> int:
    return len(re.split("[.,]", cell)[-1]) if re.search("[.,]", cell) else 0


def _votes(fields: list[str], table: Look) -> tuple[int, int]:
    """How many values are words where the table has numbers, or new where it has levels; and how many fit."""
    words = data = 0
    for position in table.numbers:
        cell = fields[position].strip()
        if not _nothing(cell):
            data += is_number(cell)
            words += not is_number(cell) and any(map(str.isalpha, cell))
    for position, levels in table.levels.items():
        cell = fields[position].strip()
        if not _nothing(cell):
            data += cell in levels
            words += cell not in levels and not is_number(cell)
    return words, data


def _is_new(cell: str, levels: frozenset[str]) -> bool:
    return any(map(str.isalpha, cell)) and not _nothing(cell) and cell not in levels


def _increase(cells: list[str]) -> bool:
    """Whether cells are two or more numbers of as many decimals, each greater than the one before it."""
    values = [number(cell) for cell in cells]
    return (
        len(cells) > 1
        and len(set(map(_decimals, cells))) == 1
        and all(a is not None and b is not None and a < b for a, b in pairwise(values))
    )


def _series(cells: list[str]) -> bool:
    """Whether cells are whole numbers at equal distances, three or some years; or at least three dates in order."""
    if len(cells) > 2 and all(re.fullmatch(r"\d{4}\W\d\d(\W\d\d)?", cell) for cell in cells):
        return all(earlier < later for earlier, later in pairwise(cells))
    years = all(re.fullmatch(r"(19|20)\d\d", cell) for cell in cells)
    if len(cells) < (2 if years else 3) or not all(map(str.isdecimal, cells)):
        return False
    steps = {int(later) - int(earlier) for earlier, later in pairwise(cells)}
    return len(steps) == 1 and min(steps) > 0


def _nothing(cell: str) -> bool:
    return cell.strip().casefold() in NOTHING


def _word(cell: str) -> str:
    """What a value says, without the year or the sign that may follow, as in "TOTAL 2023:"."""
    return re.sub(r"[\W\d]+$", "", cell).strip().casefold()
