"""The levels of a column, and the rows of each level."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MISSING_LEVEL = "(missing)"
BLOCK = 100_000  # values whose levels are looked for at once


def objects(values: pd.Series) -> NDArray[np.object_]:
    """The values (n,) as Python objects, missing text as NaN; equal texts are one object, which saves most memory."""
    if not isinstance(values.dtype, pd.StringDtype):
        return values.to_numpy(dtype=object)
    codes, levels = pd.factorize(values)
    return np.append(np.asarray(levels, dtype=object), np.nan)[codes]  # the code of a missing value is -1


def more_than(values: pd.Series, count: int) -> bool:
    """Whether `values` (n,) have more than `count` different ones, without those that are missing.

    To count those of a number takes a table of them all.
    """
    found: set[object] = set()
    for start in range(0, len(values), BLOCK):
        found.update(values.iloc[start : start + BLOCK].dropna().unique().tolist())
        if len(found) > count:
            return True
    return False


def rows_by_level(values: pd.Series) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each level that occurs in `values` (n,) as text, with the mask (n,) of its rows.

    Levels come in their own order (numbers by size); missing values come last, as a level of their own.
    """
    codes, levels = pd.factorize(values, sort=True)
    for code, level in enumerate([*map(str, levels), MISSING_LEVEL]):
        rows = codes == (code if code < len(levels) else -1)
        if rows.any():
            yield level, rows
