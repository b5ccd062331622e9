"""Fit the chosen model: cross-validate it on the training split, then fit it on all of it."""

from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console


def main(
    train: Annotated[Path, typer.Argument(help="Training split (Parquet).")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    model: Annotated[Path, typer.Option(help="The fitted model (joblib).")],
    report: Annotated[Path, typer.Option(help="What was trained, and the metrics of every fold (JSON).")],
    metrics: Annotated[Path, typer.Option(help="Cross-validated metrics, the mean of the folds (JSON).")],
    candidates: Annotated[Path, typer.Option(help="Every candidate of a search (CSV).")],
) -> None:
    """Cross-validate, fit, save."""
    import project.estimators  # params.yaml may name its classes
    import project.metrics
    from mlops.base import cluster, environment, files, model_files, params
    from mlops.intake import tables
    from mlops.training import metrics as scoring
    from mlops.training import selection

    scoring.declare(project.metrics.METRICS)
    settings, models, split = params.load(params.Train), params.load(params.Models), params.load(params.Prepare).split
    headline = params.load(params.Evaluate).metric
    paths = models.paths(settings.model)
    environment.require_locked(paths)
    layout = tables.read_schema(schema).with_history(params.load(params.Features))
    with cluster.used(params.load(params.Compute), paths):
        trained = selection.train(tables.Stored(train), layout, settings, models, console.progress, split, headline)
    model_files.write(model, trained.model)
    files.write_json(metrics, trained.metrics)
    files.write_json(report, trained.report)
    files.write_csv(candidates, trained.candidates)
    typer.echo(trained.sentence)


if __name__ == "__main__":
    console.run(main)
