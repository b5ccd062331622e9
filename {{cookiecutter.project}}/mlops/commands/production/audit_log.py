"""`audit verify` and `audit restore`: check the log of what was in production, and bring it back from Git."""

import sys

import typer

from mlops.base import console
from mlops.commands.options import AsJson, DryRun
from mlops.history import paths
from mlops.registry import audit, ledger, registry


def verify(as_json: AsJson = False) -> None:
    """Check that nobody has tampered with the audit log.

    An entry that was edited, removed or moved is named, and the exit code is 3.
    """
    with registry.configured() as (client, settings):
        versions = registry.versions(client, settings.name)
        entries = audit.read(client, settings.name)
    copy = audit.mirrored()
    found = ledger.broken(entries) + [f"{paths.AUDIT}: {sentence}" for sentence in ledger.broken(copy)]
    found += [sentence] if (sentence := audit.difference(copy, entries)) else []
    live, logged = registry.in_production(versions), audit.in_production(entries, versions)
    if (last := audit.changes(entries)[-1:]) and not logged:
        found.append(f"the log says that {audit.unknown(last[0])}")
    elif live != logged:
        numbers = [version.number if version else "none" for version in (live, logged)]
        found.append("version {} is in production, but the log says {}".format(*numbers))
    if as_json:
        console.print_json({"entries": len(entries), "in_git": len(copy), "problems": found})
    elif found:
        typer.echo("\n".join(found))
    else:
        behind = f"; {len(entries) - len(copy)} not yet in Git" if len(entries) > len(copy) else ""
        count = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
        typer.echo(f"{count}, each follows the one before{behind}")
    if found:
        sys.exit(console.VERDICT)


def restore(dry_run: DryRun = False) -> None:
    """Bring the log of promotions back from Git into the registry.

    The entries that the registry lacks are added, such as all of them to an empty one. They keep their hashes, and the
    version that the log names last becomes the champion, if it is here.

    Raises:
        StoreError: the registry has entries of its own, the log in Git is damaged, or there is no version.
    """
    with registry.configured() as (client, settings):
        versions = registry.versions(client, settings.name)
        added = audit.restore(client, settings.name, versions, dry_run=dry_run)
        live = audit.in_production(audit.mirrored(), versions)
        if live and not dry_run:
            audit.apply(client, settings.name)
    verb = "would be" if dry_run else "is"
    what = f"version {live.number}" if live else "no version here"
    typer.echo(f"restored entries: {len(added)}{' (not yet)' if dry_run else ''}; {what} {verb} in production")
    if not live and (last := audit.changes(audit.mirrored())[-1:]):
        typer.echo(f"the log says that {audit.unknown(last[0])}")
