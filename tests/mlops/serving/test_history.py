"""History of a row has the same bits in training, server, monitor and batch, and knows nothing of what came later."""

import io
import json
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlops.base import params
from mlops.base.params import Features
from mlops.data import parsing, rows
from mlops.data.deriving import Derive, derived
from mlops.data.schema import Schema
from mlops.intake import collecting, deliveries, event_files, event_store
from mlops.intake.deliveries import Terms
from mlops.registry.scoring import RawModel
from mlops.serving import delivery, engine, offline, openapi, worker
from mlops.serving.delivery import Period
from mlops.serving.offline import Scored
from mlops.serving.prediction_log import PredictionLog, timestamp
from mlops.serving.request import Reader, RequestError
from mlops.training import encoding, fitting
from mlops.training.model import FittedModel, fitted_model
from sklearn.linear_model import LogisticRegression

HISTORY = Features.model_validate(
    {
        "time": "asked",
        "tables": {
            "orders": {
                "file": "data/events/orders.csv",
                "entity": "customer",
                "time": "ordered",
                "aggregates": [
                    {"function": "sum", "column": "amount", "days": [7, 30]},
                    {"function": "mean", "column": "amount", "days": [90]},
                    {"function": "max", "column": "amount"},
                    {"function": "last", "column": "amount"},
                    {"function": "count", "days": [30]},
                    {"function": "days_since"},
                ],
            },
            "visits": {
                "file": "data/events/visits.parquet",
                "entity": "shop",
                "time": "at",
                "aggregates": [{"function": "count", "days": [1]}],
            },
        },
    }
)
COLUMNS: dict[str, Any] = {
    "customer": {"type": "category", "role": "id"},
    "shop": {"type": "integer", "role": "source"},
    "asked": {"type": "datetime", "role": "time"},
    "plan": {"type": "category"},
    **{name: {"type": "integer" if "count" in name else "number", "derived": True} for name in HISTORY.names},
    "a_week": {"type": "number", "derived": True},
    "y": {"type": "category", "role": "target"},
}
SCHEMA = Schema.model_validate({"columns": COLUMNS}).with_history(HISTORY)
# Without own columns, a server looks all others up.
ALONE = Schema.model_validate({"columns": {**COLUMNS, "a_week": {"type": "number", "role": "ignore"}}}).with_history(
    HISTORY
)
ROWS, EVENTS = 150, 3000
START = datetime(2024, 1, 1)


def derive(table: pd.DataFrame) -> pd.DataFrame:
    """Own columns may be made of history, too."""
    assert set(HISTORY.names) <= set(table)
    return table.assign(a_week=table["orders_sum_amount_7d"] / (1 + table["orders_sum_amount_30d"]))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows and events in files, which share instants; some have no key, or one that nobody knows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(event_store.VARIABLE, str(tmp_path / "events.sqlite"))
    rng = np.random.default_rng(1)
    hours = [START + timedelta(hours=int(hour)) for hour in rng.integers(0, 120 * 24, EVENTS)]
    customers = [*(f"{number:03d}" for number in range(12)), ""]
    orders = pd.DataFrame(
        {
            "customer": rng.choice(customers, EVENTS),
            "ordered": [hour.isoformat() + rng.choice(["", "Z"]) for hour in hours],
            "amount": [f"{amount:.2f}" if amount > 3 else "" for amount in rng.gamma(2, 10, EVENTS)],
        }
    )
    visits = pd.DataFrame({"shop": rng.integers(1, 5, EVENTS), "at": pd.Series(hours).astype("datetime64[ns]")})
    rows = pd.DataFrame(
        {
            "customer": rng.choice([*customers, "nobody", "3"], ROWS),
            "shop": rng.choice(["1", " 2", "3.0", "99", ""], ROWS),
            "asked": [
                (START + timedelta(hours=int(hour))).isoformat() if hour > 24 else ""
                for hour in rng.integers(0, 140 * 24, ROWS)
            ],
            "plan": rng.choice(["a", "b"], ROWS),
            "y": rng.choice(["no", "yes"], ROWS),
        }
    )
    for folder in ("raw", "events"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    orders.to_csv("data/events/orders.csv", index=False)
    visits.to_parquet("data/events/visits.parquet")
    rows.to_csv("data/raw/rows.csv", index=False)
    return tmp_path


def as_it_is(table: pd.DataFrame) -> pd.DataFrame:
    return table


def collected(required: list[str], schema: Schema = SCHEMA) -> pd.DataFrame:
    """What `prepare` and `monitor` make of the rows."""
    layout, events = event_files.with_history(schema, HISTORY, Path("data/events"))
    aside = Path("aside.parquet")
    with collecting.collected(Path("data/raw"), layout, required, own(layout), aside, events=events) as delivered:
        return pd.concat(delivered.table.batches())


def loaded() -> None:
    """The events in the online store."""
    for name, table in HISTORY.tables.items():
        rows = event_files.read(name, SCHEMA, Path("data/events"))
        event_store.add(event_store.path(), name, rows.entities, rows.times, rows.values)
        assert list(rows.values) == table.columns


def own(schema: Schema) -> Derive:
    return derive if "a_week" in schema.derived else as_it_is


def raw_model(table: pd.DataFrame, schema: Schema = SCHEMA) -> tuple[FittedModel, RawModel]:
    inputs = encoding.inputs(table, schema)
    pipeline = fitting.pipeline(encoding.encoder(schema, [], 5, "classification", 1), LogisticRegression())
    fitting.fit(pipeline, inputs, table["y"].to_numpy(dtype=object), 1)
    fitted = fitted_model(pipeline, schema, "classification", "yes", 1)
    content = io.BytesIO()
    joblib.dump(fitted, content, compress=1)
    return fitted, RawModel(content.getvalue(), own(schema), pickle.loads)


def records() -> list[dict[str, Any]]:
    """The rows as JSON has them."""
    text = next(deliveries.batches(Path("data/raw/rows.csv")))
    found: list[dict[str, Any]] = json.loads(text[SCHEMA.needed].to_json(orient="records"))
    return found


def bits(table: pd.DataFrame) -> list[list[bytes]]:
    names = [*HISTORY.names, *(["a_week"] if "a_week" in table else [])]
    return [[value.tobytes() for value in row] for row in table[names].to_numpy(dtype=np.float64, na_value=np.nan)]


@pytest.mark.parametrize("schema", [SCHEMA, ALONE], ids=["with own columns", "history alone"])
def test_training_server_monitor_and_batch_have_the_same_bits(project: Path, schema: Schema) -> None:
    training, monitor = collected(schema.delivered, schema), collected(schema.needed, schema)
    fitted, model = raw_model(training, schema)
    loaded()
    reader = Reader(schema, model.read, ROWS)
    asked = reader.body(json.dumps({"rows": records()}).encode()).rows
    fast = engine.choose(model, training.head(20))
    assert not fast.reason

    server = pd.concat([model.typed([row]) for row in asked[:25]], ignore_index=True)
    together = model.typed(asked)
    tables = offline.score(model, "3", [Path("data/raw/rows.csv")], Terms(), Scored(), skip=False, named=False)
    batch = pd.concat(table.to_pandas() for table in tables)
    encoded = np.concatenate([fast.encode([row]) for row in asked[:25]])  # type: ignore[attr-defined]

    assert bits(together) == bits(training) == bits(monitor)
    assert bits(server) == bits(training)[:25]
    assert encoded.tobytes() == model.encoded(training)[:25].tobytes()
    assert training[HISTORY.names].notna().any().all()
    probabilities = fitted.predict(training).positive_probability
    assert probabilities is not None
    assert batch["probability"].tolist() == probabilities.tolist() == fast.predict(asked).positive_probability.tolist()


def test_later_events_and_those_of_the_very_time_change_no_row(project: Path) -> None:
    before = collected(SCHEMA.delivered)
    rows, orders = pd.read_csv("data/raw/rows.csv", dtype=str), pd.read_csv("data/events/orders.csv", dtype=str)
    # At the time of the newest row of each customer, and a day later.
    newest = rows.dropna(subset=["customer", "asked"]).groupby("customer")["asked"].max()
    at = newest.reset_index().rename(columns={"asked": "ordered"}).assign(amount="9999")
    later = at.assign(ordered=(pd.to_datetime(at["ordered"]) + pd.Timedelta(days=1)).dt.strftime("%Y-%m-%dT%H:%M:%S"))
    shuffled = pd.concat([later, orders, at]).sample(frac=1, random_state=0)
    shuffled.to_csv("data/events/orders.csv", index=False)

    after = collected(SCHEMA.delivered)

    assert bits(after) == bits(before)
    earlier = at.assign(ordered=(pd.to_datetime(at["ordered"]) - pd.Timedelta(seconds=1)).dt.strftime("%FT%T"))
    pd.concat([orders, earlier]).to_csv("data/events/orders.csv", index=False)
    assert bits(collected(SCHEMA.delivered)) != bits(before)


def test_a_row_without_its_time_is_asked_about_now_and_the_log_says_when(project: Path) -> None:
    _, model = raw_model(collected(SCHEMA.delivered))
    loaded()
    reader = Reader(SCHEMA, model.read, 10)
    body = json.dumps({"rows": [{"customer": "007", "shop": 1, "plan": "a"}]}).encode()
    before = datetime.now(UTC).replace(tzinfo=None)

    [row] = reader.body(body).rows

    assert before <= datetime.fromisoformat(row["asked"]) <= datetime.now(UTC).replace(tzinfo=None)
    [days] = model.typed([row])["orders_days_since"]
    newest = pd.to_datetime(
        pd.read_csv("data/events/orders.csv", dtype=str).query("customer == '007'")["ordered"].str[:19]
    )
    assert days == (datetime.fromisoformat(row["asked"]) - newest.max()) / timedelta(days=1)
    # The log's rows are a delivery, of which monitor and training make the same columns.
    log = PredictionLog(project)
    log.append([{"id": "0" * 16 + "-" + "0" * 16, "time": timestamp(), "version": "1", "features": row}])
    log.close()
    Path("data/raw/rows.csv").unlink()
    delivery.write(project, SCHEMA, Period(None, datetime.now(UTC) + timedelta(1)), Path("data/raw/log.parquet"))
    assert bits(collected(SCHEMA.needed)) == bits(model.typed([row]))


def test_a_time_that_is_none_is_refused_by_its_column_and_an_unknown_customer_is_not(project: Path) -> None:
    _, model = raw_model(collected(SCHEMA.delivered))
    loaded()
    reader = Reader(SCHEMA, model.read, 10)

    with pytest.raises(RequestError) as refused:
        reader.rows([{"customer": "007", "shop": 1, "asked": "soon", "plan": "a"}])
    unknown = model.typed([{"customer": "no such", "shop": None, "asked": "2024-03-01", "plan": "a"}]).iloc[0]

    assert refused.value.status == 422
    assert refused.value.detail[0]["column"] == "asked"
    assert (unknown["orders_count_30d"], unknown["orders_sum_amount_7d"]) == (0, 0.0)
    assert unknown[["orders_max_amount", "orders_days_since", "visits_count_1d"]].isna().all()
    assert "asked" not in openapi.components(SCHEMA, ["no", "yes"], 10, None, known=True)["Row"]["required"]


@pytest.mark.parametrize("form", [None, "%d.%m.%Y"])
def test_a_time_far_in_the_future_is_refused_and_one_of_tomorrow_in_another_zone_is_not(form: str | None) -> None:
    columns = COLUMNS | {"asked": COLUMNS["asked"] | {"format": form}}
    schema = Schema.model_validate({"columns": columns}).with_history(HISTORY)
    reader = Reader(schema, lambda values, name: rows.read(values, schema.columns[name], schema.missing), 10)
    soon, late = datetime.now(UTC) + timedelta(hours=23), datetime.now(UTC) + timedelta(days=3)
    row = {"customer": "007", "shop": 1, "plan": "a"}
    spelt = [time.strftime(form or "%FT%TZ") for time in (soon, late)]

    assert len(reader.rows([row, row | {"asked": None}, row | {"asked": spelt[0]}])) == 3
    table = pd.DataFrame([row | {"asked": time} for time in (soon, late)])
    for read in (lambda: reader.rows([row | {"asked": time} for time in spelt]), lambda: reader.check(table)):
        with pytest.raises(RequestError) as refused:
            read()
        [fault] = refused.value.detail
        assert (refused.value.status, fault["row"], fault["column"]) == (422, 2, "asked")
        assert "more than a day in the future" in fault["fault"]


def test_without_the_store_the_model_says_what_makes_it_and_the_server_is_not_available(project: Path) -> None:
    _, model = raw_model(collected(SCHEMA.delivered))

    with pytest.raises(
        MlflowException, match="the store of events, is missing: `python -m mlops features load`"
    ) as error:
        model.predict(records()[:1])

    assert isinstance(worker._blamed(error.value, records()[:1]), worker.UnavailableError)
    loaded()
    assert len(model.predict(records())) == ROWS


def test_columns_of_history_that_the_schema_lacks_are_named_with_what_adds_them(project: Path) -> None:
    columns = {name: column for name, column in COLUMNS.items() if name != "orders_days_since"}
    layout = Schema.model_validate({"columns": columns}).with_history(HISTORY)
    _, events = event_files.with_history(layout, HISTORY, Path("data/events"))
    table = parsing.parse(next(deliveries.batches(Path("data/raw/rows.csv"))), layout, "rows", layout.delivered).table

    with pytest.raises(Exception, match=r"orders_days_since of events, which schema.yaml lacks: .*infer --update"):
        derived(table, layout, derive, events)
    with pytest.raises(Exception, match=r"are made of events, and none are given here"):
        derived(table, SCHEMA, derive)


@pytest.mark.parametrize(
    ("time", "entity", "said"),
    [
        ("asket", "customer", "features.time is asket, which schema.yaml lacks: did you mean asked?"),
        ("plan", "customer", "features.time is plan, whose type in schema.yaml is category: it has to be datetime"),
        ("asked", "y", "an entity of features is y, which is of the role target"),
        ("asked", "a_week", "an entity of features is a_week, which is a derived column"),
        ("asked", "nobody", "an entity of features is nobody, which schema.yaml lacks"),
    ],
)
def test_columns_of_rows_that_cannot_be_asked_about_are_refused(time: str, entity: str, said: str) -> None:
    table = HISTORY.tables["orders"].model_copy(update={"entity": entity})

    with pytest.raises(Exception) as refused:  # noqa: PT011 – the sentence follows
        Schema.model_validate({"columns": COLUMNS}).with_history(Features(time=time, tables={"orders": table}))

    assert said in str(refused.value)


def test_a_model_without_history_has_the_bytes_that_it_always_had() -> None:
    columns = {name: column for name, column in COLUMNS.items() if name not in HISTORY.names}
    plain = Schema.model_validate({"columns": columns})

    assert "history" not in plain.with_history(params.Features()).model_dump(mode="json", exclude_defaults=True)
