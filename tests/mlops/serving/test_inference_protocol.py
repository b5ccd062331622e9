"""The Open Inference Protocol: the same rows and the same answers in columns."""

import json
from typing import Any

import pytest
from mlops.serving import inference_protocol as protocol
from mlops.serving.request import RequestError

from tests.mlops.serving.bodies import MARKER, ROW, SCHEMA, reader

DATATYPES = {int: "INT64", float: "FP64", bool: "BOOL", str: "BYTES"}
ONE = reader(max_rows=3)


def tensors(*given: dict[str, Any]) -> list[dict[str, Any]]:
    columns = {name: [row[name] for row in given] for name in given[0]}
    return [
        {"name": name, "shape": [len(given)], "datatype": DATATYPES[type(values[0])], "data": values}
        for name, values in columns.items()
    ]


def body(inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": inputs, **more}).encode()


def refused(content: bytes) -> RequestError:
    with pytest.raises(RequestError) as error:
        protocol.inference(content, ONE)
    assert MARKER not in json.dumps(error.value.detail)
    return error.value


def test_columns_become_rows() -> None:
    given = [ROW, {**ROW, "tenure": None, "self": None}]
    flat = tensors(*given)
    upright = [{**one, "shape": [2, 1], "data": [[value] for value in one["data"]], "parameters": {}} for one in flat]

    assert protocol.inference(body(flat), ONE) == (given, "", ())
    asked = [{"name": "probability"}]
    assert protocol.inference(body(upright, id="a", outputs=asked), ONE) == (given, "a", ("probability",))


def changed(**values: Any) -> list[dict[str, Any]]:
    first, *others = tensors(ROW)
    return [first | values, *others]


@pytest.mark.parametrize(
    ("inputs", "column", "said"),
    [
        (tensors(ROW)[1:], "tenure", "no input has this name"),
        ([*tensors(ROW), *tensors({"tenur": 1})], None, "input 10 is no column of the model: did you mean tenure?"),
        ([*tensors(ROW), *tensors({MARKER: 1})], None, "input 10 is no column of the model: leave it out"),
        ([*tensors(ROW), *tensors({"tenure": 1})], "tenure", "input 10 has the name of another one"),
        ([*tensors(ROW), MARKER], None, "input 10 is no object with a name"),
        (changed(datatype=MARKER), "tenure", "input 1 has to have a datatype of BOOL, "),
        (changed(datatype=["INT64"]), "tenure", "input 1 has to have a datatype of BOOL, "),
        (changed(datatype="BYTES"), "tenure", "input 1 has values that are not of its datatype"),
        (changed(data=[True]), "tenure", "input 1 has values that are not of its datatype"),
        (changed(data=MARKER), "tenure", "input 1 has to have its values in the list data"),
        *(
            (changed(shape=shape), "tenure", "input 1 has to have the shape")
            for shape in ([2], [1, 2], [True], [1.0], 1)
        ),
        (changed(data=[1, 2], shape=[2]), None, "the inputs have to have the same number of values"),
    ],
)
def test_an_input_that_is_wrong_is_named(inputs: Any, column: str | None, said: str) -> None:
    error = refused(body(inputs))

    assert error.status == 422
    assert [fault["column"] for fault in error.detail] == [column]
    assert str(error).startswith(said)


def test_a_value_that_is_wrong_is_named_by_its_row() -> None:
    [fault] = refused(body(tensors(ROW, {**ROW, "since": MARKER}))).detail

    assert (fault["row"], fault["column"]) == (2, "since")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        *((body(given), 422) for given in (None, [], {}, MARKER, 3)),
        *((b"[]", 422), (b"", 400), (b'{"inputs": [], "inputs": []}', 422)),
        *((body(tensors(ROW), id=3), 422), (body(tensors(ROW), outputs=[{"name": MARKER}]), 422)),
        *((body(tensors(ROW), outputs=MARKER), 422), (body(tensors(*[ROW] * 4)), 413)),
    ],
)
def test_a_request_that_is_none_is_refused(content: bytes, status: int) -> None:
    assert refused(content).status == status


def test_answers_become_outputs() -> None:
    given = [
        {"prediction": "b", "probability": 0.5, "probabilities": {"a": 0.2, "b": 0.5, "c": 0.3}, "prediction_id": "x"},
        {"prediction": "a", "probability": 0.9, "probabilities": {"a": 0.9, "b": 0.1, "c": 0.0}, "prediction_id": "y"},
    ]
    labels = ("a", "b", "c")

    found = protocol.answer(given, "churn", "7", protocol.Inference([], "i", ()), labels)

    assert (found["model_name"], found["model_version"], found["id"]) == ("churn", "7", "i")
    assert [(one["name"], one["datatype"], one["shape"], one["data"]) for one in found["outputs"]] == [
        ("prediction", "BYTES", [2], ["b", "a"]),
        ("probability", "FP64", [2], [0.5, 0.9]),
        ("probabilities", "FP64", [2, 3], [0.2, 0.5, 0.3, 0.9, 0.1, 0.0]),
        ("prediction_id", "BYTES", [2], ["x", "y"]),
    ]
    assert found["outputs"][2]["parameters"] == {"labels": ["a", "b", "c"]}
    some = protocol.answer(given, "churn", "7", protocol.Inference([], "", ("prediction",)), labels)
    assert ([one["name"] for one in some["outputs"]], "id" in some) == (["prediction"], False)
    with pytest.raises(RequestError, match="the model has no output probability: ask for prediction"):
        protocol.answer([{"prediction": 1.5}], "m", "1", protocol.Inference([], "", ("probability",)), ())


def test_the_description_names_each_column_with_its_datatype() -> None:
    found = protocol.metadata(SCHEMA, "churn", ["7"], ("No", "Yes"), known=True)

    assert [(one["name"], one["datatype"]) for one in found["inputs"]][:5] == [
        *(("tenure", "INT64"), ("monthly charges", "FP64"), ("preis", "FP64"), ("self", "BOOL"), ("$ref", "BYTES")),
    ]
    assert [one["name"] for one in found["outputs"]] == ["prediction", "probability", "prediction_id"]
    assert {tuple(one["shape"]) for one in found["inputs"] + found["outputs"]} == {(-1,)}
