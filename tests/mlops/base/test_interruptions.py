"""What must not be cut off ends first, and then the signal does what it does."""

import signal
import threading
from collections.abc import Iterator

import pytest
from mlops.base.interruptions import held


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for kind, handler in before.items():
        signal.signal(kind, handler)


def test_an_interruption_waits_for_the_end_of_the_block() -> None:
    done = []

    def work() -> None:
        with held():
            signal.raise_signal(signal.SIGINT)
            done.append(1)
            with held():
                signal.raise_signal(signal.SIGINT)
                done.append(2)
            done.append(3)

    with pytest.raises(KeyboardInterrupt):
        work()

    assert done == [1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_a_reason_to_hold_it_comes_at_once() -> None:
    done = []

    def work() -> None:
        with held(hold=False):
            signal.raise_signal(signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        work()

    assert done == []


def test_a_block_in_another_thread_changes_no_handler() -> None:
    seen = []

    def work() -> None:
        with held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [signal.default_int_handler]


def test_an_error_of_the_block_is_not_lost() -> None:
    with pytest.raises(ValueError, match="mine"), held():
        raise ValueError("mine")
