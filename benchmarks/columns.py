"""Time over the number of columns: `python -m benchmarks.columns [--columns 3000]`, part of `make bench`.

Each stage takes seconds ∝ columns^exponent, above the time that it takes for a table of a few columns. The seconds are
those of the processor, so that other work on the machine does not count.
"""

import argparse
import resource
import shutil
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import FOLDER, GENERATE, exported
from benchmarks.rows import deliver, make, measured, stage

FEW = 10
ROWS = 1_000
STAGES = ("prepare", "validate", "train", "evaluate", "register", "monitor")
MOST_EXPONENT = 1.1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=3_000, help="of the widest table")
    most = parser.parse_args().columns
    FOLDER.mkdir(exist_ok=True)
    widths = [most // 9, most // 3, most]
    tables = {width: FOLDER / f"{width} columns.csv" for width in (FEW, *widths)}
    for width, path in tables.items():
        make(path, ROWS, width)
    project = FOLDER / "columns"
    shutil.rmtree(project, ignore_errors=True)
    answers = [f"data={tables[FEW]}", "target=target", "project=columns", "setup=no"]
    measured([*GENERATE, str(exported()), *answers, "--output-dir", str(FOLDER)], FOLDER)
    infer = [sys.executable, "-m", "mlops", "schema", "infer", "--target", "target", "--force"]

    seconds: dict[str, list[float]] = {name: [] for name in ("schema infer", *STAGES)}
    for path in (tables[FEW], *tables.values()):  # the first time, Python compiles and MLflow makes its database
        deliver(project, path)
        for name, times in seconds.items():
            times.append(processor_seconds(stage(project, name) if name in STAGES else infer, project))
            print(f"{path.stem}: {name} {times[-1]:.1f} s", file=sys.stderr)
    table = Table("what", *(f"{width:,} columns" for width in widths), "exponent", "at most", "kept")
    for name, (_, least, *times) in seconds.items():
        above = np.maximum(np.array(times) - least, 0.1)
        exponent = float(np.polyfit(np.log(widths), np.log(above), 1)[0])
        kept = "yes" if exponent <= MOST_EXPONENT else "NO"
        table.add_row(name, *(f"{took:.1f} s" for took in times), f"{exponent:.2f}", f"{MOST_EXPONENT}", kept)
    Console().print(table)


def processor_seconds(command: list[str], folder: Path) -> float:
    """Seconds of all threads of one command, which has to succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured(command, folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
