"""The page on a delivery: a panel per column with both distributions, performance, and what to look at next."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mlops.data.profile import Distribution, Profile
from mlops.data.schema import Column
from mlops.monitoring import two_sample
from mlops.monitoring.drift import ColumnDrift
from mlops.training.metrics import title

SKETCH_BARS = 16
SKETCH_LEVELS = 10
MOST_WHOLE = 2**40  # whole numbers in a bar of a sketch; beyond, all floats are whole
SHORTEST_IN_DAYS = 3  # of dates that span less, the page tells the time
MOST_STEPS = 3  # sentences on what to look at next
FEW_ROWS = 200  # in fewer, the tests find large changes only
FEW_LABELLED = 0.1  # share of the rows; with more labels, the measured metrics tell more than an estimate
# The metrics that the page shows, in this order.
METRICS = ("accuracy", "f1", "roc_auc", "r2", "mae", "rmse", "cost_per_row")


def page(
    report: Mapping[str, Any], answers: Sequence[Mapping[str, Any]], columns: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the page shows of a report: the report, its panels, its performance, and what to look at next.

    `answers` and `columns` are the panels of the model's answers and of its features, in the order of consequence.
    """
    told = [[{**column, "telling": telling(column)} for column in side] for side in (answers, columns)]
    shown = {"answers": told[0], "columns": told[1], "performance": performance(report)}
    return {**report, **shown, "next_steps": next_steps(report, told[1])}


def telling(column: Mapping[str, Any]) -> Mapping[str, Any]:
    """The test of a column that is furthest above its floor, or nearest to it, and which found a drift if one did."""
    return max(column["tests"], key=lambda test: (test["drifted"], test["effect"] / (test["floor"] or 1)))


def of_report(report: Mapping[str, Any], importances: Mapping[str, float] | None = None) -> dict[str, Any]:
    """What the page shows of a report that was read from `reports/drift.json`: all but the distributions.

    `importances` are by feature, if they are known. The features stand in the order of effect times importance, then
    of effect alone.
    """
    if report["delivery"] is None:
        return dict(report)
    watched, known = report["features"]["watched"], importances or {}
    columns = [{**column, "importance": known.get(column["column"])} for column in report["columns"][:watched]]
    columns.sort(key=lambda column: consequence(column["effect"], column["importance"]), reverse=True)
    return {**page(report, report["columns"][watched:], columns), "unshown": 0}


def consequence(effect: float, importance: float | None) -> tuple[float, float]:
    """What a drifted column is sorted by: its effect times its importance, then its effect alone."""
    return effect * max(importance or 0.0, 0.0), effect


def panel(column: ColumnDrift, then: Profile, now: Profile, columns: Mapping[str, Column]) -> dict[str, Any]:
    """What the page shows of a column: its drift, its sketch, and how its values are written.

    `unit` follows a number; `date` is the precision of a datetime (D or m, as numpy names them), None for all others.
    """
    known, sides = columns.get(column.column), (then[column.column], now[column.column])
    picture, date = sketch(*sides), None
    if known is not None and known.type == "datetime":
        date = "D" if picture["high"] - picture["low"] >= SHORTEST_IN_DAYS else "m"
    medians = [side.median for side in sides]
    return {**asdict(column), "sketch": picture, "unit": known and known.unit, "date": date, "medians": medians}


def performance(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per metric that was estimated or measured on the delivery: on the test split, estimated, and measured.

    `test` and `actual` are None where they are not known, and `estimated` is None or has a `value`, `low` and `high`.
    """
    estimated = (report.get("estimated") or {}).get("metrics") or {}
    actual, test = (_defined(report["predictions"].get(name) or {}) for name in ("metrics", "test_metrics"))
    names = [name for name in METRICS if name in estimated or name in actual]
    return [
        {
            **{"name": name, "title": title(name), "test": estimated.get(name, {}).get("test", test.get(name))},
            **{"estimated": estimated.get(name), "actual": actual.get(name)},
        }
        for name in [*names, *(name for name in estimated if name not in names)]
    ]


def _defined(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if value is not None and not math.isnan(value)}


def next_steps(report: Mapping[str, Any], columns: Sequence[Mapping[str, Any]]) -> list[str]:
    """One to three sentences on what to look at next, derived from a report and from the panels of its features."""
    predictions, together = report["predictions"], report.get("multivariate") or {}
    drifted = [column for column in columns if column["drifted"]]
    steps = []
    if predictions["count"] < FEW_ROWS:
        steps.append(f"Wait for more rows: in {predictions['count']:,}, only large changes can be seen.")
    if drifted:
        steps.append(_step(drifted[0]))
    elif together.get("drifted"):
        names = " and ".join(column["column"] for column in together["columns"][:2])
        steps.append(f"Look at {names} together: no column drifted by itself, but the rows differ as a whole.")
    elif predictions["drifted"]:
        steps.append("Look at features together: the predictions drifted, though no feature did by itself.")
    one_sided, distrusted = labels_one_sided(report), (report.get("estimated") or {}).get("trusted") is False
    if one_sided and distrusted:
        steps.append("Get labels of all kinds of rows: those here are one-sided, the estimate not to be trusted.")
    elif one_sided:
        steps.append("Wait for the labels of the other classes: those that have come are one-sided.")
    elif distrusted and _labelled_share(report) < FEW_LABELLED:
        steps.append("Get labels for some of these rows: the estimated performance is not to be trusted here.")
    elif distrusted:
        steps.append("Go by the measured metrics: the estimated performance is not to be trusted here.")
    if len(drifted) > 1:
        steps.append(_step(drifted[1]).replace("Look at", "Then look at", 1))
    if report["retraining"]["recommended"]:
        steps.append("Before you retrain, make sure that the new values are real: a model learns a fault, too.")
    if not steps and not predictions["metrics"]:
        steps.append("Nothing has to be done now. How well the model does here is known when actual values come.")
    return steps[:MOST_STEPS] or ["Nothing has to be done now: look at the next delivery."]


def labels_one_sided(report: Mapping[str, Any]) -> bool:
    """Whether the labels of a delivery have come for some predicted classes only."""
    return bool(report["predictions"].get("labels_one_sided", report.get("labels_one_sided")))


def _labelled_share(report: Mapping[str, Any]) -> float:
    """The share of the rows of a delivery that have a label; 0 where a report of an older pipeline does not say."""
    coverage = report["predictions"].get("labelled", report.get("labelled"))
    return float(coverage["share"]) if coverage else 0.0


def _largest_move(sketch: Mapping[str, Any]) -> tuple[str, float, float] | None:
    """The level whose share changed most, with its shares then and now."""
    named = list(zip(sketch["labels"], sketch["reference"], sketch["current"], strict=False))  # others come last
    return max(named, key=lambda level: abs(level[2] - level[1]), default=None)


def _step(column: Mapping[str, Any]) -> str:
    """Which drifted column to look at, what happened to it, and whether the model relies on it."""
    name, importance = column["column"], column.get("importance")
    told = telling(column)["name"]
    then, now = column["missing_shares"]
    new, gone = column["new_level_count"], column.get("vanished_level_count", 0)
    moved = _largest_move(column["sketch"]) if told == "chi_square" and "sketch" in column else None
    if told == "missing_share":
        what = f"{now:.1%} of its values are missing, {then:.1%} before"
    elif moved:
        what = "the share of {} went from {:.1%} to {:.1%}".format(*moved)
    elif new:
        what = f"{new:,} of its levels {'is' if new == 1 else 'are'} new ({', '.join(column['new_levels'])})"
    elif gone:
        what = f"{gone:,} of its levels {'is' if gone == 1 else 'are'} gone ({', '.join(column['vanished_levels'])})"
    elif column.get("mean_shift_deviations") is not None and not column.get("date"):
        what = f"its mean moved by {column['mean_shift_deviations']:+.2g} standard deviations"
        what += "" if column["mean_shift_percent"] is None else f" ({column['mean_shift_percent']:+.1f}%)"
    elif column["mean_shift_percent"] is not None and not column.get("date"):
        what = f"its mean moved by {column['mean_shift_percent']:+.1f}%"
    else:
        what = f"its distribution moved (effect {column['effect']:.2g})"
    if importance is None:
        return f"Look at {name}: {what}."
    relies = f"its importance is {importance:.2g}" if importance > 0 else "but the model does not rely on it"
    return f"Look at {name}: {what}, {'and ' if importance > 0 else ''}{relies}."


def sketch(baseline: Distribution, current: Distribution) -> dict[str, Any]:
    """Two distributions in a few bars, for a small picture: `reference` and `current` are the shares of rows per bar.

    Categories have a bar for each of the most frequent levels of both sides (`labels`), then one for the `others` if
    there are more. Numbers have bars of equal width from `low` to `high`, which span the middle 98 % of the baseline
    and the rest if that is near; the first and the last bar are what lies outside, down to `least` and up to
    `greatest`. Bars of whole numbers hold equally many of them.
    """
    if baseline.kind == "category":
        levels, table = two_sample.contingency(baseline, current)
        shares = table / np.maximum([[baseline.given], [current.given]], 1)
        by_share = np.argsort(-shares.sum(axis=0), kind="stable")
        shown, others = by_share[:SKETCH_LEVELS], by_share[SKETCH_LEVELS:]
        bars = {
            name: [*side[shown].tolist(), *([float(side[others].sum())] if len(others) else [])]
            for name, side in zip(("reference", "current"), shares, strict=True)
        }
        return {"labels": levels[shown].tolist(), "others": len(others), **bars}
    side = baseline if baseline.given else current
    values = side.values if side.given else np.zeros(1)
    position = np.cumsum(side.counts) / max(side.given, 1)
    low, high = values[np.searchsorted(position, [0.01, 0.99])].tolist()
    near = (high - low) / SKETCH_BARS
    inside = values[(values >= low - near) & (values <= high + near)]
    low, high = float(inside[0]), float(inside[-1])
    width, count = (high - low) / SKETCH_BARS, SKETCH_BARS
    if width == 0 or (width < MOST_WHOLE and (inside == np.floor(inside)).all()):
        width = math.ceil((high - low + 1) / SKETCH_BARS)
        count = math.ceil((high - low + 1) / width)
    edges = np.append(low + width * np.arange(count), np.nextafter(high, np.inf))

    def shares_per_bar(side: Distribution) -> list[float]:
        places = np.searchsorted(edges, side.values, side="right")
        shares: list[float] = (np.bincount(places, side.counts, len(edges) + 1) / max(side.given, 1)).tolist()
        return shares

    ends = np.concatenate([values[[0, -1]], current.values[:1], current.values[-1:]])
    return {
        **{"low": float(low), "high": float(high), "least": float(ends.min()), "greatest": float(ends.max())},
        **{"reference": shares_per_bar(baseline), "current": shares_per_bar(current)},
    }
