"""The loop of a simulated year: it watches, refuses, retrains, tries a challenger, and promotes or rolls it back.

Beside it the first version goes on answering the same rows, as it would without retraining. The loop knows the labels
that have come; the year's accuracy is that of all answers.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import DataError
from mlops.base.params import Serving
from mlops.data import checks, parsing, profile
from mlops.data.deriving import Derive, derived
from mlops.data.schema import Schema
from mlops.evaluation import gate
from mlops.monitoring import domain, verdict
from mlops.serving import routing
from mlops.serving.routing import Decision, Route
from mlops.simulation import learning, rules, world
from mlops.simulation.learning import Settings, Version
from mlops.simulation.world import Delivery, World
from mlops.training import task

WEEK = 7 * 24 * 3600.0  # seconds
WINDOW = 2  # deliveries whose labels say how good the champion is
SHARE = 0.4  # of the rows that a challenger answers: some hundred rows a week are few for a test


class Answered(NamedTuple):
    """A delivery that was answered: m typed rows without labels, and who answered what.

    `given` (m,) are the answers that people got, `challenged` (m,) says which of them the challenger gave, and
    `champion` and `challenger` are the numbers of the versions (0: none). `drift` is the report of the monitor, and
    `without` (m,) are the answers of the first version.
    """

    table: pd.DataFrame
    given: NDArray[Any]
    without: NDArray[Any]
    challenged: NDArray[np.bool_]
    champion: int
    challenger: int
    drift: dict[str, Any]


@dataclass
class Canary:
    """A challenger that answers a share of the rows, and the events that were counted since it began."""

    version: Version
    route: Route
    serving: Serving
    first: int  # week
    totals: dict[int, dict[str, int]] = field(default_factory=lambda: {0: {"challenger": 0, "champion": 0}})
    counts: dict[str, dict[float, tuple[int, int]]] = field(default_factory=dict)

    def count(self, metric: str, challenged: NDArray[np.bool_]) -> None:
        """Add events of a metric, one per entry: of the challenger where True, else of the champion."""
        challenger = int(challenged.sum())
        known, share = self.counts.setdefault(metric, {}), routing.share(self.route)
        before = known.get(share, (0, 0))
        known[share] = (before[0] + challenger, before[1] + len(challenged) - challenger)


@dataclass
class Loop:
    """What the loop knows and does; `events` and `weeks` are plain values for the report."""

    world: World
    schema: Schema
    derive: Derive
    settings: Settings
    folder: Path
    history: pd.DataFrame
    memory: int
    first: Version
    champion: Version
    took_over: int = 1
    canary: Canary | None = None
    versions: int = 1
    trained: int = 0  # newest week whose labels a training has seen
    attempt: int = -99  # week of the last training
    delivered: dict[int, Delivery] = field(default_factory=dict)
    answered: dict[int, Answered] = field(default_factory=dict)
    weeks: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, week: int, kind: str, text: str, version: int | None = None) -> None:
        """Add an event."""
        self.events.append({"week": week, "kind": kind, "version": version, "text": text})


def begin(
    made: World,
    history: pd.DataFrame,
    schema: Schema,
    derive: Derive,
    settings: Settings,
    folder: Path,
    memory: int,
) -> Loop:
    """The loop before the first week: version 1 has learnt from `history`, the n prepared rows of the project.

    Their labels are drawn anew, like all others.

    `memory` is how many deliveries a retraining learns from, the newest ones; 0 stands for all of them and the history.

    Raises:
        ProjectError: no model can be trained on the history.
    """
    labels = world.labels(made, np.arange(len(history)), 0)
    history = pd.DataFrame({**history, schema.target: labels})
    first = learning.learn(history, np.zeros(len(history), dtype=np.int64), schema, settings, folder, 1, 0)
    return Loop(made, schema, derive, settings, folder, history, memory, first, first)


def weeks(loop: Loop) -> Iterator[int]:
    """Live the year; each week is yielded when it is over.

    Raises:
        ProjectError: a parameter cannot be used.
    """
    plan = loop.world.plan
    for week in range(1, plan.weeks + 1):
        loop.delivered[week] = world.delivery(loop.world, week)
        _announce(loop, week)
        labels = _labels(loop, week)
        _settle(loop, week, labels)
        answered = _receive(loop, week)
        realised = _realised(loop, labels)
        if loop.canary is None:
            _retrain(loop, week, labels, realised)
        loop.weeks.append(_facts(loop, week, answered, realised))
        yield week


def _announce(loop: Loop, week: int) -> None:
    """Tell what happens in the world; the loop does not know."""
    plan, gradual, sudden = loop.world.plan, loop.world.gradual, loop.world.sudden
    if plan.gradual and week == plan.gradual[0]:
        loop.tell(week, "gradual shift", f"until week {plan.gradual[1]}, more and more {gradual.whole}")
    if week == plan.sudden:
        loop.tell(week, "sudden shift", f"from now on, {sudden.whole}")
    if week == plan.mislabelled:
        loop.tell(week, "wrong labels", "all labels so far are sent once more, joined to the wrong rows, for one week")
    if broken := loop.delivered[week].broken:
        loop.tell(week, "broken delivery", broken)


def _labels(loop: Loop, week: int) -> dict[int, pd.Series]:
    """The labels that have come by a week, by the week of their rows; of a refused delivery there are none."""
    plan = loop.world.plan
    known = [number for number in loop.answered if number <= week - plan.delay]
    if week == plan.mislabelled:
        return dict(zip(known, world.mislabelled([loop.delivered[number] for number in known]), strict=True))
    return {number: loop.delivered[number].labels for number in known}


def _settle(loop: Loop, week: int, labels: dict[int, pd.Series]) -> None:
    """Count the labels that have just come for the canary, and decide on it."""
    canary = loop.canary
    if canary is None:
        return
    newest = week - loop.world.plan.delay
    if newest >= canary.first and newest in labels:
        answered = loop.answered[newest]
        actual = task.labels(labels[newest], "classification")
        pairs = zip(answered.given.tolist(), actual.tolist(), strict=True)
        wrong = np.array([routing.wrong(canary.route, *pair) for pair in pairs])
        canary.count(routing.LABELLED, answered.challenged)
        canary.count(routing.WRONG, answered.challenged[wrong])
    decision = routing.decide(canary.route, canary.totals, canary.counts, canary.serving, (week - canary.first) * WEEK)
    if decision is not None:
        _follow(loop, week, canary, decision)


def _follow(loop: Loop, week: int, canary: Canary, decision: Decision) -> None:
    loop.canary = None
    number = canary.version.number
    if decision.action == "promote":
        loop.champion, loop.took_over = canary.version, week
        loop.tell(week, "promoted", decision.reason, number)
    else:
        loop.tell(week, "rolled back", decision.reason, number)


def _receive(loop: Loop, week: int) -> Answered | None:
    """Read, check and answer the delivery of a week, and compare it; None if it is refused."""
    delivery = loop.delivered[week]
    try:
        table = _read(loop, delivery)
    except DataError as error:
        loop.tell(week, "refused", str(error))
        return None
    found, canary = loop.champion.model.predict(table), loop.canary
    without = loop.first.model.predict(table)
    given, challenged = found.predicted.copy(), np.zeros(len(table), dtype=bool)
    if canary is not None:
        draws = np.random.default_rng([loop.world.seed, week, canary.version.number]).random(len(table))
        challenged = np.array([routing.variant(canary.route, None, draw) == "challenger" for draw in draws.tolist()])
        if challenged.any():
            given[challenged] = canary.version.model.predict(table[challenged].reset_index(drop=True)).predicted
        canary.totals[0]["challenger"] += int(challenged.sum())
        canary.totals[0]["champion"] += int((~challenged).sum())
        metrics = [routing.events(canary.route, label, ms=None) for label in given.tolist()]
        for metric in sorted({name for row in metrics for name in row}):
            canary.count(metric, challenged[[metric in row for row in metrics]])
    drift, _ = verdict.compare(
        loop.champion.reference,
        profile.profile(table, loop.schema),
        loop.champion.answers,
        found,
        None,
        loop.schema,
        "classification",
        loop.settings.monitor,
        pd.Series(dtype=np.float64),
        loop.settings.train.costs,
        [loop.champion.sample, table[domain.needed(loop.schema)]],
    )
    number = canary.version.number if canary else 0
    answered = Answered(table, given, without.predicted, challenged, loop.champion.number, number, drift)
    loop.answered[week] = answered
    return answered


def _read(loop: Loop, delivery: Delivery) -> pd.DataFrame:
    """The typed rows (m) of a delivery, read and checked as `ingest` does.

    Raises:
        DataError: it breaks schema.yaml.
    """
    schema = loop.schema
    parsed = parsing.parse(delivery.table, schema, "the delivery", schema.needed)
    table = derived(parsed.table, schema, loop.derive)
    found = checks.check_columns(table, schema, 1.0)
    found += [checks.check_ids(table[name]) for name in schema.with_role("id") if name in table]
    broken = [result.sentence() for result in found if not result.passed and result.severity == "error"]
    if broken:
        raise DataError("; ".join(broken))
    return table


def _realised(loop: Loop, labels: dict[int, pd.Series]) -> tuple[float, int] | None:
    """The accuracy of the champion's own newest answers that have labels, and the number of these answers.

    It is over two deliveries: one odd week is no reason to do anything.
    """
    known = [number for number in sorted(labels) if number >= loop.took_over][-WINDOW:]
    if not known:
        return None
    right = [
        (answered.given == task.labels(labels[number], "classification"))[~answered.challenged]
        for number, answered in ((number, loop.answered[number]) for number in known)
    ]
    return float(np.concatenate(right).mean()), sum(map(len, right))


def _retrain(loop: Loop, week: int, labels: dict[int, pd.Series], realised: tuple[float, int] | None) -> None:
    """Train a challenger if there is a reason, and let it answer some rows from the next week on if the gate passes."""
    since = [number for number in labels if number > loop.trained]
    own = [number for number in since if number >= loop.took_over]
    rested = week - loop.attempt > loop.world.plan.delay
    alarms = [loop.answered[number].drift for number in own]
    drift = next((report for report in alarms if report["retraining"]["recommended"]), None)
    tested = len(loop.champion.test)
    value, rows = realised or (None, 0)
    new, days = sum(len(labels[number]) for number in since), 7.0 * (week - loop.champion.week)
    watched = rules.Watched(
        drift, value, rows, loop.champion.scores["accuracy"], tested, loop.champion.trained_rows, new, days
    )
    reasons = rules.reasons(watched, loop.settings.monitor, loop.settings.retrain) if since and rested else []
    if not reasons:
        return
    number = loop.versions + 1
    loop.versions, loop.trained, loop.attempt = number, max(labels), week
    try:
        challenger = learning.learn(*_lesson(loop, labels), loop.schema, loop.settings, loop.folder, number, week)
        results = learning.judge(challenger, loop.champion, loop.schema, loop.settings)
    except DataError as error:
        loop.tell(week, "training failed", f"{'; '.join(reasons)}: {error}", number)
        return
    test = f"test accuracy {challenger.scores['accuracy']:.3f} on {len(challenger.test):,} rows"
    loop.tell(week, "retrained", f"{'; '.join(reasons)} ({test})", number)
    if not gate.passed(results):
        failed = "; ".join(result.sentence() for result in results if not result.passed)
        loop.tell(week, "gate refused", failed, number)
        return
    loop.canary = _canary(loop, challenger, week + 1)


def _lesson(loop: Loop, labels: dict[int, pd.Series]) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """The typed, labelled rows that a retraining learns from, and the weeks in which they came.

    They are the newest deliveries, filled up from the history.
    """
    chosen = sorted(labels)[-loop.memory :] if loop.memory else sorted(labels)
    wanted = loop.memory * loop.world.size - sum(len(labels[week]) for week in chosen)
    if not loop.memory:
        wanted = len(loop.history)
    kept = np.sort(np.random.default_rng([loop.world.seed, 0]).permutation(len(loop.history))[: max(wanted, 0)])
    parts = {0: loop.history.iloc[kept]}
    for week in chosen:
        columns = {**loop.answered[week].table, loop.schema.target: labels[week]}
        parts[week] = pd.DataFrame(columns)[loop.schema.kept]
    weeks = np.repeat(np.array(list(parts), dtype=np.int64), [len(part) for part in parts.values()])
    return pd.concat([part for part in parts.values() if len(part)], ignore_index=True), weeks


def _canary(loop: Loop, challenger: Version, first: int) -> Canary:
    """A canary in one step that lasts until labels of its first weeks have come."""
    minutes = (loop.world.plan.delay + loop.world.plan.canary - 1) * WEEK / 60
    changed = {
        "route": "canary",
        "steps": [SHARE],
        "step_requests": loop.world.size,
        "step_minutes": minutes,
        "key": "",
    }
    serving = loop.settings.serving.model_copy(update=changed)
    champion, number = str(loop.champion.number), str(challenger.number)
    route = routing.begin(serving, f"week-{first}", champion, number, loop.champion.predictions)
    return Canary(challenger, route, serving, first)


def _facts(loop: Loop, week: int, answered: Answered | None, realised: tuple[float, int] | None) -> dict[str, Any]:
    """The week as plain values; what only the world knows is `with`, `without` and `best`."""
    delivery = loop.delivered[week]
    facts: dict[str, Any] = {"week": week, "rows": len(delivery.labels), "champion": loop.champion.number}
    values: dict[str, Any] = dict.fromkeys(("challenger", "with", "without", "best", "estimated", "trusted", "verdict"))
    if answered is not None:
        actual = task.labels(delivery.labels, "classification")
        estimate = answered.drift.get("estimated") or {"metrics": {}}
        values = {
            "challenger": answered.challenger or None,
            "with": float((answered.given == actual).mean()),
            "without": float((answered.without == actual).mean()),
            "best": float(delivery.truth.max(axis=1).mean()),
            "estimated": (estimate["metrics"].get("accuracy") or {}).get("value"),
            "trusted": estimate.get("trusted"),
            "verdict": answered.drift["verdict"],
        }
    known = None if realised is None or math.isnan(realised[0]) else realised[0]
    return {**facts, **values, "realised": known}


def report(loop: Loop) -> dict[str, Any]:
    """The year as plain values: the same world, settings and seed give the same ones."""
    plan, told = loop.world.plan, loop.weeks
    answered = [week for week in told if week["with"] is not None]
    means = {side: float(np.mean([week[side] for week in answered])) for side in ("with", "without", "best")}
    counts = {
        kind.replace(" ", "_"): sum(event["kind"] == kind for event in loop.events)
        for kind in ("retrained", "training failed", "gate refused", "promoted", "rolled back", "refused")
    }
    return {
        "seed": loop.world.seed,
        "label_delay": plan.delay,
        "memory": loop.memory,
        "target": loop.schema.target,
        "model": loop.settings.train.model,
        "rows": {"history": len(loop.history), "week": loop.world.size},
        "gradual": plan.gradual and list(plan.gradual),
        "sudden": plan.sudden,
        "accuracy": means,
        "counts": counts,
        "sentence": sentence(means, counts),
        "weeks": told,
        "events": loop.events,
    }


def sentence(means: dict[str, float], counts: dict[str, int]) -> str:
    """What retraining brought, in one sentence."""
    tried = [f"{counts['promoted']} promoted", f"{counts['rolled_back']} rolled back"]
    if counts["gate_refused"]:
        tried.append(f"{counts['gate_refused']} refused by the gate")
    retrained = f"{counts['retrained']} retraining{'s' if counts['retrained'] != 1 else ''} ({', '.join(tried)})"
    refused = f"{counts['refused']} deliver{'ies' if counts['refused'] != 1 else 'y'} refused"
    return (
        f"With retraining {means['with']:.3f} of the answers were right over the year, without {means['without']:.3f}; "
        f"{retrained}, {refused}"
    )
