"""What is reported of a model's predictions on the test split."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlops.base.errors import ParameterError
from mlops.data import digest
from mlops.data.schema import Schema
from mlops.evaluation.intervals import Interval
from mlops.training.metrics import Predictions, by_level, classification_report, score, title
from mlops.training.task import Label

PROBABILITY = "probability of "


def scores(predictions: Predictions, headline: str) -> dict[str, float]:
    """All metrics, the headline first.

    Raises:
        ParameterError: there is no metric of that name for this task.
    """
    found = score(predictions)
    if headline not in found:
        raise ParameterError(f"evaluate.metric is {headline}, but there are {', '.join(found)}: choose one of them")
    return {headline: found.pop(headline), **found}


def facts(predictions: Predictions, headline: str, spans: Mapping[str, Interval]) -> dict[str, Any]:
    """What is known besides the metrics: their intervals, and of a classification the classes and how each is met."""
    return {
        "headline": headline,
        "labels": predictions.classes,
        "positive": predictions.positive,
        "intervals": spans,
        "classes": classification_report(predictions) if predictions.classes else [],
    }


def sentence(scores: Mapping[str, float], spans: Mapping[str, Interval], headline: str, rows: int) -> str:
    """The headline metric with its interval, in one line."""
    low, high = spans[headline]
    return f"{title(headline)} {scores[headline]:.4f} ({low:.4f} to {high:.4f}) on {rows} test rows"


def logged(test: Mapping[str, float], cross_validated: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """All metrics of a result, each under a name of its own: `cross_validated.` before the means over the folds."""
    return {**test, **{f"cross_validated.{name}": spread["mean"] for name, spread in cross_validated.items()}}


def by_group(predictions: Predictions, table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """All metrics per level of each of `columns` of the test table (n rows); only the header if there are none."""
    parts = [by_level(predictions, table[name]).assign(column=name) for name in columns]
    if not parts:
        return pd.DataFrame(columns=["column", "level", "rows"])
    groups = pd.concat(parts, ignore_index=True)
    return groups[["column", *groups.columns.drop("column")]]


def answers(predictions: Predictions) -> pd.DataFrame:
    """A model's answers on n rows: `prediction`, and of two classes `probability` of the positive one."""
    table = pd.DataFrame({"prediction": predictions.predicted})
    probability = predictions.positive_probability
    return table if probability is None else table.assign(probability=probability)


def to_frame(predictions: Predictions, table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """All that it takes to compare this model with another on the rows (n) of the test table that both were judged on.

    Columns: `row` (uint64), the same for the same row whatever table it stands in: a hash of its id if the schema has
    one, else of all of it; `actual`; what `answers` gives; and of more than two classes the probability of each.
    """
    keys = digest.row_hashes(table[schema.with_role("id") or list(table.columns)])
    kept = pd.DataFrame({"row": keys, "actual": predictions.actual}).join(answers(predictions))
    if predictions.kind == "multiclass" and predictions.probabilities is not None:
        columns = [f"{PROBABILITY}{label}" for label in predictions.classes]
        kept = kept.join(pd.DataFrame(predictions.probabilities, columns=columns))
    return kept


def from_frame(kept: pd.DataFrame, classes: Sequence[Label], positive: Label | None) -> Predictions:
    """The predictions (n rows) of which `to_frame` made a table; `classes` are all, sorted, none to regress."""
    probabilities = None
    if "probability" in kept:
        of_positive = kept["probability"].to_numpy(dtype=np.float64)
        both = (1 - of_positive, of_positive)
        probabilities = np.column_stack(both if positive == classes[-1] else both[::-1])
    elif (columns := [f"{PROBABILITY}{label}" for label in classes]) and columns[0] in kept:
        probabilities = kept[columns].to_numpy(dtype=np.float64)
    kind = np.float64 if not classes else object if isinstance(classes[0], str) else np.dtype(type(classes[0]))
    actual, predicted = (kept[name].to_numpy(dtype=kind) for name in ("actual", "prediction"))
    return Predictions(actual, predicted, probabilities, tuple(classes), positive)


def metric_rows(
    found: Mapping[str, float], spans: Mapping[str, Interval], cross_validated: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """A row per metric for a report: name, title, value, the ends of its interval, and its cross-validated spread."""
    unknown = {"mean": None, "std": None}
    return [
        {
            "name": name,
            "title": title(name),
            "value": value,
            **spans[name]._asdict(),
            **cross_validated.get(name, unknown),
        }
        for name, value in found.items()
    ]
