"""Performance without labels: right under covariate shift, blind to concept drift and saying so, trusted or not."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops.evaluation import results
from mlops.monitoring import estimated
from mlops.training.metrics import Predictions, score

YES_NO = ("no", "yes")


def labels(
    rng: np.random.Generator, rows: int, shift: float = 0.0, threshold: float = 0.5, lost: float = 0.0
) -> Predictions:
    """Answers of an overconfident, biased model; `shift` moves the rows, `lost` is how much of what it knew is gone."""
    known = rng.normal(shift, 1.0, rows)
    chance = 1 / (1 + np.exp(-(1 - lost) * known))
    said = 1 / (1 + np.exp(1.5 - 2.5 * known))
    actual = np.array(YES_NO, dtype=object)[(rng.random(rows) < chance).astype(int)]
    predicted = np.array(YES_NO, dtype=object)[(said >= threshold).astype(int)]
    return Predictions(actual, predicted, np.column_stack([1 - said, said]), YES_NO, "yes", threshold)


def classes(rng: np.random.Generator, rows: int, sure: float) -> Predictions:
    """Answers for three classes; the larger `sure`, the more rows are easy ones."""
    easy = rng.random(rows) < sure
    top = np.where(easy, rng.uniform(0.7, 0.95, rows), rng.uniform(0.35, 0.6, rows))
    place = rng.integers(3, size=rows)
    probabilities = np.repeat((1 - top)[:, None] / 2, 3, axis=1)
    probabilities[np.arange(rows), place] = top
    right = rng.random(rows) < top - 0.1
    names = np.array(["a", "b", "c"], dtype=object)
    return Predictions(
        names[np.where(right, place, (place + 1) % 3)], names[place], probabilities, ("a", "b", "c"), None
    )


def numbers(rng: np.random.Generator, rows: int, shift: float = 0.0, noise: float = 1.0) -> Predictions:
    """Predicted numbers that are the further off, the larger they are."""
    predicted = rng.gamma(3 + shift, 2, rows)
    return Predictions(predicted + noise * predicted * rng.normal(0, 0.3, rows), predicted, None, (), None)


def frame(test: Predictions) -> pd.DataFrame:
    """The table of the test rows, as far as an estimate needs it."""
    answers = results.answers(test).assign(actual=test.actual)
    return answers if test.kind != "multiclass" else answers.join(results.class_probabilities(test))


def estimate(test: Predictions, now: Predictions, *, outside: bool = False) -> dict:
    found = estimated.estimate(frame(test), now, "classification" if test.classes else "regression", outside)
    assert found is not None
    return found


@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_accuracy_and_auc_are_right_to_two_points_under_covariate_shift_though_the_model_is_overconfident(
    threshold: float,
) -> None:
    off, inside, moved, overconfident = [], [], [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        test, now = labels(rng, 2000, threshold=threshold), labels(rng, 4000, 0.7, threshold)
        found, actual = estimate(test, now)["metrics"], score(now)
        off.append([found[name]["value"] - actual[name] for name in ("accuracy", "roc_auc")])
        inside.append([found[name]["low"] <= actual[name] <= found[name]["high"] for name in ("accuracy", "roc_auc")])
        moved.append(found["accuracy"]["test"] - actual["accuracy"])
        sure = np.where(now.predicted == "yes", now.probabilities[:, 1], now.probabilities[:, 0])
        overconfident.append(sure.mean() - actual["accuracy"])

    assert np.abs(np.mean(off, axis=0)).max() < 0.01
    assert np.sqrt(np.mean(np.square(off), axis=0)).max() < 0.02
    assert np.mean(inside) > 0.85
    assert abs(np.mean(moved)) > 0.02  # the value on the test split says less
    assert abs(np.mean(overconfident)) > 0.03  # and so do probabilities that nobody calibrated


def test_an_estimate_is_blind_to_concept_drift_and_says_so() -> None:
    rng = np.random.default_rng(0)
    test, now = labels(rng, 2000), labels(rng, 4000, lost=0.7)

    found = estimate(test, now)

    assert score(now)["accuracy"] < found["metrics"]["accuracy"]["low"] - 0.05
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(found["metrics"]["accuracy"]["test"], abs=0.02)
    assert "concept drift" in found["assumption"]


@pytest.mark.parametrize("make", [labels, lambda rng, rows: classes(rng, rows, 0.5), numbers])
def test_the_test_rows_themselves_get_their_own_metrics(make: object) -> None:
    test = make(np.random.default_rng(1), 700)

    found, actual = estimate(test, test)["metrics"], score(test)

    named = {"binary": ["accuracy", "roc_auc"], "multiclass": ["accuracy"], "regression": ["mae", "rmse"]}
    assert list(found) == named[test.kind]
    for name, entry in found.items():
        assert entry["test"] == pytest.approx(actual[name], abs=1e-12)
        assert entry["value"] == pytest.approx(actual[name], abs=1e-9)
        assert entry["low"] < entry["value"] < entry["high"]


def test_many_classes_are_judged_by_the_probability_of_the_predicted_one() -> None:
    rng = np.random.default_rng(2)
    test, now = classes(rng, 3000, 0.3), classes(rng, 5000, 0.9)

    found, actual = estimate(test, now)["metrics"]["accuracy"], score(now)["accuracy"]

    assert found["low"] <= actual <= found["high"]
    assert actual - found["test"] > 0.1


def test_the_error_of_numbers_follows_the_predictions() -> None:
    off, inside = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        test, now = numbers(rng, 1500), numbers(rng, 3000, 1.0)
        found, actual = estimate(test, now)["metrics"], score(now)
        off.append([found[name]["value"] / actual[name] - 1 for name in ("mae", "rmse")])
        inside.append([found[name]["low"] <= actual[name] <= found[name]["high"] for name in ("mae", "rmse")])
        assert actual["mae"] / found["mae"]["test"] > 1.15

    assert np.abs(np.mean(off, axis=0)).max() < 0.03
    assert np.mean(inside) > 0.8
    blind = estimate(numbers(rng, 1500), numbers(rng, 3000, noise=2.0))
    assert blind["metrics"]["mae"]["value"] == pytest.approx(blind["metrics"]["mae"]["test"], rel=0.1)
    assert "concept drift" in blind["assumption"]


def test_fewer_rows_on_either_side_make_a_wider_interval() -> None:
    rng = np.random.default_rng(3)

    def width(test: int, rows: int) -> float:
        found = estimate(labels(rng, test), labels(rng, rows))["metrics"]["accuracy"]
        return found["high"] - found["low"]

    assert width(2000, 2000) < width(2000, 100) / 2
    assert width(2000, 2000) < width(150, 2000) / 2


@pytest.mark.parametrize(
    ("test", "rows", "outside", "why"),
    [
        (500, 200, False, None),
        (500, 200, True, "unlike the training data"),
        (99, 200, False, "learnt from 99 test rows, and takes 100"),
        (500, 29, False, "there are 29 rows, and it takes 30"),
        (500, 1, False, "there is 1 row"),
    ],
)
def test_an_estimate_is_trusted_with_enough_rows_like_those_of_the_training_data(
    test: int, rows: int, outside: bool, why: str | None
) -> None:
    rng = np.random.default_rng(4)

    found = estimate(labels(rng, test), labels(rng, rows), outside=outside)

    assert found["trusted"] is (why is None)
    assert (why is None and found["why_not"] is None) or why.split(" and it")[0] in found["why_not"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_an_estimate_is_not_trusted_with_one_class_or_with_numbers_that_were_never_predicted() -> None:
    rng = np.random.default_rng(5)
    one = labels(rng, 300)
    one.actual[:] = "no"

    found = estimate(one, labels(rng, 300))
    beyond = estimate(numbers(rng, 300), numbers(rng, 300, 6.0))

    assert found["why_not"] == "of the test rows 0 are of one of the two classes, and it takes 10"
    assert list(found["metrics"]) == ["accuracy"]  # there is no AUC of one class
    assert "lie beyond all of those on the test split" in beyond["why_not"]


def test_there_is_no_estimate_without_probabilities_or_actual_values() -> None:
    rng = np.random.default_rng(6)
    found = labels(rng, 200)
    bare = Predictions(found.actual, found.predicted, None, YES_NO, "yes")

    assert estimated.estimate(frame(bare), bare, "classification", False) is None
    assert estimated.estimate(frame(found).drop(columns="actual"), found, "classification", False) is None


def test_the_order_of_rows_does_not_matter_nor_does_a_score_that_is_given_a_thousand_times() -> None:
    rng = np.random.default_rng(7)
    test, now = labels(rng, 3000), labels(rng, 3000)
    same = np.column_stack([np.full(1000, 0.5)] * 2)

    found, mixed = (estimate(test.subset(rng.permutation(3000)), now.subset(rng.permutation(3000))) for _ in range(2))
    flat = estimate(
        test.subset(slice(0, 1000)), Predictions(now.actual[:1000], np.full(1000, "yes"), same, YES_NO, "yes")
    )

    assert found["metrics"]["roc_auc"] == pytest.approx(mixed["metrics"]["roc_auc"], abs=1e-12)
    assert flat["metrics"]["roc_auc"]["value"] == pytest.approx(0.5, abs=0.02)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 3)), min_size=1, max_size=6))
def test_the_expected_auc_is_that_of_all_pairs_of_two_rows(groups: list[tuple[float, int]]) -> None:
    chances = np.array([chance for chance, _ in groups])
    rows = np.array([count for _, count in groups], dtype=float)
    each = [(place, chance) for place, (chance, count) in enumerate(groups) for _ in range(count)]
    pairs = [(i, j) for i in range(len(each)) for j in range(len(each)) if i != j]
    weights = [each[i][1] * (1 - each[j][1]) for i, j in pairs]
    order = [np.sign(each[i][0] - each[j][0]) / 2 + 0.5 for i, j in pairs]

    found = float(estimated._expected(chances, rows, rows)["roc_auc"])

    if sum(weights) > 1e-9:
        assert found == pytest.approx(np.dot(order, weights) / sum(weights), abs=1e-6)
    else:
        assert math.isnan(found) or not sum(weights) > 1e-6
