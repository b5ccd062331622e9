"""Checks over time as pictures: where things stand, what is told in words, and histories of every shape."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from mlops.base import pages
from mlops.monitoring import panels, timeline
from mlops.monitoring.timeline import Axis, Mark, Series

from tests import drift_pages

START = datetime(2026, 3, 1, tzinfo=UTC)


def days(*numbers: float) -> list[datetime]:
    return [START + timedelta(days=number) for number in numbers]


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", path)]


@pytest.fixture(scope="module")
def report() -> dict:
    """A report as it is read from `reports/drift.json`."""
    content = drift_pages.shown(4, extended=False)
    columns = [*content["columns"], *content["answers"]]
    kept = {key: value for key, value in content.items() if key not in {"answers", "limits", "performance", "unshown"}}
    bare = [{key: value for key, value in column.items() if key != "sketch"} for column in columns]
    return json.loads(json.dumps({**kept, "columns": bare}, default=float))


# One picture


def test_a_line_is_where_its_times_and_values_are() -> None:
    found = timeline.chart("x", Axis(days(0, 1, 10)), [Series("x", "actual", [0, 5, 10])], ends=(0, 10))

    [series] = found["series"]
    # Three tenths of the width are shared evenly: a day of ten takes 0.15 + 0.07 of it.
    assert points(series["line"]) == [(1, 100), (22.56, 50), (99, 0)]
    assert points(series["full"]) == points(series["line"])
    assert (found["start"], found["end"], found["top"], found["bottom"]) == ("2026-03-01", "2026-03-11", "10", "0")


def test_checks_of_one_moment_stand_apart_and_a_lone_one_stands_in_the_middle() -> None:
    assert Axis(days(0, 0, 0)).places == [1, 50, 99]
    assert Axis(days(0)).places == [50]
    assert Axis(days(0), [Mark(days(0)[0], "v1")]).place(days(0)[0]) == 50


def test_an_event_stands_between_the_checks_around_it_and_after_the_last_one() -> None:
    axis = Axis(days(0, 1, 2), [Mark(days(3)[0], "1", is_event=True)])

    assert axis.places == pytest.approx([1, 1 + 98 / 3, 1 + 98 * 2 / 3, 99])
    assert [axis.place(time) for time in days(0, 0.5, 3)] == pytest.approx([1, 1 + 98 / 6, 99])


def test_a_missing_value_and_another_model_break_the_line_but_not_the_dots() -> None:
    values = [1, 2, None, 3, 4, 5]
    series = Series("x", "actual", values, breaks={4}, low=[0.5] * 6, high=[5.5] * 6)

    [found] = timeline.chart("x", Axis(days(*range(6))), [series])["series"]

    assert [len(points(run)) for run in found["line"].split("M")[1:]] == [2, 2]
    assert found["full"].count("M") == 5
    assert [len(points(run)) for run in found["band"].split("M")[1:]] == [8, 4]


def test_what_is_not_full_is_hollow() -> None:
    series = Series("x", "actual", [1, 2, 3], full=[True, False, True])

    [found] = timeline.chart("x", Axis(days(0, 1, 2)), [series])["series"]

    assert (found["full"].count("M"), found["hollow"].count("M")) == (2, 1)
    assert points(found["hollow"])[0][0] == 50


def test_marks_that_are_close_share_a_label_and_labels_stay_inside() -> None:
    marks = [
        Mark(time, label) for time, label in zip(days(0, 50, 51, 52, 100), ("v1", "v2", "v3", "v4", "v5"), strict=True)
    ]
    marks.append(Mark(days(70)[0], "1", is_event=True))

    found = timeline.chart("x", Axis(days(0, 100), marks), [Series("x", "actual", [1, 2])])

    assert [(mark["label"], mark["side"]) for mark in found["above"]] == [("v1", "first"), ("v2–4", ""), ("v5", "last")]
    assert [mark["label"] for mark in found["below"]] == ["1"]
    assert [look for look, _ in found["lines"]] == ["version"] * 5 + ["event"]


def test_the_picture_in_words_has_the_first_last_least_and_most() -> None:
    series = [Series("measured", "actual", [0.8, 0.61, None, 0.7]), Series("estimated", "estimated", [None] * 4)]

    found = timeline.chart("accuracy", Axis(days(0, 7, 14, 21)), series, {"minimum": 0.65})

    assert found["alt"] == (
        "accuracy from 2026-03-01 to 2026-03-22. measured: 0.8 at first, 0.7 at last, least 0.61 on 2026-03-08, "
        "most 0.8 on 2026-03-01. minimum 0.65."
    )


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([0.71, 0.83], (0.7, 0.84)),
        ([0, 1], (0, 1.1)),
        ([5], (4.5, 5.5)),
        ([0], (0, 1)),
        ([], (0, 1)),
        ([-3, 3], (-3.5, 3.5)),
    ],
)
def test_ends_are_round_numbers_around_all_values(values: list[float], ends: tuple[float, float]) -> None:
    assert timeline.around(values) == pytest.approx(ends)


def test_times_are_in_one_zone_and_within_some_days_of_the_minute() -> None:
    first, second = timeline.moment("2026-03-01T02:30:00+02:00"), timeline.moment("2026-03-01T01:00:00")

    assert [Axis([first, second]).text(time) for time in (first, second)] == ["2026-03-01 00:30", "2026-03-01 01:00"]


# A history


def test_checks_without_a_delivery_are_no_checks_of_one() -> None:
    history = drift_pages.history(3)
    for check in history["drift_history"]:
        check["delivery"] = None

    assert timeline.pictures(history, {}) is None


def test_checks_are_in_the_order_of_their_times_though_a_branch_was_merged_late() -> None:
    history = drift_pages.history(9)
    in_order = timeline.pictures(history, {})
    history["drift_history"].append(history["drift_history"].pop(2))

    assert timeline.pictures(history, {}) == in_order


def test_the_answers_of_the_model_are_among_the_columns() -> None:
    history = drift_pages.history(4)
    for check in history["drift_history"]:
        check["predictions"] = {"drifted": ["probability"], "effects": {"probability": 0.4}}

    found = timeline.pictures(history, {})

    assert found is not None
    assert found["columns"][1]["title"] == "probability"
    assert found["columns"][1]["note"] == "drifted in 4 of 4 deliveries · latest 0.4"


def test_a_new_model_is_marked_and_its_version_is_told_if_it_has_one() -> None:
    history = drift_pages.history(41)
    for check in history["drift_history"][40:]:
        check["version"] = None

    found = timeline.pictures(history, {})

    assert found is not None
    assert [mark["label"] for mark in found["deliveries"]["above"]] == ["v1", "v2", "new"]


def test_long_pauses_and_unusual_deliveries_are_marked_and_told() -> None:
    found = timeline.pictures(drift_pages.history(52), {})

    assert found is not None
    assert len(found["deliveries"]["gaps"]) == 1
    assert found["deliveries"]["series"][0]["hollow"].count("M") == 1
    assert found["unusual"] == ["2026-08-31: 80"]
    assert "longest pause 28 days, usually 7" in found["deliveries"]["note"]


def test_a_delivery_that_was_checked_again_has_a_dot_a_check_and_counts_once() -> None:
    history = drift_pages.history(4, ["a", "b"])
    for check, drifted in zip(history["drift_history"], (["a"], [], ["a"], ["a"]), strict=True):
        check |= {"drifted": drifted, "alarm": bool(drifted), "delivery": {"rows": 100, "digest": "first"}}
    history["drift_history"][0]["delivery"] = {"rows": 70, "digest": "other"}
    latest = {"delivery": {"rows": 100}, "next_steps": [], "columns": [{"column": "a", "drifted": True}]}

    found = timeline.pictures(history, {})
    steps = timeline._steps(history["drift_history"], latest)

    assert found is not None
    assert (found["checks"], found["total_deliveries"], found["drifts"]) == (4, 2, 2)
    assert found["columns"][1]["note"].startswith("drifted in 2 of 2 deliveries")
    assert found["columns"][1]["series"][0]["full"].count("M") == 3
    assert found["deliveries"]["series"][0]["line"].count("M") == 2
    assert steps == []  # two deliveries in a row, not three


def test_columns_come_by_how_often_they_drifted_then_by_effect_times_importance_with_their_floors() -> None:
    history = drift_pages.history(52, ["often", "seldom", "large", "relied"])
    for check in history["drift_history"]:
        check["effects"] |= {"large": 0.09, "relied": 0.04}
        check["drifted"] = [column for column in check["drifted"] if column in {"often", "seldom"}]
    columns = [
        {"column": name, "importance": importance, "tests": [{"floor": 0.1}]}
        for name, importance in (("large", 0.01), ("relied", 0.5))
    ]

    found = timeline.pictures(history, {"columns": columns, "limits": {"domain_auc": 0.55}})

    assert found is not None
    assert [chart["title"] for chart in found["columns"]] == [
        *("All columns at once", "often", "seldom", "relied", "large")
    ]
    looks = [[look for look, _ in chart["lines"]] for chart in found["columns"]]
    assert looks == [["limit"], [], [], ["limit"], ["limit"]]
    assert found["columns"][1]["series"][0]["full"].count("M") == sum(
        "often" in check["drifted"] for check in history["drift_history"]
    )


def test_the_minimum_is_drawn_where_it_is_about_the_metric() -> None:
    limits = {"metric": "accuracy", "minimum": 0.7}

    found = timeline.pictures(drift_pages.history(10), {"limits": limits})

    assert found is not None
    assert [("limit" in dict(chart["lines"])) for chart in found["performance"]] == [True, False]
    assert found["performance"][0]["alt"].endswith("minimum 0.7.")


def test_a_picture_of_a_metric_ends_where_the_metric_does() -> None:
    history = drift_pages.history(3)
    for check in history["drift_history"]:
        check |= {"realised": {"accuracy": 1.0}, "estimated": None}

    found = timeline.pictures(history, {})

    assert found is not None
    assert [(chart["bottom"], chart["top"]) for chart in found["performance"]] == [("0.9", "1")]


def test_a_model_of_a_number_has_its_own_metrics() -> None:
    history = drift_pages.history(4)
    for check in history["drift_history"]:
        check["realised"] = {"r2": 0.5, "mape": 0.1, "cost_per_row": 3.5}
        check["estimated"] = drift_pages.estimated(2.0) | {
            "metrics": {"mae": {"value": 2, "low": 1, "high": 3, "test": 2}}
        }

    found = timeline.pictures(history, {})

    assert found is not None
    assert [chart["title"] for chart in found["performance"]] == ["R²", "MAE", "cost per row"]
    assert found["metric"] == "R²"


def test_an_unusual_delivery_and_a_drift_that_stays_come_first_among_the_next_steps() -> None:
    latest = drift_pages.shown(4)
    first = next(column["column"] for column in latest["columns"] if column["drifted"])
    history = drift_pages.history(6)
    for check in history["drift_history"][2:]:
        check["drifted"] = [first]
    history["drift_history"][-1]["rows_unusual"] = True

    steps = timeline.shown(history, latest)["next_steps"]

    assert len(steps) == panels.MOST_STEPS
    assert steps[0].startswith("Ask whether the delivery is complete: it has 1,185 rows")
    assert steps[1] == f"{first} has drifted in each of the last 4 deliveries: this is no odd delivery."


@pytest.mark.parametrize("weeks", [1, 2, 600])
def test_a_page_from_what_a_clone_has_fits_histories_of_any_length(report: dict, weeks: int) -> None:
    history = drift_pages.history(weeks)
    for check in history["drift_history"]:  # as before the first version, without estimates, labels or the whole
        del check["multivariate"], check["estimated"], check["gap_days"], check["rows_unusual"]
        check |= {"version": None, "realised": {}}
    history["events"] = []

    page = pages.filled("drift.html", **timeline.shown(history, report, {"feature_1_with_a_name": 0.2}))

    assert "Drift over time" in page
    assert "<h2>Distributions</h2>" not in page
    assert page.index('<th scope="row">probability') < page.index('<th scope="row">feature_1_with_a_name')
    assert page.index("feature_1_with_a_name</th>") < page.index("feature_2_with_a_name</th>")
    assert "nan" not in page
    assert page.count('<tr><th scope="row">2026-') + page.count('<tr><th scope="row">203') <= timeline.MOST_LISTED
    assert ("The pictures have the newest 400" in page) == (weeks > timeline.MOST_CHECKS)


def test_a_history_before_the_first_delivery_is_a_page_too() -> None:
    empty = {"delivery": None, "alarm": False, "retraining": {"recommended": False, "reasons": []}}
    history = {"baseline_stats": {}, "drift_history": [], "summary": {}, "events": []}

    page = pages.filled("drift.html", **timeline.shown(history, {**empty, "verdict": "no delivery yet"}))

    assert "No delivery yet." in page
    assert "<h2>Over time</h2>" not in page
    assert timeline.shown(history, None)["verdict"] == "no delivery yet"


def test_a_history_is_shown_though_the_delivery_is_gone() -> None:
    page = pages.filled("drift.html", **timeline.shown(drift_pages.history(5), None))

    assert "<h2>Over time</h2>" in page
    assert "<h2>Checks</h2>" in page
    assert "<h2>Drift per column</h2>" not in page
