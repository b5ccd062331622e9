"""A clone has the state that it was asked for, and the work tree is as it was; Git is real, DVC is not needed."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from dvc.config import Config
from mlops.base.errors import StoreError
from mlops.history import cache, clones, dvc, git


def checked_out(state: clones.State, folder: Path) -> Path:
    git.run("clone", "--quiet", "--shared", "--no-checkout", ".", str(folder))
    clones.restore(state, folder)
    return folder


def texts(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.relative_to(folder).parts)
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_without_a_commit_there_is_nothing_to_freeze(handmade: Any) -> None:
    with pytest.raises(StoreError, match="there is no commit to start from"):
        clones.frozen()


def test_a_file_that_was_written_again_as_it_was_is_no_change(handmade: Any) -> None:
    commit = handmade.commit()
    os.utime(handmade.path / "code.py", (0, 0))

    assert clones.frozen() == clones.State(commit, "")


def test_an_index_that_another_command_holds_is_waited_for(handmade: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, lock = handmade.commit(), handmade.path / ".git" / "index.lock"
    handmade.write("code.py", "changed\n")
    monkeypatch.setattr(clones, "ATTEMPTS", 3)
    lock.touch()
    monkeypatch.setattr(clones.time, "sleep", lambda _: None)
    with pytest.raises(StoreError, match=r"locked: let the command that uses it end, or delete .*index\.lock"):
        clones.frozen()
    monkeypatch.setattr(clones.time, "sleep", lambda _: lock.unlink(missing_ok=True))

    state = clones.frozen()

    assert state.commit == commit != state.changes != ""


def test_what_is_changed_staged_or_gone_is_frozen_and_the_work_tree_stays(handmade: Any, tmp_path: Path) -> None:
    handmade.write("gone.py", "old\n")
    commit = handmade.commit()
    handmade.write("code.py", "changed\n")
    handmade.write("new/staged.py", "staged\n")
    handmade.git("add", "new")
    (handmade.path / "gone.py").unlink()
    handmade.write("unknown.py", "Git does not know me\n")
    before, said = texts(handmade.path), handmade.git("status", "--porcelain")

    state = clones.frozen()
    handmade.write("code.py", "changed once more\n")
    clone = texts(checked_out(state, tmp_path / "clone"))

    assert state.commit == commit
    assert clone == {name: text for name, text in before.items() if name != "unknown.py"}
    assert clone["code.py"] == "changed\n"
    assert handmade.git("status", "--porcelain") == said
    assert clones.untracked() == ["unknown.py"]


def test_a_clone_that_was_used_is_put_back_to_its_state(handmade: Any, tmp_path: Path) -> None:
    handmade.commit()
    handmade.write("code.py", "changed\n")
    state = clones.frozen()
    clone = checked_out(state, tmp_path / "clone")
    before = texts(clone)
    (clone / "code.py").write_text("by an experiment\n", encoding="utf-8")
    (clone / "requirements.txt").unlink()
    (clone / "left").mkdir()
    (clone / "left" / "over.txt").write_text("here\n", encoding="utf-8")

    clones.restore(state, clone)

    assert texts(clone) == before


def test_what_runs_in_a_clone_is_no_part_of_an_experiment_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_ROOT"):
        monkeypatch.setenv(name, "outside")

    found = clones.environment(DVC_EXP_NAME="inside")

    assert found["DVC_EXP_NAME"] == "inside"
    assert not {"DVC_EXP_BASELINE_REV", "DVC_ROOT"} & found.keys()


def test_a_clone_shares_the_cache_at_any_path_and_keeps_the_local_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "größe 100%20? #'\"%(x)s"
    clone = project / ".dvc" / "tmp" / "sweep" / "clone"
    for folder in (project, clone):
        (folder / ".dvc").mkdir(parents=True)
    (project / ".dvc" / "config").write_text("", encoding="utf-8")
    local = "[cache]\n    type = symlink\n['remote \"größe\"']\n    url = /srv/größe\n"
    (project / clones.LOCAL).write_text(local, encoding="utf-8")
    monkeypatch.chdir(project)
    cache.folder.cache_clear()
    shared = cache.folder()

    clones._share_cache(clone)

    monkeypatch.chdir(clone)
    cache.folder.cache_clear()
    assert cache.folder() == shared
    found = Config(".dvc")
    assert found["cache"]["type"] == ["symlink"]
    assert found["remote"]["größe"]["url"] == "/srv/größe"
    cache.folder.cache_clear()


def test_in_a_folder_with_a_brace_the_reason_is_said(tmp_path: Path) -> None:
    (tmp_path / "a{b").mkdir()

    with pytest.raises(StoreError, match="DVC cannot work below a folder with a brace in its name"):
        dvc.run("version", hint="nothing was changed", cwd=tmp_path / "a{b")


def test_an_interruption_ends_all_that_a_command_in_a_clone_has_started(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    stop = threading.Event()
    command = ["sh", "-c", "sleep 60 & echo $! >child; touch started; wait"]

    def ended() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=ended)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job has not
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            clones.run(command, tmp_path, dict(os.environ), stop)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)

    child = int((tmp_path / "child").read_text())
    for _ in range(1000):  # a process that is killed takes a moment to be gone
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    pytest.fail("the child is still running")


def test_the_clones_of_killed_processes_are_removed_and_those_of_others_stay(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    names = [f"{gone.pid}-0", f"{os.getppid()}-0", f"{os.getpid()}-0", "mine"]
    for name in names:
        (tmp_path / name).mkdir()

    clones._remove_left(tmp_path / names[2])

    assert {path.name for path in tmp_path.iterdir()} == {names[1], "mine"}
