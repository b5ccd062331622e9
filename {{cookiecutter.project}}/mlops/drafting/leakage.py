"""Columns that give the target away: what no one can know before the target is known makes a model good and useless.

Only what cannot be chance, and hardly nature, is called so; whether it is, a person decides.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Below, a small table is separated by chance, or because it is easy.
LEAST_ROWS = 100
LEAST_OF_A_CLASS = 10
ROWS_A_LEVEL = 20
# A group of one class only is no chance if so many rows drawn at random would be of it with at most this probability.
CHANCE = 1e-9
# How much wider than the classes themselves the gaps between them must be.
GAP = 2.0
CORRELATED = 0.999
MOST_ROWS = 100_000
# What does not hold in some of the rows does not hold in all.
FIRST_LOOK = 20_000


def of_classes(values: pd.Series, target: pd.Series) -> str:
    """How a typed column (n,) gives classes (n labels, some may be missing) away, as words behind its name; else ""."""
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
    """How a typed column (n,) gives a number (n,) away, as words behind its name; else ""."""
    if values.dtype not in ("float64", "Int64"):
        return ""
    step = max(len(values) // MOST_ROWS, 1)
    both = pd.DataFrame({"value": values, "target": target}).iloc[::step].astype("float64").dropna()
    if len(both) < LEAST_ROWS or (both.nunique() < LEAST_OF_A_CLASS).any():
        return ""
    for kind, frame in (("", both), (" in rank", both.rank())):
        correlation = frame["value"].corr(frame["target"])
        if abs(correlation) >= CORRELATED:
            return f"correlates{kind} with the target by {correlation:.4f}"
    return ""


def _far_apart(numbers: NDArray[np.float64], classes: NDArray[np.intp]) -> bool:
    """Whether each class has a range of its own, and the gaps between these are wider than they are."""
    ranges = pd.DataFrame({"class": classes, "number": numbers}).groupby("class")["number"].agg(["min", "max"])
    ranges = ranges.sort_values("min")
    gaps = ranges["min"].to_numpy()[1:] - ranges["max"].to_numpy()[:-1]
    return bool(gaps.min() > GAP * (ranges["max"] - ranges["min"]).max())
