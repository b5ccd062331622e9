"""Whether the columns of a delivery are distributed as in the training data: a test and an effect size per column.

A small p-value says that two samples differ, not that the difference matters: with a million rows everything differs.
So a column has drifted only if its adjusted p-value is below the limit and its effect reaches the floor. Effects range
from 0 to 1. The usual floors are small effects by Cohen (1988): a Kolmogorov–Smirnov distance of 0.1 is a shift by a
quarter of a standard deviation, and a Cramér's V of 0.1 is a share of 60 % instead of 50 %.
"""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlops.base.errors import ParameterError, nearest
from mlops.base.params import Monitor
from mlops.data.profile import Distribution, Profile
from mlops.monitoring import two_sample

EXAMPLES = 5

TestName = Literal["kolmogorov_smirnov", "chi_square", "missing_share"]


@dataclass(frozen=True)
class Test:
    """One test of one column: the statistic, the p-value before and after adjustment, the effect, and the verdict.

    `note` says why nothing could be tested: then the statistic and the effect are 0, and the p-value is 1.
    """

    name: TestName
    statistic: float = 0.0
    p_value: float = 1.0
    adjusted_p_value: float = 1.0
    effect: float = 0.0
    floor: float = 0.0
    drifted: bool = False
    note: str | None = None


@dataclass(frozen=True)
class ColumnDrift:
    """The drift of one column; pairs are (baseline, delivery).

    `effect` is the largest effect of the tests, and `sample_sizes` are the rows that have a value. Only numbers have
    means; `mean_shift_percent` is relative to the baseline's mean, None where that is 0. `new_levels` names up to five
    of the `new_level_count` levels that the baseline lacks.
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


def watched(profile: Profile, features: Sequence[str], chosen: Sequence[str] | Literal["all"]) -> list[str]:
    """The names of the features to watch, in the order of `features`.

    Raises:
        ParameterError: a chosen feature is not in the baseline; every such feature is named.
    """
    known = [name for name in features if name in profile]
    if chosen == "all":
        return known
    unknown = [name for name in chosen if name not in known]
    if unknown:
        hint = nearest(unknown[0], known)
        raise ParameterError(f"monitor.features names {', '.join(unknown)}, not in the baseline: {hint}")
    return [name for name in known if name in chosen]


def compare(baseline: Profile, current: Profile, names: Sequence[str], limits: Monitor) -> list[ColumnDrift]:
    """Test each named column; all p-values are adjusted together (Benjamini and Hochberg 1995).

    Numbers get the two-sample Kolmogorov–Smirnov test, categories the chi-square test of the contingency table of both
    samples. (The chi-square test against fixed shares would take the baseline for exact.) Missing values are left out
    there; the missing share has a test of its own.
    """
    from scipy import stats

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:  # numpy searches without the interpreter's lock
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy warns where it approximates an exact p-value
        tests = list(pool.map(lambda name: _tests(baseline[name], current[name], limits), names))
    if not tests:
        return []
    adjusted = stats.false_discovery_control([test.p_value for pair in tests for test in pair]).reshape(-1, 2)
    return [
        _column(
            name,
            baseline[name],
            current[name],
            [_judged(test, p_value, limits.p_value) for test, p_value in zip(pair, p_values, strict=True)],
        )
        for name, pair, p_values in zip(names, tests, adjusted.tolist(), strict=True)
    ]


def _tests(baseline: Distribution, current: Distribution, limits: Monitor) -> tuple[Test, Test]:
    """The tests of a column's values and of its missing share."""
    if baseline.kind == "number":
        values = _kolmogorov_smirnov(baseline, current, limits.ks_distance)
    else:
        _, table = two_sample.contingency(baseline, current)
        values = _chi_square("chi_square", table, two_sample.cramers_v, limits.cramers_v)
    missing = np.array([[side.given, side.missing] for side in (baseline, current)])
    return values, _chi_square("missing_share", missing, two_sample.share_change, limits.missing_change)


def _kolmogorov_smirnov(baseline: Distribution, current: Distribution, floor: float) -> Test:
    different = np.union1d(baseline.values[:2], current.values[:2])
    if note := _untestable((baseline.given, current.given), len(different)):
        return Test("kolmogorov_smirnov", floor=floor, note=note)
    distance = two_sample.ks_distance(baseline, current)
    p_value = two_sample.ks_p_value(baseline, current, distance)
    return Test("kolmogorov_smirnov", distance, p_value, effect=distance, floor=floor)


def _chi_square(
    name: TestName, table: NDArray[np.int64], effect: Callable[[NDArray[np.int64]], float], floor: float
) -> Test:
    """Test a table (2, k) of rows per sample and outcome."""
    from scipy import stats

    occurring = table[:, table.any(axis=0)]
    if note := _untestable(table.sum(axis=1).tolist(), occurring.shape[1]):
        return Test(name, floor=floor, note=note)
    statistic, p_value = map(float, stats.chi2_contingency(occurring)[:2])
    return Test(name, statistic, p_value, effect=effect(occurring), floor=floor)


def _untestable(sizes: Sequence[int], different: int) -> str | None:
    """Why two samples of these sizes, with this number of different values, cannot be tested; None if they can."""
    if not all(sizes):
        return "one side has no rows to compare"
    return "all rows are alike" if different < 2 else None


def _judged(test: Test, adjusted: float, limit: float) -> Test:
    return replace(test, adjusted_p_value=adjusted, drifted=adjusted < limit and test.effect >= test.floor)


def _column(name: str, baseline: Distribution, current: Distribution, tests: list[Test]) -> ColumnDrift:
    shift = None
    if baseline.mean and current.mean is not None:
        shift = 100 * (current.mean - baseline.mean) / abs(baseline.mean)
    new = current.values[:0]
    if baseline.kind == "category":
        levels, table = two_sample.contingency(baseline, current)
        new = levels[(table[0] == 0) & (table[1] > 0)].to_numpy()
    return ColumnDrift(
        column=name,
        kind=baseline.kind,
        drifted=any(test.drifted for test in tests),
        effect=max(test.effect for test in tests),
        tests=tests,
        sample_sizes=(baseline.given, current.given),
        missing_shares=(baseline.missing_share, current.missing_share),
        baseline_mean=baseline.mean,
        new_mean=current.mean,
        mean_shift_percent=shift,
        new_levels=new[:EXAMPLES].tolist(),
        new_level_count=len(new),
    )
