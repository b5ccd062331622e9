"""`registry show` and `history`, and `audit verify`: what is there, what was live when, and whether it is true."""

import sys

import typer

from mlops.base import console, params
from mlops.commands.options import AsJson
from mlops.history import paths
from mlops.registry import audit, ledger, registry


def show(as_json: AsJson = False) -> None:
    """List every version of the model: what points to it, what it is, who made it when."""
    settings, tracking = params.load(params.Register), params.load(params.Tracking)
    with registry.opened(tracking.uri) as client:
        found = registry.versions(client, settings.name)
    if as_json:
        content = {"name": settings.name, "versions": [version.as_dict() for version in found]}
        console.print_json(content)
        return
    if not found:
        typer.echo(f"{settings.name} has no version yet: `dvc repro` makes one, if the gate lets it")
    for version in found:
        about = f"{version.tags.get('model_type', '')}, model {version.tags.get('model_digest', '')[:12]}"
        by = f"{version.created} by {version.tags.get('author', 'unknown')}"
        typer.echo(f"{version.number:>4}  {', '.join(version.aliases) or '–':<22}  {about}, {by}")


def history(as_json: AsJson = False) -> None:
    """List every approval, promotion and rollback, from the audit log."""
    settings, tracking = params.load(params.Register), params.load(params.Tracking)
    with registry.opened(tracking.uri) as client:
        entries = audit.read(client, settings.name)
    if as_json:
        console.print_json({"name": settings.name, "entries": entries})
        return
    for entry in entries:
        change = f"{entry['from'] or 'none'} → {entry['to']}" if entry["action"] != "approve" else entry["to"]
        said = f"{entry['number']:>4}  {entry['when']}  {entry['action']:<8}  {change:<12}"
        typer.echo(f"{said}  {entry['who']}: {entry['reason']}")


def verify() -> None:
    """Check that no entry of the audit log was edited, removed or moved; exit with 1 if one was."""
    settings, tracking = params.load(params.Register), params.load(params.Tracking)
    with registry.opened(tracking.uri) as client:
        entries = audit.read(client, settings.name)
        live = registry.in_production(client, settings.name)
    found = ledger.broken(entries)
    copy = audit.mirrored()
    found += [f"{paths.AUDIT}: {sentence}" for sentence in ledger.broken(copy)]
    for ours, theirs in zip(copy, entries, strict=False):
        if ours != theirs:
            found.append(f"entry {theirs.get('number')} of the registry is not the one that Git has in {paths.AUDIT}")
    if len(copy) > len(entries):
        found.append(f"the registry lacks the entries from {copy[len(entries)]['number']} on, which Git has")
    logged = audit.last_change(entries)
    if (live.number if live else None) != logged:
        found.append(f"version {live.number if live else 'none'} is in production, but the log says {logged or 'none'}")
    for sentence in found:
        typer.echo(sentence)
    if found:
        sys.exit(1)
    behind = len(entries) - len(copy)
    typer.echo(
        f"{len(entries)} entries, each follows the one before" + (f"; {behind} not yet in Git" if behind else "")
    )
