"""Count, sum and maximum in three windows before each of many questions, beside pandas and DuckDB."""

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import PROJECT, Row

TITLE = "Features made of events"
PACKAGES = ("pandas", "numpy", "duckdb")
EVENTS, ENTITIES, QUESTIONS = 1_000_000, 10_000, 100_000
WINDOWS = (7, 30, 90)
YEAR = 365 * 86_400
FUNCTIONS = ("count", "sum", "max")
ABOUT = f"""
Count, sum and maximum of an amount over the {", ".join(map(str, WINDOWS))} days before each of {QUESTIONS:,}
questions, of {EVENTS:,} events of {ENTITIES:,} customers, in one process, on one thread, one after the other; the
answers are compared. pandas' side is its rolling windows, with the questions among the events.
"""


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events (entity, time, amount) and questions (entity, time)."""
    rng = np.random.default_rng(0)

    def some(rows: int) -> dict[str, Any]:
        times = pd.Series((rng.integers(0, YEAR, rows) * 1_000_000).astype("datetime64[us]"))
        return {"entity": rng.integers(0, ENTITIES, rows), "time": times}

    return pd.DataFrame({**some(EVENTS), "amount": rng.gamma(2, 10, EVENTS)}), pd.DataFrame(some(QUESTIONS))


def ours(events: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """By the function that training and server share."""
    from mlops.base.params import Aggregate
    from mlops.data import event_features

    aggregates = [Aggregate(function=name, column="amount", days=list(WINDOWS)) for name in FUNCTIONS]
    known = event_features.arrange(events["entity"], events["time"].to_numpy(), {"amount": events["amount"].to_numpy()})
    found = event_features.aggregate(known, questions["entity"], questions["time"].to_numpy(), aggregates, "o")
    names = [f"o_{name}_amount_{days}d" for days in WINDOWS for name in FUNCTIONS]
    return pd.DataFrame({name: found[name] for name in names})


def with_pandas(events: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """Questions as rows without an amount among the events, and windows that end before each row."""
    asked = questions.assign(amount=np.nan, number=np.arange(len(questions)))
    rows = pd.concat([events.assign(number=-1), asked]).sort_values(["entity", "time"], kind="stable")
    places = np.flatnonzero(rows["number"] >= 0)
    order = rows["number"].to_numpy()[places]
    groups = rows.set_index("time").groupby("entity")["amount"]
    found = []
    for days in WINDOWS:
        windows = groups.rolling(f"{days}D", closed="left", min_periods=0)
        found += [getattr(windows, name)().to_numpy()[places] for name in FUNCTIONS]
    return pd.DataFrame(dict(enumerate(found)), index=order).sort_index()


def with_duckdb(events: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """A join by entity and the longest window, with a filter for each."""
    import duckdb

    parts = [
        f"{name}(amount) FILTER (e.time >= q.time - INTERVAL {days} DAY)" for days in WINDOWS for name in FUNCTIONS
    ]
    asked = questions.assign(number=np.arange(len(questions)))
    query = (
        f"SELECT q.number, {', '.join(parts)} FROM asked q LEFT JOIN events e ON e.entity = q.entity "  # noqa: S608
        f"AND e.time < q.time AND e.time >= q.time - INTERVAL {max(WINDOWS)} DAY GROUP BY q.number ORDER BY q.number"
    )
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("asked", asked)
        connection.register("events", events)
        return connection.execute(query).df().drop(columns="number")


def measure(options: Namespace) -> list[Row]:
    """Each side in turns; the answers have to be equal."""
    sys.path.insert(0, str(PROJECT))
    from mlops.data import event_features  # noqa: F401 – its time is not that of the function

    events, questions = tables()
    sides: dict[str, Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]] = {"ours": ours, "pandas": with_pandas}
    if find_spec("duckdb"):
        sides["DuckDB"] = with_duckdb
    first, taken = None, {name: list[float]() for name in sides}
    for _ in range(min(3, options.repeat)):
        for name, function in sides.items():
            start = time.process_time()
            answers = function(events, questions)
            taken[name].append(time.process_time() - start)
            values = answers.fillna(0).to_numpy(dtype=np.float64)
            first = values if first is None else first
            if not np.allclose(values, first, rtol=1e-9, atol=1e-6):
                sys.exit(f"the answers of {name} differ from ours")
    seconds = {name: float(np.median(each)) for name, each in taken.items()}
    mine = seconds.pop("ours")
    return [Row(f"{QUESTIONS:,} questions", "s of processor time", mine, name, each) for name, each in seconds.items()]
