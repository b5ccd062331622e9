"""The command line: one line a command here, its work in the module of its name, imported when it is called."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from store import console

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
schema_app = typer.Typer(no_args_is_help=True, help="What a valid row is.")
app.add_typer(schema_app, name="schema")
data_app = typer.Typer(no_args_is_help=True, help="The data and its versions.")
app.add_typer(data_app, name="data")

registry_app = typer.Typer(no_args_is_help=True, help="The versions of the model.")
app.add_typer(registry_app, name="registry")
audit_app = typer.Typer(no_args_is_help=True, help="The log of what was in production.")
app.add_typer(audit_app, name="audit")

AsJson = Annotated[bool, typer.Option("--json", help="Print facts as JSON.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the audit log.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]


@schema_app.command("infer")
def schema_infer(
    target: Annotated[str | None, typer.Option(help="The column to predict; with --update, schema.yaml says.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of deliveries to learn from.")] = Path("data/raw"),
    out: Annotated[Path, typer.Option(help="Where the draft goes.")] = Path("schema.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a schema that says something else.")] = False,
    update: Annotated[bool, typer.Option("--update", help="Only add columns that the schema lacks.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Draft schema.yaml from the data: types, roles, limits, and a comment where a guess is worth a look."""
    from ops import schema

    schema.infer(data, target, out, force=force, update=update, dry_run=dry_run)


@app.command()
def ingest(
    source: Annotated[str, typer.Argument(help="A path, an http(s) or s3 URL, or a database URL.")],
    query: Annotated[str | None, typer.Option(help="What to ask a database: SELECT …")] = None,
    labelled: Annotated[bool, typer.Option("--labelled", help="Add it to data/raw/.")] = False,
    name: Annotated[str | None, typer.Option(help="What the file is called; as the source by default.")] = None,
    schema: Annotated[Path, typer.Option(help="What a valid row is.")] = Path("schema.yaml"),
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a delivery, check it against schema.yaml, write it as Parquet, track it with DVC – or refuse it whole."""
    from ops import ingest

    ingest.ingest(source, query, name, schema, labelled=labelled, dry_run=dry_run, as_json=as_json)


@data_app.command("log")
def data_log(as_json: AsJson = False) -> None:
    """List every version of the data: when, who, commit, digest, files, rows, size, message."""
    from ops import data

    data.log(as_json=as_json)


@data_app.command("get")
def data_get(
    version: Annotated[str, typer.Argument(help="A number of the log, a tag, a commit, or the start of a digest.")],
    folder: Annotated[str, typer.Option(help="data/raw or data/incoming.")] = "data/raw",
    to: Annotated[Path | None, typer.Option(help="The new folder; beside the data by default.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Check a version of the data out to a new folder; the work tree stays as it is."""
    from ops import data

    data.get(version, folder, to, dry_run=dry_run)


@data_app.command("hold-back")
def hold_back(
    raw: Annotated[Path, typer.Option(help="Folder of labelled deliveries.")] = Path("data/raw"),
    incoming: Annotated[Path, typer.Option(help="Folder of the newest delivery, still empty.")] = Path("data/incoming"),
    schema: Annotated[Path, typer.Option(help="What a valid row is.")] = Path("schema.yaml"),
    dry_run: DryRun = False,
) -> None:
    """Keep the newest tenth of the labelled rows back as the first delivery: there is something to watch then."""
    from ops import delivery

    delivery.hold_back(raw, incoming, schema, dry_run=dry_run)


@app.command("check-drift")
def check_drift(
    report: Annotated[Path, typer.Option(help="What `monitor` wrote.")] = Path("reports/drift.json"),
    as_json: AsJson = False,
) -> None:
    """Say whether the newest delivery has drifted, or the model got worse on it; exit with 1 if so."""
    from ops import drift

    drift.check(report, as_json=as_json)


@app.command()
def explain(
    delivery: Annotated[Path, typer.Argument(help="A CSV or Parquet file, or a folder of them.")] = Path(
        "data/incoming"
    ),
    rows: Annotated[int, typer.Option(min=1, help="How many of its first rows.")] = 5,
    ids: Annotated[list[str] | None, typer.Option("--id", help="Rows of the test split, by id, instead.")] = None,
    version: Annotated[str | None, typer.Option(help="Whose model, instead of that of the work tree.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what each feature added to the model's answer, row by row."""
    from ops import explain

    explain.explain(delivery, rows, ids or [], version, as_json=as_json)


@app.command()
def sync(
    experiments: Annotated[bool, typer.Option("--experiments", help="Those that have no run yet, instead.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Record the result that is checked out, as the stage `register` does: for a fresh clone, or an empty registry."""
    from ops import registration

    (registration.sync_experiments if experiments else registration.sync)(dry_run=dry_run)


@app.command()
def sweep(
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set-param", "-S", help="A parameter and its values, as DVC takes them: a.b=1,2."),
    ] = None,
    trials: Annotated[int, typer.Option(min=0, help="So many trials of sweep.space instead of a grid.")] = 0,
    sampler: Annotated[Literal["random", "tpe"], typer.Option(help="How trials are chosen.")] = "tpe",
    jobs: Annotated[int, typer.Option(min=1, help="Experiments at once.")] = 1,
    metric: Annotated[str, typer.Option(help="Cross-validated; auto is the headline.")] = "auto",
    maximize: Annotated[
        bool | None, typer.Option("--maximize/--minimize", help="By default what is better of this metric.")
    ] = None,
    name: Annotated[str, typer.Option(help="What the experiments' names begin with.")] = "sweep",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Try many parameters, each an experiment in a clone of its own; the same command goes on where it was stopped."""
    from ops import sweep

    sweep.sweep(
        overrides or [], trials, sampler, jobs, metric, name, maximize=maximize, dry_run=dry_run, as_json=as_json
    )


@app.command()
def compare(
    experiments: Annotated[list[str] | None, typer.Argument(help="Experiments, commits or branches.")] = None,
    metric: Annotated[str, typer.Option(help="Cross-validated; auto is the headline.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare models under the same folds, and say whether the best is really better than the others."""
    from ops import compare

    compare.compare(experiments or [], metric, as_json=as_json)


@app.command()
def review(
    base: Annotated[str, typer.Argument(help="What to compare with; by default where the main branch was left.")] = "",
    html: Annotated[Path | None, typer.Option(help="Also write a page with the plots of both versions.")] = None,
    fail_on: Annotated[
        Literal["regression"] | None,
        typer.Option(help="Exit with 1 if the headline got really worse, or the gate shut."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say as Markdown what the work tree changes, what that did to the metrics, and whether it is more than noise."""
    from ops import review

    review.review(base, html, fail_on, as_json=as_json)


@app.command()
def comment(
    file: Annotated[Path, typer.Argument(help="Markdown, as `review` prints it.")],
    dry_run: DryRun = False,
) -> None:
    """Post a review to the pull or merge request that CI runs for, or update the one posted before."""
    from ops import comment

    comment.comment(file, dry_run=dry_run)


@app.command()
def resolve(dry_run: DryRun = False) -> None:
    """After a merge that conflicts in dvc.lock or in reports: run what is stale, and add what that writes."""
    from ops import resolve

    resolve.resolve(dry_run=dry_run)


@app.command()
def approve(
    version: Annotated[str, typer.Argument(help="Its number.")], reason: Reason = "", dry_run: DryRun = False
) -> None:
    """Say yes to a version that someone else has made: without it, it does not go into production."""
    from ops import promotion

    promotion.approve(version, reason, dry_run=dry_run)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="Its number.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit log.")],
    dry_run: DryRun = False,
) -> None:
    """Put an approved version into production: it becomes the champion."""
    from ops import promotion

    promotion.promote(version, reason, dry_run=dry_run)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit log.")],
    to: Annotated[str | None, typer.Option(help="A version that was in production; by default the one before.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Put back into production what was there before."""
    from ops import promotion

    promotion.rollback(to, reason, dry_run=dry_run)


@app.command()
def trace(
    what: Annotated[str, typer.Argument(help="The number of a version, or a file of a model or of data.")],
    openlineage: Annotated[
        Path | None, typer.Option("--openlineage", help="Also write OpenLineage events here, one a line.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say where a version comes from and where it went: raw files, stages, metrics, gate, approvals, production."""
    from ops import trace

    trace.trace(what, openlineage, as_json=as_json)


@app.command()
def reproduce(
    version: Annotated[str, typer.Argument(help="Its number.")],
    fresh_env: Annotated[bool, typer.Option("--fresh-env", help="Make the environment of its lock anew.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version again from its commit and its data, beside the work tree, and say whether the same came out."""
    from ops import reproduce

    reproduce.reproduce(version, fresh_env=fresh_env, as_json=as_json)


@registry_app.command("show")
def registry_show(as_json: AsJson = False) -> None:
    """List every version of the model: what points to it, what it is, who made it when."""
    from ops import registry

    registry.show(as_json=as_json)


@registry_app.command("history")
def registry_history(as_json: AsJson = False) -> None:
    """List every approval, promotion and rollback, from the audit log."""
    from ops import registry

    registry.history(as_json=as_json)


@audit_app.command("verify")
def audit_verify() -> None:
    """Check that no entry of the audit log was edited, removed or moved; exit with 1 if one was."""
    from ops import registry

    registry.verify()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what has begun is taken back
    console.run(app)
