"""Performance without labels: what a model's metrics on new rows should be, by what the test rows say of its answers.

Labels: confidence-based performance estimation (CBPE, the method that NannyML made known). Isotonic regression
(Zadrozny and Elkan 2002) on the test rows, which the model has not seen, turns a probability into the share of such
answers that come true; accuracy and ROC AUC are then expected values over the rows. Numbers: direct loss estimation,
with the mean loss of test rows that have a similar prediction as the model of the loss.

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
from mlops.training.task import Label, Task

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
    the prediction. `edges` (g − 1,) are the largest scores of all groups but the last, `scores` (g,) the mean scores,
    `rows` (g,) the test rows, `test` the metrics on them, and `ends` their least and largest score.

    For labels: `chances` (1 + b, g) are the shares of rows in which the positive class came (with many classes: the
    predicted one), by the test rows and by b resamples of them, `corrections` (1 + b,) what has to be added to each
    metric that is expected with them, and `kinds` the rows in which it did not come, and did. For numbers: `losses` and
    `spreads` (2, g) are mean and variance of the absolute and of the squared errors.
    """

    kind: str
    positive: Label | None
    edges: Values
    scores: Values
    rows: Values
    test: dict[str, float]
    ends: tuple[float, float]
    chances: Values
    corrections: dict[str, Values]
    kinds: tuple[int, int]
    losses: Values
    spreads: Values

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
    if predictions.probabilities is None or predictions.kind == "binary":
        return predictions.positive_probability
    found: Values = predictions.probabilities.max(axis=1)
    return found


def learn(test: Predictions, most: int = MOST_GROUPS) -> Learnt | None:
    """What the predictions of n test rows with their actual values teach, in at most `most` groups.

    None without rows or probabilities.
    """
    scores = scores_of(test)
    if scores is None or not len(scores):
        return None
    regression = test.kind == "regression"
    edges = _edges(scores, min(max(len(scores) // LEAST_IN_GROUP, 1), LARGEST_GROUPS) if regression else most)
    group, size = np.searchsorted(edges, scores), len(edges) + 1
    rows = np.bincount(group).astype(np.float64)
    chances, losses, spreads = np.zeros((0, size)), np.zeros((2, size)), np.zeros((2, size))
    corrections: dict[str, Values] = {}
    kinds = (0, 0)
    means = np.bincount(group, scores) / rows
    if regression:
        error = np.abs(test.actual.astype(np.float64) - scores)
        for place, loss in enumerate((error, error**2)):
            losses[place] = np.bincount(group, loss) / rows
            spreads[place] = np.bincount(group, (loss - losses[place][group]) ** 2) / np.maximum(rows - 1, 1)
        metrics = {"mae": float(error.mean()), "rmse": math.sqrt(float((error**2).mean()))}
    else:
        flagged, came = _outcomes(test)
        cells = np.bincount(4 * group + 2 * flagged + came, minlength=4 * size)
        chances, corrections = _calibrated(cells, means)
        kinds = int((~came).sum()), int(came.sum())
        metrics = {"accuracy": float((test.predicted == test.actual).mean())}
        if test.kind == "binary":
            places = np.unique(scores, return_inverse=True)[1]
            metrics["roc_auc"] = float(roc_auc(np.bincount(places, came), np.bincount(places, ~came)))
    ends = float(scores.min()), float(scores.max())
    return Learnt(
        test.kind, test.positive, edges, means, rows, metrics, ends, chances, corrections, kinds, losses, spreads
    )


def grouped(learnt: Learnt, answers: Predictions) -> Answered:
    """The answers of a model on n rows in the groups of its test rows.

    `answers` have probabilities if the model of `learnt` has.
    """
    scores = np.asarray(scores_of(answers))
    group, size = np.searchsorted(learnt.edges, scores), len(learnt.scores)
    flagged = answers.predicted == answers.positive if learnt.kind == "binary" else np.ones(len(scores), dtype=bool)
    beyond = (scores < learnt.ends[0]) | (scores > learnt.ends[1])
    counts = [np.bincount(group, weights, size).astype(np.float64) for weights in (None, flagged, scores)]
    return Answered(counts[0], counts[1], counts[2], int(beyond.sum()))


def estimated(learnt: Learnt, answers: Answered, *, outside: bool = False) -> dict[str, Any]:
    """The estimate as plain values: `metrics`, the `assumption`, whether it is `trusted`, and if not, `why_not`.

    `metrics` are accuracy and for two classes `roc_auc`, or `mae` and `rmse`: each has its `value`, the ends of a 95 %
    interval (`low`, `high`) and the value on the `test` rows. The interval is that of the metric of these very rows,
    were they labelled: so it is wider for fewer rows, and for fewer test rows. `roc_auc` is left out where it is
    undefined. There is at least one row.
    """
    found = _of_numbers(learnt, answers) if learnt.kind == "regression" else _of_labels(learnt, answers)
    largest = math.inf if learnt.kind == "regression" else 1.0
    metrics = {
        name: {
            "value": min(max(value, 0.0), largest),
            "low": min(max(value - CONFIDENT * deviation, 0.0), largest),
            "high": min(max(value + CONFIDENT * deviation, 0.0), largest),
            "test": learnt.test[name],
        }
        for name, (value, deviation) in found.items()
        if math.isfinite(value + deviation + learnt.test[name])
    }
    why_not = OUTSIDE if outside else _too_few(learnt, answers)
    return {"metrics": metrics, "assumption": ASSUMPTION[learnt.task], "trusted": why_not is None, "why_not": why_not}


def _too_few(learnt: Learnt, answers: Answered) -> str | None:
    """Why an estimate from so many rows, or of such rows, says little; None if it does not."""
    test, rows = int(learnt.rows.sum()), int(answers.rows.sum())
    if test < LEAST_TEST:
        return f"it is learnt from {counted(test, 'test row')}, and takes {LEAST_TEST}"
    if rows < LEAST_ROWS:
        return f"there {'is' if rows == 1 else 'are'} {counted(rows, 'row')}, and it takes {LEAST_ROWS}"
    if learnt.kind == "regression":
        if answers.beyond > MOST_BEYOND * rows:
            return f"{answers.beyond / rows:.0%} of the predictions lie beyond all of those on the test split"
    elif min(learnt.kinds) < LEAST_OF_A_KIND:
        what = "of one of the two classes" if learnt.kind == "binary" else ("wrong", "right")[np.argmin(learnt.kinds)]
        return f"of the test rows {min(learnt.kinds)} are {what}, and it takes {LEAST_OF_A_KIND}"
    return None


def _edges(scores: Values, most: int) -> Values:
    """The largest scores of all but the last of at most `most` groups of nearly equally many of n rows.

    Equal scores are in one group.
    """
    values, rows = np.unique(scores, return_counts=True)
    if len(values) <= most:
        return values[:-1]
    group = ((np.cumsum(rows) - rows / 2) * most / len(scores)).astype(np.intp)
    edges: Values = values[:-1][np.diff(group) > 0]
    return edges


def _outcomes(test: Predictions) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each of n test rows whether the positive class was predicted, and whether it came (n,), as in `Learnt`."""
    if test.kind == "binary":
        return test.predicted == test.positive, test.actual == test.positive
    return np.ones(len(test.actual), dtype=bool), test.predicted == test.actual


def _calibrated(cells: NDArray[np.int64], scores: Values) -> tuple[Values, dict[str, Values]]:
    """The `chances` and the `corrections` of `Learnt`, by isotonic regression of what came on the mean `scores` (g,).

    `cells` (4 g,) count the test rows of each group by whether the positive class was predicted, and whether it came.
    """
    from scipy.optimize import isotonic_regression

    size = cells.sum()
    samples = np.random.default_rng(SEED).multinomial(size, cells / size, RESAMPLES)
    every = np.concatenate([cells[np.newaxis], samples]).reshape(1 + RESAMPLES, -1, 2, 2).astype(np.float64)
    rows, flagged, came = every.sum(axis=(2, 3)), every[:, :, 1].sum(axis=2), every[:, :, :, 1].sum(axis=2)
    chances = np.empty_like(rows)
    for of_one, each, hits in zip(chances, rows, came, strict=True):
        met = each > 0
        of_one[:] = np.interp(scores, scores[met], isotonic_regression(hits[met] / each[met], weights=each[met]).x)
    # Isotonic regression flatters the rows that it was fitted to: with 150 of them, ROC AUC would be too high by 0.02.
    flattered = _expected(chances, rows, flagged)
    right = every[:, :, 1, 1].sum(axis=1) + every[:, :, 0, 0].sum(axis=1)
    actual = {"accuracy": right / size, "roc_auc": roc_auc(came, rows - came)}
    return chances, {name: actual[name] - flattered[name] for name in actual}


def _of_numbers(learnt: Learnt, answers: Answered) -> dict[str, tuple[float, float]]:
    """MAE and RMSE of the answers, and their standard deviations: of the rows' own luck and of the test rows'.

    Both are means of the losses of groups, weighted by the rows that are in them now (post-stratification).
    """
    total = answers.rows.sum()
    weights = answers.rows / total
    value = (learnt.losses * weights).sum(axis=1)
    deviation = np.sqrt((learnt.spreads * (weights / total + weights**2 / learnt.rows)).sum(axis=1))
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
    rows = answers.rows
    scores = answers.totals / np.maximum(rows, 1)
    chances = np.stack([np.interp(scores, learnt.scores, one) for one in learnt.chances])
    expected = _expected(chances, rows, answers.flagged)
    luck = rows * chances[0] * (1 - chances[0])
    own = {
        "accuracy": math.sqrt(luck.sum()) / rows.sum(),
        "roc_auc": math.sqrt((luck * _slope(chances[0], rows) ** 2).sum()),
    }
    found = {}
    for name in learnt.test:
        values = expected[name] + learnt.corrections[name]
        resampled = values[np.isfinite(values)]
        found[name] = float(values[0]), math.hypot(own[name], float(resampled.std()) if len(resampled) else 0.0)
    return found


def _expected(chances: Values, rows: Values, flagged: Values) -> dict[str, Values]:
    """Accuracy and ROC AUC, (b,) each, to be expected of rows in g groups that come true with `chances` (b, g).

    `rows` and of them `flagged` with the positive class are (g,) or (b, g); scores ascend from group to group.
    """
    positive = rows * chances
    right = flagged * chances + (rows - flagged) * (1 - chances)
    return {
        "accuracy": right.sum(axis=-1) / rows.sum(axis=-1),
        "roc_auc": roc_auc(positive, rows - positive, (positive * (1 - chances)).sum(axis=-1)),
    }


def roc_auc(positive: NDArray[Any], negative: NDArray[Any], itself: Values | float = 0.0) -> Values:
    """ROC AUC of positive and negative rows (…, g) by ascending score: of pairs of both, the share in the right order.

    Pairs of equal scores count one half. `itself` is the number of pairs that rows would make with themselves, if each
    is positive with a chance. NaN where there is no pair.
    """
    pairs = positive.sum(axis=-1) * negative.sum(axis=-1) - itself
    right = (positive * (np.cumsum(negative, axis=-1) - negative / 2)).sum(axis=-1) - itself / 2
    found: Values = np.where(pairs > 0, right, np.nan) / np.where(pairs > 0, pairs, 1)
    return found


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
