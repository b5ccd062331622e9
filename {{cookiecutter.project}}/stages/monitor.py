"""Compare the newest delivery with the training data, and the model's answers on it with those on the test split.

It reports; the alarm is `python -m mlops check-drift`, so that a drifted delivery never costs its own report.
"""

from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console


def main(
    incoming: Annotated[Path, typer.Argument(help="Folder of the newest delivery; it may be empty.")],
    events: Annotated[Path, typer.Argument(help="Folder of events that columns are made of; it may be empty.")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    reference: Annotated[Path, typer.Argument(help="Profile of the training split (Parquet).")],
    training: Annotated[Path, typer.Argument(help="The training split (Parquet), of which a sample is read.")],
    model: Annotated[Path, typer.Argument(help="The fitted model.")],
    predictions: Annotated[Path, typer.Argument(help="The model's answers on the test split (Parquet).")],
    plots: Annotated[Path, typer.Argument(help="Folder of tables for plots, the importances among them (CSV).")],
    report: Annotated[Path, typer.Option(help="Verdict about the newest delivery, and every drift test (JSON).")],
    page: Annotated[Path, typer.Option(help="Page about the newest delivery (HTML).")],
) -> None:
    """Test every watched feature and the predictions for drift."""
    from mlops.base import cluster, files, model_files, pages, params
    from mlops.data import profile
    from mlops.intake import collecting, deliveries, event_files, tables
    from mlops.monitoring import domain, verdict
    from mlops.training import metrics as scoring
    from project import estimators, features, metrics  # noqa: F401 – the model may be one of the estimators

    settings = params.load(params.Monitor)
    layout, source = event_files.with_history(tables.read_schema(schema), params.load(params.Features), events)
    ragged, costs = params.load(params.Prepare).ragged, params.load(params.Train).costs
    found = shown = verdict.no_delivery()
    if deliveries.listed(incoming):
        scoring.declare(metrics.METRICS)
        fitted, aside = model_files.read(model), report.with_name(".delivered.parquet")
        used = cluster.used(params.load(params.Compute), [fitted.estimator])
        with used, collecting.collected(incoming, layout, layout.needed, features.derive, aside, ragged, source) as new:
            table, asked = new.table, new.table.drawn(settings.rows, domain.SEED)
            answers = fitted.predict_each(some for some in table.batches(asked) if len(some))
            labels = table[layout.target][asked] if layout.target in table else None
            current, digest = profile.profile(table, layout), table.digest()
            samples = [domain.sample(side, layout) for side in (tables.Stored(training), table)]
        importances = files.read_csv(plots / "importances.csv", text=["feature"]).set_index("feature")["importance"]
        facts = {"rows": new.rows, "answered": int(asked.sum()), **new.facts, "digest": digest}
        both = verdict.compare(
            *(profile.from_frame(tables.read(reference)), current, tables.read(predictions), answers, labels, layout),
            *(fitted.task, settings, importances.dropna(), costs, samples),
        )
        found, shown = ({"delivery": facts, **content} for content in both)
    files.write_json(report, found)
    pages.write_page(page, "drift.html", **shown)
    typer.echo(verdict.sentence(found, settings))


if __name__ == "__main__":
    console.run(main)
