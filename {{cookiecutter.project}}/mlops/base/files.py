"""Files: text, JSON and small CSV tables. A file appears under its name whole, or not at all."""

import glob
import hashlib
import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mlops.base.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

# What JSON numbers are rounded to: far below any meaning, and above the last bits in which two machines may differ.
SIGNIFICANT_DIGITS = 12
# Text that a spreadsheet would run as a formula, perhaps with apostrophes before it; a number is none.
FORMULA = re.compile(r"'*(?!'|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\Z)[=+\-@\t\r]")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path to write to, and move it to `path` if all went well.

    Its name has the number of the process: others may write the same file at once, and what a killed one has left is
    removed.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path)
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path} could not be written: {error.strerror or error}") from None


def _remove_left(path: Path) -> None:
    """Remove what killed processes have left of a file."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        process = left.name.split(".")[-2]
        if process.isdecimal() and not _is_running(int(process)):
            left.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":  # there, signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # of somebody else
    return True


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with Unix line ends on every system.

    Raises:
        StoreError: as every `write_…` of this module, when the file cannot be written (a full disk, say).
    """
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and Git: indented, with 12 significant digits, and null for a number that is not finite."""
    text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path, remedy: str = "run `dvc repro` to make it") -> Any:
    """Read JSON, such as a report that a stage wrote; `remedy` is what to do where it cannot be read.

    Raises:
        StoreError: it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} could not be read ({error}): {remedy}") from None


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a small table for Git and `dvc plots`: no index, floats with 6 significant digits.

    Text that a spreadsheet would run as a formula gets an apostrophe before it, which `read_csv` removes.
    """
    quoted = _each_text(table, lambda text: f"'{text}" if FORMULA.match(text) else text)
    write_text(path, quoted.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def read_csv(source: Path | TextIO, text: Collection[str] = (), name: str = "") -> "pd.DataFrame":
    """Read a small table that `write_csv` wrote; an empty cell in a column of numbers is NaN.

    The columns `text` hold words, even where a word is 007, NA or empty. An error calls the table `name`, else path.

    Raises:
        StoreError: the table is missing or no CSV.
    """
    import pandas as pd

    try:
        table = pd.read_csv(source, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise unreadable(name or source, error) from None
    table = table.fillna(dict.fromkeys(text, ""))
    return _each_text(table, lambda text: text[1:] if text.startswith("'") and FORMULA.match(text) else text)


def _each_text(table: "pd.DataFrame", change: Callable[[str], str]) -> "pd.DataFrame":
    """The table with every text in it changed, and every column's name."""

    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    table = table.rename(columns=changed)
    for name in table.select_dtypes(["object", "str", "category"]):
        table[name] = table[name].map(changed)
    return table


def unreadable(name: object, error: Exception) -> StoreError:
    """The error for a table that cannot be read."""
    return StoreError(f"{name} could not be read ({error}): run `dvc repro`, or `dvc pull`, to get it")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{path} could not be read: {error.strerror or error}") from None


def _plain(value: Any) -> Any:
    """The content as plain values that JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    return value
