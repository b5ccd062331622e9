"""Judge the result by the gate, write its model card, and record it in MLflow: the one stage that reaches outside."""

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
    report: Annotated[Path, typer.Option(help="Verdict of the gate, rule by rule (JSON).")],
    card: Annotated[Path, typer.Option(help="Model card (Markdown).")],
    page: Annotated[Path, typer.Option(help="Model card as a page (HTML).")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, but record and write nothing.")] = False,
) -> None:
    """Judge, describe, record, and outside a sweep register."""
    from mlops.base import files, pages, params
    from mlops.data import profile
    from mlops.history import provenance
    from mlops.intake import tables
    from mlops.registry import recording, registration
    from mlops.training import metrics as scoring
    from project import estimators, features, metrics  # noqa: F401 – a version brings them along

    scoring.declare(metrics.METRICS)
    settings, judging = params.load(params.Register), params.load(params.Evaluate)
    tracking = params.load(params.Tracking)
    layout = tables.read_schema(schema).with_history(params.load(params.Features))
    named = {path.stem: path for path in reports if path.suffix == ".json"}
    facts = {name: files.read_json(path) for name, path in named.items()}
    groups = files.read_csv(slices, text=("column", "level")).to_dict(orient="records")
    distributions = profile.from_frame(tables.read(reference))
    target = distributions[layout.target]
    judgement = registration.judge(facts, groups, predictions, named["evaluation"], target, settings, judging, tracking)
    typer.echo(registration.gate_lines(judgement, settings))
    if dry_run:
        return
    digests = provenance.digests(model, facts["dataset"]["digest"])
    importances = files.read_csv(plots / "importances.csv", text=["feature"]).to_dict(orient="records")
    said = registration.card_facts(facts, groups, importances, judgement, digests, layout, settings, judging)
    words = params.load(params.Card)
    said |= {"registration": report.as_posix(), "card": words, "retrained": words.retrained.of(digests["model"])}
    pages.write_both(card, "model_card.md", page, "model_card.html", **said)
    kept = [*reports, slices, plots, predictions, card, page]
    result = registration.result(facts, judgement, said, model, card, layout, distributions, kept)
    recorded = recording.record(result, judgement.registers, tracking.uri, tracking.experiment)
    typer.echo(registration.sentence(recorded, result, judgement, settings.mode))
    files.write_json(report, {**judgement.verdict, "model_digest": digests["model"], "data_digest": digests["data"]})


if __name__ == "__main__":
    console.run(main)
