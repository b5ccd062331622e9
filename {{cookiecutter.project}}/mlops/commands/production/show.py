"""`registry show`, `registry history` and `audit verify`: list versions, list changes, check the audit log."""

import sys

import typer

from mlops.base import console
from mlops.commands.options import AsJson
from mlops.history import paths
from mlops.registry import audit, ledger, registry
from mlops.registry.registry import MODEL_DIGEST


def show(as_json: AsJson = False) -> None:
    """List all versions of the model.

    Each line has the number, the aliases, the kind of model, its digest, and who made the version when.
    """
    with registry.configured() as (client, settings):
        versions = registry.versions(client, settings.name)
    if as_json:
        console.print_json({"name": settings.name, "versions": [version.as_dict() for version in versions]})
        return
    if not versions:
        typer.echo(f"{settings.name} has no version yet: `dvc repro` makes one, if the gate lets it")
    for version in versions:
        tags = version.tags
        model = f"{tags.get('model_type', '')}, model {tags.get(MODEL_DIGEST, '')[:12]}"
        made = f"{version.created} by {tags.get('author', 'unknown')}"
        typer.echo(f"{version.number:>4}  {', '.join(version.aliases) or '–':<22}  {model}, {made}")


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


def verify() -> None:
    """Check that nobody has tampered with the audit log.

    An entry that was edited, removed or moved is named, and the exit code is 1.
    """
    with registry.configured() as (client, settings):
        entries = audit.read(client, settings.name)
        champion = registry.in_production(client, settings.name)
    copy = audit.mirrored()
    found = ledger.broken(entries) + [f"{paths.AUDIT}: {sentence}" for sentence in ledger.broken(copy)]
    for ours, theirs in zip(copy, entries, strict=False):
        if ours != theirs:
            found.append(f"entry {theirs.get('number')} of the registry is not the one that Git has in {paths.AUDIT}")
    if len(copy) > len(entries):
        found.append(f"the registry lacks the entries from {copy[len(entries)]['number']} on, which Git has")
    live, logged = champion.number if champion else None, audit.last_change(entries)
    if live != logged:
        found.append(f"version {live or 'none'} is in production, but the log says {logged or 'none'}")
    if found:
        typer.echo("\n".join(found))
        sys.exit(1)
    behind = f"; {len(entries) - len(copy)} not yet in Git" if len(entries) > len(copy) else ""
    typer.echo(f"{len(entries)} entries, each follows the one before{behind}")
