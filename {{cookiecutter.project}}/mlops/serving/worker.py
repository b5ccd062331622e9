"""What one worker answers with, and what it writes down: versions, routing, counts and the log."""

import asyncio
import importlib
import logging
import math
import random
import secrets
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from mlops.base.errors import ParameterError, ProjectError, StoreError
from mlops.base.params import Serving
from mlops.intake import event_store
from mlops.serving import routing, state, versions
from mlops.serving.batching import Batcher, Rows
from mlops.serving.challenging import Challenger, ChallengerError
from mlops.serving.following import begun
from mlops.serving.metrics import MOST_CLASSES, Metrics
from mlops.serving.prediction_log import PredictionLog, timestamp
from mlops.serving.request import Feedback, Reader, RequestError, Row
from mlops.serving.state import Answered
from mlops.serving.versions import Copy, Served

if TYPE_CHECKING:
    from mlops.data.schema import Schema
    from mlops.serving.engine import Engine
    from mlops.training.metrics import Predictions

SAYS = logging.getLogger("mlops.serving")
STARTING = 60.0  # seconds to wait for the first look at the registry
HEALTH = 1.0  # seconds to wait for the state when the health is asked for
FRESH = 60.0  # seconds from one reading of the newest events to the next
EVERY = 0.5  # seconds between looks at what to serve, and between writes of the counts
AT_ONCE = 64  # rows that a fast engine answers on the spot; more of them go to the thread
WARM_ROWS = 20  # predicted before a version answers anybody
LATENCIES, ENOUGH_LATENCIES = 1000, 200  # of the champion: kept, and needed to say what is slow
LARGEST = 3.4e38  # of 32 bits
WAITING_ROWS = 20_000  # that may wait for a slow model; a request that would wait longer is refused
COLD_SLOW = 250.0  # milliseconds: the limit of slow answers where the champion has given too few to tell
SHADOW_ROWS = 1000  # that may wait for the challenger
EARLY = (
    "pyarrow.parquet", "sklearn.calibration", "sklearn.compose", "sklearn.ensemble", "sklearn.impute",
    "sklearn.linear_model", "sklearn.pipeline", "treelite.sklearn",
)  # fmt: skip
TRIES = 5  # to find the prediction of feedback


class UnavailableError(ProjectError):
    """There is nothing to answer with."""


@dataclass(frozen=True)
class Loaded:
    """A version that this worker answers with."""

    copy: Copy
    schema: "Schema"
    reader: Reader
    engine: "Engine"
    batcher: Batcher | None  # of an engine that is not fast
    classes: tuple[Any, ...]
    positive: Any


@dataclass
class Unit:
    """Rows of one request that got the same variant, and are one to the test: by a key's value, or all of them."""

    variant: routing.Variant
    key: int | None
    rows: list[int]


class Worker:
    """The state of a worker process, from `start` to `close`."""

    def __init__(self, folder: Path, settings: Serving, metrics: Metrics) -> None:
        self.folder, self.settings, self.metrics = folder, settings, metrics
        self.log = PredictionLog(folder, megabytes=settings.log_megabytes)
        self._masked: set[str] = set()
        self.labels = PredictionLog(folder, "feedback", megabytes=settings.log_megabytes)
        self.served: Served | None = None
        self.champion: Loaded | None = None
        self.challenger: Challenger | None = None
        self.refused: dict[str, str] = {}  # why a version is not loaded, by variant
        self.route = routing.Route(id="")
        self.latencies: deque[float] = deque(maxlen=LATENCIES)  # milliseconds
        self._thread = ThreadPoolExecutor(1, "model")  # one, so that results do not depend on what else runs
        self._other = ThreadPoolExecutor(1, "loading")
        self._files = ThreadPoolExecutor(1, "files")  # which may wait for the disk or for a lock
        self._batch = state.Batch()
        self._shadow: deque[tuple[list[dict[str, Any]], str]] = deque()
        self._shadow_rows = 0
        self._shadowed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._known = 0  # predictions in the state
        self._tries: dict[str, int] = {}  # of feedback whose prediction is not known yet
        self._asked_for_route = False
        self._read = 0.0  # when the newest events were asked for last
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load what is in production, and follow it.

        It waits for the first look at the registry: a worker that accepts requests has something to answer with, if
        there is anything.
        """
        end = time.monotonic() + STARTING
        await self.in_other(_import_early)
        while not self._has_looked() and time.monotonic() < end:
            await self._look()
            await asyncio.sleep(0.02)
        self._tasks = [asyncio.create_task(each) for each in (self._keep_looking(), self._keep_shadowing())]

    def _has_looked(self) -> bool:
        served = self.served
        if served is None or not served.checked:
            return False
        return served.champion is None or "champion" in self.refused or bool(self.champion)

    async def close(self) -> None:
        """Write what is left, and end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.challenger:
            await self.challenger.close()
        with suppress(StoreError):
            await self._flush()
        self.log.close()
        self.labels.close()
        self._thread.shutdown(cancel_futures=True)
        self._other.shutdown()
        self._files.shutdown(wait=False)

    # ---- Answers

    async def answers(self, rows: list[dict[str, Any]], request: str) -> list[dict[str, Any]]:
        """The answers to n raw rows that the champion's reader has read: one object each, logged and counted.

        Raises:
            UnavailableError: no version is loaded.
        """
        champion = self.champion
        if champion is None:
            raise UnavailableError(self.why_not())
        route, challenger = self.route, self.challenger
        # Captured once: a change of the route while this request waits must not mix two of them.
        if challenger is None or not challenger.was_ready or challenger.copy.number != route.challenger:
            challenger = None
        units = self._units(route, rows, challenger)
        found: list[dict[str, Any] | None] = [None] * len(rows)
        for unit in units:
            await self._answer(unit, rows, found, champion, challenger, route, request)
        answers = [answer for answer in found if answer is not None]
        if route.mode == "shadow" and challenger:
            self._cast_shadow(rows, request)
        return answers

    def why_not(self) -> str:
        """Why there is no champion to answer with, in a sentence."""
        if reason := self.refused.get("champion") or (self.served and self.served.refused.get("champion")):
            return str(reason)
        if self.served and self.served.store:
            return f"no model has been loaded, and {self.served.store}"
        if self.served and self.served.checked and not self.served.champion:
            return f"no version of {self.served.name} is in production: `python -m mlops promote NUMBER` puts one there"
        return "the model is being loaded: try again in some seconds"

    async def bulk(self, table: "pd.DataFrame", request: str) -> "pd.DataFrame":
        """The champion's answers to a table of n rows, as a table; logged, but no part of an experiment.

        Raises:
            UnavailableError: no version is loaded.
        """
        champion = self.champion
        if champion is None:
            raise UnavailableError(self.why_not())
        start, rows = time.perf_counter(), cast(list[Row], table.to_dict(orient="records"))
        try:
            predictions = await self.in_thread(champion.engine.model._predictions, table)
        except Exception as error:
            self.metrics.errors("champion").inc()
            raise _blamed(error, rows) from None
        given = None if predictions.probabilities is None else predictions.probabilities.tolist()
        answers = _parts(predictions.predicted.tolist(), given, champion.classes, champion.positive)
        for answer in answers:
            answer |= _identity("champion", champion.copy)
        records = [_record(answer, row, _ms(start), request) for answer, row in zip(answers, rows, strict=True)]
        await self.in_other(self._log, records)
        self._count(answers, champion)
        return pd.DataFrame(answers)

    # ---- What people ask about the server

    def feedback(self, given: Sequence[Feedback]) -> bool:
        """Write down what became of predictions; False if it could not be written."""
        before = self.labels.dropped
        now = timestamp()
        self.labels.append([{"id": one.prediction_id, "time": now, "actual": one.actual} for one in given])
        if self.labels.dropped > before:
            return False
        self._batch.actuals |= {one.prediction_id: one.actual for one in given}
        return True

    async def predictions(self) -> int:
        """How many predictions all workers have given, over restarts."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(HEALTH):  # whoever asks for the health must not wait for the disk
                self._known = sum((await self._in_state(state.predictions)).values())
        return self._batch.versions.total() + self._known

    def described(self) -> dict[str, Any]:
        """What is served, for people."""
        served = self.served
        found: dict[str, Any] = {"name": served and served.name, "route": routing.described(self.route, self._number)}
        if self.champion:
            engine = self.champion.engine
            found["champion"] = {
                "version": self.champion.copy.number,
                "model": self.champion.copy.digest,
                "engine": engine.name,
                "why": engine.reason,
            }
        if self.challenger:
            copy = self.challenger.copy
            found["challenger"] = {"version": copy.number, "model": copy.digest, "ready": self.challenger.is_ready}
        return found | {"refused": {**(served.refused if served else {}), **self.refused}}

    @property
    def _number(self) -> str:
        """The number of the champion; empty if none is loaded."""
        return self.champion.copy.number if self.champion else ""

    async def events(self) -> dict[str, Any]:
        """By table, how fresh the events are of which the champion makes columns; nothing if it makes none.

        Raises:
            UnavailableError: the store of events is missing, or lacks a table.
            StoreError: it cannot be read.
        """
        if not (wanted := _tables(self.champion)):
            return {}
        fresh = await self.in_other(event_store.freshness, event_store.path())
        if lacking := [name for name in wanted if name not in fresh]:
            raise UnavailableError(f"{event_store.path()} has no events of {', '.join(lacking)}: {event_store.MAKE}")
        return {name: fresh[name] for name in wanted}

    async def metrics_page(self) -> bytes:
        """What Prometheus asks for; the time of the newest events is read at most once a minute."""
        if self._reading is None or (self._reading.done() and time.monotonic() > self._read + FRESH):
            self._read, self._reading = time.monotonic(), asyncio.create_task(self._read_newest())
        await asyncio.wait([self._reading], timeout=HEALTH)
        return self.metrics.page()

    async def _read_newest(self) -> None:
        """Read how new the events are that the champion asks for; nothing is known of a store that does not answer."""
        found, wanted = {}, _tables(self.champion)
        if wanted:
            with suppress(StoreError):  # in a thread of its own: nothing else waits for a store that hangs
                found = await asyncio.to_thread(lambda: event_store.tables(event_store.path()))
        last = {name: found[name].last for name in wanted if name in found}
        self.metrics.newest.seconds = {name: at / 1e6 for name, at in last.items() if at is not None}

    async def routes(self) -> dict[str, Any]:
        """The route in force, its counts, and what its step waits for."""
        return await self._in_state(self._routes)  # type: ignore[no-any-return]

    def _routes(self, connection: Any) -> dict[str, Any]:
        route = state.route(connection) or self.route
        if route.mode == "champion" and self._number:
            route = replace(route, champion=self._number)
        totals, counts = state.totals(connection, route.id), state.counts(connection, route.id)
        elapsed = state.elapsed(connection, route)
        changes = state.history(connection, 1)
        return {
            "route": routing.as_dict(route),
            "described": routing.described(route, self._number),
            "changed": [{"at": timestamp(each.at), "who": each.who, "reason": each.reason} for each in changes],
            "candidate": self.served.candidate if self.served else "",
            "requests": totals,
            "events": {
                metric: {str(share): list(each) for share, each in by_share.items()}
                for metric, by_share in counts.items()
            },
            "evidence": routing.evidence_so_far(route, totals, counts, self.settings) if routing.share(route) else {},
            "waits_for": routing.waiting(route, totals, self.settings, elapsed),
            "loading": bool(route.challenger) and not (self.challenger and self.challenger.was_ready),
            "refused": {**(self.served.refused if self.served else {}), **self.refused},
        }

    async def change_route(self, settings: Serving, who: str, reason: str, challenger: str = "") -> routing.Route:
        """Put the route that `settings` ask for in force, with a version as challenger, if it is not the registry's.

        Raises:
            ParameterError: the key is no column of the champion.
            StoreError: there is no champion or no challenger for it, or the state cannot be written.
        """
        served = self.served or Served("")
        if settings.key and self.champion and settings.key not in self.champion.schema.columns:
            raise ParameterError(
                f"serving.key: schema.yaml of version {self.champion.copy.number} has no column of that name"
            )
        if settings.slow_ms == "auto" and len(self.latencies) < ENOUGH_LATENCIES:
            settings = settings.model_copy(update={"slow_ms": COLD_SLOW})  # of few answers, the first ones count much
        new: routing.Route = await self.in_other(
            begun, settings, served, list(self.latencies), secrets.token_hex(4), challenger
        )
        await self._in_state(lambda connection: state.change(connection, new, who=who, reason=reason))
        self._follow(new)
        return new

    def _follow(self, route: routing.Route) -> None:
        self.route = route
        if self.champion:
            self.champion.reader.key = route.key

    async def _begin_route(self) -> None:
        """Begin the route of params.yaml, once the server knows how fast the champion is."""
        wanted = self.settings
        if self._asked_for_route or wanted.route == "champion" or not (self.served and self.served.candidate):
            return
        if wanted.slow_ms == "auto" and wanted.route != "shadow" and len(self.latencies) < ENOUGH_LATENCIES:
            return
        if wanted.route != "shadow" and "route" in self.served.refused:
            return
        self._asked_for_route = True
        if await self._in_state(state.route) is None:
            await self.change_route(wanted, "params.yaml", "serving.route")

    def _units(self, route: routing.Route, rows: Rows, challenger: Challenger | None) -> list[Unit]:
        everything = list(range(len(rows)))
        if challenger is None or not routing.share(route):
            return [Unit("champion", None, everything)]
        draw = random.random()  # noqa: S311  # of a share, no secret
        if not route.key:
            # Rows of one request go wrong together: without a key, they are a unit by themselves.
            unit = None if len(rows) == 1 else random.getrandbits(62)
            return [Unit(routing.variant(route, None, draw), unit, everything)]
        found: dict[str | None, Unit] = {}
        for place, row in enumerate(rows):
            value = row.get(route.key)
            key = None if value is None else str(value)
            if key not in found:
                number = None if key is None else routing.hashed(route, key)
                found[key] = Unit(routing.variant(route, key, draw), number, [])
            found[key].rows.append(place)
        return list(found.values())

    async def _answer(
        self,
        unit: Unit,
        rows: list[dict[str, Any]],
        found: list[dict[str, Any] | None],
        champion: Loaded,
        challenger: Challenger | None,
        route: routing.Route,
        request: str,
    ) -> None:
        """Answer, log and count the rows of a unit; whose turn it was counts, whoever answers in the end."""
        asked = [rows[place] for place in unit.rows] if len(unit.rows) < len(rows) else rows
        tested = challenger is not None and routing.share(route) > 0
        variant, copy, parts = unit.variant, champion.copy, None
        events: set[str] = set()
        start = time.perf_counter()
        if variant == "challenger" and challenger:
            try:
                copy, parts = challenger.copy, await self._of_challenger(challenger, asked)
            except ChallengerError as error:
                events |= set(routing.events(route, ms=_ms(start), error=True))
                tested = tested and error.counted
                variant, copy, start = "champion", champion.copy, time.perf_counter()
        if parts is None:
            try:
                parts = await self._of_champion(champion, asked)
            except Exception:
                if tested and unit.variant == "champion":
                    self._batch.count(route, "champion", routing.events(route, ms=None, error=True), unit.key)
                raise
            self.latencies.append(_ms(start))
        ms = _ms(start)
        records = []
        for place, row, answer in zip(unit.rows, asked, parts, strict=True):
            answer |= _identity(variant, copy)
            found[place] = answer
            records.append(_record(answer, row, ms, request))
            if tested and variant == unit.variant:
                events |= set(routing.events(route, answer["prediction"], answer.get("probability"), ms=ms))
                known = Answered(answer["prediction_id"], variant, answer["prediction"], unit.key)
                self._batch.remember(route, known)
        if tested:
            self._batch.count(route, unit.variant, sorted(events), unit.key)
        self._log(records)
        asyncio.get_running_loop().call_soon(self._count, parts, champion)  # after the answer, which need not wait

    async def _of_challenger(self, challenger: Challenger, rows: Rows) -> list[dict[str, Any]]:
        """The challenger's answers.

        Raises:
            ChallengerError: it gives none, or none that can be handed on.
        """
        try:
            answers = await challenger.answer(rows, self.settings.timeout_seconds)
            parts = _parts(answers.predicted, answers.probabilities, tuple(challenger.classes), challenger.positive)
            if not all(map(_is_plain, parts)):
                raise ChallengerError("its answers are not finite")
        except ChallengerError:
            self.metrics.errors("challenger").inc()
            raise
        return parts

    async def _of_champion(self, champion: Loaded, rows: Rows) -> list[dict[str, Any]]:
        try:
            predictions = await self._predict(champion, rows)
        except Exception as error:
            self.metrics.errors("champion").inc()
            raise _blamed(error, rows) from None
        given = None if predictions.probabilities is None else predictions.probabilities.tolist()
        parts = _parts(predictions.predicted.tolist(), given, champion.classes, champion.positive)
        if not all(map(_is_plain, parts)):
            self.metrics.errors("champion").inc()
            raise ValueError(f"version {champion.copy.number} gave an answer that is not finite")
        return parts

    async def _predict(self, champion: Loaded, rows: Rows) -> "Predictions":
        if champion.batcher:
            if champion.batcher.rows + len(rows) > WAITING_ROWS:
                raise UnavailableError("too many rows wait for the model: try again later")
            self.metrics.queue.set(champion.batcher.rows + len(rows))
            try:
                async with asyncio.timeout(self.settings.timeout_seconds):
                    return await champion.batcher.predict(rows)
            except TimeoutError:
                seconds = self.settings.timeout_seconds
                raise UnavailableError(f"the model gave no answer within {seconds:g} s: try again later") from None
            finally:
                self.metrics.queue.set(champion.batcher.rows)
        if len(rows) <= AT_ONCE:
            return champion.engine.predict(rows)
        return await self.in_thread(champion.engine.predict, rows)  # type: ignore[no-any-return]

    def _count(self, answers: Sequence[Mapping[str, Any]], champion: Loaded) -> None:
        by_class = 0 < len(champion.classes) <= MOST_CLASSES
        for answer in answers:
            label = str(answer["prediction"]) if by_class else ""
            self.metrics.predictions(label, answer["model_version"], answer["variant"]).inc()
            self._batch.versions[answer["model_version"]] += 1

    def _log(self, records: list[dict[str, Any]]) -> None:
        before = self.log.dropped
        self.log.append(records)
        if self.log.dropped > before:
            self.metrics.log_drops.inc(self.log.dropped - before)

    # ---- The challenger's shadow

    def _cast_shadow(self, rows: list[dict[str, Any]], request: str) -> None:
        if self._shadow_rows + len(rows) > SHADOW_ROWS:
            self.metrics.shadow_drops.inc(len(rows))
            return
        self._shadow_rows += len(rows)
        self._shadow.append((rows, request))
        self._shadowed.set()

    async def _keep_shadowing(self) -> None:
        while True:
            await self._shadowed.wait()
            if not self._shadow:
                self._shadowed.clear()
                continue
            rows, request = self._shadow.popleft()
            self._shadow_rows -= len(rows)
            challenger, start = self.challenger, time.perf_counter()
            if challenger is None or not challenger.is_ready:
                continue
            try:
                parts = await self._of_challenger(challenger, rows)
            except ChallengerError:
                continue
            records = []
            for row, answer in zip(rows, parts, strict=True):
                answer |= _identity("challenger", challenger.copy)
                records.append(_record(answer, row, _ms(start), request) | {"shadow": True})
                label = str(answer["prediction"]) if 0 < len(challenger.classes) <= MOST_CLASSES else ""
                self.metrics.predictions(label, challenger.copy.number, "shadow").inc()
            self._log(records)

    # ---- What is served

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self._look()
                await self._flush()
            except StoreError:
                pass  # a disk that is full now may not be in half a second
            except Exception:  # of a bug; the champion goes on answering
                SAYS.exception("a look at what is to be served failed")
            await self._in_files(self.log.sync)

    async def _look(self) -> None:
        """Load what is to be served and is not loaded."""
        served = await self.in_other(versions.read, self.folder)
        if served is None:
            return
        if self.served and self.served.checked:  # another server that begins in this folder has not looked yet
            served = replace(served, checked=1)
        if served.champion and (self.champion is None or served.champion != self.champion.copy):
            try:
                self.champion = await self.in_other(self._load, served.champion)
                self.refused.pop("champion", None)
            except ProjectError as error:
                self.refused["champion"] = str(error)
        wanted = served.challenger
        if self.challenger and wanted != self.challenger.copy:
            challenger, self.challenger = self.challenger, None
            await challenger.close()
        if wanted and self.challenger is None:
            self.challenger = Challenger(wanted)
        if self.challenger and self.challenger.refused:
            self.refused["challenger"] = self.challenger.refused
        else:
            self.refused.pop("challenger", None)
        self.served = served
        with suppress(StoreError):
            self._follow(await self._in_state(state.route) or self.route)
            await self._begin_route()

    def _load(self, copy: Copy) -> Loaded:
        from mlops.serving import engine

        model = versions.load(copy)
        model.forget_file()
        check = versions.check_rows(copy)
        chosen = engine.choose(model, check)
        if check is not None and set(model.schema.needed) <= set(check):
            with suppress(Exception):  # as long as the store of events is not there, say; a request says why
                chosen.predict(check.head(WARM_ROWS)[model.schema.needed].to_dict(orient="records"))
        slow = chosen.name == "scikit-learn"
        self._mask(model.schema)
        return Loaded(
            copy,
            model.schema,
            Reader(model.schema, model.read, self.settings.max_rows, self.route.key),
            chosen,
            Batcher(chosen.predict, self._thread) if slow else None,
            model.model.classes,
            model.model.positive,
        )

    def _mask(self, schema: "Schema") -> None:
        """Log no values of the sensitive columns, if that is asked for."""
        masked = set(schema.sensitive) if self.settings.mask == "sensitive" else set()
        if masked != self._masked:
            before, self._masked = self.log, masked
            self.log = PredictionLog(self.folder, megabytes=self.settings.log_megabytes, masked=masked)
            before.close()

    async def _flush(self) -> None:
        """Add the counts to the state; they are kept for the next time if that fails."""
        batch, self._batch = self._batch, state.Batch()
        try:
            unknown = await self._in_state(lambda connection: state.add(connection, batch))
        except StoreError:
            self._batch = batch.joined(self._batch)
            raise
        # The answer may be one of another worker, which has not added it yet.
        self._tries = {name: tries + 1 for name in unknown if (tries := self._tries.get(name, 0)) < TRIES}
        self._batch.actuals = {name: batch.actuals[name] for name in self._tries} | self._batch.actuals

    async def _in_state(self, function: Any) -> Any:
        def call() -> Any:
            with state.opened(self.folder) as connection:
                return function(connection)

        return await self._in_files(call)

    async def _in_files(self, function: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._files, function)

    async def in_thread(self, function: Any, *arguments: Any) -> Any:
        """The result of a long call, in the thread of the model."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def in_other(self, function: Any, *arguments: Any) -> Any:
        """The result of a call that takes long, or waits for the disk, while others are answered."""
        return await asyncio.get_running_loop().run_in_executor(self._other, function, *arguments)


def _import_early() -> None:
    """Import what a model takes, while the parent process looks at the registry."""
    for name in EARLY:
        importlib.import_module(name)


def _tables(champion: Loaded | None) -> list[str]:
    """The tables of events of which a version makes columns; one of before there were any has no such field."""
    history = getattr(champion and champion.schema, "history", None)
    return list(history.tables) if history else []


def _parts(
    predicted: list[Any], probabilities: list[list[float]] | None, classes: tuple[Any, ...], positive: Any
) -> list[dict[str, Any]]:
    """The answers to n rows, without their version."""
    if probabilities is None:
        return [{"prediction": label} for label in predicted]
    if positive is not None:
        place = classes.index(positive)
        return [
            {"prediction": label, "probability": each[place]}
            for label, each in zip(predicted, probabilities, strict=True)
        ]
    names = [str(label) for label in classes]
    return [
        {
            "prediction": label,
            "probability": each[classes.index(label)],
            "probabilities": dict(zip(names, each, strict=True)),
        }
        for label, each in zip(predicted, probabilities, strict=True)
    ]


def _blamed(error: Exception, rows: Rows) -> Exception:
    """What to raise for a failure of the model: a refusal, if a number is too large or there are no events for it."""
    if any(isinstance(value, float) and abs(value) > LARGEST for row in rows for value in row.values()):
        # Forests compute with 32 bits, and scikit-learn refuses what is too large for that.
        return RequestError(422, f"a number is larger than the model takes ({LARGEST:.2g}): give null if not known")
    if getattr(error, "error_code", "") == "TEMPORARILY_UNAVAILABLE":  # the store of events
        return UnavailableError(str(getattr(error, "message", error)))
    return error


def _identity(variant: routing.Variant, copy: Copy) -> dict[str, Any]:
    """Which version answered, and the id of its answer."""
    return {
        "model_version": copy.number,
        "variant": variant,
        "prediction_id": f"{copy.digest[:16]}-{secrets.token_hex(8)}",
    }


def _record(answer: Mapping[str, Any], row: Mapping[str, Any], ms: float, request: str) -> dict[str, Any]:
    """A record of the log."""
    return {
        "id": answer["prediction_id"],
        "time": timestamp(),
        "version": answer["model_version"],
        "variant": answer["variant"],
        "features": row,
        "prediction": answer["prediction"],
        "probability": answer.get("probability"),
        "ms": round(ms, 3),
        "request": request,
    }


def _is_plain(answer: Mapping[str, Any]) -> bool:
    numbers = (answer["prediction"], answer.get("probability"))
    return all(math.isfinite(number) for number in numbers if isinstance(number, float))


def _ms(start: float) -> float:
    return 1000 * (time.perf_counter() - start)
