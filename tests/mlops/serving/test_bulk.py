"""Tables of Arrow and Parquet: read as deliveries are, checked as rows are, and never larger than allowed."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.data import rows
from mlops.serving import bulk
from mlops.serving.request import ARROW, PARQUET, RequestError

from tests.mlops.serving.bodies import MARKER, ROW, SCHEMA, derive, reader

ONE = reader(key="customer")
TABLE = pa.Table.from_pylist([ROW, {**ROW, "tenure": None}, {**ROW, "$ref": MARKER}])
FORMATS = pytest.mark.parametrize("media", [ARROW, PARQUET])


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def written(table: pa.Table, media: str) -> bytes:
    return stream(table) if media == ARROW else parquet(table)


def with_column(name: str, values: pa.Array) -> pa.Table:
    kept = TABLE.drop_columns([name]) if name in TABLE.column_names else TABLE
    return kept.slice(0, len(values)).append_column(name, values)


def refused(content: bytes, media: str, **limit: int) -> RequestError:
    with pytest.raises(RequestError) as error:
        bulk.table(content, media, ONE, **limit)
    assert MARKER not in json.dumps(error.value.detail)
    return error.value


@FORMATS
def test_a_table_is_read_as_its_rows_are(media: str) -> None:
    table = with_column("customer", pa.array([2**62 + 1, None, 3])).append_column("remark", pa.array([MARKER] * 3))

    found = bulk.table(written(table, media), media, ONE)

    assert list(found) == [*ROW, "customer"]
    assert found["customer"].tolist() == [2**62 + 1, pd.NA, 3]
    expected = rows.typed(TABLE.to_pylist(), SCHEMA, derive)
    pd.testing.assert_frame_equal(rows.typed(found, SCHEMA, derive), expected)


@FORMATS
@pytest.mark.parametrize("kind", [pa.string_view(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_text_may_be_stored_in_each_way_of_arrow(media: str, kind: pa.DataType) -> None:
    texts = pa.array(["A", None, "B"])
    texts = texts.dictionary_encode() if pa.types.is_dictionary(kind) else texts.cast(kind)

    found = bulk.table(written(with_column("$ref", texts), media), media, ONE)

    assert found["$ref"].fillna("-").tolist() == ["A", "-", "B"]


@FORMATS
def test_every_column_that_is_wrong_is_named(media: str) -> None:
    table = (
        TABLE.drop_columns(["self"])
        .append_column("tenur", pa.array([1, 2, 3]))
        .append_column(MARKER, pa.array([1, 2, 3]))
    )
    lists = table.drop_columns(["note"]).append_column("note", pa.array([[1], [2], [3]]))

    found = [(fault["row"], fault["column"], fault["fault"]) for fault in refused(written(lists, media), media).detail]

    assert found == [
        (None, None, "column 8 is no column of the model: did you mean tenure?"),
        (None, None, "column 9 is no column of the model: leave it out, or correct its name"),
        (None, "note", "the column is neither text nor numbers, truth values or times: write it as one of them"),
        (None, "self", "the column is not there: give it, and null where it is not known"),
    ]


@FORMATS
def test_every_value_that_is_wrong_is_named(media: str) -> None:
    table = with_column("tenure", pa.array(["1", MARKER, "2.5"]))

    found = [(fault["row"], fault["column"]) for fault in refused(written(table, media), media).detail]

    assert found == [(2, "tenure"), (3, "tenure")]


def test_faults_of_a_long_table_are_counted() -> None:
    table = pa.Table.from_pylist([{**ROW, "tenure": "x", "since": "x"}] * 500)

    assert refused(stream(table), ARROW).detail[-1]["fault"] == "900 more faults are not listed: correct these first"


def big(values: pa.Array) -> pa.Table:
    columns = {name: pa.array([ROW[name]] * len(values)) for name in ROW if name != "note"}
    return pa.table({**columns, "note": values})


def test_a_table_that_grows_is_refused_before_it_does() -> None:
    limit = 1_000_000
    shared = pa.DictionaryArray.from_arrays(np.zeros(5_000, dtype=np.int8), pa.array(["x" * 10_000]))
    bombs = {
        "compressed": parquet(big(pa.array(["x" * 20_000] * 200)), use_dictionary=False, compression="zstd"),
        "stored once": parquet(big(shared), compression="zstd"),
        "nothing but nulls": parquet(big(pa.nulls(200_000))),
    }
    for content in bombs.values():
        assert len(content) < limit / 10
        assert refused(content, PARQUET, largest=limit).status == 413
    assert refused(stream(big(shared)), ARROW, largest=limit).status == 413
    assert refused(stream(big(pa.nulls(20_000))), ARROW, largest=limit).status == 413
    assert refused(parquet(big(pa.nulls(20_000))), PARQUET, largest=limit).status == 413


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("values", [pa.array(["x" * 999] * 99), pa.array(["x" * 999] * 99).dictionary_encode()])
def test_a_compressed_stream_is_refused_since_nothing_tells_its_size(compression: str, values: pa.Array) -> None:
    only = big(values)

    assert len(bulk.table(stream(only), ARROW, ONE)) == 99
    error = refused(stream(only, compression=compression), ARROW)
    assert (error.status, str(error)) == (
        422,
        "the Arrow stream is compressed: write it without compression, or send Parquet",
    )


@FORMATS
@pytest.mark.parametrize(
    "content", [b"", b"PAR1", MARKER.encode(), b"\0" * 100, b"\xff\xff\xff\xff" * 9, b"PAR1" + b"\0" * 9 + b"PAR1"]
)
def test_a_body_that_is_no_table_is_told_so(media: str, content: bytes) -> None:
    assert refused(content, media).status in (400, 422)


@FORMATS
def test_a_table_without_rows_is_refused(media: str) -> None:
    assert refused(written(TABLE.slice(0, 0), media), media).status == 422


@FORMATS
@settings(max_examples=40)
@given(data=st.data())
def test_no_broken_table_is_a_bug(media: str, data: st.DataObject) -> None:
    content = bytearray(GOOD[media])
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))

    try:
        bulk.table(
            bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content),
            media,
            ONE,
        )
    except RequestError as error:
        assert error.status in (400, 413, 422)  # noqa: PT017 – some changes break nothing


@FORMATS
def test_the_answer_has_the_format_of_the_request(media: str) -> None:
    frame = pd.DataFrame({"prediction": ["Yes", "No"], "probability": [0.1, 0.9]}, index=[7, 9])

    content = bulk.bulk_answer(frame, media)

    found = pa.ipc.open_stream(content).read_all() if media == ARROW else pq.read_table(pa.BufferReader(content))
    assert found.to_pydict() == frame.to_dict("list")


GOOD = {media: written(TABLE, media) for media in (ARROW, PARQUET)}
