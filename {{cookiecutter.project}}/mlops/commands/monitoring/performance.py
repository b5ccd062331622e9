"""`monitor performance`: how good the predictions of the model server were, as far as labels have come."""

import math
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.base import console, files, params
from mlops.base.errors import ParameterError, ProjectError, StoreError, counted
from mlops.commands.data import ingest_predictions
from mlops.commands.options import AsJson
from mlops.data.digest import model_of
from mlops.evaluation import results
from mlops.history import paths
from mlops.intake import tables
from mlops.monitoring import estimated, realised
from mlops.monitoring.estimated import Learnt
from mlops.monitoring.realised import Answer
from mlops.registry import backend, registry, sqlite_store
from mlops.serving import offline, prediction_log, versions
from mlops.serving.prediction_log import Record
from mlops.training.metrics import title

LENGTH = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)([smhdw])", re.ASCII)
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
LONGEST = 1000 * SECONDS["w"]
AUTO = "auto"
WIDTH = 160  # columns of text, for whoever reads it in a file
NOTHING: dict[str, Any] = {"metrics": {}}
MOST_DOUBTS = 3
LABELLED_ROWS, ALL_ROWS = "estimated (labelled)", "estimated (all rows)"
UNCHECKED = (
    "no domain classifier looks for rows unlike the training data here: the page of a delivery, reports/drift.html, "
    "may call an estimate not to be trusted where this table does not"
)
DOUBTFUL = "?"  # after an estimate that is not to be trusted
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()  # of a prediction
STATES = {True: "final", False: "open"}


def performance(
    window: Annotated[str, typer.Option(help="Length of a window of prediction time: 12h, 7d or 4w, say.")] = "7d",
    delay: Annotated[
        str, typer.Option(help="Time until a label has come, such as 14d; auto: the 95 % quantile of those that came.")
    ] = AUTO,
    since: Annotated[str | None, typer.Option(help="Predictions from then on (2026-11-01); by default all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how good the server's predictions were, by windows.

    It joins the log of predictions with the labels that have come by feedback. A window is that of the predictions, and
    final when the delay has passed since its end. Beside the metric stands what is estimated for the same rows
    without labels. Answers that nobody was given (shadow) are left out, for no label comes for them.

    Raises:
        ParameterError: a length or a time cannot be read, or there are too many windows.
        StoreError: the log cannot be read, or has no prediction.
    """
    seconds, wait = _seconds("--window", window), None if delay == AUTO else _seconds("--delay", delay)
    start = ingest_predictions.moment("--since", since) if since else None
    folder = Path(params.load(params.Serving, missing_ok=True).folder)
    skipped: Counter[str] = Counter()
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as aside:
        windows = realised.Windows(seconds, partial(_learnt, folder=folder, aside=Path(aside), notes=notes))
        left_out: Counter[str] = Counter()
        for answer in _answers(folder, start, skipped, left_out):
            windows.add(answer)
    found = windows.report(datetime.now(UTC), wait)
    if not found["windows"]:
        when = f" from {start.isoformat()} on" if start else ""
        raise StoreError(
            f"{folder / 'predictions'} has no prediction{when}: `python -m mlops serve` writes them when it is asked"
        )
    found |= {"left_out": dict(left_out), "skipped": dict(skipped), "notes": notes}
    if as_json:
        console.print_json(found)
    else:
        _print(found)


def _answers(folder: Path, since: datetime | None, skipped: Counter[str], left_out: Counter[str]) -> Iterator[Answer]:
    """The answers in the log with the labels that have come; what is no answer that a label can come for is counted."""
    latest = time.time() + SECONDS["d"]
    with prediction_log.timed_labels(folder, skipped) as label:
        records = prediction_log.once(prediction_log.predictions(folder, skipped, since), left_out)
        for record in console.progress(records, None, "reading the log"):
            if record.get("shadow"):
                left_out["shadow"] += 1
            elif record.get("prediction") is None:
                left_out["no prediction"] += 1
            else:
                answer = _answer(record, label, left_out)
                if EARLIEST <= answer.time <= latest:
                    yield answer
                else:
                    left_out["time that cannot be"] += 1  # of a clock that was wrong, or a hand in the log


def _answer(record: Record, label: Callable[[str], tuple[Any, float] | None], left_out: Counter[str]) -> Answer:
    actual, told = label(record["id"]) or (None, None)
    prediction, probability = record["prediction"], record.get("probability")
    is_number = isinstance(actual, int | float) and math.isfinite(actual)
    if told is not None and (actual is None or (isinstance(prediction, float) and not is_number)):
        left_out["label that is no value of the target"] += 1
        actual, told = None, None
    moment = datetime.fromisoformat(record["time"])
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    version, sure = str(record.get("version", "")), probability if isinstance(probability, float) else None
    return Answer(moment.timestamp(), version, model_of(record["id"]), prediction, sure, actual, told)


def _learnt(model: str, folder: Path, aside: Path, notes: list[str]) -> Learnt | None:
    """What the test rows of a model teach; where they cannot be had, `notes` get a sentence."""
    try:
        table, report = _results(model, folder, aside)
        facts = files.read_json(report)
        return estimated.learn(
            results.from_frame(tables.read(table), facts["labels"], facts["positive"]), realised.GROUPS
        )
    except (ProjectError, KeyError) as error:
        notes.append(f"nothing is estimated for model {model}: {error}")
        return None


def _results(model: str, folder: Path, aside: Path) -> tuple[Path, Path]:
    """Test predictions and evaluation of a model: of the server's copies, the work tree, or else of the registry.

    Raises:
        StoreError: they are nowhere, or the registry cannot be reached.
    """
    for place in (folder, folder / offline.FOLDER):
        for copy in sorted((place / versions.COPIES).glob(f"{model}-*")):
            table, report = (copy / path.name for path in versions.RESULTS)
            if table.is_file() and report.is_file():
                return table, report
    if paths.MODEL.is_file() and files.sha256(paths.MODEL).startswith(model):
        return paths.PREDICTIONS, paths.EVALUATION
    database = sqlite_store.file_of(backend.address(params.load(params.Tracking, missing_ok=True).uri))
    if database and not database.exists():  # to open it would make one
        raise StoreError("its test rows are not on this machine, and there is no registry here")
    with registry.configured() as (client, settings):
        for version in registry.versions(client, settings.name):
            if version.tags.get(registry.MODEL_DIGEST, "").startswith(model):
                table, report = (registry.artifact(client, version.run_id, path, aside) for path in versions.RESULTS)
                return table, report
    raise StoreError("the registry has no version of it")


def _seconds(option: str, text: str) -> float:
    parts = LENGTH.fullmatch(text.strip())
    seconds = float(parts[1]) * SECONDS[parts[2]] if parts else 0.0
    if not 1 <= seconds <= LONGEST:
        also = f", or {AUTO}" if option == "--delay" else ""
        raise ParameterError(
            f"{option} is {text}, which is no length of time: give a number with s, m, h, d or w (1s to 1000w), such "
            f"as 7d{also}"
        )
    return seconds


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = found["windows"]
    known = (name for row in rows for name in (*row["metrics"], *(row["estimated_all"] or NOTHING)["metrics"]))
    first = next(known, "accuracy")
    table = Table(box=None, pad_edge=False)
    for name in (
        "from (UTC)",
        "version",
        "predictions",
        "labelled",
        title(first),
        LABELLED_ROWS,
        ALL_ROWS,
        "off by",
    ):
        table.add_column(name, no_wrap=True, justify="left" if name in ("from (UTC)", "version") else "right")
    table.add_column("window", no_wrap=True)
    for row in rows:
        calibration = row["calibration"]
        table.add_row(
            row["from"][:16].replace("T", " "),
            row["version"],
            f"{row['rows']:,}",
            f"{row['labelled']['rows']:,} ({row['labelled']['share']:.0%})",
            _number(row["metrics"].get(first)),
            _estimate(row["estimated"], first),
            _estimate(row["estimated_all"], first),
            f"{calibration['error']:.3f}" if calibration else "–",
            STATES[row["final"]],
        )
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else WIDTH).print(table)
    typer.echo("\n".join(_sentences(found, title(first))))


def _sentences(found: dict[str, Any], metric: str) -> list[str]:
    """What stands below the table."""
    delay = found["delay"]
    estimates = [row[which] for row in found["windows"] for which in ("estimated", "estimated_all") if row[which]]
    said = [
        f"{LABELLED_ROWS}, {ALL_ROWS}: {metric} by what the test split says of such answers",
        "off by: the expected calibration error, how far the probabilities are from the share that came",
    ]
    said += [*sorted({one["assumption"] for one in estimates}), *([UNCHECKED] if estimates else [])]
    if doubts := sorted({one["why_not"] for one in estimates if one["why_not"]}):
        more = "; …" if len(doubts) > MOST_DOUBTS else ""
        said.append(f"{DOUBTFUL} not to be trusted: {'; '.join(doubts[:MOST_DOUBTS])}{more}")
    if delay["seconds"] is None:
        few = counted(delay["labels"], "label")
        said.append(f"no window is final: {few} cannot tell how late labels come; say it with --delay, such as 14d")
    else:
        of = "as asked for" if delay["chosen"] else f"95 % of {counted(delay['labels'], 'label')} came within it"
        said.append(f"a window is final {_length(delay['seconds'])} after its end: {of}")
    if shadow := found["left_out"].get("shadow"):
        said.append(f"left out: {counted(shadow, 'answer')} of a shadow, which nobody was given")
    others = {name: count for name, count in found["left_out"].items() if name != "shadow"}
    others |= {f"cut off or damaged line of {name}": count for name, count in found["skipped"].items()}
    if others:
        said.append(f"left out: {', '.join(f'{name} ({count})' for name, count in others.items())}")
    return [*said, *found["notes"], *(f"Warning: {one}" for one in found["warnings"])]


def _estimate(found: dict[str, Any] | None, metric: str) -> str:
    said = _number((found or NOTHING)["metrics"].get(metric))
    return f"{said} {DOUBTFUL}" if found and not found["trusted"] else said


def _number(found: dict[str, float | None] | None) -> str:
    if found is None:
        return "–"
    interval = "" if found["low"] is None else f" ({found['low']:.3g} to {found['high']:.3g})"
    return f"{found['value']:.3g}{interval}"


def _length(seconds: float) -> str:
    """A length of time for people, in the largest unit that it fills."""
    unit = max((unit for unit in "smhd" if seconds >= SECONDS[unit]), key=SECONDS.__getitem__, default="s")
    return f"{seconds / SECONDS[unit]:.3g} {unit}"
