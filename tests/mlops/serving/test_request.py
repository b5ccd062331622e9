"""A body of JSON becomes rows, or one refusal that names every fault and repeats nothing."""

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from mlops.base.errors import DataError
from mlops.data import rows
from mlops.data.schema import Schema
from mlops.serving import request
from mlops.serving.request import MOST_FAULTS, REMEMBERED, Reader, RequestError

from tests.mlops.serving.bodies import MARKER, ROW, SCHEMA, body, derive, read, reader

ONE = reader()
IDENTITY = "0123456789abcdef-fedcba9876543210"


def refused(content: bytes, taken: Reader = ONE) -> RequestError:
    with pytest.raises(RequestError) as error:
        taken.body(content)
    return error.value


def faults(*given: Any, taken: Reader = ONE) -> list[tuple[Any, Any, str]]:
    """Row, column and sentence of what is wrong with these rows."""
    error = refused(body(*given), taken)
    assert error.status == 422
    return [(fault["row"], fault["column"], fault["fault"]) for fault in error.detail if isinstance(fault, dict)]


def test_rows_come_out_as_they_went_in_with_what_a_prediction_needs() -> None:
    found = ONE.body(
        body(ROW, {"customer": 7, "churn": "Yes", "doubled": 1, "remark": None, **ROW}, {"customer": "??", **ROW})
    )

    # The id is for those who train on these rows one day; one that cannot be read costs no answer.
    assert found.rows == [ROW, {**ROW, "customer": 7}, ROW]
    assert not found.single


def test_features_in_the_order_of_the_schema_are_the_same_row() -> None:
    found = ONE.body(json.dumps({"features": list(ROW.values())}).encode())

    assert found == ([ROW], True)


@pytest.mark.parametrize("features", [[1, 2], [], "12", {"tenure": 1}, None, [*ROW.values(), 1]])
def test_features_of_another_number_are_told_the_order(features: Any) -> None:
    [fault] = refused(json.dumps({"features": features}).encode()).detail

    assert fault["fault"] == f"features has to be a list of 9 values in this order: {', '.join(ROW)}"


def test_the_key_of_the_routing_is_kept_if_it_is_there() -> None:
    taken = reader(key="remark")

    assert taken.body(body({**ROW, "remark": 7}, ROW)).rows == [{**ROW, "remark": 7}, ROW]
    assert faults({**ROW, "remark": [7]}, taken=taken)[0][:2] == (1, "remark")


def test_every_fault_is_named_by_row_and_column_in_order() -> None:
    lacking = {name: value for name, value in ROW.items() if name != "monthly charges"}

    found = faults(ROW, {**lacking, "tenur": 1}, MARKER, {**ROW, "tenure": MARKER, "self": [MARKER], "since": 1.5})

    assert [place[:2] for place in found] == [
        *((2, None), (2, "monthly charges"), (3, None)),
        *((4, "tenure"), (4, "self"), (4, "since")),
    ]
    assert 'no datetime: give a date as in ISO 8601, such as "2024-02-29" or' in ONE._columns[5].unreadable
    assert [place[2] for place in found] == [
        "key 9 of the row is no column of the model: did you mean tenure?",
        'the column is not there: give a number such as 1.5, or the text "1.5", or null where it is not known',
        'the row is no object: give {"column": value, …}',
        'the value is no integer: give a whole number such as 12, or the text "12", or null where it is not known',
        'the value is a list or an object: give true or false, 1 or 0, "yes" or "no", or null where it is not known',
        ONE._columns[5].unreadable,
    ]


def test_a_hundred_faults_are_listed_and_the_others_counted() -> None:
    found = faults(*[{**ROW, "tenure": "x", "self": "x"}] * 70)

    assert len(found) == MOST_FAULTS + 1
    assert found[99] == (50, "self", found[1][2])
    assert found[100] == (None, None, "40 more faults are not listed: correct these first")


def test_a_key_that_stands_twice_is_a_fault_wherever_it_stands() -> None:
    row = json.dumps(ROW)
    twice = f'{{"tenure": 1, {row[1:]}'

    [fault] = refused(f'{{"rows": [{row}, {twice}]}}'.encode()).detail
    assert fault == {"row": 2, "column": "tenure", "fault": "key 1 of the row stands there twice: give it once"}
    assert refused(f'{{"rows": [{row}], "rows": [{row}]}}'.encode()).status == 422


def test_names_that_are_unknown_in_thousands_take_no_time_and_are_not_repeated() -> None:
    error = refused(body({f"{MARKER}{number}" * 5: 1 for number in range(20_000)} | ROW))

    assert len(error.detail) == MOST_FAULTS + 1
    assert MARKER not in str(error.detail)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        *((b"", 400), (b" " * 10_000_000, 400), (b"[" * 100_000, 400), (b'{"rows":' * 100_000, 400)),
        *((b'{"rows": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}", 400), (b'{"rows": []} x', 400)),
        *((b"\xff\xfe{}", 400), (b'{"rows": "\xed\xa0\x80"}', 400), (b"\xef\xbb\xbf" + body(ROW), 400)),
        *((body(ROW).decode().encode("utf-16"), 400), (body(ROW).decode().encode("utf-32"), 400)),
        *((b"{'rows': []}", 400), (b'{"rows": [}', 400), (b'{"rows": [],}', 400), (b'{"rows": ["\x00"]}', 400)),
        *((body({**ROW, "tenure": float("nan")}), 400), (body({**ROW, "remark": float("-inf")}), 400)),
        *((body({**ROW, "note": "\ud800"}), 400), (body({**ROW, "\udfff": 1}), 400)),
        (body({**ROW, "tenure": 1}).replace(b'"tenure": 1', b'"tenure": ' + b"1" * 5000), 400),
        *((b"null", 422), (b"[]", 422), (b"3", 422), (b'"rows"', 422), (b"{}", 422), (b'{"rows": null}', 422)),
        *((b'{"rows": {}}', 422), (b'{"rows": []}', 422), (b'{"rows": [], "features": []}', 422)),
        *((b'{"rows": [{}]}', 422), (b'{"rows": [[]]}', 422), (b'{"row": []}', 422)),
        *((body(*[ROW] * 1000), 200), (body(*[ROW] * 1001), 413), (body(*[3] * 1001), 413)),
    ],
    ids=lambda value: value[:20].decode("latin-1") if isinstance(value, bytes) else str(value),
)
def test_a_hostile_body_gets_a_status_of_the_client(content: bytes, status: int) -> None:
    if status == 200:
        assert len(ONE.body(content).rows) == 1000
    else:
        assert refused(content).status == status


@pytest.mark.parametrize("name", [*ROW, "remark"])
def test_a_number_too_large_to_be_one_is_refused_in_each_column(name: str) -> None:
    content = json.dumps({"rows": [{**ROW, name: 7_000_001}]}).replace("7000001", "1e999").encode()

    [fault] = refused(content).detail

    assert fault["column"] == name


@pytest.mark.parametrize(
    ("header", "accepted", "media"),
    [
        ("application/json", (request.JSON,), request.JSON),
        ('Application/JSON; charset="UTF-8"', (request.JSON,), request.JSON),
        (request.PARQUET, (request.JSON, request.PARQUET), request.PARQUET),
        *((header, (request.JSON,), None) for header in (None, "", "text/plain", "application/json; charset=utf-16")),
        *((header, (request.JSON,), None) for header in (request.ARROW, f"application/{MARKER}", "application/jsonx")),
    ],
)
def test_the_type_of_a_body_is_told_by_its_header(header: str | None, accepted: tuple[str], media: str | None) -> None:
    if media:
        assert request.media_type(header, accepted) == media
    else:
        with pytest.raises(RequestError, match="the header Content-Type has to be application/json") as error:
            request.media_type(header, accepted)
        assert error.value.status == 415
        assert MARKER not in str(error.value)


SPELLINGS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**64), 2**64),
    st.integers(-(2**54), 2**54).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dates().map(str),
    st.datetimes().map(lambda time: time.isoformat(" ")),
    st.dates().map(lambda day: day.strftime("%d/%m/%Y")),
    st.dates().map(lambda day: day.strftime("%d.%m.%y")),
    st.from_regex(r"[+-]?[0-9]{0,20}[.,]?[0-9]{0,20}([eE][0-9])?( EUR|%|k)?", fullmatch=True),
    st.sampled_from(
        ["Yes", "no", "on", "1.0", " 3 ", "", "NA", "0x1F", "now", "1 EUR", "1.234,5", "29/02/2023", "24:00"]
    ),
    st.sampled_from(["2024-02-29T24:00", "2024-02-30", "2024-13-01 00:00:00", "0000-01-01", "00/01/2024", "29.02.70"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)


@settings(max_examples=3, phases=[Phase.generate])  # each is 30 rows of 9 values; to make one smaller takes minutes
@given(st.data())
def test_what_is_accepted_is_what_the_model_can_read(data: st.DataObject) -> None:
    columns = {name: data.draw(st.lists(SPELLINGS, min_size=30, max_size=30)) for name in ROW}
    given = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    wrong = {name: read(pd.Series(values, dtype=object), name)[1].tolist() for name, values in columns.items()}
    expected = {(row + 1, name) for name in columns for row, bad in enumerate(wrong[name]) if bad}
    good = [{name: None if wrong[name][row] else given[row][name] for name in columns} for row in range(len(given))]

    for taken in (ONE, reader()):  # with memories, and without
        for name in columns:
            found = faults(*({**ROW, name: value} for value in columns[name]), {}, taken=taken)
            of_column = sorted(place for place in expected if place[1] == name)
            assert [place[:2] for place in found if place[1] == name] == [*of_column, (31, name)]
        assert taken.body(body(*good)).rows == good
    assert len(rows.typed(good, SCHEMA, derive)) == 30
    for row, name in sorted(expected, key=str)[:3]:
        with pytest.raises(DataError, match="which is no"):
            rows.typed({**ROW, name: columns[name][row - 1]}, SCHEMA, derive)


@settings(max_examples=150)
@given(st.binary(max_size=200))
@example(b'{"rows": [{"tenure": 1e999}]}')
def test_no_body_is_a_bug(content: bytes) -> None:
    for taken in (ONE.body, lambda given: ONE.feedback(given, ("No", "Yes"))):
        try:
            taken(content)
        except RequestError as error:
            assert error.status in (400, 413, 422)  # noqa: PT017 – most bodies are refused, but none has to be


@settings(max_examples=200)
@given(st.data())
def test_no_change_of_a_good_body_is_a_bug_or_comes_back(data: st.DataObject) -> None:
    good = (
        body(ROW, {**ROW, "customer": 1})
        if data.draw(st.booleans())
        else f'{{"features": {json.dumps([*ROW.values()])}}}'.encode()
    )
    place = data.draw(st.integers(0, len(good)))
    length = data.draw(st.integers(0, 20))
    other = data.draw(
        st.sampled_from([b"", b'"', b"\\", b"{", b"[[", b"1e999", b"\\ud800", b"\xff", b"NaN", b":", b"null"])
    )
    content = good[:place] + other + MARKER.encode() + good[place + length :]

    try:
        ONE.body(content)
    except RequestError as error:
        assert error.status in (400, 413, 422)  # noqa: PT017
        assert MARKER not in json.dumps(error.detail)  # noqa: PT017


def test_what_was_read_is_remembered_up_to_a_limit() -> None:
    asked: list[list[Any]] = []

    def counting(values: Any, name: str) -> Any:
        asked.append(values.tolist())
        return read(values, name)

    taken = Reader(SCHEMA, counting, 10_000)
    for _ in range(2):
        taken.body(body({**ROW, "self": "Yes"}, {**ROW, "self": "Yes"}, {**ROW, "self": 1}))

    assert sorted(asked, key=str) == [["1,5 EUR"], ["31.12.71"], ["Yes", 1]]
    taken.body(body(*({**ROW, "preis": f"{number} EUR"} for number in range(REMEMBERED + 9))))
    assert max(len(column.readable) for column in taken._columns) == REMEMBERED
    taken.body(body({**ROW, "preis": "1" * 90 + " EUR " + " " * 90}))
    assert max(len(str(value)) for column in taken._columns for _, value in column.readable) < 20


REGRESSION = Schema.model_validate({"columns": {"x": {"type": "number"}, "y": {"type": "number", "role": "target"}}})


@pytest.mark.parametrize(
    ("schema", "classes", "actual", "label"),
    [
        (SCHEMA, ("No", "Yes"), " Yes ", "Yes"),
        (SCHEMA, ("No", "Yes"), "Maybe", None),
        (SCHEMA, ("No", "Yes"), None, None),
        (SCHEMA, ("No", "Yes"), ["Yes"], None),
        (REGRESSION, (), 3, 3.0),
        (REGRESSION, (), "3.5", 3.5),
        (REGRESSION, (), "many", None),
        (REGRESSION, (), "NA", None),
    ],
)
def test_feedback_is_a_label_of_the_model_or_a_number(
    schema: Schema, classes: tuple[str], actual: Any, label: Any
) -> None:
    taken = Reader(schema, lambda values, name: rows.read(values, schema.columns[name], schema.missing), 10)
    one = {"prediction_id": IDENTITY, "actual": actual}

    for content in ({"feedback": [one, one]}, {"feedback": [one]}, one):
        if label is not None:
            found = taken.feedback(json.dumps(content).encode(), classes)
            assert set(found) == {(IDENTITY, label)}
            assert type(found[0].actual) is type(label)
        else:
            with pytest.raises(
                RequestError, match=r"none of the model's classes: give one of|no number: give a num"
            ) as error:
                taken.feedback(json.dumps(content).encode(), classes)
            assert (error.value.status, error.value.detail[0]["column"]) == (422, "actual")


@pytest.mark.parametrize(
    ("content", "column"),
    [
        ({"prediction_id": MARKER, "actual": "Yes"}, "prediction_id"),
        ({"prediction_id": IDENTITY + "\n", "actual": "Yes"}, "prediction_id"),
        ({"prediction_id": 7, "actual": "Yes"}, "prediction_id"),
        ({"prediction_id": IDENTITY}, None),
        ({"feedback": [{"prediction_id": IDENTITY, "actual": "Yes", MARKER: 1}]}, None),
        ({"feedback": [MARKER]}, None),
        ([MARKER], None),
    ],
)
def test_feedback_that_is_none_is_a_fault(content: Any, column: str | None) -> None:
    with pytest.raises(RequestError) as error:
        ONE.feedback(json.dumps(content).encode(), ("No", "Yes"))

    [fault] = error.value.detail
    assert fault["column"] == column
    assert MARKER not in json.dumps(fault)


def test_feedback_has_a_limit_too() -> None:
    one = {"prediction_id": IDENTITY, "actual": "Yes"}

    with pytest.raises(RequestError, match="feedback has 3 entries, and 2 are the most") as error:
        reader(max_rows=2).feedback(json.dumps({"feedback": [one] * 3}).encode(), ("No", "Yes"))
    assert error.value.status == 413
