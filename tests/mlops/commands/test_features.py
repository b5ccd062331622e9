"""`features load` and `features page`: what they say and write, and what they refuse."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlops.__main__ import app
from mlops.base.errors import ParameterError
from mlops.base.params import Features
from mlops.commands.features import page
from mlops.data.schema import Schema
from mlops.intake import event_store
from mlops.serving.worker import UnavailableError, Worker
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

ORDERS = {
    "file": "data/events/orders.csv",
    "entity": "customer",
    "time": "ordered",
    "owner": "Shop team",
    "aggregates": [{"function": "sum", "column": "amount", "days": [7]}, {"function": "count"}],
}
FEATURES: dict[str, Any] = {"time": "asked", "tables": {"orders": ORDERS}}
COLUMNS = {
    "customer": {"type": "category", "role": "id"},
    "asked": {"type": "datetime", "role": "time"},
    "age": {"type": "integer"},
    "orders_sum_amount_7d": {"type": "number", "derived": True},
    "ratio": {"type": "number", "derived": True},
    "y": {"type": "number", "role": "target"},
}


def features(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["features", *arguments])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(event_store.VARIABLE, "")
    monkeypatch.delenv(event_store.VARIABLE)
    write(FEATURES)
    YAML(typ="safe", pure=True).dump({"columns": COLUMNS}, tmp_path / "schema.yaml")
    (tmp_path / "data" / "events").mkdir(parents=True)
    Path("data/events/orders.csv").write_text("customer,ordered,amount\n007,2024-01-01,1\n,2024-01-02,2\n")
    return tmp_path


def write(content: dict[str, Any]) -> None:
    YAML(typ="safe", pure=True).dump({"features": content}, Path("params.yaml"))


def test_a_load_says_what_is_new_and_what_only_the_store_has(project: Path) -> None:
    Path("more.csv").write_text("customer,ordered,amount\n007,2024-02-01,5\n007,2024-01-01,1\n")

    tried = features("load", "--dry-run").stdout
    assert not Path("serving").exists()
    said = [features("load", *arguments).stdout for arguments in ([], [], ["more.csv"], [], ["--replace"])]

    assert "has 2 events, 1 of them without entity or time left out; nothing was changed" in tried
    assert "orders: 2 events in data/events/orders.csv, 1 of them without entity or time left out, 1 new; " in said[0]
    assert "serving/events.sqlite has 1, the newest of 2024-01-01T00:00:00.000000Z" in said[0]
    assert "data/events/orders.csv is loaded; " in said[1]
    assert "2 events in more.csv, 1 new; " in said[2]
    assert "has 2, the newest of 2024-02-01T00:00:00.000000Z; 1 of them is not in the file: --replace" in said[3]
    assert "1 new" not in said[4]
    assert "1 event removed that the file lacks; serving/events.sqlite has 1, " in said[4]


def test_columns_that_params_yaml_names_no_more_stay_for_the_version_in_production(project: Path) -> None:
    features("load")
    write(FEATURES | {"tables": {"orders": ORDERS | {"aggregates": [{"function": "count"}]}}})
    Path("data/events/orders.csv").write_text("customer,ordered,amount\n007,2024-01-01,1\n007,2024-01-03,3\n")

    loaded = json.loads(features("load", "--json").stdout)["tables"]["orders"]

    assert (loaded["new"], loaded["events"], loaded["anew"]) == (1, 2, False)
    assert event_store.tables(event_store.path())["orders"].columns == ("amount",)


def test_events_far_in_the_future_are_loaded_with_a_warning(project: Path) -> None:
    with Path("data/events/orders.csv").open("a") as file:
        file.write("007,2924-01-01,1\n")

    warned = features("load")

    assert "WARNING: orders: 1 event in data/events/orders.csv more than a day in the future" in warned.stderr
    assert "serving/events.sqlite has 2, " in warned.stdout


def test_a_small_file_after_a_change_of_the_columns_removes_nothing(project: Path) -> None:
    orders = "customer,ordered,amount,tax\n007,2024-01-01,1,2\n007,2024-01-02,1,2\n"
    Path("data/events/orders.csv").write_text(orders)
    Path("more.csv").write_text("customer,ordered,amount,tax\n007,2024-02-01,1,2\n")
    Path("less.csv").write_text("customer,ordered,tax\n007,2024-02-01,2\n")
    features("load")
    tax = {"function": "sum", "column": "tax"}
    write(FEATURES | {"tables": {"orders": ORDERS | {"aggregates": [tax]}}})

    small, lacking = str(features("load", "more.csv").exception), str(features("load", "less.csv").exception)
    whole = features("load").stdout
    more = features("load", "more.csv").stdout
    removed = features("load", "less.csv", "--replace").stdout

    assert "2 events that this file lacks: `python -m mlops features load --table orders --replace`" in small
    assert "less.csv lacks amount, which the store has, maybe for a version in production" in lacking
    assert "2 events in data/events/orders.csv, 0 new (its table was made anew" in whole
    assert "1 event in more.csv, 1 new; serving/events.sqlite has 3, " in more
    assert "2 events removed that the file lacks, without amount, which the file lacks; " in removed
    assert event_store.tables(event_store.path())["orders"].columns == ("tax",)


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        ({}, (), "params.yaml names no events below features.tables"),
        (FEATURES, ("--table", "order"), "--table order is none of features.tables: did you mean orders?"),
        (FEATURES, ("none.csv",), "none.csv is missing: name a file of events"),
        (FEATURES | {"tables": {"orders": ORDERS, "visits": ORDERS}}, ("a.csv",), "say which by --table"),
        (
            FEATURES | {"tables": {"orders": ORDERS | {"file": "data/events/no.csv"}}},
            (),
            "data/events/no.csv is missing",
        ),
    ],
)
def test_what_cannot_be_loaded_is_a_sentence(
    project: Path, content: dict[str, Any], arguments: tuple[str, ...], said: str
) -> None:
    write(content)

    failed = features("load", *arguments)

    assert failed.exit_code == 1
    assert said in str(failed.exception)


def test_the_time_of_rows_and_the_columns_of_history_are_drafted_these_without_limits(project: Path) -> None:
    Path("data/raw").mkdir()
    rows = "".join(
        f"{number:03},2024-02-{number % 28 + 1:02}T10:00,{number % 20},{number % 7}.5\n" for number in range(60)
    )
    Path("data/raw/rows.csv").write_text(f"customer,asked,age,y\n{rows}")
    events = "".join(f"{number:03},2024-01-31,{number}\n" for number in range(30))
    Path("data/events/orders.csv").write_text(f"customer,ordered,amount\n{events}")
    known = {name: COLUMNS[name] for name in ("customer", "age", "y")}
    YAML(typ="safe", pure=True).dump({"columns": known}, Path("schema.yaml"))

    added = CliRunner().invoke(app, ["schema", "infer", "--update"])

    assert "added asked, orders_sum_amount_7d, orders_count" in added.stdout, added.exception
    columns = YAML(typ="safe", pure=True).load(Path("schema.yaml"))["columns"]
    assert columns["asked"]["type"] == "datetime"
    # All counts are 0 or 1 here.
    assert columns["orders_count"] == {"type": "integer", "derived": True}
    assert columns["orders_sum_amount_7d"] == {"type": "number", "derived": True}


def test_the_page_names_what_every_feature_is_and_what_nobody_knows(project: Path) -> None:
    history = Features.model_validate(FEATURES)
    schema = Schema.model_validate({"columns": COLUMNS}).with_history(history)
    data = {"period": {"last": "2024-03-01"}, "events": {"orders": {"last": "2024-02-01"}}}
    drift = {"columns": [{"column": "age", "drifted": True, "effect": 0.3}]}

    asked, age, made, ratio = page.features(schema, history, "Ada", data, {"age": 0.1}, drift)

    assert (asked["name"], asked["last"]) == ("asked", "2024-03-01")
    assert asked["definition"] == "the row's time: the model gets its month, weekday and hour"
    assert age == {
        "name": "age",
        "type": "integer",
        "definition": "delivered",
        "owner": "Ada",
        "source": "data/raw",
        "last": "2024-03-01",
        "importance": 0.1,
        "drifted": True,
        "effect": 0.3,
    }
    assert (made["owner"], made["source"], made["last"]) == ("Shop team", "data/events/orders.csv", "2024-02-01")
    assert made["definition"] == "sum of amount of orders in the 7 days before"
    assert (made["importance"], made["drifted"]) == (None, None)
    assert (ratio["definition"], ratio["source"]) == ("derived from its own row", "project/features.py")
    assert "missing" in written(project)
    features("load")
    assert "<b>1</b>" in written(project)
    assert "4 features, with the row's time, whose drift is not watched" in written(project)  # `monitor` counts 3


def written(project: Path) -> str:
    """The page, before any stage has run."""
    assert "4 features are in reports/features.html, with the row's time, " in features("page").stdout
    return (project / "reports" / "features.html").read_text(encoding="utf-8")


def test_a_server_is_ready_with_how_fresh_its_events_are_and_not_without(project: Path) -> None:
    schema = Schema.model_validate({"columns": COLUMNS}).with_history(Features.model_validate(FEATURES))

    async def in_other(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    server: Any = SimpleNamespace(champion=SimpleNamespace(schema=schema), in_other=in_other)
    with pytest.raises(UnavailableError, match="has no events of orders: `python -m mlops features load`"):
        asyncio.run(Worker.events(server))
    features("load")

    assert asyncio.run(Worker.events(server))["orders"]["last"] == "2024-01-01T00:00:00.000000Z"
    server.champion.schema = Schema.model_validate({"columns": COLUMNS})
    assert asyncio.run(Worker.events(server)) == {}


def test_a_year_is_not_simulated_with_history(project: Path) -> None:
    failed = CliRunner().invoke(app, ["simulate"])

    assert isinstance(failed.exception, ParameterError)
    assert "made-up customers, who have no events" in str(failed.exception)
