"""Which features a fitted model relies on."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.features import encoder_columns
from ml.fitting import predict
from ml.metrics import HIGHER_IS_BETTER, Predictions, score
from ml.schema import Schema

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

MOST_ROWS = 10_000


def permutation_importances(
    model: "Pipeline",
    table: pd.DataFrame,
    predictions: Predictions,
    schema: Schema,
    metric: str,
    repeats: int,
    seed: int,
    threads: int,
) -> Iterator[tuple[str, float, float]]:
    """Yield (feature, mean, spread) in schema order: how much `metric` worsens when the feature's values are shuffled.

    Breiman (2001), as in scikit-learn's `permutation_importance`, but on the encoded matrix: the encoder works row by
    row and column by column, so shuffling a feature's encoded columns together is the same as encoding it shuffled, and
    encoding, the slow part, is done once. `table` (n rows, see `ml.features.inputs`) is cut to its first 10,000 rows;
    `predictions` are those of `model` on it.
    """
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    table, predictions = table.iloc[:MOST_ROWS], predictions.subset(slice(MOST_ROWS))
    encoder, estimator = model.named_steps["encoder"], model.named_steps["estimator"]
    encoded = encoder.transform(table)
    blocks = _blocks(encoder)
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    baseline = score(predictions)[metric]
    shuffles = [np.random.default_rng([seed, repeat]).permutation(len(table)) for repeat in range(repeats)]

    def worsened(name: str) -> tuple[str, float, float]:
        block = [column for part in encoder_columns(name, schema) for column in blocks[part]]
        stacked = np.tile(encoded, (repeats, 1))
        stacked[:, block] = np.vstack([encoded[np.ix_(rows, block)] for rows in shuffles])
        shuffled = predict(estimator, stacked, np.tile(predictions.actual, repeats), predictions.positive, threads)
        losses = [sign * (baseline - score(part)[metric]) for part in _parts(shuffled, len(table))]
        return name, float(np.mean(losses)), float(np.std(losses))

    with threadpool_limits(threads):  # see ml.fitting.cross_validate
        yield from Parallel(n_jobs=-1, prefer="threads", return_as="generator")(
            delayed(worsened)(name) for name in schema.inputs
        )


def table(importances: Iterable[tuple[str, float, float]]) -> pd.DataFrame:
    """The importances as `feature`, `importance`, `spread`, the greatest first."""
    found = pd.DataFrame(importances, columns=["feature", "importance", "spread"])
    return found.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _parts(predictions: Predictions, rows: int) -> Iterator[Predictions]:
    for start in range(0, len(predictions.actual), rows):
        yield predictions.subset(slice(start, start + rows))


def _blocks(encoder: "ColumnTransformer") -> dict[str, NDArray[np.intp]]:
    """Which encoded columns each column of the input became."""
    blocks: dict[str, NDArray[np.intp]] = {}
    for name, transformer, columns in encoder.transformers_:
        encoded = np.arange(encoder.output_indices_[name].start, encoder.output_indices_[name].stop)
        if name == "categories" and len(columns):
            # Numbered names, so that no column name or level can be mistaken for another.
            names = transformer["encode"].get_feature_names_out([f"{number}\0" for number in range(len(columns))])
            origin = np.array([int(name.partition("\0")[0]) for name in names])
            blocks |= {column: encoded[origin == number] for number, column in enumerate(columns)}
        elif len(columns):  # as many columns each: one, or of a mean target one per class
            blocks |= dict(zip(columns, np.split(encoded, len(columns)), strict=True))
    return blocks
