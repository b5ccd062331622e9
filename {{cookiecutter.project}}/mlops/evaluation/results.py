"""The results of a model on the test split, as stages write them and pages show them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from mlops.base.errors import ParameterError
from mlops.base.params import Costs
from mlops.data import digest
from mlops.data.schema import Schema
from mlops.evaluation.intervals import Interval
from mlops.training import decision as deciding
from mlops.training import large
from mlops.training.metrics import HIGHER_IS_BETTER, Predictions, by_level, classification_report, score, title
from mlops.training.task import Headline, Label

PROBABILITY = "probability of "
GROUP = "group "  # before the name of a sensitive column


def scores(predictions: Predictions, headline: str) -> dict[str, float]:
    """All metrics, the headline first.

    Raises:
        ParameterError: this task has no metric called `headline`.
    """
    metrics = score(predictions)
    if headline not in metrics:
        raise ParameterError(f"evaluate.metric is {headline}, but there are {', '.join(metrics)}: choose one of them")
    return ordered(metrics, headline)


def ordered(metrics: Mapping[str, float], headline: str) -> dict[str, float]:
    """The metrics, the headline first."""
    return {headline: metrics[headline], **metrics}


def facts(predictions: Predictions, headline: Headline, intervals: Mapping[str, Interval]) -> dict[str, Any]:
    """The facts of an evaluation besides the metrics: intervals, labels, and for classification a report per class."""
    return {
        "headline": headline.metric,
        "reason": headline.reason,
        "labels": predictions.classes,
        "positive": predictions.positive,
        "intervals": intervals,
        "classes": classification_report(predictions) if predictions.classes else [],
    }


def decision(
    predictions: Predictions, before: Predictions | None, trained: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """What the decision that was `trained` (see `training.decision`) gives on the test rows, with names for people.

    `before` are the predictions with uncalibrated probabilities. Where a decision has costs, `same` is the label that
    costs least if all rows get it. None without probabilities of two classes.
    """
    if trained is None or predictions.positive_probability is None:
        return None
    by = deciding.goal_of(trained)
    return {
        **{name: trained[name] for name in ("threshold", "chosen_by", "costs", "out_of_fold")},
        "by": deciding.title(by),
        "value": deciding.value(predictions, by),
        "value_at_half": deciding.value(predictions.at(0.5), by),
        "same": _same_for_all(predictions, by) if isinstance(by, Costs) else None,
        "calibration": before
        and {
            "method": trained["calibration"]["method"],
            **deciding.of_probabilities(before, predictions),
        },
    }


def _same_for_all(predictions: Predictions, costs: Costs) -> dict[str, Any]:
    """The label that costs least if all rows of two classes get it, and its cost per row (`value`)."""
    every = [replace(predictions, predicted=np.full_like(predictions.predicted, one)) for one in predictions.classes]
    values = [deciding.value(one, costs) for one in every]
    return {"label": predictions.classes[int(np.argmin(values))], "value": min(values)}


def sentence(
    scores: Mapping[str, float],
    intervals: Mapping[str, Interval],
    headline: Headline,
    rows: int,
    baseline: Mapping[str, float],
    sample: Mapping[str, int] | None = None,
) -> str:
    """The headline metric with its interval, in one line, and the metrics that are undefined on these rows.

    `sample` is that of `tested`.
    """
    name, reason = headline
    low, high = intervals[name]
    on = tested(rows, sample) if sample else f"{rows} test rows"
    undefined = [title(name) for name, value in scores.items() if not math.isfinite(value)]
    why = f" (the headline, since {reason})" if reason else ""
    rest = f"; not defined on them, so not logged: {', '.join(undefined)}" if undefined else ""
    told = f"{title(name)} {scores[name]:.4f} ({low:.4f} to {high:.4f}) on {on}"
    return f"{told}, baseline {baseline[name]:.4f}{why}{rest}"


def tested(rows: int, sample: Mapping[str, int] | None) -> str:
    """On how many rows a model was judged: those of the test split, or a `sample` (`rows`) of them (`of`)."""
    return f"{sample['rows']:,} of {sample['of']:,} test rows" if sample else f"{rows:,} test rows"


def fitted(rows: int, sample: Mapping[str, Any] | None) -> str:
    """On how many rows a model was fitted: those of the training split, or as its `sample` (of `large`) says."""
    return large.sentence(sample) if sample else f"trained on {rows:,} rows"


def luck(
    metric: str, value: float, interval: Interval, expected: Interval
) -> Literal["lucky split", "unlucky split"] | None:
    """Whether the test split makes the model look better or worse than it is, by the `value` of a metric on it.

    That is said where the folds and the test rows agree: the value is outside the interval that is `expected` from the
    folds (`intervals.expected`), and the mean of the folds is outside the test's own `interval`.
    """
    mean = (expected.low + expected.high) / 2
    if expected.low <= value <= expected.high or interval.low <= mean <= interval.high or math.isnan(mean + value):
        return None
    return "lucky split" if (value > mean) == HIGHER_IS_BETTER[metric] else "unlucky split"


def in_plain_numbers(found: Predictions, scores: Mapping[str, float], constant: Mapping[str, float]) -> dict[str, Any]:
    """The numbers of a sentence for people who know no metrics; shares are from 0 to 1, None where undefined.

    For two classes: the share of rows that are `positive`, that are `flagged` so, of the positive ones those `found`,
    and of the flagged ones those `right`. For many classes, the share of rows `right`, and that `without` the model.
    For a number, by how much it is `off` on average, and how much without the model.
    """
    if found.kind == "regression":
        return {"off": scores["mae"], "without": constant["mae"]}
    if found.kind == "multiclass":
        return {"right": scores["accuracy"], "without": constant["accuracy"]}
    actual, flagged = found.actual == found.positive, found.predicted == found.positive
    hits = float((actual & flagged).mean())
    positive, said = float(actual.mean()), float(flagged.mean())
    return {
        "positive": positive,
        "flagged": said,
        "found": hits / positive if positive else None,
        "right": hits / said if said else None,
    }


def logged(
    test: Mapping[str, float | None], cross_validated: Mapping[str, Mapping[str, float | None]]
) -> dict[str, float]:
    """The metrics to log for a run: of the test split, and mean and spread over the folds.

    Metrics that are undefined are left out: a tracking store takes numbers only.
    """
    means = {f"cross_validated.{name}": spread["mean"] for name, spread in cross_validated.items()}
    spreads = {f"cross_validated_std.{name}": spread["std"] for name, spread in cross_validated.items()}
    every = {**test, **means, **spreads}
    return {name: value for name, value in every.items() if value is not None and math.isfinite(value)}


def metrics_by_group(predictions: Predictions, table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """All metrics per level of each of `columns` of the test table (n rows); only the header if there are none."""
    if not columns:
        return pd.DataFrame(columns=["column", "level", "rows"])
    parts = {name: by_level(predictions, table[name]) for name in columns}
    return pd.concat(parts, names=["column"]).reset_index("column").reset_index(drop=True)


def answers(predictions: Predictions) -> pd.DataFrame:
    """A model's answers on n rows: `prediction`, and for two classes `probability` of the positive class."""
    table = pd.DataFrame({"prediction": predictions.predicted})
    probability = predictions.positive_probability
    return table if probability is None else table.assign(probability=probability)


def class_probabilities(predictions: Predictions) -> pd.DataFrame:
    """The probability of each class on n rows, in columns named after the classes; no column where there is none."""
    columns = [f"{PROBABILITY}{label}" for label in predictions.classes]
    return pd.DataFrame(predictions.probabilities, columns=columns if predictions.probabilities is not None else [])


def to_frame(predictions: Predictions, table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """The predictions on the test table (n rows) as a table, so that another model can be compared on shared rows.

    Columns: `row` (uint64) identifies the row in any table, by a hash of its id if the schema has one, else of the
    whole row; `actual`; the columns of `answers`; for more than two classes the probability of each class; and the
    sensitive columns, so that metrics per group can be computed again.
    """
    keys = digest.row_hashes(table[schema.with_role("id") or list(table.columns)])
    frame = pd.DataFrame({"row": keys, "actual": predictions.actual}).join(answers(predictions))
    if predictions.kind == "multiclass" and predictions.probabilities is not None:
        frame = frame.join(class_probabilities(predictions))
    return frame.join(table[schema.sensitive].add_prefix(GROUP).reset_index(drop=True))


def groups_of(frame: pd.DataFrame) -> pd.DataFrame:
    """The sensitive columns (n rows) in the table of `to_frame`."""
    groups = frame.filter(regex=f"^{GROUP}")
    return groups.rename(columns=lambda name: name.removeprefix(GROUP))


def from_frame(frame: pd.DataFrame, classes: Sequence[Label], positive: Label | None) -> Predictions:
    """The predictions (n rows) from the table of `to_frame`; `classes` are all classes, sorted (none to regress)."""
    probabilities = None
    if "probability" in frame:
        of_positive = frame["probability"].to_numpy(dtype=np.float64)
        both = (1 - of_positive, of_positive)
        probabilities = np.column_stack(both if positive == classes[-1] else both[::-1])
    elif (columns := [f"{PROBABILITY}{label}" for label in classes]) and columns[0] in frame:
        probabilities = frame[columns].to_numpy(dtype=np.float64)
    kind = np.float64 if not classes else object if isinstance(classes[0], str) else np.dtype(type(classes[0]))
    actual, predicted = (frame[name].to_numpy(dtype=kind) for name in ("actual", "prediction"))
    return Predictions(actual, predicted, probabilities, tuple(classes), positive)


def metric_rows(
    scores: Mapping[str, float],
    intervals: Mapping[str, Interval],
    cross_validated: Mapping[str, Mapping[str, float]],
    baseline: Mapping[str, float],
) -> list[dict[str, Any]]:
    """A row per metric for a report.

    It has name, title, value, that of the `baseline`, ends of the interval, and mean and spread over the folds.
    """
    unknown = {"mean": None, "std": None}
    return [
        {"name": name, "title": title(name), "value": value, "baseline": baseline.get(name)}
        | intervals[name]._asdict()
        | dict(cross_validated.get(name, unknown))
        for name, value in scores.items()
    ]
