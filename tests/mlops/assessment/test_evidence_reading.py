"""How the evidence is read: real repositories of every kind, and those of somebody who means harm."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mlops.assessment.evidence import documents, gathering, repository, systems
from mlops.assessment.evidence.documents import UnreadableError
from mlops.assessment.finding import Finding
from mlops.base import yaml
from mlops.base.errors import StoreError

from tests.conftest import PROJECT, TEMPLATE, BakedProject
from tests.mlops.assessment.evidence_of import NOW, committed, git, project, workflow

TODAY = datetime.now(UTC)
TRAINS = {
    "train.py": "import mlflow\nimport sklearn\n\nmlflow.autolog()\nsklearn.A().fit(1)\n",
    "README.md": "    python train.py\n    python search.py\n",
    "data.dvc": "outs:\n- {md5: x, path: d}\n",
}


def gather(folder: Path, now: datetime = TODAY) -> dict[str, Finding]:
    return {finding.predicate: finding for finding in gathering.gather(folder, now)}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return committed(tmp_path / "repository", TRAINS)


def test_a_repository_is_read_in_a_folder_of_it_and_dated_by_its_commits(trained: Path) -> None:
    (trained / "below").mkdir()

    found = gather(trained / "below", TODAY + timedelta(days=10))

    [source] = found["tracker"].sources
    assert (source.what, source.line, round(source.age_days or 0)) == ("train.py", 4, 10)


def test_what_is_not_committed_does_not_count(trained: Path) -> None:
    (trained / "search.py").write_text("import optuna\n\noptuna.create_study().optimize(f)\n", encoding="utf-8")

    assert gather(trained)["search"].outcome == "false"
    git(trained, "add", "search.py")
    git(trained, "commit", "--quiet", "--message", "Search")
    assert gather(trained)["search"].outcome == "true"


def test_a_retraining_that_is_proposed_and_not_merged_counts(tmp_path: Path) -> None:
    place = committed(tmp_path / "repository", project())
    git(place, "checkout", "--quiet", "-b", "retrain/1")
    git(place, "commit", "--quiet", "--allow-empty", "--message", "Retrain\n\nRetrain-Delivery: abc")
    git(place, "checkout", "--quiet", "main")

    found = gather(place)["retraining_by_itself"]

    assert (found.outcome, [source.what for source in found.sources]) == (
        "true",
        [git(place, "rev-parse", "retrain/1")],
    )


@pytest.mark.parametrize("kind", ["bare", "shallow", "worktree", "submodule"])
def test_a_repository_of_another_kind_is_read_too(kind: str, trained: Path, tmp_path: Path) -> None:
    place, file = tmp_path / kind, ("-c", "protocol.file.allow=always")
    if kind == "worktree":
        git(trained, "worktree", "add", "--quiet", "--detach", str(place))
    elif kind == "submodule":
        around = committed(tmp_path / "around", {"README.md": "x\n"})
        git(around, *file, "submodule", "--quiet", "add", str(trained), "inner")
        git(around, "commit", "--quiet", "--message", "Inner")
        assert gather(around)["tracker"].outcome == "false"  # what is in there is another repository
        place = around / "inner"
    else:
        git(trained, "commit", "--quiet", "--allow-empty", "--message", "Second")
        how = ("--bare",) if kind == "bare" else ("--depth", "1")
        git(tmp_path, *file, "clone", "--quiet", *how, trained.as_uri(), str(place))

    found = gather(place)

    assert (found["tracker"].outcome, found["data_versions"].outcome) == ("true", "true")
    [source] = found["tracker"].sources
    assert (source.age_days is None) == (kind == "shallow")  # its only commit seems to bring every file


def test_without_a_repository_one_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is in no Git repository that can be read"):
        gathering.gather(tmp_path, TODAY)
    with pytest.raises(StoreError, match="is no folder"):
        gathering.gather(tmp_path / "nowhere", TODAY)


def test_a_repository_without_a_commit_has_nothing_to_judge(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")

    with pytest.raises(StoreError, match="has no commit yet, so there is nothing to judge"):
        gathering.gather(tmp_path, TODAY)


def test_the_folder_of_git_stands_for_its_work_tree(trained: Path) -> None:
    assert gather(trained / ".git") == gather(trained)


def test_nothing_of_a_hostile_repository_is_run(tmp_path: Path) -> None:
    marker, trap = tmp_path / "marker", tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\necho run >> {marker}\nexit 1\n", encoding="utf-8")
    trap.chmod(0o755)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "reference-transaction", "post-checkout", "pre-auto-gc"):
        (hooks / name).symlink_to(trap)
    place = committed(
        tmp_path / "hostile",
        {
            **TRAINS,
            ".gitattributes": "* filter=evil diff=evil merge=evil\n",
            "mlops/VERSION": "1",
            "conftest.py": "1/0",
        },
        config={
            "core.fsmonitor": str(trap),
            "core.hooksPath": str(hooks),
            "core.pager": str(trap),
            "core.sshCommand": str(trap),
            "core.alternateRefsCommand": str(trap),
            "credential.helper": str(trap),
            "diff.external": str(trap),
            "diff.evil.textconv": str(trap),
            "diff.evil.command": str(trap),
            "filter.evil.clean": str(trap),
            "filter.evil.smudge": str(trap),
            "filter.evil.process": str(trap),
            "gpg.program": str(trap),
            "log.showSignature": "true",
            "protocol.ext.allow": "always",
            "remote.origin.url": f"ext::{trap} %S",
            "remote.origin.promisor": "true",
            "extensions.partialClone": "origin",
            "core.repositoryFormatVersion": "1",
        },
    )
    head, body = git(place, "cat-file", "commit", "HEAD").split("\n\n", 1)
    signed = f"{head}\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n{body}\n"
    (tmp_path / "commit").write_text(signed, encoding="utf-8")
    commit = git(place, "hash-object", "-t", "commit", "-w", str(tmp_path / "commit"))
    git(place, "-c", "core.hooksPath=/dev/null", "update-ref", "refs/heads/main", commit)
    lost = git(place, "rev-parse", "HEAD:data.dvc")
    (place / ".git" / "objects" / lost[:2] / lost[2:]).unlink()  # Git would fetch it by the command of the remote
    (place / "train.py").write_text("changed\n", encoding="utf-8")
    marker.unlink(missing_ok=True)  # to set the traps has released some

    assert gather(place)["tracker"].outcome == "true"
    assert not marker.exists()

    for usual in (("status",), ("log", "-1"), ("cat-file", "-p", "HEAD:data.dvc")):
        marker.unlink(missing_ok=True)
        git(place, *usual, check=False)
        assert marker.exists(), f"the trap of git {usual[0]} was not armed"


def test_links_and_large_or_binary_files_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.py"
    secret.write_text(TRAINS["train.py"], encoding="utf-8")
    place = tmp_path / "repository"
    place.mkdir()
    (place / "link.py").symlink_to(secret)
    (place / "loop").symlink_to(".")
    committed(
        place, {"large.py": TRAINS["train.py"] + "#" * 1_000_001, "binary.py": b"\0" + TRAINS["train.py"].encode()}
    )

    assert gather(place)["tracker"].outcome == "false"


def test_odd_texts_and_names_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    deep = "x = " + "(" * 5000 + ")" * 5000
    files = {
        "deep.py": f"import mlflow\n{deep}\n",
        "odd\n\u202ename.py": TRAINS["train.py"],
        "Makefile": "all:\n\tpython latin.py\n",
        "latin.py": b"# caf\xe9\nimport wandb\nwandb.init()\n",
        "book.ipynb": '{"cells": 3}',
        "other.ipynb": "[" * 100_000,
        ".github/workflows/a.yml": workflow("pytest") + "\nbomb: " + "[" * 100_000,
        ".github/workflows/b.yml": workflow("dvc repro"),
    }

    found = gather(committed(tmp_path / "odd", files))

    assert {finding.outcome for finding in found.values()} <= {"true", "false", "not_available", "error"}
    assert found["tracker"].outcome == "true"
    assert found["training_is_in_ci"].outcome == "not_available"
    assert [name for name, finding in found.items() if "could not be judged" in finding.sentence["en"]] == []


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "- " * 100_000,
        "? " * 60_000,
        "a: &a [*a]",
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{now}: &{now} [{', '.join([f'*{last}'] * 10)}]\n" for last, now in zip("abcdefg", "bcdefgh", strict=True)
        ),
        "a: b: c",
    ],
)
def test_yaml_that_is_meant_to_exhaust_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        documents.from_yaml(text)


@pytest.mark.parametrize("name", ["dvc.yaml", "compose.yaml", "deploy/prometheus.yaml", ".gitlab-ci.yml"])
def test_yaml_is_read_as_the_project_reads_it_with_its_lines(name: str) -> None:
    text = (TEMPLATE / PROJECT / name).read_text(encoding="utf-8")

    content = documents.from_yaml(text)

    assert content == yaml.parsed(text, name)
    first = next(iter(content))
    assert text.splitlines()[first.line - 1].startswith(first)
    assert documents.from_yaml("a: !reference [x, y]\nb: &n {c: 1}\nd: {<<: *n, e: on}") == {
        "a": ["x", "y"],
        "b": {"c": 1},
        "d": {"c": 1, "e": "on"},
    }


def host(folder: Path, name: str, content: object) -> None:
    """A command that prints JSON, and fails in a folder that holds anything."""
    script = folder / name
    script.parent.mkdir(exist_ok=True)
    script.write_text(
        f"#!{sys.executable}\nimport os, sys\nassert not os.listdir('.')\n"
        f"open({str(folder / 'asked')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\nprint({json.dumps(content)!r})\n",
        encoding="utf-8",
    )
    script.chmod(0o755)


def test_runs_are_asked_for_at_known_hosts_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    run = {
        "workflowName": "ci",
        "event": "push",
        "conclusion": "success",
        "createdAt": "2026-05-30T00:00:00Z",
        "url": "u",
    }
    host(tmp_path / "bin", "gh", [{**run, "headBranch": "main", "databaseId": 7}])
    job = {"name": "test", "status": "failed", "created_at": "2026-05-30T00:00:00.5Z", "web_url": "u", "ref": "main"}
    host(tmp_path / "bin", "glab", [{**job, "pipeline": {"source": "schedule"}}])

    [found] = systems.runs("git@github.com:ada/churn.git", {}) or []
    assert (found.name, found.conclusion, found.branch) == ("ci", "success", "main")
    [found] = systems.runs("https://gitlab.com/ada/churn", {}) or []
    assert (found.name, found.conclusion, found.event) == ("test", "failure", "schedule")
    asked = (tmp_path / "bin" / "asked").read_text(encoding="utf-8")
    for stranger in ("https://github.evil.example/a/b", "https://gitlab.evil.example/a/b", "/srv/git/churn", ""):
        assert systems.runs(stranger, {}) is None
    assert (tmp_path / "bin" / "asked").read_text(encoding="utf-8") == asked
    assert systems.runs("https://github.acme.example/a/b", {"GH_HOST": "github.acme.example"})
    jobs = [{"name": "work", "conclusion": "success", "steps": [{"name": "Run pytest", "conclusion": "skipped"}]}]
    host(tmp_path / "bin", "gh", {"jobs": jobs})
    done = {("work", ""): "success", ("work", "Run pytest"): "skipped"}
    assert systems.steps("git@github.com:ada/churn.git", found, {}) == done
    assert systems.steps("https://github.evil.example/a/b", found, {}) is None
    host(tmp_path / "bin", "gh", "no list")
    assert systems.runs("git@github.com:ada/churn.git", {}) is None
    assert systems.steps("git@github.com:ada/churn.git", found, {}) is None


def store(path: Path, view: str = "") -> Path:
    """A store as MLflow makes it, as far as it is read; or one whose versions never end."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE model_version_tags (name, version, key, value)")
        database.execute("CREATE TABLE registered_model_aliases (name, version, alias)")
        if view:
            database.execute(view)
            return path
        database.execute("CREATE TABLE model_versions (name, version, creation_time)")
        database.executemany("INSERT INTO model_versions VALUES ('churn', ?, 1000)", [(1,), (2,), (3,)])
        database.execute("INSERT INTO model_version_tags VALUES ('churn', 3, 'taken_back', 'yes')")
        database.execute("INSERT INTO registered_model_aliases VALUES ('churn', 2, 'champion')")
    return path


def test_a_registry_is_read_and_one_that_cannot_be_read_is_not_available(tmp_path: Path) -> None:
    local = store(tmp_path / "mlflow.db")
    before = local.read_bytes()

    found = systems.versions("churn", local, {}) or []

    assert [(version.number, version.aliases) for version in found] == [("2", ("champion",)), ("1", ())]
    assert local.read_bytes() == before
    assert systems.versions("other", local, {}) == []
    assert systems.versions("churn", tmp_path / "none.db", {}) is None
    (tmp_path / "text.db").write_text("no database", encoding="utf-8")
    assert systems.versions("churn", tmp_path / "text.db", {}) is None
    (tmp_path / "link.db").symlink_to(local)
    assert systems.versions("churn", tmp_path / "link.db", {}) is None
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    endless = f"{numbers} SELECT 'churn' AS name, i AS version, 1 AS creation_time FROM n"  # noqa: S608
    assert (
        systems.versions("churn", store(tmp_path / "endless.db", f"CREATE VIEW model_versions AS {endless}"), {})
        is None
    )
    assert systems.versions("churn", local, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}) is None


def test_the_fresh_example_answers_every_criterion_of_level_1(pipeline: BakedProject) -> None:
    found = gather(pipeline.path)

    level = {one.criteria[0]: one for one in found.values() if one.criteria[0].startswith("1.")}
    assert {name: one.sentence["en"] for name, one in level.items() if one.outcome != "true"} == {}
    assert all(one.sources for one in level.values())
    for finding in found.values():
        if finding.criteria[0].startswith("2.") and finding.outcome != "true":
            assert finding.remedy
    assert found["registry"].sources[0].what == "1 of customer-churn"
    assert {finding.outcome for finding in found.values()} <= {"true", "false", "not_available", "not_applicable"}


def test_a_damaged_repository_is_an_error_of_one_sentence(trained: Path) -> None:
    tree = git(trained, "rev-parse", "HEAD^{tree}")
    (trained / ".git" / "objects" / tree[:2] / tree[2:]).unlink()

    with pytest.raises(StoreError, match="git ls-tree failed"):
        repository.opened(trained, NOW)


def test_git_of_a_hook_does_not_lead_elsewhere(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = committed(tmp_path / "other", {"README.md": "x\n"})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))

    assert gather(trained)["tracker"].outcome == "true"


def test_evidence_needs_no_import_of_what_takes_long() -> None:
    heavy = "{'mlflow', 'pandas', 'sklearn', 'dvc'}"
    code = f"import sys; from mlops.assessment.evidence import gathering; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=TEMPLATE / PROJECT, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []
