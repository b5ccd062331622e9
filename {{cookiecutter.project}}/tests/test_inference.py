"""The draft of schema.yaml: sensible guesses, and text that says what was guessed whatever columns are called."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml import inference
from ml.errors import DataError
from ml.schema import Column
from store import files, yaml

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


def guessed(values: list[object], name: str = "x", dtype: object = str) -> Column:
    rows = len(values)
    delivery = pd.DataFrame({name: pd.Series(values, dtype=dtype), "y": ["a", "b"] * (rows // 2) + ["a"] * (rows % 2)})
    return inference.infer(delivery, "y")[name].column


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
def test_a_column_is_of_the_narrowest_type_that_all_its_values_are_of(values: list[str], kind: str) -> None:
    column = guessed(list(values))

    assert (column.type, column.role) == (kind, "feature")


def test_types_of_parquet_are_understood_too() -> None:
    assert guessed([1.0, 2.0, 2.0, None], dtype="float64").type == "integer"
    assert guessed([True, False, True, None], dtype="boolean").type == "boolean"
    assert guessed(["a", "b", "b", None], dtype="category").type == "category"
    assert guessed(["2024-01-01", "2024-01-02", "2024-01-02", None], dtype="datetime64[ns]").type == "datetime"


def test_a_category_allows_the_levels_that_were_seen_and_many_levels_are_not_listed() -> None:
    assert guessed(["b", "a ", "b", "a"]).allowed == ("a", "b")
    assert guessed([f"level {row % 50}" for row in range(200)]).allowed is None


def test_a_number_has_room_around_the_range_that_was_seen() -> None:
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

    guesses = inference.infer(delivery, "y")

    assert [guess.column.role for guess in guesses.values()] == ["id", "ignore", "feature", "target"]
    assert guesses["code"].reason == "each value once, like customer_id"


def test_numbers_that_happen_to_be_different_are_no_id() -> None:
    assert guessed(["17", "4", "9", "5"], name="age").role == "feature"


def test_free_text_and_what_never_changes_are_ignored() -> None:
    prose = [f"the quick brown fox jumped {word}" for word in ("far", "far", "high", "high")]
    assert (guessed(prose).type, guessed(prose).role) == ("text", "ignore")
    assert guessed(["3", "3", "3", ""]).role == "ignore"
    assert guessed(["", "NA", "", ""]).role == "ignore"


def test_a_column_may_miss_more_than_it_did_and_much_missing_is_worth_a_look() -> None:
    delivery = pd.DataFrame({"x": ["1.5", "2", "2", ""], "y": ["a", "b", "a", "b"]}, dtype=str)

    guess = inference.infer(delivery, "y")["x"]

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
    ],
)
def test_a_target_is_a_class_or_a_number_and_never_missing(values: list[str], kind: str) -> None:
    delivery = pd.DataFrame({"x": ["1.5", "2.5", "2.5", "4"] * 10, "label": values}, dtype=str)

    column = inference.infer(delivery, "label")["label"].column

    assert (column.type, column.role, column.max_missing) == (kind, "target", 0)


def test_a_target_that_is_not_there_or_never_changes_is_an_error() -> None:
    delivery = pd.DataFrame({"x": ["1", "2"], "y": ["a", "a"]}, dtype=str)

    with pytest.raises(DataError, match="the target z is no column of the data: choose one of x, y"):
        inference.infer(delivery, "z")
    with pytest.raises(DataError, match="the target y has no two different values"):
        inference.infer(delivery, "y")


def round_trip(guesses: dict[str, inference.Guess], folder: Path) -> None:
    path = folder / "schema.yaml"
    files.write_text(path, inference.to_yaml(guesses))

    assert files.read_schema(path) == inference.schema_of(guesses)
    assert list(yaml.read(path)["columns"]) == list(guesses)


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_column_of_any_name_with_any_levels_comes_back_from_the_yaml(name: str, tmp_path: Path) -> None:
    levels = tuple(HOSTILE)
    column = Column(type="category", allowed=levels)
    guesses = {
        name: inference.Guess(column, "worth a look"),
        "target": inference.Guess(Column(type="number", role="target", min=-1.5, max=1e300)),
    }

    round_trip(guesses, tmp_path)


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=2, max_size=4, unique=True), st.lists(TEXT, min_size=2, max_size=6, unique=True))
def test_what_is_drafted_from_any_data_is_read_as_it_was_guessed(
    tmp_path: Path, names: list[str], levels: list[str]
) -> None:
    rows = levels * 6
    delivery = pd.DataFrame(dict.fromkeys(names, rows), dtype=str)
    try:
        guesses = inference.infer(delivery, names[0])
        inference.schema_of(guesses)
    except (DataError, ValueError):
        return  # nothing to predict, or nothing to learn from

    round_trip(guesses, tmp_path)


def test_the_same_data_gives_the_same_text_whatever_the_order_of_rows() -> None:
    delivery = pd.DataFrame(
        {"level": list("bacab") * 4, "size": [f"{row}.25" for row in range(20)], "y": ["Yes", "No"] * 10}, dtype=str
    )

    text = inference.to_yaml(inference.infer(delivery, "y"))

    assert text == inference.to_yaml(inference.infer(delivery.copy(), "y"))
    assert text == inference.to_yaml(inference.infer(delivery[::-1].reset_index(drop=True), "y"))
    assert "level: {type: category" in text
    assert 'allowed: ["No", "Yes"]' in text
