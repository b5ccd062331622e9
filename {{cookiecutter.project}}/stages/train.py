"""Fit the chosen model: cross-validate it on the training split, then fit it on all of it."""

from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console


def main(
    train: Annotated[Path, typer.Argument(help="Training split (Parquet).")],
    schema: Annotated[Path, typer.Argument(help="What a valid row is.")],
    model: Annotated[Path, typer.Option(help="Where the fitted model goes.")],
    report: Annotated[Path, typer.Option(help="Where goes what was trained, and every fold's metrics (JSON).")],
    metrics: Annotated[Path, typer.Option(help="Where the cross-validated means go (JSON).")],
    candidates: Annotated[Path, typer.Option(help="Where every candidate of a search goes (CSV).")],
) -> None:
    """Cross-validate, fit, save."""
    from mlops.base import files, params
    from mlops.intake import tables
    from mlops.training import encoding, estimators, fitting, search, task

    settings, models = params.load(params.Train), params.load(params.Models)
    layout = tables.read_schema(schema)
    table = tables.read(train)

    kind = task.task_of(table[layout.target], layout.columns[layout.target].type, settings.task)
    target = task.labels(table[layout.target], kind)
    positive = task.positive_class(target, settings.positive)
    chosen = models.choose(settings.model)
    path = chosen.classifier if kind == "classification" else chosen.regressor
    inputs = encoding.inputs(table, layout)
    many = encoding.many_levels(inputs, layout, settings.max_levels, settings.encoded_megabytes)
    encoder = encoding.encoder(layout, many, settings.rare_level, kind, settings.seed)

    groups = table[layout.with_role("group")[0]] if layout.with_role("group") else None
    cut = fitting.folds(target, groups, kind, settings.folds, settings.seed)

    wanted = settings.search
    metric = search.metric_named(task.headline(kind, wanted.metric if wanted.candidates else "auto"))
    configured = estimators.build(settings.model, path, chosen.arguments, kind, settings.seed)
    space = wanted.space.get(settings.model, {})
    arguments = search.candidates(settings.model, configured, space, wanted.candidates, settings.seed)
    tried = [estimators.with_arguments(configured, given) for given in arguments]
    scoring = search.search(encoder, tried, inputs, target, cut, positive, settings.threads)
    scored = list(console.progress(scoring, len(cut) * len(tried), "cross-validating"))
    found = search.collected(arguments, scored, metric)
    best = search.best(found, metric)
    summary = fitting.summarise(best.folds)

    estimator = tried[best.number]
    unfitted = fitting.pipeline(encoder, estimator)
    files.write_model(model, fitting.fit(unfitted, inputs, target, settings.threads))
    files.write_json(metrics, {name: spread["mean"] for name, spread in summary.items()})
    files.write_json(
        report,
        {
            "model": settings.model,
            "estimator": path,
            "arguments": estimator.get_params(deep=False),
            "task": kind,
            "positive": positive,
            "threads": settings.threads,
            "rows": len(table),
            "features": layout.inputs,
            "mean_encoded": many,
            "rare_classes": fitting.rare_classes(target, settings.folds),
            "cross_validated": summary,
            "folds": best.folds,
            "search": search.report(found, best, metric),
        },
    )
    files.write_csv(candidates, search.table(found, metric))
    which = f", candidate {best.number} of {len(found) - 1}" if best.arguments else ""
    typer.echo(f"{settings.model}{which}: {metric} {summary[metric]['mean']:.4f} ± {summary[metric]['std']:.4f}")


if __name__ == "__main__":
    console.run(main)
