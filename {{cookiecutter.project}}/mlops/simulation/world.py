"""The world of a simulated year: which rows come in which week, and what their labels are.

It depends on its rows, its plan and its seed alone, never on what anybody does about it. Features are rows of the
project's data, drawn with replacement. Their labels are drawn anew, by the probabilities that a model gave to a row it
had not seen: so a row that comes twice gives nothing away, and a model that has learnt from the row has no advantage.

A shift exchanges two parts of the rows: each part comes as often as the other did, and within each part, ordered by the
probability of the first class, a row has the probabilities of the row with the same rank in the other part. So the
column in question means the opposite from then on, while each class stays as frequent and as hard to tell as before.
It can be learnt: from new labels only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import DataError, ParameterError
from mlops.data.profile import KIND
from mlops.data.schema import Column, Schema

Probabilities = NDArray[np.float64]
Mask = NDArray[np.bool_]
Weights = NDArray[np.float64]
Rows = NDArray[np.intp]

LONG = 26  # weeks from which on there is time for a gradual shift
CANARY = 2  # weeks whose labels a canary waits for: those of one are few to tell a bad challenger by
PART = 1 / 3  # of the rows at either end of a number that a shift exchanges
MOST_LEVELS = 6  # of a category that are tried as parts, the most frequent ones
SMALLEST_LEVEL = 0.05  # as a share of the rows
LEAST_WORTH = 0.02  # of accuracy
HUNDREDFOLD = 100  # an amount in cents where one in dollars is meant


@dataclass(frozen=True)
class Plan:
    """What happens when: weeks are counted from 1, and both weeks of `gradual` belong to it (None: there is none).

    A canary lasts until labels of its first `canary` weeks have come.
    Labels of week w come at the beginning of week w + `delay`. In the week `mislabelled`, all labels so far are sent
    once more, joined to the wrong rows; a week later they are right again.
    """

    weeks: int
    delay: int
    gradual: tuple[int, int] | None
    broken: int
    sudden: int
    mislabelled: int
    canary: int


def plan(weeks: int, delay: int) -> Plan:
    """The plan of a year of so many weeks.

    Raises:
        ParameterError: they are too few to find a shift, answer it, and find a bad challenger.
    """
    # A shift in week 2, its labels, a canary and its labels; wrong labels, a canary and its labels.
    least = 5 + 3 * delay
    if weeks < least:
        hint = f", or labels that come sooner (--label-delay {(weeks - 5) // 3})" if weeks >= 8 else ""
        raise ParameterError(
            f"--weeks is {weeks}, too few to find a shift and to answer it where labels come {delay} weeks late: give "
            f"at least {least}{hint}"
        )
    if weeks < max(LONG, 2 * least):
        return Plan(weeks, delay, None, 3, 2, weeks - 1 - delay, 1)
    first, last, broken, sudden, mislabelled = (round(weeks * part) for part in (0.12, 0.34, 0.46, 0.54, 0.84))
    return Plan(weeks, delay, (first, last), broken, sudden, min(mislabelled, weeks - CANARY - delay), CANARY)


@dataclass(frozen=True)
class Shift:
    """The exchange of two parts of n rows, of which masks (n,) are `first` and `second`; `words` name the parts.

    Of a number, the parts are its two ends, and `place` (n,) says when a row is exchanged: once that share of the shift
    has happened, the outermost rows first. Of a category it is None: then a share of all rows of both levels is
    exchanged. `worth` says how well the shift shows what a year should show (see `shifts`).
    """

    column: str
    words: str
    first: Mask
    second: Mask
    place: NDArray[np.float64] | None
    worth: float = 0.0

    @property
    def whole(self) -> str:
        """The exchange, as a sentence that goes on."""
        return f"rows of {self.words} get each other's labels and frequency"


@dataclass(frozen=True)
class World:
    """A year that can be drawn week by week.

    `rows` (n) are typed rows as they are delivered, the label among them. `before` (n, k) are the probabilities of the
    k classes before any shift, `between` after the gradual one, `after` after both. `examples` (k,) are the positions
    of a row of each class.
    """

    rows: pd.DataFrame
    schema: Schema
    before: Probabilities
    between: Probabilities
    after: Probabilities
    gradual: Shift
    sudden: Shift
    examples: Rows
    plan: Plan
    seed: int
    size: int


class Delivery(NamedTuple):
    """What comes in one week: m typed rows without labels, their actual labels, and the positions of their rows (m,).

    `truth` (m, k) are the probabilities by which the labels were drawn. `broken` says what is wrong with the rows;
    it is empty if nothing is.
    """

    table: pd.DataFrame
    labels: pd.Series
    positions: Rows
    truth: Probabilities
    broken: str


def make(
    rows: pd.DataFrame,
    features: pd.DataFrame,
    probabilities: Probabilities,
    schema: Schema,
    plan: Plan,
    seed: int,
    size: int,
) -> World:
    """The world of n labelled `rows`; `features` (n) are the same rows as a model sees them.

    `probabilities` (n, k) are those of the k sorted classes. Each week has `size` rows.

    Raises:
        DataError: no feature has to do with the label, so that no shift of it would change anything.
    """
    found = shifts(features, probabilities, probabilities, np.ones(len(rows)), schema)
    gradual = _preferred(found, "number", schema)
    between, weights = probabilities, np.ones(len(rows))
    if plan.gradual:
        between, weights = exchanged(probabilities, gradual), reweighted(weights, gradual)
    found = shifts(features, between, probabilities, weights, schema)
    others = [shift for shift in found if shift.column != gradual.column] or found
    sudden = _preferred(others, "category", schema)
    codes = pd.factorize(rows[schema.target], sort=True)[0]
    examples = np.array([np.flatnonzero(codes == code)[0] for code in range(probabilities.shape[1])])
    after = exchanged(between, sudden)
    return World(rows, schema, probabilities, between, after, gradual, sudden, examples, plan, seed, size)


def _preferred(found: Sequence[Shift], kind: str, schema: Schema) -> Shift:
    """The first shift of a number, or of a category; of anything, if there is none of that kind."""
    return next((shift for shift in found if KIND[schema.columns[shift.column].type] == kind), found[0])


def shifts(
    features: pd.DataFrame, now: Probabilities, original: Probabilities, weights: Weights, schema: Schema
) -> list[Shift]:
    """The shifts that are worth a year, one for each feature that has one, the best first.

    What a shift is worth is the accuracy that the best answers of `now` (n, k) lose by it. What somebody who stays with
    the best answers of `original` (n, k) gains by it is taken off. `weights` (n,) say how often rows come before it.

    Raises:
        DataError: none is worth anything to speak of.
    """
    found = []
    for name in schema.features:
        tried = [
            replace(shift, worth=_worth(shift, now, original, weights))
            for shift in _of_column(features[name], schema.columns[name])
        ]
        if tried:
            found.append(max(tried, key=lambda shift: shift.worth))
    found = sorted((shift for shift in found if shift.worth >= LEAST_WORTH), key=lambda shift: -shift.worth)
    if not found:
        raise DataError(
            f"no feature has so much to do with {schema.target} that a shift of it would cost {LEAST_WORTH:.0%} of "
            "accuracy: there is no year to simulate with this data"
        )
    return found


def _worth(shift: Shift, now: Probabilities, original: Probabilities, weights: Weights) -> float:
    then, after = exchanged(now, shift), reweighted(weights, shift)

    def right(answers: Probabilities, truth: Probabilities, weights: Weights) -> float:
        """The share of right answers if everybody gives the class that is the most probable by `answers`."""
        given = np.take_along_axis(truth, answers.argmax(axis=1)[:, np.newaxis], 1)[:, 0]
        return float(np.average(given, weights=weights))

    lost = right(now, now, weights) - right(now, then, after)
    return lost - max(right(original, then, after) - right(original, now, weights), 0.0)


def reweighted(weights: Weights, shift: Shift, progress: float = 1.0) -> Weights:
    """How often the rows (n,) come after a shift, or in the middle of it."""
    sizes = [weights[part].sum() for part in (shift.first, shift.second)]
    found = weights.copy()
    for part, ratio in ((shift.first, sizes[1] / sizes[0]), (shift.second, sizes[0] / sizes[1])):
        found[part] *= 1 + progress * (ratio - 1)
    return found


def exchanged(probabilities: Probabilities, shift: Shift) -> Probabilities:
    """The probabilities (n, k) after all of a shift."""
    found = probabilities.copy()
    parts = [np.flatnonzero(part) for part in (shift.first, shift.second)]
    one, other = (part[np.argsort(probabilities[part, 0], kind="stable")] for part in parts)
    for rows, source in ((one, other), (other, one)):
        found[rows] = probabilities[source[np.arange(len(rows)) * len(source) // len(rows)]]
    return found


def _of_column(values: pd.Series, column: Column) -> list[Shift]:
    """The shifts of one feature that can be tried: both ends of a number, or two levels of a category."""
    name, rows = str(values.name), len(values)
    if KIND[column.type] == "number":
        rank = values.rank(pct=True).to_numpy(dtype=np.float64, na_value=np.nan)
        high, low = rank > 1 - PART, rank < PART
        if not high.any() or not low.any():
            return []
        place = np.minimum(rank, 1 - rank) / PART
        words = [f"from {_edge(values[high].min(), column)} on", f"up to {_edge(values[low].max(), column)}"]
        parts = {words[0]: high, words[1]: low}
    else:
        text = values.astype("str").where(values.notna())
        counts = text.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        levels = [str(level) for level, count in counts.head(MOST_LEVELS).items() if count >= SMALLEST_LEVEL * rows]
        place, parts = None, {level: (text == level).to_numpy(dtype=bool) for level in levels}
    return [
        Shift(name, f"{name} {one} and {name} {other}", parts[one], parts[other], place)
        for one, other in combinations(parts, 2)
    ]


def _edge(value: Any, column: Column) -> str:
    """An end of a part, in words."""
    if column.type == "datetime":
        return f"{value:%Y-%m-%d}"
    return f"{value:g} {column.unit}" if column.unit else f"{value:g}"


def progress(plan: Plan, week: int) -> float:
    """The share of the gradual shift that has happened in a week, from 0 to 1."""
    if plan.gradual is None:
        return 0.0
    first, last = plan.gradual
    return min(max((week - first + 1) / (last - first + 1), 0.0), 1.0)


def truth(world: World, week: int) -> Probabilities:
    """The probabilities (n, k) of the classes of all rows in a week."""
    if week >= world.plan.sudden:
        # The sudden shift exchanges what the gradual one has made of the rows; it is over by then.
        return world.after
    share = progress(world.plan, week)
    place = world.gradual.place
    turned = world.gradual.first | world.gradual.second
    weight = turned * share if place is None else (turned & (place < share)).astype(np.float64)
    return world.before + weight[:, np.newaxis] * (world.between - world.before)


def delivery(world: World, week: int) -> Delivery:
    """What comes in a week of the year."""
    plan, draw = world.plan, np.random.default_rng([world.seed, week])
    weights = reweighted(np.ones(len(world.rows)), world.gradual, progress(plan, week))
    if week >= plan.sudden:
        weights = reweighted(weights, world.sudden)
    positions = draw.choice(len(world.rows), world.size, p=weights / weights.sum())
    found = labels(world, positions, week)
    table = world.rows.drop(columns=world.schema.target).iloc[positions].reset_index(drop=True)
    table, broken = _stamped(table, world, week), ""
    if week == plan.broken:
        table, broken = _broken(table, world)
    return Delivery(table, found, positions, truth(world, week)[positions], broken)


def labels(world: World, positions: Rows, week: int) -> pd.Series:
    """Labels of the rows at `positions` (m,), drawn by the probabilities of a week."""
    draw = np.random.default_rng([world.seed, week, 1]).random(len(positions))
    probabilities = truth(world, week)[positions]
    codes = (probabilities.cumsum(axis=1) < draw[:, np.newaxis]).sum(axis=1)
    codes = np.minimum(codes, probabilities.shape[1] - 1)  # the sum of a row may be a bit less than 1
    target: pd.Series = world.rows[world.schema.target].iloc[world.examples[codes]]
    return target.reset_index(drop=True)


def mislabelled(delivered: Sequence[Delivery]) -> list[pd.Series]:
    """The labels of deliveries, joined to the wrong rows: each class is as frequent as before, in the reverse order.

    The rows that are the most likely to be of the first class get the labels of those that are the least likely to be.
    """
    right = pd.concat([one.labels for one in delivered], ignore_index=True)
    order = np.argsort(np.concatenate([one.truth[:, 0] for one in delivered]), kind="stable")
    joined = right.copy()
    joined.iloc[order] = right.iloc[order[::-1]].array
    ends = np.cumsum([len(one.labels) for one in delivered])
    return [
        joined.iloc[end - len(one.labels) : end].reset_index(drop=True)
        for one, end in zip(delivered, ends, strict=True)
    ]


def _stamped(table: pd.DataFrame, world: World, week: int) -> pd.DataFrame:
    """The rows (m) with ids that nobody had before, and with times of that week."""
    columns, first = dict(table.items()), week * len(table)
    for name in world.schema.with_role("id"):
        kind, numbers = world.schema.columns[name].type, np.arange(first, first + len(table))
        if kind in ("integer", "number"):
            highest = world.rows[name].max()
            columns[name] = pd.Series(numbers + 1 + (0 if pd.isna(highest) else int(highest))).astype(table[name].dtype)
        elif kind in ("category", "text"):
            columns[name] = pd.Series([f"week-{week}-{number}" for number in range(len(table))], dtype="str")
    for name in world.schema.with_role("time"):
        newest = world.rows[name].max()
        if world.schema.columns[name].type == "datetime" and not pd.isna(newest):
            days = pd.to_timedelta(7 * (week - 1) + np.arange(len(table)) * 7 // len(table) + 1, unit="D")
            columns[name] = pd.Series(newest + days).astype(table[name].dtype)
    return pd.DataFrame(columns)


def _broken(table: pd.DataFrame, world: World) -> tuple[pd.DataFrame, str]:
    """The rows with a mistake that schema.yaml cannot let pass, and the mistake."""
    for name in world.schema.features:
        column = world.schema.columns[name]
        limit = column.max if column.severity == "error" and name in table else None
        if limit is not None and table[name].median() * HUNDREDFOLD > limit:
            columns = {**table, name: (table[name] * HUNDREDFOLD).astype(table[name].dtype)}
            return pd.DataFrame(columns), f"{name} is a hundred times as large, as cents are for dollars"
    name = next(name for name in world.schema.needed if name in table)
    return table.drop(columns=name), f"the column {name} is not there"
