"""The online store of events: a SQLite file, of which a server makes the history of a row while somebody waits.

It stands where the environment variable MLOPS_EVENTS says, else in the folder of the server. Each table of events is
an index that begins with entity and time. One process may add events while others read; to them all of them come at
once. Every version brings a copy of this module along, as it was.

Where MLOPS_EVENTS is an address of Redis, `redis_events` does the same there; nobody else calls it.
"""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import StoreError
from mlops.base.transactions import transaction
from mlops.data import event_features
from mlops.data.event_features import Events

if TYPE_CHECKING:
    from mlops.intake.redis_events import Address

Place: TypeAlias = "Path | Address"
VARIABLE = "MLOPS_EVENTS"
FILE = Path("serving/events.sqlite")
VERSION = 1  # of the tables; a file of another one is made anew
BUSY_SECONDS = 10.0  # to wait for another process that adds events
ROWS = 200_000  # that are given to SQLite at once
MAKE = "`python -m mlops features load` makes it of the files in data/events"


@dataclass(frozen=True)
class Table:
    """What the store knows of a table: columns of values, whether entities are whole numbers, and what was added last.

    `events` is their number, `last` the time of the newest one in microseconds since 1970 (None without any), `loaded`
    the Unix time of the last addition, `digest` that of the file from which it came.
    """

    columns: tuple[str, ...]
    whole: bool
    events: int
    last: int | None
    loaded: float
    digest: str


@dataclass(frozen=True)
class Added:
    """What `add` did: how many events are new, how many there are now or no more, and whether the table is anew."""

    new: int
    events: int
    removed: int
    anew: bool


def path() -> Place:
    """Where the store is: a file, or an address of Redis, whose text has no password.

    Raises:
        StoreError: MLOPS_EVENTS begins as an address, and is none.
    """
    named = os.environ.get(VARIABLE) or str(FILE)
    if named.lower().startswith(("redis://", "rediss://")):
        from mlops.intake import redis_events

        return redis_events.address(named)
    return Path(named)


def beside(folder: Path) -> None:
    """Let the store be in the folder of the server, for this process and its children, unless MLOPS_EVENTS is set."""
    os.environ.setdefault(VARIABLE, str(Path(folder, FILE.name).resolve()))


class Stored:
    """The events of the online store, as a source of history. Several threads may use it at once."""

    def __init__(self) -> None:
        self._open = threading.local()

    def events(self, table: str, columns: list[str], entities: pd.Series) -> Events:
        """All events of these entities (n,).

        Raises:
            StoreError: there is no store, it cannot be read, or it does not have the table or a column of it.
        """
        asked = entities.dropna().unique().tolist()
        whole = pd.api.types.is_integer_dtype(entities.dtype)
        there = path()
        if isinstance(there, Path):
            with _told(there), transaction(connection := self._connection(there), "BEGIN"):
                known = _checked(_tables(connection).get(table), there, table, columns, whole=whole)
                places = ["entity", "time", *(f"nullif(value{known.columns.index(name)}, '')" for name in columns)]
                rows = connection.execute(
                    f'SELECT {", ".join(places)} FROM "events_{table}" WHERE entity '  # noqa: S608 – checked names
                    + ("= ?" if len(asked) == 1 else "IN (SELECT value FROM json_each(?))"),
                    [asked[0] if len(asked) == 1 else json.dumps(asked)],
                ).fetchall()
            whose, moments, *values = list(zip(*rows, strict=True)) or [()] * len(places)
            return _arranged(whose, moments, dict(zip(columns, values, strict=True)), whole=whole)
        from mlops.intake import redis_events

        held, owners, times, found = redis_events.read(there, table, asked)
        known = _checked(held, there, table, columns, whole=whole)
        by_name = {name: found[:, known.columns.index(name)] for name in columns}
        return _arranged(owners, times, by_name, whole=whole)

    def _connection(self, there: Path) -> sqlite3.Connection:
        """A connection of this thread to the file that is there now: it may have been deleted and made anew."""
        try:
            found = there.stat()
        except FileNotFoundError:
            raise StoreError(f"{there}, the store of events, is missing: {MAKE}") from None
        file = (found.st_dev, found.st_ino)
        if getattr(self._open, "file", None) != file:
            address = f"file:{quote(str(there))}?mode=ro"
            self._open.connection = sqlite3.connect(address, BUSY_SECONDS, isolation_level=None, uri=True)
            self._open.file = file
        connection: sqlite3.Connection = self._open.connection
        return connection


def _arranged(entities: Sequence[Any], times: Any, values: Mapping[str, Any], *, whole: bool) -> Events:
    return event_features.arrange(
        pd.Series(entities, dtype="int64" if whole else "str"),
        np.array(times, dtype=np.int64).view("datetime64[us]"),
        {name: np.array(column, dtype=np.float64) for name, column in values.items()},
    )


def _checked(known: Table | None, there: Place, table: str, columns: list[str], *, whole: bool) -> Table:
    """The table, if it has what is asked for."""
    if known is None:
        lacks = f"the table {table}"
    elif lacking := [name for name in columns if name not in known.columns]:
        lacks = f"{', '.join(lacking)} of the table {table}"
    elif known.whole != whole:
        lacks = f"the entities of the table {table} in the type that the model takes"
    else:
        return known
    raise StoreError(f"{there}, the store of events, lacks {lacks}: {MAKE}")


def tables(there: Place) -> dict[str, Table]:
    """What a store knows, by table; nothing if there is none.

    Raises:
        StoreError: it cannot be read, or it is a database of something else.
    """
    if not isinstance(there, Path):
        from mlops.intake import redis_events

        return redis_events.tables(there)
    if not there.is_file():
        return {}
    address = f"file:{quote(str(there))}?mode=ro"
    with _told(there), closing(sqlite3.connect(address, BUSY_SECONDS, isolation_level=None, uri=True)) as connection:
        _check_own(connection, there)
        return _tables(connection)


def _check_own(connection: sqlite3.Connection, there: Path) -> None:
    """Refuse a database of something else, such as MLflow's: nothing of it may be dropped."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE substr(name, 1, 7) <> 'sqlite_'")
    held = {name for (name,) in names}
    columns = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('tables')")}
    strange = sorted(name for name in held if name != "tables" and not name.startswith("events_"))
    if held and (strange or not columns >= {"name", "columns", "whole", "digest"}):
        some = ", ".join(strange[:3] or sorted(held)[:3])
        raise StoreError(
            f"{there} is a database of something else (it has {some}), and no store of events: let {VARIABLE} name a "
            "file of its own"
        )


def _tables(connection: sqlite3.Connection) -> dict[str, Table]:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        return {}
    rows = connection.execute("SELECT name, columns, whole, events, last, loaded, digest FROM tables ORDER BY name")
    return {name: Table(tuple(json.loads(columns)), bool(whole), *rest) for name, columns, whole, *rest in rows}


def freshness(there: Place) -> dict[str, dict[str, Any]]:
    """By table, for JSON: the number of events, the time of the newest one, and when events were added last.

    Raises:
        StoreError: the store cannot be read.
    """
    return {
        name: {
            "events": one.events,
            "last": None if one.last is None else f"{np.datetime64(one.last, 'us')}Z",
            "loaded": datetime.fromtimestamp(one.loaded, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        }
        for name, one in tables(there).items()
    }


def add(
    there: Place,
    table: str,
    entities: pd.Series,
    times: NDArray[np.datetime64],
    values: dict[str, NDArray[np.float64]],
    *,
    digest: str = "",
    replace: bool = False,
) -> Added:
    """Add the events that a table lacks, or with `replace` make it have these events and no others.

    `entities` (int64, Int64 or text), `times` and `values` (n,) are typed, and no entity or time is missing. Two equal
    events are two; but if the store has as many already, it has them. All of it happens, or nothing: whoever reads sees
    the events before or after. A table that has other columns, or entities of another type, is made anew; without
    `replace` only if there is an event at the time of each one that it has.

    Raises:
        StoreError: the file is a database of something else, it cannot be written, another process adds events for
            too long, or without `replace` events would be lost.
    """
    whole = pd.api.types.is_integer_dtype(entities.dtype)
    names, name = tuple(values), f'"events_{table}"'
    if not isinstance(there, Path):
        from mlops.intake import redis_events

        different, numbers, _ = _numbers(entities, times, list(values.values()))
        rows = pd.DataFrame(np.column_stack(numbers), columns=["entity", "time", *range(len(names))])
        return redis_events.add(
            there, table, different.tolist(), rows, names=names, whole=whole, digest=digest, replace=replace
        )
    with _told(there), closing(_writable(there)) as connection:
        _check_own(connection, there)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        with transaction(connection):
            _make(connection)
            known = _tables(connection).get(table)
            anew = known is not None and (known.columns != names or known.whole != whole)
            old = f'"former_{table}"'
            if known is not None and (anew or replace):
                connection.execute(f"ALTER TABLE {name} RENAME TO {old}")
            if known is None or anew or replace:
                key = ", ".join(["entity", "time", *(f"value{at}" for at in range(len(names))), "copy"])
                connection.execute(f"CREATE TABLE {name} ({key}, PRIMARY KEY ({key})) WITHOUT ROWID")
            marks = ", ".join("?" * (len(names) + 3))
            for part in _parts(entities, times, list(values.values())):
                connection.executemany(f"INSERT OR IGNORE INTO {name} VALUES ({marks})", part)  # noqa: S608
            events, last = connection.execute(f"SELECT count(*), max(time) FROM {name}").fetchone()  # noqa: S608
            removed = 0
            if known is not None and (anew or replace):
                # Events of other columns are only known by whose they are and when.
                same = ["entity", "time"] if anew else key.split(", ")[:-1]
                both = " AND ".join(f"now.{column} = old.{column}" for column in same)
                there_now = f"SELECT count(*) FROM {name} AS now WHERE {both}"  # noqa: S608 – checked names
                groups = f"SELECT {', '.join(same)}, count(*) AS n FROM {old} GROUP BY {', '.join(same)}"  # noqa: S608
                query = f"SELECT total(max(n - ({there_now}), 0)) FROM ({groups}) AS old"  # noqa: S608
                removed = int(connection.execute(query).fetchone()[0])
                connection.execute(f"DROP TABLE {old}")
            if removed and not replace:
                raise StoreError(loss(there, table, removed))
            new = max(events - (known.events if known else 0) + removed, 0)
            connection.execute(
                "INSERT OR REPLACE INTO tables VALUES (?, ?, ?, ?, ?, ?, ?)",
                (table, json.dumps(names), whole, events, last, time.time(), digest),
            )
        with suppress(sqlite3.OperationalError):  # somebody reads: it is done another time
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Added(new, events, removed, anew)


def loss(there: Place, table: str, removed: int) -> str:
    """Why events that would be lost stay."""
    has = f"{removed:,} events that" if removed > 1 else "1 event that"
    return (
        f"the columns or types of {table} changed, and {there} has {has} this file lacks: `python -m mlops features "
        f"load --table {table} --replace` makes it anew of the file in params.yaml; load other files again after that"
    )


def _writable(there: Path) -> sqlite3.Connection:
    there.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds people's data
    return sqlite3.connect(there, BUSY_SECONDS, isolation_level=None)


def _make(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != VERSION:
        for (old,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            connection.execute(f'DROP TABLE "{old}"')
        connection.execute(
            "CREATE TABLE tables (name TEXT PRIMARY KEY, columns TEXT, whole INTEGER, events INTEGER, last INTEGER, "
            "loaded REAL, digest TEXT)"
        )
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _numbers(
    entities: pd.Series, times: NDArray[np.datetime64], values: list[NDArray[np.float64]]
) -> tuple[pd.Index, list[NDArray[np.int64]], NDArray[np.int64]]:
    """The different entities, and n events in the order of entity, time and values.

    An event has, each of shape (n,), the place of its entity, its time in microseconds, and the bits of each value.
    The last array numbers equal events from 0 on.
    """
    codes, different = pd.factorize(entities, sort=True)
    moments = times.astype("datetime64[us]").view(np.int64)
    plain = [np.where(np.isnan(column), np.nan, column + 0.0) for column in values]  # one NaN, one zero
    order = np.lexsort([*plain[::-1], moments, codes])
    columns = [codes[order], moments[order], *(column[order].view(np.int64) for column in plain)]
    is_new = np.ones(len(order), dtype=bool)
    if len(order):
        is_new[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    places = np.arange(len(order))
    return different, columns, places - np.maximum.accumulate(np.where(is_new, places, 0))


def _parts(
    entities: pd.Series, times: NDArray[np.datetime64], values: list[NDArray[np.float64]]
) -> Iterator[Iterator[tuple[Any, ...]]]:
    """The rows of the table for n events in the order of its key, some at a time.

    A missing value is an empty text, since a key has no NULL.
    """
    different, columns, copies = _numbers(entities, times, values)
    for start in range(0, len(copies), ROWS):
        part = slice(start, start + ROWS)
        numbers = [column[part].view(np.float64) for column in columns[2:]]
        yield zip(
            different.take(columns[0][part]).tolist(),
            columns[1][part].tolist(),
            *([("" if value != value else value) for value in column.tolist()] for column in numbers),
            copies[part].tolist(),
            strict=True,
        )


@contextmanager
def _told(there: Path) -> Iterator[None]:
    """Raise errors of SQLite and of the disk as one sentence."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"{there}, the store of events, could not be used ({error}): see that the disk is not full and the file "
            f"can be read and written; if it is damaged, delete it: {MAKE}"
        ) from None
