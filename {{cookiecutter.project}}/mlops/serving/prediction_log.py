"""The log of predictions and of feedback: JSON lines that a server appends, and how they are read and joined.

Below the server's folder, `predictions/` and `feedback/` have the files of each process,
`<UTC start>-<process>-<n>.jsonl`; the next one (n) begins at 64 MB. A prediction is `{"id", "time", "version",
"variant", "features": the raw row, "prediction", "probability", "ms", "request"}`, with `"masked"`, the names of
features whose values were left out, and `"shadow": true` if nobody was given the answer. Feedback is `{"id", "time",
"actual", "order"}`; the last one of an id counts. Times are ISO 8601 in UTC. The order is in microseconds since 1970,
too, but it never goes back, whatever happens to the clock, and all processes share it.
"""

import errno
import json
import math
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mlops.base import locks
from mlops.base.errors import StoreError
from mlops.serving.to_json import finite, to_json

Kind = Literal["predictions", "feedback"]
Record = dict[str, Any]
# The share of the room on disk that each kind may fill up to: labels of what was logged still find room in the end.
SHARES: Mapping[Kind, float] = {"predictions": 0.9, "feedback": 1.0}
NEEDS: Mapping[Kind, tuple[str, type]] = {"predictions": ("features", dict), "feedback": ("actual", object)}
ROTATED = 64_000_000  # bytes of a file
ORDER = "feedback.order"  # the file with the order of the last label
ORDER_BYTES, LAST = 19, 2**62  # of its text, and what no place comes near
ORDER_SECONDS = 0.05  # to wait for another process that takes its place in the order
LOOK = 2.0  # seconds between two looks at the folder, which other processes fill and people clear
REPEATED = "line of a prediction that stands there before"
RETRY = 1.0  # seconds without an attempt after one that failed


def timestamp(seconds: float | None = None) -> str:
    """A moment (Unix seconds; now, if None) as the log writes it, such as `2026-11-28T17:37:13.123+00:00`."""
    return datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC).isoformat(timespec="milliseconds")


class PredictionLog:
    """The files to which one process appends records of one kind; its methods may be called from any thread.

    A record that cannot be written is counted in `dropped`, and `problem` says why ("" while all goes well): the folder
    cannot be written, the disk is full, or the log of all processes together has the `megabytes` (10^6 bytes) that it
    may have; what others write shows after some seconds, so that it may be exceeded by so much. Later records are tried
    again. The names in `masked` are features whose values are not written.
    """

    def __init__(
        self,
        folder: Path,
        kind: Kind = "predictions",
        *,
        megabytes: float = 1000,
        masked: Collection[str] = (),
    ) -> None:
        self.dropped = 0
        self.problem = ""
        self._folder, self._kind = folder, kind
        self._masked = frozenset(masked) if kind == "predictions" else frozenset()
        self._most = megabytes * 1e6 * SHARES[kind]
        self._start, self._number = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", 0
        self._lock = threading.Lock()
        self._file: int | None = None  # descriptor
        self._size = self._total = 0  # bytes of that file; of all files of the log
        self._look_at = self._retry_at = -math.inf
        self._unsynced = self._is_new = False
        self._last = 0  # in the order of labels
        self._retired: list[int] = []  # descriptors that are to be synced and closed

    def append(self, records: Sequence[Record]) -> None:
        """Write records, all or none, one line each; never raise.

        The kernel has them on return, so that they outlive this process, also if it is killed. A power cut may take
        what came after the last `sync`.
        """
        try:
            records = self._ordered(records) if self._kind == "feedback" else records
            lines = b"".join([self._line(record) for record in records])
        except Exception as error:  # whatever it is, the answer has to go out
            with self._lock:
                self._drop(len(records), f"a record is no JSON ({error})")
            return
        if lines:
            with self._lock:
                self._write(lines, len(records))

    def sync(self) -> None:
        """Bring what was appended to the disk itself; never raise.

        It may take as long as the disk takes: call it about once a second in a thread, where it holds up no `append`.
        """
        with self._lock:
            files, self._retired = self._retired, []
            try:
                if self._file is not None and self._unsynced:
                    files.append(os.dup(self._file))
                if self._is_new:
                    files.append(os.open(self._place, os.O_RDONLY))  # or a power cut would take the file's name
                self._unsynced = self._is_new = False
            except OSError as error:
                self.problem = f"{self._place} could not be synced: {error.strerror}"
        for file in files:
            try:
                os.fsync(file)
            except OSError as error:
                self.problem = f"{self._place} could not be synced: {error.strerror}"
            finally:
                os.close(file)

    def close(self) -> None:
        """Sync and close the file; a later record would open another one."""
        with self._lock:
            self._retire()
        self.sync()

    @property
    def _place(self) -> Path:
        return self._folder / self._kind

    def _line(self, record: Record) -> bytes:
        if self._masked and (masked := [name for name in record["features"] if name in self._masked]):
            record = {**record, "features": {**record["features"], **dict.fromkeys(masked)}, "masked": masked}
        return to_json(record, _plain) + b"\n"

    def _ordered(self, labels: Sequence[Record]) -> list[Record]:
        """The labels with their places in the order: after all labels of all processes so far."""
        place, file = self._folder / ORDER, None
        with self._lock, ExitStack() as stack:
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                stack.enter_context(locks.exclusive(self._folder / f"{ORDER}.lock", "it is taken", ORDER_SECONDS))
                file = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
                stack.callback(os.close, file)
                self._last = max(self._last, _number(os.read(file, ORDER_BYTES)))
            except (OSError, StoreError):
                pass  # then they are at least after those of this process
            first = max(time.time_ns() // 1000, self._last + 1)
            self._last = first + len(labels) - 1
            if file is not None:
                with suppress(OSError):
                    os.pwrite(file, b"%0*d" % (ORDER_BYTES, self._last), 0)
        return [{**label, "order": first + number} for number, label in enumerate(labels)]

    def _write(self, lines: bytes, count: int) -> None:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK
            self._look()
        if now < self._retry_at:
            self._drop(count, self.problem)
            return
        if self._total + len(lines) > self._most:
            self._drop(count, f"the log in {self._folder} has all the room that serving.log_megabytes gives it")
            return
        try:
            file = self._open() if self._file is None or self._size + len(lines) > ROTATED else self._file
            written = os.write(file, lines)
            if written < len(lines):
                self._take_back(file)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._retry_at = now + RETRY
            self._drop(count, f"{self._place} could not be written: {error.strerror}")
            return
        self._size += written
        self._total += written
        self._unsynced, self.problem = True, ""

    def _drop(self, count: int, problem: str) -> None:
        self.dropped += count
        self.problem = problem

    def _take_back(self, file: int) -> None:
        """Remove the start of lines that did not fit; where that fails, go on in another file."""
        try:
            os.ftruncate(file, self._size)
        except OSError:
            self._retire()

    def _look(self) -> None:
        """See how much the log has on disk, and whether somebody has deleted the file that is written to."""
        with suppress(OSError):
            if self._file is not None and not os.fstat(self._file).st_nlink:
                self._retire()
            self._total = sum(
                entry.stat().st_size
                for kind in SHARES
                if (self._folder / kind).is_dir()
                for entry in os.scandir(self._folder / kind)
            )

    def _open(self) -> int:
        """Begin a file that no other process has, not even one of that number on another machine; its descriptor."""
        self._retire()
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        for folder in (self._folder, self._place):  # people's data
            folder.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        while self._file is None:
            self._number += 1
            name = f"{self._start}-{os.getpid()}-{self._number:04}.jsonl"
            with suppress(FileExistsError):
                self._file = os.open(self._place / name, flags, 0o600)
        self._size, self._is_new = 0, True
        return self._file

    def _retire(self) -> None:
        if self._file is not None:
            self._retired.append(self._file)
        self._file = None


def predictions(
    folder: Path,
    skipped: Counter[str],
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[Record]:
    """The predictions of a period, file by file, with one line in memory; `since` is in it, `until` is not.

    Lines that are cut off or damaged are left out, and counted in `skipped` by file.

    Raises:
        StoreError: a file of the log cannot be read.
    """
    for moment, record in _records(folder, "predictions", skipped):
        if (since is None or since <= moment) and (until is None or moment < until):
            yield record


def once(records: Iterator[Record], repeated: Counter[str]) -> Iterator[Record]:
    """The records, each prediction id once: a file of the log may have been copied. The others are counted.

    The ids lie in a temporary file as soon as they are many, so that memory does not grow with them.

    Raises:
        StoreError: there is no room for the temporary file.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as store:  # "": a temporary file of SQLite's own
            store.execute("CREATE TABLE seen (id INTEGER PRIMARY KEY)")
            store.execute("BEGIN")
            for record in records:
                model, _, number = record["id"].partition("-")
                key = (int(model, 16) ^ int(number, 16)) - 2**63  # a random number, as SQLite has it: signed
                if store.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount:
                    yield record
                else:
                    repeated[REPEATED] += 1
    except sqlite3.OperationalError as error:
        raise StoreError(f"the predictions could not be sorted by id: {error}") from None


@contextmanager
def labels(folder: Path, skipped: Counter[str]) -> Iterator[Callable[[str], Any]]:
    """A function that gives the actual value of a prediction by its id, None where none has come.

    It reads as `timed_labels`, and raises the same.
    """
    with timed_labels(folder, skipped) as timed:
        yield lambda prediction: (timed(prediction) or (None,))[0]


@contextmanager
def timed_labels(folder: Path, skipped: Counter[str]) -> Iterator[Callable[[str], tuple[Any, float] | None]]:
    """A function that gives the actual value of a prediction by its id with its time (Unix seconds); None without one.

    Of several values for an id, the last one in their order counts; of equal values in a row the time is that of the
    first one, so that a label may be sent again. The labels lie in a temporary file as soon as they are many, so that
    memory does not grow with them. What is damaged is counted in `skipped` by file.

    Raises:
        StoreError: a file of the log cannot be read, or there is no room for the temporary file.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as store:  # "": a temporary file of SQLite's own
            store.execute("CREATE TABLE labels (id TEXT PRIMARY KEY, first REAL, actual TEXT, place INT) WITHOUT ROWID")
            store.execute("BEGIN")
            store.executemany(
                "INSERT INTO labels VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
                "SET first = iif(actual = excluded.actual, first, excluded.first), "
                "actual = excluded.actual, place = excluded.place WHERE excluded.place >= place",
                (
                    (record["id"], moment.timestamp(), json.dumps(record["actual"]), _order(moment, record))
                    for moment, record in _records(folder, "feedback", skipped)
                ),
            )

            def label(prediction: str) -> tuple[Any, float] | None:
                found = store.execute("SELECT actual, first FROM labels WHERE id = ?", (prediction,)).fetchone()
                return (json.loads(found[0]), found[1]) if found else None

            yield label
    except sqlite3.OperationalError as error:
        raise StoreError(f"the labels of {folder / 'feedback'} could not be sorted by id: {error}") from None


def find(folder: Path, prediction: str) -> tuple[Record, Record | None] | None:
    """The record of a prediction id and its newest feedback, None for what is not there.

    Raises:
        StoreError: a file of the log cannot be read.
    """
    found = next((record for _, record in _records(folder, "predictions", Counter(), prediction)), None)
    if found is None:
        return None
    labels = [(_order(*label), label[1]) for label in _records(folder, "feedback", Counter(), prediction)]
    newest = max(labels[::-1], key=lambda label: label[0], default=(0, None))  # of equal ones that in the last place
    return found, newest[1]


def _records(
    folder: Path, kind: Kind, skipped: Counter[str], prediction: str = ""
) -> Iterator[tuple[datetime, Record]]:
    """Every record of a kind with its time, or those of one `prediction` id, in the order of files and lines."""
    from mlops.data.digest import PREDICTION  # imports pandas, which a writer does without

    for path in sorted((folder / kind).glob("*.jsonl")):
        try:
            with path.open("rb") as lines:
                for line in lines:
                    if prediction and prediction.encode() not in line:  # a hundred times as fast as parsing
                        continue
                    record = _record(line, kind)
                    if record is None or not PREDICTION.fullmatch(record[1]["id"]):
                        skipped[path.name] += 1
                    elif not prediction or record[1]["id"] == prediction:
                        yield record
        except OSError as error:
            raise StoreError(f"{path} could not be read: {error.strerror or error}") from None


def _record(line: bytes, kind: Kind) -> tuple[datetime, Record] | None:
    """The record of a line with its time; None for a line that is cut off or damaged."""
    name, kind_of_value = NEEDS[kind]
    try:
        record = _DECODE(line.decode())
        moment = datetime.fromisoformat(record["time"])
        whole = line.endswith(b"\n") and isinstance(record["id"], str) and isinstance(record[name], kind_of_value)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment, record) if whole else None


def _order(moment: datetime, record: Record) -> int:
    """The place of a label in the order of all; its time, where the server that wrote it knew no order."""
    order = record.get("order")
    return order if type(order) is int and 0 < order < LAST else int(moment.timestamp() * 1_000_000)


def _number(text: bytes) -> int:
    """The place that a file has, 0 if it has none."""
    return found if text.isdigit() and (found := int(text)) < LAST else 0


def _plain(value: Any) -> Any:
    """What JSON has no form for, as from Arrow: a scalar of numpy as its value, all else (a date, say) as text."""
    if hasattr(value, "item"):
        return finite(value.item())
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return None if text in ("NaT", "<NA>", "NaN") else text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_DECODE = json.JSONDecoder(parse_constant=_refuse).decode
