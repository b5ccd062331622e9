"""From a delivery as it came to a typed table: every value of its column's type, or missing, or its row rejected."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.errors import DataError
from ml.schema import Column, ColumnType, Schema

TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})
FALSE = frozenset({"false", "f", "no", "n", "0", "0.0"})
LARGEST = 2**63 - 1


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
    """

    table: pd.DataFrame
    unparseable: list[Unparseable]


def parse(delivery: pd.DataFrame, schema: Schema, source: str, required: list[str]) -> Parsed:
    """Give every column of `schema` that is not ignored its type.

    Columns of `delivery` (n rows; text from CSV, or any dtype from Parquet) that `schema` does not name are an error,
    so that nothing is dropped unnoticed. A column that is neither there nor `required` is left out.

    Raises:
        DataError: a required column is missing, or a column is unknown; all of them are named, with `source`.
    """
    _refuse_other_columns(delivery, schema, source, required)
    columns, found = {}, []
    rejected = np.zeros(len(delivery), dtype=bool)
    for name in schema.kept:
        if name not in delivery:
            continue
        column = schema.columns[name]
        values = _unwrapped(delivery[name])
        present = given(values, schema.missing)
        columns[name] = typed(values.where(present), column.type)
        wrong = (present & columns[name].isna()).to_numpy(dtype=bool)
        if wrong.any():
            rows = np.flatnonzero(wrong)
            found.append(_unparseable(name, column, rows, values))
            if column.unparseable == "reject":
                rejected |= wrong
    table = pd.DataFrame(columns, index=delivery.index)
    return Parsed(table[~rejected], found)


def given(values: pd.Series, missing: tuple[str, ...]) -> pd.Series:
    """Where a value stands, shape (n,): neither missing by its dtype nor, for text, one of the `missing` spellings."""
    values = _unwrapped(values)
    return values.notna() & ~values.str.strip().isin(missing) if _is_text(values) else values.notna()


def typed(values: pd.Series, kind: ColumnType) -> pd.Series:
    """The same values (n) in the dtype of `kind`; what is not of that kind becomes missing."""
    values = _unwrapped(values)
    if pd.api.types.is_datetime64_any_dtype(values.dtype) != (kind == "datetime"):
        values = values.astype("str")  # a time is no number, nor a number a time: each is read as CSV would write it
    return _PARSERS[kind](values)


def _unwrapped(values: pd.Series) -> pd.Series:
    """The same values as numbers, times or text, whether they came as objects or as a dictionary of levels."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    return values.astype("str") if values.dtype == object else values


def _refuse_other_columns(delivery: pd.DataFrame, schema: Schema, source: str, required: list[str]) -> None:
    lacking = [name for name in required if name not in delivery]
    unknown = [str(name) for name in delivery if name not in schema.columns]
    if lacking:
        raise DataError(
            f"{source} lacks {_columns(lacking)} that schema.yaml names (it has {', '.join(map(str, delivery))}): "
            "deliver all columns, or correct schema.yaml"
        )
    if unknown:
        raise DataError(
            f"{source} has {_columns(unknown)} that schema.yaml does not name: add each there, with `role: ignore` "
            "if it is of no use"
        )


def _columns(names: list[str]) -> str:
    return f"the column{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _is_text(values: pd.Series) -> bool:
    return isinstance(values.dtype, pd.StringDtype)


def _unparseable(name: str, column: Column, rows: NDArray[np.intp], values: pd.Series) -> Unparseable:
    examples = [str(value) for value in values.iloc[rows[:5]]]
    return Unparseable(name, column.type, column.unparseable == "reject", rows, examples)


def _numbers(values: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(values.str.strip() if _is_text(values) else values, errors="coerce")
    numbers = numbers.astype("float64")
    return numbers.where(np.isfinite(numbers))


def _integers(values: pd.Series) -> pd.Series:
    if _is_text(values):
        # Digits are not read through floats, so that an id above 2^53 keeps its last ones, whatever other rows hold.
        text = values.str.strip()
        digits = text.str.fullmatch("[+-]?[0-9]{1,19}") & (text.str.lstrip("+-").str.zfill(19) <= str(LARGEST))
        exact = pd.to_numeric(text.where(digits), dtype_backend="numpy_nullable").astype("Int64")
        return exact.fillna(_integers(_numbers(text.where(~digits))))
    if pd.api.types.is_integer_dtype(values.dtype):
        return values.convert_dtypes().where(values <= LARGEST).astype("Int64")
    numbers = values.astype("float64")
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (numbers >= -(2**63)) & (numbers < 2**63)
    return numbers.where(whole).astype("Int64")


def _booleans(values: pd.Series) -> pd.Series:
    spelling = values.astype("str").str.strip().str.lower()
    known = spelling.isin(TRUE) | spelling.isin(FALSE)
    return spelling.isin(TRUE).astype("boolean").where(known)


def _categories(values: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(values.dtype) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")  # whole numbers that only a missing neighbour made into floats: 3.0 is "3"
    return values.astype("str").str.strip()


def _texts(values: pd.Series) -> pd.Series:
    return values.astype("str")


def _datetimes(values: pd.Series) -> pd.Series:
    if _is_text(values):
        values = values.str.strip()
    values = pd.to_datetime(values, errors="coerce", format="ISO8601", utc=True)
    return values.dt.tz_localize(None).astype("datetime64[us]")


_PARSERS: dict[ColumnType, Callable[[pd.Series], pd.Series]] = {
    "number": _numbers,
    "integer": _integers,
    "boolean": _booleans,
    "category": _categories,
    "text": _texts,
    "datetime": _datetimes,
}
