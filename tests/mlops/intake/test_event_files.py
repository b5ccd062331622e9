"""Events in files are read as the schema and params.yaml say; whatever is wrong is one sentence."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlops.base.errors import DataError, ParameterError
from mlops.base.params import Features
from mlops.data.schema import Schema
from mlops.intake import event_files

FOLDER = Path("data/events")
ORDERS: dict[str, Any] = {
    "file": "data/events/orders.csv",
    "entity": "customer",
    "time": "ordered",
    "aggregates": [{"function": "sum", "column": "amount"}],
}


def schema(kind: str = "category", **orders: Any) -> Schema:
    columns = {
        "customer": {"type": kind, "role": "id"},
        "asked": {"type": "datetime", "role": "time"},
        "x": {"type": "number"},
        "y": {"type": "number", "role": "target"},
    }
    history = Features.model_validate({"time": "asked", "tables": {"orders": ORDERS | orders}})
    return Schema.model_validate({"columns": columns}).with_history(history)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)


def csv(text: str) -> None:
    (FOLDER / "orders.csv").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(("kind", "entities"), [("category", ["007", "7", "a"]), ("text", ["007", "7", "a"])])
def test_codes_with_zeros_stay_apart_where_the_schema_has_texts(kind: str, entities: list[str]) -> None:
    csv("customer,ordered,amount\n007,2024-01-01,1\n7,2024-01-02,2\na,2024-01-03,3\n")

    assert event_files.read("orders", schema(kind), FOLDER).entities.tolist() == entities


def test_codes_with_zeros_are_one_number_where_the_schema_has_numbers() -> None:
    csv("customer,ordered,amount\n007,2024-01-01,1\n7,2024-01-02,2\n")

    assert event_files.read("orders", schema("integer"), FOLDER).entities.tolist() == [7, 7]


def test_zones_units_and_spellings_give_the_same_times_and_numbers() -> None:
    times = pd.to_datetime(["2024-01-01T10:00:00.123456", "2024-06-01"], format="ISO8601")
    csv("ordered;customer;amount;other\n2024-01-01T12:00:00.123456+02:00;a;1,5;x\n2024-06-01;a;;y\n")
    from_text = event_files.read("orders", schema(decimal=","), FOLDER)
    table = pd.DataFrame({"customer": ["a", "a"], "ordered": times, "amount": [1.5, None]})
    for unit in ("ns", "us", "ms"):
        stored = table.assign(ordered=times.as_unit(unit).tz_localize("UTC").tz_convert("Asia/Tokyo"))
        stored.to_parquet(FOLDER / "orders.parquet")
        found = event_files.read("orders", schema(file="data/events/orders.parquet"), FOLDER)
        expected = times.as_unit("us") if unit != "ms" else times.as_unit("ms").as_unit("us")
        assert found.times.tolist() == expected.to_pydatetime().tolist()
        assert found.values["amount"].tolist()[0] == from_text.values["amount"].tolist()[0] == 1.5
    assert from_text.times.tolist() == times.to_pydatetime().tolist()
    csv("customer,ordered,amount\na,31.12.2024 23:59,1\n")
    assert (
        str(event_files.read("orders", schema(format="%d.%m.%Y %H:%M"), FOLDER).times[0])
        == "2024-12-31T23:59:00.000000"
    )


def test_events_without_customer_or_time_are_left_out_and_told() -> None:
    csv("customer,ordered,amount\n,2024-01-01,1\na,,2\na,2024-01-03,\nNA,2024-01-03,4\n")
    layout, files = event_files.with_history(schema(), schema().history, FOLDER)

    events = files.events("orders", ["amount"], pd.Series(["a"]))

    assert (len(events.every), len(events.known["amount"].keys)) == (1, 0)
    assert files.sentences() == ["orders: 3 events without customer or time left out"]
    assert files.facts["orders"] == {
        "rows": 4,
        "left_out": 3,
        "entities": 1,
        "first": "2024-01-03T00:00:00.000000",
        "last": "2024-01-03T00:00:00.000000",
    }
    assert layout.history.names == ["orders_sum_amount"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "data/events/orders.csv is missing, of which params.yaml makes columns: `dvc pull` fetches it"),
        (
            "customer,orderd,amount\na,2024-01-01,1\n",
            "lacks the column ordered, which params.yaml names below features",
        ),
        (
            "customer,ordered,amount\na,2024-01-01,1\na,soon,2\n",
            "orders.csv:3: ordered is 'soon', which is no datetime",
        ),
        ("customer,ordered,amount\na,2024-01-01,many\n", "orders.csv:2: amount is 'many', which is no number"),
        ("customer,ordered,amount\na,2024-01-01\n", "orders.csv:2 has 2 fields where the header has 3"),
    ],
)
def test_events_that_cannot_be_read_are_told_in_a_sentence(content: str | None, said: str) -> None:
    if content is not None:
        csv(content)

    with pytest.raises(DataError) as error:
        event_files.read("orders", schema(), FOLDER)

    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_elsewhere_is_refused_since_dvc_would_not_see_it() -> None:
    history = schema(file="elsewhere/orders.csv").history

    with pytest.raises(
        ParameterError, match=r"orders\.file is elsewhere/orders\.csv: move it to data/events, where DVC sees"
    ):
        event_files.with_history(schema(), history, FOLDER)
