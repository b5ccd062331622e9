"""The delivery of what is checked out: recorded, judged by a canary, and in production or rolled back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from mlops.base import files, locks, params
from mlops.base.errors import StoreError
from mlops.history import commands, git, paths, revisions
from mlops.registry import audit, registry
from mlops.rollout import canary, release
from mlops.rollout.canary import Say, Watch
from mlops.rollout.release import Released, Standing, Way
from mlops.serving import admin
from mlops.serving.client import Client

FOLDER = Path(".mlops")
BUSY = "another `deliver` is running in this project: it goes on, and this one stops"
WAITS = "it would wait for a person"
LONGEST_SUBJECT = 200  # characters
# Outcomes that are no verdict against the version.
FINE = ("promoted", "in production", "none asked for")


def deliver(server: Client | None, watch: Watch, say: Say, *, remake: bool = False) -> dict[str, Any]:
    """Record the result of the work tree, and bring its version into production; what came of it, as plain values.

    Nothing is kept here, so that whoever runs it again, here or elsewhere, goes on. `server` None promotes without a
    canary; with `remake` a version that nobody has made again is made again first.

    Raises:
        StoreError: another delivery is running here, or a step failed.
    """
    steps: list[str] = []

    def tell(sentence: str) -> None:
        steps.append(sentence)
        say(sentence)

    FOLDER.mkdir(exist_ok=True)
    with locks.exclusive(FOLDER / "deliver.lock", BUSY):
        tell("recording the result in the registry")
        gate = _recorded()
        number, live, facts = _version()
        facts |= {"gate": gate[:-1], "recorded": gate[-1] if gate else ""}
        if not number or _refused():
            found = _without_version(facts["recorded"], live)
        else:
            tell(f"the result is version {number} of {facts['name']}")
            found = release.release(number, _way(server, watch, remake=remake), tell)
        copied = found.outcome in ("promoted", "rolled back") and _copy_log(say)
    evidence = {name: found.evidence[name] for name in ("mean", "limit", "requests") if name in found.evidence}
    return {
        "outcome": found.outcome,
        "sentence": found.sentence,
        "version": number or None,
        "before": found.before or None,
        **facts,
        "evidence": evidence or None,
        "steps": steps,
        "copied": copied,
    }


def planned(server: Client | None, *, remake: bool = False) -> list[str]:
    """What `deliver` would do, a sentence a step; nothing is changed.

    Raises:
        StoreError: the registry or the server cannot be reached, or refuses.
    """
    told = [f"sync: {line}" for line in _recorded("--dry-run")]
    number, live, facts = _version()
    if number and _refused():
        return [*told, f"version: {number} has this model, but the gate refuses it now: nothing would be delivered"]
    if not number:
        told.append("version: it would be registered, if no rule of the gate fails")
        if params.load(params.Register).approval == "required":
            return [*told, f"approval: a new version has none: {WAITS}"]
    else:
        now = release.standing(number)
        told.append(f"version: {number} of {facts['name']}, in production is {live or 'none'}")
        if live == number:
            return [*told, "nothing would be left to do"]
        if server and canary.is_of(admin.state(server)["route"], number):
            running = "canary: it is running, and watched until the server promotes the version or rolls it back"
            return [*told, running]
        if gone := release.taken_back(now.entries, now.version):
            return [*told, f"it would stay out, since it was rolled back on {gone['when'][:10]}: {gone['reason']}"]
        if remake:
            remade = now.version.tags.get(registry.REMADE, "")
            told.append(f"made again: {remade or 'it would be, by `reproduce`'}")
        if missing := _after_steps(now, remake=remake).missing:
            return [*told, f"approval: {missing}", f"production: {WAITS}"]
        told.append("approval: nothing is missing")
    if server is None or not live:
        return [*told, "production: it would be promoted without a canary"]
    told.append(f"server: {admin.state(server)['described']}")
    return [*told, "canary: it would be begun, and watched until the server promotes the version or rolls it back"]


def in_production() -> str:
    """The number of the version in production; "" if there is none."""
    with registry.configured() as (client, settings):
        live = registry.in_production(registry.versions(client, settings.name))
    return live.number if live else ""


def other_branch() -> str:
    """The branch that is checked out, if it is not the main one of the remote; "" for that, and for a bare commit."""
    branch = git.run("symbolic-ref", "--quiet", "--short", "HEAD", default="").strip()
    main = git.run("symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD", default="").strip()
    return "" if branch in ("main", main.removeprefix("origin/") or "master") else branch


def _after_steps(now: Standing, *, remake: bool) -> Standing:
    """How a version will stand when `sync` has recorded its commit, and `reproduce` has made it again."""
    tags = dict(now.version.tags)
    if not tags.get("commit") and not revisions.is_shallow():
        tags["commit"] = next((each.digest for each in revisions.commits_of(now.version.digests, passed=True)), "")
    if remake and not tags.get(registry.REMADE):
        tags[registry.REMADE] = "reproduce"
    return replace(now, version=replace(now.version, tags=tags))


def _recorded(*options: str) -> list[str]:
    done = commands.call(Path.cwd(), "mlops", "sync", *options)
    if done.code:
        raise StoreError(f"the result was not recorded: {done.reason}")
    return [line for line in done.output.splitlines() if line.strip()]


def _refused() -> bool:
    """Whether the gate refused the result that was recorded last; the same model may be a version of an earlier one."""
    return not files.read_json(paths.REGISTRATION)["passed"]


def _version() -> tuple[str, str, dict[str, Any]]:
    """The numbers of the version with the model of the work tree, and of that in production; what is known of it.

    A number is "" where there is no such version.
    """
    digest = files.sha256(paths.MODEL)
    with registry.configured() as (client, settings):
        known = registry.versions(client, settings.name)
    mine = [version for version in known if version.tags.get(registry.MODEL_DIGEST) == digest]
    facts = {"name": settings.name, "model": digest, "delivered_from": revisions.find("HEAD").commit}
    facts["commit"] = mine[0].tags.get("commit", "") if mine else ""
    live = registry.in_production(known)
    return (mine[0].number if mine else ""), (live.number if live else ""), facts


def _without_version(recorded: str, live: str) -> Released:
    if params.load(params.Register).mode == "dry_run":
        return Released("none asked for", "register.mode is dry_run, so no version is made", live)
    return Released("refused", f"no version was made: {recorded}", live)


def _way(server: Client | None, watch: Watch, *, remake: bool) -> Way:
    subject = "".join(sign if sign.isprintable() else " " for sign in git.run("log", "-1", "--format=%s").strip())
    commit = git.run("rev-parse", "--short=8", "HEAD").strip()

    def promote(number: str, reason: str) -> commands.Done:
        return commands.call(Path.cwd(), "mlops", "promote", number, "--reason", reason)

    def reproduce(number: str) -> commands.Done:
        return commands.call(Path.cwd(), "mlops", "reproduce", number)

    reason = f"delivery of {commit}: {subject[:LONGEST_SUBJECT]}"
    return Way(reason, promote, server, watch, reproduce if remake else None)


def _copy_log(say: Say) -> bool:
    """Update the copy of the audit log in Git; whether it is there to be committed, also if the server wrote it."""
    with registry.configured() as (client, settings):
        entries = audit.read(client, settings.name)
    if audit.mirrored() != entries:
        try:
            audit.write_copy(entries)
        except StoreError as error:
            say(f"Warning: {error}")
            return False
    return bool(git.run("status", "--porcelain", "--", paths.AUDIT.as_posix()).strip())
