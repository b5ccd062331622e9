"""What a model card says that the reports do not say by themselves; its words are in the template."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlops.data.schema import Schema
from mlops.evaluation.fairness import RATES, wilson
from mlops.evaluation.intervals import Interval
from mlops.evaluation.results import metric_rows
from mlops.training.metrics import HIGHER_IS_BETTER

MOST_FEATURES, MOST_GROUPS, MOST_CLASSES, MOST_FILES = 8, 12, 10, 10
# Of a metric that ends at 1, an interval this wide leaves open whether it is good or middling.
WIDE = 0.1


def facts(
    found: Mapping[str, Any],
    groups: Sequence[Mapping[Any, Any]],
    importances: Sequence[Mapping[Any, Any]],
    schema: Schema,
    smallest: int,
    confidence: float,
) -> dict[str, Any]:
    """What the template needs besides the words of people, as plain values.

    `found` are the reports dataset, training, metrics, validation, evaluation and fairness; `groups` the metrics per
    level of each sensitive column, of which those of fewer than `smallest` rows are not judged; `importances` come in
    their order.
    """
    evaluation, training, dataset = found["evaluation"], found["training"], found["dataset"]
    headline = evaluation["headline"]
    spans = {name: Interval(*ends) for name, ends in evaluation["intervals"].items()}
    metrics = metric_rows(found["metrics"], spans, training["cross_validated"])
    compared = compared_groups(groups, found["fairness"], headline, smallest, confidence)
    shown = next(row for row in metrics if row["name"] == headline)
    return {
        **found,
        "summary": summary(shown, dataset["split"]["test"], confidence),
        "headline": shown,
        "metrics": metrics,
        "confidence": confidence,
        "smallest": smallest,
        "target": schema.target,
        "inputs": schema.inputs,
        "sensitive": schema.sensitive,
        "arguments": {name: value for name, value in training["arguments"].items() if value is not None},
        "files": _first(dataset["files"], MOST_FILES),
        "classes": _first(_classes(dataset["target"]), MOST_CLASSES),
        "groups": _first(compared, MOST_GROUPS),
        "importances": _first(importances, MOST_FEATURES),
        "limits": {
            "small": [group for group in compared if group["small"]],
            "wide": [row for row in metrics if _is_wide(row)],
            "warnings": [check for check in found["validation"]["checks"] if not check["passed"]],
            "rare_classes": training["rare_classes"],
        },
    }


def compared_groups(
    groups: Sequence[Mapping[Any, Any]], fairness: Mapping[str, Any], headline: str, smallest: int, confidence: float
) -> list[dict[str, Any]]:
    """Each group with its headline metric and rates, the worst first; those of fewer than `smallest` rows are last.

    `low` and `high` are the ends of its score interval where the metric is a share of the rows, which accuracy is;
    others are None, and so are rates where there are no two classes.
    """
    rates = {
        (column["column"], group["level"]): {name: group[name] for name in RATES}
        for column in fairness["columns"]
        for group in column["groups"]
    }
    unknown = dict.fromkeys(RATES)
    rows = []
    for group in groups:
        column, level, count, value = (group[name] for name in ("column", "level", "rows", headline))
        span = wilson(round(value * count), count, confidence) if headline == "accuracy" else None
        low, high = (span["low"], span["high"]) if span else (None, None)
        about = {"column": column, "level": level, "rows": count, "small": count < smallest}
        rows.append({**about, "value": value, "low": low, "high": high, **rates.get((column, level), unknown)})
    sign = 1 if HIGHER_IS_BETTER[headline] else -1
    return sorted(rows, key=lambda row: (row["small"], row["value"] != row["value"], sign * row["value"]))


def summary(headline: Mapping[str, Any], rows: int, confidence: float) -> str:
    """How good it is on so many test rows, by a row of `metric_rows`, in one line of Markdown."""
    value, low, high = (headline[name] for name in ("value", "low", "high"))
    span = "" if low is None else f" ({confidence:.0%} interval {low:.4f} to {high:.4f})"
    said = "undefined" if value is None else f"{value:.4f}"
    return f"**{headline['title']} {said}**{span} on {rows:,} test rows"


def _classes(target: Mapping[str, Any]) -> dict[str, int] | None:
    """Rows per class, the most frequent first; None of a number."""
    if set(target) == {"mean", "std", "min", "max"}:
        return None
    return dict(sorted(target.items(), key=lambda item: -item[1]))


def _first(values: Any, most: int) -> dict[str, Any]:
    """The first so many (`shown`), and how many there are besides (`more`)."""
    rows = list(values.items()) if isinstance(values, Mapping) else list(values or ())
    return {"shown": rows[:most], "more": max(len(rows) - most, 0)}


def _is_wide(row: Mapping[str, Any]) -> bool:
    return HIGHER_IS_BETTER[row["name"]] and row["low"] is not None and row["high"] - row["low"] > WIDE
