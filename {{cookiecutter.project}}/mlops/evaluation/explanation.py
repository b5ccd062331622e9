"""Why a model gave an answer: what each feature added to it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import ParameterError, ProjectError
from mlops.data.profile import Profile
from mlops.data.schema import Schema
from mlops.training.encoding import column_types, encoded_blocks, inputs
from mlops.training.fitting import ROWS
from mlops.training.metrics import Predictions
from mlops.training.task import Label

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

Scale = Literal["probability", "log-odds", "score", "number"]
Parts = tuple[NDArray[np.float64], NDArray[np.float64]]

TREES = ("DecisionTree", "ExtraTree", "RandomForest", "GradientBoosting", "HistGradientBoosting")
TOLERANCE = 1e-6  # by which base and contributions may miss the answer


@dataclass(frozen=True)
class Explanation:
    """What each of k features added to the answers on n rows: a row's base and contributions sum to its answer.

    `contributions` are float64 (n, k), `base` and `answer` float64 (n,), on `scale`: the number that was predicted, or
    the probability, log-odds or score of the class in `of` (n entries): the positive one, of several the predicted one.
    """

    features: list[str]
    contributions: NDArray[np.float64]
    base: NDArray[np.float64]
    answer: NDArray[np.float64]
    of: list[Label | None]
    scale: Scale

    def rows(self, table: pd.DataFrame) -> list[dict[str, Any]]:
        """Plain values for each row of the typed `table` (n rows): the features with what they added, most first."""
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
                        "contribution": float(added[k]),
                    }
                    for k in np.argsort(-np.abs(added), kind="stable")
                ],
            }
            for row, added in enumerate(self.contributions)
        ]


def is_linear(model: "Pipeline") -> bool:
    """Whether a fitted model is a weighted sum of what the encoder gives it."""
    return hasattr(model.named_steps["estimator"], "coef_")


def notable(predictions: Predictions) -> dict[str, int]:
    """Rows of n that are worth an explanation, by what they are: the extremes, and the most doubtful one."""
    kind, score = predictions.kind, predictions.positive_probability
    if kind == "regression":
        score = predictions.predicted
    elif predictions.probabilities is None:
        return {}
    elif score is None:
        certainty = predictions.probabilities.max(axis=1)
        return {"most certain": int(certainty.argmax()), "least certain": int(certainty.argmin())}
    middle, said = (np.median(score), "in the middle") if kind == "regression" else (0.5, "nearest to the boundary")
    return {
        "highest": int(score.argmax()),
        said: int(np.abs(score - middle).argmin()),
        "lowest": int(score.argmin()),
    }


def explain(
    model: "Pipeline", table: pd.DataFrame, schema: Schema, reference: Profile, positive: Label | None, threads: int
) -> Explanation:
    """What each feature added to the answers on the rows of a typed table.

    Linear models: coefficient × (value − mean over the training split), whose profile is `reference`. Trees: Shapley
    values, path-dependent (Lundberg et al. 2020), by shap. Encoded columns of one feature are summed.

    Raises:
        ParameterError: the model is neither, or its answer is no sum of such parts.
        ProjectError: the model is one of trees, and shap is not installed.
    """
    from threadpoolctl import threadpool_limits

    encoder, estimator = model.named_steps["encoder"], model.named_steps["estimator"]
    blocks = encoded_blocks(encoder, schema)
    with threadpool_limits(threads):
        encoded = encoder.transform(inputs(table, schema))
        if is_linear(model):
            parts, base = _linear(estimator, encoded, training_means(encoder, schema, reference))
        elif type(estimator).__name__.startswith(TREES):
            parts, base = _trees(estimator, encoded)
        else:
            raise _unexplained(estimator)
        answers = _answers(estimator, encoded)
        scale = _scale(estimator, encoded, answers)
    sums = base + parts.sum(axis=1)
    if sums.shape != answers.shape or not np.allclose(sums, answers, rtol=TOLERANCE, atol=TOLERANCE):
        raise _unexplained(estimator)
    added = np.stack([parts[:, block].sum(axis=1) for block in blocks.values()], axis=1)  # (n, k, outputs)
    of, output, sign = _spoken_of(estimator, answers, positive)
    rows = np.arange(len(table))
    return Explanation(
        list(blocks), sign * added[rows, :, output], sign * base[output], sign * answers[rows, output], of, scale
    )


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
    """The notable rows of the typed test table, told as by `Explanation.rows`, each with `what` it is and its `id`.

    None of a model that cannot be told, and none of trees unless `trees`.

    Raises:
        ProjectError: they are asked for, and shap is not installed.
    """
    places = notable(predictions) if trees or is_linear(model) else {}
    if not places:
        return []
    rows = table.iloc[list(places.values())]
    try:
        told = explain(model, rows, schema, reference, predictions.positive, threads).rows(rows)
    except ParameterError:  # neither, or linear up to a link function
        return []
    key = schema.with_role("id")[:1]
    ids = [_plain(value) for value in rows[key[0]]] if key else [None] * len(rows)
    return [{"what": what, "id": one, **row} for what, one, row in zip(places, ids, told, strict=True)]


def training_means(encoder: "ColumnTransformer", schema: Schema, reference: Profile) -> NDArray[np.float64]:
    """The mean of each encoded column (m,) over the training split, from its profile.

    The encoder scales numbers to mean 0 there; of a category, each level is encoded and weighted by its rows.
    """
    types = {name: object if kind == "string" else "float64" for name, kind in column_types(schema).items()}
    blocks = encoded_blocks(encoder, schema)
    levels = {name: np.append(reference[name].values, np.nan) for name in types if types[name] is object}
    means = np.zeros(sum(map(len, blocks.values())))
    for start in range(0, max(map(len, levels.values()), default=0), ROWS):
        cut = {name: values[start : start + ROWS] for name, values in levels.items()}
        rows = range(max(map(len, cut.values())))
        empty = {name: pd.Series(np.nan, rows, dtype) for name, dtype in types.items()}
        full = {name: pd.Series(values, dtype=object).reindex(rows) for name, values in cut.items()}
        encoded = encoder.transform(pd.DataFrame(empty | full))
        for name, values in cut.items():
            column = reference[name]
            counts = np.append(column.counts, column.missing)[start : start + ROWS]
            weighted = encoded[: len(values), blocks[name]] * counts[:, None]
            means[blocks[name]] += weighted.sum(axis=0) / column.rows
    return means


def _linear(estimator: "BaseEstimator", encoded: NDArray[np.float64], means: NDArray[np.float64]) -> Parts:
    """Contributions (n, m, outputs) and base (outputs,)."""
    weights = np.atleast_2d(estimator.coef_)
    # Not by BLAS, which adds in another order on another number of cores.
    return (encoded - means)[:, :, None] * weights.T, (weights * means).sum(axis=1) + estimator.intercept_


def _trees(estimator: "BaseEstimator", encoded: NDArray[np.float64]) -> Parts:
    """Contributions (n, m, outputs) and base (outputs,)."""
    try:
        import shap
    except ImportError:
        raise ProjectError(
            f"explaining a {type(estimator).__name__} takes shap, which is not installed: run `python -m pip install "
            "shap` (the extra `explain` in pyproject.toml), or train a linear model"
        ) from None
    if type(estimator).__name__.startswith("GradientBoosting"):
        return _boosted(estimator, encoded)
    explainer = shap.TreeExplainer(estimator)
    parts, base = explainer.shap_values(encoded, check_additivity=False), explainer.expected_value
    return np.reshape(parts, (*encoded.shape, -1)), np.atleast_1d(base)


def _boosted(estimator: Any, encoded: NDArray[np.float64]) -> Parts:
    """The same of a sum of trees, tree by tree: shap takes no gradient boosting of several classes."""
    import shap

    parts = np.zeros((*encoded.shape, estimator.estimators_.shape[1]))
    nothing = np.zeros((1, encoded.shape[1]))
    base = _answers(estimator, nothing)[0]  # where the sum starts, once the trees are taken away
    for stage in estimator.estimators_:
        for output, tree in enumerate(stage):
            explainer = shap.TreeExplainer(tree)
            parts[:, :, output] += estimator.learning_rate * explainer.shap_values(encoded, check_additivity=False)
            rise = explainer.expected_value - tree.predict(nothing)
            base[output] += estimator.learning_rate * float(np.squeeze(rise))
    return parts, base


def _answers(estimator: Any, encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    """What an estimator says before it decides, (n, outputs): one output per class, of two classes perhaps one."""
    answer = next(
        getattr(estimator, name)
        for name in ("decision_function", "predict_proba", "predict")
        if hasattr(estimator, name)
    )
    return np.reshape(answer(encoded), (len(encoded), -1)).astype(np.float64)


def _scale(estimator: Any, encoded: NDArray[np.float64], answers: NDArray[np.float64]) -> Scale:
    if not hasattr(estimator, "classes_"):
        return "number"
    if not hasattr(estimator, "decision_function"):
        return "probability"
    if answers.shape[1] == 1 and hasattr(estimator, "predict_proba"):
        odds = 1 / (1 + np.exp(-answers[:, 0]))
        return "log-odds" if np.allclose(odds, estimator.predict_proba(encoded)[:, 1]) else "score"
    return "score"


def _spoken_of(
    estimator: Any, answers: NDArray[np.float64], positive: Label | None
) -> tuple[list[Label | None], NDArray[np.intp], int]:
    """Per row which class, and which output; and whether that output has the class's sign."""
    first = np.zeros(len(answers), dtype=np.intp)
    if not hasattr(estimator, "classes_"):
        return [None] * len(answers), first, 1
    classes = estimator.classes_.tolist()
    if answers.shape[1] == 1:  # it stands for the second of two
        return [positive] * len(answers), first, 1 if positive == classes[1] else -1
    output = answers.argmax(axis=1) if positive is None else first + classes.index(positive)
    return [classes[which] for which in output], output, 1


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
