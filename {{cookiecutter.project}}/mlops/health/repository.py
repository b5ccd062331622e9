"""Git: is something half done, cut off or in the wrong place?"""

import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from mlops.base import params, yaml
from mlops.base.errors import ProjectError, StoreError, counted
from mlops.health import processes
from mlops.health.finding import EDIT, Finding, Repair, named
from mlops.history import git, paths, revisions

SUBJECT = "Git"
# What Git keeps while something is not finished, what that is called, and the command that goes on with it.
UNFINISHED = {
    "rebase-merge": ("a rebase", "git rebase --continue"),
    "rebase-apply": ("a rebase", "git rebase --continue"),
    "MERGE_HEAD": ("a merge", "git merge --continue"),
    "CHERRY_PICK_HEAD": ("a cherry-pick", "git cherry-pick --continue"),
    "REVERT_HEAD": ("a revert", "git revert --continue"),
    "BISECT_LOG": ("a bisection", "git bisect reset"),
}
MARK = re.compile(r"^(<{7}|>{7}) ", re.MULTILINE)  # of a merge
OLD = 60  # seconds: no Git command holds its index for longer, and a younger lock is somebody's
FUTURE = 300  # seconds that clocks may differ
RECENT = 1000  # commits whose times are looked at


def check(now: datetime) -> Iterator[Finding]:
    """Look at the repository; a project without one is told so."""
    if not git.run("rev-parse", "--git-dir", default="").strip():
        start = "git init --initial-branch main && git add --all && git commit --message Start"
        yield Finding(SUBJECT, "fault", "this folder is no Git repository: nothing can be compared or traced", start)
        return
    where = Path(git.run("rev-parse", "--absolute-git-dir").strip())
    found = [
        *_locked(where),
        *_unfinished(where),
        *_marks(),
        *_head(),
        *_shallow(),
        *_tracked(),
        *_hidden(),
        *_future(now),
    ]
    yield from found
    if not any(finding.state == "fault" for finding in found):
        branch = git.run("branch", "--show-current", default="").strip() or "no branch"
        commits = git.run("rev-list", "--count", "HEAD", default="0").strip()
        yield Finding(SUBJECT, "fine", f"{branch}, {counted(int(commits), 'commit')}")


def _locked(where: Path) -> Iterator[Finding]:
    """The lock of the index, if whoever made it is gone."""
    lock = where / "index.lock"
    if lock.exists() and (reason := _may_go(lock)) is None:
        shown = os.path.relpath(lock)
        repair = Repair(f"remove {shown}", f"removed {shown}", partial(_unlock, lock))
        said = f"{shown} is left of a Git command that was killed: no other can add or commit"
        yield Finding(SUBJECT, "fault", said, f"rm {shown}", repair)
    elif lock.exists():
        yield Finding(SUBJECT, "unknown", f"{os.path.relpath(lock)} is there: {reason}", "git status")


def _may_go(lock: Path) -> str | None:
    """Why a lock of Git has to stay; None if nobody holds it."""
    try:
        age = time.time() - lock.stat().st_mtime
    except OSError:
        return "it has just gone"
    if age < OLD:
        return "a Git command began less than a minute ago"
    top = Path(git.run("rev-parse", "--show-toplevel", default=".").strip())
    at_work = processes.at_work(top, "git")
    return f"process {at_work[0]} is a Git command at work here" if at_work else None


def _unlock(lock: Path) -> None:
    if reason := _may_go(lock):
        raise StoreError(f"{lock.name} was left alone: {reason}")
    lock.unlink(missing_ok=True)


def _unfinished(where: Path) -> Iterator[Finding]:
    conflicts = sorted({line.partition("\t")[2] for line in git.run("ls-files", "--unmerged").splitlines()})
    begun = unfinished(where)
    if conflicts:
        said = f"{begun[0][0] if begun else 'a merge'} stopped at conflicts in {named(conflicts)}"
        yield Finding(SUBJECT, "fault", said, "python -m mlops resolve", figures={"conflicts": conflicts})
    for what, command in begun if not conflicts else []:
        yield Finding(SUBJECT, "warning", f"{what} is not finished", command)


def unfinished(where: Path) -> list[tuple[str, str]]:
    """What is begun in the repository `where` (its folder .git) and the command that goes on with it, if anything."""
    return [UNFINISHED[name] for name in UNFINISHED if (where / name).exists()][:1]


def _marks() -> Iterator[Finding]:
    for path, command in marked():
        yield Finding(SUBJECT, "fault", f"{path} has the marks of a merge in it, so nothing can read it", command)


def marked() -> Iterator[tuple[Path, str]]:
    """The files that programs read and that have merge marks, each with the command that mends it.

    A conflict that is still open for Git is not among them.
    """
    unmerged = {entry.partition("\t")[2] for entry in git.run("ls-files", "--unmerged", "-z", default="").split("\0")}
    data = [Path(name) for name in git.run("ls-files", "-z", "--", "*.dvc", default="").split("\0") if name]
    read = (paths.LOCK, paths.REGISTRATION, paths.PIPELINE, paths.SCHEMA, params.FILE, paths.AUDIT, *data)
    for path in read:
        if path.as_posix() in unmerged or not path.is_file():
            continue
        if MARK.search(path.read_text(encoding="utf-8", errors="replace")):
            own = path in (paths.PIPELINE, paths.SCHEMA, params.FILE)
            resolved = "python -m mlops resolve" if path == paths.LOCK or path in data else "dvc repro"
            command = f"{EDIT} {path}" if own else resolved
            yield path, f"git checkout HEAD~1 -- {path}" if path == paths.AUDIT else command


def _head() -> Iterator[Finding]:
    commit = git.run("rev-parse", "--verify", "--quiet", "HEAD", default="").strip()
    if not commit:
        start = "git add --all && git commit --message Start"
        yield Finding(SUBJECT, "fault", "there is no commit yet, so no result has an author", start)
    elif not git.run("branch", "--show-current", default="").strip() and not os.environ.get("CI"):
        main = [name for name in ("main", "master") if git.run("branch", "--list", name, default="").strip()]
        kept = main and git.run("merge-base", "--is-ancestor", "HEAD", main[0], default="no") != "no"
        command = f"git switch {main[0]}" if kept else "git switch --create work"
        said = f"no branch is checked out (commit {commit[:8]}): what is committed now belongs to none"
        yield Finding(SUBJECT, "warning", said, command)


def _shallow() -> Iterator[Finding]:
    if revisions.is_shallow():
        said, _, command = revisions.SHALLOW.partition(": `")
        said += ", and reviews, drift over several deliveries and who made a model need more"
        yield Finding(SUBJECT, "warning", said, command.partition("`")[0])


def _tracked() -> Iterator[Finding]:
    """What DVC keeps must not be in Git too: Git would win, and DVC refuses."""
    try:
        kept = dvc_outputs()
    except ProjectError as error:
        yield Finding("DVC", "fault", str(error), "git diff HEAD -- dvc.yaml dvc.lock")
        return
    both = git.run("ls-files", "-z", "--", *kept, default="").split("\0")[:-1] if kept else []
    if both:
        said = f"{named(both)} {'is' if len(both) == 1 else 'are'} in Git, though DVC keeps it"
        tops = [name for name in kept if any(one == name or one.startswith(f"{name}/") for one in both)]
        command = f"git rm -r --quiet --cached {' '.join(tops)} && dvc commit --force"
        yield Finding(SUBJECT, "fault", said, command, figures={"files": both})


def _hidden() -> Iterator[Finding]:
    """The files by which Git knows the versions of the data: where a rule ignores them, DVC adds nothing."""
    names = [f"{folder.as_posix()}.dvc" for folder in (paths.RAW, paths.INCOMING, paths.EVENTS)]
    if hidden := git.run("check-ignore", "--no-index", "--", *names, default="").splitlines():
        said = f"Git ignores {named(hidden)}, so DVC adds no data: ignore files of data/ by their names"
        yield Finding(SUBJECT, "fault", said, f"git check-ignore --verbose --no-index {hidden[0]}")


def dvc_outputs() -> dict[str, str]:
    """What DVC keeps of the work tree: the MD5 by path ("" before the first run), of folders with `.dir` at its end.

    Raises:
        StoreError: dvc.yaml, dvc.lock or a .dvc file cannot be read.
    """
    now = revisions.find("")
    outs: dict[str, str] = {}
    stages = (yaml.read(paths.PIPELINE) or {}).get("stages", {}) if paths.PIPELINE.is_file() else {}
    for stage in stages.values():
        for entry in (entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])):
            [(path, options)] = entry.items() if isinstance(entry, dict) else [(entry, {})]
            if (options or {}).get("cache", True) is not False:
                outs[path] = now.digests.get(path, "")
    for tracked in data_files():
        outs[tracked.with_suffix("").as_posix()] = now.data(tracked.with_suffix("").as_posix())
    return outs


def data_files() -> list[Path]:
    """The .dvc files of the project."""
    return sorted(path for form in ("*.dvc", "*/*.dvc") for path in Path().glob(form) if path.is_file())


def _future(now: datetime) -> Iterator[Finding]:
    log = git.run("log", f"-{RECENT}", "--format=%ct %h", default="").split("\n")[:-1]
    late = [(int(line.split()[0]), line.split()[1]) for line in log]
    late = [(seconds, name) for seconds, name in late if seconds > now.timestamp() + FUTURE]
    if late:
        seconds, name = max(late)
        when = datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="minutes")
        said = f"commit {name} is from the future ({when} UTC): this clock is slow, or that of who made it was fast"
        yield Finding("clock", "warning", said, "timedatectl set-ntp true", figures={"commits": len(late)})


def project_root() -> None:
    """Check that the commands run in a project.

    Raises:
        StoreError: this folder is none.
    """
    if not (params.FILE.is_file() or paths.PIPELINE.is_file()):
        raise StoreError(
            f"{Path.cwd()} has neither {paths.PIPELINE} nor {params.FILE}: run this in the project's folder"
        )
