"""Compare the newest delivery with the training data, and the model's answers on it with those on the test split.

It reports; the alarm is `python -m mlops check-drift`, so that a drifted delivery never costs its own report.
"""

from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console


def main(
    incoming: Annotated[Path, typer.Argument(help="Folder of the newest delivery; it may be empty.")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    reference: Annotated[Path, typer.Argument(help="Profile of the training split (Parquet).")],
    model: Annotated[Path, typer.Argument(help="The fitted model.")],
    predictions: Annotated[Path, typer.Argument(help="The model's answers on the test split (Parquet).")],
    report: Annotated[Path, typer.Option(help="Where the verdict and every test go (JSON).")],
    page: Annotated[Path, typer.Option(help="Where the report for people goes (HTML).")],
) -> None:
    """Test every watched feature and the predictions for drift."""
    import project.estimators
    import project.metrics
    from mlops.base import files, pages, params
    from mlops.data import profile
    from mlops.evaluation import results
    from mlops.intake import deliveries, tables
    from mlops.monitoring import drift, verdict
    from mlops.training import fitting
    from mlops.training import metrics as scoring
    from project import features

    settings = params.load(params.Monitor)
    layout = tables.read_schema(schema)
    if not deliveries.listed(incoming):
        found = verdict.no_delivery()
        files.write_json(report, found)
        pages.write_page(page, "drift.html", **found)
        typer.echo(f"{incoming}: {found['verdict']}")
        return

    scoring.declare(project.metrics.METRICS)
    fitted = files.read_model(model)
    kind = fitted.task
    aside = report.with_name(".delivered.parquet")
    with deliveries.collected(incoming, layout, layout.needed, features.derive, aside) as delivered:
        table = delivered.table
        answered = scoring.joined([fitted.predict(batch) for batch in table.batches()])
        labels = table[layout.target] if layout.target in table else None  # noqa: SIM401 – it lies in a file
        current, content = profile.profile(table, layout), table.digest()
    baseline = profile.from_frame(tables.read(reference))
    answers = results.answers(answered)
    then = verdict.answer_profile(tables.read(predictions, answers.columns.tolist()), kind)
    now = verdict.answer_profile(answers, kind)

    limits = drift.Limits(**settings.model_dump(include=set(drift.Limits.__annotations__)))
    names = drift.watched(baseline, layout.features, settings.features)
    inputs = drift.compare(baseline, current, names, limits)
    outputs = drift.compare(then, now, list(then), limits)
    labelled = fitting.with_labels(answered, labels, kind)
    found = {
        "delivery": {
            "rows": delivered.rows,
            "files": delivered.files,
            "unparseable": delivered.unparseable,
            "digest": content,
        },
        **verdict.report(inputs, outputs, answered, labelled, kind, limits, settings.minimum_accuracy),
    }
    files.write_json(report, found)
    sides = [(baseline[column.column], current[column.column]) for column in inputs]
    sides += [(then[column.column], now[column.column]) for column in outputs]
    columns = [
        {**column, "sketch": verdict.sketch(*both)} for column, both in zip(found["columns"], sides, strict=True)
    ]
    pages.write_page(page, "drift.html", **{**found, "columns": columns})
    typer.echo(f"{delivered.rows} rows: {found['verdict']}")


if __name__ == "__main__":
    console.run(main)
