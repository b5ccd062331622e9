"""Which models pass: at the limit, past it, and where there is nothing to compare."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml import gate
from ml.errors import ParameterError
from ml.metrics import HIGHER_IS_BETTER

METRICS = st.sampled_from(sorted(HIGHER_IS_BETTER))
NUMBERS = st.floats(-1e6, 1e6)


@dataclass(frozen=True)
class Rule:
    metric: str
    limit: float


def judged(
    rule: str, metric: str, limit: float, test: float | None, cross_validated: float | None = None
) -> gate.Outcome:
    (outcome,) = gate.judge({metric: test}, {metric: cross_validated}, metric, {rule: Rule(metric, limit)})
    return outcome


@pytest.mark.parametrize(
    ("metric", "test", "passed"),
    [
        ("accuracy", 0.76, True),
        ("accuracy", 0.75, True),
        ("accuracy", 0.74, False),
        ("accuracy", None, False),
        ("rmse", 0.74, True),
        ("rmse", 0.75, True),
        ("rmse", 0.76, False),
        ("rmse", None, False),
    ],
)
def test_the_minimum_is_the_last_value_that_passes_whichever_side_is_better(
    metric: str, test: float | None, passed: bool
) -> None:
    assert judged("minimum", metric, 0.75, test).passed is passed


@pytest.mark.parametrize(
    ("test", "cross_validated", "gap", "passed"),
    [
        (0.5, 0.5, 0.0, True),
        (0.75, 0.5, 0.25, False),
        (0.5, 0.75, 0.25, False),
        (0.625, 0.5, 0.125, True),
        (None, 0.5, None, False),
        (0.5, None, None, False),
    ],
)
@pytest.mark.parametrize("metric", ["accuracy", "rmse"])
def test_a_gap_as_large_as_the_limit_is_overfitting_in_either_direction(
    metric: str, test: float | None, cross_validated: float | None, gap: float | None, passed: bool
) -> None:
    outcome = judged("overfitting", metric, 0.25, test, cross_validated)

    assert (outcome.actual, outcome.passed) == (gap, passed)


@given(METRICS, NUMBERS, NUMBERS, NUMBERS)
def test_a_model_that_is_no_worse_passes_the_minimum_that_a_worse_one_passed(
    metric: str, one: float, other: float, limit: float
) -> None:
    worse, better = sorted((one, other), reverse=not HIGHER_IS_BETTER[metric])

    assert judged("minimum", metric, limit, better).passed >= judged("minimum", metric, limit, worse).passed


@pytest.mark.parametrize("rule", ["minimum", "overfitting"])
def test_what_is_not_a_number_passes_no_rule(rule: str) -> None:
    assert not judged(rule, "roc_auc", 0.0, math.nan, 0.5).passed
    assert not judged(rule, "log_loss", 1e9, math.nan, math.nan).passed


def test_auto_is_the_headline_and_every_rule_is_judged_in_order() -> None:
    rules = {"overfitting": Rule("accuracy", 0.1), "minimum": Rule("auto", 0.75)}

    outcomes = gate.judge({"accuracy": 0.9, "f1": 0.7}, {"accuracy": 0.6, "f1": 0.7}, "f1", rules)

    assert [(outcome.rule, outcome.metric, outcome.passed) for outcome in outcomes] == [
        ("overfitting", "accuracy", False),
        ("minimum", "f1", False),
    ]


def test_a_metric_that_was_not_cross_validated_cannot_show_that_nothing_is_overfitted() -> None:
    (outcome,) = gate.judge({"f1": 0.9}, {}, "f1", {"overfitting": Rule("auto", 0.1)})

    assert not outcome.passed
    assert outcome.actual is None


def test_a_metric_that_there_is_not_is_named_with_the_rule_and_those_there_are() -> None:
    with pytest.raises(ParameterError, match=r"gate\.minimum asks for the metric acuracy, but there are accuracy, f1"):
        gate.judge({"accuracy": 0.9, "f1": 0.8}, {}, "accuracy", {"minimum": Rule("acuracy", 0.75)})


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (judged("minimum", "f1", 0.75, 0.7499), "minimum: test f1 is 0.7499, expected ≥ 0.75"),
        (judged("minimum", "rmse", 3, None), "minimum: test rmse is undefined, expected ≤ 3"),
        (
            judged("overfitting", "f1", 0.1, 0.5, 0.75),
            "overfitting: |test − cross-validated| f1 is 0.2500, expected < 0.1",
        ),
    ],
)
def test_an_outcome_reads_as_a_sentence(outcome: gate.Outcome, sentence: str) -> None:
    assert outcome.sentence() == sentence
