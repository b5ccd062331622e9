"""A clean clone of the project in some state, beside the work tree: what runs in it sees that state and nothing else.

It shares Git's objects and DVC's cache with the project, so that it costs little, and what it makes is there at once.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlops.base.errors import StoreError
from mlops.history import cache, git

DVC = [sys.executable, "-m", "dvc"]
LOCAL = Path(".dvc/config.local")
# Git and DVC want to know who makes a commit, also where nobody has said so, and nobody sees it.
NOBODY = {"user.name": "nobody", "user.email": "nobody@localhost"}


@dataclass(frozen=True)
class State:
    """A commit, and another one of what has changed since; "" if nothing has."""

    commit: str
    changes: str = ""

    @property
    def tree(self) -> str:
        """The digest of all files."""
        return git.run("rev-parse", (self.changes or self.commit) + "^{tree}").strip()


def frozen() -> State:
    """The project as it is now, but for files that Git does not know.

    Raises:
        StoreError: there is no commit yet.
    """
    commit = git.run("rev-parse", "--verify", "--quiet", "HEAD", default="").strip()
    if not commit:
        raise StoreError("there is no commit to start from: `git add --all && git commit` first")
    # A file that was written again as it was looks changed until Git has looked inside, and `stash` stumbles over it.
    git.run("update-index", "-q", "--refresh", default="")
    nobody = [part for name, value in NOBODY.items() for part in ("-c", f"{name}={value}")]
    return State(commit, git.run(*nobody, "stash", "create").strip())


def untracked() -> list[str]:
    """The files of the project that Git does not know and does not ignore, which no clone can have."""
    return git.run("ls-files", "--others", "--exclude-standard", "-z").split("\0")[:-1]


@contextmanager
def clone(state: State, folder: Path, targets: Sequence[str] = ()) -> Iterator[Path]:
    """A clone in `folder` (made, and removed in the end) in this state; gives the project in it.

    All that DVC keeps is laid into it, or only the `targets`.

    Raises:
        StoreError: it cannot be made, or the data is not in DVC's cache.
    """
    top = git.run("rev-parse", "--show-toplevel").strip()
    inside = git.run("rev-parse", "--show-prefix").strip()
    parent = Path.cwd()
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        git.run("clone", "--quiet", "--shared", "--no-checkout", top, str(folder))
        project = (folder / inside).resolve()
        git.run("-C", str(folder), "checkout", "--quiet", "--detach", state.commit)
        for name, value in NOBODY.items():
            git.run("-C", str(folder), "config", name, git.run("config", name, default="").strip() or value)
        if (parent / LOCAL).exists():
            shutil.copyfile(parent / LOCAL, project / LOCAL)
        restore(state, folder)
        _dvc(project, "config", "--local", "cache.dir", str(cache.folder().parents[1]))
        _dvc(project, "checkout", *targets)
        yield project
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def restore(state: State, folder: Path) -> None:
    """Put the clone in `folder` back to its state: files that Git ignores aside, nothing else is left in it."""
    here = ("-C", str(folder))
    git.run(*here, "checkout", "--quiet", "--force", "--detach", state.commit)
    git.run(*here, "clean", "--quiet", "--force", "-d")
    if state.changes:
        git.run(*here, "checkout", state.changes, "--", ".")
        changed = ("diff", "--name-only", "--diff-filter=D", "-z", state.commit, state.changes)
        for gone in git.run(*here, *changed).split("\0")[:-1]:
            (folder / gone).unlink(missing_ok=True)


def environment(**more: str) -> dict[str, str]:
    """The environment of a command in a clone: this Python first, and nothing of an experiment around it."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DVC_EXP", "DVC_ROOT", "GIT_DIR"))
    }
    return kept | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])} | more


def _dvc(project: Path, *arguments: str) -> None:
    done = subprocess.run(
        [*DVC, *arguments], cwd=project, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        why = " ".join(done.stderr.split())[:300] or "no reason given"
        raise StoreError(
            f"`dvc {' '.join(arguments[:2])}` failed in a clone ({why}): `dvc pull` brings what is missing"
        )
