"""Decide by the gate whether the model may become a version, and record the result in MLflow.

The one stage that reaches outside. Its report holds the verdict only, so that it is the same whoever runs it where.
"""

from pathlib import Path
from typing import Annotated

import typer

from store import console


def main(
    model: Annotated[Path, typer.Argument(help="The fitted model.")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    artifacts: Annotated[list[Path], typer.Argument(help="More files and folders to keep with the run.")],
    dataset: Annotated[Path, typer.Option(help="Facts about the data (JSON).")],
    training: Annotated[Path, typer.Option(help="Cross-validated metrics (JSON).")],
    metrics: Annotated[Path, typer.Option(help="Metrics on the test split (JSON).")],
    validation: Annotated[Path, typer.Option(help="Checks of the data (JSON).")],
    evaluation: Annotated[Path, typer.Option(help="Intervals and classes (JSON).")],
    slices: Annotated[Path, typer.Option(help="Metrics per group (CSV).")],
    fairness: Annotated[Path, typer.Option(help="Gaps between groups (JSON).")],
    predictions: Annotated[Path, typer.Option(help="The model's answers on the test split (Parquet).")],
    reference: Annotated[Path, typer.Option(help="Profile of the training split (Parquet).")],
    report: Annotated[Path, typer.Option(help="Where the gate's verdict goes (JSON).")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, but record and write nothing.")] = False,
) -> None:
    """Judge, record, and outside a sweep register."""
    from dataclasses import replace

    from ml import features, gate, profile, task
    from store import champion, environment, files, params, provenance, registry

    settings, judging = params.load(params.Register), params.load(params.Evaluate)
    tracking = params.load(params.Tracking)
    layout = files.read_schema(schema)
    trained, tested = files.read_json(training), files.read_json(metrics)
    means = {name: spread["mean"] for name, spread in trained["cross_validated"].items()}
    headline = task.headline(trained["task"], judging.metric)
    digests = {
        "model": files.sha256(model),
        "data": files.read_json(dataset)["digest"],
        "params": provenance.digest(params.recorded()),
        "code": provenance.code_digest(),
    }

    evidence = gate.Evidence(
        tested,
        means,
        groups=files.read_csv(slices).to_dict(orient="records"),
        smallest_group=judging.smallest_group,
        fairness=files.read_json(fairness)["gaps"],
        validation=files.read_json(validation),
    )
    outcomes = gate.judge(evidence, headline, gate.about_the_model(settings.gate))
    passed = all(outcome.passed for outcome in outcomes)
    candidate = passed and settings.mode == "enforce" and provenance.experiment() is None
    # What is in production is no property of the result: this is judged, but stands in no file of it.
    if candidate and (against := gate.about_production(settings.gate)):
        known = replace(evidence, gain=champion.gain(predictions, evaluation, settings.name, tracking.uri))
        outcomes += gate.judge(known, headline, against)
    for outcome in outcomes:
        typer.echo(f"gate {'passed' if outcome.passed else 'FAILED'}  {outcome.sentence()}")
    if dry_run:
        return

    result = registry.Result(
        name=settings.name,
        digests=digests,
        params=params.recorded(),
        metrics={**tested, **{f"cross_validated.{name}": mean for name, mean in means.items()}},
        tags={"model_type": trained["model"], "framework": "scikit-learn", **provenance.tags()},
        model=model,
        columns=features.column_types(layout),
        requirements=environment.pinned(environment.COMPUTED_WITH),
        artifacts=[dataset, training, metrics, validation, evaluation, slices, fairness, predictions, *artifacts],
        verdict="; ".join(outcome.sentence() for outcome in outcomes),
        example=features.typical(profile.from_frame(files.read_table(reference)), layout),
    )
    accepted = candidate and all(outcome.passed for outcome in outcomes)
    entry = registry.record(result, accepted, tracking.uri, tracking.experiment)
    typer.echo(f"{'new' if entry.new else 'known'} run {entry.run_id}, version {entry.version or 'none'}")
    rules = [outcome.as_dict() for outcome in outcomes if outcome.rule in gate.about_the_model(settings.gate)]
    verdict = {"name": settings.name, "passed": passed, "rules": rules}
    files.write_json(report, {**verdict, "model_digest": digests["model"], "data_digest": digests["data"]})


if __name__ == "__main__":
    console.run(main)
