"""`params.yaml`, typed: one class per section, named after the stage that reads it.

A stage loads exactly the sections that `dvc.yaml` declares for it (a test compares them), so that no parameter takes
effect without DVC knowing. Every parameter has a default, so that an older `params.yaml` stays valid.
"""

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    RootModel,
    StringConstraints,
    model_validator,
)

from mlops.base import yaml
from mlops.base.errors import ParameterError, nearest
from mlops.base.names import visible

FILE = Path("params.yaml")

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Words = Annotated[str, StringConstraints(strip_whitespace=True)]


class Section(BaseModel):
    """A section that admits no unknown name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Prepare(Section):
    """How raw data becomes a training and a test split."""

    split: Literal["stratified", "random", "time", "group"] = "stratified"
    """How rows are drawn for the test split. `time` takes the newest rows, in the folds too, and `group` keeps
    the rows of a group together: each needs a column of that role."""
    test_size: OpenShare = 0.2
    """Share of the rows in the test split."""
    seed: Seed = 42
    """Seed of the draw."""
    duplicates: Literal["keep", "drop_rows", "drop_ids"] = "keep"
    """`drop_rows` drops rows that are equal in every column; `drop_ids` keeps the last row of each id."""
    ragged: Literal["refuse", "reject"] = "refuse"
    """What becomes of a row of a text file with too many or too few values: an error, or left out and counted."""


class Validate(Section):
    """From which shares of the rows on a check of the prepared data warns, or fails."""

    missing_warning: Share = 0.3
    """Warn if more than this share of a column is missing."""
    duplicate_warning: Share = 0.05
    """Warn if more than this share of the rows repeats another row."""
    smallest_class_warning: Share = 0.05
    """Warn if the smallest class has less than this share of the rows."""
    overlap_warning: Share = 0.05
    """Warn if more than this share of the test rows equals a training row."""
    left_out_error: Share = 0.05
    """Fail if more than this share of the lines of text files is left out, because no row fits them."""


class Range(Section):
    """The numbers from `low` to `high`, both included; whole numbers if both are; drawn evenly or by logarithm."""

    low: int | FiniteFloat
    """Smallest value."""
    high: int | FiniteFloat
    """Largest value."""
    log: bool = False
    """Whether values are drawn evenly by their logarithm."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}: low must be the smaller one")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low:g}, which has no logarithm: raise it above 0, or take log away")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Choices = Annotated[list[bool | int | float | str | None], Field(min_length=1)]
Space = dict[str, Range | Choices]


Positive = Annotated[FiniteFloat, Field(gt=0)]
Days = Annotated[FiniteFloat, Field(gt=0, le=100_000)]


class Aggregate(Section):
    """One function of the events in windows of so many days before a row's time; without any, of all before it."""

    function: Literal["count", "sum", "mean", "max", "last", "days_since"]
    """What is computed of the events in a window."""
    column: Annotated[str, AfterValidator(visible)] = ""
    """Column of the events; `count` and `days_since` need none."""
    days: list[Days] = []
    """Lengths of the windows in days, one column each; without any, all earlier events count."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if not self.column and self.function not in ("count", "days_since"):
            raise ValueError(f"{self.function} needs a column of the events: name it as column")
        if self.days and self.function == "days_since":
            raise ValueError("days_since has no window: leave out days")
        return self

    @property
    def windows(self) -> list[float | None]:
        """The lengths of the windows in days; None is all of the history."""
        return [*self.days] or [None]

    def name(self, table: str, days: float | None) -> str:
        """The name of the column for one window, such as orders_sum_amount_30d."""
        parts = (table, self.function, self.column, "" if days is None else f"{days:g}d")
        return "_".join(filter(None, parts))


class EventTable(Section):
    """A file of events, and the columns that are made of them."""

    file: Annotated[Words, Field(min_length=1)]
    """File of the events (CSV or Parquet) below `data/events/`."""
    entity: Annotated[str, AfterValidator(visible), Field(min_length=1)]
    """Column that says whose an event is; the rows have a column of that name, too."""
    time: Annotated[str, AfterValidator(visible), Field(min_length=1)]
    """Column that says when an event was."""
    format: str | None = None
    """Spelling of the times, as in `strptime`; ISO 8601 if empty."""
    decimal: Literal[".", ","] = "."
    """Decimal sign of the numbers."""
    owner: Words = ""
    """Who answers for the events: words for the page of features."""
    source: Words = ""
    """Where the events come from: words for the page of features."""
    aggregates: Annotated[list[Aggregate], Field(min_length=1)]
    """The columns that are made of the events."""

    @model_validator(mode="after")
    def _different_columns(self) -> Self:
        if self.entity == self.time:
            raise ValueError(f"entity and time are both {self.entity}: they have to be two columns of the events")
        if odd := [one.column for one in self.aggregates if one.column in (self.entity, self.time)]:
            raise ValueError(f"{odd[0]} says whose an event is or when it was: aggregate another column")
        return self

    @property
    def columns(self) -> list[str]:
        """The columns of events whose values are used."""
        return list(dict.fromkeys(one.column for one in self.aggregates if one.column))


def _lower(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"{name} is no name of a table: give lower-case letters, digits and _, such as orders")
    return name


class Features(Section):
    """History: the columns that are made from events before each row's time, which stands in its column `time`."""

    time: Annotated[str, AfterValidator(visible)] = ""
    """Column of the rows that says when each is asked about."""
    tables: dict[Annotated[str, AfterValidator(_lower)], EventTable] = {}
    """Tables of events by name."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.tables and not self.time:
            raise ValueError("time is empty: name the column of the rows that says when each is asked about")
        names = [name for name, _, _, _ in self.columns()]
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise ValueError(f"{', '.join(twice)} would be made twice: give each function and window once")
        return self

    def columns(self) -> Iterator[tuple[str, str, Aggregate, float | None]]:
        """Each column that is made: its name, its table, the function, and the window in days."""
        for name, table in self.tables.items():
            for one in table.aggregates:
                for days in one.windows:
                    yield one.name(name, days), name, one, days

    @property
    def names(self) -> list[str]:
        """The names of the columns that are made."""
        return [name for name, _, _, _ in self.columns()]

    @property
    def keys(self) -> list[str]:
        """The columns of a row that a question is made of: its time, and its entities; none without tables."""
        return (
            list(dict.fromkeys([self.time, *(table.entity for table in self.tables.values())])) if self.tables else []
        )

    @property
    def definition(self) -> "Features":
        """The same without words that change no value."""
        bare = {name: table.model_copy(update={"owner": "", "source": ""}) for name, table in self.tables.items()}
        return Features(time=self.time, tables=bare) if bare else Features()


class Search(Section):
    """The number of candidates of a search, and the arguments that vary, per model."""

    candidates: int = Field(default=0, ge=0)
    """Number of candidates that are drawn from the space of the chosen model; 0: no search."""
    metric: str = "auto"
    """Cross-validated metric to choose by; `auto` is that of `evaluate`."""
    space: dict[str, Space] = {}
    """Per model and argument, a list to choose from or a range."""


class Costs(Section):
    """The costs of a wrong label of one of two classes, in any unit; a right label costs nothing."""

    false_positive: FiniteFloat
    """Cost of a row that is wrongly labelled with the positive class."""
    false_negative: FiniteFloat
    """Cost of a row of the positive class that is not recognised."""


def _threshold(value: Any) -> Any:
    """The value, if it is one of a threshold; a union of types would answer with a sentence per type."""
    numbers = [value]
    if isinstance(value, Mapping):
        numbers = list(value.values()) if set(value) == set(Costs.model_fields) else []
    is_number = bool(numbers) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
    most = math.inf if isinstance(value, Mapping) else 1
    # Of NaN no comparison holds, and so neither `min` nor `max` sees it behind another number.
    if isinstance(value, str | Costs) or (is_number and all(0 <= one < most for one in numbers) and any(numbers)):
        return value
    raise ValueError(
        "expected is a number between 0 and 1, auto, a metric, or two costs of at least 0, such as "
        "{false_positive: 1, false_negative: 20}"
    )


class Train(Section):
    """Which model is fitted to what, how it is cross-validated, and how a probability becomes a label."""

    task: Literal["auto", "classification", "regression"] = "auto"
    """`auto` follows the type of the target."""
    positive: str | int | bool | None = None
    """Of two classes, the one to detect; empty: the class that reads as a yes, else the last one."""
    model: str = "random_forest"
    """Name of an estimator below `models`."""
    folds: int = Field(default=5, ge=2)
    """Number of folds of the cross-validation."""
    seed: Seed = 42
    """Seed of the folds, the search and the estimator."""
    threads: int = Field(default=1, ge=1)
    """Threads inside an estimator. It is fixed, because another number can give other bytes."""
    rare_level: int = Field(default=10, ge=1)
    """Levels of a category in fewer training rows than this share one column."""
    max_levels: int = Field(default=100, ge=2)
    """A category with more levels becomes one column: the mean target of each level."""
    encoded_megabytes: int = Field(default=500, ge=1)
    """The largest categories are encoded by the mean target, too, as long as the columns of the others take more
    than this."""
    megabytes: int = Field(default=1000, ge=1)
    """Largest training table, once it is encoded, that a model is fitted to at once: rows × columns × 8 bytes. Of more
    rows, as many are drawn; an estimator with `partial_fit` learns from the others, too, batch by batch."""
    passes: int = Field(default=1, ge=1)
    """How often an estimator that learns batch by batch sees all rows."""
    balance: Literal["none", "classes"] = "none"
    """`classes` gives rows of rare classes more weight, so that all classes weigh the same."""
    threshold: Annotated[float | str | Costs, BeforeValidator(_threshold)] = 0.5
    """Of two classes, the probability from which on the positive one is predicted: a number, `auto` (best F1),
    the name of a metric, or two costs."""
    calibrate: Literal["none", "isotonic", "sigmoid"] = "none"
    """How probabilities of two classes are corrected, by predictions outside of the folds."""
    search: Search = Search()
    """Search for the best arguments of the chosen model, under the same folds."""

    @property
    def costs(self) -> Costs | None:
        """The costs by which the threshold is chosen; None if it is chosen otherwise."""
        return self.threshold if isinstance(self.threshold, Costs) else None


class Estimator(BaseModel):
    """An estimator by import path; every other key is an argument of it, checked against its `get_params`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    classifier: str | None = None
    """Import path of the class for a target of classes."""
    regressor: str | None = None
    """Import path of the class for a target that is a number."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that the person set."""
        return dict(self.model_extra or {})


class Models(RootModel[dict[str, Estimator]]):
    """The estimators to choose from, by short name."""

    model_config = ConfigDict(frozen=True)

    root: dict[str, Estimator] = {
        "random_forest": Estimator(
            classifier="sklearn.ensemble.RandomForestClassifier", regressor="sklearn.ensemble.RandomForestRegressor"
        )
    }

    def paths(self, name: str) -> list[str]:
        """The import paths of the estimator called `name`; none if there is no such name."""
        chosen = self.root.get(name, Estimator())
        return [path for path in (chosen.classifier, chosen.regressor) if path]

    def choose(self, name: str) -> Estimator:
        """The estimator called `name`.

        Raises:
            ParameterError: there is none.
        """
        if name not in self.root:
            raise ParameterError(
                f"{FILE}: train.model is {name}, which is not below models: {nearest(name, list(self.root))}"
            )
        return self.root[name]


class Evaluate(Section):
    """How the test split is judged."""

    metric: str = "auto"
    """Headline metric, by its name in `reports/metrics.json`. `auto`: `r2` for a number, `accuracy` while the
    smallest class has a fifth of the rows, else `average_precision` (`f1_macro` for many classes)."""
    resamples: int = Field(default=1000, ge=1)
    """Bootstrap resamples behind every interval."""
    confidence: OpenShare = 0.95
    """Confidence level of the intervals."""
    importance_repeats: int = Field(default=5, ge=1)
    """Shuffles of each feature for its permutation importance."""
    rows: int = Field(default=1_000_000, ge=1)
    """Most rows of the test split that a model is judged by; of more, as many are drawn."""
    smallest_group: int = Field(default=30, ge=1)
    """A group of a sensitive column with fewer rows is shown, and not judged."""
    seed: Seed = 42
    """Seed of resamples and shuffles."""


class Rule(Section):
    """One rule of the gate: a `metric` of a `measure` against `limit`; the metric `auto` is the headline."""

    measure: Literal["test", "skill", "overfitting", "gain", "worst_group", "fairness", "validation", "behaviour"]
    """What is judged. `test`: the metric on the test split. `skill`: low end of the interval of the gain over
    the best constant prediction. `overfitting`: distance between test and cross-validation. `gain`: low end of
    the interval of the gain over the version in production. `worst_group`: the metric of the worst sensitive
    group. `fairness`: a gap between groups. `validation`: errors or warnings of `validate`. `behaviour`: failed
    tests of `behaviour.yaml`, or those not judged."""
    metric: str = "auto"
    """Metric of the measure; `auto` is the headline (for `skill`: log loss, `rmse` for a number,
    `balanced_accuracy` without probabilities)."""
    direction: Literal["at_least", "at_most", "below", "above"]
    """How the value has to stand to the limit."""
    limit: float
    """The limit."""


SKILL = Rule(measure="skill", direction="above", limit=0)


class Register(Section):
    """Registry name, gate rules, and what a promotion needs: an approval, and that somebody made the version again."""

    name: str = Field(default="model", min_length=1)
    """Name of the model in the registry."""
    mode: Literal["enforce", "dry_run"] = "enforce"
    """`dry_run` judges and records, but makes no version."""
    approval: Literal["required", "off"] = "required"
    """Whether someone else than the author has to approve a version before it is promoted."""
    remade: Literal["required", "off"] = "off"
    """Whether `reproduce` must have given the same bytes before a version is promoted."""
    gate: dict[str, Rule] = {
        "skill": SKILL,
        "overfitting": Rule(measure="overfitting", direction="below", limit=0.1),
        "champion": Rule(measure="gain", direction="at_least", limit=-0.05),
        "fairness": Rule(measure="fairness", metric="equalised_odds", direction="at_most", limit=0.3),
        "validation": Rule(measure="validation", metric="errors", direction="at_most", limit=0),
        "behaviour": Rule(measure="behaviour", metric="failed", direction="at_most", limit=0),
    }
    """Rules by name. Each must hold, or no version is made."""

    @property
    def rules(self) -> dict[str, Rule]:
        """The gate with the rule `skill`, which a gate of an older version does not name."""
        named = any(rule.measure == "skill" for rule in self.gate.values())
        return self.gate if named else {"skill": SKILL, **self.gate}


class Retrained(Section):
    """Which model `python -m mlops retrain` made, and why, which it writes here. No result depends on it.

    `model` is the SHA-256 of its file: any other model was not made by `retrain`.
    """

    model: str = ""
    """SHA-256 of the model file that `retrain` made last."""
    trigger: Words = ""
    """What asked for that model."""
    reasons: list[Words] = []
    """Why it was made."""

    def of(self, model: str) -> "Retrained | None":
        """These words if `retrain` made the model with this SHA-256, else None."""
        return self if self.model and self.model == model else None


class Card(Section):
    """The words of people in the model card; the card calls an empty one "not stated". No result depends on them.

    `retrained` are words of `python -m mlops retrain`.
    """

    purpose: Words = ""
    """What the model is for."""
    users: Words = ""
    """Who is meant to use its answers."""
    not_for: Words = ""
    """What its answers must not be used for."""
    limits: list[Words] = []
    """Known limits, a sentence each, besides those that the reports show."""
    owner: Words = ""
    """Who answers for the model."""
    retrained: Retrained = Retrained()
    """Written by `python -m mlops retrain`: the model that it made last, and why."""


class Monitor(Section):
    """When a difference between the delivery and the training data is drift, and when to retrain."""

    features: list[Annotated[str, AfterValidator(visible)]] | Literal["all"] = "all"
    """The features that are compared: all, or a list of names."""
    rows: int = Field(default=1_000_000, ge=1)
    """Most rows of a delivery that the model answers; of more, as many are drawn. Features are compared on all rows."""
    p_value: OpenShare = 0.05
    """Significance of a difference, adjusted for the number of tests (Benjamini–Hochberg)."""
    ks_distance: Share = 0.1
    """Smallest gap between the distributions of a number that is drift (Kolmogorov–Smirnov)."""
    cramers_v: Share = 0.1
    """Smallest association of a category with old or new rows that is drift."""
    unseen_share: Share = 0.05
    """Smallest share of rows with a level that the training data lacks that is drift, beyond what chance gives."""
    missing_change: Share = 0.05
    """Smallest change of the share of missing values that is drift."""
    domain_auc: Annotated[float, Field(ge=0.5, le=1)] = 0.55
    """From this ROC AUC on, a classifier tells new rows from training rows by all columns; 0.5: not at all."""
    drifted_share: Share = 0.3
    """If more than this share of the features drifted, retraining is recommended."""
    minimum_accuracy: Share | None = None
    """If a labelled delivery has less accuracy (`r2` for a number), retraining is recommended; empty: no limit."""
    windows: int = Field(default=1, ge=1)
    """Number of the last deliveries that an alarm of `check-drift` looks at."""
    needed: int = Field(default=1, ge=1)
    """Number of these that must have raised an alarm, the newest among them."""

    @model_validator(mode="after")
    def _attainable(self) -> Self:
        if self.needed > self.windows:
            raise ValueError(
                f"needed is {self.needed}, more than windows, which is {self.windows}: no alarm could come"
            )
        return self


def _address(text: str) -> str:
    """An e-mail address of one recipient; a line end would be another header."""
    if not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", text):
        raise ValueError(f"{text!r} is no e-mail address such as ada@example.org")
    return text


def _collected(path: str) -> str:
    if path and not path.endswith(".prom"):
        raise ValueError(f"{path} must end with .prom: the node exporter reads no other file")
    return path


Address = Annotated[str, AfterValidator(_address)]


class Alerts(Section):
    """Who is told of drift and of failed runs: channels, recipients, and how often. No stage reads it.

    Addresses and passwords come from the environment only.
    """

    channels: list[Literal["log", "webhook", "slack", "email"]] = ["log"]
    """Where alerts go."""
    issue: Literal["none", "github", "gitlab"] = "none"
    """Where an issue stays open as long as the alarm stands."""
    textfile: Annotated[Words, AfterValidator(_collected)] = ""
    """File for the textfile collector of Prometheus' node exporter; it ends with `.prom`."""
    email_to: list[Address] = []
    """Recipients of mails."""
    email_from: Address | Literal[""] = ""
    """Sender of mails; empty: the first one of `email_to`."""
    cooldown_hours: Annotated[FiniteFloat, Field(ge=0, le=100_000)] = 24
    """Hours after which an alarm that stands is told again, if there is something new."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if "email" in self.channels and not self.email_to:
            raise ValueError("channels has email, but email_to names nobody: add an address")
        return self


class Retrain(Section):
    """When `python -m mlops retrain` trains again, and how far it goes by itself. No stage reads it."""

    drift: Literal["recommended", "alarm", "off"] = "recommended"
    """Which drift is a reason: `recommended` as `monitor` says, `alarm` any drift."""
    metric: str = "auto"
    """Metric of a labelled delivery, by its name in `reports/drift.json`; `auto`: accuracy, or `r2` for a number."""
    minimum: FiniteFloat | None = None
    """A worse value of that metric is a reason; empty: none is."""
    oldest_days: Positive | None = None
    """An older model is a reason; empty: its age is none."""
    new_rows: Positive | None = 0.2
    """New labelled rows, as a share of those in use, that are a reason; empty: their number is none."""
    label_days: Annotated[FiniteFloat, Field(ge=0, le=10_000)] = 14
    """Predictions of the last days that `--from-predictions` leaves out, since their labels are still to come."""
    search_trials: int = Field(default=0, ge=0)
    """Trials of `sweep.space`, of which the best replaces the parameters if it is better; 0: none."""
    auto_merge: bool = False
    """Whether a result that passes the gate, and is no regression, is merged, registered and promoted."""


class Sweep(Section):
    """What `python -m mlops sweep --trials` varies: parameters by their dotted names. No stage reads it."""

    space: Space = {}
    """Per dotted parameter, a list to choose from or a range."""
    seed: Seed = 42
    """Seed of the trials."""


def _rising(steps: list[float]) -> list[float]:
    if any(before >= after for before, after in pairwise(steps)):
        raise ValueError("every share must be larger than the one before it, such as [0.01, 0.05, 0.25]")
    return steps


def _limit(value: Any) -> Any:
    """The value, if it is a number of milliseconds or `auto`; told in one sentence, as by `_threshold`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "auto" or (number and 0 < value < math.inf):
        return value
    raise ValueError("expected is a number of milliseconds above 0, or auto")


Ratio = Annotated[FiniteFloat, Field(ge=1)]


class Serving(Section):
    """How `python -m mlops serve` answers: routing, the test that rolls back, limits, the log. No stage reads it."""

    route: Literal["champion", "ab", "shadow", "canary"] = "champion"
    """Who answers: the version in production alone, both by shares, both with the challenger only logged, or the
    challenger by steps."""
    share: OpenShare = 0.5
    """With `ab`, the share of the requests that the challenger answers."""
    key: Annotated[str, AfterValidator(visible)] = ""
    """Column whose values always get the same version, and count once; empty: each request for itself."""
    steps: Annotated[list[OpenShare], Field(min_length=1), AfterValidator(_rising)] = [0.01, 0.05, 0.25]
    """With `canary`, the rising shares of the challenger; after the last one it is promoted."""
    step_requests: int = Field(default=2000, ge=1)
    """Requests of both versions together that pass a step."""
    step_minutes: Annotated[FiniteFloat, Field(ge=0)] = 10
    """Minutes without an alarm that pass a step."""
    alpha: OpenShare = 0.01
    """Chance of rolling back a challenger as good as the champion, however long it runs."""
    tolerated_ratio: Ratio = 1.0
    """Challenger over champion: tolerated ratio of the rates of errors, slow answers and wrong answers."""
    prediction_ratio: Ratio = 1.5
    """Tolerated ratio of the rates at which each class, or a very high or low number, is predicted."""
    slow_ms: Annotated[float | str, BeforeValidator(_limit)] = "auto"
    """Milliseconds from which on an answer is slow; `auto`: by the champion's latency when the route starts."""
    max_rows: int = Field(default=1000, ge=1)
    """Most rows of a JSON request."""
    body_megabytes: Positive = 10
    """Largest request in megabytes."""
    timeout_seconds: Positive = 10
    """Seconds that a request may take."""
    rate_limit: Annotated[FiniteFloat, Field(ge=0)] = 0
    """Requests a second with one API key; 0: any number."""
    log_megabytes: Positive = 1000
    """Largest size of the log of predictions; when it is full, predictions are left out, and counted."""
    mask: Literal["none", "sensitive"] = "none"
    """`sensitive` leaves the values of sensitive columns out of the log."""
    folder: Annotated[Words, Field(min_length=1)] = "serving"
    """Where the server keeps its log, its state and its copies of models."""


class Tracking(Section):
    """Where runs are kept. It changes no result, so no stage declares it."""

    uri: str = ""
    """Address of MLflow; empty: `mlflow.db` in the project. `MLFLOW_TRACKING_URI` in the environment wins."""
    experiment: str = Field(default="model", min_length=1)
    """Name of MLflow's experiment."""

    @model_validator(mode="after")
    def _no_relative_sqlite(self) -> Self:
        if self.uri.startswith("sqlite:") and not self.uri.startswith("sqlite:////"):
            raise ValueError(
                "a relative SQLite path would be another store in every experiment's folder: leave it empty for "
                "mlflow.db in the project, or give an absolute path (sqlite:////…)"
            )
        return self


class Compute(Section):
    """The Dask cluster that does parallel work. It changes no result, so no stage declares it."""

    scheduler: Words = ""
    """Address of its scheduler, such as `tcp://10.0.0.1:8786`; without one, threads of this machine work."""
    folder: Annotated[Words, Field(min_length=1)] = ".mlops"
    """Place for tables too large to be sent: a folder or bucket that all workers see under the same name."""


KINDS = (
    Prepare,
    Features,
    Validate,
    Train,
    Models,
    Evaluate,
    Register,
    Card,
    Monitor,
    Alerts,
    Retrain,
    Sweep,
    Serving,
    Tracking,
    Compute,
)
SECTIONS: dict[str, type[BaseModel]] = {kind.__name__.lower(): kind for kind in KINDS}
RECORDED = ("prepare", "validate", "train", "models", "evaluate", "register")
Kind = TypeVar("Kind", bound=BaseModel)


def load(section: type[Kind], path: Path = FILE, *, missing_ok: bool = False) -> Kind:
    """Read one section of `params.yaml`; a section or a parameter that is not there has its default.

    With `missing_ok`, the file may be missing, too.

    Raises:
        ParameterError: a section or a name in it is unknown, or a value is out of range; all of them are named.
    """
    if missing_ok and not path.exists():
        return section()
    content = _content(path)
    for key in content:
        if key not in SECTIONS:
            raise ParameterError(f"{path} has an unknown section {key}: {nearest(str(key), list(SECTIONS))}")
    name = section.__name__.lower()
    if content.get(name) is None:
        return section()
    return yaml.validate(section, content[name], f"{path}: {name}", ParameterError)


def recorded(path: Path = FILE) -> dict[str, Any]:
    """The sections that a registered model depends on, as they are written; its digest is made of them."""
    return recorded_of(_content(path))


def recorded_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """These sections in the content of a `params.yaml`; features among them only where there are any."""
    return {name: content.get(name) for name in _recorded(content)}


def _recorded(content: Mapping[str, Any]) -> tuple[str, ...]:
    return (*RECORDED, "features") if (content.get("features") or {}).get("tables") else RECORDED


def effective(path: Path = FILE) -> dict[str, Any]:
    """The same sections with every default filled in, as plain values: the parameters of a run."""
    return {name: load(SECTIONS[name], path).model_dump(mode="json") for name in _recorded(_content(path))}


def _content(path: Path) -> dict[str, Any]:
    content = _parsed(yaml.text_of(path), str(path))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ParameterError(f"{path} holds no sections: its sections are {', '.join(SECTIONS)}")
    return content


@lru_cache(maxsize=2)
def _parsed(text: str, where: str) -> Any:
    """The content of one text, parsed once: `register` reads ten sections of it."""
    return yaml.parsed(text, where)


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by dotted name, as DVC writes them."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found
