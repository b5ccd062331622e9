"""The rules of continuous training: what asks for a new model, what does not, and what is in the way."""

from dataclasses import replace
from typing import Any

import pytest
from mlops.base.errors import ParameterError
from mlops.base.params import Retrain
from mlops.retraining.decision import Facts, decide

STABLE = {"delivery": {"rows": 500}, "verdict": "0 of 19 features drifted", "alarm": False, "retraining": {}}
FACTS = Facts(report=STABLE, trained_rows=1000, new_rows=0, model_days=10.0)
DRIFTED = {
    **STABLE,
    "verdict": "8 of 19 features drifted",
    "alarm": True,
    "retraining": {"recommended": True, "reasons": ["8 of 19 features drifted, more than 30 %"]},
}


def with_metrics(**metrics: Any) -> dict[str, Any]:
    return {**STABLE, "predictions": {"metrics": metrics}}


def labelled(rows: int, **more: Any) -> dict[str, Any]:
    return {**STABLE, "predictions": {"metrics": {"accuracy": 0.62}, "labelled": {"rows": rows}, **more}}


def estimate(trusted: bool, value: float, high: float) -> dict[str, Any]:
    metrics = {"accuracy": {"value": value, "low": value - 0.05, "high": high, "test": 0.8}}
    return {**STABLE, "estimated": {"metrics": metrics, "trusted": trusted, "why_not": None if trusted else "far out"}}


@pytest.mark.parametrize(
    ("facts", "settings", "trigger", "sentence"),
    [
        (replace(FACTS, report=DRIFTED, new_rows=9), Retrain(), "drift", "8 of 19 features drifted, more than 30 %"),
        (replace(FACTS, report={**STABLE, "alarm": True}, new_rows=9), Retrain(drift="alarm"), "drift", "the alarm"),
        (replace(FACTS, report={**STABLE, "alarm": True}, new_rows=9), Retrain(), "", "does not recommend it"),
        (replace(FACTS, report=DRIFTED, new_rows=9), Retrain(drift="off"), "", "the rule is off"),
        (replace(FACTS, report={**DRIFTED, "delivery": None}), Retrain(), "", "no delivery to compare with"),
        (
            replace(FACTS, report=with_metrics(accuracy=0.62), new_rows=9),
            Retrain(minimum=0.7),
            "performance",
            "accuracy is 0.62, below the limit 0.7",
        ),
        (replace(FACTS, report=with_metrics(accuracy=0.75)), Retrain(minimum=0.7), "", "accuracy is 0.75, within"),
        (replace(FACTS, report=labelled(29), new_rows=29), Retrain(minimum=0.7), "", "0.62, but 29 labels cannot say"),
        (replace(FACTS, report=labelled(30), new_rows=30), Retrain(minimum=0.7), "performance", "below the limit"),
        (
            replace(FACTS, report=labelled(300, labels_one_sided=True), new_rows=9),
            Retrain(minimum=0.7),
            "",
            "mostly for one class",
        ),
        (replace(FACTS, report=with_metrics(accuracy=None)), Retrain(minimum=0.7), "", "not defined"),
        (
            replace(FACTS, report=with_metrics(r2=0.9, rmse=3.0), new_rows=9),
            Retrain(minimum=2, metric="rmse"),
            "performance",
            "rmse is 3, above the limit 2",
        ),
        (replace(FACTS, report=with_metrics(r2=0.1), new_rows=9), Retrain(minimum=0.5), "performance", "r2 is 0.1"),
        (
            replace(FACTS, report=estimate(True, 0.6, 0.65), new_rows=9),
            Retrain(minimum=0.7),
            "performance",
            "estimated accuracy is 0.6, below",
        ),
        (replace(FACTS, report=estimate(True, 0.6, 0.75), new_rows=9), Retrain(minimum=0.7), "", "within"),
        (replace(FACTS, report=estimate(False, 0.6, 0.65), new_rows=9), Retrain(minimum=0.7), "", "far out"),
        (FACTS, Retrain(minimum=0.7), "", "no row of the delivery has a label"),
        (FACTS, Retrain(), "", "no limit is set (retrain.minimum)"),
        (replace(FACTS, new_rows=9), Retrain(oldest_days=7), "age", "the model is 10.0 days old, more than 7"),
        (replace(FACTS, new_rows=9), Retrain(oldest_days=10), "", "no more than 10"),
        (replace(FACTS, new_rows=9), Retrain(), "", "10.0 days old, and no limit is set"),
        (replace(FACTS, model_days=None), Retrain(oldest_days=1), "", "no model of a known age"),
        (replace(FACTS, new_rows=200), Retrain(), "new rows", "200 new labelled rows, 20.0% of the 1,000 in use"),
        (replace(FACTS, new_rows=199), Retrain(), "", "less than 20.0%"),
        (replace(FACTS, new_rows=999), Retrain(new_rows=None), "", "no limit is set (retrain.new_rows)"),
        (FACTS, Retrain(new_rows=1e-9), "", "0 new labelled rows"),
    ],
)
def test_each_rule_says_why_or_why_not(facts: Facts, settings: Retrain, trigger: str, sentence: str) -> None:
    found = decide(facts, settings)

    assert (found.retrain, found.trigger) == (bool(trigger), trigger)
    assert any(sentence in reason.sentence for reason in found.reasons), found.sentences()
    assert all(reason.holds == (reason.rule == trigger) for reason in found.reasons)


def test_several_reasons_are_named_together_and_every_one_is_told() -> None:
    found = decide(replace(FACTS, report=DRIFTED, new_rows=300), Retrain(oldest_days=1))

    assert found.trigger == "drift, age, new rows"
    assert found.sentences()[0] == "retrain: drift, age, new rows"
    assert [line[0] for line in found.sentences()[1:]] == ["+", "-", "+", "+"]


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({}, "drift, but there is no new labelled row: the same data and parameters give the same model"),
        ({"unlabelled_rows": 40}, "drift, but none of the 40 rows of the delivery has a label yet"),
        ({"incomplete_rows": 40}, "40 labelled rows of the prediction log lack what training needs"),
    ],
)
def test_without_a_new_labelled_row_nothing_is_trained_unless_it_is_forced(
    counts: dict[str, int], sentence: str
) -> None:
    facts = replace(FACTS, report=DRIFTED, **counts)

    waiting, forced = decide(facts, Retrain()), decide(facts, Retrain(), force=True)

    assert not waiting.retrain
    assert sentence in waiting.sentences()[0]
    assert (forced.retrain, forced.trigger) == (True, "drift, forced")


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(ParameterError, match=r"retrain\.metric is acuracy: did you mean accuracy\?"):
        decide(replace(FACTS, report=with_metrics(accuracy=0.6)), Retrain(metric="acuracy", minimum=0.5))
