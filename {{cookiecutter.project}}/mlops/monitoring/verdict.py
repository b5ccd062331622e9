"""The report on a delivery: the drift of its features and of the model's answers, and whether to retrain."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from mlops.base.params import Costs, Monitor
from mlops.data.profile import Distribution, Profile, distribution
from mlops.data.schema import Column, Schema
from mlops.evaluation import results
from mlops.monitoring import domain, drift, two_sample
from mlops.monitoring.domain import Domain
from mlops.monitoring.drift import ColumnDrift
from mlops.training import decision
from mlops.training.fitting import with_labels
from mlops.training.metrics import Predictions, score, title
from mlops.training.task import Task

SKETCH_BARS = 16
SKETCH_LEVELS = 10
MOST_WHOLE = 2**40  # whole numbers in a bar of a sketch; beyond, all floats are whole
SHORTEST_IN_DAYS = 3  # of dates that span less, the page tells the time
MOST_NAMED = 5
# What `monitor.minimum_accuracy` is about.
METRIC: dict[Task, str] = {"classification": "accuracy", "regression": "r2"}
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
    importances: pd.Series,
    costs: Costs | None = None,
    samples: Sequence[pd.DataFrame] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare a delivery of n rows with the training data: the report as plain values, and what its page shows.

    `reference` and `delivery` are the profiles of the two, `test` the answers on the test split (as
    `mlops.evaluation.results.answers` has them), and `predictions` the answers on the delivery. `labels` (n,) are its
    actual values, missing where they have not come; None if the delivery has no such column. `importances` are by
    feature; not every feature has one. `costs` are those by which the threshold was chosen. `samples` are typed rows of
    the training data and of the delivery, to compare all columns together; None leaves that out. The page shows the
    model's answers, then the features of most consequence, the drifted ones in any case: in the order of effect times
    importance, then of effect alone.

    Raises:
        ParameterError: a feature that `monitor.features` names is not in the reference.
    """
    answers = results.answers(predictions)
    then, now = answer_profile(test[list(answers)], task), answer_profile(answers, task)
    names = drift.watched(reference, schema.features, settings.features)
    inputs, outputs = drift.compare_together([(reference, delivery, names), (then, now, list(then))], settings)
    together = domain.compare(samples[0], samples[1], names, schema, settings) if samples else "no rows were given"
    labelled = with_labels(predictions, labels, task)
    # Performance without labels comes here; `outside` is whether the rows differ, taken together.
    estimated = None
    found = report(inputs, outputs, predictions, labelled, task, settings, costs, together, estimated)
    metric = METRIC[task]
    limits = {
        "drifted_share": settings.drifted_share,
        "metric": title(metric),
        "minimum": settings.minimum_accuracy,
        "actual": found["predictions"]["metrics"].get(metric),
    }

    def consequence(column: ColumnDrift) -> tuple[float, float]:
        return column.effect * max(importances.get(column.column, 0.0), 0.0), column.effect

    chosen = sorted(inputs, key=lambda column: (column.drifted, consequence(column)), reverse=True)[:MOST_SHOWN]
    written = {"prediction": schema.columns[schema.target]}
    shown = {
        "answers": [panel(column, then, now, written) for column in outputs],
        "columns": [
            {**panel(column, reference, delivery, schema.columns), "importance": importances.get(column.column)}
            for column in sorted(chosen, key=consequence, reverse=True)
        ],
    }
    return found, {**found, **shown, "unshown": len(inputs) - len(chosen), "limits": limits}


def panel(column: ColumnDrift, then: Profile, now: Profile, columns: Mapping[str, Column]) -> dict[str, Any]:
    """What the page shows of a column: its drift, its sketch, and how its values are written.

    `unit` follows a number; `date` is the precision of a datetime (D or m, as numpy names them), None for all others.
    """
    known, sides = columns.get(column.column), (then[column.column], now[column.column])
    picture, date = sketch(*sides), None
    if known is not None and known.type == "datetime":
        date = "D" if picture["high"] - picture["low"] >= SHORTEST_IN_DAYS else "m"
    medians = [side.median for side in sides]
    return {**asdict(column), "sketch": picture, "unit": known and known.unit, "date": date, "medians": medians}


def report(
    features: Sequence[ColumnDrift],
    outputs: Sequence[ColumnDrift],
    predictions: Predictions,
    labelled: Predictions | None,
    task: Task,
    limits: Monitor,
    costs: Costs | None = None,
    together: Domain | str = "not compared",
    estimated: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The report as plain values for JSON.

    `features` and `outputs` are the drift of the model's inputs and of its answers, `predictions` the answers on the
    delivery, and `labelled` the answers on the rows whose actual value has come. Retraining is recommended if the
    accuracy (or R²) of `labelled` is below `limits.minimum_accuracy`, where somebody set one, or if more than
    `limits.drifted_share` of the features drifted. `together` is the drift of all features together, or the reason why
    it is not known; `estimated` is the performance without labels, None if it is not known.
    """
    drifted = [column.column for column in features if column.drifted]
    drifted_outputs = [column.column for column in outputs if column.drifted]
    share = len(drifted) / len(features) if features else 0.0
    metric, least = METRIC[task], limits.minimum_accuracy
    scores = score(labelled) if labelled is not None else {}
    if labelled is not None and costs is not None:
        scores["cost_per_row"] = decision.value(labelled, costs)
    multivariate = None if isinstance(together, str) else together
    moved = multivariate is not None and multivariate.drifted
    reasons = []
    if share > limits.drifted_share:
        reasons.append(f"{share:.0%} of the features drifted, more than {limits.drifted_share:.0%}")
    if least is not None and metric in scores and scores[metric] < least:
        reasons.append(f"{title(metric)} on the delivery is {scores[metric]:.3f}, below {least:g}")
    return {
        "features": {"watched": len(features), "drifted": drifted, "share": share},
        "predictions": {**_spread(predictions), "drifted": drifted_outputs, "metrics": scores},
        "multivariate": multivariate and asdict(multivariate),
        "multivariate_note": together if multivariate is None else None,
        "estimated": estimated,
        "retraining": {"recommended": bool(reasons), "reasons": reasons},
        "alarm": bool(drifted or drifted_outputs or moved or reasons),
        "verdict": _verdict(drifted, len(features), multivariate, drifted_outputs, reasons),
        "columns": [asdict(column) for column in (*features, *outputs)],
    }


def _verdict(
    drifted: list[str], watched: int, multivariate: Domain | None, drifted_outputs: list[str], reasons: list[str]
) -> str:
    sentence = f"{len(drifted)} of {watched} features drifted{_named(drifted)}"
    if multivariate is not None and multivariate.drifted:
        telling = _named([column.column for column in multivariate.columns])
        sentence += f"; taken together they differ by an AUC of {multivariate.auc:.2f}{telling}"
    if drifted_outputs:
        sentence += "; the predictions drifted"
    return f"{sentence}; retraining is recommended: {'; '.join(reasons)}" if reasons else sentence


def _named(names: list[str]) -> str:
    return f" ({', '.join(names[:MOST_NAMED])}{', …' if len(names) > MOST_NAMED else ''})" if names else ""


def _spread(predictions: Predictions) -> dict[str, Any]:
    """The count of the answers and, if they are numbers or probabilities, their mean, spread and range."""
    regression = predictions.kind == "regression"
    values = predictions.predicted if regression else predictions.positive_probability
    if values is None:
        return {"count": len(predictions.predicted)}
    numbers = {name: float(getattr(values, name)()) for name in ("mean", "std", "min", "max")}
    return {"count": len(values), **numbers}


def sketch(baseline: Distribution, current: Distribution) -> dict[str, Any]:
    """Two distributions in a few bars, for a small picture: `reference` and `current` are the shares of rows per bar.

    Categories have a bar for each of the most frequent levels of both sides (`labels`), then one for the `others` if
    there are more. Numbers have bars of equal width from `low` to `high`, which span the middle 98 % of the baseline
    and the rest if that is near; the first and the last bar are what lies outside, down to `least` and up to
    `greatest`. Bars of whole numbers hold equally many of them.
    """
    if baseline.kind == "category":
        levels, table = two_sample.contingency(baseline, current)
        shares = table / np.maximum([[baseline.given], [current.given]], 1)
        by_share = np.argsort(-shares.sum(axis=0), kind="stable")
        shown, others = by_share[:SKETCH_LEVELS], by_share[SKETCH_LEVELS:]
        bars = {
            name: [*side[shown].tolist(), *([float(side[others].sum())] if len(others) else [])]
            for name, side in zip(("reference", "current"), shares, strict=True)
        }
        return {"labels": levels[shown].tolist(), "others": len(others), **bars}
    side = baseline if baseline.given else current
    values = side.values if side.given else np.zeros(1)
    position = np.cumsum(side.counts) / max(side.given, 1)
    low, high = values[np.searchsorted(position, [0.01, 0.99])].tolist()
    near = (high - low) / SKETCH_BARS
    inside = values[(values >= low - near) & (values <= high + near)]
    low, high = float(inside[0]), float(inside[-1])
    width, count = (high - low) / SKETCH_BARS, SKETCH_BARS
    if width == 0 or (width < MOST_WHOLE and (inside == np.floor(inside)).all()):
        width = math.ceil((high - low + 1) / SKETCH_BARS)
        count = math.ceil((high - low + 1) / width)
    edges = np.append(low + width * np.arange(count), np.nextafter(high, np.inf))

    def shares_per_bar(side: Distribution) -> list[float]:
        places = np.searchsorted(edges, side.values, side="right")
        shares: list[float] = (np.bincount(places, side.counts, len(edges) + 1) / max(side.given, 1)).tolist()
        return shares

    ends = np.concatenate([values[[0, -1]], current.values[:1], current.values[-1:]])
    return {
        **{"low": float(low), "high": float(high), "least": float(ends.min()), "greatest": float(ends.max())},
        **{"reference": shares_per_bar(baseline), "current": shares_per_bar(current)},
    }
