"""Metrics as functions of predictions and row weights, for many weightings at once.

A bootstrap resample is a weighting of the rows (how often each was drawn), so one sweep over a matrix of weights gives
a metric and its interval, hundreds of times faster than a call per resample. Each metric agrees with scikit-learn's of
that name to 1e-9 (with `zero_division=0`); what is undefined, such as the ROC AUC of one class, is NaN.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.task import Label

Weights = NDArray[np.float64]
Values = NDArray[np.float64]

HIGHER_IS_BETTER = {
    "accuracy": True,
    "balanced_accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "precision_positive": True,
    "recall_positive": True,
    "f1_positive": True,
    "precision_macro": True,
    "recall_macro": True,
    "f1_macro": True,
    "roc_auc": True,
    "average_precision": True,
    "log_loss": False,
    "brier": False,
    "mae": False,
    "rmse": False,
    "r2": True,
    "mape": False,
}
TITLES = {"f1": "F1", "roc_auc": "ROC AUC", "mae": "MAE", "rmse": "RMSE", "r2": "R²", "mape": "MAPE"}
MISSING_LEVEL = "(missing)"


@dataclass(frozen=True)
class Predictions:
    """What was, and what a model said, for n rows.

    `actual` and `predicted` have shape (n,): labels, or float64 to regress. `probabilities` are float64 (n, k) with a
    column per entry of `classes`, which is sorted; None where the model gives none. `classes` is empty to regress, and
    `positive` is None unless there are two classes.
    """

    actual: NDArray[Any]
    predicted: NDArray[Any]
    probabilities: NDArray[np.float64] | None
    classes: tuple[Label, ...]
    positive: Label | None

    @property
    def kind(self) -> Literal["binary", "multiclass", "regression"]:
        """What was to be predicted."""
        if not self.classes:
            return "regression"
        return "multiclass" if self.positive is None else "binary"

    @property
    def positive_probability(self) -> NDArray[np.float64] | None:
        """The probability of the positive class, shape (n,), if there is one."""
        if self.probabilities is None or self.positive is None:
            return None
        return self.probabilities[:, self.classes.index(self.positive)]

    def subset(self, rows: slice | NDArray[Any]) -> "Predictions":
        """The predictions of some rows: a slice, a mask (n,) or positions."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return Predictions(self.actual[rows], self.predicted[rows], probabilities, self.classes, self.positive)


def title(metric: str) -> str:
    """A metric's name for people."""
    return TITLES.get(metric, metric.replace("_", " "))


def score(predictions: Predictions) -> dict[str, float]:
    """All metrics of the predictions, each row counted once; the names in order are those of `HIGHER_IS_BETTER`."""
    once = np.ones((1, len(predictions.actual)))
    return {name: float(values[0]) for name, values in weighted_scores(predictions, once).items()}


def weighted_scores(predictions: Predictions, weights: Weights) -> dict[str, Values]:
    """All metrics for each of b weightings of the n rows: `weights` (b, n) >= 0 gives values (b,) per metric."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if predictions.kind == "regression":
            return _regression(predictions, weights)
        found = _of_labels(predictions, weights)
        if predictions.probabilities is not None:
            found |= _of_probabilities(predictions, weights, predictions.probabilities)
        return {name: found[name] for name in HIGHER_IS_BETTER if name in found}


def classification_report(predictions: Predictions) -> list[dict[str, Any]]:
    """Precision, recall, F1 and rows of each class, then their macro and weighted averages."""
    once = np.ones((1, len(predictions.actual)))
    with np.errstate(divide="ignore", invalid="ignore"):
        hit, actual, predicted = (counts[0] for counts in _counts(predictions, once))
        columns = {"precision": _ratio(hit, predicted), "recall": _ratio(hit, actual)}
        columns["f1"] = _ratio(2 * hit, actual + predicted)
    rows = [
        {"class": str(label), **{name: float(values[k]) for name, values in columns.items()}, "rows": int(actual[k])}
        for k, label in enumerate(predictions.classes)
    ]
    for average, weights in {"macro average": np.ones_like(actual), "weighted average": actual}.items():
        means = {name: float(np.average(values, weights=weights)) for name, values in columns.items()}
        rows.append({"class": average, **means, "rows": int(actual.sum())})
    return rows


def by_level(predictions: Predictions, levels: pd.Series) -> pd.DataFrame:
    """All metrics per level of `levels` (n), sorted, with `level` and `rows`; missing is a level of its own."""
    named = levels.astype("str").fillna(MISSING_LEVEL)
    found = []
    for level in sorted(named.unique()):
        inside = (named == level).to_numpy()
        found.append({"level": level, "rows": int(inside.sum()), **score(predictions.subset(inside))})
    return pd.DataFrame(found)


def _ratio(part: Values, whole: Values) -> Values:
    return np.where(whole > 0, part / whole, 0.0)


def _codes(predictions: Predictions, labels: NDArray[Any]) -> NDArray[np.intp]:
    """Labels as positions in `classes`, −1 where a label is none of them."""
    return pd.Index(predictions.classes).get_indexer(pd.Index(labels))


def _counts(predictions: Predictions, weights: Weights) -> tuple[Values, Values, Values]:
    """Weight per class of rows that are of it and predicted so, are of it, and are predicted so: (b, k) each."""
    classes = np.arange(len(predictions.classes))
    is_class = _codes(predictions, predictions.actual)[:, None] == classes
    said_class = _codes(predictions, predictions.predicted)[:, None] == classes
    hit, actual, predicted = (
        weights @ indicator.astype(np.float64) for indicator in (is_class & said_class, is_class, said_class)
    )
    return hit, actual, predicted


def _of_labels(predictions: Predictions, weights: Weights) -> dict[str, Values]:
    hit, actual, predicted = _counts(predictions, weights)
    precision, recall, f1 = _ratio(hit, predicted), _ratio(hit, actual), _ratio(2 * hit, actual + predicted)
    total = weights.sum(axis=1)
    share = actual / total[:, None]
    occurring = actual > 0
    found = {
        "accuracy": hit.sum(axis=1) / total,
        "balanced_accuracy": (recall * occurring).sum(axis=1) / occurring.sum(axis=1),
        "precision": (precision * share).sum(axis=1),
        "recall": (recall * share).sum(axis=1),
        "f1": (f1 * share).sum(axis=1),
    }
    if predictions.positive is not None:
        k = predictions.classes.index(predictions.positive)
        return found | {
            "precision_positive": precision[:, k],
            "recall_positive": recall[:, k],
            "f1_positive": f1[:, k],
        }
    met = occurring | (predicted > 0)  # as scikit-learn: over the classes that occur on either side
    macro = {"precision_macro": precision, "recall_macro": recall, "f1_macro": f1}
    return found | {name: (values * met).sum(axis=1) / met.sum(axis=1) for name, values in macro.items()}


def _of_probabilities(predictions: Predictions, weights: Weights, probabilities: Values) -> dict[str, Values]:
    actual = _codes(predictions, predictions.actual)
    total = weights.sum(axis=1)
    least = np.finfo(probabilities.dtype).eps
    of_actual = np.clip(probabilities[np.arange(len(actual)), actual], least, 1 - least)
    found = {"log_loss": weights @ -np.log(of_actual) / total}
    positive = predictions.positive_probability
    if positive is None:
        per_class = [_ranked(probabilities[:, k], actual == k, weights)[0] for k in range(len(predictions.classes))]
        defined = ~np.isnan(per_class)
        found["roc_auc"] = np.where(defined, per_class, 0).sum(axis=0) / defined.sum(axis=0)
        return found
    is_positive = predictions.actual == predictions.positive
    found["roc_auc"], found["average_precision"] = _ranked(positive, is_positive, weights)
    found["brier"] = weights @ (positive - is_positive) ** 2 / total
    return found


def _ranked(probability: Values, is_positive: NDArray[np.bool_], weights: Weights) -> tuple[Values, Values]:
    """ROC AUC (Mann–Whitney) and average precision, (b,) each: one pass from the highest probability down."""
    order = np.argsort(-probability, kind="stable")
    last_of_tie = np.flatnonzero(np.append(np.diff(probability[order]) != 0, True))
    hits = np.cumsum(weights[:, order] * is_positive[order], axis=1)[:, last_of_tie]
    false = np.cumsum(weights[:, order] * ~is_positive[order], axis=1)[:, last_of_tie]
    positives, negatives = hits[:, -1], false[:, -1]
    before = np.pad(hits, ((0, 0), (1, 0)))[:, :-1]
    area = (np.diff(false, axis=1, prepend=0) * (hits + before) / 2).sum(axis=1) / (positives * negatives)
    precision = _ratio(hits, hits + false)
    average = ((hits - before) * precision).sum(axis=1) / positives
    return area, average


def _regression(predictions: Predictions, weights: Weights) -> dict[str, Values]:
    actual = predictions.actual.astype(np.float64)
    error = actual - predictions.predicted
    total = weights.sum(axis=1)
    mean = weights @ actual / total
    squared = weights @ error**2
    # Around the mean of all rows first, so that the two large squares do not cancel.
    centred = actual - actual.mean()
    spread = weights @ centred**2 - total * (weights @ centred / total) ** 2
    spread = np.where(spread > np.finfo(np.float64).eps * total * np.maximum(mean**2, 1e-300), spread, np.nan)
    found = {
        "mae": weights @ np.abs(error) / total,
        "rmse": np.sqrt(squared / total),
        "r2": 1 - squared / spread,
    }
    if (actual != 0).all():
        found["mape"] = weights @ np.abs(error / actual) / total
    return found
