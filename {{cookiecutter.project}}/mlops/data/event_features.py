"""Columns that are made of events before each row's time: one function for training, server, monitor and batch.

A question is an entity and a time. Its answer is made of the entity's events strictly before that time, so that nothing
is known that was not known then: an event at the very time does not count, and of events at one earlier instant all do.

The answer has the same bits whether many entities are asked about or one, in whatever order events and questions come,
and whatever lies after the time. For that, events of one entity stand in the order of their times, those of one instant
in the order of their values, and each sum is taken of its own events alone, in that order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.params import Aggregate, Features

MICROSECONDS_A_DAY = 86_400_000_000
Times = NDArray[np.datetime64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Sorted:
    """The events (n) that have a value, by entity, time and value: their `keys` (n,) and the values (n + 1,).

    A key is the number of the entity times one more than the number of instants, plus the number of the instant. The
    last value is nobody's: a run of values may end before it.
    """

    keys: Places
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Events:
    """The events of one table: the `entities` that have any, the `instants` (u,) of all in microseconds, sorted.

    `known` has the events with a value of each column; `every` has the keys of all events, sorted.
    """

    entities: pd.Index
    instants: Places
    every: Places
    known: Mapping[str, Sorted]


class Source(Protocol):
    """Where events come from: files or an online store."""

    def events(self, table: str, columns: list[str], entities: pd.Series) -> Events:
        """The events of a table with the values of some columns; at least those of the entities (n,)."""


def arrange(entities: pd.Series, times: Times, values: Mapping[str, NDArray[np.float64]]) -> Events:
    """Sort the n events of a table, once for all questions.

    `entities` (n,) and `times` (n,) say whose event it is and when it was, `values` (n,) what it brought, by column. An
    event without entity or time is left out. A value that is NaN is not there: it is neither counted nor added up.
    """
    there = entities.notna().to_numpy(dtype=bool) & ~np.isnat(times)
    if not there.all():
        entities, times = entities[there], times[there]
        values = {name: column[there] for name, column in values.items()}
    codes, different = pd.factorize(_plain(entities))
    moments = _microseconds(times)
    order = np.argsort(moments)
    is_new = _differs(moments[order])
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.cumsum(is_new) - 1
    instants = moments[order][is_new]
    keys = codes * np.int64(len(instants) + 1) + ranks
    order = np.argsort(keys)
    every = keys[order]
    known = {name: _sorted(every, column[order]) for name, column in values.items()}
    return Events(pd.Index(different), instants, every, known)


def _sorted(keys: Places, values: NDArray[np.float64]) -> Sorted:
    """The values that are there, of each key in their order; the keys are sorted."""
    there = ~np.isnan(values)
    if not there.all():
        keys, values = keys[there], values[there]
    values = values + 0.0  # zero has two signs, which compare as equal: their order would be that of the file
    is_new = _differs(keys)
    alone = is_new & np.append(is_new[1:], True)[: len(is_new)]
    if len(ties := np.flatnonzero(~alone)):
        values[ties] = values[ties[np.lexsort((values[ties], keys[ties]))]]
    return Sorted(keys, np.append(values, 0.0))


def _differs(ordered: Places) -> NDArray[np.bool_]:
    """Where (n,) a sorted array has another value than before."""
    return np.concatenate([np.ones(min(len(ordered), 1), dtype=bool), ordered[1:] != ordered[:-1]])


def _plain(entities: pd.Series) -> pd.Series:
    """The same entities, none of which is missing, without pandas' masks, which a search would have to look at."""
    return entities.astype("int64") if pd.api.types.is_integer_dtype(entities.dtype) else entities


def _microseconds(times: Times) -> Places:
    return times.astype("datetime64[us]").view(np.int64)


def aggregate(
    events: Events, entities: pd.Series, times: Times, aggregates: Sequence[Aggregate], table: str
) -> dict[str, NDArray[np.float64]]:
    """The answers to m questions by name of column, each of shape (m,); NaN is missing.

    A window of d days has the events from d days before the question's time on. An entity without events has the count
    0 and the sum 0, and nothing else. Without an entity or a time, nothing is known. Of several values at the last
    instant, `last` is the largest. A sum that no float holds is missing.
    """
    asked = np.flatnonzero(entities.notna().to_numpy(dtype=bool) & ~np.isnat(times))
    codes = events.entities.get_indexer(pd.Index(_plain(entities.iloc[asked]))).astype(np.int64)
    # By entity and time, so that the windows of one length begin and end one after the other.
    order = np.lexsort((times[asked], codes))
    asked, codes = asked[order], codes[order]
    moments = _microseconds(times[asked])
    by_time = np.argsort(moments)
    first = codes * np.int64(len(events.instants) + 1)
    found: dict[tuple[bool, str, float | None], Places] = {}

    def place(column: str, days: float | None) -> Places:
        """Where the events begin that are not earlier than so many days before each question; None: all of them."""
        keys = events.known[column].keys if column else events.every
        known = (keys is events.every, "" if keys is events.every else column, days)
        if known not in found:
            instants = np.zeros(len(moments), dtype=np.int64)
            if days is not None:
                since = moments[by_time] - round(days * MICROSECONDS_A_DAY)
                instants[by_time] = np.searchsorted(events.instants, since)
            found[known] = np.where(codes < 0, 0, np.searchsorted(keys, first + instants))
        return found[known]

    columns = {}
    for one in aggregates:
        for days in one.windows:
            answers = np.full(len(times), np.nan)
            with np.errstate(over="ignore", invalid="ignore"):
                answers[asked] = _answers(events, one, place(one.column, days), place(one.column, 0), moments)
            answers[np.isinf(answers)] = np.nan
            columns[one.name(table, days)] = answers
    return columns


def _answers(events: Events, one: Aggregate, start: Places, end: Places, moments: Places) -> NDArray[np.float64]:
    """One aggregate of the events from `start` to `end`, each of shape (m,) and without a fall within an entity."""
    counts = end - start
    if one.function == "count":
        return counts.astype(np.float64)
    there = counts > 0
    answers = np.full(len(counts), np.nan)
    last = end[there] - 1
    if one.function == "days_since":
        keys = events.known[one.column].keys if one.column else events.every
        instants = events.instants[keys[last] % (len(events.instants) + 1)]
        answers[there] = (moments[there] - instants) / MICROSECONDS_A_DAY
        return answers
    values = events.known[one.column].values
    if one.function == "last":
        answers[there] = values[last]
    elif one.function == "max":
        answers[there] = _reduced(np.maximum, values, start[there], end[there])
    else:
        answers[there] = _reduced(np.add, values, start[there], end[there])
        if one.function == "mean":
            answers[there] /= counts[there]
        else:
            answers[~there] = 0.0
    return answers


def _reduced(function: np.ufunc, values: NDArray[np.float64], start: Places, end: Places) -> NDArray[np.float64]:
    """The sum or maximum of each run of values, none of which is empty or has the last value; runs may overlap.

    Each run is reduced by itself: prefix sums would lose digits, and differ from those of a single entity. `reduceat`
    also reduces what lies between the end of a run and the start of the next. Both only rise from run to run, so that
    all of these gaps together are no longer than the values.
    """
    bounds = np.column_stack([start, end]).ravel()
    reduced: NDArray[np.float64] = function.reduceat(values, bounds)[::2]
    return reduced


def columns(table: pd.DataFrame, history: Features, source: Source) -> pd.DataFrame:
    """The columns of history for the n rows of a typed table, which has the entities and the time of each; float64."""
    found: dict[str, NDArray[np.float64]] = {}
    for name, one in history.tables.items():
        entities, times = table[one.entity], table[history.time].to_numpy(dtype="datetime64[us]")
        found |= aggregate(source.events(name, one.columns, entities), entities, times, one.aggregates, name)
    return pd.DataFrame(found, index=table.index)
