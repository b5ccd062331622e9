"""Merges that conflict in what a pipeline writes, in small repositories of Git and DVC."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlops.__main__ import app
from mlops.base.errors import StoreError
from mlops.history import dvc, revisions
from typer.testing import CliRunner, Result

DVC = [sys.executable, "-m", "dvc"]
# One stage that writes a report of both of its inputs, and a folder with a file for each of their lines; "bad" fails.
PIPELINE = """\
stages:
  report:
    cmd: >-
      ! grep bad left right &&
      cat left right > report && mkdir parts && for line in `cat report`; do echo $line > parts/$line; done
    deps: [left, right]
    metrics:
      - report: {cache: false}
    outs:
      - parts: {cache: false}
"""


def run(folder: Path, *command: str, fails: bool = False) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert fails == (done.returncode != 0), f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def commit(folder: Path, **contents: str) -> None:
    """Commit new contents of files, with what the pipeline makes of them."""
    for name, content in contents.items():
        (folder / name).write_text(content)
    run(folder, *DVC, "repro", "--quiet")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", f"{contents}")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project on its branch `mine`, where `theirs` has changed the other input."""
    folder = tmp_path_factory.mktemp("repository") / "project"
    folder.mkdir()
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "config", "user.name", "Ada")
    run(folder, "git", "config", "user.email", "ada@localhost")
    run(folder, *DVC, "init", "--quiet")
    run(folder, *DVC, "config", "core.analytics", "false")
    run(folder, *DVC, "config", "core.autostage", "true")
    (folder / "dvc.yaml").write_text(PIPELINE)
    commit(folder, left="a\n", right="b\n", params="x\n")
    run(folder, "git", "switch", "--quiet", "--create", "theirs")
    commit(folder, right="theirs\n")
    run(folder, "git", "switch", "--quiet", "--create", "mine", "HEAD~1")
    commit(folder, left="mine\n")
    return folder


@pytest.fixture
def project(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the test stands."""
    copy = shutil.copytree(repository, tmp_path / "project")
    monkeypatch.chdir(copy)
    return copy


def resolve(*options: str) -> Result:
    return CliRunner().invoke(app, ["resolve", *options])


def refusal() -> str:
    """The sentence with which the command ends."""
    done = resolve()
    assert isinstance(done.exception, StoreError), done.output
    return str(done.exception)


def state(folder: Path) -> str:
    return run(folder, "git", "status", "--porcelain") + run(folder, "git", "ls-files", "--stage") + everything(folder)


def everything(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob("*")) if path.is_file())


def is_resolved(folder: Path) -> bool:
    """Whether both sides are in the results, and nothing is left to do but to commit."""
    assert (folder / "report").read_text() == "mine\ntheirs\n"
    assert sorted(path.name for path in (folder / "parts").iterdir()) == ["mine", "theirs"]
    run(folder, "git", "commit", "--quiet", "--no-edit")
    assert run(folder, "git", "status", "--porcelain") == ""
    return run(folder, *DVC, "status") == "Data and pipelines are up to date.\n"


def test_without_a_conflict_nothing_is_done(project: Path) -> None:
    before = state(project)

    done = resolve()

    assert done.exit_code == 0
    assert done.output == "no file is in conflict\n"
    assert state(project) == before


def test_a_merge_ends_with_the_results_of_both_sides(project: Path) -> None:
    run(project, "git", "merge", "theirs", fails=True)
    assert "UU dvc.lock" in state(project)
    assert "UU report" in state(project)

    done = resolve()

    assert done.exit_code == 0
    assert "resolved: dvc.lock, " in done.output
    assert done.output.endswith("go on with `git commit`\n")
    assert is_resolved(project)


def test_a_dry_run_names_the_files_and_changes_nothing(project: Path) -> None:
    run(project, "git", "merge", "theirs", fails=True)
    before = state(project)

    done = resolve("--dry-run")

    assert done.output.startswith("to be written again by the pipeline: dvc.lock, ")
    assert state(project) == before


def test_a_file_that_one_side_deleted_is_no_obstacle(project: Path) -> None:
    run(project, "git", "rm", "--quiet", "report", "parts/b")
    run(project, "git", "commit", "--quiet", "--message", "Delete")
    run(project, "git", "merge", "theirs", fails=True)
    assert "DU report" in state(project)

    assert resolve().exit_code == 0

    assert is_resolved(project)


def test_files_that_no_pipeline_writes_are_named_and_all_stays_as_it_is(project: Path) -> None:
    for branch in ("theirs", "mine"):
        run(project, "git", "switch", "--quiet", branch)
        (project / "params").write_text(branch)
        run(project, "git", "commit", "--quiet", "--all", "--message", "Params")
    run(project, "git", "merge", "theirs", fails=True)
    before = state(project)

    said = refusal()

    assert "not written by the pipeline: params; mend" in said
    assert "dvc.lock" not in said
    assert state(project) == before


def test_a_pipeline_in_conflict_is_named_first(project: Path) -> None:
    for branch in ("theirs", "mine"):
        run(project, "git", "switch", "--quiet", branch)
        (project / "dvc.yaml").write_text(f"# {branch}\n{PIPELINE}")
        run(project, "git", "commit", "--quiet", "--all", "--message", "Pipeline")
    run(project, "git", "merge", "theirs", fails=True)

    assert "not written by the pipeline: dvc.yaml; mend" in refusal()


def test_a_pipeline_that_fails_leaves_a_conflict_to_be_resolved_again(project: Path) -> None:
    run(project, "git", "merge", "theirs", fails=True)
    (project / "left").write_text("bad\n")

    said = refusal()
    conflicts = run(project, "git", "diff", "--name-only", "--diff-filter=U").split()
    (project / "left").write_text("mine\n")
    again = resolve()

    assert "`dvc repro` failed" in said
    assert {"dvc.lock", "report"} <= set(conflicts)
    assert again.exit_code == 0
    assert is_resolved(project)


def test_a_rebase_goes_on_as_a_rebase(project: Path) -> None:
    run(project, "git", "rebase", "theirs", fails=True)

    done = resolve()
    run(project, "git", "-c", "core.editor=true", "rebase", "--continue")

    assert done.output.endswith("go on with `git rebase --continue`\n")
    assert (project / "report").read_text() == "mine\ntheirs\n"
    assert run(project, *DVC, "status") == "Data and pipelines are up to date.\n"


def deliver(folder: Path, name: str) -> None:
    """Commit one more file of data."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / name).write_text(name)
    run(folder, *DVC, "add", "--quiet", "data")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", name)


def test_data_that_came_with_the_merge_is_laid_out_and_not_undone(project: Path) -> None:
    run(project, "git", "switch", "--quiet", "--create", "with-data", "HEAD~1")
    deliver(project, "january")
    for branch, base in (("theirs", "with-data"), ("mine", "with-data")):
        run(project, "git", "switch", "--quiet", branch)
        run(project, "git", "rebase", "--quiet", base)
        run(project, *DVC, "checkout", "--quiet")
    run(project, "git", "switch", "--quiet", "theirs")
    deliver(project, "february")
    run(project, "git", "switch", "--quiet", "mine")
    run(project, *DVC, "checkout", "--quiet")
    run(project, "git", "merge", "theirs", fails=True)
    assert not (project / "data" / "february").exists()

    assert resolve().exit_code == 0

    assert (project / "data" / "february").exists()
    assert is_resolved(project)
    assert run(project, "git", "diff", "theirs", "--", "data.dvc") == ""


def test_data_in_conflict_is_refused_with_commands_that_work(project: Path) -> None:
    run(project, "git", "switch", "--quiet", "theirs")
    deliver(project, "february")
    run(project, "git", "switch", "--quiet", "mine")
    shutil.rmtree(project / "data", ignore_errors=True)
    deliver(project, "march")
    run(project, "git", "merge", "theirs", fails=True)

    said = refusal()
    take, add = said.split("`")[3], "git add data.dvc"
    run(project, "sh", "-c", f"{take} && {add}")

    assert "not written by the pipeline: data.dvc; mend" in said
    assert take == "git checkout --ours data.dvc"
    assert resolve().exit_code == 0
    assert [path.name for path in (project / "data").iterdir()] == ["march"]
    assert is_resolved(project)


@pytest.mark.parametrize("length", [0, 100])
def test_a_lock_that_was_cut_off_is_brought_back_with_what_is_stale(project: Path, length: int) -> None:
    good = (project / "dvc.lock").read_text()
    (project / "left").write_text("newer\n")
    (project / "dvc.lock").write_text(good[:length])
    (project / ".dvc" / "tmp" / "rwlock").write_text("{")

    with pytest.raises(
        StoreError, match=r"dvc.lock of work tree ends too early.*`python -m mlops resolve` brings back"
    ):
        assert revisions.find("").digests
    dry = resolve("--dry-run")
    done = resolve()

    assert "to be brought back: .dvc/tmp/rwlock, dvc.lock" in dry.output
    assert (
        "brought back as Git has it: .dvc/tmp/rwlock, dvc.lock\nstale now: report; go on with `dvc repro`"
        in done.output
    )
    assert (project / "dvc.lock").read_text() == good
    assert run(project, *DVC, "repro")


def test_a_cut_off_file_that_git_has_staged_is_the_staged_one_and_an_unknown_one_is_made_anew(project: Path) -> None:
    deliver(project, "january")
    (project / "data" / "february").write_text("february")
    run(project, *DVC, "add", "--quiet", "data")
    staged = (project / "data.dvc").read_text()
    (project / "data.dvc").write_text(staged[: len(staged) // 2])
    with pytest.raises(StoreError, match=r"data\.dvc of work tree ends too early"):
        revisions.find("").data("data")
    with pytest.raises(
        StoreError, match=r"`dvc status` failed.*`python -m mlops resolve` brings back the last good one"
    ):
        dvc.run("status", hint="nothing")

    done = resolve()

    assert done.output == "cut off while DVC wrote it, and brought back as Git has it: data.dvc\nnothing is stale\n"
    assert (project / "data.dvc").read_text() == staged


def test_a_merge_in_which_the_pipeline_was_killed_is_resolved_all_the_same(project: Path) -> None:
    run(project, "git", "merge", "theirs", fails=True)
    lock = (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(lock[:50])

    assert resolve().exit_code == 0

    assert is_resolved(project)


def test_what_dvc_was_doing_when_it_was_killed_stops_no_command(project: Path) -> None:
    (project / ".dvc" / "tmp" / "rwlock").write_text("{")
    (project / "new").write_text("new")

    dvc.run("add", "new", hint="nothing")

    assert (project / "new.dvc").exists()
