"""The command line `python -m mlops`: what it says, what it changes, and its exit codes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlops.__main__ import COMMANDS, GROUPS, _first_line, app
from mlops.base import files, params
from mlops.base.errors import DataError, SchemaError, StoreError
from mlops.history import cache, paths
from mlops.intake import tables
from project import features
from typer.testing import CliRunner

from tests.conftest import PROJECT, TEMPLATE

ROOT = TEMPLATE / PROJECT
VERDICT = "2 of 3 features have drifted (66.7%): retraining is recommended"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "a.csv").write_text("size,level,label\n" + "1.5,a,No\n2.5,b,Yes\n2.5,b,No\n" * 4, encoding="utf-8")
    return folder


@pytest.fixture
def delivered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """A function that makes a project with a delivery and the report of `monitor` on it, with these facts."""
    monkeypatch.chdir(tmp_path)

    def make(*, alarm: bool, retraining: bool = False) -> dict[str, Any]:
        paths.INCOMING.mkdir(parents=True)
        (paths.INCOMING / "march.csv").write_text("a\n1\n", encoding="utf-8")
        found = {"verdict": VERDICT, "alarm": alarm, "retraining": {"recommended": retraining}, "columns": ["größe"]}
        files.write_json(paths.DRIFT, found)
        sides = {"deps": paths.INCOMING, "outs": paths.DRIFT}
        entry = {side: [{"path": path.as_posix(), "md5": cache.md5(path)}] for side, path in sides.items()}
        files.write_json(paths.LOCK, {"stages": {"monitor": {"cmd": "look", **entry}}})  # JSON is YAML
        files.write_json(paths.PIPELINE, {"stages": {"monitor": {"cmd": "look", "deps": [paths.INCOMING.as_posix()]}}})
        files.write_json(params.FILE, {})
        return found

    return make


def test_help_names_every_command_with_what_it_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mlops", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )

    for command in ("check-drift", "schema", "sync"):
        assert command in done.stdout
    assert done.stderr == ""


def test_every_line_of_help_fits_into_a_list_of_commands() -> None:
    lines = [*GROUPS.values()]
    for name, found in COMMANDS.items():
        commands = found if isinstance(found, dict) else {name: found}
        lines += [_first_line(f"mlops.commands.{module}", command) for command, module in commands.items()]

    assert [line for line in lines if len(line) > 63 or not re.fullmatch("[A-Z].*[.]", line)] == []


def test_a_paragraph_of_help_is_as_wide_as_the_terminal() -> None:
    done = CliRunner().invoke(app, ["ingest", "--help"], env={"COLUMNS": "400"})

    assert "tracked with DVC. A labelled delivery is added to `data/raw/`; any other" in done.output


@pytest.mark.parametrize(("alarm", "retraining", "code"), [(False, False, 0), (True, False, 3), (True, True, 4)])
def test_the_exit_code_of_check_drift_is_the_verdict(
    delivered: Callable[..., dict[str, Any]], alarm: bool, retraining: bool, code: int
) -> None:
    found = delivered(alarm=alarm, retraining=retraining)

    done, facts = (CliRunner().invoke(app, ["check-drift", *options]) for options in ((), ("--json",)))

    assert done.output == f"{VERDICT}\n"
    assert (done.exit_code, facts.exit_code) == (code, code)
    told = json.loads(facts.output)
    assert told.pop("recent")["alarm"] is alarm
    assert told == found
    assert "größe" in facts.output


@pytest.mark.parametrize("changed", ["the delivery", "the report", "the command", "the model"])
def test_a_report_that_is_not_that_of_the_delivery_is_an_error(
    delivered: Callable[..., dict[str, Any]], changed: str
) -> None:
    delivered(alarm=False)
    if changed == "the delivery":
        (paths.INCOMING / "april.csv").write_text("a\n2\n", encoding="utf-8")
    elif changed == "the report":
        files.write_json(paths.DRIFT, {"verdict": VERDICT, "alarm": False})
    elif changed == "the command":
        files.write_json(paths.PIPELINE, {"stages": {"monitor": {"cmd": "look closer"}}})
    else:
        lock = files.read_json(paths.LOCK)
        lock["stages"]["monitor"]["deps"].append({"path": "model", "md5": "old"})
        lock["stages"]["train"] = {"outs": [{"path": "model", "md5": "new"}]}
        files.write_json(paths.LOCK, lock)

    done = CliRunner().invoke(app, ["check-drift"])

    assert isinstance(done.exception, StoreError)
    assert "is not the report of what is in data/incoming" in str(done.exception)


def test_a_report_that_is_not_there_is_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mlops", "check-drift"]

    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert "drift.json could not be read" in done.stderr


def infer(data: Path, out: Path, *options: str) -> str:
    command = ["schema", "infer", "--target", "label", "--data", str(data), "--out", str(out), *options]
    return CliRunner().invoke(app, command, catch_exceptions=False).output


def test_a_draft_of_the_schema_is_written_and_can_be_read(data: Path, tmp_path: Path) -> None:
    said = infer(data, tmp_path / "schema.yaml")

    schema = tables.read_schema(tmp_path / "schema.yaml")
    assert (schema.features, schema.target) == (["size", "level"], "label")
    assert said == f"wrote {tmp_path / 'schema.yaml'}: 3 columns, 0 worth a look\n"


def test_a_schema_that_a_person_wrote_is_replaced_only_by_force(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "schema.yaml"
    out.write_text("# mine\n", encoding="utf-8")

    with pytest.raises(SchemaError, match=r"schema\.yaml is there and differs from the draft: .*--dry-run.*--force"):
        infer(data, out)
    assert out.read_text(encoding="utf-8") == "# mine\n"

    infer(data, out, "--force")
    assert tables.read_schema(out).target == "label"
    infer(data, out)  # the same again is no replacement


def test_a_dry_run_prints_the_draft_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "schema.yaml"
    before = sorted(tmp_path.rglob("*"))

    printed = infer(data, out, "--dry-run")

    assert sorted(tmp_path.rglob("*")) == before
    infer(data, out)
    assert printed == out.read_text(encoding="utf-8")


def test_deliveries_with_other_columns_are_no_ground_for_a_draft(data: Path, tmp_path: Path) -> None:
    (data / "b.csv").write_text("size,level,labels\n1,a,No\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"b\.csv and .*a\.csv differ in the columns label, labels"):
        infer(data, tmp_path / "schema.yaml")
    assert not (tmp_path / "schema.yaml").exists()


def test_a_draft_needs_data(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(DataError, match="empty has no data: put a"):
        infer(tmp_path / "empty", tmp_path / "schema.yaml")


def registers(folder: Path, command: str) -> Path:
    """A project whose stage `register` runs this, and which has the model of its dvc.lock; the model."""
    (folder / "dvc.yaml").write_text(json.dumps({"stages": {"register": {"cmd": command}}}), encoding="utf-8")
    model = folder / "models" / "model.joblib"
    model.parent.mkdir()
    model.write_bytes(b"trained")
    lock = {"stages": {"train": {"outs": [{"path": "models/model.joblib", "md5": cache.md5(model)}]}}}
    (folder / "dvc.lock").write_text(json.dumps(lock), encoding="utf-8")
    return model


def test_sync_runs_what_the_stage_register_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "said.py").write_text("import sys\nopen('said', 'w').write(' '.join(sys.argv[1:]))\n", encoding="utf-8")
    registers(tmp_path, "python said.py a 'b c'")
    monkeypatch.chdir(tmp_path)

    CliRunner().invoke(app, ["sync"], catch_exceptions=False)
    assert (tmp_path / "said").read_text() == "a b c"

    CliRunner().invoke(app, ["sync", "--dry-run"], catch_exceptions=False)
    assert (tmp_path / "said").read_text() == "a b c --dry-run"


@pytest.mark.parametrize("kind", ["another model", "no model", "no lock"])
def test_sync_loads_no_model_but_that_of_the_lock(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "said.py").write_text("open('said', 'w')\n", encoding="utf-8")
    model = registers(tmp_path, "python said.py")
    if kind == "another model":
        model.write_bytes(b"swapped")
    else:
        (model if kind == "no model" else tmp_path / "dvc.lock").unlink()
    monkeypatch.chdir(tmp_path)

    said = "is missing: `dvc pull`" if kind == "no model" else r"is not the model of dvc\.lock, and was not loaded"
    with pytest.raises(StoreError, match=rf"models/model\.joblib {said}"):
        CliRunner().invoke(app, ["sync"], catch_exceptions=False)
    assert not (tmp_path / "said").exists()


def test_a_sync_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registers(tmp_path, "python -c 'raise SystemExit(3)'")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(StoreError, match="nothing was synchronised"):
        CliRunner().invoke(app, ["sync"], catch_exceptions=False)


def test_a_column_that_the_project_derives_gets_its_line_in_the_schema(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "schema.yaml"
    infer(data, out)
    before = out.read_text(encoding="utf-8")
    monkeypatch.setattr(
        features, "derive", lambda table: table.assign(doubled=table["size"] * 2, big=table["size"] > 2)
    )

    printed = infer(data, out, "--update")

    assert printed == f"{out}: added doubled, big\n"
    assert out.read_text(encoding="utf-8").startswith(before)
    columns = tables.read_schema(out).columns
    assert {name: column.type for name, column in columns.items() if column.derived} == {
        "doubled": "number",
        "big": "boolean",
    }
    assert tables.read_schema(out).features == ["size", "level", "doubled", "big"]
    assert infer(data, out, "--update") == f"{out}: nothing to add\n"
