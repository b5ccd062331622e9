"""Metrics as functions of predictions and row weights, for many weightings at once.

A bootstrap resample is a weighting of the rows (how often each was drawn), so one sweep over a matrix of weights gives
a metric and its interval, hundreds of times faster than a call per resample. Each metric agrees with scikit-learn's of
that name to 1e-9 (with `zero_division=0`); what is undefined, such as the ROC AUC of one class, is NaN.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.data.levels import rows_by_level
from mlops.data.own import OwnCodeError, failure, place
from mlops.training.task import Label

Weights = NDArray[np.float64]
Values = NDArray[np.float64]
Scorer = Callable[[Weights], dict[str, Values]]

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
TITLES = {
    "precision": "precision weighted",
    "recall": "recall weighted",
    "f1": "F1 weighted",
    "f1_positive": "F1 positive",
    "f1_macro": "F1 macro",
    "roc_auc": "ROC AUC",
    "brier": "Brier score",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "mape": "MAPE",
}
# The metrics of the project, which `declare` adds to HIGHER_IS_BETTER, by their names.
OWN: dict[str, Callable[..., float]] = {}
# Columns beside metrics in reports, and the word for the headline.
TAKEN = {"auto", "column", "level", "rows"}


@dataclass(frozen=True)
class Predictions:
    """Actual and predicted values of n rows.

    `actual` and `predicted` have shape (n,): labels, or float64 to regress. `probabilities` are float64 (n, k) with a
    column per entry of `classes`, which is sorted; None where the model gives none. `classes` is empty to regress, and
    `positive` is None unless there are two classes. `threshold` is the probability from which on a row is predicted to
    be positive; None where the model decides by itself.
    """

    actual: NDArray[Any]
    predicted: NDArray[Any]
    probabilities: NDArray[np.float64] | None
    classes: tuple[Label, ...]
    positive: Label | None
    threshold: float | None = None

    @property
    def kind(self) -> Literal["binary", "multiclass", "regression"]:
        """What was to be predicted."""
        if not self.classes:
            return "regression"
        return "multiclass" if self.positive is None else "binary"

    @property
    def labels(self) -> tuple[Label, ...]:
        """The classes, then the labels that occur although the model never learnt them, sorted."""
        occurring = set(pd.unique(self.actual).tolist()) | set(pd.unique(self.predicted).tolist())
        return (*self.classes, *sorted(occurring.difference(self.classes)))

    @property
    def positive_probability(self) -> NDArray[np.float64] | None:
        """The probability of the positive class, shape (n,), if there is one."""
        if self.probabilities is None or self.positive is None:
            return None
        return self.probabilities[:, self.classes.index(self.positive)]

    def subset(self, rows: slice | NDArray[Any]) -> "Predictions":
        """The predictions of some rows: a slice, a mask (n,) or positions."""
        probabilities = None if self.probabilities is None else self.probabilities[rows]
        return replace(self, actual=self.actual[rows], predicted=self.predicted[rows], probabilities=probabilities)

    def at(self, threshold: float) -> "Predictions":
        """The same rows of two classes, with labels by another threshold."""
        labels = [*(label for label in self.classes if label != self.positive), self.positive]
        is_predicted = np.asarray(self.positive_probability) >= threshold
        predicted = np.array(labels, dtype=self.predicted.dtype)[is_predicted.astype(np.intp)]
        return replace(self, predicted=predicted, threshold=threshold)


# A row for each column of `outcomes`.
OUTCOMES = Predictions(np.array([False, False, True, True]), np.array([False, True] * 2), None, (False, True), True)


def declare(metrics: Mapping[Callable[..., float], str]) -> None:
    """Add the project's own metrics to those that are computed; each says if "higher" or "lower" is better.

    Raises:
        OwnCodeError: a metric has the name of another one, or says something else.
    """
    if not isinstance(metrics, Mapping):
        raise OwnCodeError(f"project/metrics.py: METRICS is a {type(metrics).__name__}: a dictionary was expected")
    for function, better in metrics.items():
        name = getattr(function, "__name__", "")
        if not callable(function) or not name.isidentifier():
            raise OwnCodeError(f"project/metrics.py: {function!r} in METRICS is no function with a name: define one")
        if name in TAKEN or (name in HIGHER_IS_BETTER and OWN.get(name) is not function):
            raise OwnCodeError(f"{place(function)} has the name of another metric or column: rename the function")
        if better not in ("higher", "lower"):
            raise OwnCodeError(f'{place(function)} is {better!r} in METRICS: say "higher" or "lower"')
        OWN[name] = function
        HIGHER_IS_BETTER[name] = better == "higher"


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of one model on batch after batch, as one."""
    first = parts[0]
    probabilities = None
    if first.probabilities is not None:
        probabilities = np.concatenate([part.probabilities for part in parts if part.probabilities is not None])
    actual, predicted = (np.concatenate([getattr(part, side) for part in parts]) for side in ("actual", "predicted"))
    return replace(first, actual=actual, predicted=predicted, probabilities=probabilities)


def title(metric: str) -> str:
    """A metric's name for people."""
    return TITLES.get(metric, metric.replace("_", " "))


def limits(metric: str) -> tuple[float, float]:
    """The least and the largest value that a metric can have."""
    if metric in OWN:
        return -np.inf, np.inf
    return -np.inf if metric == "r2" else 0, 1 if HIGHER_IS_BETTER[metric] or metric == "brier" else np.inf


def score(predictions: Predictions, only: str = "") -> dict[str, float]:
    """All metrics of the predictions, each row counted once; the names in order are those of `HIGHER_IS_BETTER`.

    `only` is that of `scorer`.
    """
    return {name: float(values[0]) for name, values in scorer(predictions, only)(_once(predictions)).items()}


def scorer(predictions: Predictions, only: str = "") -> Scorer:
    """The function that gives all metrics for each of b weightings of the n rows; with `only`, those computed with it.

    It takes `weights` >= 0, shape (b, n), and gives values (b,) per metric, each row of weights for itself: the values
    are the same bits whatever else is in the block. What all weightings share, such as the order of the probabilities,
    is computed here, once.
    """
    parts = []
    if predictions.kind == "regression":
        parts.append(_of_numbers(predictions))
    elif only != "log_loss":
        parts.append(_of_labels(predictions))
    if predictions.probabilities is not None and only in ("", "log_loss"):
        parts.append(_of_likelihood(predictions, predictions.probabilities))
        if not only:  # to rank takes ten times as long as all the rest
            parts.append(_of_ranking(predictions, predictions.probabilities))
    parts += [_of_project(predictions, name, function) for name, function in OWN.items() if not only]

    def scores(weights: Weights) -> dict[str, Values]:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {name: values for part in parts for name, values in part(weights).items()}
        return {name: found[name] for name in HIGHER_IS_BETTER if name in found}

    return scores


def outcomes(predictions: Predictions, thresholds: Values) -> Values:
    """True negatives, false positives, false negatives and true positives of two classes at b thresholds, (b, 4)."""
    is_positive, probability = predictions.actual == predictions.positive, np.asarray(predictions.positive_probability)
    counts = []
    for side in (np.sort(probability[~is_positive]), np.sort(probability[is_positive])):
        below = np.searchsorted(side, thresholds, side="left")
        counts += [below, len(side) - below]
    return np.stack(counts, axis=1).astype(np.float64)


def of_two_labels() -> list[str]:
    """The metrics that depend on the labels of two classes, and so on the threshold."""
    return [*_of_labels(OUTCOMES)(_once(OUTCOMES)), *OWN]


def by_threshold(predictions: Predictions, metric: str, thresholds: Values) -> Values:
    """One of `of_two_labels` at each of b thresholds, shape (b,)."""
    if metric in OWN:
        each = [_of_project(predictions.at(one), metric, OWN[metric]) for one in thresholds.tolist()]
        return np.concatenate([scores(_once(predictions))[metric] for scores in each])
    return _of_labels(OUTCOMES)(outcomes(predictions, thresholds))[metric]


def classification_report(predictions: Predictions) -> list[dict[str, Any]]:
    """Precision, recall, F1 and rows of each class, then their averages: macro (over classes that occur), weighted."""
    hit, actual, predicted = (counts[0] for counts in _class_counts(predictions)(_once(predictions)))
    columns = dict(zip(("precision", "recall", "f1"), _precision_recall_f1(hit, actual, predicted), strict=True))
    rows = [
        {"class": str(label), **{name: float(values[k]) for name, values in columns.items()}, "rows": int(actual[k])}
        for k, label in enumerate(predictions.labels)
    ]
    for average, weights in {"macro average": actual + predicted > 0, "weighted average": actual}.items():
        means = {name: float(np.average(values, weights=weights)) for name, values in columns.items()}
        rows.append({"class": average, **means, "rows": int(actual.sum())})
    return rows


def by_level(predictions: Predictions, values: pd.Series) -> pd.DataFrame:
    """All metrics per level of `values` (n,), with `level` and `rows`: levels in their own order, missing ones last."""
    return pd.DataFrame(
        {"level": level, "rows": int(rows.sum()), **score(predictions.subset(rows))}
        for level, rows in rows_by_level(values)
    )


def positions(labels: Sequence[Label], values: NDArray[Any]) -> NDArray[np.intp]:
    """Where in `labels` each of `values` (n,) stands; −1 for one that is none of them."""
    return pd.Index(labels).get_indexer(pd.Index(values))


def _once(predictions: Predictions) -> Weights:
    return np.ones((1, len(predictions.actual)))


def _sum(weights: Weights, values: Values) -> Values:
    """Weighted sums (b,) of `values` (n,); not by BLAS, whose last bits depend on b and on the number of threads."""
    sums: Values = np.einsum("bn,n->b", weights, values)
    return sums


def _ratio(part: Values, whole: Values) -> Values:
    """Part of a whole, 0 where there is no whole (and hence no part)."""
    return part / np.maximum(whole, np.finfo(np.float64).tiny)


def _precision_recall_f1(hit: Values, actual: Values, predicted: Values) -> tuple[Values, Values, Values]:
    return _ratio(hit, predicted), _ratio(hit, actual), _ratio(2 * hit, actual + predicted)


def _class_counts(predictions: Predictions) -> Callable[[Weights], tuple[Values, Values, Values]]:
    """Weighted true positives, actual and predicted rows per label, each of shape (b, k), from weights (b, n).

    The k labels are the `labels` of the predictions.
    """
    labels = predictions.labels
    actual, predicted = positions(labels, predictions.actual), positions(labels, predictions.predicted)
    hit = np.where(actual == predicted, actual, len(labels))

    def counted(codes: NDArray[np.intp], weights: Weights) -> Values:
        return np.stack([np.bincount(codes, row, len(labels) + 1)[:-1] for row in weights])

    return lambda weights: (counted(hit, weights), counted(actual, weights), counted(predicted, weights))


def _of_labels(predictions: Predictions) -> Scorer:
    counts = _class_counts(predictions)

    def scores(weights: Weights) -> dict[str, Values]:
        hit, actual, predicted = counts(weights)
        precision, recall, f1 = _precision_recall_f1(hit, actual, predicted)
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
            of_positive = {"precision_positive": precision, "recall_positive": recall, "f1_positive": f1}
            return found | {name: values[:, k] for name, values in of_positive.items()}
        met = actual + predicted > 0  # as scikit-learn: over the classes that occur on either side
        macro = {"precision_macro": precision, "recall_macro": recall, "f1_macro": f1}
        return found | {name: (values * met).sum(axis=1) / met.sum(axis=1) for name, values in macro.items()}

    return scores


def _of_likelihood(predictions: Predictions, probabilities: NDArray[np.float64]) -> Scorer:
    actual = positions(predictions.classes, predictions.actual)
    of_actual = np.where(actual < 0, 0, probabilities[np.arange(len(actual)), actual])
    least = np.finfo(np.float64).eps
    losses = {"log_loss": -np.log(np.clip(of_actual, least, 1 - least))}
    if (positive := predictions.positive_probability) is not None:
        losses["brier"] = (positive - (predictions.actual == predictions.positive)) ** 2

    def scores(weights: Weights) -> dict[str, Values]:
        return {name: _sum(weights, loss) / weights.sum(axis=1) for name, loss in losses.items()}

    return scores


def _of_ranking(predictions: Predictions, probabilities: NDArray[np.float64]) -> Scorer:
    if (positive := predictions.positive_probability) is not None:
        ranking = _ranking(positive, predictions.actual == predictions.positive)
        return lambda weights: dict(zip(("roc_auc", "average_precision"), ranking(weights), strict=True))
    actual = positions(predictions.classes, predictions.actual)
    rankings = [_ranking(column, actual == k) for k, column in enumerate(probabilities.T)]

    def scores(weights: Weights) -> dict[str, Values]:
        per_class = np.stack([ranking(weights)[0] for ranking in rankings])
        defined = ~np.isnan(per_class)
        return {"roc_auc": np.where(defined, per_class, 0).sum(axis=0) / defined.sum(axis=0)}  # one against the rest

    return scores


def _ranking(
    probability: NDArray[np.float64], is_positive: NDArray[np.bool_]
) -> Callable[[Weights], tuple[Values, Values]]:
    """ROC AUC (Mann–Whitney: ties count one half) and average precision, (b,) each, of weights (b, n).

    Both are sums over the positives, of what share of the negatives ranks below one, and of the precision down to it.
    """
    order = np.argsort(-probability, kind="stable")
    positives, negatives = order[is_positive[order]], order[~is_positive[order]]
    hits_to = np.searchsorted(-probability[positives], -probability[positives], side="right")
    falses_before, falses_to = (
        np.searchsorted(-probability[negatives], -probability[positives], side=side) for side in ("left", "right")
    )

    def areas(weights: Weights) -> tuple[Values, Values]:
        weight = weights.take(positives, axis=1)
        hits, falses = _running(weights, positives), _running(weights, negatives)
        positive, negative = hits[:, -1], falses[:, -1]
        hit, before, false = (
            hits.take(hits_to, axis=1),
            falses.take(falses_before, axis=1),
            falses.take(falses_to, axis=1),
        )
        below = negative - np.einsum("bp,bp->b", weight, before + false) / (2 * positive)
        average_precision = np.einsum("bp,bp->b", weight, _ratio(hit, hit + false)) / positive
        return below / negative, average_precision

    return areas


def _of_project(predictions: Predictions, name: str, function: Callable[..., float]) -> Scorer:
    """One of the project's metrics: for each weighting of the rows, each row stands there as often as it weighs."""
    probability = predictions.probabilities
    if predictions.positive is not None:
        probability = predictions.positive_probability

    def scores(weights: Weights) -> dict[str, Values]:
        values = []
        for row in weights:
            rows = np.repeat(np.arange(len(row)), row.astype(np.intp))
            sure = None if probability is None else probability[rows]
            try:
                values.append(float(function(predictions.actual[rows], predictions.predicted[rows], sure)))
            except Exception as error:
                raise OwnCodeError(failure(function, error)) from None
        return {name: np.array(values)}

    return scores


def _running(weights: Weights, rows: NDArray[np.intp]) -> Values:
    """The sums of weights (b, n) over the first 0, 1, … m of `rows` (m,), shape (b, m + 1)."""
    sums = np.zeros((len(weights), len(rows) + 1))
    weights.take(rows, axis=1).cumsum(axis=1, out=sums[:, 1:])
    return sums


def _of_numbers(predictions: Predictions) -> Scorer:
    actual = predictions.actual.astype(np.float64)
    error = actual - predictions.predicted
    relative = np.abs(error / actual) if (actual != 0).all() else None

    def scores(weights: Weights) -> dict[str, Values]:
        total = weights.sum(axis=1)
        squared = _sum(weights, error**2)
        # Counted from the value of a row that is there, equal values have a spread of exactly zero.
        centred = actual - actual[(weights > 0).argmax(axis=1)][:, None]
        centred -= (np.einsum("bn,bn->b", weights, centred) / total)[:, None]
        spread = np.einsum("bn,bn,bn->b", weights, centred, centred)
        found = {
            "mae": _sum(weights, np.abs(error)) / total,
            "rmse": np.sqrt(squared / total),
            "r2": 1 - squared / np.where(spread > 0, spread, np.nan),
        }
        return found if relative is None else found | {"mape": _sum(weights, relative) / total}

    return scores
