"""A schema with columns of every type and awkward names, a reader of it, and good values."""

import json
from typing import Any

import numpy as np
import pandas as pd
from mlops.data import rows
from mlops.data.schema import Schema
from mlops.serving.request import Reader
from numpy.typing import NDArray

# It stands in a bad request, and never in the answer.
MARKER = "Zq7marker"
SCHEMA = Schema.model_validate(
    {
        "columns": {
            "customer": {"type": "integer", "role": "id"},
            "tenure": {"type": "integer", "min": 0, "max": 120},
            "monthly charges": {"type": "number", "min": 0},
            "preis": {"type": "number", "decimal": ",", "unit": "EUR"},
            "self": {"type": "boolean"},
            "$ref": {"type": "category", "allowed": ["A", "B"]},
            "since": {"type": "datetime"},
            'tag "№"': {"type": "datetime", "format": "%d/%m/%Y", "missing": ["01/01/1900"]},
            "geboren": {"type": "datetime", "format": "%d.%m.%y", "first_year": 1930},
            "note": {"type": "text", "role": "source"},
            "doubled": {"type": "number", "derived": True},
            "remark": {"type": "text", "role": "ignore"},
            "churn": {"type": "category", "role": "target"},
        }
    }
)
ROW: dict[str, Any] = {
    "tenure": 12,
    "monthly charges": 29.85,
    "preis": "1,5 EUR",
    "self": True,
    "$ref": "A",
    "since": "2024-02-29T13:45:00",
    'tag "№"': "29/02/2024",
    "geboren": "31.12.71",
    "note": "a text",
}


def read(values: pd.Series, name: str) -> tuple[pd.Series, NDArray[np.bool_]]:
    """What a model's `read` does."""
    return rows.read(values, SCHEMA.columns[name], SCHEMA.missing)


def reader(max_rows: int = 1000, key: str = "") -> Reader:
    """A reader without memories."""
    return Reader(SCHEMA, read, max_rows, key)


def body(*given: Any) -> bytes:
    """The body of these rows."""
    return json.dumps({"rows": given}).encode()


def derive(table: pd.DataFrame) -> pd.DataFrame:
    """The project's own code."""
    return table.assign(doubled=table["tenure"].astype("float64") * 2)
