"""Files of answers: CSV or Parquet, written part by part, and whole or not at all."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.base import files
from mlops.base.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

ENDINGS = (".csv", ".parquet")
ROWS = 100_000  # that are written at once
SPECIAL = '[",\r\n]'  # in a value of CSV that has to be quoted


def check(path: Path) -> None:
    """Refuse a name that says no format.

    Raises:
        ParameterError: the file ends neither in .csv nor in .parquet.
    """
    if not path.name.lower().endswith(ENDINGS):
        raise ParameterError(f"{path} ends in neither {' nor '.join(ENDINGS)}: name the file of answers so")


@contextmanager
def written(path: Path) -> Iterator[Callable[["pa.Table"], None]]:
    """Give a function that appends tables of the same columns to a file; their types are those of the first one.

    The same rows give the same bytes, whatever the sizes of the tables.

    Raises:
        StoreError: the file cannot be written.
    """
    import pyarrow as pa

    with files.written_whole(path) as part, part.open("wb") as file:
        writing: Any = None
        waiting: list[pa.Table] = []

        def write(table: "pa.Table") -> None:
            if waiting and waiting[0].schema != table.schema:
                put(waiting)
                waiting.clear()
            waiting.append(table)
            while sum(map(len, waiting)) >= ROWS:
                joined = pa.concat_tables(waiting)
                put([joined.slice(0, ROWS)])
                waiting[:] = [joined.slice(ROWS)]

        def put(parts: "list[pa.Table]") -> None:
            nonlocal writing
            # Without chunks: of an empty one among others, Arrow 25 writes the bytes of whatever was there before.
            first, table = writing is None, pa.concat_tables(parts).combine_chunks()
            if not (first or len(table)):
                return
            if path.name.lower().endswith(".parquet"):
                import pyarrow.parquet as pq

                writing = pq.ParquetWriter(file, table.schema) if first else writing
                writing.write_table(table.cast(writing.schema))
            else:
                writing = True
                _write_csv(file, table, header=first)

        try:
            yield write
            if waiting:
                put(waiting)
        finally:
            if hasattr(writing, "close"):
                writing.close()


def beside(ids: "pd.DataFrame", answers: Mapping[str, Any]) -> "pa.Table":
    """The answers (columns of n values) with the ids of their rows (n rows) before them."""
    import pyarrow as pa

    columns = {str(name): pa.array(ids[name]) for name in ids}
    return pa.table(columns | {name if name not in ids else f"{name}_": values for name, values in answers.items()})


def _write_csv(file: Any, table: "pa.Table", *, header: bool) -> None:
    import pyarrow as pa
    from pyarrow import compute
    from pyarrow import csv as arrow_csv

    if header:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(table.column_names)
        file.write(line.getvalue().encode())
    if not len(table):
        return
    texts = [column for column in table.columns if column.type in (pa.string(), pa.large_string())]
    # Without need, no quotes: Arrow quotes either all texts of a table or none.
    special = any(compute.any(compute.match_substring_regex(column, SPECIAL)).as_py() for column in texts)
    style = "needed" if special else "none"
    arrow_csv.write_csv(table, file, arrow_csv.WriteOptions(include_header=False, quoting_style=style))
