"""Bodies of Arrow or Parquet: a table to predict, and its answers in the same format."""

import struct
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mlops.base.names import visible
from mlops.intake import deliveries
from mlops.serving.request import PARQUET, Fault, Reader, RequestError, refusal

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes of a table in memory, as Arrow or its text written out; the data frame takes a few times as much.
LARGEST = 500_000_000
CELL = 8  # bytes of a value, at least
# The numbers of fields of Arrow's tables Message, DictionaryBatch and RecordBatch.
HEADER, DATA, COMPRESSION = 2, 1, 3


def table(content: bytes, media: str, reader: Reader, largest: int = LARGEST) -> pd.DataFrame:
    """The columns (n rows) that a prediction or training needs, and the key, of a body of the type `media`.

    They have Arrow's types. The size is known before anything is decompressed: Parquet says it at its end (a forged
    file may say less: one page of it then takes up to 2 GB), and a compressed stream of Arrow is refused. Equal texts
    that are stored once are counted as often as they stand.

    Raises:
        RequestError: 400 (broken), 413 (more than `largest` bytes) or 422; it names every column that is not there or
            unknown, or every value that cannot be read.
    """
    import pyarrow as pa

    try:
        found = (_parquet if media == PARQUET else _stream)(content, reader, largest)
        if sum(map(_text_bytes, found.columns)) > largest:
            raise _too_large(largest)
        frame = deliveries.from_arrow(found)
    except RequestError:
        raise
    except MemoryError:
        raise _too_large(largest) from None
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, struct.error):
        name = "Parquet file" if media == PARQUET else "Arrow stream"
        raise RequestError(400, f"the body is no {name} that can be read: write it again") from None
    if frame.empty:
        raise RequestError(422, "the table has no row: give at least one")
    if reader.asked_at and reader.asked_at not in frame:
        frame[reader.asked_at] = reader.now()
    reader.check(frame)
    for name in reader.beside:
        if name in frame and (wrong := reader.read(frame[name], name)[1]).any():
            frame[name] = frame[name].where(~wrong, None)
    return frame


def bulk_answer(frame: pd.DataFrame, media: str) -> bytes:
    """The answers (n rows) in the format of the request: an Arrow stream or a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    answers = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    if media == PARQUET:
        pq.write_table(answers, sink)
    else:
        with pa.ipc.new_stream(sink, answers.schema) as writer:
            writer.write_table(answers)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _parquet(content: bytes, reader: Reader, largest: int) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pa.BufferReader(content)
    about = pq.ParquetFile(source)
    names = _names(about.schema_arrow, reader)
    chosen = set(names.values())
    # Not by column: a broken description of one would end the process (pyarrow 25 does not catch parquet's exception).
    size = sum(about.metadata.row_group(number).total_byte_size for number in range(about.metadata.num_row_groups))
    if max(size, about.metadata.num_rows * len(chosen) * CELL) > largest:
        raise _too_large(largest)
    # Text as the file has it: each different one once.
    texts = [field.name for field in about.schema_arrow if field.name in chosen and _is_text(field.type)]
    file = pq.ParquetFile(source, metadata=about.metadata, read_dictionary=texts)
    found = file.read(columns=list(chosen), use_threads=False)
    return _checked(found, names)


def _stream(content: bytes, reader: Reader, largest: int) -> "pa.Table":
    import pyarrow as pa

    with pa.ipc.open_stream(content) as stream:
        names = _names(stream.schema, reader)
        if any(map(_is_compressed, pa.ipc.MessageReader.open_stream(content))):
            raise RequestError(422, "the Arrow stream is compressed: write it without compression, or send Parquet")
        batches, rows = [], 0
        for batch in stream:
            rows += batch.num_rows
            if rows * len(names) * CELL > largest:
                raise _too_large(largest)
            batches.append(batch)
        return _checked(pa.Table.from_batches(batches, stream.schema), names)


def _checked(found: "pa.Table", names: dict[str, str]) -> "pa.Table":
    """The columns by their names in the schema; Arrow has looked at each value, so that none points elsewhere."""
    import pyarrow as pa

    found.validate(full=True)
    return pa.table({name: found.column(given) for name, given in names.items()})


def _names(schema: "pa.Schema", reader: Reader) -> dict[str, str]:
    """The columns to read: their names in the reader's schema, and in the body.

    Raises:
        RequestError: 422; a column is missing, unknown, there twice or of a type without plain values.
    """
    given = [visible(field.name) for field in schema]
    times = Counter(given)
    faults: list[Fault] = []
    hints: dict[str, str] = {}
    for number, (name, field) in enumerate(zip(given, schema, strict=True), 1):
        known = name if name in reader.schema.columns else None
        if known is None:
            faults.append(Fault(-1, reader.unknown(name, f"column {number}", hints)))
        elif times[name] > 1:
            faults.append(Fault(-1, "the column is there twice: give it once", known))
        elif not _is_plain(field.type):
            said = "the column is neither text nor numbers, truth values or times: write it as one of them"
            faults.append(Fault(-1, said, known))
    lacking = [name for name in reader.needed if name not in times and name != reader.asked_at]
    faults += [Fault(-1, "the column is not there: give it, and null where it is not known", name) for name in lacking]
    if faults:
        raise refusal(faults)
    chosen = [name for name in dict.fromkeys([*reader.needed, reader.key, *reader.beside]) if name in times]
    at = dict(zip(given, schema.names, strict=True))
    return {name: at[name] for name in chosen}


def _is_text(kind: "pa.DataType") -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_plain(kind: "pa.DataType") -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_plain(kind.value_type) and not (
            types.is_dictionary(kind.value_type) or types.is_string_view(kind.value_type)
        )
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)
    time = types.is_date(kind) or types.is_timestamp(kind)
    return bool(number or time or _is_text(kind) or types.is_string_view(kind) or types.is_null(kind))


def _text_bytes(column: "pa.ChunkedArray") -> int:
    """The bytes of a column's text when each value is written out; 0 if it is none."""
    from pyarrow import compute, types

    kind = column.type
    size = 0
    for part in column.chunks:
        if types.is_dictionary(kind) and _is_text(kind.value_type):
            lengths = compute.take(compute.binary_length(part.dictionary), part.indices)
            size += compute.sum(lengths).as_py() or 0
        elif types.is_string_view(kind):
            # Each value is 16 bytes that begin with its length, and may share its text with others.
            lengths = np.frombuffer(part.buffers()[1], np.int32)[::4][part.offset : part.offset + len(part)]
            size += int(np.abs(lengths.astype(np.int64)).sum())
        elif _is_text(kind):
            size += part.nbytes
    return size


def _is_compressed(message: "pa.ipc.Message") -> bool:
    """Whether the values of an Arrow message are compressed, as its FlatBuffers say (Message.fbs of Arrow's format)."""
    if message.type not in ("record batch", "dictionary"):
        return False
    about = memoryview(message.metadata)
    rows = _part(about, struct.unpack_from("<I", about)[0], HEADER)
    if message.type == "dictionary":
        rows = _part(about, rows, DATA)
    return _field(about, rows, COMPRESSION) != 0


def _field(message: memoryview, at: int, number: int) -> int:
    """Where a field of the table at `at` stands; 0 if it is not there."""
    index = at - struct.unpack_from("<i", message, at)[0]
    size: int = struct.unpack_from("<H", message, index)[0]
    slot = 4 + 2 * number
    offset: int = struct.unpack_from("<H", message, index + slot)[0] if slot + 2 <= size else 0
    return at + offset if offset else 0


def _part(message: memoryview, at: int, number: int) -> int:
    """Where the table begins that is a field of the table at `at`."""
    place = _field(message, at, number)
    start: int = place + struct.unpack_from("<I", message, place)[0]
    return start


def _too_large(largest: int) -> RequestError:
    return RequestError(413, f"the table takes more than {largest // 1_000_000} MB: send it in parts")
