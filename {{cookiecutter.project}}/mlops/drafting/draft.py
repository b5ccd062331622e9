"""Draft `schema.yaml` from data: a guess for each column, with a reason if a person should check the guess."""

import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import MAXYEAR
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mlops.base.errors import DataError
from mlops.data import parsing, round_trip
from mlops.data.digest import column_digest
from mlops.data.schema import MISSING, NUMERIC, Column, ColumnType
from mlops.drafting import leakage, spelling

HEADER = "# What a valid row is. Drafted by `python -m mlops schema infer`: read it, correct it, keep it in Git."
# A category with more levels, or with fewer rows per level, lists no levels: new levels are then nothing unusual.
MOST_ALLOWED = 20
# An integer target with at most this many values, and this many rows per value, is classes; otherwise it is a number.
MOST_INTEGER_CLASSES = 20
ROWS_A_CLASS = 10
# A text target with fewer rows per value, on average, is not classes.
LEAST_ROWS_A_CLASS = 2
# Text with a higher share of distinct values identifies rows; codes do so at a lower share.
IDENTIFYING = 0.9
IDENTIFYING_CODE = 0.5
# Text with more words per value on average, and more different values, is prose.
PROSE_WORDS = 4
PROSE_VALUES = 100
# Room for values that later data may have, as a share of the range in this data.
MARGIN = 0.5
MISSING_MARGIN = 0.1
# The last word of a column's name: an integer with such a name is not a quantity.
ID_WORDS = frozenset({"id", "ids", "key", "uuid", "guid", "index", "no", "nr", "number", "num"})
CODE_WORDS = frozenset({"id", "code", "zip", "zipcode", "postcode", "postalcode", "postal", "plz"})
# The last word of the name of a column that says whom or what a row is about.
SUBJECT_WORDS = frozenset(
    {
        *("id", "ids", "key", "uuid", "guid"),
        *("person", "customer", "client", "patient", "user", "member", "subject", "employee", "student", "account"),
        *("household", "device", "participant", "respondent", "borrower", "kunde", "patientin", "nutzer", "cliente"),
    }
)
SEVERAL_ROWS = 1.1  # rows for each value of an id, at least, where the id repeats
DATE_WORDS = frozenset({"date", "day", "datum", "fecha", "dt"})
BIRTH_WORDS = frozenset(
    {
        *("birth", "birthday", "birthdate", "born", "dob", "geburt", "geburtstag", "geburtsdatum", "geboren"),
        *("nacimiento", "naissance", "nascita", "nascimento"),
    }
)
# A word of the name of a column whose groups the law of many countries protects.
SENSITIVE_WORDS = frozenset(
    {
        *("age", "sex", "gender", "female", "male", "woman", "man", "race", "ethnic", "ethnicity", "caste", "religion"),
        *("nationality", "citizenship", "immigrant", "minority", "disability", "disabled", "marital", "married"),
        *("pregnant", "geschlecht", "alter", "nationalität", "familienstand", "sexo", "sexe", "edad", "raza"),
    }
)
ORDERS = "orders the rows: to test on the newest rows, as in use, set prepare.split to time in params.yaml"
LONGEST = 1e16  # whole numbers from here on are written with an exponent
# What people write between the same two words.
BETWEEN_WORDS = re.compile(r"(?<=\w)[\s_-]+(?=\w)")
MOST_COMPARED = 1_000  # levels
NAMELESS = re.compile(r"Unnamed: \d+")
# Words that YAML does not read as text.
YAML_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n", "nan", "inf"})


@dataclass(frozen=True)
class Guess:
    """The guess for a column; `reason` is empty if a person need not check the guess.

    `digest` is of the typed values, so that equal columns can be found; it is empty if nobody needs it.
    """

    column: Column
    reason: str = ""
    digest: str = field(default="", compare=False)

    def ignored(self, reason: str) -> "Guess":
        """The same column with the role ignore, for this reason."""
        return Guess(self.column.model_copy(update={"role": "ignore"}), reason)


def infer(frames: Iterable[pd.DataFrame], target: pd.Series, *, commas: bool, year: int) -> dict[str, Guess]:
    """Guess type, role and limits of each column of a delivery (n rows, as `mlops.intake.deliveries` reads them).

    Each of `frames` has all rows of some columns; `target` (n,) is the column to predict, which is also in one of them.
    `commas` means that this data has decimal commas (see `mlops.drafting.spelling.commas`); nobody was
    born after `year`.

    Raises:
        DataError: the target cannot be predicted, or no other column helps to predict it.
    """
    name = str(target.name)
    goal = _target(target, commas=commas)
    truth = _typed_target(target, goal)
    guesses: dict[str, Guess] = {}
    repeating: dict[str, str] = {}
    with ThreadPoolExecutor() as pool:  # Arrow and numpy work outside the interpreter's lock
        for frame in frames:
            columns = [frame[column] for column in frame if column != name]
            looks = iter(pool.map(partial(_guess, target=truth, commas=commas, year=year), columns))
            guesses |= {str(column): goal if column == name else next(looks) for column in frame}
            repeating |= {str(column.name): told for column in columns if (told := _several_rows(column))}
    guesses |= _repeated(guesses)
    guesses |= _further_ids(guesses)
    guesses |= _time(guesses)
    guesses |= {
        name: with_reason(guesses[name], told) for name, told in repeating.items() if _names(guesses[name].column)
    }
    if not any(guess.column.role == "feature" for guess in guesses.values()):
        reasons = "; ".join(f"{name}: {guess.reason}" for name, guess in guesses.items() if guess.reason)
        raise DataError(f"no column of the data is of use to predict {name} ({reasons}): deliver others beside it")
    return guesses


def infer_derived(table: pd.DataFrame, target: pd.Series, *, commas: bool) -> dict[str, Guess]:
    """Guess type, role and limits of each column that the project derives; `table` and `target` have the same n rows.

    Raises:
        DataError: the target cannot be predicted.
    """
    truth = _typed_target(target, _target(target, commas=commas))
    guesses = {str(name): _guess(table[name], truth, commas=False, year=MAXYEAR) for name in table}
    for name, guess in guesses.items():
        changes: dict[str, Any] = {"derived": True, "role": "ignore" if guess.column.role == "ignore" else "feature"}
        if guess.column.type == "integer" and pd.api.types.is_float_dtype(table[name].dtype):
            changes["type"] = "number"  # a quotient that came out whole in these rows
        guesses[name] = Guess(guess.column.model_copy(update=changes), guess.reason)
    return guesses


def with_reason(guess: Guess, sentence: str) -> Guess:
    """The same guess with one more reason."""
    return replace(guess, reason="; ".join(filter(None, [guess.reason, sentence])))


def to_yaml(guesses: dict[str, Guess]) -> str:
    """The draft as YAML: a line for each column, with the reason of its guess as a comment."""
    return "\n".join([HEADER, "columns:", *(f"  {line}" for line in lines(guesses))]) + "\n"


def lines(guesses: dict[str, Guess]) -> list[str]:
    """The YAML line of each column, without indentation."""
    found = []
    for name, guess in guesses.items():
        fields = guess.column.model_dump(exclude_defaults=True, mode="json")
        written = ", ".join(f"{key}: {_scalar(value)}" for key, value in fields.items())
        reason = "".join(character if character.isprintable() else " " for character in guess.reason)
        found.append(f"{_scalar(name)}: " + "{" + written + "}" + (f"  # {reason}" if reason else ""))
    return found


def _typed_target(raw: pd.Series, guess: Guess) -> pd.Series:
    return parsing.column(raw, guess.column, MISSING)


def _target(raw: pd.Series, *, commas: bool) -> Guess:
    """The guess for the target (n,): classes or a number."""
    missing, kept = _kept_words(raw)
    values = parsing.plain(raw)[parsing.given(raw, missing)]
    values = values.str.strip() if parsing.is_text(values) else values
    distinct = values.nunique()
    if distinct < 2:
        words = parsing.plain(raw)[~parsing.given(raw, missing)].replace("", None).dropna().unique()
        found = f"is always {str(values.iloc[0])!r}" if distinct else "has no values"
        found += f", where {words[0]!r} means missing" if len(words) else ""
        raise DataError(f"the target {raw.name} {found}: deliver labelled data, or name another column")
    reading = spelling.read(values, commas=commas)
    kind, reason = reading.type, reading.reason
    if kind == "datetime" and distinct > 2:
        raise DataError(f"the target {raw.name} is a date: predict a number, such as the days until then, or classes")
    if distinct > 2 and kind in NUMERIC:
        if kind == "number" or distinct > MOST_INTEGER_CLASSES or len(values) < ROWS_A_CLASS * distinct:
            limits = _limits(parsing.typed(values, reading).dropna(), kind)
            column = Column(type=kind, role="target", max_missing=0, **_spelt(reading, raw), **limits)
            return _told(column, raw, reason)
        reason = f"{distinct} different integers: classes; for a number to predict, make it type: integer"
    if len(values) < LEAST_ROWS_A_CLASS * distinct:
        raise DataError(
            f"the target {raw.name} has {distinct} different texts in {len(values)} rows, such as "
            f"{str(values.iloc[0])!r}: name a column of classes or numbers"
        )
    own = missing if kept else None
    labels = parsing.typed(values, spelling.Reading("category"))
    column = Column(type="category", role="target", max_missing=0, missing=own, **_allowed(labels))
    return _told(column, raw, "; ".join(filter(None, [reason, kept])))


def _kept_words(raw: pd.Series) -> tuple[tuple[str, ...], str]:
    """The words that mean missing in a target (n,), and a reason where a usual one is kept as a class.

    Beside classes of the same length, all of letters of the same case, NA is a class: North America, or Namibia.
    """
    if not parsing.is_text(raw):
        return MISSING, ""
    found = set(raw.dropna().str.strip().unique())
    classes = found - set(MISSING)
    words = sorted(
        word
        for word in found & set(MISSING)
        if word.isalpha() and classes and all(len(name) == len(word) and name.isalpha() for name in classes)
        if all(name.isupper() == word.isupper() for name in classes)
    )
    if not words:
        return MISSING, ""
    rest = tuple(word for word in MISSING if word in found - set(words) or not word)
    return rest, f"{' and '.join(words)} kept as a class, beside others of its length"


def _spelt(reading: spelling.Reading, raw: pd.Series) -> dict[str, Any]:
    """How text spells the values of a column, as the fields of its schema."""
    fields = {name: getattr(reading, name) for name in ("decimal", "unit", "format", "first_year")}
    if reading.missing:
        words = raw[~parsing.given(raw, MISSING)].str.strip().unique()
        fields["missing"] = tuple(dict.fromkeys(["", *sorted(set(words) - {""}), *reading.missing]))
    return fields


def _told(
    column: Column, raw: pd.Series, reason: str, typed: pd.Series | None = None, given: pd.Series | None = None
) -> Guess:
    """The guess for a column (n,) with everything that reading loses, as reasons and as known losses."""
    if typed is None or given is None:
        typed, given = (
            parsing.column(raw, column, MISSING),
            parsing.given(raw, parsing.words(column, MISSING)),
        )
    changes = _changes(column, raw, typed, given)
    reasons = [reason, *(change.sentence(column) for change in changes)]
    if column.type == "category" and any(change.kind == "words" for change in changes):
        reasons.append('a level of that name needs missing: [""]')
    if column.type == "category":
        reasons.append(_spelt_alike(typed))
    kinds = tuple(sorted(change.kind for change in changes))
    return Guess(column.model_copy(update={"losses": kinds}), "; ".join(filter(None, reasons)))


def _spelt_alike(typed: pd.Series) -> str:
    """A sentence if levels differ by case, blanks or hyphens between words only, as where several people typed."""
    levels = typed.dropna().unique()
    if len(levels) > MOST_COMPARED:
        return ""
    spellings: dict[str, list[str]] = {}
    for level in sorted(levels):
        spellings.setdefault(BETWEEN_WORDS.sub(" ", level).casefold(), []).append(level)
    alike = [" and ".join(map(repr, several)) for several in spellings.values() if len(several) > 1]
    more = f", and {len(alike) - 1} more like that" if len(alike) > 1 else ""
    told = "are levels of their own: give them one name at the source, or in a column of derive, if they mean the same"
    return f"{alike[0]}{more} {told}" if alike else ""


def _changes(column: Column, raw: pd.Series, typed: pd.Series, given: pd.Series) -> list[round_trip.Change]:
    return round_trip.losses(round_trip.seen(parsing.plain(raw), given, typed, column))


def _guess(raw: pd.Series, target: pd.Series, *, commas: bool, year: int) -> Guess:
    """The guess for a column (n,), given the typed target (n,)."""
    raw = parsing.plain(raw)
    given = parsing.given(raw, MISSING)
    values, name, words = raw[given], str(raw.name), _words(str(raw.name))
    if values.empty:
        return Guess(Column(type="category", role="ignore"), "no values")
    born = year if BIRTH_WORDS & set(words) else None
    reading = spelling.read(values, commas=commas, dated=bool(set(words[-1:]) & DATE_WORDS), born=born)
    missing = float(1 - given.mean())
    if reading.type == "integer" and set(words[-1:]) & CODE_WORDS and 1 < values.nunique() < len(raw):
        code = _code(values, missing)
        return code if code.column.role == "ignore" else _told(code.column, raw, code.reason)
    column = Column(type=reading.type, **_spelt(reading, raw))
    if column.missing is not None:
        given = parsing.given(raw, column.missing)
    typed = parsing.typed(raw if given.all() else raw.where(given), column)
    guess = Guess(column, reading.reason)
    if useless := _useless(typed, guess, name):
        if useless.column.role != "ignore":
            return _told(useless.column, raw, useless.reason, typed, given)
        lost = (change for change in _changes(column, raw, typed, given) if change.kind == "words")
        return useless.ignored("; ".join([useless.reason, *(change.sentence(column) for change in lost)]))
    leak = (leakage.of_number if target.dtype in ("float64", "Int64") else leakage.of_classes)(typed, target)
    if leak:
        return guess.ignored(f"gives the target away: {leak}")
    missing = float(typed.isna().mean())
    limits = {"max_missing": _most(missing), **_limits(typed.dropna(), column.type)}
    sensitive = bool(SENSITIVE_WORDS & set(words)) and typed.nunique() <= MOST_ALLOWED
    reasons = (
        "sensitive by its name: results are compared between its groups" if sensitive else "",
        reading.reason,
        _hardly_grouping(typed) if column.type == "category" else _perhaps_levels(values, typed, column.type),
        f"{missing:.1%} missing" if missing > MISSING_MARGIN else "",
    )
    column = column.model_copy(update={"sensitive": sensitive, **limits})
    told = _told(column, raw, "; ".join(filter(None, reasons)), typed, given)
    return replace(told, digest=column_digest(typed))


def _perhaps_levels(values: pd.Series, typed: pd.Series, kind: ColumnType) -> str:
    """A sentence if few numbers look like names: all are as long, or one number is written in two ways."""
    levels = typed.dropna().unique()
    if kind not in NUMERIC or not 1 < len(levels) <= MOST_ALLOWED or not parsing.is_text(values):
        return ""
    written = values.str.strip().unique()
    if len(written) > len(levels):
        return f"{len(written)} ways to write {len(levels)} numbers; if they are names, make it type: category"
    same_length = all(word.isdecimal() and len(word) == len(written[0]) > 2 for word in written)
    if not same_length or len(values) < ROWS_A_CLASS * len(levels):
        return ""
    return f"{len(levels)} different numbers of {len(written[0])} digits; if they are codes, make it type: category"


def _several_rows(raw: pd.Series) -> str:
    """A sentence if a column (n,) that names persons or the like has several rows for each; else an empty text."""
    if not set(_words(str(raw.name))[-1:]) & SUBJECT_WORDS:
        return ""
    values = parsing.plain(raw)
    values = values[parsing.given(values, MISSING)]
    distinct = int(values.nunique())
    if distinct <= MOST_ALLOWED or len(values) < SEVERAL_ROWS * distinct:
        return ""
    return (
        f"{distinct} different ones in {len(values)} rows: rows of one may land in both splits, so that a model knows "
        "its test rows; if so, give it role: group and set prepare.split to group in params.yaml"
    )


def _names(column: Column) -> bool:
    return column.type in ("integer", "category", "text") and column.role in ("feature", "ignore")


def _hardly_grouping(levels: pd.Series) -> str:
    distinct, given = levels.nunique(), int(levels.notna().sum())
    few = distinct > PROSE_VALUES and distinct * LEAST_ROWS_A_CLASS > given
    return f"{distinct} different values in {given} rows hardly group anything" if few else ""


def _most(missing: float) -> float:
    """The largest share of missing values to allow, given the share in this data."""
    return min(1.0, float(np.ceil((missing + MISSING_MARGIN) * 20)) / 20)


def _code(values: pd.Series, missing: float) -> Guess:
    """The guess for an integer that is called a code: levels, or nothing if it has too many different values."""
    distinct = values.nunique()
    if distinct > IDENTIFYING_CODE * len(values):
        reason = f"called a code, {distinct} different ones in {len(values)} rows"
        return Guess(Column(type="category", role="ignore"), reason)
    reason = "called a code: levels; if it is a quantity, make it type: integer"
    return Guess(Column(type="category", max_missing=_most(missing)), reason)


def _useless(typed: pd.Series, guess: Guess, name: str) -> Guess | None:
    """The guess for a column without use for a model: constant, a name of the rows, or prose."""
    values = typed.dropna()
    distinct, kind = values.nunique(), guess.column.type
    last_word, each_once = set(_words(name)[-1:]), distinct == len(typed)
    if distinct == 1:
        always = f"always {_scalar(str(values.iloc[0]))}"
        return guess.ignored(always if len(values) == len(typed) else f"{always} where it is given")
    identifier = False
    if each_once and kind == "integer":
        row_number = int(values.max()) - int(values.min()) == len(values) - 1
        if NAMELESS.fullmatch(name) and row_number:
            return guess.ignored("a row number")
        identifier = row_number or bool(last_word & (ID_WORDS | CODE_WORDS))
    elif each_once and kind == "category":
        identifier = bool(last_word & ID_WORDS) or not values.str.contains(r"\s").any()
    if identifier:
        return Guess(guess.column.model_copy(update={"role": "id"}), "each value once")
    text = Column(type="text", role="ignore")
    if kind == "category" and distinct > IDENTIFYING * len(values):
        return Guess(text, f"{distinct} different values in {len(values)} rows")
    if kind == "category" and distinct > PROSE_VALUES and values.str.count(r"\S+").mean() > PROSE_WORDS:
        return Guess(text, "free text")
    return None


def _repeated(guesses: dict[str, Guess]) -> dict[str, Guess]:
    """New guesses for columns that have the same values as an earlier column."""
    first: dict[str, str] = {}
    return {
        name: guess.ignored(f"the same values as {_scalar(first[guess.digest])}")
        for name, guess in guesses.items()
        if guess.digest and first.setdefault(guess.digest, name) != name
    }


def _further_ids(guesses: dict[str, Guess]) -> dict[str, Guess]:
    """New guesses for all ids but the first: one id is enough to name the rows."""
    ids = [name for name, guess in guesses.items() if guess.column.role == "id"]
    return {name: guesses[name].ignored(f"each value once, like {_scalar(ids[0])}") for name in ids[1:]}


def _time(guesses: dict[str, Guess]) -> dict[str, Guess]:
    """A new guess for the column that orders the rows: the first complete date that is not a date of birth."""
    for name, guess in guesses.items():
        column = guess.column
        dated = column.type == "datetime" and column.role == "feature" and "%Y" in (column.format or "%Y").upper()
        complete = column.max_missing <= _most(0) and "missing" not in guess.reason
        if dated and complete and not BIRTH_WORDS & set(_words(name)):
            reason = "; ".join(filter(None, [ORDERS, guess.reason]))
            return {name: Guess(column.model_copy(update={"role": "time", "max_missing": 0.0}), reason)}
    return {}


def _words(name: object) -> list[str]:
    """The words of a name in lower case; "customerID", "customer id" and "customer_id" have the same words."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", str(name))
    return [part.lower() for part in parts]


def _limits(typed: pd.Series, kind: ColumnType) -> dict[str, Any]:
    """The limits of a column, given its values (n, none missing)."""
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
    """Two significant digits, rounded away from the values in the data."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (np.floor(np.log10(abs(value))) - 1)
    return float(f"{direction(value / unit) * unit:.6g}")


def _scalar(value: Any) -> str:
    """A value as YAML; text is a JSON string, which is also YAML, or a plain word if YAML reads the word as text."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    if isinstance(value, str):
        if value.isidentifier() and value.isascii() and value.lower() not in YAML_WORDS:
            return value
        quoted = json.dumps(value, ensure_ascii=False)
        return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in quoted)
    whole = isinstance(value, float) and value.is_integer() and abs(value) < LONGEST
    return str(int(value)) if whole else json.dumps(value)
