"""Decide by the gate whether the model may become a version, write its card, and record the result in MLflow.

The one stage that reaches outside. What it writes here is the verdict and facts only, the same whoever runs it where.
"""

from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console


def main(
    model: Annotated[Path, typer.Argument(help="The fitted model.")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    reports: Annotated[list[Path], typer.Argument(help="What the other stages reported, to judge by and to keep.")],
    slices: Annotated[Path, typer.Option(help="Metrics per group (CSV).")],
    plots: Annotated[Path, typer.Option(help="Folder of tables for plots, the importances among them (CSV).")],
    predictions: Annotated[Path, typer.Option(help="The model's answers on the test split (Parquet).")],
    reference: Annotated[Path, typer.Option(help="Profile of the training split (Parquet).")],
    report: Annotated[Path, typer.Option(help="Where the gate's verdict goes (JSON).")],
    card: Annotated[Path, typer.Option(help="Where the model card goes (Markdown).")],
    page: Annotated[Path, typer.Option(help="Where the model card for people goes (HTML).")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, but record and write nothing.")] = False,
) -> None:
    """Judge, describe, record, and outside a sweep register."""
    import project.estimators  # the model may be one of its classes
    import project.metrics
    from mlops.base import environment, files, pages, params
    from mlops.data import profile
    from mlops.evaluation import card as cards
    from mlops.evaluation import gate, results
    from mlops.history import provenance
    from mlops.intake import tables
    from mlops.registry import champion, recording
    from mlops.training import encoding, task
    from mlops.training import metrics as scoring

    scoring.declare(project.metrics.METRICS)
    settings, judging = params.load(params.Register), params.load(params.Evaluate)
    tracking = params.load(params.Tracking)
    layout, named = tables.read_schema(schema), {path.stem: path for path in reports if path.suffix == ".json"}
    found = {name: files.read_json(path) for name, path in named.items()}
    groups = files.read_csv(slices, text=("column", "level")).to_dict(orient="records")
    headline = task.headline(found["training"]["task"], judging.metric)
    evidence = gate.evidence(found, groups, judging.smallest_group)
    packages = environment.COMPUTED_WITH | environment.packages_behind(found["training"]["estimator"])
    digests = provenance.digests(model, found["dataset"]["digest"])

    on_its_own, against = gate.model_rules(settings.gate), gate.champion_rules(settings.gate)
    outcomes = gate.judge(evidence, headline, on_its_own)
    verdict = gate.verdict(settings.name, outcomes)
    candidate = verdict["passed"] and settings.mode == "enforce" and provenance.experiment() is None
    # What is in production is no property of the result: this is judged, but stands in no file of it.
    if candidate and against:
        gain = champion.gain(predictions, named["evaluation"], settings.name, tracking.uri)
        outcomes += gate.judge(evidence.with_gain(gain), headline, against)
    for outcome in outcomes:
        typer.echo(f"gate {'passed' if outcome.passed else 'FAILED'}  {outcome.sentence()}")
    if dry_run:
        return

    importances = files.read_csv(plots / "importances.csv", text=["feature"]).to_dict(orient="records")
    told = cards.facts(found, groups, importances, layout, judging.smallest_group, judging.confidence)
    rules = {**verdict, "mode": settings.mode, "not_here": list(against), "registration": report.as_posix()}
    told |= {**rules, "digests": digests, "packages": environment.locked(packages)}
    pages.write_both(card, "model_card.md", page, "model_card.html", **told, card=params.load(params.Card))

    result = recording.Result(
        name=settings.name,
        digests=digests,
        params=params.effective(),
        metrics=results.logged(found["metrics"], found["training"]["cross_validated"]),
        tags={"model_type": found["training"]["model"], "framework": "scikit-learn", **provenance.tags()},
        model=model,
        columns=encoding.column_types(layout),
        requirements=environment.pinned(packages),
        artifacts=[*reports, slices, plots, predictions, card, page],
        verdict="; ".join(outcome.sentence() for outcome in outcomes),
        description=f"{told['summary']}. The model card is `{card}` of the run.",
        example=encoding.typical(profile.from_frame(tables.read(reference)), layout),
    )
    recorded = recording.record(result, candidate and gate.passed(outcomes), tracking.uri, tracking.experiment)
    typer.echo(f"{'new' if recorded.new else 'known'} run {recorded.run_id}, version {recorded.version or 'none'}")
    files.write_json(report, {**verdict, "model_digest": digests["model"], "data_digest": digests["data"]})


if __name__ == "__main__":
    console.run(main)
