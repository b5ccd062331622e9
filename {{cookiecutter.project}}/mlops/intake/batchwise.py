"""Work on deliveries batch by batch, here or on other machines: the same answers, in the order of the rows.

Other machines are sent what this one has read. Of plain CSV they are sent the bytes, in blocks that end where a row
does: to read text takes as long as to give it its types.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from mlops.base import parallel
from mlops.intake import deliveries, dialect, lines
from mlops.intake.deliveries import Findings, Terms
from mlops.intake.dialect import Dialect

T = TypeVar("T")
BLOCK = 1 << 24  # bytes of CSV in a piece of work


@dataclass(frozen=True)
class Reading:
    """What is read of a delivery: the columns `wanted`, all if None. What its lines show is added to `findings`."""

    path: Path
    findings: Findings = field(default_factory=Findings)
    wanted: list[str] | None = None


@dataclass(frozen=True)
class Block:
    """Whole lines of a CSV file, `header` of which precede the first row; `last` if these are its last ones."""

    content: bytes
    how: Dialect
    wanted: list[str] | None
    header: int
    last: bool

    def frame(self) -> pd.DataFrame | None:
        """The rows (n), as `deliveries.batches` reads them; None if they are not all as they should be."""
        import pyarrow as pa

        try:
            stream, most = pa.BufferReader(self.content), len(self.content)
            table = next(deliveries.by_arrow(stream, self.how, self.wanted, most, self.header), None)
        except pa.ArrowInvalid:
            return None
        if table is None:
            return pd.DataFrame()
        if deliveries.may_have_header(table, self.how):
            return None
        return deliveries.from_text(table.select(self.wanted) if self.wanted else table)


def each(
    function: Callable[..., T],
    shared: tuple[Any, ...],
    readings: Iterable[Reading],
    terms: Terms,
    cells: int,
    threads: int = 1,
) -> Iterator[tuple[Reading, T]]:
    """Call `function` with `shared`, the path and a batch of each delivery; its answers, each with its delivery.

    On this machine, batches have about `cells` values, and on others about as many bytes. No answer may depend on that,
    nor on the index of a batch.

    Raises:
        DataError: as `deliveries.batches`.
    """
    if not parallel.is_elsewhere():
        for reading in readings:
            for batch in deliveries.batches(reading.path, reading.wanted, cells, terms, reading.findings):
                yield reading, function(*shared, str(reading.path), batch)
        return
    known: list[Reading] = []
    odd: set[int] = set()  # files in which lines turned out not to be as they should be

    def pieces() -> Iterator[tuple[int, str, Block | pd.DataFrame]]:
        for number, reading in enumerate(readings):
            known.append(reading)
            for part in _parts(reading, terms, cells):
                yield number, str(reading.path), part
                if number in odd:
                    break

    of_file, done = -1, 0
    for number, rows, last, answer in parallel.each(_on_part, (function, shared), pieces(), threads, name="batch"):
        of_file, done = number, done if number == of_file else 0
        if number in odd:
            continue
        reading = known[number]
        if rows and answer is not None:
            done += rows
            yield reading, answer
        if rows is None or (last and not done):
            # Read here as without other machines, up to the same error; what is known already is passed over.
            odd.add(number)
            for batch in deliveries.batches(reading.path, reading.wanted, cells, terms, reading.findings):
                if len(rest := batch[batch.index >= done]):
                    yield reading, function(*shared, str(reading.path), rest)
        elif last:
            deliveries.note_header(reading.path, terms, reading.findings)


def _on_part(
    function: Callable[..., T], shared: tuple[Any, ...], number: int, path: str, part: Block | pd.DataFrame
) -> tuple[int, int | None, bool, T | None]:
    """The number of a file, the rows of a part of it (None if it is odd), whether it is the last, and the answer."""
    frame, last = (part.frame(), part.last) if isinstance(part, Block) else (part, False)
    if frame is None or not len(frame):
        return number, None if frame is None else 0, last, None
    return number, len(frame), last, function(*shared, path, frame)


def _parts(reading: Reading, terms: Terms, cells: int) -> Iterator[Block | pd.DataFrame]:
    """What other machines are sent of a delivery: its batches, or of plain CSV its bytes."""
    if not deliveries.is_parquet(reading.path):
        with deliveries.errors_as_sentences(reading.path):
            how = dialect.of(reading.path, terms.header)
            if how.plain and not how.encoding.startswith(("utf-16", "utf-32")):
                yield from _blocks(reading, how)
                return
    yield from deliveries.batches(reading.path, reading.wanted, cells, terms, reading.findings)


def _blocks(reading: Reading, how: Dialect) -> Iterator[Block]:
    with lines.opened(reading.path) as file:
        header, block = how.header, file.read(BLOCK)
        while True:
            more = file.read(BLOCK)
            end = _end_of_rows(block, how, header) if more else len(block)
            if end:
                yield Block(block[:end], how, reading.wanted, header, not more)
                header = 0
            if not more:
                return
            block = block[end:] + more


def _end_of_rows(block: bytes, how: Dialect, header: int) -> int:
    """Where the last whole row of a block ends, which begins with so many lines of header or with a row; else 0.

    In a plain file, a line ends a row unless the quotes before it are odd in number.
    """
    line, start = how.newline.encode(), 0
    for _ in range(header):
        start = block.find(line, start) + 1
        if not start:
            return 0
    end = block.rfind(line) + 1
    if not how.syntax.quote:
        return end
    quotes = np.flatnonzero(np.frombuffer(block, np.uint8, offset=start) == ord(how.syntax.quote)) + start
    while end and (before := int(np.searchsorted(quotes, end))) % 2:
        end = block.rfind(line, 0, quotes[before - 1]) + 1
    return end if end > start else 0
