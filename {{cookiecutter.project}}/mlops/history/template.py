"""The template that a project was made from: which commit of it, and what two of its versions look like here.

Two commits that no branch has are made, the old version and the new one after it. To apply the second one as
`git cherry-pick` does merges their difference with the edits of the owner. A branch of versions to merge from would ask
for a common history, which a squashed merge or another clone loses.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.base import files
from mlops.base.errors import StoreError
from mlops.history import git

ORIGIN = Path(".cruft.json")  # of cruft, which upgrades projects as well
COMPARE = "MLOPS_COMPARE"  # tells the template's hooks to write files only
IDENTITY = ("-c", "user.name=template", "-c", "user.email=template@localhost", "-c", "commit.gpgsign=false")


@dataclass(frozen=True)
class Origin:
    """Where a project comes from: address and commit of the template, and the answers to its questions."""

    template: str
    commit: str
    answers: dict[str, Any]


def origin() -> Origin:
    """What the project knows of its template.

    Raises:
        StoreError: there is no .cruft.json, or it is damaged.
    """
    if not ORIGIN.is_file():
        raise StoreError(
            f"{ORIGIN} is missing, which says where this project comes from: `uvx cruft link TEMPLATE --checkout "
            "COMMIT`, with the same answers, writes it"
        )
    found = files.read_json(ORIGIN)
    try:
        answers = found["context"]["cookiecutter"]
        given = {name: value for name, value in answers.items() if not name.startswith("_")}
        return Origin(str(found["template"]), str(found["commit"]), given)
    except (KeyError, TypeError, AttributeError):
        raise StoreError(f"{ORIGIN} has no template, commit and answers: bring it back from Git's history") from None


def fetch(template: str, to: Path) -> None:
    """Clone the template.

    Raises:
        StoreError: it cannot be had.
    """
    try:
        git.run("clone", "--quiet", "--", template, str(to))
    except StoreError as error:
        raise StoreError(f"the template {template} could not be fetched: {error}") from None


def newest(clone: Path) -> str:
    """The tag of the newest release; the branch that is checked out where there is none."""
    tags = git.run("-C", str(clone), "tag", "--list", "v*", "--sort=-version:refname").split()
    return next((tag for tag in tags if tag[1:2].isdigit()), "HEAD")


def commit_of(clone: Path, name: str) -> str:
    """The commit that a tag, a branch or a part of a digest stands for.

    Raises:
        StoreError: the template has none of that name.
    """
    for place in (name, f"origin/{name}"):
        found = git.run("-C", str(clone), "rev-parse", "--verify", "--quiet", place + "^{commit}", default="").strip()
        if found and not name.startswith("-"):
            return found
    raise StoreError(f"the template has no tag, branch or commit {name}: see `git ls-remote --tags` of it")


def render(clone: Path, commit: str, answers: dict[str, Any], to: Path) -> Path:
    """The folder of a project that this commit of the template makes of the answers; questions new in it have defaults.

    Raises:
        StoreError: cookiecutter is not there, or refuses.
    """
    git.run("-C", str(clone), "checkout", "--quiet", "--detach", commit)
    to.mkdir()
    settings = to / "cookiecutter.yaml"
    files.write_text(settings, f"cookiecutters_dir: {to}\nreplay_dir: {to}\n")  # those of the person stay as they are
    command = [*_cookiecutter(), "--no-input", "--config-file", str(settings), "--output-dir", str(to / "made")]
    command += [str(clone), *(f"{name}={value}" for name, value in answers.items())]
    done = subprocess.run(
        command,
        env=os.environ | {COMPARE: "1"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    made = [path for path in (to / "made").glob("*") if path.is_dir()]
    if done.returncode or len(made) != 1:
        said = " ".join((done.stderr or done.stdout).split())[-1000:]
        raise StoreError(f"the template's commit {commit[:8]} could not be rendered ({said or 'no reason given'})")
    return made[0]


def _cookiecutter() -> list[str]:
    if importlib.util.find_spec("cookiecutter"):
        return [sys.executable, "-m", "cookiecutter"]
    if found := shutil.which("cookiecutter"):
        return [found]
    if found := shutil.which("uvx"):
        return [found, "cookiecutter"]
    raise StoreError(
        "cookiecutter is not here: `pip install cookiecutter`, in this environment or any other on the PATH"
    )


def leave_out_what_is_the_owners(old: Path, new: Path) -> None:
    """Delete from both renderings what `[tool.cruft] skip` names, and what the owner has deleted from the project."""
    kept = {name for place in (new, Path()) for name in _skipped(place)}
    here = set(git.run("ls-files", "-z").split("\0"))
    before = {path.relative_to(old).as_posix() for path in old.rglob("*") if path.is_file()}
    for root in (old, new):
        for path in [path for path in root.rglob("*") if path.is_file()]:
            name = path.relative_to(root).as_posix()
            is_owners = any(name == one or name.startswith(f"{one}/") for one in kept)
            if is_owners or (name in before and name not in here):
                path.unlink()


def _skipped(place: Path) -> list[str]:
    try:
        content = tomllib.loads((place / "pyproject.toml").read_text(encoding="utf-8"))
        return [str(name).strip("/") for name in content["tool"]["cruft"]["skip"]]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ):  # the project's own file may be in conflict with an older upgrade
        return []


def commits(old: Path, new: Path) -> tuple[str, str]:
    """Two commits in the project's repository, the second after the first, of the files in two folders."""
    store = old.parents[1] / "versions.git"
    git.run("init", "--quiet", "--bare", str(store))
    found = []
    for folder in (old, new):
        here = ["-C", str(folder), f"--git-dir={store}", "--work-tree=."]
        git.run(*here, "add", "--all", "--force", ".")
        git.run(
            *IDENTITY,
            *here,
            "commit",
            "--quiet",
            "--no-verify",
            "--allow-empty",
            "-m",
            f"template, {folder.parents[1].name}",
        )
        found.append(git.run(*here, "rev-parse", "HEAD").strip())
    git.run("fetch", "--quiet", "--no-tags", str(store), "HEAD")
    return found[0], found[1]
