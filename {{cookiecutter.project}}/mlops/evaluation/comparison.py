"""Whether one model is really better than another, or only came out so: tests on the same folds and the same rows."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.evaluation.intervals import resampling_weights
from mlops.training.metrics import HIGHER_IS_BETTER, Predictions, scorer

Verdict = Literal["better", "worse", "no real difference"]
# Values that are closer than this, as a share of them, are the same: another machine may round them so.
ROUNDING = 1e-9


class Pairs(NamedTuple):
    """Positions (m,) of the rows that two test splits share, in the one and in the other."""

    one: NDArray[np.intp]
    other: NDArray[np.intp]


@dataclass(frozen=True)
class Difference:
    """A metric of two models on the same rows: its values, their difference (other − one), and its interval.

    `p_value` is two-sided: how often resampling the rows would turn the difference round. What is undefined is NaN.
    """

    metric: str
    one: float
    other: float
    difference: float
    low: float
    high: float
    p_value: float

    @property
    def verdict(self) -> Verdict:
        """What the other model is: better or worse if the interval leaves out zero."""
        if not (self.low > 0 or self.high < 0):
            return "no real difference"
        return "better" if (self.low > 0) == HIGHER_IS_BETTER[self.metric] else "worse"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has no NaN: None instead."""
        values = {name: None if value != value else value for name, value in asdict(self).items()}
        return {**values, "verdict": self.verdict}


def shared_rows(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> Pairs:
    """Where the rows stand that are in both of two splits, by their keys (n,) and (k,); equal ones in order."""
    sides = [pd.DataFrame({"key": keys, "at": np.arange(len(keys))}) for keys in (one, other)]
    for side in sides:
        side["turn"] = side.groupby("key").cumcount()
    both = sides[0].merge(sides[1], on=["key", "turn"], suffixes=("_one", "_other"))
    return Pairs(both["at_one"].to_numpy(dtype=np.intp), both["at_other"].to_numpy(dtype=np.intp))


def on_the_same_rows(one: Predictions, other: Predictions, pairs: Pairs) -> tuple[Predictions, Predictions]:
    """Both models' predictions of the shared rows (m,), judged by the other's actual values, should they differ."""
    first, second = one.subset(pairs.one), other.subset(pairs.other)
    return replace(first, actual=second.actual), second


def paired_bootstrap(
    one: Predictions, other: Predictions, resamples: int, confidence: float, seed: int
) -> list[Difference]:
    """The difference of every metric that both have on the same n rows, with its percentile interval.

    Each resample draws rows, and both models are scored on it (Efron and Tibshirani 1993, chapter 16), so what makes a
    row hard for both cancels out. Resamples on which a metric is undefined do not count for it.
    """
    scorers = scorer(one), scorer(other)
    once = np.ones((1, len(one.actual)))
    first, second = (score(once) for score in scorers)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in first if name in second}
    for weights in resampling_weights(len(one.actual), resamples, seed):
        ones, others = (score(weights) for score in scorers)
        for name, parts in drawn.items():
            same = np.isclose(ones[name], others[name], rtol=ROUNDING, atol=0)
            parts.append(np.where(same, 0.0, others[name] - ones[name]))
    return [
        _difference(name, float(first[name][0]), float(second[name][0]), np.concatenate(parts), confidence)
        for name, parts in drawn.items()
    ]


def _difference(metric: str, one: float, other: float, drawn: NDArray[np.float64], confidence: float) -> Difference:
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return Difference(metric, one, other, other - one, math.nan, math.nan, math.nan)
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    # One is added on each side, as for any test by resampling: a p-value of zero cannot be found in so many draws.
    rarer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return Difference(metric, one, other, other - one, low, high, min(1.0, 2 * (rarer + 1) / (len(defined) + 1)))


def mcnemar(one: Predictions, other: Predictions) -> float:
    """Two-sided exact p-value that two classifiers err equally often (McNemar 1947) on the same n rows.

    Only rows that one of them gets right and the other wrong tell: how they divide is a fair coin's doing, or not.
    """
    from scipy import stats

    first, second = one.predicted == one.actual, other.predicted == other.actual
    only_one, only_other = int((first & ~second).sum()), int((second & ~first).sum())
    if not only_one + only_other:
        return 1.0
    return float(stats.binomtest(only_one, only_one + only_other).pvalue)


def corrected_resampled_t(differences: Sequence[float]) -> float:
    """Two-sided p-value that the mean of the differences over k folds is zero (Nadeau and Bengio 2003).

    Folds share training rows, so their differences are no independent sample: the variance is raised by the ratio of
    test to training rows, 1 / (k − 1) in k folds. NaN for fewer than two folds.
    """
    from scipy import stats

    values = np.asarray(differences, dtype=np.float64)
    folds = len(values)
    if folds < 2 or np.isnan(values).any():
        return math.nan
    mean, variance = float(values.mean()), float(values.var(ddof=1))
    if variance == 0:
        return 1.0 if mean == 0 else 0.0
    t = mean / math.sqrt((1 / folds + 1 / (folds - 1)) * variance)
    return float(2 * stats.t.sf(abs(t), folds - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for how many they are (Holm 1979), in their order; an undefined one stays so."""
    defined = sorted((p, position) for position, p in enumerate(p_values) if not math.isnan(p))
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for rank, (p, position) in enumerate(defined):
        largest = max(largest, min(1.0, (len(defined) - rank) * p))
        adjusted[position] = largest
    return adjusted
