"""The best predictions without features: what a model has to beat, or it has learnt nothing from the features."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlops.base.errors import DataError
from mlops.base.params import Evaluate
from mlops.data.profile import Distribution
from mlops.evaluation.comparison import paired_bootstrap
from mlops.evaluation.gate import Gain
from mlops.training import task
from mlops.training.metrics import Predictions, score
from mlops.training.task import Headline, Label


def rows_per_class(target: Distribution, classes: tuple[Label, ...]) -> dict[Label, int]:
    """The training rows of each of `classes`, given the distribution of the target; empty to regress.

    Raises:
        DataError: a class has no row there.
    """
    known = dict(zip(target.values.tolist(), target.counts.tolist(), strict=True))
    try:
        return {label: known[str(label) if target.kind == "category" else float(label)] for label in classes}
    except (KeyError, ValueError):
        raise DataError(
            f"the classes {', '.join(map(str, classes))} of the predictions are not those of the training split "
            f"({', '.join(map(str, known))}): run `dvc repro`"
        ) from None


def headline(found: Predictions, target: Distribution, asked: str) -> Headline:
    """The headline metric of these predictions (see `mlops.training.task.headline`).

    Raises:
        DataError: a class has no training row.
    """
    rows = rows_per_class(target, found.classes)
    return task.headline(asked, rows, found.positive, probabilities=found.probabilities is not None)


def predictions(found: Predictions, target: Distribution) -> Predictions:
    """The same n rows, answered without features.

    For classes, the answer is the most frequent class and the share of each class; for numbers, it is the mean. They
    are those of the training rows, of which `target` is the distribution. Of all constant answers, shares have the best
    expected log loss, and the mean has the best squared error (Gneiting and Raftery 2007).

    Raises:
        DataError: a class has no training row.
    """
    rows = len(found.actual)
    if not found.classes:
        return replace(found, predicted=np.full(rows, target.mean))
    counts = np.array(list(rows_per_class(target, found.classes).values()), dtype=np.float64)
    most_frequent = np.array([found.classes[counts.argmax()]], dtype=found.predicted.dtype)
    shares = None if found.probabilities is None else np.tile(counts / counts.sum(), (rows, 1))
    return replace(found, predicted=most_frequent.repeat(rows), probabilities=shares)


def scores(found: Predictions, target: Distribution) -> dict[str, float]:
    """The metrics of the best predictions without features on the n rows of `found`, under the same names.

    Absolute errors are those of the median, which has the smallest.

    Raises:
        DataError: a class has no training row.
    """
    metrics = score(predictions(found, target))
    if found.classes:
        return metrics
    of_median = score(replace(found, predicted=np.full(len(found.actual), _median(target))))
    return metrics | {name: of_median[name] for name in ("mae", "mape") if name in of_median}


def _median(target: Distribution) -> float:
    places: NDArray[np.intp] = np.array([target.given - 1, target.given]) // 2
    return float(target.values[np.searchsorted(np.cumsum(target.counts), places, side="right")].mean())


def skill(found: Predictions, judging: Evaluate) -> dict[str, Gain]:
    """The gain over the best constant prediction on the same n rows, by the name of its one metric.

    The metric is log loss; RMSE for numbers; and balanced accuracy where there are labels only. Log loss is a proper
    score: without features nothing beats the shares of the classes, at any balance. Of labels, accuracy would favour
    the most frequent class; balanced accuracy is the same for all answers that have nothing to do with the row, and is
    the skill score of Peirce (1884) but for its scale.

    The shares of the classes, or the mean, are those of the n rows themselves. Those of the training rows can be beaten
    without features: an outlier moves the mean, and time moves the shares.
    """
    metric = "rmse" if not found.classes else "balanced_accuracy" if found.probabilities is None else "log_loss"
    constant = _constant(found)
    differences = paired_bootstrap(constant, found, judging.resamples, judging.confidence, judging.seed, metric)
    return {each.metric: Gain(*each.gain, len(found.actual)) for each in differences}


def _constant(found: Predictions) -> Predictions:
    """The best constant prediction on the n rows of `found`, which only somebody who knows their targets can make."""
    rows = len(found.actual)
    if not found.classes:
        return replace(found, predicted=np.full(rows, found.actual.astype(np.float64).mean()))
    counts = np.array([(found.actual == label).sum() for label in found.classes])
    most_frequent = np.array([found.classes[counts.argmax()]], dtype=found.predicted.dtype)
    shares = None if found.probabilities is None else np.tile(counts / rows, (rows, 1))
    return replace(found, predicted=most_frequent.repeat(rows), probabilities=shares)
