"""The predictions of rows by the ids that the rows have in the world: a customer's number, say."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mlops.base.errors import StoreError
from mlops.data import rows
from mlops.data.schema import Schema
from mlops.serving import prediction_log
from mlops.serving.delivery import Period

BATCH = 20_000  # records of the log in memory
APART = "\x1f"  # between the values of several ids


class Found(NamedTuple):
    """The newest prediction of a row, and how many there are of it in the period."""

    prediction_id: str
    predictions: int


@contextmanager
def newest(
    folder: Path, schema: Schema, ids: Sequence[str], period: Period, skipped: Counter[str]
) -> Iterator[Callable[[pd.DataFrame], list[Found | None]]]:
    """A function that gives the newest prediction of each row (n) of raw values in the columns `ids`; None without one.

    Answers that nobody was given (`shadow`) do not count. Values are compared as `schema` reads them. The predictions
    lie in a temporary file, so that memory does not grow with the log. Damaged lines are counted in `skipped` by file.

    Raises:
        StoreError: a file of the log cannot be read, or there is no room for the temporary file.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as store:  # "": a temporary file of SQLite's own
            store.execute("CREATE TABLE asked (row TEXT PRIMARY KEY, id TEXT, time TEXT, number INT) WITHOUT ROWID")
            store.execute("BEGIN")
            records = prediction_log.predictions(folder, skipped, period.since, period.until)
            given = (each for each in records if not each.get("shadow") and period.variant in ("", each.get("variant")))
            while batch := list(islice(given, BATCH)):
                table = pd.DataFrame([[each["features"].get(name) for name in ids] for each in batch], columns=[*ids])
                found = zip(keys(table.astype(object), schema), batch, strict=True)
                store.executemany(
                    "INSERT INTO asked VALUES (?, ?, ?, 1) ON CONFLICT (row) DO UPDATE SET number = number + 1, "
                    "id = iif(excluded.time >= time, excluded.id, id), time = max(excluded.time, time)",
                    [(key, each["id"], each["time"]) for key, each in found if key is not None],
                )

            def of(table: pd.DataFrame) -> list[Found | None]:
                query = "SELECT id, number FROM asked WHERE row = ?"
                answers = (key and store.execute(query, (key,)).fetchone() for key in keys(table, schema))
                return [Found(*answer) if answer else None for answer in answers]

            yield of
    except sqlite3.OperationalError as error:
        raise StoreError(f"the predictions of {folder / 'predictions'} could not be sorted by id: {error}") from None


def keys(table: pd.DataFrame, schema: Schema) -> list[str | None]:
    """The ids of each row (n), as one text; None where one is missing or cannot be read."""
    columns = [rows.read(table[name], schema.columns[str(name)], schema.missing)[0] for name in table]
    known = ~pd.concat([column.isna() for column in columns], axis=1).any(axis=1)
    text = [column.astype("str").tolist() for column in columns]
    return [
        APART.join(parts) if is_known else None
        for parts, is_known in zip(zip(*text, strict=True), known.tolist(), strict=True)
    ]
