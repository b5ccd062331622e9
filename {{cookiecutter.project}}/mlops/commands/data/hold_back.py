"""`data hold-back`: the newest labelled rows become the first delivery, so that there is something to watch."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from mlops.base.errors import DataError
from mlops.commands import options
from mlops.data import parsing
from mlops.data.schema import Schema
from mlops.history import paths
from mlops.intake import deliveries, tables

SHARE = 0.1
# Of fewer rows every one is needed to learn from.
LEAST_ROWS = 500
# The rows of a class that must stay.
LEAST_LEFT = 0.5


def hold_back(
    raw: Annotated[Path, typer.Option(help="Folder of labelled deliveries.")] = paths.RAW,
    incoming: Annotated[Path, typer.Option(help="Folder of the newest delivery, still empty.")] = paths.INCOMING,
    schema: options.Schema = paths.SCHEMA,
    dry_run: options.DryRun = False,
) -> None:
    """Keep the newest tenth of the labelled rows back as the first delivery to watch.

    The newest rows are the newest by the column of the role time, else the last ones.

    Raises:
        DataError: there is no data, or a delivery is there already.
    """
    layout = tables.read_schema(schema)
    paths = deliveries.present(raw)
    if waiting := deliveries.listed(incoming):
        raise DataError(f"{waiting[0]} is a delivery already: nothing is kept back")
    time = layout.with_role("time")
    wanted = [*time, layout.target]
    parts = [_typed(path, layout, wanted) for path in paths]
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
    for path, away in zip(paths, np.split(newest, ends[:-1]), strict=True):
        if away.any() and not dry_run:
            deliveries.divide(path, away, incoming / path.name)
    verb = "would be kept" if dry_run else "kept"
    typer.echo(f"{newest.sum()} of {len(table)} rows, {by}, {verb} back as the first delivery in {incoming}")


def _typed(path: Path, schema: Schema, wanted: list[str]) -> pd.DataFrame:
    """Some columns of one delivery, each with its type."""
    return pd.concat(
        [
            pd.DataFrame({name: parsing.column(raw[name], schema.columns[name], schema.missing) for name in wanted})
            for raw in deliveries.batches(path, wanted)
        ],
        ignore_index=True,
    )


def _newest(time: pd.Series) -> NDArray[np.bool_]:
    """The newest tenth, shape (n,); rows of one instant stay together, and those without a time are old."""
    known = time.dropna().sort_values()
    boundary = known.iloc[len(known) - 1 - round(SHARE * len(known))]
    later = time > boundary if (time > boundary).any() else time == boundary
    newest: NDArray[np.bool_] = later.fillna(False).to_numpy(dtype=bool)
    return newest


def _loses(target: pd.Series, away: NDArray[np.bool_]) -> str:
    """A class that would lose most of its rows, where rows are ordered by it; "" if there is none."""
    if target.dtype not in ("str", "boolean"):
        return ""
    gone = target[away].value_counts() / target.value_counts()
    lost = gone[gone > 1 - LEAST_LEFT]
    return str(lost.index[0]) if len(lost) else ""
