"""`simulate`: a year of deliveries in a world of its own, with retraining and without."""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.base import console, pages, params
from mlops.base.errors import ParameterError
from mlops.commands.options import AsJson
from mlops.history import paths
from project import features

MOST_ROWS = 20_000  # of the project's data that the year is drawn from
WEEK = 1000  # rows of a delivery
MEMORY = 4  # deliveries that a retraining learns from, or fewer in a short year
PAGE = Path("reports/simulation.html")


def simulate(
    weeks: Annotated[int, typer.Option(min=1, help="How long the year is.")] = 52,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same year.")] = 42,
    label_delay: Annotated[int, typer.Option(min=1, help="After so many weeks the labels of a delivery come.")] = 2,
    memory: Annotated[
        int | None,
        typer.Option(min=0, help="Newest deliveries that a retraining learns from; 0: all, and the history."),
    ] = None,
    html: Annotated[Path, typer.Option(help="Where the page goes.")] = PAGE,
    as_json: AsJson = False,
) -> None:
    """Simulate a year of deliveries, with retraining and without.

    The deliveries are drawn from data/raw/. Two shifts change what the right answer is, one delivery is broken, labels
    come late, and once they are wrong. The loop watches, refuses, retrains, promotes and rolls back, by the rules of
    params.yaml. Everything happens in a temporary folder: no file of the project, no run and no version is touched, but
    for the page.

    Raises:
        ParameterError: the page cannot be written where it should go.
        ProjectError: there is no data, its target is a number, or no model can be trained on it.
    """
    if html.is_dir():  # known only after the year otherwise
        raise ParameterError(f"--html {html} is a folder: name a file for the page")
    import project.estimators  # params.yaml may name its classes
    import project.metrics
    from mlops.simulation import chart, learning, world, year
    from mlops.training import metrics

    metrics.declare(project.metrics.METRICS)
    settings, plan = learning.read_settings(), world.plan(weeks, label_delay)
    scratch = Path(tempfile.mkdtemp(prefix="mlops-simulate-"))
    try:
        schema, rows, history = _read(scratch, settings.prepare, seed)
        truth = learning.probabilities(history, schema, settings)
        made = world.make(rows, history, truth, schema, plan, seed, WEEK)
        newest = min(max(weeks // 8, 1), MEMORY) if memory is None else memory
        loop = year.begin(made, history, schema, features.derive, settings, scratch, newest)
        for _ in console.progress(year.weeks(loop), weeks, "living the year"):
            pass
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found = year.report(loop)
    pages.write_page(html, "simulation.html", **found, chart=chart.of_year(found))
    if as_json:
        console.print_json(found)
    else:
        typer.echo(f"{found['sentence']}\n{html}")


def _read(scratch: Path, settings: params.Prepare, seed: int) -> Any:
    """The schema, at most 20,000 labelled rows of data/raw/ as they were delivered, and the same rows prepared."""
    import numpy as np
    import pandas as pd

    from mlops.data import cleaning, deriving, parsing
    from mlops.intake import deliveries, tables

    if params.load(params.Features).tables:
        raise ParameterError(
            f"{params.FILE}: the year is one of made-up customers, who have no events: empty features.tables, and take "
            "its columns out of schema.yaml, to simulate one"
        )
    schema, parts = tables.read_schema(paths.SCHEMA), []
    terms = deliveries.Terms(tuple(schema.from_outside), settings.ragged)
    for path in deliveries.present(paths.RAW):
        batches = console.progress(deliveries.batches(path, terms=terms), None, f"reading {path.name}")
        parts += [parsing.parse(batch, schema, str(path), schema.delivered).table for batch in batches]
    rows = pd.concat(parts, ignore_index=True)
    rows = rows[cleaning.labelled(rows[schema.target])]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:MOST_ROWS])
    rows = rows.iloc[chosen].reset_index(drop=True)
    return schema, rows, deriving.derived(rows, schema, features.derive)
