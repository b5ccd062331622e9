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
    report: Annotated[Path, typer.Option(help="Where the gate's verdict goes (JSON).")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, but record and write nothing.")] = False,
) -> None:
    """Judge, record, and outside a sweep register."""
    from dataclasses import asdict

    from ml import features, gate, task
    from store import environment, files, params, provenance, registry

    settings, tracking = params.load(params.Register), params.load(params.Tracking)
    trained, tested = files.read_json(training), files.read_json(metrics)
    means = {name: spread["mean"] for name, spread in trained["cross_validated"].items()}
    headline = task.headline(trained["task"], params.load(params.Evaluate).metric)
    outcomes = gate.judge(tested, means, headline, dict(settings.gate))
    passed = all(outcome.passed for outcome in outcomes)

    recorded = params.recorded()
    digests = {
        "model": files.sha256(model),
        "data": files.read_json(dataset)["digest"],
        "params": provenance.digest(recorded),
        "code": provenance.code_digest(),
    }
    result = registry.Result(
        name=settings.name,
        digests=digests,
        params=recorded,
        metrics={**tested, **{f"cross_validated.{name}": mean for name, mean in means.items()}},
        tags={"model_type": trained["model"], "framework": "scikit-learn", **provenance.tags()},
        model=model,
        columns=features.column_types(files.read_schema(schema)),
        requirements=environment.pinned(environment.COMPUTED_WITH),
        artifacts=[dataset, training, metrics, *artifacts],
    )
    for outcome in outcomes:
        typer.echo(f"gate {'passed' if outcome.passed else 'FAILED'}  {outcome.sentence()}")
    may_register = passed and provenance.experiment() is None
    if not dry_run:
        entry = registry.record(result, may_register, tracking.uri, tracking.experiment)
        typer.echo(f"{'new' if entry.new else 'known'} run {entry.run_id}, version {entry.version or 'none'}")
        verdict = {"name": settings.name, "passed": passed, "rules": [asdict(outcome) for outcome in outcomes]}
        files.write_json(report, {**verdict, "model_digest": digests["model"], "data_digest": digests["data"]})


if __name__ == "__main__":
    console.run(main)
