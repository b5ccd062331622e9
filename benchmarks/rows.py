"""Time and memory over the number of rows: `python -m benchmarks.rows [--rows 5000000]`, part of `make bench`.

Memory is the peak of the process above that of a bare interpreter; time is linear if the seconds per million rows stay.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from benchmarks.__main__ import ENVIRONMENT, FOLDER, GENERATE, exported

CHUNK = 250_000
LEVELS = 800
MOST_MEGABYTES = 2_000
SMALL = 50_000  # rows that the model learns from: only what is compared with it is measured


def make(path: Path, rows: int, columns: int) -> None:
    """Write a CSV: of five columns two are numbers, one an integer, one of few and one of many levels."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as csv

    rng = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, rows, CHUNK):
            size = min(CHUNK, rows - start)
            kinds = (
                lambda size: np.round(rng.normal(100, 15, size), 3),
                lambda size: np.round(rng.normal(5, 2, size), 3),
                lambda size: rng.integers(0, 5_000, size),
                lambda size: np.array([f"level {number}" for number in range(12)])[rng.integers(0, 12, size)],
                lambda size: np.array([f"city{number}" for number in range(LEVELS)])[rng.integers(0, LEVELS, size)],
            )
            table = {f"column {number}": kinds[number % 5](size) for number in range(columns - 1)}
            likely = 1 / (1 + np.exp((100 - table["column 0"]) / 10))
            table["target"] = np.where(rng.random(size) < likely, "yes", "no")
            csv.write_csv(pa.table(table), file, csv.WriteOptions(include_header=not start))


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and megabytes of one command, which has to succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{shlex.join(command)} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def stage(project: Path, name: str) -> list[str]:
    """The command of a stage."""
    command: str = YAML(typ="safe").load(project / "dvc.yaml")["stages"][name]["cmd"]
    return [sys.executable, *shlex.split(command)[1:]]


def deliver(project: Path, source: Path) -> None:
    """Lay a file in place of all labelled data and of the delivery."""
    for folder in (project / "data" / "raw", project / "data" / "incoming"):
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / source.name).symlink_to(source)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="of the largest table")
    most = parser.parse_args().rows
    FOLDER.mkdir(exist_ok=True)
    tables = {rows: FOLDER / f"{rows}.csv" for rows in (SMALL, most // 4, most // 2, most)}
    wide = FOLDER / "wide"
    wide.mkdir(exist_ok=True)
    jobs = [(path, rows, 20) for rows, path in tables.items()] + [(wide / "wide.csv", most // 5, 50)]
    with get_context("spawn").Pool(1) as pool:  # a process begins with the peak of the one that started it
        pool.starmap(make, jobs)

    answers = [f"data={tables[SMALL]}", "target=target", "project=rows", "setup=no"]
    measured([*GENERATE, str(exported()), *answers, "--output-dir", str(FOLDER)], FOLDER)
    project = FOLDER / "rows"
    infer = [sys.executable, "-m", "mlops", "schema", "infer", "--target", "target", "--force"]
    measured(infer, project)
    for name in ("prepare", "validate", "train", "evaluate"):
        measured(stage(project, name), project)

    _, bare = measured([sys.executable, "-c", ""], project)
    table = Table("what", "rows × columns", "seconds", "a million rows", "megabytes", "at most", "kept")
    for rows in list(tables)[1:]:
        deliver(project, tables[rows])
        for name in ("prepare", "validate", "monitor"):
            seconds, megabytes = measured(stage(project, name), project)
            add(table, name, f"{rows:,} × 20", seconds, seconds / rows * 1e6, megabytes - bare)
    seconds, megabytes = measured([*infer, "--data", str(wide), "--out", str(wide / "schema.yaml")], project)
    add(table, "schema infer", f"{most // 5:,} × 50", seconds, seconds / (most / 5) * 1e6, megabytes - bare)
    Console().print(table)


def add(table: Table, what: str, shape: str, seconds: float, rate: float, megabytes: float) -> None:
    """One line of the table."""
    kept = "yes" if megabytes <= MOST_MEGABYTES else "NO"
    table.add_row(what, shape, f"{seconds:.1f}", f"{rate:.1f}", f"{megabytes:.0f}", f"{MOST_MEGABYTES}", kept)


if __name__ == "__main__":
    main()
