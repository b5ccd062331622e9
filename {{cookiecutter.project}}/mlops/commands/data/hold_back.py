"""`data hold-back`: use some of the labelled rows as the first delivery, so that a new project can watch one."""

import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from mlops.base import files
from mlops.base.errors import DataError, counted
from mlops.commands import options
from mlops.data import parsing
from mlops.history import paths
from mlops.intake import deliveries, tables

SHARE = 0.1
SEED = 1
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
    """Move a tenth of the rows to data/incoming/, to be watched.

    The column with the role time says which rows are the newest, and these are moved. Without such a column the order
    of the rows means nothing: a tenth is drawn at random, of each class if the target has classes. Both parts keep the
    order of the rows. The same command completes what was killed.

    Raises:
        DataError: there is no data, a file lacks the target or the time, or there is a delivery already.
    """
    if READY.exists() and not dry_run:
        _place(raw, incoming)
        typer.echo(f"what was begun is completed: the rows kept back are the first delivery in {incoming}")
        return
    layout = tables.read_schema(schema)
    terms = deliveries.terms(layout.from_outside)
    sources = deliveries.present(raw)
    if waiting := deliveries.listed(incoming):
        raise DataError(f"{waiting[0]} is a delivery already: nothing is kept back")
    time = layout.with_role("time")
    wanted = [*time, layout.target]
    for path in sources:
        parsing.require(deliveries.columns(path, terms), wanted, str(path))
    parts = [
        pd.DataFrame({name: parsing.column(part[name], layout.columns[name], layout.missing) for name in wanted})
        for part in (deliveries.whole(path, wanted, terms) for path in sources)
    ]
    table = pd.concat(parts, ignore_index=True)
    if len(table) < LEAST_ROWS:
        typer.echo(f"{counted(len(table), 'row')}: too few to keep any back (from {LEAST_ROWS} on, a tenth)")
        return
    away = _newest(table[time[0]]) if time else _drawn(table[layout.target])
    by = f"the newest by {time[0]}" if time else "drawn at random (no column has the role time)"
    if lost := _loses(table[layout.target], away):
        typer.echo(f"nothing is kept back: {by} are most rows of the class {lost}")
        return
    ends = np.cumsum([len(part) for part in parts])
    if not dry_run:
        _make_ready(sources, np.split(away, ends[:-1]), terms)
        _place(raw, incoming)
    verb = "would be kept" if dry_run else "kept"
    typer.echo(f"{away.sum()} of {len(table)} rows, {by}, {verb} back as the first delivery in {incoming}")


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


def _drawn(target: pd.Series) -> NDArray[np.bool_]:
    """Whether each row is drawn, shape (n,): the same share of each class, so that no class gets lost."""
    random = pd.Series(np.random.default_rng(SEED).random(len(target)), index=target.index)
    classes = target if _has_classes(target) else np.zeros(len(target))
    drawn: NDArray[np.bool_] = (random.groupby(classes, dropna=False).rank(pct=True) <= SHARE).to_numpy(dtype=bool)
    return drawn


def _loses(target: pd.Series, away: NDArray[np.bool_]) -> str:
    """A class that would lose most of its rows, since the rows are ordered by class; "" if there is none."""
    if not _has_classes(target):
        return ""
    shares = target[away].value_counts() / target.value_counts()
    lost = shares.index[shares > 1 - LEAST_LEFT]
    return str(lost[0]) if len(lost) else ""


def _has_classes(target: pd.Series) -> bool:
    return target.dtype in ("str", "boolean")
