"""What an owner declares of a model's behaviour: the tests in `behaviour.yaml`, typed. Conditions are data, no code."""

import datetime
import sys
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat, ValidationInfo, field_validator

from mlops.base.errors import nearest
from mlops.base.names import visible
from mlops.base.params import Section, Share

BOUNDS = ("min", "max")
CHANGES = ("set", "add", "scale", "swap")
LARGEST_LOSS = 37.0  # of log loss: a probability below 2^-52 counts as that


def _is_value(value: Any) -> bool:
    """Whether YAML may write a value of a column so: text, a number, true or false, a date, or null for missing."""
    if isinstance(value, int | float):
        return abs(value) <= sys.float_info.max  # no NaN, no infinity, and no whole number that is none as a float
    return value is None or isinstance(value, str | datetime.date)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_empty(least: Any, largest: Any) -> bool:
    """Whether nothing is in a range; of ends that cannot be compared, the column's type decides later."""
    comparable = type(least) is type(largest) or (_is_number(least) and _is_number(largest))
    return comparable and least is not None and least > largest


def _condition(value: Any) -> Any:
    """A value, some of which one must stand, or a range; a union of types would answer with a sentence per type."""
    if isinstance(value, Mapping):
        right = len(value) > 0 and all(name in BOUNDS and end is not None for name, end in value.items())
        values = list(value.values())
    else:
        values = value if isinstance(value, list) else [value]
        right = bool(values)
    if right and all(map(_is_value, values)):
        if isinstance(value, Mapping) and _is_empty(value.get("min"), value.get("max")):
            raise ValueError("no value is in this range, since min is above max")
        return value
    raise ValueError("expected is a value, null for missing, a list of values, or {min: …, max: …} (one or both)")


def _change(value: Any) -> Any:
    """One of the changes of CHANGES, with its value."""
    if isinstance(value, Mapping) and len(value) == 1:
        [(kind, by)] = value.items()
        number = _is_number(by) and _is_value(by)
        two = isinstance(by, list) and len(by) == 2 and all(one is not None and _is_value(one) for one in by)
        right = {"set": _is_value(by), "add": number, "scale": number, "swap": by is True or two}
        if kind not in CHANGES:
            raise ValueError(f"{kind} is unknown: {nearest(str(kind), CHANGES)}")
        if right[kind]:
            return value
    raise ValueError(
        "expected is one of {set: a value}, {add: a number}, {scale: a number}, {swap: true} and "
        "{swap: [one value, another]}"
    )


def _number(value: Any) -> Any:
    """A number that YAML writes as one."""
    if not _is_number(value):
        raise ValueError("expected is a number, without quotes")
    return value


def _label(value: Any) -> Any:
    """The value of one class; a union of types would answer with a sentence per type."""
    if value is None or not isinstance(value, str | bool | int | float):
        raise ValueError("expected is one class: a text, a number, true or false")
    return value


def _some(value: float) -> float:
    """A share that leaves something to fail."""
    if value == 1:
        raise ValueError("if every row may fail, the test can never fail: expected is a share below 1")
    return value


def worst(metric: str, limit: float) -> str:
    """Why a minimum with this limit can never fail, in a sentence; "" if it can, or the metric is the project's own."""
    from mlops.training.metrics import HIGHER_IS_BETTER, limits

    if metric not in HIGHER_IS_BETTER:
        return ""
    (least, largest), more = limits(metric), HIGHER_IS_BETTER[metric]
    largest = min(largest, LARGEST_LOSS) if metric == "log_loss" else largest
    if not (limit <= least if more else limit >= largest):
        return ""
    return (
        f"the test can never fail: {metric} is never {'below' if more else 'above'} {least if more else largest:g}, so "
        f"give a {'larger' if more else 'smaller'} limit"
    )


Name = Annotated[str, AfterValidator(visible)]
Condition = Annotated[Any, BeforeValidator(_condition)]
Change = Annotated[Any, BeforeValidator(_change)]
Changes = Annotated[dict[Name, Change], Field(min_length=1)]
Number = Annotated[FiniteFloat, BeforeValidator(_number)]
Tolerance = Annotated[Number, Field(ge=0)]
Portion = Annotated[Share, BeforeValidator(_number)]
Allowed = Annotated[Portion, AfterValidator(_some)]
Label = Annotated[Any, BeforeValidator(_label)]


class _Test(Section):
    """What every test may say: `where` chooses the rows that it is about, all conditions together."""

    where: dict[Name, Condition] = Field(default_factory=dict)
    """The rows that the test is about; without it, all. Per column a value, `null` for missing, a list of
    values, or `{min: …, max: …}`; all of them hold together."""


class Minimum(_Test):
    """A metric on all test rows, or on a slice: at least `limit`, or at most where less is better."""

    kind: Literal["minimum"]
    metric: str = "auto"
    """Metric by its name in `reports/metrics.json`; `auto` is the headline."""
    limit: Number
    """Worst value that passes."""

    @field_validator("limit")
    @classmethod
    def _can_fail(cls, limit: float, info: ValidationInfo) -> float:
        if why := worst(info.data.get("metric", ""), limit):
            raise ValueError(why)
        return limit


class Invariance(_Test):
    """A change that must not matter: the answer of a row moves by `tolerance` at most, but for a share of the rows."""

    kind: Literal["invariance"]
    change: Changes
    """Per column, what is done to it: `{set: value}`, `{add: number}`, `{scale: number}`, `{swap: [one, other]}`
    or `{swap: true}`."""
    tolerance: Tolerance | None = None
    """Largest move of an answer, in the unit of the answer, at least 0; empty: a hundredth of its range."""
    allowed: Allowed = 0
    """Share of the rows that may move further; below 1."""


class Direction(_Test):
    """A change that must move the answer one way: no row goes the other way by more than `tolerance`, but for a share.

    Of classes, it is the probability of the class `of`; of two, that of the positive one unless another is named.
    """

    kind: Literal["direction"]
    change: Changes
    """Per column, what is done to it, as for `invariance`."""
    expect: Literal["increase", "decrease"]
    """The way that the answer must move."""
    of: Label | None = None
    """Class whose probability it is; empty: the positive one."""
    tolerance: Tolerance | None = None
    """Largest move the other way, in the unit of the answer, at least 0; empty: a hundredth of its range."""
    allowed: Portion = 0
    """Share of the rows that may move further the other way."""


class Robustness(_Test):
    """Each of the `columns` missing, outside its range, or of an unseen level: the answer is finite, with no error.

    It moves by `bound` at most.
    """

    kind: Literal["robustness"]
    columns: Annotated[list[Name], Field(min_length=1)] | None = None
    """Columns that get odd values, one after the other; empty: every input."""
    bound: Tolerance | None = None
    """Largest move of an answer, at least 0; empty: 1 for a probability, and three times the range of a number."""
    allowed: Allowed = 0
    """Share of the rows that may move further; below 1."""


class Serving(_Test):
    """A row by itself, as a server gets it, has the answer that it has among all test rows."""

    kind: Literal["serving"]
    allowed: ClassVar[float] = 0


class Determinism(_Test):
    """The same rows have the same answers when they are asked again, and in another order."""

    kind: Literal["determinism"]
    allowed: ClassVar[float] = 0


Declaration: TypeAlias = Minimum | Invariance | Direction | Robustness | Serving | Determinism
KINDS: dict[str, type[Declaration]] = {
    "minimum": Minimum,
    "invariance": Invariance,
    "direction": Direction,
    "robustness": Robustness,
    "serving": Serving,
    "determinism": Determinism,
}
