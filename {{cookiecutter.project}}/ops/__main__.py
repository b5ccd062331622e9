"""The command line: one line a command here, its work in the module of its name, imported when it is called."""

from pathlib import Path
from typing import Annotated

import typer

from store import console

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
schema_app = typer.Typer(no_args_is_help=True, help="What a valid row is.")
app.add_typer(schema_app, name="schema")

AsJson = Annotated[bool, typer.Option("--json", help="Print facts as JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]


@schema_app.command("infer")
def schema_infer(
    target: Annotated[str, typer.Option(help="The column to predict.")],
    data: Annotated[Path, typer.Option(help="Folder of deliveries to learn from.")] = Path("data/raw"),
    out: Annotated[Path, typer.Option(help="Where the draft goes.")] = Path("schema.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a schema that says something else.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Draft schema.yaml from the data: types, roles, limits, and a comment where a guess is worth a look."""
    from ops import schema

    schema.infer(data, target, out, force=force, dry_run=dry_run)


@app.command("check-drift")
def check_drift(
    report: Annotated[Path, typer.Option(help="What `monitor` wrote.")] = Path("reports/drift.json"),
    as_json: AsJson = False,
) -> None:
    """Say whether the newest delivery has drifted, or the model got worse on it; exit with 1 if so."""
    from ops import drift

    drift.check(report, as_json=as_json)


@app.command()
def sync(dry_run: DryRun = False) -> None:
    """Record the result that is checked out, as the stage `register` does: for a fresh clone, or an empty registry."""
    from ops import registration

    registration.sync(dry_run=dry_run)


if __name__ == "__main__":
    console.run(app)
