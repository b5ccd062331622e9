"""One process at a time."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mlops.base.errors import StoreError


@contextmanager
def alone(path: Path, otherwise: str, patience: float = 0) -> Iterator[None]:
    """Keep other processes from the same `path` meanwhile, after waiting for them for up to `patience` seconds.

    The lock is SQLite's own, on an empty file: it works on every system, and goes with its process.

    Raises:
        StoreError: another process has it; the sentence is `otherwise`.
    """
    with closing(sqlite3.connect(path, timeout=patience, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise StoreError(otherwise if "locked" in str(error) else f"{path} could not be locked: {error}") from None
        yield
