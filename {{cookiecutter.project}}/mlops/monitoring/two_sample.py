"""Two-sample statistics of whole distributions, all of them from one table of rows per sample and value.

`scipy.stats` has most of the tests, but takes longer to import than a hundred columns to compare: the p-values come
from `scipy.special`, and agree with those of `scipy.stats`.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.data.profile import Distribution

# Up to this many rows on both sides, scipy's `ks_2samp` computes an exact p-value, and so does this module.
MOST_EXACT = 10_000
# From this n·D² on, scipy doubles the one-sided p-value to get the two-sided one, and so does this module.
TAIL = 2.2
LEAST_ASYMPTOTIC = 2_000  # rows from which on an expansion in the sample's size has six digits
# The distribution of chi-square holds where each cell is expected to have this many rows (Cochran 1954).
LEAST_EXPECTED = 5
BINS = 10  # of the population stability index of numbers
ALIKE = 1e-7  # two tables are equally probable if their probabilities differ by less than this share


def contingency(one: Distribution, other: Distribution) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The k values (numbers or levels) that occur in either sample, sorted, and their rows (2, k)."""
    if one.kind == "category":
        return _shared_levels(one, other)
    # Both are sorted: a stable sort merges them, in a tenth of the time that it takes to sort.
    both = np.concatenate([one.values, other.values])
    order = np.argsort(both, kind="stable")
    both, counts = both[order], np.concatenate([one.counts, other.counts])[order]
    table = np.empty((2, len(both)), dtype=np.int64)
    np.multiply(counts, order < len(one.values), out=table[0])
    np.subtract(counts, table[0], out=table[1])
    first = np.append(True, both[1:] != both[:-1])[: len(both)]
    if first.all():
        return both, table
    return both[first], np.add.reduceat(table, np.flatnonzero(first), axis=1)


def _shared_levels(one: Distribution, other: Distribution) -> tuple[NDArray[Any], NDArray[np.int64]]:
    # Both are sorted: a merge, where sorting a million levels anew takes seconds.
    first, second = (pd.Index(side.values, dtype=object) for side in (one, other))
    levels, *places = first.join(second, how="outer", return_indexers=True)
    table = np.zeros((2, len(levels)), dtype=np.int64)
    for row, (side, at) in enumerate(zip((one, other), places, strict=True)):
        table[row] = side.counts if at is None else np.append(side.counts, 0)[at]  # -1 is a level of the other
    return levels.to_numpy(), table


# Numbers


def distances(values: NDArray[np.float64], table: NDArray[np.int64]) -> tuple[float, float]:
    """How far two samples of numbers are apart: the Kolmogorov–Smirnov and the first Wasserstein distance.

    `values` (k,) are sorted, with rows (2, k). The first distance is the largest gap between the shares of rows up to a
    value (0 to 1); the second one is how far a row moved on average, in the unit of the values.
    """
    one, other = np.cumsum(table, axis=1)
    rows = int(one[-1] * other[-1])
    # The gaps are counted in whole rows and divided once: a gap of exactly the floor must reach the floor.
    gaps = np.abs(one * other[-1] - other * one[-1])
    with np.errstate(over="ignore", invalid="ignore"):  # of infinite values, or nearly infinite ones
        return int(gaps.max()) / rows, float(np.sum(gaps[:-1] * np.diff(values)) / rows)


def standard_deviation(sample: Distribution) -> float:
    """The standard deviation of numbers, of which there is one at least; infinite if floats cannot hold it."""
    if len(sample.values) == 1:
        return 0.0  # the mean of equal values may be rounded
    with np.errstate(over="ignore", invalid="ignore"):
        apart = sample.values - np.sum(sample.values * sample.counts) / sample.given
        return float(np.sqrt(np.sum(apart**2 * sample.counts) / sample.given))


def ks_p_value(table: NDArray[np.int64], distance: float) -> float:
    """The two-sided p-value of `distance`, equal to that of `scipy.stats.ks_2samp`.

    The p-value is exact up to 10,000 rows on both sides, and asymptotic above.
    """
    sizes = table.sum(axis=1).tolist()
    if max(sizes) <= MOST_EXACT:
        from scipy import stats

        return float(stats.ks_2samp(*(np.repeat(np.arange(len(rows)), rows) for rows in table)).pvalue)
    size = round(sizes[0] * sizes[1] / sum(sizes))
    if size * distance**2 < TAIL:
        if size < LEAST_ASYMPTOTIC:
            from scipy import stats

            return float(stats.kstwo.sf(distance, size))
        return _kolmogorov(size, distance)
    return min(2 * _smirnov(size, distance), 1.0)


def _kolmogorov(size: int, distance: float) -> float:
    """The two-sided p-value of the Kolmogorov–Smirnov statistic of one sample (Pelz and Good 1976).

    scipy's `kstwo` takes the same four terms; what they leave out falls with the square of the sample's size.
    """
    z = distance * math.sqrt(size)
    if z < 0.1:  # every term is 0
        return 1.0
    half, whole = (math.pi * (np.arange(-20, 21) + shift) for shift in (0.5, 0.0))
    odd, even = (np.exp(-(values**2) / (2 * z**2)) for values in (half, whole))
    terms = [
        np.sum(odd) / z,
        np.sum((half**2 - z**2) * odd) / (6 * z**4),
        np.sum((6 * z**6 + 2 * z**4 + (2 * z**4 - 5 * z**2) * half**2 + (1 - 2 * z**2) * half**4) * odd) / (72 * z**7)
        - np.sum(whole**2 * even) / (36 * z**3),
        np.sum(
            (
                (5 - 30 * z**2) * half**6
                + (212 * z**4 - 60 * z**2) * half**4
                + (135 * z**4 - 96 * z**6) * half**2
                - 30 * z**6
                - 90 * z**8
            )
            * odd
        )
        / (6480 * z**10)
        + np.sum((3 * z**2 * whole**2 - whole**4) * even) / (2160 * z**6),
    ]
    below = math.sqrt(math.pi / 2) * sum(float(term) / math.sqrt(size) ** power for power, term in enumerate(terms))
    return min(max(1 - below, 0.0), 1.0)


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


def deciles(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows (2, b) in the bins between the deciles of the first sample, from the rows (2, k) by sorted value.

    A value that has a tenth of the first sample is a bin of its own.
    """
    up_to = np.cumsum(table[0])
    ends = np.unique(np.searchsorted(up_to * BINS, np.arange(1, BINS) * up_to[-1]))
    heavy = np.flatnonzero(table[0] * BINS >= up_to[-1])
    starts = np.unique(np.concatenate([[0], ends + 1, heavy, heavy + 1]))
    binned: NDArray[np.int64] = np.add.reduceat(table, starts[starts < table.shape[1]], axis=1)
    return binned


# Categories


def rare_merged(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows (2, k) with rare levels in one cell, so that chi-square holds: all cells are expected to have 5 rows.

    Which levels are rare depends on the rows of both samples together, and never on one of them: otherwise samples of
    the same population would differ by the choice. If the rare ones together are too few, the least frequent other
    level joins them. Two cells are left at least, the most frequent level and the rest; then, a cell may have fewer.
    """
    sizes = table.sum(axis=1)
    table = table[:, np.argsort(-table.sum(axis=0), kind="stable")]
    expected = table.sum(axis=0) * (sizes.min() / sizes.sum())
    common = max(int(np.sum(expected >= LEAST_EXPECTED)), 1)
    if 1 < common < table.shape[1] and expected[common:].sum() < LEAST_EXPECTED:
        common -= 1
    return np.column_stack([table[:, :common], *([table[:, common:].sum(axis=1)] if common < table.shape[1] else [])])


def chi_square(table: NDArray[np.int64]) -> tuple[float, float]:
    """Pearson's statistic of a table (2, k) without empty columns, and its p-value, as `scipy.stats` computes them.

    Two columns get Yates's correction; if a cell is expected to have fewer than 5 rows, the p-value is the one of
    Fisher's exact test (Cochran 1954).
    """
    from scipy import special

    sizes = table.sum(axis=1, keepdims=True)
    expected = table.sum(axis=0) * (sizes / sizes.sum())
    apart = np.abs(table - expected)
    if table.shape[1] == 2:
        apart = np.maximum(apart - 0.5, 0)
    statistic = float(np.sum(apart**2 / expected))
    if table.shape[1] == 2 and expected.min() < LEAST_EXPECTED:
        return statistic, _fisher(table)
    return statistic, float(special.chdtrc(table.shape[1] - 1, statistic))


def _fisher(table: NDArray[np.int64]) -> float:
    """The two-sided p-value of Fisher's exact test of a table (2, 2): of all tables that are not more probable."""
    from scipy import special

    rows, column = table.sum(axis=1).tolist(), int(table[:, 0].sum())
    least = max(0, column - rows[1])
    first = np.arange(least, min(column, rows[0]) + 1)
    cells = (first, rows[0] - first, column - first, rows[1] - column + first)
    logs = -sum(special.gammaln(cell + 1.0) for cell in cells)
    chances = np.exp(logs - logs.max())
    at = chances[int(table[0, 0]) - least]
    return float(min(chances[chances <= at * (1 + ALIKE)].sum() / chances.sum(), 1.0))


def unseen_levels(table: NDArray[np.int64]) -> tuple[int, float, float]:
    """How many levels the second sample alone has, by rows (2, k) per level; their p-value; their share beyond chance.

    Rare levels are often in one sample only. If both are of one population, a level of t rows is missing in the first
    with a chance of q^t at most, where q is the second one's share of all rows. The number of such levels is spread
    less than a Poisson number with the mean of these chances, so that the p-value is too large, if anything. The share
    (0 to 1) is of the second sample's rows, less the expected one.
    """
    from scipy import special

    totals, rows = table.sum(axis=0), table.sum(axis=1).tolist()
    chances = (rows[1] / sum(rows)) ** totals.astype(np.float64)
    alone = table[0] == 0
    count = int(alone.sum())
    share = (int(totals[alone].sum()) - float(np.sum(totals * chances))) / rows[1]
    return count, float(special.gammainc(count, chances.sum())) if count else 1.0, min(max(share, 0.0), 1.0)


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


def jensen_shannon(table: NDArray[np.int64]) -> float:
    """The Jensen–Shannon distance (base 2; 0 to 1) of a table (2, k), as `scipy.spatial.distance.jensenshannon`."""
    from scipy import special

    shares = table / table.sum(axis=1, keepdims=True)
    divergence = float(np.sum(special.rel_entr(shares, shares.mean(axis=0))) / math.log(4))
    return math.sqrt(min(max(divergence, 0.0), 1.0))


# Both


def population_stability_index(table: NDArray[np.int64]) -> float:
    """The population stability index (symmetric Kullback–Leibler divergence) of a table (2, k).

    Half a row is added to every cell: without it, an empty cell would be infinitely far away.
    """
    shares = (table + 0.5) / (table + 0.5).sum(axis=1, keepdims=True)
    return float(np.sum((shares[0] - shares[1]) * np.log(shares[0] / shares[1])))


def share_change(table: NDArray[np.int64]) -> float:
    """The absolute difference between the shares of the second outcome, from a table (2, 2)."""
    (rows, rows_now), (count, count_now) = table.sum(axis=1).tolist(), table[:, 1].tolist()
    return float(abs(count_now * rows - count * rows_now) / (rows * rows_now))  # divided once, as in `ks_distance`


def false_discovery_control(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The p-values (n,) adjusted for their number by Benjamini and Hochberg (1995), as `scipy.stats` adjusts them."""
    order = np.argsort(p_values)[::-1]
    scaled = p_values[order] * len(p_values) / np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1)
    return adjusted
