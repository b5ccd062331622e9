"""`approve`, `promote`, `rollback`: who lets which version into production, and why; the audit log has each."""

import re
from typing import Annotated, Any

import typer

from mlops.base import params
from mlops.base.errors import StoreError
from mlops.commands.options import DryRun, Reason
from mlops.history import paths, provenance
from mlops.registry import audit, registry
from mlops.registry.ledger import Entry
from mlops.registry.registry import CHAMPION, Version

Number = Annotated[str, typer.Argument(help="Its number.")]
DIGESTS = ("model_digest", "data_digest", "params_digest", "code_digest")


def approve(version: Number, reason: Reason = "", dry_run: DryRun = False) -> None:
    """Approve a version that someone else has made: without approval it does not go into production.

    Raises:
        StoreError: there is no such version, or it is one's own.
    """
    settings, tracking = params.load(params.Register), params.load(params.Tracking)
    with registry.opened(tracking.uri) as client:
        found = registry.version(client, settings.name, version)
        if own := _own(found):
            raise StoreError(
                f"version {version} is your own ({own}): someone else has to approve it, or a team of one sets "
                "register.approval to off in params.yaml"
            )
        entries = audit.read(client, settings.name)
        if not dry_run:
            audit.append(client, settings.name, _facts("approve", found, version, version, reason), found, entries)
    typer.echo(f"version {version} of {settings.name} {'would be' if dry_run else 'is'} approved by {_who()}")


def promote(version: Number, reason: Reason, dry_run: DryRun = False) -> None:
    """Promote an approved version to production: it becomes the champion.

    Raises:
        StoreError: there is no such version, nobody else has approved it, it is there already, or another change came
            first.
    """
    _change("promote", version, reason, dry_run=dry_run)


def rollback(
    reason: Reason,
    to: Annotated[str | None, typer.Option(help="A version that was in production; by default the one before.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Put back into production what was there before.

    Raises:
        StoreError: nothing was in production before, or not that version, or another change came first.
    """
    _change("rollback", to, reason, dry_run=dry_run)


def _change(action: str, number: str | None, reason: str, *, dry_run: bool) -> None:
    settings, tracking = params.load(params.Register), params.load(params.Tracking)
    with registry.opened(tracking.uri) as client:
        entries = audit.read(client, settings.name)
        live = registry.in_production(client, settings.name)
        now = live.number if live else None
        goal = _before(entries, now, number) if action == "rollback" else str(number)
        version = registry.version(client, settings.name, goal)
        if goal == now:
            raise StoreError(f"version {goal} of {settings.name} is in production already")
        approval = "as before" if action == "rollback" else _approval(entries, goal, settings.approval)
    if not dry_run:
        # Anew, since the decision above may be overtaken: whoever decided on what is no longer so is told.
        with registry.opened(tracking.uri) as client:
            facts = _facts(action, version, now, goal, reason) | {"approval": approval}
            audit.append(client, settings.name, facts, version, entries)
            _put(client, settings.name)
    verb = "would be" if dry_run else "is"
    typer.echo(f"version {goal} of {settings.name} {verb} in production, instead of {now or 'none'}")
    if not dry_run:
        typer.echo(f"commit {paths.AUDIT}: git commit {paths.AUDIT} -m '{action} version {goal}'")


def _put(client: "registry.Client", name: str) -> None:
    """Let production be what the log says last, also if another change is entered meanwhile."""
    put = None
    while put != (goal := audit.last_change(audit.read(client, name))):
        client.set_registered_model_alias(name, CHAMPION, goal)
        put = goal


def _before(entries: list[Entry], now: str | None, asked: str | None) -> str:
    """The version to go back to: of those that were in production, the one under the present one, as in a pile."""
    pile: list[str] = []
    for entry in entries:
        if entry["action"] == "rollback" and entry["to"] in pile:
            del pile[pile.index(entry["to"]) + 1 :]
        elif entry["action"] in ("promote", "rollback"):
            pile.append(entry["to"])
    past = [number for number in pile if number != now]
    if asked is not None and asked not in [entry["to"] for entry in entries if entry["action"] != "approve"]:
        known = ", ".join(past) or "none"
        raise StoreError(f"version {asked} was never in production: `promote` it, or go back to one that was ({known})")
    if asked is None and not past:
        raise StoreError("nothing was in production before: there is nothing to go back to")
    return asked or past[-1]


def _approval(entries: list[Entry], number: str, needed: str) -> dict[str, Any] | str:
    if needed == "off":
        return "off"
    given = [entry for entry in entries if entry["action"] == "approve" and entry["to"] == number]
    if not given:
        raise StoreError(
            f"version {number} is not approved: someone else than its author runs `python -m mlops approve {number}`, "
            "or a team of one sets register.approval to off in params.yaml"
        )
    return {"number": given[-1]["number"], "who": given[-1]["who"]}


def _facts(action: str, version: Version, before: str | None, after: str, reason: str) -> dict[str, Any]:
    digests = {name: version.tags.get(name, "") for name in DIGESTS}
    return {
        "action": action,
        "who": _who(),
        "from": before,
        "to": after,
        "reason": reason,
        "commit": version.tags.get("commit", ""),
        **digests,
    }


def _who() -> str:
    """Who this is: to the tracking server if it asks, else to Git.

    Raises:
        StoreError: nobody knows.
    """
    who = provenance.account() or provenance.identity()
    if not who:
        raise StoreError("Git does not know who you are: `git config user.name …` and `git config user.email …`")
    return who


def _own(version: Version) -> str:
    """Whom a version and this process share, be it to the server or to Git; "" if nobody."""
    account, author = version.tags.get("user", ""), version.tags.get("author", "")
    if account and account == provenance.account():
        return account
    mine = _address(provenance.identity())
    return author if mine and not (account and provenance.account()) and mine == _address(author) else ""


def _address(identity: str) -> str:
    found = re.search(r"<(.+)>", identity)
    return (found.group(1) if found else identity).casefold()
