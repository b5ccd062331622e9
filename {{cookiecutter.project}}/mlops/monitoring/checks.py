"""The history of checks: what each report of the stage `monitor` said, and what all of them say together."""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np

from mlops.base.errors import DataError
from mlops.data.profile import Distribution, Profile

MOST_NAMED = 5
# A number of rows is unusual if it is outside of median ± SPREADS robust standard deviations of the EARLIER ones, and
# differs from the median by HALF of it or more: the second rule counts where all deliveries have nearly equal sizes.
SPREADS = 3
ROBUST = 1.4826  # times the median absolute deviation is the standard deviation of a normal distribution
HALF = 0.5
FEWEST, EARLIER = 5, 20  # deliveries before; from fewer nothing is called unusual
SECONDS_A_DAY = 86_400

Check = dict[str, Any]
SomeCheck = TypeVar("SomeCheck", bound=Mapping[str, Any])


@dataclass(frozen=True)
class Origin:
    """Where a report comes from: its commit, the time of that (ISO 8601), and the SHA-256 of the model if known."""

    commit: str
    time: str
    model: str | None = None


@dataclass(frozen=True)
class Recent:
    """The last deliveries: how many of them raised an alarm, or recommended retraining, and what follows now.

    `deliveries` is at most `windows`. There is an `alarm` if the latest delivery raised one and `needed` of the last
    `windows` did; the same goes for `retraining`.
    """

    windows: int
    needed: int
    deliveries: int
    alarms: int
    recommendations: int
    alarm: bool
    retraining: bool


def check(origin: Origin, report: Any) -> Check | None:
    """What a report (`reports/drift.json`) says, in one entry of the history; None if it is about no delivery.

    `mean_shifts` are in percent of the baseline's mean, `mean_shifts_deviations` in its standard deviations; both lack
    the columns for which there is none. Reports of an older pipeline have no standard deviations.

    Raises:
        DataError: this is no report of the stage `monitor`.
    """
    try:
        if report["delivery"] is None:
            return None
        delivery, watched = report["delivery"], int(report["features"]["watched"])
        features, outputs = report["columns"][:watched], report["columns"][watched:]
        return {
            "commit": origin.commit,
            "time": origin.time,
            "model": origin.model,
            "version": None,
            "delivery": {
                "rows": int(delivery["rows"]),
                "digest": delivery.get("digest"),
                "names": list(delivery["files"]),
            },
            "verdict": str(report["verdict"]),
            "alarm": bool(report["alarm"]),
            "retraining": bool(report["retraining"]["recommended"]),
            "watched": watched,
            "drifted": [str(name) for name in report["features"]["drifted"]],
            "effects": _numbers(features, "effect"),
            "mean_shifts": _numbers(features, "mean_shift_percent"),
            "mean_shifts_deviations": _numbers(features, "mean_shift_deviations"),
            "predictions": {
                "drifted": [str(name) for name in report["predictions"]["drifted"]],
                "effects": _numbers(outputs, "effect"),
            },
            "multivariate": report.get("multivariate"),
            "estimated": report.get("estimated"),
            "realised": {str(name): value for name, value in report["predictions"]["metrics"].items()},
            "gap_days": None,
            "gap_unusual": False,
            "rows_unusual": False,
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise DataError("it is no report of the stage `monitor`") from None


def history(
    checks: Sequence[Check],
    entries: Sequence[Mapping[str, Any]],
    baseline: Mapping[str, Any],
    *,
    since: datetime | None = None,
    most: int | None = None,
) -> dict[str, Any]:
    """All checks, oldest first, with their summary and the changes of what was in production.

    `checks` are those of `check`, oldest first, `entries` those of the audit log, and `baseline` comes from
    `baseline_of_profile` or `baseline_of_report`. Only checks and events from `since` on, and of these checks at most
    `most` (the newest), are told; earlier deliveries count in `gap_days` and `rows_unusual` all the same.
    The summary counts a delivery once, by its last check that is told: `total_drifts` is the number of
    `total_deliveries` of which a column, the predictions or the columns together drifted.
    """
    versions = {entry["model_digest"]: _number(entry["to"]) for entry in entries}
    known = [{**each, "version": versions.get(each["model"]), **rhythm} for each, rhythm in _with_rhythm(checks)]
    told = [each for each in known if since is None or _time(each["time"]) >= since]
    told = told if most is None else told[max(len(told) - most, 0) :]
    return {
        "baseline_stats": dict(baseline),
        "drift_history": told,
        "summary": _summary(told),
        "events": [event for entry in entries if (event := _event(entry, since))],
    }


def recent(checks: Sequence[Check], windows: int, needed: int) -> Recent:
    """Whether the newest check is an alarm, given the checks (oldest first) and the parameters of `monitor`.

    A delivery that was checked again counts once, by its last check.
    """
    last = last_of_each(checks)[-windows:]
    alarms, advised = (sum(each[name] for each in last) for name in ("alarm", "retraining"))
    return Recent(
        windows=windows,
        needed=needed,
        deliveries=len(last),
        alarms=alarms,
        recommendations=advised,
        alarm=bool(last) and last[-1]["alarm"] and alarms >= needed,
        retraining=bool(last) and last[-1]["retraining"] and advised >= needed,
    )


def last_of_each(checks: Sequence[SomeCheck]) -> list[SomeCheck]:
    """The last check of each delivery, in their order: one may be checked again, by another model, say."""
    by_delivery: dict[object, SomeCheck] = {}
    for each in checks:
        name = delivery_of(each)
        by_delivery.pop(name, None)  # the place in the order is that of the last check
        by_delivery[name] = each
    return list(by_delivery.values())


def delivery_of(each: Mapping[str, Any]) -> object:
    """What tells the delivery of a check from others; a report of an older pipeline has no digest."""
    return each["delivery"]["digest"] or each["commit"]


def shift_in_words(shift: Mapping[str, Any]) -> str:
    """How far a mean moved: +0.42 sd (+12.5 %), or what is known of that."""
    percent, deviations = shift["percent"], shift["deviations"]
    if deviations is None:
        return f"{percent:+.1f} %"
    return f"{deviations:+.2g} sd" + ("" if percent is None else f" ({percent:+.1f} %)")


def baseline_of_profile(profile: Profile) -> dict[str, Any]:
    """`baseline_stats` of the training data; numbers have moments and a range, dates are days since 1970."""
    return {name: _statistics(column) for name, column in profile.items()}


def baseline_of_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `baseline_stats` that a report of `monitor` has: sizes, means and missing shares."""
    unknown: dict[str, dict[str, Any]] = {
        "number": {"mean": None, "std": None, "min": None, "max": None},
        "category": {"levels": None},
    }
    return {
        column["column"]: {
            "count": column["sample_sizes"][0],
            **unknown["category" if column["kind"] == "category" else "number"],
            **({} if column["kind"] == "category" else {"mean": column["baseline_mean"]}),
            "missing_share": column["missing_shares"][0],
        }
        for column in itertools.islice(report["columns"], report["features"]["watched"])
    }


def is_unusual(value: float, earlier: Sequence[float]) -> bool:
    """Whether a number of rows, or of days, is far from the earlier ones: see SPREADS, HALF, FEWEST and EARLIER."""
    if len(earlier) < FEWEST:
        return False
    median = statistics.median(earlier[-EARLIER:])
    spread = ROBUST * statistics.median(abs(one - median) for one in earlier[-EARLIER:])
    return abs(value - median) > SPREADS * spread and abs(value - median) >= HALF * median


def _with_rhythm(checks: Sequence[Check]) -> list[tuple[Check, dict[str, Any]]]:
    """Each check with the gap before its delivery, and whether that and its rows are unusual.

    A delivery that is checked again keeps what its first check found.
    """
    known: dict[object, dict[str, Any]] = {}
    rows: list[float] = []
    gaps: list[float] = []
    newest: datetime | None = None
    for each in checks:
        if (name := delivery_of(each)) in known:
            continue
        time, size = _time(each["time"]), each["delivery"]["rows"]
        # A clock may be wrong, and a branch that is merged late brings older commits.
        gap = max((time - newest).total_seconds(), 0) / SECONDS_A_DAY if newest else None
        known[name] = {
            "gap_days": gap,
            "gap_unusual": gap is not None and is_unusual(gap, gaps),
            "rows_unusual": is_unusual(size, rows),
        }
        rows.append(size)
        gaps += [] if gap is None else [gap]
        newest = max(time, newest or time)
    return [(each, known[delivery_of(each)]) for each in checks]


def _summary(told: Sequence[Check]) -> dict[str, Any]:
    times, deliveries = sorted(each["time"] for each in told), last_of_each(told)
    drifts = Counter(name for each in deliveries for name in each["drifted"])
    by_column = sorted(drifts.items(), key=lambda pair: (-pair[1], pair[0]))
    largest: dict[str, dict[str, Any]] = {}
    for shift in itertools.chain.from_iterable(map(_mean_shifts, deliveries)):
        name = shift["column"]
        if name not in largest or _size(shift) > _size(largest[name]):
            largest[name] = shift
    shifts = sorted(sorted(largest.values(), key=itemgetter("column")), key=_size, reverse=True)
    return {
        "period": {"from": times[0] if times else None, "to": times[-1] if times else None},
        "total_checks": len(told),
        "total_deliveries": len(deliveries),
        "total_drifts": sum(_drifted(each) for each in deliveries),
        "drifts_by_column": dict(by_column),
        "most_drifted": [{"column": name, "drifts": count} for name, count in by_column[:MOST_NAMED]],
        "largest_mean_shifts": shifts[:MOST_NAMED],
    }


def _mean_shifts(each: Check) -> list[dict[str, Any]]:
    """The shifts of the means in a check, in percent and in standard deviations; None for what it does not say."""
    percent, deviations = each["mean_shifts"], each["mean_shifts_deviations"]
    where = {"commit": each["commit"], "time": each["time"]}
    return [
        {"column": name, "percent": percent.get(name), "deviations": deviations.get(name), **where}
        for name in {**percent, **deviations}
    ]


def _size(shift: Mapping[str, Any]) -> tuple[float, float]:
    """What shifts of a mean are ordered by: standard deviations, and, below all that have these, percent.

    In percent, a column whose mean is near 0 would always lead.
    """
    deviations, percent = (-1.0 if shift[unit] is None else abs(shift[unit]) for unit in ("deviations", "percent"))
    return deviations, percent


def _drifted(each: Check) -> bool:
    together = each["multivariate"] or {}
    return bool(each["drifted"] or each["predictions"]["drifted"] or together.get("drifted"))


def _numbers(columns: Sequence[Mapping[str, Any]], fact: str) -> dict[str, float]:
    """One fact of each column that has it."""
    found = {str(column["column"]): column.get(fact) for column in columns}
    return {name: float(number) for name, number in found.items() if number is not None}


def _event(entry: Mapping[str, Any], since: datetime | None) -> dict[str, Any] | None:
    """An entry of the audit log as an event; None if it is older, or its time cannot be read."""
    try:
        time = _time(entry["when"])
    except ValueError:
        return None
    facts = {"version": _number(entry["to"]), "who": entry["who"], "reason": entry["reason"]}
    return {"time": time.isoformat(), "action": entry["action"], **facts} if since is None or time >= since else None


def _statistics(column: Distribution) -> dict[str, Any]:
    if column.kind == "category":
        return {"count": column.given, "levels": len(column.values), "missing_share": column.missing_share}
    mean = column.mean
    if mean is None:
        moments: dict[str, float | None] = {"mean": None, "std": None, "min": None, "max": None}
    else:
        variance = float(np.sum((column.values - mean) ** 2 * column.counts) / column.given)
        low, high = column.values[[0, -1]].tolist()
        moments = {"mean": mean, "std": math.sqrt(variance), "min": low, "max": high}
    return {"count": column.given, **moments, "missing_share": column.missing_share}


def _number(version: object) -> int | None:
    return int(version) if isinstance(version, str) and version.isdecimal() else None


def _time(text: str) -> datetime:
    """A time in ISO 8601, in UTC.

    Raises:
        ValueError: it is none.
    """
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
