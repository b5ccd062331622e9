"""The type of values by their spelling: numbers with either decimal sign, dates in many formats, or words."""

from collections.abc import Iterable
from datetime import datetime
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from mlops.data import parsing
from mlops.data.schema import MISSING, ColumnType, Decimal

# Number of different values that are tried before all values are.
FIRST_LOOK = 500
FEW = 3
# A column of numbers may have this share of words at most, if it has this many different numbers at least.
MOST_WORDS = 0.1
LEAST_NUMBERS = 20
BOOLEAN_SPELLINGS = 8

DAYS = ("%d{0}%m{0}%Y", "%d{0}%m{0}%y")
MONTHS = ("%m{0}%d{0}%Y", "%m{0}%d{0}%y")
YEAR_FIRST = ("%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d", "%Y %m %d")
NAMED_MONTHS = (
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d/%b/%Y", "%b %d %Y"),
    *("%a, %d %b %Y", "%d. %B %Y", "%b-%y", "%b %Y", "%B %Y"),
)
TIMES = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
CLOCKS = (
    *("", *(f" {time}" for time in TIMES)),
    *(" %H:%M:%S.%f", ":%H:%M:%S", " %H:%M:%S %z", " %H:%M:%S UTC", " %H:%M UTC"),
)


class Reading(NamedTuple):
    """The type of a column and the spelling of its text; `reason` is empty if a person need not check it."""

    type: ColumnType
    decimal: Decimal = "."
    format: str | None = None
    reason: str = ""


def read(values: pd.Series, *, commas: bool, dated: bool = False) -> Reading:
    """The narrowest type of all values (n, none missing; text or any dtype).

    If several readings are possible, `commas` prefers decimal commas and days before months; `dated` reads eight digits
    as a date, for columns whose name says so.
    """
    if dated and _all(values.astype("str").str.strip(), "datetime", form="%Y%m%d"):
        return Reading("datetime", format="%Y%m%d")
    if not parsing.is_text(values) and values.dtype != object:
        finite = values[np.isfinite(values)] if pd.api.types.is_float_dtype(values.dtype) else values
        infinite = f"{len(values) - len(finite)} values are infinite: missing" if len(finite) < len(values) else ""
        return Reading(_own_type(finite) if len(finite) else "number", reason=infinite)
    values = values.astype("str").str.strip()
    some = pd.Series(values.iloc[: 4 * FIRST_LOOK].unique()[:FIRST_LOOK], dtype="str")
    if len(some) <= BOOLEAN_SPELLINGS and _all(some, "boolean") and _all(values, "boolean"):
        return Reading("boolean")
    coded = some.str.match(r"0\d")
    if coded.any() and values.str.match(r"0\d+$").any() and _all(some, "integer"):
        return Reading("category", reason="digits with leading zeros: codes")
    signs: tuple[Decimal, ...] = (",", ".") if commas else (".", ",")
    kinds: tuple[ColumnType, ...] = ("integer", "number")
    for kind, decimal in ((kind, decimal) for decimal in signs for kind in kinds):
        if _all(some, kind, decimal) and _all(values, kind, decimal):
            return Reading(kind, decimal)
    words = (_nearly_numbers(some, values, decimal) for decimal in signs)
    return _dates(some, values, commas=commas) or next(filter(None, words), Reading("category"))


def commas(frame: pd.DataFrame, separators: Iterable[str]) -> bool:
    """Whether the decimal sign is a comma, judged by some rows of all columns and by the files' separators.

    Only columns that are numbers with one of the two signs count. Without such a column, a semicolon as separator means
    that the comma is the decimal sign.
    """
    votes = set()
    for name in frame:
        values = frame[name]
        if parsing.is_text(values):
            values = values[parsing.given(values, MISSING)].drop_duplicates().iloc[:FIRST_LOOK]
            points, comma = (_all(values, "number", decimal) for decimal in (".", ","))
            if len(values) and points != comma:
                votes.add(comma)
    return True in votes or (not votes and ";" in separators)


def _own_type(values: pd.Series) -> ColumnType:
    """The type of values that are not text."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return "datetime"
    if pd.api.types.is_bool_dtype(values.dtype):
        return "boolean"
    kinds: tuple[ColumnType, ...] = ("integer", "number", "category")
    kind = next(kind for kind in kinds if _all(values, kind))
    return "boolean" if kind == "integer" and values.isin([0, 1]).all() else kind


def _all(values: pd.Series, kind: ColumnType, decimal: Decimal = ".", form: str | None = None) -> bool:
    return bool(parsing.typed(values, kind, decimal, form).notna().all())


def _nearly_numbers(some: pd.Series, values: pd.Series, decimal: Decimal) -> Reading | None:
    """A reading as numbers, if only a few values are words."""
    if parsing.typed(some, "number", decimal).notna().mean() < 1 / 2:
        return None
    numbers = parsing.typed(values, "number", decimal)
    words = values[numbers.isna()]
    if len(words) > MOST_WORDS * len(values) or numbers.nunique() < LEAST_NUMBERS:
        return None
    kind: ColumnType = "integer" if (numbers.dropna() % 1 == 0).all() else "number"
    return Reading(kind, decimal, reason=f"{len(words)} values are no numbers, such as {words.iloc[0]!r}: missing")


def _dates(some: pd.Series, values: pd.Series, *, commas: bool) -> Reading | None:
    """A reading as dates with the first format that fits all values."""
    if not some.str.contains(r"\d").all() or not some.str.contains(r"[-/.: ]|^\d{8}$").all():
        return None
    if _all(some, "datetime") and _all(values, "datetime"):
        return Reading("datetime")
    orders = (DAYS, MONTHS) if commas else (MONTHS, DAYS)
    slashes = [form.format("/") for order in orders for form in order]
    others = [form.format(sign) for sign, order in product((".", "-"), (DAYS, MONTHS)) for form in order]
    dates = (day + clock for day, clock in product((*YEAR_FIRST, *slashes, *others, *NAMED_MONTHS), CLOCKS))
    for form in (*dates, *TIMES):
        if all(_fits(value, form) for value in some.iloc[:FEW]) and all(
            _all(part, "datetime", form=form) for part in (some, values)
        ):
            return Reading("datetime", format=form, reason=_doubt(form, values))
    return None


def _fits(value: str, form: str) -> bool:
    try:
        datetime.strptime(value, form)
    except ValueError:
        return False
    return True


def _doubt(form: str, values: pd.Series) -> str:
    """A sentence if the same values are also dates with day and month swapped; else an empty text."""
    swapped = form.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")
    if form.startswith("%Y") or swapped == form or not _all(values, "datetime", form=swapped):
        return ""
    return f"day and month cannot be told apart: {form} or {swapped}"
