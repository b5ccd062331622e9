"""`schema infer`: draft schema.yaml from the deliveries in a folder."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from mlops.base import files, params, yaml
from mlops.base.errors import DataError, ParameterError, SchemaError, nearest
from mlops.base.names import visible
from mlops.commands.options import DryRun
from mlops.data import event_features, parsing
from mlops.data.deriving import new_columns
from mlops.data.schema import Schema
from mlops.drafting import draft, spelling
from mlops.history import paths
from mlops.intake import deliveries, dialect, event_files, tables, zones

# Values in memory at once: some whole columns.
CELLS = 15_000_000
MOST_NAMED = 8  # columns that are worth a look


def infer(
    target: Annotated[str | None, typer.Option(help="The column to predict; with --update it is known.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of the data to look at.")] = paths.RAW,
    header: Annotated[str | None, typer.Option(help="Column names of files without a header: a,b,c.")] = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = paths.SCHEMA,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Only add the columns that the file lacks.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Draft schema.yaml from the data: types, roles and limits.

    A comment gives the reason of each guess that a person should check.

    Raises:
        DataError: there is no data, its files have different columns, or the target is not a column.
        ParameterError: neither the command line nor, with `update`, the schema gives a target.
        SchemaError: `out` has a different content, and neither `force` nor `update` is given.
    """
    sources, history = deliveries.present(data), params.load(params.Features, missing_ok=True)
    given = tuple(map(visible, header.split(","))) if header else ()
    if "" in given or len(set(given)) < len(given):
        raise ParameterError(f"--header {header} has an empty name, or one twice: give each column a name of its own")
    if update:
        layout = tables.read_schema(out)
        target, given = layout.target, given or tuple(layout.from_outside)
    terms = deliveries.terms(given)
    names = _same_columns(sources, terms)
    if header and names != list(given):
        raise ParameterError(f"{sources[0]} has a header of its own, {', '.join(names)}: leave out --header")
    if target is None:
        raise ParameterError("no target is given: name the column to predict with --target")
    target = visible(target)
    if target not in names:
        raise DataError(f"the target {target} is no column of {data}: {nearest(target, names)}")
    findings = deliveries.Findings()
    guesses = _guesses(sources, names, target, terms, findings)
    for name, zone in zones.of(sources).items():
        guesses[name] = draft.with_reason(guesses[name], zones.sentence(zone))
    columns = {name: guess.column for name, guess in guesses.items()}
    if update:
        columns |= tables.read_schema(out).columns
    guesses |= _derived_guesses(sources, Schema(columns=columns), terms, history)
    text, added = draft.to_yaml(guesses), list(guesses)
    if update:
        text, added = _updated(out, guesses)
    if dry_run:
        # Of an update only what is new: the rest of the file stays as it is.
        lines = draft.lines({name: guesses[name] for name in added}) if update else [text.rstrip("\n")]
        typer.echo("\n".join(lines) or f"nothing to add to {out}")
        return
    if out.exists() and out.read_text(encoding="utf-8") != text and not force and not update:
        raise SchemaError(
            f"{out} is there and differs from the draft: see the draft with --dry-run, add new columns with --update, "
            "or replace the file with --force"
        )
    files.write_text(out, text)
    if update:
        typer.echo(f"{out}: " + (f"added {', '.join(added)}" if added else "nothing to add"))
        return
    looks = [name for name, guess in guesses.items() if guess.reason]
    more = ", …" if len(looks) > MOST_NAMED else ""
    named = f": {', '.join(looks[:MOST_NAMED])}{more} (see the comments there)" if looks else ""
    typer.echo(f"wrote {out}: {len(guesses)} columns, {len(looks)} worth a look{named}")
    for sentence in findings.sentences():
        typer.echo(sentence)


def _same_columns(paths: list[Path], terms: deliveries.Terms) -> list[str]:
    names = {path: deliveries.columns(path, terms) for path in paths}
    for path in paths:
        if differing := sorted(set(names[path]) ^ set(names[paths[0]])):
            raise DataError(
                f"{path} and {paths[0]} differ in the columns {', '.join(differing)}: deliver the same columns"
            )
    return names[paths[0]]


def _guesses(
    paths: list[Path], names: list[str], target: str, terms: deliveries.Terms, findings: deliveries.Findings
) -> dict[str, draft.Guess]:
    texts = [path for path in paths if not deliveries.is_parquet(path)]
    separators = {dialect.of(path, terms.header).syntax.separator for path in texts}
    start = next(deliveries.batches(paths[0], cells=100_000, terms=terms))
    goal = _whole(paths, [target], terms, findings)[target]
    width = max(CELLS // max(len(goal), 1), 1)
    groups = [names[at : at + width] for at in range(0, len(names), width)]
    frames: Iterator[pd.DataFrame] = (_whole(paths, group, terms) for group in groups)
    return draft.infer(frames, goal, commas=spelling.commas(start, separators), year=date.today().year)


def _derived_guesses(
    sources: list[Path], schema: Schema, terms: deliveries.Terms, history: params.Features
) -> dict[str, draft.Guess]:
    """The guesses for the columns that are made of events or `project/features.py` adds, and the schema lacks."""
    from project import features

    parts = []
    counts = [name for name, _, one, _ in history.columns() if one.function == "count"]
    schema, events = event_files.with_history(schema, history, paths.EVENTS)
    for path in sources:
        for raw in deliveries.batches(path, terms=terms):
            needed = {name: schema.columns[name] for name in schema.needed if name in raw}
            typed = {name: parsing.column(raw[name], column, schema.missing) for name, column in needed.items()}
            table = pd.DataFrame(typed, index=raw.index)
            made = event_features.columns(table, schema.history, events)
            made = made.astype(dict.fromkeys(counts, "Int64"))
            table = pd.DataFrame({**table, **made}, index=table.index)
            added = pd.DataFrame({**made, **new_columns(table, features.derive)}, index=table.index)
            parts.append(added[[name for name in added if name not in schema.columns]])
            if parts[0].columns.empty:
                return {}
    target = _whole(sources, [schema.target], terms)[schema.target]
    guesses = draft.infer_derived(pd.concat(parts, ignore_index=True), target, commas=False)
    for name in guesses.keys() & set(history.names):  # nobody can correct what is computed: it has no limits
        # Nor is a count of 0 and 1 so far a boolean.
        kind = "integer" if name in counts else "number"
        limits = {"min": None, "max": None, "allowed": None, "max_missing": 1.0}
        open_ended = guesses[name].column.model_copy(update={"type": kind, **limits})
        guesses[name] = replace(guesses[name], column=open_ended)
    return guesses


def _whole(
    paths: list[Path], names: list[str], terms: deliveries.Terms, findings: deliveries.Findings | None = None
) -> pd.DataFrame:
    """All rows of some columns."""
    return pd.concat([deliveries.whole(path, names, terms, findings) for path in paths], ignore_index=True)


def _updated(out: Path, guesses: dict[str, draft.Guess]) -> tuple[str, list[str]]:
    """The text of `out` with a line for each missing column after the last column, and the names of these columns."""
    known = tables.read_schema(out).columns
    new = {name: guess for name, guess in guesses.items() if name not in known}
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    at, indent = yaml.end_of(out, "columns")
    lines[at - 1] = lines[at - 1].rstrip("\n") + "\n"
    lines[at:at] = [f"{' ' * indent}{line}\n" for line in draft.lines(new)]
    return "".join(lines), list(new)
