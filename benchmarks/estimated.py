"""How far performance estimated without labels is from the truth, for real models and four kinds of change.

    python -m benchmarks.estimated [repetitions]

Models are fitted to 4,000 rows, estimates learn from 1,000 test rows, and are compared with the labels of 5,000 new
rows: rows as before (none); two features moved by 0.7 standard deviations (covariate shift) and by 2 (outside of what
was trained on); and rows as before of which something else follows (concept drift). `uncalibrated` is what the model's
own probabilities say.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "{{cookiecutter.project}}"))

import numpy as np
import pandas as pd
from mlops.monitoring import estimated
from mlops.training.metrics import Predictions, score
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression

TRAIN, TEST, NEW = 4000, 1000, 5000
SLOPES = np.array([1, -0.8, 0.6, 0.5, -0.4, 0.3, 0, 0, 0, 0])
CHANGES = {"none": (0.0, False), "shift 0.7 sd": (0.7, False), "shift 2 sd": (2.0, False), "concept": (0.0, True)}
LABELS = np.array(["no", "yes"], dtype=object)
CLASSIFIERS = {
    "logistic": LogisticRegression(),
    "forest": RandomForestClassifier(random_state=0, max_depth=10),
    "boosting": HistGradientBoostingClassifier(random_state=0),
}
REGRESSORS = {
    "linear": LinearRegression(),
    "forest": RandomForestRegressor(random_state=0, max_depth=10),
    "boosting": HistGradientBoostingRegressor(random_state=0),
}
Rows = tuple[NDArray[np.float64], NDArray[np.float64]]


def drawn(rng: np.random.Generator, rows: int, shift: float, concept: bool) -> Rows:
    """Ten features (n, 10) and what follows from them (n,)."""
    features = rng.normal(size=(rows, len(SLOPES)))
    features[:, 0] += shift
    features[:, 1] -= shift
    slopes = SLOPES * np.where(np.arange(len(SLOPES)) == 2, -1, 1) if concept else SLOPES
    return features, features @ slopes + 0.2 * features[:, 0] * features[:, 3] - 0.2


def labels(model: object, rng: np.random.Generator, rows: Rows) -> Predictions:
    """The answers of a classifier, with labels that are drawn."""
    features, known = rows
    actual = LABELS[(rng.random(len(known)) < 1 / (1 + np.exp(-known))).astype(int)]
    found = model.predict_proba(features)
    return Predictions(actual, LABELS[(found[:, 1] >= 0.5).astype(int)], found, ("no", "yes"), "yes")


def numbers(model: object, rng: np.random.Generator, rows: Rows) -> Predictions:
    """The answers of a regressor, of numbers whose noise grows with them."""
    return Predictions(noisy(rng, rows), model.predict(rows[0]), None, (), None)


def noisy(rng: np.random.Generator, rows: Rows) -> NDArray[np.float64]:
    """Numbers (n,) whose noise grows with them."""
    return rows[1] + rng.normal(size=len(rows[1])) * np.exp(rows[1] / 4) / 2


def measured(repetitions: int) -> pd.DataFrame:
    """A row per model, metric and change, the mean of all repetitions; `off` is the mean absolute difference."""
    found = []
    for seed in range(repetitions):
        rng = np.random.default_rng(seed)
        train = drawn(rng, TRAIN, *CHANGES["none"])
        targets = (rng.random(TRAIN) < 1 / (1 + np.exp(-train[1])), noisy(rng, train))
        for models, target, answer in zip((CLASSIFIERS, REGRESSORS), targets, (labels, numbers), strict=True):
            for name, model in models.items():
                model.fit(train[0], target)
                learnt = estimated.learn(answer(model, rng, drawn(rng, TEST, *CHANGES["none"])))
                for change, how in CHANGES.items():
                    new = answer(model, rng, drawn(rng, NEW, *how))
                    true = score(new)
                    sure = None if new.probabilities is None else float(new.probabilities.max(axis=1).mean())
                    for metric, one in estimated.estimated(learnt, estimated.grouped(learnt, new))["metrics"].items():
                        value, inside = one["value"], one["low"] <= true[metric] <= one["high"]
                        raw = sure if metric == "accuracy" else None
                        off = abs(value - true[metric])
                        found.append((metric, name, change, one["test"], true[metric], value, raw, off, inside))
    columns = ["metric", "model", "change", "test", "true", "estimated", "uncalibrated", "off", "inside"]
    return pd.DataFrame(found, columns=columns).groupby(columns[:3], sort=False).mean().reset_index()


def main() -> None:
    """Print the table."""
    table = Table(box=None, pad_edge=False)
    found = measured(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    for name in found:
        table.add_column(name, justify="left" if name in ("metric", "model", "change") else "right")
    for row in found.itertuples(index=False):
        cells = ("–" if pd.isna(value) else f"{value:.3f}" for value in row[3:])
        table.add_row(*row[:3], *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
