"""A challenger in a process of its own: whatever it does there, the champion's answers stay what they are.

It may fail, hang, crash or eat memory; its process is then ended and started again, and each row that waited for it is
a failure of the challenger's. Rows go in and answers come out as lines of JSON.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlops.serving import versions
from mlops.serving.versions import Copy

MEGABYTES = 512  # by which a challenger may grow after it was loaded
LONGEST_LINE = 64 * 1024 * 1024  # bytes of the answers to one request
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before it is started again
LOADING = 60.0  # seconds


class ChallengerError(Exception):
    """The challenger gave no answer; `counted` is False where that follows from a failure that was counted before."""

    def __init__(self, sentence: str, *, counted: bool = True) -> None:
        super().__init__(sentence)
        self.counted = counted


@dataclass(frozen=True)
class Answers:
    """The answers to n rows: n labels or numbers, and for classes n lists with the probability of each class."""

    predicted: list[Any]
    probabilities: list[list[float]] | None


class Challenger:
    """A version that answers in a child process, which lives until `close`."""

    def __init__(self, copy: Copy) -> None:
        self.copy = copy
        self.classes: list[Any] = []
        self.positive: Any = None
        self.refused = ""  # why it cannot answer, as long as it cannot
        self._waiting: dict[int, asyncio.Future[Answers]] = {}
        self._number = self._loaded = 0
        self._told = False  # whether the end of the last process was counted
        self._process: asyncio.subprocess.Process | None = None
        self._running = asyncio.create_task(self._run())

    @property
    def is_ready(self) -> bool:
        """Whether it is loaded, and can be asked."""
        return self._process is not None and not self.refused

    @property
    def was_ready(self) -> bool:
        """Whether it was loaded once: from then on, that it cannot be asked is a failure of its own."""
        return bool(self._loaded)

    async def answer(self, rows: Sequence[Mapping[str, Any]], timeout: float) -> Answers:
        """The answers to n raw rows; after `timeout` seconds its process is ended.

        Raises:
            ChallengerError: it fails, is too slow, or its process ended.
        """
        process = self._process
        if process is None or process.stdin is None:
            raise self._ended("it is not loaded")
        self._number += 1
        number, answers = self._number, asyncio.get_running_loop().create_future()
        self._waiting[number] = answers
        try:
            process.stdin.write(json.dumps([number, list(rows)]).encode() + b"\n")
            async with asyncio.timeout(timeout):
                return await answers  # type: ignore[no-any-return]
        except TimeoutError:
            self._process = None
            _end(process)
            raise self._ended(f"it gave no answer within {timeout:g} s") from None
        except OSError as error:
            raise self._ended(f"its process ended ({error})") from None
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """End its process; who still waits gets a ChallengerError."""
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    async def _run(self) -> None:
        """Keep a process running."""
        pause = FIRST_PAUSE
        while True:
            answered = await self._once()
            self._process = None
            for answers in self._waiting.values():
                if not answers.done():
                    answers.set_exception(self._ended(self.refused or "its process ended"))
            pause = FIRST_PAUSE if answered else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    def _ended(self, sentence: str) -> ChallengerError:
        """The end of a process is one failure, whoever waited for it or asks before the next one is loaded."""
        counted, self._told = not self._told, True
        return ChallengerError(sentence, counted=counted)

    async def _once(self) -> bool:
        """Start a process, and read its answers until it ends; whether it gave any."""
        arguments = ("-m", __name__, json.dumps(asdict(self.copy)))
        pipe, answered = asyncio.subprocess.PIPE, False
        found = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=pipe,
            stdout=pipe,
            limit=LONGEST_LINE,
            env=os.environ | {"PYTHONPATH": found.rstrip(os.pathsep)},
        )
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        try:
            async with asyncio.timeout(LOADING):
                hello = json.loads(await process.stdout.readline() or "{}")
            self.refused = hello.get("refused", "" if "classes" in hello else "its process ended while it was loaded")
            if not self.refused:
                self.classes, self.positive = hello["classes"], hello["positive"]
                self._process, self._told = process, False
                self._loaded += 1
            while line := await process.stdout.readline():
                answered = self._take(*json.loads(line)) or answered
        except (TimeoutError, ValueError) as error:  # ValueError: a line that is no JSON, or too long
            self.refused = f"its process does not answer as it should ({type(error).__name__})"
        finally:
            _end(process)
            await process.wait()
        return answered

    def _take(self, number: int, found: Any, failure: str) -> bool:
        answers = self._waiting.get(number)
        if answers is not None and not answers.done():
            if failure:
                answers.set_exception(ChallengerError(failure))
            else:
                answers.set_result(Answers(*found))
        return not failure


def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


def main(copy: Copy) -> None:
    """Answer rows until standard input ends, or memory has grown too much."""
    # What the model's own code prints must not come between the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    try:
        from mlops.serving import engine

        model = versions.load(copy)
        chosen = engine.choose(model, versions.check_rows(copy))
    except Exception as error:  # the code of a version can raise anything
        print(json.dumps({"refused": " ".join(str(error).split())[:500]}), file=out)
        return
    print(json.dumps({"classes": list(model.model.classes), "positive": model.model.positive}), file=out)
    loaded = _megabytes()
    for line in sys.stdin.buffer:
        number, rows = json.loads(line)
        try:
            found = chosen.predict(rows)
            given = None if found.probabilities is None else found.probabilities.tolist()
            answer = [number, [found.predicted.tolist(), given], ""]
        except Exception as error:  # so can its estimator
            answer = [number, None, type(error).__name__]
        print(json.dumps(answer), file=out)
        if _megabytes() > loaded + MEGABYTES:
            sys.exit(f"the challenger, version {copy.number}, has grown by more than {MEGABYTES} MB, and is ended")


def _megabytes() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


if __name__ == "__main__":
    main(Copy(**json.loads(sys.argv[1])))
