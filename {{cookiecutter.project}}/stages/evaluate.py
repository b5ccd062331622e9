"""Judge the model on the test split: metrics with intervals, curves, what it relies on, and how it treats groups."""

from pathlib import Path
from typing import Annotated

import typer

from store import console


def main(
    model: Annotated[Path, typer.Argument(help="The fitted model.")],
    test: Annotated[Path, typer.Argument(help="Test split (Parquet).")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    dataset: Annotated[Path, typer.Argument(help="Facts about the data (JSON).")],
    training: Annotated[Path, typer.Argument(help="Cross-validated metrics (JSON).")],
    metrics: Annotated[Path, typer.Option(help="Where the metrics go (JSON).")],
    report: Annotated[Path, typer.Option(help="Where intervals, classes and importances go (JSON).")],
    slices: Annotated[Path, typer.Option(help="Where the metrics per group go (CSV).")],
    plots: Annotated[Path, typer.Option(help="Folder for what `dvc plots` draws (CSV).")],
    predictions: Annotated[Path, typer.Option(help="Where the test predictions go (Parquet).")],
    page: Annotated[Path, typer.Option(help="Where the report for people goes (HTML).")],
) -> None:
    """Predict the test split once, and derive everything from those predictions."""
    from ml import curves, evaluation, features, fitting, importance, intervals, task
    from ml import metrics as scoring
    from store import files, pages, params

    settings, threads = params.load(params.Evaluate), params.load(params.Train).threads
    layout = files.read_schema(schema)
    table, fitted, trained = files.read_table(test), files.read_model(model), files.read_json(training)
    kind = trained["task"]
    headline = task.headline(kind, settings.metric)

    target = task.labels(table[layout.target], kind)
    inputs = features.inputs(table, layout)
    found = fitting.predict(fitted, inputs, target, trained["positive"], threads)
    scores = scoring.score(found)
    spans = intervals.bootstrap(found, settings.resamples, settings.confidence, settings.seed)
    shuffled = importance.permutation_importances(
        fitted, inputs, found, layout, headline, settings.importance_repeats, settings.seed, threads
    )
    relied_on = evaluation.importance_table(console.progress(shuffled, len(layout.features), "shuffling features"))
    groups = evaluation.by_group(found, table, layout)
    drawn = curves.all_of(found)


if __name__ == "__main__":
    console.run(main)
