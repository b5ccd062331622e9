"""`data hold-back`: use the newest labelled rows as the first delivery, so that a new project can watch one."""

import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from mlops.base import files
from mlops.base.errors import DataError
from mlops.commands import options
from mlops.data import parsing
from mlops.history import paths
from mlops.intake import deliveries, tables

SHARE = 0.1
# With fewer rows, training needs all of them.
LEAST_ROWS = 500
# The share of each class that must stay.
LEAST_LEFT = 0.5
# The new files of both folders, all of them whole, until each is in its place.
READY = Path(".dvc/tmp/hold-back")


def hold_back(
    raw: Annotated[Path, typer.Option(help="Folder that the rows are taken from.")] = paths.RAW,
    incoming: Annotated[Path, typer.Option(help="Empty folder that they go to.")] = paths.INCOMING,
    schema: options.Schema = paths.SCHEMA,
    dry_run: options.DryRun = False,
) -> None:
    """Move the newest rows to data/incoming/, as a delivery to watch.

    A tenth of the rows is moved. The column with the role time says which rows are the newest; without such a column,
    the last rows are. The same command completes what was killed.

    Raises:
        DataError: there is no data, or there is a delivery already.
    """
    if READY.exists() and not dry_run:
        _place(raw, incoming)
        typer.echo(f"what was begun is completed: the newest rows are the first delivery in {incoming}")
        return
    layout = tables.read_schema(schema)
    terms = deliveries.terms(layout.from_outside)
    sources = deliveries.present(raw)
    if waiting := deliveries.listed(incoming):
        raise DataError(f"{waiting[0]} is a delivery already: nothing is kept back")
    time = layout.with_role("time")
    wanted = [*time, layout.target]
    parts = [
        pd.DataFrame({name: parsing.column(part[name], layout.columns[name], layout.missing) for name in wanted})
        for part in (deliveries.whole(path, wanted, terms) for path in sources)
    ]
    table = pd.concat(parts, ignore_index=True)
    if len(table) < LEAST_ROWS:
        typer.echo(f"{len(table)} rows are too few to keep any back (from {LEAST_ROWS} on, a tenth)")
        return
    newest = _newest(table[time[0]]) if time else np.arange(len(table)) >= len(table) - round(SHARE * len(table))
    by = f"the newest by {time[0]}" if time else "the last ones"
    if lost := _loses(table[layout.target], newest):
        typer.echo(f"nothing is kept back: {by} are most rows of the class {lost}")
        return
    ends = np.cumsum([len(part) for part in parts])
    if not dry_run:
        _make_ready(sources, np.split(newest, ends[:-1]), terms)
        _place(raw, incoming)
    verb = "would be kept" if dry_run else "kept"
    typer.echo(f"{newest.sum()} of {len(table)} rows, {by}, {verb} back as the first delivery in {incoming}")


def _make_ready(sources: list[Path], away: list[NDArray[np.bool_]], terms: deliveries.Terms) -> None:
    """Write what stays of each file, and the rows that are `away` (n,); a file of which no row stays is empty."""
    part = READY.with_name(f"{READY.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # a killed process may have left it
    for path, rows in zip(sources, away, strict=True):
        if rows.any():
            deliveries.select(path, rows, part / "incoming" / path.name, terms)
            if rows.all():
                files.write_text(part / "raw" / path.name, "")
            else:
                deliveries.select(path, ~rows, part / "raw" / path.name, terms)
    part.rename(READY)


def _place(raw: Path, incoming: Path) -> None:
    """Move what is ready into the folders, and go on where that was killed."""
    for name, folder in (("incoming", incoming), ("raw", raw)):
        folder.mkdir(parents=True, exist_ok=True)
        for path in (READY / name).glob("*"):
            if path.stat().st_size:
                shutil.move(path, folder / path.name)
            else:
                (folder / path.name).unlink(missing_ok=True)
                path.unlink()
    shutil.rmtree(READY)


def _newest(time: pd.Series) -> NDArray[np.bool_]:
    """Whether each row is in the newest tenth, shape (n,).

    Rows with the same time stay together; a row without a time is old.
    """
    known = time.dropna().sort_values()
    boundary = known.iloc[len(known) - 1 - round(SHARE * len(known))]
    later = time > boundary if (time > boundary).any() else time == boundary
    newest: NDArray[np.bool_] = later.fillna(False).to_numpy(dtype=bool)
    return newest


def _loses(target: pd.Series, away: NDArray[np.bool_]) -> str:
    """A class that would lose most of its rows, since the rows are ordered by class; "" if there is none."""
    if target.dtype not in ("str", "boolean"):
        return ""
    shares = target[away].value_counts() / target.value_counts()
    lost = shares.index[shares > 1 - LEAST_LEFT]
    return str(lost[0]) if len(lost) else ""
