"""Rows of several requests, predicted together: for a model whose every call takes milliseconds."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from mlops.training.metrics import Predictions

MOST_ROWS = 1000  # of one call
Rows: TypeAlias = Sequence[Mapping[str, Any]]


class Batcher:
    """Requests that come while a call is going on are answered by the next one."""

    def __init__(self, predict: Callable[[Rows], Predictions], thread: ThreadPoolExecutor) -> None:
        self._predict, self._thread = predict, thread
        self._waiting: list[tuple[Rows, asyncio.Future[Predictions]]] = []
        self._running: asyncio.Task[None] | None = None

    @property
    def rows(self) -> int:
        """How many rows wait."""
        return sum(len(rows) for rows, _ in self._waiting)

    async def predict(self, rows: Rows) -> Predictions:
        """The predictions for n rows; what the model raises is raised for the request that caused it."""
        answer: asyncio.Future[Predictions] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, answer))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            taken = [self._waiting.pop(0)]
            while self._waiting and sum(len(rows) for rows, _ in [*taken, self._waiting[0]]) <= MOST_ROWS:
                taken.append(self._waiting.pop(0))
            try:
                found = await self._call([row for rows, _ in taken for row in rows])
            except Exception as error:
                if len(taken) == 1:
                    _answer(taken[0][1], error)
                    continue
                for rows, answer in taken:  # one of them is to blame, and the others get their answers
                    try:
                        _answer(answer, await self._call(rows))
                    except Exception as own:
                        _answer(answer, own)
                continue
            ends = np.cumsum([0, *(len(rows) for rows, _ in taken)])
            for (_, answer), (start, end) in zip(taken, pairwise(ends), strict=True):
                _answer(answer, part(found, start, end))

    async def _call(self, rows: Rows) -> Predictions:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._predict, rows)


def part(found: Predictions, start: int, end: int) -> Predictions:
    """The predictions of the rows from `start` to before `end`."""
    probabilities = None if found.probabilities is None else found.probabilities[start:end]
    return replace(
        found, actual=found.actual[start:end], predicted=found.predicted[start:end], probabilities=probabilities
    )


def _answer(waiting: "asyncio.Future[Predictions]", found: Predictions | Exception) -> None:
    if waiting.done():  # who asked has gone
        return
    if isinstance(found, Exception):
        waiting.set_exception(found)
    else:
        waiting.set_result(found)
