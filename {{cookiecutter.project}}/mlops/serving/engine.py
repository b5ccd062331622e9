"""What answers raw rows: a fast engine that has shown to agree with scikit-learn, or scikit-learn itself."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import ProjectError
from mlops.data.parsing import DTYPES
from mlops.registry.scoring import RawModel
from mlops.serving import lookup
from mlops.training import encoding, fitting
from mlops.training.metrics import Predictions, joined
from mlops.training.task import Label

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.calibration import CalibratedClassifierCV

# Encoded rows (n, columns) to probabilities (n, k), or to labels or numbers (n,).
Evaluate = Callable[[NDArray[np.float64]], NDArray[Any]]

# From so many encoded rows on, an estimator is as fast as an evaluator of single rows, and much faster if it is large.
SEVERAL_ROWS = 100
# From so many on, whole columns are read faster than row by row.
MANY_ROWS = 5_000
CHECKED_ROWS = 1_000
TOLERANCE = 1e-12
ASKED_AGAIN = 20
TINY = np.finfo(np.float64).tiny
TREES = ("RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting")
# Of made-up rows: the dates, as days since 1970, and the share of missing values.
DAYS = (0, 20_000)
SECONDS_A_DAY = 86_400
MISSING = 0.05


class Engine(Protocol):
    """Answers raw rows as `RawModel` does."""

    @property
    def model(self) -> RawModel:
        """The version's own model."""
        ...

    @property
    def name(self) -> str:
        """Trees, linear or scikit-learn."""
        ...

    @property
    def reason(self) -> str:
        """Why it is no faster one; empty if it is."""
        ...

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """The predictions for n raw rows; their labels are plain values (str, bool, int, float).

        Raises:
            MlflowException: with one sentence, where the rows cannot be read.
        """
        ...


@dataclass(frozen=True)
class ScikitLearn:
    """The model as it is."""

    model: RawModel
    reason: str
    name: str = "scikit-learn"

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """The predictions for n raw rows, whatever they are."""
        return _plain(self.model._predictions(list(rows)))


@dataclass(frozen=True)
class Fast:
    """A lookup of the encoded rows, then an evaluator of few rows, or the estimator itself."""

    name: str
    model: RawModel
    encode: lookup.Encode
    evaluate: Evaluate | None
    classes: tuple[Label, ...]
    reason: str = ""

    @cached_property
    def _labels(self) -> NDArray[Any]:
        return np.array(self.classes, dtype=object)

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """The predictions for n raw rows; the model as it is answers for rows that are unusual."""
        if 0 < len(rows) < MANY_ROWS:
            try:
                encoded = self.encode(rows)
                if self.evaluate and len(rows) < SEVERAL_ROWS:
                    return self.answers(self.evaluate(encoded))
                return self._asked(encoded)
            except (lookup.UnusualRowError, ProjectError):
                pass
        return _plain(self.model._predictions(list(rows)))

    def answers(self, found: NDArray[Any]) -> Predictions:
        """The predictions for n rows from what an evaluator `found`, made as in `training.fitting.predict`."""
        positive, threshold = self.model.model.positive, getattr(self.model.model, "threshold", None)
        if found.ndim == 1:
            predicted = found.astype(object) if self.classes else found
            return Predictions(predicted, predicted, None, self.classes, positive)
        if threshold is None:
            predicted = self._labels[found.argmax(axis=1)]
        else:  # the positive class stands at 0 or 1
            place = self.classes.index(positive)
            predicted = self._labels[np.where(found[:, place] >= threshold, place, 1 - place)]
        return Predictions(predicted, predicted, found, self.classes, positive, threshold)

    def _asked(self, encoded: NDArray[np.float64]) -> Predictions:
        """What scikit-learn itself gives for n encoded rows."""
        model = self.model.model
        threshold = getattr(model, "threshold", None)
        asked = fitting.predict(model.pipeline[-1], encoded, None, model.positive, model.threads, threshold=threshold)
        return _plain(asked)


def choose(model: RawModel, check: pd.DataFrame | None = None) -> Engine:
    """The fastest engine that agrees with scikit-learn on the `check` rows: labels equal, probabilities within 1e-12.

    The check rows (n, of which a thousand are used) are a typed table or raw rows; without any, a thousand are made up
    of what the model's encoder knows. They are asked one by one, as a server does, and scikit-learn with one thread.
    A number that is predicted has to agree relative to its size, or to the median size of all.

    An estimator without an engine of its own is asked itself, with rows that are looked up if that gives the same bits.
    """
    if not hasattr(model, "encoded"):
        return ScikitLearn(model, "the version's code is of before fast engines: register it again to have one")
    try:
        rows = _made_up(model) if check is None or check.empty else check.head(CHECKED_ROWS).reset_index(drop=True)
        typed = rows if _is_typed(rows, model) else model.typed(rows)
        has_history = hasattr(model, "history") and bool(model.schema.history.tables)
        plain = model.given_history() if has_history else model
        raw = _raw(typed, plain)
        encode = lookup.encoder(plain, raw)
        reason = _wrong_bits(encode, raw, model.encoded(typed))
        encode = lookup.with_history(encode, model) if has_history else encode
        by_itself = Fast("scikit-learn", model, encode, None, model.model.classes)
    except Exception as error:  # other people's code; whatever it is, scikit-learn answers
        reason = _failure(error)
    if reason:
        return ScikitLearn(model, reason)
    try:
        name, evaluate = _evaluator(model.model.pipeline[-1])
        if evaluate is None:
            return replace(by_itself, reason=f"there is no faster engine for {name}")
        fast = replace(by_itself, name=name, evaluate=evaluate)
        reason = _disagreement(fast, evaluate, typed)
    except Exception as error:  # the same
        reason = _failure(error)
    return replace(by_itself, reason=reason) if reason else fast


def _failure(error: Exception) -> str:
    return f"no fast engine could be made ({type(error).__name__}: {' '.join(str(error).split())})"


def _plain(found: Any) -> Predictions:
    """The predictions of a version, whose class is of its own package, with labels as plain values."""
    predicted = found.predicted.astype(object) if found.classes else found.predicted
    threshold = getattr(found, "threshold", None)  # older versions have none
    return Predictions(predicted, predicted, found.probabilities, found.classes, found.positive, threshold)


def _evaluator(estimator: "BaseEstimator") -> tuple[str, Evaluate | None]:
    """Name and evaluator of the fast engine for an estimator, calibrated or not; its own name and None without one."""
    from sklearn.calibration import CalibratedClassifierCV

    calibrated = type(estimator) is CalibratedClassifierCV
    inner = estimator.estimator.estimator if calibrated else estimator  # below a FrozenEstimator
    package, kind = type(inner).__module__, type(inner).__name__
    if package.startswith("sklearn.ensemble.") and kind.removesuffix("Classifier").removesuffix("Regressor") in TREES:
        name, (evaluate, scores) = "trees", _trees(inner)
    elif package.startswith(("sklearn.linear_model.", "sklearn.dummy")):
        name, (evaluate, scores) = "linear", _itself(inner)
    else:
        return kind, None
    return name, _calibrated(estimator, scores) if calibrated else evaluate


def _trees(estimator: "BaseEstimator") -> tuple[Evaluate, Evaluate]:
    """Answers, and scores of the second of two classes, of an ensemble of trees: treelite's interpreter (GTIL)."""
    import treelite.sklearn
    from sklearn.base import is_classifier

    kind = type(estimator).__name__
    ensemble = treelite.sklearn.import_model(estimator)
    # Scikit-learn compares with numbers of 32 bits, but for HistGradientBoosting.
    dtype = np.float64 if kind.startswith("Hist") else np.float32
    ask, ask_margin = (_interpreter(ensemble, estimator.n_features_in_, dtype, kind) for kind in ("default", "raw"))

    def evaluate(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        found = (ask_margin if has_margin and many else ask)(encoded)
        if not is_class:
            return found[:, 0]
        if not many:
            return np.column_stack([1 - found[:, 0], found[:, 0]]) if has_margin else found
        if has_margin:  # GTIL's own softmax has 32 bits
            found = np.exp(found - found.max(axis=1, keepdims=True))
            found /= found.sum(axis=1, keepdims=True)
        return found

    def scores(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        return (ask_margin if has_margin else ask)(encoded)[:, -1]

    is_class, has_margin = is_classifier(estimator), hasattr(estimator, "decision_function")
    many = is_class and len(estimator.classes_) > 2
    return evaluate, scores


def _interpreter(ensemble: Any, width: int, dtype: Any, kind: str) -> Evaluate:
    """What GTIL gives for n encoded rows with so many columns, shape (n, k), by treelite's C interface.

    For one row the Python function takes longer than the trees: it makes the same settings anew in each call.
    """
    import treelite.gtil
    from treelite.core import _LIB

    settings = treelite.gtil.gtil.GTILConfig(nthread=1, predict_type=kind)
    taken, given, name = np.dtype(ensemble.input_type), np.dtype(ensemble.output_type), ensemble.input_type.encode()
    rows = treelite.gtil.predict(ensemble, np.zeros((1, width)), nthread=1, pred_margin=kind == "raw")
    if ensemble.num_feature != width or rows.shape[:2] != (1, 1):
        raise ValueError("treelite took it for another model")

    def ask(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        if encoded.shape[1] != width:  # it reads on behind the end
            raise ValueError(f"{width} columns were expected")
        source = np.ascontiguousarray(encoded.astype(dtype), taken)
        found = np.zeros((len(encoded), rows.shape[2]), given)
        places = (ctypes.c_void_p(source.ctypes.data), ctypes.c_void_p(found.ctypes.data))
        count = ctypes.c_uint64(len(encoded))
        if _LIB.TreeliteGTILPredict(ensemble.handle, places[0], name, count, places[1], settings.handle):
            raise RuntimeError("treelite could not evaluate the trees")
        return found

    return ask


def _itself(estimator: "BaseEstimator") -> tuple[Evaluate, Evaluate]:
    """Answers, and scores of the second of two classes, of an estimator that is quick enough itself."""
    evaluate: Evaluate = getattr(estimator, "predict_proba", estimator.predict)

    def scores(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        found = getattr(estimator, "decision_function", evaluate)(encoded)
        return found if found.ndim == 1 else found[:, 1]

    return evaluate, scores


def _calibrated(estimator: "CalibratedClassifierCV", scores: Evaluate) -> Evaluate:
    """Calibrated probabilities from the scores of the model below, as scikit-learn's pair of both gives them."""
    [pair] = estimator.calibrated_classifiers_
    [calibrator] = pair.calibrators

    def evaluate(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
        of_second = np.minimum(calibrator.predict(scores(encoded)), 1.0)
        return np.column_stack([1 - of_second, of_second])

    return evaluate


def _disagreement(fast: Fast, evaluate: Evaluate, typed: pd.DataFrame) -> str:
    """Why an engine must not answer for scikit-learn, by both's answers for a typed table (n rows); else empty.

    Where both differ, scikit-learn is asked for the row alone: its own sums depend on how many rows there are, and a
    calibrator can make much of that.
    """
    from threadpoolctl import threadpool_limits

    serial = replace(fast.model.model, threads=1)
    with threadpool_limits(1):
        right = _plain(serial.predict(typed))
        encoded = fast.model.encoded(typed)
        answers = joined([fast.answers(evaluate(line)) for line in encoded[:, None, :]])
        labels, misses = _differences(answers, right)
        if 0 < len(again := np.flatnonzero(labels | ~(misses <= TOLERANCE))) <= ASKED_AGAIN:
            alone = joined([_plain(serial.predict(typed.iloc[row : row + 1])) for row in again.tolist()])
            labels[again], misses[again] = _differences(answers.subset(again), alone)
    if labels.any():
        wrong = f"{labels.sum()} of {len(typed)} rows"
        return f"the engine {fast.name} gives other labels than scikit-learn in {wrong}"
    if (different := ~(misses <= TOLERANCE)).any():
        return (
            f"the engine {fast.name} differs from scikit-learn by more than {TOLERANCE:g} in {different.sum()} of "
            f"{len(typed)} rows, by {misses.max():.1g} at most"
        )
    return ""


def _differences(found: Predictions, right: Predictions) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which labels differ, and by how much probabilities or numbers do, each of shape (n,)."""
    if not right.classes:
        sizes = np.abs(right.predicted)
        sizes = np.maximum(np.maximum(sizes, np.median(sizes)), TINY)
        return np.zeros(len(sizes), dtype=bool), np.abs(found.predicted - right.predicted) / sizes
    labels = np.asarray(found.predicted != right.predicted, dtype=bool)
    if found.probabilities is None or right.probabilities is None:
        return labels, np.zeros(len(labels))
    return labels, np.abs(found.probabilities - right.probabilities).max(axis=1)


def _wrong_bits(encode: lookup.Encode, raw: Sequence[Mapping[str, Any]], encoded: NDArray[np.float64]) -> str:
    """Why rows must not be looked up, by n raw rows, or none, and what the model's own encoder gives; else empty."""
    for number, row in enumerate(raw):
        try:
            looked_up = encode([row])
        except lookup.UnusualRowError:
            continue  # the model as it is answers it
        if looked_up.tobytes() != encoded[number].tobytes():
            return f"the lookup encodes check row {number + 1} in another way than the model's encoder"
    return ""


def _is_typed(rows: pd.DataFrame, model: RawModel) -> bool:
    """Whether a table has all that a model takes, in the types of prepared data."""
    columns = model.schema.columns
    return all(name in rows and rows[name].dtype == DTYPES[columns[name].type] for name in model.schema.inputs)


def _raw(typed: pd.DataFrame, model: RawModel) -> list[dict[str, Any]]:
    """The rows of a typed table as JSON has them; none where a column to compute from is not in it."""
    needed = model.schema.needed
    if model.schema.derived or any(name not in typed for name in needed):
        return []
    values = [[_json(value) for value in typed[name].tolist()] for name in needed]
    return [dict(zip(needed, row, strict=True)) for row in zip(*values, strict=True)]


def _json(value: Any) -> Any:
    if pd.isna(value):
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else value


def _made_up(model: RawModel) -> pd.DataFrame:
    """A typed table of so many rows as are checked: known and unseen levels, medians ± 3 spreads, missing values."""
    rng = np.random.default_rng(0)
    transformer, schema = model.model.pipeline[0], model.schema
    blocks = encoding.encoded_blocks(transformer, schema)
    levels, numbers = lookup.levels(transformer), lookup.numbers(transformer)
    table = {}
    for name in schema.inputs:
        kind = schema.columns[name].type
        values: Any
        if kind == "category":
            values = rng.choice([*levels[name], lookup.unseen(levels[name])], CHECKED_ROWS)
        elif kind == "boolean":
            values = rng.random(CHECKED_ROWS) < 0.5
        elif kind == "datetime" and schema.columns[name].role == "time":
            values = rng.uniform(*DAYS, CHECKED_ROWS)
        else:
            median, _, scale = numbers[int(blocks[name][0])]
            values = median + scale * rng.uniform(-3, 3, CHECKED_ROWS)
        if kind == "datetime":
            days = np.clip(values, *DAYS)
            days = days if schema.columns[name].format is None else days.round()  # it may have no place for hours
            values = (days * SECONDS_A_DAY).astype("int64").astype("datetime64[s]")
        if kind == "integer":
            values = values.round()
        table[name] = pd.Series(values, dtype=DTYPES[kind]).mask(rng.random(CHECKED_ROWS) < MISSING)
    return pd.DataFrame(table)
