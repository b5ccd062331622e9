"""Incidents: what is the matter, and whether it has to be told now. Two alerts about the same fact help nobody."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, Literal

from mlops.base.errors import counted
from mlops.monitoring.checks import Recent

DRIFT = "drift"
MOST_FILES = 3

Step = Literal["opened", "worse", "again", "resolved"]


class Level(IntEnum):
    """How bad it is; `ok` ends an incident."""

    ok = 0
    warning = 1
    critical = 2


@dataclass(frozen=True)
class Incident:
    """The state of one thing that can go wrong, such as the drift of deliveries; at most one of a `name` is open.

    The `title` depends on the level only, and the `details` are sentences. The `fact` says what the alert is about,
    such as the digest of a delivery: the same fact is told once. `numbers` are for a monitoring system, by metric.
    """

    name: str
    level: Level
    title: str
    details: tuple[str, ...] = ()
    fact: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What a channel was told last of an incident, and when (with a time zone)."""

    level: Level
    fact: str
    at: datetime


def of_drift(report: Mapping[str, Any], recent: Recent, sentence: str) -> Incident:
    """The incident `drift` by a report of `monitor`, the last deliveries, and the sentence about both."""
    level = Level.critical if recent.alarm and recent.retraining else Level.warning if recent.alarm else Level.ok
    titles = ("The deliveries are stable", "The deliveries drift", "Retraining is recommended")
    details, numbers, delivery = [f"{sentence}."], {"recent_alarms": float(recent.alarms)}, report.get("delivery")
    if delivery:
        names = list(delivery["files"])
        named = ", ".join(names[:MOST_FILES]) + (", …" if len(names) > MOST_FILES else "")
        details.append(f"The delivery has {counted(delivery['rows'], 'row')}: {named}.")
        features = report["features"]
        numbers |= {"delivery_rows": delivery["rows"], "drifted_features": len(features["drifted"])}
        numbers |= {"watched_features": features["watched"], "drifted_share": features["share"]}
    if level:
        details.append("Look at reports/drift.html, and at the deliveries before: python -m mlops monitor history")
    fact = str((delivery or {}).get("digest") or "")  # the details have the verdict
    return Incident(DRIFT, level, titles[level], tuple(details), fact, numbers)


def due(incident: Incident, told: Told | None, now: datetime, cooldown: timedelta) -> Step | None:
    """What a channel that was told `told` last has to be told now; None if nothing.

    A new incident, a worse one and its end are told at once. An incident that stands is told again if there is a new
    fact, and the last alert is older than `cooldown`.
    """
    if told is None or told.level == Level.ok:
        return "opened" if incident.level else None
    if incident.level == Level.ok:
        return "resolved"
    if incident.level > told.level:
        return "worse"
    # An alert from the future is one of a clock that was wrong.
    is_fresh = timedelta(0) <= now - told.at < cooldown
    return None if incident.fact == told.fact or is_fresh else "again"
