"""`explain`: why the model answers as it does on single rows, feature by feature."""

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ml.errors import DataError, ParameterError
from ml.schema import Schema
from store import deliveries, files, revisions

if TYPE_CHECKING:
    import pandas as pd

MODEL = Path("models/model.joblib")
TEST = Path("data/prepared/test.parquet")
REFERENCE = Path("data/prepared/reference.parquet")
SHOWN = 10  # features of a row; the others are summed
BAR = 12  # characters of the longest bar, to either side


def explain(delivery: Path, rows: int, ids: list[str], schema: Path, *, as_json: bool) -> None:
    """Print the explanations of the first `rows` of a delivery (a file, or a folder of them), or of test rows by id.

    Raises:
        DataError: there are no such rows.
        ParameterError: the model is of a kind that is not explained.
        ProjectError: it takes a package that is not installed.
    """
    from ml import evaluation, explanation, features, fitting, profile

    layout, trained = files.read_schema(schema), files.read_json(revisions.TRAINING)
    table = _of_test(ids, layout) if ids else _delivered(delivery, rows, layout)
    model = files.read_model(MODEL)
    positive, threads = trained["positive"], trained["threads"]
    reference = profile.from_frame(files.read_table(REFERENCE))
    told = explanation.explain(model, table, layout, reference, positive, threads).rows(table)
    predicted = fitting.predict(model, features.inputs(table, layout), None, positive, threads)
    answers = evaluation.answers(predicted).to_dict(orient="records")
    key = layout.with_role("id")[:1]
    named = table[key[0]].tolist() if key and key[0] in table else [None] * len(table)
    source = TEST if ids else delivery
    found = [
        {"row": int(place) + 1, "id": None if value is None else str(value), **answer, **row}
        for place, value, answer, row in zip(table.index, named, answers, told, strict=True)
    ]
    if as_json:
        typer.echo(json.dumps({"source": source.as_posix(), "rows": found}, indent=2, ensure_ascii=False))
        return
    for row in found:
        for line in _lines(row, source, layout.target):
            typer.echo(line)


def _of_test(ids: list[str], layout: Schema) -> "pd.DataFrame":
    """The test rows with these ids, in the order asked for."""
    key = layout.with_role("id")[:1]
    if not key:
        raise ParameterError("schema.yaml has no column of the role id to find rows by: explain a delivery instead")
    table = files.read_table(TEST)
    known = table[key[0]].astype("str")
    if unknown := [value for value in ids if value not in set(known)]:
        raise DataError(
            f"{TEST} has no row whose {key[0]} is {', '.join(unknown)}: it holds those tested, such as {known.iloc[0]}"
        )
    return table.loc[[known.eq(value).idxmax() for value in ids]]


def _delivered(delivery: Path, rows: int, layout: Schema) -> "pd.DataFrame":
    """The first typed rows of a delivery's first file."""
    from ml import parsing

    path = deliveries.present(delivery)[0] if delivery.is_dir() else delivery
    if not path.is_file():
        raise DataError(f"{path} is missing: name a delivery, a CSV or Parquet file")
    cells = rows * len(deliveries.columns(path))
    raw = next(islice(deliveries.batches(path, cells=cells), 1))
    table = parsing.parse(raw.head(rows), layout, str(path), layout.inputs).table
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
