"""`retrain`, killed around every step: the same command again goes on there, and ends as if nothing had happened.

The steps run for real, in one process that is forked: Git, DVC and `ingest`, on a pipeline of copies. What asks for a
registry, which tests of its own kill, is stood in for.
"""

import io
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlops.__main__ import app
from mlops.base import locks
from mlops.base.errors import DataError, ProjectError, StoreError
from mlops.history import cache, commands
from mlops.history import dvc as own_dvc
from mlops.history.commands import Done
from mlops.retraining import journal, loop, steps, workspace
from mlops.retraining.journal import Journal
from mlops.retraining.steps import Request
from mlops.serving import prediction_log
from mlops.serving.prediction_log import PredictionLog

from tests.conftest import PROJECT, TEMPLATE
from tests.test_killed import csv, dvc_here

KILLED = -signal.SIGKILL
PARAMS = """\
models: {forest: {depth: 3}}
retrain:
  auto_merge: true  # the whole way
card:
  retrained:
    model: ''
    trigger: ''
    reasons: []
"""
SCHEMA = """\
columns:
  id: {type: integer, role: id}
  size: {type: number, min: 0}
  label: {type: category, role: target}
"""
PIPELINE = """\
stages:
  train:
    cmd: cat data/raw/* > models/model.joblib && cp dataset.json training.json cross_validated.json reports
    deps: [data/raw, dataset.json, training.json, cross_validated.json]
    params: [models]
    outs: [models/model.joblib, {reports/dataset.json: {cache: false}}, {reports/training.json: {cache: false}},
           {reports/cross_validated.json: {cache: false}}]
  register:
    cmd: cp gate.json reports/registration.json
    deps: [models/model.joblib, gate.json]
    params: [card]
    outs: [{reports/registration.json: {cache: false}}]
  monitor:
    cmd: cp drift.json reports/drift.json
    deps: [data/incoming, drift.json]
    outs: [{reports/drift.json: {cache: false}}]
"""
NOW = datetime(2026, 11, 1, tzinfo=UTC)
GIT = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@localhost"]


def here(project: Path, *command: str, **_: Any) -> Done:
    """What `commands.call` does, in this process; reviews and registries are stood in for."""
    kind, name = command[0], command[1]
    if kind == "dvc":
        done = dvc_here(own_dvc.command(*command[1:]), project)
        return Done(done.returncode, done.stdout, done.stderr)
    if name == "ingest":
        with chdir(project), redirect_stdout(io.StringIO()) as printed:
            try:
                app(list(command[1:]), standalone_mode=False)
            except ProjectError as error:
                return Done(1, "", f"Error: {error}")
        return Done(0, printed.getvalue())
    if name == "sweep":
        return sweep(project)
    return Done(0, "gate passed  minimum" if name == "sync" else "**accuracy 0.8 → 0.8**\n")


def sweep(project: Path) -> Done:
    """An experiment with another depth, whose folds are better."""
    path = project / "params.yaml"
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace("depth: 3", "depth: 9"), encoding="utf-8")
    git("-C", str(project), "commit", "--quiet", "--all", "--message", "A trial")
    git("-C", str(project), "update-ref", "refs/exps/ab/cdef/retrain-000", "HEAD")
    git("-C", str(project), "reset", "--quiet", "--hard", "HEAD~1")
    failed = {"name": "retrain-001", "mean": None, "overrides": [], "failed": "no memory"}
    best = {"name": "retrain-000", "mean": 0.81, "overrides": ["models.forest.depth=9"], "failed": ""}
    return Done(0, json.dumps([best, failed]))


def register(run: steps.Run) -> dict[str, Any]:
    Path(".git/version").write_text(run["train"]["model"])
    return {"version": "2", "said": ""}


def promote(run: steps.Run) -> dict[str, Any]:
    Path(".git/production").write_text(Path(".git/version").read_text())
    return {"promoted": True, "awaited": ""}


def to_main(**contents: str) -> None:
    """Commit files of the project by hand, and push them."""
    for name, content in contents.items():
        Path(name.replace("_", ".")).write_text(content, encoding="utf-8")
    git("commit", "--quiet", "--all", "--message", "By hand")
    git("push", "--quiet", "origin", "main")


def git(*arguments: str) -> str:
    return subprocess.run([*GIT, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a remote for Git and one for DVC; a delivery that no commit has lies in data/incoming/."""
    top = tmp_path_factory.mktemp("repository")
    folder, rules = top / "project", TEMPLATE / PROJECT
    contents = {
        "data/raw/first.csv": csv(*range(300)),
        "data/incoming/old.csv": csv(*range(300, 310)),
        "schema.yaml": SCHEMA,
        "params.yaml": PARAMS,
        "dvc.yaml": PIPELINE,
        "dataset.json": '{"rows": 300}',
        "training.json": '{"headline": {"metric": "accuracy"}}',
        "cross_validated.json": '{"accuracy": 0.8}',
        "gate.json": '{"passed": true, "model_digest": ""}',
        "drift.json": '{"delivery": {}, "verdict": "stable", "alarm": false, "retraining": {"recommended": false}}',
        "models/.gitkeep": "",
        "reports/.gitkeep": "",
        ".dvc/config": "[core]\n    analytics = false\n    autostage = true\n    remote = storage\n"
        "['remote \"storage\"']\n    url = ../../storage\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        **{name: (rules / name).read_text(encoding="utf-8") for name in (".dvcignore", ".gitignore")},
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_TEST", "true")
        git("init", "--quiet", "--initial-branch", "main")
        for command in (["add", "data/raw", "data/incoming"], ["repro"]):
            done = dvc_here(own_dvc.command(*command))
            assert done.returncode == 0, done.stderr
        git("add", "--all")
        git("commit", "--quiet", "--message", "Start")
        git("clone", "--quiet", "--bare", ".", "../remote.git")
        git("remote", "add", "origin", "../remote.git")
        git("fetch", "--quiet", "origin")
        dvc_here(own_dvc.command("push"))
    (folder / "data/incoming/old.csv").unlink()
    (folder / "data/incoming/new.csv").write_text(csv(*range(400, 600)), encoding="utf-8")
    return top


@pytest.fixture
def fresh(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """A function that makes a copy of the repository, and goes into the project."""
    number = iter(range(100))

    def copy() -> Path:
        folder = shutil.copytree(repository, tmp_path / f"{next(number)}") / "project"
        monkeypatch.chdir(folder)
        cache.folder.cache_clear()
        return folder

    env = {"GIT_CONFIG_GLOBAL": os.devnull, "DVC_SITE_CACHE_DIR": str(tmp_path / "site"), "DVC_TEST": "true"}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(own_dvc, "subprocess", SimpleNamespace(run=dvc_here))
    monkeypatch.setattr(commands, "call", here)
    monkeypatch.setattr(steps, "register", register)
    monkeypatch.setattr(steps, "promote", promote)
    yield copy
    cache.folder.cache_clear()


def retrain(said: list[str] | None = None, *, request: Request | None = None, dry_run: bool = False) -> dict[str, Any]:
    said = [] if said is None else said
    return loop.run(request or Request(), clock=lambda: NOW, alarm=said.append, say=said.append, dry_run=dry_run)


def state(folder: Path) -> dict[str, bytes]:
    """Every file of the work tree, and the branch and commit that are checked out."""
    own = {".git", ".retrain"}
    files = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] not in own]
    kept = [path for path in files if path.relative_to(folder).parts[:2] not in {(".dvc", "tmp"), (".dvc", "cache")}]
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in kept}
    return found | {"HEAD": f"{git('rev-parse', 'HEAD')} {git('branch', '--show-current')}".encode()}


def made(folder: Path) -> dict[str, Any]:
    """What a retraining has made: the content of the remote's branches, the registry, the journal."""
    remote = ("--git-dir", str(folder.parent / "remote.git"))
    names = git(*remote, "for-each-ref", "--format=%(refname)").split()
    branches = {name: git(*remote, "rev-parse", f"{name}^{{tree}}") for name in names}
    kept = json.loads(journal.STATE.read_text())
    registry = {name: Path(f".git/{name}").read_text() for name in ("version", "production")}
    stored = sorted(path.name for path in (folder.parent / "storage").rglob("*") if path.is_file())
    told = [line for line in kept["outcome"]["told"] if "commit" not in line]
    return {"branches": branches, "steps": list(kept["steps"]), "told": told, "stored": stored, **registry}


def killed(step: str, seen: Path, request: Request | None = None) -> int:
    """Run in a process that is killed when `step` is done and the journal is about to note it; its exit code."""
    process = os.fork()
    if not process:
        finish = Journal.finish

        def kill(self: Journal, name: str, facts: dict[str, Any]) -> None:
            if name == step:
                os.kill(os.getpid(), signal.SIGKILL)
            finish(self, name, facts)

        code = 1
        with seen.open("a") as log, redirect_stdout(log), redirect_stderr(log):
            try:
                Journal.finish = kill  # type: ignore[method-assign]
                loop.run(request or Request(), clock=lambda: NOW, alarm=print, say=lambda each: print(each, flush=True))
                code = 0
            finally:
                os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_killed_around_every_step_it_ends_in_the_same_state(fresh: Callable[[], Path], tmp_path: Path) -> None:
    undisturbed = fresh()
    before = state(undisturbed)
    first = retrain()
    assert first["outcome"] == "in production"
    assert state(undisturbed) == before
    after = made(undisturbed)
    assert after["version"] == after["production"] == first["model"]
    assert " from data/incoming/new.csv\n" in git("show", "origin/main:data/raw.dvc") + "\n"

    folder, seen = fresh(), tmp_path / "seen"
    for step in after["steps"]:
        assert killed(step, seen) == KILLED, seen.read_text()
    assert killed("", seen) == 0, seen.read_text()

    assert made(folder) == after
    assert state(folder) == before
    # A step whose end was noted was not begun again.
    begun = [line for line in seen.read_text().splitlines() if line in loop.DOING.values()]
    assert {line: begun.count(line) for line in begun} == dict.fromkeys(begun, 2)
    assert list((folder / ".retrain/clones").iterdir()) == []
    assert "refs/retrain" not in git("for-each-ref")


def test_the_same_delivery_again_has_nothing_to_do_here_and_elsewhere(fresh: Callable[[], Path]) -> None:
    fresh()
    to_main(params_yaml=PARAMS.replace("auto_merge: true", "auto_merge: false"))
    first = retrain()
    assert (first["outcome"], first["merged"]) == ("proposed", False)

    again = retrain()
    assert again == {**first, "again": True}

    shutil.rmtree(".retrain")  # as on another machine, which has no journal
    said: list[str] = []
    elsewhere = retrain(said)
    assert elsewhere["commit"] == first["commit"]
    assert loop.DOING["train"] not in said
    text = git("show", f"{first['commit']}:params.yaml")
    assert "# the whole way" in text
    assert f"model: {first['model']}" in text


def test_a_dry_run_says_what_would_be_done_and_leaves_nothing(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    before, refs = state(folder), git("for-each-ref")

    found = retrain(dry_run=True)

    assert found["outcome"] == "would retrain"
    assert "would add 200 rows to data/raw, run the pipeline, and push retrain/" in found["told"][-1]
    assert "then merge, register and promote it" in found["told"][-1]
    assert (state(folder), git("for-each-ref"), journal.STATE.exists()) == (before, refs, False)


def test_a_branch_that_somebody_has_added_to_is_not_replaced(fresh: Callable[[], Path]) -> None:
    fresh()
    to_main(params_yaml=PARAMS.replace("auto_merge: true", "auto_merge: false"))
    made = retrain()
    mine = git("commit-tree", f"{made['commit']}^{{tree}}", "-p", made["commit"], "-m", "My own change")
    git("push", "--quiet", "origin", f"{mine}:refs/heads/{made['branch']}")
    start = workspace.start()

    with pytest.raises(StoreError, match=f"{made['branch']} has a commit of somebody else"):
        workspace.made_before(start, made["branch"], steps.MARK)
    # Somebody deletes it on the host, of which this clone knows nothing yet.
    git("--git-dir", "../remote.git", "update-ref", "-d", f"refs/heads/{made['branch']}")
    assert workspace.made_before(workspace.start(), made["branch"], steps.MARK) == ""


def without_labels(text: str) -> str:
    return "\n".join(line.rpartition(",")[0] for line in text.splitlines()) + "\n"


def test_a_delivery_without_labels_waits_for_them(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    drifted = {"delivery": {}, "verdict": "all drifted", "alarm": True, "retraining": {"recommended": True}}
    to_main(drift_json=json.dumps(drifted))
    path = folder / "data/incoming/new.csv"
    whole = path.read_text()
    path.write_text(without_labels(whole), encoding="utf-8")

    waiting = retrain()
    path.write_text(whole, encoding="utf-8")
    labelled = retrain()

    assert waiting["outcome"] == "waiting for labels"
    assert "drift, but none of the 200 rows of the delivery has a label yet" in waiting["told"][0]
    assert labelled["decision"]["trigger"] == "drift, new rows"
    assert labelled["outcome"] == "in production"


def test_a_protected_main_branch_is_not_gone_around_and_the_next_run_goes_on_after_a_merge(
    fresh: Callable[[], Path],
) -> None:
    folder = fresh()
    hook = folder.parent / "remote.git" / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\n[ "$1" != refs/heads/main ] || { echo "error: main is protected" >&2; exit 1; }\n')
    hook.chmod(0o755)

    refused = retrain()
    hook.unlink()
    tree, made = git("rev-parse", f"{refused['commit']}^{{tree}}"), refused["commit"]
    merge = git("commit-tree", tree, "-p", "origin/main", "-p", made, "-m", "Merge the request")
    git("push", "--quiet", "origin", f"{merge}:refs/heads/main")
    after = retrain()

    assert refused["outcome"] == "proposed"
    assert "not merged automatically: remote: error: main is protected" in refused["awaited"]
    assert (after["outcome"], after["commit"]) == ("in production", made)


def test_a_search_that_finds_better_parameters_changes_them(fresh: Callable[[], Path]) -> None:
    fresh()
    to_main(params_yaml=PARAMS.replace("retrain:\n", "retrain:\n  search_trials: 2\n"))

    found = retrain()

    assert "depth: 9" in git("show", f"{found['commit']}:params.yaml")
    searched = "Search of 2 trials: cross-validated accuracy 0.8 before, 0.81 at best; better, and taken"
    assert searched in Path(".retrain/review.md").read_text()


def test_a_source_is_taken_without_touching_data_incoming(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    (folder.parent / "later.csv").write_text(csv(*range(700, 800)), encoding="utf-8")
    before = state(folder)

    found = retrain(request=Request(source="../later.csv"))
    again = retrain(request=Request(source="../later.csv"))

    assert (found["outcome"], found["delivery"]["origin"]) == ("in production", "../later.csv")
    for name in ("raw", "incoming"):
        assert git("show", f"origin/main:data/{name}.dvc").endswith(".parquet from ../later.csv")
    assert again["outcome"] == "not needed"
    assert "0 new labelled rows" in again["told"][-1]
    assert state(folder) == before


def test_predictions_are_taken_once_with_the_last_label_of_each(fresh: Callable[[], Path], tmp_path: Path) -> None:
    fresh()
    to_main(params_yaml=PARAMS.replace("retrain:\n", "retrain:\n  label_days: 10\n  new_rows: 0.1\n"))
    predictions, feedback = PredictionLog(Path("serving")), PredictionLog(Path("serving"), "feedback")
    for number in range(130):  # an hour apart: the last ones are younger than ten days
        time = prediction_log.timestamp(NOW.timestamp() - 3600 * (350 - number))
        asked = {"id": f"{'a' * 16}-{number:016x}", "time": time}
        features = {"size": 1.5} if number < 10 else {"id": number // 2, "size": 1.5}
        predictions.append([{**asked, "variant": "champion", "features": features}])
        if number % 4:
            feedback.append([{**asked, "actual": "y"}])
    for log in (predictions, feedback):
        log.close()
    request, mark = Request(from_predictions=True), Path("serving/ingested.json")

    assert retrain(request=request, dry_run=True)["outcome"] == "would retrain"
    shutil.move("serving/feedback", "later")
    unlabelled = retrain(request=request, dry_run=True)["delivery"]["files"][0]
    assert (unlabelled["rows"], unlabelled["labelled"]) == (110, 0)
    shutil.move("later", "serving/feedback")
    assert not mark.exists()
    assert killed("take", tmp_path / "seen", request) == KILLED
    found = retrain(request=request)

    (file,) = found["delivery"]["files"]
    # 110 of them are old enough; 10 have no id, 7 of them a label. The others are of 50 ids, each with a label.
    assert (file["rows"], file["labelled"], file["incomplete"]) == (110, 50, 7)
    assert "7 labelled rows of the prediction log lack what training needs" in str(found["decision"])
    assert json.loads(mark.read_text())["until"].startswith("2026-10-22T00:00:00")
    assert found["outcome"] == "in production"
    # Nobody has asked anything since; what lies in data/incoming/ is no answer to that.
    for words in ("the prediction log has nothing new", "serving/predictions is not here"):
        quiet = retrain(request=request)
        assert (quiet["outcome"], quiet["delivery"]["files"]) == ("not needed", [])
        assert f"no new delivery: {words}" in quiet["told"][-1]
        shutil.rmtree("serving/predictions", ignore_errors=True)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            csv(*range(400, 600)).replace("\n400,200.0", "\n400,-7.0"),
            r"new\.csv: .*range of size: 1 row .*such as -7\.0",
        ),
        ("id,label\n1,n\n", "new.csv lacks the column size"),
        ("id,size,label\n", "new.csv"),
    ],
    ids=["a value out of range", "a column missing", "empty"],
)
def test_a_broken_delivery_alarms_and_changes_nothing(fresh: Callable[[], Path], content: str, sentence: str) -> None:
    folder = fresh()
    (folder / "data/incoming/new.csv").write_text(content, encoding="utf-8")
    before, refs = state(folder), git("for-each-ref", "refs/heads", "refs/remotes")
    said: list[str] = []

    with pytest.raises(DataError, match=sentence) as failed:
        retrain(said)

    assert said[-1] == f"retraining failed, and production is as it was: {failed.value}"
    assert "\n" not in said[-1]
    assert ".retrain" not in said[-1]
    assert (state(folder), git("for-each-ref", "refs/heads", "refs/remotes")) == (before, refs)


def far_away(folder: Path) -> None:
    git("remote", "set-url", "origin", "../nowhere.git")


def uncommitted(folder: Path) -> None:
    (folder / "params.yaml").write_text(PARAMS + "train: {folds: 3}\n", encoding="utf-8")


def more_rows(folder: Path) -> None:
    (folder / "data/raw/more.csv").write_text(csv(*range(900, 910)), encoding="utf-8")


def unpushed(folder: Path) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", "Mine")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (far_away, "the remote origin cannot be reached .*nowhere"),
        (uncommitted, "params.yaml is changed and not committed"),
        (more_rows, "data/raw is changed and not committed"),
        (unpushed, "main is 1 commit ahead of origin"),
    ],
)
def test_a_project_that_is_not_ready_is_one_sentence(
    fresh: Callable[[], Path], spoil: Callable[[Path], None], sentence: str
) -> None:
    spoil(fresh())
    said: list[str] = []

    with pytest.raises(StoreError, match=sentence):
        retrain(said)

    assert len(said) == 1


def test_a_storage_that_cannot_be_reached_is_one_sentence_and_the_run_goes_on_there(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    storage = folder.parent / "storage"
    storage.rename(folder.parent / "away")
    storage.write_text("no folder")

    with pytest.raises(StoreError, match="the storage of DVC does not take the results"):
        retrain()
    assert "refs/heads/retrain" not in git("ls-remote", "origin")
    storage.unlink()
    (folder.parent / "away").rename(storage)
    said: list[str] = []

    assert retrain(said)["outcome"] == "in production"
    assert said[0] == loop.DOING["push"]


def test_the_second_of_two_says_so_and_stops(fresh: Callable[[], Path]) -> None:
    fresh()
    workspace.prepare()
    said: list[str] = []

    with locks.exclusive(journal.FOLDER / "lock", ""), pytest.raises(StoreError, match="another `retrain` is running"):
        retrain(said)

    assert said == []


def test_without_a_remote_the_branch_is_here_and_nothing_is_merged(fresh: Callable[[], Path]) -> None:
    folder = fresh()
    git("remote", "remove", "origin")
    before = state(folder)

    found = retrain()

    assert found["request"]["commands"][0] == f"git merge {found['branch']}"
    assert "not merged automatically: there is no remote" in found["awaited"]
    assert git("rev-parse", found["branch"]) == found["commit"]
    assert state(folder) == before
