"""Explanations of single predictions: the contribution of each feature to the answer."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import ParameterError, ProjectError
from mlops.data.profile import Profile
from mlops.data.schema import Schema
from mlops.training.calibration import uncalibrated
from mlops.training.encoding import column_types, encoded_blocks, inputs
from mlops.training.fitting import ROWS
from mlops.training.metrics import Predictions
from mlops.training.task import Label

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

Scale = Literal["probability", "log-odds", "score", "number"]  # perhaps uncalibrated
Parts = tuple[NDArray[np.float64], NDArray[np.float64]]  # contributions (n, m, outputs) and base (outputs,)

TREES = ("DecisionTree", "ExtraTree", "RandomForest", "GradientBoosting", "HistGradientBoosting", "LGBM")
TOLERANCE = 1e-6  # by which the sum of base and contributions may differ from the answer


@dataclass(frozen=True)
class Explanation:
    """The contributions of k features to the answers on n rows; base and contributions of a row sum to its answer.

    Where probabilities are calibrated, this is the answer of the estimator below; calibration keeps the order of rows.

    `contributions` are float64 (n, k), `base` and `answer` float64 (n,). `scale` says what they measure: the predicted
    number, or the probability, log-odds or score of the row's class in `of` (n entries). That is the positive class of
    two, and of several the predicted class.
    """

    features: list[str]
    contributions: NDArray[np.float64]
    base: NDArray[np.float64]
    answer: NDArray[np.float64]
    of: list[Label | None]
    scale: str

    def rows(self, table: pd.DataFrame) -> list[dict[str, Any]]:
        """The explanation of each row of the typed `table` (n rows) as plain values, largest contribution first."""
        return [
            {
                "of": self.of[row],
                "scale": self.scale,
                "base": float(self.base[row]),
                "answer": float(self.answer[row]),
                "features": [
                    {
                        "feature": self.features[k],
                        "value": _plain(table[self.features[k]].iloc[row]),
                        "contribution": float(contributions[k]),
                    }
                    for k in np.argsort(-np.abs(contributions), kind="stable")
                ],
            }
            for row, contributions in enumerate(self.contributions)
        ]


def is_linear(model: "Pipeline") -> bool:
    """Whether the answers of a fitted model are weighted sums of the encoded columns."""
    return hasattr(uncalibrated(model).named_steps["estimator"], "coef_")


def notable(predictions: Predictions) -> dict[str, int]:
    """The positions of the rows of n that deserve an explanation, by name: the extremes and the most doubtful row."""
    kind, values = predictions.kind, predictions.positive_probability
    boundary = 0.5 if predictions.threshold is None else predictions.threshold
    if kind == "regression":
        values, boundary = predictions.predicted, float(np.median(predictions.predicted))
    elif predictions.probabilities is None:
        return {}
    elif values is None:
        certainty = predictions.probabilities.max(axis=1)
        return {"most certain": int(certainty.argmax()), "least certain": int(certainty.argmin())}
    middle = "in the middle" if kind == "regression" else "nearest to the boundary"
    nearest = np.abs(values - boundary)
    return {"highest": int(values.argmax()), middle: int(nearest.argmin()), "lowest": int(values.argmin())}


def explain(
    model: "Pipeline", table: pd.DataFrame, schema: Schema, reference: Profile, positive: Label | None, threads: int
) -> Explanation:
    """Explain the answers of a fitted model on the rows (n) of a typed table.

    Linear models: coefficient × (value − mean over the training split, whose profile is `reference`). Trees:
    path-dependent Shapley values (Lundberg et al. 2020), by shap. A feature's contribution is the sum over its encoded
    columns.

    Raises:
        ParameterError: the model is of another kind, or its answers are not sums of contributions.
        ProjectError: the model consists of trees, and shap is not installed.
    """
    from threadpoolctl import threadpool_limits

    below = uncalibrated(model)
    encoder, estimator = below.named_steps["encoder"], below.named_steps["estimator"]
    blocks = encoded_blocks(encoder, schema)
    with threadpool_limits(threads):
        encoded = encoder.transform(inputs(table, schema))
        if is_linear(below):
            parts, base = _linear(estimator, encoded, training_means(encoder, schema, reference))
        elif type(estimator).__name__.startswith(TREES) and not estimator.get_params().get("linear_tree"):
            parts, base = _trees(estimator, encoded)
        else:
            raise _unexplained(estimator)
        answers = _answers(estimator, encoded)
        scale = ("" if below is model else "uncalibrated ") + _scale(estimator, encoded, answers)
    sums = base + parts.sum(axis=1)
    if sums.shape != answers.shape or not np.allclose(sums, answers, rtol=TOLERANCE, atol=TOLERANCE):
        raise _unexplained(estimator)
    contributions = np.stack([parts[:, block].sum(axis=1) for block in blocks.values()], axis=1)  # (n, k, outputs)
    of, output, sign = _explained_output(estimator, answers, positive)
    rows = np.arange(len(table))
    contributions, answer = sign * contributions[rows, :, output], sign * answers[rows, output]
    return Explanation(list(blocks), contributions, sign * base[output], answer, of, scale)


def of_notable(
    model: "Pipeline",
    table: pd.DataFrame,
    predictions: Predictions,
    schema: Schema,
    reference: Profile,
    threads: int,
    *,
    trees: bool,
) -> list[dict[str, Any]]:
    """Explain the notable rows of the typed test table: each as in `Explanation.rows`, with `what` and `id`.

    The list is empty for a model that cannot be explained, and for trees unless `trees`.

    Raises:
        ProjectError: `trees` is set, and shap is not installed.
    """
    places = notable(predictions) if trees or is_linear(model) else {}
    if not places:
        return []
    rows = table.iloc[list(places.values())]
    try:
        explanations = explain(model, rows, schema, reference, predictions.positive, threads).rows(rows)
    except ParameterError:  # neither linear nor trees, or linear up to a link function
        return []
    key = schema.with_role("id")[:1]
    ids = [_plain(value) for value in rows[key[0]]] if key else [None] * len(rows)
    return [{"what": what, "id": id_, **row} for what, id_, row in zip(places, ids, explanations, strict=True)]


def training_means(encoder: "ColumnTransformer", schema: Schema, reference: Profile) -> NDArray[np.float64]:
    """The mean of each encoded column (m,) over the training split, from its profile.

    The encoder scales numbers to mean 0 there. For a category, each level is encoded and weighted by its rows.
    """
    types, blocks = column_types(schema), encoded_blocks(encoder, schema)
    means = np.zeros(sum(map(len, blocks.values())))
    counts = {
        name: np.append(reference[name].counts, reference[name].missing)
        for name, kind in types.items()
        if kind == "string"
    }
    rows = pd.RangeIndex(max(map(len, counts.values()), default=0))
    table = pd.DataFrame(np.nan, rows, list(types))
    for name in counts:  # the levels, then missing values
        table[name] = pd.Series(reference[name].values, dtype=object).reindex(rows)
    for start in range(0, len(rows), ROWS):
        encoded = encoder.transform(table.iloc[start : start + ROWS])
        for name, column in counts.items():
            weights = column[start : start + ROWS, None]
            means[blocks[name]] += (encoded[: len(weights), blocks[name]] * weights).sum(axis=0) / column.sum()
    return means


def _linear(estimator: "BaseEstimator", encoded: NDArray[np.float64], means: NDArray[np.float64]) -> Parts:
    weights = np.atleast_2d(estimator.coef_)
    # Without BLAS, which adds in another order on another number of cores.
    return (encoded - means)[:, :, None] * weights.T, (weights * means).sum(axis=1) + estimator.intercept_


def _trees(estimator: Any, encoded: NDArray[np.float64]) -> Parts:
    try:
        from shap import TreeExplainer
    except ImportError:
        raise ProjectError(
            f"explaining a {type(estimator).__name__} takes shap, which is not installed: run `python -m pip install "
            "shap` (the extra `explain` in pyproject.toml), or train a linear model"
        ) from None
    if not type(estimator).__name__.startswith("GradientBoosting"):
        explainer = TreeExplainer(estimator)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LightGBM binary classifier")  # either shape is understood
            parts = explainer.shap_values(encoded, check_additivity=False)
        base = explainer.expected_value
        return np.reshape(parts, (*encoded.shape, -1)), np.atleast_1d(base)
    # Tree by tree: shap does not support gradient boosting of several classes.
    parts = np.zeros((*encoded.shape, estimator.estimators_.shape[1]))
    zeros = np.zeros((1, encoded.shape[1]))
    base = _answers(estimator, zeros)[0]  # the start of the sum, once the answers of the trees are subtracted
    for stage in estimator.estimators_:
        for output, tree in enumerate(stage):
            explainer = TreeExplainer(tree)
            parts[:, :, output] += estimator.learning_rate * explainer.shap_values(encoded, check_additivity=False)
            rise = explainer.expected_value - tree.predict(zeros)
            base[output] += estimator.learning_rate * float(np.squeeze(rise))
    return parts, base


def _answers(estimator: Any, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outputs before the decision, (n, outputs): an output per class, for two classes perhaps one output."""
    names = ("decision_function", "predict_proba", "predict")
    answer = next(getattr(estimator, name) for name in names if hasattr(estimator, name))
    return np.reshape(answer(encoded), (len(encoded), -1)).astype(np.float64)


def _scale(estimator: Any, encoded: NDArray[np.float64], answers: NDArray[np.float64]) -> Scale:
    if not hasattr(estimator, "classes_"):
        return "number"
    if not hasattr(estimator, "decision_function"):
        return "probability"
    if answers.shape[1] == 1 and hasattr(estimator, "predict_proba"):
        from scipy.special import expit

        odds = expit(answers[:, 0])
        return "log-odds" if np.allclose(odds, estimator.predict_proba(encoded)[:, 1]) else "score"
    return "score"


def _explained_output(
    estimator: Any, answers: NDArray[np.float64], positive: Label | None
) -> tuple[list[Label | None], NDArray[np.intp], int]:
    """The class and the output that are explained in each row, and the sign of the output for that class."""
    first = np.zeros(len(answers), dtype=np.intp)
    if not hasattr(estimator, "classes_"):
        return [None] * len(answers), first, 1
    classes = estimator.classes_.tolist()
    if answers.shape[1] == 1:  # the output stands for the second of two classes
        return [positive] * len(answers), first, 1 if positive == classes[1] else -1
    outputs = answers.argmax(axis=1) if positive is None else first + classes.index(positive)
    return [classes[output] for output in outputs], outputs, 1


def _unexplained(estimator: "BaseEstimator") -> ParameterError:
    return ParameterError(
        f"the answers of this {type(estimator).__name__} cannot be explained feature by feature: train a linear model "
        "(train.model: logistic_regression, linear_regression) or one of trees (random_forest, gradient_boosting, "
        "hist_gradient_boosting)"
    )


def _plain(value: Any) -> Any:
    """A value of a typed table as JSON has it."""
    if pd.isna(value):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value.item() if hasattr(value, "item") else value
