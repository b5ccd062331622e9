"""The identity of a table: a digest of its content, whatever its storage."""

import hashlib
import re
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

# Values of a column that are copied at once.
BLOCK = 1 << 20
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


def value_hashes(values: pd.Series) -> NDArray[np.uint64]:
    """A 64-bit hash of each value of a column, shape (n,); of different values it hardly ever is the same."""
    blocks = (values.iloc[start : start + BLOCK].to_frame() for start in range(0, max(len(values), 1), BLOCK))
    return np.concatenate([row_hashes(block) for block in blocks])


def repeated(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The sorted hashes (n,) less one of each that there is: those of the rows that repeat another one.

    To sort takes no memory beside a copy, where a table of millions of hashes takes three times theirs.
    """
    ordered = np.sort(hashes)
    again: NDArray[np.uint64] = ordered[1:][ordered[1:] == ordered[:-1]]
    return again


def among(hashes: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each of the hashes (n,) is one of those that are `known` (k,), which are sorted."""
    found = np.zeros(len(hashes), dtype=bool)
    for start in range(0, len(hashes) if len(known) else 0, BLOCK):
        part = hashes[start : start + BLOCK]
        found[start : start + BLOCK] = known[np.searchsorted(known, part).clip(max=len(known) - 1)] == part
    return found


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


def digest(hashes: NDArray[np.uint64], columns: Iterable[pd.Series], kept: NDArray[np.bool_] | None = None) -> str:
    """The content digest of a table, from the hashes of its rows and its columns (n,), which are read one by one.

    It is that of the `kept` rows (n,), if they are given. Rows are sorted by their hash first. Rows with the same hash
    keep their order; they are equal, but for the very rare collision.
    """
    order = np.argsort(hashes if kept is None else hashes[kept], kind="stable")
    if kept is not None and not kept.all():
        order = np.flatnonzero(kept)[order]
    sha256 = hashlib.sha256(f"{len(order)}".encode())
    for values in columns:
        sha256.update(f"\n{values.name}\n{values.dtype}\n".encode())
        for buffer in _buffers(values, order):
            sha256.update(buffer.view(np.uint8).data)
    return sha256.hexdigest()


def column_digest(values: pd.Series) -> str:
    """SHA-256 (hexadecimal) of the values of one typed column (n,) in their order, without its name."""
    sha256 = hashlib.sha256(f"{values.dtype}".encode())
    for buffer in _buffers(values, np.arange(len(values))):
        sha256.update(buffer.view(np.uint8).data)
    return sha256.hexdigest()


def _buffers(values: pd.Series, order: NDArray[np.intp]) -> Iterator[np.ndarray]:
    """The values of a column in an order, as arrays that do not depend on how missing values are stored.

    First it is said which of them are missing. Text has lengths, and then its characters.
    """
    blocks = [order[start : start + BLOCK] for start in range(0, len(order), BLOCK)]
    missing = values.isna().to_numpy(dtype=bool)
    yield from (missing[rows] for rows in blocks)
    if not isinstance(values.dtype, pd.StringDtype):
        yield from (_numbers(values.iloc[rows], missing[rows]) for rows in blocks)
        return
    text = pa.array(values, pa.large_string())
    text = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text  # or each block would join them anew
    starts = _offsets(text)
    yield from (np.where(missing[rows], 0, starts[rows + 1] - starts[rows]) for rows in blocks)
    for rows in blocks:
        part = text.take(pa.array(rows)).fill_null("")
        ends, characters = _offsets(part), part.buffers()[2]
        yield np.frombuffer(characters or b"", dtype=np.uint8)[ends[0] : ends[-1]]


def _offsets(text: pa.Array) -> NDArray[np.int64]:
    """Where each text (n,) begins among the characters, and where the last one ends."""
    return np.frombuffer(text.buffers()[1], dtype=np.int64, count=len(text) + 1, offset=8 * text.offset)


def _numbers(values: pd.Series, missing: NDArray[np.bool_]) -> np.ndarray:
    if values.dtype == "datetime64[us]":
        return values.astype("int64").mask(missing, 0).to_numpy()
    if values.dtype == "float64":
        return values.mask(missing, 0.0).to_numpy() + 0.0  # −0.0 + 0.0 is 0.0
    return values.to_numpy(dtype=np.int64, na_value=0)
