"""The description of the server says what it takes and gives, whatever the columns are called."""

import html
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.data import rows
from mlops.data.schema import Schema
from mlops.serving import docs_page, openapi
from mlops.serving.request import Reader, RequestError
from openapi_spec_validator import validate

from tests.mlops.serving.bodies import ROW, SCHEMA, body, reader

PARTS = openapi.components(SCHEMA, ("No", "Yes"), 3, None, known=True)
ONE = reader(max_rows=3)


def document(parts: dict[str, Any]) -> dict[str, Any]:
    operations = {"/predict": openapi.PREDICT, "/feedback": openapi.FEEDBACK, "/v2": openapi.INFERENCE}
    return {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "paths": {path: {"post": operation} for path, operation in operations.items()},
        "components": {"schemas": parts},
    }


def valid(value: Any, part: str, parts: dict[str, Any] = PARTS) -> bool:
    described = {**document(parts), "$ref": f"#/components/schemas/{part}"}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return bool(jsonschema.Draft202012Validator(described, format_checker=checker).is_valid(value))


def test_the_description_is_openapi_and_every_refusal_stands_in_it() -> None:
    described = json.loads(json.dumps(document(PARTS), allow_nan=False))

    validate(described)
    assert set(openapi.PREDICT["responses"]) == {"200", "400", "401", "413", "415", "422", "429", "503"}


def test_a_column_is_described_by_what_is_known_of_it() -> None:
    columns = PARTS["Row"]["properties"]

    assert PARTS["Row"]["required"] == list(ROW)
    assert columns["remark"]["description"] == "Not needed for a prediction; left out."
    said = {name: columns[name]["description"] for name in ROW}
    assert said["tenure"].startswith(
        'A whole number such as 12, or the text "12". Usually from 0 to 120. Missing is null or one'
    )
    assert 'the text "1,5" (with or without EUR)' in said["preis"]
    assert 'Known are "A", "B"; another text is a level that was never seen' in said["$ref"]
    assert 'or as "%d/%m/%Y". Missing is null or one of "01/01/1900".' in said['tag "№"']


def test_the_page_for_people_has_each_column_and_runs_nothing_that_a_name_says() -> None:
    schema = SCHEMA.model_copy(
        update={"columns": {"<script>alert(1)</script>": SCHEMA.columns["tenure"], **SCHEMA.columns}}
    )
    parts = openapi.components(schema, ("No", "<b>Yes"), 3, None, known=True)

    page = docs_page.page(document(parts))

    assert "<script" not in page
    assert "<b>" not in page
    said = html.unescape(page)
    assert all(f"<td>{name}</td>" in said for name in schema.needed)
    assert 'Known are "A", "B"' in said
    assert 'one of "No", "<b>Yes"' in said
    assert 'null or one of "01/01/1900"' in said  # a word for missing of that column alone
    assert "422: Values or columns are wrong" in said
    assert "No version is loaded" in docs_page.page({**document({}), "components": {}})


def test_the_examples_are_answered() -> None:
    made = openapi.example_row(SCHEMA)

    for parts in (PARTS, openapi.components(SCHEMA, ("No", "Yes"), 3, ROW, known=True)):
        for example in parts["PredictRequest"]["examples"]:
            assert valid(example, "PredictRequest", parts)
            assert ONE.body(json.dumps(example).encode()).rows in ([made], [ROW])
    assert made["tenure"] == 60


ANY = st.one_of(
    *(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-100, 100),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    *(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
        st.from_regex("[+-]?[0-9]{1,9}[.,]?[0-9]{0,9}", fullmatch=True),
    ),
    *(
        st.sampled_from([*SCHEMA.missing, "yes", "1.0"]),
        st.datetimes().map(lambda time: time.isoformat() + "Z"),
        st.just([]),
    ),
)


@settings(max_examples=60)
@given(name=st.sampled_from([name for name in SCHEMA.columns if name not in ('tag "№"', "geboren")]), value=ANY)
def test_what_the_description_allows_is_taken(name: str, value: Any) -> None:
    row = {**ROW, 'tag "№"': None, "geboren": None, name: value}
    if valid({"rows": [row]}, "PredictRequest"):
        assert len(ONE.body(body(row)).rows) == 1
    elif isinstance(value, list):
        with pytest.raises(RequestError):
            ONE.body(body(row))


@pytest.mark.parametrize(
    "wrong", [{}, {"rows": []}, {"rows": [ROW] * 4}, {"rows": [{}]}, {"features": [1]}, {"rows": [{**ROW, "x": 1}]}]
)
def test_what_it_does_not_allow_is_refused(wrong: dict[str, Any]) -> None:
    assert not valid(wrong, "PredictRequest")
    with pytest.raises(RequestError) as error:
        ONE.body(json.dumps(wrong).encode())
    assert valid({"detail": error.value.detail}, "Faults")


ANSWER = {"model_version": "3", "variant": "champion", "prediction_id": "0123456789abcdef-0123456789abcdef"}


@pytest.mark.parametrize(
    ("labels", "known", "answer"),
    [
        (("No", "Yes"), True, {"prediction": "Yes", "probability": 0.7}),
        ((False, True), False, {"prediction": True}),
        (("a", "b", "c"), True, {"prediction": "a", "probability": 1, "probabilities": {"a": 1, "b": 0, "c": 0}}),
        ((), False, {"prediction": 1.5}),
    ],
)
def test_answers_of_each_task_are_described(labels: Any, known: bool, answer: dict[str, Any]) -> None:
    parts = openapi.components(SCHEMA, labels, 3, None, known=known)

    assert valid({"predictions": [answer | ANSWER]}, "Predictions", parts)
    assert not valid({"predictions": [answer | ANSWER | {"more": 1}]}, "Predictions", parts)
    actual = answer["prediction"]
    assert valid({"feedback": [{"prediction_id": ANSWER["prediction_id"], "actual": actual}]}, "FeedbackRequest", parts)


def test_a_column_of_any_name_and_any_word_for_missing_is_described() -> None:
    names = ["$ref", "properties", "a.b", "x/y~z", "日本", "<b>", 'q"q', "__proto__"]
    columns = {name: {"type": "number", "missing": ["*", "(none)", "a|b", "\\N", "[-]"]} for name in names}
    schema = Schema.model_validate({"columns": {**columns, "y": {"type": "number", "role": "target"}}})
    parts = openapi.components(schema, (), 3, None, known=False)

    validate(document(parts))
    taken = Reader(schema, lambda values, name: rows.read(values, schema.columns[name], schema.missing), 3)
    for value in ("*", "(none)", "a|b", "\\N", "[-]", "1.5", 2, None):
        given = {"rows": [dict.fromkeys(names, value)]}
        assert valid(given, "PredictRequest", parts)
        assert taken.body(json.dumps(given).encode()).rows == given["rows"]
    assert not valid({"rows": [dict.fromkeys(names, "none")]}, "PredictRequest", parts)
