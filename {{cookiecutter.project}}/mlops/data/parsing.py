"""From a delivery as it came to a typed table: every value of its column's type, or missing, or its row rejected."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlops.base.errors import DataError
from mlops.data.schema import Column, ColumnType, Decimal, Schema

TRUE = frozenset({"true", "t", "yes", "y", "on", "1", "1.0"})
FALSE = frozenset({"false", "f", "no", "n", "off", "0", "0.0"})
LARGEST = 2**63 - 1
EXAMPLES = 5
# The types of a typed table, as pandas has them.
DTYPES: dict[ColumnType, str] = {
    "number": "float64",
    "integer": "Int64",
    "boolean": "boolean",
    "category": "str",
    "text": "str",
    "datetime": "datetime64[us]",
}
PLAIN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
# One currency sign, or a per cent, beside a number; digits in groups of three, by the sign that is not the decimal one.
SIGNED = r"((?:-\s*)?(?P<before>[$€£¥₹%]?)\s*-?)\s*(?P<bare>[^-$€£¥₹%].*?)\s*(?P<behind>[$€£¥₹%]?)"
GROUPS = {".": ",", ",": "."}
BLANKS = " '’\u00a0\u202f"
GROUPED = {
    sign: re.compile(
        rf"\+?[1-9]\d?\d?([{re.escape(group + BLANKS)}])\d\d\d(\1\d\d\d)*({re.escape(sign)}\d*)?", re.ASCII
    )
    for sign, group in GROUPS.items()
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
    """

    table: pd.DataFrame
    unparseable: list[Unparseable]


def parse(delivery: pd.DataFrame, schema: Schema, source: str, required: list[str]) -> Parsed:
    """Give every column that `schema` expects of a delivery its type.

    Columns of `delivery` (n rows; text from CSV, or any dtype from Parquet) that `schema` does not name are an error,
    so that nothing is dropped unnoticed. A column that is neither there nor `required` is left out.

    Raises:
        DataError: a required column is missing, or a column is unknown; all of them are named, with `source`.
    """
    _refuse_other_columns(delivery, schema, source, required)
    columns, found = {}, []
    rejected = np.zeros(len(delivery), dtype=bool)
    for name in schema.delivered:
        if name not in delivery:
            continue
        kind, values = schema.columns[name], _unwrapped(delivery[name])
        columns[name] = column(values, kind, schema.missing)
        wrong = (given(values, schema.missing) & columns[name].isna()).to_numpy(dtype=bool)
        if wrong.any():
            rows = np.flatnonzero(wrong)
            found.append(_unparseable(name, kind, rows, values))
            if kind.unparseable == "reject":
                rejected |= wrong
    table = pd.DataFrame(columns, index=delivery.index)
    return Parsed(table[~rejected], found)


def column(values: pd.Series, kind: Column, missing: tuple[str, ...]) -> pd.Series:
    """The values (n) of one column in its type; what is missing, or not of that type, is missing."""
    return typed(values.where(given(values, missing)), kind.type, kind.decimal, kind.format)


def given(values: pd.Series, missing: tuple[str, ...]) -> pd.Series:
    """Where a value stands, shape (n,): neither missing by its dtype nor, for text, one of the `missing` spellings."""
    values = _unwrapped(values)
    return values.notna() & ~values.str.strip().isin(missing) if is_text(values) else values.notna()


def typed(values: pd.Series, kind: ColumnType, decimal: Decimal = ".", form: str | None = None) -> pd.Series:
    """The same values (n) in the dtype of `kind`; what is not of that kind becomes missing.

    Of text, `decimal` says how numbers are written, and `form` how times are (as in `strptime`; None is ISO 8601).
    """
    values = _unwrapped(values)
    if pd.api.types.is_datetime64_any_dtype(values.dtype) != (kind == "datetime"):
        values = values.astype("str")  # a time is no number, nor a number a time: each is read as CSV would write it
    if is_text(values) and kind != "text":
        values = values.str.strip()
    if kind == "number":
        return _numbers(values, decimal)
    if kind == "integer":
        return _integers(values, decimal)
    return _datetimes(values, form) if kind == "datetime" else _PARSERS[kind](values)


def is_text(values: pd.Series) -> bool:
    """Whether the values came as text."""
    return isinstance(values.dtype, pd.StringDtype)


def _unwrapped(values: pd.Series) -> pd.Series:
    """The same values as numbers, times or text, whether they came as objects or as a dictionary of levels."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    return values.astype("str") if values.dtype == object else values


def _refuse_other_columns(delivery: pd.DataFrame, schema: Schema, source: str, required: list[str]) -> None:
    lacking = [name for name in required if name not in delivery]
    unknown = [str(name) for name in delivery if name not in schema.columns]
    twice = [name for name in schema.derived if name in delivery]
    if lacking:
        raise DataError(
            f"{source} lacks {_columns(lacking)} that schema.yaml names (it has {', '.join(map(str, delivery))}): "
            "deliver all columns, or correct schema.yaml"
        )
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


def _numbers(values: pd.Series, decimal: Decimal) -> pd.Series:
    if not is_text(values):
        numbers = values.astype("float64")
    else:
        numbers = pd.Series(_floats(pa.array(values, pa.large_string()), decimal), values.index, name=values.name)
    return numbers.where(np.isfinite(numbers))


def _floats(text: pa.Array, decimal: Decimal) -> NDArray[np.float64]:
    """The numbers that text of shape (n,) stands for, NaN for what is none."""
    if decimal == ".":
        try:
            numbers: NDArray[np.float64] = text.cast(pa.float64()).to_numpy(zero_copy_only=False)
            return numbers  # nearly always all are plain
        except pa.ArrowInvalid:
            swapped = text
    else:
        dotless = pc.if_else(pc.match_substring(text, "."), None, text)
        swapped = pc.replace_substring(dotless, ",", ".")
    plain = pc.fill_null(pc.match_substring_regex(swapped, PLAIN), False)
    signless = pc.utf8_ltrim(pc.if_else(plain, swapped, None), "+")
    numbers = signless.cast(pa.float64()).to_numpy(zero_copy_only=False).copy()
    others = np.flatnonzero(pc.and_(pc.invert(plain), text.is_valid()))
    if len(others):
        spelt = text.take(pa.array(others)).dictionary_encode()
        meant = np.array([_number(value, decimal) for value in spelt.dictionary.to_pylist()])
        numbers[others] = meant[spelt.indices.to_numpy()]
    return numbers


def _number(text: str, decimal: Decimal) -> float:
    """What a spelling with units or grouped digits means; NaN if it is no number."""
    signed = re.fullmatch(SIGNED, text.replace("\u2212", "-"))
    if not signed or (signed["before"] and signed["behind"]) or signed[1].count("-") > 1:
        return np.nan
    sign, bare = "-" if "-" in signed[1] else "", signed["bare"]
    if found := GROUPED[decimal].fullmatch(bare):
        bare = bare.replace(found[1], "")
    elif decimal == "," and "." in bare:
        return np.nan
    bare = (sign + bare).replace(decimal, ".")
    return float(bare) if re.fullmatch(PLAIN, bare, re.ASCII) else np.nan


def _integers(values: pd.Series, decimal: Decimal) -> pd.Series:
    if is_text(values):
        # Digits are not read through floats, so that an id above 2^53 keeps its last ones, whatever other rows hold.
        try:
            digits = pa.array(values, pa.large_string()).cast(pa.int64())
            return pd.Series(digits.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get).array, values.index)
        except pa.ArrowInvalid:
            exact = values.str.fullmatch("[+-]?[0-9]{1,19}") & (values.str.lstrip("+-").str.zfill(19) <= str(LARGEST))
        whole = pd.to_numeric(values.where(exact), dtype_backend="numpy_nullable").astype("Int64")
        return whole.fillna(_integers(_numbers(values.where(~exact), decimal), decimal))
    if pd.api.types.is_integer_dtype(values.dtype):
        return values.convert_dtypes().where(values <= LARGEST).astype("Int64")
    numbers = values.astype("float64")
    fits = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (numbers >= -(2**63)) & (numbers < 2**63)
    return numbers.where(fits).astype("Int64")


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


def _datetimes(values: pd.Series, form: str | None) -> pd.Series:
    if is_text(values) and form is None:
        try:
            plain = pa.array(values, pa.large_string()).cast(pa.timestamp("us"))
            return pd.Series(plain.to_numpy(zero_copy_only=False), values.index, name=values.name)
        except pa.ArrowInvalid:
            pass  # with zones, or of another precision
    values = pd.to_datetime(values, errors="coerce", format=form or "ISO8601", utc=True)
    return values.dt.tz_localize(None).astype("datetime64[us]")


_PARSERS: dict[ColumnType, Callable[[pd.Series], pd.Series]] = {
    "boolean": _booleans,
    "category": _categories,
    "text": _texts,
}
