"""Upgrades of a small project, from a template of a few files that is rendered by copying them."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlops.base import files
from mlops.base.errors import StoreError
from mlops.commands import upgrade as command
from mlops.history import git, template
from mlops.history.commands import Done

FILES = {
    "README.md": "# Churn\n\nWhat to do.\n",
    "params.yaml": "train:\n  folds: 5\n",
    "dvc.yaml": "stages: {}\n",
    "docs/a.md": "About a.\n",
    "docs/b.md": "About b.\n",
    "mlops/VERSION": "1.0.0\n",
}
CHANGES = {
    "README.md": "# Churn\n\nWhat to do now.\n",
    "docs/b.md": "More about b.\n",
    "docs/über.md": "New.\n",
    "tools/run.sh": "run\n",
    "mlops/VERSION": "2.0.0\n",
}


def write(folder: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        files.write_text(folder / name, text)


@dataclass(frozen=True)
class Team:
    """A template whose versions are v1.0.0 and v2.0.0, and a project of the first one, in which the test stands."""

    template: Path
    project: Path

    def git(self, *arguments: str, at: Path | None = None) -> str:
        done = subprocess.run(["git", *arguments], cwd=at or self.project, check=True, capture_output=True, text=True)
        return done.stdout.strip("\n")

    def commit(self, contents: dict[str, str], tag: str = "", at: Path | None = None) -> str:
        """Write files, and commit everything; the commit."""
        write(at or self.project, contents)
        self.git("add", "--all", at=at)
        self.git("commit", "--quiet", "--allow-empty", "--message", "Change", at=at)
        if tag:
            self.git("tag", tag, at=at)
        return self.git("rev-parse", "HEAD", at=at)

    def release(self, contents: dict[str, str], tag: str = "") -> str:
        return self.commit({f"made/{name}": text for name, text in contents.items()}, tag, self.template)

    def status(self, *options: str) -> dict[str, str]:
        lines = self.git("-c", "core.quotePath=false", "status", "--porcelain", *options).splitlines()
        return {line[3:]: line[:2] for line in lines}

    def origin(self) -> dict[str, str]:
        return files.read_json(self.project / template.ORIGIN)


def copied(clone, commit, answers, to):
    """What stands for `template.render`; version 2 asks a question that is new."""
    git.run("-C", str(clone), "checkout", "--quiet", "--detach", commit)
    shutil.copytree(clone / "made", to / "made" / "churn", symlinks=True)
    asked = {"region": "eu"} if (clone / "made" / "tools").exists() else {}
    return to / "made" / "churn", {"setup": "no"} | asked | answers


def in_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(folder / "config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of both, to be copied."""
    folder = tmp_path_factory.mktemp("upgrade")
    team = Team(folder / "template", folder / "churn")
    files.write_text(folder / "config", "[user]\n\tname = Ada\n\temail = ada@localhost\n")
    with pytest.MonkeyPatch.context() as monkeypatch:
        in_order(folder, monkeypatch)
        for path in (team.template, team.project):
            team.git("init", "--quiet", "--initial-branch", "main", str(path), at=folder)
        first = team.release(FILES, "v1.0.0")
        team.release(CHANGES, "v2.0.0")
        facts = {"template": "../template", "commit": first, "checkout": None, "directory": None}
        facts |= {"context": {"cookiecutter": {"project": "churn", "setup": "here"}}}
        team.commit(FILES | {".cruft.json": json.dumps(facts, indent=2), ".gitignore": "*.log\n"})
    return folder


@pytest.fixture
def team(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    in_order(tmp_path, monkeypatch)
    monkeypatch.setattr(template, "render", copied)
    monkeypatch.chdir(tmp_path / "churn")
    return Team(tmp_path / "template", tmp_path / "churn")


EVERYTHING = {
    ".cruft.json": "M ",
    "README.md": "M ",
    "docs/b.md": "M ",
    "docs/über.md": "A ",
    "mlops/VERSION": "M ",
    "tools/run.sh": "A ",
}


def test_an_upgrade_is_staged_and_reset_takes_it_back(team, capsys, monkeypatch):
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")  # of repositories that are made, as of Git 3

    command.upgrade()

    assert team.status() == EVERYTHING
    assert team.origin()["commit"] == team.git("rev-parse", "v2.0.0", at=team.template)
    assert "5 files changed there" in capsys.readouterr().out
    team.git("reset", "--quiet", "--hard")
    assert team.status("--ignored") == {}


def test_a_dry_run_looks_at_changes_that_are_not_committed_and_an_upgrade_refuses_them(team, capsys):
    write(team.project, {"README.md": "Mine.\n", "pyproject.toml": '[tool.cruft]\nskip = ["tools"]\n'})
    team.git("rm", "--quiet", "docs/b.md")
    before = team.status()

    command.upgrade(dry_run=True)

    printed = capsys.readouterr().out
    assert "3 files changed there" in printed
    assert "left out, since Git has no such file here: docs/b.md" in printed
    with pytest.raises(StoreError, match=r"^README\.md has changes that are not committed"):
        command.upgrade()
    assert team.status() == before
    assert (team.project / "README.md").read_text() == "Mine.\n"


def test_a_project_in_a_folder_of_a_repository_is_upgraded_there(team, tmp_path, monkeypatch, capsys):
    (team.project / ".git").rename(tmp_path / ".git")
    files.write_text(tmp_path / ".git" / "info" / "exclude", "/config\n/template\n")
    team.project.rename(tmp_path / "projet à moi")
    team = Team(team.template, tmp_path / "projet à moi")
    monkeypatch.chdir(team.project)
    write(tmp_path, {"README.md": "# All of us\n", "docs/b.md": "About b.\n"})
    team.git("add", "--all", at=tmp_path)
    team.commit({"README.md": "# Our churn\n\nWhat to do.\n", "docs/b.md": "Own words.\n"})

    with pytest.raises(SystemExit):
        command.upgrade()

    expected = EVERYTHING | {"docs/b.md": "UU"}
    assert team.status() == {f'"projet à moi/{name}"': letters for name, letters in expected.items()}
    assert (team.project / "README.md").read_text() == "# Our churn\n\nWhat to do now.\n"
    assert "1. resolve docs/b.md, and `git add docs/b.md`\n2. `git diff --cached`" in capsys.readouterr().out


def test_what_git_has_no_file_of_is_left_out_and_named_with_its_change(team, capsys):
    team.git("mv", "README.md", "READ ME.md")
    team.git("rm", "--quiet", "docs/a.md")  # nothing changed in it
    team.git("rm", "--quiet", "--cached", "docs/b.md")
    team.commit({".gitignore": "/docs/b.md\n"})

    command.upgrade()

    printed = capsys.readouterr().out
    left = dict(re.findall(r"left out, since Git has no such file here: (\S+) \(`git (.+)` shows", printed))
    assert left.keys() == {"README.md", "docs/b.md"}
    assert team.git(*left["README.md"].split()).endswith("-What to do.\n+What to do now.")
    assert team.status().keys() == EVERYTHING.keys() - left.keys()
    assert (team.project / "docs" / "b.md").read_text() == "About b.\n"


@pytest.mark.parametrize("state", ["no repository", "no commit", "not committed", "ignored"])
def test_a_project_that_is_not_in_git_is_refused(team, state):
    if state == "ignored":
        team.git("rm", "--quiet", "--cached", ".cruft.json")
        team.commit({".gitignore": ".cruft.json\n"})
    else:
        shutil.rmtree(team.project / ".git")
    if state in {"no commit", "not committed"}:
        team.git("init", "--quiet", "--initial-branch", "main")
    if state == "not committed":
        team.commit({".gitignore": "*\n"})

    with pytest.raises(StoreError, match=r"\.cruft\.json is not in Git: commit the project first"):
        command.upgrade()

    assert (team.project / "README.md").read_text() == FILES["README.md"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("tools", "file"),
        ("tools", "link to nothing"),
        ("tools", "link to a folder"),
        ("docs/über.md", "file"),
        ("docs/über.md", "link to nothing"),
        ("docs/über.md", "folder"),
    ],
)
def test_what_is_ignored_is_never_overwritten(team, path, kind):
    place = team.project / path
    if kind == "file":
        place.write_text("precious\n")
    elif kind == "folder":
        write(place, {"mine.log": "precious\n"})
    else:
        (team.template.parent / "elsewhere").mkdir()
        place.symlink_to(team.template.parent / ("elsewhere" if "folder" in kind else "nowhere"))
    files.write_text(team.project / ".git" / "info" / "exclude", "über*\ntools\n")

    comes = "becomes a folder" if path == "tools" else "comes"
    with pytest.raises(StoreError, match=f"^{path} is here, not in Git, and {comes} with the new version: commit"):
        command.upgrade()

    assert team.status() == {}
    assert os.path.lexists(place)


def test_a_folder_of_the_owner_does_not_follow_a_folder_that_the_template_moves(team):
    team.commit({"docs/mine.md": "Mine.\n"})
    for name in ("a", "b"):
        (team.template / "made" / "docs" / f"{name}.md").unlink()
    team.release({"manual/a.md": FILES["docs/a.md"], "manual/b.md": CHANGES["docs/b.md"]}, "v3.0.0")

    command.upgrade()

    assert (team.project / "docs" / "mine.md").exists()
    assert not (team.project / "manual" / "mine.md").exists()


def test_an_older_version_of_the_template_is_taken_only_if_it_is_named(team, capsys):
    ahead = team.release({"later.md": "Later.\n"})
    team.commit({".cruft.json": json.dumps(team.origin() | {"commit": ahead}), "later.md": "Later.\n"})

    command.upgrade()
    assert "is ahead of the newest version" in capsys.readouterr().out
    assert team.status() == {}
    command.upgrade(to="v2.0.0")
    assert team.status()["later.md"] == "D "
    assert team.origin()["checkout"] == "v2.0.0"


def test_a_version_beside_that_of_the_project_is_asked_for(team):
    team.git("checkout", "--quiet", "-b", "develop", "v1.0.0", at=team.template)
    beside = team.release({"docs/a.md": "Other words.\n"})
    team.commit({".cruft.json": json.dumps(team.origin() | {"commit": beside}), "docs/a.md": "Other words.\n"})

    with pytest.raises(StoreError, match=r"does not come after the project's .* name with --to"):
        command.upgrade()
    command.upgrade(to="v2.0.0")

    assert team.status()["docs/a.md"] == "M "


def test_the_owners_settings_of_git_do_not_matter_to_what_is_thrown_away(team, tmp_path):
    team.git("checkout", "--quiet", "-b", "develop", at=team.template)
    team.release({"later.md": "Later.\n"})
    team.git("checkout", "--quiet", "main", at=team.template)
    for name in ("post-checkout", "prepare-commit-msg"):
        files.write_text(tmp_path / "hooks" / name, "#!/bin/sh\nexit 1\n")
        (tmp_path / "hooks" / name).chmod(0o755)
    with (tmp_path / "config").open("a") as settings:
        settings.write(f"[clone]\n\tdefaultRemoteName = upstream\n[core]\n\thooksPath = {tmp_path / 'hooks'}\n")

    command.upgrade(to="develop")

    assert team.status() == EVERYTHING | {"later.md": "A "}


def test_a_new_question_is_told_and_its_answer_written_down(team, capsys):
    command.upgrade()

    assert "new questions, answered by default: region=eu (write another" in capsys.readouterr().out
    answers = {"setup": "here", "project": "churn", "region": "eu"}
    assert team.origin()["context"] == {"cookiecutter": answers}

    team.git("reset", "--quiet", "--hard")
    answers["region"] = "us"
    team.commit({".cruft.json": json.dumps(team.origin() | {"context": {"cookiecutter": answers}})})
    command.upgrade()

    assert "new questions" not in capsys.readouterr().out
    assert team.origin()["context"] == {"cookiecutter": answers}


def test_no_password_is_written_or_told(team, monkeypatch):
    address = "https://ada:s3cr@t@example.org/template.git"
    cloned = template.fetch
    monkeypatch.setattr(template, "fetch", lambda _, to: cloned(str(team.template), to))
    answers = team.origin()["context"]["cookiecutter"] | {"_template": address}  # as cruft leaves it
    team.commit({".cruft.json": json.dumps(team.origin() | {"context": {"cookiecutter": answers}})})

    command.upgrade(source=address)

    text = (team.project / ".cruft.json").read_text()
    assert text.count("https://example.org/template.git") == 2
    assert "s3cr" not in text
    with pytest.raises(StoreError) as error:
        cloned("http://ada:s3cr@t@127.0.0.1:1/x.git", team.template.parent / "none")
    assert "http://127.0.0.1:1/x.git could not be fetched" in str(error.value)
    assert "s3cr" not in str(error.value)


def test_patterns_in_skip_are_read_as_cruft_reads_them(team):
    skip = '[tool.cruft]\nskip = ["docs/*.md", "./README.md", "tools/"]\n'
    team.commit({"pyproject.toml": skip})

    command.upgrade()

    assert team.status() == {".cruft.json": "M ", "mlops/VERSION": "M "}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[tool.cruft]\nskip = []\n[tool.cruft]\n", "could not be read: Cannot declare"),
        ("[[tool.cruft]]\nskip = []\n", r"has \[{'skip': \[\]}\] as skip below tool.cruft: a list"),
        ('[tool.cruft]\nskip = "docs"\n', "has 'docs' as skip below tool.cruft: a list"),
        ("[tool.cruft]\nskip = [1]\n", r"has \[1\] as skip below tool.cruft: a list"),
    ],
)
def test_a_skip_that_cannot_be_read_is_told_and_nothing_is_changed(team, content, said):
    team.commit({"pyproject.toml": content})

    with pytest.raises(StoreError, match=rf"^pyproject\.toml.* {said}"):
        command.upgrade()

    assert team.status() == {}


def test_a_skip_of_the_template_that_cannot_be_read_does_not_matter(team):
    team.release({"pyproject.toml": "[tool"}, "v3.0.0")

    command.upgrade()

    assert team.status() == EVERYTHING | {"pyproject.toml": "A "}


def test_a_folder_of_events_that_is_made_is_taken_back_by_what_is_told(team, capsys, monkeypatch):
    def added(project, *arguments):
        assert arguments == ("dvc", "add", "data/events")
        write(team.project, {"data/events.dvc": "outs: []\n", "data/.gitignore": "/events\n"})
        return Done(0, "")

    monkeypatch.setattr(command.commands, "call", added)
    team.release({"dvc.yaml": "stages: {prepare: {deps: [data/events]}}\n"}, "v3.0.0")

    command.upgrade()

    assert team.status()["data/events.dvc"] == "A "
    (back,) = re.findall(r"or `(.+)` takes all of it back", capsys.readouterr().out)
    for line in back.split(" && "):
        subprocess.run(line.split(), check=True)
    assert team.status("--ignored") == {}
    assert not (team.project / "data" / "events").exists()


def test_why_dvc_does_not_take_the_events_is_told(team, capsys, monkeypatch):
    why = "ERROR:  output 'data/events' is already tracked by SCM (e.g. Git).\n    You can remove it from Git, …"
    monkeypatch.setattr(command.commands, "call", lambda *_: Done(1, "", why))
    team.release({"dvc.yaml": "stages: {prepare: {deps: [data/events]}}\n"}, "v3.0.0")

    command.upgrade()

    assert "1. `dvc add data/events`, which has failed: output 'data/events' is already" in capsys.readouterr().out


@pytest.mark.parametrize("whose", ["in conflict", "of the owner", "in Git"])
def test_events_are_left_to_the_owner_where_dvc_cannot_add_them(team, capsys, monkeypatch, whose):
    monkeypatch.setattr(command.commands, "call", lambda *_: pytest.fail("DVC was called"))
    team.release({"dvc.yaml": "stages: {prepare: {deps: [data/events]}}\n"}, "v3.0.0")
    if whose == "in conflict":
        team.commit({"dvc.yaml": "stages: {own: {}}\n"})
    else:
        write(team.project, {"data/events/README.md": "Mine.\n", ".git/info/exclude": "events\n"})
    if whose == "in Git":
        team.git("add", "--force", "data")
        team.commit({})

    with pytest.raises(SystemExit) if whose == "in conflict" else pytest.MonkeyPatch.context():
        command.upgrade()

    printed = capsys.readouterr().out
    assert ("`dvc add data/events`" in printed) == (whose != "in Git")
    assert ("git clean" in printed) == (whose == "in conflict")
    mine = "Events that" if whose == "in conflict" else "Mine."
    assert (team.project / "data" / "events" / "README.md").read_text().startswith(mine)


@pytest.mark.parametrize("content", ["", "x", "{}", "[]", '{"template": 1}'])
def test_a_damaged_origin_is_to_be_brought_back(team, content):
    team.commit({".cruft.json": content})

    with pytest.raises(StoreError, match=r"^\.cruft\.json .*: bring it back from Git's history$"):
        command.upgrade()


def test_a_version_is_rendered_without_a_setup_and_all_its_answers_are_known(tmp_path, monkeypatch):
    monkeypatch.undo()
    clone = tmp_path / "template"
    subprocess.run(["git", "init", "--quiet", str(clone)], check=True)
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@localhost"]
    asked = {"project": "x", "setup": ["yes", "no"], "region": "{{ cookiecutter.project }}-eu"}
    said = "{{ cookiecutter.setup }} {{ cookiecutter.region }}"
    write(clone, {"cookiecutter.json": json.dumps(asked), "{{cookiecutter.project}}/said.txt": said})
    subprocess.run(["git", "add", "--all"], cwd=clone, check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "--message", "One"], cwd=clone, check=True)

    folder, answers = template.render(
        clone, "HEAD", {"project": "churn", "setup": "yes", "gone": "1"}, tmp_path / "new"
    )

    assert (folder / "said.txt").read_text() == "no churn-eu"
    assert answers == {"project": "churn", "setup": "no", "region": "churn-eu"}
