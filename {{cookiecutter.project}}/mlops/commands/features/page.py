"""`features page`: of each feature, what it is, whose it is, how fresh, how important, and whether it drifts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.base import console, files, pages, params
from mlops.base.errors import counted
from mlops.base.params import Aggregate, Features
from mlops.commands.options import AsJson
from mlops.data.schema import Schema
from mlops.history import paths
from mlops.intake import event_store, tables

PAGE = Path("reports/features.html")
WORDS = {"sum": "sum of", "mean": "mean of", "max": "largest", "last": "last"}


def page(
    html: Annotated[Path, typer.Option(help="Where the page goes.")] = PAGE,
    as_json: AsJson = False,
) -> None:
    """Write a page of all features.

    It says of each what it is, whose, how fresh, how important, and whether it drifts, as the reports of the last run
    have it; with --json it writes no page.

    Raises:
        ProjectError: schema.yaml, params.yaml or a report cannot be read.
    """
    history = params.load(params.Features)
    schema = tables.read_schema(paths.SCHEMA).with_history(history)
    event_store.beside(Path(params.load(params.Serving).folder))
    data = files.read_json(paths.DATASET) if paths.DATASET.is_file() else {}
    drift = files.read_json(paths.DRIFT) if paths.DRIFT.is_file() else {}
    online = event_store.freshness(event_store.path()) if history.tables else {}
    owner = params.load(params.Card).owner
    rows = features(schema, history, owner, data, _importances(), drift)
    found = {
        "data": {"digest": data.get("digest"), "period": data.get("period")},
        "delivery": (drift.get("delivery") or {}).get("digest"),
        "online": {name: online.get(name) for name in history.tables},
        "features": rows,
        "dates": len(rows) - len(schema.features),
    }
    if as_json:
        console.print_json(found)
        return
    pages.write_page(html, "features.html", **found)
    dated = ", with the row's time, whose drift is not watched" if found["dates"] else ""
    typer.echo(f"{counted(len(rows), 'feature')} {'are' if len(rows) > 1 else 'is'} in {html}{dated}")


def features(
    schema: Schema,
    history: Features,
    owner: str,
    data: dict[str, Any],
    importances: dict[str, float],
    drift: dict[str, Any],
) -> list[dict[str, Any]]:
    """A row of the registry for each input of a model, in the order of the schema; None is what nobody knows.

    `owner` is that of the project, `data` and `drift` are the reports of `prepare` and `monitor`.
    """
    made = {name: (table, one, days) for name, table, one, days in history.columns()}
    tests = {column["column"]: column for column in drift.get("columns", [])}
    period = (data.get("period") or {}).get("last")
    rows = []
    for name in schema.inputs:
        column = schema.columns[name]
        if name in made:
            table, one, days = made[name]
            words = history.tables[table]
            said = definition(one, days, table)
            whose, source = words.owner or owner, words.source or words.file
            last = data.get("events", {}).get(table, {}).get("last")
        elif column.derived:
            said, whose, source, last = "derived from its own row", owner, "project/features.py", period
        else:
            dated = name not in schema.features
            said = "the row's time: the model gets its month, weekday and hour" if dated else "delivered"
            whose, source, last = owner, paths.RAW.as_posix(), period
        test = tests.get(name)
        rows.append(
            {
                "name": name,
                "type": column.type,
                "definition": said,
                "owner": whose or None,
                "source": source,
                "last": last or None,
                "importance": importances.get(name),
                "drifted": test and test["drifted"],
                "effect": test and test["effect"],
            }
        )
    return rows


def definition(one: Aggregate, days: float | None, table: str) -> str:
    """What a column of history is, in words."""
    with_value = f" with {one.column}" if one.column else ""
    if one.function == "days_since":
        return f"days since the last event of {table}{with_value}"
    when = "at any time before" if days is None else f"in the {days:g} days before"
    if one.function == "count":
        return f"events of {table}{with_value} {when}"
    return f"{WORDS[one.function]} {one.column} of {table} {when}"


def _importances() -> dict[str, float]:
    path = paths.PLOTS / "importances.csv"
    if not path.is_file():
        return {}
    table = files.read_csv(path, text=["feature"]).dropna()
    return {str(name): float(value) for name, value in zip(table["feature"], table["importance"], strict=True)}
