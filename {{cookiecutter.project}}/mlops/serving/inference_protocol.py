"""The Open Inference Protocol (version 2 of KServe's) as a thin adapter: columns to rows, answers to outputs."""

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, NamedTuple

from mlops.data.schema import ColumnType, Schema
from mlops.serving.request import Fault, Reader, RequestError, Row, parsed, refusal
from mlops.training.task import Label

# Types of tensors, and the types of JSON that their values have; null is a missing value of each.
DATATYPES: Mapping[str, frozenset[type]] = {
    "BOOL": frozenset({bool, NoneType}),
    **dict.fromkeys(("INT8", "INT16", "INT32", "INT64"), frozenset({int, NoneType})),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32", "UINT64"), frozenset({int, NoneType})),
    **dict.fromkeys(("FP32", "FP64"), frozenset({int, float, NoneType})),
    "BYTES": frozenset({str, NoneType}),
}
OF_COLUMNS: Mapping[ColumnType, str] = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}
OF_LABELS: Mapping[type, str] = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
OUTPUTS = ("prediction", "probability", "probabilities", "prediction_id")


class Inference(NamedTuple):
    """The rows of a request, its id ("" if it has none), and the outputs that it asks for (all if it names none)."""

    rows: list[Row]
    id: str
    outputs: tuple[str, ...]


def inference(content: bytes, reader: Reader) -> Inference:
    """The rows of `{"inputs": [{"name", "shape", "datatype", "data"}, …]}`: a column an input, of shape [n] or [n, 1].

    Raises:
        RequestError: 400, 413 or 422; it names every input that is not there, unknown or no such column, or every value
            that cannot be read.
    """
    found = parsed(content)
    inputs = found.get("inputs") if found.__class__ is dict else None
    if inputs.__class__ is not list or not inputs:
        raise RequestError(422, 'the body has to be {"inputs": [{"name", "shape", "datatype", "data"}, …]}')
    known = found.get("id", ""), tuple(_names(found.get("outputs", [])))
    if known[0].__class__ is not str or not set(known[1]) <= set(OUTPUTS):
        raise RequestError(422, f"id has to be a text, and outputs objects whose name is one of {', '.join(OUTPUTS)}")
    faults: list[Fault] = []
    columns: dict[str, list[Any]] = {}
    hints: dict[str, str] = {}
    for number, (tensor, name) in enumerate(zip(inputs, _names(inputs), strict=True), 1):
        column = name if name in reader.schema.columns else None
        if not isinstance(name, str):
            faults.append(Fault(-1, f"input {number} is no object with a name, or has a key twice"))
        elif column is None:
            faults.append(Fault(-1, reader.unknown(name, f"input {number}", hints)))
        elif name in columns:
            faults.append(Fault(-1, f"input {number} has the name of another one: give each column once", column))
        else:
            columns[name], said = _values(tensor)
            faults += [Fault(-1, f"input {number} {said}", column)] if said else []
    lacking = [name for name in reader.needed if name not in columns and name != reader.asked_at]
    faults += [Fault(-1, "no input has this name: give null for values that are not known", name) for name in lacking]
    sizes = {len(values) for values in columns.values()}
    if not faults and (len(sizes) > 1 or sizes == {0}):
        faults.append(Fault(-1, "the inputs have to have the same number of values, at least one"))
    if faults:
        raise refusal(faults)
    if max(sizes) > reader.max_rows:
        raise RequestError(413, f"the inputs have {max(sizes)} rows, and {reader.max_rows} are the most: send several")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return Inference(reader.rows(rows), *known)


def answer(
    answers: Sequence[Mapping[str, Any]], model: str, version: str, asked: Inference, labels: Sequence[Label]
) -> dict[str, Any]:
    """The answer to n rows from `answers`, the objects that `/predict` gives for them; `labels` are the classes."""
    n = len(answers)
    values: dict[str, list[Any]] = {
        name: [answer[name] for answer in answers] for name in OUTPUTS if n and name in answers[0]
    }
    outputs = []
    for name in asked.outputs or values:
        if name not in values:
            raise RequestError(422, f"the model has no output {name}: ask for {', '.join(values)}")
        shape, data = [n], values[name]
        output: dict[str, Any] = {"name": name}
        if name == "probabilities":
            shape = [n, len(labels)]
            data = [by_label[str(label)] for by_label in data for label in labels]
            output["parameters"] = {"labels": list(labels)}
        outputs.append(output | {"shape": shape, "datatype": _datatype(data), "data": data})
    known = {"id": asked.id} if asked.id else {}
    return {"model_name": model, "model_version": version, **known, "outputs": outputs}


def metadata(
    schema: Schema, model: str, versions: Sequence[str], labels: Sequence[Label], *, known: bool
) -> dict[str, Any]:
    """What `GET /v2/models/{name}` answers; `labels` are the classes, `known` says whether they have probabilities."""
    outputs = [_tensor("prediction", OF_LABELS[type(labels[0])] if labels else "FP64")]
    if known:
        outputs.append(_tensor("probability", "FP64"))
        outputs += [{**_tensor("probabilities", "FP64"), "shape": [-1, len(labels)]}] if len(labels) > 2 else []
    return {
        "name": model,
        "versions": list(versions),
        "platform": "scikit-learn",
        "inputs": [_tensor(name, OF_COLUMNS.get(schema.columns[name].type, "BYTES")) for name in schema.needed],
        "outputs": [*outputs, _tensor("prediction_id", "BYTES")],
    }


def _tensor(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1]}


def _datatype(data: list[Any]) -> str:
    return OF_LABELS[type(next((value for value in data if value is not None), 0.0))]


def _names(tensors: Any) -> list[Any]:
    """The name of each input or output; None where it has none."""
    if tensors.__class__ is not list:
        return [None]
    names = [None if tensor.__class__ is not dict else tensor.get("name") for tensor in tensors]
    return [name if name.__class__ is str else None for name in names]


def _values(tensor: dict[str, Any]) -> tuple[list[Any], str]:
    """The values (n) of an input, and what is wrong with it ("" if nothing is)."""
    shape, data = tensor.get("shape"), tensor.get("data")
    kinds = DATATYPES.get(tensor["datatype"]) if tensor.get("datatype").__class__ is str else None
    if kinds is None:
        return [], f"has to have a datatype of {', '.join(DATATYPES)}"
    if data.__class__ is not list:
        return [], "has to have its values in the list data; binary data is not taken"
    if data and all(value.__class__ is list and len(value) == 1 for value in data):
        data = [value[0] for value in data]
    if shape not in ([len(data)], [len(data), 1]) or any(size.__class__ is not int for size in shape):
        return [], "has to have the shape [n] or [n, 1], with n values in data"
    if not {value.__class__ for value in data} <= kinds:
        return [], "has values that are not of its datatype"
    return data, ""
