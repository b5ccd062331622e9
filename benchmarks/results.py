"""The rows of every benchmark: how they are run, kept, and shown in a table."""

import json
import os
import platform
import re
import sys
import time
from argparse import Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from benchmarks.measure import USED, Row, versions

NAMES = (
    "pipeline", "generation", "readers", "drift", "validation", "serving", "search", "experiments", "event_features",
    "round_trip", "canary", "scaling",
)  # fmt: skip
WALL = re.compile(r"(s|ms|requests)\b(?!.*processor)")  # units that other work on the machine changes
RESULTS = Path(__file__).with_name("results")


def figure(value: float) -> str:
    """Three significant digits, and no more zeros than that."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def budget(row: Row) -> str:
    """What is asked for: of the ratio where a peer is named, else of our figure."""
    if row.most is row.least is None:
        return "–"
    limit = f"≤ {row.most:g}" if row.most is not None else f"≥ {row.least:g}"
    return f"{limit} ×" if row.peer else limit


def verdict(row: Row, *, busy: bool = False) -> str:
    """Whether the budget is kept; of wall times on a `busy` machine nobody can say."""
    if row.peer and row.theirs is None:
        return "not to be had here"
    if busy and row.met is not None and WALL.match(row.unit):
        return "not judged"
    return {True: "met", False: "MISSED", None: "–"}[row.met]


def is_busy(machine: str) -> bool:
    """Whether a machine, as `machine` tells of it, had more to do than it has cores."""
    cores, load = re.match(r"(\d+) cores", machine), re.search(r"load ([\d.]+)", machine)
    return bool(cores and load and float(load[1]) > int(cores[1]))


def cells(row: Row, *, busy: bool = False) -> list[str]:
    """A row of a table: what, ours, peer, ratio, budget, verdict."""
    theirs = "–" if row.theirs is None else figure(row.theirs)
    ratio = "–" if row.ratio is None else f"{figure(row.ratio)} ×"
    return [
        f"{row.what}, {row.unit}",
        figure(row.ours),
        row.peer or "–",
        theirs,
        ratio,
        budget(row),
        verdict(row, busy=busy),
    ]


HEADS = ("what", "ours", "peer", "the peer's", "ratio", "budget", "")


def machine() -> str:
    """What was measured on, without a name of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    load = os.getloadavg()[0]
    shared = f"shared with other work (load {load:.1f} at the start)" if load > 1 else "quiet at the start"
    return f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}, {shared}"


def measured(name: str, options: Namespace) -> None:
    """Run one benchmark, print its rows, and keep them with date, machine and versions."""
    module, start, where = import_module(f"benchmarks.{name}"), time.perf_counter(), machine()
    rows: list[Row] = module.measure(options)
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": where,
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "versions": {"ours": versions(sys.executable, *module.PACKAGES), **USED},
        "rows": [asdict(row) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    from rich.console import Console
    from rich.table import Table

    table = Table(*HEADS, title=module.TITLE)
    for row in rows:
        table.add_row(*cells(row, busy=is_busy(where)))
    Console().print(table)
