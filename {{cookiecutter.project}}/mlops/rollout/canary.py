"""A canary on a running server: begun, or taken up again, and watched until the server decides.

Nothing is kept here: the server has the route, and the audit log of the registry has the decision. So whoever was
interrupted, or stands on another machine, goes on with the same call.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from mlops.base.errors import StoreError
from mlops.registry import audit, registry
from mlops.registry.ledger import Entry
from mlops.serving import admin
from mlops.serving.client import Client
from mlops.serving.following import REJECTED

Say = Callable[[str], None]
# Seconds: the registry follows a decision; a version is not loaded; the server gives no answer, as while it restarts.
SETTLING, LOADING, ABSENT = 60.0, 60.0, 300.0
DECISIONS = ("promote", REJECTED)
ROLLED_BACK = "version {} was rolled back, "  # how `routing` begins the reason of a rollback


@dataclass(frozen=True)
class Watch:
    """How a canary is watched: the pause between two looks, and for how long at most, in seconds."""

    pause: float = 5.0
    limit: float = 4 * 3600.0


@dataclass(frozen=True)
class Verdict:
    """What became of a canary, in a sentence; `evidence` is that of the decision (see `routing.Decision`).

    `before` is the number of the version that was in production until the decision.
    """

    outcome: Literal["promoted", "rolled back", "waiting", "undecided"]
    sentence: str
    before: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


def running(server: Client, number: str) -> bool:
    """Whether the server has a canary of this version.

    Raises:
        StoreError: the server cannot be reached, or refuses.
    """
    return is_of(admin.state(server)["route"], number)


def judged(server: Client, number: str, reason: str, watch: Watch, say: Say) -> Verdict:
    """Let a canary judge a version: begin it, unless it is running, and watch it until the server has decided.

    While another version has a canary, this one waits: what is in production may be another version then.

    Raises:
        StoreError: the server cannot be reached, refuses, or cannot load the version; somebody else changed the route;
            or the server has an experiment of another kind.
    """
    until, told = time.monotonic() + watch.limit, ""
    while True:
        found = admin.state(server)
        route = found["route"]
        if is_of(route, number):
            say(f"the canary of version {number} is running already, and is watched from here on")
            break
        if route["mode"] in ("ab", "shadow"):
            raise StoreError(
                f"the server is not free ({found['described']}): whoever began that ends it by `python -m mlops "
                "serving route champion --reason …`, and then the same command goes on"
            )
        if reason_of_rollback(found, number):  # the registry does not say so yet
            return Verdict("rolled back", reason_of_rollback(found, number))
        if route["mode"] == "champion":
            wanted = {"route": "canary", "challenger": number, "reason": reason}
            found = admin.change(server, wanted)
            route = found["route"]
            say(found["described"])
            break
        waits = f"version {number} waits for the canary of version {route['challenger']}"
        if waits != told:
            say(waits)
            told = waits
        if time.monotonic() > until:
            return Verdict("undecided", f"{waits}, which is not decided yet; the same command goes on")
        time.sleep(watch.pause)
    return _watched(server, number, found, until, watch.pause, say)


def is_of(route: dict[str, Any], number: str) -> bool:
    """Whether a route of the server is a canary of this version."""
    return bool(route["mode"] == "canary" and route["challenger"] == number)


def reason_of_rollback(found: dict[str, Any], number: str) -> str:
    """Why the server's last change was to roll this version back; "" if it was another one."""
    reasons = [str(change["reason"]) for change in found.get("changed", [])[:1]]
    return next((reason for reason in reasons if reason.startswith(ROLLED_BACK.format(number))), "")


def _watched(server: Client, number: str, begun: dict[str, Any], until: float, pause: float, say: Say) -> Verdict:
    """Look at the route that the server has begun, until it is decided."""
    since: dict[str, float] = {}  # seconds of the clock since something is as it should not be
    route, told = begun["route"]["id"], begun["described"]
    while True:
        found = _state(server, since)
        if found and found["route"]["id"] == route:
            if waits := found["refused"].get("promotion"):
                return Verdict("waiting", waits)
            if _lasts(since, "refused", LOADING, "challenger" in found["refused"]):
                raise _given_up(server, number, found["refused"]["challenger"])
            if found["described"] != told:
                told = found["described"]
                say(told)
        elif found:
            if entry := decision(route, number):
                return _verdict(number, entry)
            if is_of(found["route"], number):
                route, told = found["route"]["id"], found["described"]
                changed = found["changed"][0]
                say(f"{changed['who']} began the canary of version {number} anew ({changed['reason']}): {told}")
                continue
            if _lasts(since, "gone", SETTLING, holds=True):
                if why := reason_of_rollback(found, number):  # which the registry is slow to follow
                    return Verdict("rolled back", why)
                changed = found["changed"][0]
                raise StoreError(
                    f"the canary of version {number} was ended without a decision: {changed['who']} changed the route "
                    f"({changed['reason']}); the same command begins it anew"
                )
        if time.monotonic() > until:
            left = f": {found['waits_for']}" if found and found["waits_for"] else ""
            return Verdict(
                "undecided", f"the canary of version {number} goes on{left}; the same command watches it further"
            )
        time.sleep(pause)


def _state(server: Client, since: dict[str, float]) -> dict[str, Any] | None:
    """The state of the server; None while it may be restarting."""
    try:
        found = admin.state(server)
    except admin.UnreachableError as error:
        if _lasts(since, "absent", ABSENT, holds=True):
            raise StoreError(f"{error}; its canary goes on there, and the same command watches it further") from None
        return None
    since.pop("absent", None)
    return found


def _lasts(since: dict[str, float], name: str, seconds: float, holds: bool) -> bool:
    """Whether something has held for so many seconds."""
    if not holds:
        since.pop(name, None)
        return False
    now = time.monotonic()
    return now - since.setdefault(name, now) >= seconds


def _given_up(server: Client, number: str, why: str) -> StoreError:
    """Free the server from a version that it cannot load."""
    admin.change(server, {"route": "champion", "reason": f"version {number} could not be loaded"})
    return StoreError(f"the server could not load version {number} ({why}), and the version in production answers all")


def decision(route: str, number: str) -> Entry | None:
    """The entry of the audit log that says how the canary of a version ended; None if there is none.

    The server may have decided by another route that somebody began after this one: then the version is in production.

    Raises:
        StoreError: the registry cannot be reached.
    """
    with registry.configured() as (client, settings):
        entries = audit.read(client, settings.name)
        found = [entry for entry in entries if entry["action"] in DECISIONS and entry.get("route") == route]
        live = registry.in_production(registry.versions(client, settings.name))
        if not found and live and live.number == number:
            found = [entry for entry in audit.about(entries, live) if entry["action"] == "promote"]
        if not found:
            return None
        if found[-1]["action"] == "promote":
            audit.apply(client, settings.name)  # the server may have been killed before the alias
    return found[-1]


def _verdict(number: str, entry: Entry) -> Verdict:
    evidence = entry.get("evidence")
    evidence = evidence if isinstance(evidence, dict) else {}
    before = str(entry["from"] or "")
    if entry["action"] == "promote":
        return Verdict("promoted", f"version {number} is in production: {entry['reason']}", before, evidence)
    return Verdict("rolled back", entry["reason"], before, evidence)
