"""`data log` and `data get`: every version of the data, and any of them checked out beside the work tree."""

import json
import sys
from pathlib import Path

import typer

from store import revisions, versions

DIGITS = 8
PIPE = 250  # columns of text, for whoever reads it in a file


def log(*, as_json: bool) -> None:
    """Print each version of the labelled data and of the deliveries."""
    found = [version for folder in versions.folders() for version in versions.log(folder)]
    if as_json:
        typer.echo(json.dumps([version.as_dict() for version in found], indent=2, ensure_ascii=False))
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


def get(name: str, folder: str, to: Path | None, *, dry_run: bool) -> None:
    """Check a version out to a new folder.

    Raises:
        ProjectError: there is no such version, or it cannot be fetched, or the folder is there already.
    """
    version = versions.find(name, folder)
    called = version.number or version.commit[:DIGITS]
    goal = to or Path(f"{folder}-{called}")
    size = _size(version.size)
    said = f"version {called} of {folder} ({version.digest[:DIGITS]}, files: {version.files}, {size})"
    if not dry_run:
        versions.check_out(version, goal)
    typer.echo(f"{said} {'would be' if dry_run else 'is'} in {goal}")


def _size(size: float) -> str:
    units = ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"
