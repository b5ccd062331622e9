"""`explain`: why the model answers as it does on single rows, feature by feature."""

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.base import console, files, params
from mlops.base.errors import DataError, ParameterError, StoreError
from mlops.commands.options import AsJson
from mlops.data.schema import Schema
from mlops.history import paths, revisions
from mlops.history.revisions import Revision
from mlops.intake import deliveries, tables
from mlops.registry import registry

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 10  # features of a row; the others are summed
BAR = 12  # characters of the longest bar, to either side


def explain(
    delivery: Annotated[Path, typer.Argument(help="A CSV or Parquet file, or a folder of them.")] = paths.INCOMING,
    rows: Annotated[int, typer.Option(min=1, help="How many of its first rows.")] = 5,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Rows of the test split, by id, instead.")] = None,
    version: Annotated[str | None, typer.Option(help="Whose model, instead of that of the work tree.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what each feature added to the model's answer, row by row.

    Raises:
        DataError: there are no such rows.
        ParameterError: the model is of a kind that is not explained.
        ProjectError: it takes a package that is not installed.
        StoreError: there is no such version, or the model is not the one that the registry knows.
    """
    from mlops.data import digest
    from mlops.evaluation import explanation, results

    revision, known = _asked(version)
    layout = revision.schema()
    table = _of_test(ids, revision, layout) if ids else _delivered(delivery, rows, layout)
    model = files.read_model(revision.kept(paths.MODEL), known)
    parts = explanation.explain(model.pipeline, table, layout, revision.profile(), model.positive, model.threads)
    told = parts.rows(table)
    answers = results.answers(model.predict(table)).to_dict(orient="records")
    names = digest.prediction_ids(known, table[layout.inputs])
    key = layout.with_role("id")[:1]
    keys = table[key[0]].tolist() if key and key[0] in table else [None] * len(table)
    source = paths.TEST if ids else delivery
    found = [
        {"row": int(place) + 1, "id": None if value is None else str(value), "prediction_id": name, **answer, **row}
        for place, value, name, answer, row in zip(table.index, keys, names, answers, told, strict=True)
    ]
    if as_json:
        console.print_json({"source": source.as_posix(), "rows": found})
        return
    for row in found:
        for line in _lines(row, source, layout.target):
            typer.echo(line)


def _asked(number: str | None) -> tuple[Revision, str]:
    """Where the model is, and its SHA-256 as the registry has it: a joblib file is code, and none other is loaded.

    Raises:
        StoreError: there is no such version, no commit here holds it, or the registry does not know this model.
    """
    tracking, settings = params.load(params.Tracking), params.load(params.Register)
    revision = revisions.find("")
    digest = "" if number else files.sha256(revision.kept(paths.MODEL))
    with registry.opened(tracking.uri) as client:
        if number:
            version = registry.version(client, settings.name, number)
            return revisions.of_result(version.tags), version.tags[registry.MODEL_DIGEST]
        if registry.has_model(client, tracking.experiment, digest):
            return revision, digest
    raise StoreError(
        f"{paths.MODEL} (SHA-256 {digest[:12]}…) is of no run in the registry, and was not loaded: if your own "
        "`dvc repro` made it, `python -m mlops sync` records it"
    )


def _of_test(ids: list[str], revision: Revision, layout: Schema) -> "pd.DataFrame":
    """The test rows with these ids, in the order asked for."""
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


def _delivered(delivery: Path, rows: int, layout: Schema) -> "pd.DataFrame":
    """The first typed rows of a delivery's first file."""
    from mlops.data import parsing
    from mlops.data.deriving import derived
    from project import features

    path = deliveries.present(delivery)[0] if delivery.is_dir() else delivery
    if not path.is_file():
        raise DataError(f"{path} is missing: name a delivery, a CSV or Parquet file")
    cells = rows * len(deliveries.columns(path))
    raw = next(islice(deliveries.batches(path, cells=cells), 1))
    typed = parsing.parse(raw.head(rows), layout, str(path), layout.needed).table
    table = derived(typed, layout, features.derive)
    if table.empty:
        raise DataError(
            f"{path}: each of its first {len(raw.head(rows))} rows is rejected: see `unparseable` in schema.yaml"
        )
    return table


def _lines(row: dict[str, Any], source: Path, target: str) -> list[str]:
    """One explanation for people: what every feature adds, as a number and as a bar to the left or right."""
    name = f"{source} row {row['row']}" + (f" ({row['id']})" if row["id"] is not None else "")
    unit = target if row["of"] is None else f"{row['scale']} of {row['of']}"
    sure = f", probability of {row['of']} {row['probability']:.3f}" if "probability" in row else ""
    parts = [(f"{part['feature']} = {_value(part['value'])}", part["contribution"]) for part in row["features"]]
    if rest := parts[SHOWN:]:
        parts = [*parts[:SHOWN], (f"{len(rest)} others", sum(added for _, added in rest))]
    largest = max(abs(added) for _, added in parts) or 1.0
    wide = max(len(label) for label, _ in [*parts, (f"= {unit}", 0)])
    return [
        f"{name}: {target} is {_value(row['prediction'])}{sure}",
        f"  {'mean of training':<{wide}}  {_signed(row['base']):>10}",
        *(f"  {label:<{wide}}  {_signed(added):>10}  {_bar(added / largest)}".rstrip() for label, added in parts),
        f"  {f'= {unit}':<{wide}}  {_signed(row['answer']):>10}",
        "",
    ]


def _bar(share: float) -> str:
    """A bar of a length in -1 … 1, from the middle to the left or to the right."""
    length = round(abs(share) * BAR)
    return f"{'█' * length:>{BAR}}|" if share < 0 else f"{'':>{BAR}}|{'█' * length}"


def _signed(value: float) -> str:
    return f"{value:+,.4g}".replace("-", "−")


def _value(value: Any) -> str:
    return "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
