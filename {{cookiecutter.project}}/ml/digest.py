"""The identity of a table: a digest of what it says, not of how it is stored."""

import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa


def content_digest(table: pd.DataFrame) -> str:
    """SHA-256 (hexadecimal) of a typed table's columns and rows, whatever the order of its rows.

    Files in another order, another file format, or one file split in two give the same digest; any changed, added,
    removed or doubled row gives another. Rows are put in order by a 64-bit hash first: rows that share one are equal,
    or, where two differ, nearly never, keep the order in which they came.
    """
    order = np.argsort(pd.util.hash_pandas_object(table, index=False).to_numpy(), kind="stable")
    digest = hashlib.sha256(f"{len(table)}".encode())
    for name, values in table.items():
        digest.update(f"\n{name}\n{values.dtype}\n".encode())
        for buffer in _buffers(values.iloc[order]):
            digest.update(np.ascontiguousarray(buffer).view(np.uint8).data)
    return digest.hexdigest()


def _buffers(values: pd.Series) -> list[np.ndarray]:
    """What a column holds, as arrays that do not depend on how its missing values are stored."""
    missing = values.isna().to_numpy(dtype=bool)
    if isinstance(values.dtype, pd.StringDtype):
        text = pa.array(values.fillna("").to_numpy(dtype=object), pa.large_string())
        _, offsets, characters = text.buffers()
        length = np.frombuffer(offsets, dtype=np.int64, count=len(text) + 1)
        return [missing, np.diff(length), np.frombuffer(characters or b"", dtype=np.uint8)[: length[-1]]]
    if values.dtype == "datetime64[us]":
        return [missing, values.astype("int64").mask(missing, 0).to_numpy()]
    if values.dtype == "float64":
        return [missing, values.mask(missing, 0.0).to_numpy() + 0.0]  # −0.0 + 0.0 is 0.0
    return [missing, values.to_numpy(dtype=np.int64, na_value=0)]
