"""Files: tables, JSON, text and models. Whatever is written appears under its name whole or not at all."""

import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.errors import SchemaError, StoreError
from ml.schema import Schema
from store import yaml

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

# Rows of a prepared table that are in memory at once.
BATCH = 100_000
# What JSON numbers are rounded to: far below any meaning, and above the last bits in which two machines may differ.
SIGNIFICANT_DIGITS = 12


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path to write to, and move it to `path` if all went well.

    The name is fixed, not random: what a killed process leaves behind, the next run overwrites and moves.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} could not be written: {error.strerror or error}") from None


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with Unix line ends on every system.

    Raises:
        StoreError: as every `write_…` of this module, when the file cannot be written (a full disk, say).
    """
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and Git: indented, rounded to 12 significant digits, what is not finite as null."""
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON report that a stage wrote.

    Raises:
        StoreError: it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} could not be read ({error}): run `dvc repro` to make it") from None


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a small table for Git and `dvc plots`: no index, floats with 6 significant digits."""
    write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def read_csv(path: Path, text: Iterable[str] = ()) -> "pd.DataFrame":
    """Read a small table that `write_csv` wrote; what is missing in a column of numbers is NaN.

    The columns `text` hold words, even where one reads 007 or NA.

    Raises:
        StoreError: it is missing or no CSV.
    """
    import pandas as pd

    try:
        return pd.read_csv(path, converters=dict.fromkeys(text, str))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a typed table as Parquet; the same table gives the same bytes."""
    write_batches(path, [table])


def write_batches(path: Path, tables: Iterable["pd.DataFrame"]) -> int:
    """Write tables of the same columns, one below the other, as one Parquet file; returns its rows.

    The same tables give the same bytes, however they were cut into batches.

    Raises:
        ValueError: there is no table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, writer = 0, None
    with written_whole(path) as part:
        try:
            for table in _recut(tables):
                batch = pa.Table.from_pandas(table, preserve_index=False)
                writer = writer or pq.ParquetWriter(part, batch.schema)
                writer.write_table(batch)
                rows += len(table)
        finally:
            if writer:
                writer.close()
        if not writer:
            raise ValueError(f"no table was given for {path}")
    return rows


def _recut(tables: Iterable["pd.DataFrame"]) -> Iterator["pd.DataFrame"]:
    """The same rows in batches of one size, so that the file does not tell in which they came."""
    import pandas as pd

    waiting: list[pd.DataFrame] = []
    first = True
    for table in tables:
        waiting.append(table)
        while sum(map(len, waiting)) >= BATCH:
            joined = pd.concat(waiting, ignore_index=True)
            yield joined.iloc[:BATCH]
            waiting, first = [joined.iloc[BATCH:]], False
    rest = pd.concat(waiting, ignore_index=True) if waiting else None
    if rest is not None and (first or len(rest)):
        yield rest


@dataclass(frozen=True)
class Stored:
    """A typed table in a Parquet file, of which only what is asked for is read.

    Raises:
        StoreError: with the first thing that is asked for, if it is missing or no Parquet.
    """

    path: Path

    def __getitem__(self, name: str) -> "pd.Series":
        """One column, whole."""
        column: pd.Series = self._file().read([name]).to_pandas()[name]
        return column

    def __contains__(self, name: object) -> bool:
        """Whether there is a column of that name."""
        return name in self._description.schema.names

    @cached_property
    def _description(self) -> Any:
        """What the end of the file says of it, read once and not for each column."""
        import pyarrow.parquet as pq

        try:
            return pq.read_metadata(self.path)
        except (OSError, ValueError) as error:
            raise _unreadable(self.path, error) from None

    def _file(self) -> Any:
        """A reader of one's own: columns are read in parallel."""
        import pyarrow.parquet as pq

        return pq.ParquetFile(self.path, metadata=self._description)

    def columns(self, names: list[str]) -> "pd.DataFrame":
        """Some columns, whole; none of them is a table of as many rows."""
        import pandas as pd

        rows = pd.RangeIndex(self._description.num_rows)
        return pd.DataFrame({name: self[name] for name in names}, index=rows)

    def batches(self, kept: "NDArray[np.bool_] | None" = None) -> Iterator["pd.DataFrame"]:
        """All columns, some rows at a time: all, or those that are `kept` (n,); the index is the row's position."""
        import pandas as pd
        import pyarrow as pa

        start = 0
        for batch in self._file().iter_batches(BATCH):
            table: pd.DataFrame = pa.Table.from_batches([batch]).to_pandas()
            table.index = pd.RangeIndex(start, start + len(table))
            start += len(table)
            yield table if kept is None else table[kept[table.index]]

    @cached_property
    def hashes(self) -> "NDArray[np.uint64]":
        """A hash of each row, shape (n,)."""
        import numpy as np

        from ml import digest

        return np.concatenate([digest.row_hashes(batch) for batch in self.batches()])

    def digest(self, kept: "NDArray[np.bool_] | slice" = slice(None)) -> str:
        """The digest of its content (see `ml.digest`), or of the rows that are `kept` (n,)."""
        from ml import digest

        names = self._description.schema.names
        return digest.digest(self.hashes[kept], (self[name][kept] for name in names))


def read_table(path: Path, columns: list[str] | None = None) -> "pd.DataFrame":
    """Read a table that `write_table` wrote, with its types; all columns, or those named.

    Raises:
        StoreError: it is missing or no Parquet.
    """
    import pandas as pd

    try:
        return pd.read_parquet(path, columns=columns)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path} could not be read ({error}): run `dvc repro`, or `dvc pull`, to get it")


def write_model(path: Path, model: Any) -> None:
    """Write a fitted model; the same model gives the same bytes (see `ml.fitting` on what that takes)."""
    import joblib

    with written_whole(path) as part:
        joblib.dump(model, part, compress=1)


def read_model(path: Path, digest: str = "") -> Any:
    """Read a model that this pipeline wrote. A joblib file is code: of any other origin, give its SHA-256 as `digest`.

    Raises:
        StoreError: it is missing, broken, was written with other versions of the packages, or is not the file of that
            digest, and then nothing of it has run.
    """
    import joblib

    try:
        if not digest:
            return joblib.load(path)
        content = path.read_bytes()  # once: what is loaded is what was looked at
    except Exception as error:  # bytes that are no model can raise anything
        raise _unreadable_model(path, error) from None
    if (found := hashlib.sha256(content).hexdigest()) != digest:
        raise StoreError(
            f"{path} is not the model that the registry knows (SHA-256 {found[:12]}…, not {digest[:12]}…), and was not "
            "loaded: delete it, and `dvc pull` brings back the right one"
        )
    try:
        return joblib.load(io.BytesIO(content))
    except Exception as error:
        raise _unreadable_model(path, error) from None


def _unreadable_model(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path} could not be read ({error}): run `dvc repro` to make it again")


def read_schema(path: Path) -> Schema:
    """Read `schema.yaml`.

    Raises:
        SchemaError: it contradicts itself or has an unknown name; all mistakes are named.
    """
    return yaml.validate(Schema, yaml.read(path), str(path), SchemaError)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{path} could not be read: {error.strerror or error}") from None


def _plain(value: Any) -> Any:
    """The same content in the types that JSON has."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    return value
