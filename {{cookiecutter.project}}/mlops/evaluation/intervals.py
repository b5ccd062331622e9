"""How far a metric might have come out differently on another test split of the same size: bootstrap intervals."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops.training.metrics import Predictions, scorer

# Weights in a block: 2 MB of float64, so that a block and what is computed of it stay in the processor's cache.
MOST_WEIGHTS = 250_000


class Interval(NamedTuple):
    """The ends of an interval, in the metric's own unit; NaN if the metric is defined on no resample."""

    low: float
    high: float


def resampling_weights(rows: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each of `rows` is drawn in each resample with replacement, in blocks of shape (b, rows).

    Resample i depends on `rows`, `seed` and i alone, whatever the blocks, so two models can be compared on the same
    resamples.
    """
    most = max(1, MOST_WEIGHTS // rows)
    for start in range(0, resamples, most):
        block = range(start, min(start + most, resamples))
        drawn = (np.random.default_rng([seed, number]).integers(rows, size=rows) for number in block)
        yield np.stack([np.bincount(picks, minlength=rows) for picks in drawn]).astype(np.float64)


def bootstrap(predictions: Predictions, resamples: int, confidence: float, seed: int) -> dict[str, Interval]:
    """Percentile intervals of all metrics (Efron 1979) at `confidence` (0 to 1), over resamples of the n rows.

    Resamples on which a metric is undefined do not count for it.
    """
    found: dict[str, list[NDArray[np.float64]]] = {}
    scores = scorer(predictions)
    for weights in resampling_weights(len(predictions.actual), resamples, seed):
        for name, values in scores(weights).items():
            found.setdefault(name, []).append(values)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return {name: _interval(np.concatenate(values), tails) for name, values in found.items()}


def _interval(values: NDArray[np.float64], tails: list[float]) -> Interval:
    defined = values[~np.isnan(values)]
    return Interval(*(np.quantile(defined, tails).tolist() if len(defined) else (np.nan, np.nan)))
