"""The online store of events in Redis, for servers on several machines; `event_store` says what its functions mean.

A table is one hash: an entity's field packs all of its events, each a row of 64-bit numbers: the time in microseconds
since 1970, then the bits of each value. So many entities are read by one command, and a number keeps its bits. What
is known of the tables is another hash. A load is one transaction: whoever reads sees all of it or nothing.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import StoreError
from mlops.intake.event_store import BUSY_SECONDS, MAKE, VARIABLE, Added, Table, loss

VERSION = 1  # of the layout; another one has keys of its own
CONNECT_SECONDS, READ_SECONDS, WRITE_SECONDS = 2.0, 5.0, 60.0  # to wait for the server
FIELDS = 1000  # that one command reads or writes: others of the server wait so long
EXPECTED = f"{VARIABLE} is no address of a store: write redis://USER:PASSWORD@HOST:PORT/DATABASE?prefix=NAME"


class DamagedError(Exception):
    """What stands in Redis was not written by this module."""


@dataclass(frozen=True)
class Address:
    """A database of Redis, and the prefix that keeps the keys of one project apart from all others there."""

    url: str = field(repr=False)  # with the password
    shown: str
    prefix: str

    def __str__(self) -> str:
        return self.shown

    @property
    def tables(self) -> str:
        """The key of what is known of all tables."""
        return f"mlops:{self.prefix}:v{VERSION}:tables"

    def events(self, table: str) -> str:
        """The key of a table's events."""
        return f"mlops:{self.prefix}:v{VERSION}:events:{table}"


def address(url: str) -> Address:
    """Read an address; of rediss://, the file of an authority's certificate may follow the prefix as `ssl_ca_certs`.

    Raises:
        StoreError: it is none, or has no prefix. The sentence repeats nothing of it, since any part may be a password.
    """
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, strict_parsing=True))
        is_place = parts.port != 0 and bool(parts.hostname)
    except ValueError:
        raise StoreError(f"{EXPECTED} (characters of a password such as / # ? @ as %2F %23 %3F %40)") from None
    prefix = query.pop("prefix", "")
    is_place = is_place and not parts.fragment and bool(re.fullmatch(r"/?|/\d+", parts.path))
    options = {"ssl_ca_certs"} if parts.scheme == "rediss" else set()
    if not is_place or not query.keys() <= options or not re.fullmatch(r"[\w.-]+", prefix, re.ASCII):
        raise StoreError(f"{EXPECTED}, whose NAME (letters, digits, _ . -) is your project's")
    shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query=f"prefix={prefix}").geturl()
    return Address(parts._replace(query=urlencode(query)).geturl(), shown, prefix)


def tables(there: Address) -> dict[str, Table]:
    """What the store knows, by table; see `event_store.tables`. A table of which Redis has lost events is not there."""
    with _connected(there, READ_SECONDS) as client, client.pipeline() as asking:  # a transaction: one state
        names = sorted(name.decode(errors="replace") for name in client.hkeys(there.tables))
        asking.hgetall(there.tables)
        for name in names:
            asking.hlen(there.events(name))
        contents, *held = asking.execute()
        found = {name: (*_table(contents.get(name.encode())), count) for name, count in zip(names, held, strict=True)}
    return {name: known for name, (known, entities, count) in found.items() if known and entities == count}


def read(
    there: Address, table: str, entities: list[Any]
) -> tuple[Table | None, list[Any], NDArray[np.int64], NDArray[np.float64]]:
    """The table, and the n events of some entities: whose, the times (n,) in microseconds, the values (n, columns).

    Raises:
        StoreError: the store cannot be read, or has lost events.
    """
    key = there.events(table)
    with _connected(there, READ_SECONDS) as client, client.pipeline() as asking:  # one state, one round trip
        asking.hget(there.tables, table)
        asking.hlen(key)
        for labels in _parts([str(entity) for entity in entities]):
            asking.hmget(key, labels)
        content, held, *parts = asking.execute()
        known, expected = _table(content)
        if known is None:
            return None, [], np.empty(0, dtype=np.int64), np.empty((0, 0))
        if held != expected:  # else they would be people without events
            raise StoreError(_lost(there, table, held, expected))
        places, numbers = _unpacked([packed for part in parts for packed in part], 1 + len(known.columns))
    values = np.ascontiguousarray(numbers[:, 1:]).view(np.float64)
    return known, [entities[place] for place in places.tolist()], numbers[:, 0], values


def add(
    there: Address,
    table: str,
    different: list[Any],
    rows: pd.DataFrame,
    *,
    names: tuple[str, ...],
    whole: bool,
    digest: str,
    replace: bool,
) -> Added:
    """Add n events, as `event_store.add` says.

    `rows` (n, 2 + columns) of int64 are the place of each event's `entity` in `different`, its `time` in microseconds,
    and the bits of each value.
    """
    key, labels = there.events(table), [str(entity).encode() for entity in different]
    end = time.monotonic() + BUSY_SECONDS

    def change(writing: Any) -> Added:
        """Compare with what is there, and queue what makes it so."""
        if time.monotonic() > end:
            raise StoreError(
                f"{there} took no events for {BUSY_SECONDS:g} seconds, since another process adds some or the "
                "connection breaks: try again later"
            )
        held, (known, expected) = writing.hlen(key), _table(writing.hget(there.tables, table))
        if held != expected:
            if not replace:
                raise StoreError(_lost(there, table, held, expected))
            known = None
        anew = known is not None and (known.columns, known.whole) != (names, whole)
        fresh = known is None or anew or replace
        old: dict[bytes, bytes] = {}
        if known and fresh:
            old = writing.hgetall(key)
        elif known:
            found = [packed for part in _parts(labels) for packed in writing.hmget(key, part)]
            old = {label: packed for label, packed in zip(labels, found, strict=True) if packed}
        before = _rows(old, labels, known.columns if known else names)
        removed = 0
        if known and fresh:
            # Events of other columns are only known by whose they are and when; the text 7 is not the number.
            same = ["entity", "time"] if anew else list(rows)
            removed = len(before) if known.whole != whole else len(_lacking(before[same], rows[same]))
        if removed and not replace:
            raise StoreError(loss(there, table, removed))
        newest = [int(rows["time"].max())] if len(rows) else []
        if known is None or fresh:
            packed_by = _packed(rows, labels)
            events, entities = len(rows), len(packed_by)
        else:
            more = _lacking(rows, before)
            packed_by = _packed(pd.concat([before[before["entity"].isin(more["entity"])], more]), labels)
            events, entities = known.events + len(more), expected + len(packed_by.keys() - old.keys())
            newest += [] if known.last is None else [known.last]
        now = Table(names, whole, events, max(newest, default=None), time.time(), digest)
        writing.multi()
        if fresh:
            writing.unlink(key)
        for part in _parts(list(packed_by)):
            writing.hset(key, mapping={label: packed_by[label] for label in part})
        writing.hset(there.tables, table, json.dumps(asdict(now) | {"entities": entities}))
        return Added(max(events - (known.events if known else 0) + removed, 0), events, removed, anew)

    with _connected(there, WRITE_SECONDS) as client:
        # If another process writes there meanwhile, nothing is changed, and `change` is called again.
        added: Added = client.transaction(change, there.tables, key, value_from_callable=True)
    return added


def _table(content: bytes | None) -> tuple[Table | None, int]:
    """What is known of a table, and how many entities have events in it."""
    if content is None:
        return None, 0
    try:
        known = json.loads(content)
        entities = int(known.pop("entities"))
        return Table(**known | {"columns": tuple(known["columns"])}), entities
    except (AttributeError, KeyError, TypeError, ValueError):
        raise DamagedError("what it knows of a table is damaged") from None


def _lost(there: Address, table: str, held: int, expected: int) -> str:
    """Why a table of which Redis has lost something answers nothing."""
    return (
        f"{there} has events of {held:,} entities of {table}, where {expected:,} were loaded: see that Redis evicts "
        "nothing (maxmemory-policy noeviction) and that no other program writes there, then make the table anew by "
        f"`python -m mlops features load --table {table} --replace`; load other files again after that"
    )


def _parts(labels: list[Any]) -> list[list[Any]]:
    return [labels[start : start + FIELDS] for start in range(0, len(labels), FIELDS)]


def _rows(packed: Mapping[bytes, bytes], labels: list[bytes], columns: tuple[str, ...]) -> pd.DataFrame:
    """The events of some entities as `add` takes them; entities beyond the `labels` are numbered after those."""
    number = {label: place for place, label in enumerate(dict.fromkeys([*labels, *packed]))}
    places, numbers = _unpacked(list(packed.values()), 1 + len(columns))
    table = pd.DataFrame(numbers, columns=["time", *range(len(columns))])
    table.insert(0, "entity", np.array([number[label] for label in packed], dtype=np.int64)[places])
    return table


def _unpacked(packed: list[bytes | None], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers (n, width) of all fields, and the place (n,) of the field of each."""
    fields = [content or b"" for content in packed]
    lengths, rest = np.divmod(np.array([len(content) for content in fields], dtype=np.int64), 8 * width)
    if rest.any():
        raise DamagedError("what it has of an entity is damaged")
    numbers = np.frombuffer(b"".join(fields), dtype="<i8").astype(np.int64).reshape(-1, width)
    return np.repeat(np.arange(len(fields)), lengths), numbers


def _packed(rows: pd.DataFrame, labels: list[bytes]) -> dict[bytes, bytes]:
    """The field of each entity that has any of these events."""
    ordered = rows.sort_values(rows.columns.tolist())
    whose, numbers = ordered["entity"].to_numpy(), np.ascontiguousarray(ordered.iloc[:, 1:], dtype="<i8")
    starts = np.flatnonzero(np.diff(whose, prepend=-1)).tolist()
    ends = [*starts, len(whose)][1:]
    return {labels[whose[start]]: numbers[start:end].tobytes() for start, end in zip(starts, ends, strict=True)}


def _lacking(these: pd.DataFrame, those: pd.DataFrame) -> pd.DataFrame:
    """The rows that `these` have and `those` lack; of equal ones, those that are too many."""
    names = these.columns.tolist()
    counted = [table.assign(copy=table.groupby(names).cumcount()) for table in (these, those)]
    is_new = counted[0].merge(counted[1], how="left", indicator="in")["in"].eq("left_only")
    return these[is_new.to_numpy()]


@lru_cache(8)
def _client(there: Address, seconds: float) -> Any:
    """A client, whose pool of connections threads may share, and a child process or a restart of Redis makes anew."""
    import redis

    return redis.Redis.from_url(there.url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=seconds)


@contextmanager
def _connected(there: Address, seconds: float) -> Iterator[Any]:
    """A client; errors of it and of the network are raised as one sentence without the password."""
    try:
        import redis
    except ModuleNotFoundError:
        raise StoreError(
            f"{there}, the store of events, takes the package redis, which is not installed: lock it by `python -m "
            "mlops lock --extra redis`, and install the lock"
        ) from None
    try:
        yield _client(there, seconds)
    except (redis.RedisError, OSError, DamagedError) as error:
        said, parts = str(error), urlsplit(there.url)
        for secret in filter(None, (parts.password, parts.username)):
            said = said.replace(unquote(secret), "…")  # some servers repeat what they do not understand
        raise StoreError(
            f"{there}, the store of events, could not be used ({said}): see that the server runs, that {VARIABLE} has "
            f"its address and password, and that no other program writes below mlops:{there.prefix}:; {MAKE}"
        ) from None
