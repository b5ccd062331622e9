"""The online store has each event once, whole or not at all, while others read it."""

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlops.base.errors import StoreError
from mlops.intake import event_store
from mlops.intake.event_store import Stored
from numpy.typing import NDArray


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "serving" / "events.sqlite"
    monkeypatch.setenv(event_store.VARIABLE, str(path))
    return path


def times(*hours: int) -> NDArray[np.datetime64]:
    return np.datetime64("2024-01-01", "us") + np.array(hours, dtype="timedelta64[h]")


def add(entities: list[object], hours: list[int], amounts: list[float], **how: object) -> event_store.Added:
    kind = "str" if any(isinstance(entity, str) for entity in entities) else "Int64"
    values = {"amount": np.array(amounts, dtype=np.float64)}
    return event_store.add(
        event_store.path(),
        "orders",
        pd.Series(entities, dtype=kind),
        times(*hours),
        values,
        **how,  # type: ignore[arg-type]
    )


def read(*entities: object, columns: tuple[str, ...] = ("amount",)) -> dict[str, list[float]]:
    """The values of each entity's events, in the order of their times."""
    kind = "str" if any(isinstance(entity, str) for entity in entities) else "int64"
    found = Stored().events("orders", list(columns), pd.Series(entities, dtype=kind))
    codes = found.known["amount"].keys // (len(found.instants) + 1)
    values = found.known["amount"].values[:-1]
    return {str(name): values[codes == place].tolist() for place, name in enumerate(found.entities)}


def test_events_come_back_as_they_were_and_texts_stay_texts() -> None:
    amounts = [0.1 + 0.2, 1e300, -5e-324, 7.0]
    add(["007", "7", "007", "007"], [3, 1, 1, 2], amounts)

    assert read("007", "7", "nobody") == {"007": [-5e-324, 7.0, 0.1 + 0.2], "7": [1e300]}
    assert read("nobody") == {}


def test_the_same_events_again_change_nothing_and_two_equal_ones_are_two() -> None:
    first = add([1, 1, 2], [1, 1, 1], [5.0, 5.0, float("nan")])
    again = add([2, 1, 1], [1, 1, 1], [float("nan"), 5.0, 5.0])
    more = add([1, 1, 1, 3], [1, 1, 1, 9], [5.0, 5.0, 5.0, 1.0])

    assert (first.new, again.new, more.new, more.events) == (3, 0, 2, 5)
    assert read(1, 3) == {"1": [5.0, 5.0, 5.0], "3": [1.0]}
    assert event_store.freshness(event_store.path())["orders"]["last"] == "2024-01-01T09:00:00.000000Z"


def test_to_replace_removes_what_the_events_lack() -> None:
    add([1, 2, 2], [1, 2, 2], [5.0, 6.0, 6.0])

    assert add([1, 2, 3], [1, 2, 3], [5.0, 6.0, 7.0], replace=True) == event_store.Added(1, 3, 1, False)
    assert read(1, 2, 3) == {"1": [5.0], "2": [6.0], "3": [7.0]}


def test_other_columns_or_keys_of_another_type_make_the_table_anew(there: Path) -> None:
    add([1, 2], [1, 2], [5.0, 6.0])

    with pytest.raises(StoreError, match=r"has 2 events that this file lacks: .*load --table orders --replace"):
        add(["1"], [1], [5.0])
    with pytest.raises(StoreError, match="has 1 event that this file lacks"):
        event_store.add(there, "orders", pd.Series([1], dtype="int64"), times(1), {})
    assert read(1, 2) == {"1": [5.0], "2": [6.0]}
    changed = add(["1"], [1], [5.0], replace=True)

    assert changed == event_store.Added(1, 1, 2, anew=True)
    with pytest.raises(StoreError, match="lacks the entities of the table orders in the type that the model takes"):
        read(1)
    with pytest.raises(StoreError, match="lacks tax of the table orders: `python -m mlops features load`"):
        Stored().events("orders", ["tax"], pd.Series(["1"], dtype="str"))
    with pytest.raises(StoreError, match="lacks the table visits"):
        Stored().events("visits", [], pd.Series(["1"], dtype="str"))


def test_a_store_that_is_missing_or_broken_is_a_sentence(there: Path) -> None:
    with pytest.raises(StoreError, match="the store of events, is missing: `python -m mlops features load`"):
        read(1)
    there.parent.mkdir()
    there.write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=r"could not be used .*delete it"):
        read(1)


@pytest.mark.parametrize("version", [0, 1])
def test_a_database_of_something_else_is_refused_and_keeps_every_byte(there: Path, version: int) -> None:
    there.parent.mkdir()
    with closing(sqlite3.connect(there)) as other:
        other.executescript(f"CREATE TABLE experiments (id INTEGER); PRAGMA user_version = {version}")
    before = there.read_bytes()

    for use in (lambda: add([1], [1], [5.0]), lambda: event_store.tables(there)):
        with pytest.raises(StoreError, match=r"something else \(it has experiments\).*let MLOPS_EVENTS name"):
            use()
    assert there.read_bytes() == before
    there.write_bytes(b"")
    assert add([1], [1], [5.0]).events == 1


def test_whoever_reads_sees_the_events_before_or_after_and_none_in_between() -> None:
    add([1], [1], [5.0])
    source, ask = Stored(), pd.Series([1], dtype="int64")
    seen = []

    def part(_: object) -> bool:
        seen.append(len(source.events("orders", ["amount"], ask).every))
        return True

    rows = [(1, hour, float(hour), 0) for hour in range(3)]
    with sqlite3.connect(event_store.path(), isolation_level=None) as writing:
        writing.execute("BEGIN IMMEDIATE")
        writing.executemany('INSERT INTO "events_orders" VALUES (?, ?, ?, ?)', (row for row in rows if part(row)))
        writing.execute("COMMIT")
    writing.close()

    assert seen == [1, 1, 1]
    assert len(source.events("orders", ["amount"], ask).every) == 4


def test_a_store_that_was_deleted_and_made_anew_is_seen_by_who_has_read_the_old_one(there: Path) -> None:
    add([1], [1], [5.0])
    source, ask = Stored(), pd.Series([1], dtype="int64")
    assert len(source.events("orders", ["amount"], ask).every) == 1

    there.rename(there.with_name("old"))
    with pytest.raises(StoreError, match="is missing"):
        source.events("orders", ["amount"], ask)
    add([1, 1], [1, 2], [5.0, 6.0])

    assert len(source.events("orders", ["amount"], ask).every) == 2


def test_a_load_that_is_killed_leaves_the_store_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    add([1], [1], [5.0])
    monkeypatch.setattr(event_store, "ROWS", 10)
    parts = event_store._parts

    def killed(*arguments: Any) -> Iterator[Iterator[tuple[Any, ...]]]:
        for number, part in enumerate(parts(*arguments)):
            if number == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            yield part

    child = os.fork()
    if child == 0:
        event_store._parts = killed
        add(list(range(100)), list(range(100)), [1.0] * 100, replace=True)

    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert read(1, 2) == {"1": [5.0]}
    assert add([1, 2], [1, 2], [5.0, 6.0]).new == 1
