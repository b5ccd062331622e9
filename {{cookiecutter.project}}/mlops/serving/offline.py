"""Offline scoring: the answers of a version to whole files, with bounded memory and by the version's own code."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base import console
from mlops.base.errors import DataError, StoreError
from mlops.data.rows import as_text
from mlops.evaluation import results
from mlops.intake import deliveries
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
    ids, time, now = model.schema.with_role("id"), asked_at(model.schema), as_text(datetime.now(UTC))
    for path in paths:
        there = deliveries.columns(path, terms)
        if lacking := [name for name in model.schema.needed if name not in (*there, time)]:
            raise DataError(
                f"{path} lacks {', '.join(lacking)}, which version {number} needs (it has {', '.join(there)}): "
                "deliver all columns, empty where a value is not known"
            )
        wanted = [name for name in there if name in model.schema.needed or name in ids]
        findings = scored.findings.setdefault(path.name, Findings())
        batches = deliveries.batches(path, wanted, CELLS, terms, findings)
        for batch in console.progress(batches, None, f"scoring {path.name}"):
            if time and time not in batch:
                batch[time] = now
            answers = _scored(model, batch, path, terms, scored, skip=skip)
            answers["model_version"] = _same(number, len(batch))
            table = answer_files.beside(batch[[name for name in ids if name in batch]], answers)
            yield table.add_column(0, "file", _same(path.name, len(batch))) if named else table


def _scored(
    model: "RawModel", batch: pd.DataFrame, path: Path, terms: Terms, scored: Scored, *, skip: bool
) -> dict[str, "pa.Array"]:
    """The answers to the rows of a batch (n rows), by the names of their columns."""
    import pyarrow as pa

    rows = batch[model.schema.needed]
    scored.rows += len(batch)
    try:
        found = model._predictions(rows)
    except Exception as error:
        # An MlflowException has its sentence as `message`; only the registry imports that class.
        if not (said := getattr(error, "message", "")):
            raise
        if not (wrong := _wrong(model, rows)):
            raise DataError(f"{path}: {said}") from None
        bad = np.logical_or.reduce(list(wrong.values()))
        first = int(np.flatnonzero(bad)[0])
        column = next(name for name, places in wrong.items() if places[first])
        [place] = deliveries.locate(path, [int(batch.index[first])], terms)
        said = f"{place}: {column} is {batch[column].iloc[first]!r}, which is no {model.schema.columns[column].type}"
        if not skip:
            raise DataError(
                f"{said}: correct the value, leave it empty where it is not known, or give such rows no answer "
                "by --skip; nothing was written"
            ) from None
        scored.skipped += int(bad.sum())
        scored.examples.append(said)
        # A row without values has an answer, which nobody sees: so there is at least one.
        empty = pd.DataFrame({name: [None] for name in rows}, dtype=object)
        found = model._predictions(rows[~bad] if not bad.all() else empty)
        places = pa.array(np.cumsum(~bad) - 1, mask=bad)
        return {name: values.take(places) for name, values in _columns(found).items()}
    return _columns(found)


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
