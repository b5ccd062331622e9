"""The columns that are made of events, and those that the project's own `derive` adds: the one place for both."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from mlops.base.errors import DataError, SchemaError, counted
from mlops.data import event_features, parsing
from mlops.data.event_features import Source
from mlops.data.own import OwnCodeError, failure, place
from mlops.data.schema import Schema

Derive = Callable[[pd.DataFrame], pd.DataFrame]


def derived(table: pd.DataFrame, schema: Schema, derive: Derive, events: Source | None = None) -> pd.DataFrame:
    """The columns of a typed table (n rows) that prepared data has, the derived ones among them, in schema order.

    First those of `schema.history` are made of `events`. `derive` gets them, and the columns that a prediction needs
    (`schema.needed`), never the target, so that it computes the same in training, server and monitor. A derived column
    is given the type that `schema` says.

    Raises:
        DataError: there are columns of history, and no events are given.
        SchemaError: a column of history is none that `schema` calls derived.
        OwnCodeError: `derive` fails, drops or moves rows, changes a column that it was given, leaves out a column that
            `schema` calls derived, adds one that `schema` does not have, or a column is not of its type.
    """
    given = table[[name for name in schema.needed if name in table]]
    made = history(given, schema, events)
    given = pd.DataFrame({**given, **made}, index=table.index)
    added = new_columns(given, derive)
    if lacking := [name for name in schema.derived if name not in added and name not in made]:
        raise OwnCodeError(
            f"schema.yaml calls {', '.join(lacking)} derived, but neither features in params.yaml nor {place(derive)} "
            "makes that: remove its line from schema.yaml, or add the column"
        )
    if twice := [name for name in added if name in schema.columns and not schema.columns[name].derived]:
        raise OwnCodeError(
            f"{place(derive)} adds {', '.join(twice)}, which schema.yaml has as a delivered column: choose another name"
        )
    if unknown := [str(name) for name in added if name not in schema.columns]:
        raise OwnCodeError(
            f"{place(derive)} adds {', '.join(unknown)}, which schema.yaml does not call derived: `python -m mlops "
            "schema infer --update` adds what it lacks"
        )
    own = [name for name in schema.derived if name not in made]
    columns = {**made, **{name: _typed(added[name], name, schema, derive) for name in own}}
    table = pd.DataFrame({**table, **columns}, index=table.index)  # not assign: a column may be called `self`
    return table[[name for name in schema.kept if name in table]]


def history(given: pd.DataFrame, schema: Schema, events: Source | None) -> dict[str, pd.Series]:
    """The columns that are made of events for a typed table (n rows), in the types of `schema`.

    Raises:
        DataError: no events are given.
        SchemaError: a column is none that `schema` calls derived, or is of a type that cannot hold its values.
    """
    names = schema.history.names
    if not names:
        return {}
    if events is None:
        raise DataError(f"{', '.join(names)} are made of events, and none are given here: see docs/features.md")
    if lacking := [name for name in names if name not in schema.columns]:
        raise SchemaError(
            f"params.yaml makes {', '.join(lacking)} of events, which schema.yaml lacks: `python -m mlops schema infer "
            "--update` adds what it lacks"
        )
    for name, _, one, _ in schema.history.columns():
        column = schema.columns[name]
        wanted = "integer" if one.function == "count" else "number"
        if not column.derived or column.type not in ("number", wanted):
            raise SchemaError(
                f"schema.yaml has {name}, which params.yaml makes of events: it has to be derived: true and of the "
                f"type {wanted}"
            )
    made = event_features.columns(given, schema.history, events)
    return {name: parsing.typed(made[name], schema.columns[name]) for name in names}


def new_columns(given: pd.DataFrame, derive: Derive) -> pd.DataFrame:
    """The columns that `derive` adds to a table (n rows).

    Raises:
        OwnCodeError: it fails, returns no table of the same rows, or changes a column that it was given.
    """
    index, given = given.index, given.reset_index(drop=True)  # a row's number says in which batch it came
    try:
        result = derive(given.copy())
    except Exception as error:
        raise OwnCodeError(failure(derive, error)) from None
    if not isinstance(result, pd.DataFrame):
        raise OwnCodeError(f"{place(derive)} returns a {type(result).__name__}: return the table with its new columns")
    if not result.index.equals(given.index):
        raise OwnCodeError(
            f"{place(derive)} returns {counted(len(result), 'row')} for {len(given)}, or in another order: return the "
            "same rows, with new values that are computed from each row alone"
        )
    if twice := result.columns[result.columns.duplicated()].unique().tolist():
        names = ", ".join(map(str, twice))
        raise OwnCodeError(f"{place(derive)} returns several columns called {names}: give each its own name")
    for name in given:
        if name in result and not result[name].equals(given[name]):
            raise OwnCodeError(
                f"{place(derive)} changes {name}, which was delivered so: write the new values to a column of their own"
            )
    added = result.drop(columns=given.columns, errors="ignore").set_axis(index)
    if odd := [name for name in added if not (isinstance(name, str) and _is_usual(added[name].dtype))]:
        raise OwnCodeError(
            f"{place(derive)} adds {odd[0]!r} of the type {added[odd[0]].dtype}: name it by a text, and give it "
            "numbers, truth values, dates or texts"
        )
    return added


def _is_usual(dtype: Any) -> bool:
    if isinstance(dtype, pd.CategoricalDtype):
        return _is_usual(dtype.categories.dtype)
    types = pd.api.types
    real = types.is_numeric_dtype(dtype) and not types.is_complex_dtype(dtype)
    return real or types.is_datetime64_any_dtype(dtype) or types.is_string_dtype(dtype) or types.is_object_dtype(dtype)


def _typed(values: pd.Series, name: str, schema: Schema, derive: Derive) -> pd.Series:
    kind = schema.columns[name].type
    typed = parsing.column(values, schema.columns[name], schema.missing)
    wrong = values[values.notna() & typed.isna()]
    if len(wrong):
        raise OwnCodeError(
            f"{place(derive)} gives {name} the value {wrong.iloc[0]!r} ({len(wrong)} such rows), which is no {kind}: "
            "correct the function, or the type in schema.yaml"
        )
    return typed
