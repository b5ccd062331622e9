"""From a version to production and back, against a real SQLite store: approvals, aliases, and the log of it all."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlops.__main__ import app
from mlops.base import files
from mlops.base.errors import ProjectError
from mlops.data.schema import Schema
from mlops.registry import audit, recording, registry
from mlops.training.model import fitted_model
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from typer.testing import CliRunner, Result

from tests.conftest import PROJECT, TEMPLATE

ROOT = TEMPLATE / PROJECT
SCHEMA = Schema.model_validate({"columns": {"x": {"type": "number"}, "y": {"type": "category", "role": "target"}}})
PARAMS = """\
prepare: {split: random, test_size: 0.2, seed: 1, duplicates: keep}
register: {name: demo, mode: enforce, approval: APPROVAL, gate: {}}
tracking: {uri: "URI", experiment: demo}
"""
ADA, BOB = ("Ada", "ada@localhost"), ("Bob", "bob@localhost")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three versions by Ada, in a folder of its own."""
    folder = tmp_path_factory.mktemp("made")
    pipeline = make_pipeline(DummyClassifier())
    files.write_model(
        folder / "model.joblib",
        fitted_model(pipeline.fit([[0.0], [1.0]], ["no", "yes"]), SCHEMA, "classification", "yes", 1),
    )
    result = recording.Result(
        name="demo",
        digests={"model": "1" * 64, "data": "d" * 64, "params": "p" * 64, "code": "c" * 64},
        params={},
        metrics={"accuracy": 0.5},
        tags={"author": "Ada <ada@localhost>", "commit": "a" * 40, "model_type": "dummy"},
        model=folder / "model.joblib",
        columns={"x": "double"},
        requirements=["scikit-learn"],
        artifacts=[],
        verdict="all is well",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for number in "123":
            digests = {**result.digests, "model": number * 64}
            recording.record(replace(result, digests=digests), True, f"sqlite:///{folder}/mlflow.db", "demo")
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a copy of that store; Bob stands in it."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes((made / "mlflow.db").read_bytes())
    subprocess.run(["git", "init", "--quiet"], check=True)
    configured("required")
    be(BOB)
    return tmp_path


def configured(approval: str) -> None:
    text = PARAMS.replace("APPROVAL", approval).replace("URI", f"sqlite:///{Path.cwd()}/mlflow.db")
    Path("params.yaml").write_text(text, encoding="utf-8")


def be(who: tuple[str, str]) -> None:
    for name, value in zip(("name", "email"), who, strict=True):
        subprocess.run(["git", "config", f"user.{name}", value], check=True)


def ops(*command: str) -> Result:
    return CliRunner().invoke(app, command)


def done(*command: str) -> str:
    result = ops(*command)
    assert result.exit_code == 0, result.exception or result.output
    return result.output


def refused(*command: str) -> str:
    """Run a command that has to refuse, and change nothing; its sentence."""
    before = done("registry", "show", "--json"), done("registry", "history", "--json")
    error = ops(*command).exception
    assert isinstance(error, ProjectError)
    assert (done("registry", "show", "--json"), done("registry", "history", "--json")) == before
    return str(error)


def aliases() -> dict[str, list[str]]:
    found = json.loads(done("registry", "show", "--json"))
    assert found["name"] == "demo"
    return {version["version"]: version["aliases"] for version in found["versions"]}


def test_versions_say_who_what_and_why_and_the_newest_is_the_challenger(project: Path) -> None:
    found = json.loads(done("registry", "show", "--json"))["versions"]

    assert [version["version"] for version in found] == ["3", "2", "1"]
    assert found[0]["aliases"] == ["challenger"]
    assert found[0]["model_digest"] == "3" * 64
    assert {found[0][f"{kind}_digest"] for kind in ("data", "params", "code")} == {"d" * 64, "p" * 64, "c" * 64}
    assert (found[0]["author"], found[0]["commit"]) == ("Ada <ada@localhost>", "a" * 40)
    assert found[0]["gate"] == "all is well"


def test_a_version_goes_live_approved_by_someone_else_and_back_again(project: Path) -> None:
    for number in "12":
        done("approve", number, "--reason", "looked at it")
        done("promote", number, "--reason", "better")
    live = aliases()
    done("rollback", "--reason", "complaints")

    assert live == {"3": ["challenger"], "2": ["champion"], "1": []}
    assert aliases() == {"3": ["challenger"], "2": [], "1": ["champion"]}
    entries = json.loads(done("registry", "history", "--json"))["entries"]
    assert [(entry["action"], entry["from"], entry["to"]) for entry in entries] == [
        ("approve", "1", "1"),
        ("promote", None, "1"),
        ("approve", "2", "2"),
        ("promote", "1", "2"),
        ("rollback", "2", "1"),
    ]
    assert entries[3]["approval"] == {"number": 3, "who": "Bob <bob@localhost>"}
    assert entries[3]["model_digest"] == "2" * 64
    assert entries[4]["reason"] == "complaints"
    assert all(entry["when"].endswith("+00:00") for entry in entries)
    assert audit.mirrored() == entries
    assert done("audit", "verify") == "5 entries, each follows the one before\n"


def test_what_may_not_be_is_refused_with_a_sentence_and_changes_nothing(project: Path) -> None:
    assert "version 1 is not approved: someone else" in refused("promote", "1", "--reason", "now")
    assert "demo has no version 9: there are 3, 2, 1" in refused("approve", "9")
    assert "nothing was in production before" in refused("rollback", "--reason", "back")
    be(ADA)
    assert "version 1 is your own (Ada <ada@localhost>)" in refused("approve", "1")
    be(BOB)
    done("approve", "1")
    done("promote", "1", "--reason", "first")
    assert "version 1 of demo is in production already" in refused("promote", "1", "--reason", "again")
    assert "version 3 was never in production" in refused("rollback", "--to", "3", "--reason", "back")


def test_a_team_of_one_can_do_without_approval_and_the_log_says_so(project: Path) -> None:
    be(ADA)
    configured("off")

    done("promote", "2", "--reason", "mine")

    assert json.loads(done("registry", "history", "--json"))["entries"][0]["approval"] == "off"


def test_an_author_known_to_the_server_cannot_approve_under_another_git_name(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    client.set_model_version_tag("demo", "1", "user", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")

    assert "version 1 is your own (ada)" in refused("approve", "1")

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    be(ADA)
    assert "approved by bob" in done("approve", "1")


def test_a_dry_run_says_what_would_be_and_changes_nothing(project: Path) -> None:
    done("approve", "1")
    before = done("registry", "history", "--json")

    said = [done("approve", "2", "--dry-run"), done("promote", "1", "--reason", "x", "--dry-run")]

    assert all("would be" in line for line in said)
    assert done("registry", "history", "--json") == before
    assert aliases()["1"] == []


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told_or_comes_after(project: Path) -> None:
    for number in "12":
        done("approve", number)
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "mlops", "promote", number, "--reason", "now"],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in "12"
    ]
    said = [process.communicate() for process in both]

    changes = [
        entry for entry in json.loads(done("registry", "history", "--json"))["entries"] if entry["action"] == "promote"
    ]
    won = [number for number, process in zip("12", both, strict=True) if process.returncode == 0]
    assert [entry["to"] for entry in changes] in ([won[0]], won, won[::-1]), said
    assert aliases()[changes[-1]["to"]] == ["champion"]
    for process, (_, error) in zip(both, said, strict=True):
        assert process.returncode == 0 or "another change came first" in error
    assert "each follows the one before" in done("audit", "verify")


@pytest.mark.parametrize("kind", ["edited", "garbled", "removed", "reordered", "mirror", "champion"])
def test_whatever_is_done_to_the_log_is_found(project: Path, kind: str) -> None:
    for number in "12":
        done("approve", number)
        done("promote", number, "--reason", "better")
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    if kind == "edited":
        entry = json.loads(client.get_model_version("demo.audit", "2").tags[audit.TAG])
        text = json.dumps(entry | {"who": "Eve"})
        client.set_model_version_tag("demo.audit", "2", audit.TAG, text)
    elif kind == "garbled":
        client.set_model_version_tag("demo.audit", "2", audit.TAG, "[]")
    elif kind == "reordered":
        texts = [client.get_model_version("demo.audit", number).tags[audit.TAG] for number in "32"]
        for number, text in zip("23", texts, strict=True):
            client.set_model_version_tag("demo.audit", number, audit.TAG, text)
    elif kind == "removed":
        client.delete_model_version("demo.audit", "2")
    elif kind == "mirror":
        client.delete_model_version("demo.audit", "4")
    else:
        client.set_registered_model_alias("demo", registry.CHAMPION, "3")

    result = ops("audit", "verify")

    assert done("registry", "history").count("approve") >= 1  # it can still be read
    assert result.exit_code == 1
    assert {
        "edited": "entry 2 was edited: its content does not give its hash",
        "garbled": "entry 2 was edited: its content does not give its hash",
        "reordered": "before entry 3 entries are missing or in another order: it follows entry 1",
        "removed": "before entry 3 entries are missing or in another order: it follows entry 1",
        "mirror": "the registry lacks the entries from 4 on, which Git has",
        "champion": "version 3 is in production, but the log says 2",
    }[kind] in result.output
