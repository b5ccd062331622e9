"""From a delivery as it came to a typed table: every value of its column's type, or missing, or its row rejected."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlops.base.errors import DataError
from mlops.data import numbers, round_trip, times
from mlops.data.numbers import arrow
from mlops.data.schema import POINT_ZERO, Column, ColumnType, Decimal, Schema

TRUE = frozenset({"true", "t", "yes", "y", "on", "1", "1.0"})
FALSE = frozenset({"false", "f", "no", "n", "off", "0", "0.0"})
LARGEST = 2**63 - 1
EXAMPLES = 5
EXCEL = r'^="(.*)"$'  # how Excel marks text that looks like a number
# The types of a typed table, as pandas has them.
DTYPES: dict[ColumnType, str] = {
    "number": "float64",
    "integer": "Int64",
    "boolean": "boolean",
    "category": "str",
    "text": "str",
    "datetime": "datetime64[us]",
}


@dataclass(frozen=True)
class Unparseable:
    """The values of one column that are not of its type.

    `rows` are their 0-based positions in the delivery, `values` what stood there.
    """

    column: str
    type: ColumnType
    rejected: bool
    rows: NDArray[np.intp]
    values: list[str]


@dataclass(frozen=True)
class Parsed:
    """A typed table: number float64, integer Int64, boolean boolean, category and text str, datetime datetime64[us].

    Missing is NaN, NA or NaT by type. `table` has no rejected row; its index is the row's position in the delivery.
    `seen` is what the text of each column shows of losses.
    """

    table: pd.DataFrame
    unparseable: list[Unparseable]
    seen: dict[str, round_trip.Seen]


def parse(delivery: pd.DataFrame, schema: Schema, source: str, required: list[str]) -> Parsed:
    """Give every column that `schema` expects of a delivery its type.

    Columns of `delivery` (n rows; text from CSV, or any dtype from Parquet) that `schema` does not name are an error,
    so that nothing is dropped unnoticed. A column that is neither there nor `required` is left out.

    Raises:
        DataError: a required column is missing, or a column is unknown; all of them are named, with `source`.
    """
    _refuse_other_columns(delivery, schema, source, required)
    columns, found = {}, []
    seen: dict[str, round_trip.Seen] = {}
    rejected = np.zeros(len(delivery), dtype=bool)
    for name in schema.delivered:
        if name not in delivery:
            continue
        kind, values = schema.columns[name], plain(delivery[name])
        stands = given(values, words(kind, schema.missing))
        columns[name] = typed(values.where(stands), kind)
        seen[name] = round_trip.seen(values, stands, columns[name], kind)
        wrong = (stands & columns[name].isna()).to_numpy(dtype=bool)
        if wrong.any():
            rows = np.flatnonzero(wrong)
            found.append(_unparseable(name, kind, rows, values))
            if kind.unparseable == "reject":
                rejected |= wrong
    table = pd.DataFrame(columns, index=delivery.index)
    return Parsed(table[~rejected], found, seen)


def require(names: list[str], required: list[str], source: str) -> None:
    """Refuse a delivery with the columns `names` that lacks a `required` one.

    Raises:
        DataError: all lacking columns are named, with `source`.
    """
    if lacking := [name for name in required if name not in names]:
        raise DataError(
            f"{source} lacks {_columns(lacking)} that schema.yaml names (it has {', '.join(names)}): "
            "deliver all columns, or correct schema.yaml"
        )


def column(values: pd.Series, kind: Column, missing: tuple[str, ...]) -> pd.Series:
    """The values (n) of one column in its type; what is missing, or not of that type, is missing."""
    return typed(values.where(given(values, words(kind, missing))), kind)


def words(kind: Column, missing: tuple[str, ...]) -> tuple[str, ...]:
    """The spellings of a missing value in a column: its own, else those of the schema."""
    return missing if kind.missing is None else kind.missing


def given(values: pd.Series, missing: tuple[str, ...]) -> pd.Series:
    """Where a value stands, shape (n,): neither missing by its dtype nor, for text, one of the `missing` spellings."""
    values = plain(values)
    if not is_text(values):
        return values.notna()
    text = arrow(values)  # not by pandas, which takes ten times as long for a few rows
    spelt = pc.is_in(pc.utf8_trim_whitespace(text), pa.array(missing, pa.large_string()))
    return pd.Series(np.asarray(pc.and_(text.is_valid(), pc.invert(spelt)), dtype=bool), values.index, name=values.name)


@dataclass(frozen=True)
class Spelling:
    """The type of a column and how text spells it, as in `mlops.data.schema.Column`."""

    type: ColumnType
    decimal: Decimal = "."
    unit: str | None = None
    format: str | None = None
    first_year: int | None = None


def typed(values: pd.Series, how: Column | Spelling) -> pd.Series:
    """The same values (n) in the dtype of `how.type`; what is not of that type becomes missing."""
    values = plain(values)
    if pd.api.types.is_datetime64_any_dtype(values.dtype) != (how.type == "datetime"):
        values = values.astype("str")  # a time is no number, nor a number a time: each is read as CSV would write it
    if is_text(values) and how.type != "text":
        values = values.str.strip()
    if how.type == "number":
        return _numbers(values, how)
    if how.type == "integer":
        return _integers(values, how)
    if how.type == "datetime":
        return times.datetimes(values, how.format, how.first_year)
    return _PARSERS[how.type](values)


def is_text(values: pd.Series) -> bool:
    """Whether the values came as text."""
    return isinstance(values.dtype, pd.StringDtype)


def plain(values: pd.Series) -> pd.Series:
    """The same values as numbers, times or text, whether they came as objects, levels, or as Excel's `="00129"`."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    values = values.astype("str") if values.dtype == object else values
    if is_text(values) and pc.any(pc.starts_with(arrow(values), '="')).as_py():
        values = values.str.replace(EXCEL, r"\1", regex=True)
    return values


def _refuse_other_columns(delivery: pd.DataFrame, schema: Schema, source: str, required: list[str]) -> None:
    require([str(name) for name in delivery], required, source)
    unknown = [str(name) for name in delivery if name not in schema.columns]
    twice = [name for name in schema.derived if name in delivery]
    if twice:
        raise DataError(
            f"{source} has {_columns(twice)}, which project/features.py derives: rename the derived column, there and "
            "in schema.yaml, or deliver the data without it"
        )
    if unknown:
        raise DataError(
            f"{source} has {_columns(unknown)} that schema.yaml does not name: `python -m mlops schema infer --update` "
            "adds what it lacks; give a column of no use `role: ignore`"
        )


def _columns(names: list[str]) -> str:
    return f"the column{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _unparseable(name: str, column: Column, rows: NDArray[np.intp], values: pd.Series) -> Unparseable:
    examples = [str(value) for value in values.iloc[rows[:EXAMPLES]]]
    return Unparseable(name, column.type, column.unparseable == "reject", rows, examples)


def _numbers(values: pd.Series, how: Column | Spelling) -> pd.Series:
    if is_text(values):
        found = numbers.floats(arrow(values), how.decimal, how.unit)
        return pd.Series(found, values.index, name=values.name)
    floats = values.astype("float64")
    return floats.where(floats.abs() < np.finfo(np.float64).max)


def _integers(values: pd.Series, how: Column | Spelling) -> pd.Series:
    if is_text(values):
        # Digits are not read through floats, so that an id above 2^53 keeps its last ones, whatever other rows hold.
        try:
            text = arrow(values)
            if any(pc.any(pc.match_substring(text, sign)).as_py() for sign in "xX"):
                raise pa.ArrowInvalid  # Arrow would read the hexadecimal 0x1F
            digits = text.cast(pa.int64())
            return pd.Series(digits.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get).array, values.index)
        except pa.ArrowInvalid:
            values = values.str.replace(r"^([+-]?\d+)\.0*$", r"\1", regex=True) if how.decimal == "." else values
            exact = values.str.fullmatch("[+-]?[0-9]{1,19}") & (values.str.lstrip("+-").str.zfill(19) <= str(LARGEST))
        whole = pd.to_numeric(values.where(exact), dtype_backend="numpy_nullable").astype("Int64")
        return whole.fillna(_whole(_numbers(values.where(~exact), how)))
    if pd.api.types.is_integer_dtype(values.dtype):
        return values.convert_dtypes().where(values <= LARGEST).astype("Int64")
    return _whole(values.astype("float64"))


def _whole(floats: pd.Series) -> pd.Series:
    """The floats (n,) that are whole numbers of 64 bits."""
    fits = np.isfinite(floats) & (floats == np.floor(floats)) & (floats >= -(2**63)) & (floats < 2**63)
    return floats.where(fits).astype("Int64")


def _booleans(values: pd.Series) -> pd.Series:
    spelling = values.astype("str").str.strip().str.lower()
    known = spelling.isin(TRUE) | spelling.isin(FALSE)
    return spelling.isin(TRUE).astype("boolean").where(known)


def _categories(values: pd.Series) -> pd.Series:
    """The levels without blanks around them; 107.0 is 107, since a missing neighbour makes floats of whole numbers."""
    levels = values.astype("str").str.strip()
    if pc.any(pc.ends_with(arrow(levels), ".0")).as_py():
        levels = levels.str.replace(POINT_ZERO, r"\1", regex=True)
    return levels


def _texts(values: pd.Series) -> pd.Series:
    return values.astype("str")


_PARSERS: dict[ColumnType, Callable[[pd.Series], pd.Series]] = {
    "boolean": _booleans,
    "category": _categories,
    "text": _texts,
}
