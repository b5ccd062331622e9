"""What `models/model.joblib` holds: a fitted pipeline with all that it takes to predict rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.data.schema import Schema
from mlops.training import encoding, fitting
from mlops.training.metrics import Predictions
from mlops.training.task import Label, Task

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class FittedModel:
    """A pipeline of encoder and estimator, and how it is used.

    `columns` is the schema that the training data had, as plain values: a pickled set, as pydantic's models have one,
    would have other bytes in every process. `threads` is the limit under which the pipeline was fitted and predicts.
    """

    pipeline: "Pipeline"
    columns: Mapping[str, Any]
    task: Task
    positive: Label | None
    threads: int

    @property
    def schema(self) -> Schema:
        """What a valid row is, and how its columns are spelt."""
        return Schema.model_validate(self.columns)

    @property
    def classes(self) -> tuple[Label, ...]:
        """The classes that the model knows, sorted; none to regress."""
        return tuple(self.pipeline.classes_.tolist()) if self.task == "classification" else ()

    def predict(self, table: pd.DataFrame, actual: NDArray[np.generic] | None = None) -> Predictions:
        """Predict the n rows of a typed table; `actual` (n,) are their true values, where they are known."""
        inputs = encoding.inputs(table, self.schema)
        return fitting.predict(self.pipeline, inputs, actual, self.positive, self.threads)


def fitted_model(pipeline: "Pipeline", schema: Schema, task: Task, positive: Label | None, threads: int) -> FittedModel:
    """The model that consists of these parts."""
    return FittedModel(pipeline, schema.model_dump(mode="json", exclude_defaults=True), task, positive, threads)
