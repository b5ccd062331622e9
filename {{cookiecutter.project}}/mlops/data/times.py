"""Dates and times as people and programs write them."""

import numpy as np
import pandas as pd
import pyarrow as pa

from mlops.data.numbers import arrow

# Names of zones in hours from UTC; names that are used for several zones are left out.
ZONES = {
    **{"UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9},
    **{"EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AEST": 10, "AEDT": 11},
}
MIDNIGHT = r"^(.*[T ])24(:00(?::00(?:\.0+)?)?)$"
# Words that pandas reads as the time at which it reads them.
CLOCK = ("now", "today")
SPAN = (np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31T23:59:59.999999", "us"))
# The end of a time that names its zone.
ZONED = r":[0-9]{2}(?:[.,][0-9]+)? ?(?:Z|[A-Z]{3,4}|[+-][0-9]{2}(?::?[0-9]{2})?)$"


def datetimes(values: pd.Series, form: str | None, first_year: int | None) -> pd.Series:
    """Text (n,) or times (n,) as datetime64[us] without zone, in UTC where a zone is named; NaT for what is none.

    `form` is that of `strptime`, ISO 8601 if None. Years of two digits are those from `first_year` on; if it is None,
    those from 1969 on, as in POSIX. The hour 24 is midnight at the end of the day. Years are those from 1 to 9999: -1
    stands for what is missing, not for a year before Christ.
    """
    found = _datetimes(values, form, first_year)
    return found.where(found.between(*SPAN))


def _datetimes(values: pd.Series, form: str | None, first_year: int | None) -> pd.Series:
    if not isinstance(values.dtype, pd.StringDtype):
        return _read(values, form)
    if form is None:
        try:
            plain = arrow(values).cast(pa.timestamp("us"))
            return pd.Series(plain.to_numpy(zero_copy_only=False), values.index, name=values.name)
        except pa.ArrowInvalid:
            pass  # with zones, or of another precision
    values = values.mask(values.isin(CLOCK))
    found = _read(values, form)
    if (rest := values.notna() & found.isna()).any():
        found = found.where(~rest, _read(respelt(values[rest]), form))
        late = rest & values.str.match(MIDNIGHT)
        found = found.where(~late, found + pd.Timedelta(days=1))
    return found if first_year is None else _in_century(found, first_year)


def respelt(values: pd.Series) -> pd.Series:
    """The same times (n,) with zones as offsets, months of three letters, and hours up to 23 (24:00 becomes 00:00)."""
    values = values.str.replace(MIDNIGHT, lambda found: f"{found[1]}00{found[2]}", regex=True)
    values = values.str.replace(rf" ?\b({'|'.join(ZONES)})$", lambda found: f"{ZONES[found[1]]:+03d}:00", regex=True)
    return values.str.replace(r"(?i)\b(Sep)t\b", r"\1", regex=True).str.replace(r"\b([A-Za-z]{3})\.", r"\1", regex=True)


def _read(values: pd.Series, form: str | None) -> pd.Series:
    found = pd.to_datetime(values, errors="coerce", format=form or "ISO8601", utc=True)
    return found.dt.tz_localize(None).astype("datetime64[us]")


def _in_century(times: pd.Series, first_year: int) -> pd.Series:
    """The same times in the hundred years that begin with `first_year`; a day that this year lacks becomes missing."""
    years = times.dt.year
    moved = first_year + (years - first_year) % 100
    for change in moved[moved != years].sub(years).dropna().unique():
        there = times + pd.DateOffset(years=int(change))
        there = there.where(there.dt.day == times.dt.day)
        times = times.where(moved - years != change, there)
    return times.astype("datetime64[us]")


def window(first_year: int | None) -> str:
    """The years that years of two digits stand for, as text."""
    first = 1969 if first_year is None else first_year
    return f"{first} to {first + 99}"
