"""Where a retraining works: the commit that it starts from, its clone, and the commits and branches that it makes."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlops.base import params, yaml
from mlops.base.errors import StoreError, counted
from mlops.history import cache, clones, git, paths, revisions
from mlops.history.clones import State
from mlops.history.commands import Done
from mlops.retraining.journal import FOLDER

# Keeps the commits of finished steps, which no branch has, in the project's repository.
WORK = "refs/retrain/work"
BRANCHES = "retrain/"  # what the names of proposed branches begin with
# Who commits on a machine where Git knows nobody.
NOBODY = {"user.name": "retrain", "user.email": "retrain@localhost"}
# What a result depends on, besides what the stages name; a delivery is no change of these.
MATTERS = (
    *(params.FILE.as_posix(), paths.PIPELINE.as_posix(), paths.RAW.as_posix(), ".dvc/config", ".dvcignore"),
    *("mlops", "project", "stages"),
)
OF_DELIVERY = paths.INCOMING.as_posix()


@dataclass(frozen=True)
class Start:
    """The commit to start from, that of the main branch, and the remote of that branch ("" if there is none)."""

    commit: str
    main: str
    remote: str


def prepare() -> None:
    """Make the folder that Git does not see, whatever the project's own .gitignore says.

    Raises:
        StoreError: this is no project of Git and DVC.
    """
    if not Path(".dvc").is_dir() or not git.run("rev-parse", "--show-toplevel", default=""):
        raise StoreError(f"{Path.cwd()} is no project of Git and DVC: run this where schema.yaml and .dvc are")
    FOLDER.mkdir(exist_ok=True)
    ignored = FOLDER / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n", encoding="utf-8")


def start() -> Start:
    """The newest commit of the main branch, that of the remote if there is one.

    Raises:
        StoreError: a change is not committed or not pushed, there is no main branch, or the remote cannot be reached.
    """
    if revisions.is_shallow():
        raise StoreError(revisions.SHALLOW)
    if changed := _uncommitted():
        raise StoreError(
            f"{changed[0]} is changed and not committed{_more(changed)}: a retrained model would lack that, so commit "
            "it (data by `dvc add` first), or put it away with `git stash`"
        )
    remotes = git.run("remote").split()
    if not remotes:
        main = next((name for name in ("main", "master") if _commit(f"refs/heads/{name}")), "")
        main = main or git.run("branch", "--show-current").strip()
        if not (commit := _commit(f"refs/heads/{main}")):
            raise StoreError("there is no main branch with a commit: `git add --all && git commit` first")
        return Start(commit, main, "")
    remote = "origin" if "origin" in remotes else remotes[0]
    fetched = talk("fetch", "--quiet", remote)
    if fetched.code:
        raise StoreError(
            f"the remote {remote} cannot be reached ({reason(fetched)}): check its address and your rights"
        )
    # A branch of a proposal that was deleted there is no longer to be gone on from.
    talk("fetch", "--quiet", "--prune", remote, f"+refs/heads/{BRANCHES}*:refs/remotes/{remote}/{BRANCHES}*")
    default = re.search(r"^ref: refs/heads/(\S+)\s+HEAD$", talk("ls-remote", "--symref", remote, "HEAD").output, re.M)
    names = [default[1] if default else "", "main", "master"]
    main = next((name for name in names if name and _commit(f"refs/remotes/{remote}/{name}")), "")
    if not main:
        raise StoreError(f"the remote {remote} has no main branch: push yours (`git push -u {remote} main`)")
    commit, local = _commit(f"refs/remotes/{remote}/{main}"), _commit(f"refs/heads/{main}")
    ahead = git.run("rev-list", "--count", f"{commit}..{local}").strip() if local else "0"
    if ahead != "0":
        raise StoreError(f"{main} is {counted(int(ahead), 'commit')} ahead of {remote}: `dvc push && git push` first")
    return Start(commit, main, remote)


def _uncommitted() -> list[str]:
    """The changed files that a new model would lack, relative to the project: others may be as they are."""
    here = git.run("rev-parse", "--show-prefix").strip()
    entries = git.run("status", "--porcelain", "-z", "--no-renames", "--", ".").split("\0")[:-1]
    changed = [entry[3:].removeprefix(here) for entry in entries]
    stages = yaml.read(paths.PIPELINE)["stages"].values()
    written = {out if isinstance(out, str) else next(iter(out)) for stage in stages for out in _outs(stage)}
    deps = {path for stage in stages for path in stage.get("deps", [])} - written - {OF_DELIVERY}
    matters = (*MATTERS, *deps)
    # Git sees the .dvc file of a folder only, and DVC's own status takes seconds.
    if paths.RAW.is_dir() and cache.md5(paths.RAW) != revisions.find("HEAD").data(paths.RAW.as_posix()):
        changed.append(paths.RAW.as_posix())
    return [
        path for path in changed if any(path == one or path.startswith((f"{one}/", f"{one}.dvc")) for one in matters)
    ]


def _outs(stage: dict[str, Any]) -> list[Any]:
    return [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def place() -> Path:
    """Where the clone of this process is."""
    return (FOLDER / "clones" / f"{os.getpid()}").resolve()


@contextmanager
def opened(commit: str) -> Iterator[Path]:
    """A clone at a commit, with its data; gives the project in it, and removes the clone in the end.

    Raises:
        StoreError: it cannot be made, or its data is neither in the cache nor to be had.
    """
    with clones.clone(State(commit), place(), pull=True) as project:
        for name, value in {**NOBODY, "commit.gpgsign": "false"}.items():
            own = git.run("config", name, default="").strip() if name in NOBODY else ""
            git.run("-C", str(project), "config", name, own or value)
        yield project


def keep(clone: Path, message: str, *, outlives: bool = True) -> str:
    """Commit what a step changed in the clone; the commit, which the project has too if it `outlives` the clone."""
    here = ("-C", str(clone))
    git.run(*here, "add", "--all")
    if git.run(*here, "status", "--porcelain"):
        git.run(*here, "commit", "--quiet", "--no-verify", "--message", message)
    if outlives:
        git.run(*here, "push", "--quiet", "--force", "origin", f"HEAD:{WORK}")
    return git.run(*here, "rev-parse", "HEAD").strip()


def as_branch(clone: Path, start: Start, branch: str, message: str) -> str:
    """Make one commit, on top of the start, of all that the steps changed, and the branch of it; the commit."""
    here = ("-C", str(clone))
    tree = git.run(*here, "rev-parse", "HEAD^{tree}").strip()
    commit = git.run(*here, "commit-tree", tree, "-p", start.commit, "-F", "-", stdin=message).strip()
    git.run(*here, "push", "--quiet", "--force", "origin", f"{commit}:refs/heads/{branch}")
    git.run(*here, "checkout", "--quiet", "--detach", commit)
    return commit


def made_before(start: Start, branch: str, mark: str) -> str:
    """The commit of the branch (of the remote, if there is one) that a retraining made from the same start; else "".

    Raises:
        StoreError: the branch has commits of somebody else.
    """
    commit = _commit(f"refs/remotes/{start.remote}/{branch}" if start.remote else f"refs/heads/{branch}")
    if not commit:
        return ""
    if mark not in git.run("log", "-1", "--format=%B", commit):
        raise StoreError(f"{branch} has a commit of somebody else ({commit[:8]}): merge it, or delete the branch")
    return commit if git.run("rev-parse", f"{commit}^").strip() == start.commit else ""


def push(start: Start, commit: str, branch: str, options: list[str] | None = None) -> Done:
    """Push a commit to a branch of the remote; a branch of a retraining is replaced if nobody else changed it."""
    goal = f"refs/heads/{branch}"
    known = _commit(f"refs/remotes/{start.remote}/{branch}")
    lease = [] if branch == start.main else [f"--force-with-lease={goal}:{known}"]
    return talk("push", "--quiet", *lease, *(options or []), start.remote, f"{commit}:{goal}")


def head(start: Start) -> str:
    """The newest commit of the main branch that is known here: that of the last fetch or push."""
    return _commit(f"refs/remotes/{start.remote}/{start.main}" if start.remote else f"refs/heads/{start.main}")


def holds(branch_head: str, commit: str) -> bool:
    """Whether a commit is in the history of another one."""
    return git.run("merge-base", "--is-ancestor", commit, branch_head, default="no") != "no"


def forget() -> None:
    """Let the commits of the steps go."""
    git.run("update-ref", "-d", WORK, default="")


def talk(*arguments: str) -> Done:
    """Run a Git command that may talk to a remote; it never waits for a person to type."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": os.environ.get("GIT_ASKPASS", "true")}
    done = subprocess.run(
        ["git", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def reason(done: Done) -> str:
    """Why a Git command failed: the line that says so, behind those that say to whom it talked."""
    lines = [line.strip() for line in done.errors.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("!", "remote: error", "fatal:", "error:", "ERROR:"))]
    return (telling or lines or [f"exit code {done.code}"])[0][:200]


def _commit(name: str) -> str:
    return git.run("rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}", default="").strip()
