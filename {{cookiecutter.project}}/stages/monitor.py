"""Compare the newest delivery with the training data, and the model's answers on it with those on the test split.

It reports; the alarm is `python -m ops check-drift`, so that a drifted delivery never costs its own report.
"""

from pathlib import Path
from typing import Annotated

import typer

from store import console


def main(
    incoming: Annotated[Path, typer.Argument(help="Folder of the newest delivery; it may be empty.")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    reference: Annotated[Path, typer.Argument(help="Profile of the training split (Parquet).")],
    model: Annotated[Path, typer.Argument(help="The fitted model.")],
    predictions: Annotated[Path, typer.Argument(help="The model's answers on the test split (Parquet).")],
    training: Annotated[Path, typer.Argument(help="What was trained (JSON).")],
    report: Annotated[Path, typer.Option(help="Where the verdict and every test go (JSON).")],
    page: Annotated[Path, typer.Option(help="Where the report for people goes (HTML).")],
) -> None:
    """Test every watched feature and the predictions for drift."""
    from ml import digest, drift, evaluation, features, fitting, monitoring, profile, task
    from store import deliveries, files, pages, params

    settings = params.load(params.Monitor)
    layout = files.read_schema(schema)
    if not deliveries.listed(incoming):
        found = monitoring.no_delivery()
        files.write_json(report, found)
        pages.write_page(page, "drift.html", title="Drift", sketches={}, **found)
        typer.echo(f"{incoming}: {found['verdict']}")
        return

    delivered = deliveries.read(incoming, layout, layout.features)
    table, trained = delivered.table, files.read_json(training)
    kind: task.Task = trained["task"]
    answered = fitting.predict(
        files.read_model(model), features.inputs(table, layout), None, trained["positive"], trained["threads"]
    )
    baseline, current = profile.from_frame(files.read_table(reference)), profile.profile(table, layout)
    then = monitoring.answer_profile(files.read_table(predictions), kind)
    now = monitoring.answer_profile(evaluation.answers(answered), kind)

    limits = drift.Limits(**settings.model_dump(include=set(drift.Limits.__annotations__)))
    names = drift.watched(baseline, layout.features, settings.features)
    inputs = drift.compare(baseline, current, names, limits)
    outputs = drift.compare(then, now, list(then), limits)
    labelled = fitting.with_labels(answered, table.get(layout.target), kind)
    found = {
        "delivery": {
            "rows": len(table),
            "files": delivered.files,
            "unparseable": delivered.unparseable,
            "digest": digest.content_digest(table),
        },
        **monitoring.report(inputs, outputs, answered, labelled, kind, limits, settings.minimum_accuracy),
    }
    files.write_json(report, found)
    sides = {**baseline, **then}, {**current, **now}
    names = [column.column for column in inputs + outputs]
    sketches = {name: monitoring.sketch(*(side[name] for side in sides)) for name in names}
    pages.write_page(page, "drift.html", title="Drift", sketches=sketches, **found)
    typer.echo(f"{len(table)} rows: {found['verdict']}")


if __name__ == "__main__":
    console.run(main)
