"""What all workers of a server share, in one SQLite file: the route in force, its counts, and open decisions.

A worker collects what it served in a `Batch`, and adds it about twice a second in one transaction. So counts are whole
over several workers and over restarts; what a killed worker had not yet added, at most half a second, is lost to the
counts (not to the log of predictions). Time is counted by the clock that only goes forward, whatever the wall clock
does. The file must lie on a disk of this machine: SQLite's locks do not work on network drives.
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mlops.base import locks
from mlops.base.errors import StoreError
from mlops.base.transactions import transaction
from mlops.serving import routing
from mlops.serving.routing import Decision, Route, Variant

FILE = "state.sqlite"
VERSION = 1  # of the tables; a file of a later one is refused
BUSY_SECONDS = 2.0  # to wait for another process's transaction
OPENING_SECONDS = 30.0
LONGEST_GAP = 5.0  # seconds between two additions; of a longer one, such as a server that stood still, only this counts
MOST_ANSWERED = 2_000_000  # answered ids that are kept for feedback, about 100 bytes each
MOST_WAITING = 200_000  # answers, keys and labels that one worker keeps while the file cannot be written
TIDIED = 5_000  # old rows that one call removes
CLAIM_SECONDS = 120.0  # for which a worker has a decision to itself

TABLES = """
CREATE TABLE routes (number INTEGER PRIMARY KEY, at REAL, who TEXT, reason TEXT, route TEXT, audited INTEGER DEFAULT 0);
CREATE TABLE requests (route TEXT, step INTEGER, variant TEXT, count INTEGER, PRIMARY KEY (route, step, variant))
    WITHOUT ROWID;
CREATE TABLE events (route TEXT, metric TEXT, share REAL, variant TEXT, count INTEGER,
    PRIMARY KEY (route, metric, share, variant)) WITHOUT ROWID;
CREATE TABLE units (number INTEGER PRIMARY KEY, route TEXT, metric TEXT, unit INTEGER, share REAL, variant TEXT,
    UNIQUE (route, metric, unit));
CREATE TABLE answered (number INTEGER PRIMARY KEY, id TEXT UNIQUE, route TEXT, variant TEXT, share REAL, unit INTEGER,
    prediction TEXT, judged INTEGER);
CREATE TABLE steps (route TEXT, step INTEGER, seconds REAL, last REAL, PRIMARY KEY (route, step)) WITHOUT ROWID;
CREATE TABLE predictions (version TEXT PRIMARY KEY, count INTEGER) WITHOUT ROWID;
CREATE TABLE decisions (number INTEGER PRIMARY KEY, at REAL, action TEXT, before TEXT, after TEXT, reason TEXT,
    evidence TEXT, claimed REAL, done INTEGER);
"""

Events = Counter[tuple[str, str, float, str]]  # by route, metric, share, variant
First = dict[tuple[str, str, int], tuple[float, str]]  # the first share and variant by route, metric, unit


@dataclass(frozen=True)
class Answered:
    """An answer that feedback may come for; `prediction` is a label or a number.

    `unit` is the hashed key, or without key the hashed id of a request of several rows; their feedback counts once.
    """

    id: str
    variant: Variant
    prediction: Any
    unit: int | None = None


@dataclass
class Batch:
    """What one worker served since it last added to the state. It is not for several threads at once."""

    versions: Counter[str] = field(default_factory=Counter)
    requests: Counter[tuple[str, int, str]] = field(default_factory=Counter)  # route, step, variant
    events: Events = field(default_factory=Counter)
    first: First = field(default_factory=dict)
    answered: list[tuple[Any, ...]] = field(default_factory=list)
    actuals: dict[str, Any] = field(default_factory=dict)  # by prediction id

    def count(self, route: Route, variant: Variant, metrics: list[str], unit: int | None = None) -> None:
        """One request, and the metrics in which any of its rows was an event.

        `route` is the one by which the variant was chosen: its share at that moment belongs to the event. `unit` is the
        hashed key of a row, which counts once per metric in the whole route, as its events depend on each other. None
        is a request without key, whose rows count once together. In a route without a share for the challenger nothing
        is tested, and no event is kept.
        """
        self.requests[route.id, route.step, variant] += 1
        part = routing.share(route)
        if not part:
            return
        for metric in set(metrics):
            if unit is None:
                self.events[route.id, metric, part, variant] += 1
            else:
                self.first.setdefault((route.id, metric, unit), (part, variant))

    def remember(self, route: Route, answer: Answered) -> None:
        """Keep an answer for its feedback, where two variants answer."""
        if part := routing.share(route):
            prediction = json.dumps(answer.prediction)
            self.answered.append((answer.id, route.id, answer.variant, part, answer.unit, prediction))

    def joined(self, later: "Batch") -> "Batch":
        """This batch and a later one as one; while nothing can be written, it has a bound.

        Of the answers that feedback may come for, the latest are kept; of keys and of feedback the first.
        """
        actuals = self.actuals | later.actuals
        return Batch(
            self.versions + later.versions,
            self.requests + later.requests,
            self.events + later.events,
            dict(islice((self.first | later.first | self.first).items(), MOST_WAITING)),
            [*self.answered, *later.answered][-MOST_WAITING:],
            dict(islice(actuals.items(), MOST_WAITING)),
        )

    def __bool__(self) -> bool:
        return any((self.versions, self.requests, self.events, self.first, self.answered, self.actuals))


@dataclass(frozen=True)
class Change:
    """One entry of the history of routes; `at` are Unix seconds."""

    at: float
    who: str
    reason: str
    route: Route


@dataclass(frozen=True)
class Pending:
    """A promotion or rollback that is decided, and not yet carried out in the registry."""

    number: int
    before: Route
    decision: Decision


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the state in a folder, which is made if it is not there. Several threads may use it in turns.

    Raises:
        StoreError: the file cannot be opened, is damaged, or was written by a later version of the project.
    """
    path = folder / FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds people's data
    except OSError as error:
        raise StoreError(f"{folder} could not be made: {error.strerror or error}") from None
    with _told(path), closing(_connection(path)) as connection:
        # Two processes that open a new file at once must not both make its tables.
        with locks.exclusive(folder / f"{FILE}.lock", f"{path} is being opened by another process", OPENING_SECONDS):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            _make_tables(connection, path)
        yield connection


def _connection(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        raise StoreError(
            f"{path} is of version {found}, which this server does not know (it knows {VERSION}): serve with the newer "
            "project, or move the file away, and counts and routes begin anew"
        )
    if not found:
        connection.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one sentence with the file's name."""
    try:
        yield
    except sqlite3.Error as error:
        hint = "move it away, and counts and routes begin anew"
        if isinstance(error, sqlite3.OperationalError):
            passing = any(word in str(error) for word in ("locked", "busy", "full"))
            hint = "it works again when that has passed" if passing else "see that its folder can be written to"
        raise StoreError(f"{path} could not be used ({error}): {hint}") from None


def _rows(connection: sqlite3.Connection, query: str, *values: Any) -> list[Any]:
    """All rows that a query finds."""
    with _told(_path(connection)):
        return connection.execute(query, values).fetchall()


def _path(connection: sqlite3.Connection) -> Path:
    try:
        return Path(connection.execute("PRAGMA database_list").fetchone()[2])
    except sqlite3.Error:
        return Path(FILE)  # its name at least


@contextmanager
def _changed(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all of it, or nothing.

    Raises:
        StoreError: the disk is full, another process holds the file for too long, and the like.
    """
    with _told(_path(connection)), transaction(connection):
        yield


def add(connection: sqlite3.Connection, batch: Batch, now: float | None = None) -> list[str]:
    """Add what a worker served; returns the ids with feedback that are not known (yet): try them again a few times.

    All of the batch is added, or nothing of it, and then the caller keeps it. `now` is the time of a clock that only
    goes forward, the same for all processes; `time.monotonic()` if it is not given.

    Raises:
        StoreError: the state cannot be written now.
    """
    now = time.monotonic() if now is None else now
    with _changed(connection):
        connection.executemany(
            "INSERT INTO predictions VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            batch.versions.items(),
        )
        connection.executemany(
            "INSERT INTO requests VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [(*key, count) for key, count in batch.requests.items()],
        )
        connection.executemany(
            "INSERT OR IGNORE INTO answered (id, route, variant, share, unit, prediction, judged) "
            "VALUES (?, ?, ?, ?, ?, ?, 0)",
            batch.answered,
        )
        counted, first = Counter(batch.events), dict(batch.first)
        unknown = _judge(connection, batch.actuals, counted, first)
        counted.update(_first_of_units(connection, first))
        connection.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [(*key, count) for key, count in counted.items()],
        )
        _count_time(connection, now)
    return unknown


def _first_of_units(connection: sqlite3.Connection, first: First) -> Events:
    """The events of units that had none of that metric before."""
    (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM units").fetchone()
    connection.executemany(
        "INSERT OR IGNORE INTO units (route, metric, unit, share, variant) VALUES (?, ?, ?, ?, ?)",
        [(*key, *event) for key, event in first.items()],
    )
    new = connection.execute(
        "SELECT route, metric, share, variant, count(*) FROM units WHERE number > ? GROUP BY 1, 2, 3, 4", (last,)
    )
    return Counter({(route, metric, part, variant): count for route, metric, part, variant, count in new})


def _judge(connection: sqlite3.Connection, actuals: Mapping[str, Any], counted: Events, first: First) -> list[str]:
    """Count the answers that got feedback for the first time, and the wrong ones among them."""
    unknown = []
    routes: dict[str, Route] = {}
    for name, actual in actuals.items():
        found = connection.execute(
            "SELECT number, route, variant, share, unit, prediction, judged FROM answered WHERE id = ?", (name,)
        ).fetchone()
        if found is None:
            unknown.append(name)
            continue
        number, of_route, variant, part, unit, prediction, judged = found
        if judged:
            continue
        connection.execute("UPDATE answered SET judged = 1 WHERE number = ?", (number,))
        routes = routes or {change.route.id: change.route for change in history(connection)}
        counted[of_route, routing.LABELLED, part, variant] += 1
        if of_route not in routes or not routing.wrong(routes[of_route], json.loads(prediction), actual):
            continue
        if unit is None:
            counted[of_route, routing.WRONG, part, variant] += 1
        else:
            first.setdefault((of_route, routing.WRONG, unit), (part, variant))
    return unknown


def _count_time(connection: sqlite3.Connection, now: float) -> None:
    """Add the time since any worker last added something, of the step in force.

    After a restart of the machine its clock begins anew: then, as after a gap, little or nothing is added.
    """
    current = route(connection)
    if current is not None:
        connection.execute(
            "INSERT INTO steps VALUES (?, ?, 0, ?) ON CONFLICT DO UPDATE SET "
            "seconds = seconds + max(0, min(?, excluded.last - last)), last = excluded.last",
            (current.id, current.step, now, LONGEST_GAP),
        )


def tidy(connection: sqlite3.Connection) -> int:
    """Remove some rows that are of no use any more: of routes that are over, and beyond what is kept for feedback.

    It returns the number of removed rows. It takes little time, so that no other worker waits; call it now and then.
    """
    removed = 0
    with _changed(connection):
        current = route(connection)
        name = current.id if current else ""
        for table, most in (("units", None), ("answered", MOST_ANSWERED)):
            oldest = f"(SELECT number, route FROM {table} ORDER BY number LIMIT {TIDIED})"  # noqa: S608
            removed += connection.execute(
                f"DELETE FROM {table} WHERE number IN (SELECT number FROM {oldest} WHERE route != ? "  # noqa: S608
                f"OR number <= (SELECT max(number) FROM {table}) - ?)",
                (name, most if most is not None else 2**62),
            ).rowcount
    return removed


def route(connection: sqlite3.Connection) -> Route | None:
    """The route in force; None before the first one."""
    found = _rows(connection, "SELECT route FROM routes ORDER BY number DESC LIMIT 1")
    return routing.from_dict(json.loads(found[0][0])) if found else None


def history(connection: sqlite3.Connection, most: int = 100) -> list[Change]:
    """The latest changes of the route, the newest first."""
    found = _rows(connection, "SELECT at, who, reason, route FROM routes ORDER BY number DESC LIMIT ?", most)
    return [Change(at, who, reason, routing.from_dict(json.loads(text))) for at, who, reason, text in found]


def unaudited(connection: sqlite3.Connection) -> list[tuple[int, Change]]:
    """The changes of the route that the audit log does not have yet, the oldest first, each with its number."""
    with _told(_path(connection)):
        found = connection.execute(
            "SELECT number, at, who, reason, route FROM routes WHERE NOT audited ORDER BY number"
        ).fetchall()
    return [
        (number, Change(at, who, reason, routing.from_dict(json.loads(text))))
        for number, at, who, reason, text in found
    ]


def audited(connection: sqlite3.Connection, number: int) -> None:
    """Note that the audit log has a change of the route.

    Raises:
        StoreError: the state cannot be written now.
    """
    with _changed(connection):
        connection.execute("UPDATE routes SET audited = 1 WHERE number = ?", (number,))


def change(
    connection: sqlite3.Connection,
    to: Route,
    *,
    who: str,
    reason: str,
    expected: Route | None = None,
    at: float | None = None,
) -> bool:
    """Put a route in force; with `expected`, only if that one (by id, mode and step) still is.

    `at` are Unix seconds, now if not given; they become the start of the route's step.
    A change by a person (without `expected`) takes back a decision that waits to be carried out.

    Raises:
        StoreError: the state cannot be written now.
    """
    with _changed(connection):
        if expected is not None and not _in_force(connection, expected):
            return False
        if expected is None:
            connection.execute("UPDATE decisions SET done = 1 WHERE NOT done")
        _put(connection, to, who, reason, at)
    return True


def _in_force(connection: sqlite3.Connection, expected: Route) -> bool:
    current = route(connection)
    return current is not None and _place(current) == _place(expected)


def _place(one: Route) -> tuple[str, str, int]:
    return one.id, one.mode, one.step


def _put(connection: sqlite3.Connection, to: Route, who: str, reason: str, at: float | None) -> None:
    at = time.time() if at is None else at
    text = json.dumps(routing.as_dict(replace(to, started=at)))
    connection.execute("INSERT INTO routes (at, who, reason, route) VALUES (?, ?, ?, ?)", (at, who, reason, text))


def settle(
    connection: sqlite3.Connection, before: Route, decision: Decision, *, who: str, at: float | None = None
) -> bool:
    """Do what was decided about the route `before`; False if another worker did, or the route was changed meanwhile.

    The next step is in force at once, and so is the champion's route after a rollback: no further request goes to the
    challenger. A rollback and a promotion are then pending until `carried_out`, since the registry has to follow; the
    last step goes on until a promotion is carried out.

    Raises:
        StoreError: the state cannot be written now.
    """
    with _changed(connection):
        waits = connection.execute("SELECT 1 FROM decisions WHERE NOT done").fetchone()
        # An alarm during the last step overtakes a promotion that nobody has begun to carry out.
        if not _in_force(connection, before) or (waits and not _overtakes(connection, decision)):
            return False
        if decision.action != "promote":
            _put(connection, decision.route, who, decision.reason, at)
        if decision.action != "next":
            plain = [json.dumps(routing.as_dict(one)) for one in (before, decision.route)]
            connection.execute(
                "INSERT INTO decisions (at, action, before, after, reason, evidence, claimed, done) "
                "VALUES (?, ?, ?, ?, ?, ?, NULL, 0)",
                (
                    time.time() if at is None else at,
                    decision.action,
                    *plain,
                    decision.reason,
                    json.dumps(decision.evidence),
                ),
            )
    return True


def _overtakes(connection: sqlite3.Connection, decision: Decision) -> bool:
    if decision.action != "roll back":
        return False
    return bool(
        connection.execute(
            "UPDATE decisions SET done = 1 WHERE NOT done AND action = 'promote' AND claimed IS NULL"
        ).rowcount
    )


def pending(connection: sqlite3.Connection) -> Pending | None:
    """The decision that is not carried out yet, if there is one."""
    found = _rows(
        connection,
        "SELECT number, action, before, after, reason, evidence FROM decisions WHERE NOT done ORDER BY number LIMIT 1",
    )
    if not found:
        return None
    number, action, before, after, reason, evidence = found[0]
    routes = [routing.from_dict(json.loads(text)) for text in (before, after)]
    return Pending(number, routes[0], Decision(action, routes[1], reason, json.loads(evidence)))


def claim(connection: sqlite3.Connection, now: float | None = None) -> Pending | None:
    """The pending decision, if this worker may carry it out: no other one has had it for the last two minutes.

    `now` is the time of a clock that only goes forward; `time.monotonic()` if it is not given. A worker that died on
    the way loses its claim, so what carries a decision out must do no harm if it is done twice.

    Raises:
        StoreError: the state cannot be written now.
    """
    now = time.monotonic() if now is None else now
    with _changed(connection):
        found = pending(connection)
        if found is None:
            return None
        free = connection.execute(
            # A claim from the future is from before a restart of the machine.
            "UPDATE decisions SET claimed = ? WHERE number = ? AND (claimed IS NULL OR claimed > ? OR claimed < ?)",
            (now, found.number, now, now - CLAIM_SECONDS),
        ).rowcount
    return found if free else None


def release(connection: sqlite3.Connection, done: Pending) -> None:
    """Give a claim back, since the registry cannot be reached: the decision stays pending."""
    with _changed(connection):
        connection.execute("UPDATE decisions SET claimed = NULL WHERE number = ?", (done.number,))


def carried_out(connection: sqlite3.Connection, done: Pending, *, who: str, at: float | None = None) -> None:
    """Close a pending decision, and put the new champion's route in force after a promotion.

    Raises:
        StoreError: the state cannot be written now.
    """
    with _changed(connection):
        closed = connection.execute("UPDATE decisions SET done = 1 WHERE number = ? AND NOT done", (done.number,))
        if closed.rowcount and done.decision.action == "promote" and _in_force(connection, done.before):
            _put(connection, done.decision.route, who, done.decision.reason, at)


def counts(connection: sqlite3.Connection, route_id: str) -> dict[str, dict[float, tuple[int, int]]]:
    """Events of a route by metric and share: of the challenger, of the champion."""
    found: dict[str, dict[float, tuple[int, int]]] = {}
    query = "SELECT metric, share, variant, count FROM events WHERE route = ?"
    for metric, part, variant, count in _rows(connection, query, route_id):
        challenger, champion = found.setdefault(metric, {}).get(part, (0, 0))
        ours = variant == "challenger"
        found[metric][part] = (challenger + count * ours, champion + count * (not ours))
    return found


def totals(connection: sqlite3.Connection, route_id: str) -> dict[int, dict[str, int]]:
    """Requests of a route by step and variant."""
    found: dict[int, dict[str, int]] = {}
    query = "SELECT step, variant, count FROM requests WHERE route = ?"
    for step, variant, count in _rows(connection, query, route_id):
        found.setdefault(step, {})[variant] = count
    return found


def elapsed(connection: sqlite3.Connection, current: Route) -> float:
    """The seconds that the step of a route has been served."""
    query = "SELECT seconds FROM steps WHERE route = ? AND step = ?"
    found = _rows(connection, query, current.id, current.step)
    return float(found[0][0]) if found else 0.0


def predictions(connection: sqlite3.Connection) -> dict[str, int]:
    """The number of predictions of each version, over all workers and restarts."""
    return dict(_rows(connection, "SELECT version, count FROM predictions ORDER BY version"))
