"""`data log` and `data get`: every version of the data, and any of them checked out beside the work tree."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console
from mlops.base.errors import ParameterError
from mlops.commands.options import AsJson, DryRun
from mlops.history import data_versions, paths, revisions

DIGITS = 8
PIPE = 250  # columns of text, for whoever reads it in a file


def log(as_json: AsJson = False) -> None:
    """List the versions of the data: who brought what, and when."""
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
        typer.echo("–: not counted, because the data is not in DVC's cache; `python -m mlops data get` fetches it")
    if revisions.is_shallow():
        typer.echo("this clone has a part of the history only: `git fetch --unshallow` fetches the rest")


def get(
    version: Annotated[
        list[str],
        typer.Argument(
            metavar="[FOLDER] VERSION",
            help="As in `data log`: data/incoming 2, or 2 alone for data/raw. A tag, a commit or the start of a digest "
            "will do, too.",
        ),
    ],
    to: Annotated[Path | None, typer.Option(help="The new folder; by default data/raw-2 or the like.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Copy a version of the data into a new folder.

    The data of the project stays as it is.

    Raises:
        ProjectError: there is no such version, or it cannot be fetched, or the folder is there already.
    """
    folders = [name.rstrip("/") for name in version if name.rstrip("/") in data_versions.FOLDERS]
    names = [name for name in version if name.rstrip("/") not in data_versions.FOLDERS]
    if len(names) != 1 or len(folders) > 1:
        raise ParameterError(
            f"{' '.join(version)} is not one version: give {' or '.join(data_versions.FOLDERS)} and one of its "
            "versions (see `python -m mlops data log`)"
        )
    [name], [folder] = names, folders or [paths.RAW.as_posix()]
    found = data_versions.find(name, folder)
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
