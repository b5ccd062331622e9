"""Columns that give the target away are found, and good features are not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.drafting import leakage

ROWS = np.arange(200)
LABELS = pd.Series(np.array(["left", "stayed"], dtype=object)[ROWS % 2], dtype="str")
LEFT = (LABELS == "left").to_numpy()
ONE_CLASS = "each of its values goes with one class only"


def text(values: object) -> pd.Series:
    return pd.Series(values, dtype="str")


@pytest.mark.parametrize(
    ("values", "how"),
    [
        (text(np.where(LEFT, "gone", "here")), ONE_CLASS),
        (text(np.where(LEFT, np.array(["price", "service"], object)[ROWS // 2 % 2], "none")), ONE_CLASS),
        (pd.Series(LEFT, dtype="boolean"), ONE_CLASS),
        (pd.Series(np.where(LEFT, 1, 0), dtype="Int64"), ONE_CLASS),
        (pd.Series(np.where(LEFT, 7.5, np.nan)), "given only where the target is left"),
        (text(np.where(LEFT, [f"on day {row}" for row in ROWS], None)), "given only where the target is left"),
        (
            pd.Series(np.where(LEFT, "2024-01-01", None)).astype("datetime64[us]"),
            "given only where the target is left",
        ),
        (
            pd.Series(np.where(LEFT & (ROWS < 100), np.nan, ROWS % 9 + 0.5)),
            "missing only where the target is left",
        ),
        (pd.Series(np.where(LEFT, 1000.0, 0.0) + ROWS / 10), "the classes lie far apart in it"),
        (pd.Series(np.where(LEFT, 1000, 0) + ROWS, dtype="Int64"), "the classes lie far apart in it"),
    ],
    ids=["renamed", "reasons", "boolean", "code", "number", "text", "date", "missing", "score", "count"],
)
def test_a_column_that_gives_classes_away_is_found_with_the_reason(values: pd.Series, how: str) -> None:
    assert leakage.of_classes(values, LABELS) == how


@pytest.mark.parametrize(
    "values",
    [
        text(np.where(LEFT & (ROWS > 0), "gone", "here")),
        text([f"level {row % 40}" for row in ROWS]),
        text([f"name {row}" for row in ROWS]),
        text(["always"] * 200),
        pd.Series(np.where(LEFT & (ROWS < 20), np.nan, ROWS % 9 + 0.5)),
        pd.Series(np.where(LEFT, 1000.0, 995.0) + ROWS / 10),
        pd.Series(np.where(LEFT, 25.0, 0.0) + ROWS / 10),
        pd.Series(np.where(ROWS == 5, 1e9, np.where(LEFT, 1000.0, 0.0)) + ROWS / 10),
        pd.Series([np.nan] * 200),
    ],
    ids=["all but one", "few rows a level", "names", "constant", "chance", "close", "narrow gap", "outlier", "nothing"],
)
def test_a_column_that_may_be_chance_or_nature_is_not_leakage(values: pd.Series) -> None:
    assert leakage.of_classes(values, LABELS) == ""


@pytest.mark.parametrize(("rows", "found"), [(100, True), (99, False)])
def test_a_small_table_proves_nothing(rows: int, found: bool) -> None:
    values = text(np.where(LEFT, "gone", "here"))[:rows]

    assert bool(leakage.of_classes(values, LABELS[:rows])) is found


@pytest.mark.parametrize(("rows", "found"), [(10, True), (9, False)])
def test_a_small_class_proves_nothing(rows: int, found: bool) -> None:
    target = pd.Series(np.where(rows > ROWS, "left", "stayed"), dtype="str")

    assert bool(leakage.of_classes(pd.Series(rows > ROWS, dtype="boolean"), target)) is found


def test_rows_without_a_label_say_nothing() -> None:
    values = text([*np.where(LEFT, "gone", "here"), "gone", "here", "other"])
    target = text([*LABELS, None, None, None])

    assert leakage.of_classes(values, target) == ONE_CLASS


def test_of_more_than_two_classes_each_may_have_some_of_the_values() -> None:
    target = text(np.array(["a", "b", "c"], object)[ROWS % 3])
    levels = text(np.array(["a1", "b", "c", "a2", "b", "c"], object)[ROWS % 6])

    assert leakage.of_classes(levels, target) == ONE_CLASS
    assert leakage.of_classes(levels.replace("b", "c"), target) == ""


def test_one_row_among_many_that_breaks_the_rule_is_enough() -> None:
    rows = 5 * leakage.FIRST_LOOK
    target = text(np.array(["left", "stayed"], object)[np.arange(rows) // 3 % 2])
    values = target.copy()
    assert leakage.of_classes(values, target) == ONE_CLASS

    values[6] = "left" if values[6] == "stayed" else "stayed"  # one that the first look leaves out

    assert leakage.of_classes(values, target) == ""


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([2, 5]), st.sampled_from(["number", "level", "missing", "flag"]))
def test_random_values_give_nothing_away(seed: int, classes: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    target = text(rng.integers(classes, size=300).astype(str))
    values = {
        "number": lambda: pd.Series(rng.normal(size=300)),
        "level": lambda: text(rng.integers(10, size=300).astype(str)),
        "missing": lambda: pd.Series(rng.normal(size=300)).mask(rng.random(300) < 0.02),
        "flag": lambda: pd.Series(rng.random(300) < 0.03, dtype="boolean"),
    }[kind]()

    assert leakage.of_classes(values, target) == ""
    assert leakage.of_number(values, pd.Series(rng.normal(size=300))) == ""


NUMBERS = pd.Series(np.random.default_rng(1).lognormal(size=300))


@pytest.mark.parametrize(
    ("values", "how"),
    [
        (NUMBERS, "correlates in rank with the target by 1.0000"),
        (NUMBERS * -1.2 + 3, "correlates in rank with the target by -1.0000"),
        (NUMBERS.round(2).mask(NUMBERS.index < 50), "correlates in rank with the target by 1.0000"),
        (NUMBERS**9, "correlates in rank with the target by 1.0000"),
        ((NUMBERS * 100).round().astype("Int64"), "correlates in rank with the target by 1.0000"),
    ],
    ids=["same", "other unit", "rounded and missing", "power", "integer"],
)
def test_a_number_that_gives_a_number_away_is_found_with_the_reason(values: pd.Series, how: str) -> None:
    assert leakage.of_number(values, NUMBERS) == how


@pytest.mark.parametrize(
    "values",
    [
        NUMBERS + np.random.default_rng(2).normal(size=300) * NUMBERS.std() / 5,
        NUMBERS.mask(NUMBERS.index > 98),
        pd.Series(np.where(NUMBERS > 1, 1.0, 0.0)),
        text(NUMBERS.astype(str)),
        pd.Series([1.0] * 300),
    ],
    ids=["good feature", "too few rows", "two values", "text", "constant"],
)
def test_a_good_feature_is_not_leakage(values: pd.Series) -> None:
    assert leakage.of_number(values, NUMBERS) == ""
