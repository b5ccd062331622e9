"""What `models/model.joblib` holds: a fitted pipeline with all that it takes to predict rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base import parallel
from mlops.data.schema import Schema
from mlops.training import calibration, fitting
from mlops.training.metrics import Predictions, joined
from mlops.training.task import Label, Task

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class FittedModel:
    """A pipeline of encoder and estimator, and how it is used.

    `columns` is the schema that the training data had, as plain values: a pickled set, as pydantic's models have one,
    would have other bytes in every process. `threads` is the limit under which the pipeline was fitted and predicts.
    `threshold` is the probability from which on a row is predicted to be positive; None where the estimator decides.
    """

    pipeline: "Pipeline"
    columns: Mapping[str, Any]
    task: Task
    positive: Label | None
    threads: int
    threshold: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without a threshold that nobody chose, a model has the bytes that it had before there were thresholds."""
        return {name: value for name, value in vars(self).items() if name != "threshold" or value is not None}

    @property
    def schema(self) -> Schema:
        """What a valid row is, and how its columns are spelt."""
        return Schema.model_validate(self.columns)

    @property
    def classes(self) -> tuple[Label, ...]:
        """The classes that the model knows, sorted; none to regress."""
        return tuple(self.pipeline.classes_.tolist()) if self.task == "classification" else ()

    def predict(
        self, table: pd.DataFrame, actual: NDArray[np.generic] | None = None, *, clipped: bool = False
    ) -> Predictions:
        """Predict the n rows of a typed table; `actual` (n,) are their true values, where they are known.

        See `fitting.predict` for `clipped`, without which numbers may be too large for the estimator.
        """
        return fitting.predict(
            self.pipeline,
            table,
            actual,
            self.positive,
            self.threads,
            threshold=self.threshold,
            schema=self.schema,
            clipped=clipped,
        )

    def predict_each(self, batches: Iterable[pd.DataFrame]) -> Predictions:
        """Predict the rows of typed tables, one after the other; numbers may be too large for the estimator."""
        items = ((batch,) for batch in batches)
        parts = parallel.each(_clipped, (self,), items, self.threads, at_once=False, name="prediction")
        return joined(list(parts))

    @property
    def estimator(self) -> str:
        """The import path of the estimator's class."""
        return import_path(self.pipeline)

    @property
    def uncalibrated(self) -> "FittedModel | None":
        """The model before its probabilities were calibrated, with its own labels; None if they were not."""
        inner = calibration.uncalibrated(self.pipeline)
        return None if inner is self.pipeline else replace(self, pipeline=inner, threshold=None)


def _clipped(model: FittedModel, table: pd.DataFrame) -> Predictions:
    return model.predict(table, clipped=True)


def fitted_model(
    pipeline: "Pipeline",
    schema: Schema,
    task: Task,
    positive: Label | None,
    threads: int,
    threshold: float | None = None,
) -> FittedModel:
    """The model that consists of these parts."""
    columns = schema.model_dump(mode="json", exclude_defaults=True)
    return FittedModel(pipeline, columns, task, positive, threads, threshold)


def import_path(pipeline: "Pipeline") -> str:
    """The import path of the class of the estimator in a pipeline, also of one with calibrated probabilities."""
    kind = type(calibration.uncalibrated(pipeline)[-1])
    return f"{kind.__module__}.{kind.__qualname__}"
