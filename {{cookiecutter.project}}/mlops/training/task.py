"""The task: classification or regression, its labels, and the positive class."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import DataError, ParameterError, counted
from mlops.data.levels import more_than, objects
from mlops.data.schema import ColumnType

Task = Literal["classification", "regression"]
Label = str | int | bool

# A class with a smaller share of the rows makes accuracy say little: to never predict the class is nearly always right.
SMALLEST_SHARE = 0.2
YES = ("yes", "true", "y", "t", "1", "positive", "pos", "on", "ja", "oui", "si", "sí", "sim")


def task_of(target: pd.Series, column: ColumnType, asked: str) -> Task:
    """The task that `train.task` names; `auto` follows the type of the target.

    Categories and booleans are classes, numbers are numbers; integers are classes if there are two of them only.

    Raises:
        ParameterError: regression is asked for, but the target is no number.
    """
    if asked == "regression" and column not in ("number", "integer"):
        raise ParameterError(
            f"train.task is regression, but the target {target.name} is of type {column}: choose classification, or "
            "correct its type in schema.yaml"
        )
    if asked in ("classification", "regression"):
        return asked  # type: ignore[return-value]
    if column == "number" or (column == "integer" and more_than(target, 2)):
        return "regression"
    return "classification"


def labels(target: pd.Series, task: Task) -> NDArray[np.generic]:
    """The target in the dtype that scikit-learn takes, shape (n,): float64 to regress, else str objects, int64 or bool.

    Raises:
        DataError: a label is missing.
    """
    if target.isna().any():
        missing = counted(int(target.isna().sum()), "row")
        raise DataError(f"the target {target.name} is missing in {missing}: label them, or leave them out")
    if task == "regression":
        return target.to_numpy(dtype=np.float64)
    if target.dtype == "Int64":
        return target.to_numpy(dtype=np.int64)
    if target.dtype == "boolean":
        return target.to_numpy(dtype=np.bool_)
    return objects(target)


def positive_class(target: NDArray[np.generic], chosen: Label | None) -> Label | None:
    """The class of `target` (n,) that precision and recall are about; None unless there are two classes.

    It is the one chosen as `train.positive`, else the one that reads as a yes (see `YES`), else
    the last in sorted order.

    Raises:
        ParameterError: the chosen class is not in the data, or there are not two classes to choose from.
    """
    found: list[Label] = [] if target.dtype == np.float64 else np.unique(target).tolist()
    if len(found) != 2:
        if chosen is not None:
            what = f"has {len(found)} classes" if found else "is a number"
            raise ParameterError(
                f"params.yaml: train.positive is {chosen!r}, which is for a target of two classes, and this target "
                f"{what}: remove it"
            )
        return None
    if chosen is None:
        return next((label for label in found if str(label).lower() in YES), found[-1])
    for label in found:
        if str(label) == str(chosen):
            return label
    raise ParameterError(f"train.positive is {chosen!r}, but the classes are {', '.join(map(str, found))}")


class Headline(NamedTuple):
    """The metric by which a model is judged, and why it is this one; no reason is given if somebody asked for it."""

    metric: str
    reason: str


def rows_per_class(target: NDArray[np.generic]) -> dict[Label, int]:
    """The rows of each class of the target (n,), in sorted order; empty to regress."""
    if target.dtype == np.float64:
        return {}
    classes, rows = np.unique(target, return_counts=True)
    return dict(zip(classes.tolist(), rows.tolist(), strict=True))


def headline(asked: str, rows: Mapping[Label, int], positive: Label | None, *, probabilities: bool) -> Headline:
    """The headline metric: `asked` (`evaluate.metric`), or for `auto` one that fits the training `rows` per class.

    `rows` is empty to regress. Accuracy is the headline while the smallest class has a fifth of the rows. Below, it is
    macro F1 for many classes; for two classes it is average precision, or, where the model gives no probabilities or
    the larger class is the positive one, balanced accuracy.
    """
    if asked != "auto":
        return Headline(asked, "")
    if not rows:
        return Headline("r2", "the target is a number")
    smallest = min(rows, key=lambda label: rows[label])
    share = rows[smallest] / sum(rows.values())
    if share >= SMALLEST_SHARE:
        return Headline("accuracy", f"the smallest class, {smallest}, has {share:.1%} of the training rows")
    if positive is None:
        metric = "f1_macro"
    else:
        metric = "average_precision" if probabilities and positive == smallest else "balanced_accuracy"
    return Headline(metric, f"the smallest class, {smallest}, has only {share:.1%} of the training rows")
