"""When a delivery differs from the baseline: the statistics agree with scipy, and the verdict with common sense."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mlops.base.errors import ParameterError
from mlops.base.params import Monitor
from mlops.data.profile import Distribution, distribution
from mlops.monitoring import drift, two_sample
from scipy import stats
from scipy.spatial import distance

# The same code gets the same verdict, on a slow machine too.
EXAMPLES = settings(max_examples=50, deadline=None, derandomize=True)
LIMITS = Monitor()
TIED = st.integers(-3, 3).map(float)
SAMPLE = st.lists(TIED, min_size=1, max_size=40) | st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)
LEVELS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=60)


def numbers(values: object) -> Distribution:
    return distribution(pd.Series(values, dtype="float64"), "number")


def levels(values: object) -> Distribution:
    return distribution(pd.Series(values, dtype="str"), "category")


def compared(baseline: Distribution, current: Distribution) -> drift.ColumnDrift:
    return drift.compare({"x": baseline}, {"x": current}, ["x"], LIMITS)[0]


def fired(column: drift.ColumnDrift) -> list[str]:
    return [test.name for test in column.tests if test.drifted]


# Kolmogorov–Smirnov


@EXAMPLES
@given(SAMPLE, SAMPLE)
def test_small_numbers_agree_with_scipy(first: list[float], second: list[float]) -> None:
    expected = stats.ks_2samp(first, second)

    test = compared(numbers(first), numbers(second)).tests[0]

    assert test.statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert test.p_value == pytest.approx(expected.pvalue, abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "others"),
    [
        (4_800, 1_043),
        (10_000, 10_000),
        (10_001, 10_000),
        (30_000, 700),
        (20_000, 1),
        (1, 20_000),
        (1, 1),
        (60_000, 60_000),
    ],
)
@pytest.mark.parametrize("shift", [0.0, 0.02, 0.1, 1.0, 9.0])
@pytest.mark.parametrize("decimals", [0, 9], ids=["ties", "no ties"])
def test_many_numbers_agree_with_scipy(rows: int, others: int, shift: float, decimals: int) -> None:
    random = np.random.default_rng(rows)
    first = random.normal(size=rows).round(decimals)
    second = random.normal(shift, size=others).round(decimals)
    expected = stats.ks_2samp(first, second)

    test = compared(numbers(first), numbers(second)).tests[0]

    assert test.statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert test.p_value == pytest.approx(expected.pvalue, abs=1e-6)
    assert test.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-300)


def test_missing_numbers_are_left_out_of_the_distance() -> None:
    with_gaps = numbers([1.0, None, 2.0, 3.0, None])

    assert compared(with_gaps, numbers([1.0, 2.0, 3.0])).tests[0].statistic == 0


@EXAMPLES
@given(SAMPLE, SAMPLE)
def test_how_far_numbers_moved_agrees_with_scipy(first: list[float], second: list[float]) -> None:
    spread = np.std(first)
    assume(spread > 1e-3)

    moved = compared(numbers(first), numbers(second)).measures["wasserstein"]

    assert moved == pytest.approx(stats.wasserstein_distance(first, second) / spread, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("first", "second"),
    [([5.0, 5.0], [4.0, 6.0]), ([1e308, -1e308], [0.0, 1.0]), ([0.0, 1.0], [np.inf, 1.0])],
    ids=["a constant", "a spread that no float holds", "an infinite value"],
)
def test_a_move_without_a_unit_is_not_told(first: list[float], second: list[float]) -> None:
    measures = compared(numbers(first), numbers(second)).measures

    assert measures["wasserstein"] is None
    assert measures["psi"] is not None


def test_the_stability_index_is_the_one_of_the_deciles_of_the_baseline() -> None:
    first, second = np.arange(10_000.0), np.arange(10_000.0) * 1.2 + 1_000
    shares = np.histogram(second, [-np.inf, *np.quantile(first, np.arange(0.1, 1, 0.1)), np.inf])[0] / len(second)
    by_hand = np.sum((shares - 0.1) * np.log(np.maximum(shares, 0.5 / 10_000) / 0.1))

    assert compared(numbers(first), numbers(second)).measures["psi"] == pytest.approx(by_hand, rel=0.01)


@pytest.mark.parametrize("now", [4.0, 6.0])
def test_a_value_of_its_own_bin_hides_nothing_on_either_side(now: float) -> None:
    assert compared(numbers([5.0] * 100), numbers([now] * 100)).measures["psi"] > 5


# Chi-square and Cramér's V


@EXAMPLES
@given(LEVELS, LEVELS)
def test_categories_agree_with_scipy(first: list[str], second: list[str]) -> None:
    first, second = first * 20, second * 20
    table = np.array([[side.count(level) for level in sorted({*first, *second})] for side in (first, second)])
    assume(table.shape[1] > 1)
    expected = stats.chi2_contingency(table)
    assume(expected.expected_freq.min() >= 5)

    column = compared(levels(first), levels(second))

    assert column.tests[0].name == "chi_square"
    assert column.tests[0].statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert column.tests[0].p_value == pytest.approx(expected.pvalue, abs=1e-6)
    shares = (table / table.sum(axis=1, keepdims=True)).tolist()
    assert column.measures["jensen_shannon"] == pytest.approx(distance.jensenshannon(*shares, base=2), abs=1e-7)


@EXAMPLES
@given(st.lists(st.integers(0, 60), min_size=2, max_size=300), st.lists(st.integers(0, 60), min_size=300, max_size=300))
def test_rare_levels_share_a_cell_and_no_row_is_lost(then: list[int], now: list[int]) -> None:
    table = np.array([then, now[: len(then)]])
    table = table[:, table.any(axis=0)]
    assume(table.shape[1] > 1 and table.any(axis=1).all())

    cells = two_sample.rare_merged(table)

    assert cells.sum(axis=1).tolist() == table.sum(axis=1).tolist()
    least = cells.sum(axis=0).min() * cells.sum(axis=1).min() / cells.sum()
    assert cells.shape[1] == 2 or (cells.shape[1] > 2 and least >= two_sample.LEAST_EXPECTED)
    np.testing.assert_array_equal(cells, two_sample.rare_merged(table[::-1])[::-1])  # neither side decides


def test_which_levels_are_rare_depends_on_both_sides_together() -> None:
    table = np.array([[900, 90, 6, 4, 0], [90, 9, 0, 0, 1]])

    assert two_sample.rare_merged(table).tolist() == [[900, 100], [90, 10]]


@EXAMPLES
@given(*[st.integers(0, 40)] * 4)
def test_few_rows_of_two_outcomes_get_the_exact_test(here: int, gone: int, here_now: int, gone_now: int) -> None:
    table = np.array([[here, gone], [here_now, gone_now]])
    assume(table.any(axis=0).all() and table.any(axis=1).all())
    expected = stats.chi2_contingency(table)
    exact = expected.expected_freq.min() < 5

    statistic, p_value = two_sample.chi_square(table)

    assert statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert p_value == pytest.approx(stats.fisher_exact(table).pvalue if exact else expected.pvalue, abs=1e-9)


@EXAMPLES
@given(st.lists(st.integers(0, 5000), min_size=2, max_size=6), st.randoms())
def test_cramers_v_is_the_known_one_less_chance_on_samples_of_one_size(counts: list[int], random: object) -> None:
    assume(sum(count > 0 for count in counts) > 1)
    shuffled = list(counts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    table = np.array([counts, shuffled])
    table = table[:, table.any(axis=0)]
    chance = (table.shape[1] - 1) / table.sum()
    assume(chance < 1)

    known = stats.contingency.association(table, method="cramer") ** 2

    assert two_sample.cramers_v(table) ** 2 == pytest.approx(max(known - chance, 0) / (1 - chance), abs=1e-9)


def test_cramers_v_is_one_when_no_level_is_shared() -> None:
    assert two_sample.cramers_v(np.array([[600, 400, 0], [0, 0, 90]])) == pytest.approx(1)


def test_a_large_baseline_does_not_hide_a_change_in_a_small_delivery() -> None:
    baseline, delivery = levels(["yes", "no"] * 50_000), levels(["yes"] * 160 + ["no"] * 40)

    assert fired(compared(baseline, delivery)) == ["chi_square"]


@pytest.mark.parametrize("count", [2, 50, 1_000])
def test_many_levels_in_few_rows_are_no_drift(count: int) -> None:
    random = np.random.default_rng(7)
    shares = 1 / np.arange(1, count + 1)
    names = np.array([f"level {number}" for number in range(count)])
    baseline = levels(random.choice(names, 20_000, p=shares / shares.sum()))
    deliveries = [levels(random.choice(names, 100, p=shares / shares.sum())) for _ in range(20)]

    alarms = sum(compared(baseline, delivery).drifted for delivery in deliveries)

    assert alarms <= 2


def test_new_and_vanished_levels_are_counted_and_five_of_them_named() -> None:
    column = compared(levels(["a", "b"] * 50), levels(["b", "z", "y", "x", "w", "v", "u"] * 10))

    assert column.new_level_count == 6
    assert column.new_levels == ["u", "v", "w", "x", "y"]
    assert (column.vanished_level_count, column.vanished_levels) == (1, ["a"])
    assert column.drifted


def test_rare_levels_that_replace_other_rare_ones_are_drift_though_their_share_stays() -> None:
    then, now = ([f"{side} {number}" for number in range(20)] * 5 for side in ("old", "new"))

    column = compared(levels(["a"] * 900 + then), levels(["a"] * 900 + now))

    assert fired(column) == ["unseen_levels"]
    assert column.tests[0].p_value == pytest.approx(1)
    unseen = column.tests[1]
    # Chance leaves a level of five rows out of one of two equal samples in 1 of 32 cases.
    assert (unseen.statistic, unseen.effect) == (20, pytest.approx(0.1 - 40 * 5 / 32 / 1_000))
    assert unseen.p_value == pytest.approx(stats.poisson.sf(19, 40 / 32 + 0.5**1_800))


@pytest.mark.parametrize("now", [200, 20_000])
def test_identities_are_all_unseen_and_no_drift(now: int) -> None:
    then, new = (
        pd.Series(np.arange(start, start + count)).astype("str") for start, count in ((0, 5_000), (10**6, now))
    )

    column = compared(levels(then), levels(new))

    assert column.new_level_count == now
    assert not column.drifted


def test_a_category_that_hardly_groups_anything_is_compared_all_the_same() -> None:
    names = pd.Series(np.arange(160_000)).astype("str")

    column = compared(levels(names[:100_000]), levels(names[60_000:]))

    assert column.new_level_count == 60_000
    assert column.new_levels == sorted(names[100_000:])[:5]


# Missing values


def test_a_jump_in_missing_values_is_drift_even_if_the_values_left_are_the_same() -> None:
    values = list(np.random.default_rng(1).normal(size=1_000))

    column = compared(numbers(values), numbers(values + [None] * 200))

    assert fired(column) == ["missing_share"]
    assert column.missing_shares == (0, pytest.approx(1 / 6))
    assert column.sample_sizes == (1_000, 1_000)
    assert column.effect == pytest.approx(1 / 6)


@EXAMPLES
@given(*[st.integers(0, 300)] * 4)
def test_the_missing_share_agrees_with_scipy(here: int, gone: int, here_now: int, gone_now: int) -> None:
    assume(here + gone and here_now + gone_now and here + here_now and gone + gone_now)
    expected = stats.chi2_contingency([[here, gone], [here_now, gone_now]])
    assume(expected.expected_freq.min() >= 5)

    test = compared(numbers([1.0] * here + [None] * gone), numbers([1.0] * here_now + [None] * gone_now)).tests[-1]

    assert test.name == "missing_share"
    assert test.statistic == pytest.approx(expected.statistic, abs=1e-9)
    assert test.p_value == pytest.approx(expected.pvalue, abs=1e-6)


@pytest.mark.parametrize("of", [numbers, levels])
def test_a_column_that_came_empty_is_caught_and_one_that_filled_too(of: object) -> None:
    full, empty = of(["1", "2"] * 50), of([None] * 100)  # type: ignore[operator]

    for column in (compared(full, empty), compared(empty, full)):
        assert fired(column) == ["missing_share"]
        assert column.tests[0].note == "one side has no rows to compare"
        assert (column.tests[0].p_value, column.tests[0].effect) == (1, 0)


# What cannot be tested


@pytest.mark.parametrize("of", [numbers, levels])
@pytest.mark.parametrize(
    ("baseline", "current"),
    [(["1"] * 9, ["1"] * 5), (["1"] * 9, []), ([], ["1"] * 9), ([], []), ([None] * 9, [None] * 9), ([None] * 9, [])],
    ids=["constant", "no rows now", "no rows then", "no rows", "all missing", "all missing, then no rows"],
)
def test_what_cannot_be_tested_is_no_drift_and_says_why(of: object, baseline: list, current: list) -> None:
    column = compared(of(baseline), of(current))  # type: ignore[operator]

    assert not column.drifted
    assert column.effect == 0
    assert {(test.p_value, test.adjusted_p_value, test.statistic) for test in column.tests} == {(1, 1, 0)}
    assert {value for name, value in column.measures.items() if name != "wasserstein"} <= {0, None}
    assert all(test.note in ("all rows are alike", "one side has no rows to compare") for test in column.tests)


def test_two_constants_that_differ_are_drift() -> None:
    assert fired(compared(numbers([1.0] * 50), numbers([2.0] * 50))) == ["kolmogorov_smirnov"]
    assert fired(compared(levels(["a"] * 50), levels(["b"] * 50))) == ["chi_square", "unseen_levels"]


def test_one_row_is_too_little_to_say_anything() -> None:
    baseline = {"n": numbers(np.arange(100.0)), "c": levels(["a", "b"] * 50)}

    found = drift.compare(baseline, {"n": numbers([50.0]), "c": levels(["a"])}, ["n", "c"], LIMITS)

    assert [column.drifted for column in found] == [False, False]
    assert all(test.note is None for test in (found[0].tests[0], found[1].tests[0]))


# The verdict


def test_a_tiny_shift_of_a_million_rows_is_significant_but_no_drift() -> None:
    grid = stats.norm.ppf((np.arange(1_000_000) + 0.5) / 1_000_000)

    column = compared(numbers(grid), numbers(grid + 0.01))

    assert column.tests[0].adjusted_p_value < 1e-6
    assert column.tests[0].effect < 0.01
    assert not column.drifted


@EXAMPLES
@given(SAMPLE | st.lists(st.none() | TIED, max_size=40), st.lists(st.none() | st.sampled_from("abc"), max_size=40))
def test_data_like_itself_never_drifts(values: list, names: list) -> None:
    for same in (numbers(values), levels(names)):
        column = compared(same, same)

        assert not column.drifted
        assert column.effect == 0
        assert [test.p_value for test in column.tests] == pytest.approx([1] * len(column.tests))
        assert {value or 0 for value in column.measures.values()} == {0}


@EXAMPLES
@given(SAMPLE, SAMPLE)
def test_neither_the_order_of_the_rows_nor_the_unit_of_numbers_matters(first: list[float], second: list[float]) -> None:
    scaled = compared(numbers([8 * value for value in first[::-1]]), numbers([8 * value for value in second[::-1]]))

    assert scaled.tests == compared(numbers(first), numbers(second)).tests


@EXAMPLES
@given(LEVELS, LEVELS)
def test_the_names_of_levels_do_not_matter(first: list[str], second: list[str]) -> None:
    # None is rare: of equally rare levels, the name decides which one is merged first.
    first, second = ([*side, *(letter for letter in "abcde" for _ in range(20))] for side in (first, second))
    renamed = compared(*(levels(["abcde"[-1 - "abcde".index(name)] for name in side]) for side in (first, second)))

    once = compared(levels(first), levels(second))

    assert renamed.drifted == once.drifted
    assert renamed.effect == pytest.approx(once.effect)
    assert renamed.tests[0].p_value == pytest.approx(once.tests[0].p_value)


def test_a_large_difference_of_a_few_rows_is_no_drift() -> None:
    column = compared(numbers([1.0, 2.0, 3.0]), numbers([2.5, 3.5, 4.5]))

    assert column.tests[0].effect > LIMITS.ks_distance
    assert not column.drifted


def test_an_effect_at_its_floor_is_drift() -> None:
    gap = compared(numbers(np.arange(1_000.0)), numbers(np.arange(1_000.0) + 100))
    gone = compared(numbers([1.0] * 900 + [None] * 100), numbers([1.0] * 850 + [None] * 150))

    assert (gap.effect, fired(gap)) == (0.1, ["kolmogorov_smirnov"])
    assert (gone.effect, fired(gone)) == (0.05, ["missing_share"])


def test_all_p_values_are_adjusted_together() -> None:
    random = np.random.default_rng(3)
    baseline = {f"n{i}": numbers(random.normal(size=200)) for i in range(6)} | {
        "c": levels(random.choice([*"abc"], 200))
    }
    current = {f"n{i}": numbers(random.normal(i / 10, size=150)) for i in range(6)} | {
        "c": levels(random.choice([*"ab"], 150))
    }

    tests = [test for column in drift.compare(baseline, current, list(baseline), LIMITS) for test in column.tests]

    p_values = np.array([test.p_value for test in tests])
    order = np.argsort(p_values)
    scaled = np.minimum.accumulate((p_values[order] * len(tests) / np.arange(1, len(tests) + 1))[::-1])[::-1]
    by_hand = np.empty(len(tests))
    by_hand[order] = np.minimum(scaled, 1)
    np.testing.assert_allclose([test.adjusted_p_value for test in tests], by_hand, rtol=1e-12)


def test_twenty_columns_that_stayed_the_same_do_not_alarm_and_a_shifted_one_does() -> None:
    random = np.random.default_rng(11)
    baseline = {f"n{i}": numbers(random.gamma(2, size=4_800)) for i in range(20)}
    current = {f"n{i}": numbers(random.gamma(2, size=1_043)) for i in range(20)}
    shifted = current | {"n7": numbers(random.gamma(2, size=1_043) + 0.5)}

    same, moved = (drift.compare(baseline, delivery, list(baseline), LIMITS) for delivery in (current, shifted))

    assert [column.column for column in same if column.drifted] == []
    assert [column.column for column in moved if column.drifted] == ["n7"]


# The report on a column


@pytest.mark.parametrize(
    ("then", "now", "percent"),
    [([10.0, 30.0], [25.0], 25.0), ([-10.0, -30.0], [-25.0], -25.0), ([-1.0, 1.0], [5.0], None), ([], [5.0], None)],
    ids=["up", "below zero", "from zero", "from nothing"],
)
def test_the_shift_of_the_mean_is_in_percent_of_the_baseline(then: list, now: list, percent: float | None) -> None:
    column = compared(numbers(then), numbers(now))

    assert column.mean_shift_percent == percent
    assert column.new_mean == now[0]
    assert column.baseline_mean == (np.mean(then) if then else None)


@pytest.mark.parametrize(
    ("then", "now", "deviations"),
    [([10.0, 30.0], [25.0], 0.5), ([-1.0, 1.0], [-4.0], -4.0), ([2.0, 2.0], [5.0], None), ([], [5.0], None)],
    ids=["up", "from zero", "from a constant", "from nothing"],
)
def test_the_shift_of_the_mean_is_in_standard_deviations_too(then: list, now: list, deviations: float | None) -> None:
    assert compared(numbers(then), numbers(now)).mean_shift_deviations == deviations


def test_a_category_has_no_means() -> None:
    column = compared(levels(["a", "b"]), levels(["a"]))

    assert (column.kind, column.baseline_mean, column.new_mean, column.mean_shift_percent) == (
        "category",
        None,
        None,
        None,
    )


@EXAMPLES
@given(SAMPLE, LEVELS)
def test_what_is_said_is_plain_json(values: list[float], names: list[str]) -> None:
    for column in (compared(numbers(values), numbers(values[::2])), compared(levels(names), levels(names[::2]))):
        assert json.loads(json.dumps(asdict(column), allow_nan=False))["column"] == "x"


# Which features


PROFILE = {name: numbers([1.0]) for name in ("age", "income", "tenure", "left")}
FEATURES = ["age", "income", "tenure"]


def test_all_features_are_watched_but_not_the_target() -> None:
    assert drift.watched(PROFILE, FEATURES, "all") == FEATURES


def test_chosen_features_are_watched_in_their_own_order() -> None:
    assert drift.watched(PROFILE, FEATURES, ["tenure", "age"]) == ["age", "tenure"]


@pytest.mark.parametrize(("chosen", "hint"), [("tenur", "tenure"), ("left", "age, income, tenure")])
def test_a_feature_that_the_baseline_lacks_is_named_with_what_would_be_right(chosen: str, hint: str) -> None:
    with pytest.raises(ParameterError, match=rf"{chosen}, not in the baseline: .*{hint}"):
        drift.watched(PROFILE, FEATURES, ["age", chosen])


def test_nothing_watched_is_nothing_found() -> None:
    assert drift.compare(PROFILE, PROFILE, [], LIMITS) == []
