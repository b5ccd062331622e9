"""Train and judge a version as the pipeline does, in memory and a temporary folder: nothing is recorded anywhere."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base import params
from mlops.base.errors import ParameterError
from mlops.data import preparation, profile, validation
from mlops.data.profile import Profile
from mlops.data.schema import Schema
from mlops.evaluation import baseline, comparison, gate, intervals, results
from mlops.evaluation.gate import Gain
from mlops.intake import tables
from mlops.monitoring import domain
from mlops.simulation.world import Probabilities
from mlops.training import encoding, fitting, selection, task
from mlops.training.metrics import Predictions
from mlops.training.model import FittedModel

# The forest whose out-of-fold probabilities are the truth of a simulated year: large leaves, so that they are not sure
# of what is luck. It is the same for every project, so that no model is judged by its own answers.
TREES, LEAF = 100, 10
MEASURES = {"skill", "overfitting", "gain", "validation"}  # of the rules that hold in any world
Weeks = NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """The sections of params.yaml that a simulated year reads."""

    prepare: params.Prepare
    validate: params.Validate
    train: params.Train
    models: params.Models
    evaluate: params.Evaluate
    register: params.Register
    monitor: params.Monitor
    serving: params.Serving
    retrain: params.Retrain


def read_settings() -> Settings:
    """The sections as params.yaml has them, but for the search: a year trains many times.

    Raises:
        ParameterError: a section or a name in it is unknown, or a value is out of range.
    """
    train = params.load(params.Train)
    return Settings(
        params.load(params.Prepare),
        params.load(params.Validate),
        train.model_copy(update={"search": params.Search()}),
        params.load(params.Models),
        params.load(params.Evaluate),
        params.load(params.Register),
        params.load(params.Monitor),
        params.load(params.Serving),
        params.load(params.Retrain),
    )


@dataclass(frozen=True)
class Version:
    """A trained model with what it is judged and watched by.

    `test` is its test split (n typed rows), `predictions` its answers there, `answers` both as the stage `evaluate`
    writes them, `reference` the profile of its training split, and `scores` its metrics on the test split. `week` is
    that of the training; 0 is before the year. `test_weeks` (n,) are the weeks in which the test rows were delivered,
    and `newest` is the newest week that it has learnt from.
    """

    number: int
    week: int
    model: FittedModel
    reference: Profile
    sample: pd.DataFrame
    trained_rows: int
    test: pd.DataFrame
    test_weeks: Weeks
    newest: int
    predictions: Predictions
    answers: pd.DataFrame
    scores: dict[str, float]
    cross_validated: dict[str, float]
    errors: dict[str, int]
    headline: str


def probabilities(table: pd.DataFrame, schema: Schema, settings: Settings) -> Probabilities:
    """The probabilities (n, k) of the k sorted classes for n labelled rows, by forests that had not seen the row.

    Raises:
        ParameterError: the target is a number, which has no classes.
        DataError: there are too few rows for the folds.
    """
    from sklearn.ensemble import RandomForestClassifier

    train = settings.train
    if task.task_of(table[schema.target], schema.columns[schema.target].type, train.task) != "classification":
        raise ParameterError(
            f"the target {schema.target} is a number: a year is simulated for classes only, since a shift of it is the "
            "exchange of their probabilities"
        )
    target = task.labels(table[schema.target], "classification")
    inputs = encoding.inputs(table, schema)
    many = encoding.many_levels(inputs, schema, train.max_levels, train.encoded_megabytes)
    encoder = encoding.encoder(schema, many, train.rare_level, "classification", train.seed)
    forest = RandomForestClassifier(TREES, min_samples_leaf=LEAF, random_state=train.seed)
    groups = schema.with_role("group")
    units = table[groups[0]] if groups else None
    folds = fitting.folds(target, units, "classification", train.folds, train.seed)
    model, found = fitting.pipeline(encoder, forest), np.zeros((len(table), len(np.unique(target))))
    answers = fitting.cross_validate(
        model, inputs, target, folds, None, train.threads, judge=lambda _model, _rows, each: each.probabilities
    )
    for (_, test), each in zip(folds, answers, strict=True):
        found[test] = each
    return found


def learn(
    table: pd.DataFrame, weeks: Weeks, schema: Schema, settings: Settings, folder: Path, number: int, week: int
) -> Version:
    """Train a version on n typed, labelled rows: split, validate, cross-validate, fit, and answer the test split.

    `weeks` (n,) are those in which the rows were delivered; 0 is before the year.

    Raises:
        DataError: the rows cannot be split or learnt from.
        ParameterError: the model refuses them.
    """
    path, sides = folder / "learn.parquet", {}
    tables.write(path, table)
    stored = tables.Stored(path)
    split = preparation.split(stored, 0, schema, settings.prepare)
    for side, kept in (("train", split.train), ("test", split.test)):
        sides[side] = folder / f"{side}.parquet"
        tables.write_batches(sides[side], stored.batches(kept))
    train, test = (tables.read(sides[side]) for side in ("train", "test"))
    nothing: dict[str, Any] = {"rows": 0, "reasons": {}, "examples": []}
    facts = {
        "unparseable": [],
        "losses": {},
        "files": {path.name: len(table)},
        "left_out": nothing,
        "repaired": nothing,
    }
    checks = validation.validate(
        tables.Stored(sides["train"]), tables.Stored(sides["test"]), facts, schema, settings.validate
    )
    trained = selection.train(
        train, schema, settings.train, settings.models, _unseen, settings.prepare.split, settings.evaluate.metric
    )
    reference, model = profile.profile(train, schema), trained.model
    found = model.predict(test, task.labels(test[schema.target], model.task))
    headline = baseline.headline(found, reference[schema.target], settings.evaluate.metric).metric
    return Version(
        number=number,
        week=week,
        model=model,
        reference=reference,
        sample=domain.sample(tables.Stored(sides["train"]), schema),
        trained_rows=len(train),
        test=test,
        test_weeks=weeks[split.test],
        newest=int(weeks.max()),
        predictions=found,
        answers=results.to_frame(found, test, schema),
        scores=results.scores(found, headline),
        cross_validated=trained.metrics,
        errors=validation.counts(checks),
        headline=headline,
    )


def judge(challenger: Version, champion: Version, schema: Schema, settings: Settings) -> list[gate.RuleResult]:
    """The gate of params.yaml on a challenger, without the rules that set an absolute limit.

    Those (a minimum, the worst group, fairness) are about the project's own data, and this is a world of another one.

    Raises:
        ParameterError: a rule names a metric that does not exist, or limits a metric in the wrong direction.
    """
    judging, found = settings.evaluate, challenger.predictions
    roc_auc = intervals.bootstrap(found, judging.resamples, judging.confidence, judging.seed).get("roc_auc")
    own = settings.train.calibrate == "none" and challenger.model.positive is not None
    evidence = gate.Evidence(
        test=_defined(challenger.scores),
        cross_validated=_defined(challenger.cross_validated),
        validation=challenger.errors,
        skill=baseline.skill(found, judging),
        gain=_gain(challenger, champion, judging),
        uncalibrated=own and roc_auc is not None and roc_auc.low > 0.5,
    )
    rules = {name: rule for name, rule in settings.register.rules.items() if rule.measure in MEASURES}
    return gate.judge(evidence, challenger.headline, rules)


def _gain(challenger: Version, champion: Version, judging: params.Evaluate) -> dict[str, Gain] | None:
    """The improvement over the champion on test rows that came after it had learnt; None if there are hardly any.

    It has no metric where the two know different classes.
    """
    fresh = challenger.test_weeks > champion.newest
    if fresh.sum() < judging.smallest_group:
        return None
    if champion.model.classes != challenger.model.classes:
        return {}
    found = challenger.predictions.subset(fresh)
    before = champion.model.predict(challenger.test[fresh].reset_index(drop=True), found.actual)
    differences = comparison.paired_bootstrap(before, found, judging.resamples, judging.confidence, judging.seed)
    return {each.metric: Gain(*each.gain, len(found.actual)) for each in differences}


def _defined(scores: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def _unseen(items: Iterable[Any], _total: int, _what: str) -> Iterable[Any]:
    """Progress that is not shown: that of the year is."""
    return items
