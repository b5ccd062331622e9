"""Calibrated probabilities: what share of the rows with a probability of 0.3 is positive, is 0.3 (Platt 1999).

The parts are scikit-learn's, and the result agrees with its `CalibratedClassifierCV(ensemble=False)` on the same folds,
but the folds may be those by time, the encoder learns within each fold, and no fold is fitted twice.
"""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.training.fitting import ROWS, pipeline, refused
from mlops.training.task import Label

if TYPE_CHECKING:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.pipeline import Pipeline


def scores(model: "Pipeline", table: pd.DataFrame, threads: int) -> NDArray[np.float64]:
    """What a calibrator learns from and is asked with: the scores (n,) of the second of two classes on n rows.

    Raises:
        ParameterError: the estimator gives neither a decision function nor probabilities.
    """
    from threadpoolctl import threadpool_limits

    name = "decision_function" if hasattr(model[-1], "decision_function") else "predict_proba"
    with threadpool_limits(threads), refused(model[-1], "asked"):
        parts = [getattr(model, name)(table[start : start + ROWS]) for start in range(0, len(table), ROWS)]
        found = np.concatenate(parts)
        return found if found.ndim == 1 else found[:, 1]


def learn(
    found: NDArray[np.float64], actual: NDArray[np.generic], classes: Sequence[Label], method: str
) -> "CalibratedClassifierCV":
    """A calibrator of the out-of-fold scores (n,) of two classes; its input are scores of shape (m, 1).

    Each class needs two rows.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold

    known = LogisticRegression()  # whose scores are its input: it stands for the estimators of the folds
    known.classes_, known.coef_, known.intercept_ = np.array(classes, actual.dtype), np.ones((1, 1)), np.zeros(1)
    # Two folds, because the default of five takes five rows of each class; nothing is fitted on them.
    return CalibratedClassifierCV(FrozenEstimator(known), method=method, cv=KFold(2)).fit(found[:, None], actual)


def calibrated(model: "Pipeline", calibrator: "CalibratedClassifierCV") -> "Pipeline":
    """A fitted model whose probabilities are calibrated."""
    from sklearn.frozen import FrozenEstimator

    made, pair = copy.copy(calibrator), copy.copy(calibrator.calibrated_classifiers_[0])
    made.estimator = pair.estimator = FrozenEstimator(model[-1])
    made.calibrated_classifiers_ = [pair]
    return pipeline(model[0], made)


def uncalibrated(model: "Pipeline") -> "Pipeline":
    """The model below `calibrated`; any other model is returned as it is."""
    from sklearn.frozen import FrozenEstimator

    frozen = getattr(model[-1], "estimator", None)
    return pipeline(model[0], frozen.estimator) if isinstance(frozen, FrozenEstimator) else model
