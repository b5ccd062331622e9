"""The OpenAPI description of the server for one model: its columns, an example row, and every answer it may give."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlops.data import numbers, parsing
from mlops.data.schema import NUMERIC, Column, Schema
from mlops.serving.inference_protocol import DATATYPES, OUTPUTS
from mlops.serving.request import ARROW, JSON, PARQUET, asked_at, expected
from mlops.training.task import Label

Described = dict[str, Any]  # of JSON Schema (2020-12), or of OpenAPI 3.1
PLAIN: tuple[str, ...] = ("string", "number", "boolean", "null")
MOST_LEVELS = 50  # named in a description
FLOAT = float(np.finfo(np.float64).max)
# Times of ISO 8601 whose day exists, but for February 29 of 1600, 2000 and the like.
DATE = (
    "([1-9][0-9]{3}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    "|[1-9][0-9](0[48]|[2468][048]|[13579][26])-02-29)([T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?Z?)?"
)
PLACE = "#/components/schemas/"
REFUSALS = {
    "400": ("The body is no JSON in UTF-8, or a broken file.", "Refusal"),
    "401": ("The API key is missing or unknown.", "Refusal"),
    "413": ("The body, or its number of rows, is too large.", "Refusal"),
    "415": ("The header Content-Type is missing, or names another format.", "Refusal"),
    "422": ("Values or columns are wrong; every fault is named.", "Faults"),
    "429": ("The API key sends more requests a second than it may.", "Refusal"),
    "503": ("There is no model, or too many requests wait: try again later.", "Refusal"),
}


def components(
    schema: Schema, labels: Sequence[Label], max_rows: int, example: Mapping[str, Any] | None, *, known: bool
) -> dict[str, Described]:
    """The `components.schemas` of OpenAPI for a model of `schema`, by names that no column can take.

    `labels` are the classes (none to regress), `known` says whether they have probabilities. `example` is a raw row
    (`encoding.typical`), made from the schema if None. A description allows nothing that the server refuses, but for
    texts of a date in a format of its own; it leaves out rare spellings that the server takes.
    """
    row = dict(example or example_row(schema))
    columns = {name: column_schema(schema.columns[name], schema.missing) for name in schema.needed}
    others = {
        name: {"type": list(PLAIN), "description": "Not needed for a prediction; left out."}
        for name in schema.columns
        if name not in columns
    }
    rows = _object({"rows": {"type": "array", "items": _to("Row"), "minItems": 1, "maxItems": max_rows}})
    features = _object(
        {
            "features": {
                "type": "array",
                "prefixItems": list(columns.values()),
                "items": False,
                "minItems": len(columns),
                "maxItems": len(columns),
                "description": f"The values of one row in this order: {', '.join(columns)}.",
            }
        }
    )
    entry = _object({"prediction_id": _ID, "actual": _actual(schema.columns[schema.target], labels)})
    entries = _object({"feedback": {"type": "array", "items": entry, "minItems": 1, "maxItems": max_rows}})
    return {
        "Row": {
            **_object(columns),
            "properties": {**columns, **others},
            "required": [name for name in columns if name != asked_at(schema)],
            "examples": [row],
        },
        "PredictRequest": {
            "anyOf": [rows, features],
            "examples": [{"rows": [row]}, {"features": [row[name] for name in columns]}],
        },
        "Prediction": _prediction(labels, known=known),
        "Predictions": _object({"predictions": {"type": "array", "items": _to("Prediction")}}),
        "FeedbackRequest": {"anyOf": [entry, entries]},
        "FeedbackAnswer": _object({"accepted": {"type": "integer", "minimum": 1}}),
        "InferenceRequest": _inference(max_rows),
        "InferenceAnswer": _inference_answer(),
        "Refusal": _object({"detail": {"type": "string"}}),
        "Faults": _object({"detail": {"anyOf": [{"type": "string"}, {"type": "array", "items": _fault()}]}}),
    }


def operation(request: str, answers: Sequence[str], *, bulk: bool = False) -> Described:
    """A path of OpenAPI: the component of its request, and those of its answers."""
    answer = _to(answers[0]) if len(answers) == 1 else {"anyOf": [_to(name) for name in answers]}
    files = {media: {"schema": {"type": "string", "format": "binary"}} for media in (ARROW, PARQUET) if bulk}
    return {
        "requestBody": {"required": True, "content": {JSON: {"schema": _to(request)}, **files}},
        "responses": {
            "200": {"description": "The answer.", "content": {JSON: {"schema": answer}, **files}},
            **{
                status: {"description": said, "content": {JSON: {"schema": _to(name)}}}
                for status, (said, name) in REFUSALS.items()
            },
        },
    }


def column_schema(column: Column, missing: tuple[str, ...]) -> Described:
    """The JSON Schema of a raw value of a column; no value is refused for limits or levels."""
    words = parsing.words(column, missing)
    give = expected(column)
    said = [give[0].upper() + give[1:]]
    limits = [f"{word} {limit:g}" for word, limit in (("from", column.min), ("to", column.max)) if limit is not None]
    said += [f"Usually {' '.join(limits)}"] if limits else []
    levels = column.allowed or ()
    if levels:
        more = f" and {len(levels) - MOST_LEVELS} more" if len(levels) > MOST_LEVELS else ""
        said.append(f"Known are {_listed(levels[:MOST_LEVELS])}{more}; another text is a level that was never seen")
    said.append(f"Missing is null{' or one of ' if words else ''}{_listed(words)}")
    described: Described = {"description": ". ".join(said) + "."}
    if column.type in NUMERIC:
        return described | _number(column, words)
    if column.type == "boolean":
        return described | {"enum": [True, False, None, 0, 1, *sorted(parsing.TRUE | parsing.FALSE), *words]}
    if column.type == "datetime":
        return described | {"type": ["string", "null"]} | ({} if column.format else {"pattern": _pattern(DATE, words)})
    return described | {"type": list(PLAIN)} | ({"examples": list(levels[:MOST_LEVELS])} if levels else {})


def example_row(schema: Schema) -> dict[str, Any]:
    """A made-up raw row (values by the names of `needed`), from the schema alone."""
    return {name: _example(schema.columns[name]) for name in schema.needed}


def _example(column: Column) -> Any:
    if column.type in NUMERIC:
        limits = [limit for limit in (column.min, column.max) if limit is not None]
        middle = sum(limits) / len(limits) if limits else 1.0
        return round(middle) if column.type == "integer" else middle
    if column.type == "datetime":
        return pd.Timestamp("2024-02-29T12:00:00").strftime(column.format or "%Y-%m-%dT%H:%M:%S")
    return True if column.type == "boolean" else (column.allowed or ("text",))[0]


def _number(column: Column, words: tuple[str, ...]) -> Described:
    whole = column.type == "integer"
    digits = "[+-]?[0-9]{1,15}" + ("" if whole else f"([{column.decimal}][0-9]+)?")
    if column.unit not in (None, numbers.SHARE):
        digits += f"( ?{_exact(str(column.unit))})?"
    limits: Described = {"exclusiveMinimum": -FLOAT, "exclusiveMaximum": FLOAT}
    if whole:
        limits = {"minimum": -parsing.LARGEST - 1, "maximum": parsing.LARGEST}
    return {"type": ["integer" if whole else "number", "string", "null"], **limits, "pattern": _pattern(digits, words)}


def _pattern(usual: str, words: tuple[str, ...]) -> str:
    """A regular expression, both of Python and of JSON Schema, for texts of that form and for the words."""
    return f"^({'|'.join([usual, *map(_exact, words)])})$"


def _exact(word: str) -> str:
    return re.sub(r"[.*+?^$()|/\[\]{}\\]", r"\\\g<0>", word)


def _actual(column: Column, labels: Sequence[Label]) -> Described:
    if labels:
        return {"enum": list(labels), "description": "The class that it was."}
    kind = {"integer": "integer"}.get(column.type, "number")
    return {"type": kind, "description": "The number that it was.", "minimum": -(2**53), "maximum": 2**53}


def _prediction(labels: Sequence[Label], *, known: bool) -> Described:
    prediction: Described = {"enum": list(labels)} if labels else {"type": "number"}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    fields: dict[str, Described] = {"prediction": prediction}
    if labels and known:
        many = len(labels) > 2
        of = "the predicted class" if many else "the positive class"
        fields["probability"] = {**share, "description": f"The probability of {of}."}
        if many:
            fields["probabilities"] = _object({str(label): share for label in labels})
    fields |= {"model_version": {"type": "string"}, "variant": {"enum": ["champion", "challenger"]}}
    return _object({**fields, "prediction_id": _ID})


def _inference(max_rows: int) -> Described:
    tensor = _object(
        {
            "name": {"type": "string", "description": "The name of a column."},
            "shape": {"type": "array", "items": {"type": "integer"}, "description": "[n] or [n, 1]."},
            "datatype": {"enum": list(DATATYPES)},
            "data": {"type": "array", "minItems": 1, "maxItems": max_rows},
        },
        more=True,
    )
    output = _object({"name": {"enum": list(OUTPUTS)}}, more=True)
    asked = _object({"inputs": {"type": "array", "items": tensor, "minItems": 1}}, more=True)
    asked["properties"] |= {"id": {"type": "string"}, "outputs": {"type": "array", "items": output}}
    return {**asked, "description": "Every column is an input; the same values as in a row of /predict."}


def _inference_answer() -> Described:
    tensor = _object(
        {
            "name": {"enum": list(OUTPUTS)},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"enum": list(DATATYPES)},
            "data": {"type": "array"},
        },
        more=True,
    )
    outputs = {"type": "array", "items": tensor}
    return _object(
        {"model_name": {"type": "string"}, "model_version": {"type": "string"}, "outputs": outputs}, more=True
    )


def _fault() -> Described:
    return _object(
        {
            "row": {"type": ["integer", "null"], "description": "From 1 on; null for a whole column."},
            "column": {"type": ["string", "null"], "description": "Null for a whole row."},
            "fault": {"type": "string"},
        }
    )


def _object(properties: Mapping[str, Described], *, more: bool = False) -> Described:
    """An object that has all these properties, and with `more` perhaps others."""
    closed = {} if more else {"additionalProperties": False}
    return {"type": "object", "properties": dict(properties), "required": list(properties), **closed}


def _to(name: str) -> Described:
    return {"$ref": PLACE + name}


def _listed(words: Sequence[str]) -> str:
    return ", ".join(json.dumps(word, ensure_ascii=False) for word in words)


_ID = {"type": "string", "pattern": "^[0-9a-f]{16}-[0-9a-f]{16}$", "description": "The id of the prediction."}

# What FastAPI's `openapi_extra` takes for /predict, /feedback and /v2/models/{name}/infer.
PREDICT = operation("PredictRequest", ["Predictions", "Prediction"], bulk=True)
FEEDBACK = operation("FeedbackRequest", ["FeedbackAnswer"])
INFERENCE = operation("InferenceRequest", ["InferenceAnswer"])
