"""Every check of validate, passing and failing, with what a person needs to find the rows."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.base.errors import DataError
from mlops.data import checks
from mlops.data.checks import CheckResult
from mlops.data.schema import Schema

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


def failures(results: list[CheckResult]) -> list[CheckResult]:
    return [result for result in results if not result.passed]


def column_failures(data: pd.DataFrame, schema: Schema = SCHEMA) -> list[CheckResult]:
    return failures(checks.check_columns(data, schema, 0.3))


def test_a_good_table_passes_every_check() -> None:
    results = checks.check_columns(table(), SCHEMA, 0.3)

    assert failures(results) == []
    assert {(result.column, result.check) for result in results} >= {
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
    result = checks.check_ids(table(key=[1, 1, 2, 2, 3, 4, 5, 6, 7, 8])["key"])

    assert (result.check, result.column, result.severity, result.passed) == ("unique", "key", "error", False)
    assert (result.failed, result.rows, result.examples) == (4, 10, ["1", "2"])
    assert result.sentence() == "unique of key: 4 rows (40.0%), such as 1, 2; expected each value once"


def test_ids_that_come_once_are_fine_and_missing_ones_are_not_the_same() -> None:
    result = checks.check_ids(table(key=[None, None, 2, 3, 4, 5, 6, 7, 8, None])["key"])

    assert (result.passed, result.failed, result.rows, result.examples) == (True, 0, 10, [])


def test_ids_are_compared_over_the_parts_of_a_table_whatever_their_row_numbers() -> None:
    train, test = pd.Series(["a", "b"], name="key", dtype="str"), pd.Series(["b", "c"], name="key", dtype="str")

    result = checks.check_ids(pd.concat([train, test], ignore_index=True))

    assert (result.failed, result.examples) == (2, ["b"])


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


def test_a_column_that_prepare_did_not_keep_is_named() -> None:
    with pytest.raises(DataError, match=r"the prepared data has no column age, which schema.yaml keeps: run prepare"):
        checks.check_names(table().drop(columns="age"), SCHEMA)


@pytest.mark.parametrize("wrong", [table().astype({"age": "float64"}), table().astype({"y": "object"})])
def test_a_table_that_prepare_did_not_make_is_refused(wrong: pd.DataFrame) -> None:
    with pytest.raises(
        DataError, match=r"the prepared column (age should be Int64 but is float64|y should be str but is object)"
    ):
        checks.check_columns(wrong, SCHEMA, 0.3)


def duplicates(data: pd.DataFrame, limit: float) -> CheckResult:
    return checks.check_rows(checks.fingerprints(data, SCHEMA), limit)


def test_duplicate_rows_are_counted_without_regard_to_their_ids() -> None:
    data = table(age=range(10))
    fine = duplicates(data, 0.1)
    assert (fine.passed, fine.failed) == (True, 0)

    doubled = data.copy()
    doubled.loc[2:4, data.columns[1:]] = data.loc[0, data.columns[1:]].to_numpy()
    result = duplicates(doubled, 0.1)
    assert (result.check, result.severity, result.passed) == ("duplicate rows", "warning", False)
    assert (result.failed, result.share, result.expected) == (3, 0.3, "at most 10.0% of the rows")
    assert duplicates(doubled, 0.3).passed


@pytest.mark.parametrize(("smallest", "passed"), [(0.2, True), (0.21, False)])
def test_a_class_that_is_too_small_is_named(smallest: float, passed: bool) -> None:
    [result] = checks.check_balance(table(y=[*"aabbbbbbbb"])["y"], smallest)

    assert (result.check, result.column, result.severity, result.passed) == ("class balance", "y", "warning", passed)
    assert (result.share, result.examples) == (0.2, ["a"])


@pytest.mark.parametrize("dtype", ["float64", "Int64"])
def test_a_number_to_predict_has_no_class_balance(dtype: str) -> None:
    assert checks.check_balance(pd.Series([1, 2], name="y", dtype=dtype), 0.1) == []


def test_truth_values_are_classes_too() -> None:
    [result] = checks.check_balance(pd.Series([True, False, True, True], name="y", dtype="boolean"), 0.3)

    assert (result.passed, result.share, result.examples) == (False, 0.25, ["False"])


def test_an_id_in_both_splits_is_an_error() -> None:
    keys = table()["key"]

    fine = checks.check_id_overlap(keys[:6], keys[6:])
    assert (fine.column, fine.passed, fine.failed) == ("key", True, 0)

    result = checks.check_id_overlap(keys[:8], keys[6:])
    assert (result.check, result.column, result.severity) == ("overlap", "key", "error")
    assert (result.passed, result.failed, result.share, result.examples) == (False, 2, 0.5, ["6", "7"])


def test_a_missing_id_is_in_neither_split() -> None:
    train, test = table(key=[None] * 10)["key"], table(key=[1, *[None] * 9])["key"]

    assert checks.check_id_overlap(train, test).passed


@pytest.mark.parametrize(("limit", "passed"), [(0.5, True), (0.49, False)])
def test_test_rows_that_equal_a_training_row_are_worth_a_warning(limit: float, passed: bool) -> None:
    train = checks.fingerprints(table(4, age=[1, 2, 3, 4]), SCHEMA)
    test = checks.fingerprints(table(4, key=[10, 11, 12, 13], age=[1, 2, 33, 34]), SCHEMA)

    overlap = checks.check_overlap(train, test, limit)

    assert (overlap.check, overlap.column, overlap.severity) == ("overlap", None, "warning")
    assert (overlap.passed, overlap.failed, overlap.share) == (passed, 2, 0.5)


@pytest.mark.parametrize(
    ("column", "other", "same"),
    [("key", 99, True), ("at", "2025-01-01", False), ("y", "b", False), ("size", None, False), ("price", 9.0, False)],
)
def test_rows_are_the_same_if_a_model_sees_the_same(column: str, other: object, same: bool) -> None:
    data = table(2, y=["a", "a"], size=["S", "S"])
    data[column] = pd.Series([data[column][0], other], dtype=data[column].dtype)

    one, two = checks.fingerprints(data, SCHEMA)

    assert bool(one == two) is same


def test_a_result_is_plain_values_for_json() -> None:
    [result] = column_failures(table(age=[-1] + [30] * 9))

    assert result.as_dict() == {
        "check": "range",
        "column": "age",
        "severity": "error",
        "expected": "at least 0 and at most 120",
        "passed": False,
        "failed": 1,
        "share": 0.1,
        "examples": ["-1"],
    }


def test_a_column_that_is_ignored_may_hold_anything() -> None:
    columns = {**SCHEMA.columns, "size": {"type": "category", "allowed": ["S"], "role": "ignore"}}

    assert column_failures(table(size=["XL"] * 10), Schema(columns=columns)) == []


CELLS = st.fixed_dictionaries(
    {
        "age": st.sampled_from([None, -1, 0, 30, 121, 122, 123, 124, 125, 126]),
        "price": st.sampled_from([None, 0.1, 0.4, 0.5, 9.0]),
        "size": st.sampled_from([None, "S", "M", "XL", "s", "m", "L", "?", "XXL"]),
        "flag": st.sampled_from([None, True]),
        "y": st.sampled_from([None, "a", "b"]),
    }
)


@settings(max_examples=25, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=24), st.lists(st.integers(0, 24), max_size=4), st.floats(0, 1))
def test_checks_of_any_parts_combine_to_the_checks_of_the_whole(rows: list[dict], cuts: list[int], warn: float) -> None:
    size = len(rows)
    data = table(2 * size).iloc[:size].reset_index(drop=True)
    data = data.assign(**{name: pd.Series([row[name] for row in rows], dtype=data[name].dtype) for name in rows[0]})
    edges = sorted({0, size, *(cut for cut in cuts if cut < size)})

    parts = [checks.check_columns(data[start:end], SCHEMA, warn) for start, end in pairwise(edges)]

    assert checks.combine(parts) == checks.check_columns(data, SCHEMA, warn)


def test_a_part_that_fails_need_not_fail_the_whole() -> None:
    data = table(flag=[None] * 4 + [True] * 6)
    parts = [checks.check_columns(data[start : start + 5], SCHEMA, 0.5) for start in (0, 5)]

    assert len(failures(parts[0])) == 1
    assert failures(checks.combine(parts)) == []


def test_nothing_to_combine_is_no_check() -> None:
    assert checks.combine([]) == []
