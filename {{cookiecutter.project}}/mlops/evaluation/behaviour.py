"""Tests of a model's behaviour, as an owner declares them: quality, invariance, direction, odd input, sameness.

The first three are the kinds of Ribeiro et al. (2020, "Beyond Accuracy: Behavioral Testing of NLP Models with
CheckList"): minimum functionality, invariance and directional expectation. Rows are changed as the prepared table has
them: a column that `project/features.py` derives from a changed one stays as it was, unless a test changes it, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import ParameterError, counted, nearest
from mlops.data import parsing
from mlops.data.profile import MICROSECONDS_A_DAY, Profile
from mlops.data.schema import NUMERIC
from mlops.evaluation.declaration import (
    Declaration,
    Determinism,
    Direction,
    Invariance,
    Minimum,
    Robustness,
    Serving,
    worst,
)
from mlops.training.metrics import HIGHER_IS_BETTER, Predictions, score, title
from mlops.training.model import FittedModel

FILE = "behaviour.yaml"
ROWS = 200  # of the test split that a test changes, at most
ALONE = 10  # rows that are asked one by one
CASES = 200  # odd inputs of a test: a column with a kind of odd value; of more, some are drawn
ROWS_OF_CASES = 400  # rows of all of them together
EXAMPLES = 5
UNSEEN = "a level that nobody has seen"
# Among other rows, BLAS may add in another order; and what is compared with a tolerance is free of last bits.
RELATIVE, ABSOLUTE, DIGITS = 1e-9, 1e-12, 9
# Without a tolerance or a bound, as shares of the range of the answers: that of the target, or 1 for probabilities,
# which cannot move further.
TOLERANCE, BOUND = 0.01, 3.0
ABSURD = 100.0  # ranges of a number: a bound that wide bounds nothing
WIDEST = 2**62
DATES = (-719_162.0, 2_932_896.0)  # the days of the years 1 and 9999, relative to 1970

Answers = NDArray[np.float64]


@dataclass(frozen=True)
class Given:
    """What all tests are about: a model, the test split (n rows), and what the training split held.

    `predictions` are the model's answers on the test split, `metrics` the names of all metrics, the headline first,
    `order` (n,) is that in which rows are taken, and `range` that of the answers: 1 for probabilities, else of the
    target in the training split.
    """

    model: FittedModel
    table: pd.DataFrame
    predictions: Predictions
    reference: Profile
    metrics: Sequence[str]
    order: NDArray[np.intp]
    range: float

    def column(self, name: str, where: str, known: Sequence[str], what: str) -> None:
        """Refuse a column that is not among those `known`."""
        if name not in known:
            raise ParameterError(f"{where}.{name} is no {what}: {nearest(name, list(known))}")


@dataclass(frozen=True)
class Trial:
    """Some rows (m,) of the test split with changed columns: m values each, or for all rows one."""

    rows: NDArray[np.intp]
    changes: Mapping[str, pd.Series]
    column: str = ""
    odd: str = ""  # missing, below, above or unseen


@dataclass(frozen=True)
class Outcome:
    """What came of a test: of `rows` that were tried, `failures`; `passed` is None where there was nothing to judge.

    `examples` are the worst rows; `value` is that of the metric of a minimum.
    """

    rows: int
    failures: int | None
    passed: bool | None
    sentence: str
    examples: Sequence[Mapping[str, Any]] = ()
    value: float | None = field(default=None)


def none(why: str) -> dict[str, Any]:
    """The report where there are no tests, and why not."""
    return {"tests": [], "passed": 0, "failed": 0, "not_judged": 0, "note": why}


def run(
    declared: Mapping[str, Declaration],
    model: FittedModel,
    table: pd.DataFrame,
    predictions: Predictions,
    reference: Profile,
    metrics: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Try the `declared` tests on the typed test split (n rows); the report as plain values.

    `predictions` are the model's on `table`, `reference` is the profile of the training split, and `metrics` are the
    names of all metrics, the headline first. Of a test that looks at a sensitive column, no example is given, and no
    sentence has a value of any column.

    Raises:
        ParameterError: a test names a column, a level, a class or a metric that there is not; all tests are named.
    """
    given = Given(
        *(model, table, predictions, reference, metrics),
        np.random.default_rng(seed).permutation(len(table)),
        _range(model, reference),
    )
    trials, mistakes = {}, []
    for name, test in declared.items():
        try:
            trials[name] = list(_trials(test, given, f"{FILE}: tests.{name}"))
        except ParameterError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ParameterError("; ".join(mistakes))
    together = [trial for some in trials.values() for trial in some]
    answered = iter(_asked(model, table[model.schema.inputs], together))
    outcomes = {
        name: _outcome(test, given, trials[name], [next(answered) for _ in trials[name]])
        for name, test in declared.items()
    }
    tests = [_reported(name, test, outcomes[name], given) for name, test in declared.items()]
    verdicts = [test["passed"] for test in tests]
    counts = {"passed": verdicts.count(True), "failed": verdicts.count(False), "not_judged": verdicts.count(None)}
    return {**none(""), **counts, "tests": tests, "note": None if tests else f"{FILE} declares none"}


def sentence(report: Mapping[str, Any]) -> str:
    """The result of all tests, for a person."""
    if report["note"]:
        return f"no behaviour tests: {report['note']}"
    failed = [test["name"] for test in report["tests"] if test["passed"] is False]
    names = f", failed: {', '.join(failed)}" if failed else ""
    unjudged = f", {report['not_judged']} not judged" if report["not_judged"] else ""
    return f"{report['passed']} of {counted(len(report['tests']), 'behaviour test')} passed{unjudged}{names}"


# ---- What is asked


def _trials(test: Declaration, given: Given, where: str) -> Iterator[Trial]:
    """The changed rows that a test needs answers for; first, its names are checked."""
    rows = _rows(test, given, where)
    if isinstance(test, Minimum) and test.metric not in ("auto", *given.metrics):
        raise ParameterError(
            f"{where}.metric is {test.metric}, which is unknown: {nearest(test.metric, given.metrics)}"
        )
    _can_fail(test, given, where)
    if isinstance(test, Direction):
        _class_of(test, given, f"{where}.of")
    if isinstance(test, Invariance | Direction):
        table = given.table.iloc[rows]
        changed, differs = {}, np.zeros(len(rows), dtype=bool)
        for name, change in test.change.items():
            given.column(name, f"{where}.change", given.model.schema.inputs, "input of the model")
            changed[name] = _changed(table[name], change, given, f"{where}.change.{name}")
            differs |= _differs(table[name], changed[name])
        chosen = np.flatnonzero(differs)[:ROWS]
        yield Trial(rows[chosen], {name: values.iloc[chosen] for name, values in changed.items()})
    if isinstance(test, Robustness):
        yield from _odd(test, given, rows, where)


def _can_fail(test: Declaration, given: Given, where: str) -> None:
    """Refuse a test that no model can fail; a direction with any tolerance can, by its mean."""
    if isinstance(test, Minimum) and (why := worst(_metric(test, given), test.limit)):
        raise ParameterError(f"{where}.limit is {test.limit:g}: {why}")
    classes = given.model.classes
    move = "a probability moves by 1 at most" if classes else f"the target's range is {given.range:g}"
    if isinstance(test, Invariance) and test.tolerance is not None and test.tolerance >= given.range:
        name, value = "tolerance", test.tolerance
    elif (
        isinstance(test, Robustness)
        and test.bound is not None
        and test.bound >= given.range * (1 if classes else ABSURD)
    ):
        name, value = "bound", test.bound
        move += ", and without a bound all answers have to be finite"
    else:
        return
    raise ParameterError(f"{where}.{name} is {value:g}, so that the test can never fail: {move}; give a smaller one")


def _metric(test: Minimum, given: Given) -> str:
    return given.metrics[0] if test.metric == "auto" else test.metric


def _rows(test: Declaration, given: Given, where: str) -> NDArray[np.intp]:
    """The positions of the rows that a test is about, in the order in which they are taken."""
    chosen = np.ones(len(given.table), dtype=bool)
    for name, condition in test.where.items():
        given.column(name, f"{where}.where", list(map(str, given.table)), "column of the prepared data")
        chosen &= _holds(given.table[name], condition, given, f"{where}.where.{name}")
    return given.order[chosen[given.order]]


def _holds(values: pd.Series, condition: Any, given: Given, where: str) -> NDArray[np.bool_]:
    """Where (n,) the condition holds."""
    if isinstance(condition, Mapping):
        if given.model.schema.columns[str(values.name)].type not in (*NUMERIC, "datetime"):
            raise ParameterError(f"{where} is {condition}, but a range is for numbers and dates: list values instead")
        ends = {
            name: _value(end, str(values.name), given, f"{where}.{name}").iloc[0] for name, end in condition.items()
        }
        holds = np.ones(len(values), dtype=bool)
        holds &= _true(values >= ends["min"]) if "min" in ends else True
        return holds & (_true(values <= ends["max"]) if "max" in ends else True)
    holds = np.zeros(len(values), dtype=bool)
    for wanted in condition if isinstance(condition, list) else [condition]:
        holds |= values.isna().to_numpy() if wanted is None else _equals(values, wanted, given, where)
    return holds


def _changed(values: pd.Series, change: Mapping[str, Any], given: Given, where: str) -> pd.Series:
    """The values (n,) after a change, of the same dtype; a missing value is added to and scaled in vain."""
    [(kind, by)] = change.items()
    name, how = str(values.name), given.model.schema.columns[str(values.name)].type
    if kind == "set":
        one = _value(by, name, given, where)
        return one.repeat(len(values)).set_axis(values.index)
    if kind == "swap" and by is True:
        return _next_level(values, given, where)
    if kind == "swap":
        one, other = (_value(each, name, given, where) for each in by)
        first, second = (_equals(values, each, given, where) for each in by)
        return values.mask(first, other.iloc[0]).mask(second, one.iloc[0])
    if how == "datetime" and kind == "add":
        days = pd.Series(_days(values) + by, values.index).clip(*DATES)
        return _dates(days).astype(values.dtype)
    if how not in NUMERIC:
        raise ParameterError(f"{where} is {dict(change)}, but {name} is of type {how}: {kind} is for numbers")
    floats = values.astype("float64")
    floats = floats + by if kind == "add" else floats * by
    return _of_numbers(floats, how)


def _next_level(values: pd.Series, given: Given, where: str) -> pd.Series:
    """Each value becomes the next one of those that the training rows had, and the last one the first."""
    how = given.model.schema.columns[str(values.name)].type
    if how == "boolean":
        return ~values
    if how != "category":
        raise ParameterError(f"{where} asks for swap: true, but {values.name} is of type {how}: give both values")
    levels = given.reference[str(values.name)].values.tolist()
    following = dict(zip(levels, [*levels[1:], *levels[:1]], strict=True))
    return values.map(following).astype(values.dtype).fillna(values)


def _odd(test: Robustness, given: Given, rows: NDArray[np.intp], where: str) -> Iterator[Trial]:
    """Trials with one odd value each: missing, outside the training range by its width, or of an unseen level."""
    schema = given.model.schema
    names = test.columns or schema.inputs
    for name in names:
        given.column(name, f"{where}.columns", schema.inputs, "input of the model")
    cases = [(name, odd, value) for name in dict.fromkeys(names) for odd, value in _odd_values(name, given)]
    if len(cases) > CASES:
        drawn = np.random.default_rng(len(cases)).permutation(len(cases))[:CASES]
        cases = [cases[k] for k in np.sort(drawn)]
    each = max(ROWS_OF_CASES // len(cases), 1)
    for number, (name, odd, value) in enumerate(cases):
        # Other rows for each case, so that all of them see more of the table.
        chosen = np.roll(rows, -number * each)[: min(each, len(rows))]
        yield Trial(chosen, {name: value.repeat(len(chosen))}, name, odd)


def _odd_values(name: str, given: Given) -> Iterator[tuple[str, pd.Series]]:
    """Each kind of odd value of a column, as one value of its dtype."""
    how = given.model.schema.columns[name].type
    yield "missing", _missing(name, given)
    if how == "category":
        yield "unseen", pd.Series([UNSEEN], dtype=given.table[name].dtype)
    elif how != "boolean":
        known = given.reference.get(name)
        seen = known.values if known is not None else _days(given.table[name].dropna()).to_numpy()
        if len(seen):
            low, high = float(seen.min()), float(seen.max())
            width = high - low or max(abs(high), 1.0)
            for odd, end in (("below", low - width), ("above", high + width)):
                value = pd.Series([end])
                yield odd, _dates(value.clip(*DATES)) if how == "datetime" else _of_numbers(value, how)


def _asked(model: FittedModel, inputs: pd.DataFrame, trials: Sequence[Trial]) -> list[Answers | None]:
    """The answers to each trial; None where the model fails, whatever the error. All are asked at once, if they can."""
    if not sum(len(trial.rows) for trial in trials):
        return [np.empty((0, 1)) for _ in trials]
    ends = np.cumsum([len(trial.rows) for trial in trials])
    stacked = inputs.take(np.concatenate([trial.rows for trial in trials])).reset_index(drop=True)
    columns = {name: stacked[name].array.copy() for name in stacked}
    for trial, end in zip(trials, ends, strict=True):
        for name, values in trial.changes.items():
            columns[name][end - len(trial.rows) : end] = values.array
    try:
        with np.errstate(all="ignore"):
            found = as_numbers(model.predict(pd.DataFrame(columns)))
    except Exception:  # what is asked is just whether there is one
        if len(trials) == 1:
            return [None]
        half = len(trials) // 2
        return _asked(model, inputs, trials[:half]) + _asked(model, inputs, trials[half:])
    return list(np.split(found, ends[:-1]))


# ---- What is judged


def _outcome(test: Declaration, given: Given, trials: Sequence[Trial], answers: Sequence[Answers | None]) -> Outcome:
    rows = _rows(test, given, "")
    if not (sum(len(trial.rows) for trial in trials) if trials else len(rows)):
        return Outcome(0, None, None, "no test row to judge: change the test, or remove it")
    if isinstance(test, Minimum):
        return _of_minimum(test, given, rows)
    if isinstance(test, Robustness):
        return _of_robustness(test, given, trials, answers)
    if isinstance(test, Serving):
        return _of_serving(given, rows[:ALONE])
    if isinstance(test, Determinism):
        return _of_determinism(given, rows[:ROWS])
    return _of_change(test, given, trials[0], answers[0])


def _of_minimum(test: Minimum, given: Given, rows: NDArray[np.intp]) -> Outcome:
    metric, subset = _metric(test, given), given.predictions.subset(np.sort(rows))
    value = score(subset)[metric]
    if _says_nothing(metric, value, subset):
        here = "of one class" if subset.classes and len(set(subset.actual.tolist())) == 1 else "as these"
        told = f"{title(metric)} says nothing on {counted(len(rows), 'row')} {here}"
        return Outcome(len(rows), None, None, f"{told}: choose another metric or other rows")
    more = HIGHER_IS_BETTER[metric]
    passed = bool(value >= test.limit if more else value <= test.limit)
    told = f"{value:.4f}" if np.isfinite(value) else "undefined"
    said = f"{title(metric)} is {told} on {counted(len(rows), 'row')}, expected {'≥' if more else '≤'} {test.limit:g}"
    return Outcome(len(rows), None, passed, said, value=float(value) if np.isfinite(value) else None)


def _says_nothing(metric: str, value: float, found: Predictions) -> bool:
    """Whether a metric is undefined on some rows, or the same for every model, because of what these rows are."""
    if np.isnan(value):
        return bool(np.isfinite(as_numbers(found)).all())  # else the answers are to blame
    if found.positive is None:
        return False
    positive = found.actual == found.positive
    if metric.endswith("_positive") and not positive.any():
        return True
    one_class = bool(positive.all() or not positive.any())
    return one_class and metric in ("roc_auc", "average_precision", "precision_positive")


def _of_change(test: Invariance | Direction, given: Given, trial: Trial, answers: Answers | None) -> Outcome:
    if answers is None:
        return Outcome(len(trial.rows), len(trial.rows), False, "the model failed to answer the changed rows")
    before = as_numbers(given.predictions.subset(trial.rows))
    tolerance = TOLERANCE * given.range if test.tolerance is None else test.tolerance
    if isinstance(test, Direction):
        column = _class_of(test, given, "")
        before, answers = before[:, [column]], answers[:, [column]]
        sign = 1 if test.expect == "increase" else -1
        moves = _rounded(sign * (answers - before))
        wrong = -moves
        what = f"moved the wrong way by more than {tolerance:g}"
    else:
        wrong = _rounded(np.abs(answers - before))
        moves, what = wrong, f"moved by more than {tolerance:g}"
    failed = _any(~(wrong <= tolerance))  # what is not finite fails
    passed = bool(failed.mean() <= test.allowed)
    told = f"{_of_rows(failed)} {what}, {_most(test.allowed)} may"
    if isinstance(test, Direction):
        mean = float(moves.mean()) or 0.0  # not -0.0
        passed &= mean > 0
        told += f"; on average they moved by {sign * mean or 0.0:+.4g}, expected is: {test.expect}"
    else:
        told += f"; the largest move is {wrong.max():.4g}"
    return Outcome(
        len(failed), int(failed.sum()), passed, told, _examples(trial, before, answers, wrong, failed, given)
    )


def _of_robustness(
    test: Robustness, given: Given, trials: Sequence[Trial], answers: Sequence[Answers | None]
) -> Outcome:
    widest = given.range * (1 if given.model.classes else BOUND)
    bound = widest if test.bound is None else test.bound
    failures, rows, largest, examples = 0, 0, 0.0, []
    worst: dict[str, None] = {}
    for trial, found in zip(trials, answers, strict=True):
        before = as_numbers(given.predictions.subset(trial.rows))
        after = np.full_like(before, np.nan) if found is None else found
        moves = _rounded(np.abs(after - before))
        failed = _any(~(moves <= bound))
        rows, failures = rows + len(failed), failures + int(failed.sum())
        largest = max(largest, float(moves.max(initial=0)))  # of what is no number, none is larger
        if failed.any():
            why = "an error" if found is None else "not finite" if not np.isfinite(after).all() else "too far"
            worst[f"{trial.column} {trial.odd}: {why}"] = None
            examples += _examples(trial, before, after, moves, failed, given)
    passed = failures <= test.allowed * rows
    told = f"{failures} of {counted(rows, 'answer')} to odd input failed or moved by more than {bound:g}"
    told += f", {_most(test.allowed)} may; the largest move is {largest:.4g}"
    named = f" ({', '.join(list(worst)[:3])}{' …' if len(worst) > 3 else ''})" if worst else ""
    return Outcome(rows, failures, passed, told + named, examples[:EXAMPLES])


def _of_serving(given: Given, rows: NDArray[np.intp]) -> Outcome:
    inputs = given.table[given.model.schema.inputs]
    alone = np.concatenate([as_numbers(given.model.predict(inputs.iloc[[row]])) for row in rows])
    return _of_sameness(given, rows, alone, "had another answer alone than among all test rows")


def _of_determinism(given: Given, rows: NDArray[np.intp]) -> Outcome:
    table = given.table[given.model.schema.inputs].iloc[rows]
    once, again = (as_numbers(given.model.predict(table)) for _ in range(2))
    if (differing := _any(once != again)).any():
        trial = Trial(rows, {})
        examples = _examples(trial, once, again, np.abs(again - once), differing, given)
        told = f"{_of_rows(differing)} had another answer when asked again, none may"
        return Outcome(len(rows), int(differing.sum()), False, told, examples)
    turned = as_numbers(given.model.predict(table[::-1]))[::-1]
    return _of_sameness(given, rows, turned, "had another answer in another order of the rows")


def _of_sameness(given: Given, rows: NDArray[np.intp], found: Answers, what: str) -> Outcome:
    before = as_numbers(given.predictions.subset(rows))
    failed = _any(~np.isclose(found, before, rtol=RELATIVE, atol=ABSOLUTE * given.range))
    examples = _examples(Trial(rows, {}), before, found, np.abs(found - before), failed, given)
    return Outcome(len(rows), int(failed.sum()), not failed.any(), f"{_of_rows(failed)} {what}, none may", examples)


def _reported(name: str, test: Declaration, outcome: Outcome, given: Given) -> dict[str, Any]:
    """One test in the report. Where it looks at a sensitive column, a row's position would tell its value."""
    sensitive = set(given.model.schema.sensitive)
    columns = {*test.where, *(test.change if isinstance(test, Invariance | Direction) else ())}
    hidden = bool(sensitive & {*columns, given.model.schema.target})
    examples = [each for each in outcome.examples if not hidden and each.get("column") not in sensitive]
    failures = outcome.failures
    return {
        "name": name,
        "kind": test.kind,
        "rows": outcome.rows,
        "failures": failures,
        "share": None if failures is None or not outcome.rows else failures / outcome.rows,
        "allowed": None if isinstance(test, Minimum) else test.allowed,
        "value": outcome.value,
        "limit": test.limit if isinstance(test, Minimum) else None,
        "passed": outcome.passed,
        "sentence": outcome.sentence,
        "examples": examples,
    }


def _examples(
    trial: Trial, before: Answers, after: Answers, amounts: Answers, failed: NDArray[np.bool_], given: Given
) -> list[dict[str, Any]]:
    """The failed rows that moved most: their positions in the test split, and the answer before and after."""
    size = np.where(np.isfinite(amounts), amounts, np.inf)
    largest = size.argmax(axis=1)
    worst = np.argsort(-size.max(axis=1, initial=0), kind="stable")
    classes = given.model.classes if before.shape[1] > 1 else ()
    return [
        {"row": int(trial.rows[k])}
        | ({"column": trial.column, "input": trial.odd} if trial.column else {})
        | ({"of": classes[largest[k]]} if classes else {})
        | {"before": float(before[k, largest[k]]), "after": float(after[k, largest[k]])}
        for k in worst[failed[worst]][:EXAMPLES]
    ]


def _most(allowed: float) -> str:
    return f"{allowed:.1%}" if allowed else "none"


def _any(failed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The rows (n,) of which an answer fails."""
    return np.asarray(failed.any(axis=1), dtype=np.bool_)


def _rounded(moves: Answers) -> Answers:
    return np.asarray(np.round(moves, DIGITS), dtype=np.float64)


def _of_rows(failed: NDArray[np.bool_]) -> str:
    return f"{int(failed.sum())} of {counted(len(failed), 'row')} ({failed.mean():.1%})"


# ---- Values and answers


def as_numbers(found: Predictions) -> Answers:
    """The answers on n rows as numbers: probabilities (n, k), else 1 for the label that is named, or numbers (n, 1)."""
    if found.probabilities is not None:
        return found.probabilities
    if not found.classes:
        return np.asarray(found.predicted, dtype=np.float64)[:, None]
    return np.column_stack([found.predicted == label for label in found.classes]).astype(np.float64)


def _range(model: FittedModel, reference: Profile) -> float:
    if model.task == "classification":
        return 1.0
    values = reference[model.schema.target].values
    return float(values.max() - values.min()) or 1.0


def _class_of(test: Direction, given: Given, where: str) -> int:
    """The column of `as_numbers` that a direction is about."""
    classes, positive = given.model.classes, given.model.positive
    if not classes:
        if test.of is not None:
            raise ParameterError(f"{where} is {test.of!r}, but the model predicts a number: remove it")
        return 0
    wanted = positive if test.of is None else test.of
    known = [str(label) for label in classes]
    if wanted is None:
        raise ParameterError(f"{where} is missing: name one of the classes {', '.join(known[:EXAMPLES])} …")
    if str(wanted) not in known:
        raise ParameterError(f"{where} is {wanted!r}, which is no class: {nearest(str(wanted), known)}")
    return known.index(str(wanted))


def _value(written: Any, name: str, given: Given, where: str) -> pd.Series:
    """One value of a column from YAML, in its dtype; text may be spelt as the data or as ISO 8601 does."""
    if written is None:
        return _missing(name, given)
    column = given.model.schema.columns[name]
    text = pd.Series([str(written)], dtype="str")
    found = parsing.typed(text, column) if isinstance(written, str) else None
    if found is None or found.isna().any():
        found = parsing.typed(text, parsing.Spelling(column.type))
    if found.isna().any():
        kind = {"datetime": "date", "integer": "whole number"}.get(column.type, column.type)
        raise ParameterError(f"{where} is {str(written)!r}, but {name} holds a {kind}: correct it")
    if column.type == "category":
        _known_level(str(found.iloc[0]), name, given, where)
    return found.astype(given.table[name].dtype)


def _known_level(level: str, name: str, given: Given, where: str) -> None:
    """Refuse a level that neither the schema nor the data has; those of a sensitive column are not listed."""
    column, seen = given.model.schema.columns[name], given.reference.get(name)
    levels = dict.fromkeys(column.allowed or ())
    levels |= dict.fromkeys(seen.values.tolist() if seen is not None else ())
    if level in levels or (given.table[name] == level).any():
        return
    similar = [] if column.sensitive else list(levels)[:1000]
    hint = nearest(level, similar) if len(similar) > 0 else "see its levels in the data"
    raise ParameterError(f"{where} is {level!r}, which is no level of {name}: {hint[:200]}")


def _missing(name: str, given: Given) -> pd.Series:
    return pd.Series([None], dtype=given.table[name].dtype)


def _equals(values: pd.Series, written: Any, given: Given, where: str) -> NDArray[np.bool_]:
    return _true(values == _value(written, str(values.name), given, where).iloc[0])


def _true(found: pd.Series) -> NDArray[np.bool_]:
    """Where a comparison holds; with a missing value, none does."""
    return found.fillna(False).to_numpy(dtype=bool)


def _differs(one: pd.Series, other: pd.Series) -> NDArray[np.bool_]:
    both_missing = (one.isna() & other.isna()).to_numpy()
    return ~(_true(one == other) | both_missing)


def _of_numbers(floats: pd.Series, how: str) -> pd.Series:
    """Floats (n,) as a column of numbers or integers, the latter rounded."""
    return floats.round().clip(-WIDEST, WIDEST).astype("Int64") if how == "integer" else floats


def _days(times: pd.Series) -> pd.Series:
    """Dates (n,) as days since 1970."""
    return times.astype("datetime64[us]").astype("int64").where(times.notna()) / MICROSECONDS_A_DAY


def _dates(days: pd.Series) -> pd.Series:
    """Days since 1970 (n,) as dates. Not by way of nanoseconds: "for ever" is often written as the year 9999."""
    micro = (days * MICROSECONDS_A_DAY).round()
    dates = micro.fillna(0).astype("int64").astype("datetime64[us]")
    return dates.where(micro.notna())
