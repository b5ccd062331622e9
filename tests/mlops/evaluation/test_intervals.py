import math
import statistics

import numpy as np
import pytest
from mlops.evaluation import intervals
from mlops.evaluation.intervals import bootstrap, expected, resampling_weights
from mlops.training.metrics import Predictions, score, scorer
from scipy import stats
from sklearn import metrics as reference

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def resampled(rows, resamples, seed):
    return np.concatenate(list(resampling_weights(rows, resamples, seed)))


def binary(rows, seed=0, accuracy=0.8):
    rng = np.random.default_rng(seed)
    actual = rng.random(rows) < 0.4
    probability = np.where(rng.random(rows) < accuracy, actual, ~actual) * 0.6 + 0.4 * rng.random(rows)
    both = np.column_stack([1 - probability, probability])
    return Predictions(actual, probability > 0.5, both, (False, True), True)


def regression(actual, predicted):
    return Predictions(np.asarray(actual, dtype=np.float64), np.asarray(predicted, dtype=np.float64), None, (), None)


def test_each_resample_draws_as_many_rows_as_there_are_with_replacement():
    weights = resampled(50, 400, seed=3)

    assert weights.shape == (400, 50)
    assert (weights.sum(axis=1) == 50).all()
    # A row is left out of a resample with probability (1 - 1/50)^50 = 0.364.
    assert (weights == 0).mean() == pytest.approx(0.364, abs=0.01)


def test_resamples_are_those_of_rows_and_seed_whatever_the_blocks_and_however_many(monkeypatch):
    whole = resampled(30, 20, seed=1)
    assert len(list(resampling_weights(30, 20, seed=1))) == 1

    monkeypatch.setattr(intervals, "MOST_WEIGHTS", 100)

    blocks = list(resampling_weights(30, 20, seed=1))
    assert [len(block) for block in blocks] == [3, 3, 3, 3, 3, 3, 2]
    assert (np.concatenate(blocks) == whole).all()
    assert (resampled(30, 7, seed=1) == whole[:7]).all()
    assert not (resampled(30, 20, seed=2) == whole).all()


def test_a_block_holds_one_resample_even_of_more_rows_than_it_should(monkeypatch):
    monkeypatch.setattr(intervals, "MOST_WEIGHTS", 10)

    assert [block.shape for block in resampling_weights(11, 2, seed=0)] == [(1, 11), (1, 11)]


@pytest.mark.parametrize(
    "found", [binary(211), regression(np.arange(1.0, 212.0), np.arange(211.0) ** 1.01)], ids=["binary", "regression"]
)
def test_intervals_are_the_same_bits_whatever_the_blocks(monkeypatch, found):
    whole = bootstrap(found, 100, 0.95, seed=5)

    monkeypatch.setattr(intervals, "MOST_WEIGHTS", 7 * 211)

    assert bootstrap(found, 100, 0.95, seed=5) == whole


def test_intervals_are_the_percentiles_of_every_metric_over_resampled_rows():
    found = binary(90)

    spans = bootstrap(found, 50, 0.9, seed=2)

    drawn = [found.subset(np.repeat(np.arange(90), row.astype(int))) for row in resampled(90, 50, seed=2)]
    scores = [score(resample) for resample in drawn]
    assert list(spans) == list(score(found))
    for name, span in spans.items():
        assert tuple(span) == pytest.approx(np.quantile([each[name] for each in scores], [0.05, 0.95]))


def test_intervals_are_those_of_one_scikit_learn_call_after_another():
    found = binary(120)
    loops = {"accuracy": [], "f1": [], "roc_auc": [], "average_precision": [], "log_loss": []}
    for weights in resampled(120, 60, seed=3):
        rows = np.repeat(np.arange(120), weights.astype(int))
        actual, predicted, probability = found.actual[rows], found.predicted[rows], found.positive_probability[rows]
        loops["accuracy"].append(reference.accuracy_score(actual, predicted))
        loops["f1"].append(reference.f1_score(actual, predicted, average="weighted"))
        loops["roc_auc"].append(reference.roc_auc_score(actual, probability))
        loops["average_precision"].append(reference.average_precision_score(actual, probability))
        loops["log_loss"].append(reference.log_loss(actual, probability))

    spans = bootstrap(found, 60, 0.8, seed=3)

    for name, values in loops.items():
        assert tuple(spans[name]) == pytest.approx(np.quantile(values, [0.1, 0.9]), abs=1e-9), name


def test_an_interval_holds_the_value_itself():
    rng = np.random.default_rng(0)
    actual = rng.normal(5, size=2_000)
    for found in (binary(2_000), regression(actual, actual + rng.normal(size=2_000) / 2)):
        values, spans = score(found), bootstrap(found, 200, 0.95, seed=5)
        assert all(spans[name].low < value < spans[name].high for name, value in values.items())


def test_the_interval_of_accuracy_is_close_to_that_of_a_binomial_share():
    found = binary(1000)
    hits = int((found.actual == found.predicted).sum())

    span = bootstrap(found, 1000, 0.95, seed=0)["accuracy"]

    exact = stats.binomtest(hits, 1000).proportion_ci(0.95, method="wilson")
    assert tuple(span) == pytest.approx((exact.low, exact.high), abs=0.005)


def test_a_95_percent_interval_of_a_mean_covers_it_about_95_times_in_100():
    rng = np.random.default_rng(11)
    expected = np.sqrt(2 / np.pi)  # mean |error| of a standard normal error
    spans = [bootstrap(regression(rng.normal(size=200), np.zeros(200)), 200, 0.95, seed)["mae"] for seed in range(200)]

    covered = np.mean([span.low <= expected <= span.high for span in spans])

    assert 0.91 <= covered <= 0.98


def test_more_confidence_gives_a_wider_interval():
    found = binary(100)

    wide, narrow = (bootstrap(found, 200, confidence, seed=0)["f1"] for confidence in (0.99, 0.5))

    assert wide.low < narrow.low < score(found)["f1"] < narrow.high < wide.high


def test_resamples_without_a_class_do_not_count_for_what_they_cannot_tell():
    actual = np.array([False] * 9 + [True])
    probability = np.linspace(0.05, 0.95, 10)
    found = Predictions(actual, actual, np.column_stack([1 - probability, probability]), (False, True), True)
    areas = np.concatenate([scorer(found)(weights)["roc_auc"] for weights in resampling_weights(10, 100, seed=0)])
    assert 0 < np.isnan(areas).sum() < 100

    assert bootstrap(found, 100, 0.95, seed=0)["roc_auc"] == (1, 1)


def test_what_no_resample_can_tell_has_no_interval():
    spans = bootstrap(regression(np.full(5, 0.1), np.arange(5)), 20, 0.95, seed=0)

    assert np.isnan(spans["r2"]).all()
    assert np.isfinite(spans["rmse"]).all()


def test_what_folds_make_likely_is_students_prediction_interval_with_the_overlap_of_folds() -> None:
    folds = [0.7, 0.8, 0.75, 0.8, 0.7]
    mean, std = statistics.fmean(folds), statistics.stdev(folds)

    found = expected(folds, 1000, 400, 0.95)

    reach = stats.t(4).ppf(0.975) * std * math.sqrt(1 / 5 + 1 / 4 + 200 / 400)
    assert found == pytest.approx((mean - reach, mean + reach))
    assert expected(folds, 1000, 100, 0.95).high > found.high  # fewer test rows are less sure
    assert all(map(math.isnan, expected([0.7, None, 0.8], 90, 10, 0.95)))
    assert all(map(math.isnan, expected([0.7], 90, 10, 0.95)))


def test_honest_splits_are_seldom_outside_of_what_their_folds_make_likely() -> None:
    """Of 400 models that are right in 80 % of all rows, folds and test rows alike."""
    rng = np.random.default_rng(0)
    outside = 0
    for _ in range(400):
        folds = rng.binomial(200, 0.8, 5) / 200
        low, high = expected(folds.tolist(), 1000, 250, 0.95)
        outside += not low <= rng.binomial(250, 0.8) / 250 <= high

    assert 4 <= outside <= 32
