"""Write docs/benchmarks.md and its pictures from all results that are there: `python -m benchmarks.page`."""

import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.measure import TEMPLATE, Row
from benchmarks.results import HEADS, NAMES, RESULTS, cells, figure, is_busy, verdict

DOCS = TEMPLATE / "docs"
HEAD = """# Measured beside its peers

`make bench` installs each peer into an environment of its own, gives all the same work, and writes this page;
`make bench ONLY=drift` measures one subject anew, and leaves the others as they are. So each has a date of its own.

- **Ratio** is ours divided by the peer's: of seconds and megabytes, less than 1 is in our favour; of requests, more.
- **Budget** is what we ask of ourselves: of the ratio where a peer is named, else of our figure.
- Sides take turns, after a run each that does not count. Figures are medians of whole processes, imports included,
  unless a section says otherwise.
- Where a machine was shared with other work, its section says so: wall times are several times longer then, and with
  more work than cores their budgets are not judged; trust ratios from 1.5 on, and processor time more.
- We know our own program better than the peers. Where a peer is used in a way that does it wrong, please say so.

"""
UNKNOWN = "nobody has said yet why."
INK, OURS, THEIRS, FAINT = "#1f2328", "#0969da", "#8c959f", "#d0d7de"
STYLE: dict[str, Any] = {
    "svg.hashsalt": "benchmarks",  # without a salt, the ids of elements are random
    "svg.fonttype": "none",  # text stays text
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


def results(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """What is there, in the order of the page; rows are `Row`s."""
    found = {}
    for name in NAMES:
        path = folder / f"{name}.json"
        if path.exists():
            content = json.loads(path.read_text(encoding="utf-8"))
            found[name] = content | {"rows": [Row(**row) for row in content["rows"]]}
    return found


def page(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The page as Markdown."""
    asked = [
        [link(name), *cells(row, busy=is_busy(each["machine"]))]
        for name, each in found.items()
        for row in each["rows"]
        if row.most is not None or row.least is not None
    ]
    verdicts = Counter(line[-1] for line in asked)
    counts = f"{len(asked)} budgets: {', '.join(f'{count} {said.lower()}' for said, count in verdicts.most_common())}."
    parts = [HEAD, f"{counts}\n\n", table(("subject", *HEADS), asked), "\n"]
    for name, each in found.items():
        parts += section(name, each)
    return "".join(parts)


def link(name: str) -> str:
    """A link to the section of a benchmark."""
    title = import_module(f"benchmarks.{name}").TITLE
    return f"[{title}](#{re.sub(r'[^a-z -]', '', title.lower()).replace(' ', '-')})"


def table(heads: tuple[str, ...], lines: list[list[str]]) -> str:
    """A table in Markdown; what is missed is bold."""
    bold = [["**missed**" if cell == "MISSED" else cell for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in [list(heads), ["---"] * len(heads), *bold])


def section(name: str, each: Mapping[str, Any]) -> Iterator[str]:
    """One subject: how it was measured, the picture, all rows, and with what."""
    module = import_module(f"benchmarks.{name}")
    lines = [row for row in each["rows"] if row.at is None]
    yield f"## {module.TITLE}\n{module.ABOUT}\n"
    yield f"![{module.TITLE}: a picture of the figures in the table below](pictures/bench-{name}.svg)\n\n"
    yield table(HEADS, [cells(row, busy=is_busy(each["machine"])) for row in lines])
    for unit in dict.fromkeys(row.unit for row in each["rows"] if row.at is not None):
        yield f"\n{unit}:\n\n{pivot(unit, each['rows'])}"
    notes = dict.fromkeys(f"{row.peer}: {row.note}" for row in lines if row.note)
    yield "".join(f"\n{note}.\n" for note in notes)
    yield "".join(f"\n**Missed**: {words}\n" for words in missed(name, each))
    versions = "; ".join(
        f"{side}: {', '.join(f'{package} {number}' for package, number in packages.items())}"
        for side, packages in each["versions"].items()
    )
    yield f"\n{each['date']}, {each['minutes']:g} minutes on {each['machine']}. {versions}.\n\n"


def missed(name: str, each: Mapping[str, Any]) -> Iterator[str]:
    """What was missed, and why, in a sentence for each budget."""
    reasons = getattr(import_module(f"benchmarks.{name}"), "MISSED", {})
    for row in each["rows"]:
        if verdict(row, busy=is_busy(each["machine"])) == "MISSED":
            beside = f", beside {row.peer}" if row.peer else ""
            yield f"{row.what}, {row.unit}{beside}: {reasons.get((row.what, row.unit, row.peer), UNKNOWN)}"


def pivot(unit: str, rows: list[Row]) -> str:
    """The points of one unit: a line for each series, a column for each size."""
    points = [row for row in rows if row.unit == unit and row.at is not None]
    at = list(dict.fromkeys(row.at for row in points))
    known = {(row.what, row.at): figure(row.ours) for row in points}
    lines = [[what, *(known.get((what, size), "–") for size in at)] for what in dict.fromkeys(r.what for r in points)]
    return table(("", *(f"{size:,.0f}" for size in at)), lines)


def picture(rows: list[Row]) -> str:
    """An SVG: lines where rows have sizes, else bars, a panel for each unit."""
    import matplotlib
    from matplotlib.figure import Figure

    lines = any(row.at is not None for row in rows)
    panels: dict[str, list[Row]] = {}
    for row in rows:
        if (row.at is not None) == lines:
            panels.setdefault(row.unit, []).append(row)
    bars = {unit: sides(of_unit) for unit, of_unit in panels.items()}
    heights = [3.0 if lines else 0.5 + 0.2 * len(each) for each in bars.values()]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, sum(heights) + 0.3), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for one, (unit, of_unit) in zip(axes, panels.items(), strict=True):
            one.set_title(unit, loc="left", fontsize=9)
            (draw_lines if lines else draw_bars)(one, of_unit if lines else bars[unit])
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    return "\n".join(line.rstrip() for line in svg[svg.index("<svg") :].splitlines()) + "\n"


def sides(rows: list[Row]) -> list[tuple[str, float, bool]]:
    """The bars of one unit: label, figure, and whether it is ours, which is drawn once for all its peers."""
    found: dict[tuple[str, str], tuple[str, float, bool]] = {}
    for row in rows:
        found.setdefault((row.what, ""), (f"{row.what}: ours", row.ours, True))
        if row.theirs is not None:
            found[row.what, row.peer] = (row.peer, row.theirs, False)
    order = list(dict.fromkeys(row.what for row in rows))
    return [bar for (_, _), bar in sorted(found.items(), key=lambda each: order.index(each[0][0]))]


def draw_bars(axes: Any, bars: list[tuple[str, float, bool]]) -> None:
    """Horizontal bars with their figures; those of peers are grey."""
    values = [value for _, value, _ in bars]
    axes.barh(range(len(bars)), values, color=[OURS if ours else THEIRS for *_, ours in bars], height=0.7)
    axes.set_yticks(range(len(bars)), [label for label, *_ in bars])
    axes.invert_yaxis()
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 30 * min(positive):
        axes.set_xscale("log")
        axes.set_title(f"{axes.get_title('left')} (bars on a logarithmic scale)", loc="left", fontsize=9)
    for place, value in enumerate(values):
        axes.annotate(
            figure(value), (max(value, 0), place), (3, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.margins(x=0.12)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def draw_lines(axes: Any, rows: list[Row]) -> None:
    """A line for each series, on logarithmic axes."""
    for what in dict.fromkeys(row.what for row in rows):
        points = [(row.at, row.ours) for row in rows if row.what == what]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1.2, label=what)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(color=FAINT, linewidth=0.5)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def main() -> None:
    """Write them."""
    found = results()
    for name, each in found.items():
        (DOCS / "pictures" / f"bench-{name}.svg").write_text(picture(each["rows"]), encoding="utf-8")
    (DOCS / "benchmarks.md").write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
