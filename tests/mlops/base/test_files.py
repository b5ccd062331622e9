"""What is written appears whole or not at all, and what cannot be read is told in one sentence."""

import errno
import gzip
import io
import json
import math
import os
import pickle
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlops.base import files, locks, model_files, yaml
from mlops.base.errors import SchemaError, StoreError
from mlops.data.digest import content_digest, row_hashes
from mlops.intake import tables

TABLE = pd.DataFrame(
    {
        "integer": pd.array([1, None, 2**53 + 1], dtype="Int64"),
        "flag": pd.array([True, None, False], dtype="boolean"),
        "text": pd.Series(["a", None, "ü"], dtype="str"),
        "at": pd.Series(["2024-01-01", None, "1969-12-31"], dtype="datetime64[us]"),
        "number": [0.1, np.nan, -0.0],
    }
)


class FullDisk:
    """A model, or text, that cannot be stored: the disk is full when half of it is written."""

    def __reduce__(self) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    mount = shutil.which("mount")
    place = tmp_path / "tiny"
    place.mkdir()
    if mount is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    model_files.write(path, "the old one")
    old = path.read_bytes()

    with pytest.raises(StoreError, match=r"model\.joblib could not be written: No space left on device"):
        model_files.write(path, [b"x" * 100_000, FullDisk()])

    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["model.joblib"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: files.write_text(path, os.urandom(200_000).hex()),
        lambda path: files.write_json(path, [os.urandom(200_000).hex()]),
        lambda path: files.write_csv(path, pd.DataFrame({"x": np.random.default_rng(1).normal(size=50_000)})),
        lambda path: tables.write(path, pd.DataFrame({"x": np.random.default_rng(1).normal(size=50_000)})),
        lambda path: model_files.write(path, os.urandom(200_000)),
    ],
    ids=["text", "json", "csv", "table", "model"],
)
def test_a_disk_that_is_really_full_leaves_the_old_file_and_nothing_else(
    write: Callable[[Path], None], tiny_disk: Path
) -> None:
    path = tiny_disk / "result"
    files.write_text(path, "the old one")

    with pytest.raises(StoreError, match=r"result could not be written: .*No space left on device"):
        write(path)

    assert path.read_text() == "the old one"
    assert [file.name for file in tiny_disk.iterdir()] == ["result"]


def test_an_error_in_the_middle_leaves_nothing_and_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        files.write_text(tmp_path / "a.txt", 3)  # type: ignore[arg-type]

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "reports" / "plots" / "a.txt", "a\n")

    assert (tmp_path / "reports" / "plots" / "a.txt").read_bytes() == b"a\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(StoreError, match=r"file/a\.txt could not be written"):
        files.write_text(tmp_path / "file" / "a.txt", "a")


def test_what_a_killed_process_left_behind_is_removed_and_what_another_one_writes_is_not(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / f".a.txt.{gone.pid}.part").write_text("half", encoding="utf-8")
    others = tmp_path / f".a.txt.{os.getppid()}.part"
    others.write_text("half", encoding="utf-8")

    files.write_text(tmp_path / "a.txt", "whole")

    found = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert found == {"a.txt": "whole", others.name: "half"}


def test_json_is_rounded_to_what_can_mean_something_and_has_no_nan(tmp_path: Path) -> None:
    content = {
        "sum": 0.1 + 0.2,
        "small": 1.23456789012345e-30,
        "undefined": [math.nan, math.inf, -math.inf],
        "numpy": [np.float64(1 / 3), np.int64(3), np.bool_(1), np.float32("nan")],
        "tuple": (1, None, "ü", True),
        3: {"nested": 2**60},
    }

    files.write_json(tmp_path / "a.json", content)

    assert files.read_json(tmp_path / "a.json") == {
        "sum": 0.3,
        "small": 1.23456789012e-30,
        "undefined": [None, None, None],
        "numpy": [0.333333333333, 3, True, None],
        "tuple": [1, None, "ü", True],
        "3": {"nested": 2**60},
    }
    assert "ü" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert (tmp_path / "a.json").read_bytes().endswith(b"}\n")


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rounding_for_json_changes_no_number_by_more_than_its_twelfth_digit(value: float) -> None:
    written = json.loads(json.dumps(files._plain(value)))

    assert math.isclose(written, value, rel_tol=1e-11)
    assert files._plain(written) == written


def test_a_table_keeps_its_types_and_gives_the_same_bytes_again(tmp_path: Path) -> None:
    tables.write(tmp_path / "one.parquet", TABLE)
    tables.write(tmp_path / "other.parquet", TABLE[::-1][::-1])

    pd.testing.assert_frame_equal(tables.read(tmp_path / "one.parquet"), TABLE)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def typed(rows: int) -> pd.DataFrame:
    """A table of every type, of which the last columns have no value at its start, and one has none at all."""
    row = np.arange(rows)
    return pd.DataFrame(
        {
            "integer": pd.array(2**53 + row, dtype="Int64"),
            "number": pd.Series(np.where(row % 3 == 0, np.nan, row / 7), dtype="float64"),
            "late": pd.Series(np.where(row < rows // 2, None, "ü"), dtype="str"),
            "flag": pd.array([None if at < rows // 2 else at % 2 == 0 for at in row], dtype="boolean"),
            "at": pd.Series(np.where(row < rows // 2, None, "2024-01-01"), dtype="datetime64[us]"),
            "nothing": pd.Series([None] * rows, dtype="str"),
        }
    )


CUT = st.tuples(st.integers(0, 30), st.lists(st.integers(0, 30), max_size=6), st.integers(1, 12))
SAME_FOLDER = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SAME_FOLDER
@given(CUT)
def test_a_table_gives_the_same_bytes_however_it_is_cut(tmp_path: Path, cut: tuple[int, list[int], int]) -> None:
    rows, cuts, batch = cut
    table = typed(rows)
    edges = [0, *sorted(min(edge, rows) for edge in cuts), rows]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BATCH", batch)
        written = tables.write_batches(tmp_path / "parts", (table[start:end] for start, end in pairwise(edges)))
        tables.write(tmp_path / "whole", table)

    assert written == rows
    assert (tmp_path / "parts").read_bytes() == (tmp_path / "whole").read_bytes()
    pd.testing.assert_frame_equal(tables.read(tmp_path / "parts"), table)


def test_no_table_at_all_is_no_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.parquet", "the old one")

    with pytest.raises(ValueError, match="no table was given"):
        tables.write_batches(tmp_path / "a.parquet", [])

    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.parquet", "the old one")]


def test_batches_that_end_in_an_error_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH", 2)

    def broken() -> Iterator[pd.DataFrame]:
        yield TABLE
        yield TABLE
        raise KeyError("third")

    with pytest.raises(KeyError, match="third"):
        tables.write_batches(tmp_path / "a.parquet", broken())

    assert list(tmp_path.iterdir()) == []


@SAME_FOLDER
@given(st.integers(1, 30), st.integers(1, 12), st.data())
def test_a_stored_table_is_the_table_a_part_at_a_time(
    tmp_path: Path, rows: int, batch: int, data: st.DataObject
) -> None:
    table = typed(rows)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BATCH", batch)
        tables.write(tmp_path / "a.parquet", table)
        stored = tables.Stored(tmp_path / "a.parquet")
        parts, some = list(stored.batches()), list(stored.batches(kept))
        hashes, whole, of_kept = stored.hashes, stored.digest(), stored.digest(kept)

    assert max(map(len, parts)) <= batch
    pd.testing.assert_frame_equal(pd.concat(parts), table)
    pd.testing.assert_frame_equal(pd.concat(some), table[kept])
    assert np.array_equal(hashes, row_hashes(table))
    assert whole == content_digest(table)
    assert of_kept == content_digest(table[kept])


def test_of_a_stored_table_only_what_is_asked_for_is_had(tmp_path: Path) -> None:
    tables.write(tmp_path / "a.parquet", TABLE)
    stored = tables.Stored(tmp_path / "a.parquet")

    assert "flag" in stored
    assert "flags" not in stored
    pd.testing.assert_series_equal(stored["text"], TABLE["text"])
    pd.testing.assert_frame_equal(stored.columns(["number", "integer"]), TABLE[["number", "integer"]])
    assert stored.columns([]).shape == (3, 0)


@SAME_FOLDER
@given(st.integers(0, 30), st.integers(1, 12), st.integers(1, 40))
def test_a_sample_of_a_stored_table_has_rows_of_every_part_with_their_types(
    tmp_path: Path, rows: int, batch: int, most: int
) -> None:
    table = typed(rows).assign(row=np.arange(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BATCH", batch)
        tables.write(tmp_path / "a.parquet", table)
        stored = tables.Stored(tmp_path / "a.parquet")
        sample = stored.sample(most, 0, [*table, "in another table"])
        few = stored.sample(most, 0, ["row"])
        more = stored.sample(most + 3, 0, ["row"])

    at = sample["row"].astype("int64").to_numpy()
    pd.testing.assert_frame_equal(sample.drop(columns="row"), table.iloc[at].drop(columns="row").reset_index(drop=True))
    assert len(at) == min(rows, most)
    assert (np.diff(at) > 0).all()
    assert few["row"].tolist() == at.tolist()
    assert set(few["row"]) <= set(more["row"])


@SAME_FOLDER
@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 40), st.data())
def test_rows_of_a_stored_table_are_had_by_their_places_and_all_in_an_order_of_chance(
    tmp_path: Path, rows: int, batch: int, most: int, data: st.DataObject
) -> None:
    table = typed(rows)
    places = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "BATCH", batch)
        patch.setattr(tables, "AT_ONCE", 2)
        tables.write(tmp_path / "a.parquet", table)
        stored = tables.Stored(tmp_path / "a.parquet")
        some = stored.rows(places.astype(np.intp), list(table))
        parts, again, other = (list(stored.shuffled(20, most, seed, list(table))) for seed in (0, 0, 1))

    assert len(stored) == rows
    pd.testing.assert_frame_equal(some, table.iloc[places].reset_index(drop=True))
    assert all(len(part) <= most for part in parts)
    mixed = pd.concat(parts)
    pd.testing.assert_frame_equal(mixed.sort_index(), table)
    pd.testing.assert_frame_equal(mixed, pd.concat(again))
    assert rows < 15 or mixed.index.tolist() != pd.concat(other).index.tolist()


def test_a_wide_table_is_read_column_by_column_as_it_was_written(tmp_path: Path) -> None:
    table = pd.DataFrame({f"{name}.{k}" if k else name: TABLE[name] for k in range(60) for name in TABLE})
    tables.write(tmp_path / "a.parquet", table)
    stored = tables.Stored(tmp_path / "a.parquet")

    with ThreadPoolExecutor(4) as pool:
        columns = list(pool.map(stored.__getitem__, table))

    pd.testing.assert_frame_equal(pd.DataFrame({column.name: column for column in columns}), table)
    assert stored.digest() == content_digest(table)


def test_a_csv_has_unix_line_ends_six_digits_and_no_index(tmp_path: Path) -> None:
    files.write_csv(tmp_path / "a.csv", pd.DataFrame({"x": [1 / 3, 2.0], "level": ["a", "b, c"]}))

    assert (tmp_path / "a.csv").read_bytes() == b'x,level\n0.333333,a\n2,"b, c"\n'


@pytest.mark.parametrize("read", [files.read_json, tables.read, model_files.read, files.sha256])
def test_a_missing_file_is_told_in_one_sentence(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nothing could not be read") as error:
        read(tmp_path / "nothing")

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [files.read_json, tables.read, model_files.read])
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"PAR1", b"\x80\x04half a pickle", b"\x00" * 100, b"\xff\xfe\x00"),
        *(gzip.compress(b"x" * 1000)[:20], b"[" * 9_999),
    ],
    ids=["empty", "brace", "parquet", "pickle", "zeros", "binary", "cut off", "deep"],
)
def test_a_broken_file_is_told_in_one_sentence_with_what_to_do(
    read: Callable[[Path], object], content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "broken").write_bytes(content)
    model_files.trust(files.sha256(tmp_path / "broken"))

    with pytest.raises(StoreError, match=r"broken could not be read .*: run `dvc repro`") as error:
        read(tmp_path / "broken")

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.99])
def test_a_model_that_was_cut_off_is_told_in_one_sentence(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    model_files.write(path, {"weights": np.arange(10_000), "levels": ["a", "b"] * 100})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    model_files.trust(files.sha256(path))

    with pytest.raises(StoreError, match=r"model\.joblib could not be read"):
        model_files.read(path)


class Trap:
    """What runs as soon as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_model_that_was_made_elsewhere_is_not_opened_until_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sprung = tmp_path / "model.joblib", tmp_path / "sprung"
    path.write_bytes(pickle.dumps(Trap(sprung)))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    with pytest.raises(StoreError, match="was made elsewhere, and was not loaded"):
        model_files.read(path)
    assert not sprung.exists()

    model_files.trust(files.sha256(path))
    model_files.read(path)
    assert sprung.exists()


def test_a_model_that_is_not_the_one_asked_for_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    model_files.write(path, "another one")

    with pytest.raises(StoreError, match="is not the model that was asked for"):
        model_files.read(path, "0" * 64)


def test_where_trust_cannot_be_kept_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))

    with pytest.raises(StoreError, match="set XDG_STATE_HOME to a folder of yours"):
        model_files.write(tmp_path / "model.joblib", "a model")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_every_mistake_in_a_schema_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text(
        "columns:\n  a: {type: numbr}\n  b: {type: number, mim: 3}\n  y: {type: category, role: target}\n"
    )

    with pytest.raises(SchemaError) as error:
        tables.read_schema(tmp_path / "schema.yaml")

    assert "columns.a.type is 'numbr'" in str(error.value)
    assert "columns.b.mim is unknown" in str(error.value)


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")

    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_csv_comes_back_with_words_as_words_and_gaps_as_nan(tmp_path: Path) -> None:
    table = pd.DataFrame({"level": ["NA", "007", "", "nan"], "share": [0.5, np.nan, np.inf, 1.0]})
    files.write_csv(tmp_path / "a.csv", table)

    back = files.read_csv(tmp_path / "a.csv", ["level"])

    assert back["level"].tolist() == table["level"].tolist()
    assert back["share"].equals(table["share"])
    with (tmp_path / "a.csv").open(encoding="utf-8") as file:
        assert files.read_csv(file, ["level"], "a.csv of HEAD").equals(back)


def test_a_csv_that_cannot_be_read_is_called_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no\.csv could not be read"):
        files.read_csv(tmp_path / "no.csv")
    with pytest.raises(StoreError, match=r"a\.csv of HEAD could not be read"):
        files.read_csv(io.StringIO(""), name="a.csv of HEAD")


@given(st.lists(st.text(st.sampled_from("=+-@'\t1.5e aé,\"")), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_cell_of_a_csv_is_a_formula_and_each_comes_back_as_it_was(tmp_path: Path, levels: list[str]) -> None:
    table = pd.DataFrame({"=level": pd.Series(levels, dtype="str"), "gain": -0.5})
    files.write_csv(tmp_path / "a.csv", table)

    stored = pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False)
    number = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?")
    assert not [cell for cell in stored["'=level"] if cell[:1] in tuple("=+-@\t\r") and not number.fullmatch(cell)]
    assert set(stored["gain"]) == {"-0.5"}
    assert files.read_csv(tmp_path / "a.csv", ["'=level"])["=level"].tolist() == levels


BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghijkl")
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, "too many values"),
        (BOMB.replace("[*", "{<<: [*").replace("*]", "*]}"), "too many values|no valid YAML"),
        ("a: &a [*a]\n", "too many values"),
        ("[" * 5000, "no valid YAML"),
        ("a: 2024-13-45\n", "no valid YAML"),
    ],
    ids=["lists", "merged", "of itself", "deep", "no date"],
)
def test_yaml_that_stands_for_too_much_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "schema.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(StoreError, match=sentence):
        tables.read_schema(tmp_path / "schema.yaml")


def test_an_alias_of_little_is_read() -> None:
    assert yaml.parsed("a: &a {min: 0}\nb: {<<: *a, max: 1}\nc: [*a]\n", "x") == {
        "a": {"min": 0},
        "b": {"min": 0, "max": 1},
        "c": [{"min": 0}],
    }


def test_a_lock_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="could not be locked"), locks.exclusive(tmp_path / "gone" / "lock", "busy"):
        pass
