"""Bootstrap intervals: how far a metric might differ on another test split of the same size."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlops.training import parallel
from mlops.training.metrics import Predictions, Scorer, scorer

# The weights of a block take 2 MB as float64, so that a block and its results stay in the processor's cache.
MOST_WEIGHTS = 250_000
# So many of them are a piece of parallel work, of some tenths of a second.
BLOCKS = 20


class Interval(NamedTuple):
    """The ends of an interval, in the metric's own unit; NaN if the metric is defined on no resample."""

    low: float
    high: float


@dataclass(frozen=True)
class Scoring:
    """A function and its arguments that make a scorer, which cannot be sent to another process: each makes its own."""

    make: Callable[..., Scorer]
    arguments: tuple[Any, ...]

    @cached_property
    def score(self) -> Scorer:
        """The scorer, made once."""
        return self.make(*self.arguments)

    def __getstate__(self) -> dict[str, Any]:
        """Without the scorer."""
        return {"make": self.make, "arguments": self.arguments}


def resampling_weights(rows: int, resamples: int, seed: int, first: int = 0) -> Iterator[NDArray[np.float64]]:
    """How often each of `rows` is drawn in each resample with replacement, from the `first` on, in blocks (b, rows).

    Resample i depends on `rows`, `seed` and i alone, whatever the blocks, so two models can be compared on the same
    resamples.
    """
    most = max(1, MOST_WEIGHTS // rows)
    for start in range(first, resamples, most):
        block = range(start, min(start + most, resamples))
        samples = (np.random.default_rng([seed, number]).integers(rows, size=rows) for number in block)
        yield np.stack([np.bincount(sample, minlength=rows) for sample in samples]).astype(np.float64)


def resampled(scoring: Scoring, rows: int, resamples: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """The values (`resamples`,) that a scorer gives for each resample of `rows`, by name.

    On this machine they are computed one after the other: many rows take much memory for each that is computed at once.
    """
    size = BLOCKS * max(1, MOST_WEIGHTS // rows)
    pieces = [(start, min(start + size, resamples)) for start in range(0, resamples, size)]
    return _joined(list(parallel.each(_resamples, (scoring, rows, seed), pieces, 1, at_once=False)))


def _resamples(scoring: Scoring, rows: int, seed: int, first: int, end: int) -> dict[str, NDArray[np.float64]]:
    """The values of the resamples from the `first` to that before the `end`."""
    return _joined([scoring.score(weights) for weights in resampling_weights(rows, end, seed, first)])


def _joined(blocks: Sequence[dict[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def percentile_interval(values: NDArray[np.float64], confidence: float) -> Interval:
    """The percentile interval (Efron 1979) of values (b,) on b resamples at `confidence` (0 to 1).

    Resamples on which the value is undefined (NaN) do not count.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Interval(np.nan, np.nan)
    return Interval(*np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist())


def bootstrap(predictions: Predictions, resamples: int, confidence: float, seed: int) -> dict[str, Interval]:
    """The percentile interval of every metric over resamples of the n rows."""
    metrics = resampled(Scoring(scorer, (predictions,)), len(predictions.actual), resamples, seed)
    return {name: percentile_interval(values, confidence) for name, values in metrics.items()}


def expected(folds: Sequence[float | None], train: int, test: int, confidence: float) -> Interval:
    """The interval in which a metric on `test` rows is expected, given its values (k,) on k folds of `train` rows.

    It is Student's prediction interval of one more value. Two things are added to the textbook: folds share training
    rows, so that the variance of their mean is raised by 1 / (k − 1) (Nadeau and Bengio 2003), and the test rows are
    more or fewer than those of a fold, `train` / k, in inverse proportion to which the variance of a value falls. The
    ends are NaN if the metric is undefined on a fold.
    """
    from scipy.special import stdtrit  # scipy.stats takes two seconds to import

    count, values = len(folds), np.array(folds, dtype=np.float64)
    if count < 2 or np.isnan(values).any():
        return Interval(np.nan, np.nan)
    spread = values.std(ddof=1) * math.sqrt(1 / count + 1 / (count - 1) + train / count / test)
    reach = float(stdtrit(count - 1, (1 + confidence) / 2) * spread)
    return Interval(float(values.mean()) - reach, float(values.mean()) + reach)
