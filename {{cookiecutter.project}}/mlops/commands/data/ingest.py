"""`ingest`: add a delivery to the project, after the whole delivery has been checked."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import typer

from mlops.base import console, files, locks, params, yaml
from mlops.base.errors import DataError, ProjectError, StoreError
from mlops.commands import options
from mlops.commands.data import ingest_predictions
from mlops.data import checks, parsing
from mlops.data.schema import Schema
from mlops.history import dvc, paths
from mlops.intake import collecting, deliveries, event_files, sources, tables, zones
from mlops.serving import delivery
from project import features

ASIDE = Path(".dvc/tmp/ingest")
LOCK_TIMEOUT = 600  # seconds to wait for another delivery
FOLDERS = {True: paths.RAW, False: paths.INCOMING}


def ingest(
    source: Annotated[str | None, typer.Argument(help="A path, an http(s) or s3 URL, or a database URL.")] = None,
    query: Annotated[str | None, typer.Option(help="What to read from a database: SELECT …")] = None,
    labelled: Annotated[
        bool, typer.Option("--labelled", help="Add it to data/raw/, to train on; its target is known.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the file; by default the name of the source.")] = None,
    from_predictions: Annotated[
        bool, typer.Option("--from-predictions", help="In place of a source: what the model server was asked.")
    ] = False,
    since: Annotated[
        str | None, typer.Option(help="Predictions from then on (2026-11-01); by default where the last ingest ended.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Predictions before that time; by default until now.")] = None,
    variant: Annotated[
        Literal["champion", "challenger"] | None, typer.Option(help="Predictions of this variant alone.")
    ] = None,
    schema: options.Schema = paths.SCHEMA,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
) -> None:
    """Bring in a delivery of data, or refuse it whole.

    The delivery is checked against schema.yaml, written as Parquet, and tracked with DVC. A labelled delivery is added
    to `data/raw/`; any other delivery replaces the files in `data/incoming/`. The same command completes what was
    killed.

    With `--from-predictions` the delivery is what the model server was asked in a period, with the labels that have
    come by feedback.

    Raises:
        ProjectError: the source cannot be read, the data breaks the schema, or DVC fails; no file is changed then.
    """
    asked = {"--since": since, "--until": until, "--variant": variant}
    _refuse_options(source, {"--query": query, "--labelled": labelled} if from_predictions else asked, from_predictions)
    history = params.load(params.Features, missing_ok=True)
    layout, events = event_files.with_history(tables.read_schema(schema), history, paths.EVENTS)
    folder, taken = FOLDERS[labelled], None
    log = Path(params.load(params.Serving, missing_ok=True).folder)
    if not Path(".dvc").is_dir():
        raise StoreError(f"{Path.cwd()} is no project of DVC: run this where schema.yaml and .dvc are")
    with _alone() as aside:
        inbox = Path(aside, "inbox")
        inbox.mkdir()
        period = None if source else ingest_predictions.period(log, since, until, variant)
        origin = sources.described(source, query) if source else f"predictions {period}"
        try:
            if source:
                path = sources.fetch(source, query, inbox)
            if period:
                path = inbox / "predictions.parquet"
                taken = delivery.write(log, layout, period, path)
            required = layout.delivered if labelled else layout.needed
            terms = deliveries.terms(layout.from_outside)
            _refuse_columns(path, layout, required, terms)
            with collecting.collected(
                *(inbox, layout, required, features.derive, Path(aside, "typed.parquet"), terms.ragged, events)
            ) as delivered:
                _refuse(delivered, layout, ids_may_repeat=from_predictions)
                facts, zoned = _facts(delivered, layout), zones.of([path])
        except ProjectError as error:
            sentence = str(error).replace(f"{inbox}/", "").replace(str(inbox), origin)
            raise type(error)("; ".join([sentence, *(taken.sentences()[1:] if taken else ())])) from None
        stem = sources.stem(name or path.name)
        new = folder / f"{datetime.now(UTC):%Y-%m-%d}-{stem}-{facts['digest'][:8]}.parquet"
        goal = next(iter(folder.glob(f"*-{facts['digest'][:8]}.parquet")), new)
        facts = {"source": origin, "file": goal.as_posix(), **facts}
        if taken and period:
            facts["predictions"] = {**period.as_dict(), **taken.as_dict()}
        known = goal.exists() and _has_version(goal, dry_run=dry_run)
        if not known:
            _refuse_losses(goal, replace=not labelled)
        if not (known or dry_run):
            if not goal.exists():
                unclean = set(delivered.losses)
                tables.write_batches(Path(aside, goal.name), _as_stored(path, layout, unclean, terms))
            _place(Path(aside, goal.name), goal, Path(aside, "before"), facts["source"], replace=not labelled)
        if period and not dry_run and not (since or variant):  # a part of the log is no mark
            ingest_predictions.remember(log, period)
    if as_json:
        console.print_json(facts)
    else:
        said = [result.sentence() for result in checks.check_losses(facts["losses"], layout, facts["rows"])]
        said += [f"{name}: {zones.sentence(zone)}" for name, zone in zoned.items()]
        said += delivered.findings.sentences()
        said += taken.sentences() if taken else []
        typer.echo(_summary(facts, said, known=known, dry_run=dry_run, labelled=labelled))


def _refuse_options(source: str | None, useless: dict[str, Any], from_predictions: bool) -> None:
    """Raise an error of wrong usage: no source or two, or options that say nothing about the one that is given."""
    if bool(source) == from_predictions:
        raise typer.BadParameter("give a source, or --from-predictions for what the model server was asked")
    if given := [name for name, value in useless.items() if value]:
        raise typer.BadParameter(f"with{'' if from_predictions else 'out'} --from-predictions, leave out {given[0]}")


@contextmanager
def _alone() -> Iterator[str]:
    """A temporary folder for this process, while no other one brings a delivery in.

    Raises:
        StoreError: another delivery does not come to its end.
    """
    ASIDE.mkdir(parents=True, exist_ok=True)
    message = "another `ingest` is running in this project: try again when it has ended"
    with locks.exclusive(ASIDE.with_suffix(".lock"), message, LOCK_TIMEOUT):
        for left in ASIDE.iterdir():  # by a process that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=ASIDE) as aside:
            yield aside


def _refuse_columns(path: Path, schema: Schema, required: list[str], terms: deliveries.Terms) -> None:
    """Raise an error that names all missing and all unknown columns."""
    names = pd.DataFrame(columns=deliveries.columns(path, terms), dtype="str")
    reasons = []
    for needed in (required, []):
        try:
            parsing.parse(names, schema, str(path), needed)
        except DataError as error:
            reasons.append(str(error))
    if reasons:
        raise DataError("; ".join(dict.fromkeys(reasons)))


def _refuse(delivered: collecting.Delivered, schema: Schema, *, ids_may_repeat: bool) -> None:
    """Raise an error that names all violations of `schema`, and lines of which too many were left out.

    Labels may be missing. Ids may repeat among predictions: whoever is asked about twice is twice in their log.
    """
    table, most = delivered.table, params.load(params.Validate, missing_ok=True).left_out_error
    found = checks.combine(checks.check_columns(batch, schema, 1.0) for batch in table.batches())
    found = checks.with_unreadable(found, delivered.unparseable)
    if not ids_may_repeat:
        found += [checks.check_ids(table[name]) for name in schema.with_role("id") if name in table]
    found += checks.check_lines({"files": delivered.files, **delivered.findings.as_dict()}, most)
    unlabelled = [result for result in found if result.column == schema.target and result.check == "missing values"]
    broken = [result for result in found if not result.passed and result.severity == "error"]
    reasons = [result.sentence() for result in broken if result not in unlabelled]
    if reasons:
        raise DataError(
            f"the delivery is refused, and nothing was changed: {'; '.join(reasons)}. Correct it in its source, or the "
            "limits in schema.yaml"
        )


def _facts(delivered: collecting.Delivered, schema: Schema) -> dict[str, Any]:
    table = delivered.table
    times = [name for name in schema.with_role("time") if name in table]
    period = [str(end) for end in (table[times[0]].min(), table[times[0]].max())] if times else None
    [rows] = delivered.files.values()
    return {
        "rows": rows,
        "columns": sum(name in table for name in set(schema.kept).difference(schema.derived)),
        "period": period,
        "digest": table.digest(),
        **delivered.facts,
    }


def _as_stored(path: Path, schema: Schema, unclean: set[str], terms: deliveries.Terms) -> Iterator[pd.DataFrame]:
    """The delivery as it is stored: with types where no value is lost, else with the original values."""
    for batch in deliveries.batches(path, terms=terms):
        clean = [name for name in schema.delivered if name in batch and name not in unclean]
        typed = {name: parsing.column(batch[name], schema.columns[name], schema.missing) for name in clean}
        yield pd.DataFrame({**batch, **typed}, index=batch.index)  # not assign: a column may be called `self`


def _place(written: Path, goal: Path, before: Path, source: str, *, replace: bool) -> None:
    """Move a file into its folder, unless it is there, and track the folder with DVC; undo both if anything fails."""
    folder, tracked = goal.parent, goal.parent.with_suffix(".dvc")
    before.mkdir()
    with _undo_on_failure(goal, tracked, before):
        folder.mkdir(parents=True, exist_ok=True)
        for old in deliveries.listed(folder) if replace else []:
            if old != goal:
                shutil.move(old, before / old.name)
        if not goal.exists():
            with files.written_whole(goal) as part:
                shutil.move(written, part)
        origin, new = f"{goal.name} from {source}", not tracked.exists()
        if not new:
            _note(tracked, origin)  # `dvc add` keeps the note
        _dvc("add", str(folder))  # with --quiet it would not say why it failed
        if new:
            _note(tracked, origin)


def _note(tracked: Path, origin: str) -> None:
    """Write the source of the newest data into its `.dvc` file."""
    content = yaml.read(tracked)
    content["outs"][0]["desc"] = origin
    files.write_text(tracked, yaml.dumped(content))


@contextmanager
def _undo_on_failure(goal: Path, tracked: Path, before: Path) -> Iterator[None]:
    """Restore the folder of `goal` on any failure or interrupt; its old files are in `before`."""
    folder, is_new = goal.parent, not goal.exists()
    kept = {path: path.read_bytes() if path.exists() else None for path in (tracked, folder.with_name(".gitignore"))}
    try:
        yield
    except BaseException:
        if is_new:
            goal.unlink(missing_ok=True)
        for path in before.iterdir():
            shutil.move(path, folder / path.name)
        for path, content in kept.items():
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
        raise


def _has_version(goal: Path, *, dry_run: bool) -> bool:
    """Whether the `.dvc` file beside the folder of `goal` has this file: not if `ingest` was killed after moving it."""
    tracked = goal.parent.with_suffix(".dvc")
    if tracked.exists() and not dvc.is_whole(tracked, yaml.text_of(tracked)) and not dry_run:
        tracked.unlink()  # it was cut off; `dvc add` writes it anew, since all files are there
    return goal not in _state(goal.parent)[1] and "desc" in yaml.read(tracked)["outs"][0]


def _state(folder: Path) -> tuple[bool, list[Path]]:
    """Whether a folder lacks files of its last version, and its files that are in no version."""
    if not folder.with_suffix(".dvc").exists():
        return False, deliveries.listed(folder) if folder.is_dir() else []
    status = json.loads(_dvc("data", "status", "--json", "--granular"))
    changed = {
        kind: [path for path in map(Path, status.get("uncommitted", {}).get(kind, [])) if path.is_relative_to(folder)]
        for kind in ("deleted", "added", "modified", "unknown")
    }
    lacks = changed["deleted"] or f"{folder.as_posix()}/" in status.get("not_in_cache", [])
    new = (path for kind in ("added", "modified", "unknown") for path in changed[kind] if path != folder)
    return bool(lacks), list(new)


def _refuse_losses(goal: Path, *, replace: bool) -> None:
    """Raise an error if files would be lost: files that were not pulled, or replaced files that no version has.

    Files that are replaced may be missing; files that stay may have been changed by hand.
    """
    folder = goal.parent
    lacks, new = _state(folder)
    if lacks and not replace:
        raise DataError(
            f"{folder} lacks files of its last version: fetch them with `dvc pull {folder}`, or say with "
            f"`dvc add {folder}` that they are to be left out"
        )
    if replace and (others := [path for path in new if path != goal]):
        raise DataError(f"{others[0]} is in no version yet: keep it as one with `dvc add {folder}`, or delete it")


def _dvc(*arguments: str) -> str:
    return dvc.run(*arguments, hint="nothing was changed")


def _summary(facts: dict[str, Any], said: list[str], *, known: bool, dry_run: bool, labelled: bool) -> str:
    period = f", {facts['period'][0]} to {facts['period'][1]}" if facts["period"] else ""
    rows = f"{facts['rows']} row{'s' if facts['rows'] != 1 else ''}"
    verb = "is there already" if known else "would be written" if dry_run else "is written and tracked"
    lines = [
        f"{rows} × {facts['columns']} columns{period}, digest {facts['digest'][:8]}: {facts['source']}",
        *said,
        f"{facts['file']} {verb}",
    ]
    if not (known or dry_run):
        look, record = ("", ", python -m mlops sync") if labelled else (" && python -m mlops check-drift", "")
        lines.append(f"next: dvc repro{look}; then git add --all, git commit, dvc push{record}")
    return "\n".join(lines)
