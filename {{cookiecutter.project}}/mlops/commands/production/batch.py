"""`batch`: let a version answer the rows of large files, without a server."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from mlops.base import cluster, params
from mlops.base.errors import ParameterError
from mlops.intake import deliveries, event_store
from mlops.serving import answer_files


def batch(
    file: Annotated[Path, typer.Argument(help="File of rows (CSV, TSV, .gz, Parquet), or a folder of such.")],
    out: Annotated[Path, typer.Argument(help="File for the answers (.csv or .parquet).")],
    version: Annotated[str, typer.Option(help="Number of a version; by default the one in production.")] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Use what was fetched before; ask no registry.")] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Leave rows that cannot be read without an answer.")] = False,
) -> None:
    """Score the rows of large files, without a server.

    The answers are those of the server, bit for bit, in the order of the rows, with the id of each row if the schema
    has one. Memory holds some rows at a time, however large the files are. If a row cannot be read, no file is written.

    Raises:
        DataError: a file cannot be read, lacks a column, or has a value that cannot be read.
        ParameterError: the name of a file cannot be used.
        StoreError: the version cannot be had, or the answers cannot be written.
    """
    answer_files.check(out)
    paths = deliveries.present(file) if file.is_dir() else [file]
    if out.resolve() in {path.resolve() for path in paths}:
        raise ParameterError(f"{out} is a file of rows: name another one for the answers")
    from mlops.serving import offline as scoring
    from mlops.serving import versions
    from mlops.training.model import import_path

    event_store.beside(Path(params.load(params.Serving).folder))
    copy = scoring.version(version, Path(params.load(params.Serving).folder), offline=offline)
    model, scored = versions.load(copy), scoring.Scored()
    terms = deliveries.terms(())
    connected = cluster.used(params.load(params.Compute), [import_path(model.model.pipeline)])
    # Workers do not have the online store, of which columns of history are made.
    with nullcontext() if model.schema.history.names else connected, answer_files.written(out) as write:
        for table in scoring.score(model, copy.number, paths, terms, scored, skip=skip, named=file.is_dir()):
            write(table)
    for name, findings in scored.findings.items():
        for sentence in findings.sentences():
            typer.echo(f"{name}: {sentence}", err=True)
    if scored.skipped:
        typer.echo(f"{scored.skipped:,} rows have no answer, such as {scored.examples[0]}", err=True)
    typer.echo(f"{scored.rows - scored.skipped:,} answers of version {copy.number} are in {out}")
