"""Bodies of JSON: rows to predict and values to learn of, or a refusal that names every fault and repeats no value."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from itertools import islice
from types import NoneType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import ProjectError
from mlops.data.digest import PREDICTION
from mlops.data.rows import as_text
from mlops.data.schema import NUMERIC, Column, ColumnType, Schema
from mlops.training.task import Label

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
MOST_FAULTS = 100  # in one answer; the rest is counted
MOST_HINTS = 10  # names that are compared with all columns, which takes milliseconds where there are thousands
LONGEST_NAME = 100  # characters of a name that is compared
MOST_CLASSES = 20  # in a sentence
# Readings of values that are remembered: of a column, and the longest text or number.
REMEMBERED = 4096
LONGEST = 100
# Every number of a smaller size is read, be it an integer or a float.
EXACT = 2**53
SCALARS = frozenset({str, int, float, bool, NoneType})
_Types: TypeAlias = tuple[frozenset[type], frozenset[type]]
# By the type of a column, the Python types of which each value is readable, and those of which each is below EXACT.
# It only saves the time to ask: the tests compare it with what `rows.read` says. Of other values the model is asked.
_TEXT: _Types = (frozenset({str, int, bool, NoneType}), frozenset({float}))
USUAL: Mapping[ColumnType, _Types] = {
    "number": (frozenset({NoneType}), frozenset({int, float})),
    "integer": (frozenset({NoneType}), frozenset({int})),
    "boolean": (frozenset({bool, NoneType}), frozenset()),
    "datetime": (frozenset({NoneType}), frozenset()),
    "category": _TEXT,
    "text": _TEXT,
}
_ABSENT = object()
# The usual spelling of a time, and parts of others.
ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?)?")
FEW = "{1,15}"  # digits that surely fit
DIRECTIVES = frozenset({"%Y", "%m", "%d", "%H", "%M", "%S"})

# The typed values (n,) of raw ones of the column of that name, and where (n,) there is one that cannot be read.
Read: TypeAlias = Callable[[pd.Series, str], tuple[pd.Series, NDArray[np.bool_]]]
Row: TypeAlias = dict[str, Any]


class RequestError(ProjectError):
    """A request that gets the HTTP `status` 400, 413, 415 or 422, with `detail` as its answer.

    `detail` is one sentence, or for 422 a list of faults `{"row", "column", "fault"}`: `row` counts from 1, and is null
    for a whole column; `column` is null for a whole row. Nothing in it comes from the request.
    """

    def __init__(self, status: int, detail: "str | list[dict[str, Any]]") -> None:
        super().__init__(detail if isinstance(detail, str) else "; ".join(fault["fault"] for fault in detail))
        self.status, self.detail = status, detail


class Fault(NamedTuple):
    """What is wrong with a value: the row from 0 on (-1 for all), a sentence, and the column's name and position."""

    row: int
    fault: str
    column: str | None = None
    position: int = -1


class Body(NamedTuple):
    """The rows of a body, and whether it was one row alone, as `features`, so that the answer is one object."""

    rows: list[Row]
    single: bool


class Feedback(NamedTuple):
    """What became of a prediction: the label (`str`, `int` or `bool`), or the number."""

    prediction_id: str
    actual: Label | float


class Repeated(dict[str, Any]):
    """An object of JSON that has a key twice."""

    twice: frozenset[str]


def media_type(header: str | None, accepted: Sequence[str] = (JSON,)) -> str:
    """The type of a body, one of `accepted`, from the header Content-Type.

    Raises:
        RequestError: 415; there is none, it is another one, or JSON in another encoding than UTF-8.
    """
    found, *parameters = [part.strip().lower() for part in (header or "").split(";")]
    charsets = [part.partition("=")[2].strip(' "') for part in parameters if part.startswith("charset")]
    if found not in accepted or not set(charsets) <= {"utf-8", "utf8", "us-ascii"}:
        raise RequestError(415, f"the header Content-Type has to be {' or '.join(accepted)}; text is in UTF-8")
    return found


def parsed(body: bytes) -> Any:
    """The JSON of a body; an object with a key twice is `Repeated`.

    Raises:
        RequestError: 400; it is no JSON in UTF-8, has NaN, infinity or half a character, or is nested too deeply.
    """
    try:
        text = body.decode()
        content = _DECODER.decode(text)
        if "\\u" in text:  # where half of a surrogate pair can stand
            json.dumps(content, ensure_ascii=False).encode()
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply: give rows of plain values") from None
    except UnicodeDecodeError as error:
        raise RequestError(400, f"the body is no UTF-8 from byte {error.start + 1} on: encode it so") from None
    except UnicodeEncodeError:
        raise RequestError(400, "the body has half a surrogate pair (\\ud800 to \\udfff): give both halves") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise RequestError(400, f"the body is no JSON in UTF-8 from {place} on: correct it there") from None
    except ValueError:  # of int()
        raise RequestError(400, "the body has an integer of thousands of digits: give a shorter number") from None
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = Repeated(found)
    repeated.twice = frozenset(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return repeated


def _constant(name: str) -> Any:
    raise RequestError(400, "the body has NaN or Infinity, which JSON does not have: give null for a missing value")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


class _Known:
    """A column of the rows: what is readable at once, what was found readable, and the sentences of its faults."""

    __slots__ = ("at_once", "lacking", "name", "nested", "numbers", "position", "readable", "unreadable", "usual")

    def __init__(self, name: str, position: int, column: Column) -> None:
        self.name, self.position = name, position
        self.usual, self.numbers = USUAL[column.type]
        self.at_once = _usual_text(column)
        self.readable: dict[tuple[type, Any], bool] = {}
        give = f"give {expected(column)}, or null where it is not known"
        self.unreadable = f"the value is no {column.type}: {give}"
        self.nested = f"the value is a list or an object: {give}"
        self.lacking = f"the column is not there: {give}"


class Reader:
    """The rows of requests to a model of one schema; it remembers which values were readable.

    `read` reads raw values of a column as the model does (`RawModel.read`). A request has `max_rows` at most. Beside
    what a prediction needs, a row keeps the column `key`, and those that training needs from outside, such as an id, if
    their values can be read: what is predicted may be trained on one day. Other columns of the schema are left out.

    A row without the column `asked_at`, which says when it is asked about, gets the time at which it is read, and so
    the log of predictions has it.
    """

    def __init__(self, schema: Schema, read: Read, max_rows: int, key: str = "") -> None:
        self.schema, self.read, self.max_rows, self.key = schema, read, max_rows, key
        self.needed, self.asked_at = schema.needed, asked_at(schema)
        self.beside = [name for name in schema.delivered if name not in (*self.needed, schema.target)]
        self._columns = [_Known(name, number, schema.columns[name]) for number, name in enumerate(self.needed)]
        self._beside = {name: _Known(name, -1, schema.columns[name]) for name in self.beside}
        self._labels: dict[tuple[type, Any], Label | float | None] = {}

    def body(self, content: bytes) -> Body:
        """The rows of `{"rows": [{…}, …]}` or `{"features": [...]}`, whose values stand in the order of `needed`.

        Raises:
            RequestError: 400, 413 (more than `max_rows` rows) or 422.
        """
        found = an_object(parsed(content), "rows", "features")
        if "rows" in found:
            return Body(self.rows(a_list(found["rows"], "rows", self.max_rows)), single=False)
        values = found["features"]
        if values.__class__ is not list or len(values) != len(self.needed):
            order = ", ".join(self.needed)
            raise refusal([Fault(0, f"features has to be a list of {len(self.needed)} values in this order: {order}")])
        return Body(self.rows([dict(zip(self.needed, values, strict=True))]), single=True)

    def rows(self, records: Iterable[Any]) -> list[Row]:
        """The raw rows (n) of objects of JSON, with the columns that a prediction needs, and the key.

        Raises:
            RequestError: 422; it names every column that is not there or unknown, and every value that is unreadable.
        """
        columns, count = self._columns, len(self._columns)
        rows: list[Row] = []
        faults: list[Fault] = []
        asked: dict[int, list[tuple[int, Any]]] = {}
        hints: dict[str, str] = {}
        for number, record in enumerate(records):
            if not isinstance(record, dict):
                faults.append(Fault(number, 'the row is no object: give {"column": value, …}'))
                continue
            row: Row = {}
            for column in columns:
                value = record.get(column.name, _ABSENT)
                row[column.name] = value
                kind = value.__class__
                if kind in column.usual or (kind in column.numbers and -EXACT < value < EXACT):
                    continue
                if value is _ABSENT and column.name == self.asked_at:
                    row[column.name] = self.now()
                elif kind not in SCALARS:
                    said = column.lacking if value is _ABSENT else column.nested
                    faults.append(Fault(number, said, column.name, column.position))
                elif (readable := column.readable.get((kind, value))) is None:
                    if not (kind is str and column.at_once(value)):
                        asked.setdefault(column.position, []).append((number, value))
                elif not readable:
                    faults.append(Fault(number, column.unreadable, column.name, column.position))
            if len(record) != count or record.__class__ is not dict or faults:
                faults += self._other_columns(record, row, number, hints)
            rows.append(row)
        for position, values in asked.items():
            faults += self._ask(columns[position], values)
        if not faults and self.asked_at:
            faults = self._too_late([row[self.asked_at] for row in rows])
        if faults:
            raise refusal(faults)
        return rows

    def _too_late(self, values: Sequence[Any]) -> list[Fault]:
        """The faults of readable times that lie more than a day in the future, of n rows.

        Their history would be one that nobody knows yet, and the log would bring it to training.
        """
        limit = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
        column = self._columns[self.needed.index(self.asked_at)]
        if self.schema.columns[self.asked_at].format is None:
            tomorrow = limit.isoformat()[:10]
            doubtful = [
                number
                for number, value in enumerate(values)
                if not (value is None or (value.__class__ is str and ISO.match(value) and value[:10] < tomorrow))
            ]
        else:
            doubtful = list(range(len(values)))
        if not doubtful:  # nearly always, and to read times takes a millisecond
            return []
        times, _ = self.read(pd.Series([values[number] for number in doubtful], dtype=object), self.asked_at)
        late = np.flatnonzero((times > limit).to_numpy(dtype=bool, na_value=False)).tolist()
        said = "the time is more than a day in the future: give when the row is asked about, or leave it out for now"
        return [Fault(doubtful[place], said, column.name, column.position) for place in late]

    def now(self) -> str:
        """The present time as a row of JSON has it."""
        return as_text(datetime.now(UTC))

    def check(self, table: pd.DataFrame) -> None:
        """Refuse a table (n rows) of the needed columns that has a value which cannot be read.

        Raises:
            RequestError: 422; it names them.
        """
        faults: list[Fault] = []
        count = 0
        for column in self._columns:
            _, wrong = self.read(table[column.name], column.name)
            found = np.flatnonzero(wrong)
            count += len(found)
            places = found[:MOST_FAULTS].tolist()
            faults += [Fault(row, column.unreadable, column.name, column.position) for row in places]
        if not faults and self.asked_at:
            faults = self._too_late(table[self.asked_at].tolist())
            count = len(faults)
        if faults:
            raise refusal(faults, count)

    def unknown(self, name: str, place: str, hints: dict[str, str]) -> str:
        """The sentence on a name at `place` that the schema lacks; `hints` keeps what was found in this request."""
        if name not in hints and len(hints) < MOST_HINTS and len(name) <= LONGEST_NAME:
            similar = get_close_matches(name, self.needed, n=1)
            hints[name] = f"did you mean {similar[0]}?" if similar else ""
        return f"{place} is no column of the model: " + (hints.get(name) or "leave it out, or correct its name")

    def feedback(self, content: bytes, classes: Sequence[Label]) -> list[Feedback]:
        """The feedback of `{"prediction_id": …, "actual": …}`, or of a list of such objects under `"feedback"`.

        `classes` are those of the model; without any, the actual values are numbers.

        Raises:
            RequestError: 400, 413 or 422; it names every id that is none, and every value that is none of the target.
        """
        found = parsed(content)
        if isinstance(found, dict) and "feedback" in found:
            records = a_list(an_object(found, "feedback")["feedback"], "feedback", self.max_rows)
        else:
            records = [found]
        faults: list[Fault] = []
        given: list[Feedback] = []
        for number, record in enumerate(records):
            if record.__class__ is not dict or record.keys() != {"prediction_id", "actual"}:
                faults.append(Fault(number, "the feedback has to be an object of prediction_id and actual, each once"))
                continue
            name, value = record["prediction_id"], record["actual"]
            if name.__class__ is not str or not PREDICTION.fullmatch(name):
                faults.append(
                    Fault(number, "the value is no id of a prediction: give that of the answer", "prediction_id")
                )
            label = self._label(value, classes)
            if label is None:
                faults.append(Fault(number, self._actual(classes), "actual"))
            else:
                given.append(Feedback(name, label))
        if faults:
            raise refusal(faults)
        return given

    def _ask(self, column: _Known, values: list[tuple[int, Any]]) -> list[Fault]:
        """The faults of values of one column, each with the number of its row, as the model reads them."""
        different = list(dict.fromkeys((value.__class__, value) for _, value in values))
        _, wrong = self.read(pd.Series([value for _, value in different], dtype=object), column.name)
        answers = {
            (kind, value): not bad and (kind is not float or math.isfinite(value))
            for (kind, value), bad in zip(different, wrong.tolist(), strict=True)
        }
        _remember(column.readable, answers)
        return [
            Fault(number, column.unreadable, column.name, column.position)
            for number, value in values
            if not answers[value.__class__, value]
        ]

    def _other_columns(self, record: dict[str, Any], row: Row, number: int, hints: dict[str, str]) -> list[Fault]:
        """The faults of keys beside those that a prediction needs; what is kept of their values is put into the row."""
        faults = []
        for position, (name, value) in enumerate(record.items(), 1):
            known = name if name in self.schema.columns else None
            if isinstance(record, Repeated) and name in record.twice:
                faults.append(Fault(number, f"key {position} of the row stands there twice: give it once", known))
            if known is None:
                faults.append(Fault(number, self.unknown(name, f"key {position} of the row", hints)))
            elif name not in row and (value.__class__ not in SCALARS or value in (math.inf, -math.inf)):
                faults.append(Fault(number, "the value is a list, an object or infinite: leave the column out", name))
            elif name == self.key or self._is_kept(name, value):
                row[name] = value
        return faults

    def _is_kept(self, name: str, value: Any) -> bool:
        """Whether a value beside those of a prediction is one that training needs, and can read."""
        column, kind = self._beside.get(name), value.__class__
        if column is None:
            return False
        if kind in column.usual or (kind in column.numbers and -EXACT < value < EXACT):
            return True
        if (kind, value) not in column.readable:
            readable = (kind is str and column.at_once(value)) or not self.read(pd.Series([value], dtype=object), name)[
                1
            ][0]
            _remember(column.readable, {(kind, value): bool(readable)})
        return column.readable.get((kind, value), False)

    def _label(self, value: Any, classes: Sequence[Label]) -> Label | float | None:
        """The actual value as the model's labels are; None if it is none of them, or no number."""
        if value.__class__ not in SCALARS or value is None:
            return None
        known = (value.__class__, value)
        if known not in self._labels:
            found, _ = self.read(pd.Series([value], dtype=object), self.schema.target)
            label = None if found.isna().item() else found.tolist()[0]
            if label is not None and not classes:
                label = float(label)
            _remember(self._labels, {known: None if classes and label not in classes else label})
            return None if classes and label not in classes else label
        return self._labels[known]

    def _actual(self, classes: Sequence[Label]) -> str:
        if not classes:
            return f"the value is no number: give {expected(self.schema.columns[self.schema.target])}"
        listed = ", ".join(json.dumps(label, ensure_ascii=False) for label in classes[:MOST_CLASSES])
        more = f" and {len(classes) - MOST_CLASSES} more" if len(classes) > MOST_CLASSES else ""
        return f"the value is none of the model's classes: give one of {listed}{more}"


def asked_at(schema: Schema) -> str:
    """The column that says when a row is asked about, "" without one; the schema may be that of an older version."""
    history = getattr(schema, "history", None)
    return history.time if history and history.tables else ""


def an_object(found: Any, *names: str) -> dict[str, Any]:
    """The object itself, if it has exactly one of the keys `names`, and no other key.

    Raises:
        RequestError: 422; it is something else.
    """
    if found.__class__ is not dict or len(found) != 1 or next(iter(found)) not in names:
        forms = " or ".join(f'"{name}": [...]' for name in names)
        raise RequestError(422, f"the body has to be a JSON object of one key, given once: {forms}")
    return found


def a_list(found: Any, name: str, longest: int) -> list[Any]:
    """The list itself, if it has one to `longest` entries.

    Raises:
        RequestError: 422, or 413 if it is longer.
    """
    if found.__class__ is not list or not found:
        raise RequestError(422, f"{name} has to be a list of at least one entry")
    if len(found) > longest:
        raise RequestError(413, f"{name} has {len(found)} entries, and {longest} are the most: send several requests")
    return found


def refusal(faults: list[Fault], count: int = 0) -> RequestError:
    """422 with the faults by row and column, a hundred at most, and the number of all others.

    `count` is the number of all faults where `faults` are only the first ones of each column.
    """
    ordered = sorted(faults, key=lambda fault: (fault.row, fault.position))
    listed: list[dict[str, Any]] = [
        {"row": fault.row + 1 if fault.row >= 0 else None, "column": fault.column, "fault": fault.fault}
        for fault in ordered[:MOST_FAULTS]
    ]
    if (more := max(count, len(faults)) - len(listed)) > 0:
        listed.append({"row": None, "column": None, "fault": f"{more} more faults are not listed: correct these first"})
    return RequestError(422, listed)


def expected(column: Column) -> str:
    """What a value of the column may look like, as a part of a sentence."""
    if column.type in NUMERIC:
        whole = column.type == "integer"
        text = "12" if whole else f"1{column.decimal}5"
        unit = "" if column.unit is None else f" (with or without {column.unit})"
        return f'a {"whole " if whole else ""}number such as {"12" if whole else "1.5"}, or the text "{text}"{unit}'
    if column.type == "datetime":
        form = f' or as "{column.format}"' if column.format else ""
        return f'a date as in ISO 8601, such as "2024-02-29" or "2024-02-29T13:45:00"{form}'
    return 'true or false, 1 or 0, "yes" or "no"' if column.type == "boolean" else "a text"


def _usual_text(column: Column) -> Callable[[str], object]:
    """A function that is true of texts of the column that are surely readable, since asking takes a millisecond.

    It knows the usual spellings of what differs from row to row: numbers, and dates.
    """
    if column.type in NUMERIC and column.unit is None:
        behind = "" if column.type == "integer" else f"(?:{re.escape(column.decimal)}[0-9]+)?"
        return re.compile(f"[+-]?[0-9]{FEW}{behind}").fullmatch
    form = column.format
    if column.type == "datetime" and form is None:
        return lambda text: ISO.fullmatch(text) and _is_date(datetime.fromisoformat, text)
    if form is not None and set(re.findall("%.", form)) <= DIRECTIVES and "%Y" in form:
        return lambda text: text.isascii() and text.strip() == text and _is_date(datetime.strptime, text, form)
    return lambda text: False


def _is_date(read: Callable[..., datetime], *text: str) -> bool:
    try:
        return read(*text).year > 0
    except ValueError:
        return False


def _remember(known: dict[tuple[type, Any], Any], answers: Mapping[tuple[type, Any], Any]) -> None:
    if len(known) + len(answers) > REMEMBERED:
        known.clear()
    short = {one: answer for one, answer in answers.items() if len(str(one[1])) <= LONGEST}
    known.update(islice(short.items(), REMEMBERED))
