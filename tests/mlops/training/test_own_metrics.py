"""The project's own metrics: beside the others everywhere, and one sentence where a metric fails."""

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlops.data.own import OwnCodeError
from mlops.evaluation import comparison, intervals
from mlops.training import metrics, search
from mlops.training.metrics import Predictions

from tests.conftest import PROJECT, TEMPLATE

RNG = np.random.default_rng(7)
ACTUAL = RNG.choice(["No", "Yes"], 300).astype(object)
PROBABILITY = np.clip(0.5 + 0.3 * (ACTUAL == "Yes") - 0.15 + RNG.normal(0, 0.2, 300), 0.01, 0.99)
PREDICTIONS = Predictions(
    ACTUAL,
    np.where(PROBABILITY > 0.5, "Yes", "No").astype(object),
    np.column_stack([1 - PROBABILITY, PROBABILITY]),
    ("No", "Yes"),
    "Yes",
)


def cost(actual: np.ndarray, predicted: np.ndarray, probability: np.ndarray) -> float:
    assert probability.shape == actual.shape == predicted.shape
    missed = (actual == "Yes") & (predicted == "No")
    alarms = (actual == "No") & (predicted == "Yes")
    return (500 * missed.sum() + 20 * alarms.sum()) / len(actual)


def accuracy_again(actual: np.ndarray, predicted: np.ndarray, probability: np.ndarray) -> float:
    return float(np.mean(actual == predicted))


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test declares is gone after it."""
    known = dict(metrics.HIGHER_IS_BETTER)
    yield
    metrics.OWN.clear()
    metrics.HIGHER_IS_BETTER.clear()
    metrics.HIGHER_IS_BETTER.update(known)


def test_the_example_works_as_it_stands_and_keeps_the_rules_of_the_project(tmp_path: Path) -> None:
    text = (TEMPLATE / PROJECT / "project" / "metrics.py").read_text(encoding="utf-8")
    at = text.index("# def cost")
    example, rest = text[at:].split("\n\n", 1)
    taken = text[:at] + "\n" + re.sub("^# ", "", example, flags=re.M) + "\n\n" + rest.replace("{}", '{cost: "lower"}')
    (tmp_path / "metrics.py").write_text(taken, encoding="utf-8")
    check = [sys.executable, "-m", "ruff", "check", "--no-cache", "--extend-select", "ANN"]
    rules = [*check, "--config", TEMPLATE / PROJECT / ".ruff.toml"]

    done = subprocess.run([*rules, tmp_path / "metrics.py"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    found = runpy.run_path(str(tmp_path / "metrics.py"))
    [(function, better)] = found["METRICS"].items()
    assert better == "lower"
    assert function(ACTUAL, PREDICTIONS.predicted, PROBABILITY) == cost(ACTUAL, PREDICTIONS.predicted, PROBABILITY)


def test_a_metric_of_the_project_stands_beside_the_others() -> None:
    plain = metrics.score(PREDICTIONS)
    metrics.declare({cost: "lower", accuracy_again: "higher"})

    scores = metrics.score(PREDICTIONS)

    assert scores == {
        **plain,
        "cost": cost(ACTUAL, PREDICTIONS.predicted, PROBABILITY),
        "accuracy_again": plain["accuracy"],
    }
    assert metrics.HIGHER_IS_BETTER["cost"] is False
    assert metrics.title("accuracy_again") == "accuracy again"
    assert search.metric_named("cost") == "cost"


def test_its_interval_comes_from_the_same_resamples_as_that_of_the_others() -> None:
    metrics.declare({accuracy_again: "higher"})

    spans = intervals.bootstrap(PREDICTIONS, 200, 0.95, seed=1)

    assert spans["accuracy_again"] == pytest.approx(spans["accuracy"])


def test_two_models_are_compared_by_it_in_its_own_direction() -> None:
    metrics.declare({cost: "lower"})
    always = Predictions(ACTUAL, np.full(300, "No", dtype=object), None, ("No", "Yes"), "Yes")
    better = Predictions(ACTUAL, ACTUAL, None, ("No", "Yes"), "Yes")

    def quietly(actual: np.ndarray, predicted: np.ndarray, probability: Any) -> float:
        return float(500 * ((actual == "Yes") & (predicted == "No")).mean())

    metrics.OWN["cost"] = quietly
    found = {one.metric: one for one in comparison.paired_bootstrap(always, better, 200, 0.95, 1)}

    assert found["cost"].difference < 0
    assert found["cost"].verdict == "better"


def fails(actual: np.ndarray, predicted: np.ndarray, probability: np.ndarray) -> float:
    return float(actual["money"])


def says(actual: np.ndarray, predicted: np.ndarray, probability: np.ndarray) -> str:
    return "much"


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({fails: "lower"}, r"test_own_metrics\.py: fails \(line \d+\) fails at line \d+ \(return float\(actual"),
        ({says: "lower"}, "could not convert string to float"),
    ],
    ids=["fails", "no number"],
)
def test_a_metric_that_fails_is_one_sentence_with_its_own_line(declared: dict[Any, str], sentence: str) -> None:
    metrics.declare(declared)

    with pytest.raises(OwnCodeError, match=sentence):
        metrics.score(PREDICTIONS)


def test_a_name_that_is_taken_and_a_direction_that_is_none_are_refused() -> None:
    def recall(actual: np.ndarray, predicted: np.ndarray, probability: np.ndarray) -> float:
        return 0.0

    with pytest.raises(OwnCodeError, match=r"recall .*has the name of another metric or column: rename the function"):
        metrics.declare({recall: "higher"})
    with pytest.raises(OwnCodeError, match='\'smaller\' in METRICS: say "higher" or "lower"'):
        metrics.declare({cost: "smaller"})
    with pytest.raises(OwnCodeError, match="METRICS is a list: a dictionary was expected"):
        metrics.declare([cost])  # type: ignore[arg-type]
    with pytest.raises(OwnCodeError, match=r"<lambda> .*is no function with a name"):
        metrics.declare({lambda *_: 0.0: "lower"})

    def rows(actual: np.ndarray, predicted: np.ndarray, probability: np.ndarray) -> float:  # as in reports/slices.csv
        return 0.0

    with pytest.raises(OwnCodeError, match="has the name of another metric or column"):
        metrics.declare({rows: "lower"})
    metrics.declare({cost: "lower"})
    metrics.declare({cost: "lower"})  # a stage and a command in one process
