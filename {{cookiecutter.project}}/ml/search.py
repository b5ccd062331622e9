"""The search inside one experiment: several candidates of one model under the same folds, and the best of them.

Random search (Bergstra and Bengio 2012): as good as a grid of many times its size where few arguments matter.
"""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.errors import ParameterError
from ml.fitting import Fold, cross_validate, pipeline, predict, refused, summarise
from ml.metrics import HIGHER_IS_BETTER, score
from ml.task import Label

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Arguments = dict[str, Any]
# Draws per candidate that is still wanted, before a space counts as exhausted.
MOST_DRAWS = 100


class Range(Protocol):
    """The numbers from `low` to `high`, both included: whole ones or not, evenly, or so by their logarithm."""

    low: float
    high: float
    log: bool

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""


Space = Mapping[str, Range | Sequence[Any]]


@dataclass(frozen=True)
class Candidate:
    """Arguments that were tried (0: the model's own), the metrics of each fold, or why they were refused."""

    number: int
    arguments: Arguments
    folds: list[dict[str, float]]
    failed: str = ""

    def spread(self, metric: str) -> tuple[float, float]:
        """Mean and standard deviation of a metric over the folds; NaN if the candidate failed."""
        found = summarise(self.folds)[metric] if self.folds else {"mean": math.nan, "std": math.nan}
        return found["mean"], found["std"]


def candidates(name: str, estimator: "BaseEstimator", space: Space, count: int, seed: int) -> list[Arguments]:
    """What the estimator has, then `count` different draws from the space, or all there are if they are fewer.

    Draw i depends on `seed` and i alone, so that more candidates begin with those of fewer.

    Raises:
        ParameterError: the model called `name` has no space, or it names an argument that there is not.
    """
    where = f"train.search.space.{name}"
    if count and not space:
        raise ParameterError(f"params.yaml has no {where} to draw from: add it, or set train.search.candidates to 0")
    known = estimator.get_params(deep=False)
    if unknown := [argument for argument in space if argument not in known]:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known)}"
        raise ParameterError(f"params.yaml: {where}.{unknown[0]} is no argument of the model: {hint}")
    if not count:
        return [{}]
    found: list[Arguments] = [{argument: known[argument] for argument in space}]
    for number in range(count * MOST_DRAWS):
        generator = np.random.default_rng([seed, number])
        drawn = {argument: _drawn(dimension, generator) for argument, dimension in space.items()}
        if drawn not in found:
            found.append(drawn)
        if len(found) > count:
            break
    return found


def _drawn(dimension: Range | Sequence[Any], generator: np.random.Generator) -> Any:
    if isinstance(dimension, Sequence):
        return dimension[int(generator.integers(len(dimension)))]
    low, high = dimension.low, dimension.high
    if dimension.whole:
        if not dimension.log:
            return int(generator.integers(int(low), int(high), endpoint=True))
        # Each whole number has the width that rounding gives it.
        drawn = math.exp(generator.uniform(math.log(low - 0.5), math.log(high + 0.5)))
        return min(max(round(drawn), int(low)), int(high))
    if dimension.log:
        return min(max(math.exp(generator.uniform(math.log(low), math.log(high))), low), high)
    return float(generator.uniform(low, high))


def search(
    encoder: "BaseEstimator",
    estimators: "Sequence[BaseEstimator]",
    table: pd.DataFrame,
    target: NDArray[np.generic],
    cut: Sequence[Fold],
    positive: Label | None,
    threads: int,
) -> Iterator[tuple[int, dict[str, float] | str]]:
    """Fit each of m estimators on each fold; yield its number and its metrics there, or why it was refused.

    The scores are those of `ml.fitting.cross_validate` for the encoder and the estimator as one pipeline, but a fold is
    encoded once for all of them. One encoded fold is in memory at a time; its candidates run in parallel. A single
    estimator has nothing to share: its folds run in parallel then, and what refuses it is raised.

    Raises:
        ParameterError: the encoder, or a single estimator, refuses the data.
    """
    if len(estimators) == 1:
        alone = pipeline(encoder, estimators[0])
        yield from ((0, scores) for scores in cross_validate(alone, table, target, cut, positive, threads))
        return
    from joblib import Parallel, delayed
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    classes = None if target.dtype == np.float64 else np.unique(target)
    with threadpool_limits(threads):  # see ml.fitting.cross_validate
        for train, test in cut:
            coder = clone(encoder)
            with refused(coder):
                # Not fit and then transform: a target encoder learns what training rows get on other ones.
                inside = coder.fit_transform(table.iloc[train], target[train])
            outside = coder.transform(table.iloc[test])

            def scored(number: int, fold: tuple[Any, ...] = (inside, outside, train, test)) -> tuple[int, Any]:
                fitting_rows, judging_rows, train, test = fold
                try:
                    with refused(estimators[number]):
                        fitted = clone(estimators[number]).fit(fitting_rows, target[train])
                except ParameterError as error:
                    return number, str(error)
                return number, score(predict(fitted, judging_rows, target[test], positive, threads, classes))

            yield from Parallel(n_jobs=-1, prefer="threads", return_as="generator")(
                delayed(scored)(number) for number in range(len(estimators))
            )


def collected(arguments: Sequence[Arguments], found: Sequence[tuple[int, dict[str, float] | str]]) -> list[Candidate]:
    """What `search` yielded, by candidate; one that was refused in any fold has failed."""
    scores: list[list[dict[str, float]]] = [[] for _ in arguments]
    reasons: dict[int, str] = {}
    for number, outcome in found:
        if isinstance(outcome, str):
            reasons.setdefault(number, outcome)
        else:
            scores[number].append(outcome)
    return [
        Candidate(number, given, [] if number in reasons else scores[number], reasons.get(number, ""))
        for number, given in enumerate(arguments)
    ]


def best(tried: Sequence[Candidate], metric: str) -> Candidate:
    """The candidate with the best mean of `metric`, the first of equals.

    Raises:
        ParameterError: all of them were refused, or there is no such metric.
    """
    passed = [candidate for candidate in tried if candidate.folds]
    if not passed:
        raise ParameterError(f"none of the {len(tried)} candidates of train.search could be fitted: {tried[0].failed}")
    if metric not in (known := summarise(passed[0].folds)):
        raise ParameterError(f"train.search.metric is {metric}, but there are {', '.join(known)}: choose one of them")
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    return max(passed, key=lambda candidate: _comparable(sign * candidate.spread(metric)[0]))


def _comparable(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def table(tried: Sequence[Candidate], metric: str) -> pd.DataFrame:
    """A row per candidate: its number, its arguments, `mean` and `std` of the metric, `rank`, and why it `failed`.

    Of a single one, which is no search, only the header.
    """
    columns = ["candidate", *tried[0].arguments, "mean", "std", "rank", "failed"]
    if len(tried) == 1:
        return pd.DataFrame(columns=columns)
    spreads = [candidate.spread(metric) for candidate in tried]
    found = pd.DataFrame([candidate.arguments for candidate in tried], dtype=object).assign(
        candidate=[candidate.number for candidate in tried],
        mean=[mean for mean, _ in spreads],
        std=[std for _, std in spreads],
        failed=[candidate.failed for candidate in tried],
    )
    ranks = found["mean"].rank(method="first", ascending=not HIGHER_IS_BETTER[metric])
    return found.assign(rank=ranks.astype("Int64"))[columns]


def report(tried: Sequence[Candidate], chosen: Candidate, metric: str) -> dict[str, Any] | None:
    """What is said of a search: how many candidates, which won, and by how much; None where there was none."""
    if len(tried) == 1:
        return None
    spreads = {"configured": tried[0].spread(metric), "best": chosen.spread(metric)}
    return {
        "metric": metric,
        "candidates": len(tried),
        "failed": sum(bool(candidate.failed) for candidate in tried),
        "chosen": chosen.number,
        "arguments": chosen.arguments,
        **{name: {"mean": mean, "std": std} for name, (mean, std) in spreads.items()},
    }
