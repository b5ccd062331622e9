"""The identity of a table: a digest of what it says, not of how it is stored."""

import hashlib
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

PREDICTION = re.compile(r"([0-9a-f]{16})-[0-9a-f]{16}")  # its model, its row


def content_digest(table: pd.DataFrame) -> str:
    """SHA-256 (hexadecimal) of a typed table's columns and rows, whatever the order of its rows.

    Files in another order, another file format, or one file split in two give the same digest; any changed, added,
    removed or doubled row gives another.
    """
    return digest(row_hashes(table), (table[name] for name in table))


def row_hashes(table: pd.DataFrame) -> NDArray[np.uint64]:
    """A 64-bit hash of each row, shape (n,), the same in whatever part of a table the row stands."""
    hashes: NDArray[np.uint64] = pd.util.hash_pandas_object(table, index=False).to_numpy(dtype=np.uint64)  # type: ignore[assignment]
    return hashes


def prediction_ids(model_digest: str, inputs: pd.DataFrame) -> list[str]:
    """What the predictions of a model (its SHA-256) on n typed rows of its inputs are called.

    The first 16 digits of the model's digest, and the row's hash: a prediction leads to its model wherever it turns up,
    and the same row gives the same model's prediction the same name.
    """
    return [f"{model_digest[:16]}-{value:016x}" for value in row_hashes(inputs).tolist()]


def model_of(prediction_id: str) -> str:
    """How the digest of the model begins that gave a prediction; "" of what is no prediction id."""
    found = PREDICTION.fullmatch(prediction_id)
    return found[1] if found else ""


def digest(hashes: NDArray[np.uint64], columns: Iterable[pd.Series]) -> str:
    """The content digest of a table of which only a column (n,) at a time is there, besides the hashes of its rows.

    Rows are put in order by their hash first: rows that share one are equal, or, where two differ, nearly never, keep
    the order in which they came.
    """
    order = np.argsort(hashes, kind="stable")
    found = hashlib.sha256(f"{len(hashes)}".encode())
    for values in columns:
        found.update(f"\n{values.name}\n{values.dtype}\n".encode())
        for buffer in _buffers(values.iloc[order]):
            found.update(np.ascontiguousarray(buffer).view(np.uint8).data)
    return found.hexdigest()


def column_digest(values: pd.Series) -> str:
    """SHA-256 (hexadecimal) of one typed column (n,) in its order, whatever its name."""
    found = hashlib.sha256(f"{values.dtype}".encode())
    for buffer in _buffers(values):
        found.update(np.ascontiguousarray(buffer).view(np.uint8).data)
    return found.hexdigest()


def _buffers(values: pd.Series) -> list[np.ndarray]:
    """What a column holds, as arrays that do not depend on how its missing values are stored."""
    missing = values.isna().to_numpy(dtype=bool)
    if isinstance(values.dtype, pd.StringDtype):
        text = pa.array(values, pa.large_string()).fill_null("")
        text = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
        _, offsets, characters = text.buffers()
        length = np.frombuffer(offsets, dtype=np.int64, count=len(text) + 1, offset=8 * text.offset)
        return [missing, np.diff(length), np.frombuffer(characters or b"", dtype=np.uint8)[length[0] : length[-1]]]
    if values.dtype == "datetime64[us]":
        return [missing, values.astype("int64").mask(missing, 0).to_numpy()]
    if values.dtype == "float64":
        return [missing, values.mask(missing, 0.0).to_numpy() + 0.0]  # −0.0 + 0.0 is 0.0
    return [missing, values.to_numpy(dtype=np.int64, na_value=0)]
