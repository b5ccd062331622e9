"""What an owner declares of a model's behaviour: the tests in `behaviour.yaml`, typed. Conditions are data, no code."""

import datetime
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat

from mlops.base.errors import nearest
from mlops.base.names import visible
from mlops.base.params import Section, Share

BOUNDS = ("min", "max")
CHANGES = ("set", "add", "scale", "swap")


def _is_value(value: Any) -> bool:
    """Whether YAML may write a value of a column so: text, a number, true or false, a date, or null for missing."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str | datetime.date)


def _condition(value: Any) -> Any:
    """A value, some of which one must stand, or a range; a union of types would answer with a sentence per type."""
    if isinstance(value, Mapping):
        right = len(value) > 0 and all(name in BOUNDS and end is not None for name, end in value.items())
        values = list(value.values())
    else:
        values = value if isinstance(value, list) else [value]
        right = bool(values)
    if right and all(map(_is_value, values)):
        return value
    raise ValueError("expected is a value, null for missing, a list of values, or {min: …, max: …} (one or both)")


def _change(value: Any) -> Any:
    """One of the changes of CHANGES, with its value."""
    if isinstance(value, Mapping) and len(value) == 1:
        [(kind, by)] = value.items()
        number = isinstance(by, int | float) and not isinstance(by, bool) and math.isfinite(by)
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


Name = Annotated[str, AfterValidator(visible)]
Condition = Annotated[Any, BeforeValidator(_condition)]
Change = Annotated[Any, BeforeValidator(_change)]
Changes = Annotated[dict[Name, Change], Field(min_length=1)]
Tolerance = Annotated[FiniteFloat, Field(ge=0)]
Label = str | bool | int | float


class _Test(Section):
    """What every test may say: `where` chooses the rows that it is about, all conditions together."""

    where: dict[Name, Condition] = Field(default_factory=dict)


class Minimum(_Test):
    """A metric on all test rows, or on a slice: at least `limit`, or at most where less is better."""

    kind: Literal["minimum"]
    metric: str = "auto"
    limit: FiniteFloat


class Invariance(_Test):
    """A change that must not matter: the answer of a row moves by `tolerance` at most, but for a share of the rows."""

    kind: Literal["invariance"]
    change: Changes
    tolerance: Tolerance | None = None
    allowed: Share = 0


class Direction(_Test):
    """A change that must move the answer one way: no row goes the other way by more than `tolerance`, but for a share.

    Of classes, it is the probability of the class `of`; of two, that of the positive one unless another is named.
    """

    kind: Literal["direction"]
    change: Changes
    expect: Literal["increase", "decrease"]
    of: Label | None = None
    tolerance: Tolerance | None = None
    allowed: Share = 0


class Robustness(_Test):
    """Each of the `columns` missing, outside its range, or of an unseen level: the answer is finite, with no error.

    It moves by `bound` at most.
    """

    kind: Literal["robustness"]
    columns: Annotated[list[Name], Field(min_length=1)] | None = None
    bound: Tolerance | None = None
    allowed: Share = 0


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
