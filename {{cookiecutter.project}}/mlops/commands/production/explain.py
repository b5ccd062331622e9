"""`explain`: the contribution of each feature to the predictions for single rows."""

from functools import wraps
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.base import console, files, model_files
from mlops.base.errors import DataError, ParameterError
from mlops.base.params import Features
from mlops.commands.options import AsJson
from mlops.data.schema import Schema
from mlops.history import paths, revisions
from mlops.history.revisions import Revision
from mlops.intake import deliveries, event_files, tables
from mlops.registry import registry

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10  # features of a row; the others are summed
BAR = 12  # characters of the longest bar, to either side


def explain(
    delivery: Annotated[Path, typer.Argument(help="A CSV or Parquet file, or a folder of them.")] = paths.INCOMING,
    rows: Annotated[int, typer.Option(min=1, help="How many rows, from the first.")] = 5,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Id of a row of the test split, instead.")] = None,
    version: Annotated[str | None, typer.Option(help="Number of a version, instead of the work tree.")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain predictions by the contribution of each feature.

    Raises:
        DataError: the rows do not exist.
        ParameterError: this kind of model cannot be explained.
        ProjectError: the explanation needs a package that is not installed.
        StoreError: there is no version with this number, or the model was made elsewhere, and by nobody again.
    """
    from mlops.data import digest
    from mlops.evaluation import explanation, results

    revision, sha256 = _model(version)
    layout = revision.schema()
    model = model_files.read(revision.kept(paths.MODEL), sha256)
    history = model.schema.history
    table = _test_rows(ids, revision, layout) if ids else _delivered_rows(delivery, rows, layout, history)
    parts = explanation.explain(model.pipeline, table, layout, revision.profile(), model.positive, model.threads)
    explained = parts.rows(table)
    predictions = model.predict(table)
    answers = results.answers(predictions).to_dict(orient="records")
    of_two = predictions.positive_probability is not None
    threshold = {"threshold": 0.5 if model.threshold is None else model.threshold} if of_two else {}
    names = digest.prediction_ids(sha256, table[layout.inputs])
    key = layout.with_role("id")[:1]
    keys = table[key[0]].tolist() if key and key[0] in table else [None] * len(table)
    source = paths.TEST if ids else delivery
    found = [
        {
            "row": int(place) + 1,
            "id": None if value is None else str(value),
            "prediction_id": name,
            **answer,
            **threshold,
            **row,
        }
        for place, value, name, answer, row in zip(table.index, keys, names, answers, explained, strict=True)
    ]
    if as_json:
        console.print_json({"source": source.as_posix(), "rows": found})
        return
    for row in found:
        typer.echo("\n".join(_lines(row, source, layout.target)))


def _model(number: str | None) -> tuple[Revision, str]:
    """The commit or work tree that has the model, and the model's SHA-256.

    A model that this account did not make may be opened if it is that of a version that somebody made again.

    Raises:
        StoreError: there is no version with this number, or no commit here holds it.
    """
    revision = revisions.find("")
    digest = "" if number else files.sha256(revision.kept(paths.MODEL))
    if number or not model_files.is_trusted(digest):
        with registry.configured() as (client, settings):
            versions = registry.versions(client, settings.name)
            if number:
                chosen = registry.version(client, settings.name, number)
                revision, digest = revisions.of_result(chosen.tags), chosen.tags[registry.MODEL_DIGEST]
        if any(each.tags.get(registry.REMADE) for each in versions if each.tags.get(registry.MODEL_DIGEST) == digest):
            model_files.trust(digest)
    return revision, digest


def _test_rows(ids: list[str], revision: Revision, layout: Schema) -> "pd.DataFrame":
    """The test rows with these ids, in the order of the ids."""
    key = layout.with_role("id")[:1]
    if not key:
        raise ParameterError("schema.yaml has no column of the role id to find rows by: explain a delivery instead")
    table = tables.read(revision.kept(paths.TEST))
    known = table[key[0]].astype("str")
    if unknown := [value for value in ids if value not in set(known)]:
        raise DataError(
            f"{paths.TEST} has no row whose {key[0]} is {', '.join(unknown)}: it holds those tested, "
            f"such as {known.iloc[0]}"
        )
    return table.loc[[known.eq(value).idxmax() for value in ids]]


def _delivered_rows(delivery: Path, rows: int, layout: Schema, history: Features) -> "pd.DataFrame":
    """The first rows of the first file of a delivery, typed."""
    from mlops.data import parsing
    from mlops.data.deriving import derived
    from project import features

    layout, events = event_files.with_history(layout, history, paths.EVENTS)
    path = deliveries.present(delivery)[0] if delivery.is_dir() else delivery
    if not path.is_file():
        raise DataError(f"{path} is missing: name a delivery, a CSV or Parquet file")
    terms = deliveries.Terms(tuple(layout.from_outside), "reject")
    cells = rows * len(deliveries.columns(path, terms))
    raw = next(islice(deliveries.batches(path, cells=cells, terms=terms), 1))
    typed = parsing.parse(raw.head(rows), layout, str(path), layout.needed).table

    @wraps(features.derive)
    def derive(table: "pd.DataFrame") -> "pd.DataFrame":
        """The columns that this model knows: an older version has no column that was derived later."""
        result = features.derive(table)
        return result.drop(columns=[name for name in result if name not in layout.columns], errors="ignore")

    table = derived(typed, layout, derive, events)
    if table.empty:
        raise DataError(
            f"{path}: each of its first {len(raw.head(rows))} rows is rejected: see `unparseable` in schema.yaml"
        )
    return table


def _lines(row: dict[str, Any], source: Path, target: str) -> list[str]:
    """An explanation for people: each feature's contribution as a number and as a bar to the left or right."""
    name = f"{source} row {row['row']}" + (f" ({row['id']})" if row["id"] is not None else "")
    unit = target if row["of"] is None else f"{row['scale']} of {row['of']}"
    probability = ""
    if "probability" in row:
        probability = f", probability of {row['of']} {row['probability']:.3f} (threshold {row['threshold']:.3g})"
    parts = [(f"{part['feature']} = {_value(part['value'])}", part["contribution"]) for part in row["features"]]
    if rest := parts[SHOWN:]:
        parts = [*parts[:SHOWN], (f"{len(rest)} other{'s' if len(rest) > 1 else ''}", sum(added for _, added in rest))]
    largest = max(abs(added) for _, added in parts) or 1.0
    wide = max(len(label) for label, _ in [*parts, (f"= {unit}", 0)])
    return [
        f"{name}: {target} is {_value(row['prediction'])}{probability}",
        f"  {'mean of training':<{wide}}  {_signed(row['base']):>10}",
        *(f"  {label:<{wide}}  {_signed(added):>10}  {_bar(added / largest)}".rstrip() for label, added in parts),
        f"  {f'= {unit}':<{wide}}  {_signed(row['answer']):>10}",
        "",
    ]


def _bar(share: float) -> str:
    """A bar from the middle to the left (`share` from -1) or to the right (`share` up to 1)."""
    length = round(abs(share) * BAR)
    return f"{'█' * length:>{BAR}}|" if share < 0 else f"{'':>{BAR}}|{'█' * length}"


def _signed(value: float) -> str:
    return f"{value:+,.4g}".replace("-", "−")


def _value(value: Any) -> str:
    return "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
