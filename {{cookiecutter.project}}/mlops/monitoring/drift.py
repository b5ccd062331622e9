"""Whether a delivery is distributed as the training data was: a test and an effect size per column.

A small p-value says that two samples differ, not that it matters: with a million rows everything differs. So a column
has drifted only if the adjusted p-value is below its limit and the effect reaches its floor; both are reported.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops.base.errors import ParameterError, nearest
from mlops.data.profile import Distribution, Profile

# Up to this many rows on both sides, scipy's `ks_2samp` computes an exact p-value, and so does this module.
MOST_EXACT = 10_000
# From this n·D² on, scipy takes a two-sided p-value for twice the one-sided one, and so does this module.
TAIL = 2.2
EXAMPLES = 5

TestName = Literal["kolmogorov_smirnov", "chi_square", "missing_share"]


@dataclass(frozen=True)
class Limits:
    """`p_value` (adjusted) below which, and effects from which, a difference is drift; `drifted_share` of the features.

    Effects, all 0 to 1: largest gap of two distribution functions, Cramér's V, change of the missing share. A gap of
    0.1 is what a shift of a quarter of a standard deviation makes, and a V of 0.1 a yes that 60 instead of 50 of 100
    rows say: Cohen's (1988) small effects.
    """

    p_value: float
    ks_distance: float
    cramers_v: float
    missing_change: float
    drifted_share: float


@dataclass(frozen=True)
class Test:
    """One test of one column: its statistic, p-values before and after adjustment, effect, and verdict.

    `note` says why nothing could be tested: then statistic and effect are 0 and the p-value is 1.
    """

    name: TestName
    statistic: float
    p_value: float
    adjusted_p_value: float
    effect: float
    floor: float
    drifted: bool
    note: str | None = None


@dataclass(frozen=True)
class ColumnDrift:
    """How one column changed; means are of numbers only, their shift in % of the baseline's, None where that is 0.

    `effect` is the largest of its tests; `sample_sizes` are the rows with a value, then and now. Of the levels that the
    baseline lacks, `new_levels` has up to five and `new_level_count` says how many there are.
    """

    column: str
    kind: str
    drifted: bool
    effect: float
    tests: list[Test]
    sample_sizes: tuple[int, int]
    missing_shares: tuple[float, float]
    baseline_mean: float | None
    new_mean: float | None
    mean_shift_percent: float | None
    new_levels: list[str]
    new_level_count: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def watched(profile: Profile, features: Sequence[str], chosen: Sequence[str] | Literal["all"]) -> list[str]:
    """The features to watch, in their own order.

    Raises:
        ParameterError: one that is chosen is not in the baseline; all such are named.
    """
    known = [name for name in features if name in profile]
    if chosen == "all":
        return known
    unknown = [name for name in chosen if name not in known]
    if unknown:
        hint = nearest(unknown[0], known)
        raise ParameterError(f"monitor.features names {', '.join(unknown)}, not in the baseline: {hint}")
    return [name for name in known if name in chosen]


def compare(baseline: Profile, current: Profile, names: Sequence[str], limits: Limits) -> list[ColumnDrift]:
    """Test each named column; p-values are adjusted together (Benjamini and Hochberg 1995).

    Numbers: two-sample Kolmogorov–Smirnov. Categories: chi-square of the contingency table of old and new, never the
    one against fixed shares, which takes the baseline for exact. Both leave missing values out; their share has a test
    of its own.
    """
    from scipy import stats

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:  # numpy searches outside the interpreter's lock
        warnings.simplefilter("ignore", RuntimeWarning)  # where an exact p-value fails, scipy approximates, and warns
        found = pool.map(lambda name: _tests(baseline[name], current[name], limits), names)
        tests = dict(zip(names, found, strict=True))
    every = [test for name in names for test in tests[name]]
    adjusted = stats.false_discovery_control([test.p_value for test in every]) if every else np.array([])
    judged = iter([_judged(test, float(p), limits.p_value) for test, p in zip(every, adjusted, strict=True)])
    return [_column(name, baseline[name], current[name], [next(judged) for _ in tests[name]]) for name in names]


def ks_distance(one: Distribution, other: Distribution) -> float:
    """The two-sample Kolmogorov–Smirnov statistic D: the largest gap between two distribution functions (0 to 1)."""
    # Between two values of `one` only the other function rises: the gap is largest at one of them, or just before it.
    at = np.searchsorted(other.values, one.values, side="right")
    shared = np.append(np.nan, other.values)[at] == one.values
    up_to, others = np.cumsum(one.counts), np.append(0, np.cumsum(other.counts))
    above = up_to * other.given - others[at] * one.given
    below = others[at - shared] * one.given - (up_to - one.counts) * other.given
    # In whole rows, divided once: a gap of exactly the floor must reach it.
    return int(max(above.max(), below.max())) / (one.given * other.given)


def ks_p_value(one: Distribution, other: Distribution, distance: float) -> float:
    """Two-sided p-value of `distance`, as `scipy.stats.ks_2samp` gives it: exact up to 10,000 rows a side, else not."""
    from scipy import stats

    if max(one.given, other.given) <= MOST_EXACT:
        samples = (np.repeat(column.values, column.counts) for column in (one, other))
        return float(stats.ks_2samp(*samples).pvalue)
    size = round(one.given * other.given / (one.given + other.given))
    if size * distance**2 < TAIL:
        return float(stats.kstwo.sf(distance, size))
    return min(2 * _smirnov(size, distance), 1.0)


def contingency(one: Distribution, other: Distribution) -> NDArray[np.int64]:
    """Rows per level, shape (2, levels that occur on either side)."""
    levels = np.unique(np.concatenate([one.values, other.values]))
    table = np.zeros((2, len(levels)), dtype=np.int64)
    for row, column in enumerate((one, other)):
        table[row, np.searchsorted(levels, column.values)] = column.counts
    return table


def cramers_v(table: NDArray[np.int64]) -> float:
    """Cramér's V (1946) of a table (2, k), with both rows given the same weight and chance taken off; 0 to 1.

    The same weight, or whatever a delivery of some hundred rows held would vanish beside a large baseline. Less what
    chance alone is expected to add (as Bergsma 2013), or many levels in few rows would always differ: just there the
    p-value, too, is smaller than it should be.
    """
    sizes = table.sum(axis=1)
    one, other = table / sizes[:, np.newaxis]
    square = float(np.sum((one - other) ** 2 / (one + other)) / 2)
    chance = float((table.shape[1] - 1) * np.sum(1 / sizes) / 4)
    return math.sqrt(max(square - chance, 0) / (1 - chance)) if chance < 1 else 0.0


def _smirnov(size: int, distance: float) -> float:
    """One-sided p-value of the Kolmogorov–Smirnov statistic (Birnbaum and Tingey 1951).

    It is `scipy.special.smirnov`, which adds the same terms one by one: 80 ms for 50,000 of them instead of 5.
    """
    from scipy import special

    below = np.arange(math.ceil(size * (1 - distance)))
    level = distance + below / size
    ways = special.gammaln(size + 1) - special.gammaln(below + 1) - special.gammaln(size - below + 1)
    terms = ways + (below - 1) * np.log(level) + (size - below) * np.log1p(-level)
    return float(distance * np.exp(terms).sum())


def _tests(baseline: Distribution, current: Distribution, limits: Limits) -> list[Test]:
    """The test of a column's values, and that of its missing share."""
    if baseline.kind == "number":
        values = _kolmogorov_smirnov(baseline, current, limits.ks_distance)
    else:
        values = _chi_square("chi_square", contingency(baseline, current), cramers_v, limits.cramers_v)
    missing = np.array([[side.given, side.missing] for side in (baseline, current)])
    return [values, _chi_square("missing_share", missing, _change, limits.missing_change)]


def _kolmogorov_smirnov(baseline: Distribution, current: Distribution, floor: float) -> Test:
    different = np.union1d(baseline.values[:2], current.values[:2])
    if note := _nothing_to_test((baseline.given, current.given), len(different)):
        return Test("kolmogorov_smirnov", 0.0, 1.0, 1.0, 0.0, floor, drifted=False, note=note)
    distance = ks_distance(baseline, current)
    p_value = ks_p_value(baseline, current, distance)
    return Test("kolmogorov_smirnov", distance, p_value, p_value, distance, floor, drifted=False)


def _chi_square(
    name: TestName, table: NDArray[np.int64], effect: Callable[[NDArray[np.int64]], float], floor: float
) -> Test:
    """Test a table (2, k) of rows by side and outcome."""
    from scipy import stats

    seen = table[:, table.any(axis=0)]
    if note := _nothing_to_test(table.sum(axis=1).tolist(), seen.shape[1]):
        return Test(name, 0.0, 1.0, 1.0, 0.0, floor, drifted=False, note=note)
    statistic, p_value = map(float, stats.chi2_contingency(seen)[:2])
    return Test(name, statistic, p_value, p_value, effect(seen), floor, drifted=False)


def _change(table: NDArray[np.int64]) -> float:
    """How far the share of the second outcome moved, from a table (2, 2)."""
    (rows, rows_now), (those, those_now) = table.sum(axis=1).tolist(), table[:, 1].tolist()
    return float(abs(those_now * rows - those * rows_now) / (rows * rows_now))  # divided once, as the distance above


def _nothing_to_test(sizes: Sequence[int], different: int) -> str | None:
    """Why samples of these sizes, with so many different values between them, cannot be tested; None if they can."""
    if not all(sizes):
        return "one side has no rows to compare"
    return "all rows are alike" if different < 2 else None


def _judged(test: Test, adjusted: float, limit: float) -> Test:
    return replace(test, adjusted_p_value=adjusted, drifted=adjusted < limit and test.effect >= test.floor)


def _column(name: str, baseline: Distribution, current: Distribution, tests: list[Test]) -> ColumnDrift:
    shift = None
    if baseline.mean and current.mean is not None:
        shift = 100 * (current.mean - baseline.mean) / abs(baseline.mean)
    new = np.setdiff1d(current.values, baseline.values) if baseline.kind == "category" else np.array([])
    return ColumnDrift(
        column=name,
        kind=baseline.kind,
        drifted=any(test.drifted for test in tests),
        effect=max((test.effect for test in tests), default=0.0),
        tests=tests,
        sample_sizes=(baseline.given, current.given),
        missing_shares=(baseline.missing_share, current.missing_share),
        baseline_mean=baseline.mean,
        new_mean=current.mean,
        mean_shift_percent=shift,
        new_levels=new[:EXAMPLES].tolist(),
        new_level_count=len(new),
    )
