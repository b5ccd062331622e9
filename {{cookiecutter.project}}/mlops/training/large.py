"""Training splits that are too large to be held in memory: a sample that is, and all rows batch by batch.

An estimator that has `partial_fit` learns from all rows, some at a time; any other one is fitted on the sample. What
takes all rows at once is done on the sample: the encoder, the folds, the search, the threshold and the calibration. The
same file and the same parameters give the same model, whatever memory a machine has.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.params import Train
from mlops.data.schema import Schema
from mlops.data.splitting import share_of_each
from mlops.training import encoding, task
from mlops.training.fitting import ENCODING, refused
from mlops.training.task import Label, Task

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PROBE = 100_000  # rows that show how many columns a category is encoded as
MIXED = 2  # of the rows that fit into memory, one in so many is read and mixed at once, beside the sample


class Stored(Protocol):
    """A typed table in a file: `mlops.intake.tables.Stored`."""

    def __len__(self) -> int:
        """The number of rows."""

    def __getitem__(self, name: str, /) -> pd.Series:
        """One column, whole."""

    def columns(self, names: list[str]) -> pd.DataFrame:
        """All rows of some columns."""

    def sample(self, most: int, seed: int, names: list[str]) -> pd.DataFrame:
        """At most `most` rows, drawn at random."""

    def rows(self, places: NDArray[np.intp], names: list[str]) -> pd.DataFrame:
        """The rows at sorted places."""

    def shuffled(self, held: int, most: int, seed: int | list[int], names: list[str]) -> Iterator[pd.DataFrame]:
        """All rows in an order that the seed gives, at most `most` at a time; the index is the place in the file."""


@dataclass(frozen=True)
class Whole:
    """A training split of which a sample is held: its file, the columns to read, and the places (m,) of the sample.

    `classes` are the rows of each class in the whole split, in sorted order; empty to regress.
    """

    stored: Stored
    names: list[str]
    places: NDArray[np.intp]
    classes: Mapping[Label, int]

    @property
    def batches(self) -> int:
        """About how many batches all rows are."""
        return -(-len(self.stored) // encoding.ROWS)

    def shuffled(self, seed: list[int]) -> Iterator[pd.DataFrame]:
        """All rows batch by batch, in an order that the seed gives; the index is the place in the file."""
        return self.stored.shuffled(len(self.places) // MIXED, encoding.ROWS, seed, self.names)

    def facts(self, passes: int | None) -> dict[str, Any]:
        """What a report says: the rows of the sample and of all; and by how many passes over all a model was fitted."""
        return {"rows": len(self.places), "of": len(self.stored), "passes": passes}


def held(table: pd.DataFrame | Stored, schema: Schema, settings: Train) -> tuple[pd.DataFrame, Whole | None]:
    """The rows to hold in memory: all, or a sample of as many as `train.megabytes` takes, and then what it is one of.

    The sample is drawn by `train.seed`, of each class its share.
    """
    if isinstance(table, pd.DataFrame):
        return table, None
    names = [*schema.inputs, *schema.with_role("time"), *schema.with_role("group"), schema.target]
    names, target = list(dict.fromkeys(names)), table[schema.target]
    kind = task.task_of(target, schema.columns[schema.target].type, settings.task)
    classes = _rows_per_class(target, kind)
    most = _most_rows(table, schema, settings, len(classes))
    if most >= len(table):
        return table.columns(names), None
    strata = pd.factorize(target, sort=True)[0] if classes else np.zeros(len(table), dtype=np.intp)
    chosen = share_of_each(strata, most / len(table), np.random.default_rng(settings.seed))
    chosen |= (np.bincount(strata) == 1)[strata]  # no class is unknown to the sample
    places = np.flatnonzero(chosen)
    return table.rows(places, names), Whole(table, names, places, classes)


def learns_in_batches(estimator: Any) -> bool:
    """Whether an estimator learns from one batch after the other.

    With the solver lbfgs, a neural network is fitted to each batch anew. MLPRegressor has `partial_fit` all the same.
    """
    return callable(getattr(estimator, "partial_fit", None)) and getattr(estimator, "solver", None) != "lbfgs"


def _rows_per_class(target: pd.Series, kind: Task) -> dict[Label, int]:
    """The rows of each class of a typed target (n,), in sorted order; empty to regress."""
    if kind == "regression":
        return {}
    counts = target.value_counts(sort=False).sort_index()
    labels = task.labels(pd.Series(counts.index, dtype=target.dtype, name=target.name), kind)
    return dict(zip(labels.tolist(), counts.tolist(), strict=True))


def _most_rows(table: Stored, schema: Schema, settings: Train, classes: int) -> int:
    """How many rows take `train.megabytes` when they are encoded; all, if they take less."""
    probe = table.sample(PROBE, settings.seed, encoding.of_categories(schema))

    def columns(rows: int) -> int:
        many = encoding.many_levels(probe, schema, settings.max_levels, settings.encoded_megabytes, rows)
        return max(encoding.width(probe, schema, many, classes), 1)

    fit = settings.megabytes * encoding.MEGABYTE // 8
    return len(table) if len(table) * columns(len(table)) <= fit else min(fit // columns(0), len(table))


def fit_in_batches(
    model: "Pipeline",
    inputs: pd.DataFrame,
    target: NDArray[np.generic],
    whole: Whole,
    schema: Schema,
    kind: Task,
    settings: Train,
    balanced: bool,
) -> Iterator[int]:
    """Fit `model` in place: the encoder on the sample, the estimator on all rows; yield how many rows were read.

    `inputs` and `target` are those of the sample (m rows). Each pass has an order of its own. If `balanced`, rows have
    weights, so that all classes weigh the same.

    Raises:
        ParameterError: the estimator refuses its arguments or the data.
    """
    from threadpoolctl import threadpool_limits

    encoder, estimator = model
    everything = np.arange(len(inputs), dtype=np.int32)
    has_means = any(name == "means" and columns for name, _, columns in encoder.transformers)
    given: dict[str, Any] = {"classes": np.array(list(whole.classes), dtype=target.dtype)} if whole.classes else {}
    with threadpool_limits(settings.threads), refused(estimator):
        with ENCODING:
            # A row gets a mean of the target that was learnt on other rows: those of the sample have theirs here.
            parts = [everything] if has_means else []
            of_sample = encoding.fit_transform(encoder, inputs, target, everything, parts)
        weights = _weights(whole.classes)
        if estimator.get_params(deep=False).get("class_weight") == "balanced":  # which `partial_fit` refuses
            estimator.set_params(class_weight=weights)
        for number in range(settings.passes):
            for batch in whole.shuffled([settings.seed, number]):
                actual = task.labels(batch[schema.target], kind)
                if balanced:
                    given["sample_weight"] = np.array([weights[label] for label in actual.tolist()])
                encoded = encoder.transform(encoding.inputs(batch, schema))
                for matrix in of_sample:
                    places = whole.places.searchsorted(batch.index).clip(max=len(matrix) - 1)
                    known = whole.places[places] == batch.index
                    encoded[known] = matrix[places[known]]
                estimator.partial_fit(encoded, actual, **given)
                yield len(batch)


def _weights(classes: Mapping[Label, int]) -> dict[Label, float]:
    """The weight of a row of each class with which all classes weigh the same, as scikit-learn's `balanced`."""
    rows = sum(classes.values())
    return {label: rows / (len(classes) * count) for label, count in classes.items()}


def sentence(sample: Mapping[str, Any]) -> str:
    """What a model was fitted on, for people, by the facts of `Whole`."""
    rows, every, passes = sample["rows"], sample["of"], sample["passes"]
    if passes is None:
        return f"fitted on {rows:,} of {every:,} rows"
    times = "" if passes == 1 else f" in {passes} passes"
    return f"fitted on all {every:,} rows batch by batch{times}, cross-validated on {rows:,} of them"
