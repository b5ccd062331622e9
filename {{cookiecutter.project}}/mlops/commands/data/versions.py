"""`data log` and `data get`: every version of the data, and any of them checked out beside the work tree."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console
from mlops.commands.options import AsJson, DryRun
from mlops.history import data_versions, paths, revisions

DIGITS = 8
PIPE = 250  # columns of text, for whoever reads it in a file


def log(as_json: AsJson = False) -> None:
    """List every version of the data: when, who, commit, digest, files, rows, size, message."""
    found = [version for folder in data_versions.FOLDERS for version in data_versions.log(folder)]
    if as_json:
        console.print_json([version.as_dict() for version in found])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("version", "when", "who", "commit", "digest", "files", "rows", "size"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("files", "rows", "size") else "left")
    table.add_column("message", overflow="fold")
    for version in found:
        name = f"{version.folder} {version.number}" + (f" ({', '.join(version.tags)})" if version.tags else "")
        rows = "–" if version.rows is None else f"{version.rows:,}"
        when, commit = version.when[:16].replace("T", " "), version.commit[:DIGITS]
        said = f"{version.message} · {version.origin}" if version.origin else version.message
        if version.commit == revisions.WORK_TREE:
            commit = revisions.WORK_TREE
        cells = (
            name,
            when,
            version.who,
            commit,
            version.digest[:DIGITS],
            f"{version.files}",
            rows,
            _size(version.size),
        )
        table.add_row(*cells, said)
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PIPE).print(table)
    if any(version.rows is None for version in found):
        typer.echo("–: not in DVC's cache; `dvc fetch --all-commits` brings it there")
    if revisions.is_shallow():
        typer.echo("this clone has a part of the history only: `git fetch --unshallow` brings all of it")


def get(
    version: Annotated[str, typer.Argument(help="A number of the log, a tag, a commit, or the start of a digest.")],
    folder: Annotated[str, typer.Option(help="data/raw or data/incoming.")] = paths.RAW.as_posix(),
    to: Annotated[Path | None, typer.Option(help="The new folder; beside the data by default.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Check a version of the data out to a new folder; the work tree stays as it is.

    Raises:
        ProjectError: there is no such version, or it cannot be fetched, or the folder is there already.
    """
    found = data_versions.find(version, folder)
    called = found.number or found.commit[:DIGITS]
    goal = to or Path(f"{folder}-{called}")
    size = _size(found.size)
    said = f"version {called} of {folder} ({found.digest[:DIGITS]}, files: {found.files}, {size})"
    if not dry_run:
        data_versions.check_out(found, goal)
    typer.echo(f"{said} {'would be' if dry_run else 'is'} in {goal}")


def _size(size: float) -> str:
    units = ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"
