"""Whether a delivery is distributed as the training data was: a test and an effect size per column.

A small p-value says that two samples differ, not that it matters: with a million rows everything differs. So a column
has drifted only if the adjusted p-value is below its limit and the effect reaches its floor; both are reported.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.errors import ParameterError
from ml.profile import Distribution, Profile

# Up to this many rows on both sides, scipy's `ks_2samp` computes an exact p-value, and so does this module.
MOST_EXACT = 10_000
EXAMPLES = 5

TestName = Literal["kolmogorov_smirnov", "chi_square", "missing_share"]


@dataclass(frozen=True)
class Limits:
    """`p_value` (adjusted) below which, and effects from which, a difference is drift; `share` of drifted features.

    Effects: largest gap of two distribution functions (0 to 1), Cramér's V (0 to 1), change of the missing share (0 to
    1).
    """

    p_value: float
    ks_distance: float
    cramers_v: float
    missing_change: float
    drifted_share: float


@dataclass(frozen=True)
class Test:
    """One test of one column: its statistic, p-values before and after adjustment, effect, and verdict."""

    name: TestName
    statistic: float
    p_value: float
    adjusted_p_value: float
    effect: float
    floor: float
    drifted: bool


@dataclass(frozen=True)
class ColumnDrift:
    """How one column changed. Means are of numbers only; the shift is in % of the baseline's mean, None where that is 0.

    `effect` is the largest of its tests. `sample_sizes` are the rows with a value, then and now; `new_levels` up to five that the baseline lacks.
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
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the features are {', '.join(known)}"
        raise ParameterError(f"monitor.features names {', '.join(unknown)}, not in the baseline: {hint}")
    return [name for name in known if name in chosen]


def compare(baseline: Profile, current: Profile, names: Sequence[str], limits: Limits) -> list[ColumnDrift]:
    """Test each named column; p-values are adjusted together (Benjamini and Hochberg 1995).

    Numbers: two-sample Kolmogorov–Smirnov. Categories: chi-square of the contingency table of old and new, never the
    one against fixed shares, which takes the baseline for exact. Both leave missing values out; their share has a test
    of its own.
    """
    from scipy import stats

    tests = {name: list(_tests(baseline[name], current[name], limits)) for name in names}
    every = [test for found in tests.values() for test in found]
    adjusted = stats.false_discovery_control([test.p_value for test in every]) if every else np.array([])
    judged = iter([_judged(test, float(p), limits.p_value) for test, p in zip(every, adjusted, strict=True)])
    return [_column(name, baseline[name], current[name], [next(judged) for _ in tests[name]]) for name in names]


def ks_distance(one: Distribution, other: Distribution) -> float:
    """The two-sample Kolmogorov–Smirnov statistic D: the largest gap between two distribution functions (0 to 1)."""
    both = np.concatenate([one.values, other.values])
    gaps = _share_up_to(one, both) - _share_up_to(other, both)
    return float(np.abs(gaps).max())


def ks_p_value(one: Distribution, other: Distribution, distance: float) -> float:
    """Two-sided p-value of `distance`, as `scipy.stats.ks_2samp` gives it: exact up to 10,000 rows a side, else not."""
    from scipy import stats

    if max(one.given, other.given) <= MOST_EXACT:
        samples = (np.repeat(column.values, column.counts) for column in (one, other))
        return float(stats.ks_2samp(*samples).pvalue)
    size = one.given * other.given / (one.given + other.given)
    return float(np.clip(stats.kstwo.sf(distance, np.round(size)), 0, 1))


def contingency(one: Distribution, other: Distribution) -> NDArray[np.int64]:
    """Rows per level, shape (2, levels that occur on either side)."""
    levels = np.unique(np.concatenate([one.values, other.values]))
    table = np.zeros((2, len(levels)), dtype=np.int64)
    for row, column in enumerate((one, other)):
        table[row, np.searchsorted(levels, column.values)] = column.counts
    return table[:, table.sum(axis=0) > 0]


def _share_up_to(column: Distribution, values: NDArray[np.float64]) -> NDArray[np.float64]:
    cumulated = np.append(0, np.cumsum(column.counts))
    return cumulated[np.searchsorted(column.values, values, side="right")] / column.given


def _tests(baseline: Distribution, current: Distribution, limits: Limits) -> Iterator[Test]:
    """The tests of a column; what a sample without values cannot be tested for differs in its missing share."""
    if baseline.given and current.given:
        if baseline.kind == "number":
            distance = ks_distance(baseline, current)
            p_value = ks_p_value(baseline, current, distance)
            yield Test("kolmogorov_smirnov", distance, p_value, p_value, distance, limits.ks_distance, drifted=False)
        else:
            statistic, p_value, effect = _chi_square(contingency(baseline, current))
            yield Test("chi_square", statistic, p_value, p_value, effect, limits.cramers_v, drifted=False)
    if baseline.rows and current.rows:
        table = np.array([[column.missing, column.given] for column in (baseline, current)])
        statistic, p_value, _ = _chi_square(table[:, table.sum(axis=0) > 0])
        change = abs(current.missing / current.rows - baseline.missing / baseline.rows)
        yield Test("missing_share", statistic, p_value, p_value, change, limits.missing_change, drifted=False)


def _chi_square(table: NDArray[np.int64]) -> tuple[float, float, float]:
    """Statistic, p-value and Cramér's V (1946) of a table (2, k); a single column differs in nothing."""
    from scipy import stats

    if table.shape[1] < 2:
        return 0.0, 1.0, 0.0
    statistic, p_value = stats.chi2_contingency(table)[:2]
    return float(statistic), float(p_value), float(np.sqrt(statistic / table.sum()))


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
        missing_shares=(baseline.missing / max(baseline.rows, 1), current.missing / max(current.rows, 1)),
        baseline_mean=baseline.mean,
        new_mean=current.mean,
        mean_shift_percent=shift,
        new_levels=new[:EXAMPLES].tolist(),
    )
