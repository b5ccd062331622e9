"""Offline scoring: the answers of a version to whole files, with bounded memory and by the version's own code."""

import atexit
import importlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base import console
from mlops.base.errors import DataError, StoreError
from mlops.data.rows import as_text
from mlops.evaluation import results
from mlops.intake import batchwise, deliveries
from mlops.intake.batchwise import Reading
from mlops.intake.deliveries import Findings, Terms
from mlops.registry import registry
from mlops.serving import answer_files, versions
from mlops.serving.request import asked_at
from mlops.serving.versions import Copy, Served

if TYPE_CHECKING:
    import pyarrow as pa

    from mlops.registry.scoring import RawModel
    from mlops.training.metrics import Predictions

CELLS = 4_000_000  # values of a file in memory at once
FOLDER = "batch"  # below that of the server, whose own copies come and go


@dataclass
class Scored:
    """What was scored so far: rows, rows that could not be read with examples, and what was found in the files."""

    rows: int = 0
    skipped: int = 0
    examples: list[str] = field(default_factory=list)
    findings: dict[str, Findings] = field(default_factory=dict)


def version(number: str, folder: Path, *, offline: bool) -> Copy:
    """The copy of a version on this machine: of that number, or the champion; `offline` asks no registry.

    Raises:
        StoreError: there is no such version, it cannot be had, or with `offline` was not fetched before.
    """
    own = folder / FOLDER
    if not offline:
        with registry.configured() as (client, settings):
            known = registry.versions(client, settings.name)
            wanted = registry.version(client, settings.name, number) if number else registry.in_production(known)
            if wanted is None:
                raise StoreError(
                    f"no version of {settings.name} is in production: `python -m mlops promote NUMBER` puts one there, "
                    "or name one by --version"
                )
            copy = versions.fetch(client, wanted, own)
        versions.write(own, Served(settings.name, copy))
        return copy
    found = [served for place in (folder, own) if (served := versions.read(place))]
    copies = [copy for served in found for copy in (served.champion, served.challenger) if copy]
    if not number:
        copies = [served.champion for served in found if served.champion]
    chosen = next((copy for copy in copies if number in ("", copy.number) and Path(copy.folder).is_dir()), None)
    if chosen is None:
        raise StoreError(f"{f'version {number}' if number else 'no version'} was fetched before: leave out --offline")
    return chosen


def score(
    model: "RawModel", number: str, paths: list[Path], terms: Terms, scored: Scored, *, skip: bool, named: bool
) -> Iterator["pa.Table"]:
    """The answers of a model to the rows of files, in their order, as tables.

    Columns: `file` if asked for by `named`; the columns of the role id; `prediction`, `probability` (of the positive
    class, or of many classes that of the predicted one, and then that of each class) and `model_version`. With `skip`,
    a row that cannot be read has no prediction. Rows that do not say when they are asked about are asked about now.

    Raises:
        DataError: a file cannot be read, lacks a column, or without `skip` has a value that cannot be read.
        OwnCodeError: `derive` of the project fails.
    """
    ids, time = model.schema.with_role("id"), asked_at(model.schema)

    def readings() -> Iterator[Reading]:
        for path in paths:
            there = deliveries.columns(path, terms)
            if lacking := [name for name in model.schema.needed if name not in (*there, time)]:
                raise DataError(
                    f"{path} lacks {', '.join(lacking)}, which version {number} needs (it has {', '.join(there)}): "
                    "deliver all columns, empty where a value is not known"
                )
            wanted = [name for name in there if name in model.schema.needed or name in ids]
            yield Reading(path, scored.findings.setdefault(path.name, Findings()), wanted)

    shared = (Sendable(model), as_text(datetime.now(UTC)), skip)
    found = batchwise.each(_scored, shared, readings(), terms, CELLS, model.model.threads)
    for path, batches in groupby(found, lambda one: one[0].path):
        before = scored.rows
        for _, batch in console.progress(batches, None, f"scoring {path.name}"):
            if batch.unreadable:
                _tell(batch.unreadable, path, scored.rows - before, terms, scored, skip=skip)
            answers = {**batch.answers, "model_version": _same(number, len(batch.ids))}
            scored.rows += len(batch.ids)
            table = answer_files.beside(batch.ids, answers)
            yield table.add_column(0, "file", _same(path.name, len(batch.ids))) if named else table


class Sendable:
    """A version's model; where it is pickled, the version's own code goes along.

    A `RawModel` is pickled without that: MLflow, and whoever else has the version's files, puts it on `sys.path`.
    """

    def __init__(self, model: "RawModel") -> None:
        self.model = model

    def __reduce__(self) -> tuple[Any, ...]:
        load, arguments = self.model.__reduce__()
        place = Path(str(sys.modules[load.__module__].__file__)).parent
        found = {path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        code = {path.relative_to(place.parent).as_posix(): path.read_bytes() for path in sorted(found)}
        return _received, (code, load.__module__, load.__name__, arguments)


def _received(code: dict[str, bytes], module: str, name: str, arguments: tuple[Any, ...]) -> Sendable:
    """A model in another process, which takes in its code, unless it has it."""
    if module not in sys.modules:
        folder = Path(tempfile.mkdtemp(prefix="mlops-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for path, content in code.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        sys.path.append(str(folder))
    return Sendable(getattr(importlib.import_module(module), name)(*arguments))


@dataclass(frozen=True)
class Unreadable:
    """How many rows of a batch have a value that cannot be read, and the first one: its position, column and value."""

    rows: int
    first: int
    column: str
    value: Any
    type: str


@dataclass(frozen=True)
class Batch:
    """The ids of n rows, their answers by the names of their columns, and what could not be read."""

    ids: pd.DataFrame
    answers: dict[str, "pa.Array"]
    unreadable: Unreadable | None = None


def _scored(sent: Sendable, now: str, skip: bool, path: str, batch: pd.DataFrame) -> Batch:
    """The answers to the rows of a batch."""
    import pyarrow as pa

    model = sent.model
    time = asked_at(model.schema)
    if time and time not in batch:
        batch[time] = now
    rows = batch[model.schema.needed]
    ids = batch[[name for name in model.schema.with_role("id") if name in batch]]
    try:
        return Batch(ids, _columns(model._predictions(rows)))
    except Exception as error:
        # An MlflowException has its sentence as `message`; only the registry imports that class.
        if not (said := getattr(error, "message", "")):
            raise
        if not (wrong := _wrong(model, rows)):
            raise DataError(f"{path}: {said}") from None
    bad = np.logical_or.reduce(list(wrong.values()))
    first = int(np.flatnonzero(bad)[0])
    column = next(name for name, places in wrong.items() if places[first])
    kind = model.schema.columns[column].type
    unreadable = Unreadable(int(bad.sum()), first, column, batch[column].iloc[first], kind)
    if not skip:
        return Batch(ids, {}, unreadable)
    # A row without values has an answer, which nobody sees: so there is at least one.
    empty = pd.DataFrame({name: [None] for name in rows}, dtype=object)
    found = model._predictions(rows[~bad] if not bad.all() else empty)
    places = pa.array(np.cumsum(~bad) - 1, mask=bad)
    return Batch(ids, {name: values.take(places) for name, values in _columns(found).items()}, unreadable)


def _tell(found: Unreadable, path: Path, start: int, terms: Terms, scored: Scored, *, skip: bool) -> None:
    """Count the rows of a batch that cannot be read; `start` rows of the file came before it.

    Raises:
        DataError: such rows are not to be skipped.
    """
    [place] = deliveries.locate(path, [start + found.first], terms)
    said = f"{place}: {found.column} is {found.value!r}, which is no {found.type}"
    if not skip:
        raise DataError(
            f"{said}: correct the value, leave it empty where it is not known, or give such rows no answer "
            "by --skip; nothing was written"
        )
    scored.skipped += found.rows
    scored.examples.append(said)


def _wrong(model: "RawModel", rows: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """The columns with values that cannot be read, and where (n,) they stand."""
    found = {name: model.read(rows[name], name)[1] for name in model.schema.needed}
    return {name: wrong for name, wrong in found.items() if wrong.any()}


def _columns(found: "Predictions") -> dict[str, "pa.Array"]:
    import pyarrow as pa

    columns = {"prediction": _labels(found)}
    if found.probabilities is None:
        return columns
    if found.positive is not None:
        return columns | {"probability": pa.array(found.positive_probability)}
    columns["probability"] = pa.array(found.probabilities[np.arange(len(found.predicted)), _positions(found)])
    each = zip(found.classes, found.probabilities.T, strict=True)
    return columns | {f"{results.PROBABILITY}{label}": pa.array(np.ascontiguousarray(one)) for label, one in each}


def _labels(found: "Predictions") -> "pa.Array":
    """The predicted labels (n,), of which each is a text or number that is stored once."""
    import pyarrow as pa

    if not found.classes:
        return pa.array(found.predicted)
    return pa.array(list(found.classes)).take(pa.array(_positions(found)))


def _positions(found: "Predictions") -> NDArray[np.intp]:
    """The position of each predicted label (n,) among the classes."""
    return pd.Index(found.classes, dtype=object).get_indexer(pd.Index(found.predicted, dtype=object))


def _same(value: str, count: int) -> "pa.Array":
    import pyarrow as pa

    return pa.repeat(value, count)
