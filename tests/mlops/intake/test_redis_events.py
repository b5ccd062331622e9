"""Events in Redis: the same answers as from a file of SQLite, none of them lost in silence, no password told."""

import asyncio
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlops.__main__ import app
from mlops.base.errors import StoreError
from mlops.base.params import Features, Serving
from mlops.data import event_features
from mlops.data.schema import Schema
from mlops.intake import event_store, redis_events
from mlops.intake.event_store import Added, Stored
from mlops.serving import metrics
from mlops.serving.worker import UnavailableError, Worker
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from tests.conftest import PROJECT, TEMPLATE
from tests.services import free_port

PASSWORD = f"/#?@:%{secrets.token_hex(8)}"
WRONG = f"{PASSWORD}/wrong"
START = np.datetime64("2024-01-01", "us")
number = count()


@dataclass(frozen=True)
class Server:
    """A server with a password, and a client of it that is no store."""

    port: int
    client: Any = field(repr=False)

    def address(self, prefix: str = "", password: str = PASSWORD) -> str:
        """That of a store; without a prefix, of one that nobody has used."""
        name = prefix or f"test{next(number)}"
        return f"redis://:{quote(password, safe='')}@127.0.0.1:{self.port}/1?prefix={name}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    program, port = shutil.which("redis-server"), free_port()
    if program is None:
        pytest.skip("Redis is not installed: apt-get install redis-server")
    folder = tmp_path_factory.mktemp("redis")
    said = f'port {port}\nbind 127.0.0.1\nrequirepass "{PASSWORD}"\ndir "{folder}"\nsave ""\n'
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([program, "-"], stdin=subprocess.PIPE, stdout=log, stderr=log)
    try:
        assert process.stdin is not None
        process.stdin.write(said.encode())
        process.stdin.close()
        client, end = redis.Redis("127.0.0.1", port, db=1, password=PASSWORD), time.monotonic() + 60
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert time.monotonic() < end
                time.sleep(0.02)
        yield Server(port, client)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def there(server: Server, monkeypatch: pytest.MonkeyPatch) -> redis_events.Address:
    monkeypatch.setenv(event_store.VARIABLE, server.address())
    found = event_store.path()
    assert isinstance(found, redis_events.Address)
    return found


def add(entities: list[Any], hours: list[int], amounts: list[float], **how: Any) -> Added:
    kind = "str" if any(isinstance(entity, str) for entity in entities) else "Int64"
    times = START + np.array(hours, dtype="timedelta64[h]")
    values = {"amount": np.array(amounts, dtype=np.float64)}
    return event_store.add(event_store.path(), "orders", pd.Series(entities, dtype=kind), times, values, **how)


def known(source: Stored, entities: list[Any], columns: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    """The events of some entities: whose, when, and the bits of a value; by column, those without one as `every`."""
    kind = "str" if any(isinstance(entity, str) for entity in entities) else "Int64"
    found = source.events("orders", columns, pd.Series(entities, dtype=kind))
    parts = {"every": (found.every, np.zeros(len(found.every)))}
    parts |= {name: (one.keys, one.values[:-1]) for name, one in found.known.items()}
    listed = {}
    for name, (keys, values) in parts.items():
        whose, when = np.divmod(keys, len(found.instants) + 1)
        rows = zip(found.entities[whose], found.instants[when].tolist(), values.view(np.int64).tolist(), strict=True)
        listed[name] = sorted(rows)
    return listed


VALUES = st.sampled_from([0.0, -0.0, float("nan"), -float("nan"), 0.1 + 0.2, 5e-324, -1e300, float("inf"), 7.0])
EVENTS = st.lists(st.tuples(st.integers(-2, 3), st.integers(-5, 2), VALUES, VALUES), max_size=12)
LOADS = st.lists(
    st.tuples(EVENTS, st.sampled_from([("a",), ("a", "b"), ("b", "a"), ()]), st.booleans(), st.booleans()),
    min_size=2,
    max_size=4,
)
ONE, TWO = (1, 0, 5.0, -0.0), (2, 1, float("nan"), 1.0)
AGGREGATES = Features.model_validate(
    {
        "time": "asked",
        "tables": {
            "orders": {
                "file": "data/events/orders.csv",
                "entity": "customer",
                "time": "ordered",
                "aggregates": [
                    {"function": "sum", "column": "a", "days": [2]},
                    *({"function": name, "column": "a"} for name in ("sum", "mean", "max", "last", "days_since")),
                    {"function": "count"},
                ],
            }
        },
    }
)


@example([([ONE, ONE, TWO], ("a",), True, False), ([TWO, ONE, ONE, ONE], ("a",), True, False)])
@example([([ONE, TWO, TWO], ("a", "b"), True, False), ([TWO], ("a", "b"), True, True)])
@example([([ONE, TWO], ("a",), True, False), ([ONE], ("b",), True, False), ([ONE, TWO], ("b",), True, False)])
@example([([ONE], ("a",), True, False), ([ONE], ("a",), False, False), ([ONE], ("a",), False, True)])
@example([([], (), False, False), ([], (), False, True)])
@settings(max_examples=25)
@given(LOADS)
def test_every_load_and_every_answer_is_that_of_sqlite(
    server: Server, tmp_path_factory: pytest.TempPathFactory, loads: list[Any]
) -> None:
    answers: list[list[Any]] = []
    for place in (str(tmp_path_factory.getbasetemp() / f"{next(number)}.sqlite"), server.address()):
        said: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(event_store.VARIABLE, place)
            for rows, names, whole, replace in loads:
                said += loaded(rows, names, whole=whole, replace=replace)
        answers.append(said)

    assert answers[1] == answers[0]


def loaded(rows: list[Any], names: tuple[str, ...], *, whole: bool, replace: bool) -> list[Any]:
    """What is said of a load, and what the store answers after it."""
    there, texts = event_store.path(), {-2: "-2", -1: "é", 0: "", 1: "1", 2: "02", 3: "3"}
    entities = [row[0] if whole else texts[row[0]] for row in rows]
    asked = [-3, -2, 1, 2, 3] if whole else ["-3", *texts.values()]
    values = {name: np.array([row["ab".index(name) + 2] for row in rows], dtype=np.float64) for name in names}
    times = START + np.array([row[1] for row in rows], dtype="timedelta64[D]")
    said: list[Any] = []
    try:
        series = pd.Series(entities, dtype="Int64" if whole else "str")
        said.append(event_store.add(there, "orders", series, times, values, digest="d", replace=replace))
        table = pd.DataFrame({"customer": pd.Series(asked, dtype=series.dtype), "asked": START})
        said += [known(Stored(), asked, list(names))]
        if "a" in names:
            said.append(event_features.columns(table, AGGREGATES, Stored()).to_numpy().tobytes())
    except StoreError as error:
        said.append(str(error).replace(str(there), "STORE"))
    tables = event_store.tables(there)
    fresh = event_store.freshness(there)["orders"]
    return [*said, vars(tables["orders"]) | {"loaded": 0}, fresh["events"], fresh["last"]]


def test_a_table_or_column_that_is_not_there_is_the_sentence_of_sqlite(there: redis_events.Address) -> None:
    with pytest.raises(StoreError, match="lacks the table orders: `python -m mlops features load`"):
        known(Stored(), [1], ["amount"])
    assert event_store.tables(there) == {}
    add([1], [1], [5.0])

    for entities, columns, lacking in (([1], ["tax"], "tax of"), (["1"], ["amount"], "the entities of")):
        with pytest.raises(StoreError, match=f"lacks {lacking} the table orders"):
            known(Stored(), entities, columns)


def test_many_entities_are_read_and_written_in_parts(
    there: redis_events.Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_events, "FIELDS", 3)
    everyone = list(range(20))

    assert add(everyone, everyone, [1.0] * 20).events == 20
    assert add(everyone, everyone, [1.0] * 20).new == 0
    assert [row[0] for row in known(Stored(), [30, *everyone], ["amount"])["every"]] == everyone


def test_who_adds_while_another_does_adds_to_what_is_there_then(
    there: redis_events.Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    add([1], [1], [5.0])
    packed, others = redis_events._packed, iter([[(1, 2)], [(2, 3)]])

    def meanwhile(*given: Any) -> Any:
        for entity, hour in next(others, []):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(redis_events, "_packed", packed)
                add([entity], [hour], [6.0])
        return packed(*given)

    monkeypatch.setattr(redis_events, "_packed", meanwhile)

    assert add([1, 1], [1, 4], [5.0, 7.0]) == Added(1, 4, 0, False)
    assert [
        (whose, (when - 1704067200_000_000) / 3.6e9) for whose, when, _ in known(Stored(), [1, 2], [])["every"]
    ] == [
        (1, 1),
        (1, 2),
        (1, 4),
        (2, 3),
    ]
    monkeypatch.setattr(redis_events, "BUSY_SECONDS", -1.0)
    with pytest.raises(StoreError, match="took no events for -1 seconds, since another process adds some"):
        add([1], [1], [5.0])


def test_processes_that_add_at_once_lose_nothing(there: redis_events.Address) -> None:
    add([0], [0], [0.0])  # the children are born with an open connection
    children = []
    for child in (1, 2):
        if (born := os.fork()) == 0:
            try:
                for hour in range(15):
                    add([child, 3], [hour, 100 * child + hour], [1.0, 1.0])
                os._exit(0)
            finally:
                os._exit(1)
        children.append(born)

    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert event_store.tables(there)["orders"].events == 61
    assert len(known(Stored(), [0, 1, 2, 3], ["amount"])["amount"]) == 61


def test_connections_that_the_server_has_closed_are_made_anew(there: redis_events.Address, server: Server) -> None:
    add([1], [1], [5.0])
    source = Stored()
    before = known(source, [1], ["amount"])

    server.client.client_kill_filter(_type="normal", skipme=True)

    assert known(source, [1], ["amount"]) == before
    server.client.client_kill_filter(_type="normal", skipme=True)
    assert add([1], [2], [5.0]).events == 2


def test_events_that_redis_has_thrown_away_are_told_and_made_anew_by_replace(
    there: redis_events.Address, server: Server
) -> None:
    add([1, 2], [1, 2], [5.0, 6.0])
    server.client.delete(there.events("orders"))

    for use in (lambda: known(Stored(), [1], ["amount"]), lambda: add([1, 2], [1, 2], [5.0, 6.0])):
        with pytest.raises(StoreError, match=r"of 0 entities of orders, where 2 were loaded: .*noeviction.*--replace"):
            use()
    assert event_store.freshness(there) == {}
    assert add([1, 2], [1, 2], [5.0, 6.0], replace=True) == Added(2, 2, 0, False)
    server.client.delete(there.tables)
    with pytest.raises(StoreError, match="of 2 entities of orders, where 0 were loaded"):
        add([1], [1], [5.0])
    assert add([1], [1], [5.0], replace=True) == Added(1, 1, 0, False)
    assert len(known(Stored(), [1, 2], [])["every"]) == 1


def test_keys_of_others_stay_and_nothing_else_is_written(there: redis_events.Address, server: Server) -> None:
    server.client.flushdb()
    server.client.set("orders", "theirs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(event_store.VARIABLE, server.address("other"))
        add([9], [9], [9.0])
    before = {key: server.client.dump(key) for key in server.client.scan_iter()}

    add([1, 2], [1, 2], [5.0, 6.0])
    add([1], [1], [5.0], replace=True)

    after = {key: server.client.dump(key) for key in server.client.scan_iter()}
    assert {key: after.pop(key) for key in before} == before
    assert sorted(after) == sorted(name.encode() for name in (there.tables, there.events("orders")))


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"entities": 1, "columns": []}'])
def test_what_somebody_else_has_written_there_is_a_sentence(
    there: redis_events.Address, server: Server, content: bytes
) -> None:
    add([1], [1], [5.0])
    server.client.hset(there.events("orders"), "1", "short")
    with pytest.raises(StoreError, match=r"what it has of an entity is damaged.*no other program writes below mlops:"):
        known(Stored(), [1], ["amount"])
    server.client.hset(there.tables, "orders", content)
    for use in (lambda: known(Stored(), [1], []), lambda: add([1], [1], [5.0]), lambda: event_store.tables(there)):
        with pytest.raises(StoreError, match=r"redis://127.*could not be used"):
            use()
    server.client.set(there.tables, "text")
    with pytest.raises(StoreError, match=r"could not be used \(WRONGTYPE"):
        event_store.tables(there)


def test_who_cannot_get_in_learns_why_and_nobody_the_password(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(event_store.VARIABLE, server.address("mine", WRONG))
    with pytest.raises(StoreError, match="invalid username-password pair") as refused:
        known(Stored(), [1], ["amount"])
    assert str(refused.value).startswith(f"redis://127.0.0.1:{server.port}/1?prefix=mine, the store of events, ")
    monkeypatch.setenv(event_store.VARIABLE, f"redis://ada:{quote(WRONG, '')}@127.0.0.1:{free_port()}?prefix=mine")
    with pytest.raises(StoreError, match=r"could not be used \(.*refused.*see that the server runs") as down:
        add([1], [1], [5.0])
    there: Any = event_store.path()
    with pytest.raises(StoreError, match="said … and …") as repeated, redis_events._connected(there, 1.0):
        raise redis.ResponseError(f"said ada and {WRONG}")

    for said in (*(str(one.value) for one in (refused, down, repeated)), repr(there)):
        assert WRONG not in said
        assert quote(WRONG, "") not in said


def test_the_account_of_the_docs_may_do_all_that_a_store_takes_with_its_own_keys(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = re.findall(r"^ +(ACL SETUSER churn .*)$", (TEMPLATE / PROJECT / "docs" / "features.md").read_text(), re.M)
    server.client.execute_command(*account[0].replace("PASSWORD", "word").split())

    monkeypatch.setenv(event_store.VARIABLE, f"redis://churn:word@127.0.0.1:{server.port}/1?prefix=churn")
    assert [add([1], [1], [5.0], replace=replace).events for replace in (False, False, True)] == [1, 1, 1]
    assert len(known(Stored(), [1], ["amount"])["amount"]) == 1
    assert event_store.tables(event_store.path())["orders"].events == 1
    monkeypatch.setenv(event_store.VARIABLE, f"redis://churn:word@127.0.0.1:{server.port}/1?prefix=sales")
    with pytest.raises(StoreError, match="no permissions to access one of the keys"):
        add([1], [1], [5.0])


def test_without_the_package_one_sentence_says_what_to_lock(
    there: redis_events.Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)

    for use in (lambda: event_store.tables(there), lambda: add([1], [1], [5.0])):
        with pytest.raises(StoreError, match=r"takes the package redis.*`python -m mlops lock --extra redis`"):
            use()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cret@host:6379/0",  # without a prefix, two projects would have one table
        "redis://:s3cret@host:6379/0?prefix=",
        "redis://:s3cret@host:6379/0?prefix=a:b",
        "redis://:s3cret@host:6379/0?prefix=a&db=2",
        "redis://:s3cret@host:6379/0?prefix=a&ssl_ca_certs=a.pem",
        "rediss://:s3cret@host:6379/0?prefix=a&ssl_cert_reqs=none",
        "redis://:s3cret@host:6379/zero?prefix=a",
        "redis://:s3cret@host:port?prefix=a",
        "redis://:s3cret@?prefix=a",
        "redis://:12/s3cret@host?prefix=a",
        "redis://:12#s3cret@host?prefix=a",
        "redis://:12?s3cret@host?prefix=a",
        "redis://:[s3cret@host?prefix=a",
        "redis://",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(event_store.VARIABLE, url)

    with pytest.raises(StoreError, match=r"MLOPS_EVENTS is no address of a store: write redis://USER:PASSWORD@") as no:
        event_store.path()
    assert "s3cret" not in str(no.value)


def test_an_address_may_ask_for_tls_and_name_its_authority() -> None:
    found = redis_events.address("REDISS://ada:a%40b@[::1]:6390/2?prefix=shop&ssl_ca_certs=%2Fetc%2Fca.pem")
    pool = redis_events._client(found, 1.0).connection_pool

    assert str(found) == "rediss://[::1]:6390/2?prefix=shop"
    assert pool.connection_class is redis.SSLConnection
    asked = {name: pool.connection_kwargs.get(name) for name in ("host", "port", "db", "username", "password")}
    assert asked == {"host": "::1", "port": 6390, "db": 2, "username": "ada", "password": "a@b"}
    connection = pool.make_connection()
    assert (connection.ca_certs, connection.check_hostname, connection.cert_reqs.name) == (
        "/etc/ca.pem",
        True,
        "CERT_REQUIRED",
    )


ORDERS = {
    "file": "data/events/orders.csv",
    "entity": "customer",
    "time": "ordered",
    "aggregates": [{"function": "sum", "column": "amount", "days": [7]}],
}
FEATURES = {"time": "asked", "tables": {"orders": ORDERS}}
COLUMNS = {
    "customer": {"type": "category", "role": "id"},
    "asked": {"type": "datetime", "role": "time"},
    "orders_sum_amount_7d": {"type": "number", "derived": True},
    "y": {"type": "number", "role": "target"},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    YAML(typ="safe", pure=True).dump({"features": FEATURES}, tmp_path / "params.yaml")
    YAML(typ="safe", pure=True).dump({"columns": COLUMNS}, tmp_path / "schema.yaml")
    (tmp_path / "data" / "events").mkdir(parents=True)
    Path("data/events/orders.csv").write_text("customer,ordered,amount\n007,2024-01-01,1\n,2024-01-02,2\n")
    return tmp_path


def features(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["features", *arguments])


def test_features_load_says_of_redis_what_it_says_of_a_file(there: redis_events.Address, project: Path) -> None:
    Path("more.csv").write_text("customer,ordered,amount\n007,2024-02-01,5\n007,2024-01-01,1\n")

    tried = features("load", "--dry-run").stdout
    said = [features("load", *arguments).stdout for arguments in ([], [], ["more.csv"], ["--replace"])]

    assert f"nothing was changed; {there} has 0, the newest of no time" in tried
    assert f"1 of them without entity or time left out, 1 new; {there} has 1, the newest of 2024-01-01T00" in said[0]
    assert f"data/events/orders.csv is loaded; {there} has 1, " in said[1]
    assert f"orders: 2 events in more.csv, 1 new; {there} has 2, the newest of 2024-02-01T00" in said[2]
    assert f"1 event removed that the file lacks; {there} has 1, " in said[3]
    assert json.loads(features("load", "--json").stdout)["store"] == str(there)
    assert features("page").exit_code == 0
    assert "<b>1</b>" in (project / "reports" / "features.html").read_text(encoding="utf-8")
    assert not Path("serving").exists()


@pytest.mark.parametrize("in_redis", [True, False], ids=["redis", "sqlite"])
def test_metrics_and_readiness_say_how_new_the_events_are(
    server: Server, project: Path, monkeypatch: pytest.MonkeyPatch, in_redis: bool
) -> None:
    place = server.address() if in_redis else str(project / "events.sqlite")
    monkeypatch.setenv(event_store.VARIABLE, place)
    monkeypatch.setenv(metrics.FOLDER, str(project))
    schema = Schema.model_validate({"columns": COLUMNS}).with_history(Features.model_validate(FEATURES))
    line = 'mlops_events_newest_timestamp_seconds{table="orders"}'

    async def check() -> list[Any]:
        one = Worker(project / "serving", Serving(), metrics.Metrics())
        pages = [await one.metrics_page()]  # nothing is in production
        one.champion = SimpleNamespace(schema=schema)  # type: ignore[assignment]
        with pytest.raises(UnavailableError, match="has no events of orders: `python -m mlops features load`"):
            await one.events()
        features("load")
        pages.append(await one.metrics_page())  # it was asked less than a minute ago
        one._read -= 61
        pages.append(await one.metrics_page())
        ready = await one.events()
        monkeypatch.setenv(event_store.VARIABLE, f"redis://127.0.0.1:{free_port()}?prefix=mine")
        one._read -= 61
        pages.append(await one.metrics_page())
        with pytest.raises(StoreError, match="could not be used"):
            await one.events()
        await one.close()
        return [*(page.decode() for page in pages), ready["orders"]["last"]]

    before, cached, after, down, last = asyncio.run(check())

    assert f"{line} 1.7040672e+09\n" in after
    assert last == "2024-01-01T00:00:00.000000Z"
    assert [line in page for page in (before, cached, down)] == [False, False, False]
