"""What is kept of a table: exact, the same from parts as from the whole, and the same after it was stored."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.data import profile
from mlops.data.schema import Column, Schema
from numpy.typing import NDArray

# The same code gets the same verdict, on a slow machine too.
EXAMPLES = settings(max_examples=30, deadline=None, derandomize=True)
SCHEMA = Schema(
    columns={
        "customer": Column(type="text", role="id"),
        "amount": Column(type="number"),
        "visits": Column(type="integer"),
        "member": Column(type="boolean"),
        "plan": Column(type="category"),
        "since": Column(type="datetime"),
        "region": Column(type="category", role="group"),
        "seen": Column(type="datetime", role="time"),
        "note": Column(type="text", role="ignore"),
        "left": Column(type="category", role="target"),
    }
)
DTYPES = {
    "amount": "float64",
    "visits": "Int64",
    "member": "boolean",
    "plan": "str",
    "since": "datetime64[us]",
    "left": "str",
}
DAY = pd.Timestamp("2024-02-29 12:00")
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-3, 3).map(float) | st.floats(-1e9, 1e9),
        st.none() | st.integers(-(2**40), 2**40),
        st.none() | st.booleans(),
        st.none() | st.sampled_from(["", "a", "B", "é", "日本", "a b", "nan"]) | st.text(max_size=3),
        st.none() | st.sampled_from([DAY, pd.Timestamp("1969-07-20")]),
        st.sampled_from(["yes", "no"]),
    ),
    max_size=30,
).filter(lambda rows: all(plan is None or plan.isprintable() for _, _, _, plan, _, _ in rows))


def typed(rows: list[tuple]) -> pd.DataFrame:
    columns = zip(*rows, strict=True) if rows else [()] * len(DTYPES)
    return pd.DataFrame(
        {name: pd.Series(values, dtype=DTYPES[name]) for name, values in zip(DTYPES, columns, strict=True)}
    )


def assert_same(one: profile.Profile, other: profile.Profile) -> None:
    assert list(one) == list(other)
    for name in one:
        left, right = one[name], other[name]
        assert (left.kind, left.missing, left.values.tolist()) == (right.kind, right.missing, right.values.tolist())
        assert left.values.dtype == right.values.dtype
        assert left.counts.dtype == right.counts.dtype == np.int64
        np.testing.assert_array_equal(left.counts, right.counts)


def test_features_and_target_are_profiled_and_nothing_else() -> None:
    table = typed([(1.5, 2, True, "basic", DAY, "yes")]).assign(customer="c1", region="north", seen=DAY)

    found = profile.profile(table, SCHEMA)

    assert list(found) == ["amount", "visits", "member", "plan", "since", "left"]
    assert [column.kind for column in found.values()] == [
        "number",
        "number",
        "category",
        "category",
        "number",
        "category",
    ]


def test_a_delivery_without_labels_has_a_profile_without_target() -> None:
    table = typed([(1.5, 2, True, "basic", DAY, "yes")]).drop(columns="left")

    assert "left" not in profile.profile(table, SCHEMA)


def test_values_are_sorted_and_counted_and_missing_ones_apart() -> None:
    found = profile.distribution(pd.Series([2.0, np.nan, -1.0, 2.0, 0.5]), "number")

    assert found.values.tolist() == [-1.0, 0.5, 2.0]
    assert found.counts.tolist() == [1, 1, 2]
    assert (found.missing, found.given, found.rows, found.missing_share) == (1, 4, 5, 0.2)
    assert found.mean == 0.875


def test_levels_are_sorted_and_counted_and_have_no_mean() -> None:
    found = profile.distribution(pd.Series(["b", "a", None, "b"], dtype="str"), "category")

    assert found.values.tolist() == ["a", "b"]
    assert found.counts.tolist() == [1, 2]
    assert (found.missing, found.mean) == (1, None)


@pytest.mark.parametrize(
    ("day", "expected"),
    [("1970-01-02 12:00", 1.5), ("1600-01-01", -135140.0), ("9999-12-31", 2932896.0)],
    ids=["near", "before nanoseconds", "for ever"],
)
def test_a_datetime_counts_in_days_since_1970(day: str, expected: float) -> None:
    found = profile.distribution(pd.Series([day, None], dtype="datetime64[us]"), "number")

    assert found.values.tolist() == [expected]
    assert found.missing == 1


@pytest.mark.parametrize(
    ("predictions", "kind", "expected"),
    [
        (pd.Series(["yes", "no", "yes"], dtype="category"), "category", ["no", "yes"]),
        (pd.Series([True, False, True]), "category", ["False", "True"]),
        (pd.Series([1, 0, 1]), "category", ["0", "1"]),
        (pd.Series([0.25, 0.75, 0.25]), "number", [0.25, 0.75]),
    ],
    ids=["labels", "booleans", "codes", "probabilities"],
)
def test_predictions_have_a_distribution_without_a_schema(predictions: pd.Series, kind: str, expected: list) -> None:
    assert profile.distribution(predictions, kind).values.tolist() == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["number", "category"])
@pytest.mark.parametrize("rows", [0, 4])
def test_a_column_without_values_is_no_special_case(kind: str, rows: int) -> None:
    column = pd.Series([None] * rows, dtype="float64" if kind == "number" else "str")

    found = profile.distribution(column, kind)  # type: ignore[arg-type]

    assert (len(found.values), found.given, found.missing, found.mean) == (0, 0, rows, None)
    assert found.missing_share == (1.0 if rows else 0.0)


@EXAMPLES
@given(ROWS)
def test_the_order_of_rows_does_not_matter(rows: list[tuple]) -> None:
    assert_same(profile.profile(typed(rows), SCHEMA), profile.profile(typed(rows[::-1]), SCHEMA))


@EXAMPLES
@given(ROWS)
def test_a_profile_survives_being_a_table(rows: list[tuple]) -> None:
    found = profile.profile(typed(rows), SCHEMA)

    frame = profile.to_frame(found)

    assert_same(profile.from_frame(frame), found)
    assert frame.dtypes.astype(str).to_dict() == {
        "column": "str",
        "kind": "str",
        "missing": "bool",
        "number": "float64",
        "level": "str",
        "rows": "int64",
    }
    assert frame.groupby("column")["rows"].sum().tolist() == [len(rows)] * len(DTYPES)


@pytest.mark.parametrize(
    "rows",
    [
        [(0.1 + 0.2, 2**40, None, "é", DAY, "yes"), (None, None, None, "", None, "no")],
        [(None,) * 5 + ("no",)] * 3,
        [],
    ],
    ids=["values", "all missing", "no rows"],
)
def test_a_profile_survives_being_a_file(tmp_path: Path, rows: list[tuple]) -> None:
    found = profile.profile(typed(rows), SCHEMA)

    profile.to_frame(found).to_parquet(tmp_path / "reference.parquet", index=False)

    assert_same(profile.from_frame(pd.read_parquet(tmp_path / "reference.parquet")), found)


def thinned(values: NDArray[np.float64]) -> profile.Distribution:
    return profile.distribution(pd.Series(values), "number")


def test_up_to_a_hundred_thousand_different_numbers_are_kept_as_they_are() -> None:
    values = np.random.default_rng(1).normal(size=profile.MOST_VALUES)

    assert np.array_equal(thinned(values).values, np.sort(values))


def test_more_numbers_keep_their_mean_and_nearly_their_distribution() -> None:
    values = np.random.default_rng(1).lognormal(sigma=3, size=3 * profile.MOST_VALUES + 7)

    found = thinned(values)

    assert len(found.values) <= profile.MOST_VALUES
    assert found.given == len(values)
    assert found.mean == pytest.approx(values.mean(), rel=1e-12)
    kept = np.cumsum(found.counts) / found.given
    exact = np.searchsorted(np.sort(values), found.values, side="right") / len(values)
    assert np.abs(kept - exact).max() <= 1 / profile.MOST_VALUES


def test_a_value_of_weight_keeps_its_place_among_many() -> None:
    random = np.random.default_rng(1)
    values = np.concatenate([random.normal(size=2 * profile.MOST_VALUES), np.zeros(1_000)])

    found = thinned(values)

    assert found.counts[np.searchsorted(found.values, 0.0)] == 1_000
    assert 0.0 in found.values
