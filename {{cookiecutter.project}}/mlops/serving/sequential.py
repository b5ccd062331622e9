"""Whether a challenger is worse than the champion, by a test that stays valid while one looks at it.

Every metric is a kind of *bad event*: an error, a slow answer, a wrong one. A request goes to the challenger with a
known share, drawn independently of its outcome. So if the challenger's rate of bad events is at most `tolerated` times
the champion's, a bad event is the challenger's with at most a known probability. The evidence against that hypothesis
is a mixture of likelihood ratios over larger ratios of the rates: an e-process. Its chance of ever reaching 1/alpha is
at most alpha (Ville's inequality), however often and whenever one looks, and whatever the rates do meanwhile, as long
as they do it in both variants. The mean over several metrics is an e-process again, so that no further correction for
their number is needed. All of it depends on counts by share alone: workers add them up, and a restart loses nothing.

Sources: Lindon, Sanden, Shirikian (2022), Rapid Regression Detection in Software Deployments through Sequential
Testing, arXiv:2205.14762; Lindon, Malek (2022), Anytime-Valid Inference for Multinomial Count Data, NeurIPS.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Ratios of the rates, relative to the tolerated one, among which the true one is looked for: from 1.05 to 100, dense
# where it takes many events to tell one from another. From 1.3 on, a ratio of 1.1 would never be found.
RATIOS = np.exp(np.geomspace(np.log(1.05), np.log(100), 12))
LARGEST = 690.0  # exp of more is no finite float64

# Bad events of the challenger and of the champion, by the challenger's share when the requests were assigned. A count
# is a number, or an array with an entry per run of a simulation.
Counts = Mapping[float, tuple[ArrayLike, ArrayLike]]


@dataclass(frozen=True)
class Hypothesis:
    """That the challenger's rate of a metric's events is at most `tolerated` times the champion's.

    With `fewer` it is the other way round: the champion's rate is at most `tolerated` times the challenger's.
    """

    metric: str
    tolerated: float
    fewer: bool = False


@dataclass(frozen=True)
class Verdict:
    """The evidence against each hypothesis, in their order, as natural logarithms, and against all of them together."""

    alarm: bool
    log_evidence: tuple[float, ...]
    log_mean: float
    worst: int  # position of the hypothesis with the most evidence against it

    @property
    def mean(self) -> float:
        """The mean evidence, at most 1e299."""
        return finite_exp(self.log_mean)


def log_evidence(counts: Counts, hypothesis: Hypothesis) -> NDArray[np.float64]:
    """The logarithm of the evidence against one hypothesis; shape () for numbers, else that of the arrays of counts.

    Without events it is 0: evidence of 1, which speaks neither for nor against.
    """
    if not counts:
        return np.zeros(())
    columns: list[ArrayLike] = []
    weights = []
    for share, (challenger, champion) in counts.items():
        ours, bad, other = share, challenger, champion
        if hypothesis.fewer:
            ours, bad, other = 1 - share, champion, challenger
        # How much likelier each of the two events is under a larger ratio of the rates, as logarithms of shape (12,).
        expected = _probability(hypothesis.tolerated, ours)
        larger = _probability(hypothesis.tolerated * RATIOS, ours)
        columns += [bad, other]
        weights += [np.log(larger / expected), np.log((1 - larger) / (1 - expected))]
    return _log_mean_exp(np.stack(np.broadcast_arrays(*columns), axis=-1) @ np.stack(weights))


def log_mean(evidence: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """The logarithm of the mean of evidence, from its logarithms: one per hypothesis, of shapes that fit together."""
    return _log_mean_exp(np.stack(np.broadcast_arrays(*evidence), axis=-1))


def _log_mean_exp(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(mean(exp(values))) over the last axis, without overflow."""
    largest = values.max(axis=-1, keepdims=True)
    mean: NDArray[np.float64] = np.log(np.exp(values - largest).mean(axis=-1)) + largest[..., 0]
    return mean


def verdict(counts: Mapping[str, Counts], hypotheses: Sequence[Hypothesis], alpha: float) -> Verdict:
    """Judge the counts of all metrics; there is an alarm if the mean evidence is at least 1/`alpha`.

    The hypotheses must have been fixed before the first event. One without events takes part all the same: it makes
    the mean smaller, which is what holds the chance of a false alarm.
    """
    found = [float(log_evidence(counts.get(one.metric, {}), one)) for one in hypotheses]
    mean = float(log_mean(found))
    return Verdict(mean >= -math.log(alpha), tuple(found), mean, int(np.argmax(found)))


def finite_exp(logarithm: float) -> float:
    """The exponential, at most 1e299, so that JSON can hold it."""
    return math.exp(min(logarithm, LARGEST))


def _probability(ratio: Any, share: float) -> Any:
    """The probability that an event is that of the variant with this share, if its rate is `ratio` times the other."""
    return share * ratio / (share * ratio + 1 - share)
