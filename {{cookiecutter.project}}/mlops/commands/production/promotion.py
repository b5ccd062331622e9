"""`approve`, `promote`, `rollback`: change which version is in production, and log who did so and why."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.base.errors import StoreError
from mlops.commands.options import DryRun, Reason
from mlops.history import paths, provenance
from mlops.registry import audit, registry
from mlops.registry.ledger import Entry
from mlops.registry.registry import Version

if TYPE_CHECKING:
    from mlops.registry.registry import Client

Number = Annotated[str, typer.Argument(help="Number of the version.")]


def approve(version: Number, reason: Reason = "", dry_run: DryRun = False) -> None:
    """Approve a version that someone else has made.

    A version needs an approval before its promotion, unless register.approval is off.

    Raises:
        StoreError: there is no version with this number, or this person made it.
    """
    with registry.configured() as (client, settings):
        found = registry.version(client, settings.name, version)
        if author := _shared_identity(found):
            raise StoreError(
                f"version {version} is your own ({author}): someone else has to approve it, or a team of one sets "
                "register.approval to off in params.yaml"
            )
        facts = _facts("approve", found, version, reason)
        if not dry_run:
            audit.append(client, settings.name, facts, found, audit.read(client, settings.name))
    verb = "would be" if dry_run else "is"
    typer.echo(f"version {version} of {settings.name} {verb} approved by {facts['who']}")


def promote(version: Number, reason: Reason, dry_run: DryRun = False) -> None:
    """Promote an approved version to production.

    The version becomes the champion.

    Raises:
        StoreError: there is no version with this number, it is not approved, it is in production already, or another
            change came first.
    """
    _change("promote", version, reason, dry_run=dry_run)


def rollback(
    reason: Reason,
    to: Annotated[str | None, typer.Option(help="A version that was in production; by default the last one.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Put the previous version back into production.

    Raises:
        StoreError: no version was in production before, or not the version `to`, or another change came first.
    """
    _change("rollback", to, reason, dry_run=dry_run)


def _change(action: str, number: str | None, reason: str, *, dry_run: bool) -> None:
    with registry.configured() as (client, settings):
        entries = audit.read(client, settings.name)
        champion = registry.in_production(client, settings.name)
        live = champion.number if champion else None
        goal = _previous(entries, live, number) if action == "rollback" else str(number)
        version = registry.version(client, settings.name, goal)
        if goal == live:
            raise StoreError(f"version {goal} of {settings.name} is in production already")
        approval = "as before" if action == "rollback" else _approval(entries, goal, settings.approval)
        facts = {**_facts(action, version, live, reason), "approval": approval}
        if not dry_run:
            # On a server another change may be faster: `append` refuses if the log has grown since it was read above.
            audit.append(client, settings.name, facts, version, entries)
            _update_champion(client, settings.name)
    verb = "would be" if dry_run else "is"
    typer.echo(f"version {goal} of {settings.name} {verb} in production, instead of {live or 'none'}")
    if not dry_run:
        typer.echo(
            f"commit {paths.AUDIT}: git add {paths.AUDIT} && git commit {paths.AUDIT} -m '{action} version {goal}'"
        )


def _update_champion(client: "Client", name: str) -> None:
    """Set the champion to the last change of the log, again if another change is logged meanwhile."""
    champion = None
    while champion != (logged := audit.last_change(audit.read(client, name))):
        client.set_registered_model_alias(name, registry.CHAMPION, logged)
        champion = logged


def _previous(entries: list[Entry], live: str | None, asked: str | None) -> str:
    """The version to go back to: `asked`, or the version before the present one, with rollbacks undone."""
    stack: list[str] = []
    for entry in entries:
        if entry["action"] == "rollback" and entry["to"] in stack:
            del stack[stack.index(entry["to"]) + 1 :]
        elif entry["action"] in audit.CHANGES:
            stack.append(entry["to"])
    past = [number for number in stack if number != live]
    if asked is not None and asked not in [entry["to"] for entry in entries if entry["action"] in audit.CHANGES]:
        known = ", ".join(past) or "none"
        raise StoreError(f"version {asked} was never in production: `promote` it, or go back to one that was ({known})")
    if asked is None and not past:
        raise StoreError("nothing was in production before: there is nothing to go back to")
    return asked or past[-1]


def _approval(entries: list[Entry], number: str, needed: str) -> dict[str, Any] | str:
    """The last approval of a version, for the log; "off" if none is needed."""
    if needed == "off":
        return "off"
    for entry in reversed(entries):
        if entry["action"] == "approve" and entry["to"] == number:
            return {"number": entry["number"], "who": entry["who"]}
    raise StoreError(
        f"version {number} is not approved: someone else than its author runs `python -m mlops approve {number}`, "
        "or a team of one sets register.approval to off in params.yaml"
    )


def _facts(action: str, version: Version, before: str | None, reason: str) -> dict[str, Any]:
    """What the log says of a change.

    Raises:
        StoreError: neither the tracking server nor Git knows who this is.
    """
    who = provenance.account() or provenance.identity()
    if not who:
        raise StoreError("Git does not know who you are: `git config user.name …` and `git config user.email …`")
    return {
        "action": action,
        "who": who,
        "from": before,
        "to": version.number,
        "reason": reason,
        **{name: version.tags.get(name, "") for name in ("commit", *registry.DIGESTS)},
    }


def _shared_identity(version: Version) -> str:
    """The account or author of a version, if this person has the same; else ""."""
    account, author = version.tags.get("user", ""), version.tags.get("author", "")
    if account and provenance.account():
        # Two accounts of the server are two people, whatever Git calls them.
        return account if account == provenance.account() else ""
    mine = _email(provenance.identity())
    return author if mine and mine == _email(author) else ""


def _email(identity: str) -> str:
    found = re.search(r"<(.+)>", identity)
    return (found.group(1) if found else identity).casefold()
