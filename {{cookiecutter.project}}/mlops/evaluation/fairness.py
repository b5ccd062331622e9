"""How a two-class model treats groups: the rates of each group with intervals, and the largest gaps between groups."""

from statistics import NormalDist
from typing import Any

import pandas as pd

from mlops.data.levels import rows_by_level
from mlops.training.metrics import Predictions

RATES = ("selection_rate", "tpr", "fpr", "precision")
GAPS = {"demographic_parity": ("selection_rate",), "equalised_odds": ("tpr", "fpr")}


def report(predictions: Predictions, table: pd.DataFrame, smallest: int, confidence: float) -> dict[str, Any]:
    """The rates and gaps of n predictions along each column of `table` (n rows, the sensitive columns), plain values.

    `gaps` holds the largest gap over all columns: demographic parity is the difference between selection rates,
    equalised odds the larger difference between true or false positive rates (Hardt, Price and Srebro 2016), as in
    fairlearn. A gap is None where there are no two groups to compare. Groups of fewer than `smallest` rows are marked
    as small and count for no gap.
    """
    if predictions.positive is None:
        return {"note": "there are no two classes to select from", "gaps": dict.fromkeys(GAPS), "columns": []}
    columns: list[dict[str, Any]] = []
    for name, levels in table.items():
        groups = rates_by_group(predictions, levels, smallest, confidence)
        columns.append({"column": str(name), **gaps(groups), "groups": groups})
    largest = {gap: max((column[gap]["gap"] for column in columns if column[gap]), default=None) for gap in GAPS}
    return {"note": None if columns else "schema.yaml calls no column sensitive", "gaps": largest, "columns": columns}


def rates_by_group(
    predictions: Predictions, levels: pd.Series, smallest: int, confidence: float
) -> list[dict[str, Any]]:
    """For each level of `levels` (n,) its rows, whether the group is small, and each rate with its interval.

    A rate is None where it is undefined.
    """
    positives, selected = (side == predictions.positive for side in (predictions.actual, predictions.predicted))
    groups = []
    for level, rows in rows_by_level(levels):
        size, actual, predicted, hits = (
            int((rows & side).sum()) for side in (rows, positives, selected, positives & selected)
        )
        counts = {
            "selection_rate": (predicted, size),
            "tpr": (hits, actual),
            "fpr": (predicted - hits, size - actual),
            "precision": (hits, predicted),
        }
        rates = {name: wilson(*count, confidence) for name, count in counts.items()}
        groups.append({"level": level, "rows": size, "small": size < smallest, **rates})
    return groups


def gaps(groups: list[dict[str, Any]]) -> dict[str, dict[str, Any] | None]:
    """The largest gap of each kind between groups that are not small: its size, its rate, and both groups."""
    largest: dict[str, dict[str, Any] | None] = {}
    for gap, names in GAPS.items():
        spans = []
        for name in names:
            rates = {group["level"]: group[name]["rate"] for group in groups if not group["small"] and group[name]}
            if len(rates) > 1:
                high, low = max(rates, key=rates.__getitem__), min(rates, key=rates.__getitem__)
                spans.append({"gap": rates[high] - rates[low], "rate": name, "highest": high, "lowest": low})
        largest[gap] = max(spans, key=lambda span: span["gap"], default=None)
    return largest


def wilson(part: int, whole: int, confidence: float) -> dict[str, float] | None:
    """The `rate` part / whole with the ends `low` and `high` of its score interval (Wilson 1927); None without rows."""
    if not whole:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = part / whole
    middle = (rate + z**2 / (2 * whole)) / (1 + z**2 / whole)
    half = z / (1 + z**2 / whole) * (rate * (1 - rate) / whole + z**2 / (4 * whole**2)) ** 0.5
    return {"rate": rate, "low": max(middle - half, 0.0), "high": min(middle + half, 1.0)}
