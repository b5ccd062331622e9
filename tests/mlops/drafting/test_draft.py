"""The draft of schema.yaml has sensible guesses, and is valid YAML for columns of any name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlops.base import files, yaml
from mlops.base.errors import DataError
from mlops.data.schema import Column, Schema
from mlops.drafting import draft
from mlops.intake import tables

HOSTILE = [
    "No",
    "yes",
    "null",
    "~",
    "1",
    "1.5",
    "1e3",
    "2024-01-01",
    "0x1F",
    "on",
    "a: b",
    "a # b",
    "{a}",
    "[a, b]",
    "it's",
    'say "x"',
    "back\\slash",
    "two\nlines",
    "tab\there",
    "ünï çødé 統計",
    "- a",
    "*a",
    "&a",
    "!a",
    "%a",
    "@a",
    "|",
    "",
    " padded ",
    "\u2028",
    "\x85",
]


def infer(frame: pd.DataFrame, target: str, commas: bool = False) -> dict[str, draft.Guess]:
    return draft.infer([frame], frame[target], commas=commas, year=2026)


def guess_of(
    values: Sequence[object], name: str = "x", dtype: object = str, *, target: object = None, commas: bool = False
) -> draft.Guess:
    """The guess for one column beside a good feature; by default the target is independent of the column."""
    rows = np.arange(len(values))
    labels = pd.Series(np.random.default_rng(3).permutation(rows % 2), dtype=str) if target is None else target
    frame = pd.DataFrame({name: pd.Series(values, dtype=dtype), "beside": [f"{row % 7}.25" for row in rows]})
    return infer(frame.assign(goal=pd.Series(labels, dtype=str)), "goal", commas)[name]


def guessed(values: Sequence[object], name: str = "x", dtype: object = str, *, commas: bool = False) -> Column:
    return guess_of(values, name, dtype, commas=commas).column


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["Yes", "No", "Yes", ""], "boolean"),
        (["0", "1", "1", "0"], "boolean"),
        (["1", "2", "2", "NA"], "integer"),
        (["1.5", "2", "2", ""], "number"),
        (["1e-3", "-2", "-2", "4"], "number"),
        (["2024-01-01", "2024-01-02", "2024-01-02", ""], "datetime"),
        (["a", "b", "b", ""], "category"),
        (["1", "2", "2", "three"], "category"),
    ],
)
def test_a_column_gets_the_narrowest_type_of_all_its_values(values: list[str], kind: str) -> None:
    column = guessed(list(values))

    assert (column.type, column.role) == (kind, "feature")


def test_types_of_parquet_are_understood_too() -> None:
    assert guessed([1.0, 2.0, 2.0, None], dtype="float64").type == "integer"
    assert guessed([True, False, True, None], dtype="boolean").type == "boolean"
    assert guessed(["a", "b", "b", None], dtype="category").type == "category"
    assert guessed(["2024-01-01", "2024-01-02", "2024-01-02", None], dtype="datetime64[ns]").type == "datetime"


def test_a_category_allows_the_levels_in_the_data_and_many_levels_are_not_listed() -> None:
    assert guessed(["b", "a ", "b", "a"] * 10).allowed == ("a", "b")
    assert guessed([f"level {row % 20}" for row in range(200)]).allowed is not None
    assert guessed([f"level {row % 21}" for row in range(2100)]).allowed is None


def test_levels_with_few_rows_are_not_listed() -> None:
    assert guessed([*"ab" * 10]).allowed == ("a", "b")
    assert guessed([*"ab" * 9, ""]).allowed is None


def test_a_number_has_room_around_the_range_in_the_data() -> None:
    around = guessed(["-10.5", "40", "40", "0"])
    assert around.min is not None
    assert around.max is not None
    assert -50 < around.min < -10.5
    assert 40 < around.max < 100

    assert guessed(["1", "40", "40", "7"]).min == 0


def test_each_value_once_is_an_id_and_a_second_such_column_is_ignored() -> None:
    delivery = pd.DataFrame(
        {
            "customer_id": ["17", "4", "9", "5"],
            "code": ["x-1", "x-2", "x-3", "x-4"],
            "size": ["1.5", "2.5", "2.5", "4"],
            "y": ["a", "b", "a", "b"],
        },
        dtype=str,
    )

    guesses = infer(delivery, "y")

    assert [guess.column.role for guess in guesses.values()] == ["id", "ignore", "feature", "target"]
    assert guesses["code"].reason == "each value once, like customer_id"


def test_numbers_that_happen_to_be_different_are_no_id() -> None:
    assert guessed(["17", "4", "9", "5"], name="age").role == "feature"


@pytest.mark.parametrize("name", ["customerID", "customer id", "customer_id", "id", "No", "order-number"])
def test_a_number_that_is_called_an_id_and_comes_once_is_one(name: str) -> None:
    guess = guess_of(["17", "4", "9", "5"], name)

    assert (guess.column.role, guess.column.type, guess.reason) == ("id", "integer", "each value once")


@pytest.mark.parametrize("name", ["paid", "valid", "id_score", "numbers_seen"])
def test_a_name_that_only_holds_the_letters_of_an_id_is_none(name: str) -> None:
    assert guessed(["17", "4", "9", "5"], name).role == "feature"


def test_row_numbers_are_an_id_and_without_a_name_nothing() -> None:
    assert guessed(["3", "1", "2", "4"], "row").role == "id"

    guess = guess_of(["0", "1", "2", "3"], "Unnamed: 0")
    assert (guess.column.role, guess.reason) == ("ignore", "a row number")


def test_a_column_with_missing_values_is_not_an_id() -> None:
    assert guessed(["1", "2", "3", "", "5", "6"], "customer_id").role != "id"
    assert guessed(["x-1", "x-2", "x-3", ""], "customer_id").role != "id"


def test_prose_is_ignored_and_a_long_level_is_a_level() -> None:
    prose = [f"the quick brown fox jumped {row // 2} times" for row in range(202)]
    guess = guess_of(prose)
    assert (guess.column, guess.reason) == (Column(type="text", role="ignore"), "free text")

    assert guessed(["the quick brown fox jumped far", "the lazy dog did not"] * 20).type == "category"
    assert guessed([f"street number {row // 2}" for row in range(202)]).type == "category"


def test_text_with_few_repeated_values_identifies_rows() -> None:
    guess = guess_of([f"Jane Doe {min(row, 95)}" for row in range(100)])

    assert guess.column == Column(type="text", role="ignore")
    assert guess.reason == "96 different values in 100 rows"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["3", "3", "3", "3"], 'always "3"'),
        (["3", "3", "3", ""], 'always "3" where it is given'),
        (["x", " x", "x", "x"], "always x"),
        (["1.0", "1", "1.00", "1"], None),
        (["", "NA", "", ""], "no values"),
        (["#N/A", "n.a.", "NULL", "\\N"], "no values"),
    ],
)
def test_a_constant_column_is_ignored(values: list[str], reason: str | None) -> None:
    guess = guess_of(values)

    assert guess.column.role == "ignore"
    assert reason in (None, guess.reason)


@pytest.mark.parametrize("name", ["zip", "zipCode", "country_id", "Postal Code", "PLZ"])
def test_an_integer_that_is_called_a_code_is_levels(name: str) -> None:
    guess = guess_of([str(10_000 + row % 5) for row in range(100)], name)

    assert (guess.column.type, guess.column.role) == ("category", "feature")
    assert guess.reason == "called a code: levels; if it is a quantity, make it type: integer"


def test_a_code_of_too_many_levels_is_ignored() -> None:
    guess = guess_of([str(10_000 + min(row, 60)) for row in range(100)], "zip")

    assert guess.column == Column(type="category", role="ignore")
    assert guess.reason == "called a code, 61 different ones in 100 rows"


@pytest.mark.parametrize("name", ["patient_id", "Customer", "userID"])
@pytest.mark.parametrize("form", ["{}", "P{:03}"])
def test_several_rows_of_one_person_are_told_with_the_role_that_keeps_them_together(name: str, form: str) -> None:
    rows = np.random.default_rng(5).permutation(200)

    guess = guess_of([form.format(row % 50) for row in rows], name)

    assert "50 different ones in 200 rows: rows of one may land in both splits" in guess.reason
    assert "role: group and set prepare.split to group" in guess.reason
    for values, other in ((rows, name), (rows % 50, "customer_age"), (rows % 50 / 8, name), (rows % 5, name)):
        assert "both splits" not in guess_of([str(value) for value in values], other).reason


def test_a_code_may_miss_some_more_than_it_did() -> None:
    assert guessed([*["10115", "20095", "50667"] * 32, "", "", "", ""], "zip").max_missing == 0.15


def test_digits_with_leading_zeros_are_codes() -> None:
    guess = guess_of(["01234", "10115", "01234", "20095"])

    assert (guess.column.type, guess.reason) == ("category", "digits with leading zeros: codes")


@pytest.mark.parametrize("again", [["1.5", "2.50", "2,500", "", " 4"], ["1.5", "2.5", "2500", "NA", "4.0"]])
def test_the_same_values_once_more_are_ignored_however_they_are_written(again: list[str]) -> None:
    frame = pd.DataFrame({"size": ["1.5", "2.5", "2500", "", "4"], "again": again, "y": [*"ababa"]}, dtype=str)

    guess = infer(frame, "y")["again"]

    assert (guess.column.role, guess.reason) == ("ignore", "the same values as size")


def test_values_that_differ_in_one_row_or_in_their_type_are_not_the_same() -> None:
    frame = pd.DataFrame({"a": [*"1231"], "b": [*"1232"], "c": ["1", "2", "", "1"], "y": [*"abab"]}, dtype=str)

    assert [guess.column.role for guess in infer(frame, "y").values()] == ["feature"] * 3 + ["target"]


def test_the_first_complete_date_orders_the_rows_unless_somebody_was_born_on_it() -> None:
    days = [f"2024-01-0{1 + row % 8}" for row in range(40)]
    frame = pd.DataFrame(
        {
            "birth_date": [f"19{50 + row % 30}-05-03" for row in range(40)],
            "ended": ["", *days[:-1]],
            "at": [f"0{1 + row % 9}:30" for row in range(40)],
            "ordered": [f"{1 + row % 20}.03.2024" for row in range(40)],
            "shipped": [f"2024-02-{10 + row % 9}" for row in range(40)],
            "y": ["a", "b", "b", "a"] * 10,
        },
        dtype=str,
    )

    guesses = infer(frame, "y")

    assert {name: guess.column.role for name, guess in guesses.items()} == {
        "birth_date": "feature",
        "ended": "feature",
        "at": "feature",
        "ordered": "time",
        "shipped": "feature",
        "y": "target",
    }
    assert all(guesses[name].column.type == "datetime" for name in frame.columns[:-1])
    assert guesses["ordered"].reason == draft.ORDERS
    assert "set prepare.split to time in params.yaml" in draft.ORDERS
    assert (guesses["ordered"].column.format, guesses["ordered"].column.max_missing) == ("%d.%m.%Y", 0)
    assert guesses["at"].column.format == "%H:%M"
    assert guesses["shipped"].column.format is None


def test_a_date_that_orders_the_rows_keeps_what_is_doubtful_about_it() -> None:
    guess = guess_of([f"0{1 + row % 9}/0{1 + row % 8}/2024" for row in range(40)])

    assert guess.column.role == "time"
    doubt = "'09/01/2024' is read as 2024-09-01 (%m/%d/%Y); %d/%m/%Y would fit, too"
    assert guess.reason == f"{draft.ORDERS}; {doubt}"


@pytest.mark.parametrize("name", ["sex", "Gender", "patientSex", "is_female", "age_group", "Marital status"])
def test_a_column_that_is_sensitive_by_its_name_is_proposed_so(name: str) -> None:
    guess = guess_of(["1", "2", "2", "1", "1"] * 8, name)

    assert (guess.column.type, guess.column.role, guess.column.sensitive) == ("integer", "feature", True)
    assert guess.reason == "sensitive by its name: results are compared between its groups"


@pytest.mark.parametrize("name", ["age", "sextant", "manager", "x"])
def test_many_different_numbers_and_other_names_are_not(name: str) -> None:
    assert not guessed([str(20 + row) for row in range(50)], name).sensitive
    assert not guessed(["1", "2", "2", "1", "1"] * 8, "sextant").sensitive


def test_eight_digits_are_a_date_where_they_are_called_so() -> None:
    digits = [f"202403{10 + row % 20}" for row in range(40)]

    assert (guessed(digits, "order_date").type, guessed(digits, "order_date").format) == ("datetime", "%Y%m%d")
    assert guessed(digits, "amount").type == "integer"


@pytest.mark.parametrize(("commas", "decimal", "least"), [(True, ",", 0.0), (False, ".", 100.0)])
def test_numbers_that_read_both_ways_are_read_as_the_rest_of_the_data(commas: bool, decimal: str, least: float) -> None:
    column = guessed(["1,234", "5,678", "9,012", "1,234"], commas=commas)

    assert column.decimal == decimal
    assert column.max is not None
    assert column.max > least
    assert (column.max < 100) is commas


def test_a_few_words_among_numbers_are_missing_and_reported() -> None:
    guess = guess_of([*[f"{row}.5" for row in range(30)], "closed"] * 4)

    assert (guess.column.type, guess.column.role) == ("number", "feature")
    assert guess.reason == "'closed' is not of the type number: missing (4 rows)"
    assert guess.column.max_missing == 0.15


NUMBERS = [f"{row}.5" for row in range(30)]
CASES: dict[str, tuple[list[str], str]] = {
    # Levels that look like truth values; a boolean has one spelling a side, in one pair.
    "one letter": ([*"nfy"], 'x: {type: category, max_missing: 0.1, allowed: [f, "n", "y"]}'),
    "t and y": ([*"TY"], 'x: {type: category, max_missing: 0.1, allowed: [T, "Y"]}'),
    "yes and No": (["yes", "No"], 'x: {type: category, max_missing: 0.1, allowed: ["No", "yes"]}'),
    # Words among numbers.
    "words for missing": (
        [*NUMBERS, *["NIL"] * 15],
        (
            'x: {type: number, max_missing: 0.45, min: 0, max: 44, missing: ["", NIL], losses: [words]}'
            "  # 33.3% missing; 'NIL' means missing (60 rows)"
        ),
    ),
    "other words": (
        [*NUMBERS, *["closed"] * 15],
        "x: {type: category, max_missing: 0.1}  # 67% are numbers, others are not, such as 'closed': levels",
    ),
    "the largest double": (
        [*NUMBERS, "-1.7976931348623157e+308"],
        (
            "x: {type: number, max_missing: 0.15, min: 0, max: 44, losses: [unparseable]}"
            "  # '-1.7976931348623157e+308' is not of the type number: missing (4 rows)"
        ),
    ),
    # Codes and keys keep every digit.
    "leading zeros late": (
        [*["48507", "48251"] * 60, "01001"],
        (
            'x: {type: category, max_missing: 0.1, allowed: ["01001", "48251", "48507"]}'
            "  # digits with leading zeros: codes"
        ),
    ),
    "exponents": (
        ["17E4", "27E2", "1234"],
        (
            'x: {type: category, max_missing: 0.1, allowed: ["1234", "17E4", "27E2"]}'
            "  # codes, such as '17E4'; if that is a number, make it type: number"
        ),
    ),
    "twenty digits": (
        [f"{17 * 10**18 + row}" for row in range(15)],
        "x: {type: category, max_missing: 0.1}  # more digits than a number keeps: codes",
    ),
    "codes of Excel": (
        ['="00129"', '="00107"'],
        'x: {type: category, max_missing: 0.1, allowed: ["00107", "00129"]}  # digits with leading zeros: codes',
    ),
    "point zero": (["107.0", "108.0", "up"], 'x: {type: category, max_missing: 0.1, allowed: ["107", "108", up]}'),
    "sizes": (["5M", "6M", "7K"], 'x: {type: category, max_missing: 0.1, allowed: ["5M", "6M", "7K"]}'),
    "rooms": (["Room 12", "Room 13"], 'x: {type: category, max_missing: 0.1, allowed: ["Room 12", "Room 13"]}'),
    "two units": (["5.5 kg", "6.5 lb"], 'x: {type: category, max_missing: 0.1, allowed: ["5.5 kg", "6.5 lb"]}'),
    # Numbers as people write them.
    "accounting": (
        ["(1,234.50)", "12.25", "8.75-"],
        (
            "x: {type: number, max_missing: 0.1, min: -1900, max: 640, losses: [signs]}"
            "  # '(1,234.50)' is read as -1234.5 (80 rows)"
        ),
    ),
    "lakhs": (
        ["1,23,456", "12,302", "999"],
        (
            "x: {type: integer, max_missing: 0.1, min: 0, max: 190000, losses: [groups]}"
            "  # '12,302' is read as 12302; if its sign is the decimal one, say so by decimal (40 rows)"
        ),
    ),
    "a unit": (["65.9 kg", "70.0 kg"], "x: {type: number, max_missing: 0.1, min: 63, max: 73, unit: kg}"),
    "months": (["36 months", "60 months"], "x: {type: integer, max_missing: 0.1, min: 24, max: 72, unit: months}"),
    "a currency": (["USD 8,060.93", "USD 5.00"], "x: {type: number, max_missing: 0.1, min: 0, max: 13000, unit: USD}"),
    "per cent": (["37%", "40%"], 'x: {type: integer, max_missing: 0.1, min: 35, max: 42, unit: "%"}'),
    "shares": (
        ["37%", "0.4"],
        (
            "x: {type: number, max_missing: 0.1, min: 0.35, max: 0.42, unit: share, losses: [scales]}"
            "  # '37%' is read as 0.37 (60 rows)"
        ),
    ),
    "millions": (
        ["1.2M", "820.5K"],
        (
            "x: {type: integer, max_missing: 0.1, min: 630000, max: 1400000, losses: [scales]}"
            "  # '1.2M' is read as 1200000 (120 rows)"
        ),
    ),
    "a sign in doubt": (
        ["100.363", "120.123"],
        (
            "x: {type: number, max_missing: 0.1, min: 90, max: 140}"
            '  # the point in 100.363 is read as a decimal sign; if it groups thousands, set decimal: ","'
        ),
    ),
    "thousands in doubt": (
        ["12,302", "13,400"],
        (
            "x: {type: integer, max_missing: 0.1, min: 11000, max: 14000, losses: [groups]}"
            "  # '12,302' is read as 12302; if its sign is the decimal one, say so by decimal (120 rows)"
        ),
    ),
    # What is rare does not decide, and is named.
    "an odd unit": (
        [*[f"{row}.5 kg" for row in range(40)], "500 g"],
        (
            "x: {type: number, max_missing: 0.15, min: 0, max: 59, unit: kg, losses: [unparseable]}"
            "  # '500 g' is not of the type number: missing (4 rows)"
        ),
    ),
    "odd signs": (
        [*[str(row) for row in range(300)], "~5"],
        (
            "x: {type: integer, max_missing: 0.15, min: 0, max: 450, losses: [unparseable]}"
            "  # '~5' is not of the type integer: missing (4 rows)"
        ),
    ),
    "above and below": ([">5", "5"], 'x: {type: category, max_missing: 0.1, allowed: ["5", ">5"]}'),
    "a long minus": (["\u20135", "6"], "x: {type: integer, max_missing: 0.1, min: -11, max: 12}"),
    "grades": (["1", "1-", "2"], 'x: {type: category, max_missing: 0.1, allowed: ["1", "1-", "2"]}'),
    "marks": (["(1)", "(2)"], 'x: {type: category, max_missing: 0.1, allowed: ["(1)", "(2)"]}'),
    "names of three digits": (
        ["101", "205"],
        (
            "x: {type: integer, max_missing: 0.1, min: 49, max: 260}"
            "  # 2 different numbers of 3 digits; if they are codes, make it type: category"
        ),
    ),
    "versions": (
        ["1.1", "1.10", "1.2"],
        (
            "x: {type: number, max_missing: 0.1, min: 1, max: 1.3}"
            "  # 3 ways to write 2 numbers; if they are names, make it type: category"
        ),
    ),
    "an odd date": (
        [*[f"2020-01-{day:02d}" for day in range(1, 31)], "2021-02-30"],
        (
            "x: {type: datetime, max_missing: 0.15, losses: [unparseable]}"
            "  # '2021-02-30' is not of the type datetime: missing (4 rows)"
        ),
    ),
    # Dates.
    "zero dates": (
        ["2020-01-02", "2020-01-03", "0000-00-00"],
        (
            'x: {type: datetime, max_missing: 0.45, missing: ["", "0000-00-00"], losses: [words]}'
            "  # 33.3% missing; '0000-00-00' means missing (40 rows)"
        ),
    ),
    "hour 24": (
        ["2020-01-02 24:00", "2020-01-02 01:00"],
        (
            "x: {type: datetime, role: time, max_missing: 0, losses: [midnight]}"
            f"  # {draft.ORDERS}; '2020-01-02 24:00' is read as 2020-01-03 00:00:00 (60 rows)"
        ),
    ),
    "names of zones": (
        ["2020-07-02 18:00:00 CEST", "2020-01-02 18:00:00 CET"],
        (
            "x: {type: datetime, role: time, max_missing: 0, losses: [zones]}"
            f"  # {draft.ORDERS}; '2020-07-02 18:00:00 CEST' is read as 2020-07-02 16:00:00, in UTC (120 rows)"
        ),
    ),
    "Sept": (
        ["2 Sept 2020", "1 Dec 2022"],
        f'x: {{type: datetime, role: time, max_missing: 0, format: "%d %b %Y"}}  # {draft.ORDERS}',
    ),
    "born": (
        ["08/08/95", "10/25/31"],
        (
            'date_of_birth: {type: datetime, max_missing: 0.1, format: "%m/%d/%y", first_year: 1927}'
            "  # years of two digits are 1927 to 2026"
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_plain_is_read_and_what_is_not_is_told(case: str) -> None:
    values, line = CASES[case]
    name = line.split(":")[0]

    guess = guess_of((values * 60)[: max(120, 4 * len(values))], name)

    assert draft.lines({name: guess}) == [line]


def test_na_is_a_class_beside_others_of_its_length_and_else_told() -> None:
    frame = pd.DataFrame({"x": [f"{row % 7}.25" for row in range(90)], "y": ["AS", "EU", "NA"] * 30}, dtype=str)

    target = infer(frame, "y")["y"]
    feature = guess_of(["AS", "EU", "NA"] * 30)

    assert (target.column.allowed, target.column.missing) == (("AS", "EU", "NA"), ("",))
    assert target.reason == "NA kept as a class, beside others of its length"
    assert feature.reason == "33.3% missing; 'NA' means missing (30 rows); a level of that name needs missing: [\"\"]"


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        (["Berlin", "BERLIN", "berlin", "Hamburg"], "'BERLIN' and 'Berlin' and 'berlin' are levels of their own"),
        (["Part-Time", "part time", "full_time", "Full time"], "and 1 more like that are levels of their own"),
        (["A+", "A-", "1-2", "12"], ""),
    ],
)
def test_levels_that_may_be_one_are_told(levels: list[str], told: str) -> None:
    of_target = infer(pd.DataFrame({"x": [1, 2, 3, 4, 5] * 40, "y": levels * 50}), "y")["y"]

    for guess in (guess_of(levels * 50), of_target):
        assert ((told or "levels of their own") in guess.reason) is bool(told)


def test_rows_without_a_label_are_told_by_their_word() -> None:
    frame = pd.DataFrame({"x": [f"{row % 7}.25" for row in range(90)], "y": ["yes", "no", "NA"] * 30}, dtype=str)

    assert infer(frame, "y")["y"].reason.startswith("'NA' means missing (30 rows)")


def test_a_single_row_of_totals_gives_no_number_away() -> None:
    sales, age = np.random.default_rng(5).integers(18, 90, (2, 300))
    frame = pd.DataFrame({"age": [*age, age.sum()], "y": [*(sales + 0.5), sales.sum() * 1.0]}).astype(str)

    assert infer(frame, "y")["age"].column.role == "feature"


def test_a_category_that_hardly_groups_anything_says_so() -> None:
    guess = guess_of([f"shop {row // 2 if row < 100 else row}" for row in range(300)])

    assert guess.reason == "250 different values in 300 rows hardly group anything"


def leaky(rows: int = 200) -> tuple[list[str], pd.DataFrame]:
    labels = ["stayed" if row % 3 else "left" for row in range(rows)]
    gone = [label == "left" for label in labels]
    return labels, pd.DataFrame(
        {
            "renamed": ["gone" if left else "here" for left in gone],
            "reason": [("price", "service")[row % 2] if left else "" for row, left in enumerate(gone)],
            "score": [900.5 + row % 7 if left else 100.5 + row % 7 for row, left in enumerate(gone)],
            "honest": [row % 7 + 0.5 for row in range(rows)],
        }
    ).astype(str)


@pytest.mark.parametrize(
    ("column", "how"),
    [
        ("renamed", "each of its values goes with one class only"),
        ("reason", "given only where the target is left"),
        ("score", "the classes lie far apart in it"),
    ],
)
def test_a_column_that_gives_classes_away_is_ignored_and_says_how(column: str, how: str) -> None:
    labels, frame = leaky()

    guesses = infer(frame.assign(y=labels), "y")

    assert guesses[column].column.role == "ignore"
    assert guesses[column].reason == f"gives the target away: {how}"
    assert guesses["honest"].column.role == "feature"


def test_a_number_that_gives_a_number_away_is_ignored_and_says_how() -> None:
    rng = np.random.default_rng(1)
    euros = rng.normal(1000, 100, size=300)
    frame = pd.DataFrame({"dollars": euros * 1.1, "noise": rng.normal(size=300), "euros": euros}).astype(str)

    guesses = infer(frame, "euros")

    assert (guesses["dollars"].column.role, guesses["noise"].column.role) == ("ignore", "feature")
    assert guesses["dollars"].reason == "gives the target away: correlates in rank with the target by 1.0000"


def test_data_without_a_useful_column_is_an_error_with_the_reasons() -> None:
    frame = pd.DataFrame({"key": [*"1234"], "same": ["x"] * 4, "y": [*"abab"]}, dtype=str)

    with pytest.raises(
        DataError, match=r"no column of the data is of use to predict y \(key: each .*; same: always x\)"
    ):
        infer(frame, "y")


def test_it_does_not_matter_which_columns_are_looked_at_together() -> None:
    labels, frame = leaky()
    frame = frame.assign(y=labels, key=[f"k{row}" for row in range(200)], other=[f"o{row}" for row in range(200)])
    whole = infer(frame, "y")

    apart = draft.infer((frame[[name]] for name in frame), frame["y"], commas=False, year=2026)

    assert list(apart) == list(frame)
    assert apart == whole


def test_a_column_may_miss_more_than_it_did_and_much_missing_is_worth_a_look() -> None:
    delivery = pd.DataFrame({"x": ["1.5", "2", "2", ""], "y": ["a", "b", "a", "b"]}, dtype=str)

    guess = infer(delivery, "y")["x"]

    assert 0.25 < guess.column.max_missing < 0.5
    assert guess.reason == "25.0% missing"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["Yes", "No"] * 20, "category"),
        (["0", "1"] * 20, "category"),
        (["1", "2", "3", "2"] * 10, "category"),
        ([str(row) for row in range(40)], "integer"),
        ([f"{row}.5" for row in range(40)], "number"),
        (["1.5", "2.5"] * 20, "category"),
        (["2024-01-01", "2024-01-02"] * 20, "category"),
        (["red", "green", "blue", "red"] * 10, "category"),
        ([str(row % 5) for row in range(40)], "integer"),
        ([str(row % 4) for row in range(40)], "category"),
        (["1.234,5", "2,5", "3,5", "4,5"] * 10, "number"),
    ],
)
def test_a_target_is_a_class_or_a_number_and_never_missing(values: list[str], kind: str) -> None:
    delivery = pd.DataFrame({"x": ["1.5", "2.5", "2.5", "4"] * 10, "label": values}, dtype=str)

    column = infer(delivery, "label")["label"].column

    assert (column.type, column.role, column.max_missing) == (kind, "target", 0)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["a"] * 4, "the target y is always 'a': deliver labelled data, or name another column"),
        (["a", "", "NA", " a"], "the target y is always 'a'"),
        ([""] * 4, "the target y has no values: deliver labelled data"),
        ([f"2024-01-0{day}" for day in range(1, 5)], "the target y is a date: predict a number"),
        (["one", "two", "three", "four"], "the target y has 4 different texts in 4 rows, such as 'one'"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_an_error_that_says_why(values: list[str], sentence: str) -> None:
    frame = pd.DataFrame({"x": ["1.5", "2.5", "2.5", "4"], "y": values}, dtype=str)

    with pytest.raises(DataError, match=sentence):
        infer(frame, "y")


def test_integers_that_are_taken_for_classes_say_how_to_predict_a_number() -> None:
    frame = pd.DataFrame(
        {"x": [f"{row % 7}.5" for row in range(60)], "y": [str(row % 3) for row in range(60)]}, dtype=str
    )

    guess = infer(frame, "y")["y"]

    assert guess.column.allowed == ("0", "1", "2")
    assert guess.reason == "3 different integers: classes; for a number to predict, make it type: integer"


def test_rows_without_a_label_do_not_change_the_guess_of_the_target() -> None:
    labels = ["yes", "no"] * 20
    frame = pd.DataFrame({"x": [f"{row % 7}.5" for row in range(50)], "y": [*labels, *["?", ""] * 5]}, dtype=str)

    guess = infer(frame, "y")["y"]

    assert guess.column.model_copy(update={"losses": ()}) == infer(frame[:40], "y")["y"].column
    assert guess.reason == "'?' means missing (5 rows); a level of that name needs missing: [\"\"]"


def schema_of(guesses: dict[str, draft.Guess]) -> Schema:
    return Schema(columns={name: guess.column for name, guess in guesses.items()})


def round_trip(guesses: dict[str, draft.Guess], folder: Path) -> None:
    path = folder / "schema.yaml"
    files.write_text(path, draft.to_yaml(guesses))

    assert tables.read_schema(path) == schema_of(guesses)
    assert list(yaml.read(path)["columns"]) == list(guesses)


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_column_of_any_name_with_any_levels_comes_back_from_the_yaml(name: str, tmp_path: Path) -> None:
    levels = tuple(HOSTILE)
    column = Column(type="category", allowed=levels)
    guesses = {
        name: draft.Guess(column, "worth a look"),
        "target": draft.Guess(Column(type="number", role="target", min=-1.5, max=1e300)),
    }

    round_trip(guesses, tmp_path)


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=2, max_size=4, unique=True), st.lists(TEXT, min_size=2, max_size=6, unique=True))
def test_a_draft_from_any_data_is_read_as_it_was_guessed(tmp_path: Path, names: list[str], levels: list[str]) -> None:
    rows = levels * 6
    delivery = pd.DataFrame(dict.fromkeys(names, rows), dtype=str)
    try:
        guesses = infer(delivery, names[0])
    except DataError:
        return  # nothing to predict, or nothing to learn from

    round_trip(guesses, tmp_path)


def test_the_same_data_gives_the_same_text_whatever_the_order_of_rows() -> None:
    delivery = pd.DataFrame(
        {"level": list("bacab") * 4, "size": [f"{row}.25" for row in range(20)], "y": ["Yes", "No"] * 10}, dtype=str
    )

    text = draft.to_yaml(infer(delivery, "y"))

    assert text == draft.to_yaml(infer(delivery.copy(), "y"))
    assert text == draft.to_yaml(infer(delivery[::-1].reset_index(drop=True), "y"))
    assert "level: {type: category" in text
    assert 'allowed: ["No", "Yes"]' in text


def test_the_spelling_of_text_comes_back_from_the_yaml(tmp_path: Path) -> None:
    guesses = {
        "price": draft.Guess(Column(type="number", decimal=",")),
        "at": draft.Guess(Column(type="datetime", role="time", format="%d.%m.%Y %H:%M"), "orders the rows"),
        "y": draft.Guess(Column(type="boolean", role="target")),
    }

    round_trip(guesses, tmp_path)


def test_a_line_is_a_column_with_its_reason_as_comment() -> None:
    guesses = {
        "a b": draft.Guess(Column(type="number", min=0, max=1.5), "two\nlines"),
        "plan": draft.Guess(Column(type="category", role="target", max_missing=0)),
    }

    assert draft.lines(guesses) == [
        '"a b": {type: number, min: 0, max: 1.5}  # two lines',
        "plan: {type: category, role: target, max_missing: 0}",
    ]
    assert draft.to_yaml(guesses).endswith("\n  plan: {type: category, role: target, max_missing: 0}\n")
