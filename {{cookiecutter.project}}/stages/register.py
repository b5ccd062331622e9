"""Decide by the gate whether the model may become a version, write its card, and record the result in MLflow.

The one stage that reaches outside. What it writes here is the verdict and facts only, the same whoever runs it where.
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
    plots: Annotated[Path, typer.Option(help="Folder with the importances (CSV).")],
    predictions: Annotated[Path, typer.Option(help="The model's answers on the test split (Parquet).")],
    reference: Annotated[Path, typer.Option(help="Profile of the training split (Parquet).")],
    report: Annotated[Path, typer.Option(help="Where the gate's verdict goes (JSON).")],
    card: Annotated[Path, typer.Option(help="Where the model card goes (Markdown).")],
    page: Annotated[Path, typer.Option(help="Where the model card for people goes (HTML).")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, but record and write nothing.")] = False,
) -> None:
    """Judge, describe, record, and outside a sweep register."""
    from dataclasses import replace

    from ml import card as cards
    from ml import features, gate, profile, task
    from store import champion, environment, files, pages, params, provenance, registry

    settings, judging, words = params.load(params.Register), params.load(params.Evaluate), params.load(params.Card)
    tracking = params.load(params.Tracking)
    layout = files.read_schema(schema)
    reports = (dataset, training, metrics, validation, evaluation, fairness)
    found = {path.stem: files.read_json(path) for path in reports}
    groups = files.read_csv(slices, text=("column", "level")).to_dict(orient="records")
    evidence = gate.evidence(found, groups, judging.smallest_group)
    headline = task.headline(found["training"]["task"], judging.metric)
    digests = {
        "model": files.sha256(model),
        "data": found["dataset"]["digest"],
        "params": provenance.digest(params.recorded()),
        "code": provenance.code_digest(),
    }

    on_its_own, against = gate.about_the_model(settings.gate), gate.about_production(settings.gate)
    outcomes = gate.judge(evidence, headline, on_its_own)
    passed = all(outcome.passed for outcome in outcomes)
    verdict = {"name": settings.name, "passed": passed, "rules": [outcome.as_dict() for outcome in outcomes]}
    candidate = passed and settings.mode == "enforce" and provenance.experiment() is None
    # What is in production is no property of the result: this is judged, but stands in no file of it.
    if candidate and against:
        known = replace(evidence, gain=champion.gain(predictions, evaluation, settings.name, tracking.uri))
        outcomes += gate.judge(known, headline, against)
    for outcome in outcomes:
        typer.echo(f"gate {'passed' if outcome.passed else 'FAILED'}  {outcome.sentence()}")
    if dry_run:
        return

    importances = files.read_csv(plots / "importances.csv", text=["feature"]).to_dict(orient="records")
    told = {
        **cards.facts(found, groups, importances, layout, judging.smallest_group, judging.confidence),
        **verdict,
        "card": words,
        "digests": digests,
        "mode": settings.mode,
        "not_here": list(against),
        "packages": environment.locked(environment.COMPUTED_WITH),
        "registration": report.as_posix(),
    }
    summary = cards.summary(told)
    text = pages.filled("model_card.md", **told, summary=summary)
    files.write_text(card, text + "\n")
    body = pages.from_markdown(text)
    pages.write_page(page, "model_card.html", **told, title=f"Model card: {settings.name}", body=body)

    folds = found["training"]["cross_validated"].items()
    result = registry.Result(
        name=settings.name,
        digests=digests,
        params=params.recorded(),
        metrics={**found["metrics"], **{f"cross_validated.{name}": spread["mean"] for name, spread in folds}},
        tags={"model_type": found["training"]["model"], "framework": "scikit-learn", **provenance.tags()},
        model=model,
        columns=features.column_types(layout),
        requirements=environment.pinned(environment.COMPUTED_WITH),
        artifacts=[*reports, slices, predictions, card, page, *artifacts],
        verdict="; ".join(outcome.sentence() for outcome in outcomes),
        description=f"{summary}. The model card is `{card}` of the run.",
        example=features.typical(profile.from_frame(files.read_table(reference)), layout),
    )
    accepted = candidate and all(outcome.passed for outcome in outcomes)
    entry = registry.record(result, accepted, tracking.uri, tracking.experiment)
    typer.echo(f"{'new' if entry.new else 'known'} run {entry.run_id}, version {entry.version or 'none'}")
    files.write_json(report, {**verdict, "model_digest": digests["model"], "data_digest": digests["data"]})


if __name__ == "__main__":
    console.run(main)
