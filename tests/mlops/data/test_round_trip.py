"""Nothing changes silently: a value that is read as another one is told, with its rows and an example."""

from decimal import Decimal, InvalidOperation

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlops.data import checks, parsing, round_trip
from mlops.data.schema import MISSING, Column, Schema
from mlops.drafting import draft

WHOLE = st.integers(-(10**6), 10**6)
CENTS = WHOLE.map(lambda number: f"{number / 100:.2f}")
SPELLINGS = {
    "whole": WHOLE.map(str),
    "cents": CENTS,
    "grouped": WHOLE.map("{:,}".format),
    "indian": st.integers(10, 99).map(lambda number: f"{number},12,345"),
    "comma": CENTS.map(lambda text: text.replace(".", ",")),
    "thousandths": WHOLE.map(lambda number: f"{number / 1000:.3f}"),
    "plus": WHOLE.map("{:+d}".format),
    "leading zeros": st.integers(0, 9999).map("{:06d}".format),
    "point zero": WHOLE.map("{}.0".format),
    "many digits": st.integers(10**14, 10**22).map(str),
    "long fraction": st.integers(0, 10**24).map("0.{:025d}".format),
    "exponent": st.integers(1, 99).map("{}E4".format),
    "float": st.floats(-1e300, 1e300).map(repr),
    "largest": st.just("1.7976931348623157e+308"),
    "dollar": CENTS.map("${}".format),
    "euro": CENTS.map("{} €".format),
    "code of a currency": CENTS.map("USD {}".format),
    "unit": CENTS.map("{} kg".format),
    "other unit": CENTS.map("{} lb".format),
    "per cent": st.integers(0, 100).map("{}%".format),
    "share": st.integers(0, 100).map(lambda number: f"{number / 100}"),
    "thousands": st.integers(1, 999).map("{}.5K".format),
    "millions": st.integers(1, 9).map("{}M".format),
    "accounting": CENTS.map(lambda text: f"({text[1:]})" if text[0] == "-" else text),
    "minus behind": CENTS.map(lambda text: f"{text[1:]}-" if text[0] == "-" else text),
    "excel": st.integers(0, 999).map('="{:05d}"'.format),
    "yes": st.sampled_from(["Yes", "No"]),
    "YES": st.sampled_from(["YES", "NO"]),
    "t": st.sampled_from(["t", "f", "y", "n"]),
    "bit": st.sampled_from(["0", "1"]),
    "letters": st.sampled_from(["AS", "EU", "NA"]),
    "padded": st.sampled_from([" a", "a", "b ", "b"]),
    "versions": st.sampled_from(["1.0", "1.1", "2.0", "v1.2"]),
    "missing": st.sampled_from([*MISSING, "None", "NIL", "(null)", "#NULL!", ".", "unknown", "xx"]),
    "iso": st.dates().map(str),
    "zero date": st.just("0000-00-00"),
    "short year": st.dates().map(lambda day: f"{day:%d/%m/%y}"),
    "september": st.integers(1, 28).map("{} Sept 2020".format),
    "midnight": st.integers(1, 28).map("2020-02-{:02d} 24:00".format),
    "zone": st.integers(0, 23).map("2020-02-03 {:02d}:00:00 CEST".format),
    "offset": st.integers(0, 23).map("2020-02-03T{:02d}:00:00+05:30".format),
    "text": st.text(max_size=8),
}
OTHERWISE = "{} is written in another way than other values: read as {} (1 row)"
GROUPS = str.maketrans("", "", "'’ \u00a0\u202f")


@st.composite
def columns(draw: st.DrawFn) -> list[str]:
    """Some values in one spelling, or in several."""
    chosen = draw(st.lists(st.sampled_from(sorted(SPELLINGS)), min_size=1, max_size=3, unique=True))
    sizes = [draw(st.sampled_from([1, 8, 30, 60])) for _ in chosen]
    parts = [
        draw(st.lists(SPELLINGS[name], min_size=size, max_size=size)) for name, size in zip(chosen, sizes, strict=True)
    ]
    return [value for part in parts for value in part]


def meant(text: str, column: Column) -> Decimal | None:
    """The number that a text without loss stands for; None if something of it would be lost, or it is no number."""
    bare = text.replace(column.unit, "", 1).strip() if column.unit else text
    if bare == text and column.unit and column.unit != "share":
        return None
    negative = (bare.startswith("(") and bare.endswith(")")) or bare.endswith("-")
    bare = bare.strip("()").removesuffix("-").translate(GROUPS)
    bare = bare.replace("." if column.decimal == "," else ",", "").replace(column.decimal, ".")
    digits = bare.lstrip("+-")
    if digits[:1] == "0" and digits[1:2].isdigit():
        return None
    try:
        return -Decimal(bare) if negative else Decimal(bare)
    except InvalidOperation:
        return None


def same(raw: str, typed: object, column: Column) -> bool:
    """Whether a typed value says what its text says, by rules of this test's own."""
    text = raw.strip()
    if pd.isna(typed):  # type: ignore[call-overload]
        return not text
    if column.type in ("category", "text"):
        return str(typed).strip() in (text, text.removesuffix(".0"))
    if column.type == "boolean":
        return True  # which spellings there are is looked at below
    if column.type == "datetime":
        return not any(sign in text for sign in ("24:", "CEST", "+05"))
    number = meant(text, column)
    return number is not None and (
        Decimal(int(typed)) == number if column.type == "integer" else float(number) == typed
    )  # type: ignore[call-overload]


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=150)
@given(columns(), st.randoms(use_true_random=False))
def test_no_value_changes_without_a_word(values: list[str], random: object) -> None:
    random.shuffle(values)  # type: ignore[attr-defined]
    values = (values * (1 + 40 // len(values)))[:200]
    frame = pd.DataFrame({"x": values, "z": [f"{row % 7}.25" for row in range(len(values))]}, dtype=str)
    frame["y"] = [f"class {row % 2}" for row in range(len(values))]

    guesses = draft.infer([frame], frame["y"], commas=False, year=2026)
    guess = guesses["x"]
    if guess.column.role == "ignore":
        assert guess.reason
        return
    schema = Schema(columns={name: one.column for name, one in guesses.items()})
    typed = parsing.column(frame["x"], guess.column, MISSING)
    halves = [parsing.parse(half, schema, "a.csv", schema.delivered) for half in (frame[:17], frame[17:])]
    losses = round_trip.losses(round_trip.together(half.seen["x"] for half in halves))

    plain = parsing.plain(frame["x"])
    changed = [
        row for row, (raw, read) in enumerate(zip(plain, typed, strict=True)) if not same(raw, read, guess.column)
    ]
    assert len(changed) <= sum(change.rows for change in losses), [values[row] for row in changed]
    if guess.column.type == "boolean":
        assert plain.str.strip().replace("", None).dropna().nunique() == 2 or losses
    # What was told when the schema was drafted is nothing new; and the comment says it.
    assert checks.check_losses({"x": [vars(change) for change in losses]}, schema, len(frame)) == []
    assert all(change.sentence(guess.column) in guess.reason for change in losses)


NUMBER, CATEGORY, DATETIME = Column(type="number"), Column(type="category"), Column(type="datetime")


@pytest.mark.parametrize(
    ("values", "column", "sentences"),
    [
        (["1", "007"], Column(type="integer"), ["'007' loses zeros: read as 7 (1 row)"]),
        (["1.5", "$5", "6"], NUMBER, ["'$5' has a unit of its own, or none: read as 5 (1 row)"]),
        (["5 kg", "6"], Column(type="number", unit="kg"), ["'6' has a unit of its own, or none: read as 6 (1 row)"]),
        (["37%", "0.5"], Column(type="number", unit="share"), ["'37%' is read as 0.37 (1 row)"]),
        (["37%", "5%"], Column(type="number", unit="%"), []),
        (["1.2M", "2K"], NUMBER, ["'1.2M' is read as 1200000 (2 rows)"]),
        (["9" * 20], NUMBER, [f"'{'9' * 20}' loses digits: read as 1e+20 (1 row)"]),
        ([f"0.{'3' * 21}"], NUMBER, [f"'0.{'3' * 21}' loses digits: read as 0.33333333333333331 (1 row)"]),
        (["0.30000000000000004", "1.10", "1,234.5", "-0.5", "1e5"], NUMBER, []),
        (["(5)", "5-"], NUMBER, ["'(5)' is read as -5 (2 rows)"]),
        (["1,234"], NUMBER, ["'1,234' is read as 1234; if its sign is the decimal one, say so by decimal (1 row)"]),
        (["1234567890123456.78"], NUMBER, ["'1234567890123456.78' loses digits: read as 1234567890123456.8 (1 row)"]),
        (["9007199254740993.0"], Column(type="integer"), []),
        (["17E4"], Column(type="integer"), ["'17E4' is read as 170000 (1 row)"]),
        (
            ["NIL", "NA", "NA", "1", ""],
            NUMBER,
            ["'NA' means missing (2 rows)", "'NIL' is not of the type number: missing (1 row)"],
        ),
        (["Yes", "No", "no", "No"], Column(type="boolean"), [OTHERWISE.format("'no'", False)]),
        (["107", "107.0", "a"], CATEGORY, [OTHERWISE.format("'107.0'", "'107'")]),
        (["107.0", "108.0", ""], CATEGORY, []),
        ([" a", "a", "a"], CATEGORY, [OTHERWISE.format("' a'", "'a'")]),
        (["2020-01-01 24:00"], DATETIME, ["'2020-01-01 24:00' is read as 2020-01-02 00:00:00 (1 row)"]),
        (
            ["2020-07-01 12:00 CEST"],
            DATETIME,
            ["'2020-07-01 12:00 CEST' is read as 2020-07-01 10:00:00, in UTC (1 row)"],
        ),
        (["2020-07-01", "2020-07-01T12:00:00"], DATETIME, []),
    ],
)
def test_a_loss_is_told_with_an_example_and_its_rows(values: list[str], column: Column, sentences: list[str]) -> None:
    raw = pd.Series(values, dtype="str")

    seen = round_trip.seen(raw, parsing.given(raw, MISSING), parsing.column(raw, column, MISSING), column)

    assert [change.sentence(column) for change in round_trip.losses(seen)] == sentences


def test_whole_numbers_of_parquet_that_a_float_does_not_hold_are_told() -> None:
    raw = pd.Series([2**53 + 1, 5])
    column = Column(type="number")

    seen = round_trip.seen(raw, raw.notna(), parsing.column(raw, column, MISSING), column)

    assert [change.sentence(column) for change in round_trip.losses(seen)] == [
        "'9007199254740993' loses digits: read as 9007199254740992 (1 row)"
    ]


def test_a_new_kind_of_loss_is_a_warning_that_says_how_to_accept_it() -> None:
    schema = Schema(columns={"x": Column(type="number", losses=("words",)), "y": Column(type="integer", role="target")})
    losses = {
        "x": [
            {"kind": "words", "rows": 3, "written": "'NA'", "read": "missing"},
            {"kind": "units", "rows": 2, "written": "'$5'", "read": "5"},
        ]
    }

    [result] = checks.check_losses(losses, schema, 10)

    assert (result.severity, result.passed) == ("warning", False)
    assert result.sentence() == (
        "reading of x: 2 rows (20.0%), such as '$5' → 5; expected only words; if all is right, "
        "`losses: [words, units]` in schema.yaml"
    )
