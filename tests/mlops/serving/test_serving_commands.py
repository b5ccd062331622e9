"""`serving route` and `serving status`: what a running server is asked, and what people read of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mlops.__main__ import app
from mlops.base.errors import ParameterError, StoreError
from typer.testing import CliRunner

from .servers import Answer, Asked, Server, running

ROUTE = {"mode": "canary", "steps": [0.01, 0.25], "step": 1}
STATE: dict[str, Any] = {
    "route": ROUTE,
    "described": "canary, step 2 of 2: version 2 answers 25 % of the requests, version 1 the others",
    "requests": {"0": {"champion": 1985, "challenger": 20}, "1": {"champion": 70, "challenger": 30}},
    "events": {"slow": {"0.01": [1, 9], "0.25": [2, 3]}},
    "changed": [{"at": "2026-11-28T17:37:13.123+00:00", "who": "ada", "reason": "a look at version 2"}],
    "waits_for": "100 of 2,000 requests",
    "refused": {"challenger": "it is broken"},
}


def answered(asked: Asked) -> Answer:
    if asked.method == "GET":
        return 200, STATE, {}
    return 200, {"route": ROUTE, "described": "it is done"}, {}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MLOPS_ADMIN_KEY", "a secret")
    with running(answered) as found:
        yield found


def run(server: Server, *arguments: str) -> str:
    command = ["serving", *arguments, "--url", server.url]
    return CliRunner().invoke(app, command, catch_exceptions=False).output


def test_a_route_is_asked_for_with_its_reason_and_key(server: Server) -> None:
    said = run(server, "route", "canary", "--reason", "new model", "--steps", "0.01,0.25", "--key", "customer_id")

    assert said == "it is done\n"
    [asked] = server.asked
    assert (asked.method, asked.path, asked.headers["x-api-key"]) == ("POST", "/admin/route", "a secret")
    assert asked.content == {"route": "canary", "reason": "new model", "steps": [0.01, 0.25], "key": "customer_id"}


def test_a_dry_run_changes_nothing(server: Server) -> None:
    said = run(server, "route", "ab", "--share", "0.3", "--reason", "half", "--dry-run")

    assert [asked.method for asked in server.asked] == ["GET"]
    assert said.splitlines() == [f"now: {STATE['described']}", 'would be asked for: {"route": "ab", "share": 0.3}']


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["both", "--reason", "x"], "route"),
        (["ab", "--share", "2", "--reason", "x"], "share"),
        (["canary", "--steps", "much", "--reason", "x"], "--steps is much"),
        (["canary", "--steps", "0.5,0.1", "--reason", "x"], "steps"),
        (["champion", "--reason", " "], "--reason is empty"),
    ],
)
def test_what_the_server_would_refuse_is_refused_here(server: Server, arguments: list[str], sentence: str) -> None:
    with pytest.raises(ParameterError, match=sentence):
        run(server, "route", *arguments)
    assert server.asked == []


def test_a_change_is_never_sent_twice(server: Server) -> None:
    server.script = [(503, {"detail": "busy"}, {})]

    with pytest.raises(StoreError, match="busy"):
        run(server, "route", "shadow", "--reason", "x")

    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((409, {"detail": "m has no challenger"}, {}), "m has no challenger"),
        ((401, {"detail": "the header x-api-key has to hold a key"}, {}), "has to hold a key"),
        ((200, {"other": 1}, {}), "says nothing of a route"),
    ],
)
def test_a_refusal_is_one_sentence(server: Server, given: Answer, sentence: str) -> None:
    server.script = [given]

    with pytest.raises(StoreError, match=sentence):
        run(server, "status")


def test_without_a_key_nothing_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLOPS_ADMIN_KEY")

    with pytest.raises(ParameterError, match="MLOPS_ADMIN_KEY is not set"):
        run(server, "status")
    assert server.asked == []


def test_the_status_is_for_people_and_as_json_for_programs(server: Server) -> None:
    assert run(server, "status").splitlines() == [
        STATE["described"],
        "since 2026-11-28T17:37:13 by ada: a look at version 2",
        "step 1 (1 %): 20 to the challenger, 1,985 to the champion",
        "step 2 (25 %): 30 to the challenger, 70 to the champion",
        "  slow: 3 of the challenger's, 12 of the champion's",
        "the step waits for: 100 of 2,000 requests",
        "refused as challenger: it is broken",
    ]
    assert json.loads(run(server, "status", "--json")) == STATE
