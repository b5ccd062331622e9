"""The work of the stage `evaluate`: everything that is said of a model on the test split, from one prediction of it."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mlops.base.params import Evaluate
from mlops.data.profile import Profile
from mlops.evaluation import (
    baseline,
    behaviour,
    curves,
    dependence,
    explanation,
    fairness,
    figures,
    importance,
    intervals,
    results,
)
from mlops.evaluation.declaration import Declaration
from mlops.training import encoding, task
from mlops.training.metrics import Predictions, limits
from mlops.training.model import FittedModel

# Passes the finished pieces of work on while it shows a person how many of them there are.
Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]


@dataclass(frozen=True)
class Judging:
    """What a stage says besides: whether models of `trees` are explained, too, and the rows of the whole test split.

    They are if shap is locked, and not if it is installed: or one lock would give two reports. `declared` are the tests
    of the model's behaviour; None where the pipeline is older than these.
    """

    trees: bool
    declared: Mapping[str, Declaration] | None
    every: int
    progress: Progress


@dataclass(frozen=True)
class Evaluation:
    """What is known of a model on the n rows of the test split.

    `scores`, `baseline` (of the best predictions without features) and `intervals` have an entry per metric, `groups` a
    row per level of the sensitive columns, `curves` the tables behind the plots by name; `facts`, `fairness`,
    `behaviour` and `explanations` are plain values; `sentence` are lines for people.
    """

    predictions: Predictions
    headline: task.Headline
    scores: dict[str, float]
    baseline: dict[str, float]
    intervals: dict[str, intervals.Interval]
    groups: pd.DataFrame
    fairness: dict[str, Any]
    curves: dict[str, pd.DataFrame]
    behaviour: dict[str, Any]
    explanations: Any
    facts: dict[str, Any]
    sentence: str


def evaluate(
    model: FittedModel,
    table: pd.DataFrame,
    reference: Profile,
    trained: Mapping[str, Any],
    settings: Evaluate,
    given: Judging,
) -> Evaluation:
    """Predict the typed rows of the test split (n, all or a sample) once, and derive everything from the predictions.

    `reference` is the profile of the training split, and `trained` the report of the stage `train`.

    Raises:
        ParameterError: there is no headline metric of that name for this task, or a declared test is about what there
            is not.
    """
    declared, sample = given.declared, {"rows": len(table), "of": given.every} if given.every > len(table) else None
    schema, pipeline, threads = model.schema, model.pipeline, model.threads
    actual = task.labels(table[schema.target], model.task)
    predictions = model.predict(table, actual)
    below, decided = model.uncalibrated, trained["decision"]
    before = None if below is None else below.predict(table, actual)
    headline = baseline.headline(predictions, reference[schema.target], settings.metric)
    metric = headline.metric
    scores = results.scores(predictions, metric)
    without = results.ordered(baseline.scores(predictions, reference[schema.target]), metric)
    spans = intervals.bootstrap(predictions, settings.resamples, settings.confidence, settings.seed)
    folds = [fold.get(metric) for fold in trained["folds"]]
    expected = intervals.expected(folds, trained["rows"], len(table), settings.confidence)
    inputs = encoding.inputs(table, schema)
    shuffled = importance.permutation_importances(
        pipeline, inputs, predictions, schema, metric, settings.importance_repeats, settings.seed, threads
    )
    count = min(len(schema.inputs), importance.MOST_FEATURES)
    importances = importance.table(given.progress(shuffled, count, "shuffling features"))
    partial = dependence.partial_dependence(
        pipeline, table, predictions, schema, importances["feature"], settings.seed, threads
    )
    behaved = (
        behaviour.none("dvc.yaml gives the stage evaluate no file of tests")
        if declared is None
        else behaviour.run(declared, model, table, predictions, reference, list(scores), settings.seed)
    )
    told = results.sentence(scores, spans, headline, len(table), without, sample)
    return Evaluation(
        predictions=predictions,
        headline=headline,
        scores=scores,
        baseline=without,
        intervals=spans,
        groups=results.metrics_by_group(predictions, table, schema.sensitive),
        fairness=fairness.report(predictions, table[schema.sensitive], settings.smallest_group, settings.confidence),
        curves={
            **curves.curves(predictions),
            **curves.of_decision(predictions, before, decided),
            "importances": importances,
            "partial_dependence": partial,
        },
        behaviour=behaved,
        explanations=explanation.of_notable(
            pipeline, table, predictions, schema, reference, threads, trees=given.trees
        ),
        facts={
            **results.facts(predictions, headline, spans),
            "decision": results.decision(predictions, before, decided),
            "expected": None if math.isnan(expected.low) else np.clip(expected, *limits(metric)).tolist(),
            "luck": results.luck(metric, scores[metric], spans[metric], expected),
            "plain": results.in_plain_numbers(predictions, scores, without),
            **({"sample": sample} if sample else {}),
        },
        sentence=f"{told}\n{behaviour.sentence(behaved)}",
    )


def page(
    evaluation: Evaluation, model: FittedModel, trained: dict[str, Any], dataset: dict[str, Any], confidence: float
) -> dict[str, Any]:
    """What the page for people shows; `trained` and `dataset` are the reports of the stages `train` and `prepare`."""
    return {
        "trained": trained,
        "dataset": dataset,
        "target": model.schema.target,
        "fitted_on": results.fitted(dataset["split"]["train"], trained.get("sample")),
        "tested_on": results.tested(dataset["split"]["test"], evaluation.facts.get("sample")),
        "confidence": confidence,
        "metrics": results.metric_rows(
            evaluation.scores, evaluation.intervals, trained["cross_validated"], evaluation.baseline
        ),
        "subject": dependence.subject(evaluation.predictions),
        "unshuffled": len(model.schema.inputs) - len(evaluation.curves["importances"]),
        "explained": evaluation.explanations,
        "groups": evaluation.groups.to_dict(orient="records"),
        "fairness": evaluation.fairness,
        "behaviour": evaluation.behaviour,
        **figures.of_evaluation(
            evaluation.curves, evaluation.headline.metric, evaluation.fairness["columns"], evaluation.facts["decision"]
        ),
        **evaluation.facts,
    }
