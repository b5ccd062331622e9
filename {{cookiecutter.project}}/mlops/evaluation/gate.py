"""The gate: the rules that a model must meet before it becomes a registered version, and the result of each rule."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from mlops.base.errors import ParameterError
from mlops.base.params import Rule
from mlops.training.metrics import HIGHER_IS_BETTER

COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "at_least": ("≥", operator.ge),
    "at_most": ("≤", operator.le),
    "below": ("<", operator.lt),
    "above": (">", operator.gt),
}
# For these measures the metric decides whether more or less is better.
BY_METRIC = {"test", "worst_group"}
DEFAULT_METRICS = {"fairness": "equalised_odds", "validation": "errors", "behaviour": "failed"}
Measured = tuple[str, float | None, str | None]  # description, value, why the rule does not apply


class Gain(NamedTuple):
    """The improvement of a metric on `rows` test rows over other predictions, and the low end of its interval."""

    value: float
    low: float
    rows: int


@dataclass(frozen=True)
class Evidence:
    """The measurements of one model that rules are applied to: values by metric, None where undefined.

    `test` and `cross_validated` hold its metrics, and `groups` a row per group of a sensitive column (`column`,
    `level`, `rows` and the metrics, NaN where undefined); groups of fewer than `smallest_group` rows are not judged.
    `fairness` holds the gaps between groups, and `validation` the number of failed checks per severity. `skill` has the
    improvement over the best constant prediction in one metric, and `gain` the improvement of each metric over
    the champion (None: there is no champion). `behaviour` is the report of `behaviour.run`, empty where an older
    pipeline has none. `uncalibrated`: of two classes the model ranks the rows clearly better than chance (ROC AUC), and
    its probabilities are those of its estimator.
    """

    test: Mapping[str, float | None]
    cross_validated: Mapping[str, float | None]
    groups: Sequence[Mapping[Any, Any]] = ()
    smallest_group: int = 1
    fairness: Mapping[str, float | None] = field(default_factory=dict)
    validation: Mapping[str, int] = field(default_factory=dict)
    skill: Mapping[str, Gain] = field(default_factory=dict)
    gain: Mapping[str, Gain] | None = None
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    uncalibrated: bool = False

    def with_gain(self, gain: Mapping[str, Gain] | None) -> "Evidence":
        """The same evidence with the improvement over the champion."""
        return replace(self, gain=gain)


@dataclass(frozen=True)
class RuleResult:
    """The result of one rule: the measured value, the limit, and whether the rule holds.

    `actual` is None where the value is undefined: then the rule fails. A rule that does not apply passes, and `note`
    says why.
    """

    rule: str
    metric: str
    measured: str
    comparison: str
    limit: float
    actual: float | None
    passed: bool
    note: str | None = None

    def sentence(self) -> str:
        """The rule and its result, for a person."""
        if self.note:
            return f"{self.rule}: {self.note}"
        value = "undefined" if self.actual is None else f"{self.actual:.4f}"
        return f"{self.rule}: {self.measured} is {value}, expected {self.comparison} {self.limit:g}"


def evidence(
    reports: Mapping[str, Any], groups: Sequence[Mapping[Any, Any]], skill: Mapping[str, Gain], smallest_group: int
) -> Evidence:
    """Collect the evidence: the reports by name, metrics per group, the skill."""
    means = {name: spread["mean"] for name, spread in reports["training"]["cross_validated"].items()}
    gaps, validation = reports["fairness"]["gaps"], reports["validation"]
    decided, (roc_auc, _) = (
        reports["training"].get("decision"),
        reports["evaluation"]["intervals"].get("roc_auc", (0, 0)),
    )
    uncalibrated = decided is not None and decided["calibration"] is None and (roc_auc or 0) > 0.5
    return Evidence(
        *(reports["metrics"], means, groups, smallest_group, gaps, validation, skill),
        behaviour=reports.get("behaviour") or {},
        uncalibrated=uncalibrated,
    )


def verdict(name: str, results: Sequence[RuleResult]) -> dict[str, Any]:
    """The verdict on the model `name` as plain values: whether every rule holds, and the result of each."""
    return {"name": name, "passed": passed(results), "rules": [asdict(result) for result in results]}


def passed(results: Sequence[RuleResult]) -> bool:
    """Whether every rule holds."""
    return all(result.passed for result in results)


def why_no_version(results: Sequence[RuleResult], mode: str) -> str:
    """The reason why a model that was judged so becomes no version; if there is no other one, it is an experiment."""
    if failed := [result.rule for result in results if not result.passed]:
        return f"the gate failed ({', '.join(failed)})"
    return "register.mode is dry_run" if mode == "dry_run" else "experiments register none"


def model_rules(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules whose result depends on the model alone, so that it is the same wherever the model is judged."""
    return {name: rule for name, rule in rules.items() if rule.measure != "gain"}


def champion_rules(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules that compare the model with the version that is in production at the moment."""
    return {name: rule for name, rule in rules.items() if rule.measure == "gain"}


def judge(evidence: Evidence, headline: str, rules: Mapping[str, Rule]) -> list[RuleResult]:
    """Apply every rule. The metric `auto` means `headline`; for fairness equalised odds; for validation errors.

    For behaviour it is the number of failed tests, and for skill the metric that `baseline.skill` chooses.

    Raises:
        ParameterError: a rule names a metric that does not exist, or limits a metric in the wrong direction.
    """
    metrics = {name: _metric(rule, evidence, headline) for name, rule in rules.items()}
    if wrong := [words for name, rule in rules.items() if (words := _wrong_way(name, rule, metrics[name]))]:
        raise ParameterError("; ".join(wrong))
    return [_apply(name, rule, metrics[name], evidence) for name, rule in rules.items()]


def _metric(rule: Rule, evidence: Evidence, headline: str) -> str:
    defaults = {**DEFAULT_METRICS, "skill": next(iter(evidence.skill), headline)}
    return defaults.get(rule.measure, headline) if rule.metric == "auto" else rule.metric


def _wrong_way(name: str, rule: Rule, metric: str) -> str:
    """What is wrong with a rule that limits its metric on the side on which it is good; "" if nothing is."""
    higher = HIGHER_IS_BETTER.get(metric)
    if rule.measure not in BY_METRIC or higher is None or higher == (rule.direction == "at_least"):
        return ""
    return (
        f"register.gate.{name} asks for {metric} {COMPARISONS[rule.direction][0]} {rule.limit:g}, but of {metric} "
        f"{'more' if higher else 'less'} is better: write `direction: {'at_least' if higher else 'at_most'}` there, "
        "and a limit in its unit"
    )


def _apply(name: str, rule: Rule, metric: str, evidence: Evidence) -> RuleResult:
    sign, holds = COMPARISONS[rule.direction]
    description, actual, note = _measure(name, rule.measure, metric, evidence)
    passed = note is not None or (actual is not None and holds(actual, rule.limit))
    if rule.measure == "skill" and not passed and not (actual or 0) > 0:
        description = f"{_no_skill(metric, evidence)}: {description}"
    return RuleResult(name, metric, description, sign, rule.limit, actual, passed, note)


def _no_skill(metric: str, evidence: Evidence) -> str:
    """What a model without skill lacks. One that ranks well needs other probabilities, not other features."""
    if metric != "log_loss":
        return f"its {'numbers' if metric == 'rmse' else 'labels'} are not better than chance by more than luck"
    if evidence.skill[metric].value > 0:
        return "its probabilities are not better than the shares of the classes by more than luck"
    advice = ", though it ranks better than chance (set train.calibrate to sigmoid)" if evidence.uncalibrated else ""
    return f"its probabilities are no better than the shares of the classes{advice}"


def _measure(rule: str, measure: str, metric: str, evidence: Evidence) -> Measured:
    if measure == "fairness" and all(gap is None for gap in evidence.fairness.values()):
        return f"largest gap in {metric}", None, "no groups to compare"
    if measure == "behaviour" and not evidence.behaviour.get("tests"):
        why = evidence.behaviour.get("note", "the stage register is given no report of them")
        return "failed behaviour tests", None, f"no behaviour tests: {why}"
    others: dict[str, Mapping[str, Any]] = {
        "behaviour": {name: evidence.behaviour.get(name) for name in ("failed", "not_judged")},
        "fairness": evidence.fairness,
        "validation": evidence.validation,
        "skill": evidence.skill,
    }
    values = others.get(measure, evidence.test)
    if metric not in values:
        raise ParameterError(
            f"register.gate.{rule} asks for the metric {metric}, but there are {', '.join(values)}: choose one"
        )
    if measure == "overfitting":
        test, mean = values[metric], evidence.cross_validated.get(metric)
        gap = None if test is None or mean is None else abs(test - mean)
        return f"|test − cross-validated| {metric}", gap, None
    if measure == "skill":
        return _at_the_least(f"gain in {metric} over the best constant prediction", evidence.skill[metric])
    if measure == "gain":
        if evidence.gain is None:
            return f"gain in {metric}", None, "no version in production to compare with"
        if metric not in evidence.gain:
            return f"gain in {metric} over the version in production", None, None
        return _at_the_least(f"gain in {metric} over the version in production", evidence.gain[metric], "shared")
    if measure == "behaviour":
        return _behaviour(metric, evidence)
    if measure == "worst_group":
        return _worst_group(metric, evidence)
    descriptions = {"fairness": f"largest gap in {metric}", "validation": f"failed checks ({metric})"}
    return descriptions.get(measure, f"test {metric}"), values[metric], None


def _at_the_least(what: str, gain: Gain, which: str = "test") -> Measured:
    """A gain on a few rows can be luck, so the rule is about what is left of it in the worst case."""
    value, low, rows = gain
    return f"lower end of the {what} ({value:+.4f} on {rows} {which} rows)", None if math.isnan(low) else low, None


def _behaviour(metric: str, evidence: Evidence) -> Measured:
    wanted = False if metric == "failed" else None
    names = [test["name"] for test in evidence.behaviour["tests"] if test["passed"] is wanted]
    named = f" ({', '.join(names[:3])}{' …' if len(names) > 3 else ''})" if names else ""
    return f"{metric.replace('_', ' ')} behaviour tests{named}", evidence.behaviour[metric], None


def _worst_group(metric: str, evidence: Evidence) -> Measured:
    large = [group for group in evidence.groups if group["rows"] >= evidence.smallest_group]
    if not large:
        return f"worst {metric} of a group", None, "no group is large enough to judge"
    defined = [group for group in large if not math.isnan(group[metric])]
    if not defined:
        return f"worst {metric} of a group", None, None
    worst = (min if HIGHER_IS_BETTER[metric] else max)(defined, key=lambda group: group[metric])
    return f"worst {metric} of a group ({worst['column']} = {worst['level']})", worst[metric], None
