"""The levels of a column, and the rows of each level."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MISSING_LEVEL = "(missing)"


def rows_by_level(values: pd.Series) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each level that occurs in `values` (n,) as text, with the mask (n,) of its rows.

    Levels come in their own order (numbers by size); missing values come last, as a level of their own.
    """
    codes, levels = pd.factorize(values, sort=True)
    for code, level in enumerate([*map(str, levels), MISSING_LEVEL]):
        rows = codes == (code if code < len(levels) else -1)
        if rows.any():
            yield level, rows
