"""The template that a project was made from: which commit of it, and what two of its versions look like here.

Two commits that no branch has are made, the old version and the new one after it. To apply the second one as
`git cherry-pick` does merges their difference with the edits of the owner. A branch of versions to merge from would ask
for a common history, which a squashed merge or another clone loses.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.base import files
from mlops.base.errors import StoreError, without_passwords
from mlops.history import git

ORIGIN = Path(".cruft.json")  # of cruft, which upgrades projects as well
COMPARE = "MLOPS_COMPARE"  # tells the template's hooks to write files only
FILES_ONLY = {"setup": "no"}  # tells the same to the hooks of versions that do not know COMPARE; no file has the answer
IDENTITY = ("-c", "user.name=template", "-c", "user.email=template@localhost", "-c", "commit.gpgsign=false")
NO_HOOKS = "core.hooksPath=/dev/null"  # in what is thrown away, those of the owner have nothing to do
# A file of the owner does not follow a folder that the template has moved; a conflict is the owner's to resolve.
MERGE = ("-c", "merge.directoryRenames=false", "-c", "rerere.enabled=false")
DAMAGED = "bring it back from Git's history"


@dataclass(frozen=True)
class Origin:
    """Where a project comes from: address and commit of the template, and the answers to its questions."""

    template: str
    commit: str
    answers: dict[str, Any]
    content: dict[str, Any]  # all that the file says

    def at(self, address: str, commit: str, checkout: str, answers: dict[str, Any]) -> str:
        """The file's text for another version of the template, with the answers to questions that are new in it."""
        new = {"template": without_passwords(address), "commit": commit, "checkout": checkout or None}
        content = self.content | new
        answered = answers | self.content["context"]["cookiecutter"]
        answered |= {"_template": content["template"]} if "_template" in answered else {}  # as cruft has it
        content["context"] = self.content["context"] | {"cookiecutter": answered}
        return f"{json.dumps(content, indent=2, ensure_ascii=False)}\n"


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
    found = files.read_json(ORIGIN, DAMAGED)
    try:
        answers = found["context"]["cookiecutter"]
        given = {name: value for name, value in answers.items() if not name.startswith("_")}
        return Origin(str(found["template"]), str(found["commit"]), given, found)
    except (KeyError, TypeError, AttributeError):
        raise StoreError(f"{ORIGIN} has no template, commit and answers: {DAMAGED}") from None


def fetch(template: str, to: Path) -> None:
    """Clone the template.

    Raises:
        StoreError: it cannot be had.
    """
    try:
        git.run("clone", "--quiet", "--origin", "origin", "--config", NO_HOOKS, "--", template, str(to))
    except StoreError as error:
        raise StoreError(without_passwords(f"the template {template} could not be fetched: {error}")) from None


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


def common(clone: Path, old: str, new: str) -> str:
    """The newest commit of the template that two of its commits both follow or are; "" if there is none."""
    return git.run("-C", str(clone), "merge-base", old, new, default="").strip()


def render(clone: Path, commit: str, answers: dict[str, Any], to: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a project that this commit of the template makes of the answers, and all answers.

    Questions that are new in it have their defaults.

    Raises:
        StoreError: cookiecutter is not there, or refuses.
    """
    git.run("-C", str(clone), "checkout", "--quiet", "--detach", commit)
    to.mkdir()
    settings = to / "cookiecutter.yaml"
    files.write_text(settings, f"cookiecutters_dir: {to}\nreplay_dir: {to}\n")  # those of the person stay as they are
    command = [*_cookiecutter(), "--no-input", "--config-file", str(settings), "--output-dir", str(to / "made")]
    command += [str(clone), *(f"{name}={value}" for name, value in (answers | FILES_ONLY).items())]
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
        told = without_passwords(said) or "no reason given"
        raise StoreError(f"the template's commit {commit[:8]} could not be rendered ({told})")
    asked = files.read_json(to / f"{clone.name}.json", "update cookiecutter")["cookiecutter"]
    return made[0], {name: value for name, value in asked.items() if not name.startswith("_")}


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


def leave_out_what_is_the_owners(old: Path, new: Path) -> dict[str, str]:
    """Delete from both renderings what `[tool.cruft] skip` names, and what Git has no file of here.

    The latter are files that the owner has deleted, renamed, or never committed.

    Returns:
        The command that shows the change of each of the latter that has changed, by its name.

    Raises:
        StoreError: what the project's `skip` names cannot be read.
    """
    kept = {ORIGIN.as_posix(), *_skipped(Path())}
    with suppress(StoreError):  # that of the template is not the owner's to correct
        kept.update(_skipped(new))
    here = set(git.run("ls-files", "-z").split("\0"))
    for root in (old, new):
        found = {path for name in kept for path in _named(root, name)}
        for path in _files(root):
            if found & {path, *path.parents}:
                path.unlink()
    shown = {}
    for name in sorted({path.relative_to(old).as_posix() for path in _files(old)} - here):
        sides = [root / name for root in (old, new) if (root / name).is_file()]
        contents = {path.read_bytes() for path in sides}
        if len(contents) == 2:
            blobs = git.run("hash-object", "-w", "--no-filters", "--", *map(str, sides)).split()
            shown[name] = f"git diff {blobs[0][:12]} {blobs[1][:12]}"
        for path in (old / name, new / name):
            if path.is_symlink() or path.is_file():
                path.unlink()
    return shown


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]


def _named(root: Path, name: str) -> list[Path]:
    """What an entry of `skip` names, which is a pattern if it has a star."""
    try:
        return list(root.glob(name)) if "*" in name else [root / name]
    except ValueError as error:
        raise StoreError(f"pyproject.toml names {name} in [tool.cruft] skip, which cannot be used: {error}") from None


def _skipped(place: Path) -> list[str]:
    path = place / "pyproject.toml"
    if not path.exists():
        return []
    try:
        found: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}, which names what is never changed, could not be read: {error}") from None
    for key in ("tool", "cruft", "skip"):
        found = found.get(key, []) if isinstance(found, dict) else found
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise StoreError(f"{path} has {found!r} as skip below tool.cruft: a list of names in quotes was expected")
    return [name.strip("/") for name in found]


def commits(old: Path, new: Path) -> tuple[str, str]:
    """Two commits in the project's repository, the second after the first, of the files in two folders.

    They have the files where the project has them, which may be in a folder of the repository. The folders are moved.
    """
    prefix = git.run("rev-parse", "--show-prefix").rstrip("\n")
    store = old.parents[1] / "versions.git"
    form = git.run("rev-parse", "--show-object-format").strip()
    git.run("init", "--quiet", "--bare", f"--object-format={form}", str(store))
    found = []
    for folder in (old, new):
        tree = folder.parents[1] / "tree"
        (tree / prefix).parent.mkdir(parents=True, exist_ok=True)
        folder.rename(tree / prefix)
        here = ["-c", NO_HOOKS, "-C", str(tree), f"--git-dir={store}", "--work-tree=."]
        git.run(*here, "add", "--all", "--force", ".")
        message = f"template, {tree.parent.name}"
        git.run(*IDENTITY, *here, "commit", "--quiet", "--no-verify", "--allow-empty", "--message", message)
        found.append(git.run(*here, "rev-parse", "HEAD").strip())
    git.run("fetch", "--quiet", "--no-tags", str(store), "HEAD")
    return found[0], found[1]


def differing(*which: str) -> list[str]:
    """The names, relative to the project, that `git diff` lists."""
    return git.run("diff", "--name-only", "-z", "--no-renames", "--relative", *which).split("\0")[:-1]


def merge(first: str, second: str) -> list[str]:
    """Merge the difference of two commits into the work tree and the index.

    Returns:
        The names of the files that are in conflict.

    Raises:
        StoreError: files that Git does not know would be overwritten; nothing was changed then.
    """
    tracked = {path for name in git.run("ls-files", "-z").split("\0")[:-1] for path in _upwards(name)}
    for name in differing("--diff-filter=A", first, second):
        for path in [path for path in _upwards(name) if path not in tracked and os.path.lexists(path)]:
            if path == Path(name) or path.is_symlink() or not path.is_dir():
                comes = "comes" if path == Path(name) else "becomes a folder"
                raise StoreError(
                    f"{path} is here, not in Git, and {comes} with the new version: commit it, or move it away"
                )
    try:
        git.run(*IDENTITY, *MERGE, "cherry-pick", "--no-commit", second)
    except StoreError:
        if found := differing("--diff-filter=U"):
            return found
        raise
    return []


def _upwards(name: str) -> list[Path]:
    """A file and the folders that it is in, those of the project."""
    return [Path(name), *Path(name).parents][:-1]
