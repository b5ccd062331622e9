"""How an estimator's answer becomes a label of two classes: by calibration and a threshold, learnt on out-of-fold rows.

The test split has no part in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import DataError, ParameterError, nearest
from mlops.base.params import Costs, Train
from mlops.training import calibration, metrics
from mlops.training.metrics import HIGHER_IS_BETTER, Predictions, Values
from mlops.training.task import Label, Task

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.pipeline import Pipeline

AUTO = "f1_positive"
COST = "cost per row"
MOST_CANDIDATES = 1_000
DIGITS = 6  # of a threshold: few enough to be copied to params.yaml


@dataclass(frozen=True)
class Part:
    """The predictions on the n test rows of a fold, and its estimator's scores (n,) if they are to be calibrated."""

    predictions: Predictions
    scores: NDArray[np.float64] | None


@dataclass(frozen=True)
class Decision:
    """A calibrator and a threshold; None where probabilities or labels stay as the estimator gives them."""

    calibrator: "CalibratedClassifierCV | None"
    threshold: float | None

    def predict(self, part: Part) -> Predictions:
        """The predictions of an estimator with this decision."""
        found = _calibrated(part, self.calibrator)
        return found if self.threshold is None else found.at(self.threshold)

    def model(self, fitted: "Pipeline") -> "Pipeline":
        """A fitted model with this calibration; the threshold is a matter of its `FittedModel`."""
        return fitted if self.calibrator is None else calibration.calibrated(fitted, self.calibrator)


@dataclass(frozen=True)
class Decided:
    """The decision that all folds teach, the metrics of each fold by what the other folds teach, and a report."""

    decision: Decision
    folds: list[dict[str, float]]
    report: dict[str, Any] | None


def is_asked(settings: Train, estimator: "BaseEstimator", kind: Task, positive: Label | None) -> bool:
    """Whether `settings` want more than the estimator's own labels and probabilities.

    Raises:
        ParameterError: they want what this target, this estimator or this metric does not have.
    """
    own = {"threshold": 0.5, "calibrate": "none"}
    asked = [name for name in own if getattr(settings, name) != own[name]]
    if not asked:
        return False
    value = getattr(settings, asked[0])
    said = f"params.yaml: train.{asked[0]} is {value.model_dump() if isinstance(value, Costs) else value}"
    if positive is None:
        what = "has more than two classes" if kind == "classification" else "is a number"
        raise ParameterError(f"{said}, which is for a target of two classes, and this target {what}: remove it")
    if settings.calibrate == "none" and not hasattr(estimator, "predict_proba"):
        raise ParameterError(
            f"{said}, but {type(estimator).__name__} gives no probabilities: set train.calibrate to sigmoid, which "
            "makes some, or choose another train.model"
        )
    metric, known = goal(settings.threshold), metrics.of_two_labels()
    if isinstance(metric, str) and metric not in known:
        what = "does not depend on the labels" if metric in HIGHER_IS_BETTER else "is no metric"
        raise ParameterError(f"params.yaml: train.threshold is {metric}, which {what}: {nearest(metric, known)}")
    return True


def goal(asked: float | str | Costs) -> str | Costs | None:
    """What a threshold is chosen by: a metric or costs; None if it is given."""
    return AUTO if asked == "auto" else None if isinstance(asked, float) else asked


def goal_of(report: Mapping[str, Any]) -> str | Costs:
    """What the threshold in a report was chosen by; for one that was given, the metric that would choose it."""
    return Costs(**report["costs"]) if report["costs"] else report["chosen_by"] or AUTO


def title(by: str | Costs) -> str:
    """The name of a metric or of costs for people."""
    return COST if isinstance(by, Costs) else metrics.title(by)


def out_of_fold(model: "Pipeline", rows: pd.DataFrame, predictions: Predictions, settings: Train) -> Part:
    """What the model of a fold says of its n test rows."""
    calibrating = settings.calibrate != "none"
    return Part(predictions, calibration.scores(model, rows, settings.threads) if calibrating else None)


def decide(parts: Sequence[Part], settings: Train) -> Decided:
    """Learn the decision from the out-of-fold predictions, and judge it fold by fold.

    Each fold is judged by what the other folds teach, or it would look better than new rows.

    Raises:
        DataError: a class has too few rows in the folds.
    """
    decision = _learnt(parts, settings)
    by_others = [_learnt([*parts[:k], *parts[k + 1 :]], settings) for k in range(len(parts))]
    found = [other.predict(part) for other, part in zip(by_others, parts, strict=True)]
    before, after = metrics.joined([part.predictions for part in parts]), metrics.joined(found)
    chosen_by = goal(settings.threshold)
    is_positive = after.actual == after.positive
    report = {
        "threshold": 0.5 if decision.threshold is None else decision.threshold,
        "chosen_by": COST if isinstance(chosen_by, Costs) else chosen_by,
        "costs": chosen_by.model_dump() if isinstance(chosen_by, Costs) else None,
        "out_of_fold": {
            "rows": len(is_positive),
            "positive": int(is_positive.sum()),
            "by_other_folds": [other.threshold for other in by_others] if chosen_by else None,
            "value": value(after, chosen_by or AUTO),
            "value_at_half": value(after.at(0.5), chosen_by or AUTO),
        },
        "calibration": None
        if decision.calibrator is None
        else {"method": settings.calibrate, **of_probabilities(before, after)},
    }
    return Decided(decision, [metrics.score(one) for one in found], report)


def undecided(folds: list[dict[str, float]], fitted: "Pipeline", positive: Label | None) -> Decided:
    """The estimator decides by itself; there is a report if it gives probabilities of two classes."""
    report = {"threshold": 0.5, "chosen_by": None, "costs": None, "out_of_fold": None, "calibration": None}
    of_two = positive is not None and hasattr(fitted, "predict_proba")
    return Decided(Decision(None, None), folds, report if of_two else None)


def sentence(decided: Decided) -> str:
    """What the decision gains on out-of-fold rows, for the end of a line; empty where the estimator decides."""
    report, told = decided.report, ""
    if report and decided.decision.threshold is not None:
        found, name = report["out_of_fold"], title(goal_of(report))
        told = (
            f"; threshold {report['threshold']:.3g}: {name} {found['value']:.4f}, at 0.5 {found['value_at_half']:.4f}"
        )
    if report and (calibrated := report["calibration"]):
        before = f", before {calibrated['before']['log_loss']:.4f}" if calibrated["before"] else ""
        told += f"; calibrated: log loss {calibrated['after']['log_loss']:.4f}{before}"
    return told


def value(predictions: Predictions, by: str | Costs) -> float:
    """The metric or the cost per row of the labels of n rows."""
    if isinstance(by, str):
        return metrics.score(predictions)[by]
    wrong = predictions.predicted != predictions.actual
    costs = np.where(predictions.actual == predictions.positive, by.false_negative, by.false_positive)
    return float((wrong * costs).mean())


def values(predictions: Predictions, by: str | Costs, thresholds: Values) -> Values:
    """The metric or the cost per row of n rows at each of b thresholds, shape (b,)."""
    if isinstance(by, str):
        return metrics.by_threshold(predictions, by, thresholds)
    counts = metrics.outcomes(predictions, thresholds)
    return (counts[:, 1] * by.false_positive + counts[:, 2] * by.false_negative) / len(predictions.actual)


def of_probabilities(before: Predictions, after: Predictions) -> dict[str, dict[str, float] | None]:
    """Brier score and log loss of the same n rows `before` and `after` calibration; None where nothing was given."""
    scored = {"before": metrics.score(before), "after": metrics.score(after)}
    return {
        name: {metric: found[metric] for metric in ("brier", "log_loss")} if "brier" in found else None
        for name, found in scored.items()
    }


def _learnt(parts: Sequence[Part], settings: Train) -> Decision:
    asked, by, calibrator = settings.threshold, goal(settings.threshold), None
    given = asked if isinstance(asked, float) and asked != 0.5 else None
    if by is None and settings.calibrate == "none":
        return Decision(None, given)
    found = metrics.joined([part.predictions for part in parts])
    rows = {label: int((found.actual == label).sum()) for label in found.classes}
    if min(rows.values()) < 2:
        rarest = min(rows, key=rows.__getitem__)
        raise DataError(
            "train.threshold and train.calibrate learn from the test rows of all folds but one, and need 2 rows of each"
            f" class there, but {rarest} has {rows[rarest]}: deliver more rows of it, or remove both"
        )
    if settings.calibrate != "none":
        scores = np.concatenate([part.scores for part in parts if part.scores is not None])
        calibrator = calibration.learn(scores, found.actual, found.classes, settings.calibrate)
        found = _calibrated(Part(found, scores), calibrator)
    return Decision(calibrator, given if by is None else _best(found, by))


def _calibrated(part: Part, calibrator: "CalibratedClassifierCV | None") -> Predictions:
    """Predictions with calibrated probabilities and the more probable label, as the calibrated model gives them."""
    if calibrator is None or part.scores is None:
        return part.predictions
    probabilities = calibrator.predict_proba(part.scores[:, None])
    predicted = calibrator.classes_[probabilities.argmax(axis=1)]
    return replace(part.predictions, predicted=predicted, probabilities=probabilities)


def _best(found: Predictions, by: str | Costs) -> float:
    """The threshold with the best value on n rows; of equals the one nearest to 0.5, and of two such the lower one.

    Between two positive rows a higher threshold only removes false alarms, so that those just below a positive row are
    enough: half-way to the next lower probability, and rounded where that keeps them apart. 0.5 and 1 are tried, too.
    """
    probability = np.asarray(found.positive_probability)
    steps, of_positive = np.unique(probability), np.unique(probability[found.actual == found.positive])
    if len(of_positive) > MOST_CANDIDATES:
        of_positive = of_positive[np.linspace(0, len(of_positive) - 1, MOST_CANDIDATES).round().astype(np.intp)]
    middle = (of_positive + np.append(0.0, steps)[np.searchsorted(steps, of_positive)]) / 2
    tried = np.unique([0.5, 1.0, *(float(f"{one:.{DIGITS}g}") for one in middle.tolist())])
    gains = values(found, by, tried) * (1 if isinstance(by, str) and HIGHER_IS_BETTER[by] else -1)
    gains = np.where(np.isnan(gains), -np.inf, gains)
    equals = tried[gains == gains.max()]
    return float(equals[np.abs(equals - 0.5).argmin()])
