"""Collect the deliveries of a folder: all files, in the types of schema.yaml, as one stored table."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from mlops.base import console, parallel
from mlops.base.errors import DataError
from mlops.data import parsing, round_trip
from mlops.data.deriving import Derive, derived
from mlops.data.event_features import Source
from mlops.data.schema import Schema
from mlops.intake import batchwise, deliveries, tables
from mlops.intake.deliveries import Findings, Ragged, Terms


@dataclass
class Delivered:
    """The typed rows of a folder, stored in a file, and facts about the delivery.

    `files` maps each file to its number of rows; `unparseable` has an entry per file and column with values of another
    type; `seen` is what the text of each column shows of losses; `findings` says which lines of the files were left out
    or repaired.
    """

    table: tables.Stored
    rows: int = 0
    files: dict[str, int] = field(default_factory=dict)
    unparseable: list[dict[str, Any]] = field(default_factory=list)
    seen: dict[str, round_trip.Seen] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)

    @property
    def losses(self) -> dict[str, list[dict[str, Any]]]:
        """What reading lost, by column: each kind with its rows and one value as it was written and as it was read."""
        found = {name: round_trip.losses(seen) for name, seen in self.seen.items()}
        return {name: [asdict(change) for change in changes] for name, changes in found.items() if changes}

    @property
    def facts(self) -> dict[str, Any]:
        """How the files were read, for a report."""
        return {
            "files": self.files,
            "unparseable": self.unparseable,
            "losses": self.losses,
            **self.findings.as_dict(),
        }

    @property
    def rejected(self) -> int:
        """The number of rows that were left out because a value was not of its type."""
        return sum(self.files.values()) - self.rows


@contextmanager
def collected(
    folder: Path,
    schema: Schema,
    required: list[str],
    derive: Derive,
    aside: Path,
    ragged: Ragged = "refuse",
    events: Source | None = None,
) -> Iterator[Delivered]:
    """Convert all files of a folder, in the order of their names, to typed rows in the temporary Parquet file `aside`.

    `derive` adds the project's own columns, and `schema.history` says which are made of `events`. A file without a
    header has the columns of `schema`. Memory holds one batch at a time. The file `aside` is deleted afterwards.

    Raises:
        DataError: the folder has no file; or a file cannot be read, lacks a `required` column or has an unknown column;
            or every row is rejected.
    """
    delivered = Delivered(tables.Stored(aside))
    paths, terms = deliveries.present(folder), Terms(tuple(schema.from_outside), ragged)
    known = {name for path in paths for name in deliveries.columns(path, terms)} | set(schema.derived)
    kept = [name for name in schema.kept if name in known]
    try:
        typed = _typed(paths, schema, required, derive, delivered, terms, events)
        delivered.rows = tables.write_batches(
            aside, (_completed(table, schema, kept) for table in typed), temporary=True
        )
        if not delivered.rows:
            found = delivered.unparseable[0]
            raise DataError(
                f"{folder}: all {delivered.rejected} rows have a value that is not of its column's type, such as "
                f"{found['examples'][0]['value']!r} in {found['column']}: correct them, or the type or "
                "`unparseable: reject` in schema.yaml"
            )
        yield delivered
    finally:
        aside.unlink(missing_ok=True)


def _typed(
    paths: list[Path],
    schema: Schema,
    required: list[str],
    derive: Derive,
    delivered: Delivered,
    terms: Terms,
    events: Source | None,
) -> Iterator[pd.DataFrame]:
    """The typed batches of files; what is found in them is added to `delivered`."""
    if events and parallel.is_elsewhere():
        for name, one in schema.history.tables.items():  # other machines do not have the files
            events.events(name, one.columns, pd.Series(dtype=object))
    readings = (batchwise.Reading(path, delivered.findings) for path in paths)
    answers = batchwise.each(_typed_batch, (schema, required, derive, events), readings, terms, deliveries.CELLS)
    for path, batches in groupby(answers, lambda answer: answer[0].path):
        found: dict[str, dict[str, Any]] = {}
        rows = 0
        for _, (count, parsed) in console.progress(batches, None, f"reading {path.name}"):
            for name, seen in parsed.seen.items():
                delivered.seen[name] = round_trip.together([delivered.seen.get(name, {}), seen])
            for wrong in parsed.unparseable:
                known = found.setdefault(wrong.column, _nothing(wrong))
                known["count"] += len(wrong.rows)
                places = (int(row) + rows for row in wrong.rows)
                known["examples"] += [
                    {"at": row, "value": value} for row, value in zip(places, wrong.values, strict=False)
                ][: parsing.EXAMPLES - len(known["examples"])]
            rows += count
            yield parsed.table
        delivered.files[path.name] = rows
        lines = deliveries.locate(
            path, [example["at"] for known in found.values() for example in known["examples"]], terms
        )
        for known in found.values():
            known["examples"] = [{"at": lines.pop(0), "value": example["value"]} for example in known["examples"]]
        delivered.unparseable += found.values()


def _typed_batch(
    schema: Schema, required: list[str], derive: Derive, events: Source | None, path: str, raw: pd.DataFrame
) -> tuple[int, parsing.Parsed]:
    """The number of rows of a batch, and its typed table with the derived columns."""
    parsed = parsing.parse(raw, schema, path, required)
    return len(raw), replace(parsed, table=derived(parsed.table, schema, derive, events))


def _nothing(wrong: parsing.Unparseable) -> dict[str, Any]:
    became = "a rejected row" if wrong.rejected else "missing"
    return {"column": wrong.column, "expected": wrong.type, "count": 0, "became": became, "examples": []}


def _completed(table: pd.DataFrame, schema: Schema, names: list[str]) -> pd.DataFrame:
    """The table with all columns in `names`; a column that only other files have is missing in every row."""
    lacking = {
        name: pd.Series(None, table.index, parsing.DTYPES[schema.columns[name].type])
        for name in names
        if name not in table
    }
    return pd.DataFrame({**table, **lacking}, index=table.index)[names]
