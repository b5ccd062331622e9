"""Stages that read a batch at a time write what they would have written of the whole."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlops.base import files
from mlops.base.errors import DataError
from mlops.intake import deliveries, tables
from stages import prepare, validate

PARAMS = """\
prepare: {split: stratified, test_size: 0.2, seed: 42, duplicates: drop_rows}
validate: {missing_warning: 0.3, duplicate_warning: 0.0, smallest_class_warning: 0.4, overlap_warning: 0.05}
"""
SCHEMA = """\
columns:
  key: {type: integer, role: id}
  seen: {type: datetime, role: time, format: "%d.%m.%Y"}
  price: {type: number, decimal: ",", min: 0, max: 50}
  count: {type: integer, unparseable: reject}
  plan: {type: category, allowed: [basic, plus]}
  late: {type: category, max_missing: 0.3}
  note: {type: text, role: ignore}
  y: {type: category, role: target, max_missing: 0}
"""
ROWS = 300


def delivery() -> pd.DataFrame:
    """Rows of everything that can be wrong; the last column of them has no value in the first two thirds."""
    row = np.arange(ROWS)
    table = pd.DataFrame(
        {
            "key": 2**53 + row - (row == 7),
            "seen": pd.Series(pd.date_range("2024-01-01", periods=ROWS)).dt.strftime("%d.%m.%Y"),
            "price": [f"{value % 60},5" for value in row],
            "count": [str(value % 9) for value in row],
            "plan": np.array(["basic", "plus", "gold"], object)[row % 3],
            "late": np.where(row < 200, "", "here"),
            "note": [f"two\nlines; {value}" for value in row],
            "y": np.array(["no", "no", "yes"], object)[row // 2 % 3],
        }
    )
    table.loc[[3, 150, 299], "count"] = "many"
    table.loc[[10, 151, 298], "price"] = "?"
    table.loc[[11, 152], "y"] = ""
    table.loc[250:259] = table.loc[240:249].to_numpy()
    return table


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stages run."""
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (tmp_path / "schema.yaml").write_text(SCHEMA, encoding="utf-8")
    (tmp_path / "raw").mkdir()
    table = delivery()
    table[:180].to_csv(tmp_path / "raw" / "a.csv", sep=";", index=False, encoding="cp1252")
    table[180:].to_parquet(tmp_path / "raw" / "b.parquet", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepared(folder: Path) -> dict[str, bytes]:
    """The bytes of all that `prepare` writes."""
    names = ("train.parquet", "test.parquet", "reference.parquet", "dataset.json")
    prepare.main(Path("raw"), Path("events"), Path("schema.yaml"), *(folder / name for name in names))
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_prepared_does_not_depend_on_how_much_is_read_at_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepared(project / "whole")
    said = files.read_json(project / "whole" / "dataset.json")
    assert said["rejected"] == {"unparseable": 3, "target_missing": 2}
    assert said["duplicates_dropped"] == 10
    assert said["files"] == {"a.csv": 180, "b.parquet": 120}
    assert said["unparseable"][0]["examples"] == [
        {"at": "a.csv:8", "value": "many"},
        {"at": "a.csv:302", "value": "many"},
    ]

    for cells in (8, 40, 1000):
        monkeypatch.setattr(deliveries, "CELLS", cells)
        monkeypatch.setattr(deliveries, "BLOCK", 64 * cells)
        assert prepared(project / str(cells)) == whole


def test_what_is_checked_does_not_depend_on_how_much_is_read_at_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(project / "data")
    splits = project / "data" / "train.parquet", project / "data" / "test.parquet"
    reports, said = [], []

    for batch in (tables.BATCH, 1000, 60, 7):
        monkeypatch.setattr(tables, "BATCH", batch)
        with pytest.raises(DataError, match=r"\d checks of the data failed \(all are in report\.json\)"):
            validate.main(*splits, Path("schema.yaml"), project / "data" / "dataset.json", Path("report.json"))
        reports.append(files.read_json(Path("report.json")))
        said.append(capsys.readouterr().err)

    assert all(report == reports[0] for report in reports)
    assert all(text == said[0] for text in said)
    broken = {
        (check["check"], check["column"], check["severity"]) for check in reports[0]["checks"] if not check["passed"]
    }
    assert broken == {
        ("unique", "key", "error"),
        ("overlap", "key", "error"),
        ("range", "price", "error"),
        ("allowed values", "plan", "error"),
        ("missing values", "late", "warning"),
        ("missing values", "late", "error"),
        ("class balance", "y", "warning"),
        ("reading", "count", "warning"),
        ("reading", "price", "warning"),
    }
    [unique] = [check for check in reports[0]["checks"] if check["check"] == "unique"]
    assert (unique["failed"], unique["examples"]) == (2, [str(2**53 + 6)])


def test_lines_that_are_left_out_are_a_warning_and_from_a_share_on_an_error(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / "raw" / "a.csv"
    header = path.read_text("cp1252").partition("\n")[0]
    path.write_text(f"# by me\n{path.read_text('cp1252')}{header}\n1;2\n", encoding="cp1252")
    settings = PARAMS.replace("drop_rows", "drop_rows, ragged: reject")
    checked = []
    for share in (0.05, 0.001):
        (project / "params.yaml").write_text(settings.replace("validate: {", f"validate: {{left_out_error: {share}, "))
        prepared(project / str(share))
        data = [project / str(share) / name for name in ("train.parquet", "test.parquet", "dataset.json")]
        with pytest.raises(DataError):
            validate.main(data[0], data[1], Path("schema.yaml"), data[2], Path("r"))
        checked += [check for check in files.read_json(Path("r"))["checks"] if check["check"] == "lines left out"]

    assert [(check["severity"], check["passed"]) for check in checked] == [
        *(("warning", False), ("error", True)),
        *(("warning", False), ("error", False)),
    ]
    assert checked[0]["failed"] == 3
    said = capsys.readouterr()
    assert "3 lines left out: a comment above the header (1, a.csv:1)" in said.out
    assert "too few values (1, a.csv:364)" in said.out
    assert "warning: lines left out: 3 rows (1.0%), such as a.csv:1 (a comment above the header)" in said.err


def test_a_limit_that_equals_the_one_of_the_warning_is_still_an_error(project: Path) -> None:
    """Both are 0.3 here, and `late` has more missing."""
    prepared(project / "data")

    with pytest.raises(DataError):
        validate.main(
            *(project / "data" / f"{name}.parquet" for name in ("train", "test")),
            Path("schema.yaml"),
            project / "data" / "dataset.json",
            Path("r"),
        )

    late = [check for check in files.read_json(Path("r"))["checks"] if check["column"] == "late"]
    assert [(check["severity"], check["passed"]) for check in late] == [("warning", False), ("error", False)]
    assert late[0]["failed"] == late[1]["failed"] > 0
