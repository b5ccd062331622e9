"""A first draft of `schema.yaml` from data: a guess per column, with the reason where it is worth a look."""

import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mlops.base.errors import DataError
from mlops.data import parsing
from mlops.data.digest import column_digest
from mlops.data.schema import MISSING, NUMERIC, Column, ColumnType
from mlops.drafting import leakage, spelling

HEADER = "# What a valid row is. Drafted by `python -m mlops schema infer`: read it, correct it, keep it in Git."
# A category with more levels is not listed, nor one of few rows a level: new levels are then nothing unusual.
MOST_ALLOWED = 20
# An integer target with at most this many values, and so many rows of each, stands for classes, else for a number.
MOST_INTEGER_CLASSES = 20
ROWS_A_CLASS = 10
# A text target with fewer rows a value on average is no class of anything.
LEAST_ROWS_A_CLASS = 2
# Above this share of distinct values, text identifies rows rather than groups them, and a code at this one.
IDENTIFYING = 0.9
IDENTIFYING_CODE = 0.5
# Words a value on average, from so many different values on: above it, text is prose rather than a name.
PROSE_WORDS = 4
PROSE_VALUES = 100
# Room for values that have not been seen, as a share of the range that has.
MARGIN = 0.5
MISSING_MARGIN = 0.1
# What the last word of a name says: an integer of that name is no quantity.
ID_WORDS = frozenset({"id", "ids", "key", "uuid", "guid", "index", "no", "nr", "number", "num"})
CODE_WORDS = frozenset({"id", "code", "zip", "zipcode", "postcode", "postalcode", "postal", "plz"})
DATE_WORDS = frozenset({"date", "day", "datum", "fecha", "dt"})
BIRTH_WORDS = frozenset({"birth", "birthday", "birthdate", "born", "dob"})
NAMELESS = re.compile(r"Unnamed: \d+")


@dataclass(frozen=True)
class Guess:
    """What a column seems to be; `reason` is empty where nothing needs a person's look."""

    column: Column
    reason: str = ""


class _Seen(NamedTuple):
    """One column: the guess, its typed values (n,) and a digest of them, by which equal columns are found."""

    guess: Guess
    digest: str


def infer(frames: Iterable[pd.DataFrame], target: pd.Series, *, commas: bool) -> dict[str, Guess]:
    """Guess type, role and limits of each column of a delivery (n rows, as `mlops.intake.deliveries` reads them).

    `frames` hold all rows of some columns each, `target` (n,) is the column to predict, which is in one of them, too.
    `commas` says that numbers of this data are written with a decimal comma (see `ml.spelling.commas`).

    Raises:
        DataError: the target is nothing that can be predicted, or no other column is of use.
    """
    name = str(target.name)
    goal = _target(target, commas=commas)
    truth = parsing.typed(
        target.where(parsing.given(target, MISSING)), goal.column.type, goal.column.decimal, goal.column.format
    )
    seen: dict[str, _Seen] = {}
    with ThreadPoolExecutor() as pool:  # Arrow and numpy work outside the interpreter's lock
        for frame in frames:
            names = [str(column) for column in frame]
            columns = [frame[column] for column in names if column != name]
            looks = iter(pool.map(partial(_look, target=truth, commas=commas), columns))
            seen |= {column: _Seen(goal, "") if column == name else next(looks) for column in names}
    guesses = {column: look.guess for column, look in seen.items()}
    guesses |= _repeated(seen)
    guesses |= _further_ids(guesses)
    guesses |= _time(guesses)
    if not any(guess.column.role == "feature" for guess in guesses.values()):
        reasons = "; ".join(f"{name}: {guess.reason}" for name, guess in guesses.items() if guess.reason)
        raise DataError(f"no column of the data is of use to predict {name} ({reasons}): deliver others beside it")
    return guesses


def to_yaml(guesses: dict[str, Guess]) -> str:
    """The draft as YAML: one line a column, the reason of a guess as its comment; the same guesses, the same text."""
    return "\n".join([HEADER, "columns:", *(f"  {line}" for line in lines(guesses))]) + "\n"


def lines(guesses: dict[str, Guess]) -> list[str]:
    """The line of each column, not indented."""
    found = []
    for name, guess in guesses.items():
        fields = guess.column.model_dump(exclude_defaults=True, mode="json")
        written = ", ".join(f"{key}: {_scalar(value)}" for key, value in fields.items())
        comment = f"  # {_one_line(guess.reason)}" if guess.reason else ""
        found.append(f"{_scalar(name)}: {_braced(written)}{comment}")
    return found


def _target(raw: pd.Series, *, commas: bool) -> Guess:
    values = raw[parsing.given(raw, MISSING)]
    values = values.str.strip() if parsing.is_text(values) else values
    distinct = values.nunique()
    if distinct < 2:
        found = f"is always {str(values.iloc[0])!r}" if distinct else "has no values"
        raise DataError(f"the target {raw.name} {found}: deliver labelled data, or name another column")
    kind, decimal, _, reason = spelling.read(values, commas=commas)
    if kind == "datetime" and distinct > 2:
        raise DataError(f"the target {raw.name} is a date: predict a number, such as the days until then, or classes")
    if distinct > 2 and kind in NUMERIC:
        classes = kind == "integer" and distinct <= MOST_INTEGER_CLASSES and len(values) >= ROWS_A_CLASS * distinct
        if not classes:
            limits = _limits(parsing.typed(values, kind, decimal), kind)
            return Guess(Column(type=kind, role="target", max_missing=0, decimal=decimal, **limits), reason)
        reason = f"{distinct} different integers: classes; for a number to predict, make it type: integer"
    if len(values) < LEAST_ROWS_A_CLASS * distinct:
        raise DataError(
            f"the target {raw.name} has {distinct} different texts in {len(values)} rows, such as "
            f"{str(values.iloc[0])!r}: name a column of classes or numbers"
        )
    labels = parsing.typed(values, "category")
    return Guess(Column(type="category", role="target", max_missing=0, **_allowed(labels)), reason)


def _look(raw: pd.Series, target: pd.Series, *, commas: bool) -> _Seen:
    given = parsing.given(raw, MISSING)
    values = raw[given]
    if values.empty:
        return _Seen(Guess(Column(type="category", role="ignore"), "no values"), "")
    words = set(_words(raw.name)[-1:])
    kind, decimal, form, reason = spelling.read(values, commas=commas, dated=bool(words & DATE_WORDS))
    if kind == "integer" and words & CODE_WORDS:
        guess = _code(values, raw)
        if guess:
            return _Seen(guess, "")
    typed = parsing.typed(raw.where(given), kind, decimal, form)
    column = Column(type=kind, decimal=decimal, format=form)
    useless = _useless(typed, column, str(raw.name))
    if useless:
        return _Seen(useless, "")
    leak = (leakage.of_number if target.dtype in ("float64", "Int64") else leakage.of_classes)(typed, target)
    if leak:
        return _Seen(Guess(column.model_copy(update={"role": "ignore"}), f"gives the target away: {leak}"), "")
    missing = float(typed.isna().mean())
    most = min(1.0, np.ceil((missing + MISSING_MARGIN) * 20) / 20)
    limits = {"max_missing": most, **_limits(typed.dropna(), kind)}
    shares = [reason, f"{missing:.1%} missing" if missing > MISSING_MARGIN else ""]
    return _Seen(
        Guess(Column(**{**column.model_dump(), **limits}), "; ".join(filter(None, shares))), column_digest(typed)
    )


def _code(values: pd.Series, raw: pd.Series) -> Guess | None:
    """An integer that is called a code: too many different ones say nothing, others are levels."""
    distinct = values.nunique()
    if distinct == len(raw):
        return None
    if distinct > IDENTIFYING_CODE * len(values):
        reason = f"called a code, {distinct} different ones in {len(values)} rows"
        return Guess(Column(type="category", role="ignore"), reason)
    if distinct < 2:
        return None
    reason = "called a code: levels; if it is a quantity, make it type: integer"
    missing = min(1.0, np.ceil((1 - len(values) / len(raw) + MISSING_MARGIN) * 20) / 20)
    return Guess(Column(type="category", max_missing=missing), reason)


def _useless(typed: pd.Series, column: Column, name: str) -> Guess | None:
    """A guess for a column that nothing can be learnt from: constant, naming the rows, or prose."""
    values = typed.dropna()
    distinct, kind = values.nunique(), column.type
    ignored = column.model_copy(update={"role": "ignore"})
    if distinct == 1:
        always = f"always {_scalar(str(values.iloc[0]))}"
        return Guess(ignored, always if len(values) == len(typed) else f"{always} where it is given")
    if distinct == len(typed) and kind == "integer":
        row_number = int(values.max()) - int(values.min()) == len(values) - 1
        if NAMELESS.fullmatch(name) and row_number:
            return Guess(ignored, "a row number")
        if row_number or set(_words(name)[-1:]) & (ID_WORDS | CODE_WORDS):
            return Guess(column.model_copy(update={"role": "id"}), "each value once")
    if kind != "category":
        return None
    if distinct == len(typed) and (set(_words(name)[-1:]) & ID_WORDS or not values.str.contains(r"\s").any()):
        return Guess(column.model_copy(update={"role": "id"}), "each value once")
    text = Column(type="text", role="ignore")
    if distinct > IDENTIFYING * len(values):
        return Guess(text, f"{distinct} different values in {len(values)} rows")
    if distinct > PROSE_VALUES and values.str.count(r"\S+").mean() > PROSE_WORDS:
        return Guess(text, "free text")
    return None


def _repeated(seen: dict[str, _Seen]) -> dict[str, Guess]:
    """Guesses for the columns that have the same values as an earlier one."""
    first: dict[str, str] = {}
    found = {}
    for name, look in seen.items():
        if look.digest and first.setdefault(look.digest, name) != name:
            ignored = look.guess.column.model_copy(update={"role": "ignore"})
            found[name] = Guess(ignored, f"the same values as {_scalar(first[look.digest])}")
    return found


def _further_ids(guesses: dict[str, Guess]) -> dict[str, Guess]:
    """One id names the rows; guesses for the others."""
    ids = [name for name, guess in guesses.items() if guess.column.role == "id"]
    return {
        name: replace(
            guesses[name],
            column=guesses[name].column.model_copy(update={"role": "ignore"}),
            reason=f"each value once, like {_scalar(ids[0])}",
        )
        for name in ids[1:]
    }


def _time(guesses: dict[str, Guess]) -> dict[str, Guess]:
    """A guess for the column that orders the rows: the first complete date that is nobody's birthday."""
    for name, guess in guesses.items():
        column = guess.column
        dated = column.type == "datetime" and column.role == "feature" and "%Y" in (column.format or "%Y").upper()
        complete = column.max_missing <= np.ceil(MISSING_MARGIN * 20) / 20 and "missing" not in guess.reason
        if dated and complete and not BIRTH_WORDS & set(_words(name)):
            reason = "; ".join(filter(None, ["orders the rows", guess.reason]))
            return {name: Guess(column.model_copy(update={"role": "time", "max_missing": 0.0}), reason)}
    return {}


def _words(name: object) -> list[str]:
    """The words of a name, in lower case: of "customerID", "customer id" and "customer_id" the same."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", str(name))
    return [part.lower() for part in parts]


def _limits(typed: pd.Series, kind: ColumnType) -> dict[str, Any]:
    """Which values are to be expected, given those of a column (n, none missing)."""
    if kind == "category":
        return _allowed(typed)
    if kind not in NUMERIC:
        return {}
    low, high = float(typed.min()), float(typed.max())
    room = MARGIN * (high - low)
    return {"min": 0.0 if 0 <= low <= room else _rounded(low - room, np.floor), "max": _rounded(high + room, np.ceil)}


def _allowed(labels: pd.Series) -> dict[str, Any]:
    levels = labels.unique()
    few = len(levels) <= MOST_ALLOWED and len(labels) >= ROWS_A_CLASS * len(levels)
    return {"allowed": tuple(sorted(levels))} if few else {}


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


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _escaped(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _braced(text: str) -> str:
    return "{" + text + "}"


_YAML_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n", "nan", "inf"})
