"""Raw rows of a client, as CSV or JSON has them, in the types and with the columns that prepared data has."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pandas as pd

from mlops.base.errors import DataError
from mlops.data import parsing
from mlops.data.deriving import Derive, derived
from mlops.data.schema import Schema

Rows: TypeAlias = pd.DataFrame | pd.Series | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def typed(rows: Rows, schema: Schema, derive: Derive) -> pd.DataFrame:
    """The typed table (n rows, numbered from 0) of raw rows, its derived columns included, as `prepare` makes it.

    `rows` are a table, one row by the names of its columns, whole columns by their names, or a list of rows. What no
    prediction needs, such as an id or the target, is left out. A value that is not of its column's type is missing, as
    in training, and a warning says so.

    Raises:
        DataError: there is no row, a needed column is not there, or `schema` rejects rows that have such a value.
        OwnCodeError: `derive` fails or does not keep its contract.
    """
    table = _table(rows)
    records = [] if isinstance(rows, pd.DataFrame | pd.Series | Mapping) else rows
    lacking = [name for name in schema.needed if name not in table or any(name not in row for row in records)]
    if lacking:
        raise DataError(
            f"the row lacks {', '.join(lacking)}, which the model needs: give every feature, and null (in CSV nothing) "
            "where its value is not known"
        )
    parsed = parsing.parse(table[schema.needed].reset_index(drop=True), schema, "the row", schema.needed)
    for found in parsed.unparseable:
        value, row = found.values[0], found.rows[0] + 1
        said = f"{found.column} is {value!r} in row {row} of {len(table)}, which is no {found.type}"
        if found.rejected:
            raise DataError(f"{said}, and schema.yaml rejects such a row: correct the value, or give null")
        warnings.warn(f"{said}: such a value counts as missing ({len(found.rows)} here)", stacklevel=2)
    return derived(parsed.table, schema, derive)


def _table(rows: Rows) -> pd.DataFrame:
    """The rows as a table; of a mapping, columns are all lists, and a row is not."""
    if isinstance(rows, pd.Series):
        rows = {str(name): value for name, value in rows.items()}
    try:
        one = isinstance(rows, Mapping) and not all(map(pd.api.types.is_list_like, rows.values()))
        table = pd.DataFrame([rows] if one else rows)
    except (TypeError, ValueError) as error:
        raise DataError(f"the rows are no table ({error}): give one row, or a list of rows, by column names") from None
    if table.empty:
        raise DataError("there is no row to predict: give at least one, by column names")
    if twice := table.columns[table.columns.duplicated()].unique().tolist():
        raise DataError(f"the rows have {', '.join(map(str, twice))} twice: give each column once")
    return table
