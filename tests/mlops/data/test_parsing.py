"""Deliveries become typed tables: the same whether they came as CSV or Parquet, with every wrong value located."""

import gzip
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlops.base.errors import DataError
from mlops.data import parsing
from mlops.data.schema import MISSING, Column, Schema
from mlops.intake import collecting, deliveries

DTYPES = {
    "number": "float64",
    "integer": "Int64",
    "boolean": "boolean",
    "category": "str",
    "text": "str",
    "datetime": "datetime64[us]",
}
# The largest double stands for missing in many an export.
FLOATS = st.floats(allow_infinity=False, allow_nan=False).filter(lambda value: abs(value) < np.finfo(float).max)
YES = ["true", "True", "TRUE", " t ", "yes", "Yes", "Y", "1", "1.0"]
NO = ["false", "False", "FALSE", "f", "no", " No", "N", "0", "0.0"]


def typed(values: list[object], kind: str, dtype: object = str, **limits: object) -> pd.Series:
    """One column after parsing; it stands beside a target, since a schema needs one."""
    delivery = pd.DataFrame({"x": pd.Series(values, dtype=dtype), "y": "1"})
    columns = {"x": Column(type=kind, role="ignore" if kind == "text" else "feature", **limits)}
    if kind == "text":
        columns = {"x": Column(type=kind, role="id", **limits), "other": Column(type="number")}
    schema = Schema(columns={**columns, "y": Column(type="integer", role="target")})
    return parsing.parse(delivery, schema, "a.csv", ["x", "y"]).table["x"]


def read(folder: Path, schema: Schema, required: list[str]) -> collecting.Delivered:
    """What was found in a folder; its rows are gone."""
    with collecting.collected(folder, schema, required, lambda table: table, folder / ".aside.parquet") as delivered:
        return delivered


def schema_of(**columns: dict[str, object]) -> Schema:
    return Schema(columns={**columns, "y": {"type": "category", "role": "target"}})


@pytest.mark.parametrize(
    ("kind", "text", "values", "dtype"),
    [
        ("number", ["1.5", "-2e3", "", "inf", "-inf"], [1.5, -2000, None, np.inf, -np.inf], "float64"),
        ("number", ["1", "2", "3"], [1, 2, 3], "int64"),
        ("integer", ["1", "9223372036854775807", "9223372036854775808"], [1, 2**63 - 1, 2**63], "uint64"),
        ("number", ["1", "0", ""], [True, False, None], "boolean"),
        ("integer", ["1", "-2", ""], [1, -2, None], "float64"),
        ("integer", ["1", "-2", ""], [1, -2, None], "Int64"),
        ("boolean", ["true", "False", ""], [True, False, None], "boolean"),
        ("boolean", ["yes", "no", "yes"], [True, False, True], "bool"),
        ("boolean", ["1", "0", ""], [1, 0, None], "float64"),
        ("boolean", ["Yes", "No", ""], ["Yes", "No", None], "category"),
        ("category", ["a", "b", ""], ["a", "b", None], "category"),
        ("category", ["3", "4", ""], [3, 4, None], "float64"),
        ("category", ["3", "4", "4"], [3, 4, 4], "category"),
        ("category", ["ä b", "b", ""], ["ä b", "b", None], object),
        ("text", ["a  b", "b", ""], ["a  b", "b", None], "str"),
        ("datetime", ["2024-02-29", "2024-03-01", ""], ["2024-02-29", "2024-03-01", None], "datetime64[ns]"),
        ("number", ["2024-02-29", "", ""], ["2024-02-29", None, None], "datetime64[ns]"),
        ("integer", ["2024-02-29", "", ""], ["2024-02-29", None, None], "datetime64[ns]"),
        ("boolean", ["2024-02-29", "", ""], ["2024-02-29", None, None], "datetime64[ns]"),
        ("category", ["2024-02-29", "2024-03-01", ""], ["2024-02-29", "2024-03-01", None], "datetime64[ns]"),
        ("datetime", ["20240229", "1", "0"], [20240229, 1, 0], "int64"),
        ("datetime", ["True", "False", ""], [True, False, None], "boolean"),
        ("datetime", ["2024-02-29T01:00:00+01:00", "", ""], ["2024-02-29 00:00", None, None], "datetime64[ms, UTC]"),
    ],
)
def test_the_same_values_give_the_same_column_from_text_and_from_parquet(
    kind: str, text: list[str], values: list[object], dtype: object, tmp_path: Path
) -> None:
    given_type = pd.DataFrame({"x": pd.Series(values).astype(dtype)})
    given_type.to_parquet(tmp_path / "a.parquet")

    from_text = typed(list(text), kind)
    from_parquet = typed(pd.read_parquet(tmp_path / "a.parquet")["x"], kind, dtype=None)

    pd.testing.assert_series_equal(from_text, from_parquet)
    assert from_text.dtype == DTYPES[kind]


@pytest.mark.parametrize("kind", DTYPES)
def test_a_column_without_any_value_still_has_its_type(kind: str) -> None:
    assert typed(["", "NA", "?"], kind).dtype == DTYPES[kind]
    assert typed([None, None, None], kind, dtype=object).isna().all()


def test_a_number_is_never_infinite() -> None:
    assert typed(["inf", "-Infinity", "nan", "1e999"], "number").isna().all()
    assert typed([np.inf, -np.inf, np.nan], "number", dtype="float64").isna().all()


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.none()), min_size=1))
def test_an_integer_keeps_its_last_digit(values: list[int | None]) -> None:
    text = ["" if value is None else str(value) for value in values]

    column = typed(text, "integer")

    assert [None if value is pd.NA else int(value) for value in column] == values


@settings(deadline=None)
@given(st.lists(st.one_of(FLOATS, st.none()), min_size=1))
def test_a_number_survives_being_written_as_text(values: list[float | None]) -> None:
    column = typed(["" if value is None else repr(value) for value in values], "number")

    assert [None if np.isnan(value) else float(value) for value in column] == values


def grouped(digits: str, sign: str) -> str:
    """The digits of a whole number, in groups of three from the right."""
    head = len(digits) % 3 or 3
    return sign.join([digits[:head], *(digits[at : at + 3] for at in range(head, len(digits), 3))])


UNITS = ["{}", "${}", "€ {}", "{} %", "{}%", "{} €", "£{}", "¥{}", "{}₹"]


@settings(deadline=None)
@given(
    st.integers(-(10**12), 10**12),
    st.text("0123456789", max_size=6),
    st.sampled_from([(".", ","), (".", " "), (".", "'"), (".", ""), (",", "."), (",", " "), (",", "'"), (",", "")]),
    st.sampled_from(UNITS),
    st.sampled_from(["\u00a0", "\u202f", "’", ""]),
    st.booleans(),
)
def test_a_number_is_the_same_in_every_spelling(
    whole: int, fraction: str, signs: tuple[str, str], unit: str, blank: str, plain: bool
) -> None:
    decimal, group = signs
    group = blank if group in (" ", "'") and blank else group
    spelt = unit.format(grouped(str(abs(whole)), group) + (decimal + fraction if fraction else ""))
    spelt = ("-" if whole < 0 else "") + spelt
    others = ["1"] if plain else ["1", spelt, "word", ""]

    column = typed([spelt, *others], "number", decimal=decimal)

    assert column[0] == float(f"{whole}.{fraction or '0'}" if whole else f"0.{fraction or '0'}")
    assert column[1] == 1


@settings(deadline=None)
@given(st.lists(st.one_of(FLOATS, st.none()), min_size=1))
def test_a_number_survives_being_written_with_a_decimal_comma(values: list[float | None]) -> None:
    column = typed(["" if value is None else repr(value).replace(".", ",") for value in values], "number", decimal=",")

    assert [None if np.isnan(value) else float(value) for value in column] == values


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("1,234", ".", 1234),
        ("1,234", ",", 1.234),
        ("1.234", ",", 1234),
        ("1.234", ".", 1.234),
        ("1.234,5", ",", 1234.5),
        ("1,234.5", ".", 1234.5),
        ("1 234 567", ".", 1234567),
        ("1'234.5", ".", 1234.5),
        ("12 %", ".", 12),
        ("-$1,234", ".", -1234),
        ("$-1", ".", -1),
        ("\u22125", ".", -5),
        ("+1,234", ".", 1234),
        ("+5", ",", 5),
        ("1e3", ",", 1000),
        ("1,5e3", ",", 1500),
        (".5", ".", 0.5),
        ("5.", ".", 5),
        ("1.5", ",", None),
        ("1,5", ".", None),
        ("12,34", ".", None),
        ("1,23,456", ".", 123456),
        ("1.23.456", ",", 123456),
        ("12,34,56", ".", None),
        ("1,234 567", ".", None),
        ("0,123", ".", None),
        ("1,2345", ".", None),
        ("(5)", ".", -5),
        ("(1,234.50)", ".", -1234.5),
        ("($5)", ".", -5),
        ("(-5)", ".", None),
        ("5-", ".", -5),
        ("-5-", ".", None),
        ("1.2M", ".", 1200000),
        ("$3k", ".", 3000),
        ("1.1bn", ".", 1.1e9),
        ("1e3K", ".", None),
        ("1.7976931348623157e308", ".", None),
        ("5 kg", ".", None),
        ("$5€", ".", None),
        ("$", ".", None),
        ("%", ".", None),
        ("1_000", ".", None),
        ("0x1F", ".", None),
        ("infinity", ".", None),
        ("1 2", ".", None),
        ("٣", ".", None),
        ("1.234.5", ",", None),
        ("--5", ".", None),
    ],
)
def test_what_is_a_number_and_which(text: str, decimal: str, value: float | None) -> None:
    for beside in ("1", "a word"):  # all plain, or not
        found = typed([text, beside], "number", decimal=decimal)[0]
        assert np.isnan(found) if value is None else found == value


def test_an_integer_may_be_written_as_a_number_is() -> None:
    assert typed(["1,234", "$5", "12%", "7.0", "-3"], "integer").tolist() == [1234, 5, 12, 7, -3]
    assert typed(["1.234", "5,0", "2,5"], "integer", decimal=",").fillna(0).tolist() == [1234, 5, 0]


def test_an_integer_above_the_reach_of_floats_keeps_its_digits_whatever_stands_beside_it() -> None:
    column = typed(["9007199254740993", "$5", "x", "1,5"], "integer", decimal=",")

    assert column.fillna(-1).tolist() == [2**53 + 1, 5, -1, -1]


@pytest.mark.parametrize("value", ["1.5", "2.0000001", "9223372036854775808", "1e30", "one", "1,5", "inf"])
def test_what_is_no_whole_number_of_64_bits_is_no_integer(value: str) -> None:
    column = typed([value, "9007199254740993"], "integer")

    assert column.isna().tolist() == [True, False]
    assert column[1] == 2**53 + 1


def test_booleans_are_understood_in_every_spelling() -> None:
    assert typed(list(YES), "boolean").tolist() == [True] * len(YES)
    assert typed(list(NO), "boolean").tolist() == [False] * len(NO)
    assert typed(["maybe", "2", "truee"], "boolean").isna().all()


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("spelling", [*MISSING, "  NA "])
def test_a_missing_spelling_is_missing_in_every_type_and_nothing_wrong(kind: str, spelling: str) -> None:
    delivery = pd.DataFrame({"x": [spelling], "n": ["1"], "y": ["a"]}, dtype=str)
    schema = schema_of(x={"type": kind, "role": "id"}, n={"type": "number"})

    parsed = parsing.parse(delivery, schema, "a.csv", ["x"])

    assert parsed.table["x"].isna().all()
    assert parsed.unparseable == []


@pytest.mark.parametrize(
    "spelling",
    ["", " ", "NA", "N/A", "n/a", "n.a.", "NaN", "nan", "NaT", "<NA>", "null", "NULL", "\\N", "?", "-", "--"],
)
def test_missing_is_written_in_many_ways(spelling: str) -> None:
    assert not parsing.given(pd.Series([spelling], dtype=str), MISSING).any()


@pytest.mark.parametrize("spelling", ["#N/A", "#DIV/0!", "#VALUE!", "#REF!"])
def test_what_a_spreadsheet_could_not_compute_is_missing(spelling: str) -> None:
    assert not parsing.given(pd.Series([spelling], dtype=str), MISSING).any()


@pytest.mark.parametrize("level", ["None", "none", "0", "Null", "missing", "."])
def test_a_level_that_looks_like_nothing_is_a_level(level: str) -> None:
    assert typed([level], "category").tolist() == [level]


def test_the_schema_says_what_is_missing() -> None:
    delivery = pd.DataFrame({"x": ["-999", "NA"], "y": ["a", "b"]}, dtype=str)
    schema = Schema(columns=schema_of(x={"type": "category"}).columns, missing=("-999",))

    assert parsing.parse(delivery, schema, "a.csv", []).table["x"].fillna("(missing)").tolist() == ["(missing)", "NA"]


@pytest.mark.parametrize(
    ("text", "form", "iso"),
    [
        ("31.12.2024", "%d.%m.%Y", "2024-12-31 00:00:00"),
        ("12/31/2024", "%m/%d/%Y", "2024-12-31 00:00:00"),
        ("31/12/24 13:05", "%d/%m/%y %H:%M", "2024-12-31 13:05:00"),
        ("31-Dec-2024 01:05 PM", "%d-%b-%Y %I:%M %p", "2024-12-31 13:05:00"),
        ("20241231", "%Y%m%d", "2024-12-31 00:00:00"),
        ("10/Oct/2000:13:55:36 -0700", "%d/%b/%Y:%H:%M:%S %z", "2000-10-10 20:55:36"),
        ("  31.12.2024 ", "%d.%m.%Y", "2024-12-31 00:00:00"),
        ("9999-12-31", None, "9999-12-31 00:00:00"),
        ("2024-12-31T13:05:00.123456Z", None, "2024-12-31 13:05:00"),
    ],
)
def test_a_date_is_read_as_its_format_says(text: str, form: str | None, iso: str) -> None:
    column = typed([text, "", "31 of December"], "datetime", format=form)

    assert column.dtype == "datetime64[us]"
    assert column.dt.strftime("%F %T").fillna("missing").tolist() == [iso, "missing", "missing"]


@settings(deadline=None)
@given(st.lists(st.datetimes(pd.Timestamp("1678-01-01"), pd.Timestamp("2261-12-31")), min_size=1))
def test_a_date_survives_its_format(values: list[datetime]) -> None:
    text = [value.strftime("%d.%m.") + f"{value.year:04} {value.strftime('%H:%M:%S')}" for value in values]

    column = typed(text, "datetime", format="%d.%m.%Y %H:%M:%S")

    assert column.tolist() == [pd.Timestamp(value.replace(microsecond=0)) for value in values]


def test_times_that_come_with_their_type_need_no_format() -> None:
    times = pd.Series(pd.to_datetime(["2024-12-31", "2025-01-01"]))

    assert typed(times, "datetime", dtype=None, format="%d.%m.%Y").tolist() == times.tolist()


def test_datetimes_are_utc_whatever_their_offset() -> None:
    column = typed(["2024-03-31T02:30:00+02:00", "2024-03-31 00:30:00", "2024-03-31", "31.03.2024"], "datetime")

    assert column.dt.strftime("%F %T").fillna("missing").tolist() == [
        "2024-03-31 00:30:00",
        "2024-03-31 00:30:00",
        "2024-03-31 00:00:00",
        "missing",
    ]


@pytest.mark.parametrize(("becomes", "rows_left"), [("missing", [0, 1, 2, 3]), ("reject", [0, 2])])
def test_a_value_of_another_type_is_set_missing_or_its_row_rejected(becomes: str, rows_left: list[int]) -> None:
    delivery = pd.DataFrame({"x": ["1", "one", "", "two"], "y": list("abab")}, dtype=str)
    schema = schema_of(x={"type": "number", "unparseable": becomes})

    parsed = parsing.parse(delivery, schema, "a.csv", ["x", "y"])

    assert parsed.table.index.tolist() == rows_left
    assert parsed.table["x"].isna().sum() == len(rows_left) - 1
    [found] = parsed.unparseable
    assert (found.column, found.rows.tolist(), found.values) == ("x", [1, 3], ["one", "two"])
    assert found.rejected is (becomes == "reject")


def test_a_row_that_is_wrong_twice_is_rejected_once() -> None:
    delivery = pd.DataFrame({"a": ["x", "1"], "b": ["x", "x"], "y": ["k", "k"]}, dtype=str)
    schema = schema_of(a={"type": "number", "unparseable": "reject"}, b={"type": "number", "unparseable": "reject"})

    parsed = parsing.parse(delivery, schema, "a.csv", [])

    assert len(parsed.table) == 0
    assert [found.rows.tolist() for found in parsed.unparseable] == [[0], [0, 1]]


def test_only_five_wrong_values_are_shown_but_all_are_counted() -> None:
    delivery = pd.DataFrame({"x": [f"bad {row}" for row in range(1000)], "y": "a"}, dtype=str)

    [found] = parsing.parse(delivery, schema_of(x={"type": "number"}), "a.csv", []).unparseable

    assert len(found.rows) == 1000
    assert found.values == [f"bad {row}" for row in range(5)]


def test_a_wrong_value_is_located_by_its_line_also_after_quoted_newlines_and_blank_lines(tmp_path: Path) -> None:
    text = 'n,note,y\n1,"two\nlines",a\n\nbad,,a\n\n\n2,"and\n\nthree",b\nworse,"starts\nhere",b\n'
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    schema = schema_of(n={"type": "number"}, note={"type": "text", "role": "ignore"})

    [found] = read(tmp_path, schema, ["n"]).unparseable

    assert found["count"] == 2
    assert found["examples"] == [{"at": "a.csv:5", "value": "bad"}, {"at": "a.csv:11", "value": "worse"}]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from(["1,a", "bad,a", '2,"a\nb"', "", 'bad,"\n\n"']), min_size=1), st.booleans())
def test_the_line_that_is_named_is_where_the_bad_row_starts(tmp_path: Path, rows: list[str], gzipped: bool) -> None:
    written = "n,y\n" + "".join(f"{row}\n" for row in rows)
    path = tmp_path / ("a.csv.gz" if gzipped else "a.csv")
    path.write_bytes(gzip.compress(written.encode()) if gzipped else written.encode())
    filled = [row for row in rows if row]
    bad = [number for number, row in enumerate(filled) if row.startswith("bad")]

    places = deliveries.locate(path, bad)

    lines = written.split("\n")
    assert all(lines[int(place.rpartition(":")[2]) - 1].startswith("bad") for place in places)
    assert len(set(places)) == len(bad)


def test_a_wrong_value_in_parquet_is_located_by_its_row(tmp_path: Path) -> None:
    pd.DataFrame({"n": ["1", "bad"], "y": ["a", "b"]}).to_parquet(tmp_path / "a.parquet")

    [found] = read(tmp_path, schema_of(n={"type": "number"}), ["n"]).unparseable

    assert found["examples"] == [{"at": "a.parquet: row 2", "value": "bad"}]


def test_all_lacking_columns_are_named_at_once() -> None:
    schema = schema_of(a={"type": "number"}, b={"type": "number"}, c={"type": "number"})

    with pytest.raises(DataError, match=r"data/a\.csv lacks the columns a, c that schema\.yaml names"):
        parsing.parse(pd.DataFrame({"b": ["1"], "y": ["1"]}), schema, "data/a.csv", schema.kept)


def test_all_unknown_columns_are_named_at_once() -> None:
    delivery = pd.DataFrame({"a": ["1"], "odd": ["1"], "y": ["1"], "odder": ["1"]})

    with pytest.raises(DataError, match=r"data/a\.csv has the columns odd, odder that schema\.yaml does not name"):
        parsing.parse(delivery, schema_of(a={"type": "number"}), "data/a.csv", [])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(["1", "2.5", "$3", "1,000", "x", "", "NA", "9007199254740993", "1e5"]), min_size=1),
    st.sampled_from(["number", "integer", "category", "boolean"]),
    st.integers(1, 5),
    st.sampled_from(["missing", "reject"]),
)
def test_a_delivery_in_parts_is_typed_as_the_whole(values: list[str], kind: str, size: int, becomes: str) -> None:
    delivery = pd.DataFrame({"x": values, "n": "1", "y": "a"}, dtype=str)
    schema = schema_of(x={"type": kind, "unparseable": becomes}, n={"type": "number"})
    whole = parsing.parse(delivery, schema, "a.csv", ["x"])

    parts = [
        parsing.parse(delivery[start : start + size], schema, "a.csv", ["x"]) for start in range(0, len(values), size)
    ]

    pd.testing.assert_frame_equal(pd.concat([part.table for part in parts]), whole.table)
    assert sum(len(found.rows) for part in parts for found in part.unparseable) == sum(
        len(found.rows) for found in whole.unparseable
    )


def test_columns_come_in_schema_order_without_the_ignored_and_without_what_need_not_be_there() -> None:
    schema = schema_of(a={"type": "number"}, b={"type": "text", "role": "ignore"}, c={"type": "number"})

    parsed = parsing.parse(pd.DataFrame({"c": ["1"], "b": ["x"], "a": ["1"]}), schema, "a.csv", schema.features)

    assert parsed.table.columns.tolist() == ["a", "c"]
