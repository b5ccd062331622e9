"""What is reported of a model's predictions on the test split."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ml.errors import ParameterError
from ml.intervals import Interval
from ml.metrics import Predictions, by_level, score, title


def scores(predictions: Predictions, headline: str) -> dict[str, float]:
    """All metrics, the headline first.

    Raises:
        ParameterError: there is no metric of that name for this task.
    """
    found = score(predictions)
    if headline not in found:
        raise ParameterError(f"evaluate.metric is {headline}, but there are {', '.join(found)}: choose one of them")
    return {headline: found.pop(headline), **found}


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
