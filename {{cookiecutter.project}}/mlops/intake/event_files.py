"""Events in files, typed: what `features` in params.yaml makes columns of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base import params
from mlops.base.errors import DataError, ParameterError, counted, nearest
from mlops.base.params import EventTable, Features
from mlops.data import event_features, parsing
from mlops.data.event_features import Events
from mlops.data.schema import Schema
from mlops.intake import deliveries


@dataclass(frozen=True)
class Rows:
    """The typed events of one file, n of which have an entity and a time: `entities`, `times` and `values` (n,).

    `rows` and `left_out` are the numbers of all, and of those without entity or time.
    """

    entities: pd.Series
    times: NDArray[np.datetime64]
    values: dict[str, NDArray[np.float64]]
    rows: int
    left_out: int

    @property
    def period(self) -> tuple[str, str]:
        """The first and the last time, in ISO 8601; both are empty if there is no event."""
        return (str(self.times.min()), str(self.times.max())) if len(self.times) else ("", "")


@dataclass(frozen=True)
class Files:
    """The events in files of a folder, as a source of history; each file is read when it is first asked for.

    `facts` says of each table that was read how many events there are, and of which period.
    """

    schema: Schema
    folder: Path
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    _known: dict[str, Events] = field(default_factory=dict)

    def events(self, table: str, columns: list[str], entities: pd.Series) -> Events:
        """All events of a table, whoever's they are.

        Raises:
            DataError: as `read`.
        """
        if table not in self._known:
            rows = read(table, self.schema, self.folder)
            self._known[table] = arranged = event_features.arrange(rows.entities, rows.times, rows.values)
            first, last = rows.period
            counts = {"rows": rows.rows, "left_out": rows.left_out, "entities": len(arranged.entities)}
            self.facts[table] = {**counts, "first": first, "last": last}
        return self._known[table]

    def sentences(self) -> list[str]:
        """What a person should know of the events that were read."""
        left = {name: facts["left_out"] for name, facts in self.facts.items()}
        return [
            f"{name}: {counted(count, 'event')} without {self.schema.history.tables[name].entity} or time left out"
            for name, count in left.items()
            if count
        ]


def with_history(schema: Schema, history: Features, folder: Path) -> tuple[Schema, Files]:
    """A schema with the columns of history, and the source of their events.

    Raises:
        ParameterError: a file is not in the folder, where DVC would see a change.
        SchemaError: as `Schema.with_history`.
    """
    for name, table in history.tables.items():
        if Path(table.file).parent != folder:
            raise ParameterError(
                f"{params.FILE}: features.tables.{name}.file is {table.file}: move it to {folder}, where DVC sees "
                "whether it changes"
            )
    layout = schema.with_history(history)
    return layout, Files(layout, folder)


def read(name: str, schema: Schema, folder: Path) -> Rows:
    """The events of the table `name` of `schema.history`, from its file in `folder`.

    Entities are read as the schema reads them in rows, so that 007 is 7 for an integer and nothing else for a text;
    times and numbers as `format` and `decimal` say. Times with a zone become UTC.

    Raises:
        DataError: the file is missing, cannot be read or lacks a column, or a value in it is not of its type.
    """
    path = path_of(name, schema, folder)
    return read_file(path, name, schema.history.tables[name], schema)


def path_of(name: str, schema: Schema, folder: Path) -> Path:
    """The file of a table of `schema.history`.

    Raises:
        DataError: it is missing.
    """
    path = folder / Path(schema.history.tables[name].file).name
    if not path.is_file():
        raise DataError(
            f"{path} is missing, of which params.yaml makes columns: `dvc pull` fetches it, or put it there and "
            f"`dvc add {folder}`"
        )
    return path


def read_file(path: Path, name: str, table: EventTable, schema: Schema, columns: Sequence[str] | None = None) -> Rows:
    """The events of a table in some file, with the values of `columns`, those of the table if None.

    Raises:
        DataError: as `read`.
    """
    if not path.name.lower().endswith(deliveries.ENDINGS):
        raise DataError(f"{path} is none of {', '.join(deliveries.ENDINGS)}: convert it")
    columns = table.columns if columns is None else columns
    wanted = list(dict.fromkeys([table.entity, table.time, *columns]))
    check_columns(path, name, wanted)
    kinds: dict[str, Any] = {column: parsing.Spelling("number", table.decimal) for column in columns}
    kinds[table.time] = parsing.Spelling("datetime", format=table.format)
    kinds[table.entity] = schema.columns[table.entity]
    parts: dict[str, list[pd.Series]] = {column: [] for column in wanted}
    rows = kept = 0
    for batch in deliveries.batches(path, wanted):
        typed = {column: _typed(batch[column], kinds[column], schema, path) for column in wanted}
        there_too = typed[table.entity].notna() & typed[table.time].notna()
        for column, values in typed.items():
            parts[column].append(values if there_too.all() else values[there_too])
        rows, kept = rows + len(batch), kept + int(there_too.sum())
    whole = {column: pd.concat(parts.pop(column), ignore_index=True) for column in wanted}
    return Rows(
        whole[table.entity],
        whole[table.time].to_numpy(dtype="datetime64[us]"),
        {column: whole[column].to_numpy(dtype=np.float64) for column in columns},
        rows,
        rows - kept,
    )


def check_columns(path: Path, name: str, wanted: Sequence[str]) -> None:
    """Check that a file has the columns that the table `name` needs; of the file, the names are read only.

    Raises:
        DataError: the file cannot be read or lacks a column.
    """
    there = deliveries.columns(path)
    for column in wanted:
        if column not in there:
            raise DataError(
                f"{path} lacks the column {column}, which params.yaml names below features.tables.{name}: "
                f"{nearest(column, there)}"
            )


def _typed(values: pd.Series, kind: Any, schema: Schema, path: Path) -> pd.Series:
    words = getattr(kind, "missing", None)
    stands = parsing.given(values, schema.missing if words is None else words)
    typed = parsing.typed(values.where(stands), kind)
    wrong = np.flatnonzero(stands & typed.isna())
    if len(wrong):
        [place] = deliveries.locate(path, [int(values.index[wrong[0]])])
        more = f" ({len(wrong)} such values)" if len(wrong) > 1 else ""
        how = f" as {kind.format}" if getattr(kind, "format", None) else ""
        raise DataError(
            f"{place}: {values.name} is {str(values.iloc[wrong[0]])!r}{more}, which is no {kind.type}{how}: correct "
            "it, leave it empty where it is not known, or say in params.yaml how it is spelt (format, decimal)"
        )
    return typed
