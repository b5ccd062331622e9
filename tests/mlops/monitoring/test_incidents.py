"""Which alert is due: new, worse and ended incidents at once, a lasting one after the cool-down if there is news."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pytest
from mlops.monitoring.checks import Recent
from mlops.monitoring.incidents import Incident, Level, Told, due, of_drift

from tests.mlops.monitoring.reports import report

NOW = datetime(2026, 3, 1, 2, tzinfo=UTC)
DAY = timedelta(hours=24)
OK, WARNING, CRITICAL = Level.ok, Level.warning, Level.critical


@pytest.mark.parametrize(
    ("told", "level", "fact", "step"),
    [
        (None, OK, "a", None),
        (None, WARNING, "a", "opened"),
        ((OK, "a", 1), WARNING, "a", "opened"),
        ((WARNING, "a", 1), CRITICAL, "a", "worse"),
        ((WARNING, "a", 100), WARNING, "a", None),  # the same fact, however long ago
        ((WARNING, "a", 23), WARNING, "b", None),
        ((WARNING, "a", 24), WARNING, "b", "again"),
        ((CRITICAL, "a", 23), WARNING, "b", None),
        ((CRITICAL, "a", 24), WARNING, "b", "again"),
        ((CRITICAL, "a", 1), OK, "b", "resolved"),
        ((OK, "a", 1), OK, "b", None),
        ((WARNING, "a", -5), WARNING, "b", "again"),  # a clock was wrong
    ],
)
def test_what_is_due(told: tuple[Level, str, int] | None, level: Level, fact: str, step: str | None) -> None:
    last = None if told is None else Told(told[0], told[1], NOW - timedelta(hours=told[2]))

    assert due(Incident("drift", level, "Title", fact=fact), last, NOW, DAY) == step


def test_the_incident_of_a_delivery_follows_the_recent_deliveries_and_not_the_report_alone() -> None:
    found = report("a", drifted=["age"], retraining=True)
    calm = Recent(3, 2, 3, 1, 1, alarm=False, retraining=False)
    drift, retrain = (Recent(3, 2, 3, 2, 2, alarm=True, retraining=retraining) for retraining in (False, True))

    levels = [of_drift(found, recent, "sentence").level for recent in (calm, drift, retrain)]

    assert levels == [OK, WARNING, CRITICAL]
    told = of_drift(found, drift, "1 of 3 features drifted")
    assert told.title == "The deliveries drift"
    assert told.details[:2] == ("1 of 3 features drifted.", "The delivery has 100 rows: march.csv.")
    assert told.numbers["drifted_features"] == 1
    assert told.fact == "a"  # the digest of the delivery: the verdict is told once
    assert asdict(told)["level"] == 1
    assert str(asdict(told)).count("1 of 3 features drifted") == 1


def test_without_a_delivery_all_is_well() -> None:
    found = {"delivery": None, "alarm": False, "verdict": "no delivery yet"}

    assert of_drift(found, Recent(1, 1, 0, 0, 0, alarm=False, retraining=False), "no delivery yet").level == OK
