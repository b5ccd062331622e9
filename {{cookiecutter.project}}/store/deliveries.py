"""Deliveries: the folders of data files that come from outside, read as they are and then given their types."""

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ml import parsing
from ml.errors import DataError
from ml.schema import Schema

ENDINGS = (".csv", ".csv.gz", ".parquet")


@dataclass(frozen=True)
class Delivered:
    """The typed rows of a folder (index 0 … n-1), and what is to be said of how they came.

    `files` has a row count per file, `unparseable` one entry per file and column with values of another type.
    """

    table: pd.DataFrame
    files: dict[str, int]
    unparseable: list[dict[str, Any]]

    @property
    def rejected(self) -> int:
        """How many rows were left out because a value was not of its type."""
        return sum(self.files.values()) - len(self.table)


def read(folder: Path, schema: Schema, required: list[str]) -> Delivered:
    """Read every file of a folder, in the order of their names, and give every column its type.

    Raises:
        DataError: there is no file, or one cannot be read, lacks a `required` column or has an unknown one; or every
            row is rejected.
    """
    paths = listed(folder)
    if not paths:
        raise DataError(f"{folder} has no data: put a {', '.join(ENDINGS)} file there and `dvc add {folder}`")
    tables, counts, unparseable = [], {}, []
    for path in paths:
        raw = read_raw(path)
        parsed = parsing.parse(raw, schema, str(path), required)
        tables.append(parsed.table)
        counts[path.name] = len(raw)
        unparseable += [_told(path, values) for values in parsed.unparseable]
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        raise DataError(
            f"{folder}: all {sum(counts.values())} rows have a value that is not of its column's type, such as "
            f"{unparseable[0]['examples'][0]['value']!r} in {unparseable[0]['column']}: correct them, or the type or "
            "`unparseable: reject` in schema.yaml"
        )
    return Delivered(table, counts, unparseable)


def _told(path: Path, found: parsing.Unparseable) -> dict[str, Any]:
    places = locate(path, [int(row) for row in found.rows[: len(found.values)]])
    return {
        "column": found.column,
        "expected": found.type,
        "count": len(found.rows),
        "became": "a rejected row" if found.rejected else "missing",
        "examples": [{"at": place, "value": value} for place, value in zip(places, found.values, strict=True)],
    }


def listed(folder: Path) -> list[Path]:
    """The data files of a folder, by name, whatever order the file system lists them in.

    Raises:
        DataError: the folder is missing, or holds a file that is neither CSV, CSV.gz nor Parquet.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: run `dvc pull` to fetch the data, or put files there and `dvc add` it")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    for path in files:
        if not path.name.lower().endswith(ENDINGS):
            raise DataError(f"{path} is none of {', '.join(ENDINGS)}: convert it, or move it elsewhere")
    return files


def read_raw(path: Path) -> pd.DataFrame:
    """Read one delivery as it came: CSV fields as text with nothing guessed, Parquet with its own types.

    Raises:
        DataError: it is empty, has a header only, or is not what its name says.
    """
    try:
        if path.name.lower().endswith(".parquet"):
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, na_filter=False, skip_blank_lines=True)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty: a header line and at least one row were expected") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8: save it as CSV in UTF-8, or as Parquet") from None
    except (ValueError, OSError, EOFError) as error:
        kind = "Parquet" if path.name.lower().endswith(".parquet") else "CSV"
        raise DataError(f"{path} could not be read as {kind}: {' '.join(str(error).split())}") from None
    if not isinstance(table.index, pd.RangeIndex):
        raise DataError(f"{path} has more fields in its rows than names in its header: name every column")
    if table.empty:
        raise DataError(f"{path} has a header but no row: at least one row was expected")
    table.columns = table.columns.map(str)
    return table


def locate(path: Path, rows: list[int]) -> list[str]:
    """Where the data rows number `rows` (0-based, ascending) stand in a delivery, as `file:line` for CSV.

    A quoted field may span lines, so a row's line is known only by reading up to it; the few rows that are shown as
    examples are worth that.
    """
    if path.name.lower().endswith(".parquet"):
        return [f"{path.name}: row {row + 1}" for row in rows]
    wanted, found = set(rows), {}
    opened: Callable[..., Any] = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        start, row = reader.line_num + 1, 0
        for fields in reader:
            if fields and row in wanted:
                found[row] = f"{path.name}:{start}"
                if len(found) == len(wanted):
                    break
            row += bool(fields)
            start = reader.line_num + 1
    return [found.get(row, f"{path.name}: row {row + 1}") for row in rows]
