"""The report on a delivery: the drift of its features and of the model's answers, and whether to retrain."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from mlops.base.errors import counted
from mlops.base.params import FILE, Costs, Monitor
from mlops.data.profile import Profile, distribution
from mlops.data.schema import Schema
from mlops.evaluation import results
from mlops.monitoring import domain, drift, estimated, panels, realised
from mlops.monitoring.domain import Domain
from mlops.monitoring.drift import ColumnDrift
from mlops.training import decision
from mlops.training.fitting import with_labels
from mlops.training.metrics import Predictions, score, title
from mlops.training.task import Task

MOST_NAMED = 5
LEAST_ROWS = 30  # from which a metric, or a delivery, says something
# What `monitor.minimum_accuracy` is about.
METRIC: dict[Task, str] = {"classification": "accuracy", "regression": "r2"}
MOST_SHOWN = 60  # features on the page
TELLING = 0.1  # of the largest importance: the verdict names no column below that


def no_delivery() -> dict[str, Any]:
    """The report before the first delivery, which is a normal state."""
    retraining = {"recommended": False, "reasons": []}
    return {"delivery": None, "alarm": False, "retraining": retraining, "verdict": "no delivery yet"}


def sentence(found: Mapping[str, Any], settings: Monitor) -> str:
    """A report in a line: the rows of the delivery and the verdict; a second line, if no minimum accuracy is set."""
    delivery = found["delivery"] or {"rows": 0}
    rows, answered = counted(delivery["rows"], "row"), delivery.get("answered", delivery["rows"])
    rows += f" (the model answered {answered:,} of them)" if answered < delivery["rows"] else ""
    unset = f"\nno minimum accuracy is set: {FILE}, monitor.minimum_accuracy"
    return f"{rows}: {found['verdict']}{unset if settings.minimum_accuracy is None else ''}"


def answer_profile(table: pd.DataFrame, task: Task) -> Profile:
    """The distribution of each column of `mlops.evaluation.results.answers` (n rows), to be tested like features."""
    numbers = {"probability"} | ({"prediction"} if task == "regression" else set())
    return {
        str(name): distribution(values, "number" if name in numbers else "category") for name, values in table.items()
    }


def compare(
    reference: Profile,
    delivery: Profile,
    test: pd.DataFrame,
    predictions: Predictions,
    labels: pd.Series | None,
    schema: Schema,
    task: Task,
    settings: Monitor,
    importances: pd.Series,
    costs: Costs | None = None,
    samples: Sequence[pd.DataFrame] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare a delivery of n rows with the training data: the report as plain values, and what its page shows.

    `reference` and `delivery` are the profiles of the two, `test` the answers on the test split (as
    `mlops.evaluation.results.answers` has them), and `predictions` the answers on the delivery. `labels` (n,) are its
    actual values, missing where they have not come; None if the delivery has no such column. `importances` are by
    feature; not every feature has one. `costs` are those by which the threshold was chosen. `samples` are typed rows of
    the training data and of the delivery, to compare all columns together; None leaves that out. The page shows the
    model's answers, then the features of most consequence, the drifted ones in any case: in the order of effect times
    importance, then of effect alone.

    Raises:
        ParameterError: a feature that `monitor.features` names is not in the reference.
    """
    answers = results.answers(predictions)
    then, now = answer_profile(test[list(answers)], task), answer_profile(answers, task)
    names = drift.watched(reference, schema.features, settings.features)
    inputs, outputs = drift.compare_together([(reference, delivery, names), (then, now, list(then))], settings)
    together = domain.compare(samples[0], samples[1], names, schema, settings) if samples else "no rows were given"
    labelled, unknown = _known_labels(with_labels(predictions, labels, task))
    outside = not isinstance(together, str) and together.drifted
    without_labels = estimated.estimate(test, predictions, task, outside)
    found = report(inputs, outputs, predictions, labelled, task, settings, costs, together, without_labels, unknown)
    if labelled is not None and {"actual", "prediction"} <= set(test):  # a table of an older pipeline lacks them
        on_test = _scores(results.from_frame(test, predictions.classes, predictions.positive), costs)
        shown_metrics = found["predictions"]["metrics"]
        found["predictions"]["test_metrics"] = {name: on_test[name] for name in shown_metrics if name in on_test}
    metric = METRIC[task]
    limits = {
        "drifted_share": settings.drifted_share,
        "domain_auc": settings.domain_auc,
        "metric": title(metric),
        "minimum": settings.minimum_accuracy,
        "actual": found["predictions"]["metrics"].get(metric),
    }

    def consequence(column: ColumnDrift) -> tuple[float, float]:
        return panels.consequence(column.effect, importances.get(column.column))

    chosen = sorted(inputs, key=lambda column: (column.drifted, consequence(column)), reverse=True)[:MOST_SHOWN]
    written = {"prediction": schema.columns[schema.target]}
    shown = panels.page(
        found,
        [panels.panel(column, then, now, written) for column in outputs],
        [
            {**panels.panel(column, reference, delivery, schema.columns), "importance": importances.get(column.column)}
            for column in sorted(chosen, key=consequence, reverse=True)
        ],
    )
    return found, {**shown, "unshown": len(inputs) - len(chosen), "limits": limits}


def _known_labels(labelled: Predictions | None) -> tuple[Predictions | None, dict[str, int]]:
    """The labelled rows (n,) whose label is a class of the model, and how many have which other one."""
    if labelled is None or not labelled.classes:
        return labelled, {}
    known = np.array([label in labelled.classes for label in labelled.actual], dtype=bool)
    others = Counter(str(label) for label in labelled.actual[~known])
    return labelled.subset(known) if known.any() else None, dict(others.most_common(MOST_NAMED))


def report(
    features: Sequence[ColumnDrift],
    outputs: Sequence[ColumnDrift],
    predictions: Predictions,
    labelled: Predictions | None,
    task: Task,
    limits: Monitor,
    costs: Costs | None = None,
    together: Domain | str = "not compared",
    without_labels: dict[str, Any] | None = None,
    unknown: Mapping[str, int] = {},
) -> dict[str, Any]:
    """The report as plain values for JSON.

    `features` and `outputs` are the drift of the model's inputs and of its answers, `predictions` the answers on the
    delivery, and `labelled` the answers on the rows whose actual value has come. Retraining is recommended if the
    accuracy (or R²) of `labelled` is below `limits.minimum_accuracy`, where somebody set one, or if more than
    `limits.drifted_share` of the features drifted. A few labels, or labels of one class mostly, recommend nothing.
    `unknown` counts the labels that are no class of the model: they are in no metric. `together` is the drift of all
    features together, or the reason why it is not known; `without_labels` is the estimated performance, None if there
    is none.
    """
    drifted = [column.column for column in features if column.drifted]
    drifted_outputs = [column.column for column in outputs if column.drifted]
    share = len(drifted) / len(features) if features else 0.0
    metric, least = METRIC[task], limits.minimum_accuracy
    scores = _scores(labelled, costs) if labelled is not None else {}
    multivariate = None if isinstance(together, str) else together
    moved = multivariate is not None and multivariate.drifted
    reasons = []
    if share > limits.drifted_share:
        reasons.append(f"{share:.0%} of the features drifted, more than {limits.drifted_share:.0%}")
    notes = (
        [f"{counted(sum(unknown.values()), 'label')} of no class of the model ({', '.join(unknown)})"]
        if unknown
        else []
    )
    coverage = realised.label_coverage(predictions, labelled)
    if least is not None and metric in scores and scores[metric] < least:
        said, rows = (
            f"{title(metric)} on the delivery is {scores[metric]:.3f}, below {least:g}",
            coverage["labelled"]["rows"],
        )
        if rows < LEAST_ROWS:
            notes.append(f"{said}, which {counted(rows, 'label')} cannot say")
        elif coverage["labels_one_sided"]:
            notes.append(f"{said}, but the labels came mostly for one class")
        else:
            reasons.append(said)
    if len(predictions.predicted) < LEAST_ROWS:
        notes.append(f"{counted(len(predictions.predicted), 'row')} can say little")
    return {
        "features": {"watched": len(features), "drifted": drifted, "share": share},
        "predictions": {**_spread(predictions), "drifted": drifted_outputs, "metrics": scores}
        | coverage
        | ({"unknown_labels": dict(unknown)} if unknown else {}),
        "multivariate": multivariate and asdict(multivariate),
        "multivariate_note": together if multivariate is None else None,
        "estimated": without_labels,
        "retraining": {"recommended": bool(reasons), "reasons": reasons},
        "alarm": bool(drifted or drifted_outputs or moved or reasons),
        "verdict": "; ".join([_verdict(drifted, len(features), multivariate, drifted_outputs, reasons), *notes]),
        "columns": [asdict(column) for column in (*features, *outputs)],
    }


def _verdict(
    drifted: list[str], watched: int, multivariate: Domain | None, drifted_outputs: list[str], reasons: list[str]
) -> str:
    sentence = f"{len(drifted)} of {watched} features drifted{_named(drifted)}"
    if multivariate is not None and multivariate.drifted:
        telling = f", by {names}" if (names := _listed(_telling(multivariate))) else ""
        sentence += (
            "; the columns taken together drifted: a classifier tells the new rows from the old ones "
            f"(AUC {multivariate.auc:.2f}{telling})"
        )
    if drifted_outputs:
        sentence += "; the predictions drifted"
    return f"{sentence}; retraining is recommended: {'; '.join(reasons)}" if reasons else sentence


def _scores(labelled: Predictions, costs: Costs | None) -> dict[str, float]:
    """All metrics, and the cost per row where the threshold was chosen by costs."""
    return score(labelled) | ({} if costs is None else {"cost_per_row": decision.value(labelled, costs)})


def _telling(together: Domain) -> list[str]:
    """The columns by which a classifier tells the sides apart, without those that add next to nothing."""
    largest = max((column.importance for column in together.columns), default=0.0)
    return [column.column for column in together.columns if column.importance >= TELLING * largest]


def _named(names: list[str]) -> str:
    return f" ({_listed(names)})" if names else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


def _spread(predictions: Predictions) -> dict[str, Any]:
    """The count of the answers and, if they are numbers or probabilities, their mean, spread and range."""
    regression = predictions.kind == "regression"
    values = predictions.predicted if regression else predictions.positive_probability
    if values is None:
        return {"count": len(predictions.predicted)}
    numbers = {name: float(getattr(values, name)()) for name in ("mean", "std", "min", "max")}
    return {"count": len(values), **numbers}
