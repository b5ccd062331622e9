"""Batches of deliveries on other machines: the same rows, the same findings and the same sentences as on this one."""

import csv
import gzip
import io
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlops.base import parallel
from mlops.base.errors import DataError
from mlops.data.schema import Schema
from mlops.intake import batchwise, collecting
from mlops.intake.batchwise import Reading
from mlops.intake.deliveries import Findings, Terms

CASES = sorted((Path(__file__).parents[2] / "cases").glob("*.csv"))
COLUMNS = {
    "key": {"type": "integer", "role": "id"},
    "size": {"type": "number"},
    "y": {"type": "number", "role": "target"},
}
TERMS, REJECT = Terms(), Terms((), "reject")
SCHEMA = Schema.model_validate({"columns": COLUMNS})


def again(content: bytes) -> Any:
    return pickle.loads(content)  # noqa: S301 – made here


def elsewhere(
    name: str, function: Callable[..., Any], shared: tuple[Any, ...], items: Iterable[Sequence[Any]], threads: int
) -> Iterator[Any]:
    """Another process, as far as pickle is concerned; two pieces are on their way before the first answer is taken."""
    sent = pickle.dumps(shared)
    answers: list[bytes] = []
    for item in items:
        answers.append(pickle.dumps(function(*again(sent), *again(pickle.dumps(tuple(item))))))
        if len(answers) > 2:
            yield again(answers.pop(0))
    yield from map(again, answers)


def labelled(mark: str, path: str, batch: pd.DataFrame) -> tuple[str, str, list[list[Any]]]:
    return mark, path, batch.astype(object).where(batch.notna(), None).values.tolist()


def found(paths: list[Path], terms: Terms, cells: int, run: parallel.Run | None) -> tuple[list[Any], list[Any], str]:
    """The rows of files, what was found in them, and the sentence with which it ended."""
    readings = [Reading(path) for path in paths]
    rows: list[Any] = []
    said = ""
    with parallel.run_by(run):
        try:
            for reading, (mark, path, part) in batchwise.each(labelled, ("m",), readings, terms, cells):
                assert (mark, path) == ("m", str(reading.path))
                rows += [(path, *row) for row in part]
        except DataError as error:
            said = str(error)
    return rows, [reading.findings.as_dict() for reading in readings], said


def same(paths: list[Path], terms: Terms = TERMS, cells: int = 9) -> tuple[list[Any], list[Any], str]:
    here, there = (found(paths, terms, cells, run) for run in (None, elsewhere))
    assert there[0] == here[0]
    assert there[2] == here[2]
    if not here[2]:  # of files behind the one that cannot be read, more or less has been seen
        assert there[1] == here[1]
    return here


@given(
    st.lists(st.lists(st.text('ab,"\n é', max_size=6), min_size=3, max_size=3), min_size=1, max_size=12),
    st.integers(8, 60),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_blocks_of_csv_end_where_rows_do(rows: list[list[str]], size: int, newline: str) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=newline).writerows([["one", "two", "three"], *rows])
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(batchwise, "BLOCK", size)
        path = Path(folder, "rows.csv")
        path.write_bytes(text.getvalue().encode())
        same([path])


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of about three rows."""
    monkeypatch.setattr(batchwise, "BLOCK", 40)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_plain_text_is_sent_as_its_bytes(name: str, tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfkey,note\n" + b"".join(b'%d,"a\nb ""c"""\n' % number for number in range(20))
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    parts = list(batchwise._parts(Reading(tmp_path / name), TERMS, 9))

    assert len(parts) > 5
    assert b"".join(part.content for part in parts) == content
    assert [row[2] for row in same([tmp_path / name])[0]] == ['a\nb "c"'] * 20


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_odd_files_are_read_as_on_one_machine(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batchwise, "BLOCK", 1000)
    before, after = tmp_path / "a.csv", tmp_path / "z.csv"
    for path in (before, after):
        path.write_text("key,size\n" + "".join(f"{number},2\n" for number in range(30)))
    shutil.copy(case, tmp_path / "b.csv")

    rows, _, said = same([before, tmp_path / "b.csv", after], REJECT, 500)

    assert len(rows) > 60 or said


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "odd", ["7,8,9", "key,size", "total,9", "1,caf\xe9", '1,"open', "1,2\n\n\n"], ids=["ragged", *"htcqe"]
)
def test_a_line_in_the_middle_that_is_odd_is_told_as_on_one_machine(odd: str, tmp_path: Path) -> None:
    lines = [f"{number},{number % 3}" for number in range(40)]
    path = tmp_path / "rows.csv"
    path.write_bytes("\n".join(["key,size", *lines[:20], odd, *lines[20:]]).encode("latin-1"))

    rows, [findings], said = same([path], REJECT)

    assert len(rows) >= 40 or said
    assert said or findings != Findings().as_dict() or odd.startswith("1,")


def test_parquet_is_sent_in_batches(tmp_path: Path) -> None:
    table = pd.DataFrame({"key": range(50), "note": [None, "é"] * 25, "day": pd.Timestamp("2024-02-29")})
    table.to_parquet(tmp_path / "rows.parquet", row_group_size=7)

    assert len(same([tmp_path / "rows.parquet"])[0]) == 50


@pytest.mark.usefixtures("small_blocks")
def test_what_is_collected_is_the_same_to_the_byte(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    rows = [f"{number},{'x' if number % 7 == 3 else number / 4},1.50" for number in range(60)]
    (folder / "a.csv").write_text("\n".join(["key,size,y", *rows[:30], ""]))
    (folder / "b.csv").write_text("\n".join(["key,size,y", *rows[30:45], "1,2", *rows[45:], ""]))
    pd.DataFrame({"key": range(9), "y": 1.0}).to_parquet(folder / "c.parquet")

    def collected(run: parallel.Run | None) -> tuple[bytes, Any]:
        aside = tmp_path / ".aside.parquet"
        with parallel.run_by(run), collecting.collected(folder, SCHEMA, ["key"], kept, aside, "reject") as delivered:
            return aside.read_bytes(), (delivered.facts, delivered.rows)

    here = collected(None)

    assert collected(elsewhere) == here
    assert here[1][0]["files"] == {"a.csv": 30, "b.csv": 30, "c.parquet": 9}
    assert [one["count"] for one in here[1][0]["unparseable"]] == [4, 5]
    examples = here[1][0]["unparseable"][1]["examples"]
    assert [one["at"] for one in examples] == [f"b.csv:{line}" for line in (3, 10, 18, 25, 32)]
    assert here[1][0]["left_out"]["rows"] == 1


def kept(table: pd.DataFrame) -> pd.DataFrame:
    return table


@pytest.mark.usefixtures("small_blocks")
def test_an_error_of_a_batch_is_that_of_one_machine(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("key,size,y\n" + "1,2,3\n" * 30)
    (tmp_path / "b.csv").write_text("key,size,z\n" + "1,2,3\n" * 30)
    (tmp_path / "c.csv").write_text("key")

    said = []
    for run in (None, elsewhere):
        with (
            pytest.raises(DataError) as error,
            parallel.run_by(run),
            collecting.collected(tmp_path, SCHEMA, ["y"], kept, tmp_path / ".aside"),
        ):
            pass
        said.append(str(error.value))

    assert said[0] == said[1]
