"""A first draft of `schema.yaml` from data: a guess per column, with the reason where it is worth a look."""

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ml import parsing
from ml.errors import DataError
from ml.schema import MISSING, Column, ColumnType, Role, Schema

HEADER = "# What a valid row is. Drafted by `python -m ops schema infer`: read it, correct it, keep it in Git."
# A category with more levels is not listed: new levels are then nothing unusual.
MOST_ALLOWED = 20
# An integer target with at most this many values stands for classes, with more for a number.
MOST_INTEGER_CLASSES = 20
# Above this share of distinct values, text identifies rows rather than groups them.
IDENTIFYING = 0.9
# Words a value on average: above it, text is prose rather than a name.
PROSE_WORDS = 4
# Room for values that have not been seen, as a share of the range that has.
MARGIN = 0.5
MISSING_MARGIN = 0.1


@dataclass(frozen=True)
class Guess:
    """What a column seems to be; `reason` is empty where nothing needs a person's look."""

    column: Column
    reason: str = ""


def infer(delivery: pd.DataFrame, target: str) -> dict[str, Guess]:
    """Guess type, role and limits of each column of a delivery (n rows, as `store.deliveries` reads them).

    Raises:
        DataError: the target is no column of the delivery, or all of it is missing.
    """
    if target not in delivery:
        raise DataError(f"the target {target} is no column of the data: choose one of {', '.join(map(str, delivery))}")
    guesses = {str(name): _guess(delivery[name], is_target=name == target) for name in delivery}
    if guesses[target].column.role == "ignore":
        raise DataError(f"the target {target} has no two different values: deliver labelled data, or name another")
    ids = [name for name, guess in guesses.items() if guess.column.role == "id"]
    for name in ids[1:]:
        ignored = guesses[name].column.model_copy(update={"role": "ignore"})
        guesses[name] = replace(guesses[name], column=ignored, reason=f"each value once, like {_scalar(ids[0])}")
    return guesses


def to_yaml(guesses: dict[str, Guess]) -> str:
    """The draft as YAML: one line a column, the reason of a guess as its comment; the same guesses, the same text."""
    lines = [HEADER, "columns:"]
    for name, guess in guesses.items():
        fields = guess.column.model_dump(exclude_defaults=True, mode="json")
        written = ", ".join(f"{key}: {_scalar(value)}" for key, value in fields.items())
        comment = f"  # {guess.reason}" if guess.reason else ""
        lines.append(f"  {_scalar(name)}: {_braced(written)}{comment}")
    return "\n".join(lines) + "\n"


def _guess(raw: pd.Series, *, is_target: bool) -> Guess:
    values = raw[parsing.given(raw, MISSING)]
    distinct = values.nunique()
    if distinct < (2 if is_target else 1):
        return Guess(Column(type="category", role="ignore"), "no values")
    kind = _type(values)
    role: Role = "target" if is_target else "feature"
    missing = 1 - len(values) / len(raw)
    if is_target:
        kind, reason = _target_type(values, kind, distinct)
        return Guess(Column(type=kind, role=role, max_missing=0, **_limits(values, kind, distinct)), reason)
    if distinct == 1:
        return Guess(Column(type=kind, role="ignore"), f"always {_scalar(str(values.iloc[0]))}")
    if distinct == len(raw) and kind in ("integer", "category") and _looks_like_id(raw, kind):
        return Guess(Column(type=kind, role="id"), "each value once")
    if kind == "category" and distinct > IDENTIFYING * len(values):
        return Guess(Column(type="text", role="ignore"), f"{distinct} different values in {len(values)} rows")
    if kind == "category" and values.astype("str").str.count(r"\S+").mean() > PROSE_WORDS:
        return Guess(Column(type="text", role="ignore"), "free text")
    most = min(1.0, np.ceil((missing + MISSING_MARGIN) * 20) / 20)
    reason = f"{missing:.1%} missing" if missing > MISSING_MARGIN else ""
    return Guess(Column(type=kind, role=role, max_missing=most, **_limits(values, kind, distinct)), reason)


def _type(values: pd.Series) -> ColumnType:
    """The narrowest type that every given value is of."""
    kinds: tuple[ColumnType, ...] = ("boolean", "integer", "number", "datetime")
    return next((kind for kind in kinds if parsing.typed(values, kind).notna().all()), "category")


def _target_type(values: pd.Series, kind: ColumnType, distinct: int) -> tuple[ColumnType, str]:
    if kind == "number" or (kind == "integer" and distinct > MOST_INTEGER_CLASSES):
        return kind, ""
    if kind == "integer" and distinct > 2:
        return "category", f"{distinct} different integers: classes; for a number to predict, make it type: integer"
    return "category", ""


def _looks_like_id(values: pd.Series, kind: ColumnType) -> bool:
    name = str(values.name).lower()
    named = name in ("id", "key", "uuid", "guid", "index") or name.endswith(("id", "_key", "_no", "_nr", "number"))
    if kind == "category":
        return named or not values.astype("str").str.contains(" ").any()
    numbers = parsing.typed(values, "integer")
    return named or bool((numbers.diff().dropna() == 1).all())


def _limits(values: pd.Series, kind: ColumnType, distinct: int) -> dict[str, Any]:
    if kind == "category" and distinct <= MOST_ALLOWED:
        return {"allowed": tuple(sorted(parsing.typed(values, "category").unique()))}
    if kind not in ("number", "integer"):
        return {}
    numbers = parsing.typed(values, kind).astype("float64")
    low, high = numbers.min(), numbers.max()
    room = MARGIN * (high - low)
    return {"min": 0.0 if 0 <= low <= room else _rounded(low - room, np.floor), "max": _rounded(high + room, np.ceil)}


def _rounded(value: float, direction: Any) -> float:
    """Two significant digits, away from the values that were seen."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 1)
    return float(f"{direction(value / unit) * unit:.6g}")


def _scalar(value: Any) -> str:
    """A value as YAML; text in quotes as JSON, which is YAML too, unless it is a plain word that YAML keeps as text."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    if isinstance(value, str):
        plain = value.isidentifier() and value.isascii() and value.lower() not in _YAML_WORDS
        quoted = json.dumps(value, ensure_ascii=False)
        return value if plain else "".join(_escaped(character) for character in quoted)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


def _escaped(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _braced(text: str) -> str:
    return "{" + text + "}"


_YAML_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n", "nan", "inf"})


def schema_of(guesses: dict[str, Guess]) -> Schema:
    """The guesses as a schema.

    Raises:
        ValueError: they make none, since no column is left as a feature.
    """
    return Schema(columns={name: guess.column for name, guess in guesses.items()})
