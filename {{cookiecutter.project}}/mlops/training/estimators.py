"""Estimators by name: from a few words in `params.yaml` to an unfitted scikit-learn estimator."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops.base.errors import ParameterError, nearest
from mlops.training.task import Task

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


def build(name: str, path: str | None, arguments: Mapping[str, Any], task: Task, seed: int) -> "BaseEstimator":
    """Make the estimator that `models.<name>` describes.

    Its `random_state` is `seed` unless given. It computes on its own on one core (`n_jobs`): parallel work is done
    over folds, where it costs less and changes no result.

    Raises:
        ParameterError: `path` is None or leads to no estimator, or an argument is not one of its own.
    """
    kind = "classifier" if task == "classification" else "regressor"
    if path is None:
        raise ParameterError(
            f"train.model is {name}, and the task is {task}, but models.{name} has no {kind}: choose another model, or "
            "give its import path"
        )
    estimator = _imported(path, f"params.yaml: models.{name}.{kind}")
    known = estimator.get_params(deep=False)
    for argument in arguments:
        if argument not in known:
            hint = nearest(argument, known)
            raise ParameterError(f"params.yaml: models.{name}.{argument} is no argument of {path}: {hint}")
    given = dict(arguments)
    if "random_state" in known:
        given.setdefault("random_state", seed)
    if "n_jobs" in known:
        given["n_jobs"] = None
    return estimator.set_params(**given)


def with_arguments(estimator: "BaseEstimator", arguments: Mapping[str, Any]) -> "BaseEstimator":
    """An unfitted copy with other arguments, all of its own."""
    from sklearn.base import clone

    copy: BaseEstimator = clone(estimator).set_params(**arguments)
    return copy


def _imported(path: str, where: str) -> "BaseEstimator":
    """An estimator of the class at `path`, with its own defaults."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError):
        raise ParameterError(
            f"{where} is {path!r}, which cannot be imported: give a full path such as "
            "sklearn.ensemble.RandomForestClassifier"
        ) from None
    if not (isinstance(found, type) and hasattr(found, "fit") and hasattr(found, "get_params")):
        raise ParameterError(f"{where} is {path!r}, which is no estimator: it has no fit and get_params")
    try:
        return found()
    except TypeError as error:
        raise ParameterError(f"{where} is {path!r}, which cannot be made from params.yaml alone: {error}") from None
