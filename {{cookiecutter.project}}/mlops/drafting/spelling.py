"""The type of values by their spelling: numbers with either decimal sign, dates in many formats, or words."""

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import product

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlops.base.errors import counted
from mlops.data import numbers, parsing, times
from mlops.data.numbers import arrow
from mlops.data.schema import MISSING, ColumnType, Decimal

# Number of different values that are tried before all values are.
FIRST_LOOK = 500
FEW = 3
# A column of numbers may have this share of words at most, if it has this many different numbers at least.
MOST_WORDS = 0.1
LEAST_NUMBERS = 20
# Spellings of yes and no that belong together, in lower case; "1.0" is what a missing neighbour makes of 1.
PAIRS = (("yes", "no"), ("y", "n"), ("true", "false"), ("t", "f"), ("on", "off"), ("1", "0"), ("1.0", "0.0"))
# Words that mean missing among numbers and dates, in lower case; among other words they may be levels.
UNKNOWN = frozenset(
    {
        *(".", "..", "...", "-", "--", "---", "_", "x", "*", "**", "#", "?", "??", "na", "n/a", "n.a.", "n.a", "nan"),
        *("nil", "none", "null", "(null)", "[null]", "<null>", "#null!", "#num!", "#name?", "#n/a", "#value!", "#ref!"),
        *("missing", "(missing)", "unknown", "unk", "undefined", "not available", "not applicable", "blank", "(blank)"),
        *("empty", "(empty)", "void", "nd", "n.d.", "no data", "tbd", "k.a.", "k. a.", "keine angabe", "s/d", "\u2013"),
    }
)
# A word, a currency or another sign that may stand beside each number of a column.
UNIT = r"[^\W\d_]+[²³]?|°[CF]?|[$€£¥₹%‰]"
ZERO_DATE = r"(?:0000[-/.]00[-/.]00|00[-/.]00[-/.]0000)(?:[T ]00:00(?::00(?:\.0+)?)?)?"

DAYS = ("%d{0}%m{0}%Y", "%d{0}%m{0}%y")
MONTHS = ("%m{0}%d{0}%Y", "%m{0}%d{0}%y")
YEAR_FIRST = ("%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d", "%Y %m %d")
SHORT_YEAR_FIRST = ("%y-%m-%d", "%y/%m/%d", "%y.%m.%d")
ORDERS = (("%d", "%m", "%y"), ("%m", "%d", "%y"), ("%y", "%m", "%d"))
NAMED_MONTHS = (
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d/%b/%Y", "%b %d %Y"),
    *("%a, %d %b %Y", "%d. %B %Y", "%b-%y", "%b %Y", "%B %Y"),
)
TIMES = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
CLOCKS = (
    *("", *(f" {time}" for time in TIMES)),
    *(" %H:%M:%S.%f", ":%H:%M:%S", " %H:%M:%S %z", " %H:%M:%S UTC", " %H:%M UTC"),
)
# The words of dates in these formats, in lower case.
DATE_WORDS = frozenset(
    word.lower() for word in (*calendar.month_name, *calendar.month_abbr, *calendar.day_abbr, "am", "pm", "utc", "z")
)
# The first looks at a column, which decide on most: whole numbers without leading zeros; numbers of so few digits that
# a float tells them from whole ones; and words that begin with a letter, so that they are no numbers, and are dates
# only if they begin with the name of a month or day.
WHOLE = r"^-?(?:0|[1-9][0-9]{0,17})$"
POINTED = r"^-?(?:0|[1-9][0-9]{0,6}|[0-9]{1,7}\.[0-9]{1,8})$"
POINT_ZEROS = r"^-?[0-9]+(?:\.0+)?$"
WORDS = r"^[A-Za-z][A-Za-z0-9 _/&'-]*$"
DATE_FIRST = rf"^(?:{'|'.join(sorted(filter(None, DATE_WORDS)))}|sept)(?:[^a-z]|$)"


@dataclass(frozen=True)
class Reading(parsing.Spelling):
    """The type and spelling of a column; `missing` are words that mean missing beside the usual ones.

    `reason` is empty if a person need not check the reading.
    """

    missing: tuple[str, ...] = ()
    reason: str = ""


def read(values: pd.Series, *, commas: bool, dated: bool = False, born: int | None = None) -> Reading:
    """The narrowest type of all values (n, none missing; text or any dtype).

    If several readings are possible, `commas` prefers decimal commas and days before months; `dated` reads eight digits
    as a date, for columns whose name says so. If the values are dates of birth, `born` is the last year of one.
    """
    if dated and _all(values.astype("str").str.strip(), Reading("datetime", format="%Y%m%d")):
        return Reading("datetime", format="%Y%m%d")
    if not parsing.is_text(values) and values.dtype != object:
        finite = values[parsing.typed(values, Reading("number")).notna()] if values.dtype.kind == "f" else values
        odd = len(values) - len(finite)
        infinite = f"no finite number in {counted(odd, 'row')}: missing" if odd else ""
        return Reading(_own_type(finite) if len(finite) else "number", reason=infinite)
    values = values.astype("str").str.strip()
    if reading := _at_first_look(values, commas=commas):
        return reading
    words = values.str.lower().isin(UNKNOWN) | values.str.fullmatch(ZERO_DATE)
    if words.any() and not words.all() and (reading := _number_or_date(values[~words], commas=commas, born=born)):
        return replace(reading, missing=tuple(sorted(values[words].unique())))
    return (
        _boolean(values)
        or _code(values)
        or _number_or_date(values, commas=commas, born=born)
        or _nearly_numbers(values, commas=commas)
        or _dates(_some(values), values, commas=commas, born=born, least=1 - MOST_WORDS)
        or Reading("category", reason=_odd_ones(values))
    )


def _at_first_look(values: pd.Series, *, commas: bool) -> Reading | None:
    """What all further looks at the values (n) would come to, if one pattern fits all of them; else None."""
    text = arrow(values)
    if _fits_all(text, WHOLE):
        return _boolean(values) or Reading("integer", "," if commas else ".")
    if not commas and _fits_all(text, POINTED):
        kind: ColumnType = "integer" if _fits_all(text, POINT_ZEROS) else "number"
        return _boolean(values) or Reading(kind, reason=_doubtful_sign(values, "."))
    dates = partial(pc.match_substring_regex, pattern=DATE_FIRST, ignore_case=True)
    if _fits_all(text, WORDS) and not pc.any(dates(text)).as_py():
        return _boolean(values) or Reading("category", reason=_odd_ones(values))
    return None


def _fits_all(text: pa.Array, pattern: str) -> bool:
    fits = pc.match_substring_regex(text[:FEW], pattern)
    return bool(pc.all(fits).as_py() and pc.all(pc.match_substring_regex(text, pattern)).as_py())


def _boolean(values: pd.Series) -> Reading | None:
    """A reading as truth values: one spelling a side, in a pair."""
    found = values.iloc[:FIRST_LOOK].unique()
    if len(found) > 2 or len(found := values.unique()) != 2:
        return None
    first, second = sorted(found, key=str.lower)
    same_case = first.islower() == second.islower() and first.isupper() == second.isupper()
    pair = (second.lower(), first.lower()) in PAIRS or (first.lower(), second.lower()) in PAIRS
    return Reading("boolean") if pair and same_case else None


def _code(values: pd.Series) -> Reading | None:
    """A reading as levels of what looks like numbers, but would not stay what it is."""
    digits, powers = r"[+-]?\d+", r"\d+[eE]\d+"
    if not values.iloc[:FIRST_LOOK].str.fullmatch(f"{digits}|{powers}").all():
        return None
    whole = values.str.fullmatch(digits)
    if whole.all():
        if values.str.match(r"0\d").any() and values.str.fullmatch(r"\d+").all():
            return Reading("category", reason="digits with leading zeros: codes")
        if values.str.len().max() >= len(str(parsing.LARGEST)) and not _all(values, Reading("integer")):
            return Reading("category", reason="more digits than a number keeps: codes")
        return None
    if (whole | values.str.fullmatch(powers)).all():
        reason = f"codes, such as {values[~whole].iloc[0]!r}; if that is a number, make it type: number"
        return Reading("category", reason=reason)
    return None


def _number_or_date(values: pd.Series, *, commas: bool, born: int | None) -> Reading | None:
    some = _some(values)
    for how in _number_spellings(values, commas=commas):
        if _all(some, how) and _all(values, how):
            return replace(how, reason=_doubtful_sign(values, how.decimal))
    return _dates(some, values, commas=commas, born=born)


def _number_spellings(values: pd.Series, *, commas: bool) -> list[Reading]:
    """The ways in which most values (n) may spell numbers: whole first, then with fractions, by decimal sign."""
    signs: tuple[Decimal, ...] = (",", ".") if commas else (".", ",")
    kinds: tuple[ColumnType, ...] = ("integer", "number")
    beside = _beside(values).value_counts()
    most = set(beside.index[beside > MOST_WORDS * len(values)])
    fractions = values.str.contains(r"\d[.,]\d").any()
    if not fractions and values.str.contains(r"^\(\d|\d-$").mean() > MOST_WORDS:
        return []  # (1) and 2- may be marks or grades
    unit = None
    if "%" in beside and set(beside.index) <= {"", "%"} and (most != {"%"}):
        bare = parsing.typed(values[~values.str.contains("%")], Reading("number", signs[0])).abs()
        unit = numbers.SHARE if bare.max() <= 1 else "%" if "%" in most else None
    elif most - {"", "e", "E"}:
        unit = _unit(values, most - {""})
        if unit is None and not most <= {"", *numbers.SCALES, "e", "E"}:
            return []
        if unit is None and not fractions:
            return []  # 5M may be a size
        if unit and unit.isalpha():  # v1.2, A1, 12B and Room 12 are names
            apart = values.str.contains(rf"\d\s{re.escape(unit)}$").mean() > 1 - MOST_WORDS
            if values.str.contains(rf"^{re.escape(unit)}\d").any() or not (fractions or apart):
                return []
    return [Reading(kind, decimal, unit) for decimal in signs for kind in kinds]


def _beside(values: pd.Series) -> pd.Series:
    """What stands beside the digits and signs of numbers, of each value (n)."""
    return values.str.replace(r"[\d\s.,'’()+\u2212\u2013-]", "", regex=True)


def _unit(values: pd.Series, beside: set[str]) -> str | None:
    """The one unit of most numbers, given what stands beside them; None if there is none, or several."""
    bare = {re.sub(r"(bn|[kKMB])$", "", rest) if rest[0] in numbers.SIGNS else rest for rest in beside}
    only = next(iter(bare)) if len(bare) == 1 else None
    is_unit = bool(only) and bool(re.fullmatch(UNIT, str(only))) and only not in {*numbers.SCALES, "e", "E"}
    return only if is_unit and values.str.contains(str(only), regex=False).mean() > 1 / 2 else None


def _some(values: pd.Series) -> pd.Series:
    """Some of the different values, to try first."""
    return pd.Series(values.iloc[: 4 * FIRST_LOOK].unique()[:FIRST_LOOK], dtype="str")


def _doubtful_sign(values: pd.Series, decimal: Decimal) -> str:
    """A sentence if all decimal signs may be signs of thousands as well; else nothing."""
    thousands, first = rf"\D*[1-9]\d?\d?\{decimal}\d\d\d\D*", values.iloc[0]
    if decimal in first and not re.fullmatch(thousands, first, re.ASCII):
        return ""
    marked = values[values.str.contains(decimal, regex=False)]
    if marked.empty or not marked.str.fullmatch(thousands).all():
        return ""
    name, other = ("point", ",") if decimal == "." else ("comma", ".")
    example = marked.iloc[0]
    return f'the {name} in {example} is read as a decimal sign; if it groups thousands, set decimal: "{other}"'


def commas(frame: pd.DataFrame, separators: Iterable[str]) -> bool:
    """Whether the decimal sign is a comma, judged by some rows of all columns and by the files' separators.

    Only columns that are numbers with one of the two signs count. Without such a column, a semicolon as separator means
    that the comma is the decimal sign, unless a point stands where it may be one.
    """
    votes, points = set(), False
    for name in frame:
        values = parsing.plain(frame[name])
        if parsing.is_text(values) and pc.any(pc.match_substring_regex(arrow(values), "[.,]")).as_py():
            values = values[parsing.given(values, MISSING)].drop_duplicates().iloc[:FIRST_LOOK].str.strip()
            first = values.iloc[0] if len(values) else ""
            signs: tuple[Decimal, ...] = (".", ",")
            point, comma = (
                (sign == "." and _fits_all(arrow(values), POINTED))
                or (numbers.digits(first, sign, share=False) is not None and _all(values, Reading("number", sign)))
                for sign in signs
            )
            if len(values) and point != comma:
                votes.add(comma)
            points |= point and bool(values.str.fullmatch(r"[+-]?\d+\.\d+").any())
    return True in votes or (not votes and ";" in separators and not points)


def _own_type(values: pd.Series) -> ColumnType:
    """The type of values that are not text."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return "datetime"
    if pd.api.types.is_bool_dtype(values.dtype):
        return "boolean"
    kinds: tuple[ColumnType, ...] = ("integer", "number", "category")
    kind = next(kind for kind in kinds if _all(values, Reading(kind)))
    return "boolean" if kind == "integer" and values.isin([0, 1]).all() else kind


def _all(values: pd.Series, how: Reading) -> bool:
    return _share(values, how) == 1


def _nearly_numbers(values: pd.Series, *, commas: bool) -> Reading | None:
    """A reading as numbers, if only a few values are none; as levels, with a word on it, if some are."""
    some = _some(values)
    for how in _number_spellings(values[values.str.contains(r"\d")], commas=commas)[1::2]:
        if parsing.typed(some, how).notna().mean() < 1 / 2:
            continue
        found = parsing.typed(values, how)
        words = values[found.isna()]
        if found.nunique() < LEAST_NUMBERS:
            continue
        if len(words) > MOST_WORDS * len(values):
            share, example = 1 - len(words) / len(values), words.value_counts().index[0]
            return Reading("category", reason=f"{share:.0%} are numbers, others are not, such as {example!r}: levels")
        kind: ColumnType = "integer" if (found.dropna() % 1 == 0).all() else "number"
        return replace(how, type=kind, reason=_doubtful_sign(values, how.decimal))
    return None


def _odd_ones(values: pd.Series) -> str:
    """A sentence if most values of a category have digits, and a few of them do not look like the others."""
    shapes = values.str.replace(r"\d+", "9", regex=True).str.replace(r"[^\W\d_]+", "a", regex=True)
    shares = shapes.value_counts(normalize=True)
    if "9" not in shares.index[0] or not MOST_WORDS > 1 - shares.iloc[0] > 0:
        return ""
    usual = shapes == shares.index[0]
    return f"most look like {values[usual].iloc[0]!r}, but not {values[~usual].iloc[0]!r}"


def _dates(some: pd.Series, values: pd.Series, *, commas: bool, born: int | None, least: float = 1.0) -> Reading | None:
    """A reading as dates with the first format that fits all values, or at `least` that share of them."""
    dated = some.str.contains(r"\d") & some.str.contains(r"[-/.: ]|^\d{8}$")
    if dated.mean() < least or values.nunique() < (1 if least == 1 else LEAST_NUMBERS):
        return None
    if _share(some, Reading("datetime")) >= least and _share(values, Reading("datetime")) >= least:
        return Reading("datetime")
    orders = (DAYS, MONTHS) if commas else (MONTHS, DAYS)
    slashes = [form.format("/") for order in orders for form in order]
    others = [form.format(sign) for sign, order in product((".", "-"), (DAYS, MONTHS)) for form in order]
    days = (*YEAR_FIRST, *slashes, *others, *SHORT_YEAR_FIRST, *NAMED_MONTHS)
    dates = (day + clock for day, clock in product(days, CLOCKS))
    few = times.respelt(some[dated].iloc[:FEW])
    least_few = len(few) * least - 1 * (least < 1)
    few = few[[DATE_WORDS.issuperset(re.findall(r"[^\W\d_]+", value.lower())) for value in few]]
    if len(few) < least_few:
        return None
    for form in (*dates, *TIMES):
        how = Reading("datetime", format=form, first_year=born and born - 99 if "%y" in form else None)
        enough = sum(_fits(value, form) for value in few) >= least_few
        if enough and all(_share(part, how) >= least for part in (some, values)):
            years = f"years of two digits are {times.window(how.first_year)}" if "%y" in form else ""
            return replace(how, reason="; ".join(filter(None, [years, _doubt(how, values)])))
    return None


def _share(values: pd.Series, how: Reading) -> float:
    return float(parsing.typed(values, how).notna().mean())


def _fits(value: str, form: str) -> bool:
    try:
        datetime.strptime(value, form)
    except ValueError:
        return False
    return True


def _doubt(how: Reading, values: pd.Series) -> str:
    """A sentence if the same values are also dates in another order of day, month and year; else an empty text."""
    form = how.format or ""
    parts = re.findall("%[dmyY]", form)
    if len(parts) < 3 or form.startswith("%Y"):
        return ""
    # A year of four digits stays where it is.
    orders = ORDERS if "%y" in parts else ((parts[1], parts[0], parts[2]),)
    blank = re.sub("%[dmyY]", "{}", form)
    others = [blank.format(*order) for order in orders]
    fitting = [other for other in others if other != form and _all(values, replace(how, format=other))]
    if not fitting:
        return ""
    read = parsing.typed(values, how)
    differs = read != parsing.typed(values, replace(how, format=fitting[0]))
    at = int(differs.to_numpy().argmax())  # 01-01-01 says nothing
    return f"{values.iloc[at]!r} is read as {read.iloc[at]:%Y-%m-%d} ({form}); {' and '.join(fitting)} would fit, too"
