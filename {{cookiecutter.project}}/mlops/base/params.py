"""`params.yaml`, typed: one class per section, named after the stage that reads it.

A stage loads exactly the sections that `dvc.yaml` declares for it (a test compares them), so that no parameter takes
effect without DVC knowing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, RootModel, StringConstraints, model_validator

from mlops.base import yaml
from mlops.base.errors import ParameterError, nearest

FILE = Path("params.yaml")

Share = Field(ge=0, le=1)
OpenShare = Field(gt=0, lt=1)
Words = Annotated[str, StringConstraints(strip_whitespace=True)]


class Section(BaseModel):
    """A section that admits no unknown name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Prepare(Section):
    """How raw data becomes a training and a test split."""

    split: Literal["stratified", "random", "time", "group"]
    test_size: float = OpenShare
    seed: int = Field(ge=0)
    duplicates: Literal["keep", "drop_rows", "drop_ids"]


class Validate(Section):
    """What of the prepared data is worth a warning, as shares of the rows."""

    missing_warning: float = Share
    duplicate_warning: float = Share
    smallest_class_warning: float = Share
    overlap_warning: float = Share


class Range(Section):
    """The numbers from `low` to `high`, both included; whole ones if both are, else drawn evenly, or so by `log`."""

    low: int | FiniteFloat
    high: int | FiniteFloat
    log: bool = False

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


class Search(Section):
    """How many candidates are tried inside `train`, and the arguments of each model that they differ in."""

    candidates: int = Field(ge=0)
    metric: str
    space: dict[str, Space]


class Train(Section):
    """Which model is fitted to what, and how it is cross-validated."""

    task: Literal["auto", "classification", "regression"]
    positive: str | int | bool | None
    model: str
    folds: int = Field(ge=2)
    seed: int = Field(ge=0)
    threads: int = Field(ge=1)
    rare_level: int = Field(ge=1)
    max_levels: int = Field(ge=2)
    encoded_megabytes: int = Field(ge=1)
    search: Search


class Estimator(BaseModel):
    """An estimator by import path; every other key is an argument of it, checked against its `get_params`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    classifier: str | None = None
    regressor: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that the person set."""
        return dict(self.model_extra or {})


class Models(RootModel[dict[str, Estimator]]):
    """The estimators to choose from, by short name."""

    model_config = ConfigDict(frozen=True)

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

    metric: str
    resamples: int = Field(ge=1)
    confidence: float = OpenShare
    importance_repeats: int = Field(ge=1)
    smallest_group: int = Field(ge=1)
    seed: int = Field(ge=0)


class Rule(Section):
    """One rule of the gate: a `metric` of a `measure` against `limit`; the metric `auto` is the headline."""

    measure: Literal["test", "overfitting", "gain", "worst_group", "fairness", "validation"]
    metric: str = "auto"
    direction: Literal["at_least", "at_most", "below"]
    limit: float


class Register(Section):
    """Under which name a model is registered, if, and who has to say yes before it goes into production."""

    name: str = Field(min_length=1)
    mode: Literal["enforce", "dry_run"]
    approval: Literal["required", "off"]
    gate: dict[str, Rule]


class Card(Section):
    """What the model card says that no program knows; what is empty, it calls not stated. No result depends on it."""

    purpose: Words
    users: Words
    not_for: Words
    limits: list[Words]
    owner: Words


class Monitor(Section):
    """When a difference between the delivery and the training data is drift, and when to retrain."""

    features: list[str] | Literal["all"]
    p_value: float = OpenShare
    ks_distance: float = Share
    cramers_v: float = Share
    missing_change: float = Share
    drifted_share: float = Share
    minimum_accuracy: float = Share


class Sweep(Section):
    """What `python -m mlops sweep --trials` varies: parameters by their dotted names. No stage reads it."""

    space: Space
    seed: int = Field(ge=0)


class Tracking(Section):
    """Where runs are kept. It changes no result, so no stage declares it."""

    uri: str
    experiment: str = Field(min_length=1)

    @model_validator(mode="after")
    def _no_relative_sqlite(self) -> Self:
        if self.uri.startswith("sqlite:") and not self.uri.startswith("sqlite:////"):
            raise ValueError(
                "a relative SQLite path would be another store in every experiment's folder: leave it empty for "
                "mlflow.db in the project, or give an absolute path (sqlite:////…)"
            )
        return self


KINDS = (Prepare, Validate, Train, Models, Evaluate, Register, Card, Monitor, Sweep, Tracking)
SECTIONS: dict[str, type[BaseModel]] = {kind.__name__.lower(): kind for kind in KINDS}
RECORDED = ("prepare", "validate", "train", "models", "evaluate", "register")
Kind = TypeVar("Kind", bound=BaseModel)


def load(section: type[Kind], path: Path = FILE) -> Kind:
    """Read one section of `params.yaml`.

    Raises:
        ParameterError: a section or a name in it is unknown, missing or out of range; all of them are named.
    """
    content = yaml.read(path)
    name = section.__name__.lower()
    if not isinstance(content, dict) or name not in content:
        raise ParameterError(f"{path} has no section {name}: add it (the sections are {', '.join(SECTIONS)})")
    for key in content:
        if key not in SECTIONS:
            raise ParameterError(f"{path} has an unknown section {key}: {nearest(str(key), list(SECTIONS))}")
    return yaml.validate(section, content[name], f"{path}: {name}", ParameterError)


def recorded(path: Path = FILE) -> dict[str, Any]:
    """What a registered model depends on, as plain values: the sections that `register` declares."""
    content = yaml.read(path)
    return {name: content[name] for name in RECORDED}


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by dotted name, as DVC writes them."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found
