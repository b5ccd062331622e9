"""`feedback`: tell a running server what became of its predictions, from a file."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from mlops.base import console, params
from mlops.base.errors import DataError, ParameterError, StoreError, counted
from mlops.commands.data import ingest_predictions
from mlops.commands.options import AsJson, DryRun
from mlops.commands.production.predict import CELLS, KEY, as_json_value, first_fault, smaller
from mlops.data.digest import PREDICTION
from mlops.intake import deliveries, tables
from mlops.intake.deliveries import Terms
from mlops.serving.client import Client, RefusedError

if TYPE_CHECKING:
    import pandas as pd

    from mlops.data.schema import Schema
    from mlops.serving.asked import Found

PREDICTION_ID, ACTUAL = "prediction_id", "actual"
MOST_FAULTS = 5  # that are named
MOST_CLASSES = 10  # that are listed
AGAIN = "correct it and give the same command again: a label that comes twice counts once"

Asked = Callable[["pd.DataFrame"], "list[Found | None]"]


class Label(NamedTuple):
    """The position of a row in the file, and its actual value as JSON has it."""

    row: int
    actual: Any


@dataclass
class Labels:
    """The labels of a file by prediction id, and how many rows gave none and why."""

    by_id: dict[str, Label] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    again: int = 0  # rows that asked for the same row more than once
    faults: list[tuple[int, str]] = field(default_factory=list)
    unasked: str = "that was never asked about"

    def add(self, row: int, prediction: str, actual: Any) -> None:
        """Keep a label; another value for the same prediction is a fault."""
        known = self.by_id.setdefault(prediction, Label(row, actual))
        if known.row != row and json.dumps(known.actual) != json.dumps(actual):
            self.faults.append((row, f"another value for a prediction that has one in row {known.row + 1}"))
        elif known.row != row:
            self.left_out["that repeats a label"] += 1

    def reasons(self) -> str:
        """Why rows gave no label."""
        return ", ".join(f"each row {why} ({count})" for why, count in self.left_out.items())


def feedback(
    file: Annotated[Path, typer.Argument(help="File of labels (CSV, TSV, their .gz, Parquet).")],
    url: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:8000",
    actual: Annotated[
        str, typer.Option(help="Column of the actual values; by default `actual`, else the target in schema.yaml.")
    ] = "",
    since: Annotated[
        str | None, typer.Option(help="By ids of rows: only predictions from then on, such as 2026-11-01.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="By ids of rows: only predictions before that time.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Labels in one request.")] = 500,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 60.0,
    schema: Annotated[Path, typer.Option(help="What the columns are; needed for ids of rows.")] = Path("schema.yaml"),
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Tell a running server what became of its predictions.

    The file has a column `prediction_id`, as the answers of `predict` have it. Without one, the columns of the role
    `id` tell the rows, and each label goes to the newest prediction of its row in this machine's prediction log. Rows
    without an actual value wait for another file. The whole file is checked before anything is sent. What fails for a
    passing reason is sent again, and a label that comes twice counts once, so the same command may be given again. An
    API key is taken from MLOPS_API_KEY.

    Raises:
        DataError: the file cannot be used, or the server refuses a label; the sentence says which one.
        ParameterError: the address or a time cannot be used.
        StoreError: the server cannot be reached or refuses, or the log cannot be read.
    """
    if not file.is_file():
        raise DataError(f"{file} is missing: name a file of labels")
    try:
        asking = Client(url, os.environ.get(KEY, ""), timeout)
    except ValueError as error:
        raise ParameterError(str(error)) from None
    terms = deliveries.terms(())
    labels = _read(file, terms, tables.read_schema(schema) if schema.is_file() else None, actual, since, until)
    sent = 0
    with asking:
        parts = [] if dry_run else _parts(labels.by_id, rows)
        for part in console.progress(parts, None, f"sending {file.name}"):
            sent += _send(asking, part, file, terms, sent)
    if as_json:
        facts = {"labels": len(labels.by_id), "sent": sent, "left_out": dict(labels.left_out), "again": labels.again}
        console.print_json(facts)
        return
    said = f"{counted(len(labels.by_id), 'label')} of {file} " + ("would be sent" if dry_run else f"went to {url}")
    notes = [f"left out: {left_out}"] if (left_out := labels.reasons()) else []
    if labels.again:
        notes.append(f"{counted(labels.again, 'row')} had several predictions, of which the newest counts")
    typer.echo("; ".join([said, *notes]))


def _read(
    file: Path, terms: Terms, schema: "Schema | None", actual: str, since: str | None, until: str | None
) -> Labels:
    """All labels of a file.

    Raises:
        DataError: a column is missing, a row has no id or another value for the same one, or there is no label.
    """
    names = deliveries.columns(file, terms)
    target = schema.target if schema else None
    column = actual or next((name for name in (ACTUAL, target) if name in names), ACTUAL)
    ids = [PREDICTION_ID] if PREDICTION_ID in names else schema.with_role("id") if schema else []
    if lacking := [name for name in (column, *(ids or [PREDICTION_ID])) if name not in names]:
        also = "" if ids == [PREDICTION_ID] else ", or the columns of the role id in schema.yaml"
        raise DataError(
            f"{file} lacks {', '.join(lacking)}: it has {', '.join(names)}; give {PREDICTION_ID}{also}, and name the "
            "column of the actual values with --actual"
        )
    labels = Labels()
    if period := " ".join(f"--{name} {time}" for name, time in (("since", since), ("until", until)) if time):
        labels.unasked = f"that was not asked about within {period}"
    with _log(schema, ids, since, until) as asked:
        for batch in deliveries.batches(file, [*ids, column], CELLS, terms):
            _take(batch, column, ids, schema, asked, labels)
    if labels.faults:
        first = labels.faults[:MOST_FAULTS]
        places = deliveries.locate(file, [row for row, _ in first], terms)
        said = "; ".join(f"{place}: {fault}" for place, (_, fault) in zip(places, first, strict=True))
        more = len(labels.faults) - len(first)
        raise DataError(f"{said}{f' (and {more} more)' if more else ''}; nothing was sent")
    if not labels.by_id:
        raise DataError(f"{file} has no label to send: {labels.reasons()}")
    return labels


@contextmanager
def _log(schema: "Schema | None", ids: list[str], since: str | None, until: str | None) -> Iterator["Asked | None"]:
    """The function that finds predictions by the ids of rows; None if the file names the predictions itself."""
    if ids == [PREDICTION_ID] or schema is None:
        if since or until:
            raise ParameterError(f"--since and --until choose predictions by ids of rows: the file has {PREDICTION_ID}")
        yield None
        return
    from mlops.serving import asked
    from mlops.serving.delivery import Period

    folder, skipped = Path(params.load(params.Serving, missing_ok=True).folder), Counter[str]()
    start = ingest_predictions.moment("--since", since) if since else None
    end = ingest_predictions.moment("--until", until) if until else datetime.now(UTC)
    if not (folder / "predictions").is_dir():
        raise StoreError(
            f"{folder / 'predictions'} is missing: the predictions of rows by their ids are known on the machine of "
            f"the server; elsewhere give a column {PREDICTION_ID}, as `predict` writes it"
        )
    with asked.newest(folder, schema, ids, Period(start, end), skipped) as found:
        yield found
    if skipped:
        typer.echo(f"left out: {counted(skipped.total(), 'cut off or damaged line')} of the log", err=True)


def _take(
    batch: "pd.DataFrame", column: str, ids: list[str], schema: "Schema | None", asked: "Asked | None", labels: Labels
) -> None:
    """Add the labels of some rows of the file."""
    from mlops.data import parsing

    words = parsing.words(schema.columns[schema.target], schema.missing) if schema else ("",)
    given = parsing.given(batch[column], words)
    labels.left_out["without an actual value yet"] += int((~given).sum())
    batch = batch[given]
    actuals = [as_json_value(value) for value in batch[column].tolist()]
    no_label = _no_labels(batch[column], schema) if schema else {}
    if asked is None:
        for row, name, value in zip(batch.index.tolist(), batch[ids[0]].tolist(), actuals, strict=True):
            if row in no_label:
                labels.faults.append((row, no_label[row]))
            elif isinstance(name, str) and PREDICTION.fullmatch(name.strip()):
                labels.add(row, name.strip(), value)
            else:
                labels.faults.append((row, f"{PREDICTION_ID} is no id of a prediction: give that of the answer"))
    else:
        for row, found, value in zip(batch.index.tolist(), asked(batch[ids]), actuals, strict=True):
            if found is None:
                labels.left_out[labels.unasked] += 1
            elif row in no_label:
                labels.faults.append((row, no_label[row]))
            else:
                labels.again += found.predictions > 1
                labels.add(row, found.prediction_id, value)
    labels.left_out = +labels.left_out


def _no_labels(values: "pd.Series", schema: "Schema") -> dict[int, str]:
    """What is wrong with a value, by the row: it is not of the target's type, or none of the classes in the schema.

    The server reads it so, too. A model may have classes beyond those that the schema only warns of.
    """
    from mlops.data import rows

    target = schema.columns[schema.target]
    found, wrong = rows.read(values, target, schema.missing)
    faults = dict.fromkeys(values.index[wrong].tolist(), f"the actual value is no {target.type}")
    if target.allowed and target.severity == "error":
        listed = ", ".join(target.allowed[:MOST_CLASSES]) + (" …" if len(target.allowed) > MOST_CLASSES else "")
        unknown = values.index[~wrong & ~found.isin(target.allowed).to_numpy(dtype=bool)]
        faults |= dict.fromkeys(unknown.tolist(), f"the actual value is no class: give one of {listed}")
    return faults


def _parts(labels: dict[str, Label], rows: int) -> Iterator[list[tuple[str, Label]]]:
    every = iter(labels.items())
    while part := list(islice(every, rows)):
        yield part


def _send(asking: Client, part: list[tuple[str, Label]], file: Path, terms: Terms, sent: int) -> int:
    """Send some labels; how many.

    Raises:
        DataError: the server refuses one of them.
        StoreError: it cannot be reached, or refuses for another reason.
    """
    before = f"{counted(sent, 'label')} before it {'was' if sent == 1 else 'were'} sent"
    try:
        return asking.feedback([(name, label.actual) for name, label in part])
    except RefusedError as refused:
        if isinstance(refused.detail, str):
            raise StoreError(f"{refused.detail} ({before}){smaller(refused)}; {AGAIN.partition(' and ')[2]}") from None
        faults = [each | {"column": ""} for each in refused.detail]  # the server's name of it is not the file's
        fault = first_fault(faults, file, [label.row for _, label in part], terms, "the same request")
        raise DataError(f"{fault}; {before}: {AGAIN}") from None
