"""A version's model as MLflow has it: raw rows in, answers out. `packaging` copies this module into every version."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base import model_files
from mlops.base.errors import DataError, ProjectError, StoreError
from mlops.data import event_features, rows
from mlops.data.deriving import Derive
from mlops.data.event_features import Source
from mlops.data.schema import ColumnType, Schema
from mlops.evaluation import results
from mlops.intake.event_store import Stored
from mlops.training import encoding
from mlops.training.metrics import Predictions
from mlops.training.model import FittedModel

PACKAGE = __name__.removesuffix("mlops.registry.scoring")  # of the copy in a version; empty here
# MLflow's names of types.
TYPES: Mapping[ColumnType, str] = {
    "number": "double",
    "integer": "long",
    "boolean": "boolean",
    "category": "string",
    "text": "string",
    "datetime": "datetime",
}
LABELS = {bool: "boolean", float: "double", int: "long", str: "string"}


class RawModel:
    """A model with all that lies between a raw row and its answer, to MLflow a scikit-learn estimator.

    `predict` and `predict_proba` are what `mlflow.models.evaluate` calls. `score` is `predict` of the loaded version:
    MLflow lets a scikit-learn model have another method for that, of a few names. Raw rows are those of `rows.typed`.

    Every method raises an MlflowException with one sentence where the rows cannot be read, which MLflow's server hands
    on. Columns of history are made of the events in the online store (see `mlops.intake.event_store`); where that does
    not answer, the error has the code TEMPORARILY_UNAVAILABLE.
    """

    def __init__(self, content: bytes, derive: Derive, load: "Callable[[bytes], RawModel]") -> None:
        self.model: FittedModel = model_files.in_package(content, PACKAGE)
        self.schema, self.derive = self.model.schema, derive
        self.events: Source = Stored()
        # In a pickle it is its model's file, byte by byte, and what makes it of that.
        self._parts: tuple[Any, ...] | None = (load, (content,))
        if hasattr(self.model.pipeline, "predict_proba"):
            self.predict_proba = self._probabilities

    def __reduce__(self) -> tuple[Any, ...]:
        if self._parts is None:
            raise TypeError("this model has forgotten its file, and cannot be pickled: load the version again")
        return self._parts

    def predict(self, given: rows.Rows) -> NDArray[Any]:
        """The label or the number for each of n rows, shape (n,)."""
        return self._predictions(given).predicted

    def score(self, given: rows.Rows, actual: Any = None, sample_weight: Any = None) -> Any:
        """The answers for n rows, a table with the columns of `outputs`; those for a table have its index.

        With `actual` values (n,) it is scikit-learn's `score` instead: the accuracy, or R².
        """
        predictions = self._predictions(given)
        if actual is not None:
            from sklearn.metrics import accuracy_score, r2_score

            measure = accuracy_score if self.model.classes else r2_score
            return measure(actual, predictions.predicted, sample_weight=sample_weight)
        answers = results.answers(predictions)
        if "probability" in answers and (threshold := _threshold(self.model)) is not None:
            answers["threshold"] = threshold
        answers = answers.join(results.class_probabilities(predictions))
        return answers.set_axis(given.index) if isinstance(given, pd.DataFrame) else answers

    def typed(self, given: rows.Rows) -> pd.DataFrame:
        """The typed table of n raw rows, derived columns included, by this version's own code."""
        with _sentences():
            return self._typed(given)

    def _typed(self, given: rows.Rows) -> pd.DataFrame:
        return rows.typed(given, self.schema, self.derive, self.events, datetime.now(UTC))

    def given_history(self) -> "RawModel":
        """The same model for raw rows in which the columns of history stand as numbers, as `history` makes them."""
        model = object.__new__(type(self))  # not by `copy`, which would pickle it
        vars(model).update(vars(self), schema=self.schema.given_history())
        return model

    def history(self, given: Sequence[Mapping[str, Any]]) -> list[dict[str, float | None]]:
        """The columns of history for n raw rows, each of which says when it is asked about; None is missing.

        Raises:
            DataError: a value cannot be read.
            StoreError: the store of events does not answer.
        """
        keys = {}
        for name in self.schema.history.keys:
            keys[name], wrong = self.read(pd.Series([row[name] for row in given], dtype=object), name)
            if wrong.any():
                raise DataError(f"{name} is no {self.schema.columns[name].type}")
        made = event_features.columns(pd.DataFrame(keys), self.schema.history, self.events)
        whole = {name for name in made if self.schema.columns[name].type == "integer"}
        values = [
            [None if value != value else int(value) if name in whole else value for value in made[name].tolist()]
            for name in self.schema.history.names
        ]
        return [dict(zip(self.schema.history.names, row, strict=True)) for row in zip(*values, strict=True)]

    def encoded(self, typed: pd.DataFrame) -> NDArray[np.float64]:
        """What the estimator gets for a typed table of n rows, shape (n, encoded columns)."""
        encoded: NDArray[np.float64] = self.model.pipeline[0].transform(encoding.inputs(typed, self.schema))
        return encoded

    def read(self, values: pd.Series, name: str) -> tuple[pd.Series, NDArray[np.bool_]]:
        """The raw values (n) of one column in its type, and where (n,) there is one that cannot be read."""
        return rows.read(values, self.schema.columns[name], self.schema.missing)

    def forget_file(self) -> None:
        """Free the copy of the model's file, which only a pickle needs: this object cannot be pickled any more."""
        self._parts = None

    def _probabilities(self, given: rows.Rows) -> NDArray[np.float64] | None:
        return self._predictions(given).probabilities

    def _predictions(self, given: rows.Rows) -> Predictions:
        with _sentences():
            return self.model.predict(self._typed(given))


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn an error that a person can mend into an MlflowException with its sentence."""
    try:
        yield
    except ProjectError as error:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

        code = TEMPORARILY_UNAVAILABLE if isinstance(error, StoreError) else INVALID_PARAMETER_VALUE
        raise MlflowException(str(error), code) from None


def inputs(schema: Schema) -> dict[str, str]:
    """The columns of a raw row that a prediction needs, and their types in MLflow's words."""
    return {name: TYPES[schema.columns[name].type] for name in schema.needed}


def outputs(model: FittedModel) -> dict[str, str]:
    """The columns of an answer, and their types in MLflow's words.

    `prediction`; for two classes `probability` (of the positive one) and the `threshold` from which on that is
    predicted, unless an estimator of another package than scikit-learn decides; and the probability of each class.
    """
    known = hasattr(model.pipeline, "predict_proba")
    numbers = ["probability"] if known and model.positive is not None else []
    numbers += ["threshold"] if numbers and _threshold(model) is not None else []
    numbers += [f"{results.PROBABILITY}{label}" for label in model.classes if known]
    prediction = LABELS[type(model.classes[0])] if model.classes else "double"
    return {"prediction": prediction, **dict.fromkeys(numbers, "double")}


def _threshold(model: FittedModel) -> float | None:
    """The probability from which on a row is predicted to be positive; None where only the estimator knows."""
    chosen: float | None = getattr(model, "threshold", None)
    decides = not type(model.pipeline[-1]).__module__.startswith("sklearn.")
    return chosen if chosen is not None or decides else 0.5
