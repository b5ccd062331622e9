"""`features load`: bring events into the online store, of which a server makes the history of a row."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from mlops.base import console, files, params
from mlops.base.errors import DataError, ParameterError, StoreError, nearest
from mlops.base.params import EventTable
from mlops.commands.options import AsJson, DryRun
from mlops.data.schema import Schema
from mlops.history import paths
from mlops.intake import deliveries, event_files, event_store, tables
from mlops.intake.event_store import Place


def load(
    file: Annotated[
        Path | None, typer.Argument(help="File of more events (CSV, Parquet); without, those in params.yaml.")
    ] = None,
    table: Annotated[str, typer.Option(help="Only this table of params.yaml; of a file, the one it belongs to.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Also remove what the store has and the file lacks.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring events into the store that the model server asks.

    The server makes the history of a row of them (docs/features.md). The command adds what the store lacks, so that to
    load a file again changes nothing. Servers read meanwhile, and see all of a table's new events at once. The store is
    serving/events.sqlite (below serving.folder in params.yaml), or where MLOPS_EVENTS says: another file, or Redis.

    Raises:
        DataError: a file is missing, cannot be read or lacks a column, or a value in it is not of its type.
        ParameterError: params.yaml names no events, or not this table.
        StoreError: the store cannot be written, or without --replace something in it would be lost.
    """
    history = params.load(params.Features)
    if not history.tables:
        raise ParameterError(f"{params.FILE} names no events below features.tables: see docs/features.md")
    if table and table not in history.tables:
        raise ParameterError(f"--table {table} is none of features.tables: {nearest(table, history.tables)}")
    if file and not table and len(history.tables) > 1:
        raise ParameterError(f"{file} may belong to any of {', '.join(history.tables)}: say which by --table")
    if file and not file.is_file():
        raise DataError(f"{file} is missing: name a file of events")
    layout, _ = event_files.with_history(tables.read_schema(paths.SCHEMA), history, paths.EVENTS)
    event_store.beside(Path(params.load(params.Serving).folder))
    there = event_store.path()
    found = {}
    for name, one in history.tables.items():
        if table in ("", name):
            path = file or event_files.path_of(name, layout, paths.EVENTS)
            found[name] = _loaded(there, name, one, layout, path, replace=replace, dry_run=dry_run)
    if as_json:
        console.print_json({"store": str(there), "tables": found})
        return
    for name, facts in found.items():
        typer.echo(_sentence(name, facts, there, whole=file is None, dry_run=dry_run))
        if facts["future"]:
            typer.echo(
                f"WARNING: {name}: {_events(facts['future'])} in {facts['file']} more than a day in the future: see "
                "whether the times and their format are right",
                err=True,
            )


def _loaded(
    there: Place, name: str, table: EventTable, layout: Schema, path: Path, *, replace: bool, dry_run: bool
) -> dict[str, Any]:
    """Add the events of one file to one table, and say what is there now."""
    known, digest = event_store.tables(there).get(name), files.sha256(path)
    in_file = deliveries.columns(path)
    # A version in production may take a column that params.yaml names no more.
    former = [column for column in known.columns if column in in_file] if known else []
    gone = [column for column in known.columns if column not in (*in_file, *table.columns)] if known else []
    if gone and not replace:
        raise StoreError(
            f"{path} lacks {', '.join(gone)}, which the store has, maybe for a version in production: add it to the "
            "file, or make the table anew without it by --replace"
        )
    columns = list(dict.fromkeys([*former, *table.columns]))
    facts: dict[str, Any] = {"file": path.as_posix(), "rows": None, "left_out": None, "new": 0, "removed": 0}
    facts |= {"anew": False, "columns_removed": gone, "future": 0}
    same = known is not None and (known.digest, list(known.columns)) == (digest, columns) and not replace
    if not same:
        rows = event_files.read_file(path, name, table, layout, columns)
        late = np.datetime64(datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1))
        facts |= {"rows": rows.rows, "left_out": rows.left_out, "new": None, "future": int((rows.times > late).sum())}
        if not dry_run:
            added = event_store.add(there, name, rows.entities, rows.times, rows.values, digest=digest, replace=replace)
            facts |= {"new": added.new, "removed": added.removed, "anew": added.anew}
    fresh = event_store.freshness(there).get(name, {"events": 0, "last": None, "loaded": None})
    return facts | fresh


def _sentence(name: str, facts: dict[str, Any], there: Place, *, whole: bool, dry_run: bool) -> str:
    shown = there
    if isinstance(there, Path) and there.is_relative_to(Path.cwd()):
        shown = there.relative_to(Path.cwd())
    has = f"{shown} has {facts['events']:,}, the newest of {facts['last'] or 'no time'}"
    if facts["rows"] is None:
        return f"{name}: {facts['file']} is loaded; {has}"
    events = _events(facts["rows"])
    left = f", {facts['left_out']:,} of them without entity or time left out" if facts["left_out"] else ""
    if dry_run:
        return f"{name}: {facts['file']} has {events}{left}; nothing was changed; {has}"
    anew = " (its table was made anew, since its columns or types changed)" if facts["anew"] else ""
    gone = f", {_events(facts['removed'])} removed that the file lacks" if facts["removed"] else ""
    if facts["columns_removed"]:
        gone += f", without {', '.join(facts['columns_removed'])}, which the file lacks"
    more = facts["events"] - (facts["rows"] - facts["left_out"])
    verb = "is" if more == 1 else "are"
    other = f"; {more:,} of them {verb} not in the file: --replace removes them" if whole and more > 0 else ""
    return f"{name}: {events} in {facts['file']}{left}, {facts['new']:,} new{anew}{gone}; {has}{other}"


def _events(number: int) -> str:
    return f"{number:,} {'event' if number == 1 else 'events'}"
