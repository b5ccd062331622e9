"""The facts of a model card; the sentences are in its template."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlops.data.schema import Schema
from mlops.evaluation import behaviour
from mlops.evaluation.fairness import RATES, wilson
from mlops.evaluation.intervals import Interval
from mlops.evaluation.results import fitted, metric_rows, tested
from mlops.training.metrics import HIGHER_IS_BETTER

MOST_INPUTS, MOST_FEATURES, MOST_GROUPS, MOST_CLASSES, MOST_FILES, MOST_WARNINGS = 100, 8, 12, 10, 10, 100
MARKS = ("deprecated", "warn")  # how scikit-learn marks that an argument is not given
# For a metric that ends at 1, an interval of this width does not tell good from middling.
WIDE = 0.1


def facts(
    reports: Mapping[str, Any],
    groups: Sequence[Mapping[Any, Any]],
    importances: Sequence[Mapping[Any, Any]],
    schema: Schema,
    smallest: int,
    confidence: float,
) -> dict[str, Any]:
    """All facts that the template needs besides the owner's words, as plain values.

    `reports` are dataset, training, metrics, baseline, validation, evaluation, fairness and behaviour (which an older
    pipeline lacks), by name. `groups` are the
    metrics per level of each sensitive column; groups of fewer than `smallest` rows are not judged. `importances` are
    sorted.
    """
    evaluation, training, dataset = reports["evaluation"], reports["training"], reports["dataset"]
    tested_on = tested(dataset["split"]["test"], evaluation.get("sample"))
    intervals = {name: Interval(*ends) for name, ends in evaluation["intervals"].items()}
    metrics = metric_rows(reports["metrics"], intervals, training["cross_validated"], reports["baseline"])
    headline = next(row for row in metrics if row["name"] == evaluation["headline"])
    compared = compared_groups(groups, reports["fairness"], headline["name"], smallest, confidence)
    return {
        **reports,
        "behaviour": reports.get("behaviour") or behaviour.none("dvc.yaml gives the stage register no report of them"),
        "summary": summary(headline, tested_on, confidence),
        "tested_on": tested_on,
        "fitted_on": fitted(dataset["split"]["train"], training.get("sample")),
        "headline": headline,
        "metrics": metrics,
        "confidence": confidence,
        "smallest": smallest,
        "target": schema.target,
        "inputs": _first(schema.inputs, MOST_INPUTS),
        "sensitive": schema.sensitive,
        "arguments": {name: value for name, value in training["arguments"].items() if value not in (None, *MARKS)},
        "files": _first(dataset["files"].items(), MOST_FILES),
        "classes": _first(_classes(dataset["target"]), MOST_CLASSES),
        "groups": _first(compared, MOST_GROUPS),
        "importances": _first(importances, MOST_FEATURES),
        "limits": {
            "small": [group for group in compared if group["small"]],
            "wide": [row for row in metrics if _is_wide(row)],
            "warnings": _first(
                (check for check in reports["validation"]["checks"] if not check["passed"]), MOST_WARNINGS
            ),
            "rare_classes": training["rare_classes"],
        },
    }


def compared_groups(
    groups: Sequence[Mapping[Any, Any]], fairness: Mapping[str, Any], headline: str, smallest: int, confidence: float
) -> list[dict[str, Any]]:
    """Each group with its headline metric and rates, the worst group first; small groups are last.

    `low` and `high` are the ends of the score interval of accuracy, which is a share of the rows; for other metrics
    they are None. Rates are None unless there are two classes.
    """
    rates = {(column["column"], group["level"]): group for column in fairness["columns"] for group in column["groups"]}
    rows = []
    for group in groups:
        count, value = group["rows"], group[headline]
        interval = wilson(round(value * count), count, confidence) if headline == "accuracy" else None
        rates_of_group = rates.get((group["column"], group["level"]), {})
        rows.append(
            {name: group[name] for name in ("column", "level", "rows")}
            | {"small": count < smallest, "value": value}
            | {end: interval[end] if interval else None for end in ("low", "high")}
            | {name: rates_of_group.get(name) for name in RATES}
        )
    sign = 1 if HIGHER_IS_BETTER[headline] else -1
    return sorted(rows, key=lambda row: (row["small"], row["value"] != row["value"], sign * row["value"]))


def summary(headline: Mapping[str, Any], rows: str, confidence: float) -> str:
    """The headline metric (a row of `metric_rows`) on `rows` (as `results.tested` names them), a line of Markdown."""
    value, low, high = (headline[name] for name in ("value", "low", "high"))
    interval = "" if low is None else f" ({confidence:.0%} interval {low:.4f} to {high:.4f})"
    number = "undefined" if value is None else f"{value:.4f}"
    return f"**{headline['title']} {number}**{interval} on {rows}"


def _classes(target: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The rows per class, the most frequent class first; nothing for a number."""
    is_number = set(target) == {"mean", "std", "min", "max"}
    return [] if is_number else sorted(target.items(), key=lambda item: -item[1])


def _first(values: Iterable[Any], most: int) -> dict[str, Any]:
    """The first values (`shown`, `most` at most), and the number of the others (`more`)."""
    every = list(values)
    return {"shown": every[:most], "more": max(len(every) - most, 0)}


def _is_wide(row: Mapping[str, Any]) -> bool:
    return HIGHER_IS_BETTER[row["name"]] and row["low"] is not None and row["high"] - row["low"] > WIDE
