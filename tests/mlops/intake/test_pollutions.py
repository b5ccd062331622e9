"""A file that is not as it should be is read right, or its wrong rows are named, or it is refused: never in silence."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlops.base.errors import DataError
from mlops.data import parsing
from mlops.intake import deliveries, dialect

SAME_FOLDER = settings(
    max_examples=100, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NUMBERS = st.integers(0, 99_999).map(str) | st.decimals(-99, 99, places=2).map(str)
KINDS = {
    "count": NUMBERS,
    "price": NUMBERS | st.just(""),
    "level": st.sampled_from(["low", "mid", "high"]),
    "city": st.sampled_from(["Köln", "Paris", "Rome, IT", "São Paulo; BR", "Bonn|2"]),
    "note": st.text("ab ,;|\t\"'äé.-", max_size=8).map(str.strip),
    "lines": st.sampled_from(["one", "one\ntwo", 'say "hi"', "", "it's"]),
}


@dataclass
class Written:
    """A clean table, and the lines of a file that is polluted, each with the number of its row (None: it is none)."""

    names: list[str]
    rows: list[list[str]]
    lines: list[tuple[str, int | None]]
    encoding: str
    said: str

    @property
    def content(self) -> bytes:
        return "".join(line for line, _ in self.lines).encode(self.encoding, errors="ignore")


def formatted(fields: list[str], **how: object) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, **how).writerow(fields)  # type: ignore[arg-type]
    return text.getvalue()


@st.composite
def polluted(draw: st.DrawFn) -> Written:
    """A random table, the way in which it is written, and at most two faults."""
    names = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=3, max_size=5, unique=True))
    if "count" not in names and not {"city", "level"} <= set(names):
        names[0] = "count"
    rows = draw(st.lists(st.tuples(*(KINDS[name] for name in names)).map(list), min_size=12, max_size=24))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    if end == "\r":  # Python's csv does not put quotes around \n then
        rows = [[field.replace("\n", " ") for field in fields] for fields in rows]
    separator = draw(st.sampled_from([",", ";", "\t", "|", " "]))
    how = {"delimiter": separator, "lineterminator": end, "quotechar": draw(st.sampled_from(['"', '"', "'"]))}
    how["quoting"] = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    if how["quotechar"] == "'":  # where few values have them, nobody can know that apostrophes are quotes
        how["quoting"] = csv.QUOTE_ALL
    if draw(st.integers(0, 5)) == 0:
        how |= {"escapechar": "\\", "doublequote": False}
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    lines: list[tuple[str, int | None]] = [(formatted(fields, **how), at) for at, fields in enumerate(rows)]
    lines.insert(0, (formatted(names, **how), None))
    said = []
    for _ in range(draw(st.integers(0, 2))):
        fault = draw(st.sampled_from(sorted(FAULTS)))
        if fault in said or (said and "no_header" in {fault, *said}):
            continue
        if fault == "no_header" and "count" not in names:  # of words alone, nobody can know
            continue
        if {"total", "second_table"} <= {fault, *said}:  # a total is looked for in the last rows
            continue
        # The row then has as many values as the others; the last value is followed by the note.
        if {fault, *said} in ({"trailing_separators", "fewer_separators"}, {"no_last_end", "below"}):
            continue
        said.append(fault)
        FAULTS[fault](draw, lines, how, names)
    return Written(names, rows, lines, encoding, f"{said} {how} {encoding}")


def at(draw: st.DrawFn, lines: list[tuple[str, int | None]]) -> int:
    return draw(st.integers(0, len(lines) - 1))


def change(lines: list, place: int, text: str) -> None:
    lines[place] = (text, lines[place][1])


def fields_of(text, how):
    return next(csv.reader(io.StringIO(text, newline=""), **{key: how[key] for key in how if key != "lineterminator"}))


def more_separators(draw, lines, how, names):
    place = at(draw, lines)
    fields = fields_of(lines[place][0], how)
    fields.insert(draw(st.integers(0, len(fields))), "")
    change(lines, place, formatted(fields, **how))


def fewer_separators(draw, lines, how, names):
    place = at(draw, lines)
    fields = fields_of(lines[place][0], how)
    cut = draw(st.integers(0, len(fields) - 1))
    fields[cut : cut + 2] = ["".join(fields[cut : cut + 2])]
    change(lines, place, formatted(fields, **how))


def other_separator(draw, lines, how, names):
    place = at(draw, lines)
    change(lines, place, lines[place][0].replace(how["delimiter"], draw(st.sampled_from(",;\t"))))


def stray_quote(draw, lines, how, names):
    place = at(draw, lines)
    text = lines[place][0]
    cut = draw(st.integers(0, len(text) - len(how["lineterminator"])))
    change(lines, place, text[:cut] + how["quotechar"] + text[cut:])


def lost_quote(draw, lines, how, names):
    place = at(draw, lines)
    change(lines, place, lines[place][0].replace(how["quotechar"], "", 1))


def above(draw, lines, how, names):
    title = draw(st.sampled_from(["Report", "# exported 2024-05-01", "Customers of 2024, all of them", "# a,b,c"]))
    lines.insert(0, (title + how["lineterminator"] * draw(st.integers(1, 2)), None))


def below(draw, lines, how, names):
    text = draw(st.sampled_from(["(24 rows affected)", "# end", "Source: own, 2024", "\x1a", "Total"]))
    lines.append((how["lineterminator"] * draw(st.integers(0, 1)) + text + how["lineterminator"], None))


def total(draw, lines, how, names):
    fields = ["Total"] + ["999999" if name in ("count", "price") else "" for name in names[1:]]
    lines.append((formatted(fields, **how), None))


def header_again(draw, lines, how, names):
    lines.insert(draw(st.integers(1, len(lines))), (formatted(names, **how), None))


def units(draw, lines, how, names):
    lines.insert(1, (formatted(["kg" if name in ("count", "price") else "text" for name in names], **how), None))


def second_header(draw, lines, how, names):
    lines.insert(1, (formatted([f"{name} of it" for name in names], **how), None))


def no_header(draw, lines, how, names):
    del lines[0]


def second_table(draw, lines, how, names):
    width = len(names) + draw(st.integers(-1, 1))
    change(lines, -1, lines[-1][0].rstrip("\r\n") + how["lineterminator"])
    lines.append((how["lineterminator"] + formatted([f"x{place}" for place in range(width)], **how), None))
    lines += [(formatted([str(row + place) for place in range(width)], **how), None) for row in range(3)]


def empty_lines(draw, lines, how, names):
    place = at(draw, lines)
    change(lines, place, lines[place][0] + how["lineterminator"] * draw(st.integers(1, 2)))


def no_last_end(draw, lines, how, names):
    change(lines, -1, lines[-1][0].rstrip("\r\n"))


def trailing_separators(draw, lines, how, names):
    end = how["lineterminator"]
    lines[:] = [(text.removesuffix(end) + how["delimiter"] + end, row) for text, row in lines]


def second_mark(draw, lines, how, names):
    change(lines, 0, "\ufeff" + lines[0][0])


FAULTS = {
    function.__name__: function
    for function in (
        *(more_separators, fewer_separators, other_separator, stray_quote, lost_quote, above, below, total),
        *(header_again, units, second_header, no_header, second_table, empty_lines, no_last_end),
        *(trailing_separators, second_mark),
    )
}


def wrong(path: Path, table: Written, ragged: deliveries.Ragged = "reject") -> str:
    """What of the table was read otherwise than it was written, without a word; "" if nothing was."""
    path.write_bytes(table.content)
    findings, terms = deliveries.Findings(), deliveries.Terms(ragged=ragged)
    try:
        read = [
            row
            for batch in deliveries.batches(path, terms=terms, findings=findings)
            for row in batch.to_numpy().tolist()
        ]
        how = dialect.of(path)
        found = [row.line for row, why in dialect.records(path, how) if not why]
    except DataError as error:
        return "" if path.name in str(error) else f"refused without its name: {error}"
    named = {
        int(example["at"].rpartition(":")[2])
        for kind in (findings.left_out, findings.repaired)
        for example in kind.examples
    }
    if not named and any("no name" in example["why"] for example in findings.repaired.examples):
        return ""
    start, rows = 1, {}
    for text, row in table.lines:
        gap = len(text) - len(text.lstrip("\r\n"))
        first = start + len(text[:gap].replace("\r\n", "\n"))
        rows[first] = row
        ends = len(text.rstrip("\r\n").replace("\r\n", "\n").split("\n")) - gap
        if named & set(range(first, first + ends)):
            named.add(first)  # one of its lines is named
        start += len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n")) - 1
    width = len(table.names)
    extra = [name for name in how.names[width:] if not name.startswith("Unnamed")]
    if (list(how.names[:width]) != table.names or extra) and not named & set(range(1, how.header + 1)):
        return f"names {how.names}"
    if len(read) != len(found):
        return f"{len(read)} rows, but {len(found)} lines"
    for line, fields in zip(found, read, strict=True):
        row = rows.get(line)
        same = row is not None and fields[:width] == table.rows[row] and not any(fields[width:])
        if not same and line not in named:
            return f"line {line}: {fields} instead of {row if row is None else table.rows[row]}"
    missing = [line for line, row in rows.items() if row is not None and line not in found and line not in named]
    return f"lines {missing} are missing" if missing else ""


@SAME_FOLDER
@given(polluted())
def test_nothing_is_read_otherwise_than_it_was_written_in_silence(tmp_path: Path, table: Written) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "EXAMPLES", 10**6)
        assert wrong(tmp_path / "a.csv", table) == "", table.said
