"""Each check both ways: a project in order is fine; one fault is named, and its command mends it."""

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlops.base import environment, files
from mlops.base.errors import StoreError
from mlops.health import credentials, doctor, leftovers, machine, machinery, repository, settings, storage, tracking
from mlops.history import cache, dvc
from mlops.retraining.journal import Journal
from mlops.serving import routing, state

from tests.mlops.health.conftest import Project, bad, found, now, remove

DEAD = 2_000_000_011  # no system has a process with this number
HOUR_AGO, TWO_DAYS_AGO = time.time() - 3600, time.time() - 2 * 86_400


def test_a_project_in_order_has_neither_faults_nor_warnings(project: Project) -> None:
    before = project.snapshot()

    told = dict(doctor.examine(now()))

    assert [one for name in told for one in told[name] if one.state != "fine"] == []
    assert set(told) == set(doctor.CHECKS)
    assert project.snapshot() == before


def test_a_folder_without_git_is_told_how_to_begin(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    remove(project.path / ".git")

    [finding] = found(repository.check)

    assert finding.state == "fault"
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@localhost")
    project.shell(finding.command)
    assert bad(repository.check) == []


def test_a_rule_that_keeps_the_versions_of_the_data_from_git_is_a_fault(project: Project) -> None:
    rules = project.path / ".gitignore"
    before = rules.read_text(encoding="utf-8") if rules.exists() else ""
    rules.write_text(f"{before}\n/data/customers.csv\n", encoding="utf-8")
    assert bad(repository.check) == []

    rules.write_text(f"{before}\ndata/\n", encoding="utf-8")

    [finding] = bad(repository.check)
    assert finding.state == "fault"
    assert "Git ignores data/raw.dvc" in finding.sentence
    project.shell(finding.command)  # it shows the rule


def test_an_old_lock_of_the_index_is_removed_and_a_young_one_or_one_at_work_is_left(project: Project) -> None:
    lock = project.path / ".git" / "index.lock"
    lock.touch()
    assert [one.state for one in bad(repository.check)] == ["unknown"]
    os.utime(lock, (HOUR_AGO, HOUR_AGO))
    [finding] = bad(repository.check)
    assert finding.command == "rm .git/index.lock"
    assert finding.repair is not None

    # The child of a shell: what this process itself has started is its own work.
    with subprocess.Popen(["sh", "-c", "git cat-file --batch; true"], stdin=subprocess.PIPE) as process:
        wait_for(lambda: [one.state for one in bad(repository.check)] == ["unknown"])
        with pytest.raises(StoreError, match=r"left alone: process \d+ is a Git command at work here"):
            finding.repair.do()
        process.communicate()

    finding.repair.do()
    assert bad(repository.check) == []


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_merge_that_stopped_is_told_with_the_command_that_resolves_it(project: Project) -> None:
    project.git("switch", "--quiet", "--create", "other")
    project.write("dvc.lock", "theirs\n")
    project.commit()
    project.git("switch", "--quiet", "main")
    project.write("dvc.lock", "ours\n")
    project.commit()
    subprocess.run(["git", "merge", "--quiet", "other"], cwd=project.path, check=False, capture_output=True)

    [finding] = bad(repository.check)

    assert "a merge stopped at conflicts in dvc.lock" in finding.sentence
    assert finding.command == "python -m mlops resolve"
    project.git("checkout", "--ours", "dvc.lock")
    project.git("add", "dvc.lock")
    assert [one.command for one in bad(repository.check)] == ["git merge --continue"]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("reports/registration.json", "dvc repro"),
        ("dvc.lock", "python -m mlops resolve"),
        ("params.yaml", '"${EDITOR:-vi}" params.yaml'),
    ],
)
def test_merge_marks_that_were_committed_are_found(project: Project, name: str, command: str) -> None:
    project.write(name, "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> other\n")

    [finding] = [one for one in bad(repository.check) if "merge" in one.sentence]

    assert name in finding.sentence
    assert finding.command == command


def test_a_detached_head_is_a_warning_except_in_ci(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.git("checkout", "--quiet", "--detach")
    [finding] = bad(repository.check)
    project.shell(finding.command)
    assert bad(repository.check) == []

    project.git("checkout", "--quiet", "--detach")
    monkeypatch.setenv("CI", "true")
    assert bad(repository.check) == []


def test_a_shallow_clone_is_told_how_to_get_the_history(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.commit("Second")
    subprocess.run(
        ["git", "clone", "--quiet", "--depth", "1", project.path.as_uri(), str(tmp_path / "shallow")], check=True
    )
    monkeypatch.chdir(tmp_path / "shallow")

    [finding] = bad(repository.check)
    Project(tmp_path / "shallow").shell(finding.command)

    assert bad(repository.check) == []


def test_data_that_git_tracks_although_dvc_keeps_it_is_a_fault(project: Project) -> None:
    project.git("add", "--force", "data/raw/a.csv")

    [finding] = bad(repository.check)
    project.shell(finding.command.partition(" && ")[0])

    assert "data/raw/a.csv is in Git" in finding.sentence
    assert bad(repository.check) == []


def test_a_commit_from_the_future_says_that_a_clock_is_wrong(project: Project) -> None:
    [finding] = bad(lambda now: repository.check(now - timedelta(days=2)))

    assert (finding.subject, finding.state) == ("clock", "warning")


def test_broken_settings_are_faults_that_name_the_place(project: Project) -> None:
    assert bad(settings.check) == []
    project.write("params.yaml", {"train": {"modle": "forest"}})
    project.write("dvc.yaml", "stages: [")

    told = bad(settings.check)

    assert "params.yaml: train.modle is unknown" in told[0].sentence
    assert told[1].command.endswith(" dvc.yaml")


def test_a_column_of_events_that_the_file_lacks_is_a_fault_of_the_settings(project: Project) -> None:
    project.write("data/events/orders.csv", "key,at,amount\n1,2026-01-01,2.5\n")
    aggregates = [{"function": "sum", "column": "amont", "days": [30]}]
    orders = {"file": "data/events/orders.csv", "entity": "key", "time": "at", "aggregates": aggregates}
    project.write("params.yaml", {"features": {"time": "at", "tables": {"orders": orders}}})

    [finding] = bad(settings.check)

    assert "lacks the column amont, which params.yaml names below features.tables.orders" in finding.sentence
    assert "did you mean amount?" in finding.sentence
    project.write("data/events/orders.csv", "key,at,amont\n1,2026-01-01,2.5\n")
    assert bad(settings.check) == []


# ---- DVC


def test_a_remote_that_is_a_folder_is_written_to_and_nothing_stays_there(project: Project) -> None:
    before = sorted(project.storage.rglob("*"))

    assert [one.state for one in found(storage.check_remote)] == ["fine"]
    assert sorted(project.storage.rglob("*")) == before


def test_a_remote_that_is_gone_missing_or_not_named_is_told(project: Project, tmp_path: Path) -> None:
    config = project.path / ".dvc" / "config"
    text = config.read_text()
    config.write_text(text.replace("../../storage", "/nowhere/at/all"))
    assert "its drive is not mounted" in bad(storage.check_remote)[0].sentence
    config.write_text("[core]\n    analytics = false\n")
    [finding] = bad(storage.check_remote)
    assert (finding.state, finding.sentence[:18]) == ("warning", "there is no remote")
    config.write_text("[core\n")
    assert [(one.state, one.command.split()[-1]) for one in bad(storage.check)] == [("fault", ".dvc/config")]
    config.write_text(text)
    project.write(".dvc/config.local", "[core]\n    nonsense = 1\n")
    assert [one.command.split()[-1] for one in bad(storage.check)] == [".dvc/config.local"]


def test_a_folder_of_a_remote_that_is_not_there_may_be_new_or_deleted(project: Project) -> None:
    remove(project.storage)

    remote, *_ = found(storage.check_remote)

    assert remote.state == "unknown"
    assert remote.sentence.endswith("it is new, and the first `dvc push` makes it, or it was deleted or not mounted")


def test_data_that_was_not_pushed_is_a_warning(project: Project) -> None:
    shutil.rmtree(project.storage / "files")

    [finding] = bad(storage.check_remote)

    assert (finding.command, finding.figures) == ("dvc push", {"not_pushed": 2})


def test_what_the_cache_lacks_comes_from_the_remote_or_from_nowhere(project: Project) -> None:
    remove(project.path / ".dvc" / "cache")
    cache.folder.cache_clear()
    [finding] = bad(storage.check_remote)
    assert (finding.state, finding.command) == ("warning", "dvc pull")

    shutil.rmtree(project.storage / "files")
    [finding] = bad(storage.check_remote)
    assert (finding.state, finding.command) == ("fault", "dvc commit --force data/raw && dvc push")

    remove(project.path / "data" / "raw")
    [finding] = bad(storage.check_remote)
    assert "neither in the work tree nor in DVC's cache nor in the remote" in finding.sentence


@pytest.mark.parametrize("kind", ["a file of it", "its list", "changed here"])
def test_a_damaged_object_of_the_cache_is_replaced_and_the_work_tree_stays(project: Project, kind: str) -> None:
    raw = project.path / "data" / "raw"
    place = cache.path_of(cache.md5(raw if kind == "its list" else raw / "a.csv"))
    whole = place.read_bytes()
    place.write_text("[]" if kind == "its list" else "key,churn\n1,No\n")
    if kind == "changed here":
        project.write("data/raw/a.csv", "key,churn\n2,No\n")
    here = (raw / "a.csv").read_bytes()

    [finding] = bad(storage.check)
    project.shell(finding.command)

    assert "the copy of data/raw in DVC's cache is damaged" in finding.sentence
    assert (place.read_bytes(), (raw / "a.csv").read_bytes()) == (whole, here)
    assert bad(storage.check) == []


@pytest.mark.parametrize("kind", ["another size", "unprotected", "checked out"])
def test_damage_of_a_large_object_is_found_before_dvc_is_asked(
    project: Project, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(storage, "SMALL", 0)  # so that every object is a large one
    raw = project.path / "data" / "raw"
    text, place = (raw / "a.csv").read_text(), cache.path_of(cache.md5(raw / "a.csv"))
    known = {"md5": cache.md5(raw), "hash": "md5", "path": "raw", "size": len(text)}
    project.write("data/raw.dvc", {"outs": [known]})
    place.write_text(f"{text}abc" if kind == "another size" else text.replace("Y", "y"))
    for one in (place, cache.path_of(cache.md5(raw))):
        one.chmod(0o644 if kind == "unprotected" and one == place else 0o444)
    if kind == "checked out":
        remove(raw)

    [finding] = bad(storage.check)

    assert finding.sentence.startswith("the copy of data/raw in DVC's cache is damaged")
    if kind == "checked out":
        with pytest.raises(StoreError, match="damaged"):  # nor is it by a repair that was planned before
            storage._checkout(["data/raw"])
        assert not raw.exists()


def test_what_dvc_itself_removes_from_its_cache_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def status(seconds: float) -> list[str]:
        cache.path_of(cache.md5(project.path / "data" / "raw" / "a.csv")).unlink()
        return []

    monkeypatch.setattr(storage, "stale", status)

    [finding] = bad(storage.check)

    assert (finding.state, finding.command) == ("fault", "dvc pull data/raw")


def test_a_file_that_is_only_gone_from_a_folder_of_data_comes_back_and_is_no_change(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "stale", lambda seconds: ["data/raw.dvc", "look"])
    (project.path / "data" / "raw" / "a.csv").unlink()

    [finding] = bad(storage.check)

    assert finding.sentence.startswith("a.csv of data/raw is not here, and nothing else of it has changed")
    assert "dvc add data/raw && dvc repro" in finding.sentence
    project.shell(finding.command)
    assert (project.path / "data" / "raw" / "a.csv").read_text() == "key,churn\n1,Yes\n"
    (project.path / "data" / "raw" / "a.csv").unlink()
    project.write("data/raw/b.csv", "key,churn\n2,No\n")
    assert [one.command for one in bad(storage.check)] == ["dvc add data/raw && dvc repro"]


def test_locks_of_dead_processes_go_and_those_of_living_ones_stay(project: Project) -> None:
    project.write(dvc.RUNNING.as_posix(), {"read": {"data/raw": [{"pid": DEAD, "cmd": "dvc repro"}]}})
    [finding] = bad(storage.check)
    assert finding.repair is not None
    project.write(dvc.RUNNING.as_posix(), {"write": {"data/raw": {"pid": os.getpid(), "cmd": "dvc repro"}}})
    assert bad(storage.check) == []
    with pytest.raises(StoreError, match="left alone"):
        finding.repair.do()
    assert (project.path / dvc.RUNNING).exists()

    project.write(dvc.RUNNING.as_posix(), '{"read": {"da')
    [finding] = bad(storage.check)
    assert finding.repair is not None
    finding.repair.do()
    assert not (project.path / dvc.RUNNING).exists()


def test_a_lock_that_is_a_hard_link_outlives_its_process_and_is_removed(project: Project) -> None:
    (project.path / ".dvc" / "config").write_text("[core]\n    analytics = false\n    hardlink_lock = true\n")
    project.write(storage.LOCK.as_posix(), "claim")

    [finding] = bad(storage.check)
    assert finding.repair is not None
    finding.repair.do()

    assert bad(storage.check) == []


def test_a_dvc_lock_that_was_cut_off_is_resolved_and_a_stale_one_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "stale", lambda seconds: ["data/raw.dvc", "look"])
    assert [one.command for one in bad(storage.check)] == ["dvc add data/raw && dvc repro"]

    project.write("dvc.lock", "schema: '2.0'\nstag")
    assert [one.command for one in bad(storage.check)] == ["python -m mlops resolve"]


# ---- The registry


def test_a_store_is_compared_with_the_installed_mlflow_and_left_as_it_is(project: Project) -> None:
    database = project.path / "mlflow.db"
    known, heads = tracking.revisions()
    before = database.read_bytes()
    assert [one.state for one in found(tracking.check)] == ["fine"]
    assert database.read_bytes() == before

    project.store("UPDATE alembic_version SET version_num = ?", min(known - set(heads)))
    [finding] = bad(tracking.check)
    assert finding.state == "fault"
    assert finding.command.startswith("cp mlflow.db mlflow.db.before && mlflow db upgrade sqlite:///")

    project.store("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    [finding] = bad(tracking.check)
    assert "tables of a newer MLflow" in finding.sentence


def test_a_store_that_is_damaged_locked_or_none_is_told_so(project: Project) -> None:
    database = project.path / "mlflow.db"
    with sqlite3.connect(database, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert [one.state for one in bad(tracking.check)] == ["unknown"]
    other.close()
    database.write_bytes(b"no database at all, but long enough to be taken for a header" * 20)
    assert "is damaged" in bad(tracking.check)[0].sentence
    remove(database)
    sqlite3.connect(database).close()
    assert "lacks its tables" in bad(tracking.check)[0].sentence
    remove(database)
    assert bad(tracking.check) == []
    assert not database.exists()


def test_an_address_that_is_no_place_of_its_own_is_a_fault(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")

    [finding] = bad(tracking.check)

    assert (finding.state, finding.command) == ("fault", "unset MLFLOW_TRACKING_URI")


def test_a_run_that_nobody_finishes_is_named_with_the_command_that_deletes_it(project: Project) -> None:
    start = int((now() - timedelta(hours=50)).timestamp() * 1000)
    begun = int(now().timestamp() * 1000)
    for run in (("ab12", start, "RUNNING"), ("cd34", start, "FINISHED"), ("ef56", begun, "RUNNING")):
        project.store("INSERT INTO runs VALUES (?, ?, ?, 'active')", *run)

    [finding] = bad(tracking.check)

    assert finding.figures == {"runs": ["ab12"]}
    assert finding.command.endswith("mlflow runs delete --run-id ab12")


def test_the_revisions_of_mlflow_are_those_that_mlflow_itself_names() -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert tracking.revisions()[1] == [_get_latest_schema_revision()]


# ---- The machine


def test_packages_and_python_are_compared_with_the_lock(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "requirements.txt"
    monkeypatch.setattr(environment, "LOCK", lock)
    from importlib import metadata

    own = metadata.version("typer")
    lock.write_text(f"typer=={own} \\\n    --hash=sha256:aa\n")
    project.write(
        "pyproject.toml", '[project]\nname = "a"\nrequires-python = ">=3.11"\ndependencies = ["typer>=0.1"]\n'
    )
    assert bad(machine.check_environment) == []

    lock.write_text("typer==0.0.1 \\\n    --hash=sha256:aa\nrich==1.0\nno-such-package==1 \\\n    --hash=sha256:bb\n")
    project.write(
        "pyproject.toml", '[project]\nname = "a"\nrequires-python = ">=4"\ndependencies = ["typer>=0.1", "pandas"]\n'
    )
    told = [one.sentence for one in bad(machine.check_environment)]
    assert "the project needs >=4" in told[0]
    assert "rich in requirements.txt has no hash" in told[1]
    assert "asks for pandas, and" in told[2]
    assert f"typer is {own}, not 0.0.1" in told[3]
    assert "no-such-package is missing" in told[3]


def test_too_little_room_is_told_with_figures(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bad(machine.check_room) == []
    for free, how in ((500_000_000, "warning"), (1_000_000, "fault")):
        with monkeypatch.context() as patch:
            patch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
            [finding] = bad(machine.check_room)
        assert (finding.subject, finding.state) == ("disk", how)
        assert finding.figures["free_bytes"] == free
    monkeypatch.setattr(machine, "available_memory", lambda: 300_000_000)
    assert [one.subject for one in bad(machine.check_room)] == ["memory"]


def test_traits_of_a_file_system_that_bite_are_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bad(machine.check_file_system) == []
    monkeypatch.setattr(machine, "kind_of", lambda folder: "9p")
    monkeypatch.setattr(machine, "ignores_case", lambda folder: True)
    project.write("README.md", "a")
    project.write("Readme.md", "b")
    project.git("add", "README.md", "Readme.md")
    (project.path / ".dvc" / "config").write_text("[cache]\n    type = symlink\n")
    monkeypatch.setattr(Path, "symlink_to", lambda *_: (_ for _ in ()).throw(PermissionError()))

    told = bad(machine.check_file_system)

    assert [one.state for one in told] == ["warning", "fault", "warning"]
    assert "SQLite do not hold" in told[0].sentence
    assert "Readme.md" in told[1].sentence
    assert "no link can be made" in told[2].sentence


def test_edits_of_the_machinery_are_named_file_by_file_and_line_ends_are_none(project: Project) -> None:
    place = project.path / "mlops" / "base" / "files.py"
    place.write_bytes(place.read_bytes().replace(b"\n", b"\r\n"))
    assert bad(machinery.check) == []

    project.write("mlops/base/files.py", "print('mine')\n")
    project.commit("An edit")
    project.write("mlops/base/mine.py", "print()\n")
    remove(project.path / "mlops" / "VERSION")
    told = bad(machinery.check)

    assert [(one.state, one.figures.get("file")) for one in told] == [
        ("fault", "VERSION"),
        ("warning", "base/files.py"),
        ("warning", None),
    ]
    assert told[2].figures == {"added": ["base/mine.py"]}
    assert told[2].command == "mv mlops/base/mine.py project/"  # Git does not know it
    project.git("add", "--all")
    assert bad(machinery.check)[2].command == "git mv mlops/base/mine.py project/"
    for finding in told[:2]:
        project.shell(finding.command)
    assert [one.figures for one in bad(machinery.check)] == [{"added": ["base/mine.py"]}]
    remove(project.path / "mlops" / "MANIFEST")
    assert [one.state for one in bad(machinery.check)] == ["unknown"]


# ---- Leftovers


def test_leftovers_of_dead_processes_go_and_nothing_else(project: Project) -> None:
    own = f".retrain/clones/{os.getpid()}/a"
    young, tracked = f"models/.b.json.{DEAD}.part", f"reports/.kept.json.{DEAD}.part"
    people = [f"data/{name}/.sales.2024.part" for name in ("raw", "incoming", "events")]
    kept = [f"reports/.a.json.{os.getpid()}.part", own, "data/b.part", ".dvc/tmp/sweeps/plan/notes.txt"]
    kept += [young, tracked, *people, f"notes/.sales.{DEAD}.part"]
    gone = [f"reports/.a.json.{DEAD}.part", f".retrain/clones/{DEAD}/a", f".dvc/tmp/sweeps/plan/{DEAD}-0/a"]
    for name in (*kept, *gone):
        project.write(name, "a")
        if name not in (young, "data/b.part"):
            os.utime(project.path / name, (TWO_DAYS_AGO, TWO_DAYS_AGO))
    project.git("add", "--force", tracked)
    before = project.snapshot()

    for finding in bad(leftovers.check):
        if finding.repair:
            finding.repair.do()

    assert before.keys() - project.snapshot().keys() == set(gone)
    told = [(one.command, one.repair) for one in bad(leftovers.check)]
    assert told == [(f"ls -ld notes/.sales.{DEAD}.part", None)]


def test_what_was_half_written_for_a_day_is_told_and_left(project: Project) -> None:
    project.write("reports/b.csv.part", "a")
    os.utime(project.path / "reports" / "b.csv.part", (TWO_DAYS_AGO, TWO_DAYS_AGO))

    [finding] = bad(leftovers.check)

    assert finding.repair is None
    project.shell(finding.command)
    assert bad(leftovers.check) == []


def test_a_retraining_and_a_route_that_nobody_goes_on_with_are_told(project: Project) -> None:
    Journal({}, "0" * 40, steps={"take": {}}).write()
    with state.opened(Path("serving")) as connection:
        assert state.route(connection) is None
        told = [one.sentence for one in bad(leftovers.check)]
        assert len(told) == 1
        assert "a retraining stopped after take" in told[0]
        route = routing.Route("r1", "canary", champion="1", challenger="2", steps=(0.1, 0.5))
        state.change(connection, route, who="Ada", reason="better")
    files.write_text(Path("serving/models/.abc.part/model.pkl"), "half")

    several = bad(leftovers.check)

    assert "canary, step 1 of 2" in several[2].sentence
    assert several[1].repair is not None
    several[1].repair.do()
    assert not Path("serving/models/.abc.part").exists()


def test_who_writes_commits_is_no_secret() -> None:
    environ = {"GIT_AUTHOR_EMAIL": "ann@example.org", "GIT_AUTHOR_NAME": "Ann of the team", "NPM_AUTH": "abcdefgh1234"}

    assert credentials.known(environ) == {"abcdefgh1234"}


def test_the_password_in_any_address_is_a_secret() -> None:
    environ = {"MLOPS_EVENTS": "redis://:a%2Fb-c-d-e-1@host?prefix=churn", "HOMEPAGE": "https://example.org/a?by=ann@b"}

    assert credentials.known(environ) == {environ["MLOPS_EVENTS"], "a%2Fb-c-d-e-1", "a/b-c-d-e-1"}
