"""A period of the prediction log as a delivery: the raw rows with the labels that have come, for `monitor`."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mlops.base import files
from mlops.base.errors import DataError
from mlops.data import rows
from mlops.data.schema import Schema
from mlops.serving import prediction_log
from mlops.serving.prediction_log import Record

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 20_000  # in memory at once
# What the sentences have in common that say that the log has nothing of a period: for `retrain`, that is no failure.
NOTHING_NEW = ("has no prediction", "the period ends at")


@dataclass(frozen=True)
class Period:
    """Predictions from `since` on (all earlier ones, if None) and before `until`, of one variant or of all ("")."""

    since: datetime | None
    until: datetime
    variant: str = ""

    def __str__(self) -> str:
        """The period in words that follow "predictions", in UTC."""
        who = f"of the {self.variant} " if self.variant else ""
        start = f"from {_text(self.since)} to" if self.since else "before"
        return f"{who}{start} {_text(self.until)}"

    def as_dict(self) -> dict[str, str | None]:
        """Plain values for JSON, the times in ISO 8601."""
        return {
            "since": _text(self.since) if self.since else None,
            "until": _text(self.until),
            "variant": self.variant or None,
        }


@dataclass
class Taken:
    """What was taken from the log, and what was not.

    `skipped` are damaged lines by file. By column, rows are counted whose value the server was told not to log
    (`masked`), rows that lack a needed column (`lacking`), and rows with a column that the schema does not name
    (`unknown`). `given` counts the rows that have a column of the schema.
    """

    rows: int = 0
    labelled: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    lacking: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    given: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        counters = {name: dict(getattr(self, name)) for name in ("skipped", "masked", "lacking", "unknown")}
        return {"rows": self.rows, "labelled": self.labelled, **counters}

    def sentences(self) -> list[str]:
        """What a person should know of these rows."""
        found = [f"{self.labelled} of {self.rows} rows have a label"]
        if self.skipped:
            found.append(f"skipped, since the line is cut off or damaged: {_counted(self.skipped, 'line')}")
        if self.masked:
            found.append(
                f"missing, since `serving.mask` kept it out of the log: {_counted(self.masked)}; the drift of such a "
                "column, and of the predictions, is not that of what was asked"
            )
        if partly := Counter({name: count for name, count in self.lacking.items() if self.given[name]}):
            found.append(f"missing, since these rows were asked without the column: {_counted(partly)}")
        if self.unknown:
            found.append(f"left out, since schema.yaml does not name the column: {_counted(self.unknown)}")
        return found


def write(folder: Path, schema: Schema, period: Period, path: Path) -> Taken:
    """Write the rows of a period to the Parquet file `path`, as text in the spelling of `schema`.

    It has the columns of `schema` that any row has; the target is that of the feedback, and missing in a row without
    any. Answers that nobody was given (`shadow`) are left out, for their rows are there as those of the champion.
    Memory holds a part of the rows.

    Raises:
        DataError: the log has no prediction of the period.
        StoreError: the log cannot be read, or the file not be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    taken, names = Taken(), schema.from_outside
    form = pa.schema([(name, pa.large_string()) for name in names])
    whole = path.with_name(f".{path.name}.whole.part")
    try:
        with files.written_whole(path) as part:
            with pq.ParquetWriter(whole, form) as writer, prediction_log.labels(folder, taken.skipped) as label:
                asked = _asked(folder, period, taken.skipped)
                while batch := list(islice(asked, ROWS)):
                    writer.write_table(_table(batch, label, schema, taken, form))
            if not taken.rows:
                raise DataError(_nothing(folder, period, taken))
            kept = [name for name in names if taken.given[name]]  # known only after the last row
            with (
                pq.ParquetFile(whole) as file,
                pq.ParquetWriter(part, pa.schema([form.field(name) for name in kept])) as writer,
            ):
                for rows_of_all in file.iter_batches(ROWS, columns=kept):
                    writer.write_batch(rows_of_all.select(kept))
    finally:
        whole.unlink(missing_ok=True)
    return taken


def _asked(folder: Path, period: Period, skipped: Counter[str]) -> Iterator[Record]:
    for record in prediction_log.predictions(folder, skipped, period.since, period.until):
        if not record.get("shadow") and period.variant in ("", record.get("variant")):
            yield record


def _table(
    batch: Sequence[Record], label: Callable[[str], object], schema: Schema, taken: Taken, form: "pa.Schema"
) -> "pa.Table":
    """The records as a table of text with all columns of the form; what they have and lack is added to `taken`."""
    import pyarrow as pa

    target, known = schema.target, set(form.names)
    asked = [{name: value for name, value in record["features"].items() if name != target} for record in batch]
    for row, record in zip(asked, batch, strict=True):
        if (actual := label(record["id"])) is not None:
            row[target] = actual
            taken.labelled += 1
        taken.masked.update(record.get("masked", ()))
    found = Counter(name for row in asked for name in row)
    taken.rows += len(batch)
    taken.given.update({name: count for name, count in found.items() if name in known})
    taken.unknown.update({name: count for name, count in found.items() if name not in known})
    taken.lacking.update({name: len(batch) - found[name] for name in schema.needed if found[name] < len(batch)})
    columns = {
        name: rows.as_spelt(
            pd.Series([row.get(name) for row in asked], dtype=object), schema.columns[name], schema.missing
        )
        for name in form.names
    }
    return pa.table([pa.array(values.astype("str"), pa.large_string()) for values in columns.values()], schema=form)


def _nothing(folder: Path, period: Period, taken: Taken) -> str:
    place = folder / "predictions"
    damaged = f" (cut off or damaged lines: {taken.skipped.total()})" if taken.skipped else ""
    return f"{place} {NOTHING_NEW[0]} {period}{damaged}: nothing was changed; give another --since or --until"


def _counted(found: Counter[str], unit: str = "row") -> str:
    return ", ".join(f"{name} ({count} {unit}{'s' * (count > 1)})" for name, count in found.items())


def _text(moment: datetime) -> str:
    return prediction_log.timestamp(moment.timestamp())
