"""The identity of a table: a digest of its content, whatever its storage."""

import hashlib
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

PREDICTION = re.compile(r"([0-9a-f]{16})-[0-9a-f]{16}")  # model, row


def content_digest(table: pd.DataFrame) -> str:
    """SHA-256 (hexadecimal) of a typed table's columns and rows, whatever the order of its rows.

    The digest stays the same if files come in another order or format, or if one file is split in two. It changes with
    any changed, added, removed or duplicated row.
    """
    return digest(row_hashes(table), (table[name] for name in table))


def row_hashes(table: pd.DataFrame) -> NDArray[np.uint64]:
    """A 64-bit hash of each row, shape (n,); it depends on the values in the row alone."""
    hashes: NDArray[np.uint64] = pd.util.hash_pandas_object(table, index=False).to_numpy(dtype=np.uint64)  # type: ignore[assignment]
    return hashes


def prediction_ids(model_digest: str, inputs: pd.DataFrame) -> list[str]:
    """The ids of a model's predictions on n typed rows of its inputs; `model_digest` is the model's SHA-256.

    An id consists of the first 16 digits of the digest and the hash of the row. So every prediction leads to its model,
    and the same model gives the same row the same id.
    """
    return [f"{model_digest[:16]}-{value:016x}" for value in row_hashes(inputs).tolist()]


def model_of(prediction_id: str) -> str:
    """The first 16 digits of the digest of the model behind a prediction id; "" for any other text."""
    parts = PREDICTION.fullmatch(prediction_id)
    return parts[1] if parts else ""


def digest(hashes: NDArray[np.uint64], columns: Iterable[pd.Series]) -> str:
    """The content digest of a table, from the hashes of its rows and its columns (n,), which are read one by one.

    Rows are sorted by their hash first. Rows with the same hash keep their order; they are equal, but for the very rare
    collision.
    """
    order = np.argsort(hashes, kind="stable")
    sha256 = hashlib.sha256(f"{len(hashes)}".encode())
    for values in columns:
        sha256.update(f"\n{values.name}\n{values.dtype}\n".encode())
        _update(sha256, values.iloc[order])
    return sha256.hexdigest()


def column_digest(values: pd.Series) -> str:
    """SHA-256 (hexadecimal) of the values of one typed column (n,) in their order, without its name."""
    sha256 = hashlib.sha256(f"{values.dtype}".encode())
    _update(sha256, values)
    return sha256.hexdigest()


def _update(sha256: "hashlib._Hash", values: pd.Series) -> None:
    for buffer in _buffers(values):
        sha256.update(np.ascontiguousarray(buffer).view(np.uint8).data)


def _buffers(values: pd.Series) -> list[np.ndarray]:
    """The values of a column as arrays that do not depend on how missing values are stored."""
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
