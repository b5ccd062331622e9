"""From a version to production and back, against a real SQLite store: approvals, aliases, and the log of it all."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlops.__main__ import app
from mlops.base import files, model_files, params
from mlops.base.errors import ProjectError, StoreError
from mlops.data.schema import Schema
from mlops.history import paths, provenance, revisions
from mlops.registry import audit, ledger, recording, registry
from mlops.training.model import fitted_model
from ruamel.yaml import YAML
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from typer.testing import CliRunner, Result

from tests.conftest import PROJECT, TEMPLATE
from tests.test_killed import completed, mlops

ROOT = TEMPLATE / PROJECT
SCHEMA = Schema.model_validate({"columns": {"x": {"type": "number"}, "y": {"type": "category", "role": "target"}}})
PARAMS = """\
prepare: {split: random, test_size: 0.2, seed: 1, duplicates: keep}
register: {name: demo, mode: enforce, approval: APPROVAL, gate: {}}
tracking: {uri: "URI", experiment: demo}
"""
RECORDED = YAML(typ="safe").load(PARAMS.replace("APPROVAL", "required"))
PARAMS_DIGEST = provenance.digest({name: RECORDED.get(name) for name in params.RECORDED})
ADA, BOB = ("Ada", "ada@localhost"), ("Bob", "bob@localhost")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three versions by Ada, in a folder of its own."""
    folder = tmp_path_factory.mktemp("made")
    pipeline = make_pipeline(DummyClassifier())
    model_files.write(
        folder / "model.joblib",
        fitted_model(pipeline.fit([[0.0], [1.0]], ["no", "yes"]), SCHEMA, "classification", "yes", 1),
    )
    result = recording.Result(
        name="demo",
        digests={"model": "1" * 64, "data": "d" * 64, "params": PARAMS_DIGEST, "code": "c" * 64},
        params={},
        metrics={"accuracy": 0.5},
        tags={"author": "Carl <carl@localhost>", "model_type": "dummy", "stage": "candidate"},
        model=folder / "model.joblib",
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
    """A project with a copy of that store, in which Ada has committed each result; Bob stands in it."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes((made / "mlflow.db").read_bytes())
    (tmp_path / "mlruns").mkdir()
    (tmp_path / ".gitignore").write_text("mlflow.db*\nmlruns/\n", encoding="utf-8")
    subprocess.run(["git", "init", "--quiet"], check=True)
    configured("required")
    be(ADA)
    for number in "123":
        result_in_git(number * 64)
    be(BOB)
    return tmp_path


def result_in_git(model: str, data: str = "d" * 64) -> str:
    """Commit the report of a result; the commit."""
    files.write_json(paths.REGISTRATION, {"model_digest": model, "data_digest": data})
    for command in (["add", "."], ["commit", "--quiet", "--message", "A result"]):
        subprocess.run(["git", *command], check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


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
    assert {found[0][f"{kind}_digest"] for kind in ("data", "params", "code")} == {"d" * 64, PARAMS_DIGEST, "c" * 64}
    assert not {"author", "commit"} & found[0].keys()  # it was made before it was committed
    assert (found[0]["stage"], found[0]["registered"]) == ("candidate", "true")
    assert found[0]["gate"] == "all is well"
    told = done("registry", "show").splitlines()[0]
    assert told.endswith(", its author is known once it is committed and `python -m mlops sync` has run")


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


def test_who_approves_twice_is_told_so_and_the_log_has_it_once(project: Path) -> None:
    assert "version 1 of demo is approved by Bob" in done("approve", "1", "--reason", "looked at it")
    entries = audit.mirrored()
    paths.AUDIT.unlink()  # as if it had been killed before that was written

    again = done("approve", "1", "--reason", "looked again")

    assert "version 1 of demo is already approved by Bob" in again
    assert json.loads(done("registry", "history", "--json"))["entries"] == entries == audit.mirrored()
    be(("Carl", "carl@localhost"))
    assert "version 1 of demo is approved by Carl" in done("approve", "1")
    assert "approved by Bob <bob@localhost>, Carl <carl@localhost>" in done("registry", "show")
    approved = {
        each["version"]: each["approved_by"] for each in json.loads(done("registry", "show", "--json"))["versions"]
    }
    assert approved == {"3": [], "2": [], "1": ["Bob <bob@localhost>", "Carl <carl@localhost>"]}


def test_an_author_known_to_the_server_cannot_approve_under_another_git_name(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    client.set_model_version_tag("demo", "1", "user", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")

    assert "version 1 is your own (ada)" in refused("approve", "1")

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "bob")
    assert "approved by bob" in done("approve", "1")
    be(ADA)  # who committed it, whatever account she takes
    assert "version 2 is your own (Ada <ada@localhost>)" in refused("approve", "2")


def test_who_committed_a_result_is_its_author_not_who_recorded_it(project: Path) -> None:
    result_in_git("1" * 64, data="other")  # Bob's commit, of another result
    be(("Carl", "carl@localhost"))  # he ran `sync`, and has made nothing
    assert "is approved by Carl" in done("approve", "1")
    be(ADA)
    assert "version 1 is your own (Ada <ada@localhost>)" in refused("approve", "1")


def test_a_version_that_no_commit_has_is_neither_approved_nor_promoted(project: Path) -> None:
    subprocess.run(["git", "checkout", "--quiet", "--orphan", "elsewhere"], check=True)
    branches = subprocess.run(
        ["git", "branch", "--format=%(refname:short)"], capture_output=True, text=True, check=True
    )
    subprocess.run(["git", "branch", "--quiet", "-D", *branches.stdout.split()], check=True)
    paths.REGISTRATION.unlink()
    subprocess.run(["git", "commit", "--quiet", "--all", "--message", "Another history"], check=True)
    for command in (("approve", "1"), ("promote", "1", "--reason", "now")):
        assert "no commit here has the model of version 1" in refused(*command)
        assert "commit it where it was made, or fetch the branch" in refused(*command)

    paths.REGISTRATION.write_text("<<<<<<< " + "1" * 64 + "d" * 64, encoding="utf-8")
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "commit", "--quiet", "--message", "Marks of a merge"], check=True)
    assert "no commit here has the model of version 1" in refused("approve", "1")

    made = result_in_git("1" * 64)
    be(ADA)
    done("approve", "1")
    done("promote", "1", "--reason", "now")
    entries = json.loads(done("registry", "history", "--json"))["entries"]
    assert {entry["commit"] for entry in entries} == {made}


def test_a_promotion_can_ask_that_the_version_was_made_again(project: Path) -> None:
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("approval:", "remade: required, approval:"))
    done("approve", "1")
    assert "nobody has made version 1 again: `python -m mlops reproduce 1`" in refused("promote", "1", "--reason", "x")

    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    client.set_model_version_tag("demo", "1", registry.REMADE, "identical bytes in CI")
    assert "made again: identical bytes in CI" in done("promote", "1", "--reason", "x")


def test_whoever_was_in_production_before_is_found_through_any_history(project: Path) -> None:
    configured("off")
    for number in "1213":
        done("promote", number, "--reason", "next")
    live = []
    for _ in range(3):
        done("rollback", "--reason", "back")
        live.append(next(number for number, names in aliases().items() if "champion" in names))

    assert live == ["1", "2", "1"]
    stages = {found["version"]: found["stage"] for found in json.loads(done("registry", "show", "--json"))["versions"]}
    assert stages == {"1": "production", "2": "archived", "3": "archived"}
    entries = json.loads(done("registry", "history", "--json"))["entries"]
    with registry.configured() as (client, settings):
        [third, *_] = registry.versions(client, settings.name)
    assert [entry["to"] for entry in audit.departures(entries, third)] == ["1"]


@pytest.mark.parametrize(
    ("command", "production"),
    [(("promote", "3", "--reason", "x"), 3), (("rollback", "--reason", "x"), 1)],
    ids=["promote", "rollback"],
)
def test_a_change_that_was_killed_is_completed_and_entered_once(
    project: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    production: int,
) -> None:
    configured("off")
    (project / ".dvc" / "tmp").mkdir(parents=True)  # where `completed` writes
    for number in "12":
        done("promote", number, "--reason", "next")

    def fresh() -> Path:
        folder = tmp_path_factory.mktemp("copy") / "project"
        shutil.copytree(project, folder)
        monkeypatch.chdir(folder)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it
        configured("off")
        return folder

    for folder, at in completed(fresh, mlops(*command)):
        with closing(sqlite3.connect(folder / "mlflow.db")) as store:  # MLflow takes seconds to open as many stores
            champion = store.execute("SELECT version FROM registered_model_aliases WHERE alias = 'champion'").fetchall()
            tags = "SELECT {} FROM model_version_tags WHERE key = '{}' ORDER BY version"
            stages = store.execute(tags.format("version, value", "stage")).fetchall()
            entries = [json.loads(text) for (text,) in store.execute(tags.format("value", "entry"))]
        assert champion == [(production,)] == [(version,) for version, stage in stages if stage == "production"], at
        assert [entry["action"] for entry in entries] == ["promote", "promote", command[0]], at
        assert (audit.mirrored(), ledger.broken(entries)) == (entries, []), at
        assert list(folder.rglob("*.part*")) == [], at


def test_what_was_deleted_in_the_registry_is_not_deleted_in_git(project: Path) -> None:
    configured("off")
    for number in "123":
        done("promote", number, "--reason", "next")
    log = paths.AUDIT.read_bytes()
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    client.delete_model_version("demo.audit", "3")

    for command in (("promote", "1", "--reason", "x"), ("rollback", "--reason", "x")):
        assert "the registry lacks the entries from 3 on" in refused(*command)
    assert paths.AUDIT.read_bytes() == log

    done("audit", "restore")
    client.delete_model_version("demo", "3")
    assert "version 3 is in production, which is not in this registry" in ops("audit", "verify").output


def test_a_shallow_clone_cannot_say_who_the_author_is(project: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{project}", tmp_path / "shallow"], check=True)
    os.chdir(tmp_path / "shallow")
    be(BOB)

    assert "who made version 3 cannot be seen: this clone has a part of the history only" in refused("approve", "3")


def test_who_cherry_picks_a_result_does_not_take_its_author_away(project: Path) -> None:
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    client.set_model_version_tag("demo", "1", "author", "Bob <bob@localhost>")  # once synchronised, then rebased by Ada

    assert "version 1 is your own (Bob <bob@localhost>)" in refused("approve", "1")


def test_a_result_whose_report_did_not_change_is_brought_by_its_parameters(project: Path) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("seed: 1", "seed: 2"), encoding="utf-8")
    now = provenance.digest({name: YAML(typ="safe").load(Path("params.yaml")).get(name) for name in params.RECORDED})
    subprocess.run(["git", "commit", "--quiet", "--all", "--message", "Another seed"], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    Path("note.txt").touch()
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "commit", "--quiet", "--message", "A note"], check=True)

    found = revisions.commits_of({"model": "3" * 64, "data": "d" * 64, "params": now}, passed=True)

    assert [commit.digest for commit in found] == [head]


def test_a_deleted_run_does_not_keep_a_version_from_production(project: Path) -> None:
    configured("off")
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    for number in "12":
        client.delete_run(client.get_model_version("demo", number).run_id)
        done("promote", number, "--reason", "next")

    assert aliases()["2"] == ["champion"]


def test_a_copy_that_cannot_be_written_is_a_warning_after_the_change(project: Path) -> None:
    configured("off")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "write_copy", refusing)
        result = ops("promote", "2", "--reason", "now")

    assert result.exit_code == 0
    assert "Warning: reports/audit.jsonl could not be written" in result.stderr
    assert aliases()["2"] == ["champion"]
    done("promote", "1", "--reason", "next")
    assert [entry["to"] for entry in audit.mirrored()] == ["2", "1"]


def refusing(*_: object) -> None:
    raise StoreError("reports/audit.jsonl could not be written: no space left")


def test_in_a_second_clone_the_log_is_not_overwritten_but_restored(project: Path, made: Path) -> None:
    configured("off")
    for number in "1232":
        done("promote", number, "--reason", "next")
    log = paths.AUDIT.read_bytes()
    Path("mlflow.db").write_bytes((made / "mlflow.db").read_bytes())  # what `sync` makes in a fresh clone
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    client.delete_model_version("demo", "1")

    assert "the registry lacks the entries from 1 on, which Git has" in refused("promote", "3", "--reason", "mine")
    assert "audit restore" in refused("promote", "3", "--reason", "mine")
    assert paths.AUDIT.read_bytes() == log
    assert "restored entries: 4 (not yet)" in done("audit", "restore", "--dry-run")
    done("audit", "restore")

    assert aliases() == {"3": ["challenger"], "2": ["champion"]}
    assert "4 entries, each follows the one before" in done("audit", "verify")
    assert paths.AUDIT.read_bytes() == log
    done("promote", "3", "--reason", "mine")
    assert paths.AUDIT.read_bytes().startswith(log)

    shorter = b"".join(log.splitlines(keepends=True)[:2])
    paths.AUDIT.write_bytes(shorter)  # an older clone, which has to pull
    assert "the registry has entries that reports/audit.jsonl lacks: `git pull`" in refused("audit", "restore")
    paths.AUDIT.write_bytes(log.replace(b"next", b"text"))
    assert "is not the one that Git has" in refused("promote", "2", "--reason", "mine")
    assert "is damaged" in refused("audit", "restore")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"number": "x"}',
        '{"who": "\\ud800", "model_digest": ["x"]}',
        '{"number": null, "action": "promote", "to": 7}',
        "{",
    ],
)
def test_one_damaged_entry_stops_no_command_and_is_named(project: Path, text: str) -> None:
    configured("off")
    for number in "123":
        done("promote", number, "--reason", "next")
    MlflowClient(f"sqlite:///{project}/mlflow.db").set_model_version_tag("demo.audit", "2", audit.TAG, text)
    paths.AUDIT.unlink()

    assert "promote" in done("registry", "history")
    assert "entry 2 was edited" in ops("audit", "verify").output
    done("rollback", "--reason", "complaints")
    assert aliases()["1"] == ["champion"]


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
    assert result.exit_code == 3
    assert {
        "edited": "entry 2 was edited: its content does not give its hash",
        "garbled": "entry 2 was edited: its content does not give its hash",
        "reordered": "before entry 3 entries are missing or in another order: it follows entry 1",
        "removed": "before entry 3 entries are missing or in another order: it follows entry 1",
        "mirror": "the registry lacks the entries from 4 on, which Git has",
        "champion": "version 3 is in production, but the log says 2",
    }[kind] in result.output
