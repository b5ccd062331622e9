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
FIELDS = 1000  # that one command writes
EXPECTED = f"{VARIABLE} is no address of a store: write redis://USER:PASSWORD@HOST:PORT/DATABASE?prefix=NAME"


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
    """Read an address; `ssl_ca_certs`, the file of an authority's certificate, may follow the prefix.

    Raises:
        StoreError: it is none, or has no prefix. The sentence repeats nothing of it, since any part may be a password.
    """
    try:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, strict_parsing=True))
        port = parts.port or 6379
    except ValueError:
        raise StoreError(f"{EXPECTED} (characters of a password such as / # ? @ as %2F %23 %3F %40)") from None
    prefix = query.pop("prefix", "")
    known = parts.hostname and not parts.fragment and re.fullmatch(r"/?|/\d+", parts.path)
    if not known or not query.keys() <= {"ssl_ca_certs"} or not re.fullmatch(r"[\w.-]+", prefix, re.ASCII):
        raise StoreError(f"{EXPECTED}, whose NAME (letters, digits, _ . -) is your project's")
    database = parts.path.strip("/") or "0"
    shown = f"{parts.scheme}://{parts.hostname}:{port}/{database}?prefix={prefix}"
    plain = parts._replace(query=urlencode(query)).geturl()
    return Address(plain, shown, prefix)


def tables(there: Address) -> dict[str, Table]:
    """What the store knows, by table; see `event_store.tables`."""
    with _told(there):
        found = _client(there, READ_SECONDS).hgetall(there.tables)
        return {name.decode(): _table(content)[0] for name, content in sorted(found.items())}


def read(
    there: Address, table: str, entities: list[Any]
) -> tuple[Table | None, list[Any], NDArray[np.int64], NDArray[np.float64]]:
    """The table, and the n events of some entities: whose, the times (n,) in microseconds, the values (n, columns).

    Raises:
        StoreError: the store cannot be read, or has lost events.
    """
    with _told(there), _client(there, READ_SECONDS).pipeline() as asking:  # a transaction: one state, one round trip
        asking.hget(there.tables, table)
        asking.hlen(there.events(table))
        if entities:
            asking.hmget(there.events(table), [str(entity) for entity in entities])
        content, held, *found = asking.execute()
        if content is None:
            return None, [], np.empty(0, dtype=np.int64), np.empty((0, 0))
        known, expected = _table(content)
        _check_whole(there, table, held, expected)
        places, numbers = _unpacked(found[0] if found else [], 1 + len(known.columns))
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
    labels = [str(entity).encode() for entity in different]
    watched, end = (there.tables, there.events(table)), time.monotonic() + BUSY_SECONDS
    with _told(there) as redis, _client(there, WRITE_SECONDS).pipeline() as writing:
        while time.monotonic() < end:
            try:
                writing.watch(*watched)  # if another process writes there meanwhile, `execute` changes nothing
                content, held = writing.hget(there.tables, table), writing.hlen(there.events(table))
                known, expected = _table(content) if content else (None, 0)
                if known is None and held:
                    raise StoreError(
                        f"{there} has events of {table} that no load has brought: take another prefix, or delete the "
                        f"key {there.events(table)}"
                    )
                if not replace:
                    _check_whole(there, table, held, expected)
                anew = known is not None and (known.columns != names or known.whole != whole)
                fresh = known is None or anew or replace
                if fresh:
                    old = writing.hgetall(there.events(table))
                else:
                    found = writing.hmget(there.events(table), labels) if labels else []
                    old = {label: packed for label, packed in zip(labels, found, strict=True) if packed}
                before = _rows(old, labels, known.columns if known else names)
                # Events of other columns are only known by whose they are and when.
                same = ["entity", "time"] if anew else list(rows)
                removed = len(_lacking(before[same], rows[same])) if fresh else 0
                if removed and not replace:
                    raise StoreError(loss(there, table, removed))
                more = rows if fresh else _lacking(rows, before)
                events = len(more) if fresh or known is None else known.events + len(more)
                changed = more if fresh else pd.concat([before[before["entity"].isin(more["entity"])], more])
                packed_by = _packed(changed, labels)
                entities = len(packed_by) if fresh else expected + len(packed_by.keys() - old.keys())
                moments = [int(rows["time"].max())] if len(rows) else []
                moments += [known.last] if known and known.last is not None and not fresh else []
                now = Table(names, whole, events, max(moments, default=None), time.time(), digest)
                writing.multi()
                if fresh:
                    writing.unlink(there.events(table))
                fields = list(packed_by.items())
                for start in range(0, len(fields), FIELDS):
                    writing.hset(there.events(table), mapping=dict(fields[start : start + FIELDS]))
                writing.hset(there.tables, table, json.dumps(asdict(now) | {"entities": entities}))
                writing.execute()
            except redis.WatchError:
                writing.reset()
                continue
            return Added(max(events - (known.events if known else 0) + removed, 0), events, removed, anew)
    raise StoreError(f"another process has added events to {there} for {BUSY_SECONDS:g} seconds: try again later")


def _table(content: bytes) -> tuple[Table, int]:
    """What is known of a table, and how many entities have events in it."""
    known = json.loads(content)
    entities = int(known.pop("entities"))
    return Table(**known | {"columns": tuple(known["columns"])}), entities


def _check_whole(there: Address, table: str, held: int, expected: int) -> None:
    """Refuse a table of which Redis has thrown something away: its answers would be those of people without events."""
    if held != expected:
        raise StoreError(
            f"{there} has events of {held:,} entities of {table}, where {expected:,} were loaded: see that Redis "
            f"evicts nothing (maxmemory-policy noeviction), then load it anew (`python -m mlops features load --table {table} "
            "--replace`)"
        )


def _rows(packed: Mapping[bytes, bytes], labels: list[bytes], columns: tuple[str, ...]) -> pd.DataFrame:
    """The events of some entities as `add` takes them; entities beyond the `labels` are numbered after those."""
    number = {label: place for place, label in enumerate(dict.fromkeys([*labels, *packed]))}
    places, numbers = _unpacked(list(packed.values()), 1 + len(columns))
    table = pd.DataFrame(numbers, columns=["time", *range(len(columns))])
    table.insert(0, "entity", np.array([number[label] for label in packed], dtype=np.int64)[places])
    return table


def _unpacked(packed: list[bytes | None], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The numbers (n, width) of all fields, and the place (n,) of the field of each."""
    parts = [part or b"" for part in packed]
    lengths, rest = np.divmod(np.array([len(part) for part in parts], dtype=np.int64), 8 * width)
    if rest.any():
        raise ValueError("a field is no row of numbers")
    numbers = np.frombuffer(b"".join(parts), dtype="<i8").astype(np.int64).reshape(-1, width)
    return np.repeat(np.arange(len(parts)), lengths), numbers


def _packed(rows: pd.DataFrame, labels: list[bytes]) -> dict[bytes, bytes]:
    """The field of each entity that has any of these events."""
    ordered = rows.sort_values(rows.columns.tolist())
    whose, numbers = ordered["entity"].to_numpy(), np.ascontiguousarray(ordered.iloc[:, 1:], dtype="<i8")
    starts = np.flatnonzero(np.diff(whose, prepend=-1)).tolist()
    ends = [*starts[1:], len(whose)]
    return {labels[whose[start]]: numbers[start:end].tobytes() for start, end in zip(starts, ends, strict=True)}


def _lacking(these: pd.DataFrame, those: pd.DataFrame) -> pd.DataFrame:
    """The rows that `these` have and `those` lack; of equal ones, those that are too many."""
    names = these.columns.tolist()
    counted = [table.assign(copy=table.groupby(names).cumcount()) for table in (these, those)]
    is_new = counted[0].merge(counted[1], how="left", indicator="in")["in"].eq("left_only")
    return these[is_new.to_numpy()]


@lru_cache(8)
def _client(there: Address, seconds: float) -> Any:
    """A client, whose pool of connections threads may share and a child process makes anew."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        there.url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=seconds,
        retry=Retry(NoBackoff(), 1),  # a connection of before the server's restart
    )


@contextmanager
def _told(there: Address) -> Iterator[Any]:
    """The package redis; errors of it and of the network are raised as one sentence without the password."""
    try:
        import redis
    except ModuleNotFoundError:
        raise StoreError(
            f"{there}, the store of events, takes the package redis, which is not installed: lock it by `python -m "
            "mlops lock --extra redis`, and install the lock"
        ) from None
    try:
        yield redis
    except (redis.RedisError, OSError, ValueError, KeyError, TypeError) as error:
        said = str(error)
        for part in filter(None, urlsplit(there.url).netloc.rpartition("@")[0].split(":")):
            said = said.replace(unquote(part), "…")  # some servers repeat what they do not understand
        raise StoreError(
            f"{there}, the store of events, could not be used ({said}): see that the server runs, that {VARIABLE} has "
            f"its address and password, and that no other program writes below mlops:{there.prefix}:; {MAKE}"
        ) from None
