"""A registered version on its way into production: by a canary where there is a server, else by `promote`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mlops.base.console import VERDICT
from mlops.base.errors import StoreError
from mlops.base.params import Register
from mlops.history.commands import Done
from mlops.registry import audit, registry
from mlops.registry.ledger import Entry
from mlops.rollout import canary
from mlops.rollout.canary import Say, Watch
from mlops.serving.client import Client
from mlops.serving.following import REJECTED

if TYPE_CHECKING:
    from mlops.registry.registry import Version

Outcome = Literal["promoted", "in production", "rolled back", "waiting", "undecided", "refused", "none asked for"]


@dataclass(frozen=True)
class Way:
    """How a version gets into production.

    `server` answers with the versions; without one, and for the first version of all, `promote` is called: the command
    with a number and a reason. `reason` goes into the audit log. `remake`, if given, makes a version again that nobody
    has made again: the command `reproduce` with a number.
    """

    reason: str
    promote: Callable[[str, str], Done]
    server: Client | None = None
    watch: Watch = field(default_factory=Watch)
    remake: Callable[[str], Done] | None = None


@dataclass(frozen=True)
class Released:
    """What became of a version, in a sentence; `before` is the number of the version in production until then."""

    outcome: Outcome
    sentence: str
    before: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """A version as the registry has it now, with the audit log and the version in production."""

    version: "Version"
    entries: Sequence[Entry]
    live: "Version | None"
    settings: Register

    @property
    def missing(self) -> str:
        """What the version lacks to be promoted, in a sentence; "" if nothing."""
        number = self.version.number
        if not self.version.tags.get("commit"):
            return (
                f"no commit is known that has version {number}: commit it where it was made, and run this in a clone "
                "with the whole history"
            )
        try:
            audit.admission(self.entries, self.version, self.settings)
        except StoreError as missing:
            return str(missing)
        return ""


def standing(number: str) -> Standing:
    """How a version stands.

    Raises:
        StoreError: the registry cannot be reached, or has no such version.
    """
    with registry.configured() as (client, settings):
        known = registry.versions(client, settings.name)
        version = registry.version(client, settings.name, number)
        return Standing(version, audit.read(client, settings.name), registry.in_production(known), settings)


def release(number: str, way: Way, say: Say) -> Released:
    """Bring a version into production, or say why it is not there; done again, it goes on where it was.

    A version that was rolled back before stays out, unless a person has begun another canary of it.

    Raises:
        StoreError: the registry or the server cannot be reached, or refuses.
    """
    now = standing(number)
    before = now.live.number if now.live else ""
    if before == number:
        return Released("in production", f"version {number} is in production already", before)
    if not (way.server and canary.running(way.server, number)):
        if gone := taken_back(now.entries, now.version):
            return Released("rolled back", _stays_out(number, gone), before)
        if way.remake and not now.version.tags.get(registry.REMADE):
            say(f"making version {number} again")
            done = way.remake(number)
            if done.code == VERDICT:
                return Released("waiting", f"{done.output.strip()}: it is not the same, and not promoted", before)
            if done.code:
                raise StoreError(f"version {number} could not be made again: {done.reason}")
            now = standing(number)
        if now.missing:
            return Released("waiting", f"{now.missing}; then the same command goes on", before)
    if way.server is None or not before:
        say(f"promoting version {number}{'' if before else ', the first one'}")
        done = way.promote(number, way.reason)
        if done.code:
            raise StoreError(f"version {number} was not promoted: {done.reason}")
        return Released("promoted", f"version {number} is in production", before)
    if registry.CHALLENGER not in now.version.aliases:
        with registry.configured() as (client, settings):
            client.set_registered_model_alias(settings.name, registry.CHALLENGER, number)
    verdict = canary.judged(way.server, number, way.reason, way.watch, say)
    return Released(verdict.outcome, verdict.sentence, verdict.before or before, verdict.evidence)


def taken_back(entries: Sequence[Entry], version: "Version") -> Entry | None:
    """The entry by which a version was rolled back, in its canary or in production, if it was not promoted since."""
    departures = [entry for entry in audit.departures(entries, version) if entry["action"] == "rollback"]
    about = audit.about(entries, version)
    events = [entry for entry in about if entry["action"] in (*audit.CHANGES, REJECTED)]
    last = max([*events, *departures], key=lambda entry: int(entry["number"]), default=None)
    return last if last in departures or (last and last["action"] == REJECTED) else None


def _stays_out(number: str, entry: Entry) -> str:
    reason = entry["reason"].removeprefix(canary.ROLLED_BACK.format(number))
    return (
        f"version {number} was rolled back on {entry['when'][:10]} by {entry['who']} ({reason}): revert its commit or "
        f"merge a better one; `python -m mlops serving route canary --challenger {number} --reason …` tries it again"
    )
