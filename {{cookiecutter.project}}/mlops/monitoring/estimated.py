"""Performance without labels: what a model's metrics on new rows should be, by what the test rows say of its answers.

Labels: confidence-based performance estimation (CBPE, the method that NannyML made known). Isotonic regression
(Zadrozny and Elkan 2002) on the test rows, which the model has not seen, turns a probability into the share of such
answers that come true; accuracy and ROC AUC are then expected values over the rows. Numbers: direct loss estimation, with the mean
loss of test rows that have a similar prediction as the model of the loss.

Both see a change of *which* rows come, and neither sees a change of what follows from a row (concept drift): only
labels show that, see `mlops.monitoring.realised`.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import counted
from mlops.evaluation import results
from mlops.training.metrics import Predictions
from mlops.training.task import Task

Values = NDArray[np.float64]

MOST_GROUPS = 1_000  # of test rows with similar probabilities
LARGEST_GROUPS, LEAST_IN_GROUP = 20, 50  # of test rows with similar predicted numbers
RESAMPLES, SEED = 200, 0
CONFIDENT = 1.959963984540054  # standard deviations, on either side of a value, that hold 95 % of a normal distribution
# Below these, an estimate is not to be trusted.
LEAST_TEST, LEAST_OF_A_KIND, LEAST_ROWS = 100, 10, 30
MOST_BEYOND = 0.05  # share of the answers beyond those on the test rows
ASSUMPTION: dict[Task, str] = {
    "classification": (
        "assumed: among rows with the same probability, the same share comes true as on the test split; if what "
        "follows from the features has changed (concept drift), only labels show it"
    ),
    "regression": (
        "assumed: rows with the same prediction are as far off as on the test split; if what follows from the features "
        "has changed (concept drift), only labels show it"
    ),
}
OUTSIDE = "the rows are unlike the training data (the domain classifier tells them apart), where nothing was tested"


@dataclass(frozen=True)
class Learnt:
    """What n test rows teach of the answers of a model, in g groups of rows with similar scores.

    A score is the probability of the positive class, with many classes that of the predicted class, and with numbers
    the prediction. `edges` (g − 1,) are the scores between two groups, `scores` (g,) the mean scores. `cells` (g, 2, 2)
    count rows by group, by whether the positive class was predicted, and by whether it came (with many classes: always,
    and whether the predicted one came). Numbers have `losses` and `spreads` (2, g) instead: mean and variance of the
    absolute and of the squared error. `test` are the metrics on the test rows themselves, and `ends` their least and
    largest score.
    """

    kind: str
    edges: Values
    scores: Values
    cells: NDArray[np.int64]
    losses: Values
    spreads: Values
    test: dict[str, float]
    ends: tuple[float, float]

    @property
    def task(self) -> Task:
        """The task of the model."""
        return "regression" if self.kind == "regression" else "classification"


@dataclass(frozen=True)
class Answered:
    """The answers to n rows in the g groups of a `Learnt`.

    `rows` (g,) are counted, of them `flagged` (g,) with the positive class (with many classes: all); `totals` (g,) are
    the sums of their scores. `beyond` rows have a score outside of all those of the test rows.
    """

    rows: Values
    flagged: Values
    totals: Values
    beyond: int


def estimate(test: pd.DataFrame, answers: Predictions, task: Task, outside: bool) -> dict[str, Any] | None:
    """The metrics that a model should have on n rows without labels; None where it gives no probabilities.

    `test` are its predictions on the test split as `mlops.evaluation.results.to_frame` has them, `answers` its
    predictions on the n rows. `outside` says that the rows are unlike the training data, so that the estimate is not to
    be trusted. The result is that of `estimated`.
    """
    if not {"actual", "prediction"} <= set(test):  # a table of an older pipeline
        return None
    learnt = learn(results.from_frame(test, answers.classes, answers.positive))
    if learnt is None or learnt.task != task or not len(answers.predicted):
        return None
    return estimated(learnt, grouped(learnt, answers), outside=outside)


def scores_of(predictions: Predictions) -> Values | None:
    """The score (n,) of each row as in `Learnt`; None where a classifier gives no probabilities."""
    if predictions.kind == "regression":
        return predictions.predicted.astype(np.float64)
    if predictions.probabilities is None:
        return None
    if predictions.kind == "binary":
        return predictions.positive_probability
    found: Values = predictions.probabilities.max(axis=1)
    return found


def learn(test: Predictions) -> Learnt | None:
    """What the predictions of n test rows with their actual values teach; None without rows or probabilities."""
    scores = scores_of(test)
    if scores is None or not len(scores):
        return None
    regression = test.kind == "regression"
    most = min(max(len(scores) // LEAST_IN_GROUP, 1), LARGEST_GROUPS) if regression else MOST_GROUPS
    edges = _edges(scores, most)
    group, size = np.searchsorted(edges, scores, side="right"), len(edges) + 1
    rows = np.bincount(group, minlength=size)
    cells, losses, spreads = np.zeros((size, 2, 2), dtype=np.int64), np.zeros((2, size)), np.zeros((2, size))
    if regression:
        error = test.actual.astype(np.float64) - scores
        for place, loss in enumerate((np.abs(error), error**2)):
            losses[place] = np.bincount(group, loss, size) / rows
            spreads[place] = np.bincount(group, (loss - losses[place][group]) ** 2, size) / np.maximum(rows - 1, 1)
        cells[:, 1, 1] = rows
        metrics = {"mae": float(np.abs(error).mean()), "rmse": math.sqrt(float((error**2).mean()))}
    else:
        flagged, came = _outcomes(test)
        np.add.at(cells, (group, flagged.astype(np.intp), came.astype(np.intp)), 1)
        metrics = {"accuracy": float((test.predicted == test.actual).mean())}
        if test.kind == "binary":
            _, places = np.unique(scores, return_inverse=True)
            metrics["roc_auc"] = _auc(np.bincount(places, came), np.bincount(places, ~came))
    ends = float(scores.min()), float(scores.max())
    means = np.bincount(group, scores, size) / rows
    return Learnt(test.kind, edges, means, cells, losses, spreads, metrics, ends)


def grouped(learnt: Learnt, answers: Predictions) -> Answered:
    """The answers of a model on n rows in the groups of its test rows.

    `answers` have probabilities if the model of `learnt` has.
    """
    scores = np.asarray(scores_of(answers))
    group, size = np.searchsorted(learnt.edges, scores, side="right"), len(learnt.scores)
    flagged = answers.predicted == answers.positive if learnt.kind == "binary" else np.ones(len(scores), dtype=bool)
    beyond = (scores < learnt.ends[0]) | (scores > learnt.ends[1])
    counts = [np.bincount(group, weights, size).astype(np.float64) for weights in (None, flagged, scores)]
    return Answered(counts[0], counts[1], counts[2], int(beyond.sum()))


def estimated(learnt: Learnt, answers: Answered, *, outside: bool = False) -> dict[str, Any]:
    """The estimate as plain values: `metrics`, the `assumption`, whether it is `trusted`, and if not, `why_not`.

    `metrics` are accuracy and for two classes `roc_auc`, or `mae` and `rmse`: each has its `value`, the ends of a 95 %
    interval (`low`, `high`) and the value on the `test` rows. The interval holds the metric of these very rows, were
    they labelled: so it is wider for fewer rows, and for fewer test rows. `roc_auc` is left out where it is undefined.
    """
    found = _of_numbers(learnt, answers) if learnt.kind == "regression" else _of_labels(learnt, answers)
    ends = (0.0, math.inf if learnt.kind == "regression" else 1.0)
    metrics = {
        name: {
            "value": min(max(value, ends[0]), ends[1]),
            "low": min(max(value - CONFIDENT * deviation, ends[0]), ends[1]),
            "high": min(max(value + CONFIDENT * deviation, ends[0]), ends[1]),
            "test": learnt.test[name],
        }
        for name, (value, deviation) in found.items()
        if math.isfinite(value + deviation + learnt.test[name])
    }
    why_not = OUTSIDE if outside else _too_few(learnt, answers)
    return {
        "metrics": metrics,
        "assumption": ASSUMPTION[learnt.task],
        "trusted": why_not is None,
        "why_not": why_not,
    }


def _too_few(learnt: Learnt, answers: Answered) -> str | None:
    """Why an estimate of this kind says nothing, if so."""
    test, rows = int(learnt.cells.sum()), int(answers.rows.sum())
    if test < LEAST_TEST:
        return f"it is learnt from {counted(test, 'test row')}, and takes {LEAST_TEST}"
    if rows < LEAST_ROWS:
        return f"there are {counted(rows, 'row')}, and it takes {LEAST_ROWS}"
    came = learnt.cells.sum(axis=(0, 1))
    if learnt.kind != "regression" and came.min() < LEAST_OF_A_KIND:
        what = "of one of the two classes" if learnt.kind == "binary" else ("wrong" if came[0] < came[1] else "right")
        return f"of the test rows {came.min()} are {what}, and it takes {LEAST_OF_A_KIND}"
    if learnt.kind == "regression" and answers.beyond > MOST_BEYOND * rows:
        return f"{answers.beyond / rows:.0%} of the predictions lie beyond all of those on the test split"
    return None


def _edges(scores: Values, most: int) -> Values:
    """The scores between two of at most `most` groups of nearly equally many of n rows; equal scores stay together."""
    values, rows = np.unique(scores, return_counts=True)
    last = np.cumsum(rows)
    group = ((last - rows / 2) * most / len(scores)).astype(np.intp) if len(values) > most else np.arange(len(values))
    ends = np.flatnonzero(np.diff(group))
    return values[ends] / 2 + values[ends + 1] / 2


def _outcomes(test: Predictions) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each of n test rows whether the positive class was predicted, and whether it came (n,), as in `Learnt`."""
    if test.kind == "binary":
        return test.predicted == test.positive, test.actual == test.positive
    return np.ones(len(test.actual), dtype=bool), test.predicted == test.actual


def _of_numbers(learnt: Learnt, answers: Answered) -> dict[str, tuple[float, float]]:
    """MAE and RMSE of the answers, and their standard deviations: of the rows' own luck and of the test rows'.

    Both are means of the losses of groups, weighted by the rows that are in them now (post-stratification).
    """
    total, known = answers.rows.sum(), learnt.cells.sum(axis=(1, 2))
    weights = answers.rows / total
    value = (learnt.losses * weights).sum(axis=1)
    deviation = np.sqrt((learnt.spreads * (weights / total + weights**2 / known)).sum(axis=1))
    rmse = math.sqrt(value[1])
    return {
        "mae": (float(value[0]), float(deviation[0])),
        "rmse": (rmse, float(deviation[1]) / (2 * rmse) if rmse else 0.0),  # the delta method
    }


def _of_labels(learnt: Learnt, answers: Answered) -> dict[str, tuple[float, float]]:
    """Accuracy and for two classes ROC AUC, and their standard deviations.

    The deviation joins the luck of the rows' own labels, given the chances of each, and that of the test rows, by a
    bootstrap of them.
    """
    rows, scores = answers.rows, answers.totals / np.maximum(answers.rows, 1)

    def metrics(cells: NDArray[np.int64]) -> tuple[dict[str, float], Values]:
        """The metrics expected by counted test rows, and the chances (g,) of the answers to come true.

        Isotonic regression flatters the rows that it was fitted to, so that both would be too high (ROC AUC by 0.02 for
        150 test rows): by how much is seen on the test rows, and taken away.
        """
        of_test = cells.sum(axis=(1, 2)).astype(np.float64), cells[:, 1].sum(axis=1).astype(np.float64)
        came, right = cells[:, :, 1].sum(axis=1), cells[:, 1, 1].sum() + cells[:, 0, 0].sum()
        actual = {"accuracy": right / of_test[0].sum(), "roc_auc": _auc(came, of_test[0] - came)}
        chances, on_test = _chances(learnt, cells, scores)
        found, flattered = _expected(chances, rows, answers.flagged), _expected(on_test, *of_test)
        return {name: found[name] - flattered[name] + actual[name] for name in learnt.test}, chances

    values, chances = metrics(learnt.cells)
    size = int(learnt.cells.sum())
    samples = np.random.default_rng(SEED).multinomial(size, learnt.cells.ravel() / size, RESAMPLES)
    resampled = [metrics(cells.reshape(learnt.cells.shape))[0] for cells in samples]
    luck = rows * chances * (1 - chances)
    own = {
        "accuracy": math.sqrt(luck.sum()) / rows.sum(),
        "roc_auc": math.sqrt((luck * _slope(chances, rows) ** 2).sum()),
    }
    return {
        name: (value, math.hypot(own[name], float(np.std([one[name] for one in resampled]))))
        for name, value in values.items()
    }


def _expected(chances: Values, rows: Values, flagged: Values) -> dict[str, float]:
    """Accuracy and ROC AUC to be expected of rows in groups (g,), whose scores ascend and come true with `chances`."""
    positive, negative = rows * chances, rows * (1 - chances)
    right = flagged * chances + (rows - flagged) * (1 - chances)
    return {
        "accuracy": float(right.sum() / rows.sum()),
        "roc_auc": _auc(positive, negative, float((positive * (1 - chances)).sum())),
    }


def _chances(learnt: Learnt, cells: NDArray[np.int64], scores: Values) -> tuple[Values, Values]:
    """How likely answers with `scores` (m,) come true, by isotonic regression on counted test rows; shape (m,).

    The same for the mean scores (g,) of the groups of test rows.
    """
    from scipy.optimize import isotonic_regression

    rows, came = cells.sum(axis=(1, 2)), cells[:, :, 1].sum(axis=1)
    met = rows > 0
    shares = isotonic_regression(came[met] / rows[met], weights=rows[met]).x
    return np.interp(scores, learnt.scores[met], shares), np.interp(learnt.scores, learnt.scores[met], shares)


def _auc(positive: NDArray[Any], negative: NDArray[Any], itself: float = 0.0) -> float:
    """ROC AUC of positive and negative rows (g,) by ascending score: of pairs of both, the share in the right order.

    Pairs of equal scores count one half. `itself` is the number of pairs that rows would make with themselves, if each
    is positive with a chance.
    """
    pairs = positive.sum() * negative.sum() - itself
    right = (positive * (np.cumsum(negative) - negative / 2)).sum() - itself / 2
    return float(right / pairs) if pairs > 0 else math.nan


def _slope(chances: Values, rows: Values) -> Values:
    """How much the expected ROC AUC changes per row of each group (g,) that turns out positive."""
    positive, negative = rows * chances, rows * (1 - chances)
    positives, negatives = positive.sum(), negative.sum()
    if not positives * negatives:
        return np.zeros(len(rows))
    below = np.cumsum(negative) - negative / 2
    above = positives - np.cumsum(positive) + positive / 2
    auc = (positive * below).sum() / (positives * negatives)
    slope: Values = (below - above) / (positives * negatives) - auc / positives + auc / negatives
    return slope
