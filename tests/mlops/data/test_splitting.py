"""Four ways to split: each reproducible, each true to its promise about shares, instants and groups."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.base.errors import DataError, SchemaError
from mlops.data.schema import Schema
from mlops.data.splitting import TARGET_BINS, split

SCHEMA = Schema(
    columns={
        "x": {"type": "number"},
        "at": {"type": "datetime", "role": "time"},
        "who": {"type": "category", "role": "group"},
        "y": {"type": "category", "role": "target"},
    }
)
TO_PREDICT = Schema(columns={"x": {"type": "number"}, "y": {"type": "number", "role": "target"}})
SIZES = st.floats(0.05, 0.95)
SEEDS = st.integers(0, 2**32)


def table(labels: list[str], groups: list[int] | None = None, days: list[int] | None = None) -> pd.DataFrame:
    rows = len(labels)
    return pd.DataFrame(
        {
            "x": np.arange(rows, dtype=float),
            "at": (pd.Timestamp("2024-01-01") + pd.to_timedelta(days or range(rows), unit="D")).astype(
                "datetime64[us]"
            ),
            "who": pd.Series(groups or range(rows)).astype("str"),
            "y": pd.Series(labels, dtype="str"),
        }
    )


@pytest.mark.parametrize("how", ["stratified", "random", "time", "group"])
def test_a_split_is_a_function_of_table_and_seed(how: str) -> None:
    rows = table(list("aab") * 40)

    first = split(rows, SCHEMA, how, 0.25, 7)

    assert np.array_equal(first, split(rows.copy(), SCHEMA, how, 0.25, 7))
    assert first.dtype == np.bool_
    assert first.sum() == 30
    if how != "time":
        assert not np.array_equal(first, split(rows, SCHEMA, how, 0.25, 8))


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=4, max_size=200), SIZES, SEEDS)
def test_each_class_has_its_share_in_the_test_split_to_a_row(labels: list[str], size: float, seed: int) -> None:
    rows = table(labels)
    try:
        test = split(rows, SCHEMA, "stratified", size, seed)
    except DataError:
        assert len(set(labels)) == len(labels)
        return

    for label in set(labels):
        of_class = (rows["y"] == label).to_numpy()
        assert abs((test & of_class).sum() - size * of_class.sum()) <= 1
        assert (~test & of_class).any()
        assert (test & of_class).any() or of_class.sum() == 1


def test_a_class_of_one_row_trains() -> None:
    rows = table([*"aaaaaaaaa", "rare"])

    assert all(not split(rows, SCHEMA, "stratified", 0.5, seed)[-1] for seed in range(10))


@settings(deadline=None)
@given(st.integers(2, 30), st.floats(0.1, 0.9), SEEDS)
def test_a_number_to_predict_is_spread_evenly_over_its_range(rows_a_tenth: int, size: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=TARGET_BINS * rows_a_tenth)

    test = split(pd.DataFrame({"x": values, "y": values}), TO_PREDICT, "stratified", size, seed)

    of_tenth = test[np.argsort(values)].reshape(TARGET_BINS, -1).sum(axis=1)
    assert np.abs(of_tenth - size * rows_a_tenth).max() <= 1


@settings(deadline=None)
@given(st.integers(2, 200), SIZES, SEEDS)
def test_a_random_split_has_its_size(rows: int, size: float, seed: int) -> None:
    if not 0 < round(rows * size) < rows:
        return

    assert split(table(["a"] * rows), SCHEMA, "random", size, seed).sum() == round(rows * size)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=100), SIZES, SEEDS)
def test_no_group_stands_on_both_sides(groups: list[int], size: float, seed: int) -> None:
    rows = table(["a"] * len(groups), groups=groups)
    try:
        test = split(rows, SCHEMA, "group", size, seed)
    except DataError:
        return  # all of it would have been one side

    assert set(rows["who"][test]).isdisjoint(rows["who"][~test])
    largest = rows["who"].value_counts().max()
    assert abs(test.sum() - size * len(rows)) <= largest


@settings(deadline=None)
@given(st.lists(st.integers(0, 20), min_size=2, max_size=100), SIZES)
def test_a_time_split_tests_on_the_newest_rows_and_parts_no_instant(days: list[int], size: float) -> None:
    rows = table(["a"] * len(days), days=days)
    try:
        test = split(rows, SCHEMA, "time", size, 1)
    except DataError:
        return

    assert rows["at"][~test].max() < rows["at"][test].min()
    assert test.sum() <= round(len(days) * size)


def test_rows_of_the_instant_at_the_boundary_all_train() -> None:
    rows = table(["a"] * 6, days=[3, 1, 2, 2, 2, 4])

    assert split(rows, SCHEMA, "time", 0.5, 1).tolist() == [True, False, False, False, False, True]


@pytest.mark.parametrize("how", ["stratified", "random", "time", "group"])
def test_too_few_rows_are_an_error_that_says_what_to_do(how: str) -> None:
    with pytest.raises(DataError, match=r"^1 row: too few to split off a test share of 0\.2 .*prepare\.test_size"):
        split(table(["a"]), SCHEMA, how, 0.2, 1)


def test_one_instant_or_one_group_cannot_be_split() -> None:
    with pytest.raises(DataError, match="too few"):
        split(table(["a"] * 9, days=[1] * 9), SCHEMA, "time", 0.2, 1)
    with pytest.raises(DataError, match="too few"):
        split(table(["a"] * 9, groups=[1] * 9), SCHEMA, "group", 0.2, 1)


@pytest.mark.parametrize("how", ["time", "group"])
def test_a_role_that_no_column_has_is_an_error_that_names_it(how: str) -> None:
    with pytest.raises(SchemaError, match=f"prepare.split is {how}, but no column has the role {how}"):
        split(pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0]}), TO_PREDICT, how, 0.5, 1)


@pytest.mark.parametrize(("how", "column"), [("time", "at"), ("group", "who")])
def test_a_missing_instant_or_group_is_an_error_that_counts_them(how: str, column: str) -> None:
    rows = table(list("abab"))
    rows.loc[[1, 2], column] = None

    with pytest.raises(DataError, match=f"the column {column} has 2 missing values"):
        split(rows, SCHEMA, how, 0.5, 1)
