"""Whether to train again: rules that are data in params.yaml, each with its reason. Pure: no disk, clock or network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mlops.base.errors import ParameterError, counted, nearest
from mlops.base.params import Retrain
from mlops.monitoring.estimated import LEAST_ROWS

FORCED = "forced"


@dataclass(frozen=True)
class Facts:
    """What the rules are about.

    `report` is that of the stage `monitor` (reports/drift.json). `trained_rows` are the rows behind the model in use,
    `new_rows` the labelled rows that are in no training data yet, `unlabelled_rows` the rows of the delivery that
    cannot be trained on. `incomplete_rows` have a label, but not all columns that training
    needs, such as an id. `model_days` is the age of the model; None if there is none yet.
    """

    report: Mapping[str, Any]
    trained_rows: int
    new_rows: int
    unlabelled_rows: int = 0
    incomplete_rows: int = 0
    model_days: float | None = None


@dataclass(frozen=True)
class Reason:
    """One rule: whether it asks for a new model, and why or why not, in a sentence."""

    rule: str
    holds: bool
    sentence: str


@dataclass(frozen=True)
class Decision:
    """The verdict: whether to train again, the reasons for and against, and what stands in the way ("" if nothing)."""

    retrain: bool
    reasons: tuple[Reason, ...] = field(default_factory=tuple)
    obstacle: str = ""

    @property
    def wanted(self) -> tuple[Reason, ...]:
        """The reasons for a new model."""
        return tuple(reason for reason in self.reasons if reason.holds)

    @property
    def trigger(self) -> str:
        """The rules that ask for a new model, by name."""
        return ", ".join(reason.rule for reason in self.wanted)

    def sentences(self) -> list[str]:
        """The verdict first, then every reason."""
        verdict = f"retrain: {self.trigger}" if self.retrain else f"no retraining: {self.obstacle or 'no reason holds'}"
        return [verdict, *(f"{'+' if each.holds else '-'} {each.rule}: {each.sentence}" for each in self.reasons)]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "reasons": [asdict(each) for each in self.reasons], "trigger": self.trigger}


def decide(facts: Facts, settings: Retrain, *, force: bool = False) -> Decision:
    """Judge by every rule, and say what stands in the way of a new model.

    The pipeline gives the same model for the same data and parameters. So without a new labelled row nothing is trained
    again, whatever the rules say, unless it is forced (a search may find other parameters).

    Raises:
        ParameterError: `retrain.metric` is no metric of the report.
    """
    reasons = [
        _drift(facts, settings),
        _performance(facts, settings),
        _age(facts, settings),
        _new_rows(facts, settings),
    ]
    if force:
        reasons.append(Reason(FORCED, True, "somebody asked for it (--force)"))
    decision = Decision(any(reason.holds for reason in reasons), tuple(reasons))
    if decision.retrain and not facts.new_rows and not force:
        return Decision(False, decision.reasons, f"{decision.trigger}, but {_nothing_new(facts)}")
    return decision


def _nothing_new(facts: Facts) -> str:
    if facts.incomplete_rows:
        return f"no labelled row can be trained on: {_incomplete(facts)}"
    if facts.unlabelled_rows:
        return (
            f"none of the {counted(facts.unlabelled_rows, 'row')} of the delivery has a label yet: they cannot be "
            "trained on before the labels come"
        )
    return "there is no new labelled row: the same data and parameters give the same model"


def _incomplete(facts: Facts) -> str:
    return (
        f"{counted(facts.incomplete_rows, 'labelled row')} of the prediction log lack what training needs besides the "
        "features, such as the id: send it with the rows to be predicted"
    )


def _drift(facts: Facts, settings: Retrain) -> Reason:
    verdict, recommended = facts.report.get("verdict", "no report"), facts.report.get("retraining") or {}
    if settings.drift == "off":
        return Reason("drift", False, f"the rule is off; monitor says: {verdict}")
    if facts.report.get("delivery") is None:
        return Reason("drift", False, "there is no delivery to compare with")
    if recommended.get("recommended"):
        why = "; ".join(recommended.get("reasons") or [verdict])
        return Reason("drift", True, f"monitor recommends retraining: {why}")
    if settings.drift == "alarm" and facts.report.get("alarm"):
        return Reason("drift", True, f"monitor gives the alarm: {verdict}")
    return Reason("drift", False, f"monitor does not recommend it: {verdict}")


def _performance(facts: Facts, settings: Retrain) -> Reason:
    """Measured where there are labels; estimated where there are none and the estimate is to be trusted."""
    if settings.minimum is None:
        return Reason("performance", False, "no limit is set (retrain.minimum)")
    measured = (facts.report.get("predictions") or {}).get("metrics") or {}
    estimated = (facts.report.get("estimated") or {}) if not measured else {}
    known = measured or estimated.get("metrics") or {}
    if not known:
        return Reason("performance", False, "no row of the delivery has a label, so nothing is known of it")
    metric = settings.metric if settings.metric != "auto" else "accuracy" if "accuracy" in known else "r2"
    if metric not in known:
        if settings.metric != "auto" and measured:
            raise ParameterError(f"params.yaml: retrain.metric is {metric}: {nearest(metric, list(known))}")
        return Reason("performance", False, f"{metric} is not known without labels")
    if measured:
        value, low, name = measured[metric], measured[metric], metric
    else:
        if not estimated.get("trusted"):
            why = estimated.get("why_not") or "the rows are unlike the training data"
            return Reason("performance", False, f"{metric} is only estimated, and not to be trusted: {why}")
        # The estimate is an interval: all of it has to be too bad.
        value, low, name = known[metric]["value"], known[metric]["high"], f"estimated {metric}"
    if value is None or low is None:
        return Reason("performance", False, f"{metric} is not defined for this delivery")
    worse = _is_worse(metric, low, settings.minimum)
    if worse and measured and (doubt := _doubt(facts.report["predictions"])):
        return Reason("performance", False, f"{name} is {value:.4g}, but {doubt}")
    side = ("below" if _higher(metric) else "above") if worse else "within"
    return Reason("performance", worse, f"{name} is {value:.4g}, {side} the limit {settings.minimum:.4g}")


def _doubt(predictions: Mapping[str, Any]) -> str:
    """Why the labels of a delivery say nothing of the model, as `monitor` judges them; empty if they do."""
    rows = (predictions.get("labelled") or {}).get("rows")
    if rows is not None and rows < LEAST_ROWS:
        return f"{counted(rows, 'label')} cannot say that, {LEAST_ROWS} can"
    return "the labels came mostly for one class" if predictions.get("labels_one_sided") else ""


def _higher(metric: str) -> bool:
    from mlops.training.metrics import HIGHER_IS_BETTER

    return HIGHER_IS_BETTER.get(metric, True)


def _is_worse(metric: str, value: float, limit: float) -> bool:
    return value < limit if _higher(metric) else value > limit


def _age(facts: Facts, settings: Retrain) -> Reason:
    if facts.model_days is None:
        return Reason("age", False, "there is no model of a known age")
    old = f"the model is {facts.model_days:.1f} days old"
    if settings.oldest_days is None:
        return Reason("age", False, f"{old}, and no limit is set (retrain.oldest_days)")
    holds = facts.model_days > settings.oldest_days
    return Reason("age", holds, f"{old}, {'more' if holds else 'no more'} than {settings.oldest_days:g}")


def _new_rows(facts: Facts, settings: Retrain) -> Reason:
    share = facts.new_rows / facts.trained_rows if facts.trained_rows else float(facts.new_rows > 0)
    new = f"{counted(facts.new_rows, 'new labelled row')}, {share:.1%} of the {facts.trained_rows:,} in use"
    new += f" ({_incomplete(facts)})" if facts.incomplete_rows else ""
    if settings.new_rows is None:
        return Reason("new rows", False, f"{new}, and no limit is set (retrain.new_rows)")
    holds = facts.new_rows > 0 and share >= settings.new_rows
    return Reason("new rows", holds, f"{new}, {'at least' if holds else 'less than'} {settings.new_rows:.1%}")
