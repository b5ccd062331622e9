"""Raw rows as a model's encoder has them, without pandas: every column's codes, learnt from the model itself.

The one way from a raw row to what an estimator gets is `mlops.data.rows`, `mlops.training.encoding` and the fitted
encoder. For a single row, that takes a few hundred times longer than to look the same codes up. So each column has a
dictionary from raw values to codes that this one way has given. Numbers, dates and levels that nobody has seen are not
asked for one by one: they are read here where there is only one way to read them.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlops.data import parsing
from mlops.data.profile import MICROSECONDS_A_DAY
from mlops.data.schema import Column
from mlops.registry.scoring import RawModel
from mlops.training import encoding

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

Rows = Sequence[Mapping[str, Any]]
Encode = Callable[[Rows], NDArray[np.float64]]
# The positions in an encoded row at which a value is anything but 0.0, and what stands there.
Code = tuple[tuple[int, ...], tuple[float, ...]]
Read = Callable[[Any], Code | None]

# Values of a column that are kept, besides its levels, and the longest text among them.
LEARNT = 10_000
LONGEST = 100
# Forests compare with 32 bits: scikit-learn refuses what is too large for them, and only scikit-learn says so.
LARGEST = 1e38
EXACT = 2**63
# Levels that are encoded at once.
ROWS = 2_000
# Text that can be read as a number, a whole one, or a time in one way only.
NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?", re.ASCII)
WHOLE = re.compile(r"-?[0-9]{1,15}", re.ASCII)
TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{3}))?Z?)?", re.ASCII
)
EPOCH = datetime(1970, 1, 1)


class UnusualRowError(Exception):
    """A row that the model itself has to answer, or to refuse with its own sentence."""


def encoder(model: RawModel, examples: Rows) -> Encode:
    """A function from raw rows (n) to what the estimator gets, shape (n, encoded columns), bit for bit.

    The dates of the `examples` are learnt at once; any other value is learnt when it comes. Where the schema has
    derived columns, or some to compute from, the model's own code encodes the rows; else `derive` is not called.

    The function raises UnusualRowError for rows that the model itself has to answer. It may be called in any thread.

    Raises:
        ValueError: the model's encoder is not that of `mlops.training.encoding`.
    """
    schema, transformer = model.schema, model.model.pipeline[0]
    if schema.derived or set(schema.needed) - set(schema.inputs):
        return _by_the_model(model)
    blocks = encoding.encoded_blocks(transformer, schema)
    width = sum(map(len, blocks.values()))
    if sorted(position for block in blocks.values() for position in block.tolist()) != list(range(width)):
        raise ValueError("its encoder does not give each feature its own columns")
    try:
        known = _known(model, blocks, examples)
    except Exception:  # a date that its column cannot spell
        known = _known(model, blocks, [])
    readers = [(name, _reader(model, name, blocks[name], known[name])) for name in schema.needed]
    others, lock = dict.fromkeys(schema.needed), threading.Lock()
    learnt: dict[str, dict[Any, Code]] = {name: {} for name in schema.needed}

    def learn(values: dict[str, Any]) -> Iterator[Code]:
        """Ask the model for the codes of some columns of one row, and remember them."""
        keys = {name: _key(value) for name, value in values.items()}
        try:
            [encoded] = model.encoded(model.typed([others | values]))
        except Exception as error:  # whatever it is: the model is asked for the whole row, and says so itself
            raise UnusualRowError from error
        if not (np.abs(encoded) < LARGEST).all():
            raise UnusualRowError
        for name, key in keys.items():
            code = _code(encoded, blocks[name])
            yield code
            if key is not None:
                with lock:
                    if len(learnt[name]) >= LEARNT:
                        learnt[name].pop(next(iter(learnt[name])))
                    learnt[name][key] = code

    def encode(rows: Rows) -> NDArray[np.float64]:
        encoded = np.zeros((len(rows), width))
        for line, row in zip(encoded, rows, strict=True):
            positions: list[int] = []
            values: list[float] = []
            unknown: dict[str, Any] = {}
            for name, read in readers:
                if name not in row:
                    raise UnusualRowError
                value = row[name]
                code = read(value) or learnt[name].get(_key(value))
                if code is None:
                    unknown[name] = value
                else:
                    positions += code[0]
                    values += code[1]
            for code in learn(unknown) if unknown else ():
                positions += code[0]
                values += code[1]
            line[positions] = values
        return encoded

    return encode


def with_history(encode: Encode, model: RawModel) -> Encode:
    """The encoder of rows without columns of history, from that of rows in which they stand."""

    def encode_all(rows: Rows) -> NDArray[np.float64]:
        try:
            made = model.history(rows)
        except Exception as error:  # whatever it is: the model is asked for the rows, and says so itself
            raise UnusualRowError from error
        return encode([{**row, **columns} for row, columns in zip(rows, made, strict=True)])

    return encode_all


def levels(transformer: "ColumnTransformer") -> dict[str, list[str]]:
    """The levels that a fitted encoder knows, by the names of the categories; missing is none of them."""
    found: dict[str, list[str]] = {}
    for name, fitted, columns in transformer.transformers_:
        if name in ("categories", "means") and len(columns):
            of_each = (fitted["encode"] if name == "categories" else fitted).categories_
            found |= {
                column: [level for level in one.tolist() if isinstance(level, str)]
                for column, one in zip(columns, of_each, strict=True)
            }
    return found


def numbers(transformer: "ColumnTransformer") -> dict[int, tuple[float, float, float]]:
    """Median, mean and spread of each number that a fitted encoder knows, by its position in an encoded row."""
    for name, fitted, columns in transformer.transformers_:
        if name == "numbers" and len(columns):
            scale = fitted["scale"]
            parts = (fitted["impute"].statistics_.tolist(), scale.mean_.tolist(), scale.scale_.tolist())
            return dict(enumerate(zip(*parts, strict=True), transformer.output_indices_["numbers"].start))
    return {}


def unseen(known: Sequence[str]) -> str:
    """A level that is none of the known ones."""
    level = "(unseen)"
    while level in known:
        level += ")"
    return level


def _by_the_model(model: RawModel) -> Encode:
    def encode(rows: Rows) -> NDArray[np.float64]:
        try:
            encoded = model.encoded(model.typed(list(rows)))
        except Exception as error:  # whatever it is: the model is asked again, and says so itself
            raise UnusualRowError from error
        if not (np.abs(encoded) < LARGEST).all():
            raise UnusualRowError
        return encoded

    return encode


def _known(model: RawModel, blocks: Mapping[str, NDArray[np.intp]], examples: Rows) -> dict[str, dict[Any, Code]]:
    """The codes of values that can be foretold, by column: levels, one unseen, truth values, dates, words for missing.

    Values of one column are all text, or all truth values, beside None: no value can change how another one is read.
    """
    schema = model.schema
    own = levels(model.model.pipeline[0])
    known: dict[str, dict[Any, Code]] = {name: {} for name in schema.needed}
    values: dict[str, list[Any]] = {}
    for name in schema.needed:
        column = schema.columns[name]
        some: list[Any] = [None, *parsing.words(column, schema.missing)]
        if name in own:
            some += [unseen(own[name]), *own[name]]
        elif column.type == "datetime":
            some += [row[name] for row in examples]
        values[name] = list(dict.fromkeys(some))
    truths: dict[str, list[Any]] = {
        name: [True, False] for name in schema.needed if schema.columns[name].type == "boolean"
    }
    shared: dict[Code, Code] = {}  # rare levels have equal codes
    given: Mapping[str, Sequence[Any]]
    for given in (values, truths):
        for start in range(0, max(map(len, given.values()), default=0), ROWS):
            part = {name: some[start : start + ROWS] for name, some in given.items()}
            rows = [dict(zip(part, row, strict=True)) for row in zip_longest(*part.values())]
            encoded = model.encoded(model.typed([dict.fromkeys(schema.needed) | row for row in rows]))
            for name, some in part.items():
                codes = (_code(line, blocks[name]) for line in encoded)
                known[name] |= {value: shared.setdefault(code, code) for value, code in zip(some, codes, strict=False)}
    return known


def _code(line: NDArray[np.float64], block: NDArray[np.intp]) -> Code:
    """The code of one column in an encoded row."""
    there = line[block]
    told = (there != 0) | np.signbit(there)
    return tuple(block[told].tolist()), tuple(there[told].tolist())


def _key(value: Any) -> Any:
    """The key under which the code of a value is remembered; None if it is not.

    True, 1, 1.0, 0.0 and -0.0 are values of their own.
    """
    kind = type(value)
    if kind is str:
        return value if len(value) <= LONGEST else None
    if kind is bool or value is None:
        return kind, value
    if kind not in (int, float) or not -EXACT < value < EXACT:
        raise UnusualRowError
    return kind, repr(value)


def _reader(model: RawModel, name: str, block: NDArray[np.intp], known: Mapping[Any, Code]) -> Read:
    """The function that gives the code of a raw value of one column; None where the model has to say it."""
    column, transformer, at = model.schema.columns[name], model.model.pipeline[0], tuple(block.tolist())
    if column.type == "category":
        return _category(known, known[unseen(levels(transformer)[name])])
    scales = [numbers(transformer)[position] for position in at]
    if column.type in ("number", "integer"):
        return _number(column, at, scales[0], known)
    if column.type == "datetime" and column.format is None:
        return _time(at, scales, known)
    return lambda value: known.get(value) if value is None or type(value) in (str, bool) else None


def _number(column: Column, at: tuple[int, ...], scales: tuple[float, float, float], known: Mapping[Any, Code]) -> Read:
    """Of a number: JSON's numbers, and plain text where it has a point and no unit."""
    _, mean, scale = scales
    whole = column.type == "integer"
    plain = WHOLE if whole else NUMBER
    reads_text = column.decimal == "." and column.unit is None
    bound = min(2.0**63, LARGEST * scale - abs(mean))
    words = frozenset(number for word in known if word and (number := _as_number(word)) is not None)

    def read(value: Any) -> Code | None:
        kind = type(value)
        number = value
        if kind is str:
            if value in known or not reads_text or not plain.fullmatch(value):
                return known.get(value)
            number = float(value)
        elif kind is float:
            if whole and not value.is_integer():
                return None
        elif kind is not int:
            return known[None] if value is None else None
        if number in words or not -bound < number < bound:
            return None
        return at, (((number + 0.0 if whole else number) - mean) / scale,)  # a whole number has no -0.0

    return read


def _as_number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _time(at: tuple[int, ...], scales: Sequence[tuple[float, float, float]], known: Mapping[Any, Code]) -> Read:
    """Of a datetime: ISO 8601 to the second or millisecond, without a zone or in UTC."""

    def read(value: Any) -> Code | None:
        if value is not None and type(value) is not str:
            return None
        found = None if value is None or value in known else TIME.fullmatch(value)
        if not found:
            return known.get(value)
        year, month, day, hour, minute, second, millisecond = (int(part or 0) for part in found.groups())
        try:
            time = datetime(year, month, day, hour, minute, second, millisecond * 1000)
        except ValueError:
            return None
        days = float((time - EPOCH) // timedelta(microseconds=1)) / MICROSECONDS_A_DAY
        parts = (days, month, time.weekday(), hour)[-len(at) :]
        return at, tuple((part - mean) / scale for part, (_, mean, scale) in zip(parts, scales, strict=True))

    return read


def _category(known: Mapping[Any, Code], code_of_unseen: Code) -> Read:
    """Of a category: its levels, and text that is read as it stands and is none of them."""

    def read(value: Any) -> Code | None:
        if type(value) is not str:
            return known[None] if value is None else None
        code = known.get(value)
        if code is not None:
            return code
        # No blanks at its ends or of another kind inside, no sign that Arrow cannot take, no whole number as a float.
        plain = value.isprintable() and value.strip(" ") == value and value[-2:] != ".0" and value[:2] != '="'
        return code_of_unseen if plain and value else None

    return read
