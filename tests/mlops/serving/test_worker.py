"""A worker between a champion and challengers that misbehave, in this process; the versions are made up."""

import asyncio
import hashlib
import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mlops.base.errors import StoreError
from mlops.base.params import Register, Serving
from mlops.registry import packaging
from mlops.registry.registry import Version
from mlops.serving import following, routing, state, versions, worker
from mlops.serving.challenging import Challenger, ChallengerError
from mlops.serving.versions import Copy, Served
from mlops.serving.worker import Worker

CODE = '''
import os, time
from types import SimpleNamespace
import numpy as np
from mlops.data import rows
from mlops.data.schema import Schema
from mlops.training.metrics import Predictions

class Raw:
    """Says Yes to every fourth row; what else it does is in its name."""

    def __init__(self, kind):
        self.kind, self.asked, self.kept = kind, 0, []
        columns = {"x": {"type": "number"}, "y": {"type": "category", "role": "target"}}
        self.schema = Schema.model_validate({"columns": columns})
        self.model = SimpleNamespace(classes=("No", "Yes"), positive="Yes", pipeline=[object(), object()], threads=1)

    def read(self, values, name):
        return rows.read(values, self.schema.columns[name], self.schema.missing)

    def forget_file(self):
        pass

    def _predictions(self, given):
        self.asked += 1
        yes = np.array([row["x"] % 4 == 0 for row in given])
        if self.kind == "errors":
            raise RuntimeError("broken")
        if self.kind == "slow":
            time.sleep(0.03)
        if self.kind == "hangs":
            time.sleep(1000)
        if self.kind == "crashes":
            os._exit(9)
        if self.kind == "leaks":
            self.kept.append(np.ones(90_000_000 // 8))
        if self.kind == "always yes":
            yes[:] = True
        probability = np.where(yes, 0.9, 0.1)
        if self.kind == "nonsense":
            probability = probability * np.nan
        both = np.column_stack([1 - probability, probability])
        predicted = np.where(yes, "Yes", "No").astype(object)
        return Predictions(predicted, predicted, both, ("No", "Yes"), "Yes")

def load(content):
    return Raw(content.decode().split("\\n")[0])
'''
RESULTS = {"labels": ["No", "Yes"], "positive": "Yes"}
SETTINGS = Serving(step_requests=400, step_minutes=0, timeout_seconds=0.5, steps=[0.25, 0.5])
number = itertools.count(1)


class NoMetrics:
    """Counts as a worker's metrics do."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.queue = self.log_drops = self.shadow_drops = self

    def _one(self, *labels: str) -> "NoMetrics":
        return self

    requests = errors = predictions = seconds = _one

    def inc(self, by: float = 1) -> None:
        pass

    def set(self, value: float) -> None:
        pass


def a_version(folder: Path, kind: str) -> Copy:
    """A version whose model is of a kind that CODE knows."""
    import pandas as pd

    name, content = str(next(number)), f"{kind}\n{time.time_ns()}".encode()
    place = folder / "models" / name
    code = place / "code" / f"code_{hashlib.sha256(content).hexdigest()[:16]}"
    code.mkdir(parents=True)
    (code / "__init__.py").write_text(CODE)
    # A pickle of `load(content)`, written by hand.
    pickled = f"c{code.name}\nload\n".encode() + b"C" + bytes([len(content)]) + content + b"\x85R."
    (place / "model.pkl").write_bytes(b"\x80\x03" + pickled)
    found = {"actual": ["No", "No", "No", "Yes"], "probability": [0.1, 0.1, 0.1, 0.9]}
    predictions = pd.DataFrame({**found, "prediction": found["actual"]})
    predictions.to_parquet(place / "predictions.parquet")
    (place / "evaluation.json").write_text(json.dumps(RESULTS))
    return Copy(name, hashlib.sha256(content).hexdigest(), packaging.digest(code), str(place))


def in_a_worker(
    folder: Path, served: Served, check: Callable[[Worker], Awaitable[Any]], settings: Serving = SETTINGS
) -> Any:
    versions.write(folder, served)

    async def run() -> Any:
        one = Worker(folder, settings, NoMetrics())  # type: ignore[arg-type]
        await one.start()
        try:
            return await check(one)
        finally:
            await one.close()

    return asyncio.run(run())


async def until_ready(one: Worker) -> None:
    async with asyncio.timeout(60):
        while not (one.challenger and one.challenger.is_ready):
            await asyncio.sleep(0.05)


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "EVERY", 0.05)


@pytest.mark.parametrize(
    ("kind", "metric", "most"),
    [
        ("errors", "errors", 100),
        ("slow", "slow answers", 150),
        ("always yes", "predictions of (Yes|No)", 200),  # more of the one, fewer of the other: whichever shows first
        ("nonsense", "errors", 100),
        ("crashes", "errors|predictions of", 400),  # that it answers nobody tells as much
    ],
)
def test_a_bad_challenger_is_rolled_back_and_nobody_waits_for_it(
    tmp_path: Path, quickly: None, kind: str, metric: str, most: int
) -> None:
    champion, challenger = a_version(tmp_path, "good"), a_version(tmp_path, kind)
    served = Served("demo", champion, challenger, challenger.number, checked=1)
    follower = following.Follower(tmp_path, SETTINGS, Register(name="demo"), None)

    async def check(one: Worker) -> tuple[int, str, set[str]]:
        settings = SETTINGS.model_copy(update={"route": "canary", "slow_ms": 20.0 if kind == "slow" else 60_000.0})
        await one.change_route(settings, "ada", "to see")
        await until_ready(one)
        asked, wrong = 0, set()
        while asked < 3000:
            if kind == "crashes":
                await until_ready(one)  # what it does not answer meanwhile follows from the crash, and counts no more
            for _ in range(20):
                asked += 1
                (answer,) = await one.answers([{"x": asked}], "request")
                right = ("Yes", 0.9) if asked % 4 == 0 else ("No", 0.1)
                if kind != "always yes" and (answer["prediction"], answer["probability"]) != right:
                    wrong.add(str(answer))
            await one._flush()
            with state.opened(tmp_path) as connection:
                follower._decide(connection)
                route = state.route(connection)
                if route and route.mode == "champion":
                    return asked, state.history(connection, 1)[0].reason, wrong
        return asked, "not rolled back", wrong

    asked, reason, wrong = in_a_worker(tmp_path, served, check)

    assert re.search(metric, reason)
    assert asked <= most
    assert wrong == set()  # whoever asked a challenger that failed has the champion's answer


def test_a_challenger_that_hangs_or_eats_memory_is_ended_and_started_again(tmp_path: Path) -> None:
    async def ask(kind: str, patience: float) -> list[str]:
        one = Challenger(a_version(tmp_path, kind))
        said: list[str] = []
        try:
            async with asyncio.timeout(120):
                while len(said) < 2:
                    while not one.is_ready:
                        await asyncio.sleep(0.05)
                    try:
                        await one.answer([{"x": 1.0}], patience)
                    except ChallengerError as error:
                        said.append(str(error))
        finally:
            await one.close()
        return said

    async def both() -> list[Any]:
        return await asyncio.gather(ask("hangs", 0.5), ask("leaks", 60))

    hangs, leaks = asyncio.run(both())

    assert hangs == ["it gave no answer within 0.5 s"] * 2
    assert leaks == ["its process ended"] * 2


def test_a_copy_that_somebody_changed_is_refused_before_anything_of_it_runs(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for file, text in (("code", f"open({str(ran)!r}, 'w')"), ("model.pkl", "")):
        copy = a_version(tmp_path, "good")
        if file == "code":
            (code,) = Path(copy.folder, "code").glob("*/__init__.py")
            code.write_text(f"{text}\n{CODE}")
        else:
            path = Path(copy.folder, file)
            path.write_bytes(path.read_bytes().replace(b"good", b"evil"))
        with pytest.raises(StoreError, match="is not the one that was registered, and nothing of it has run"):
            versions.load(copy)
    pickled = a_version(tmp_path, "good")
    Path(pickled.folder, "model.pkl").write_bytes(b"cos\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR.")
    with pytest.raises(StoreError, match=r"it names os\.system"):
        versions.load(pickled)
    assert not ran.exists()


def test_the_last_good_champion_goes_on_when_the_next_one_is_damaged(tmp_path: Path, quickly: None) -> None:
    champion, damaged = a_version(tmp_path, "good"), a_version(tmp_path, "good")
    Path(damaged.folder, "model.pkl").write_bytes(b"")

    async def check(one: Worker) -> tuple[str, dict[str, Any]]:
        versions.write(tmp_path, Served("demo", damaged, checked=1))
        async with asyncio.timeout(30):
            while "champion" not in one.refused:
                await asyncio.sleep(0.02)
        return (await one.answers([{"x": 4.0}], "request"))[0]["model_version"], one.described()

    version, described = in_a_worker(tmp_path, Served("demo", champion, checked=1), check)

    assert version == champion.number
    assert "is not whole" in described["refused"]["champion"]


def test_another_server_that_begins_in_the_folder_changes_nothing(tmp_path: Path) -> None:
    champion, newer = a_version(tmp_path, "good"), a_version(tmp_path, "good")

    async def check(one: Worker) -> Served | None:
        versions.write(tmp_path, Served("demo", champion))  # it has not asked the registry yet
        await one._look()
        return one.served

    served = in_a_worker(tmp_path, Served("demo", champion, checked=1), check)

    assert served == Served("demo", champion, checked=1)  # so that it stays ready
    offline = following.Follower(tmp_path, SETTINGS, Register(name="demo"), None)
    versions.write(tmp_path, Served("demo", newer, checked=1))  # a server that asks has fetched another champion
    offline.look()
    found = versions.read(tmp_path)
    assert found is not None
    assert found.champion == newer  # and one that does not ask does not take it back


def test_before_any_route_the_version_that_answers_is_named(tmp_path: Path) -> None:
    champion = a_version(tmp_path, "good")

    async def check(one: Worker) -> tuple[dict[str, Any], dict[str, Any]]:
        return await one.routes(), one.described()

    found, described = in_a_worker(tmp_path, Served("demo", champion, checked=1), check)

    assert found["route"]["champion"] == champion.number
    assert found["described"] == described["route"] == f"version {champion.number} answers all requests"


def test_requests_at_once_share_a_call_of_a_slow_model_and_only_the_wrong_one_fails(tmp_path: Path) -> None:
    champion = a_version(tmp_path, "good")

    async def check(one: Worker) -> tuple[list[Any], int]:
        asked = [one.answers([{"x": float(k)}], "request") for k in range(50)]
        asked.append(one.answers([{"x": "no number"}], "request"))
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert one.champion is not None
        return found, one.champion.engine.model.asked  # type: ignore[attr-defined]

    found, calls = in_a_worker(tmp_path, Served("demo", champion, checked=1), check)

    assert [one[0]["prediction"] for one in found[:50]] == ["Yes" if k % 4 == 0 else "No" for k in range(50)]
    assert isinstance(found[50], TypeError)
    assert calls < 60  # the first alone, the others together, and each again since one of them was wrong


def test_counts_that_cannot_be_written_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    champion = a_version(tmp_path, "good")

    def full(*_: Any) -> list[str]:
        raise StoreError("the disk is full")

    async def check(one: Worker) -> tuple[int, int]:
        await one.answers([{"x": 1.0}], "request")
        with monkeypatch.context() as patch:
            patch.setattr(state, "add", full)
            with pytest.raises(StoreError):
                await one._flush()
        kept = await one.predictions()
        await one._flush()
        return kept, await one.predictions()

    assert in_a_worker(tmp_path, Served("demo", champion, checked=1), check) == (1, 1)


def test_rows_of_one_request_without_a_key_get_one_variant(tmp_path: Path) -> None:
    champion, challenger = a_version(tmp_path, "good"), a_version(tmp_path, "good")
    served = Served("demo", champion, challenger, challenger.number, checked=1)

    async def check(one: Worker) -> list[set[str]]:
        await until_ready(one)
        await one.change_route(SETTINGS.model_copy(update={"route": "ab"}), "ada", "to see")
        found = [await one.answers([{"x": 1.0}, {"x": 2.0}], "request") for _ in range(40)]
        assert routing.share(one.route) == 0.5
        return [{row["variant"] for row in rows} for rows in found]

    variants = in_a_worker(tmp_path, served, check)

    assert {len(each) for each in variants} == {1}
    assert set.union(*variants) == {"champion", "challenger"}


def test_a_crash_is_one_failure_however_many_wait_for_it(tmp_path: Path) -> None:
    champion, challenger = a_version(tmp_path, "good"), a_version(tmp_path, "crashes")
    served = Served("demo", champion, challenger, challenger.number, checked=1)

    async def check(one: Worker) -> Counter[str]:
        await one.change_route(SETTINGS.model_copy(update={"route": "ab", "share": 0.99}), "ada", "to see")
        await until_ready(one)
        await asyncio.gather(*(one.answers([{"x": 1.0}], "request") for _ in range(50)))
        return Counter({metric: count for (_, metric, *_), count in one._batch.events.items()})

    assert in_a_worker(tmp_path, served, check)["error"] == 1


def test_a_damaged_copy_and_a_damaged_file_of_what_is_served_are_made_anew(tmp_path: Path) -> None:
    copy = a_version(tmp_path, "good")
    assert versions.is_whole(copy)
    Path(copy.folder, "model.pkl").write_bytes(b"")
    assert not versions.is_whole(copy)
    Path(copy.folder, "check.parquet").write_bytes(b"no table")
    assert versions.check_rows(copy) is None

    follower = following.Follower(tmp_path, SETTINGS, Register(name="demo"), None)
    follower.look()
    (tmp_path / "served.json").write_text("{")
    follower.look()
    found = versions.read(tmp_path)
    assert found is not None
    assert (found.name, found.checked) == ("demo", 1)


def test_a_canary_puts_nothing_into_production_that_promote_would_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = following.Follower(tmp_path, SETTINGS, Register(name="demo"), None)
    route = routing.Route("r", "canary", "1", "2", steps=(0.5,))
    pending = state.Pending(1, route, routing.Decision("promote", route, "passed", {}))
    monkeypatch.setattr(following.audit, "read", lambda *_: [])

    for tags, words in (({}, "no commit is known"), ({"commit": "c" * 40}, "version 2 is not approved")):
        version = Version("2", ("challenger",), "", "run", "source", tags)
        assert not follower._promote(None, version, [version], pending)  # type: ignore[arg-type]
        assert words in follower._waits
