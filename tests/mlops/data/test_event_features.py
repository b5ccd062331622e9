"""History is what a loop over all events gives, bit by bit the same however rows and events come together."""

import math
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.base.params import Aggregate
from mlops.data import event_features
from numpy.typing import NDArray

START = datetime(2024, 1, 1)
DAY = timedelta(days=1)
AGGREGATES = (
    *(Aggregate(function=function, column="amount", days=(0.5, 3)) for function in ("count", "sum", "mean", "max")),
    *(Aggregate(function=function, column="amount") for function in ("count", "sum", "mean", "max", "last")),
    Aggregate(function="last", column="amount", days=(2,)),
    Aggregate(function="count", days=(3,)),
    Aggregate(function="count"),
    Aggregate(function="days_since"),
    Aggregate(function="days_since", column="amount"),
)
# Sums of them are exact, so that a reference may add in any order; both zeros are among them.
EXACT = st.sampled_from([-2.0, -0.0, 0.0, 0.25, 1.0, 1.5, 8.0, math.nan])
ANY = st.floats(-1e12, 1e12) | st.just(math.nan)
ENTITIES = st.sampled_from(["7", "007", "b", None])
# Few different instants, so that many events share one; and windows begin at some of them.
TIMES = st.one_of(st.none(), st.integers(0, 12).map(lambda half_days: START + half_days * DAY / 2))
QUESTIONS = st.lists(st.tuples(st.sampled_from(["7", "007", "b", "nobody", None]), TIMES), min_size=1, max_size=8)


def events_of(values: st.SearchStrategy[float]) -> st.SearchStrategy[list[tuple[str | None, datetime | None, float]]]:
    return st.lists(st.tuples(ENTITIES, TIMES, values), max_size=30)


def series(entities: list[str | None]) -> pd.Series:
    return pd.Series(entities, dtype="str")


def instants(times: list[datetime | None]) -> NDArray[np.datetime64]:
    return np.array(times, dtype="datetime64[us]")


def arranged(events: list[tuple[str | None, datetime | None, float]]) -> event_features.Events:
    entities, times, amounts = (list(column) for column in zip(*events, strict=True)) if events else ([], [], [])
    return event_features.arrange(series(entities), instants(times), {"amount": np.array(amounts, dtype=np.float64)})


def asked(
    events: list[tuple[str | None, datetime | None, float]], questions: list[tuple[str | None, datetime | None]]
) -> pd.DataFrame:
    entities, times = (list(column) for column in zip(*questions, strict=True))
    found = event_features.aggregate(arranged(events), series(entities), instants(times), AGGREGATES, "orders")
    return pd.DataFrame(found)


def reference(
    events: list[tuple[str | None, datetime | None, float]], entity: str | None, time: datetime | None
) -> dict[str, float]:
    """The same columns for one question, by looking at every event."""
    columns = {}
    for one in AGGREGATES:
        for days in one.days or (None,):
            there = [
                (when, value)
                for who, when, value in events
                if None not in (who, when, entity, time)
                and who == entity
                and when < time
                and (days is None or time - days * DAY <= when)
                and not (one.column and math.isnan(value))
            ]
            columns[one.name("orders", days)] = math.nan if None in (entity, time) else made(one, sorted(there), time)
    return columns


def made(one: Aggregate, there: list[tuple[datetime, float]], time: datetime) -> float:
    values = [value for _, value in there]
    if one.function == "count":
        return float(len(values))
    if one.function == "sum":
        return math.fsum(values)
    if not there:
        return math.nan
    if one.function == "days_since":
        return (time - there[-1][0]) / DAY
    return {"mean": math.fsum(values) / len(values), "max": max(values), "last": values[-1]}[one.function]


def bits(table: pd.DataFrame) -> bytes:
    return table.to_numpy().tobytes()


@settings(max_examples=80)
@given(events_of(EXACT), QUESTIONS)
def test_every_column_is_that_of_a_loop_over_all_events(
    events: list[tuple[str | None, datetime | None, float]], questions: list[tuple[str | None, datetime | None]]
) -> None:
    right = pd.DataFrame([reference(events, *question) for question in questions])

    pd.testing.assert_frame_equal(asked(events, questions), right, check_exact=True)


@settings(max_examples=80)
@given(events_of(ANY), QUESTIONS, st.randoms(use_true_random=False))
def test_one_entity_alone_and_any_order_give_the_same_bits(
    events: list[tuple[str | None, datetime | None, float]],
    questions: list[tuple[str | None, datetime | None]],
    random: object,
) -> None:
    together = asked(events, questions)
    one_by_one = [asked([one for one in events if one[0] == who], [(who, when)]) for who, when in questions]
    random.shuffle(events)  # type: ignore[attr-defined]

    assert bits(pd.concat(one_by_one)) == bits(together)
    assert bits(asked(events, questions)) == bits(together)


@settings(max_examples=80)
@given(events_of(ANY), events_of(ANY), TIMES.filter(bool), ENTITIES)
def test_what_happens_at_the_time_or_later_changes_nothing(
    events: list[tuple[str | None, datetime | None, float]],
    later: list[tuple[str | None, datetime | None, float]],
    time: datetime,
    entity: str | None,
) -> None:
    future = [(who, time + (when - START if when else DAY), value) for who, when, value in later]

    assert bits(asked([*events, *future], [(entity, time)])) == bits(asked(events, [(entity, time)]))


def test_long_sums_of_many_and_of_one_entity_have_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    entities = pd.Series(rng.integers(0, 5, 20_000), dtype="Int64")
    times = (rng.integers(0, 400 * 86_400, 20_000) * 1_000_000).astype("datetime64[us]")
    amounts = rng.gamma(2, 10, 20_000)
    asked_about, at = entities[:200], times[:200] + np.timedelta64(1, "h")
    aggregates = (Aggregate(function="sum", column="amount", days=(1, 90)), Aggregate(function="mean", column="amount"))
    everything = event_features.arrange(entities, times, {"amount": amounts})
    together = event_features.aggregate(everything, asked_about, at, aggregates, "orders")

    for place in range(0, 200, 7):
        own = (entities == entities[place]).to_numpy(dtype=bool) & (times < at[place])
        alone = event_features.arrange(entities[own], times[own], {"amount": amounts[own]})
        found = event_features.aggregate(
            alone, asked_about[place : place + 1], at[place : place + 1], aggregates, "orders"
        )
        assert {name: values[0] for name, values in found.items()} == {
            name: values[place] for name, values in together.items()
        }


@pytest.mark.parametrize("unit", ["ns", "us", "ms", "s"])
def test_times_of_any_unit_are_compared_as_times(unit: str) -> None:
    table = arranged([("b", START, 2.0), ("b", START + DAY, 3.0)])
    time = np.array([START + DAY], dtype=f"datetime64[{unit}]")

    found = event_features.aggregate(
        table, series(["b"]), time, (Aggregate(function="sum", column="amount"),), "orders"
    )

    assert found["orders_sum_amount"].tolist() == [2.0]


def test_a_sum_that_no_float_holds_is_missing() -> None:
    events = [("b", START, 1.7e308), ("b", START, 1.7e308)]

    found = asked(events, [("b", START + DAY)])

    assert math.isnan(found["orders_sum_amount"].item())
    assert found["orders_max_amount"].item() == 1.7e308
