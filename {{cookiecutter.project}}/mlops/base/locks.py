"""One process at a time."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from mlops.base.errors import StoreError


@contextmanager
def exclusive(path: Path, message: str, timeout: float = 0) -> Iterator[None]:
    """Hold the lock `path`, which one process at a time can have; wait up to `timeout` seconds for another one.

    The lock is SQLite's own, on an empty file: it works on every system, and goes with its process.

    Raises:
        StoreError: another process still holds it; the sentence is `message`.
    """
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(closing(sqlite3.connect(path, timeout=timeout, isolation_level=None)))
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise StoreError(message if "locked" in str(error) else f"{path} could not be locked: {error}") from None
        yield
