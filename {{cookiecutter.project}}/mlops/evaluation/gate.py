"""The gate: which rules a model has to meet before it becomes a version, and how it did."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from mlops.base.errors import ParameterError
from mlops.training.metrics import HIGHER_IS_BETTER

COMPARISONS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "at_least": ("≥", lambda actual, limit: actual >= limit),
    "at_most": ("≤", lambda actual, limit: actual <= limit),
    "below": ("<", lambda actual, limit: actual < limit),
}
# Of these, more is better or worse as the metric has it; of the others, less is always better, but for a gain.
BY_METRIC = {"test", "worst_group"}


class Rule(Protocol):
    """What a rule asks for: a metric of a measure by name (`auto`: the headline), on this side of the limit."""

    @property
    def measure(self) -> str:
        """What is looked at: test, overfitting, gain, worst_group, fairness or validation."""

    @property
    def metric(self) -> str:
        """Its name."""

    @property
    def direction(self) -> str:
        """On which side of the limit it has to be: at_least, at_most or below."""

    @property
    def limit(self) -> float:
        """The limit."""


@dataclass(frozen=True)
class Evidence:
    """What is known of a model; metrics are by name, None where undefined.

    `test` and `cross_validated` are its metrics; `groups` those of each group of a sensitive column (`column`, `level`,
    `rows` and the metrics, NaN where undefined), of which the ones below `smallest_group` rows are not judged;
    `fairness` the gaps between groups; `validation` counts of failed checks by severity; `gain` by what it is better
    than the version in production on the same test rows, None where there is none.
    """

    test: Mapping[str, float | None]
    cross_validated: Mapping[str, float | None]
    groups: Sequence[Mapping[Any, Any]] = ()
    smallest_group: int = 1
    fairness: Mapping[str, float | None] = field(default_factory=dict)
    validation: Mapping[str, int] = field(default_factory=dict)
    gain: Mapping[str, float | None] | None = None

    def with_gain(self, gain: Mapping[str, float | None] | None) -> "Evidence":
        """The same, and how it does against the version in production."""
        return replace(self, gain=gain)


@dataclass(frozen=True)
class Outcome:
    """One rule: what was measured, on which side of `limit` it has to be, and where it is.

    `actual` is None where it is undefined, which passes no rule; a rule that does not apply passes: see `note`.
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
        """The rule and how it came out, for a person."""
        if self.note:
            return f"{self.rule}: {self.note}"
        found = "undefined" if self.actual is None else f"{self.actual:.4f}"
        return f"{self.rule}: {self.measured} is {found}, expected {self.comparison} {self.limit:g}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def evidence(found: Mapping[str, Any], groups: Sequence[Mapping[Any, Any]], smallest_group: int) -> Evidence:
    """What the reports of the other stages (training, metrics, validation, fairness) and `groups` say of a model."""
    means = {name: spread["mean"] for name, spread in found["training"]["cross_validated"].items()}
    return Evidence(found["metrics"], means, groups, smallest_group, found["fairness"]["gaps"], found["validation"])


def verdict(name: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """How the model `name` did by all of these rules, as plain values."""
    return {"name": name, "passed": passed(outcomes), "rules": [outcome.as_dict() for outcome in outcomes]}


def passed(outcomes: Sequence[Outcome]) -> bool:
    """Whether every rule holds."""
    return all(outcome.passed for outcome in outcomes)


def model_rules(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules whose outcome depends on the model alone, and is the same wherever and whenever it is judged."""
    return {name: rule for name, rule in rules.items() if rule.measure != "gain"}


def champion_rules(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules that compare with what is in production just now."""
    return {name: rule for name, rule in rules.items() if rule.measure == "gain"}


def judge(evidence: Evidence, headline: str, rules: Mapping[str, Rule]) -> list[Outcome]:
    """Apply every rule. A metric `auto` is the `headline`; with fairness, equalised odds; with validation, errors.

    Raises:
        ParameterError: a rule asks for a metric that there is not, or for the wrong side of one.
    """
    return [_outcome(name, rule, evidence, headline) for name, rule in rules.items()]


def _outcome(name: str, rule: Rule, evidence: Evidence, headline: str) -> Outcome:
    default = {"fairness": "equalised_odds", "validation": "errors"}.get(rule.measure, headline)
    metric = default if rule.metric == "auto" else rule.metric
    sign, holds = COMPARISONS[rule.direction]
    if rule.measure in BY_METRIC and metric in HIGHER_IS_BETTER:
        higher = HIGHER_IS_BETTER[metric]
        if higher != (rule.direction == "at_least"):
            raise ParameterError(
                f"register.gate.{name} asks for {metric} {sign} {rule.limit:g}, but of {metric} "
                f"{'more' if higher else 'less'} is better: its direction is {'at_least' if higher else 'at_most'}"
            )
    measured, actual, note = _measured(name, rule.measure, metric, evidence)
    passed = note is not None or (actual is not None and holds(actual, rule.limit))
    return Outcome(name, metric, measured, sign, rule.limit, actual, passed, note)


def _measured(name: str, measure: str, metric: str, evidence: Evidence) -> tuple[str, float | None, str | None]:
    """What a rule looks at: its words, its value, and why it does not apply, if so."""
    if measure == "test":
        return f"test {metric}", _of(evidence.test, metric, name), None
    if measure == "overfitting":
        test, mean = _of(evidence.test, metric, name), evidence.cross_validated.get(metric)
        gap = None if test is None or mean is None else abs(test - mean)
        return f"|test − cross-validated| {metric}", gap, None
    if measure == "gain":
        _of(evidence.test, metric, name)
        if evidence.gain is None:
            return f"gain in {metric}", None, "no version in production to compare with"
        return f"gain in {metric} over the version in production", evidence.gain.get(metric), None
    if measure == "worst_group":
        _of(evidence.test, metric, name)
        judged = [group for group in evidence.groups if group["rows"] >= evidence.smallest_group]
        if not judged:
            return f"worst {metric} of a group", None, "no group is large enough to judge"
        known = [group for group in judged if not math.isnan(group[metric])]
        worst = (min if HIGHER_IS_BETTER[metric] else max)(known, key=lambda group: group[metric], default=None)
        where = f" ({worst['column']} = {worst['level']})" if worst else ""
        return f"worst {metric} of a group{where}", worst[metric] if worst else None, None
    if measure == "fairness":
        if not evidence.fairness or all(gap is None for gap in evidence.fairness.values()):
            return f"largest gap in {metric}", None, "no groups to compare"
        return f"largest gap in {metric}", _of(evidence.fairness, metric, name), None
    return f"failed checks ({metric})", _of(evidence.validation, metric, name), None


def _of(values: Mapping[str, float | None], metric: str, rule: str) -> float | None:
    if metric not in values:
        raise ParameterError(
            f"register.gate.{rule} asks for the metric {metric}, but there are {', '.join(values)}: choose one"
        )
    return values[metric]
