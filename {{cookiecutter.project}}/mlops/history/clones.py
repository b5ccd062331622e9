"""Clones of the project in a given state, so that a command sees that state and nothing else.

A clone shares Git's objects and DVC's cache with the project: it is cheap, and what it writes there is there at once.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlops.base.errors import StoreError
from mlops.history import cache, dvc, git

LOCAL = Path(".dvc/config.local")
# Git and DVC need an author of a commit; these commits are never shown.
AUTHOR = {"user.name": "nobody", "user.email": "nobody@localhost"}
ATTEMPTS = 10  # to read Git's index, twice a second
GRACE = 10  # seconds that a process has to end after a signal


@dataclass(frozen=True)
class State:
    """A commit, and a second commit with the uncommitted changes; "" if there are none."""

    commit: str
    changes: str = ""

    @property
    def tree(self) -> str:
        """Git's digest of all files."""
        return git.run("rev-parse", (self.changes or self.commit) + "^{tree}").strip()


def frozen() -> State:
    """The present state of the project, without the files that Git does not track.

    Raises:
        StoreError: there is no commit yet.
    """
    commit = git.run("rev-parse", "--verify", "--quiet", "HEAD", default="").strip()
    if not commit:
        raise StoreError("there is no commit to start from: `git add --all && git commit` first")
    author = [part for name, value in AUTHOR.items() for part in ("-c", f"{name}={value}")]
    lock = Path(git.run("rev-parse", "--git-path", "index.lock").strip())
    for left in reversed(range(ATTEMPTS)):
        # `git stash` fails on a file that was rewritten with the same content, until Git has compared the content.
        git.run("update-index", "-q", "--refresh", default="")
        try:
            return State(commit, git.run(*author, "stash", "create").strip())
        except StoreError as error:  # while another command of Git holds the index, without a word
            failed = error
        if left:
            time.sleep(0.5)
    raise (
        StoreError(f"Git's index is locked: let the command that uses it end, or delete {lock}")
        if lock.exists()
        else failed
    )


def untracked() -> list[str]:
    """The files of the project that Git neither tracks nor ignores: no clone has them."""
    return git.run("ls-files", "--others", "--exclude-standard", "-z").split("\0")[:-1]


@contextmanager
def clone(state: State, folder: Path, targets: Sequence[str] = (), *, pull: bool = False) -> Iterator[Path]:
    """Make a clone in `folder` in this state, give the project in it, and remove the clone in the end.

    DVC checks out all of its files in the clone, or only the `targets`; with `pull` it fetches what the cache lacks.
    The name of `folder` starts with the id of this process: clones beside it whose process was killed are removed.

    Raises:
        StoreError: the clone cannot be made, or the data is not in DVC's cache.
    """
    top = git.run("rev-parse", "--show-toplevel").strip()
    inside = git.run("rev-parse", "--show-prefix").strip()
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_left(folder)
    try:
        git.run("clone", "--quiet", "--shared", "--no-checkout", top, str(folder))
        project = (folder / inside).resolve()
        for name, value in AUTHOR.items():
            git.run("-C", str(folder), "config", name, git.run("config", name, default="").strip() or value)
        restore(state, folder)
        _share_cache(project)
        try:
            dvc.run("checkout", *targets, hint="`dvc pull` brings what is missing", cwd=project, env=environment())
        except StoreError:
            if not pull:
                raise
            hint = "is the storage of DVC reachable, and was everything pushed to it?"
            dvc.run("pull", *targets, hint=hint, cwd=project, env=environment())
        yield project
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _share_cache(clone: Path) -> None:
    """Give a clone the project's local configuration, cache and remotes. `dvc config` would write ASCII only."""
    from configobj import ConfigObj
    from dvc.config import Config

    config = ConfigObj(str(LOCAL), encoding="utf-8", interpolation=False)
    # Relative to the configuration, so that the signs of the project's own path do not matter.
    place = os.path.relpath(cache.folder().parents[1], clone / LOCAL.parent)
    config.setdefault("cache", {})["dir"] = Path(place).as_posix()
    for name, remote in Config(".dvc").get("remote", {}).items():
        if os.path.isabs(url := str(remote.get("url", ""))):  # noqa: PTH117 – of another system's path, too
            # The project may name it relative to its own configuration.
            near = Path(os.path.relpath(url, clone / LOCAL.parent)).as_posix()
            config.setdefault(f'remote "{name}"', {})["url"] = near
    config.filename = str(clone / LOCAL)
    config.write()


def _remove_left(folder: Path) -> None:
    """Remove the clones beside `folder` that killed processes have left, and `folder` itself."""
    import psutil

    for left in folder.parent.iterdir():
        process = re.match(r"\d+", left.name)
        if left == folder or (process and not psutil.pid_exists(int(process[0]))):
            shutil.rmtree(left, ignore_errors=True)


def restore(state: State, clone: Path) -> None:
    """Put the clone back to the state and delete all other files, except those that Git ignores."""
    top = Path(git.run("-C", str(clone), "rev-parse", "--show-toplevel").strip())
    here = ("-C", str(top))
    git.run(*here, "checkout", "--quiet", "--force", "--detach", state.commit)
    git.run(*here, "clean", "--quiet", "--force", "-d")
    if state.changes:
        git.run(*here, "checkout", state.changes, "--", ".")
        changed = ("diff", "--name-only", "--diff-filter=D", "-z", state.commit, state.changes)
        for deleted in git.run(*here, *changed).split("\0")[:-1]:
            (top / deleted).unlink(missing_ok=True)


def environment(**more: str) -> dict[str, str]:
    """The environment of a command in a clone: this Python comes first, and no variable of a running experiment."""
    outer = {
        name: value for name, value in os.environ.items() if not name.startswith(("DVC_EXP", "DVC_ROOT", "GIT_DIR"))
    }
    return outer | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), outer.get("PATH", "")])} | more


def run(
    command: Sequence[str], project: Path, env: Mapping[str, str], stop: threading.Event | None = None
) -> tuple[str, bool]:
    """Run a command in the `project` of a clone until it ends; its output, and whether it failed.

    The command and all that it has started are ended when `stop` is set, and when this process is interrupted: nothing
    goes on in a clone that is removed.
    """
    stop, log = stop or threading.Event(), project / ".dvc" / "tmp" / "output"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=project,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                if stop.wait(0.1):
                    end(process)
        except BaseException:
            end(process)
            raise
    return log.read_text(encoding="utf-8", errors="replace"), bool(process.returncode)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its children, first with SIGINT as Ctrl-C does, so that `register` takes back half a run.

    Children are waited for, too: DVC may end before the stage that it runs.
    """
    if os.name != "posix":  # there are no groups of processes, and no signals
        import psutil

        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            with suppress(psutil.Error):
                one.kill()
        return
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            process.poll()  # as long as its end is not asked for, it counts as one of the group
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
