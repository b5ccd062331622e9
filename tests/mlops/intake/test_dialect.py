"""The dialect of a text file is found in the file itself."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlops.base.errors import DataError
from mlops.intake import deliveries, dialect, lines

SAME_FOLDER = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(folder: Path, content: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cells(path: Path) -> list[list[str]]:
    """The header, then the rows."""
    table = pd.concat(list(deliveries.batches(path)))
    return [list(table), *table.to_numpy().tolist()]


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("a;b\n1,5;2,5\n3,5;4,5\n", [["a", "b"], ["1,5", "2,5"], ["3,5", "4,5"]]),
        ("a\tb c\n1, 2\t3\n", [["a", "b c"], ["1, 2", "3"]]),
        ("a|b\n1|2\n", [["a", "b"], ["1", "2"]]),
        ('a,b\n"1,5",2\n', [["a", "b"], ["1,5", "2"]]),
        ("a\n1\n2\n", [["a"], ["1"], ["2"]]),
        ('note\n"one, two"\n"three, four"\n', [["note"], ["one, two"], ["three, four"]]),
        ("sep=;\na;b\n1;2\n", [["a", "b"], ["1", "2"]]),
        ('"sep=|"\r\na|b\r\n1|2\r\n', [["a", "b"], ["1", "2"]]),
        ("sep=;\na;b,c\n1,2;3\n", [["a", "b,c"], ["1,2", "3"]]),
        ("\ufeffsep=;\na;b\n1;2\n", [["a", "b"], ["1", "2"]]),
        ("a,b\r1,2\r3,4\r", [["a", "b"], ["1", "2"], ["3", "4"]]),
        ("a,b\r\n1,2\r\n", [["a", "b"], ["1", "2"]]),
        ("a,b\n1,2", [["a", "b"], ["1", "2"]]),
        ("\n\na,b\n\n1,2\n\n\n3,4\n\n", [["a", "b"], ["1", "2"], ["3", "4"]]),
        ('a,b\n"1\n\n2",3\n', [["a", "b"], ["1\n\n2", "3"]]),
        ('"a\nb",c\n1,2\n', [["a\nb", "c"], ["1", "2"]]),
        ('a,b\n"say ""hi""",2\n', [["a", "b"], ['say "hi"', "2"]]),
        ('a,b\n"say \\"hi\\", you",2\nx,3\n', [["a", "b"], ['say "hi", you', "2"], ["x", "3"]]),
        ('a,b\n"{\\"x\\": 1, \\"y\\": 2}",2\n', [["a", "b"], ['{"x": 1, "y": 2}', "2"]]),
        ('a, "b"\n1, "x, y"\n2, "z"\n', [["a", "b"], ["1", "x, y"], ["2", "z"]]),
        ('a,b\n5" pipe,1\n6" pipe,2\n', [["a", "b"], ['5" pipe', "1"], ['6" pipe', "2"]]),
        ("a,b\n,\n1,\n", [["a", "b"], ["", ""], ["1", ""]]),
        ("a,b\nit's,x\n'y',z\n", [["a", "b"], ["it's", "x"], ["'y'", "z"]]),
        ("a,b\n1,#2\n# no comment,3\n", [["a", "b"], ["1", "#2"], ["# no comment", "3"]]),
        (" a , b \n 1 ,2\n", [["a", "b"], [" 1 ", "2"]]),
        (",a\n0,1\n1,2\n", [["Unnamed: 0", "a"], ["0", "1"], ["1", "2"]]),
        ('"a","b"\n"r1",1,2\n"r2",3,4\n', [["Unnamed: 0", "a", "b"], ["r1", "1", "2"], ["r2", "3", "4"]]),
        ("a;b\n1;2;\n3;4;\n", [["a", "b", "Unnamed: 2"], ["1", "2", ""], ["3", "4", ""]]),
        ("x,x,x.1,x\n1,2,3,4\n", [["x", "x.1", "x.1.1", "x.2"], ["1", "2", "3", "4"]]),
    ],
)
def test_a_file_is_read_as_its_writer_meant_it(text: str, table: list[list[str]], tmp_path: Path) -> None:
    assert cells(written(tmp_path, text)) == table


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("gzipped", [False, True])
def test_the_encoding_is_found_in_the_bytes(encoding: str, gzipped: bool, tmp_path: Path) -> None:
    odd = "é" if encoding != "cp1252" else "€"
    content = f"name;größe\nJos{odd};1,5\nZoë;2\n".encode(encoding)

    path = written(tmp_path, gzip.compress(content) if gzipped else content, "a.csv.gz" if gzipped else "a.csv")

    assert cells(path) == [["name", "größe"], [f"Jos{odd}", "1,5"], ["Zoë", "2"]]


def test_one_invalid_line_at_the_end_means_that_a_file_is_not_utf8(tmp_path: Path) -> None:
    content = b"name,x\n" + b"a,1\n" * 100_000 + "Zoë,2\n".encode("cp1252")

    assert cells(written(tmp_path, content))[-1] == ["Zoë", "2"]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_character_may_lie_across_the_border_of_two_chunks(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "é,統\n€,計\n")
    monkeypatch.setattr(lines, "CHUNK", size)

    assert dialect.of(path).encoding == "utf-8"


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04\x14\x00\x06\x00" + bytes(40), bytes(100), bytes(range(256)) * 4, b"a,b\n1,\x00\n" * 9],
    ids=["zip", "zeros", "binary", "a zero"],
)
def test_a_file_that_is_not_text_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.csv is no text, as CSV is: export it as CSV in UTF-8, or as Parquet"):
        dialect.of(written(tmp_path, content))


def test_an_open_quote_swallows_no_rows(tmp_path: Path) -> None:
    rows = [[f"value {row}", str(row)] for row in range(500)]
    rows[20][0] = '"broken'
    path = written(tmp_path, "a,b\n" + "".join(f"{text},{number}\n" for text, number in rows))

    assert cells(path)[1:] == rows


@SAME_FOLDER
@given(st.lists(st.sampled_from(["x", "x.1", "", " x", "y ", "Unnamed: 0", "x.1.1"]), min_size=2, max_size=7))
def test_every_column_has_a_name_of_its_own(tmp_path: Path, header: list[str]) -> None:
    path = written(tmp_path, ",".join(header) + "\n" + ",".join("1" * len(header)) + "\n")

    names = deliveries.columns(path)

    assert len(set(names)) == len(names) == len(header)
    assert all(name and name == name.strip() for name in names)
    assert list(next(deliveries.batches(path))) == names


@pytest.mark.parametrize("sample", [40, 57, 100, 333])
def test_a_sample_of_any_length_shows_the_dialect(sample: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[f"{row},5", f'a "{row}"\nb', str(row)] for row in range(50)]
    quoted = ['"' + cell.replace('"', '""') + '"' for row in rows for cell in row]
    lines = [";".join(quoted[start : start + 3]) for start in range(0, len(quoted), 3)]
    path = written(tmp_path, "\n".join(["x;y;z", *lines]))
    monkeypatch.setattr(dialect, "SAMPLE", sample)

    assert cells(path) == [["x", "y", "z"], *rows]


def test_a_rewritten_file_is_examined_again(tmp_path: Path) -> None:
    found = [
        dialect.of(written(tmp_path, text)).syntax.separator for text in ("a,b\n1,2\n", "a;b\n1;2\n", "a|b\n1|2\n")
    ]

    assert found == [",", ";", "|"]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_rows_are_copied_byte_by_byte_with_all_that_precedes_them(name: str, tmp_path: Path) -> None:
    head, first, second = 'sep=;\r\n\r\na;"b"\r\n', '1;"ä\r\nö"\r\n', "\r\n2;\r\n"
    content = (head + first + second).encode("utf-16")
    path = written(tmp_path, gzip.compress(content) if name.endswith(".gz") else content, name)

    def copied(*wanted: bool) -> bytes:
        dialect.copy(path, np.array(wanted), tmp_path / "copy")
        return (tmp_path / "copy").read_bytes()

    assert copied(True, True) == copied(True, True)
    texts = [copied(True, True), copied(True, False), copied(False, True)]
    texts = [gzip.decompress(text) if name.endswith(".gz") else text for text in texts]
    assert texts[0] == content
    assert [text.decode("utf-16") for text in texts[1:]] == [head + first, head + second]


def test_rows_that_cannot_be_counted_are_not_copied(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\n1,2\n3,4\n")

    for wanted in ([True], [True, False, True]):
        with pytest.raises(
            DataError, match=r"a\.csv has \d rows or another number, depending on how its quotes are read"
        ):
            deliveries.select(path, np.array(wanted), tmp_path / "copy.csv")

    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_an_encoding_that_means_nothing_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "name,x\nSüd,1\n".encode("cp850"))

    with pytest.raises(DataError, match=r"a\.csv is in an encoding that is neither UTF-8 nor Windows-1252: save it as"):
        dialect.of(path)


def test_a_line_of_many_values_is_read_at_once_however_its_quotes_stand(tmp_path: Path) -> None:
    names = [f'"is {number}, not"' for number in range(40)]
    values = ["5", *["yes"] * 38, 'a "b']
    path = tmp_path / "a.csv"
    path.write_text("\n".join(map(",".join, [names, *[values] * 30])), encoding="utf-8")

    assert len(dialect.of(path).names) == 40  # tried in every way, a line would take longer than a life
