"""Whether a difference is real: the tests behind it, against hand values, scipy, and data made without a difference."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.evaluation import comparison
from mlops.evaluation.intervals import bootstrap, resampling_weights
from mlops.training.metrics import HIGHER_IS_BETTER, Predictions, score, scorer
from scipy import stats

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

YES_NO = ("no", "yes")
PROBABILITIES = st.lists(st.integers(0, 10), min_size=30, max_size=30).map(lambda tenths: np.array(tenths) / 10)


def binary(actual, probability, classes=YES_NO):
    both = np.column_stack([1 - probability, probability])
    labels = np.array(classes, dtype=object)
    return Predictions(labels[actual.astype(int)], labels[(probability > 0.5).astype(int)], both, classes, classes[1])


def regression(actual, predicted):
    return Predictions(np.asarray(actual, dtype=np.float64), np.asarray(predicted, dtype=np.float64), None, (), None)


def by_metric(one, other, resamples=100, confidence=0.95, seed=0):
    drawn = comparison.paired_bootstrap(one, other, resamples, confidence, seed)
    return {difference.metric: difference for difference in drawn}


def noisy(rng, actual, accuracy):
    """A classifier that is right with that probability, in each row for itself."""
    right = rng.random(len(actual)) < accuracy
    return Predictions(actual, np.where(right, actual, ~actual), None, (False, True), True)


ACTUAL = np.arange(30) % 3 == 0


# ---- the same rows


KEYS = st.lists(st.integers(0, 5), max_size=15).map(lambda keys: np.array(keys, dtype=np.uint64))


@given(KEYS, KEYS)
def test_shared_rows_pair_equal_keys_as_often_as_both_have_them(one, other):
    pairs = comparison.shared_rows(one, other)

    assert (one[pairs.one] == other[pairs.other]).all()
    assert len(set(pairs.one)) == len(set(pairs.other)) == len(pairs.one)
    assert len(pairs.one) == sum(min((one == key).sum(), (other == key).sum()) for key in np.unique(one))


def test_equal_keys_are_paired_in_the_order_in_which_they_stand():
    one, other = (np.array(keys, dtype=np.uint64) for keys in ([7, 2**64 - 1, 7, 1], [7, 9, 7, 7, 2**64 - 1]))

    pairs = comparison.shared_rows(one, other)

    assert sorted(zip(pairs.one.tolist(), pairs.other.tolist(), strict=True)) == [(0, 0), (1, 4), (2, 2)]


def test_rows_in_another_order_compare_as_equal_and_corrected_labels_judge_both():
    rng = np.random.default_rng(0)
    found, order = noisy(rng, ACTUAL, 0.8), rng.permutation(30)
    keys = np.arange(30, dtype=np.uint64)
    corrected = Predictions(
        np.roll(found.actual, 1), found.predicted, found.probabilities, found.classes, found.positive
    )

    sides = comparison.on_the_same_rows(found, corrected.subset(order), comparison.shared_rows(keys, keys[order]))

    assert (sides[0].actual == sides[1].actual).all()
    assert score(sides[0]) == score(sides[1]) == pytest.approx(score(corrected))


# ---- the paired bootstrap


@settings(max_examples=40)
@given(PROBABILITIES, PROBABILITIES)
def test_swapping_the_sides_turns_every_difference_round(first, second):
    one, other = binary(ACTUAL, first), binary(ACTUAL, second)

    there, back = by_metric(one, other), by_metric(other, one)

    turned = {"better": "worse", "worse": "better"}
    for name, found in there.items():
        other_way = back[name]
        assert (found.one, found.other) == (other_way.other, other_way.one)
        assert (found.difference, found.low, found.high, found.p_value) == pytest.approx(
            (-other_way.difference, -other_way.high, -other_way.low, other_way.p_value), abs=1e-12, nan_ok=True
        )
        assert turned.get(found.verdict, found.verdict) == other_way.verdict


@settings(max_examples=40)
@given(PROBABILITIES)
def test_a_model_is_not_different_from_itself(probability):
    found = by_metric(binary(ACTUAL, probability), binary(ACTUAL, probability))

    assert {(one.low, one.high, one.p_value, one.verdict) for one in found.values()} == {
        (0, 0, 1, "no real difference")
    }


def test_what_differs_in_the_last_bits_only_is_no_real_difference():
    probability = np.linspace(0.05, 0.95, 30)
    one, other = binary(ACTUAL, probability), binary(ACTUAL, probability * (1 + 4e-16))
    assert score(one)["brier"] != score(other)["brier"]

    found = by_metric(one, other)

    assert {(one.p_value, one.verdict) for one in found.values()} == {(1, "no real difference")}


def test_against_a_model_that_is_never_wrong_the_interval_is_the_other_ones_own():
    rng = np.random.default_rng(1)
    one = noisy(rng, ACTUAL, 0.7)
    perfect = noisy(rng, ACTUAL, 1)

    found = by_metric(one, perfect, resamples=300, confidence=0.9, seed=4)["accuracy"]
    alone = bootstrap(one, 300, 0.9, seed=4)["accuracy"]

    assert (found.low, found.high) == pytest.approx((1 - alone.high, 1 - alone.low))


def test_the_interval_is_of_differences_on_the_resamples_that_a_single_model_has_too():
    rng = np.random.default_rng(2)
    one, other = noisy(rng, ACTUAL, 0.6), noisy(rng, ACTUAL, 0.9)

    found = by_metric(one, other, resamples=50, confidence=0.8, seed=7)

    weights = np.concatenate(list(resampling_weights(30, 50, 7)))
    first, second = scorer(one)(weights), scorer(other)(weights)
    for name, difference in found.items():
        drawn = second[name] - first[name]
        assert (difference.low, difference.high) == pytest.approx(np.nanquantile(drawn, [0.1, 0.9]))
        rarer = min((drawn <= 0).sum(), (drawn >= 0).sum())
        assert difference.p_value == pytest.approx(min(1, 2 * (rarer + 1) / (np.isfinite(drawn).sum() + 1)))


def test_only_metrics_that_both_have_are_compared():
    with_probabilities = binary(ACTUAL, np.linspace(0, 1, 30))
    without = Predictions(with_probabilities.actual, with_probabilities.predicted, None, YES_NO, "yes")

    assert list(by_metric(with_probabilities, without)) == list(score(without))


def test_what_no_resample_can_tell_is_undefined_and_no_real_difference():
    constant = np.full(8, 0.1)

    found = by_metric(regression(constant, constant + 1), regression(constant, constant))

    assert math.isnan(found["r2"].low)
    assert found["r2"].verdict == "no real difference"
    assert found["r2"].as_dict()["p_value"] is None
    assert found["mae"].verdict == "better"


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_better_is_up_or_down_as_the_metric_has_it(metric):
    rises = comparison.Difference(metric, 0.5, 0.6, 0.1, 0.05, 0.15, 0.001)
    falls = comparison.Difference(metric, 0.6, 0.5, -0.1, -0.15, -0.05, 0.001)
    touches = comparison.Difference(metric, 0.5, 0.6, 0.1, 0.0, 0.2, 0.05)

    up, down = ("better", "worse") if HIGHER_IS_BETTER[metric] else ("worse", "better")
    assert (rises.verdict, falls.verdict, touches.verdict) == (up, down, "no real difference")
    assert rises.as_dict()["verdict"] == up


def test_of_two_equally_good_classifiers_noise_is_called_no_real_difference_about_95_times_in_100():
    rng = np.random.default_rng(2024)
    verdicts, higher = [], 0
    for seed in range(250):
        actual = rng.random(200) < 0.4
        found = by_metric(noisy(rng, actual, 0.8), noisy(rng, actual, 0.8), resamples=200, seed=seed)["accuracy"]
        verdicts.append(found.verdict)
        higher += found.difference > 0

    assert 90 < higher < 160  # it is noise that decides which of them came out higher
    assert 0.92 <= verdicts.count("no real difference") / 250 <= 0.98
    assert 0 < verdicts.count("better") < 13
    assert 0 < verdicts.count("worse") < 13


def test_a_real_difference_of_known_size_is_found():
    rng = np.random.default_rng(7)
    covered, verdicts = 0, []
    for seed in range(100):
        actual = rng.random(600) < 0.4
        found = by_metric(noisy(rng, actual, 0.75), noisy(rng, actual, 0.85), resamples=200, seed=seed)["accuracy"]
        verdicts.append(found.verdict)
        covered += found.low <= 0.1 <= found.high

    assert verdicts.count("better") >= 95
    assert 90 <= covered <= 99


# ---- McNemar


def right_and_wrong(first, second):
    """Two classifiers of the same n rows, by which rows each of them gets right."""
    actual = np.ones(len(first), dtype=np.bool_)
    return tuple(
        Predictions(actual, np.array(right, dtype=np.bool_), None, (False, True), True) for right in (first, second)
    )


@pytest.mark.parametrize(
    ("only_one", "only_other", "p_value"),
    [(0, 0, 1), (5, 5, 1), (0, 5, 2 / 2**5), (5, 0, 2 / 2**5), (1, 9, 2 * (1 + 10) / 2**10)],
)
def test_mcnemar_is_a_fair_coin_over_the_rows_that_one_model_alone_gets_right(only_one, only_other, p_value):
    first = [True] * only_one + [False] * only_other + [True] * 40 + [False] * 10
    second = [False] * only_one + [True] * only_other + [True] * 40 + [False] * 10

    assert comparison.mcnemar(*right_and_wrong(first, second)) == pytest.approx(p_value)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_mcnemar_is_scipys_binomial_test_and_symmetric(rights):
    one, other = right_and_wrong(*zip(*rights, strict=True))
    only_one, only_other = rights.count((True, False)), rights.count((False, True))
    expected = stats.binomtest(only_one, only_one + only_other).pvalue if only_one + only_other else 1

    assert comparison.mcnemar(one, other) == pytest.approx(expected)
    assert comparison.mcnemar(other, one) == pytest.approx(expected)


# ---- the corrected resampled t-test


def test_the_corrected_t_is_that_of_nadeau_and_bengio_by_hand():
    # Five folds: mean 0.03, s² = 0.001 / 4 = 0.00025, test / training rows = 1 / 4:
    # t = 0.03 / √((1/5 + 1/4) · 0.00025) = 0.03 / 0.010607 = 2.8284, four degrees of freedom.
    found = comparison.corrected_resampled_t([0.01, 0.02, 0.03, 0.04, 0.05])

    x = 8 / 12  # t² / (t² + 4): with four degrees of freedom, the tails have a closed form
    assert found == pytest.approx(1 - math.sqrt(x) * (1 + (1 - x) / 2), rel=1e-9)
    assert found == pytest.approx(0.04742, abs=1e-5)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=10))
def test_the_corrected_t_is_more_careful_than_the_plain_one(differences):
    found = comparison.corrected_resampled_t(differences)

    assert 0 <= found <= 1
    assert found == pytest.approx(comparison.corrected_resampled_t([-value for value in differences]))
    if np.std(differences) > 1e-6:
        assert found >= stats.ttest_1samp(differences, 0).pvalue - 1e-12


@pytest.mark.parametrize(
    ("differences", "p_value"),
    [([0.0] * 5, 1), ([0.1] * 5, 0), ([], math.nan), ([0.1], math.nan), ([0.1, math.nan], math.nan)],
)
def test_folds_that_do_not_vary_or_are_too_few(differences, p_value):
    assert comparison.corrected_resampled_t(differences) == pytest.approx(p_value, nan_ok=True)


# ---- Holm


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # the example of R's p.adjust
        ([0.02, math.nan, 0.02], [0.04, math.nan, 0.04]),
        ([0.9, 0.8, 0.0], [1, 1, 0]),
    ],
)
def test_holm_by_hand(p_values, adjusted):
    assert comparison.holm(p_values) == pytest.approx(adjusted, nan_ok=True)


@given(st.lists(st.floats(0, 1)))
def test_holm_keeps_the_order_and_lies_between_no_adjustment_and_bonferroni(p_values):
    adjusted = comparison.holm(p_values)

    for p, found in zip(p_values, adjusted, strict=True):
        assert p <= found <= min(1, len(p_values) * p) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
