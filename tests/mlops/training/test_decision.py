"""Threshold, class weights, calibration: learnt on out-of-fold rows alone, the same wherever a label is predicted."""

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.base import params
from mlops.base.errors import DataError, ParameterError
from mlops.data.schema import Schema
from mlops.evaluation import curves, results
from mlops.training import calibration, decision, encoding, estimators, fitting, metrics, selection
from mlops.training.metrics import Predictions
from mlops.training.model import FittedModel, fitted_model
from sklearn.calibration import CalibratedClassifierCV
from sklearn.utils.class_weight import compute_sample_weight

from tests.mlops.training.samples import PATHS, SCHEMA, data

PATHS = PATHS | {
    "vectors": "sklearn.svm.LinearSVC",
    "boosted": "sklearn.ensemble.GradientBoostingClassifier",
    "neighbours": "sklearn.neighbors.KNeighborsClassifier",
    "ridge": "sklearn.linear_model.Ridge",
}
COSTS = params.Costs(false_positive=1, false_negative=20)


def trained(model: str = "logistic", split: str = "stratified", rows: int = 200, **settings: Any) -> selection.Trained:
    """Train on the sample, as the stage does; arguments of the model are `models`."""
    table, target = data(rows)
    table = table.assign(y=target, day=np.random.default_rng(2).permutation(rows))
    columns: dict[str, Any] = {**SCHEMA.columns, "day": {"type": "integer", "role": "time"}}
    arguments = {"classifier": PATHS[model], "regressor": PATHS["ridge"], **settings.pop("arguments", {})}
    models = params.Models.model_validate({model: arguments})
    chosen = params.Train.model_validate({"model": model, "folds": 3, **settings})
    return selection.train(table, Schema(columns=columns), chosen, models, lambda pieces, *_: pieces, split)


def of_two(probability: Sequence[float], positives: Sequence[bool]) -> Predictions:
    """Predictions of a model that decides by itself."""
    of_yes, actual = np.array(probability, dtype=float), np.array(["no", "yes"], dtype=object)[np.array(positives) * 1]
    both = np.column_stack([1 - of_yes, of_yes])
    return Predictions(actual, np.array(["no", "yes"], dtype=object)[both.argmax(axis=1)], both, ("no", "yes"), "yes")


@st.composite
def predictions(draw: st.DrawFn) -> Predictions:
    """Probabilities, often tied, of up to 30 rows in which both classes occur."""
    steps = draw(st.sampled_from([4, 50, 10_000]))
    given_ = draw(st.lists(st.tuples(st.integers(0, steps), st.booleans()), min_size=2, max_size=30))
    given_ += [(draw(st.integers(0, steps)), True), (draw(st.integers(0, steps)), False)]
    return of_two([step / steps for step, _ in given_], [positive for _, positive in given_])


@settings(max_examples=25)
@given(predictions(), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_a_metric_at_a_threshold_is_the_metric_of_the_labels_by_it(found: Predictions, thresholds: list[float]) -> None:
    tried = np.array(thresholds)

    for metric in metrics.of_two_labels():
        assert metrics.by_threshold(found, metric, tried) == pytest.approx(
            [metrics.score(found.at(one))[metric] for one in thresholds]
        )
    assert decision.values(found, COSTS, tried) == pytest.approx(
        [decision.value(found.at(one), COSTS) for one in thresholds]
    )


@given(predictions(), st.sampled_from(["f1_positive", "accuracy", "balanced_accuracy", COSTS]))
def test_no_other_threshold_is_better_than_the_chosen_one(found: Predictions, by: str | params.Costs) -> None:
    chosen = decision._best(found, by)

    every = np.append(np.unique(found.positive_probability), [0, 1])
    values = decision.values(found, by, every)
    best = values.max() if isinstance(by, str) else values.min()
    assert decision.value(found.at(chosen), by) == pytest.approx(best)
    assert chosen == float(f"{chosen:.6g}")


@pytest.mark.parametrize(
    ("probability", "positives", "by", "threshold"),
    [
        ([0.1, 0.9], [False, True], "f1_positive", 0.5),
        ([0.7, 0.9], [False, True], "f1_positive", 0.8),
        ([0.1, 0.2, 0.3], [False, True, True], "recall_positive", 0.15),  # not 0: of equals the nearest to 0.5
        ([0.2, 0.2, 0.6], [True, False, False], COSTS, 0.1),
        ([0.2, 0.8], [False, True], params.Costs(false_positive=1, false_negative=0), 0.5),
        ([0.8, 0.2], [False, True], params.Costs(false_positive=1, false_negative=0), 1.0),
    ],
)
def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_chosen(
    probability: list[float], positives: list[bool], by: str | params.Costs, threshold: float
) -> None:
    assert decision._best(of_two(probability, positives), by) == pytest.approx(threshold)


def test_many_positive_rows_are_thinned_to_a_threshold_that_is_as_good() -> None:
    rng = np.random.default_rng(1)
    positives = rng.random(20_000) < 0.3
    found = of_two(1 / (1 + np.exp(-rng.normal(positives * 2.0 - 2))), positives)

    chosen = decision._best(found, "f1_positive")

    best = metrics.by_threshold(found, "f1_positive", np.unique(found.positive_probability)).max()
    assert decision.value(found.at(chosen), "f1_positive") == pytest.approx(best, abs=0.001)


def test_a_model_that_decides_by_itself_has_the_bytes_that_it_had_and_an_older_one_is_read() -> None:
    model = trained("dummy", threshold=0.5).model

    written = model.__getstate__()

    assert list(written) == ["pipeline", "columns", "task", "positive", "threads"]
    assert copy.copy(model).threshold is None  # a copy is made of what would be written
    assert copy.copy(trained("logistic", threshold=0.3).model).threshold == 0.3


def test_without_a_threshold_a_tie_is_the_first_class_and_with_one_it_is_positive() -> None:
    table, target = data(40)
    even = fitting.fit(
        fitting.pipeline(
            encoding.encoder(SCHEMA, [], 5, "classification", 5),
            estimators.build("dummy", PATHS["dummy"], {"strategy": "uniform"}, "classification", 5),
        ),
        table,
        target,
        1,
    )

    own, at_half = (fitted_model(even, SCHEMA, "classification", "yes", 1, one).predict(table) for one in (None, 0.5))

    assert (own.predicted == "no").all()
    assert (at_half.predicted == "yes").all()
    assert (at_half.actual == "yes").all()  # what is not known is what is predicted


@pytest.mark.parametrize(
    ("threshold", "split"),
    [("auto", "stratified"), ("balanced_accuracy", "time"), (0.3, "stratified"), (COSTS.model_dump(), "time")],
)
def test_the_threshold_of_training_decides_every_label_of_the_model(threshold: Any, split: str) -> None:
    found = trained(threshold=threshold, split=split)
    table, target = data()

    answers = found.model.predict(table, target)

    report = found.report["decision"]
    expected = np.where(answers.positive_probability >= report["threshold"], "yes", "no")
    assert (answers.predicted == expected).all()
    assert found.model.threshold == answers.threshold == report["threshold"] != 0.5
    assert report["out_of_fold"]["rows"] == (200 if split == "stratified" else 150)
    assert f"threshold {report['threshold']:.3g}" in found.sentence
    assert answers.subset(slice(3)).threshold == metrics.joined([answers, answers]).threshold == answers.threshold


def test_the_folds_are_judged_by_the_threshold_that_the_other_folds_teach() -> None:
    found, plain = trained(threshold="auto"), trained()
    table, target = data()
    model = fitting.pipeline(
        encoding.encoder(SCHEMA, [], 10, "classification", 42),
        estimators.build("logistic", PATHS["logistic"], {}, "classification", 42),
    )
    cut = fitting.folds(target, None, "classification", 3, 42)
    parts = list(fitting.cross_validate(model, table, target, cut, "yes", 1, lambda _model, _rows, found: found))

    report = found.report["decision"]["out_of_fold"]

    thresholds = [decision._best(metrics.joined(parts[:k] + parts[k + 1 :]), "f1_positive") for k in range(3)]
    assert report["by_other_folds"] == thresholds
    assert found.report["folds"] == [metrics.score(one.at(at)) for one, at in zip(parts, thresholds, strict=True)]
    assert plain.report["folds"] == [metrics.score(one) for one in parts]
    assert found.report["decision"]["threshold"] == decision._best(metrics.joined(parts), "f1_positive")


def test_costs_are_reported_and_a_dear_miss_lowers_the_threshold() -> None:
    dear, cheap = (
        trained(threshold={"false_positive": 1, "false_negative": cost}).report["decision"] for cost in (20, 1)
    )

    assert dear["threshold"] < cheap["threshold"]
    assert dear["chosen_by"] == "cost per row"
    assert dear["costs"] == {"false_positive": 1, "false_negative": 20}
    assert dear["out_of_fold"]["value"] < dear["out_of_fold"]["value_at_half"]


def test_a_metric_of_the_project_can_choose_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    def profit(actual: Any, predicted: Any, probability: Any) -> float:
        """Ten for each hit, minus one for each flag; the probabilities are there, too."""
        assert len(probability) == len(actual)
        return float((10 * (actual == "yes") - 1) @ (predicted == "yes"))

    for name in ("OWN", "HIGHER_IS_BETTER"):
        monkeypatch.setattr(metrics, name, dict(getattr(metrics, name)))
    monkeypatch.setattr(decision, "HIGHER_IS_BETTER", metrics.HIGHER_IS_BETTER)
    metrics.declare({profit: "higher"})

    report = trained(threshold="profit").report["decision"]

    assert report["chosen_by"] == "profit"
    assert report["threshold"] < 0.3
    assert report["out_of_fold"]["value"] >= report["out_of_fold"]["value_at_half"]


def test_a_search_finds_the_candidate_and_then_its_threshold() -> None:
    space = {"logistic": {"C": [0.01, 0.1, 10.0]}}
    search = {"candidates": 2, "metric": "roc_auc", "space": space}

    plain, found = (trained(threshold=threshold, search=search) for threshold in (0.5, "auto"))

    assert found.report["search"] == plain.report["search"]
    alone = trained(threshold="auto", arguments={"C": found.report["search"]["arguments"]["C"]})
    for name in ("folds", "decision", "arguments"):
        assert found.report[name] == alone.report[name]
    assert joblib.hash(found.model) == joblib.hash(alone.model)


@pytest.mark.parametrize(
    ("name", "method"),
    [("logistic", "sigmoid"), ("forest", "isotonic"), ("vectors", "sigmoid"), ("vectors", "isotonic")],
)
def test_calibrated_probabilities_are_those_of_scikit_learn_on_the_same_folds(name: str, method: str) -> None:
    table, target = data()
    arguments = {"n_estimators": 10} if name == "forest" else {}
    model = fitting.pipeline(
        encoding.encoder(SCHEMA, [], 10, "classification", 42),
        estimators.build(name, PATHS[name], arguments, "classification", 42),
    )
    folds = fitting.folds(target, None, "classification", 4, 42)

    found = trained(name, arguments=arguments, calibrate=method, folds=4).model

    expected = CalibratedClassifierCV(model, method=method, cv=folds, ensemble=False).fit(table, target)
    probabilities = found.predict(table).probabilities
    assert probabilities == pytest.approx(expected.predict_proba(table), abs=1e-9)
    below = found.uncalibrated
    assert below is not None
    assert below.uncalibrated is None
    assert below.predict(table).predicted.tolist() == fitting.fit(model, table, target, 1).predict(table).tolist()


def test_calibration_is_reported_before_and_after_on_rows_that_it_did_not_learn_from() -> None:
    found = trained("boosted", balance="classes", calibrate="sigmoid", rows=600)

    sides = found.report["decision"]["calibration"]

    assert sides["method"] == "sigmoid"
    assert sides["after"]["log_loss"] < sides["before"]["log_loss"]
    assert sides["after"]["brier"] == pytest.approx(found.metrics["brier"], abs=0.001)  # the mean over equal folds
    assert trained("vectors", calibrate="sigmoid").report["decision"]["calibration"]["before"] is None


def test_a_calibrated_model_and_its_threshold_are_the_same_bytes_again() -> None:
    one, other = (trained("logistic", split="time", threshold="auto", calibrate="isotonic") for _ in range(2))

    assert pickle.dumps(one.model) == pickle.dumps(other.model)
    assert one.report == other.report


def test_what_the_test_rows_say_of_the_decision_is_told_and_drawn() -> None:
    found = trained("boosted", threshold=COSTS.model_dump(), calibrate="isotonic", rows=400)
    table, target = data(300)
    answers, before = found.model.predict(table, target), found.model.uncalibrated.predict(table, target)
    report = found.report["decision"]

    facts, tables = (one(answers, before, report) for one in (results.decision, curves.of_decision))

    misses = ((answers.actual == "yes") & (answers.predicted == "no")).sum()
    alarms = ((answers.actual == "no") & (answers.predicted == "yes")).sum()
    assert facts["value"] == (20 * misses + alarms) / 300
    assert facts["same"] == {"label": "yes", "value": (target == "no").mean()}  # "no" costs 20 times as much
    assert facts["by"] == "cost per row"
    assert facts["calibration"]["after"] == {name: metrics.score(answers)[name] for name in ("brier", "log_loss")}
    assert facts["calibration"]["before"] == {name: metrics.score(before)[name] for name in ("brier", "log_loss")}
    assert tables["threshold"]["value"].iloc[0] == (target == "no").mean()  # from 0 on every row is positive
    pd.testing.assert_frame_equal(
        tables["uncalibrated"], curves.calibration(before.positive_probability, target == "yes")
    )


def test_without_probabilities_of_two_classes_there_is_nothing_to_tell_or_to_draw() -> None:
    found = trained("vectors")
    table, target = data()
    answers = found.model.predict(table, target)

    assert found.report["decision"] is None
    assert results.decision(answers, None, None) is None
    tables = curves.of_decision(answers, None, None)
    assert list(tables) == ["threshold", "uncalibrated"]
    assert all(table.empty for table in tables.values())


@pytest.mark.parametrize(("name", "weighted"), [("logistic", False), ("boosted", True), ("dummy", True)])
def test_balanced_classes_weigh_the_same_by_the_argument_or_by_weights_of_rows(name: str, weighted: bool) -> None:
    table, target = data()
    estimator = estimators.build(
        name, PATHS[name], {"strategy": "prior"} if name == "dummy" else {}, "classification", 1
    )

    assert estimators.balance(name, estimator, "classification") is weighted
    fitted = fitting.fit(
        fitting.pipeline(encoding.encoder(SCHEMA, [], 5, "classification", 5), estimator), table, target, 1, weighted
    )

    weights = compute_sample_weight("balanced", target)
    shares = fitted.predict_proba(table)[:, 1]
    assert np.average(shares, weights=weights) == pytest.approx(0.5, abs=0.01)
    if name == "dummy":
        assert shares == pytest.approx(np.full(200, 0.5))


def test_a_search_balances_each_candidate() -> None:
    search = {"candidates": 1, "space": {"boosted": {"max_depth": [1, 2]}}}
    settings = {"arguments": {"n_estimators": 5, "max_depth": 1}, "search": search}

    plain, balanced = (trained("boosted", balance=balance, **settings) for balance in ("none", "classes"))

    alone = trained(
        "boosted", balance="classes", arguments={"n_estimators": 5, **balanced.report["search"]["arguments"]}
    )
    assert balanced.report["folds"] == alone.report["folds"] != plain.report["folds"]


@pytest.mark.parametrize(
    ("model", "settings", "sentence"),
    [
        (
            "logistic",
            {"threshold": "auto", "task": "regression"},
            "threshold is auto, .* this target is a number: remove",
        ),
        (
            "vectors",
            {"threshold": 0.3},
            "threshold is 0.3, but LinearSVC gives no probabilities: set train.calibrate to",
        ),
        ("logistic", {"threshold": "roc_auc"}, "threshold is roc_auc, which does not depend on the labels: "),
        ("logistic", {"threshold": "f1_positiv"}, r"is f1_positiv, which is no metric: did you mean f1_positive\?"),
        (
            "logistic",
            {"calibrate": "sigmoid", "task": "regression"},
            "calibrate is sigmoid, which .* target is a number",
        ),
        (
            "neighbours",
            {"balance": "classes"},
            "KNeighborsClassifier takes neither class_weight nor sample_weight: set",
        ),
        ("logistic", {"balance": "classes", "task": "regression"}, "balance is classes, but the target is a number"),
        (
            "logistic",
            {"balance": "classes", "arguments": {"class_weight": "balanced"}},
            r"models\.logistic has a class_weight itself: remove one",
        ),
    ],
)
def test_what_cannot_be_decided_is_one_sentence(model: str, settings: dict[str, Any], sentence: str) -> None:
    train = of_numbers if "task" in settings else trained

    with pytest.raises(ParameterError, match=f"^params.yaml: .*{sentence}") as error:
        train(model, **settings)

    assert "\n" not in str(error.value)


def of_numbers(model: str, **settings: Any) -> selection.Trained:
    """Train on a target that is a number."""
    table, _ = data(60)
    table["y"] = np.arange(60.0)
    schema = Schema(columns={**SCHEMA.columns, "y": {"type": "number", "role": "target"}})  # type: ignore[dict-item]
    models = params.Models.model_validate({model: {"regressor": PATHS["ridge"]}})
    chosen = params.Train.model_validate({"model": model, "folds": 3, **settings})
    return selection.train(table, schema, chosen, models, lambda pieces, *_: pieces)


def test_three_classes_have_no_threshold() -> None:
    chosen = params.Train(threshold="auto")

    with pytest.raises(ParameterError, match="this target has more than two classes: remove it"):
        decision.is_asked(chosen, object(), "classification", None)  # type: ignore[arg-type]


def test_too_few_rows_of_a_class_are_one_sentence() -> None:
    part = decision.Part(of_two([0.1, 0.2, 0.9], [False, False, True]), None)
    empty = decision.Part(of_two([0.1, 0.2, 0.9], [False, False, False]), None)

    with pytest.raises(DataError, match="need 2 rows of each class there, but yes has 1: deliver more rows of it"):
        decision.decide([part, empty, empty], params.Train(threshold="auto"))
    assert decision.decide([part, empty, empty], params.Train(threshold=0.3)).decision.threshold == 0.3


def test_the_scores_to_calibrate_are_those_of_the_second_class() -> None:
    table, target = data()
    model: FittedModel = trained("forest", arguments={"n_estimators": 5}).model

    found = calibration.scores(model.pipeline, table, 1)

    assert found == pytest.approx(model.pipeline.predict_proba(table)[:, 1])
    assert found.shape == target.shape
