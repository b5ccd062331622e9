"""The work of the stage `evaluate`: everything that is said of a model on the test split, from one prediction of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mlops.base.params import Evaluate
from mlops.data.profile import Profile
from mlops.evaluation import curves, dependence, explanation, fairness, figures, importance, intervals, results
from mlops.training import encoding, task
from mlops.training.metrics import Predictions
from mlops.training.model import FittedModel

# Passes the finished pieces of work on while it shows a person how many of them there are.
Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]


@dataclass(frozen=True)
class Evaluation:
    """What is known of a model on the n rows of the test split.

    `scores` and `intervals` have an entry per metric, `groups` a row per level of the sensitive columns, `curves` the
    tables behind the plots by name; `facts`, `fairness` and `explanations` are plain values.
    """

    predictions: Predictions
    headline: str
    scores: dict[str, float]
    intervals: dict[str, intervals.Interval]
    groups: pd.DataFrame
    fairness: dict[str, Any]
    curves: dict[str, pd.DataFrame]
    explanations: Any
    facts: dict[str, Any]


def evaluate(
    model: FittedModel, table: pd.DataFrame, reference: Profile, settings: Evaluate, *, trees: bool, progress: Progress
) -> Evaluation:
    """Predict the typed test split (n rows) once, and derive everything from those predictions.

    `reference` is the profile of the training split; with `trees`, models of trees are explained, too.

    Raises:
        ParameterError: there is no headline metric of that name for this task.
    """
    schema, pipeline, threads = model.schema, model.pipeline, model.threads
    headline = task.headline(model.task, settings.metric)
    predictions = model.predict(table, task.labels(table[schema.target], model.task))
    scores = results.scores(predictions, headline)
    spans = intervals.bootstrap(predictions, settings.resamples, settings.confidence, settings.seed)
    inputs = encoding.inputs(table, schema)
    shuffled = importance.permutation_importances(
        pipeline, inputs, predictions, schema, headline, settings.importance_repeats, settings.seed, threads
    )
    importances = importance.table(progress(shuffled, min(len(schema.inputs), importance.MOST_FEATURES), "shuffling features"))
    partial = dependence.partial_dependence(
        pipeline, table, predictions, schema, importances["feature"], settings.seed, threads
    )
    return Evaluation(
        predictions=predictions,
        headline=headline,
        scores=scores,
        intervals=spans,
        groups=results.metrics_by_group(predictions, table, schema.sensitive),
        fairness=fairness.report(predictions, table[schema.sensitive], settings.smallest_group, settings.confidence),
        curves={**curves.curves(predictions), "importances": importances, "partial_dependence": partial},
        explanations=explanation.of_notable(pipeline, table, predictions, schema, reference, threads, trees=trees),
        facts=results.facts(predictions, headline, spans),
    )


def page(
    evaluation: Evaluation, model: FittedModel, trained: dict[str, Any], dataset: dict[str, Any], confidence: float
) -> dict[str, Any]:
    """What the page for people shows; `trained` and `dataset` are the reports of the stages `train` and `prepare`."""
    return {
        "trained": trained,
        "dataset": dataset,
        "target": model.schema.target,
        "confidence": confidence,
        "metrics": results.metric_rows(evaluation.scores, evaluation.intervals, trained["cross_validated"]),
        "subject": dependence.subject(evaluation.predictions),
        "unshuffled": len(model.schema.inputs) - len(evaluation.curves["importances"]),
        "explained": evaluation.explanations,
        "groups": evaluation.groups.to_dict(orient="records"),
        "fairness": evaluation.fairness,
        **figures.of_evaluation(evaluation.curves, evaluation.headline, evaluation.fairness["columns"]),
        **evaluation.facts,
    }
