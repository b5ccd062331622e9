"""A canary is begun once, watched until the server has decided, and taken up again by whoever comes later."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from mlops.base.errors import StoreError
from mlops.registry.registry import Version
from mlops.rollout import canary
from mlops.rollout.canary import Verdict, Watch
from mlops.serving.client import Client

from tests.mlops.serving.servers import Answer, Asked, Server, running

NOW, LATER = Watch(0, 0), Watch(0, 60)
PROMOTED = {"action": "promote", "from": "2", "reason": "step 1 of 1 passed", "evidence": {"mean": 0.5}}
REJECTED = {"action": "reject", "from": "2", "reason": "version 3 was rolled back, errors", "evidence": {"mean": 200}}


def state(mode: str = "champion", challenger: str = "", route: str = "r", **more: Any) -> dict[str, Any]:
    return {
        "route": {"id": route, "mode": mode, "challenger": challenger},
        "described": f"{mode} of {challenger or 'the champion'}",
        "changed": [{"who": "ada", "reason": "to look at it"}],
        "refused": {},
        "waits_for": "",
        **more,
    }


CANARY = state("canary", "3")
OVER = state(route="r+")
FREE = state(route="old")


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the audit log says of the canary."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(
        canary, "decision", lambda route, number: found[-1] if found and (route, number) == ("r", "3") else None
    )
    return found


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that answers a change with the canary of version 3, and else by its script; the last answer stays."""

    def answer(asked: Asked) -> Answer:
        return 200, CANARY if asked.method == "POST" else OVER, {}

    with running(answer) as found:
        yield found


def judged(
    server: Server, *states: Answer | dict[str, Any], watch: Watch = LATER, said: list[str] | None = None
) -> Verdict:
    server.script = [(200, each, {}) if isinstance(each, dict) else each for each in states]
    with Client(server.url, "key", pauses=()) as client:
        return canary.judged(client, "3", "delivery of abc", watch, (said if said is not None else []).append)


def changes(server: Server) -> list[Any]:
    return [asked.content for asked in server.asked if asked.method == "POST"]


def test_it_is_begun_and_watched_until_the_log_has_the_promotion(server: Server, entries: list[dict[str, Any]]) -> None:
    said: list[str] = []
    entries.append(PROMOTED)
    second = state("canary", "3", described="canary, step 2")

    found = judged(server, FREE, (200, CANARY, {}), CANARY, second, said=said)

    assert (found.outcome, found.before, found.evidence) == ("promoted", "2", {"mean": 0.5})
    assert changes(server) == [{"route": "canary", "challenger": "3", "reason": "delivery of abc"}]
    assert said == ["canary of 3", "canary, step 2"]


def test_one_that_is_running_is_watched_and_not_begun_again(server: Server, entries: list[dict[str, Any]]) -> None:
    entries.append(REJECTED)

    found = judged(server, CANARY)

    assert (found.outcome, found.sentence) == ("rolled back", "version 3 was rolled back, errors")
    assert changes(server) == []


def test_it_waits_for_the_canary_of_another_version(server: Server, entries: list[dict[str, Any]]) -> None:
    said: list[str] = []
    entries.append(PROMOTED)
    other = state("canary", "2", "q")

    assert judged(server, other, other, FREE, (200, CANARY, {}), said=said).outcome == "promoted"
    assert said[:1] == ["version 3 waits for the canary of version 2"]
    assert judged(server, other, watch=NOW).outcome == "undecided"


def test_an_experiment_of_a_person_is_not_replaced(server: Server) -> None:
    with pytest.raises(StoreError, match="the server is not free"):
        judged(server, state("ab", "2", "q"))
    assert changes(server) == []


def test_after_the_time_limit_the_canary_goes_on(server: Server) -> None:
    found = judged(server, CANARY, state("canary", "3", waits_for="5 of 60 requests"), watch=NOW)

    assert found.outcome == "undecided"
    assert "the canary of version 3 goes on: 5 of 60 requests" in found.sentence


def test_a_canary_that_has_passed_may_wait_for_a_person(server: Server) -> None:
    waits = "version 3 has passed its canary, and waits: version 3 is not approved"

    assert judged(server, CANARY, state("canary", "3", refused={"promotion": waits})) == Verdict("waiting", waits)


def test_a_restart_of_the_server_is_waited_for_and_a_longer_absence_is_told(
    server: Server, entries: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries.append(PROMOTED)
    assert judged(server, CANARY, None, (503, {"detail": "busy"}, {}), CANARY).outcome == "promoted"

    monkeypatch.setattr(canary, "ABSENT", 0)
    with pytest.raises(StoreError, match="its canary goes on there"):
        judged(server, CANARY, None)


def test_whoever_ends_it_by_hand_is_named(
    server: Server, entries: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "SETTLING", 0)

    with pytest.raises(StoreError, match=r"ended without a decision: ada changed the route \(to look at it\)"):
        judged(server, CANARY)


def test_one_that_somebody_began_anew_is_watched_further(server: Server, entries: list[dict[str, Any]]) -> None:
    said: list[str] = []
    entries.append(PROMOTED)

    found = judged(server, state("canary", "3", "q"), state("canary", "3", "r"), OVER, said=said)

    assert (found.outcome, changes(server)) == ("promoted", [])
    assert said[1:] == ["ada began the canary of version 3 anew (to look at it): canary of 3"]


def test_a_decision_by_another_route_is_found_by_what_is_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = {"model_digest": "d"}
    entry = {"action": "promote", "route": "other", "from": "2", "model_digest": "d", "number": 1, "reason": "passed"}
    version = Version("3", ("champion",), "", "run", "source", tags)

    @contextmanager
    def configured() -> Iterator[tuple[None, Any]]:
        yield None, SimpleNamespace(name="m")

    monkeypatch.setattr(canary.registry, "configured", configured)
    monkeypatch.setattr(canary.registry, "versions", lambda *_: [version])
    monkeypatch.setattr(canary.audit, "read", lambda *_: [entry])
    monkeypatch.setattr(canary.audit, "apply", lambda *_: None)

    assert canary.decision("mine", "3") == entry
    assert canary.decision("mine", "4") is None


def test_a_rollback_that_the_registry_has_not_followed_yet_is_one(
    server: Server, entries: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "SETTLING", 0)
    why = "version 3 was rolled back, slow answers: 9 of 10"
    decided = state(route="r+", changed=[{"who": "model server", "reason": why}])

    assert judged(server, CANARY, decided) == Verdict("rolled back", why)
    assert judged(server, decided) == Verdict("rolled back", why)
    assert changes(server) == []


def test_a_version_that_cannot_be_loaded_leaves_the_server_free(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "LOADING", 0)

    with pytest.raises(StoreError, match=r"could not load version 3 \(it was made elsewhere\)"):
        judged(server, CANARY, state("canary", "3", refused={"challenger": "it was made elsewhere"}))
    assert [each["route"] for each in changes(server)] == ["champion"]
