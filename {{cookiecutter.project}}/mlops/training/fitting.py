"""Fit and cross-validate one scikit-learn pipeline, so that the same input gives the same model to the byte.

What that takes: seeds for everything that draws; a fixed number of threads below the estimators, since the order of
floating-point sums depends on it; parallel work over whole folds only; and no trace of it (`n_jobs`) in the model.
"""

import copy
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import DataError, ParameterError, ProjectError
from mlops.data.schema import Schema
from mlops.training import encoding, parallel
from mlops.training.metrics import Predictions, score
from mlops.training.task import Label, Task, labels

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator
    from sklearn.pipeline import Pipeline

Model = TypeVar("Model", bound="BaseEstimator")
Positions = NDArray[np.integer[Any]]
Fold = tuple[Positions, Positions]

# Rows that are encoded and predicted at once: a thousand encoded columns make them 160 MB.
ROWS = 20_000
# One fold is encoded at a time: that takes about three times the memory of the encoded rows, and the interpreter's lock
# leaves hardly any time to gain.
ENCODING = threading.Lock()
# From this many rows on, it takes less time to put similar rows together than it saves; by so many bits of each row.
SORTED_ROWS, BITS = 1_000, 32
MOST_ROWS = 100_000  # predicted by trees at once
FORESTS = ("RandomForest", "ExtraTrees")
TREES = (*FORESTS, "GradientBoosting", "HistGradientBoosting")
# From this many rows on, memory matters.
MANY_ROWS = 100_000
# By which the probabilities of a row may miss 1; some packages compute with 32 bits.
NOT_ONE = 1e-3
# The largest number of 32 bits, with which forests compute. What was learnt from is far below: its spread is 1.
LARGEST = float(np.finfo(np.float32).max)


def pipeline(encoder: "BaseEstimator", estimator: "BaseEstimator") -> "Pipeline":
    """Encoder and estimator as one model: both learn from the rows that it is fitted on, and from no others."""
    from sklearn.pipeline import Pipeline

    return Pipeline([("encoder", encoder), ("estimator", estimator)])


def folds_by_time(time: pd.Series, count: int) -> list[Fold]:
    """Row positions (train, test) of each fold: the rows of a later time test what all earlier rows (n) have trained.

    The sizes are those of scikit-learn's `TimeSeriesSplit`, but rows of the same time stay on one side.

    Raises:
        DataError: there are too few different times.
    """
    codes = pd.factorize(time, sort=True)[0]
    order = np.argsort(codes, kind="stable")
    ordered, rows = codes[order], len(codes) // (count + 1)
    # Each test part begins with the first row of its time.
    starts = np.searchsorted(ordered, [ordered[-k * rows] for k in range(count, 0, -1)])
    parts = np.split(order, starts)
    if not all(map(len, parts)):
        raise DataError(
            f"the training split has {len(np.unique(codes))} different times in {time.name}, too few or too unequal "
            f"for {count} folds in their order: lower train.folds, or choose another prepare.split"
        )
    return [(order[:start], part) for start, part in zip(starts, parts[1:], strict=True)]


def folds(target: NDArray[np.generic], groups: pd.Series | None, task: Task, count: int, seed: int) -> list[Fold]:
    """Row positions (train, test) of each fold: stratified by class; rows of one group stay on one side.

    A class with fewer rows than folds is spread over as many folds as it has rows; where every class is so rare, rows
    are dealt at random.

    Raises:
        DataError: there are fewer rows, or groups, than folds.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    units = len(target) if groups is None else groups.nunique()
    if units < count:
        raise DataError(
            f"the training split has {units} {'rows' if groups is None else 'groups'}, too few for {count} folds: "
            "deliver more data, or lower train.folds"
        )
    classes = task == "classification" and np.unique(target, return_counts=True)[1].max() >= count
    if groups is not None:
        kind = StratifiedGroupKFold if classes else GroupKFold
    else:
        kind = StratifiedKFold if classes else KFold
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # reported by `train` as rare classes
        try:
            cut = kind(count, shuffle=True, random_state=seed).split(target, target, groups)
            # Positions of 32 bits, since all folds are in memory until the last is fitted.
            return [(train.astype(np.int32), test.astype(np.int32)) for train, test in cut]
        except ValueError as error:
            raise DataError(
                f"the training split cannot be cut into {count} folds: {error}; lower train.folds"
            ) from None


def cross_validate(
    model: "Pipeline",
    table: pd.DataFrame,
    target: NDArray[np.generic],
    folds: Sequence[Fold | None],
    positive: Label | None,
    threads: int,
    judge: Callable[["Pipeline", pd.DataFrame, Predictions], Any] | None = None,
    balanced: bool = False,
) -> Iterator[Any]:
    """Fit on the training rows of each fold and score its test rows; yield the metrics of each fold, in order.

    For None in place of a fold, yield the model fitted on all rows: one more piece of the parallel work. A `judge` gets
    the model, the test rows and the predictions of a fold, and its answers are yielded. See `fit` for `balanced`.

    Raises:
        ParameterError: the estimator refuses its arguments or the data.
    """
    classes = None if target.dtype == np.float64 else np.unique(target)
    shared = (model, table, target, folds, positive, threads, classes, judge, balanced)
    return parallel.each(_fold, shared, [(number,) for number in range(len(folds))], threads)


def _fold(
    model: "Pipeline",
    table: pd.DataFrame,
    target: NDArray[np.generic],
    folds: Sequence[Fold | None],
    positive: Label | None,
    threads: int,
    classes: NDArray[np.generic] | None,
    judge: Callable[["Pipeline", pd.DataFrame, Predictions], Any] | None,
    balanced: bool,
    number: int,
) -> Any:
    from sklearn.base import clone

    fold = folds[number]
    if fold is None:
        return fit(clone(model), table, target, threads, balanced)
    train, test = fold
    fitted = fit(clone(model), table, target, threads, balanced, train)
    found = predict(fitted, table.iloc[test], target[test], positive, threads, classes)
    return judge(fitted, table.iloc[test], found) if judge else score(found)


def fit(
    model: Model,
    table: pd.DataFrame | NDArray[np.float64],
    target: NDArray[np.generic],
    threads: int,
    balanced: bool = False,
    rows: Positions | None = None,
) -> Model:
    """Fit `model` in place on n rows, given as features or as encoded rows, and their target (n,).

    A pipeline is fitted on the positions `rows` (m,) alone, if they are given. If `balanced`, the rows have weights, so
    that all classes weigh the same.

    Raises:
        ParameterError: the estimator refuses its arguments or the data.
    """
    from sklearn.pipeline import Pipeline
    from sklearn.utils.class_weight import compute_sample_weight
    from threadpoolctl import threadpool_limits

    estimator = model[-1] if isinstance(model, Pipeline) else model
    learnt = target if rows is None else target[rows]
    weights = {"sample_weight": compute_sample_weight("balanced", learnt)} if balanced else {}
    with threadpool_limits(threads), refused(estimator):
        if estimator is model or isinstance(table, np.ndarray):
            model.fit(table, learnt, **weights)
        elif len(learnt) < MANY_ROWS:  # not Pipeline.fit, which would hold the features beside the encoded rows
            with ENCODING:
                encoded = model[:-1].fit_transform(table if rows is None else table.iloc[rows], learnt)
            estimator.fit(encoded, learnt, **weights)
        else:
            _fit_many(model, table, learnt, np.arange(len(learnt), dtype=np.int32) if rows is None else rows, weights)
    return model


def _fit_many(
    model: "Pipeline",
    table: pd.DataFrame,
    target: NDArray[np.generic],
    rows: Positions,
    weights: dict[str, NDArray[np.float64]],
) -> None:
    """Fit a pipeline on `rows` (m,) of a table and their target (m,): to the byte as `Pipeline.fit`, in less memory."""
    estimator = model[-1]
    parts = _early_stopping_parts(estimator, target)
    with ExitStack() as alone:
        alone.enter_context(ENCODING)
        encoded, *held = encoding.fit_transform(model[0], table, target, rows, parts)
        # Boosting has weights of classes, so that there are none of rows.
        held_out = {"X_val": held[0], "y_val": target[parts[1]]} if held else {}
        with _freed_when_binned(estimator, [encoded, *held], alone.close):
            estimator.fit(encoded, target[parts[0]] if held else target, **weights, **held_out)


def _early_stopping_parts(estimator: "BaseEstimator", target: NDArray[np.generic]) -> list[Positions]:
    """The positions of the rows that an estimator learns from and, of boosting, of those by which it stops early.

    `HistGradientBoosting` would split the rows in the same way, but keep a copy of all of them meanwhile.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state

    rows = np.arange(len(target), dtype=np.int32)
    if type(estimator) not in (HistGradientBoostingClassifier, HistGradientBoostingRegressor):
        return [rows]
    given = estimator.get_params(deep=False)
    plain = given["early_stopping"] and 0 < (given["validation_fraction"] or 0) < 0.5 and not given["warm_start"]
    plain = plain and given.get("class_weight") is None and given["categorical_features"] in (None, "from_dtype")
    if not plain or not isinstance(given["random_state"], int):
        return [rows]
    parts: list[Positions] = train_test_split(
        rows,
        test_size=given["validation_fraction"],
        stratify=target if isinstance(estimator, HistGradientBoostingClassifier) else None,
        random_state=check_random_state(given["random_state"]).randint(np.iinfo(np.uint32).max, dtype="u8"),
    )
    return parts


@contextmanager
def _freed_when_binned(
    estimator: "BaseEstimator", encoded: list[NDArray[np.float64]], binned: Callable[[], None]
) -> Iterator[None]:
    """Empty the `encoded` rows of boosting as soon as it has its bins, an eighth of their size; then call `binned`.

    `HistGradientBoosting` holds the rows until it is fitted, and never reads them again. Its method `_bin_data` is
    private: in a release without it the rows stay, which takes memory and changes no result. Any other estimator keeps
    its rows, and `binned` is called before the fit.
    """
    make_bins = getattr(estimator, "_bin_data", None)
    if make_bins is None:
        binned()
        yield
        return

    def bins(rows: NDArray[np.float64], *arguments: Any, **named: Any) -> Any:
        made = make_bins(rows, *arguments, **named)
        if any(rows is one for one in encoded):
            rows.resize((0, rows.shape[1]), refcheck=False)
        binned()
        return made

    estimator._bin_data = bins
    try:
        yield
    finally:
        del estimator._bin_data


@contextmanager
def refused(estimator: "BaseEstimator", what: str = "fitted") -> Iterator[None]:
    """Turn the error of an estimator that refuses its arguments or the data into one sentence.

    Raises:
        ParameterError: with that sentence.
    """
    try:
        yield
    except ProjectError:
        raise
    except Exception as error:  # an estimator of the project or of another package may raise anything
        kind = "" if isinstance(error, (ValueError, TypeError)) else f"{type(error).__name__}: "
        said = kind + " ".join(str(error).split())
        # scikit-learn names the values to choose from as a set, whose order changes from process to process.
        said = re.sub(r"{([^{}]*)}", lambda found: "{" + ", ".join(sorted(found[1].split(", "))) + "}", said)
        raise ParameterError(f"{type(estimator).__name__} could not be {what}: {said}") from None


def predict(
    model: "BaseEstimator",
    table: pd.DataFrame | NDArray[np.float64],
    target: NDArray[np.generic] | None,
    positive: Label | None,
    threads: int,
    classes: NDArray[np.generic] | None = None,
    threshold: float | None = None,
    schema: Schema | None = None,
    clipped: bool = False,
) -> Predictions:
    """Predict n rows, given as features, as encoded rows, or with a `schema` as a typed table.

    The label of a row is the positive class from a probability of `threshold` on, and without a threshold the most
    probable class. An estimator that is not scikit-learn's own may decide otherwise, so that its `predict` is asked.

    `target` (n,) are the actual values, None where they are not known. `classes` are all that exist, sorted; one that a
    fitted model does not know (rare, and in no training row of the fold) gets probability 0. Some rows at a time are
    encoded, so that they take a bounded memory, however many there are.

    If `clipped`, an encoded number that 32 bits cannot hold is the largest that they can: nobody is served by such an
    answer, but a delivery is told apart by it. Most estimators refuse such rows otherwise.
    """
    from threadpoolctl import threadpool_limits

    fitted: NDArray[np.generic] | None = getattr(model, "classes_", None)
    known = fitted if classes is None else classes
    has_probabilities = fitted is not None and hasattr(model, "predict_proba")
    estimator = model[-1] if hasattr(model, "named_steps") else model
    size, importances = _part_size(estimator), _importances(estimator) if len(table) >= SORTED_ROWS else None
    parts = [table[start : start + size] for start in range(0, len(table), size)]
    overflow = np.errstate(over="ignore" if clipped else None)
    with threadpool_limits(threads), refused(estimator, "asked"), overflow:
        ask = "predict_proba" if has_probabilities else "predict"
        raw = np.concatenate([_asked(model, ask, part, importances, schema, clipped) for part in parts])
        says_itself = has_probabilities and threshold is None and not type(estimator).__module__.startswith("sklearn.")
        said = None
        if says_itself:
            said = np.concatenate([_asked(model, "predict", part, importances, schema, clipped) for part in parts])
    if fitted is None or known is None or not has_probabilities:
        names = () if fitted is None or known is None else tuple(known.tolist())
        return Predictions(raw if target is None else target, raw, None, names, positive)
    if raw.shape != (len(table), len(fitted)) or not (np.abs(raw.sum(axis=1) - 1) < NOT_ONE).all():
        raise ParameterError(
            f"{type(estimator).__name__} gives probabilities of shape {raw.shape} that do not sum to 1 in every row: "
            f"expected is one for each of the {len(fitted)} classes"
        )
    probabilities = np.zeros((len(raw), len(known)))
    probabilities[:, np.searchsorted(known, fitted)] = raw
    predicted = known[probabilities.argmax(axis=1)] if said is None else said.astype(known.dtype)
    found = Predictions(predicted, predicted, probabilities, tuple(known.tolist()), positive)
    found = found if threshold is None else found.at(threshold)
    return replace(found, actual=found.predicted if target is None else target)


def _asked(
    model: "BaseEstimator",
    ask: str,
    part: pd.DataFrame | NDArray[np.float64],
    importances: NDArray[np.float64] | None,
    schema: Schema | None,
    clipped: bool,
) -> NDArray[Any]:
    """What a model answers to n rows, asked for `predict` or `predict_proba`; the bits are those of scikit-learn."""
    if schema is None or not isinstance(part, pd.DataFrame) or len(part) < SORTED_ROWS or not _is_ours(model):
        given = encoding.inputs(part, schema) if schema is not None and isinstance(part, pd.DataFrame) else part
        if clipped and hasattr(model, "named_steps"):
            given, model = _clipped(model[:-1].transform(given)), model[-1]
        answers: NDArray[Any] = getattr(model, ask)(given)
        return answers
    encoded, estimator = encoding.encode(model[0], part, schema), model[-1]
    encoded = _clipped(encoded) if clipped else encoded
    if not _is_trees(estimator):
        return getattr(estimator, ask)(encoded)  # type: ignore[no-any-return]
    # Similar rows one after another take the same way through the trees, which a processor foresees: twice as fast.
    order = _similar(encoded, importances)
    found = _trees(estimator, ask, encoded[order])
    answers = np.empty_like(found)
    answers[order] = found
    return answers


def _clipped(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Encoded rows whose numbers 32 bits can hold; the same array if they can already."""
    fits = -encoded.min(initial=0) <= LARGEST >= encoded.max(initial=0)
    return encoded if fits else np.clip(encoded, -LARGEST, LARGEST)


def _trees(estimator: "BaseEstimator", ask: str, encoded: NDArray[np.float64]) -> NDArray[Any]:
    """What trees answer to n encoded rows; a random forest is added up here as scikit-learn does, with less ado."""
    kind = type(estimator).__name__
    if kind.startswith("Hist") and getattr(estimator, "_preprocessor", None) is None:
        # Its thresholds are the limits of bins: a byte for each value takes the same way, in half the time.
        of_bins = copy.copy(estimator)
        of_bins._in_fit = True  # as scikit-learn says that rows are binned
        return getattr(of_bins, ask)(estimator._bin_mapper.transform(encoded))  # type: ignore[no-any-return]
    rows = encoded.astype(np.float32)
    if not kind.startswith(FORESTS) or not np.isfinite(rows).all():  # it says what is wrong with them
        return getattr(estimator, ask)(encoded)  # type: ignore[no-any-return]
    total = np.zeros((len(rows), estimator.estimators_[0].tree_.value.shape[2]))
    for tree in estimator.estimators_:
        total += tree.tree_.predict(rows).reshape(total.shape)
    total /= len(estimator.estimators_)
    return total if kind.endswith("Classifier") else total[:, 0]


def _similar(encoded: NDArray[np.float64], importances: NDArray[np.float64] | None) -> NDArray[np.intp]:
    """An order of n encoded rows in which similar ones are neighbours, by the columns that matter most."""
    first = slice(BITS) if importances is None else np.argsort(-importances)[:BITS]
    chosen = encoded[:, first]
    bits = np.zeros((len(encoded), BITS), dtype=bool)
    bits[:, : chosen.shape[1]] = chosen > chosen.mean(axis=0)
    return np.packbits(bits, axis=1).view(">u4")[:, 0].astype(np.uint32).argsort()


def _importances(estimator: "BaseEstimator") -> NDArray[np.float64] | None:
    """How much each encoded column matters to trees, if they say so; computing it takes time for every tree."""
    return getattr(_inner(estimator), "feature_importances_", None) if _is_trees(estimator) else None


def _part_size(estimator: "BaseEstimator") -> int:
    """How many rows are encoded and predicted at once; more for trees, if there are few columns."""
    width = getattr(estimator, "n_features_in_", ROWS)
    return min(max(ROWS, ROWS * 1000 // width), MOST_ROWS) if _is_trees(estimator) else ROWS


def _inner(estimator: "BaseEstimator") -> "BaseEstimator":
    """The estimator below its calibration."""
    while hasattr(estimator, "estimator") and type(estimator).__module__.startswith(("sklearn.calib", "sklearn.froz")):
        estimator = estimator.estimator
    return estimator


def _is_trees(estimator: "BaseEstimator") -> bool:
    """Whether each row is answered by trees alone, whatever rows stand beside it."""
    kind = type(_inner(estimator))
    return kind.__module__.startswith("sklearn.ensemble.") and kind.__name__.startswith(TREES)


def _is_ours(model: "BaseEstimator") -> bool:
    """Whether a model is the pipeline of an encoder of `encoding.encoder` and an estimator."""
    if not hasattr(model, "named_steps") or len(model) != 2:
        return False
    return {name for name, *_ in getattr(model[0], "transformers_", [])} == {"numbers", "categories", "means"}


def with_labels(predictions: Predictions, actual: pd.Series | None, task: Task) -> Predictions | None:
    """The predictions of the rows that have an `actual` value, shape (n,), as labelled rows; None without any."""
    if actual is None or actual.isna().all():
        return None
    known = actual.notna().to_numpy(dtype=bool)
    return replace(predictions.subset(known), actual=labels(actual[known], task))


def summarise(scores: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation (of the sample, n - 1) of each metric over the folds where it is defined."""
    frame = pd.DataFrame(scores)
    # The mean of equal values may be rounded, and then their spread would not be 0.
    spreads = frame.std() * (frame.max() > frame.min())
    return {str(name): {"mean": values.mean(), "std": spreads[str(name)]} for name, values in frame.items()}


def rare_classes(target: NDArray[np.generic], folds: int) -> dict[str, int]:
    """The classes that have fewer rows than there are folds, and their rows: their metrics are unreliable."""
    if target.dtype == np.float64:
        return {}
    classes, rows = np.unique(target, return_counts=True)
    return {str(label): int(count) for label, count in zip(classes, rows, strict=True) if count < folds}
