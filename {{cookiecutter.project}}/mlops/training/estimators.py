"""Estimators by name: from a few words in `params.yaml` to an unfitted scikit-learn estimator."""

import difflib
import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlops.base.errors import ParameterError, nearest
from mlops.training.task import Task

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

# Two names that are so similar (see difflib) are the same but for a letter. An estimator that takes any argument would
# ignore the wrong one.
MISSPELT = 0.9


def build(
    name: str, path: str | None, arguments: Mapping[str, Any], task: Task, seed: int, threads: int = 1
) -> "BaseEstimator":
    """Make the estimator that `models.<name>` describes: one of scikit-learn, of another package or of the project.

    Its `random_state` is `seed` unless given. Its `n_jobs` is fixed, since a model that says how many cores there were
    has other bytes elsewhere: parallel work is done over folds. Scikit-learn's estimators take None for one core; those
    of other packages take None for all cores, so they get the number of `threads`.

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
    others = takes_others(estimator)
    for argument in arguments:
        misspelt = difflib.get_close_matches(argument, known, n=1, cutoff=MISSPELT)
        if argument not in known and (misspelt or not others):
            hint = nearest(argument, known)
            raise ParameterError(f"params.yaml: models.{name}.{argument} is no argument of {path}: {hint}")
    given = dict(arguments)
    if "random_state" in known:
        given.setdefault("random_state", seed)
    if "n_jobs" in known:
        given["n_jobs"] = None if _is_of_sklearn(estimator) else threads
    try:
        return estimator.set_params(**given)
    except (ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        raise ParameterError(f"params.yaml: models.{name} has arguments that {path} does not take: {said}") from None


def balance(name: str, estimator: "BaseEstimator", task: Task) -> bool:
    """Let all classes weigh the same for an unfitted estimator: set its `class_weight`, if it has one.

    Returns:
        Whether it has none, and its `fit` must be given weights of the rows.

    Raises:
        ParameterError: there are no classes, it takes neither, or has a `class_weight` already.
    """
    from sklearn.utils.validation import has_fit_parameter

    if task == "regression":
        raise ParameterError("params.yaml: train.balance is classes, but the target is a number: set it to none")
    kind, known = type(estimator).__name__, estimator.get_params(deep=False)
    if known.get("class_weight") is not None:
        raise ParameterError(
            f"params.yaml: train.balance is classes, and models.{name} has a class_weight itself: remove one of them"
        )
    if "class_weight" in known:
        estimator.set_params(class_weight="balanced")
    elif not has_fit_parameter(estimator, "sample_weight"):
        raise ParameterError(
            f"params.yaml: train.balance is classes, but {kind} takes neither class_weight nor sample_weight: set it "
            "to none, or choose another train.model"
        )
    return "class_weight" not in known


def takes_others(estimator: "BaseEstimator") -> bool:
    """Whether an estimator takes arguments that its `get_params` does not list before they are given."""
    parameters = inspect.signature(type(estimator)).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _is_of_sklearn(estimator: "BaseEstimator") -> bool:
    """Whether an estimator is scikit-learn's own or inherits from one; its abstract base classes do not count."""
    modules = [base.__module__ for base in type(estimator).__mro__]
    return any(
        module.startswith("sklearn.") and not module.startswith(("sklearn.base", "sklearn.utils")) for module in modules
    )


def with_arguments(estimator: "BaseEstimator", arguments: Mapping[str, Any]) -> "BaseEstimator":
    """An unfitted copy of an estimator, with other arguments."""
    from sklearn.base import clone

    copy: BaseEstimator = clone(estimator).set_params(**arguments)
    return copy


def _imported(path: str, where: str) -> "BaseEstimator":
    """An estimator of the class at `path`, with its own defaults."""
    module, _, name = path.rpartition(".")
    package = module.partition(".")[0]
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        if name and isinstance(error, ModuleNotFoundError) and error.name == package != "project":
            raise ParameterError(
                f"{where} is {path!r}, and the package {package} is not installed: add it to the dependencies in "
                "pyproject.toml, and run `python -m mlops lock`"
            ) from None
        raise ParameterError(
            f"{where} is {path!r}, which cannot be imported: give a full path such as "
            f"sklearn.ensemble.RandomForestClassifier ({error})"
        ) from None
    if not (isinstance(found, type) and hasattr(found, "fit") and hasattr(found, "get_params")):
        raise ParameterError(f"{where} is {path!r}, which is no estimator: it has no fit and get_params")
    try:
        return found()
    except TypeError as error:
        raise ParameterError(f"{where} is {path!r}, which cannot be made from params.yaml alone: {error}") from None
