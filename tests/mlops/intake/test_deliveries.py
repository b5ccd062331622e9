"""Deliveries are read as they were written; a wrong one is refused with a sentence that names the file."""

import csv
import gzip
import io
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlops.base import params
from mlops.base.errors import DataError
from mlops.data.schema import Schema
from mlops.intake import collecting, deliveries, dialect
from mlops.intake import lines as lines_of_text

from tests.conftest import TEMPLATE

SCHEMA = Schema(columns={"x": {"type": "number", "unparseable": "reject"}, "y": {"type": "category", "role": "target"}})


@dataclass
class Read:
    """A whole delivery, and the facts about it."""

    table: pd.DataFrame
    found: collecting.Delivered


def read(folder: Path, schema: Schema = SCHEMA, required: list[str] | None = None) -> Read:
    aside = folder / ".aside.parquet"
    names = schema.kept if required is None else required
    with collecting.collected(folder, schema, names, lambda table: table, aside) as delivered:
        table = pd.concat(list(delivered.table.batches()))
    assert not aside.exists()
    return Read(table, delivered)


def raw(path: Path, cells: int = deliveries.CELLS, wanted: list[str] | None = None) -> pd.DataFrame:
    return pd.concat(list(deliveries.batches(path, wanted, cells)))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", "a.csv is empty: a header line and at least one row were expected"),
        ("a.csv", b"\n\n", "a.csv is empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "a.csv.gz is empty"),
        ("a.csv", b"x,y\n", "a.csv has a header but no row: at least one row was expected"),
        ("a.csv", b"x,y", "a.csv has a header but no row"),
        ("a.csv", bytes(range(256)) * 4, "a.csv "),
        ("a.csv", b"x,y\n1,a,b\n2,c,d\n", r"a.csv has the column Unnamed: 0 that schema\.yaml does not name"),
        ("a.csv", b"x,y\n1,a,b,c\n2,c,d,e\n", "a.csv:2 has 4 fields where the header has 2"),
        (
            "a.csv",
            b"x,y\n1,a\n2,b,c\n",
            "a.csv:3 has 3 fields where the header has 2: correct that line, or the quotes",
        ),
        ("a.csv", b"x,y\n1,a\n\n2\n", "a.csv:4 has 1 fields where the header has 2"),
        ("a.tsv", b"x\ty\n1\ta\n2\tb\tc\n", "a.tsv:3 has 3 fields where the header has 2"),
        ("a.csv", b'x,y\n1,"a\nb"\n2,b,c\n', "a.csv:4 has 3 fields where the header has 2"),
        ("a.csv.gz", b"x,y\n1,a\n", "a.csv.gz could not be read as CSV"),
        ("a.csv.gz", gzip.compress(b"x,y\n" + b"1,a\n" * 999, mtime=0)[:40], "a.csv.gz could not be read as CSV"),
        ("a.parquet", b"x,y\n1,a\n", "a.parquet could not be read as Parquet"),
        ("a.parquet", b"", "a.parquet could not be read as Parquet"),
        ("a.PARQUET", b"", "a.PARQUET could not be read as Parquet"),
        (
            "a.xlsx",
            b"PK",
            r"a.xlsx is none of \.csv, \.csv\.gz, \.tsv, \.tsv\.gz, \.parquet: convert it, or move it elsewhere",
        ),
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
    with pytest.raises(DataError, match=r"has no data: put a \.csv, \.csv\.gz, \.tsv, .*\.parquet file there"):
        read(tmp_path)


def test_a_folder_that_is_missing_says_how_to_fetch_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="incoming is missing: run `dvc pull`"):
        read(tmp_path / "incoming")


def test_hidden_files_are_no_deliveries(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*", encoding="utf-8")
    (tmp_path / "a.csv").write_text("x,y\n1,a\n", encoding="utf-8")

    assert read(tmp_path).found.files == {"a.csv": 1}


def test_files_are_read_in_the_order_of_their_names_and_rejected_rows_are_counted(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("y,x\nlast,3\nbad,three\n", encoding="utf-8")
    (tmp_path / "a.csv").write_text("x,y\none,bad\n1,first\n", encoding="utf-8")
    pd.DataFrame({"x": [2], "y": ["middle"]}).to_parquet(tmp_path / "aa.parquet")

    whole = read(tmp_path)
    delivered = whole.found

    assert whole.table["y"].tolist() == ["first", "middle", "last"]
    assert whole.table.index.tolist() == [0, 1, 2]
    assert delivered.rows == 3
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

    assert raw(tmp_path / "a.csv").iloc[0].tolist() == ["007", "NA", "1e5"]


def test_a_delivery_of_which_every_row_is_rejected_is_an_error_with_an_example(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\none,a\ntwo,b\n")

    with pytest.raises(DataError, match=r"all 2 rows have a value .* such as 'one' in x"):
        read(tmp_path)
    assert not (tmp_path / ".aside.parquet").exists()


def test_nothing_is_left_of_a_delivery_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,a\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("x,y\n1,a,b\n2,b\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"b\.csv:2 has 3 fields"):
        read(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]


def test_a_column_that_only_some_files_have_is_missing_in_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("y,x\na,2\n", encoding="utf-8")

    table = read(tmp_path, required=["x"]).table

    assert table.columns.tolist() == ["x", "y"]
    assert table["y"].fillna("(missing)").tolist() == ["(missing)", "a"]
    assert table.dtypes.astype(str).to_dict() == {"x": "float64", "y": "str"}


def test_a_column_that_no_file_has_and_none_must_have_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n", encoding="utf-8")

    assert read(tmp_path, required=["x"]).table.columns.tolist() == ["x"]


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "a.TSV", "a.CSV", "a.Csv.Gz"])
def test_every_ending_is_read_in_any_case(name: str, tmp_path: Path) -> None:
    text = b"x\ty\n1\ta\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.lower().endswith(".gz") else text)

    assert read(tmp_path).table.to_dict("list") == {"x": [1.0], "y": ["a"]}


def test_a_mistake_is_located_beyond_the_first_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "CELLS", 4)
    monkeypatch.setattr(deliveries, "BLOCK", 64)
    rows = [f"{'bad' if row in (7, 40, 41, 42, 43, 44) else row},a" for row in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["x,y", *rows]), encoding="utf-8")

    found = read(tmp_path).found

    [wrong] = found.unparseable
    assert (wrong["count"], found.rejected, found.rows) == (6, 6, 54)
    assert [example["at"] for example in wrong["examples"]] == [f"a.csv:{row + 2}" for row in (7, 40, 41, 42, 43)]


ODD = pd.DataFrame(
    {
        "level": pd.Series(["a", None, "b"], dtype="category"),
        "price": [Decimal("1.50"), None, Decimal("2.25")],
        "day": [date(2024, 2, 29), None, date(9999, 12, 31)],
        "at": pd.to_datetime(["2024-02-29 12:00+02:00", None, "2024-03-01 12:00+02:00"]),
        "took": pd.to_timedelta([1.5, None, 3], unit="s"),
        "clock": [time(1, 2, 3), None, time(23, 59)],
        "tags": [["x", "y"], None, []],
        "count": pd.array([1, None, 2**53 + 1], dtype="Int64"),
        "small": pd.array([1, 2, 3], dtype="uint8"),
        "flag": pd.array([True, None, False], dtype="boolean"),
        "half": np.array([0.5, 1.5, np.nan], dtype="float16"),
        "nothing": [None, None, None],
    }
)


def test_columns_of_every_kind_come_out_of_parquet_as_numbers_truth_times_or_text(tmp_path: Path) -> None:
    ODD.drop(columns="half").to_parquet(tmp_path / "a.parquet")

    table = raw(tmp_path / "a.parquet")

    assert table["level"].fillna("-").tolist() == ["a", "-", "b"]
    assert table["price"].fillna(-1).tolist() == [1.5, -1, 2.25]
    assert table["day"].dt.strftime("%F").fillna("-").tolist() == ["2024-02-29", "-", "9999-12-31"]
    assert table["at"].dt.strftime("%F %T").fillna("-").tolist() == ["2024-02-29 10:00:00", "-", "2024-03-01 10:00:00"]
    assert table["took"].fillna(-1).tolist() == [1.5, -1, 3]
    assert [value if isinstance(value, str) else "-" for value in table["clock"]] == ["01:02:03", "-", "23:59:00"]
    assert table["tags"].fillna("-").tolist() == ["['x', 'y']", "-", "[]"]
    assert table["count"].fillna(-1).tolist() == [1, -1, 2**53 + 1]
    assert table["small"].tolist() == [1, 2, 3]
    assert table["flag"].fillna(value=False).tolist() == [True, False, False]
    assert table["nothing"].isna().all()


def test_an_index_that_pandas_stored_is_a_nameless_column(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1.0, 2.0]}, index=[7, 9]).to_parquet(tmp_path / "a.parquet")

    assert deliveries.columns(tmp_path / "a.parquet") == ["x", "Unnamed: 1"]
    assert raw(tmp_path / "a.parquet").to_dict("list") == {"x": [1.0, 2.0], "Unnamed: 1": [7, 9]}


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "spaced.csv"])
def test_only_the_columns_that_are_wanted_are_read_in_the_order_asked_for(name: str, tmp_path: Path) -> None:
    if name == "spaced.csv":
        (tmp_path / name).write_text('a, "b", c\n1, "x", 2\n3, "y", 4\n', encoding="utf-8")
    else:
        frame = pd.DataFrame({"a": [*"13"], "b": [*"xy"], "c": [*"24"]})
        frame.to_csv(tmp_path / name, index=False) if name == "a.csv" else frame.to_parquet(tmp_path / name)

    assert raw(tmp_path / name, wanted=["c", "a"]).to_dict("list") == {"c": ["2", "4"], "a": ["1", "3"]}
    assert list(raw(tmp_path / name, wanted=["c", "a"])) == ["c", "a"]


SEPARATORS = [",", ";", "\t", "|"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "cp1252"]
LATIN = "abc ,;\t|\"'\n äéß017.-#=\\"  # no € after ß: in Windows-1252 these two bytes are valid UTF-8
WIDE = LATIN + "€統計\u2028Ω"
ENDS = ["\n", "\r\n"]


@st.composite
def written(draw: st.DrawFn) -> tuple[list[str], list[list[str]], bytes]:
    """Any table of text, and the bytes that Python's csv makes of it."""
    encoding = draw(st.sampled_from(ENCODINGS))
    separator = draw(st.sampled_from(SEPARATORS))
    width = draw(st.integers(2, 5))
    names = [f"{draw(st.sampled_from(['x', 'name', 'ä', 'a b']))}{number}" for number in range(width)]
    cell = st.text(LATIN if encoding == "cp1252" else WIDE, max_size=6)
    rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1, max_size=12))
    quoting = draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]))
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=draw(st.sampled_from(ENDS)))
    writer.writerows([names, *rows])
    return names, rows, text.getvalue().encode(encoding)


SAME_FOLDER = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SAME_FOLDER
@given(written(), st.booleans())
def test_any_table_that_csv_wrote_comes_back_cell_by_cell(
    tmp_path: Path, table: tuple[list[str], list[list[str]], bytes], gzipped: bool
) -> None:
    names, rows, content = table
    path = tmp_path / ("a.csv.gz" if gzipped else "a.csv")
    path.write_bytes(gzip.compress(content) if gzipped else content)

    found = raw(path)

    assert deliveries.columns(path) == names
    assert list(found) == names
    assert found.to_numpy().tolist() == rows


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("other", SEPARATORS)
def test_a_separator_between_quotes_is_none_even_if_every_row_has_one(
    separator: str, other: str, tmp_path: Path
) -> None:
    rows = [["name", f"size{other} cm"], ["a", f"1{other}5"], ["b", f"2{other}5"]]
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(rows)

    found = raw(tmp_path / "a.csv")

    assert [list(found), *found.to_numpy().tolist()] == [[name.strip() for name in rows[0]], *rows[1:]]


@SAME_FOLDER
@given(written(), st.integers(1, 40), st.integers(6, 9))
def test_batches_of_any_size_are_the_same_rows(
    tmp_path: Path, table: tuple[list[str], list[list[str]], bytes], cells: int, block: int
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(table[2])
    whole = raw(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deliveries, "BLOCK", 1 << block)
        parts = list(deliveries.batches(path, cells=cells))

    pd.testing.assert_frame_equal(pd.concat(parts), whole)
    assert [part.index[0] for part in parts] == np.cumsum([0, *map(len, parts[:-1])]).tolist()


@SAME_FOLDER
@given(written())
def test_every_row_is_located_at_the_line_where_it_starts(
    tmp_path: Path, table: tuple[list[str], list[list[str]], bytes]
) -> None:
    _, rows, content = table
    path = tmp_path / "a.csv"
    path.write_bytes(content)

    how = dialect.of(path)
    found = [row for row, why in dialect.records(path, how) if not why]

    assert [row.fields for row in found] == rows
    assert content.decode(how.encoding).endswith("".join(row.text for row in found))
    assert deliveries.locate(path, list(range(len(rows)))) == [f"a.csv:{row.line}" for row in found]


@pytest.mark.parametrize("ending", [".csv", ".tsv.gz", ".parquet"])
@pytest.mark.parametrize("away", [[True, False, False], [False, True, True], [True, True, True], [False, False, True]])
def test_some_rows_of_a_delivery_become_another_of_its_kind(ending: str, away: list[bool], tmp_path: Path) -> None:
    whole = pd.DataFrame({"x": ["1", "2,5", "3"], "y": ["a", 'b "c"\nd', ""]}, dtype=str)
    path, goal = tmp_path / f"a{ending}", tmp_path / "incoming" / f"a{ending}"
    whole.to_parquet(path) if ending == ".parquet" else whole.to_csv(path, index=False, sep=";")

    deliveries.select(path, np.array(away), goal)

    pd.testing.assert_frame_equal(raw(goal), whole[away].reset_index(drop=True))
    pd.testing.assert_frame_equal(raw(path), whole)
    if not all(away):
        deliveries.select(path, ~np.array(away), path)
        pd.testing.assert_frame_equal(raw(path), whole[[not gone for gone in away]].reset_index(drop=True))


def test_of_a_parquet_file_some_rows_are_in_memory_at_a_time(tmp_path: Path) -> None:
    path, groups, rows = tmp_path / "a.parquet", 12, 20_000
    table = pd.DataFrame(np.random.default_rng(0).random((groups * rows, 5))).add_prefix("x")
    table.to_parquet(path, row_group_size=rows)
    before, most, found = pa.total_allocated_bytes(), 0, []

    with pq.ParquetFile(path) as file:
        for batch in deliveries._batches(file, 15_000):
            found.append(len(batch))
            most = max(most, pa.total_allocated_bytes() - before)

    assert found == [15_000, 5_000] * groups
    assert most < 6 * rows * 5 * 8  # of twelve groups


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_rows_come_in_order_whatever_the_groups_of_the_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.parquet"
    table = pd.DataFrame({"x": np.arange(20.0)})
    table.to_parquet(path, row_group_size=size)

    found = list(deliveries.batches(path, cells=6))

    pd.testing.assert_frame_equal(pd.concat(found), table)
    assert max(map(len, found)) <= 6
    assert len(found) <= 4 + 20 // max(size, 6) + 1


def test_rows_of_parquet_keep_the_types_that_the_file_has(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    ODD.drop(columns="half").to_parquet(path)

    deliveries.select(path, np.array([True, False, True]), tmp_path / "b.parquet")

    assert pq.read_schema(tmp_path / "b.parquet") == pq.read_schema(path)
    assert pq.read_table(tmp_path / "b.parquet").equals(pq.read_table(path).take([0, 2]))


@SAME_FOLDER
@given(written(), st.data())
def test_no_cell_is_lost_or_changed_when_rows_are_taken_out_of_a_delivery(
    tmp_path: Path, table: tuple[list[str], list[list[str]], bytes], data: st.DataObject
) -> None:
    _, rows, content = table
    away = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)).filter(any))
    path, goal = tmp_path / "whole.csv", tmp_path / "away.csv"
    path.write_bytes(content)

    deliveries.select(path, np.array(away), goal)
    deliveries.select(path, ~np.array(away), path)

    assert raw(goal).to_numpy().tolist() == [row for row, gone in zip(rows, away, strict=True) if gone]
    left = [row for row, gone in zip(rows, away, strict=True) if not gone]
    if left:
        assert raw(path).to_numpy().tolist() == left


REFUSE = deliveries.Terms()
CASES = TEMPLATE / "tests" / "cases"


def told(path: Path, terms: deliveries.Terms = REFUSE) -> tuple[pd.DataFrame, deliveries.Findings]:
    """The rows of a text file, and what is told about its lines."""
    findings = deliveries.Findings()
    return pd.concat(list(deliveries.batches(path, terms=terms, findings=findings))), findings


@pytest.mark.parametrize(
    ("name", "left_out", "repaired"),
    [
        ("header-repeated", {202: "the header again", 403: "the header again"}, {}),
        ("grand-total-line", {602: "a total"}, {}),
        ("grand-total-line-classes", {602: "a total"}, {}),
        ("units-row", {2: "units"}, {}),
        ("comment-lines-above-header", {1: "a comment above the header", 2: "a comment above the header"}, {}),
        ("title-above-header", {1: "a line above the header"}, {}),
        ("one-latin1-byte-late", {}, {599: "bytes that are no UTF-8, read as Windows-1252"}),
        ("one-latin1-byte-early", {}, {2: "bytes that are no UTF-8, read as Windows-1252"}),
        ("nfd-header", {}, {}),
        ("second-bom", {}, {}),
        ("blanks-as-separator", {}, {}),
    ],
)
def test_a_line_that_is_no_row_is_left_out_and_named(
    name: str, left_out: dict[int, str], repaired: dict[int, str]
) -> None:
    table, findings = told(CASES / f"{name}.csv")

    assert len(table) == 600
    assert set(table) <= {"shop", "age", "income", "outcome", "sales", "city", "größe"}
    assert pd.to_numeric(table["age"]).between(18, 80).all()
    assert set(table.get("outcome", table.get("größe"))) == {"leaves", "stays"}
    assert set(table.get("city", [])) <= {"Köln", "München", "Zürich"}
    for oddities, lines in ((findings.left_out, left_out), (findings.repaired, repaired)):
        assert {example["at"]: example["why"] for example in oddities.examples} == {
            f"{name}.csv:{line}": why for line, why in lines.items()
        }
        assert oddities.as_dict()["rows"] == len(lines)


BODY = "".join(f"{row % 30 + 20},{['low', 'high'][row % 2]},{row * 37 % 1000 / 10}\n" for row in range(40))
TABLE = f"n,level,x\n{BODY}"


@pytest.mark.parametrize(
    "text",
    [
        f"{TABLE}25,Total,0.3\n",  # a level of that name: its numbers are no sums
        f"n,level,x\n25,Total,30\n{BODY}999999,Total,999999\n",
        f"n,level,x\n\n{BODY}",
        f"n,level,x\nn/a,low,NA\n{BODY}",
        f"n,level,x\nwhat,low,0.5\n{BODY}",
        f"n,level,x\n{BODY}n,low,x\n",
        TABLE.replace("\n", "\n\n"),
        TABLE.replace("n,level,x", "2019,2020,2021").replace("low", "1").replace("high", "0"),
        ",0\n" + "".join(f"{row},0.{row}\n" for row in range(20)),
        "0,1,2\n" + "1,0,2\n0,1,2\n" * 9,
        "# n,level,x\n" + BODY,
    ],
)
def test_no_row_is_left_out_on_a_mere_suspicion(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")

    table, findings = told(tmp_path / "a.csv")

    assert len(table) == len([line for line in text.splitlines() if line]) - 1
    assert not findings.sentences()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BODY, "a.csv:1: the file seems to have no header, since this line looks like those below it"),
        (f"n,level,x\nits age,its level,its size\n{BODY}", "a.csv:2 has words where the rows below it have numbers"),
        (f"Person,,Size\n{TABLE}", "a.csv:2 has words where the rows below it have numbers"),
        (f"{TABLE}\na,b,c\n1,2,3\n2,3,4\n", "a.csv:43: another table seems to begin below an empty line"),
        (f"{TABLE}x,n,level\n0.5,20,low\n", "a.csv:42 has the header's names in another order"),
        (f"n,level,,x\n{BODY}", "a.csv:2 has 3 fields where the header has 4"),
        (f"nlevel,x\n{BODY}", "a.csv:2 has 3 fields where the header has 2"),
        (f"{TABLE}1,low\n", r"a.csv:42 has 2 fields .*; or leave such rows out, counted, with `ragged: reject` below"),
    ],
)
def test_a_file_that_may_be_read_in_two_ways_is_refused_with_the_line(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=sentence):
        told(tmp_path / "a.csv")


def test_a_file_without_a_header_takes_the_names_that_are_given(tmp_path: Path) -> None:
    terms = deliveries.Terms(("n", "level", "x"))
    (tmp_path / "a.csv").write_text(BODY, encoding="utf-8")
    (tmp_path / "b.csv").write_text(TABLE, encoding="utf-8")

    pd.testing.assert_frame_equal(told(tmp_path / "a.csv", terms)[0], told(tmp_path / "b.csv", terms)[0])


@pytest.mark.parametrize("row", ["1,low,2,3", "1,low", "1,,low,2", '1,"low,2'])
@pytest.mark.parametrize("place", [0, 7, 3999])
def test_a_row_that_does_not_fit_is_left_out_wherever_it_is(
    row: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "BLOCK", 1 << 12)
    rows = (BODY * 100).splitlines(keepends=True)
    path = tmp_path / "a.csv"
    path.write_text("".join(["n,level,x\n", *rows[:place], f"{row}\n", *rows[place:]]), encoding="utf-8")
    fits = row.count(",") == 2

    table, findings = told(path, deliveries.Terms(ragged="reject"))

    named = findings.repaired if fits else findings.left_out
    assert [example["at"] for example in named.examples] == [f"a.csv:{place + 2}"]
    assert len(table) == 4000 + fits
    assert table.index.tolist() == list(range(len(table)))
    kept = table.drop(index=place).to_numpy().tolist() if fits else table.to_numpy().tolist()
    assert kept == [line.rstrip().split(",") for line in rows]
    assert deliveries.locate(path, [len(table) - 1]) == ["a.csv:4002"]


def test_of_lines_that_are_no_rows_only_ragged_ones_are_copied(tmp_path: Path) -> None:
    text = f"# by me\n{TABLE}n,level,x\n1,low,2,3\n77,high,7\n"
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    wanted = np.arange(41) >= 39

    deliveries.select(path, wanted, tmp_path / "new.csv")
    deliveries.select(path, ~wanted, path)

    last = BODY.splitlines(keepends=True)[-1]
    head = "# by me\nn,level,x\n"
    assert (tmp_path / "new.csv").read_text() == f"{head}{last}1,low,2,3\n77,high,7\n"
    assert path.read_text() == f"{head}{BODY.removesuffix(last)}"


def test_a_header_may_be_longer_than_any_sample(tmp_path: Path) -> None:
    names = [f"a_name_of_some_length_{number}" for number in range(20_000)]
    (tmp_path / "a.csv").write_text("\n".join([",".join(names), *[",".join("1" * 20_000)] * 3]), encoding="utf-8")

    assert deliveries.columns(tmp_path / "a.csv") == names
    assert raw(tmp_path / "a.csv", wanted=names[-2:]).to_numpy().tolist() == [["1", "1"]] * 3


@pytest.mark.parametrize(
    "name", ["gro\u0308\u00dfe", "\ufeffgr\u00f6\u00dfe", "gr\u00f6\u00adße\u200b", "\u00a0größe "]
)
def test_a_name_has_one_form_wherever_it_stands(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{name},y\n1,a\n2,b\n", encoding="utf-8")
    pd.DataFrame({name: [3.0], "y": ["a"]}).to_parquet(tmp_path / "b.parquet")
    schema = Schema(columns={name: {"type": "number"}, "y": {"type": "category", "role": "target"}})

    assert schema.features == ["größe"]
    assert read(tmp_path, schema).table["größe"].tolist() == [1, 2, 3]
    assert params.Monitor(features=[name]).features == ["größe"]


def test_keys_text_and_moments_of_parquet_keep_every_digit_and_sign(tmp_path: Path) -> None:
    keys = [17_000_000_000_000_000_517, 2**63 + 1]
    table = pa.table(
        {
            "decimal": pa.array([Decimal(key) for key in keys], pa.decimal128(38, 0)),
            "unsigned": pa.array(keys, pa.uint64()),
            "price": pa.array([Decimal("1.234"), None], pa.decimal128(10, 3)),
            "plan": pa.array(["größer".encode(), b"plus"], pa.binary()),
            "odd": pa.array([b"M\xfcnchen", b"Bonn"], pa.binary()),
            "at": pa.array([1672531200000000001, 1672531200000000002], pa.timestamp("ns")),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")

    found = raw(tmp_path / "a.parquet")

    assert found["decimal"].tolist() == found["unsigned"].tolist() == [str(key) for key in keys]
    assert found["price"].tolist()[0] == 1.234
    assert found["plan"].tolist() == ["größer", "plus"]
    assert found["odd"].tolist() == ["M\\xfcnchen", "Bonn"]
    assert found["at"].tolist() == ["2023-01-01 00:00:00.000000001", "2023-01-01 00:00:00.000000002"]


TEXTS = [[f"Pipe {row}", str(row % 30), f"({row % 3})", ["ja", "nein"][row % 2]] for row in range(600)]


@pytest.mark.parametrize(
    ("separator", "rows", "strays"),
    [
        ("\t", 600, {100: '"great', 300: 'good"'}),
        (",", 60, {12: '"Pipe', 42: 'Rohr 5"'}),
        (",", 60, {12: 3, 13: 3}),
        ("\t", 600, {100: 3, 300: 3}),
    ],
)
def test_two_stray_quotes_swallow_no_rows_between_them(
    separator: str, rows: int, strays: dict[int, str | int], tmp_path: Path
) -> None:
    table = [list(row) for row in TEXTS[:rows]]
    first, second = strays
    if strays[first] == 3:
        table[first][3], table[second][3] = '"ja', 'nein"'
    else:
        table[first][0], table[second][0] = strays[first], strays[second]
    lines = [separator.join(row) for row in [[*"abcy"], *table]]
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")

    found, findings = told(tmp_path / "a.csv")

    assert found.to_numpy().tolist() == table
    assert [example["at"] for example in findings.repaired.examples] == [f"a.csv:{first + 2}", f"a.csv:{second + 2}"]


@pytest.mark.parametrize(
    "value",
    [
        "Smith\nMain Street 5, Berlin\nGermany",
        "12, Main Street\n10115, Berlin\n",
        "Hello,\nthanks, and bye",
        "one\n\ntwo, three, four, five",
    ],
)
def test_prose_and_addresses_may_span_lines(value: str, tmp_path: Path) -> None:
    rows = [[str(row), value if row == 7 else f"word {row}"] for row in range(40)]
    pd.DataFrame(rows, columns=["n", "text"]).to_csv(tmp_path / "a.csv", index=False)

    table, findings = told(tmp_path / "a.csv")

    assert table.to_numpy().tolist() == rows
    assert not findings.sentences()


def test_a_value_that_may_be_rows_is_refused_with_its_lines(tmp_path: Path) -> None:
    rows = [f"{row},word {row}" for row in range(40)]
    rows[7] = '7,"Smith\n12,Main Street"'
    (tmp_path / "a.csv").write_text("\n".join(["n,text", *rows]), encoding="utf-8")

    with pytest.raises(DataError, match=r"a\.csv:9 opens a quote that is closed in line 10, but the lines look like"):
        told(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "again", ["\ufeffage,n,y", "age\u00a0,n,y", "aGE,n,y", "\x1aage,n,y", "age, n, y", "AGE,N,Y", "a\u00adge,n,y"]
)
def test_the_header_may_stand_again_in_any_spelling_whichever_columns_are_read(again: str, tmp_path: Path) -> None:
    body = "".join(f"{row},{row % 7},{'ab'[row % 2]}\n" for row in range(40))
    (tmp_path / "a.csv").write_text(f"age,n,y\n{body}{again}\n{body}", encoding="utf-8")

    assert [len(raw(tmp_path / "a.csv", wanted=wanted)) for wanted in (None, ["y"], ["n", "age"])] == [80] * 3
    assert told(tmp_path / "a.csv")[1].left_out.as_dict()["reasons"] == {"the header again": 1}


@pytest.mark.parametrize("header", ["900.5,901.0,901.5,y", "1.1,1.2,2.1,y"])
def test_numbers_may_name_columns_beside_a_word_that_is_no_level(header: str, tmp_path: Path) -> None:
    rows = [[str(row % 7), f"{row / 8}", str(row % 3), "ab"[row % 2]] for row in range(40)]
    (tmp_path / "a.csv").write_text("\n".join([header, *map(",".join, rows)]), encoding="utf-8")

    assert deliveries.columns(tmp_path / "a.csv") == header.split(",")
    assert raw(tmp_path / "a.csv").to_numpy().tolist() == rows


SHOPS = [[f"shop {row}", str(row), f"{row % 50}.5", "a"] for row in range(60)]
SUMS, MEANS = ["1770", "1300", ""], ["29.50", "21.67", ""]


@pytest.mark.parametrize(
    ("ends", "left"),
    [
        ([["Total", *SUMS]], 60),
        ([["Total", *SUMS], ["Average", *MEANS]], 60),
        ([["Gesamtergebnis", *SUMS]], 60),
        ([["TOTAL 2023", *SUMS]], 60),
        ([["Total general", *SUMS]], 60),
        ([["Sum", "60", "2.5", ""]], 61),
        ([["Sum", "30", "", ""]], 61),
    ],
)
def test_totals_at_the_end_are_left_out_and_a_row_that_is_called_so_is_not(
    ends: list[list[str]], left: int, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("\n".join(map(",".join, [["name", *"nxz"], *SHOPS, *ends])), encoding="utf-8")

    table, findings = told(tmp_path / "a.csv")

    assert (len(table), findings.left_out.reasons.total()) == (left, 60 + len(ends) - left)


def test_a_note_in_brackets_may_have_as_many_words_as_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("city level n\n" + "Bonn low one\n" * 12 + "(12 rows affected)\n", encoding="utf-8")

    table, findings = told(tmp_path / "a.csv")

    assert (len(table), dict(findings.left_out.reasons)) == (12, {"a line below the table": 1})


def test_a_note_below_blanks_may_begin_with_what_it_is_unless_all_rows_do(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("city level n\n" + "Bonn low one\n" * 12 + "Source: own, 2024\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("what level n\n" + "Bonn: low one\n" * 12, encoding="utf-8")

    assert [len(told(tmp_path / name)[0]) for name in ("a.csv", "b.csv")] == [12, 12]


TOTALLED = {
    "Subtotal,,3": ["a,N,1", "b,N,2", "Subtotal,,3", "c,S,5", "d,S,6", "Subtotal,,11", "Grand total,,14"],
    "Total North,,3": ["a,North,1", "b,North,2", "Total North,,3", "c,South,5", "Total South,,5", "Total,,8"],
    "North Total,,3.5": ["a,North,1.25", "b,North,2.25", "North Total,,3.5", "c,South,5", "South Total,,5"],
    ",Total N,3": ["a,N,1", ",N,2", ",Total N,3", "c,S,5", "d,S,7"],
}


@pytest.mark.parametrize("total", TOTALLED)
def test_totals_of_groups_are_left_out_and_named_by_line(total: str, tmp_path: Path) -> None:
    lines = ["name,group,n", *TOTALLED[total]]
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    totals = {f"a.csv:{at}" for at, line in enumerate(lines, 1) if "otal" in line}

    table, findings = told(tmp_path / "a.csv")

    assert table.to_numpy().tolist() == [line.split(",") for line in lines[1:] if "otal" not in line]
    assert {example["at"] for example in findings.left_out.examples if example["why"] == "a total"} == totals


def test_rows_that_are_called_totals_but_are_levels_or_no_sums_stay(tmp_path: Path) -> None:
    claims = ["kind,n", "Fire,1", "Total loss,1", "Theft,4", "Total loss,7", "Total,9", "Fire,3"]
    (tmp_path / "a.csv").write_text("\n".join(claims), encoding="utf-8")

    table, findings = told(tmp_path / "a.csv")

    assert [",".join(row) for row in table.to_numpy()] == claims[1:]
    assert [(example["at"], example["why"][:14]) for example in findings.repaired.examples] == [
        ("a.csv:6", "called a total")
    ]


def test_a_total_is_found_across_the_parts_in_which_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_of_text, "CHUNK", 64)
    (tmp_path / "a.csv").write_text("name,n\n" + "some name,1\n" * 40 + "Total X,40\nother,3\n" * 1, encoding="utf-8")

    assert told(tmp_path / "a.csv")[1].left_out.reasons == {"a total": 1}


def test_names_for_another_number_of_columns_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(BODY, encoding="utf-8")

    with pytest.raises(DataError, match=r"no header \(2 names are given for its 3 columns\)"):
        told(tmp_path / "a.csv", deliveries.Terms(("n", "level")))


def test_a_total_is_in_neither_part_when_rows_are_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    mean = sum(row % 9 + 0.5 for row in range(60)) / 60
    rows = [f"shop,{row},{row % 9}.5" for row in range(60)]
    path.write_text("\n".join(["name,n,x", *rows, f"Average,29.50,{mean:.2f}\n"]), encoding="utf-8")
    wanted = np.arange(60) >= 50

    deliveries.select(path, wanted, tmp_path / "new.csv")
    deliveries.select(path, ~wanted, path)

    assert [len(raw(file)) for file in (path, tmp_path / "new.csv")] == [50, 10]


def test_an_encoding_that_is_guessed_is_told_with_the_first_line_that_shows_it(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("name,x\na,1\nZoë,2\nJosé,3\n".encode("cp1252"))

    [example] = told(tmp_path / "a.csv")[1].repaired.examples

    assert example["at"] == "a.csv:3"
    assert (
        "read as Windows-1252: see that names with accents are right; if they are not, it is in another"
        in example["why"]
    )
