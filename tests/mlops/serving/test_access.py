"""What stands before the endpoints never waits for who reads the access log."""

import asyncio
import io
import os
from typing import Any

import pytest
from mlops.base.errors import ParameterError
from mlops.base.params import Serving
from mlops.serving import access, app

from tests.mlops.serving.bodies import ROW


class Counted:
    """Metrics that count what was dropped."""

    def __init__(self) -> None:
        self.dropped = 0
        self.access_drops = self

    def requests(self, *labels: str) -> "Counted":
        return Counted()

    seconds = requests

    def inc(self) -> None:
        self.dropped += 1

    def observe(self, seconds: float) -> None:
        pass


def asked(application: access.Access, path: str = "/predict") -> int:
    """The status of a request."""
    found: list[Any] = []

    async def send(message: Any) -> None:
        found.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [], "client": None}
    asyncio.run(application(scope, None, send))
    return int(found[0]["status"])


def test_a_log_that_nobody_reads_or_that_is_full_costs_lines_and_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def endpoint(request: Any) -> Any:
        return access.answer({"row": ROW})

    reads, writes = os.pipe()
    with open(reads, "rb") as reader, open(writes, "w", buffering=1) as pipe:  # noqa: PTH123
        monkeypatch.setattr(access.sys, "stdout", pipe)
        counted = Counted()
        application = access.Access(None, {("POST", "/predict"): endpoint}, counted, 0)  # type: ignore[arg-type]
        most = 0
        while not counted.dropped:
            assert asked(application) == 200
            most += 1
            assert most < 10_000
        lines = os.read(reader.fileno(), 1 << 20).splitlines()
        assert len(lines) == most - 1  # each of them whole
        assert asked(application) == 200
        assert counted.dropped == 1  # there is room again

    with open("/dev/full", "w", buffering=1) as full:  # noqa: PTH123
        monkeypatch.setattr(access.sys, "stdout", full)
        application = access.Access(None, {("POST", "/predict"): endpoint}, counted, 0)  # type: ignore[arg-type]
        assert asked(application) == 200
        assert counted.dropped == 2
        monkeypatch.setattr(access.sys, "stdout", io.StringIO())
        with pytest.raises(OSError, match="No space"):
            full.close()


@pytest.mark.parametrize("challenger", ["../../etc", "4 ", "-1", "٤", 4, None])
def test_a_challenger_is_a_number(challenger: Any) -> None:
    with pytest.raises(ParameterError, match="challenger has to be the number of a version"):
        app._wanted({"route": "ab", "reason": "to try it", "challenger": challenger}, Serving())

    assert app._wanted({"route": "ab", "reason": "to try it", "challenger": "4"}, Serving())[2] == "4"
