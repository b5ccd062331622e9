"""How a model of two classes treats groups: rates per group with intervals, and the largest gaps between them."""

from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.training.metrics import MISSING_LEVEL, Predictions

RATES = ("selection_rate", "tpr", "fpr", "precision")
GAPS = {"demographic_parity": ("selection_rate",), "equalised_odds": ("tpr", "fpr")}


def report(predictions: Predictions, table: pd.DataFrame, smallest: int, confidence: float) -> dict[str, Any]:
    """Rates and gaps of n predictions by each column of `table` (n rows, the sensitive ones), as plain values.

    `gaps` are the largest over the columns: demographic parity is the largest difference of selection rates, equalised
    odds that of the true or of the false positive rates (Hardt, Price and Srebro 2016), as in fairlearn; None where
    there are no two groups to compare. Each column says which groups make its own (see `gaps`). Groups of fewer than
    `smallest` rows are marked, and in no gap.
    """
    if predictions.positive is None:
        return {"note": "there are no two classes to select from", "gaps": dict.fromkeys(GAPS), "columns": []}
    columns: list[dict[str, Any]] = []
    for name, levels in table.items():
        groups = by_group(predictions, levels, smallest, confidence)
        columns.append({"column": str(name), **gaps(groups), "groups": groups})
    largest = {gap: max((column[gap]["gap"] for column in columns if column[gap]), default=None) for gap in GAPS}
    return {"note": None if columns else "schema.yaml calls no column sensitive", "gaps": largest, "columns": columns}


def by_group(predictions: Predictions, levels: pd.Series, smallest: int, confidence: float) -> list[dict[str, Any]]:
    """Per level of `levels` (n): rows, whether it is `small`, and each rate with its interval; None if undefined.

    Levels come in their own order, missing ones last.
    """
    codes, occurring = pd.factorize(levels, sort=True)
    names = {**{code: str(level) for code, level in enumerate(occurring)}, -1: MISSING_LEVEL}
    actual, predicted = (side == predictions.positive for side in (predictions.actual, predictions.predicted))
    found = []
    for code, name in names.items():
        inside = codes == code
        if inside.any():
            rates = _rates(actual[inside], predicted[inside], confidence)
            rows = int(inside.sum())
            found.append({"level": name, "rows": rows, "small": rows < smallest, **rates})
    return found


def gaps(groups: list[dict[str, Any]]) -> dict[str, dict[str, Any] | None]:
    """The largest difference between groups that are not small, of each kind: which `rate`, and whose is what."""
    found: dict[str, dict[str, Any] | None] = {}
    for gap, names in GAPS.items():
        spans = []
        for name in names:
            rates = {group["level"]: group[name]["rate"] for group in groups if not group["small"] and group[name]}
            if len(rates) > 1:
                high, low = max(rates, key=rates.__getitem__), min(rates, key=rates.__getitem__)
                spans.append({"gap": rates[high] - rates[low], "rate": name, "highest": high, "lowest": low})
        found[gap] = max(spans, key=lambda span: span["gap"], default=None)
    return found


def _rates(actual: NDArray[np.bool_], predicted: NDArray[np.bool_], confidence: float) -> dict[str, Any]:
    hits = int((actual & predicted).sum())
    positives, selected, rows = int(actual.sum()), int(predicted.sum()), len(actual)
    counts = {
        "selection_rate": (selected, rows),
        "tpr": (hits, positives),
        "fpr": (selected - hits, rows - positives),
        "precision": (hits, selected),
    }
    return {name: wilson(*count, confidence) for name, count in counts.items()}


def wilson(part: int, whole: int, confidence: float) -> dict[str, float] | None:
    """A part of a whole as `rate`, with `low` and `high` of its score interval (Wilson 1927); None of nothing."""
    if not whole:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = part / whole
    middle = (rate + z**2 / (2 * whole)) / (1 + z**2 / whole)
    half = z / (1 + z**2 / whole) * (rate * (1 - rate) / whole + z**2 / (4 * whole**2)) ** 0.5
    return {"rate": rate, "low": max(middle - half, 0.0), "high": min(middle + half, 1.0)}
