"""Deliveries that are not what they should be are refused with one sentence that names the file."""

import gzip
from pathlib import Path

import pandas as pd
import pytest

from ml.errors import DataError
from ml.schema import Schema
from store import deliveries

SCHEMA = Schema(columns={"x": {"type": "number", "unparseable": "reject"}, "y": {"type": "category", "role": "target"}})


def read(folder: Path) -> deliveries.Delivered:
    return deliveries.read(folder, SCHEMA, SCHEMA.kept)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "a.csv is empty: a header line and at least one row were expected"),
        ("a.csv", b"\n\n", "a.csv is empty"),
        ("a.csv.gz", gzip.compress(b""), "a.csv.gz is empty"),
        ("a.csv", b"x,y\n", "a.csv has a header but no row: at least one row was expected"),
        ("a.csv", b"x,y", "a.csv has a header but no row"),
        ("a.csv", bytes(range(256)) * 4, "a.csv "),
        ("a.csv", "x,y\n1,ä\n".encode("latin-1"), "a.csv is not text in UTF-8"),
        ("a.csv", "x,y\n1,a\n".encode("utf-16"), "a.csv is not text in UTF-8"),
        ("a.csv", b"x,y\n1,a,b\n2,c,d\n", "a.csv has more fields in its rows than names in its header"),
        ("a.csv", b"x,y\n1,a\n2,b,c\n", "a.csv could not be read as CSV: .*line 3"),
        ("a.csv", b'x,y\n1,"a\n', "a.csv could not be read as CSV"),
        ("a.csv.gz", b"x,y\n1,a\n", "a.csv.gz could not be read as CSV"),
        ("a.csv.gz", gzip.compress(b"x,y\n" + b"1,a\n" * 999)[:40], "a.csv.gz could not be read as CSV"),
        ("a.parquet", b"x,y\n1,a\n", "a.parquet could not be read as Parquet"),
        ("a.parquet", b"", "a.parquet could not be read as Parquet"),
        ("a.PARQUET", b"", "a.PARQUET could not be read as Parquet"),
        ("a.xlsx", b"PK", r"a.xlsx is none of \.csv, \.csv\.gz, \.parquet: convert it, or move it elsewhere"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(
    name: str, content: bytes, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=sentence) as error:
        read(tmp_path)

    assert "\n" not in str(error.value)


def test_a_header_that_names_a_column_twice_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y,x\n1,a,2\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"a\.csv has the column x\.1 that schema\.yaml does not name"):
        read(tmp_path)


def test_a_folder_without_a_file_says_what_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no data: put a \.csv, \.csv\.gz, \.parquet file there"):
        read(tmp_path)


def test_a_folder_that_is_missing_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="incoming is missing: run `dvc pull`"):
        read(tmp_path / "incoming")


def test_hidden_files_are_no_deliveries(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*", encoding="utf-8")
    (tmp_path / "a.csv").write_text("x,y\n1,a\n", encoding="utf-8")

    assert read(tmp_path).files == {"a.csv": 1}


def test_files_are_read_in_the_order_of_their_names_and_rejected_rows_are_counted(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("y,x\nlast,3\nbad,three\n", encoding="utf-8")
    (tmp_path / "a.csv").write_text("x,y\none,bad\n1,first\n", encoding="utf-8")
    pd.DataFrame({"x": [2], "y": ["middle"]}).to_parquet(tmp_path / "aa.parquet")

    delivered = read(tmp_path)

    assert delivered.table["y"].tolist() == ["first", "middle", "last"]
    assert delivered.table.index.tolist() == [0, 1, 2]
    assert delivered.files == {"a.csv": 2, "aa.parquet": 1, "b.csv": 2}
    assert delivered.rejected == 2
    assert [found["examples"] for found in delivered.unparseable] == [
        [{"at": "a.csv:2", "value": "one"}],
        [{"at": "b.csv:3", "value": "three"}],
    ]
    assert {found["became"] for found in delivered.unparseable} == {"a rejected row"}


@pytest.mark.parametrize("text", ["\ufeffx,y\n1,ä\n", "x,y\r\n1,ä\r\n", '"x","y"\n"1","ä"', "x,y\n\n\n1,ä\n\n"])
def test_spreadsheets_may_write_csv_their_own_way(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())

    assert read(tmp_path).table.to_dict("list") == {"x": [1.0], "y": ["ä"]}


def test_nothing_is_guessed_when_a_csv_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b,c\n007,NA,1e5\n", encoding="utf-8")

    assert deliveries.read_raw(tmp_path / "a.csv").iloc[0].tolist() == ["007", "NA", "1e5"]


def test_a_delivery_of_which_every_row_is_rejected_is_an_error_with_an_example(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\none,a\ntwo,b\n")

    with pytest.raises(DataError, match=r"all 2 rows have a value .* such as 'one' in x"):
        deliveries.read(tmp_path, SCHEMA, ["x", "y"])
