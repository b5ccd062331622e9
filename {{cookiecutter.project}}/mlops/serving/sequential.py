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

# Ratios of the rates, relative to the tolerated one, among which the true one is looked for.
RATIOS = np.geomspace(1.3, 100, 12)
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
    total: Any = np.zeros(len(RATIOS))
    for share, (challenger, champion) in counts.items():
        ours, bad, other = share, challenger, champion
        if hypothesis.fewer:
            ours, bad, other = 1 - share, champion, challenger
        # The logarithms of how much likelier each event is under a larger ratio of the rates, shape (12,).
        expected = _probability(hypothesis.tolerated, ours)
        larger = _probability(hypothesis.tolerated * RATIOS, ours)
        gain, loss = np.log(larger / expected), np.log((1 - larger) / (1 - expected))
        total = total + np.multiply.outer(bad, gain) + np.multiply.outer(other, loss)
    mean: NDArray[np.float64] = np.logaddexp.reduce(total, axis=-1) - math.log(len(RATIOS))
    return mean


def log_mean(evidence: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """The logarithm of the mean of evidence, from its logarithms: one per hypothesis, each of the same shape."""
    mean: NDArray[np.float64] = np.logaddexp.reduce(np.asarray(evidence, dtype=float), axis=0) - math.log(len(evidence))
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
