"""Every check of validate, passing and failing, with what a person needs to find the rows."""

import numpy as np
import pandas as pd
import pytest

from ml import checks
from ml.checks import Result
from ml.errors import DataError
from ml.schema import Schema

SCHEMA = Schema(
    columns={
        "key": {"type": "integer", "role": "id"},
        "age": {"type": "integer", "min": 0, "max": 120},
        "price": {"type": "number", "min": 0.5, "max_missing": 0.5, "severity": "warning"},
        "size": {"type": "category", "allowed": ["S", "M"]},
        "flag": {"type": "boolean"},
        "at": {"type": "datetime"},
        "note": {"type": "text", "role": "time"},
        "y": {"type": "category", "role": "target", "max_missing": 0},
    }
)


def table(rows: int = 10, **columns: object) -> pd.DataFrame:
    """A table that is all right, but for the columns given."""
    good = {
        "key": pd.array(range(rows), dtype="Int64"),
        "age": pd.array([30] * rows, dtype="Int64"),
        "price": pd.Series([0.5] * rows, dtype="float64"),
        "size": pd.Series(["S", "M"] * (rows // 2), dtype="str"),
        "flag": pd.array([True] * rows, dtype="boolean"),
        "at": pd.Series(["2024-01-01"] * rows, dtype="datetime64[us]"),
        "note": pd.Series(["x"] * rows, dtype="str"),
        "y": pd.Series(["a", "b"] * (rows // 2), dtype="str"),
    }
    given = {name: pd.Series(values, dtype=pd.Series(good[name]).dtype) for name, values in columns.items()}
    return pd.DataFrame({**good, **given})


def failures(results: list[Result]) -> list[Result]:
    return [result for result in results if not result.passed]


def column_failures(data: pd.DataFrame, schema: Schema = SCHEMA) -> list[Result]:
    return failures(checks.check_columns(data, schema, 0.3))


def test_a_good_table_passes_every_check() -> None:
    results = checks.check_columns(table(), SCHEMA, 0.3)

    assert failures(results) == []
    assert {(result.column, result.check) for result in results} >= {
        ("key", "unique"),
        ("age", "range"),
        ("price", "range"),
        ("size", "allowed values"),
        ("flag", "missing values"),
    }
    assert all(result.failed == 0 and result.share == 0 and result.examples == [] for result in results)


def test_values_out_of_range_are_counted_with_examples_and_both_limits() -> None:
    [result] = column_failures(table(age=[-1, 0, 120, 121, 121, 30, 30, 30, None, 30]))

    assert (result.check, result.column, result.severity) == ("range", "age", "error")
    assert (result.failed, result.share, result.examples) == (3, 0.3, ["-1", "121"])
    assert result.expected == "at least 0 and at most 120"
    assert result.sentence() == "range of age: 3 rows (30.0%), such as -1, 121; expected at least 0 and at most 120"


def test_a_column_says_itself_how_severe_a_broken_range_is() -> None:
    [result] = column_failures(table(price=[0.4] + [0.5] * 9))

    assert (result.column, result.severity, result.expected, result.failed) == ("price", "warning", "at least 0.5", 1)


def test_values_that_are_not_allowed_are_counted_with_examples() -> None:
    [result] = column_failures(table(size=["S", "XL", "s", "XL", None, *"SMSMS"]))

    assert (result.check, result.column, result.severity) == ("allowed values", "size", "error")
    assert (result.failed, result.examples, result.expected) == (3, ["XL", "s"], "one of S, M")


def test_an_id_that_comes_twice_is_an_error_in_both_rows() -> None:
    [result] = column_failures(table(key=[1, 1, 2, 2, 3, 4, 5, 6, 7, 8]))

    assert (result.check, result.column, result.severity) == ("unique", "key", "error")
    assert (result.failed, result.examples) == (4, ["1", "2"])


def test_one_column_may_fail_in_several_ways_and_all_columns_are_checked() -> None:
    found = column_failures(table(age=[-1] * 10, size=["XL"] * 10, price=[None] * 10))

    assert [(result.column, result.check) for result in found] == [
        ("age", "range"),
        ("price", "missing values"),
        ("price", "missing values"),
        ("size", "allowed values"),
    ]


def test_200_000_bad_cells_give_one_short_result() -> None:
    data = table(200_000, age=np.arange(200_000) + 1000)

    [result] = column_failures(data)

    assert (result.failed, result.share) == (200_000, 1.0)
    assert result.examples == ["1000", "1001", "1002", "1003", "1004"]


@pytest.mark.parametrize(("missing", "warned"), [(3, False), (4, True)])
def test_more_than_the_share_of_missing_values_is_worth_a_warning(missing: int, warned: bool) -> None:
    found = column_failures(table(flag=[None] * missing + [True] * (10 - missing)))

    assert [(result.column, result.severity, result.failed, result.share) for result in found] == (
        [("flag", "warning", 4, 0.4)] if warned else []
    )


def test_more_missing_values_than_the_column_may_have_are_as_severe_as_it_says() -> None:
    [error] = column_failures(table(y=[None, *"ababababa"]))
    assert (error.column, error.severity, error.failed, error.expected) == ("y", "error", 1, "at most 0.0% missing")

    both = column_failures(table(price=[None] * 6 + [1.0] * 4))
    assert [(result.severity, result.expected) for result in both] == [
        ("warning", "at most 30.0% missing"),
        ("warning", "at most 50.0% missing"),
    ]


@pytest.mark.parametrize("wrong", [table().drop(columns="age"), table().astype({"age": "float64"})])
def test_a_table_that_prepare_did_not_make_is_refused(wrong: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"the prepared column age should be Int64 but is (no such column|float64)"):
        checks.check_columns(wrong, SCHEMA, 0.3)


def test_duplicate_rows_are_counted_without_regard_to_their_ids() -> None:
    data = table(age=range(10))
    [fine, _] = checks.check_rows(data, SCHEMA, 0.1, 0.1)
    assert (fine.passed, fine.failed) == (True, 0)

    doubled = data.copy()
    doubled.loc[2:4, data.columns[1:]] = data.loc[0, data.columns[1:]].to_numpy()
    [result, _] = checks.check_rows(doubled, SCHEMA, 0.1, 0.1)
    assert (result.check, result.severity, result.passed) == ("duplicate rows", "warning", False)
    assert (result.failed, result.share, result.expected) == (3, 0.3, "at most 10.0% of the rows")


@pytest.mark.parametrize(("smallest", "passed"), [(0.2, True), (0.21, False)])
def test_a_class_that_is_too_small_is_named(smallest: float, passed: bool) -> None:
    [_, result] = checks.check_rows(table(y=[*"aabbbbbbbb"]), SCHEMA, 1, smallest)

    assert (result.check, result.column, result.severity, result.passed) == ("class balance", "y", "warning", passed)
    assert (result.share, result.examples) == (0.2, ["a"])


def test_a_number_to_predict_has_no_class_balance() -> None:
    schema = Schema(columns={"x": {"type": "number"}, "y": {"type": "number", "role": "target"}})

    results = checks.check_rows(pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0]}), schema, 0.1, 0.1)

    assert [result.check for result in results] == ["duplicate rows"]


def test_an_id_in_both_splits_is_an_error() -> None:
    data = table(age=range(10))
    test = data[6:].assign(age=pd.array([50, 51, 52, 53], dtype="Int64"))

    fine = checks.check_overlap(data[:6], test, SCHEMA, 0.05)
    assert failures(fine) == []
    assert [result.column for result in fine] == [None, "key"]

    [result] = failures(checks.check_overlap(data[:8], test, SCHEMA, 0.05))
    assert (result.check, result.column, result.severity) == ("overlap", "key", "error")
    assert (result.failed, result.share, result.examples) == (2, 0.5, ["6", "7"])


@pytest.mark.parametrize(("limit", "passed"), [(0.5, True), (0.49, False)])
def test_test_rows_that_equal_a_training_row_are_worth_a_warning(limit: float, passed: bool) -> None:
    train = table(4, age=[1, 2, 3, 4])
    test = table(4, key=[10, 11, 12, 13], age=[1, 2, 33, 34])

    overlap = checks.check_overlap(train, test, SCHEMA, limit)[0]

    assert (overlap.severity, overlap.passed, overlap.failed, overlap.share) == ("warning", passed, 2, 0.5)
