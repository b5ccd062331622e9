"""Leakage: columns that give the target away, because nobody knows their values before the target is known.

A column is named only if chance, and probably nature, cannot be the cause; a person decides.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# With fewer rows, chance separates a table easily.
LEAST_ROWS = 100
LEAST_OF_A_CLASS = 10
ROWS_A_LEVEL = 20
# A group with only one class is not chance if random rows would give it with at most this probability.
CHANCE = 1e-9
# The gaps between the ranges of the classes must be this many times wider than the ranges.
GAP = 2.0
CORRELATED = 0.999
MOST_ROWS = 100_000
# Rows to try first: a rule that fails in some rows fails in all rows.
FIRST_LOOK = 20_000


def of_classes(values: pd.Series, target: pd.Series) -> str:
    """How a typed column (n,) gives classes (n labels, some may be missing) away, as text; "" if it does not."""
    step = max(len(values) // FIRST_LOOK, 1)
    return _of_classes(values[::step], target[::step]) and _of_classes(values, target)


def _of_classes(values: pd.Series, target: pd.Series) -> str:
    labelled = target.notna().to_numpy(dtype=bool)
    classes, names = pd.factorize(target[labelled])
    values = values[labelled]
    sizes = np.bincount(classes)
    if len(classes) < LEAST_ROWS or sizes.min() < LEAST_OF_A_CLASS:
        return ""
    given = values.notna().to_numpy(dtype=bool)
    for group, word in ((given, "given"), (~given, "missing")):
        found = np.unique(classes[group])
        if len(found) == 1 and (sizes[found[0]] / len(classes)) ** group.sum() < CHANCE:
            return f"{word} only where the target is {names[found[0]]}"
    levels, known = pd.factorize(values, use_na_sentinel=False)
    if len(known) * ROWS_A_LEVEL <= len(classes) and len(known) > 1:
        pure = len(np.unique(levels * len(names) + classes)) == len(known)
        return "each of its values goes with one class only" if pure else ""
    if values.dtype not in ("float64", "Int64") or not given.all():
        return ""
    return "the classes lie far apart in it" if _far_apart(values.to_numpy(dtype=np.float64), classes) else ""


def of_number(values: pd.Series, target: pd.Series) -> str:
    """How a typed column (n,) gives a number (n,) away, as text; "" if it does not."""
    if values.dtype not in ("float64", "Int64"):
        return ""
    step = max(len(values) // MOST_ROWS, 1)
    both = pd.DataFrame({"value": values, "target": target}).iloc[::step].astype("float64").dropna()
    if len(both) < LEAST_ROWS or (both.nunique() < LEAST_OF_A_CLASS).any():
        return ""
    ranks = both.rank()  # so that a single row, such as one of totals, has no say of its own
    correlation = ranks["value"].corr(ranks["target"])
    return f"correlates in rank with the target by {correlation:.4f}" if abs(correlation) >= CORRELATED else ""


def _far_apart(numbers: NDArray[np.float64], classes: NDArray[np.intp]) -> bool:
    """Whether the ranges of the classes do not overlap, and the gaps between the ranges are wider than the ranges."""
    order = np.argsort(classes, kind="stable")
    starts = np.flatnonzero(np.diff(classes[order], prepend=-1))
    lowest, highest = (edge.reduceat(numbers[order], starts) for edge in (np.minimum, np.maximum))
    by_place = np.argsort(lowest)
    gaps = lowest[by_place][1:] - highest[by_place][:-1]
    return bool(gaps.min() / GAP > (highest - lowest).max())
