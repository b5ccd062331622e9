"""The picture of a simulated year: where lines, bands and marks stand in it. The template draws them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Place = Callable[[float], float]  # of a week, or of a value

WIDTH, PLOT = 900, 300  # of the picture, and the height of the lines, in its own units
LEFT, RIGHT, BOTTOM = 44, 150, 40  # room for the axis, the names of the lines, the weeks
LANE = 20  # height of a lane of marks
LETTERS = {
    "refused": "X",
    "retrained": "T",
    "training failed": "F",
    "gate refused": "G",
    "promoted": "P",
    "rolled back": "R",
    "wrong labels": "L",
}
LETTER = 7  # width of a letter
SMALLEST_GAP = 17  # between two names at the ends of lines
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2)
MOST_TICKS = 7


def of_year(found: Mapping[str, Any]) -> dict[str, Any]:
    """The picture of the report of `year.report`, as plain numbers."""
    weeks: Sequence[Mapping[str, Any]] = found["weeks"]
    values: list[float] = [
        week[side] for week in weeks for side in ("with", "without", "best", "estimated") if week[side] is not None
    ]
    step = next(one for one in TICKS if (max(values) - min(values)) / one <= MOST_TICKS - 1)
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step) * step
    high = max(high, low + step)
    last = len(weeks)
    across = (WIDTH - LEFT - RIGHT) / last

    def x(week: float) -> float:
        return round(LEFT + (week - 0.5) * across, 1)

    marks = _marks(found["events"], x)
    top = LANE * (1 + max((mark["lane"] for mark in marks), default=0)) + LANE // 2
    bottom = top + PLOT

    def y(value: float) -> float:
        return round(bottom - (value - low) / (high - low) * PLOT, 1)

    ends = {side: next(week[side] for week in reversed(weeks) if week[side] is not None) for side in found["accuracy"]}
    every = max(1, round(last / 13))
    return {
        "width": WIDTH,
        "height": bottom + BOTTOM,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "top": top,
        "bottom": bottom,
        "ticks": [
            {"y": y(low + number * step), "value": low + number * step}
            for number in range(round((high - low) / step) + 1)
        ],
        "weeks": [{"x": x(week), "week": week} for week in range(1, last + 1, every)],
        "lines": {side: _line(weeks, side, x, y) for side in found["accuracy"]},
        "estimates": [
            {"x": x(week["week"]), "y": y(week["estimated"])} for week in weeks if week["estimated"] is not None
        ],
        "names": _apart({side: y(value) for side, value in ends.items()}),
        "bands": _bands(found, x, across),
        "marks": [{**mark, "y": top - 14 - LANE * mark["lane"]} for mark in marks],
        "gaps": [round(x(week["week"]) - across / 2, 1) for week in weeks if week["with"] is None],
        "across": round(across, 1),
        "letters": {event["kind"]: LETTERS[event["kind"]] for event in found["events"] if event["kind"] in LETTERS},
    }


def _line(weeks: Sequence[Mapping[str, Any]], side: str, x: Place, y: Place) -> list[str]:
    """The points of a line, as SVG has them; a week without a value parts it."""
    parts: list[list[str]] = [[]]
    for week in weeks:
        if week[side] is None:
            parts.append([])
        else:
            parts[-1].append(f"{x(week['week'])},{y(week[side])}")
    return [" ".join(part if len(part) > 1 else part * 2) for part in parts if part]


def _apart(heights: Mapping[str, float]) -> dict[str, float]:
    """The heights of the names at the ends of the lines, moved so that none covers another."""
    found: dict[str, float] = {}
    for side, height in sorted(heights.items(), key=lambda one: one[1]):
        found[side] = max(height, max(found.values(), default=-math.inf) + SMALLEST_GAP)
    return found


def _bands(found: Mapping[str, Any], x: Place, across: float) -> list[dict[str, Any]]:
    """The weeks of the shifts, and where their names stand."""
    spans = [("sudden shift", found["sudden"], found["sudden"])]
    if found["gradual"]:
        spans.insert(0, ("gradual shift", *found["gradual"]))
    bands = []
    for name, first, last in spans:
        left, width = x(first) - across / 2, (last - first + 1) * across
        fits = width > len(name) * LETTER
        place = {"label": round(left + width / 2, 1), "anchor": "middle"}
        if not fits:  # then it stands beside its band, where there is room
            place = {"label": round(left + width + 4, 1), "anchor": "start"}
            if left + width + len(name) * LETTER > WIDTH - RIGHT:
                place = {"label": round(left - 4, 1), "anchor": "end"}
        bands.append({"name": name, "x": round(left, 1), "width": round(width, 1), **place})
    return bands


def _marks(events: Sequence[Mapping[str, Any]], x: Place) -> list[dict[str, Any]]:
    """A letter per event, in lanes one above the other, so that no letter covers another."""
    found: list[dict[str, Any]] = []
    free: list[float] = []  # where each lane is free again
    for event in events:
        letter = LETTERS.get(event["kind"])
        if letter is None:
            continue
        at = x(event["week"])
        lane = next((number for number, end in enumerate(free) if at >= end), len(free))
        free[lane : lane + 1] = [at + LANE]
        version = f" (version {event['version']})" if event["version"] else ""
        words = f"week {event['week']}: {event['kind']}{version}"
        found.append({"x": at, "lane": lane, "letter": letter, "kind": event["kind"], "words": words})
    return found
