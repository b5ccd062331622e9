"""Whether two models really differ, or by chance only: statistical tests on the same folds and the same rows."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.evaluation.intervals import Scoring, percentile_interval, resampled
from mlops.training.metrics import HIGHER_IS_BETTER, Predictions, Scorer, Values, Weights, score, scorer

Verdict = Literal["better", "worse", "no real difference"]
# Values whose relative difference is smaller count as equal: another machine may round them so.
ROUNDING = 1e-9


class Pairs(NamedTuple):
    """The positions (m,) of the shared rows of two test splits, in the one split and in the other."""

    one: NDArray[np.intp]
    other: NDArray[np.intp]


@dataclass(frozen=True)
class Difference:
    """A metric of two models on the same rows: both values, their difference (other − one), and its interval.

    `p_value` is two-sided, from the share of resamples on which the difference changes its sign. Undefined values are
    NaN.
    """

    metric: str
    one: float
    other: float
    difference: float
    low: float
    high: float
    p_value: float

    @property
    def gain(self) -> tuple[float, float]:
        """The improvement of the metric by the other model, and the low end of its interval."""
        if HIGHER_IS_BETTER[self.metric]:
            return self.difference, self.low
        return 0 - self.difference, 0 - self.high  # −0.0 would be printed as such

    @property
    def verdict(self) -> Verdict:
        """Whether the other model is better or worse: a real difference has an interval without zero."""
        if not (self.low > 0 or self.high < 0):
            return "no real difference"
        return "better" if (self.low > 0) == HIGHER_IS_BETTER[self.metric] else "worse"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, None instead of NaN."""
        values = {name: None if value != value else value for name, value in asdict(self).items()}
        return {**values, "verdict": self.verdict}


def shared_rows(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> Pairs:
    """Pair the rows of two splits by their keys (n,) and (k,); rows with equal keys are paired in order."""
    sides = [pd.DataFrame({"key": keys, "at": np.arange(len(keys))}) for keys in (one, other)]
    for side in sides:
        side["turn"] = side.groupby("key").cumcount()
    both = sides[0].merge(sides[1], on=["key", "turn"], suffixes=("_one", "_other"))
    return Pairs(both["at_one"].to_numpy(dtype=np.intp), both["at_other"].to_numpy(dtype=np.intp))


def on_the_same_rows(one: Predictions, other: Predictions, pairs: Pairs) -> tuple[Predictions, Predictions]:
    """Both models' predictions of the m shared rows; where the actual values differ, the other's are used for both."""
    first, second = one.subset(pairs.one), other.subset(pairs.other)
    return replace(first, actual=second.actual), second


def paired_bootstrap(
    one: Predictions, other: Predictions, resamples: int, confidence: float, seed: int, only: str = ""
) -> list[Difference]:
    """The difference of every metric that both models have on the same n rows, with its percentile interval.

    With `only`, it is that of one metric (`rmse`, `log_loss` or `balanced_accuracy`), which is much less work.

    Both models are scored on the same resamples of the rows (Efron and Tibshirani 1993, chapter 16), so that rows that
    are hard for both cancel out. Resamples on which a metric is undefined do not count.
    """
    first, second = score(one, only), score(other, only)
    values = resampled(Scoring(_differences, (one, other, only)), len(one.actual), resamples, seed)
    return [
        _difference(name, first[name], second[name], values[name], confidence) for name in values if only in ("", name)
    ]


def _differences(one: Predictions, other: Predictions, only: str) -> Scorer:
    """What makes the differences of two models' metrics on the same weightings of their rows."""
    score_one, score_other = scorer(one, only), scorer(other, only)

    def differences(weights: Weights) -> dict[str, Values]:
        ones, others = score_one(weights), score_other(weights)
        equal = {name: np.isclose(ones[name], others[name], rtol=ROUNDING, atol=0) for name in ones if name in others}
        return {name: np.where(same, 0.0, others[name] - ones[name]) for name, same in equal.items()}

    return differences


def _difference(metric: str, one: float, other: float, values: NDArray[np.float64], confidence: float) -> Difference:
    low, high = percentile_interval(values, confidence)
    if math.isnan(low):
        return Difference(metric, one, other, other - one, low, high, math.nan)
    # One is added to both counts, as in any resampling test: so few resamples cannot show a p-value of zero.
    rarer = min(int((values <= 0).sum()), int((values >= 0).sum()))
    p_value = min(1.0, 2 * (rarer + 1) / (int((~np.isnan(values)).sum()) + 1))
    return Difference(metric, one, other, other - one, low, high, p_value)


def mcnemar(one: Predictions, other: Predictions) -> float:
    """The two-sided exact p-value of McNemar's test (1947): two classifiers err equally often on the same n rows.

    Only rows that exactly one classifier gets right count. If both err equally often, such a row is a fair coin toss.
    """
    from scipy import stats

    first, second = one.predicted == one.actual, other.predicted == other.actual
    only_one, only_other = int((first & ~second).sum()), int((second & ~first).sum())
    if not only_one + only_other:
        return 1.0
    return float(stats.binomtest(only_one, only_one + only_other).pvalue)


def corrected_resampled_t(differences: Sequence[float]) -> float:
    """The two-sided p-value that the mean difference over k folds is zero (Nadeau and Bengio 2003).

    Folds share training rows, so their differences are not independent: the variance is raised by the ratio of test to
    training rows, which is 1 / (k − 1). The result is NaN for fewer than two folds.
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
    """The p-values, adjusted for their number (Holm 1979), in the same order; NaN stays NaN and does not count."""
    defined = sorted((p, position) for position, p in enumerate(p_values) if not math.isnan(p))
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for rank, (p, position) in enumerate(defined):
        largest = max(largest, min(1.0, (len(defined) - rank) * p))
        adjusted[position] = largest
    return adjusted
