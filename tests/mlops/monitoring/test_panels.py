"""The page on a delivery: small pictures of distributions, performance, and what to look at next."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.data.profile import Distribution, distribution
from mlops.monitoring import panels

EXAMPLES = settings(max_examples=50, deadline=None, derandomize=True)
NUMBERS = st.lists(
    st.none() | st.integers(-3, 3).map(float) | st.floats(-1e9, 1e9) | st.floats(-1e300, 1e300), max_size=40
)
LEVELS = st.lists(st.none() | st.sampled_from("abcdefghijklmno"), max_size=40)


def numbers(values: object) -> Distribution:
    return distribution(pd.Series(values, dtype="float64"), "number")


def levels(values: object) -> Distribution:
    return distribution(pd.Series(values, dtype="str"), "category")


# Sketches


def assert_shares(shares: list[float], side: Distribution) -> None:
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) == pytest.approx(1 if side.given else 0)


@EXAMPLES
@given(NUMBERS, NUMBERS)
def test_a_sketch_of_numbers_places_every_row_that_has_a_value(then: list, now: list) -> None:
    baseline, current = numbers(then), numbers(now)

    sketch = panels.sketch(baseline, current)

    assert len(sketch["reference"]) == len(sketch["current"]) <= panels.SKETCH_BARS + 2
    assert sketch["least"] <= sketch["low"] <= sketch["high"] <= sketch["greatest"]
    given_values = [value for value in [*then, *now] if value is not None] or [0]
    assert (sketch["least"], sketch["greatest"]) == (min(given_values), max(given_values))
    assert_shares(sketch["reference"], baseline)
    assert_shares(sketch["current"], current)


@EXAMPLES
@given(LEVELS, LEVELS)
def test_a_sketch_of_categories_has_the_shares_of_the_levels_that_are_most_frequent(then: list, now: list) -> None:
    baseline, current = levels(then), levels(now)

    sketch = panels.sketch(baseline, current)

    every = {level for level in [*then, *now] if level is not None}
    assert set(sketch["labels"]) <= every
    assert len(sketch["labels"]) == min(len(every), panels.SKETCH_LEVELS)
    for name, side, values in (("reference", baseline, then), ("current", current, now)):
        shares = [values.count(label) / max(side.given, 1) for label in sketch["labels"]]
        assert sketch[name][: len(shares)] == pytest.approx(shares)
        assert len(sketch[name]) == len(shares) + bool(sketch["others"])
        assert_shares(sketch[name], side)


def test_a_number_that_never_changes_is_one_bar_and_others_lie_outside() -> None:
    sketch = panels.sketch(numbers([0.5] * 9), numbers([0.5, 0.5, 0.4, 0.7]))

    assert (sketch["reference"], sketch["current"]) == ([0, 1, 0], [0.25, 0.5, 0.25])


@pytest.mark.parametrize("least", [1, 5])
def test_bars_of_whole_numbers_hold_equally_many_of_them(least: int) -> None:
    months = numbers(np.repeat(np.arange(least, least + 40), 100))

    sketch = panels.sketch(months, months)

    assert (sketch["low"], sketch["high"]) == (least, least + 39)
    assert sketch["reference"] == pytest.approx([0, *[3 / 40] * 13, 1 / 40, 0])


def test_what_lies_outside_the_reference_falls_into_the_outer_bars() -> None:
    sketch = panels.sketch(numbers(np.linspace(0, 1, 1_000)), numbers([-50.0, -50.0, -50.0, 99.0]))

    assert (sketch["current"][0], sketch["current"][-1]) == (0.75, 0.25)
