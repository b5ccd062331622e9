"""Raw rows of a client, as CSV or JSON has them, in the types and with the columns that prepared data has."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from numbers import Number
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import DataError
from mlops.data import parsing, times
from mlops.data.deriving import Derive, derived
from mlops.data.event_features import Source
from mlops.data.schema import Column, Schema

SAMPLE = 1000  # values that show whether a column repeats its texts
Rows: TypeAlias = pd.DataFrame | pd.Series | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def typed(
    rows: Rows, schema: Schema, derive: Derive, events: Source | None = None, now: datetime | None = None
) -> pd.DataFrame:
    """The typed table (n rows, numbered from 0) of raw rows, its derived columns included, as `prepare` makes it.

    `rows` are a table, one row by the names of its columns, whole columns by their names, or a list of rows. What no
    prediction needs, such as an id or the target, is left out. A value is spelt as `schema` says, or as programs spell
    it: a number is a number whatever the decimal sign, and a date may be one of ISO 8601 or of Python. What a value of
    rows or lists is read as depends on that value alone, not on those beside it.

    Columns of history are made of `events`. A row that does not say when it is asked about is asked about `now`.

    Raises:
        DataError: there is no row, a needed column is not there, or a value is not of its column's type.
        OwnCodeError: `derive` fails or does not keep its contract.
    """
    table = _table(rows)
    records = [] if isinstance(rows, pd.DataFrame | pd.Series | Mapping) else rows
    asked_now = schema.history.time if now and schema.history.tables else ""
    if now and asked_now:
        given = np.array([asked_now in row for row in records] or [asked_now in table] * len(table))
        moments = table[asked_now] if asked_now in table else pd.Series(None, table.index, dtype=object)
        if not given.all():
            table = pd.DataFrame({**table, asked_now: moments.where(given, as_text(now))})
    needed = [name for name in schema.needed if name != asked_now]
    lacking = [name for name in needed if name not in table or any(name not in row for row in records)]
    if lacking:
        raise DataError(
            f"the row lacks {', '.join(lacking)}, which the model needs: give every feature, and null (in CSV nothing) "
            "where its value is not known"
        )
    columns = {}
    for name in schema.needed:
        values, column = table[name].reset_index(drop=True), schema.columns[name]
        columns[name], wrong = read(values, column, schema.missing)
        if wrong.any():
            # In training it may count as missing, and is reported; here a person waits, and sees no report.
            found = np.flatnonzero(wrong)
            others = f" (one of {len(found)} such values)" if len(found) > 1 else ""
            [value] = as_spelt(values.iloc[found[:1]], column, schema.missing)
            raise DataError(
                f"{name} is {str(value)!r} in row {found[0] + 1} of {len(table)}{others}, which is no {column.type}: "
                "correct the value, or give null where it is not known"
            )
    return derived(pd.DataFrame(columns), schema, derive, events)


def as_text(now: datetime) -> str:
    """A time as rows of JSON have it: in UTC, without a zone, in ISO 8601 to the microsecond."""
    return now.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def read(values: pd.Series, column: Column, missing: tuple[str, ...]) -> tuple[pd.Series, NDArray[np.bool_]]:
    """The raw values (n) of one column as `typed` reads them, and where (n,) it refuses one."""
    if parsing.is_text(values) and values.head(SAMPLE).nunique() < SAMPLE / 2 < len(values) / 2:
        # Each different text is read once: that takes a fifth of the time.
        codes, different = pd.factorize(values, use_na_sentinel=False)
        found, wrong = _read(pd.Series(different, name=values.name), column, missing)
        return found.take(codes).set_axis(values.index), wrong[codes]
    return _read(values, column, missing)


def _read(values: pd.Series, column: Column, missing: tuple[str, ...]) -> tuple[pd.Series, NDArray[np.bool_]]:
    spelt = as_spelt(values, column, missing)
    stands = parsing.given(spelt, parsing.words(column, missing))
    found = parsing.typed(spelt.where(stands), column)
    return found, (stands & found.isna()).to_numpy(dtype=bool)


def as_spelt(values: pd.Series, column: Column, missing: tuple[str, ...]) -> pd.Series:
    """The same values (n) with numbers among objects, and dates of ISO 8601, spelt as the column spells them."""
    if column.decimal != "." and values.dtype == object:
        numeric = values.map(lambda value: isinstance(value, Number) and not isinstance(value, bool))
        values = values.where(~numeric | values.isna(), values.astype("str").str.replace(".", column.decimal))
    values = parsing.plain(values)
    if column.format is None or not parsing.is_text(values):
        return values
    stands = parsing.given(values, parsing.words(column, missing))
    iso = times.datetimes(values.where(stands & parsing.typed(values, column).isna()).str.strip(), None, None)
    spelt = iso.dt.tz_localize("UTC").dt.strftime(column.format)
    # A year of two digits may stand for another one: such a date stays as it is, and cannot be read.
    return values.where(parsing.typed(spelt, column).dt.year != iso.dt.year, spelt)


def _table(rows: Rows) -> pd.DataFrame:
    """The rows as a table; of a mapping, columns are all lists, and a row is not."""
    if isinstance(rows, pd.Series):
        rows = {str(name): value for name, value in rows.items()}
    try:
        one = isinstance(rows, Mapping) and not all(map(pd.api.types.is_list_like, rows.values()))
        # Objects, since pandas would make floats of the integers above a missing value, and 1 of true beside a number.
        kind = None if isinstance(rows, pd.DataFrame) else object
        table = pd.DataFrame([rows] if one else rows, dtype=kind)
    except (TypeError, ValueError) as error:
        raise DataError(f"the rows are no table ({error}): give one row, or a list of rows, by column names") from None
    if table.empty:
        raise DataError("there is no row to predict: give at least one, by column names")
    if twice := table.columns[table.columns.duplicated()].unique().tolist():
        raise DataError(f"the rows have {', '.join(map(str, twice))} twice: give each column once")
    return table
