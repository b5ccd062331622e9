"""`predict`: let a running server answer the rows of a file."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.base import console
from mlops.base.errors import DataError, ParameterError, StoreError
from mlops.intake import deliveries, tables
from mlops.intake.deliveries import Findings, Terms
from mlops.serving import answer_files
from mlops.serving.client import Client, RefusedError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

KEY = "MLOPS_API_KEY"
TOO_LARGE = 413
CELLS = 200_000  # values of the file in memory at once
ANSWER = ("prediction", "probability", "model_version", "variant", "prediction_id")


def predict(
    file: Annotated[Path, typer.Argument(help="File of rows (CSV, TSV, their .gz, Parquet).")],
    out: Annotated[Path, typer.Argument(help="File for the answers (.csv or .parquet).")],
    url: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:8000",
    rows: Annotated[int, typer.Option(min=1, help="Rows in one request.")] = 500,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for an answer.")] = 60.0,
    schema: Annotated[Path, typer.Option(help="What the columns are; without that file, all are sent.")] = Path(
        "schema.yaml"
    ),
) -> None:
    """Ask a running server about the rows of a file.

    The answers have the order of the rows, and the id of each row if the schema has one. A request that fails for a
    passing reason is sent again. If a row is refused, no file is written. An API key is taken from MLOPS_API_KEY.
    `mlops/serving/client.py` needs nothing but Python: copy it into a program of yours.

    Raises:
        DataError: the file cannot be read, or the server refuses a row; the sentence says which one.
        ParameterError: the name of a file, or the address, cannot be used.
        StoreError: the server cannot be reached or refuses, or the answers cannot be written.
    """
    answer_files.check(out)
    if not file.is_file():
        raise DataError(f"{file} is missing: name a file of rows")
    if file.resolve() == out.resolve():
        raise ParameterError(f"{out} is the file of rows: name another one for the answers")
    terms, findings = deliveries.terms(()), Findings()
    layout = tables.read_schema(schema) if schema.is_file() else None
    names = deliveries.columns(file, terms)
    wanted = [name for name in names if layout is None or (name in layout.from_outside and name != layout.target)]
    ids = [name for name in names if layout and name in layout.with_role("id")]
    if not wanted:
        raise DataError(f"{file} has none of the columns in {schema}: it has {', '.join(names)}")
    if layout and (other := [name for name in names if name not in layout.columns]):
        typer.echo(f"not sent, since {schema} does not name them: {', '.join(other)}", err=True)
    versions: Counter[str] = Counter()
    try:
        asking = Client(url, os.environ.get(KEY, ""), timeout)
    except ValueError as error:
        raise ParameterError(str(error)) from None
    with asking, answer_files.written(out) as write:
        parts = _parts(file, wanted, rows, terms, findings)
        for part in console.progress(parts, None, f"asking about {file.name}"):
            answers = _answers(asking, part, file, terms)
            versions.update(str(answer["model_version"]) for answer in answers)
            write(_table(part[ids], answers))
    for sentence in findings.sentences():
        typer.echo(f"{file}: {sentence}", err=True)
    told = ", ".join(f"{count:,} by version {number}" for number, count in sorted(versions.items()))
    typer.echo(f"{versions.total():,} answers are in {out} ({told})")


def _parts(file: Path, wanted: list[str], rows: int, terms: Terms, findings: Findings) -> Iterator["pd.DataFrame"]:
    """The rows of a file, as many at a time as a request has; their index is their position in the file."""
    for batch in deliveries.batches(file, wanted, CELLS, terms, findings):
        for start in range(0, len(batch), rows):
            yield batch.iloc[start : start + rows]


def _answers(asking: Client, part: "pd.DataFrame", file: Path, terms: Terms) -> list[dict[str, Any]]:
    columns = [[as_json_value(value) for value in part[name].tolist()] for name in part]
    records = [dict(zip(part.columns, values, strict=True)) for values in zip(*columns, strict=True)]
    try:
        return asking.predict(records)
    except RefusedError as refused:
        if isinstance(refused.detail, str):
            raise StoreError(f"{refused.detail} ({_from(part)} of {file} were asked about){smaller(refused)}") from None
        fault = first_fault(refused.detail, file, part.index.tolist(), terms, _from(part))
        raise DataError(f"{fault}; no answers were written") from None


def smaller(refused: RefusedError) -> str:
    """What helps where a request was too large; else nothing."""
    return "; a smaller --rows makes smaller requests" if refused.status == TOO_LARGE else ""


def first_fault(faults: list[dict[str, Any]], file: Path, rows: list[int], terms: Terms, where: str) -> str:
    """The first fault of a request with its place in the file; `rows` are the places of what was sent in the file."""
    first, more = faults[0], len(faults) - 1
    place = str(file)
    if first.get("row"):
        [place] = deliveries.locate(file, [rows[first["row"] - 1]], terms)
    column = f"{first['column']}: " if first.get("column") else ""
    others = f" (and {more} more faults in {where})" if more else ""
    return f"{place}: {column}{first['fault']}{others}"


def _from(part: "pd.DataFrame") -> str:
    return f"rows {part.index[0] + 1} to {part.index[-1] + 1}"


def as_json_value(value: Any) -> Any:
    """A value as JSON has it; a time in ISO 8601, and as text what JSON lacks."""
    import pandas as pd

    if pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return str(value) if value in (float("inf"), float("-inf")) else value


def _table(ids: "pd.DataFrame", answers: list[dict[str, Any]]) -> "pa.Table":
    columns = {name: [answer.get(name) for answer in answers] for name in ANSWER}
    if not any(value is not None for value in columns["probability"]):
        del columns["probability"]
    return answer_files.beside(ids, columns)
