"""Two-sample statistics of whole distributions: Kolmogorov–Smirnov for numbers, Cramér's V for categories."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.data.profile import Distribution

# Up to this many rows on both sides, scipy's `ks_2samp` computes an exact p-value, and so does this module.
MOST_EXACT = 10_000
# From this n·D² on, scipy doubles the one-sided p-value to get the two-sided one, and so does this module.
TAIL = 2.2


def ks_distance(one: Distribution, other: Distribution) -> float:
    """The Kolmogorov–Smirnov statistic D: the largest gap between two distribution functions (0 to 1)."""
    # Between two values of `one` only the other function rises: the gap is largest at a value, or just before it.
    at = np.searchsorted(other.values, one.values, side="right")
    shared = np.append(np.nan, other.values)[at] == one.values
    up_to, others = np.cumsum(one.counts), np.append(0, np.cumsum(other.counts))
    above = up_to * other.given - others[at] * one.given
    below = others[at - shared] * one.given - (up_to - one.counts) * other.given
    # The gap is counted in whole rows and divided once: a gap of exactly the floor must reach the floor.
    return int(max(above.max(), below.max())) / (one.given * other.given)


def ks_p_value(one: Distribution, other: Distribution, distance: float) -> float:
    """The two-sided p-value of `distance`, equal to that of `scipy.stats.ks_2samp`.

    The p-value is exact up to 10,000 rows on both sides, and asymptotic above.
    """
    from scipy import stats

    if max(one.given, other.given) <= MOST_EXACT:
        samples = (np.repeat(side.values, side.counts) for side in (one, other))
        return float(stats.ks_2samp(*samples).pvalue)
    size = round(one.given * other.given / (one.given + other.given))
    if size * distance**2 < TAIL:
        return float(stats.kstwo.sf(distance, size))
    return min(2 * _smirnov(size, distance), 1.0)


def _smirnov(size: int, distance: float) -> float:
    """The one-sided p-value of the Kolmogorov–Smirnov statistic (Birnbaum and Tingey 1951).

    `scipy.special.smirnov` adds the same terms one by one, which takes 80 ms instead of 5 for 50,000 terms.
    """
    from scipy import special

    below = np.arange(math.ceil(size * (1 - distance)))
    level = distance + below / size
    ways = special.gammaln(size + 1) - special.gammaln(below + 1) - special.gammaln(size - below + 1)
    terms = ways + (below - 1) * np.log(level) + (size - below) * np.log1p(-level)
    return float(distance * np.exp(terms).sum())


def contingency(one: Distribution, other: Distribution) -> tuple[pd.Index, NDArray[np.int64]]:
    """The k levels of two categories that occur on either side, sorted, and their rows (2, k)."""
    # Both are sorted: a merge, where sorting a million levels anew takes seconds.
    first, second = (pd.Index(side.values, dtype=object) for side in (one, other))
    levels, *places = first.join(second, how="outer", return_indexers=True)
    table = np.zeros((2, len(levels)), dtype=np.int64)
    for row, (side, at) in enumerate(zip((one, other), places, strict=True)):
        table[row] = side.counts if at is None else np.append(side.counts, 0)[at]  # -1 is a level of the other
    return levels, table


def cramers_v(table: NDArray[np.int64]) -> float:
    """Cramér's V (1946) of a table (2, k), with equal weight for both rows and corrected for chance; 0 to 1.

    Without equal weights, a delivery of some hundred rows would vanish beside a large baseline. Without the correction
    (as Bergsma 2013), many levels in few rows would always differ, and there the p-value too is smaller than it should
    be.
    """
    sizes = table.sum(axis=1)
    one, other = table / sizes[:, np.newaxis]
    square = float(np.sum((one - other) ** 2 / (one + other)) / 2)
    chance = float((table.shape[1] - 1) * np.sum(1 / sizes) / 4)
    return math.sqrt(max(square - chance, 0) / (1 - chance)) if chance < 1 else 0.0


def share_change(table: NDArray[np.int64]) -> float:
    """The absolute difference between the shares of the second outcome, from a table (2, 2)."""
    (rows, rows_now), (count, count_now) = table.sum(axis=1).tolist(), table[:, 1].tolist()
    return float(abs(count_now * rows - count * rows_now) / (rows * rows_now))  # divided once, as in `ks_distance`
