"""The search inside one experiment: several candidates of one model under the same folds, and the best of them.

Random search (Bergstra and Bengio 2012): as good as a grid of many times its size where few arguments matter.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import ParameterError, nearest
from mlops.base.params import Range, Space
from mlops.training import parallel
from mlops.training.estimators import takes_others
from mlops.training.fitting import Fold, Positions, fit, predict, refused, summarise
from mlops.training.metrics import HIGHER_IS_BETTER, score
from mlops.training.task import Label

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Arguments = dict[str, Any]
Matrix = NDArray[np.float64]
# The number of a candidate, and its metrics on one fold, or why it was refused.
FoldScore = tuple[int, dict[str, float] | str]

# Of a drawn number: few enough to be copied to params.yaml, where they give the same model.
DIGITS = 6


@dataclass(frozen=True)
class Candidate:
    """The arguments of one candidate, its metrics on each fold, and mean and spread of the metric that is sought.

    One that `failed` says why; its mean and spread are NaN.
    """

    number: int
    arguments: Arguments
    folds: list[dict[str, float]]
    mean: float
    std: float
    failed: str = ""


def candidates(name: str, estimator: "BaseEstimator", space: Space, count: int, seed: int) -> list[Arguments]:
    """The estimator's own arguments, then `count` other draws from the space; all others if there are fewer.

    They depend on `seed` alone. For one seed, a longer list starts with the shorter one. Without a search
    (`count` 0) no argument varies.

    Raises:
        ParameterError: the model called `name` has no space, or it names an argument that cannot be varied.
    """
    if not count:
        return [{}]
    where = f"train.search.space.{name}"
    if not space:
        raise ParameterError(f"params.yaml has no {where} to draw from: add it, or set train.search.candidates to 0")
    # n_jobs changes no result; parallel work is done over candidates (see mlops.training.estimators).
    known = {argument: value for argument, value in estimator.get_params(deep=False).items() if argument != "n_jobs"}
    for argument in space:
        if argument not in known:
            others = takes_others(estimator)
            hint = f"give it a value below models.{name}, too" if others else nearest(argument, known)
            raise ParameterError(f"params.yaml: {where}.{argument} is no argument that can be varied: {hint}")
    own = {argument: known[argument] for argument in space}
    size = math.prod(_size(dimension) for dimension in space.values())
    generator = np.random.default_rng(seed)
    found: dict[str, Arguments] = {}  # by what tells 1 from 1.0 and True, as scikit-learn does
    while len(found) < size and len(found.keys() - {repr(own)}) < count:
        drawn = {argument: _drawn(dimension, generator) for argument, dimension in space.items()}
        found.setdefault(repr(drawn), drawn)
    return [own, *(drawn for key, drawn in found.items() if key != repr(own))]


def _size(dimension: Range | Sequence[Any]) -> float:
    """The number of different values that can be drawn; a lower bound of it for numbers that are not whole."""
    if isinstance(dimension, Sequence):
        return len({repr(value) for value in dimension})
    low, high = dimension.low, dimension.high
    if dimension.whole:
        return high - low + 1
    step = 10.0 ** (math.floor(math.log10(max(-low, high))) + 1 - DIGITS)
    return max(1.0, (high - low) // step)


def _drawn(dimension: Range | Sequence[Any], generator: np.random.Generator) -> Any:
    if isinstance(dimension, Sequence):
        return dimension[int(generator.integers(len(dimension)))]
    low, high, whole = dimension.low, dimension.high, dimension.whole
    if whole:  # each has the width that rounding gives it
        low, high = low - 0.5, high + 0.5
    if dimension.log:
        value = math.exp(generator.uniform(math.log(low), math.log(high)))
    else:
        value = generator.uniform(low, high)
    return min(max(round(value) if whole else float(f"{value:.{DIGITS}g}"), dimension.low), dimension.high)


def metric_named(asked: str, where: str = "train.search.metric") -> str:
    """The metric that a parameter asks for.

    Raises:
        ParameterError: there is none of that name.
    """
    if asked not in HIGHER_IS_BETTER:
        hint = nearest(asked, ["auto", *HIGHER_IS_BETTER])
        raise ParameterError(f"params.yaml: {where} is {asked}, which is no metric: {hint}")
    return asked


def search(
    encoder: "BaseEstimator",
    estimators: "Sequence[BaseEstimator]",
    table: pd.DataFrame,
    target: NDArray[np.generic],
    folds: Sequence[Fold],
    positive: Label | None,
    threads: int,
    balanced: bool = False,
) -> Iterator[FoldScore]:
    """Fit each of m estimators on each fold; yield its number, and its metrics on the fold or the reason of a refusal.

    The scores are those of `fitting.cross_validate` for the encoder and the estimator as one pipeline, but a fold is
    encoded once for all of them. One encoded fold is in memory at a time; its candidates run in parallel. See
    `fitting.fit` for `balanced`.

    Raises:
        ParameterError: the encoder refuses the data.
    """
    from threadpoolctl import threadpool_limits

    classes = None if target.dtype == np.float64 else np.unique(target)

    def on(train: Positions, test: Positions) -> Iterator[FoldScore]:
        rows = (*_encoded(encoder, table.iloc[train], target[train], table.iloc[test]), target[test])
        shared = (*rows, positive, threads, classes, balanced)
        yield from parallel.each(_candidate, shared, enumerate(estimators), threads)

    with threadpool_limits(threads):  # see mlops.training.fitting.cross_validate
        for fold in folds:
            yield from on(*fold)


def _encoded(
    encoder: "BaseEstimator", train: pd.DataFrame, target: NDArray[np.generic], test: pd.DataFrame
) -> tuple[Matrix, NDArray[np.generic], Matrix]:
    """The encoded training rows with their target, and the test rows, encoded as the training rows taught."""
    from sklearn.base import clone

    coder = clone(encoder)
    with refused(coder):
        # Not fit and then transform: a target encoder gives training rows what it learnt on other ones.
        inside = coder.fit_transform(train, target)
    return inside, target, coder.transform(test)


def _candidate(
    inside: Matrix,
    target: NDArray[np.generic],
    outside: Matrix,
    actual: NDArray[np.generic],
    positive: Label | None,
    threads: int,
    classes: NDArray[np.generic] | None,
    balanced: bool,
    number: int,
    estimator: "BaseEstimator",
) -> FoldScore:
    from sklearn.base import clone

    for matrix in (inside, outside):
        matrix.flags.writeable = False  # an estimator that works in place would change them for all the others
    try:
        fitted = fit(clone(estimator), inside, target, threads, balanced)
    except ParameterError as error:
        return number, str(error)
    return number, score(predict(fitted, outside, actual, positive, threads, classes))


def collected(arguments: Sequence[Arguments], outcomes: Sequence[FoldScore], metric: str) -> list[Candidate]:
    """The fold scores that `search` yielded, by candidate.

    A candidate fails if any fold refused it, or if the metric of a search is not defined for it.
    """
    found = []
    for number, given in enumerate(arguments):
        folds = [outcome for who, outcome in outcomes if who == number and isinstance(outcome, dict)]
        refusals = [outcome for who, outcome in outcomes if who == number and isinstance(outcome, str)]
        spread = summarise([] if refusals else folds).get(metric, {"mean": math.nan, "std": math.nan})
        if given and not refusals and math.isnan(spread["mean"]):
            refusals = [f"{metric} is not defined for what it predicts"]
        found.append(Candidate(number, given, folds, **spread, failed=refusals[0] if refusals else ""))
    return found


def best(tried: Sequence[Candidate], metric: str) -> Candidate:
    """The candidate with the best mean of `metric`, the first of equals.

    Raises:
        ParameterError: all of them failed.
    """
    passed = [candidate for candidate in tried if not candidate.failed]
    if not passed:
        raise ParameterError(
            f"all {len(tried)} candidates of train.search failed, that of params.yaml so: {tried[0].failed}; correct "
            "the model's arguments, or the space"
        )
    return (max if HIGHER_IS_BETTER[metric] else min)(passed, key=lambda candidate: candidate.mean)


def table(tried: Sequence[Candidate], metric: str) -> pd.DataFrame:
    """A row per candidate: its number, its arguments, `mean` and `std` of the metric, `rank`, and why it `failed`.

    Where there was no search, only the header.
    """
    columns = ["candidate", *tried[0].arguments, "mean", "std", "rank", "failed"]
    if not tried[0].arguments:
        return pd.DataFrame(columns=columns)
    given = pd.DataFrame([candidate.arguments for candidate in tried], dtype=object)
    found = given.where(given.notna(), "null").assign(  # as params.yaml spells it
        candidate=[candidate.number for candidate in tried],
        mean=[candidate.mean for candidate in tried],
        std=[candidate.std for candidate in tried],
        failed=[candidate.failed for candidate in tried],
    )
    ranks = found["mean"].rank(method="first", ascending=not HIGHER_IS_BETTER[metric])
    return found.assign(rank=ranks.astype("Int64"))[columns]


def report(tried: Sequence[Candidate], chosen: Candidate, metric: str) -> dict[str, Any] | None:
    """The facts about a search: the number of candidates, the best, and its gain; None without a search."""
    if not chosen.arguments:
        return None
    ends = {"configured": tried[0], "best": chosen}
    return {
        "metric": metric,
        "candidates": len(tried),
        "failed": sum(bool(candidate.failed) for candidate in tried),
        "chosen": chosen.number,
        "arguments": chosen.arguments,
        **{name: {"mean": candidate.mean, "std": candidate.std} for name, candidate in ends.items()},
    }
