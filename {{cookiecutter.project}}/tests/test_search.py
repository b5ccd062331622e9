"""The search inside `train`: what is drawn, that it scores as cross-validation does, and which candidate wins."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import parallel_config
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from ml import features, fitting, search
from ml.errors import ParameterError
from ml.schema import Schema

EXAMPLES = settings(max_examples=50, deadline=None, derandomize=True)
SCHEMA = Schema(
    columns={
        "size": {"type": "number"},
        "level": {"type": "category"},
        "y": {"type": "category", "role": "target"},
    }
)
SPACE = {"C": SimpleNamespace(low=0.01, high=10.0, log=True, whole=False), "fit_intercept": [True, False]}


def data(rows: int = 200) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(1)
    size, level = rng.normal(size=rows), rng.choice(["a", "b", "c"], size=rows).astype(object)
    target = np.where(size + (level == "b") + rng.normal(size=rows) > 0.5, "yes", "no").astype(object)
    return pd.DataFrame({"size": size, "level": level}), target


def encoder(many: list[str]) -> BaseEstimator:
    return features.encoder(SCHEMA, many, 5, "classification", seed=5)


def searched(estimators: list[BaseEstimator], many: list[str] | None = None) -> list[search.Candidate]:
    table, target = data()
    cut = fitting.folds(target, None, "classification", 3, seed=3)
    found = list(search.search(encoder(many or []), estimators, table, target, cut, "yes", threads=1))
    return search.collected([estimator.get_params(deep=False) for estimator in estimators], found)


@pytest.mark.parametrize("many", [[], ["level"]], ids=["one column a level", "mean target"])
def test_a_candidate_scores_as_it_does_in_cross_validation(many: list[str]) -> None:
    estimators = [LogisticRegression(C=C) for C in (0.01, 1.0)] + [RandomForestClassifier(5, random_state=1)]
    table, target = data()
    cut = fitting.folds(target, None, "classification", 3, seed=3)

    found = searched(estimators, many)

    for candidate, estimator in zip(found, estimators, strict=True):
        pipeline = fitting.pipeline(encoder(many), estimator)
        assert candidate.folds == list(fitting.cross_validate(pipeline, table, target, cut, "yes", threads=1))


def test_the_number_of_cores_changes_no_score() -> None:
    estimators = [RandomForestClassifier(5, max_depth=depth, random_state=1) for depth in (1, 3)]

    with parallel_config(backend="threading", n_jobs=1):
        alone = searched(estimators)

    assert searched(estimators) == alone


def test_a_candidate_that_is_refused_is_reported_and_the_others_go_on() -> None:
    found = searched([LogisticRegression(C=-1.0), LogisticRegression(C=1.0)])

    best = search.best(found, "accuracy")
    table = search.table(found, "accuracy")

    assert best.number == 1
    assert "LogisticRegression could not be fitted" in found[0].failed
    assert table["rank"].tolist() == [pd.NA, 1]
    assert table["failed"].tolist() == [found[0].failed, ""]
    report = search.report(found, best, "accuracy")
    assert report is not None
    assert (report["candidates"], report["failed"], report["chosen"]) == (2, 1, 1)


def test_where_all_are_refused_the_reason_of_the_first_is_given() -> None:
    with pytest.raises(ParameterError, match=r"none of the 2 candidates of train\.search could be fitted: Logistic"):
        search.best(searched([LogisticRegression(C=-1.0), LogisticRegression(C=-2.0)]), "accuracy")


def drawn(space: dict[str, Any], count: int, seed: int = 1) -> list[dict[str, Any]]:
    return search.candidates("logistic", LogisticRegression(), space, count, seed)


def test_the_first_candidate_is_the_models_own_and_more_begin_with_those_of_fewer() -> None:
    few, many = drawn(SPACE, 5), drawn(SPACE, 9)

    assert few[0] == {"C": 1.0, "fit_intercept": True}
    assert many[:6] == few
    assert len(many) == 10
    assert drawn(SPACE, 5, seed=2)[1:] != few[1:]
    assert drawn(SPACE, 0) == [{}]


def test_a_small_space_is_tried_whole_and_nothing_twice() -> None:
    found = drawn({"fit_intercept": [True, False], "solver": ["lbfgs", "saga"]}, 50)

    assert len(found) == 4
    assert sorted({(one["fit_intercept"], one["solver"]) for one in found}) == sorted(
        (intercept, solver) for intercept in (True, False) for solver in ("lbfgs", "saga")
    )


@EXAMPLES
@given(st.integers(1, 50), st.integers(1, 50), st.booleans(), st.booleans(), st.integers(0, 9))
def test_draws_lie_inside_their_range(low: int, width: int, log: bool, whole: bool, seed: int) -> None:
    ends = (low, low + width) if whole else (low / 7, (low + width) / 7)
    space = {"C": SimpleNamespace(low=ends[0], high=ends[1], log=log, whole=whole)}

    values = [one["C"] for one in drawn(space, 8, seed)[1:]]

    assert all(ends[0] <= value <= ends[1] for value in values)
    assert all(isinstance(value, int if whole else float) for value in values)


def test_log_draws_fall_as_often_into_each_power_of_ten() -> None:
    space = {"C": SimpleNamespace(low=0.001, high=1000.0, log=True, whole=False)}

    powers = np.floor(np.log10([one["C"] for one in drawn(space, 600)[1:]]))

    assert np.bincount((powers + 3).astype(int), minlength=6).min() > 60


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "params.yaml has no train.search.space.logistic to draw from"),
        (
            {"max_itr": [9]},
            r"train\.search\.space\.logistic\.max_itr is no argument of the model: did you mean max_iter\?",
        ),
    ],
)
def test_a_space_that_does_not_fit_the_model_is_named(space: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        drawn(space, 3)


@pytest.mark.parametrize(("metric", "winner"), [("accuracy", 1), ("log_loss", 0)])
def test_the_best_mean_wins_on_the_metrics_better_side_and_the_first_of_equals(metric: str, winner: int) -> None:
    found = [search.Candidate(number, {}, [{metric: value}] * 2) for number, value in enumerate((0.2, 0.4, 0.4))]

    assert search.best(found, metric).number == winner


def test_what_was_not_searched_leaves_only_a_header() -> None:
    alone = [search.Candidate(0, {}, [{"accuracy": 0.5}] * 2)]

    assert search.table(alone, "accuracy").columns.tolist() == ["candidate", "mean", "std", "rank", "failed"]
    assert search.table(alone, "accuracy").empty
    assert search.report(alone, alone[0], "accuracy") is None
    assert math.isnan(search.Candidate(0, {}, [], "no").spread("accuracy")[0])
    with pytest.raises(ParameterError, match=r"train\.search\.metric is acuracy, but there are accuracy"):
        search.best(alone, "acuracy")
