"""The rows of each level: every row is in one level, levels are sorted, and missing values are a level."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops.data import levels
from mlops.data.levels import MISSING_LEVEL, objects, rows_by_level


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (pd.Series(["b", None, "a", "b"], dtype="str"), ["a", "b", MISSING_LEVEL]),
        (pd.Series([10, 2, None, 10], dtype="Int64"), ["2", "10", MISSING_LEVEL]),
        (pd.Series([True, False], dtype="boolean"), ["False", "True"]),
        (pd.Series([0.5, 10, np.nan, 2]), ["0.5", "2.0", "10.0", MISSING_LEVEL]),
        (pd.Series([None, None], dtype="str"), [MISSING_LEVEL]),
        (pd.Series([], dtype="str"), []),
    ],
)
def test_levels_come_in_their_own_order_and_missing_values_last(values: pd.Series, levels: list[str]) -> None:
    assert [level for level, _ in rows_by_level(values)] == levels


@given(st.lists(st.none() | st.sampled_from("abc"), max_size=20))
def test_every_row_is_in_the_level_of_its_value(values: list[str | None]) -> None:
    found = dict(rows_by_level(pd.Series(values, dtype="str")))

    for row, value in enumerate(values):
        assert [level for level, rows in found.items() if rows[row]] == [value or MISSING_LEVEL]


def test_equal_texts_are_one_object_and_what_is_missing_is_nan() -> None:
    values = pd.Series(["b" * 9, None, "a" * 9, "b" * 9], dtype="str")

    found = objects(values)

    assert found.dtype == object
    assert found[[0, 2, 3]].tolist() == ["b" * 9, "a" * 9, "b" * 9]
    assert found[0] is found[3]
    assert np.isnan(found[1])


def test_values_that_are_no_text_are_objects_as_they_are() -> None:
    assert objects(pd.Series([1, True, "a"], dtype=object)).tolist() == [1, True, "a"]
    assert [type(value) for value in objects(pd.Series([1, True], dtype=object))] == [int, bool]


@pytest.mark.parametrize("dtype", ["float64", "Int64", "str"])
def test_it_is_told_if_there_are_more_levels_than_so_many_without_counting_them_all(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "BLOCK", 2)
    values = pd.Series([1, 1, None, 2, 2, 3, 1]).astype("Int64").astype(dtype)

    assert [levels.more_than(values, count) for count in (0, 1, 2, 3, 4)] == [True, True, True, False, False]
    assert not levels.more_than(values[:0], 0)
