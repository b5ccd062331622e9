"""Which versions are brought into production, which stay out, and what a person has to do."""

from typing import Any

import pytest
from mlops.base import params
from mlops.base.errors import StoreError
from mlops.history.commands import Done
from mlops.registry.registry import Version
from mlops.rollout import canary, release
from mlops.rollout.canary import Verdict
from mlops.rollout.release import Released, Standing, Way

MODEL, OTHER = "a" * 64, "b" * 64


def version(number: str = "3", model: str = MODEL, **tags: str) -> Version:
    return Version(number, ("challenger",), "", "run", "", {"model_digest": model, "commit": "c" * 40, **tags})


def entry(number: int, action: str, model: str = MODEL) -> dict[str, Any]:
    said = {"when": "2026-11-28T10:00:00+00:00", "who": "ada", "reason": f"reason {number}"}
    return {"number": number, "action": action, "model_digest": model, **said}


def stands(
    monkeypatch: pytest.MonkeyPatch, *states: Version, live: Version | None = None, entries: Any = (), **more: Any
) -> None:
    """Let the registry say this of version 3, state by state; the last one stays."""
    left = [Standing(each, list(entries), live, params.Register(**more)) for each in states]
    monkeypatch.setattr(release, "standing", lambda number: left.pop(0) if len(left) > 1 else left[0])


def released(*done: Done, **more: Any) -> tuple[Released, list[tuple[str, ...]]]:
    """What becomes of version 3, and the commands that were called."""
    called: list[tuple[str, ...]] = []
    results = list(done)

    def call(*given: str) -> Done:
        called.append(given)
        return results.pop(0)

    return release.release("3", Way("a reason", call, **more), lambda _: None), called


def test_what_is_in_production_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stands(monkeypatch, version(), live=version())

    assert released()[0].outcome == "in production"


@pytest.mark.parametrize(
    ("entries", "out"),
    [
        ([entry(1, "promote"), entry(2, "reject")], True),
        ([entry(1, "promote"), entry(2, "rollback", OTHER)], True),
        ([entry(1, "promote"), entry(2, "promote", OTHER)], False),  # main may go back to an older result
        ([entry(1, "promote"), entry(2, "rollback", OTHER), entry(3, "promote"), entry(4, "promote", OTHER)], False),
        ([entry(1, "reject"), entry(2, "approve")], True),
        ([entry(1, "reject", OTHER)], False),
    ],
)
def test_what_was_rolled_back_stays_out_until_a_person_wants_it(
    entries: list[dict[str, Any]], out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands(monkeypatch, version(), live=version("2", OTHER), entries=entries, approval="off")

    found, called = released(Done(0, ""))

    assert (found.outcome == "rolled back", called == []) == (out, out)


@pytest.mark.parametrize(
    ("tags", "settings", "words"),
    [
        ({}, {}, "python -m mlops approve 3"),
        ({}, {"approval": "off", "remade": "required"}, "python -m mlops reproduce 3"),
        ({"commit": ""}, {"approval": "off"}, "no commit is known that has version 3"),
    ],
)
def test_what_a_person_has_to_do_is_told(
    tags: dict[str, str], settings: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands(monkeypatch, version(**tags), live=version("2", OTHER), **settings)

    found, called = released()

    assert (found.outcome, found.before, called) == ("waiting", "2", [])
    assert words in found.sentence


def test_the_first_version_of_all_needs_no_canary(monkeypatch: pytest.MonkeyPatch) -> None:
    stands(monkeypatch, version(), approval="off")
    monkeypatch.setattr(canary, "running", lambda *_: False)

    found, called = released(Done(0, ""), server="a server")

    assert (found.outcome, called) == ("promoted", [("3", "a reason")])
    with pytest.raises(StoreError, match="version 3 was not promoted: another change came first"):
        released(Done(1, "", "Error: another change came first"))


def test_a_canary_that_is_running_is_watched_whatever_the_log_says(monkeypatch: pytest.MonkeyPatch) -> None:
    stands(monkeypatch, version(), live=version("2", OTHER), entries=[entry(1, "reject")])
    monkeypatch.setattr(canary, "running", lambda *_: True)
    monkeypatch.setattr(canary, "judged", lambda *_: Verdict("promoted", "it passed", "1", {"mean": 1}))

    found, _ = released(server="a server")

    assert found == Released("promoted", "it passed", "1", {"mean": 1})


def test_a_version_that_nobody_has_made_again_is_made_again_first(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"approval": "off", "remade": "required"}
    made: list[str] = []

    def remake(code: int) -> Any:
        return lambda number: made.append(number) or Done(code, f"version {number}: not reproducible\n")

    stands(monkeypatch, version(), version(remade="by CI"), live=version("2", OTHER), **settings)
    assert released(Done(0, ""), remake=remake(0))[0].outcome == "promoted"
    assert released(Done(0, ""), remake=remake(0))[0].outcome == "promoted"
    assert made == ["3"]

    stands(monkeypatch, version(), live=version("2", OTHER), **settings)
    found, called = released(remake=remake(3))
    assert (found.outcome, called) == ("waiting", [])
    assert "version 3: not reproducible" in found.sentence
    with pytest.raises(StoreError, match="could not be made again"):
        released(remake=remake(1))
