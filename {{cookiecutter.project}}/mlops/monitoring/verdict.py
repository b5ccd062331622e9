"""The report on a delivery: the drift of its features and of the model's answers, and whether to retrain."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from mlops.base.params import Monitor
from mlops.data.profile import Distribution, Profile, distribution
from mlops.data.schema import Schema
from mlops.evaluation import results
from mlops.monitoring import drift
from mlops.monitoring.drift import ColumnDrift
from mlops.training.fitting import with_labels
from mlops.training.metrics import Predictions, score, title
from mlops.training.task import Task, headline

SKETCH_BINS = 16
SKETCH_LEVELS = 10
MOST_NAMED = 5
MOST_SHOWN = 60  # features on the page


def no_delivery() -> dict[str, Any]:
    """The report before the first delivery, which is a normal state."""
    retraining = {"recommended": False, "reasons": []}
    return {"delivery": None, "alarm": False, "retraining": retraining, "verdict": "no delivery yet"}


def answer_profile(table: pd.DataFrame, task: Task) -> Profile:
    """The distribution of each column of `mlops.evaluation.results.answers` (n rows), to be tested like features."""
    numbers = {"probability"} | ({"prediction"} if task == "regression" else set())
    return {
        str(name): distribution(values, "number" if name in numbers else "category") for name, values in table.items()
    }


def compare(
    reference: Profile,
    delivery: Profile,
    test: pd.DataFrame,
    predictions: Predictions,
    labels: pd.Series | None,
    schema: Schema,
    task: Task,
    settings: Monitor,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare a delivery of n rows with the training data: the report as plain values, and what its page shows.

    `reference` and `delivery` are the profiles of the two, `test` the answers on the test split (as
    `mlops.evaluation.results.answers` has them), and `predictions` the answers on the delivery. `labels` (n,) are its
    actual values, missing where they have not come; None if the delivery has no such column.

    Raises:
        ParameterError: a feature that `monitor.features` names is not in the reference.
    """
    answers = results.answers(predictions)
    then, now = answer_profile(test[list(answers)], task), answer_profile(answers, task)
    names = drift.watched(reference, schema.features, settings.features)
    inputs = drift.compare(reference, delivery, names, settings)
    outputs = drift.compare(then, now, list(then), settings)
    found = report(inputs, outputs, predictions, with_labels(predictions, labels, task), task, settings)
    sides = [(reference[column.column], delivery[column.column]) for column in inputs]
    sides += [(then[column.column], now[column.column]) for column in outputs]
    metric = headline(task, "auto")
    limits = {
        "drifted_share": settings.drifted_share,
        "metric": title(metric),
        "minimum": settings.minimum_accuracy,
        "actual": found["predictions"]["metrics"].get(metric),
    }
    # The features that drifted, then those that changed most, in their order; and all of the model's answers.
    changed = sorted(range(len(inputs)), key=lambda k: (not inputs[k].drifted, -inputs[k].effect))[:MOST_SHOWN]
    shown = [*sorted(changed), *range(len(inputs), len(sides))]
    sketches = [{**found["columns"][k], "sketch": sketch(*sides[k])} for k in shown]
    return found, {**found, "columns": sketches, "unshown": len(sides) - len(shown), "limits": limits}


def report(
    features: Sequence[ColumnDrift],
    outputs: Sequence[ColumnDrift],
    predictions: Predictions,
    labelled: Predictions | None,
    task: Task,
    limits: Monitor,
) -> dict[str, Any]:
    """The report as plain values for JSON.

    `features` and `outputs` are the drift of the model's inputs and of its answers, `predictions` the answers on the
    delivery, and `labelled` the answers on the rows whose actual value has come. Retraining is recommended if the
    headline metric of `labelled` is below `limits.minimum_accuracy`, or if more than `limits.drifted_share` of the
    features drifted.
    """
    drifted = [column.column for column in features if column.drifted]
    drifted_outputs = [column.column for column in outputs if column.drifted]
    share = len(drifted) / len(features) if features else 0.0
    metric, least = headline(task, "auto"), limits.minimum_accuracy
    scores = score(labelled) if labelled is not None else {}
    reasons = []
    if share > limits.drifted_share:
        reasons.append(f"{share:.0%} of the features drifted, more than {limits.drifted_share:.0%}")
    if metric in scores and scores[metric] < least:
        reasons.append(f"{title(metric)} on the delivery is {scores[metric]:.3f}, below {least:g}")
    return {
        "features": {"watched": len(features), "drifted": drifted, "share": share},
        "predictions": {**_spread(predictions), "drifted": drifted_outputs, "metrics": scores},
        "retraining": {"recommended": bool(reasons), "reasons": reasons},
        "alarm": bool(drifted or drifted_outputs or reasons),
        "verdict": _verdict(drifted, len(features), drifted_outputs, reasons),
        "columns": [asdict(column) for column in (*features, *outputs)],
    }


def _verdict(drifted: list[str], watched: int, drifted_outputs: list[str], reasons: list[str]) -> str:
    sentence = f"{len(drifted)} of {watched} features drifted"
    if drifted:
        sentence += f" ({', '.join(drifted[:MOST_NAMED])}{', …' if len(drifted) > MOST_NAMED else ''})"
    if drifted_outputs:
        sentence += "; the predictions drifted"
    return f"{sentence}; retraining is recommended: {'; '.join(reasons)}" if reasons else sentence


def _spread(predictions: Predictions) -> dict[str, Any]:
    """The count of the answers and, if they are numbers or probabilities, their mean, spread and range."""
    regression = predictions.kind == "regression"
    values = predictions.predicted if regression else predictions.positive_probability
    if values is None:
        return {"count": len(predictions.predicted)}
    numbers = {name: float(getattr(values, name)()) for name in ("mean", "std", "min", "max")}
    return {"count": len(values), **numbers}


def sketch(baseline: Distribution, current: Distribution) -> dict[str, list[Any]]:
    """Two distributions in a few bins, for a small picture: `labels`, and the share of rows in each bin.

    `reference` and `current` are the shares. Numbers fall into bins of equal width over the middle 98 % of the
    baseline; numbers outside fall into the outer bins. Categories are shown by the most frequent levels of both sides.
    """
    if baseline.kind == "category":
        reference, now = (pd.Series(side.counts, side.values) / max(side.given, 1) for side in (baseline, current))
        shares = pd.DataFrame({"reference": reference, "current": now}).fillna(0)
        levels = shares.sum(axis=1).sort_values(ascending=False, kind="stable").index[:SKETCH_LEVELS]
        return {"labels": levels.tolist(), **{str(name): side[levels].tolist() for name, side in shares.items()}}
    position = np.cumsum(baseline.counts) / max(baseline.given, 1)
    low, high = np.append(baseline.values, 0.0)[np.searchsorted(position, [0.01, 0.99])]  # 0 if there are no values
    edges = np.linspace(low, high if high > low else low + 1, SKETCH_BINS + 1)

    def shares_per_bin(side: Distribution) -> list[float]:
        bins = np.clip(np.searchsorted(edges, side.values, side="right") - 1, 0, SKETCH_BINS - 1)
        shares: list[float] = (np.bincount(bins, side.counts, SKETCH_BINS) / max(side.given, 1)).tolist()
        return shares

    labels = [f"{start:.4g} – {end:.4g}" for start, end in pairwise(edges)]
    return {"labels": labels, "reference": shares_per_bin(baseline), "current": shares_per_bin(current)}
