"""The history of checks, from the reports of many deliveries: summary, gaps, unusual sizes, and m of n alarms."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlops.base.errors import DataError
from mlops.data.profile import distribution
from mlops.monitoring import checks
from mlops.monitoring.checks import Check, Origin

from tests.mlops.monitoring.reports import report

START = datetime(2026, 1, 5, 2, tzinfo=UTC)


def on(day: float, content: Any, commit: str = "", model: str | None = "m") -> Check:
    time = (START + timedelta(days=day)).isoformat()
    found = checks.check(Origin(commit or f"c{day}", time, model), content)
    assert found is not None
    return found


def entry(**facts: str) -> dict[str, Any]:
    given = {"when": START.isoformat(), "action": "promote", "who": "Ada", "reason": "better", "to": "4"}
    return given | {"model_digest": "m"} | facts


def test_the_summary_counts_drifts_and_names_the_largest_shifts() -> None:
    found = [
        on(0, report("a")),
        on(7, report("b", drifted=["age"], shifts={"age": 30.0})),
        on(14, report("c", drifted=["age", "level"], shifts={"age": -45.0, "size": 5.0}, answers=["prediction"])),
        on(21, report("d", answers=["prediction"])),
    ]

    told = checks.history(found, [entry()], {})

    summary = told["summary"]
    assert summary["period"] == {"from": "2026-01-05T02:00:00+00:00", "to": "2026-01-26T02:00:00+00:00"}
    assert (summary["total_checks"], summary["total_drifts"]) == (4, 3)
    assert list(summary["drifts_by_column"].items()) == [("age", 2), ("level", 1)]
    assert summary["most_drifted"][0] == {"column": "age", "drifts": 2}
    assert [(each["column"], each["percent"], each["commit"]) for each in summary["largest_mean_shifts"]] == [
        ("age", -45.0, "c14"),
        ("size", 5.0, "c14"),
    ]
    assert [each["version"] for each in told["drift_history"]] == [4] * 4
    assert told["drift_history"][2]["effects"] == {"age": 0.5, "size": 0.01, "level": 0.5}
    assert told["drift_history"][2]["predictions"] == {"drifted": ["prediction"], "effects": {"prediction": 0.5}}
    assert told["events"] == [
        {"time": START.isoformat(), "action": "promote", "version": 4, "who": "Ada", "reason": "better"}
    ]


def test_shifts_of_a_mean_are_ordered_by_standard_deviations_though_a_mean_near_0_moves_by_more_percent() -> None:
    found = [
        on(0, report("a", shifts={"age": 20.0, "size": 90_000.0}, deviations={"age": -1.5, "size": 0.01})),
        on(7, report("b", shifts={"age": 30.0, "size": None}, deviations={"age": 0.5, "size": 0.4})),
        on(14, report("of an older pipeline", shifts={"older": 500.0})),
    ]

    told = checks.history(found, [], {})

    largest = told["summary"]["largest_mean_shifts"]
    assert [(each["column"], each["deviations"], each["percent"], each["commit"]) for each in largest] == [
        ("age", -1.5, 20.0, "c0"),
        ("size", 0.4, None, "c7"),
        ("older", None, 500.0, "c14"),
    ]
    words = [checks.shift_in_words(each) for each in largest]
    assert words == ["-1.5 sd (+20.0 %)", "+0.4 sd", "+500.0 %"]
    assert told["drift_history"][0]["mean_shifts_deviations"] == {"age": -1.5, "size": 0.01}


def test_since_and_most_choose_checks_but_gaps_count_what_was_before() -> None:
    found = [on(7 * week, report(f"{week}")) for week in range(6)]

    told = checks.history(found, [entry()], {}, since=START + timedelta(days=10), most=2)

    assert [(each["commit"], each["gap_days"]) for each in told["drift_history"]] == [("c28", 7.0), ("c35", 7.0)]
    assert told["summary"]["total_checks"] == 2
    assert told["events"] == []


def test_an_empty_history_is_one() -> None:
    told = checks.history([], [entry(when="unreadable")], {})

    assert told["drift_history"] == told["events"] == []
    assert told["summary"]["period"] == {"from": None, "to": None}


def test_a_delivery_that_is_checked_again_keeps_its_gap_and_counts_once_as_a_delivery() -> None:
    found = [on(0, report("a")), on(7, report("b")), on(8, report("b", drifted=["age"])), on(14, report("c"))]

    told = checks.history(found, [], {})["drift_history"]

    assert [each["gap_days"] for each in told] == [None, 7.0, 7.0, 7.0]


def test_the_summary_counts_a_delivery_once_by_its_last_check() -> None:
    found = [
        on(0, report("a", drifted=["age"], shifts={"age": 70.0})),
        on(1, report("b", drifted=["age", "level"], shifts={"age": 20.0})),
        on(2, report("a"), model="newer"),
        on(3, report("b", drifted=["age"], shifts={"age": 30.0}), model="newer"),
    ]

    told = checks.history(found, [], {})

    summary = told["summary"]
    assert [each["commit"] for each in told["drift_history"]] == ["c0", "c1", "c2", "c3"]
    assert [summary[f"total_{what}"] for what in ("checks", "deliveries", "drifts")] == [4, 2, 1]
    assert summary["drifts_by_column"] == {"age": 1}
    assert summary["most_drifted"] == [{"column": "age", "drifts": 1}]
    assert (summary["largest_mean_shifts"][0]["percent"], summary["largest_mean_shifts"][0]["commit"]) == (30.0, "c3")


@pytest.mark.parametrize(
    ("earlier", "now", "unusual"),
    [
        ([100, 101, 99, 100, 102], 40, True),
        ([100, 101, 99, 100, 102], 160, True),
        ([100, 101, 99, 100, 102], 90, False),  # beyond three spreads, but not by half
        ([100, 20, 300, 60, 180], 160, False),  # by half, but such sizes are usual
        ([100, 100, 100, 100], 10, False),  # too few before
        ([5, 5, 5, 5, *[100] * 20], 40, True),  # what counts is the recent past
    ],
)
def test_a_number_of_rows_is_unusual_by_a_robust_rule(earlier: list[float], now: float, unusual: bool) -> None:
    found = [on(day, report(f"{day}", rows=int(rows))) for day, rows in enumerate([*earlier, now])]

    told = checks.history(found, [], {})["drift_history"]

    assert told[-1]["rows_unusual"] is unusual
    assert not any(each["gap_unusual"] for each in told)


def test_a_late_delivery_is_an_unusual_gap() -> None:
    days = [0, 7, 14, 21, 28, 35, 63]

    told = checks.history([on(day, report(f"{day}")) for day in days], [], {})["drift_history"]

    assert [each["gap_unusual"] for each in told] == [False] * 6 + [True]


def test_an_alarm_takes_m_of_the_last_n_deliveries_and_the_latest_one() -> None:
    calm, drift = report, lambda digest: report(digest, drifted=["age"])
    odd = [on(0, calm("a")), on(1, calm("b")), on(2, drift("c"))]
    twice = [*odd, on(3, drift("d"))]
    over = [*twice, on(4, calm("e"))]
    again = [*odd, on(3, drift("c"))]  # the same delivery, checked again

    states = [checks.recent(each, windows=3, needed=2) for each in (odd, twice, over, again)]

    assert [(state.alarms, state.alarm) for state in states] == [(1, False), (2, True), (2, False), (1, False)]
    assert checks.recent([], 3, 2).alarm is False
    assert checks.recent([on(0, drift("a")), on(1, calm("b")), on(2, drift("a"))], 1, 1).alarm is True
    assert checks.recent(odd, 1, 1).alarm is True


def test_retraining_is_counted_on_its_own() -> None:
    found = [on(0, report("a", drifted=["age"])), on(1, report("b", drifted=["age"], retraining=True))]

    one, two = checks.recent(found, 2, 2), checks.recent([*found, on(2, report("c", retraining=True))], 2, 2)

    assert (one.alarm, one.retraining) == (True, False)
    assert (two.alarm, two.retraining) == (True, True)


@pytest.mark.parametrize(
    "broken", [[], None, 3, {"alarm": True}, {**report(), "columns": None}, {**report("a"), "delivery": 1}]
)
def test_what_is_no_report_is_refused(broken: Any) -> None:
    with pytest.raises(DataError, match="no report of the stage `monitor`"):
        checks.check(Origin("c", START.isoformat()), broken)


def test_a_report_without_a_delivery_is_no_check() -> None:
    assert checks.check(Origin("c", START.isoformat()), {"delivery": None, "alarm": False}) is None


def test_the_baseline_agrees_with_pandas() -> None:
    numbers = pd.Series([1.0, 2.0, 2.0, 7.5, None])
    levels = pd.Series(["a", "b", "a", None, None], dtype="str")
    profile = {"n": distribution(numbers, "number"), "l": distribution(levels, "category")}
    profile["none"] = distribution(pd.Series([None, None], dtype="float64"), "number")

    found = checks.baseline_of_profile(profile)

    assert found["n"].pop("std") == pytest.approx(float(np.std(numbers.dropna())))
    assert found["n"] == {"count": 4, "mean": 3.125, "min": 1.0, "max": 7.5, "missing_share": 0.2}
    assert found["l"] == {"count": 3, "levels": 2, "missing_share": 0.4}
    assert found["none"] == {"count": 0, "mean": None, "std": None, "min": None, "max": None, "missing_share": 1.0}


def test_without_a_profile_the_baseline_is_what_the_report_knows() -> None:
    found = checks.baseline_of_report(report())

    unknown = {"std": None, "min": None, "max": None}
    assert found["age"] == {"count": 80, "mean": 10.0, **unknown, "missing_share": 0.2}
    assert found["level"] == {"count": 80, "levels": None, "missing_share": 0.2}
    assert "prediction" not in found
