"""`resolve`: bring the results' own files in order after a merge conflict, or after DVC was killed."""

import json
from collections.abc import Collection
from pathlib import Path

import typer

from mlops.base import files, yaml
from mlops.base.errors import StoreError
from mlops.commands.options import DryRun
from mlops.history import dvc, git, paths

OURS, THEIRS = 2, 3  # stages of a conflict in Git's index; 1 is the common ancestor
# The command that continues after the conflicts, by the Git reference that exists meanwhile.
NEXT = {
    "REBASE_HEAD": "git rebase --continue",
    "CHERRY_PICK_HEAD": "git cherry-pick --continue",
    "REVERT_HEAD": "git revert --continue",
}


def resolve(dry_run: DryRun = False) -> None:
    """Settle conflicts in results, and mend a cut-off dvc.lock.

    The stale stages run, and dvc.lock and the reports that they write are added to Git. The files stay in conflict for
    Git until the pipeline has run, so the command can be repeated. A dvc.lock or a .dvc file that ends too early
    becomes what Git has of it; nothing is run for that.

    Raises:
        StoreError: another file is in conflict, the data cannot be fetched, or the pipeline fails.
    """
    sides = _conflicts()
    if _repair(sides, dry_run=dry_run) and not sides:
        return
    if not sides:
        typer.echo("no file is in conflict")
        return
    _refuse([path for path in sides if path == paths.PIPELINE.as_posix()])  # dvc.yaml names the results
    results = _results()
    _refuse([path for path in sides if not any(path == out or path.startswith(f"{out}/") for out in results)])
    names = ", ".join(sides)
    typer.echo(f"{'to be ' if dry_run else ''}written again by the pipeline: {names}")
    if dry_run:
        return
    for path, stages in sides.items():
        # Either side will do, because DVC runs what is stale; no side is there if both deleted the file.
        if stages & {OURS, THEIRS}:
            git.run("checkout", "--ours" if OURS in stages else "--theirs", "--", path)
    again = "then run `python -m mlops resolve` again"
    # A merge brings the new data/*.dvc but not the data, and `dvc repro` would take the old data for a change.
    if tracked := git.run("ls-files", "-z", "--", "*.dvc").split("\0")[:-1]:
        dvc.run("checkout", *tracked, hint=f"get the data with `dvc pull {' '.join(tracked)}`, {again}", capture=False)
    dvc.run("repro", hint=f"mend what it names above, {again}", capture=False)
    git.run("add", "--all", "--", *git.run("ls-files", "-z", "--", *results).split("\0")[:-1])
    merge = [NEXT[name] for name in NEXT if git.run("rev-parse", "-q", "--verify", name, default="")]
    typer.echo(f"resolved: {names}; go on with `{(merge or ['git commit'])[0]}`")


def _repair(sides: Collection[str], *, dry_run: bool) -> bool:
    """Bring back the last good state of DVC's files that end too early, but of none in conflict; whether any did."""
    tracked = git.run("ls-files", "-z", "--", "*.dvc").split("\0")[:-1]
    files_of_dvc = [path for path in (dvc.RUNNING, paths.LOCK, *map(Path, tracked)) if path.is_file()]
    broken = [path for path in files_of_dvc if path.as_posix() not in sides and not dvc.is_whole(path, _text(path))]
    if not broken:
        return False
    verb = "to be brought back" if dry_run else "brought back as Git has it"
    typer.echo(f"cut off while DVC wrote it, and {verb}: {', '.join(map(str, broken))}")
    if dry_run:
        return True
    for path in broken:
        # Git's index has what DVC staged after the last commit.
        known = (git.run("show", f"{source}:./{path.as_posix()}", default="") for source in ("", "HEAD"))
        if good := next((text for text in known if dvc.is_whole(path, text)), ""):
            files.write_text(path, good)
        else:
            path.unlink()
    if not sides:
        stale = json.loads(dvc.run("status", "--json", hint="see `dvc status`"))
        typer.echo(f"stale now: {', '.join(stale)}; go on with `dvc repro`" if stale else "nothing is stale")
    return True


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _conflicts() -> dict[str, set[int]]:
    """The files of this project that are in conflict, each with the sides that have the file."""
    sides: dict[str, set[int]] = {}
    for line in git.run("ls-files", "--unmerged", "-z").split("\0")[:-1]:
        entry, path = line.split("\t", 1)
        sides.setdefault(path, set()).add(int(entry.split()[-1]))
    return sides


def _results() -> set[str]:
    """The files and folders that the pipeline writes into Git: dvc.lock, and every output outside DVC's cache."""
    entries = [
        entry
        for stage in yaml.read(paths.PIPELINE)["stages"].values()
        for kind in ("outs", "metrics", "plots")
        for entry in stage.get(kind, [])
        if isinstance(entry, dict)
    ]
    in_git = {path for entry in entries for path, options in entry.items() if options.get("cache") is False}
    return {paths.LOCK.as_posix()} | in_git


def _refuse(others: list[str]) -> None:
    """Raise an error that names files in conflict which the pipeline does not write."""
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
