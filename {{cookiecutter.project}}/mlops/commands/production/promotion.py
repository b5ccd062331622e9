"""`approve`, `promote`, `rollback`: change which version is in production, and log who did so and why."""

import re
from typing import Annotated, Any

import typer

from mlops.base.errors import StoreError
from mlops.commands.options import DryRun, Reason
from mlops.history import paths, provenance, revisions
from mlops.history.revisions import Commit
from mlops.registry import audit, registry
from mlops.registry.ledger import Entry
from mlops.registry.registry import Version

Number = Annotated[str, typer.Argument(help="Number of the version.")]


def approve(version: Number, reason: Reason = "", dry_run: DryRun = False) -> None:
    """Approve a version that someone else has made.

    A version needs an approval before its promotion, unless register.approval is off. To approve it twice changes
    nothing.

    Raises:
        StoreError: there is no version with this number, no commit has it, or this person made it.
    """
    with registry.configured() as (client, settings):
        found = registry.version(client, settings.name, version)
        commits = _commits(found)
        if author := _shared_identity(found, commits):
            raise StoreError(
                f"version {version} is your own ({author}): someone else has to approve it, or a team of one sets "
                "register.approval to off in params.yaml"
            )
        facts = _facts("approve", found, version, reason, commits[0].digest)
        entries = audit.read(client, settings.name)
        audit.agree(entries)
        approvals = audit.approvals(entries, found)
        known = any(_email(entry["who"]) == _email(facts["who"]) for entry in approvals)
        if not dry_run and "commit" not in found.tags:  # it was registered before it was committed
            for name, value in (("commit", commits[0].digest), ("author", commits[0].author)):
                client.set_model_version_tag(settings.name, version, name, value)
        if not (known or dry_run):
            entries = audit.append(client, settings.name, facts, found, entries)
        copied = not dry_run and _copy(entries)
    verb = "is already" if known else "would be" if dry_run else "is"
    typer.echo(f"version {version} of {settings.name} {verb} approved by {facts['who']}")
    if copied:
        typer.echo(_commit_the_copy("approve", version))


def promote(version: Number, reason: Reason, dry_run: DryRun = False) -> None:
    """Promote an approved version to production.

    The version becomes the champion.

    Raises:
        StoreError: there is no version with this number, no commit has it, it is not approved or was not made again
            though that is asked for, it is in production already, or another change came first.
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
    copied = False
    with registry.configured() as (client, settings):
        versions = registry.versions(client, settings.name)
        entries = audit.read(client, settings.name)
        audit.agree(entries)
        live = registry.in_production(versions)
        if _is_half_done(entries, versions, live) and not dry_run:
            _copy(entries)
            live = audit.apply(client, settings.name)
            typer.echo(
                f"version {live.number} is now in production, as the log says: a change was not complete", err=True
            )
            again = action == "rollback" == audit.changes(entries)[-1]["action"]
            if number == live.number or (number is None and again):
                return
        goal = _previous(entries, versions, live, number) if action == "rollback" else str(number)
        version = registry.version(client, settings.name, goal)
        if live and goal == live.number:
            raise StoreError(f"version {goal} of {settings.name} is in production already")
        commit, remade = version.tags.get("commit", ""), version.tags.get(registry.REMADE, "")
        admission: dict[str, Any] = {"approval": "as before", "remade": remade}
        if action == "promote":
            commit, admission = _commits(version)[0].digest, audit.admission(entries, version, settings)
        before = live.number if live else None
        facts = _facts(action, version, before, reason, commit) | admission
        if not dry_run:
            # On a server another change may be faster: `append` refuses if the log has grown since it was read above.
            entries = audit.append(client, settings.name, facts, version, entries)
            copied = _copy(entries)
            audit.apply(client, settings.name)
    verb = "would be" if dry_run else "is"
    typer.echo(f"version {goal} of {settings.name} {verb} in production, instead of {before or 'none'}")
    typer.echo(f"made again: {remade or f'not yet (`python -m mlops reproduce {goal}` runs its commit once more)'}")
    if copied:
        typer.echo(_commit_the_copy(action, goal))


def _commit_the_copy(action: str, number: str) -> str:
    return f"commit {paths.AUDIT}: git add {paths.AUDIT} && git commit {paths.AUDIT} -m '{action} version {number}'"


def _is_half_done(entries: list[Entry], versions: list[Version], live: Version | None) -> bool:
    """Whether the log says that another version of this registry is in production: a process was killed in between."""
    logged = audit.in_production(entries, versions)
    return logged is not None and logged != live


def _copy(entries: list[Entry]) -> bool:
    """Update the copy of the log in Git; whether it changed.

    It comes after the entry in the registry, so that it has nothing that the registry lacks, and before the alias, so
    that the alias says whether a change is complete.
    """
    if audit.mirrored() == entries:
        return False
    try:
        audit.write_copy(entries)
    except StoreError as error:
        typer.echo(f"Warning: {error}; the next change writes all entries", err=True)
        return False
    return True


def _previous(entries: list[Entry], versions: list[Version], live: Version | None, asked: str | None) -> str:
    """The version to go back to: `asked`, or the version before the present one, with rollbacks undone."""
    numbers = {version.tags.get(registry.MODEL_DIGEST): version.number for version in versions}
    stack: list[str] = []
    for entry in audit.changes(entries):
        number = numbers.get(entry["model_digest"])  # another registry may have given it another number
        if number is None:
            continue
        if entry["action"] == "rollback" and number in stack[:-1]:
            del stack[len(stack) - 2 - stack[-2::-1].index(number) :]
        stack.append(number)
    past = [number for number in stack if live is None or number != live.number]
    if asked is not None and asked not in past:
        known = ", ".join(dict.fromkeys(past)) or "none"
        raise StoreError(f"version {asked} was never in production: `promote` it, or go back to one that was ({known})")
    if not past:
        raise StoreError("nothing was in production before: there is nothing to go back to")
    return asked or past[-1]


def _commits(version: Version) -> list[Commit]:
    """The commits that brought the result of a version.

    Raises:
        StoreError: there is none in this clone: nobody could make the version again, or say who its author is.
    """
    if revisions.is_shallow():  # its oldest commit seems to bring everything
        raise StoreError(f"who made version {version.number} cannot be seen: {revisions.SHALLOW}")
    if found := revisions.commits_of(version.digests, passed=True):
        return found
    raise StoreError(
        f"no commit here has the model of version {version.number} with its data and parameters: commit it where it "
        "was made, or fetch the branch that has it"
    )


def _facts(action: str, version: Version, before: str | None, reason: str, commit: str) -> dict[str, Any]:
    """What the log says of a change.

    Raises:
        StoreError: neither the tracking server nor Git knows who this is.
    """
    who = provenance.account() or provenance.identity()
    if not who:
        raise StoreError("Git does not know who you are: `git config user.name …` and `git config user.email …`")
    return audit.facts(action, version, before, reason, who) | {"commit": commit}


def _shared_identity(version: Version, commits: list[Commit]) -> str:
    """The author of a commit of a version, or the account that made its run, if this person is that; else ""."""
    account, mine = version.tags.get("user", ""), _email(provenance.identity())
    if account and account == provenance.account():
        return account
    authors = [*(commit.author for commit in commits), *version.tags.get("author", "").split(", ")]
    return next((author for author in authors if mine and mine == _email(author)), "")


def _email(identity: str) -> str:
    found = re.search(r"<(.+)>", identity)
    return (found.group(1) if found else identity).casefold()
