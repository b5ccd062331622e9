"""`resolve`: end a merge that conflicts in what the pipeline writes, by letting the pipeline write it."""

import subprocess
import sys

import typer

from mlops.base import yaml
from mlops.base.errors import StoreError
from mlops.commands.options import DryRun
from mlops.history import git, paths

DVC = [sys.executable, "-m", "dvc"]
OURS, THEIRS = 2, 3  # the stages of a conflict in Git's index; 1 is what both sides came from
# What goes on once all is resolved, by the name under which Git keeps what is being brought in.
NEXT = {
    "REBASE_HEAD": "git rebase --continue",
    "CHERRY_PICK_HEAD": "git cherry-pick --continue",
    "REVERT_HEAD": "git revert --continue",
}


def resolve(dry_run: DryRun = False) -> None:
    """After a merge that conflicts in dvc.lock or in reports: run what is stale, and add what that writes.

    Until all of it has run they stay in conflict for Git, so that this can be run again.

    Raises:
        StoreError: another file is in conflict, the data cannot be had, or the pipeline fails.
    """
    found = conflicts()
    if not found:
        typer.echo("no file is in conflict")
        return
    _refuse([path for path in found if path == paths.PIPELINE.as_posix()])  # it says what the pipeline writes
    written = _written()
    _refuse([path for path in found if not _is_part(path, written)])
    typer.echo(f"{'to be ' if dry_run else ''}written again by the pipeline: {', '.join(found)}")
    if dry_run:
        return
    for path, sides in found.items():
        # Either side will do, since DVC runs what it does not belong to; where both deleted it there is none.
        if sides & {OURS, THEIRS}:
            git.run("checkout", "--ours" if OURS in sides else "--theirs", "--", path)
    # A merge brings the new data/*.dvc but not the data, and `dvc repro` would take the old data for a change.
    if tracked := git.run("ls-files", "-z", "--", "*.dvc").split("\0")[:-1]:
        _dvc("checkout", tracked, f"get the data with `dvc pull {' '.join(tracked)}`")
    _dvc("repro", [], "mend what it names above")
    git.run("add", "--all", "--", *git.run("ls-files", "-z", "--", *written).split("\0")[:-1])
    goes_on = next((NEXT[name] for name in NEXT if git.run("rev-parse", "-q", "--verify", name, default="")), None)
    typer.echo(f"resolved: {', '.join(found)}; go on with `{goes_on or 'git commit'}`")


def conflicts() -> dict[str, set[int]]:
    """The files of this project that are in conflict, each with the sides that have it."""
    found: dict[str, set[int]] = {}
    for line in git.run("ls-files", "--unmerged", "-z").split("\0")[:-1]:
        about, path = line.split("\t", 1)
        found.setdefault(path, set()).add(int(about.split()[-1]))
    return found


def _written() -> set[str]:
    """What the pipeline writes into Git: dvc.lock, and every output that DVC does not keep."""
    entries = [
        entry
        for stage in yaml.read(paths.PIPELINE)["stages"].values()
        for kind in ("outs", "metrics", "plots")
        for entry in stage.get(kind, [])
        if isinstance(entry, dict)
    ]
    kept = {path for entry in entries for path, options in entry.items() if options.get("cache") is False}
    return {paths.LOCK.as_posix()} | kept


def _is_part(path: str, written: set[str]) -> bool:
    return any(path == out or path.startswith(f"{out}/") for out in written)


def _refuse(others: list[str]) -> None:
    """Name the files in conflict that no pipeline can write."""
    if not others:
        return
    hint = "mend them, and `git add` them"
    if data := [path for path in others if path.endswith(".dvc")]:
        folder = data[0].removesuffix(".dvc")
        hint += (
            f" (`git checkout --ours {data[0]}` takes your data, `--theirs` the other; for the files of both "
            "take yours, and after the merge copy from what `python -m mlops data get COMMIT` lays beside it, and "
            f"`dvc add {folder}`)"
        )
    names = ", ".join(others)
    raise StoreError(f"in conflict, and not written by the pipeline: {names}; {hint}, then run this again")


def _dvc(command: str, targets: list[str], remedy: str) -> None:
    if subprocess.run([*DVC, command, *targets], check=False).returncode:
        raise StoreError(f"`dvc {command}` failed: {remedy}, then run `python -m mlops resolve` again")
