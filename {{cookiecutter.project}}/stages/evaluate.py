"""Judge the model on the test split: metrics with intervals, curves, what it relies on and why, and groups."""

from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console


def main(
    model: Annotated[Path, typer.Argument(help="The fitted model.")],
    test: Annotated[Path, typer.Argument(help="Test split (Parquet).")],
    reference: Annotated[Path, typer.Argument(help="Profile of the training split (Parquet).")],
    dataset: Annotated[Path, typer.Argument(help="Facts about the data (JSON).")],
    training: Annotated[Path, typer.Argument(help="Cross-validated metrics (JSON).")],
    metrics: Annotated[Path, typer.Option(help="Metrics on the test split (JSON).")],
    baseline: Annotated[Path, typer.Option(help="Metrics of the best prediction without features (JSON).")],
    report: Annotated[Path, typer.Option(help="Intervals, classes and explanations behind the metrics (JSON).")],
    slices: Annotated[Path, typer.Option(help="Metrics per group (CSV).")],
    fairness: Annotated[Path, typer.Option(help="Rates per sensitive group, and the gaps between them (JSON).")],
    plots: Annotated[Path, typer.Option(help="Folder of tables for plots, the importances among them (CSV).")],
    predictions: Annotated[Path, typer.Option(help="The model's answers on the test split (Parquet).")],
    page: Annotated[Path, typer.Option(help="Page about how good the model is, and why it answers so (HTML).")],
    tests: Annotated[Path | None, typer.Option(help="Tests of the model's behaviour (YAML).")] = None,
    behaviour: Annotated[Path | None, typer.Option(help="Results of the behaviour tests (JSON).")] = None,
) -> None:
    """Evaluate the model, and write the results as tables, as JSON and as a page."""
    import project.estimators  # the model may be one of its classes
    import project.metrics
    from mlops.base import cluster, environment, files, model_files, pages, params
    from mlops.data import profile
    from mlops.evaluation import report as reporting
    from mlops.evaluation import results
    from mlops.intake import declarations, tables
    from mlops.training import metrics as scoring

    scoring.declare(project.metrics.METRICS)
    settings, fitted, split = params.load(params.Evaluate), model_files.read(model), tables.Stored(test)
    table = split.sample(settings.rows, settings.seed, split.names)
    distributions = profile.from_frame(tables.read(reference))
    trained, data, declared = files.read_json(training), files.read_json(dataset), declarations.read(tests)
    with cluster.used(params.load(params.Compute), [trained["estimator"]]):
        judging = reporting.Judging(environment.locks("shap"), declared, len(split), console.progress)
        evaluation = reporting.evaluate(fitted, table, distributions, trained, settings, judging)
    tables.write(predictions, results.to_frame(evaluation.predictions, table, fitted.schema))
    found = (evaluation.scores, evaluation.baseline, evaluation.facts, evaluation.fairness, evaluation.behaviour)
    for path, content in zip((metrics, baseline, report, fairness, behaviour), found, strict=True):
        if path:  # a dvc.yaml of an older project names no report of the behaviour
            files.write_json(path, content)
    files.write_csv(slices, evaluation.groups)
    for name, curve in evaluation.curves.items():
        files.write_csv(plots / f"{name}.csv", curve)
    pages.write_page(page, "evaluation.html", **reporting.page(evaluation, fitted, trained, data, settings.confidence))
    typer.echo(evaluation.sentence)


if __name__ == "__main__":
    console.run(main)
