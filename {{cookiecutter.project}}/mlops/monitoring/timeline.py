"""The history of checks as pictures over time, prepared for a template that only draws (`timeline.html`).

A drawing is 100 wide and 100 high, with y downwards, and is stretched to its place on the page. What it is about stands
beside it in words, for people who do not see it.
"""

import bisect
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from mlops.base.errors import counted
from mlops.monitoring import panels, verdict
from mlops.monitoring.checks import delivery_of, last_of_each, shift_in_words
from mlops.training import metrics
from mlops.training.metrics import title

MOST_CHECKS = 400  # of the newest checks in a picture, where a check still has a pixel
MOST_LISTED = 100  # of the newest checks and events, as rows of a table
MOST_COLUMNS = 11  # columns with a picture of their own
MOST_METRICS = 4
CLOSEST_LABELS = 7  # of the width: closer labels become one
AT_END = 6  # of the width: labels nearer to an end are written inwards
EVENLY = 0.3  # of the width is shared by all checks, the rest by time
INSET = 1  # of the width on both sides, so that the first and the last dot are whole
ROOM = 0.08  # of the range of values, above and below
LASTING = 3  # deliveries in a row, after which a drift is no accident
LONG_GAP = 2  # in median gaps: a pause that is shown
A_DAY = 86_400  # seconds


@dataclass(frozen=True)
class Series:
    """One line of a picture: a value per time (None breaks the line), full or hollow dots, and a band around it.

    `look` is the name of its style in `timeline.html`. A new line begins at each of `breaks`, positions in `values`.
    """

    name: str
    look: str
    values: Sequence[float | None]
    full: Sequence[bool] | None = None
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    square: bool = False
    dots: bool = True
    breaks: Collection[int] = ()


@dataclass(frozen=True)
class Mark:
    """A vertical line at a time, with a label above the picture (a version) or below it (an event)."""

    time: datetime
    label: str
    is_event: bool = False


@dataclass(frozen=True)
class Axis:
    """The times that all pictures of a page share: their places, those of the marks, and the texts at both ends."""

    times: Sequence[datetime]
    marks: Sequence[Mark] = field(default=())

    @property
    def ends(self) -> tuple[datetime, datetime]:
        """The first and the last time of a check, or of an event after all checks."""
        return self.times[0], max([self.times[-1], *(mark.time for mark in self.marks)])

    @cached_property
    def places(self) -> list[float]:
        """Where the checks stand in a drawing: by time, and a part of the width evenly; a lone one in the middle.

        So checks within one hour, and then a year, are not one dot at the edge.
        """
        times = [*self.times, *({self.ends[1]} - {self.times[-1]})]
        steps = [(later - earlier).total_seconds() for earlier, later in itertools.pairwise(times)]
        if not steps:
            return [50.0]
        whole = sum(steps)
        even = EVENLY if whole else 1.0
        shares = [even / len(steps) + (1 - even) * step / (whole or 1.0) for step in steps]
        return [INSET + (100 - 2 * INSET) * share for share in itertools.accumulate(shares, initial=0.0)]

    def place(self, time: datetime) -> float:
        """Where a time from the first check on stands in a drawing."""
        times = [*self.times, self.ends[1]]
        after = bisect.bisect_left(times, time)
        if times[after] == time:
            return self.places[min(after, len(self.places) - 1)]
        share = (time - times[after - 1]) / (times[after] - times[after - 1])
        return self.places[after - 1] + share * (self.places[after] - self.places[after - 1])

    def text(self, time: datetime) -> str:
        """A time as a date, or with the time of day where all lie within some days."""
        start, end = self.ends
        days = (end - start).total_seconds() / A_DAY
        return time.strftime("%Y-%m-%d" if days >= panels.SHORTEST_IN_DAYS else "%Y-%m-%d %H:%M")


def shown(
    history: Mapping[str, Any], latest: Mapping[str, Any] | None, importances: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """What `drift.html` shows of the latest delivery, and of the checks before it.

    `history` has `drift_history`, `summary` and `events`, as `python -m mlops monitor history` makes them, the oldest
    first. `latest` is the report in `reports/drift.json`, or what `verdict.compare` returns for the page (then the
    distributions are shown, too); None if there is none. `importances` are by feature, if they are known.
    """
    latest = latest or verdict.no_delivery()
    content = dict(latest) if "answers" in latest else panels.of_report(latest, importances)
    found = pictures(history, content)
    if found and content["delivery"] is not None:
        steps = [*_steps(_checks(history), content), *content["next_steps"]]
        content["next_steps"] = steps[: panels.MOST_STEPS]
    return {**content, "history": found}


def pictures(history: Mapping[str, Any], latest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The pictures and tables of a history; None if no delivery was ever checked.

    `latest` is what the page shows of the latest delivery: from there come the floors, the importances and the limits.
    """
    checks = _checks(history)
    if not checks:
        return None
    newest, deliveries = checks[-MOST_CHECKS:], last_of_each(checks)
    events = [
        {**event, "number": number, "at": moment(event["time"])}
        for number, event in enumerate(history.get("events") or [], 1)
    ]
    times = [moment(check["time"]) for check in newest]
    marks = [Mark(event["at"], str(event["number"]), is_event=True) for event in events if event["at"] >= times[0]]
    axis = Axis(times, [*_versions(newest), *marks])
    occurring = {name for check in newest for side in (_estimates(check), check.get("realised") or {}) for name in side}
    metric = next((name for name in panels.METRICS if name in occurring), None)
    return {
        **{"checks": len(checks), "left_out": len(checks) - len(newest), "start": axis.text(times[0])},
        **{"end": axis.text(times[-1]), "total_deliveries": len(deliveries)},
        "drifts": sum(bool(check["alarm"]) for check in deliveries),
        "performance": _performance(newest, axis, latest),
        "deliveries": _deliveries(newest, axis),
        "columns": _columns(newest, Axis(times), latest),
        "unusual": [
            f"{moment(check['time']):%Y-%m-%d}: {check['delivery']['rows']:,}"
            for check in last_of_each(newest)
            if check.get("rows_unusual")
        ][-panels.SKETCH_LEVELS :],
        "metric": metric and title(metric),
        "shifts": [
            f"{shift['column']} {shift_in_words(shift)} on {shift['time'][:10]}"
            for shift in (history.get("summary") or {}).get("largest_mean_shifts", [])
        ],
        "rows": [_row(check, metric) for check in reversed(newest[-MOST_LISTED:])],
        "events": [{**event, "time": f"{event['at']:%Y-%m-%d %H:%M}"} for event in reversed(events[-MOST_LISTED:])],
    }


def _checks(history: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The checks of deliveries by time: a branch that is merged late brings older ones."""
    return sorted((check for check in history["drift_history"] if check["delivery"]), key=lambda c: moment(c["time"]))


def _steps(checks: Sequence[Mapping[str, Any]], latest: Mapping[str, Any]) -> list[str]:
    """What to look at first because of the checks before: an unusual delivery, or a drift that stays."""
    steps = []
    if checks[-1].get("rows_unusual"):
        rows = checks[-1]["delivery"]["rows"]
        steps.append(f"Ask whether the delivery is complete: it has {rows:,} rows, which is unusual.")
    first = next((column["column"] for column in latest["columns"] if column["drifted"]), None)
    deliveries = reversed(last_of_each(checks))
    lasting = len(list(itertools.takewhile(lambda check: first in check["drifted"], deliveries)))
    if lasting >= LASTING:
        steps.append(f"{first} has drifted in each of the last {lasting} deliveries: this is no odd delivery.")
    return steps


def moment(text: str) -> datetime:
    """A time in ISO 8601 as UTC; one without a zone is UTC."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def chart(
    name: str,
    axis: Axis,
    series: Sequence[Series],
    limits: Mapping[str, float] | None = None,
    ends: tuple[float, float] | None = None,
    possible: tuple[float, float] = (-math.inf, math.inf),
    gaps: Sequence[int] = (),
    note: str = "",
) -> dict[str, Any]:
    """A picture for the macro `drawn` of `timeline.html`: paths, labels with their places, and the picture in words.

    `limits` are horizontal lines by their names. `ends` are the least and the largest value of the picture; without
    them, they are round numbers around all values, within the `possible` ones. `gaps` are the positions of checks
    before which there was a pause.
    """
    levels = dict(limits or {})
    values = [value for part in series for side in (part.values, part.low, part.high) for value in side or ()]
    low, high = ends or around([value for value in [*values, *levels.values()] if value is not None])
    low, high = max(low, possible[0]), min(high, possible[1])

    def height(value: float) -> float:
        return 100 * (high - min(max(value, low), high)) / (high - low)

    lines = [("event" if mark.is_event else "version", f"M{_n(axis.place(mark.time))} 0V100") for mark in axis.marks]
    lines += [("limit", f"M0 {_n(height(value))}H100") for value in levels.values()]
    sides = [[mark for mark in axis.marks if mark.is_event is is_event] for is_event in (False, True)]
    return {
        **{"title": name, "note": note, "alt": _in_words(name, axis, series, levels)},
        **{"top": _short(high), "bottom": _short(low)},
        **{"start": axis.text(axis.ends[0]), "end": axis.text(axis.ends[1])},
        "above": _labels(axis, sides[0]) if axis.marks else None,
        "below": _labels(axis, sides[1]) if sides[1] else None,
        "gaps": [f"M{_n(axis.places[at - 1])} 0V100H{_n(axis.places[at])}V0Z" for at in gaps],
        "lines": lines,
        "series": [_drawn(part, axis.places[: len(axis.times)], height) for part in series],
    }


def around(values: Sequence[float]) -> tuple[float, float]:
    """Round numbers around some values, which are not at the edges."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    room = ROOM * (high - low) or 0.1 * abs(low) or 1.0
    step = 10.0 ** math.floor(math.log10(high - low + 2 * room)) / 10
    below = math.floor((low - room) / step) * step
    return (0.0 if low >= 0 > below else below), math.ceil((high + room) / step) * step


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= panels.FEW_ROWS else f"{value:.4g}".replace("-", "−")


def _drawn(part: Series, places: Sequence[float], height: Any) -> dict[str, Any]:
    points = [None if value is None else (at, height(value)) for at, value in zip(places, part.values, strict=True)]
    full = part.full or [True] * len(points)
    low, high = part.low or [None] * len(points), part.high or [None] * len(points)
    edges = [
        None if one is None or other is None else (at, height(one), height(other))
        for at, one, other in zip(places, low, high, strict=True)
    ]
    bands = []
    for run in _runs(edges, part.breaks):
        way = [(at, top) for at, _, top in run] + [(at, bottom) for at, bottom, _ in reversed(run)]
        bands.append("M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in way) + "Z")
    return {
        **{"look": part.look, "square": part.square, "band": "".join(bands)},
        "line": "".join(
            "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in run) for run in _runs(points, part.breaks) if len(run) > 1
        ),
        **{
            name: "".join(
                f"M{_n(point[0])} {_n(point[1])}h.01"
                for point, is_full in zip(points, full, strict=True)
                if part.dots and point and is_full is wanted
            )
            for name, wanted in (("full", True), ("hollow", False))
        },
    }


def _runs(points: Sequence[Any], breaks: Collection[int]) -> list[list[Any]]:
    """Neighbours that are not None, together, but for those on both sides of a break."""
    runs: list[list[Any]] = [[]]
    for at, point in enumerate(points):
        if point is None or at in breaks:
            runs.append([])
        if point is not None:
            runs[-1].append(point)
    return [run for run in runs if run]


def _labels(axis: Axis, marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """The labels of marks with their places; marks that are close to each other have one label."""
    groups: list[list[Mark]] = []
    for mark in sorted(marks, key=lambda mark: mark.time):
        if groups and axis.place(mark.time) - axis.place(groups[-1][0].time) < CLOSEST_LABELS:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    labels = []
    for group in groups:
        at = axis.place(group[0].time)
        text = group[0].label if len(group) == 1 else f"{group[0].label}–{group[-1].label.removeprefix('v')}"
        side = "first" if at < AT_END else "last" if at > 100 - AT_END else ""
        labels.append({"at": _n(at), "label": text, "side": side})
    return labels


def _in_words(name: str, axis: Axis, series: Sequence[Series], levels: Mapping[str, float]) -> str:
    sentences = [f"{name} from {axis.text(axis.ends[0])} to {axis.text(axis.ends[1])}"]
    for part in series:
        known = [(value, time) for value, time in zip(part.values, axis.times, strict=True) if value is not None]
        if known:
            (least, then), (most, when) = min(known), max(known)
            extremes = f"least {least:.3g} on {axis.text(then)}, most {most:.3g} on {axis.text(when)}"
            sentences.append(f"{part.name}: {known[0][0]:.3g} at first, {known[-1][0]:.3g} at last, {extremes}")
    sentences += [f"{level} {value:.3g}" for level, value in levels.items()]
    return ". ".join(sentences) + "."


def _versions(checks: Sequence[Mapping[str, Any]]) -> list[Mark]:
    """A mark where a check is of another model than the check before."""
    marks = []
    for before, check in zip([None, *checks], checks, strict=False):
        if before is None or check["model"] != before["model"]:
            label = "new" if check["version"] is None else f"v{check['version']}"
            marks += [Mark(moment(check["time"]), label)] if before or check["version"] is not None else []
    return marks


def _performance(checks: Sequence[Mapping[str, Any]], axis: Axis, latest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A picture per metric that was estimated or measured in a check."""
    of_metrics = [_estimates(check) for check in checks]
    actual = [check.get("realised") or {} for check in checks]
    occurring = {name for side in (of_metrics, actual) for check in side for name in check}
    names = [name for name in panels.METRICS if name in occurring]
    names += sorted({name for check in of_metrics for name in check} - set(names))
    limit = latest.get("limits") or {}
    models = [check["model"] for check in checks]
    breaks = {at for at in range(1, len(models)) if models[at] != models[at - 1]}  # another model is another line
    charts = []
    for name in names[:MOST_METRICS]:
        found = [check.get(name) or {} for check in of_metrics]
        measured = [check.get(name) for check in actual]
        series = [
            Series("test split", "test", [part.get("test") for part in found], dots=False, breaks=breaks),
            Series(
                *("estimated", "estimated", [part.get("value") for part in found]),
                full=[bool((check.get("estimated") or {}).get("trusted", True)) for check in checks],
                low=[part.get("low") for part in found],
                high=[part.get("high") for part in found],
                square=True,
                breaks=breaks,
            ),
            Series("measured", "actual", measured, breaks=breaks),
        ]
        least = limit.get("minimum") if limit.get("metric") == title(name) else None
        last = {part.name: value for part in reversed(series[1:]) for value in part.values if value is not None}
        note = "latest: " + ", ".join(f"{value:.3g} {side}" for side, value in last.items())
        levels = {"minimum": least} if least is not None else None
        possible = metrics.limits(name) if name in metrics.HIGHER_IS_BETTER else (0.0, math.inf)  # costs, say
        charts.append(chart(title(name), axis, series, levels, possible=possible, note=note))
    return charts


def _deliveries(checks: Sequence[Mapping[str, Any]], axis: Axis) -> dict[str, Any]:
    """The rows per delivery, from zero up, where it was first checked, with the long pauses between deliveries."""
    first = {delivery_of(check): at for at, check in reversed(list(enumerate(checks)))}
    new = set(first.values())
    rows = [check["delivery"]["rows"] if at in new else None for at, check in enumerate(checks)]
    lengths = [checks[at]["gap_days"] for at in new if checks[at].get("gap_days")]
    usual = statistics.median(lengths) if lengths else math.inf
    long = [at for at in sorted(new) if at and _is_late(checks[at], usual)]
    most = around([0, *(value for value in rows if value is not None)])[1]
    part = Series("rows", "rows", rows, full=[not check.get("rows_unusual") for check in checks])
    note = f"latest: {checks[-1]['delivery']['rows']:,} rows"
    if long:
        note += f" · longest pause {max(checks[at]['gap_days'] for at in long):.0f} days, usually {usual:.0f}"
    picture = chart("Rows per delivery", axis, [part], ends=(0.0, most), gaps=long, note=note)
    # A stem per delivery, not a line: nothing lies between two deliveries.
    stems = [(at, value) for at, value in zip(axis.places, rows, strict=False) if value is not None]
    picture["series"][0]["line"] = "".join(f"M{_n(at)} 100V{_n(100 - 100 * value / most)}" for at, value in stems)
    return picture


def _is_late(check: Mapping[str, Any], usual: float) -> bool:
    """Whether a delivery came late: by the check itself, or by the usual gap in days."""
    return bool(check.get("gap_unusual", (check.get("gap_days") or 0) > LONG_GAP * usual))


def _columns(checks: Sequence[Mapping[str, Any]], axis: Axis, latest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Small pictures on one scale of the effect per column, by how often it drifted, after that of all at once."""
    features = {column["column"]: column for column in latest.get("columns", [])}
    answers = {column["column"]: column for column in latest.get("answers", [])}
    predictions = [check.get("predictions") or {"drifted": [], "effects": {}} for check in checks]
    drifted = [{*check["drifted"], *of["drifted"]} for check, of in zip(checks, predictions, strict=True)]
    effects = [{**check["effects"], **of["effects"]} for check, of in zip(checks, predictions, strict=True)]
    by_delivery = {delivery_of(check): names for check, names in zip(checks, drifted, strict=True)}
    drifts = Counter(itertools.chain.from_iterable(by_delivery.values()))
    largest: dict[str, float] = {}
    for column, effect in itertools.chain.from_iterable(check.items() for check in effects):
        largest[column] = max(largest.get(column, 0.0), effect)

    def rank(column: str) -> tuple[float, ...]:
        importance = features.get(column, {}).get("importance")
        return drifts[column], *panels.consequence(largest[column], importance)

    names = sorted(largest, key=rank, reverse=True)[:MOST_COLUMNS]
    top = around([0.0, *(largest[name] for name in names)])[1]
    charts = [part] if (part := _together(checks, axis, latest)) else []
    for name in names:
        known = (features | answers).get(name)
        floor = known["tests"][0]["floor"] if known else None
        has_drifted = [name in check for check in drifted]
        values = [check.get(name) for check in effects]
        last = next((effect for effect in reversed(values) if effect is not None), 0.0)
        note = f"{_times(checks, has_drifted)} · latest {last:.2g}"
        note += f", floor {floor:g}" if floor else ""
        part_of = Series("effect", "actual", values, full=has_drifted)
        ends = (0.0, max(top, 1.5 * (floor or 0)))
        charts.append(chart(name, axis, [part_of], {"floor": floor} if floor else None, ends, note=note))
    return charts


def _together(checks: Sequence[Mapping[str, Any]], axis: Axis, latest: Mapping[str, Any]) -> dict[str, Any] | None:
    """How well a classifier tells old from new rows, as AUC; None if that was never computed."""
    found = [check.get("multivariate") or {} for check in checks]
    values = [part.get("auc") for part in found]
    known = [value for value in values if value is not None]
    if not known:
        return None
    has_drifted = [bool(part.get("drifted")) for part in found]
    low, high = ([part.get(side) for part in found] for side in ("low", "high"))
    part = Series("AUC", "actual", values, has_drifted, low, high)
    floor = (latest.get("limits") or {}).get("domain_auc")
    note = f"{_times(checks, has_drifted)} · latest AUC {known[-1]:.2g}, by chance 0.5"
    limits = {"floor": floor} if floor else None
    return chart("All columns at once", axis, [part], limits, (min(0.4, *known), 1.0), note=note)


def _times(checks: Sequence[Mapping[str, Any]], has_drifted: Sequence[bool]) -> str:
    """In how many deliveries something drifted, each by its last check."""
    last = {delivery_of(check): drifted for check, drifted in zip(checks, has_drifted, strict=True)}
    return f"drifted in {sum(last.values())} of {counted(len(last), 'delivery', 'deliveries')}"


def _estimates(check: Mapping[str, Any]) -> Mapping[str, Any]:
    """The estimated metrics of a check by their names, if there are any."""
    return (check.get("estimated") or {}).get("metrics") or {}


def _row(check: Mapping[str, Any], metric: str | None) -> dict[str, Any]:
    """A check as a row of a table, with one metric."""
    commit = check["commit"]
    return {
        **{"time": f"{moment(check['time']):%Y-%m-%d %H:%M}", "commit": commit if " " in commit else commit[:8]},
        **{"version": check["version"], "rows": check["delivery"]["rows"], "gap": check.get("gap_days")},
        **{"drifted": check["drifted"], "alarm": check["alarm"], "recommended": check["retraining"]},
        **{"unusual": bool(check.get("rows_unusual")), "late": bool(check.get("gap_unusual"))},
        "trusted": (check.get("estimated") or {}).get("trusted", True),
        "estimated": _estimates(check).get(str(metric), {}).get("value"),
        "actual": (check.get("realised") or {}).get(str(metric)),
    }
