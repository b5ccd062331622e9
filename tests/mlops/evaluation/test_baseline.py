"""What a model has to beat: the best answers without features, the gain over them, and the rule that asks for it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlops.base.errors import DataError
from mlops.base.params import SKILL, Evaluate
from mlops.data import profile
from mlops.data.schema import Schema
from mlops.evaluation import baseline, gate
from mlops.training.metrics import Predictions
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import average_precision_score, log_loss, mean_absolute_error, root_mean_squared_error

from benchmarks import chance

JUDGING = Evaluate(resamples=200)
ROWS = 400
TARGETS: dict[str, tuple[str, list[Any]]] = {
    "text": ("category", ["No", "No", "No", "Yes"]),
    "truth": ("boolean", [False, True, True, True]),
    "digits": ("integer", [0, 0, 1, 1, 1]),
    "many": ("category", ["a", "b", "b", "c", "c", "c"]),
}


def distribution(target: pd.Series, kind: str) -> profile.Distribution:
    """As the stages have it: by way of the table that keeps the profile of the training split."""
    schema = Schema.model_validate({"columns": {"x": {"type": "number"}, "y": {"type": kind, "role": "target"}}})
    table = pd.DataFrame({"x": 0.0, "y": target})
    return profile.from_frame(profile.to_frame(profile.profile(table, schema)))["y"]


def classified(name: str, *, probabilities: bool = True) -> tuple[Predictions, profile.Distribution, np.ndarray]:
    """Random answers, the distribution of the training rows, and these rows."""
    kind, values = TARGETS[name]
    dtype = {"category": "str", "boolean": "boolean", "integer": "Int64"}[kind]
    train = np.array(values * 50, dtype=object if kind == "category" else None)
    rng = np.random.default_rng(1)
    classes = np.unique(train)
    shares = rng.dirichlet(np.ones(len(classes)), ROWS)
    actual, predicted = rng.choice(classes, ROWS), classes[shares.argmax(axis=1)]
    positive = classes[-1] if len(classes) == 2 else None
    found = Predictions(actual, predicted, shares if probabilities else None, tuple(classes.tolist()), positive)
    return found, distribution(pd.Series(train.tolist(), dtype=dtype), kind), train


def judged(found: Predictions) -> gate.RuleResult:
    (result,) = gate.judge(gate.Evidence({}, {}, skill=baseline.skill(found, JUDGING)), "", {"skill": SKILL})
    return result


@pytest.mark.parametrize("name", TARGETS)
def test_classes_are_answered_as_by_the_dummies_of_scikit_learn(name: str) -> None:
    found, target, train = classified(name)

    constant = baseline.predictions(found, target)

    nothing = np.zeros((ROWS, 1))
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((len(train), 1)), train)
    assert constant.predicted.tolist() == dummy.predict(nothing).tolist()
    assert constant.probabilities == pytest.approx(dummy.predict_proba(nothing), abs=1e-12)
    assert constant.predicted.dtype == found.predicted.dtype
    scores = baseline.scores(found, target)
    assert scores["log_loss"] == pytest.approx(log_loss(found.actual, constant.probabilities, labels=found.classes))
    assert scores["roc_auc"] == 0.5
    if found.positive is not None:
        right = found.actual == found.positive
        assert scores["average_precision"] == pytest.approx(average_precision_score(right, np.ones(ROWS)))


def test_without_probabilities_the_baseline_has_none_either() -> None:
    found, target, _ = classified("text", probabilities=False)

    assert baseline.predictions(found, target).probabilities is None
    assert "log_loss" not in baseline.scores(found, target)


@pytest.mark.parametrize("rows", [6, 7])
def test_a_number_is_answered_by_the_mean_and_for_absolute_errors_by_the_median(rows: int) -> None:
    train = np.array([1.0, 1.0, 2.0, 5.0, 9.0, 30.0, 31.0][:rows])
    actual = np.linspace(0, 40, ROWS)
    found = Predictions(actual, actual, None, (), None)

    scores = baseline.scores(found, distribution(pd.Series(train), "number"))

    nothing = np.zeros((rows, 1))
    mean, median = (
        DummyRegressor(strategy=strategy).fit(nothing, train).predict(np.zeros((ROWS, 1)))
        for strategy in ("mean", "median")
    )
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(actual, mean))
    assert scores["mae"] == pytest.approx(mean_absolute_error(actual, median))


def test_classes_that_the_training_split_does_not_have_are_refused() -> None:
    found, target, _ = classified("text")

    with pytest.raises(
        DataError, match=r"the classes No, Maybe of the predictions are not those of the training split"
    ):
        baseline.scores(replace(found, classes=("No", "Maybe")), target)


@pytest.mark.parametrize("probabilities", [True, False])
def test_the_best_answers_without_features_have_no_skill(probabilities: bool) -> None:
    found, _, train = classified("text", probabilities=probabilities)
    found = replace(found, actual=np.resize(train, ROWS))  # the shares of the test rows are those of the training rows

    result = judged(baseline.predictions(found, distribution(pd.Series(train.tolist(), dtype="str"), "category")))

    assert (result.actual, result.passed) == (0.0, False)
    said = (
        "probabilities are no better than the shares of the classes" if probabilities else "labels are not better than"
    )
    assert result.sentence().startswith(f"skill: its {said}")
    assert result.sentence().endswith(" is 0.0000, expected > 0")


@pytest.mark.parametrize(("probabilities", "metric"), [(True, "log_loss"), (False, "balanced_accuracy")])
@pytest.mark.parametrize("name", TARGETS)
def test_answers_that_follow_the_target_have_skill_in_the_metric_that_fits(
    name: str, probabilities: bool, metric: str
) -> None:
    found, _, _ = classified(name, probabilities=probabilities)
    sure = np.where(np.array(found.classes, dtype=object) == found.actual[:, None], 0.9, 0.1 / (len(found.classes) - 1))

    result = judged(replace(found, predicted=found.actual, probabilities=sure if probabilities else None))

    assert (result.metric, result.passed) == (metric, True)


def test_a_number_that_is_met_better_than_by_the_mean_has_skill_and_no_other_metric_is_judged() -> None:
    actual = np.linspace(0, 40, ROWS)

    assert judged(Predictions(actual, actual + 1, None, (), None)).metric == "rmse"
    assert judged(Predictions(actual, actual + 1, None, (), None)).passed
    assert not judged(Predictions(actual, actual[::-1], None, (), None)).passed


def test_a_model_of_noise_is_accurate_and_refused() -> None:
    """The model that became version 1: of a target with 4 % yes it finds none, and is right in 96 % of the rows."""
    found = chance.predictions("random forest", 5000, 0.04, 0.0, seed=2)

    result = judged(found)

    assert np.mean(found.predicted == found.actual) > 0.95
    assert not found.predicted[found.actual == 1].any()
    assert not result.passed
    assert (
        "no better than the shares of the classes: lower end of the gain in log_loss over the best constant prediction "
        "(-0." in result.sentence()
    )


@pytest.mark.parametrize("model", ["logistic regression", "random forest", "the same, balanced", "ridge, a number"])
def test_noise_is_refused_and_a_signal_is_let_pass(model: str) -> None:
    """A handful of the draws that `python -m benchmarks.chance` makes by the hundred."""
    assert [chance.passes(chance.predictions(model, 300, 0.2, 0.0, seed)) for seed in range(4)] == [False] * 4
    assert [chance.passes(chance.predictions(model, 1000, 0.3, 2.0, seed)) for seed in range(3)] == [True] * 3


def test_noise_is_refused_where_a_constant_is_better_than_that_of_the_training_rows() -> None:
    """An outlier moves the mean of the training rows, and time the shares of the classes."""
    rng = np.random.default_rng(1)
    numbers, drifted = rng.normal(size=ROWS), np.where(rng.random(ROWS) < 0.4, "Yes", "No").astype(object)
    train = distribution(pd.Series([*numbers, 1e6]), "number")
    half = Predictions(drifted, np.full(ROWS, "No", dtype=object), np.full((ROWS, 2), 0.5), ("No", "Yes"), "Yes")

    assert train.mean > 1000
    assert not judged(Predictions(numbers, np.full(ROWS, 0.01), None, (), None)).passed
    assert not judged(half).passed  # the shares of training rows with 10 % yes would be beaten
