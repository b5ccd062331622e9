"""Tables as people really have them, each from its files through every stage, in process; a few on the command line."""

import importlib
import json
import math
import re
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from mlops.base import files
from mlops.evaluation.importance import MOST_FEATURES
from mlops.registry import packaging
from ruamel.yaml import YAML

from tests.conftest import baked, generate
from tests.tables import LEARNT, REFUSED, Table

STAGES = ("prepare", "validate", "train", "evaluate", "register", "monitor")
COMMANDS = ("infer", *STAGES)
CODE = ("mlops", "project", "stages")
# Enough to run every line. What is left out has the default that the generated params.yaml shows, with which the real
# pipeline runs; a stage reads its parameters several times, and they are to be read soon.
QUICK = {
    "train": {"model": "random_forest", "folds": 3},
    "models": {
        "random_forest": {
            "classifier": "sklearn.ensemble.RandomForestClassifier",
            "regressor": "sklearn.ensemble.RandomForestRegressor",
            "n_estimators": 10,
            "max_depth": 10,
        }
    },
    "evaluate": {"resamples": 50, "importance_repeats": 1},
    "register": {"name": "customer-churn"},
}
# What a project with data of its own is generated with.
BEHAVIOUR = "tests: {odd: {kind: robustness}, alone: {kind: serving}, again: {kind: determinism}}\n"
# Metrics that every prediction has, by task.
CERTAIN = {
    "binary": ("accuracy", "balanced_accuracy", "f1", "log_loss", "brier"),
    "multiclass": ("accuracy", "balanced_accuracy", "f1", "f1_macro", "log_loss"),
    "regression": ("mae", "rmse"),
}
HEADLINE = {"binary": "accuracy", "multiclass": "accuracy", "regression": "r2"}
# The file that is the least like the example, a number to predict among German numbers, for the real command line.
GENERATED = "price-german"
# Schema and prepared data of every table so far.
PREPARED: set[bytes] = set()


class Stopped(Exception):  # noqa: N818 – it is what is asked for
    """A command ended with one sentence and exit code 1."""


@pytest.fixture(scope="module")
def files_only(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated project without data, whose stages do little work."""
    stands = tmp_path_factory.mktemp("files-only")
    project = baked(generate(template, stands, setup="no"), stands / "customer-churn").path
    for example in project.glob("data/*/*.csv"):
        example.unlink()
    (project / "schema.yaml").unlink()
    (project / "behaviour.yaml").write_text(BEHAVIOUR, encoding="utf-8")  # that of the example is about its columns
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(QUICK, file)
    return project


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One tracking store for all tables; to make one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def code() -> Iterator[tuple[Path, ModuleType]]:
    """The code that every version brings along, which is the same."""
    with packaging.package() as made:
        yield made


@pytest.fixture
def project(
    files_only: Path,
    tracking: str,
    code: tuple[Path, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A project of its own, in which the test stands; its code is that of the template, linked."""
    monkeypatch.setattr(packaging, "package", lambda: nullcontext(code))
    for path in files_only.iterdir():
        if path.name in CODE:
            (tmp_path / path.name).symlink_to(path)
        elif path.is_dir():
            shutil.copytree(path, tmp_path / path.name)
        else:
            shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that does what `python -m module arguments` does, without a new process; it returns what is printed.

    It raises `Stopped` with the sentence if there is one; anything else that ends a command is a failure.
    """
    commands = YAML(typ="safe").load(project / "dvc.yaml")["stages"]

    def running(name: str, *arguments: str) -> str:
        from mlops.base import console

        if name in commands:
            _, _, module, *arguments = shlex.split(commands[name]["cmd"])  # type: ignore[assignment]
            command = importlib.import_module(module).main
        else:
            module, command = "mlops", importlib.import_module("mlops.__main__").app
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        capsys.readouterr()
        ended: object = 0
        try:
            console.run(command)
        except SystemExit as end:
            ended = end.code
        printed = capsys.readouterr()
        if isinstance(ended, str):
            raise Stopped(ended)
        assert not ended, printed.out + printed.err
        return printed.out

    return running


def infer(run: Callable[..., str], table: Table) -> None:
    """Draft schema.yaml for a table."""
    run("mlops", "schema", "infer", "--target", table.target)


def written(folder: Path) -> set[str]:
    """The files that the commands have made so far."""
    made = ("schema.yaml", "data/prepared/*", "models/*", "reports/*")
    return {path.relative_to(folder).as_posix() for kind in made for path in folder.glob(kind) if path.name[0] != "."}


def rows(data: pd.DataFrame) -> Counter[tuple[Any, ...]]:
    """The rows of a table, in no order, as plain values; whatever spells missing is None."""
    plain = (data[name].astype(object).where(data[name].notna(), None) for name in sorted(data))
    return Counter(zip(*plain, strict=True))


def reports(project: Path, *names: str) -> Iterator[Any]:
    """What the stages report."""
    return (json.loads((project / "reports" / f"{name}.json").read_text(encoding="utf-8")) for name in names)


def new(project: Path) -> bool:
    """Whether no table before had these bytes as its prepared data and schema."""
    made = (project / "schema.yaml", project / "data/prepared/train.parquet", project / "data/prepared/test.parquet")
    content = b"".join(path.read_bytes() for path in made)
    known = content in PREPARED
    PREPARED.add(content)
    return not known


def comments(schema: str) -> dict[str, str]:
    """What schema.yaml remarks on each column."""
    found = {}
    for line in schema.splitlines():
        if match := re.fullmatch(r"  (.+?): (\{.*\})(?:  # (.*))?", line):
            name = YAML(typ="safe").load(match[1])
            found[str(name)] = match[3] or ""
    return found


@pytest.mark.parametrize("table", LEARNT, ids=lambda table: table.name)
def test_a_table_goes_through_every_stage(table: Table, project: Path, run: Callable[..., str]) -> None:
    from mlops.intake import tables

    table.write(project / "data" / "raw")
    if table.delivered:
        table.write(project / "data" / "incoming")

    infer(run, table)
    draft = (project / "schema.yaml").read_bytes()
    infer(run, table)
    assert (project / "schema.yaml").read_bytes() == draft
    layout = tables.read_schema(project / "schema.yaml")
    fields = {name: column.model_dump(mode="json") for name, column in layout.columns.items()}
    wrong = {
        f"{name}.{key}": (fields[name][key] if name in fields else "no such column", value)
        for name, expected in table.columns.items()
        for key, value in expected.items()
        if name not in fields or fields[name][key] != value
    }
    assert not wrong, f"found and expected: {wrong}\n{draft.decode()}"
    remarks = comments(draft.decode())
    assert remarks.keys() == fields.keys()
    lacking = {name: remarks[name] for name, word in table.comments.items() if word not in remarks[name]}
    assert not lacking

    run("prepare")
    (dataset,) = reports(project, "dataset")
    assert dataset["rows"] == table.rows
    assert dataset["rejected"] == {"unparseable": 0, "target_missing": table.unlabelled}
    assert {found["column"] for found in dataset["unparseable"]} == set(table.unparseable)
    prepared = pd.concat(
        pd.read_parquet(project / "data" / "prepared" / f"{name}.parquet") for name in ("train", "test")
    )
    assert sorted(prepared) == sorted(layout.kept)
    if table.truth is not None:
        truth = table.truth()
        expected, found = rows(truth), rows(prepared[list(truth)])
        assert expected == found, (
            f"only expected: {(expected - found).most_common(2)}, only found: {(found - expected).most_common(2)}"
        )

    if not table.delivered and not new(project):
        return  # what the other stages, pure functions, make of these very bytes another table has shown
    for stage in STAGES[1:]:
        run(stage)
    validation, training, metrics, registration, drift = reports(
        project, "validation", "training", "metrics", "registration", "drift"
    )
    assert validation["errors"] == 0
    ignored = set(layout.with_role("ignore"))
    assert not ignored & set(training["features"])
    assert set(training["features"]) <= set(layout.inputs)
    assert training["task"] == ("regression" if table.task == "regression" else "classification")
    assert (training["positive"] is not None) == (table.task == "binary")
    if table.positive is not None:
        assert str(training["positive"]) == table.positive
    if table.task != "regression":
        assert len(dataset["target"]) >= 3 if table.task == "multiclass" else len(dataset["target"]) == 2
        assert sum(dataset["target"].values()) == table.rows
    if table.classes:
        assert tuple(dataset["target"]) == table.classes
    assert set(training["rare_classes"]) == set(table.rare)

    for name in CERTAIN[table.task]:
        assert math.isfinite(metrics[name]), name
    if table.least is not None:
        assert metrics[HEADLINE[table.task]] >= table.least
    importances = files.read_csv(project / "reports" / "plots" / "importances.csv", text=["feature"])
    assert set(importances["feature"]) <= set(layout.inputs)
    assert len(importances) == min(len(layout.inputs), MOST_FEATURES)
    assert pd.to_numeric(importances["importance"]).notna().all()
    assert registration["data_digest"] == dataset["digest"]
    if table.delivered:
        assert drift["delivery"]["rows"] == table.rows + table.unlabelled
        assert drift["features"]["drifted"] == []
    else:
        assert drift["delivery"] is None


@pytest.mark.parametrize("table", REFUSED, ids=lambda table: table.name)
def test_a_table_that_is_of_no_use_is_refused_in_one_sentence(
    table: Table, project: Path, run: Callable[..., str]
) -> None:
    table.write(project / "data" / "raw")
    last = COMMANDS.index(table.by)
    stopped = None

    for command in COMMANDS[: last + 1]:
        before = written(project)
        try:
            infer(run, table) if command == "infer" else run(command)
        except Stopped as sentence:
            stopped = str(sentence)
            break

    assert stopped is not None, f"not even {table.by} stopped"
    assert re.fullmatch(r"Error: [^\n]+", stopped)
    assert re.search(table.refused, stopped), stopped
    assert written(project) == before


def test_half_a_delivery_is_watched_as_the_whole(project: Path, run: Callable[..., str]) -> None:
    table = next(table for table in LEARNT if table.name == "german")
    table.write(project / "data" / "raw")
    infer(run, table)
    for stage in STAGES[:-1]:
        run(stage)
    (delivery,) = (project / "data" / "raw").iterdir()
    lines = delivery.read_bytes().splitlines(keepends=True)
    (project / "data" / "incoming" / delivery.name).write_bytes(b"".join(lines[:51]))

    run("monitor")

    drift = json.loads((project / "reports" / "drift.json").read_text())
    assert drift["delivery"]["rows"] == 50
    assert drift["delivery"]["unparseable"] == []


def test_the_cookiecutter_command_line_takes_a_table(template: Path, tmp_path: Path) -> None:
    """The real thing, with DVC and Git."""
    table = next(table for table in LEARNT if table.name == GENERATED)
    (tmp_path / "own").mkdir()
    table.write(tmp_path / "own")
    (source,) = (tmp_path / "own").iterdir()

    done = generate(template, tmp_path, data=str(source), target=table.target, setup="here", project="table")
    project = baked(done, tmp_path / "table")

    assert "left to you" not in project.printed, project.printed
    assert (project.path / "dvc.lock").is_file()
    assert json.loads(project.read("reports/dataset.json"))["rows"] == table.rows
    assert json.loads(project.read("reports/validation.json"))["errors"] == 0
    assert project.run("git", "status", "--porcelain").stdout == ""
