"""What workers share: counts that add up, a route that changes once, decisions that outlive a restart."""

import json
import math
import multiprocessing
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlops.base.errors import StoreError
from mlops.base.params import Serving
from mlops.serving import routing, state
from mlops.serving.routing import ERROR, LABELLED, SLOW, WRONG, Decision, Route
from mlops.serving.state import Answered, Batch

CANARY = Route("a1", "canary", "6", "7", steps=(0.25, 0.5), slow_ms=20, classes=("No", "Yes"))
SETTINGS = Serving(step_requests=400, step_minutes=0)
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with state.opened(tmp_path) as connection:
        state.change(connection, CANARY, who="Ada", reason="test", at=1000)
        yield connection


def batch(*served: tuple[routing.Variant, list[str], int | None], route: Route = CANARY) -> Batch:
    found = Batch()
    for variant, metrics, unit in served:
        found.count(route, variant, metrics, unit)
    return found


def answered(name: str, prediction: str, unit: int | None = None, variant: routing.Variant = "challenger") -> Batch:
    found = Batch()
    found.remember(CANARY, Answered(name, variant, prediction, unit))
    return found


def test_what_workers_add_is_summed_by_metric_share_and_variant(store: sqlite3.Connection) -> None:
    second = replace(CANARY, step=1)
    one = batch(("champion", [ERROR], None), ("champion", [], None), ("challenger", [ERROR, SLOW], None))
    two = batch(("challenger", [ERROR], None), route=second)
    one.versions["6"] += 2

    assert not Batch()
    assert one
    for found in (one, one, two):
        assert state.add(store, found) == []

    assert state.counts(store, "a1") == {ERROR: {0.25: (2, 2), 0.5: (1, 0)}, SLOW: {0.25: (2, 0)}}
    assert state.totals(store, "a1") == {0: {"champion": 4, "challenger": 2}, 1: {"challenger": 1}}
    assert state.predictions(store) == {"6": 4}
    assert state.counts(store, "another") == {}


def test_a_key_counts_once_per_metric_over_batches_steps_and_workers(store: sqlite3.Connection, tmp_path: Path) -> None:
    state.add(store, batch(("champion", [ERROR], 5), ("champion", [ERROR, SLOW], 5), ("champion", [ERROR], 6)))
    with state.opened(tmp_path) as another:
        state.add(another, batch(("challenger", [ERROR], 5), ("challenger", [ERROR], 7), route=replace(CANARY, step=1)))

    assert state.counts(store, "a1") == {ERROR: {0.25: (0, 2), 0.5: (1, 0)}, SLOW: {0.25: (0, 1)}}
    assert state.totals(store, "a1") == {0: {"champion": 3}, 1: {"challenger": 2}}


@pytest.mark.parametrize("mode", ["champion", "shadow"])
def test_without_a_share_requests_are_counted_and_nothing_is_tested(
    store: sqlite3.Connection, mode: routing.Mode
) -> None:
    route = replace(CANARY, mode=mode)
    found = batch(("champion", [ERROR], None), route=route)
    found.remember(route, Answered("p1", "champion", "Yes"))

    state.add(store, found)

    assert state.totals(store, "a1") == {0: {"champion": 1}}
    assert state.counts(store, "a1") == {}
    assert state.add(store, Batch(actuals={"p1": "No"})) == ["p1"]


def test_feedback_counts_the_first_time_and_by_the_share_when_it_was_answered(store: sqlite3.Connection) -> None:
    for name, prediction in (("p1", "Yes"), ("p2", "Yes"), ("p3", "No")):
        state.add(store, answered(name, prediction))
    state.change(store, replace(CANARY, step=1), who="server", reason="passed", expected=CANARY)

    assert state.add(store, Batch(actuals={"p1": "No", "p2": "Yes", "p4": "No"})) == ["p4"]
    assert state.add(store, Batch(actuals={"p1": "Yes", "p2": "No"})) == []
    late = answered("p4", "Yes", variant="champion")
    late.actuals["p4"] = "No"
    assert state.add(store, late) == []

    assert state.counts(store, "a1") == {LABELLED: {0.25: (2, 1)}, WRONG: {0.25: (1, 1)}}


def test_feedback_of_one_key_counts_once_as_wrong(store: sqlite3.Connection) -> None:
    for name, unit in (("p1", 5), ("p2", 5), ("p3", 6)):
        state.add(store, answered(name, "Yes", unit))

    state.add(store, Batch(actuals={"p1": "Yes", "p2": "No"}))
    state.add(store, Batch(actuals={"p3": "No"}))
    state.add(store, answered("p5", "Yes", 5))
    state.add(store, Batch(actuals={"p5": "No"}))

    assert state.counts(store, "a1") == {LABELLED: {0.25: (4, 0)}, WRONG: {0.25: (2, 0)}}


def test_a_step_is_timed_by_the_clock_that_goes_forward_once_for_all_workers(store: sqlite3.Connection) -> None:
    """Two workers add in turns; the machine restarts, so that its clock begins anew; the server stands still."""
    for now in (100, 100.5, 100.75, 101, 3, 3.5, 900, 901):
        state.add(store, Batch(), now)

    assert state.elapsed(store, CANARY) == pytest.approx(1 + 0.5 + state.LONGEST_GAP + 1)
    second = replace(CANARY, step=1)
    state.change(store, second, who="server", reason="passed", expected=CANARY)
    assert state.elapsed(store, second) == 0
    state.add(store, Batch(), 902)
    state.add(store, Batch(), 904)
    assert state.elapsed(store, second) == 2


def adds(folder: Path, worker: int) -> None:
    with state.opened(folder) as connection:
        for number in range(40):
            found = batch(*((("champion", "challenger")[worker], [ERROR], 10 * number + one) for one in range(10)))
            found.versions["6"] += 10
            state.add(connection, found)


def finished(worker: Callable[..., None], *arguments: tuple[object, ...]) -> None:
    """Run a function in processes of its own, one per tuple of arguments."""
    processes = [FORK.Process(target=worker, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(arguments)


def test_processes_that_open_a_new_file_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    finished(adds, (tmp_path, 0), (tmp_path, 1))

    with state.opened(tmp_path) as connection:
        (pair,) = state.counts(connection, "a1")[ERROR].values()
        assert sum(pair) == 400  # keys that both had, each once
        assert state.totals(connection, "a1") == {0: {"champion": 400, "challenger": 400}}
        assert state.predictions(connection) == {"6": 800}


def killed(folder: Path) -> None:
    with state.opened(folder) as connection:
        for number in range(10_000):
            state.add(connection, batch(("champion", [ERROR], number), ("challenger", [ERROR], None)))
            if number == 50:
                connection.execute("BEGIN IMMEDIATE")  # killed in the middle of a transaction
                connection.execute("DELETE FROM events")
                os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_leaves_whole_batches_and_no_lock(tmp_path: Path) -> None:
    process = FORK.Process(target=killed, args=(tmp_path,))
    process.start()
    process.join()

    assert process.exitcode == -signal.SIGKILL
    with state.opened(tmp_path) as connection:
        assert state.counts(connection, "a1") == {ERROR: {0.25: (51, 51)}}
        assert state.totals(connection, "a1") == {0: {"champion": 51, "challenger": 51}}
        state.add(connection, batch(("champion", [], None)))


def test_the_route_is_kept_with_who_changed_it_and_why(tmp_path: Path) -> None:
    with state.opened(tmp_path) as connection:
        assert state.route(connection) is None
        state.change(connection, CANARY, who="Ada", reason="new features", at=2000)
        state.change(connection, replace(CANARY, step=1), who="server", reason="passed", expected=CANARY, at=1000)
    with state.opened(tmp_path) as connection:  # after a restart; the clock was set back, and decides nothing
        assert state.route(connection) == replace(CANARY, step=1, started=1000)
        changes = state.history(connection)

    assert [(one.at, one.who, one.reason, one.route.step) for one in changes] == [
        *((1000, "server", "passed", 1), (2000, "Ada", "new features", 0))
    ]


def test_of_two_workers_that_decide_at_once_one_does(store: sqlite3.Connection, tmp_path: Path) -> None:
    onwards = Decision("next", replace(CANARY, step=1), "passed", {})
    back = Decision("roll back", routing.only_champion(CANARY), "errors", {"mean": 101.5})

    with state.opened(tmp_path) as another:
        assert state.settle(store, CANARY, onwards, who="server")
        assert not state.settle(another, CANARY, onwards, who="server")
        assert not state.settle(another, CANARY, back, who="server")  # decided about a step that is over
        assert state.pending(another) is None
        assert state.settle(another, replace(CANARY, step=1), back, who="server")
        assert not state.settle(store, replace(CANARY, step=1), back, who="server")

    assert len(state.history(store)) == 3


def test_a_rollback_holds_at_once_and_is_carried_out_after_a_restart(tmp_path: Path) -> None:
    back = Decision("roll back", routing.only_champion(CANARY), "errors", {"mean": 101.5, "requests": {"champion": 3}})
    with state.opened(tmp_path) as connection:
        state.change(connection, CANARY, who="Ada", reason="test")
        state.settle(connection, CANARY, back, who="server")
        current = state.route(connection)
        assert current is not None
        assert (current.mode, current.champion) == ("champion", "6")
        assert state.claim(connection, 500.0) is not None  # and the worker dies

    with state.opened(tmp_path) as connection:
        assert state.claim(connection, 501.0) is None
        claimed = state.claim(connection, 500.0 + state.CLAIM_SECONDS + 1)
        assert claimed is not None
        assert (claimed.before.id, claimed.decision) == ("a1", back)
        assert state.claim(connection, 3.0) is not None  # after a restart of the machine
        state.release(connection, claimed)
        assert state.claim(connection, 4.0) is not None
        state.carried_out(connection, claimed, who="server")
        assert state.pending(connection) is None
        assert len(state.history(connection)) == 2


def test_the_last_step_goes_on_until_the_promotion_is_carried_out_and_an_alarm_overtakes_it(
    store: sqlite3.Connection,
) -> None:
    champion = replace(routing.only_champion(CANARY), champion="7")
    up = Decision("promote", champion, "passed", {})
    back = Decision("roll back", routing.only_champion(CANARY), "errors", {})

    assert state.settle(store, CANARY, up, who="server")
    assert state.route(store) == replace(CANARY, started=1000)
    assert not state.settle(store, CANARY, up, who="server")
    assert state.settle(store, CANARY, back, who="server")
    waiting = state.pending(store)
    assert waiting is not None
    assert waiting.decision.action == "roll back"
    state.carried_out(store, waiting, who="server")

    state.change(store, CANARY, who="Ada", reason="again", at=1000)
    state.settle(store, CANARY, up, who="server")
    claimed = state.claim(store)
    assert claimed is not None
    assert not state.settle(store, CANARY, back, who="server")  # it is being carried out
    for _ in range(2):
        state.carried_out(store, claimed, who="server", at=1)
    assert state.route(store) == replace(champion, started=1)
    assert [one.who for one in state.history(store)] == ["server", "Ada", "server", "Ada"]


def test_a_person_who_changes_the_route_takes_a_waiting_decision_back(store: sqlite3.Connection) -> None:
    state.settle(store, CANARY, Decision("promote", routing.only_champion(CANARY), "passed", {}), who="server")

    state.change(store, replace(CANARY, id="b2", mode="shadow"), who="Ada", reason="wait")

    assert state.pending(store) is None
    assert state.claim(store) is None


def test_what_is_over_is_removed_bit_by_bit(store: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "TIDIED", 4)
    monkeypatch.setattr(state, "MOST_ANSWERED", 3)
    for number in range(6):
        found = answered(f"p{number}", "Yes")
        found.count(CANARY, "challenger", [ERROR], number)
        state.add(store, found)

    assert state.tidy(store) == 3
    assert state.tidy(store) == 0
    assert state.add(store, Batch(actuals={"p0": "No", "p5": "No"})) == ["p0"]
    new = replace(CANARY, id="b2")
    state.change(store, new, who="Ada", reason="again")
    found = batch(("challenger", [ERROR], 1), route=new)
    found.remember(new, Answered("q1", "challenger", "Yes"))
    state.add(store, found)
    assert [state.tidy(store) for _ in range(3)] == [7, 2, 0]
    assert store.execute("SELECT route FROM units UNION ALL SELECT route FROM answered").fetchall() == [("b2",)] * 2
    assert state.counts(store, "a1")[ERROR] == {0.25: (6, 0)}  # counts stay


def test_a_full_disk_refuses_a_batch_whole_and_takes_it_later(store: sqlite3.Connection) -> None:
    pages = store.execute("PRAGMA page_count").fetchone()[0]
    store.execute(f"PRAGMA max_page_count = {pages}")
    large = batch(*(("champion", [ERROR], unit) for unit in range(5000)))

    with pytest.raises(
        StoreError, match=r"state\.sqlite could not be used \(database or disk is full\): it works again"
    ):
        state.add(store, large)
    assert state.counts(store, "a1") == {}
    assert state.totals(store, "a1") == {}

    store.execute("PRAGMA max_page_count = 100000")
    state.add(store, large)
    assert state.counts(store, "a1") == {ERROR: {0.25: (0, 5000)}}


def test_a_batch_that_fails_halfway_is_taken_back_whole(
    store: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(state, "_count_time", fail)
        with pytest.raises(MemoryError):
            state.add(store, batch(("champion", [ERROR], None)))
    assert state.totals(store, "a1") == {}

    state.add(store, batch(("champion", [ERROR], None)))
    assert state.totals(store, "a1") == {0: {"champion": 1}}


def test_a_locked_file_is_one_sentence_and_can_be_read_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "BUSY_SECONDS", 0.01)
    with state.opened(tmp_path) as connection, closing(sqlite3.connect(tmp_path / state.FILE)) as other:
        state.change(connection, CANARY, who="Ada", reason="test", at=1)
        other.execute("BEGIN EXCLUSIVE")

        with pytest.raises(StoreError, match=r"state\.sqlite could not be used \(database is locked\)"):
            state.add(connection, batch(("champion", [ERROR], None)))
        assert state.route(connection) == replace(CANARY, started=1)

        other.rollback()
        state.add(connection, batch(("champion", [ERROR], None)))
        assert state.totals(connection, "a1") == {0: {"champion": 1}}


def test_what_waits_for_a_full_disk_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_WAITING", 3)
    waiting = Batch()
    for number in range(5):
        later = answered(f"a-{number}", "Yes").joined(batch(("challenger", [ERROR], number)))
        later.actuals[f"a-{number}"] = "No"
        waiting = waiting.joined(later)

    assert [name for name, *_ in waiting.answered] == ["a-2", "a-3", "a-4"]
    assert [unit for _, _, unit in waiting.first] == [0, 1, 2]
    assert list(waiting.actuals) == ["a-0", "a-1", "a-2"]
    assert waiting.requests.total() == 5  # numbers take no room


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / state.FILE)) as later:
        later.execute("PRAGMA user_version = 2")

    with pytest.raises(StoreError, match=r"is of version 2, which this server does not know \(it knows 1\)"):
        state.opened(tmp_path).__enter__()

    with closing(sqlite3.connect(tmp_path / state.FILE)) as later:
        assert later.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)


def test_what_is_no_database_or_no_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / state.FILE).write_text("no database, but a text that is long enough to be read as one" * 20)
    with pytest.raises(StoreError, match=r"file is not a database\): move it away, and counts and routes begin anew"):
        state.opened(tmp_path).__enter__()

    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file could not be made: "):
        state.opened(tmp_path / "file").__enter__()


@pytest.mark.parametrize(
    ("errors", "wrong", "action"), [(0.02, 0.2, "promote"), (0.5, 0.2, "roll back"), (0.02, 0.9, "roll back")]
)
def test_a_canary_from_its_start_to_its_end_over_two_workers_and_a_restart(
    tmp_path: Path, errors: float, wrong: float, action: str
) -> None:
    draw = random.Random(7)
    start = replace(CANARY, key="customer")
    with state.opened(tmp_path) as connection:
        state.change(connection, start, who="Ada", reason="test")

    decided: list[Decision] = []
    for served in range(0, 2000, 50):
        with state.opened(tmp_path) as connection:  # a worker that begins anew each time
            current = state.route(connection)
            assert current is not None
            if state.pending(connection):
                break
            found = Batch()
            for number in range(served, served + 50):
                key = f"customer {draw.randrange(600)}"
                variant, unit = routing.variant(current, key, 0.0), routing.hashed(current, key)
                worse = variant == "challenger"
                error = draw.random() < (errors if worse else 0.02)
                label = draw.choice(["Yes", "No"])
                found.count(current, variant, routing.events(current, label, 0.5, ms=1.0, error=error), unit)
                if not error:
                    found.remember(current, Answered(f"p{number}", variant, label, unit))
                    is_wrong = draw.random() < (wrong if worse else 0.2)
                    found.actuals[f"p{number}"] = {"Yes": "No", "No": "Yes"}[label] if is_wrong else label
            assert state.add(connection, found) == []
            known = state.totals(connection, current.id), state.counts(connection, current.id)
            decision = routing.decide(current, *known, SETTINGS, state.elapsed(connection, current))
            if decision:
                decided.append(decision)
                assert state.settle(connection, current, decision, who="server")

    assert decided[-1].action == action
    assert [one.action for one in decided[:-1]] == (["next"] if action == "promote" else [])
    assert json.dumps(decided[-1].evidence)
    assert math.isfinite(decided[-1].evidence["mean"])
