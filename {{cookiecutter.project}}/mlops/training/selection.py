"""The work of the stage `train`: cross-validate the chosen model, or candidates of it, and fit the best on all rows."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa

from mlops.base import params
from mlops.base.errors import ParameterError
from mlops.data.schema import Schema
from mlops.training import decision, encoding, estimators, fitting, large, search, task
from mlops.training.model import FittedModel, fitted_model

# Passes the finished pieces of work on while it shows a person how many of them there are.
Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]


@dataclass(frozen=True)
class Trained:
    """The fitted model; the mean of each cross-validated metric; a report; a row per candidate; a line for people."""

    model: FittedModel
    metrics: dict[str, float]
    report: dict[str, Any]
    candidates: pd.DataFrame
    sentence: str


def train(
    table: pd.DataFrame | large.Stored,
    schema: Schema,
    settings: params.Train,
    models: params.Models,
    progress: Progress,
    split: str = "stratified",
    headline: str = "auto",
) -> Trained:
    """Train the model that `settings` chooses from `models` on the n rows of the training split.

    Of a stored table that takes more memory than `settings` allow, it is fitted on a sample or batch by batch (see
    `mlops.training.large`).

    `split` is how the test rows were split off (`prepare.split`): after a split by time, the folds are by time, too.
    `headline` (`evaluate.metric`) is the metric that is told, and by which a search chooses unless it has its own.

    Raises:
        DataError: there are too few rows for the folds, or to learn a threshold or a calibration from.
        ParameterError: there is no such model, it refuses its arguments or the data, or lacks what `settings` take.
    """
    from sklearn.base import clone

    table, whole = large.held(table, schema, settings)
    kind = task.task_of(table[schema.target], schema.columns[schema.target].type, settings.task)
    target = task.labels(table[schema.target], kind)
    positive = task.positive_class(target, settings.positive)
    inputs = encoding.inputs(table, schema)
    many = encoding.many_levels(inputs, schema, settings.max_levels, settings.encoded_megabytes)
    encoder = encoding.encoder(schema, many, settings.rare_level, kind, settings.seed)
    ordering = schema.with_role("time" if split == "time" else "group")
    units = table[ordering[0]] if ordering else None
    rows = len(table)
    del table  # the copy of it in `inputs` is all that is needed, and the fits need the memory
    pa.default_memory_pool().release_unused()
    if split == "time" and units is not None:
        folds = fitting.folds_by_time(units, settings.folds)
    else:
        folds = fitting.folds(target, units, kind, settings.folds, settings.seed)

    chosen, space = models.choose(settings.model), settings.search.space.get(settings.model, {})
    path = chosen.classifier if kind == "classification" else chosen.regressor
    configured = estimators.build(settings.model, path, chosen.arguments, kind, settings.seed, settings.threads)
    weighted = settings.balance == "classes" and estimators.balance(settings.model, configured, kind)
    deciding = decision.is_asked(settings, configured, kind, positive)
    arguments = search.candidates(settings.model, configured, space, settings.search.candidates, settings.seed)
    scored = hasattr(configured, "predict_proba") or settings.calibrate != "none"
    counts = whole.classes if whole else task.rows_per_class(target)
    judged_by = task.headline(headline, counts, positive, probabilities=scored)
    own = settings.search.metric if settings.search.candidates else "auto"
    metric = search.metric_named(judged_by.metric, "evaluate.metric") if own == "auto" else search.metric_named(own)

    tried, number = [estimators.with_arguments(configured, values) for values in arguments], 0
    outcomes: list[search.FoldScore] = []
    if len(tried) > 1:
        searching = search.search(encoder, tried, inputs, target, folds, positive, settings.threads, weighted)
        outcomes = list(progress(searching, len(folds) * len(tried), "cross-validating"))
        number = search.best(search.collected(arguments, outcomes, metric), metric).number
    pipeline, again = fitting.pipeline(encoder, tried[number]), folds if deciding or not outcomes else []
    judge = partial(decision.out_of_fold, settings=settings) if deciding else None
    in_batches = whole if large.learns_in_batches(pipeline[-1]) else None
    wanted = [*again] if in_batches else [*again, None]
    pieces = fitting.cross_validate(pipeline, inputs, target, wanted, positive, settings.threads, judge, weighted)
    parts = list(progress(pieces, len(wanted), "cross-validating"))
    if in_batches:
        fitted = clone(pipeline)
        batches = large.fit_in_batches(fitted, inputs, target, in_batches, schema, kind, settings, weighted)
        deque(progress(batches, in_batches.batches * settings.passes, "fitting batch by batch"), 0)
    else:
        fitted = parts.pop()
    decided = decision.decide(parts, settings) if deciding else decision.undecided(parts, fitted, positive)
    found = search.collected(arguments, outcomes or [(0, one) for one in decided.folds], metric)
    best, scores = found[number], decided.folds or found[number].folds

    summary = fitting.summarise(scores)
    if metric not in summary:
        raise ParameterError(f"evaluate.metric is {metric}, but there are {', '.join(summary)}: choose one of them")
    report = {
        "model": settings.model,
        "estimator": path,
        "balance": settings.balance,
        "arguments": tried[best.number].get_params(deep=False),
        "task": kind,
        "positive": positive,
        "headline": judged_by._asdict(),
        "rows": rows,
        "features": schema.inputs,
        "mean_encoded": many,
        "rare_classes": fitting.rare_classes(target, settings.folds),
        "cross_validated": summary,
        "folds": scores,
        "decision": decided.report,
        "search": search.report(found, best, metric),
        **({"sample": whole.facts(settings.passes if in_batches else None)} if whole else {}),
    }
    cross_validated = f"{metric} {summary[metric]['mean']:.4f} ± {summary[metric]['std']:.4f}"
    which = f", candidate {best.number} of {len(tried) - 1}" if len(tried) > 1 else ""
    on = f", {large.sentence(report['sample'])}" if whole else ""
    return Trained(
        model=fitted_model(
            decided.decision.model(fitted), schema, kind, positive, settings.threads, decided.decision.threshold
        ),
        metrics={name: spread["mean"] for name, spread in summary.items()},
        report=report,
        candidates=search.table(found, metric),
        sentence=f"{settings.model}{which}: {cross_validated}{decision.sentence(decided)}{on}",
    )
