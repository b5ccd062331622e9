"""Versions of the data: read from Git and DVC, and any of them checked out beside the work tree."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from mlops.__main__ import app
from mlops.base.errors import ProjectError
from mlops.history import cache, data_versions, revisions
from typer.testing import CliRunner, Result

from tests.conftest import PROJECT, TEMPLATE

DVC = [sys.executable, "-m", "dvc"]


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path, name: str, rows: int, message: str) -> None:
    """One more file of so many rows, as a version."""
    pd.DataFrame({"x": range(rows)}).to_csv(folder / "data" / "raw" / f"{name}.csv", index=False)
    run(folder, *DVC, "add", "--quiet", "data/raw")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", message)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project inside a larger repository, with three versions of its data, and a commit that has none."""
    root = tmp_path_factory.mktemp("repository")
    folder = root / "project"
    (folder / "data" / "raw").mkdir(parents=True)
    run(root, "git", "init", "--quiet")
    run(root, "git", "config", "user.name", "Ada")
    run(root, "git", "config", "user.email", "ada@localhost")
    run(folder, *DVC, "init", "--quiet", "--subdir")
    run(folder, *DVC, "config", "core.analytics", "false")
    commit(folder, "january", 10, "January")
    run(root, "git", "tag", "v1")
    commit(folder, "february", 20, "February | with a bar")
    (folder / "note.txt").write_text("x")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "No data")
    commit(folder, "march", 30, "March")
    return root


@pytest.fixture
def project(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the test stands."""
    shutil.copytree(repository, tmp_path / "repository")
    monkeypatch.chdir(tmp_path / "repository" / "project")
    for remembered in (data_versions._rows, data_versions._rows_of_file, cache.folder):
        remembered.cache_clear()
    return tmp_path / "repository" / "project"


def data(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", *arguments])


def tree(folder: Path) -> str:
    return run(folder, "git", "status", "--porcelain", "--ignored") + run(folder, "git", "rev-parse", "HEAD")


def test_the_log_has_every_version_with_its_rows_and_who_made_it(project: Path) -> None:
    found = json.loads(data("log", "--json").output)

    assert [(version["number"], version["files"], version["rows"]) for version in found] == [
        (1, 1, 10),
        (2, 2, 30),
        (3, 3, 60),
    ]
    assert [version["message"] for version in found] == ["January", "February | with a bar", "March"]
    assert {version["who"] for version in found} == {"Ada"}
    assert [version["tags"] for version in found] == [["v1"], [], []]
    assert found[0]["size"] == (project / "data" / "raw" / "january.csv").stat().st_size
    assert len({version["digest"] for version in found}) == 3


def test_the_log_for_people_is_a_line_a_version(project: Path) -> None:
    lines = data("log").output.splitlines()

    assert len(lines) == 4
    assert "data/raw 1 (v1)" in lines[1]
    assert "January" in lines[1]


def test_what_is_not_committed_yet_is_the_last_version(project: Path) -> None:
    pd.DataFrame({"x": [1]}).to_csv(project / "data" / "raw" / "april.csv", index=False)
    run(project, *DVC, "add", "--quiet", "data/raw")

    last = json.loads(data("log", "--json").output)[-1]

    assert (last["number"], last["commit"], last["rows"]) == (4, revisions.WORK_TREE, 61)


def test_rows_of_data_that_is_not_here_are_not_guessed(project: Path) -> None:
    shutil.rmtree(project / ".dvc" / "cache")

    done = data("log")

    assert json.loads(data("log", "--json").output)[0]["rows"] is None
    assert "python -m mlops data get" in done.output


@pytest.mark.parametrize("name", ["2", "HEAD~1", "digest", "commit"])
def test_a_version_is_found_by_each_of_its_names_and_leaves_the_tree_alone(project: Path, name: str) -> None:
    second = json.loads(data("log", "--json").output)[1]
    name = {"digest": second["digest"][:6], "commit": second["commit"]}.get(name, name)
    before = tree(project)

    done = data("get", name, "--to", "../elsewhere/old")

    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("../elsewhere/old").iterdir()) == ["february.csv", "january.csv"]
    shutil.rmtree("../elsewhere")
    assert tree(project) == before


@pytest.mark.parametrize("words", [("data/raw", "2"), ("data/raw/", "2"), ("2", "data/raw")])
def test_a_version_is_named_as_the_log_names_it(project: Path, words: tuple[str, str]) -> None:
    done = data("get", *words, "--dry-run")

    assert done.output.startswith("version 2 of data/raw (")


@pytest.mark.parametrize("words", [("1", "2"), ("data/raw",), ("data/raw", "data/incoming", "1"), ("data/other", "1")])
def test_what_names_no_version_or_several_is_one_sentence(project: Path, words: tuple[str, ...]) -> None:
    done = data("get", *words)

    assert isinstance(done.exception, ProjectError)
    assert f"{' '.join(words)} is not one version: give data/raw or data/incoming" in str(done.exception)


def test_a_version_of_the_other_folder_is_looked_for_there(project: Path) -> None:
    assert "1 is no version of data/incoming" in str(data("get", "data/incoming", "1").exception)


def test_a_version_is_laid_beside_the_data_by_default(project: Path) -> None:
    data("get", "v1")

    assert pd.read_csv("data/raw-1/january.csv")["x"].tolist() == list(range(10))


def test_a_dry_run_only_says_where_it_would_be(project: Path) -> None:
    done = data("get", "1", "--dry-run")

    assert "would be in data/raw-1" in done.output
    assert not Path("data/raw-1").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("9", "9 is no version of data/raw: give a number from 1 to 3"),
        ("nothing", "nothing is no version of data/raw"),
        ("", "is no version of data/raw"),
    ],
)
def test_a_name_of_no_version_is_one_sentence(project: Path, name: str, sentence: str) -> None:
    done = data("get", name)

    assert isinstance(done.exception, ProjectError)
    assert sentence in str(done.exception)


def test_a_folder_that_is_there_is_left_alone(project: Path) -> None:
    Path("data/raw-1").mkdir()

    done = data("get", "1")

    assert "data/raw-1 is there already" in str(done.exception)
    assert list(Path("data/raw-1").iterdir()) == []


def test_a_version_that_is_nowhere_leaves_nothing_behind(project: Path) -> None:
    shutil.rmtree(project / ".dvc" / "cache")

    done = data("get", "1")

    assert isinstance(done.exception, ProjectError)
    assert "version " in str(done.exception)
    assert "is neither in DVC's cache nor to be had from the remote" in str(done.exception)
    assert sorted(path.name for path in (project / "data").iterdir()) == [".gitignore", "raw", "raw.dvc"]


def test_a_clone_with_a_part_of_the_history_says_so(project: Path) -> None:
    run(project.parent.parent, "git", "clone", "--quiet", "--depth=1", f"file://{project.parent}", "shallow")
    shutil.copytree(project / ".dvc" / "cache", project.parent.parent / "shallow" / "project" / ".dvc" / "cache")

    done = subprocess.run(
        [sys.executable, "-m", "mlops", "data", "log"],
        cwd=project.parent.parent / "shallow" / "project",
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(TEMPLATE / PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "git fetch --unshallow" in done.stdout


def logged(folder: str = "data/raw") -> list[dict[str, object]]:
    found = json.loads(data("log", "--json").output)
    return [version for version in found if version["folder"] == folder]


def test_a_tag_on_a_later_commit_is_a_tag_of_the_version_that_it_has(project: Path) -> None:
    run(project, "git", "tag", "released", "HEAD~1")  # the commit "No data"

    assert [version["tags"] for version in logged()] == [["v1"], ["released"], []]


def test_a_merge_makes_a_version_only_of_data_that_no_parent_has(project: Path) -> None:
    run(project, "git", "checkout", "--quiet", "-b", "side", "HEAD~1")
    run(project, *DVC, "checkout", "--quiet", "--force")
    commit(project, "april", 40, "April on a side branch")
    run(project, "git", "checkout", "--quiet", "-")
    run(project, "git", "merge", "--quiet", "--strategy", "ours", "--message", "Merge", "side")
    run(project, *DVC, "checkout", "--quiet", "--force")

    assert sorted(str(version["message"]) for version in logged()) == [
        "April on a side branch",
        "February | with a bar",
        "January",
        "March",
    ]


def test_a_branch_beside_the_history_is_found_by_name(project: Path) -> None:
    run(project, "git", "checkout", "--quiet", "-b", "other")
    commit(project, "april", 40, "April")
    run(project, "git", "checkout", "--quiet", "-")
    run(project, *DVC, "checkout", "--quiet", "--force")

    done = data("get", "other", "--to", "there")

    assert done.exit_code == 0
    assert sorted(path.name for path in (project / "there").iterdir()) == [
        "april.csv",
        "february.csv",
        "january.csv",
        "march.csv",
    ]
    assert len(logged()) == 3


def test_a_name_of_two_versions_is_not_guessed(project: Path) -> None:
    run(project, "git", "tag", "3", "HEAD~3")

    done = data("get", "3")

    assert "3 may be each of the versions 3 (" in str(done.exception)
    assert not (project / "data" / "raw-3").exists()


def test_versions_of_a_project_that_was_moved_are_found_and_fetched(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(project.parent, "git", "mv", "project", "moved")
    run(project.parent, "git", "commit", "--quiet", "--message", "Move")
    monkeypatch.chdir(project.parent / "moved")

    assert [version["message"] for version in logged()] == ["January", "February | with a bar", "March"]
    assert data("get", "1").exit_code == 0
    assert [path.name for path in Path("data", "raw-1").iterdir()] == ["january.csv"]


def test_a_version_comes_from_the_remote_when_the_cache_is_gone(project: Path, tmp_path: Path) -> None:
    run(project, *DVC, "remote", "add", "--quiet", "--default", "storage", str(tmp_path / "storage"))
    (project / ".dvc" / "cache").rename(tmp_path / "storage")

    done = data("get", "2")

    assert done.exception is None, done.exception

    assert len(pd.read_csv(project / "data" / "raw-2" / "february.csv")) == 20


def test_a_commit_with_the_marks_of_a_merge_in_its_file_is_no_version(project: Path) -> None:
    good = (project / "data" / "raw.dvc").read_text()
    (project / "data" / "raw.dvc").write_text(f"<<<<<<< HEAD\n{good}=======\n{good}>>>>>>> side\n")
    run(project, "git", "commit", "--quiet", "--all", "--message", "Oh no")
    (project / "data" / "raw.dvc").write_text(good)
    run(project, "git", "commit", "--quiet", "--all", "--message", "Mended")

    assert {version["digest"] for version in logged()[2:]} == {logged()[2]["digest"]}


def test_a_project_without_a_commit_has_the_work_tree_only(project: Path) -> None:
    shutil.rmtree(project.parent / ".git")
    run(project.parent, "git", "init", "--quiet")

    assert [version["commit"] for version in logged()] == ["work tree"]
