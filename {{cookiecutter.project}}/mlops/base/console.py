"""The command line: one sentence instead of a traceback, progress for people only, facts as JSON."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import typer

from mlops.base.errors import ProjectError

T = TypeVar("T")


def run(command: Callable[..., None] | typer.Typer) -> None:
    """Run a command line; an error that a person can mend is printed as its sentence, and the exit code is 1."""
    if not isinstance(command, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(command)
        command = app
    try:
        command()
    except ProjectError as error:
        sys.exit(f"Error: {error}")


def progress(items: Iterable[T], total: int | None, what: str) -> Iterator[T]:
    """Pass `items` on, drawing a bar on standard error if that is a terminal; a log gets nothing.

    Without a `total` it only moves.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=what, total=total, console=Console(stderr=True), transient=True)


def print_json(facts: Any) -> None:
    """Print plain values as JSON for another program."""
    typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
