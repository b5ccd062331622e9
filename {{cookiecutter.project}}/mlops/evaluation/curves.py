"""The tables behind the curves of `dvc plots` and of the report; they are small for any number of rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.training import decision
from mlops.training.metrics import Predictions, positions

MOST_POINTS = 200
MOST_RESIDUALS = 500
CALIBRATION_BINS = 10
COLUMNS = {
    "roc": ["fpr", "tpr", "threshold"],
    "precision_recall": ["recall", "precision", "threshold"],
    "calibration": ["predicted", "observed", "rows"],
    "confusion": ["actual", "predicted", "rows"],
    "residuals": ["predicted", "actual", "residual"],
}


def curves(predictions: Predictions) -> dict[str, pd.DataFrame]:
    """The tables of a model, by name; a table that does not apply to the task is empty, so that `dvc plots` finds it.

    Classes have the table confusion, two classes with probabilities also calibration and, if both classes occur, roc
    and precision_recall. A number has residuals.
    """
    tables: dict[str, pd.DataFrame] = {}
    probability = predictions.positive_probability
    if predictions.kind == "regression":
        tables["residuals"] = residuals(predictions)
    else:
        tables["confusion"] = confusion(predictions)
    if probability is not None:
        is_positive = predictions.actual == predictions.positive
        tables["calibration"] = calibration(probability, is_positive)
        if is_positive.any() and not is_positive.all():
            tables["roc"] = roc(probability, is_positive)
            tables["precision_recall"] = precision_recall(probability, is_positive)
    return {name: tables.get(name, pd.DataFrame(columns=columns)) for name, columns in COLUMNS.items()}


def confusion(predictions: Predictions) -> pd.DataFrame:
    """The number of `rows` for every pair of `actual` and `predicted` label, also for pairs that never occur."""
    names = [str(label) for label in predictions.labels]
    actual, predicted = (positions(predictions.labels, side) for side in (predictions.actual, predictions.predicted))
    rows = np.bincount(actual * len(names) + predicted, minlength=len(names) ** 2)
    return pd.DataFrame({"actual": np.repeat(names, len(names)), "predicted": names * len(names), "rows": rows})


def roc(probability: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> pd.DataFrame:
    """`fpr` and `tpr` at falling `threshold`, from (0, 0) at infinity, for n rows in which both classes occur."""
    from sklearn.metrics import roc_curve

    fpr, tpr, threshold = roc_curve(is_positive, probability, drop_intermediate=False)
    return _thinned(pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": threshold}), "fpr", "tpr")


def precision_recall(probability: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> pd.DataFrame:
    """`precision` and `recall` at falling `threshold`, for n rows in which both classes occur."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, threshold = precision_recall_curve(is_positive, probability)
    columns = {"recall": recall[:-1], "precision": precision[:-1], "threshold": threshold}  # without the point (0, 1)
    return _thinned(pd.DataFrame(columns)[::-1].reset_index(drop=True), "recall", "precision")


def of_decision(
    predictions: Predictions, before: Predictions | None, trained: Mapping[str, Any] | None
) -> dict[str, pd.DataFrame]:
    """The tables of the decision that was `trained` (see `mlops.training.decision`), by name.

    The table threshold has the `value` of a metric or the cost per row, at each `threshold` up to the largest
    probability; it is empty unless there are probabilities of two classes. The table uncalibrated has the calibration
    of the predictions `before`; it is empty unless probabilities are calibrated.
    """
    probability = predictions.positive_probability
    tables = {
        "threshold": pd.DataFrame(columns=["threshold", "value"]),
        "uncalibrated": pd.DataFrame(columns=COLUMNS["calibration"]),  # Git would leave out a file that is new
    }
    if trained is not None and probability is not None:
        tried = np.linspace(0, probability.max(), MOST_POINTS)
        values = decision.values(predictions, decision.goal_of(trained), tried)
        tables["threshold"] = pd.DataFrame({"threshold": tried, "value": values})
    if before is not None and before.positive_probability is not None:
        tables["uncalibrated"] = calibration(before.positive_probability, before.actual == before.positive)
    return tables


def calibration(probability: NDArray[np.float64], is_positive: NDArray[np.bool_]) -> pd.DataFrame:
    """Mean `predicted` probability and `observed` share of positives in up to ten bins of about equally many `rows`.

    Rows of equal probability share a bin. The edges are probabilities that occur: interpolated quantiles differ from
    them by rounding, which would put a row on either side by chance.
    """
    last_ranks = np.arange(1, CALIBRATION_BINS) * len(probability) // CALIBRATION_BINS - 1
    edges = np.unique(np.sort(probability)[last_ranks.clip(min=0)])
    bins = np.searchsorted(edges, probability, side="left")
    frame = pd.DataFrame({"bin": bins, "predicted": probability, "observed": is_positive.astype(np.float64)})
    grouped = frame.groupby("bin")
    return grouped.mean().assign(rows=grouped.size()).reset_index(drop=True)


def residuals(predictions: Predictions) -> pd.DataFrame:
    """`predicted`, `actual` and `residual` of up to 500 rows, evenly spaced in the order of the predictions."""
    actual, predicted = predictions.actual, predictions.predicted
    order = np.argsort(predicted, kind="stable")
    rows = order[np.unique(np.linspace(0, len(order) - 1, MOST_RESIDUALS).round().astype(np.intp))]
    return pd.DataFrame({"predicted": predicted[rows], "actual": actual[rows], "residual": (actual - predicted)[rows]})


def _thinned(curve: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The curve with at most 200 points, evenly spaced along its length and with both ends."""
    if len(curve) <= MOST_POINTS:
        return curve
    length = curve[[x, y]].diff().fillna(0).abs().sum(axis=1).cumsum().to_numpy()
    rows = np.searchsorted(length, np.linspace(0, length[-1], MOST_POINTS)).clip(max=len(curve) - 1)
    return curve.iloc[np.unique(np.append(rows, [0, len(curve) - 1]))].reset_index(drop=True)
