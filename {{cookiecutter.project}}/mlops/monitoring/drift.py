"""Whether the columns of a delivery are distributed as in the training data: tests, effects and measures per column.

A small p-value says that two samples differ, not that the difference matters: with a million rows everything differs.
So a column has drifted only if an adjusted p-value is below the limit and its test's effect reaches the floor. Effects
range from 0 to 1. The usual floors are small effects by Cohen (1988): a Kolmogorov–Smirnov distance of 0.1 is a shift
by a quarter of a standard deviation, and a Cramér's V of 0.1 is a share of 60 % instead of 50 %. The measures stand
beside the tests: people know these distances, but no verdict depends on them.
"""

import math
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops.base.errors import ParameterError, nearest
from mlops.base.params import Monitor
from mlops.data.profile import Distribution, Profile
from mlops.monitoring import two_sample

EXAMPLES = 5
ONE_SIDED = "one side has no rows to compare"

Measures = dict[str, float | None]
TestName = Literal["kolmogorov_smirnov", "chi_square", "unseen_levels", "missing_share"]


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
    means; their shift is in percent of the baseline's mean (`mean_shift_percent`, None where that is 0), and in
    standard deviations of the baseline (`mean_shift_deviations`, None where all its values are equal). `new_levels`
    names up to five of the `new_level_count` levels that the baseline lacks, `vanished_levels` those that the delivery
    lacks. `measures` are `wasserstein` (in standard deviations of the baseline) and `psi` of a number or date,
    `jensen_shannon` and `psi` of a category; None where a side has no values.
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
    mean_shift_deviations: float | None
    new_levels: list[str]
    new_level_count: int
    vanished_levels: list[str]
    vanished_level_count: int
    measures: Measures


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
    """Test each named column of two tables; see `compare_together`."""
    [columns] = compare_together([(baseline, current, names)], limits)
    return columns


def compare_together(
    pairs: Sequence[tuple[Profile, Profile, Sequence[str]]], limits: Monitor
) -> list[list[ColumnDrift]]:
    """Test the named columns of each pair (baseline, delivery), and adjust all p-values together.

    The adjustment (Benjamini and Hochberg 1995) is for all columns of all pairs: without drift, the share of deliveries
    in which any column is said to have drifted is then at most `limits.p_value`. Numbers get the two-sample
    Kolmogorov–Smirnov test. Categories get the chi-square test of the contingency table of both samples, in which rare
    levels share a cell, and a test of the levels that the baseline lacks. (The chi-square test against fixed shares
    would take the baseline for exact.) Missing values are left out there; the missing share has a test of its own.
    """
    named = [(baseline[name], current[name], name) for baseline, current, names in pairs for name in names]
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:  # numpy sorts without the interpreter's lock
        warnings.simplefilter("ignore", RuntimeWarning)  # scipy warns where it approximates an exact p-value
        columns = list(pool.map(lambda one: _column(one[0], one[1], one[2], limits), named))
    if not columns:
        return [[] for _ in pairs]
    p_values = np.array([test.p_value for column in columns for test in column.tests])
    adjusted = iter(two_sample.false_discovery_control(p_values).tolist())
    judged = iter([_judged(column, list(islice(adjusted, len(column.tests))), limits.p_value) for column in columns])
    return [list(islice(judged, len(names))) for _, _, names in pairs]


def _column(baseline: Distribution, current: Distribution, name: str, limits: Monitor) -> ColumnDrift:
    """One column with its tests, before their p-values are adjusted."""
    kind, mean, new_mean = baseline.kind, baseline.mean, current.mean
    spread = two_sample.standard_deviation(baseline) if mean is not None else None
    values, table = two_sample.contingency(baseline, current)
    missing = np.array([[side.given, side.missing] for side in (baseline, current)])
    note = _untestable(missing[:, 0], len(values))
    if kind == "number":
        tests, measures = _numbers(spread, values, table, limits, note)
    else:
        tests, measures = _categories(table, limits, note)
    tests.append(_missing_share(missing, limits.missing_change))
    new, vanished = (values[row == 0] if kind == "category" else values[:0] for row in table)
    return ColumnDrift(
        column=name,
        kind=kind,
        drifted=False,
        effect=max(test.effect for test in tests),
        tests=tests,
        sample_sizes=(int(missing[0, 0]), int(missing[1, 0])),
        missing_shares=(baseline.missing_share, current.missing_share),
        baseline_mean=mean,
        new_mean=new_mean,
        mean_shift_percent=_shift(mean, new_mean, None if mean is None else abs(mean) / 100),
        mean_shift_deviations=_shift(mean, new_mean, spread),
        new_levels=new[:EXAMPLES].tolist(),
        new_level_count=len(new),
        vanished_levels=vanished[:EXAMPLES].tolist(),
        vanished_level_count=len(vanished),
        measures=measures,
    )


def _shift(mean: float | None, new_mean: float | None, unit: float | None) -> float | None:
    """How far a mean moved, in a unit; None without one, and where floats cannot hold it."""
    if mean is None or new_mean is None or not unit or not math.isfinite(unit):
        return None
    moved = (new_mean - mean) / unit
    return moved if math.isfinite(moved) else None


def _numbers(
    spread: float | None, values: NDArray[Any], table: NDArray[np.int64], limits: Monitor, note: str | None
) -> tuple[list[Test], Measures]:
    """The test and the measures of numbers (k,) with rows (2, k); `spread` is the baseline's standard deviation."""
    test = Test("kolmogorov_smirnov", floor=limits.ks_distance, note=note)
    if note:
        return [test], {"wasserstein": None, "psi": None} if note == ONE_SIDED else {"wasserstein": None, "psi": 0.0}
    distance, moved = two_sample.distances(values, table)
    defined = spread is not None and 0 < spread < math.inf and moved < math.inf
    psi = two_sample.population_stability_index(two_sample.deciles(table))
    p_value = two_sample.ks_p_value(table, distance)
    test = replace(test, statistic=distance, p_value=p_value, effect=distance)
    return [test], {"wasserstein": moved / spread if spread and defined else None, "psi": psi}


def _categories(table: NDArray[np.int64], limits: Monitor, note: str | None) -> tuple[list[Test], Measures]:
    """The tests and the measures of levels with rows (2, k).

    The measures are of the cells that chi-square tests: many levels in few rows would always be far from each other.
    """
    common = Test("chi_square", floor=limits.cramers_v, note=note)
    unseen = Test("unseen_levels", floor=limits.unseen_share, note=note)
    if note:
        same = None if note == ONE_SIDED else 0.0
        return [common, unseen], {"jensen_shannon": same, "psi": same}
    cells = two_sample.rare_merged(table)
    statistic, p_value = two_sample.chi_square(cells)
    common = replace(common, statistic=statistic, p_value=p_value, effect=two_sample.cramers_v(cells))
    count, p_value, share = two_sample.unseen_levels(table)
    unseen = replace(unseen, statistic=float(count), p_value=p_value, effect=share)
    measures: Measures = {
        "jensen_shannon": two_sample.jensen_shannon(cells),
        "psi": two_sample.population_stability_index(cells),
    }
    return [common, unseen], measures


def _missing_share(table: NDArray[np.int64], floor: float) -> Test:
    """Test the rows (2, 2) of each sample with and without a value."""
    test = Test("missing_share", floor=floor, note=_untestable(table.sum(axis=1), int(table.any(axis=0).sum())))
    if test.note:
        return test
    statistic, p_value = two_sample.chi_square(table)
    return replace(test, statistic=statistic, p_value=p_value, effect=two_sample.share_change(table))


def _untestable(rows: NDArray[np.int64], different: int) -> str | None:
    """Why samples of these rows (2,), with this number of different values, cannot be tested; None if they can."""
    if not rows.all():
        return ONE_SIDED
    return "all rows are alike" if different < 2 else None


def _judged(column: ColumnDrift, adjusted: Sequence[float], limit: float) -> ColumnDrift:
    tests = [
        replace(test, adjusted_p_value=p_value, drifted=p_value < limit and test.effect >= test.floor)
        for test, p_value in zip(column.tests, adjusted, strict=True)
    ]
    return replace(column, tests=tests, drifted=any(test.drifted for test in tests))
