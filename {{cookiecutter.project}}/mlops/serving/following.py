"""The parent process of a server: it follows the registry for the workers, and carries out what the counts decide.

Workers never wait for it: while the registry cannot be reached, they go on with what they have.
"""

import logging
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.base.errors import ProjectError, StoreError
from mlops.base.params import Register, Serving
from mlops.history import paths
from mlops.registry import audit, backend, registry, sqlite_store
from mlops.serving import routing, state, versions
from mlops.serving.request import asked_at
from mlops.serving.routing import Route
from mlops.serving.state import Pending
from mlops.serving.versions import Copy, Served

if TYPE_CHECKING:
    from mlops.registry.ledger import Entry
    from mlops.registry.registry import Client, Version

POLL = 2.0  # seconds between two looks at the registry
SAYS = logging.getLogger("mlops.serving")
ROUTED, REJECTED = "route", "reject"  # actions in the audit log, besides promote


class Follower:
    """Looks at the registry again and again, until it is stopped.

    With `only`, a number, that version is served whatever the aliases say. With `uri` None the registry is never asked:
    what was fetched before is served.
    """

    def __init__(self, folder: Path, serving: Serving, register: Register, uri: str | None, only: str = "") -> None:
        self.folder, self.serving, self.register, self.uri, self.only = folder, serving, register, uri, only
        self.served = replace(versions.read(folder) or Served(register.name), name=register.name, checked=0)
        self.who = f"model server on {socket.gethostname()}"
        self._told: set[str] = set()
        self._seen: set[Copy] = set()  # copies that were whole
        self._waits = ""  # why a canary that has passed is not promoted yet

    def run(self, stop: threading.Event, every: float = POLL) -> None:
        """Look until `stop` is set, or the first look has not found the `only` version."""
        while True:
            try:
                self.look()
            except ProjectError as error:
                self._tell(str(error))
            except Exception:  # of a bug, workers must not die
                SAYS.exception("a look at the registry failed")
            if self.is_in_vain or stop.wait(every):
                return

    @property
    def is_in_vain(self) -> bool:
        """Whether it has looked for the `only` version, and there is none to serve."""
        return bool(self.only and self.served.checked and self.served.champion is None)

    def look(self) -> None:
        """See what is in production, fetch what is missing, and carry out what is decided.

        Raises:
            StoreError: the folder of the server cannot be used.
        """
        if self.uri is None:
            # Another server of the folder may have fetched another version meanwhile.
            found = versions.read(self.folder) or self.served
            self.served = replace(found, store="the registry is not asked (--offline)")
        else:
            try:
                self._refuse_to_make_a_store(self.uri)
                with registry.opened(self.uri) as client:
                    self._follow(client)
            except StoreError as error:
                self.served = replace(self.served, store=str(error))
                self._tell(str(error))
        self.served = replace(self.served, checked=1)
        if versions.read(self.folder) != self.served:
            versions.write(self.folder, self.served)
        with state.opened(self.folder) as connection:
            self._decide(connection)
            state.tidy(connection)

    def _refuse_to_make_a_store(self, uri: str) -> None:
        database = sqlite_store.file_of(backend.address(uri))
        if database and not database.exists():
            raise StoreError(f"the registry {database} is not there")

    def _follow(self, client: "Client") -> None:
        known = registry.versions(client, self.register.name)
        by_number = {version.number: version for version in known}
        champion = by_number.get(self.only) if self.only else registry.in_production(known)
        newest = next((each for each in known if registry.CHALLENGER in each.aliases and each != champion), None)
        refused: dict[str, str] = {}
        if self._waits:
            refused["promotion"] = self._waits
        if self.only and champion is None:
            refused["champion"] = f"{self.register.name} has no version {self.only}"
        copy = self._fetched(client, champion, self.served.champion, "champion", refused)
        last = self.served.challenger
        # The champion first: it does not depend on the state of routes, which may be damaged.
        self.served = replace(self.served, champion=copy, challenger=last, store="", refused=refused)
        with state.opened(self.folder) as connection:
            route = state.route(connection)
            if route and route.mode != "champion" and champion and champion.number != route.champion:
                reason = f"version {champion.number} is in production now, and not version {route.champion}"
                state.change(connection, routing.only_champion(route), who=self.who, reason=reason, expected=route)
                route = None
            if route is None and newest and self.serving.route in ("ab", "canary"):
                self._look_at_admission(client, newest, refused)
            asked = route.challenger if route and route.mode != "champion" else ""
            wanted = by_number.get(asked)
            if asked and wanted is None:
                refused["challenger"] = f"{self.register.name} has no version {asked}"
            challenger = self._fetched(client, wanted, last, "challenger", refused) if wanted else None
            candidate = newest.number if newest else ""
            self.served = self._compatible(replace(self.served, challenger=challenger, candidate=candidate), last)
            self._audit_routes(client, connection, by_number)
            self._carry_out(client, connection, known)
        versions.keep_only(self.folder, self.served)

    def _look_at_admission(self, client: "Client", version: "Version", refused: dict[str, str]) -> None:
        """Say why the server gives this version no requests by itself: it could not be promoted."""
        try:
            audit.admission(audit.read(client, self.register.name), version, self.register)
        except StoreError as error:
            refused["route"] = f"version {version.number} gets no requests by serving.route yet: {error}"

    def _fetched(
        self, client: "Client", version: "Version | None", last: Copy | None, variant: str, refused: dict[str, str]
    ) -> Copy | None:
        """The copy of a version; the last good one where that cannot be had."""
        if version is None:
            return last if variant == "champion" and variant in refused else None
        same = last and (last.number, last.digest) == (version.number, version.tags.get(registry.MODEL_DIGEST))
        # To read a large copy takes long: once in the life of a process, and then only see that it is there.
        if same and last and last in self._seen and Path(last.folder, versions.MODEL_FILES[0]).is_file():
            return last
        try:
            copy = versions.fetch(client, version, self.folder)
            self._seen.add(copy)
            return copy
        except StoreError as error:
            refused[variant] = str(error)
            self._tell(str(error))
            return last

    def _compatible(self, served: Served, before: Copy | None) -> Served:
        """What is served without a challenger that needs other columns than the champion."""
        champion, challenger = served.champion, served.challenger
        if not champion or not challenger or challenger == before:
            return served
        try:
            schemas = [versions.load(copy).schema for copy in (champion, challenger)]
        except StoreError as error:
            return replace(served, challenger=None, refused={**served.refused, "challenger": str(error)})
        if lacking := set(schemas[1].needed) - set(schemas[0].needed) - {asked_at(schemas[1])}:
            reason = (
                f"version {challenger.number} needs {', '.join(sorted(lacking))}, which the requests to version "
                f"{champion.number} do not have: promote it by hand, when clients send that"
            )
            return replace(served, challenger=None, refused={**served.refused, "challenger": reason})
        return served

    # ---- Decisions

    def _decide(self, connection: Any) -> None:
        """Settle what the counts of the route ask for."""
        route = state.route(connection)
        if route is None or not routing.share(route):
            return
        totals, counts = state.totals(connection, route.id), state.counts(connection, route.id)
        decision = routing.decide(route, totals, counts, self.serving, state.elapsed(connection, route))
        if decision and state.settle(connection, route, decision, who=self.who):
            SAYS.warning("%s: %s", decision.action, decision.reason)

    def _carry_out(self, client: "Client", connection: Any, known: list["Version"]) -> None:
        """Let the registry follow a decision; twice is no more than once."""
        pending, self._waits = state.claim(connection), ""
        if pending is None:
            return
        try:
            version = next((each for each in known if each.number == pending.before.challenger), None)
            if version is None:
                self._tell(f"version {pending.before.challenger} is not in the registry any more")
            elif pending.decision.action == "promote":
                if not self._promote(client, version, known, pending):
                    state.release(connection, pending)
                    return
            else:
                self._reject(client, version, known, pending)
            state.carried_out(connection, pending, who=self.who)
        except StoreError:
            state.release(connection, pending)
            raise

    def _promote(self, client: "Client", version: "Version", known: list["Version"], pending: Pending) -> bool:
        """Put the challenger of a canary into production; whether it may be there."""
        entries = audit.read(client, self.register.name)
        live = registry.in_production(known)
        if live and live.number == version.number:
            return True
        if not self._is_done(entries, "promote", version, pending):
            try:
                if not version.tags.get("commit"):
                    raise StoreError(
                        f"no commit is known that has version {version.number}: commit it where it was made, and "
                        "`python -m mlops sync`"
                    )
                facts = audit.admission(entries, version, self.register)
            except StoreError as error:
                self._waits = f"version {version.number} has passed its canary, and waits: {error}"
                self._tell(self._waits)
                return False
            self._append(client, entries, "promote", version, live.number if live else None, pending, facts)
        audit.apply(client, self.register.name)
        return True

    def _reject(self, client: "Client", version: "Version", known: list["Version"], pending: Pending) -> None:
        """Take its alias from a challenger that was rolled back."""
        entries = audit.read(client, self.register.name)
        if not self._is_done(entries, REJECTED, version, pending):
            self._append(client, entries, REJECTED, version, pending.before.champion, pending, {})
        client.set_model_version_tag(self.register.name, version.number, registry.STAGE, "rejected")
        if registry.CHALLENGER in version.aliases:
            client.delete_registered_model_alias(self.register.name, registry.CHALLENGER)

    def _is_done(self, entries: list["Entry"], action: str, version: "Version", pending: Pending) -> bool:
        """Whether the log has the entry of this decision: a process was killed after it."""
        return any(
            entry["action"] == action and entry.get("route") == pending.before.id
            for entry in audit.about(entries, version)
        )

    def _append(
        self,
        client: "Client",
        entries: list["Entry"],
        action: str,
        version: "Version",
        before: str | None,
        pending: Pending,
        more: dict[str, Any],
    ) -> None:
        facts = audit.facts(action, version, before, pending.decision.reason, self.who)
        own = {"route": pending.before.id, "evidence": pending.decision.evidence}
        _copy(audit.append(client, self.register.name, facts | own | more, version, entries))

    def _audit_routes(self, client: "Client", connection: Any, known: dict[str, "Version"]) -> None:
        """Enter changes of the route into the audit log, once each."""
        for number, change in state.unaudited(connection):
            about = known.get(change.route.challenger) or known.get(change.route.champion)
            if about is not None:
                entries = audit.read(client, self.register.name)
                words = f"{routing.described(change.route)}: {change.reason or 'no reason given'}"
                facts = audit.facts(ROUTED, about, change.route.champion or None, words, change.who)
                _copy(audit.append(client, self.register.name, facts | {"route": change.route.id}, about, entries))
            state.audited(connection, number)

    def _tell(self, sentence: str) -> None:
        """Log a sentence once, until another one was logged."""
        if sentence not in self._told:
            SAYS.warning("%s", sentence)
            self._told = {sentence}


def _copy(entries: list["Entry"]) -> None:
    """Update the copy of the log in Git, where the server stands in a clone."""
    if paths.AUDIT.parent.is_dir():
        try:
            audit.write_copy(entries)
        except StoreError as error:
            SAYS.warning("%s", error)


def begun(settings: Serving, served: Served, latencies: list[float], identity: str, challenger: str = "") -> Route:
    """The route that `settings` ask for, between the champion and the registry's challenger, or another version.

    Raises:
        StoreError: there is no champion, or no challenger besides it.
    """
    if served.champion is None:
        raise StoreError(f"no version of {served.name} is in production, so there is nothing to route")
    challenger = challenger or served.candidate
    if settings.route != "champion" and not challenger:
        raise StoreError(
            f"{served.name} has no challenger besides version {served.champion.number}, which is in production: "
            "register another version, or name one by --challenger"
        )
    return routing.begin(
        settings,
        identity,
        champion=served.champion.number,
        challenger=challenger if settings.route != "champion" else "",
        tests=versions.test_predictions(served.champion),
        latencies=latencies,
    )
