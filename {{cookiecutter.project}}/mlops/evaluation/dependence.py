"""Partial dependence: how a model's mean answer changes with one feature."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.data.schema import ColumnType, Schema
from mlops.training import parallel
from mlops.training.encoding import encoded_blocks, inputs
from mlops.training.fitting import predict
from mlops.training.metrics import Predictions
from mlops.training.task import Label

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

MOST_FEATURES = 6
MOST_ROWS = 1_000  # behind each mean answer
MOST_VALUES = 20  # per feature


def subject(predictions: Predictions) -> Label | None:
    """The class whose probability is shown: the positive class, or the most frequent of several; None to regress."""
    if predictions.kind != "multiclass":
        return predictions.positive
    return max(predictions.classes, key=lambda label: int(np.sum(predictions.actual == label)))


def partial_dependence(
    model: "Pipeline",
    table: pd.DataFrame,
    predictions: Predictions,
    schema: Schema,
    names: Iterable[str],
    seed: int,
    threads: int,
) -> pd.DataFrame:
    """The mean answer if a feature had the same value in all rows, for values that occur (Friedman 2001).

    There is a row per value of each of the first six features of `names`: `feature`, `kind` (number, level or date),
    `value` (text) and `mean`. Numbers and dates are shown at up to 20 quantiles, categories at their 20 most frequent
    levels. The answer is the number or the probability of `subject`; for a model without probabilities, it is the share
    of rows with that prediction. The mean is over up to 1,000 rows of the typed `table` (n rows), drawn by `seed`;
    `predictions` are the model's predictions on `table`. All rows are encoded once, and only the feature's columns are
    replaced (see `mlops.evaluation.importance`).
    """
    sample = np.random.default_rng(seed).choice(len(table), min(MOST_ROWS, len(table)), replace=False)
    rows, of = table.iloc[np.sort(sample)], subject(predictions)
    encoded = model.named_steps["encoder"].transform(inputs(rows, schema))
    features = [name for name in [*names][:MOST_FEATURES] if table[name].notna().any()]
    shared = (model, table[features], rows, encoded, schema, predictions.positive, of, threads)
    parts = parallel.each(_along, shared, [(name,) for name in features], threads)
    return pd.DataFrame(pd.concat(parts, ignore_index=True))


def _along(
    model: "Pipeline",
    columns: pd.DataFrame,
    rows: pd.DataFrame,
    encoded: NDArray[np.float64],
    schema: Schema,
    positive: Label | None,
    of: Label | None,
    threads: int,
    name: str,
) -> pd.DataFrame:
    encoder, estimator = model.named_steps["encoder"], model.named_steps["estimator"]
    places = encoded_blocks(encoder, schema)[name]
    values, kind = _grid(columns[name], schema.columns[name].type)
    at_values = rows.iloc[np.zeros(len(values), dtype=np.intp)].copy()
    at_values[name] = values.array  # not assign, whose own parameter `self` may be the name of a column
    block = encoder.transform(inputs(at_values, schema))[:, places]
    stacked = np.tile(encoded, (len(values), 1))
    stacked[:, places] = np.repeat(block, len(rows), axis=0)
    answers = _answers(predict(estimator, stacked, None, positive, threads), of)
    text = [f"{value:.6g}" if kind == "number" else str(value) for value in values]
    means = answers.reshape(len(values), len(rows)).mean(axis=1)
    return pd.DataFrame({"feature": name, "kind": kind, "value": text, "mean": means})


def _grid(values: pd.Series, column: ColumnType) -> tuple[pd.Series, str]:
    """The values at which a feature is shown, sorted and in their own type, and their kind."""
    present = values.dropna().sort_values(kind="stable")
    if column in ("category", "boolean"):
        rows = present.value_counts(sort=False).sort_values(ascending=False, kind="stable")
        return present[present.isin(rows.index[:MOST_VALUES])].drop_duplicates(), "level"
    places = np.linspace(0, len(present) - 1, MOST_VALUES).round().astype(np.intp)
    return present.iloc[places].drop_duplicates(), "date" if column == "datetime" else "number"


def _answers(predictions: Predictions, of: Label | None) -> NDArray[np.float64]:
    if predictions.probabilities is None:
        return np.asarray(predictions.predicted if of is None else predictions.predicted == of, dtype=np.float64)
    return predictions.probabilities[:, predictions.classes.index(of)]
