"""What is to be said of a delivery: how its features and the model's answers drifted, and whether to retrain."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from mlops.data.profile import Distribution, Profile, distribution
from mlops.monitoring.drift import ColumnDrift, Limits
from mlops.training.metrics import Predictions, score, title
from mlops.training.task import Task, headline

SKETCH_BINS = 16
SKETCH_LEVELS = 10


def no_delivery() -> dict[str, Any]:
    """The report while nothing has come yet: a normal state."""
    retraining = {"recommended": False, "reasons": []}
    return {"delivery": None, "alarm": False, "retraining": retraining, "verdict": "no delivery yet"}


def answer_profile(table: pd.DataFrame, task: Task) -> Profile:
    """The distributions of what `mlops.evaluation.results.answers` gave, to be compared as those of features are."""
    numbers = {"probability"} | ({"prediction"} if task == "regression" else set())
    return {
        str(name): distribution(values, "number" if name in numbers else "category") for name, values in table.items()
    }


def report(
    features: Sequence[ColumnDrift],
    outputs: Sequence[ColumnDrift],
    predictions: Predictions,
    labelled: Predictions | None,
    task: Task,
    limits: Limits,
    least: float,
) -> dict[str, Any]:
    """Plain values for JSON.

    `features` and `outputs` are the drift of the model's inputs and of its answers, `predictions` its answers on the
    delivery, `labelled` those whose actual value has come; below `least` of the headline metric on them, or with more
    than `limits.drifted_share` of the features drifted, retraining is recommended.
    """
    drifted = [column.column for column in features if column.drifted]
    share = len(drifted) / len(features) if features else 0.0
    metric = headline(task, "auto")
    scores = score(labelled) if labelled is not None else {}
    reasons = []
    if share > limits.drifted_share:
        reasons.append(f"{share:.0%} of the features drifted, more than {limits.drifted_share:.0%}")
    if metric in scores and scores[metric] < least:
        reasons.append(f"{title(metric)} on the delivery is {scores[metric]:.3f}, below {least:g}")
    moved = [column.column for column in outputs if column.drifted]
    return {
        "features": {"watched": len(features), "drifted": drifted, "share": share},
        "predictions": {**_spread(predictions), "drifted": moved, "metrics": scores},
        "retraining": {"recommended": bool(reasons), "reasons": reasons},
        "alarm": bool(drifted or moved or reasons),
        "verdict": _verdict(drifted, len(features), moved, reasons),
        "columns": [column.as_dict() for column in (*features, *outputs)],
    }


def sketch(baseline: Distribution, current: Distribution) -> dict[str, list[Any]]:
    """Two distributions in few bins, for a small picture: `labels`, and per bin the share of the rows then and now.

    Numbers fall into bins of equal width over the middle 98 % of the baseline, what lies outside into the outer ones;
    categories into their most frequent levels of either side.
    """
    if baseline.kind == "category":
        shares = pd.DataFrame(
            {
                side: pd.Series(column.counts / max(column.given, 1), column.values)
                for side, column in (("reference", baseline), ("current", current))
            }
        ).fillna(0)
        shares = shares.loc[shares.sum(axis=1).sort_values(ascending=False, kind="stable").index[:SKETCH_LEVELS]]
        return {"labels": shares.index.tolist(), **{str(side): shares[side].tolist() for side in shares}}
    position = np.cumsum(baseline.counts) / max(baseline.given, 1)
    low, high = np.append(baseline.values, 0.0)[np.searchsorted(position, [0.01, 0.99])]  # 0: it has no values
    edges = np.linspace(low, high if high > low else low + 1, SKETCH_BINS + 1)
    middles = np.clip(np.searchsorted(edges, [*baseline.values, *current.values], side="right") - 1, 0, SKETCH_BINS - 1)
    split = len(baseline.values)
    then = np.bincount(middles[:split], baseline.counts, SKETCH_BINS) / max(baseline.given, 1)
    now = np.bincount(middles[split:], current.counts, SKETCH_BINS) / max(current.given, 1)
    labels = [f"{start:.4g} – {end:.4g}" for start, end in pairwise(edges)]
    return {"labels": labels, "reference": then.tolist(), "current": now.tolist()}


def _spread(predictions: Predictions) -> dict[str, Any]:
    values = predictions.positive_probability
    if predictions.kind == "regression":
        values = predictions.predicted
    elif values is None:
        return {"count": len(predictions.predicted)}
    return {
        "count": len(values),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _verdict(drifted: list[str], watched: int, moved: list[str], reasons: list[str]) -> str:
    said = f"{len(drifted)} of {watched} features drifted"
    said += f" ({', '.join(drifted[:5])}{', …' if len(drifted) > 5 else ''})" if drifted else ""
    said += "; the predictions drifted" if moved else ""
    return f"{said}; retraining is recommended: {'; '.join(reasons)}" if reasons else said
