"""Permutation importance: which features a fitted model relies on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.data.schema import Schema
from mlops.training import parallel
from mlops.training.encoding import encoded_blocks
from mlops.training.fitting import predict
from mlops.training.metrics import HIGHER_IS_BETTER, Predictions, score

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

MOST_ROWS = 10_000
# Shuffled features: each takes a prediction of all columns, so that all of many take the square of their number.
MOST_FEATURES = 250


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

    The method is that of Breiman (2001), as in scikit-learn's `permutation_importance`, but on the encoded matrix. The
    encoder treats each row and each column separately, so shuffling a feature's encoded columns together equals
    encoding the shuffled feature, and the slow encoding is done once. Only the first 10,000 rows of `table` (n rows,
    see `mlops.training.encoding.inputs`) are used; `predictions` are the model's predictions on `table`. Of more than
    250 features, only the 250 that the predictions follow most are shuffled.
    """
    table, predictions = table.iloc[:MOST_ROWS], predictions.subset(slice(MOST_ROWS))
    encoder, estimator = model.named_steps["encoder"], model.named_steps["estimator"]
    encoded = encoder.transform(table)
    blocks = encoded_blocks(encoder, schema)
    shuffles = [np.random.default_rng([seed, repeat]).permutation(len(table)) for repeat in range(repeats)]

    names = list(blocks)
    if len(names) > MOST_FEATURES:
        followed = _correlations(encoded, predictions)
        strength = np.array([followed[block].max(initial=0) for block in blocks.values()])
        names = [names[k] for k in np.sort(np.argsort(-strength, kind="stable")[:MOST_FEATURES])]
    shared = (estimator, encoded, blocks, predictions, metric, score(predictions)[metric], shuffles, threads)
    yield from parallel.each(_importance, shared, [(name,) for name in names], threads)


def _importance(
    estimator: "BaseEstimator",
    encoded: NDArray[np.float64],
    blocks: Mapping[str, NDArray[np.intp]],
    predictions: Predictions,
    metric: str,
    baseline: float,
    shuffles: Sequence[NDArray[np.intp]],
    threads: int,
    name: str,
) -> tuple[str, float, float]:
    block, sign = blocks[name], 1 if HIGHER_IS_BETTER[metric] else -1
    stacked = np.tile(encoded, (len(shuffles), 1))
    stacked[:, block] = np.vstack([encoded[np.ix_(rows, block)] for rows in shuffles])
    actual = np.tile(predictions.actual, len(shuffles))
    shuffled = predict(estimator, stacked, actual, predictions.positive, threads, threshold=predictions.threshold)
    losses = [sign * (baseline - score(part)[metric]) for part in _parts(shuffled, len(encoded))]
    return name, float(np.mean(losses)), float(np.std(losses))


def table(importances: Iterable[tuple[str, float, float]]) -> pd.DataFrame:
    """The importances as a table (`feature`, `importance`, `spread`), the greatest first."""
    frame = pd.DataFrame(importances, columns=["feature", "importance", "spread"])
    return frame.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _correlations(encoded: NDArray[np.float64], predictions: Predictions) -> NDArray[np.float64]:
    """The largest absolute correlation of each encoded column (m,) with what is predicted: a number or a class."""
    answers = predictions.probabilities
    if answers is None:
        labels = np.array(predictions.classes)
        answers = predictions.predicted[:, None] == labels if len(labels) else predictions.predicted[:, None]
    columns, answers = encoded - encoded.mean(axis=0), answers - answers.mean(axis=0)
    # Without BLAS, which adds in another order on another number of cores.
    products = np.abs(np.einsum("nm,nk->mk", columns, answers))
    sizes = np.sqrt(np.outer(np.einsum("nm,nm->m", columns, columns), np.einsum("nk,nk->k", answers, answers)))
    correlations = np.divide(products, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    return np.asarray(correlations.max(axis=1), dtype=np.float64)


def _parts(predictions: Predictions, rows: int) -> Iterator[Predictions]:
    for start in range(0, len(predictions.actual), rows):
        yield predictions.subset(slice(start, start + rows))
