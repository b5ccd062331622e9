"""Where lines, bands and marks of a simulated year stand."""

from itertools import combinations, pairwise
from typing import Any

from mlops.simulation import chart

WEEK = {"with": 0.8, "without": 0.8, "best": 0.82, "estimated": None}


def report(**changed: Any) -> dict[str, Any]:
    weeks = [
        WEEK | {"week": week, "without": 0.8 - 0.01 * week} | ({"with": None} if week == 5 else {})
        for week in range(1, 9)
    ]
    kinds = ["retrained", "gate refused", "sudden shift", "refused", "promoted", "rolled back"]
    events = [{"week": 5, "kind": kind, "version": None} for kind in kinds]
    accuracy = dict.fromkeys(("with", "without", "best"), 0.8)
    return {"weeks": weeks, "events": events, "accuracy": accuracy, "gradual": None, "sudden": 5} | changed


def test_a_week_without_answers_parts_the_line_and_is_marked() -> None:
    found = chart.of_year(report())

    assert [part.count(",") for part in found["lines"]["with"]] == [4, 3]
    assert len(found["lines"]["without"]) == 1
    assert len(found["gaps"]) == 1
    heights = [float(point.split(",")[1]) for point in found["lines"]["without"][0].split()]
    assert heights == sorted(heights)  # it falls, and y grows downwards


def test_no_letter_covers_another_and_none_is_outside_the_picture() -> None:
    found = chart.of_year(report())

    places = [(mark["x"], mark["y"]) for mark in found["marks"]]
    assert [mark["letter"] for mark in found["marks"]] == ["T", "G", "X", "P", "R"]
    assert all(abs(x - u) >= 18 or abs(y - v) >= 18 for (x, y), (u, v) in combinations(places, 2))
    assert all(9 <= y < found["top"] for _, y in places)
    assert set(found["letters"].values()) == set("TGXPR")


def test_names_stand_apart_and_every_band_has_its_name_inside_the_picture() -> None:
    flat = report(weeks=[WEEK | {"week": week, "best": 0.8} for week in range(1, 53)])

    found = chart.of_year(flat | {"gradual": [6, 18], "sudden": 52})

    assert all(other - one >= 15 for one, other in pairwise(sorted(found["names"].values())))
    gradual, sudden = found["bands"]
    assert gradual["x"] < gradual["label"] < gradual["x"] + gradual["width"]
    assert (sudden["anchor"], sudden["label"] < sudden["x"]) == ("end", True)


def test_an_estimate_that_is_far_too_high_is_inside_the_picture() -> None:
    weeks = [WEEK | {"week": week, "estimated": 0.97 if week > 1 else None} for week in range(1, 9)]

    found = chart.of_year(report(weeks=weeks))

    assert len(found["estimates"]) == 7
    assert all(found["top"] <= one["y"] < found["bottom"] for one in found["estimates"])
