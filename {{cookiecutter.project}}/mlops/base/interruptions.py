"""Interruptions that wait for a moment where they do no harm."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

KINDS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held(hold: bool = True) -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the block ends, and then do what they do; with `hold` false they do not wait.

    Python runs the handlers of signals in the main thread, so that there is nothing to hold in another one.
    """
    if not hold or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    handlers: dict[int, Any] = {kind: signal.signal(kind, lambda *signalled: came.append(signalled)) for kind in KINDS}
    try:
        yield
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
        for kind, frame in came[:1]:
            if callable(handlers[kind]):
                handlers[kind](kind, frame)
