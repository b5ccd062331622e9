"""Judge the model on the test split: metrics with intervals, curves, what it relies on and why, and groups."""

from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console


def main(
    model: Annotated[Path, typer.Argument(help="The fitted model.")],
    test: Annotated[Path, typer.Argument(help="Test split (Parquet).")],
    reference: Annotated[Path, typer.Argument(help="Profile of the training split (Parquet).")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    dataset: Annotated[Path, typer.Argument(help="Facts about the data (JSON).")],
    training: Annotated[Path, typer.Argument(help="Cross-validated metrics (JSON).")],
    metrics: Annotated[Path, typer.Option(help="Where the metrics go (JSON).")],
    report: Annotated[Path, typer.Option(help="Where intervals and classes go (JSON).")],
    slices: Annotated[Path, typer.Option(help="Where the metrics per group go (CSV).")],
    fairness: Annotated[Path, typer.Option(help="Where rates per group and the gaps between them go (JSON).")],
    plots: Annotated[Path, typer.Option(help="Folder for what `dvc plots` draws (CSV).")],
    predictions: Annotated[Path, typer.Option(help="Where the answers on the test split go (Parquet).")],
    page: Annotated[Path, typer.Option(help="Where the report for people goes (HTML).")],
) -> None:
    """Predict the test split once, and derive everything from those predictions."""
    from mlops.base import environment, files, pages, params
    from mlops.data import profile as profiles
    from mlops.evaluation import curves, dependence, explanation, figures, importance, intervals, results
    from mlops.evaluation import fairness as treating
    from mlops.intake import tables
    from mlops.training import encoding, fitting, task

    settings, layout = params.load(params.Evaluate), tables.read_schema(schema)
    table, fitted, trained = tables.read(test), files.read_model(model), files.read_json(training)
    learnt_from = profiles.from_frame(tables.read(reference))
    headline, threads = task.headline(trained["task"], settings.metric), trained["threads"]

    inputs = encoding.inputs(table, layout)
    target = task.labels(table[layout.target], trained["task"])
    found = fitting.predict(fitted, inputs, target, trained["positive"], threads)
    scores = results.scores(found, headline)
    spans = intervals.bootstrap(found, settings.resamples, settings.confidence, settings.seed)
    shuffled = importance.permutation_importances(
        fitted, inputs, found, layout, headline, settings.importance_repeats, settings.seed, threads
    )
    relied_on = importance.table(console.progress(shuffled, len(layout.inputs), "shuffling features"))
    partial = dependence.partial_dependence(fitted, table, found, layout, relied_on["feature"], settings.seed, threads)
    trees = environment.locks("shap")  # not: is installed, or one lock would give two reports
    told = explanation.of_notable(fitted, table, found, layout, learnt_from, threads, trees=trees)
    drawn = {**curves.curves(found), "importances": relied_on, "partial_dependence": partial}
    groups = results.metrics_by_group(found, table, layout.sensitive)
    treated = treating.report(found, table[layout.sensitive], settings.smallest_group, settings.confidence)
    said = results.facts(found, headline, spans)

    tables.write(predictions, results.to_frame(found, table, layout))
    files.write_json(metrics, scores)
    files.write_json(report, said)
    files.write_csv(slices, groups)
    files.write_json(fairness, treated)
    for name, curve in drawn.items():
        files.write_csv(plots / f"{name}.csv", curve)
    pages.write_page(
        page,
        "evaluation.html",
        trained=trained,
        dataset=files.read_json(dataset),
        target=layout.target,
        confidence=settings.confidence,
        metrics=results.metric_rows(scores, spans, trained["cross_validated"]),
        subject=dependence.subject(found),
        explained=told,
        groups=groups.to_dict(orient="records"),
        fairness=treated,
        **figures.of_evaluation(drawn, headline, treated["columns"]),
        **said,
    )
    typer.echo(results.sentence(scores, spans, headline, len(table)))


if __name__ == "__main__":
    console.run(main)
