"""Columns made of events in a real project: drafted, trained with, watched, listed and brought to the server."""

import csv
import json
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import BakedProject, bake_copy
from tests.projects import DVC, answers, change, succeeds

START = datetime(2024, 1, 1)
HISTORY = {
    "orders": {
        "file": "data/events/orders.csv",
        "entity": "customer_id",
        "time": "ordered_at",
        "owner": "Shop team",
        "aggregates": [{"function": "sum", "column": "amount", "days": [30]}, {"function": "days_since"}],
    }
}


def asked_at(path: Path) -> None:
    """Give every row of a delivery the time at which it is asked about: a day each, in its order."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["asked_at"] = (START + timedelta(days=30 + number % 300)).isoformat()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def project(quick: BakedProject, tmp_path: Path) -> BakedProject:
    """The quick project whose rows have a time, and orders of every second customer."""
    made = bake_copy(quick, tmp_path)
    ids = []
    for folder in ("raw", "incoming"):
        [path] = (made.path / "data" / folder).glob("*.csv")
        asked_at(path)
        ids += pd.read_csv(path, dtype=str)["customer_id"].tolist()
    orders = [
        (customer, START + timedelta(days=10 * number), 10 + number)
        for customer in ids[::2]
        for number in range(0, 30, 3)
    ]
    table = pd.DataFrame(orders, columns=["customer_id", "ordered_at", "amount"])
    table.to_csv(made.path / "data" / "events" / "orders.csv", index=False)
    schema = made.path / "schema.yaml"
    text = schema.read_text(encoding="utf-8")
    schema.write_text(
        text.replace("  churn:", "  asked_at: {type: datetime, role: source}\n  churn:"), encoding="utf-8"
    )
    change(made, "features", "time", "asked_at")
    change(made, "features", "tables", HISTORY)
    succeeds(made, *DVC, "add", "--quiet", "data/raw", "data/incoming", "data/events")
    return made


def test_history_is_drafted_trained_with_watched_and_listed(project: BakedProject) -> None:
    drafted = answers(project, "schema", "infer", "--update")
    succeeds(project, *DVC, "repro", "--quiet", "monitor")
    loaded = json.loads(answers(project, "features", "load", "--json"))["tables"]["orders"]
    listed = json.loads(answers(project, "features", "page", "--json"))
    page = answers(project, "features", "page")

    assert "added orders_sum_amount_30d, orders_days_since" in drafted
    train = pd.read_parquet(project.path / "data" / "prepared" / "train.parquet")
    assert train["orders_sum_amount_30d"].gt(0).mean() == pytest.approx(0.5, abs=0.1)
    assert train["orders_days_since"].max() <= 60
    assert "asked_at" not in train
    data = json.loads(project.read("reports/dataset.json"))["events"]["orders"]
    assert (data["rows"], data["left_out"]) == (loaded["events"], 0)
    assert "orders_sum_amount_30d" in project.read("reports/plots/importances.csv")
    assert {"orders_sum_amount_30d", "orders_days_since"} <= {
        column["column"] for column in json.loads(project.read("reports/drift.json"))["columns"]
    }
    [row] = [each for each in listed["features"] if each["name"] == "orders_sum_amount_30d"]
    assert (row["definition"], row["owner"]) == ("sum of amount of orders in the 30 days before", "Shop team")
    assert None not in (row["importance"], row["drifted"], row["last"])
    assert "reports/features.html" in page
    assert "sum of amount of orders in the 30 days before" in project.read("reports/features.html")
    # Another event is other data.
    with (project.path / "data" / "events" / "orders.csv").open("a", encoding="utf-8") as file:
        file.write("1,2024-01-01,5\n")
    assert "data/events" in succeeds(project, *DVC, "status", "prepare")
    assert json.loads(answers(project, "features", "load", "--json"))["tables"]["orders"]["new"] == 1
