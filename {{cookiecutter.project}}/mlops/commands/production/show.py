"""`registry show` and `registry history`: list the versions, and the changes of what is in production."""

import typer

from mlops.base import console
from mlops.commands.options import AsJson
from mlops.history import paths
from mlops.registry import audit, registry
from mlops.registry.registry import MODEL_DIGEST

UNKNOWN = "its author is known once it is committed and `python -m mlops sync` has run"


def show(as_json: AsJson = False) -> None:
    """List all versions of the model.

    Each line has the number, the aliases, the kind of model, its digest, who made the version when, and who approved
    it.
    """
    with registry.configured() as (client, settings):
        versions = registry.versions(client, settings.name)
        entries = audit.read(client, settings.name)
    approved = {each.number: [entry["who"] for entry in audit.approvals(entries, each)] for each in versions}
    if as_json:
        found = [{**version.as_dict(), "approved_by": approved[version.number]} for version in versions]
        console.print_json({"name": settings.name, "versions": found})
        return
    if not versions:
        how = "`python -m mlops sync` records the one here" if paths.REGISTRATION.exists() else "`dvc repro` makes one"
        typer.echo(f"{settings.name} has no version yet: {how}, if the gate lets it")
    for version in versions:
        tags = version.tags
        model = f"{tags.get('model_type', '')}, model {tags.get(MODEL_DIGEST, '')[:12]}"
        made = f"{version.created} by {tags['author']}" if "author" in tags else f"{version.created}, {UNKNOWN}"
        by = f", approved by {', '.join(approved[version.number])}" if approved[version.number] else ""
        typer.echo(f"{version.number:>4}  {', '.join(version.aliases) or '–':<22}  {model}, {made}{by}")


def history(as_json: AsJson = False) -> None:
    """List all approvals, promotions and rollbacks."""
    with registry.configured() as (client, settings):
        entries = audit.read(client, settings.name)
    if as_json:
        console.print_json({"name": settings.name, "entries": entries})
        return
    for entry in entries:
        change = f"{entry['from'] or 'none'} → {entry['to']}" if entry["action"] in audit.CHANGES else entry["to"]
        what = f"{entry['number']:>4}  {entry['when']}  {entry['action']:<8}  {change:<12}"
        typer.echo(f"{what}  {entry['who']}: {entry['reason']}")
