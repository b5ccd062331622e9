"""How often the gate's rule `skill` lets noise pass, and how often it sees a weak but real signal.

    python -m benchmarks.chance [draws]

Each draw makes features that are noise, and a target; a model is fitted to four fifths of the rows, and judged on the
rest by the rule of the gate. Without a signal, at most one draw in twenty may pass.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "{{cookiecutter.project}}"))

import numpy as np
from mlops.base import params
from mlops.evaluation import baseline, gate
from mlops.training import fitting
from mlops.training.metrics import Predictions
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC

DRAWS, FEATURES, RESAMPLES = 500, 5, 500
MODELS: dict[str, Callable[[int], Any]] = {
    "logistic regression": lambda _: LogisticRegression(),
    "the same, strongly regularised": lambda _: LogisticRegression(C=0.001),
    "random forest": lambda seed: RandomForestClassifier(20, max_depth=10, random_state=seed),
    "naive Bayes": lambda _: GaussianNB(),
    "linear SVM, labels only": lambda seed: LinearSVC(random_state=seed),
    "the same, balanced": lambda seed: LinearSVC(class_weight="balanced", random_state=seed),
    "ridge, a number": lambda _: Ridge(),
    "random forest, a number": lambda seed: RandomForestRegressor(20, max_depth=10, random_state=seed),
}
# Rows, share of the smaller class, and the effect of one feature in units of its spread (on the log odds).
NOISE = [(300, 0.5, 0.0), (300, 0.1, 0.0), (1000, 0.2, 0.0), (1000, 0.04, 0.0), (5000, 0.04, 0.0)]
SIGNAL = [(1000, 0.2, 0.3), (1000, 0.2, 0.6), (1000, 0.2, 1.0), (5000, 0.2, 0.3), (5000, 0.04, 0.3), (5000, 0.04, 0.6)]


def predictions(model: str, rows: int, share: float, effect: float, seed: int) -> Predictions:
    """A fitted model's predictions on the test rows of one draw."""
    rng = np.random.default_rng([seed, rows, int(1000 * share), int(1000 * effect)])
    features = rng.normal(size=(rows, FEATURES))
    if "number" in model:
        target = effect / 2 * features[:, 0] + rng.normal(size=rows)
    else:
        odds = np.exp(effect * features[:, 0]) * share / (1 - share)
        target = (rng.random(rows) < odds / (1 + odds)).astype(int)
    classes = None if "number" in model else target
    train, test, known, actual = train_test_split(features, target, test_size=0.2, random_state=seed, stratify=classes)
    fitted = fitting.fit(MODELS[model](seed), train, known, 1)
    return fitting.predict(fitted, test, actual, None if classes is None else 1, 1)


def passes(found: Predictions) -> bool:
    """Whether the rule, as it is by default, lets the predictions pass."""
    skill = baseline.skill(found, params.Evaluate(resamples=RESAMPLES))
    (result,) = gate.judge(gate.Evidence({}, {}, skill=skill), "", {"skill": params.SKILL})
    return result.passed


def shares(draws: int, models: list[str], cells: list[tuple[int, float, float]]) -> Iterator[str]:
    """The share of the draws that pass, a line per model and cell."""
    for model in models:
        for place, (rows, share, effect) in enumerate(cells):
            if "number" in model and any(row == rows and e == effect for row, _, e in cells[:place]):
                continue  # a number has no share, and this is the cell before
            passed = sum(passes(predictions(model, rows, share, effect, seed)) for seed in range(draws))
            what = f"effect {effect:g}" if effect else "noise"
            yield f"{model:32} {rows:>5} rows  {share:>4.0%}  {what:10}  {passed / draws:>6.1%} of {draws} pass"


def main() -> None:
    """Print all of them."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    for line in shares(draws, list(MODELS), NOISE):
        print(line, flush=True)
    for line in shares(max(1, draws // 5), ["logistic regression", "random forest", "ridge, a number"], SIGNAL):
        print(line, flush=True)


if __name__ == "__main__":
    main()
