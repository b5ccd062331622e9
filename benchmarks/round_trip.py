"""What the round trip adds to reading: a CSV with all types is read with and without it."""

import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.measure import FOLDER, PROJECT, Row

TITLE = "Saying what reading loses"
PACKAGES = ("pandas",)
ROWS = 300_000
ABOUT = f"""
`prepare` writes each value back as text, and says where reading has changed it. A CSV of {ROWS:,} rows with all types
is read with and without that, in turns, in one process; processor time.
"""
TYPES = ("number", "number", "number", "integer", "integer", "category", "category", "datetime", "boolean", "text")
NAMES = {f"{kind} {place}": kind for place, kind in enumerate(TYPES)}
ROLES = {"boolean": "target", "text": "id"}


def make(path: Path, rows: int) -> None:
    """Write a column of each of the TYPES."""
    rng = np.random.default_rng(0)
    day = np.datetime64("2020-01-01")
    of_type = {
        "number": lambda: np.round(rng.normal(5, 15, rows), 3),
        "integer": lambda: rng.integers(0, 5_000, rows),
        "category": lambda: np.array([f"level {number}" for number in range(12)])[rng.integers(0, 12, rows)],
        "datetime": lambda: (day + rng.integers(0, 1_500, rows)).astype(str),
        "boolean": lambda: np.where(rng.random(rows) < 0.3, "yes", "no"),
        "text": lambda: np.char.add("key-", np.arange(rows).astype(str)),
    }
    frame = pd.DataFrame({name: of_type[kind]() for name, kind in NAMES.items()})
    for name in frame.columns[1:6:2]:
        frame[name] = frame[name].astype("str").where(rng.random(rows) < 0.95)  # the rest is missing
    frame.to_csv(path, index=False)


def measure(options: Namespace) -> list[Row]:
    """With, beside without."""
    sys.path.insert(0, str(PROJECT))
    from mlops.data import round_trip
    from mlops.data.schema import Schema
    from mlops.intake import collecting

    folder = FOLDER / "round trip"
    folder.mkdir(parents=True, exist_ok=True)
    make(folder / "a.csv", ROWS)
    columns = {name: {"type": kind, "role": ROLES.get(kind, "feature")} for name, kind in NAMES.items()}
    schema = Schema.model_validate({"columns": columns})
    seen = round_trip.seen

    def took(*, ours: bool) -> float:
        round_trip.seen = seen if ours else lambda *_: {}
        start = time.process_time()
        with collecting.collected(folder, schema, [], lambda table: table, FOLDER / "aside.parquet"):
            return time.process_time() - start

    took(ours=True)  # warms up
    without, ours = np.median([(took(ours=False), took(ours=True)) for _ in range(options.repeat)], axis=0).tolist()
    return [Row(f"reading {ROWS:,} × {len(TYPES)}", "s of processor time", ours, "without", without, most=1.15)]
