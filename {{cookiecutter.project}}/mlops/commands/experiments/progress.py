"""What a person sees of a sweep: a table that moves, or a line for each candidate, and in the end the ranking."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer

from mlops.history.experiments import Outcome

if TYPE_CHECKING:
    from rich.table import Table

BEST = 10  # of the ranking that is printed
SHOWN = 3  # of the best, while it runs
MINUTES_FROM = 90  # seconds


@dataclass
class Board:
    """How a sweep stands: how many candidates there are, since when which of them run, and what came of the others."""

    total: int
    metric: str
    maximize: bool
    running: dict[str, float] = field(default_factory=dict)
    finished: list[Outcome] = field(default_factory=list)

    def best(self) -> list[Outcome]:
        """The finished ones that did not fail, the best first."""
        passed = [one for one in self.finished if one.mean is not None]
        return sorted(passed, key=lambda one: (one.mean or 0.0) * (-1 if self.maximize else 1))

    def failed(self) -> list[Outcome]:
        """Those that failed."""
        return [one for one in self.finished if one.mean is None]

    @contextmanager
    def shown(self) -> Iterator[Callable[[], None]]:
        """Draw it on a terminal, anew at every call of what this gives; elsewhere print a line for what has ended."""
        said = len(self.finished)

        def lines() -> None:
            nonlocal said
            for one in self.finished[said:]:
                said += 1
                typer.echo(f"[{said}/{self.total}] {_line(one)}", err=True)

        if not sys.stderr.isatty():
            yield lines
            return
        from rich.console import Console
        from rich.live import Live

        with Live(self._table(), console=Console(stderr=True), transient=True) as live:
            yield lambda: live.update(self._table())

    def print(self) -> None:
        """The ranking, and how to go on with the best."""
        ranked = self.best()
        for place, one in enumerate(ranked[:BEST], 1):
            typer.echo(f"{place:>3}  {_line(one)}")
        for one in self.failed():
            typer.echo(f"  –  {_line(one)}")
        if ranked:
            best, names = ranked[0].candidate.name, [one.candidate.name for one in ranked[:SHOWN]]
            typer.echo(f"\nthe best {self.metric} of {len(self.finished)}: {best}")
            typer.echo(f"  dvc exp apply {best}           # take it over into the work tree")
            typer.echo(f"  dvc exp branch {best} BRANCH   # make a branch of it")
            if len(names) > 1:
                typer.echo(f"  python -m mlops compare {' '.join(names)}   # is it really better?")

    def _table(self) -> "Table":
        from rich.table import Table

        table = Table(box=None, pad_edge=False, title=self._headline(), title_justify="left")
        for name in ("experiment", self.metric, "seconds", "changes"):
            table.add_column(name, overflow="fold")
        for one in self.best()[:SHOWN]:
            table.add_row(one.candidate.name, _value(one), f"{one.seconds:.0f}", " ".join(one.candidate.overrides))
        for name, since in self.running.items():
            table.add_row(name, "running", f"{time.monotonic() - since:.0f}", "")
        return table

    def _headline(self) -> str:
        took = [one.seconds for one in self.finished if one.seconds]
        said = f"{len(self.finished)} of {self.total} finished, {len(self.failed())} failed"
        if not (took and self.running):
            return said
        mean, now = sum(took) / len(took), time.monotonic()
        waiting = self.total - len(self.finished) - len(self.running)
        left = waiting * mean + sum(max(mean - (now - since), 0) for since in self.running.values())
        left /= len(self.running)
        return f"{said}, about {left / 60:.0f} min left" if left > MINUTES_FROM else f"{said}, about {left:.0f} s left"


def _line(one: Outcome) -> str:
    return f"{_value(one)}  {one.candidate.name}  {' '.join(one.candidate.overrides)}"


def _value(one: Outcome) -> str:
    return f"failed: {one.failed}" if one.mean is None else f"{one.mean:.4f} ± {one.std:.4f}"
