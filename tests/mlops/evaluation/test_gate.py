"""Which models pass: at the limit, past it, and where there is nothing to compare."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops.base import params
from mlops.base.errors import ParameterError
from mlops.base.params import Rule
from mlops.evaluation import gate
from mlops.training.metrics import HIGHER_IS_BETTER

METRICS = st.sampled_from(sorted(HIGHER_IS_BETTER))
NUMBERS = st.floats(-1e6, 1e6)


def rule_of(measure: str, metric: str, direction: str, limit: float) -> Rule:
    return Rule(measure=measure, metric=metric, direction=direction, limit=limit)  # type: ignore[arg-type]


def better(metric: str) -> str:
    return "at_least" if HIGHER_IS_BETTER[metric] else "at_most"


def judged(rule: Rule, evidence: gate.Evidence, headline: str = "accuracy") -> gate.RuleResult:
    (result,) = gate.judge(evidence, headline, {"rule": rule})
    return result


def on_test(metric: str, limit: float, test: float | None) -> gate.RuleResult:
    return judged(rule_of("test", metric, better(metric), limit), gate.Evidence({metric: test}, {}))


def overfitted(metric: str, limit: float, test: float | None, mean: float | None) -> gate.RuleResult:
    return judged(rule_of("overfitting", metric, "below", limit), gate.Evidence({metric: test}, {metric: mean}))


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
def test_the_limit_is_the_last_value_that_passes(metric: str, test: float | None, passed: bool) -> None:
    assert on_test(metric, 0.75, test).passed is passed


@pytest.mark.parametrize(
    ("test", "mean", "gap", "passed"),
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
    metric: str, test: float | None, mean: float | None, gap: float | None, passed: bool
) -> None:
    result = overfitted(metric, 0.25, test, mean)

    assert (result.actual, result.passed) == (gap, passed)


@given(METRICS, NUMBERS, NUMBERS, NUMBERS)
def test_a_model_that_is_no_worse_passes_what_a_worse_one_passed(
    metric: str, one: float, other: float, limit: float
) -> None:
    worse, best = sorted((one, other), reverse=not HIGHER_IS_BETTER[metric])

    assert on_test(metric, limit, best).passed >= on_test(metric, limit, worse).passed


def test_what_is_not_a_number_passes_no_rule() -> None:
    assert not on_test("roc_auc", 0.0, math.nan).passed
    assert not overfitted("log_loss", 1e9, math.nan, math.nan).passed


@pytest.mark.parametrize(
    ("low", "passed"), [(-0.01, True), (-0.02, True), (-0.03, False), (0.5, True), (math.nan, False)]
)
def test_a_model_may_be_worse_than_the_one_in_production_by_the_margin_in_the_worst_case(
    low: float, passed: bool
) -> None:
    rule = rule_of("gain", "auto", "at_least", -0.02)

    result = judged(rule, gate.Evidence({"accuracy": 0.8}, {}, gain={"accuracy": gate.Gain(0.6, low, 12)}))

    assert (result.actual, result.passed) == (None if math.isnan(low) else low, passed)
    assert (
        "lower end of the gain in accuracy over the version in production (+0.6000 on 12 shared rows)"
        in result.sentence()
    )


@pytest.mark.parametrize(("low", "passed"), [(0.01, True), (0.0, False), (-0.01, False), (math.nan, False)])
def test_skill_is_a_gain_that_is_left_in_the_worst_case(low: float, passed: bool) -> None:
    evidence = gate.Evidence({"accuracy": 0.957}, {}, skill={"log_loss": gate.Gain(0.02, low, 12)})

    result = judged(params.SKILL, evidence)

    assert (result.metric, result.passed) == ("log_loss", passed)
    assert (
        "not better than the shares of the classes by more than luck: lower end of the gain" in result.sentence()
    ) is not passed
    assert "over the best constant prediction (+0.0200 on 12 test rows)" in result.sentence()
    with pytest.raises(ParameterError, match="asks for the metric accuracy, but there are log_loss: choose one"):
        judged(rule_of("skill", "accuracy", "above", 0), evidence)


@pytest.mark.parametrize("calibration", [None, {"method": "sigmoid"}])
@pytest.mark.parametrize("low", [0.51, 0.5, None])
def test_a_model_that_ranks_well_and_fails_is_told_to_calibrate(low: float | None, calibration: Any) -> None:
    reports = {
        "training": {"cross_validated": {}, "decision": {"calibration": calibration}},
        "evaluation": {"intervals": {"roc_auc": [low, 0.9]}},
        "fairness": {"gaps": {}},
        "validation": {},
        "metrics": {},
    }

    result = judged(params.SKILL, gate.evidence(reports, [], {"log_loss": gate.Gain(-0.1, -0.2, 12)}, 1))

    advised = low == 0.51 and calibration is None
    assert (
        "ranks better than chance (set train.calibrate to sigmoid): lower end of the gain" in result.sentence()
    ) is advised


GROUPS = [
    {"column": "sex", "level": "f", "rows": 100, "accuracy": 0.8, "rmse": 2.0},
    {"column": "sex", "level": "m", "rows": 50, "accuracy": 0.7, "rmse": 3.0},
    {"column": "age", "level": "old", "rows": 5, "accuracy": 0.1, "rmse": 9.0},
    {"column": "age", "level": "young", "rows": 60, "accuracy": math.nan, "rmse": math.nan},
]


@pytest.mark.parametrize(("metric", "worst"), [("accuracy", 0.7), ("rmse", 3.0)])
def test_the_worst_group_is_judged_unless_it_is_too_small(metric: str, worst: float) -> None:
    rule = rule_of("worst_group", metric, better(metric), worst)

    result = judged(rule, gate.Evidence({metric: 1.0}, {}, groups=GROUPS, smallest_group=50))

    assert (result.actual, result.passed) == (worst, True)
    assert "sex = m" in result.sentence()


@pytest.mark.parametrize(("metric", "gap", "passed"), [("auto", 0.2, True), ("demographic_parity", 0.4, False)])
def test_gaps_between_groups_are_judged_by_name(metric: str, gap: float, passed: bool) -> None:
    gaps = {"equalised_odds": 0.2, "demographic_parity": 0.4}

    result = judged(rule_of("fairness", metric, "at_most", 0.3), gate.Evidence({}, {}, fairness=gaps))

    assert (result.actual, result.passed) == (gap, passed)


@pytest.mark.parametrize(("metric", "passed"), [("auto", True), ("warnings", False)])
def test_the_data_is_clean_by_its_errors_or_also_its_warnings(metric: str, passed: bool) -> None:
    evidence = gate.Evidence({}, {}, validation={"errors": 0, "warnings": 2})

    assert judged(rule_of("validation", metric, "at_most", 0), evidence).passed is passed


def behaved(*passed: bool | None) -> dict[str, Any]:
    """The report of behaviour tests that came out so."""
    tests = [{"name": f"test {number}", "passed": verdict} for number, verdict in enumerate(passed)]
    counts = {"failed": passed.count(False), "not_judged": passed.count(None)}
    return {"tests": tests, "note": None, **counts}


@pytest.mark.parametrize(
    ("metric", "verdicts", "actual", "words"),
    [
        ("auto", (True, True), 0, "failed behaviour tests is 0"),
        ("auto", (True, None), 0, "failed behaviour tests is 0"),
        ("failed", (False, True, False), 2, "failed behaviour tests (test 0, test 2) is 2"),
        ("not_judged", (True, None), 1, "not judged behaviour tests (test 1) is 1"),
    ],
)
def test_a_model_passes_that_fails_no_behaviour_test(metric: str, verdicts: Any, actual: int, words: str) -> None:
    result = judged(rule_of("behaviour", metric, "at_most", 0), gate.Evidence({}, {}, behaviour=behaved(*verdicts)))

    assert (result.actual, result.passed) == (actual, actual == 0)
    assert words in result.sentence()


def test_a_rule_about_behaviour_has_two_metrics() -> None:
    with pytest.raises(ParameterError, match="asks for the metric fialed, but there are failed, not_judged"):
        judged(rule_of("behaviour", "fialed", "at_most", 0), gate.Evidence({}, {}, behaviour=behaved(True)))


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"tests": [], "note": "behaviour.yaml declares none"}, "no behaviour tests: behaviour.yaml declares none"),
        (None, "no behaviour tests: the stage register is given no report of them"),
    ],
)
def test_without_behaviour_tests_the_rule_does_not_apply_and_says_why(report: Any, words: str) -> None:
    reports = {"training": {"cross_validated": {}}, "evaluation": {"intervals": {}}, "fairness": {"gaps": {}}}
    reports |= {"metrics": {}, "validation": {}, "behaviour": report}

    result = judged(rule_of("behaviour", "auto", "at_most", 0), gate.evidence(reports, [], {}, 1))

    assert result.passed
    assert words in result.sentence()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (rule_of("gain", "auto", "at_least", 0.0), "no version in production"),
        (rule_of("worst_group", "auto", "at_least", 0.9), "no group is large enough"),
        (rule_of("fairness", "auto", "at_most", 0.1), "no groups to compare"),
    ],
)
def test_a_rule_that_does_not_apply_passes_and_says_why(rule: Rule, words: str) -> None:
    result = judged(rule, gate.Evidence({"accuracy": 0.5}, {}))

    assert result.passed
    assert words in result.sentence()


def test_auto_is_the_headline_and_every_rule_is_judged_in_order() -> None:
    rules = {"gap": rule_of("overfitting", "accuracy", "below", 0.1), "low": rule_of("test", "auto", "at_least", 0.75)}
    evidence = gate.Evidence({"accuracy": 0.9, "f1": 0.7}, {"accuracy": 0.6, "f1": 0.7})

    results = gate.judge(evidence, "f1", rules)

    assert [(one.rule, one.metric, one.passed) for one in results] == [
        ("gap", "accuracy", False),
        ("low", "f1", False),
    ]


@pytest.mark.parametrize("measure", ["test", "overfitting", "gain", "worst_group"])
def test_a_metric_that_there_is_not_is_named_with_the_rule_and_those_there_are(measure: str) -> None:
    rule = rule_of(measure, "acuracy", "at_least", 0.75)

    with pytest.raises(ParameterError, match=r"gate\.rule asks for the metric acuracy, but there are accuracy, f1"):
        judged(rule, gate.Evidence({"accuracy": 0.9, "f1": 0.8}, {}, gain={"accuracy": gate.Gain(0.1, 0.1, 9)}))


@pytest.mark.parametrize(
    ("metric", "direction", "words"),
    [("rmse", "at_least", "less is better: write `direction: at_most` there"), ("f1", "at_most", "more is better")],
)
def test_a_rule_on_the_wrong_side_of_a_metric_is_refused(metric: str, direction: str, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        judged(rule_of("test", metric, direction, 1.0), gate.Evidence({metric: 0.5}, {}))


def test_all_rules_on_the_wrong_side_are_named_at_once() -> None:
    rules = {name: rule_of(name, "auto", "at_least", 0.6) for name in ("test", "worst_group")}

    with pytest.raises(
        ParameterError, match=r"gate\.test asks for rmse ≥ 0\.6, .*; register\.gate\.worst_group asks for rmse"
    ):
        gate.judge(gate.Evidence({"rmse": 0.5}, {}), "rmse", rules)


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (on_test("f1", 0.75, 0.7499), "rule: test f1 is 0.7499, expected ≥ 0.75"),
        (on_test("rmse", 3, None), "rule: test rmse is undefined, expected ≤ 3"),
        (overfitted("f1", 0.1, 0.5, 0.75), "rule: |test − cross-validated| f1 is 0.2500, expected < 0.1"),
    ],
)
def test_a_result_reads_as_a_sentence(result: gate.RuleResult, sentence: str) -> None:
    assert result.sentence() == sentence


@pytest.mark.parametrize(
    ("test", "mode", "why"),
    [
        (0.7, "enforce", "the gate failed (rule)"),
        (0.7, "dry_run", "the gate failed (rule)"),
        (0.8, "dry_run", "register.mode is dry_run"),
        (0.8, "enforce", "experiments register none"),
    ],
)
def test_a_model_that_becomes_no_version_has_a_reason(test: float, mode: str, why: str) -> None:
    assert gate.why_no_version([on_test("f1", 0.75, test)], mode) == why
