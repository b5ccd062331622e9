"""The gate: which rules a model has to meet before it becomes a version, and how it did."""

from dataclasses import dataclass
from typing import Protocol

from ml.errors import ParameterError
from ml.metrics import HIGHER_IS_BETTER


class Limit(Protocol):
    """What a rule is given: a metric by name (`auto`: the headline) and a limit in that metric's unit."""

    @property
    def metric(self) -> str:
        """Its name."""

    @property
    def limit(self) -> float:
        """The limit."""


@dataclass(frozen=True)
class Outcome:
    """One rule: what was measured, on which side of `limit` it has to be, and where it is (None: undefined)."""

    rule: str
    metric: str
    measured: str
    comparison: str
    limit: float
    actual: float | None
    passed: bool

    def sentence(self) -> str:
        """The rule and how it came out, for a person."""
        found = "undefined" if self.actual is None else f"{self.actual:.4f}"
        return f"{self.rule}: {self.measured} is {found}, expected {self.comparison} {self.limit:g}"


def judge(
    test: dict[str, float | None], cross_validated: dict[str, float | None], headline: str, rules: dict[str, Limit]
) -> list[Outcome]:
    """Apply every rule to the metrics of the test split and their cross-validated means.

    A metric `auto` is the `headline`. A metric that is undefined (None) passes no rule.

    Raises:
        ParameterError: a rule asks for a metric that there is not.
    """
    outcomes = []
    for rule, limit in rules.items():
        metric = headline if limit.metric == "auto" else limit.metric
        if metric not in test:
            raise ParameterError(
                f"register.gate.{rule} asks for the metric {metric}, but there are {', '.join(test)}: choose one"
            )
        outcomes.append(_RULES[rule](test[metric], cross_validated.get(metric), metric, limit.limit))
    return outcomes


def _minimum(test: float | None, cross_validated: float | None, metric: str, limit: float) -> Outcome:
    """At least the limit on the test split; at most, where less is better."""
    higher = HIGHER_IS_BETTER[metric]
    passed = test is not None and (test >= limit if higher else test <= limit)
    return Outcome("minimum", metric, f"test {metric}", "≥" if higher else "≤", limit, test, passed)


def _overfitting(test: float | None, cross_validated: float | None, metric: str, limit: float) -> Outcome:
    """Less than the limit away from the cross-validated mean."""
    gap = None if test is None or cross_validated is None else abs(test - cross_validated)
    passed = gap is not None and gap < limit
    return Outcome("overfitting", metric, f"|test − cross-validated| {metric}", "<", limit, gap, passed)


_RULES = {"minimum": _minimum, "overfitting": _overfitting}
