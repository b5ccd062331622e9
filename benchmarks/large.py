"""Tables larger than memory: `python -m benchmarks.large [--rows 50000000] [--columns 20] [--gigabytes 4]`.

A table is made in several CSV files, and goes through every stage and through `batch`. What is printed is time and the
largest memory of the process and of its children, and "missed" where that is more than it may be. All files lie in a
temporary folder (`TMPDIR`), which is removed; for 50,000,000 × 20, they take 20 GB there.
"""

import argparse
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.measure import ENVIRONMENT, GENERATE, TEMPLATE

CHUNK = 250_000
FILES = 8
SMALL = 20_000  # rows that the project is generated from
LEVELS = {"plan": 4, "region": 12, "city": 800, "shop": 20_000}
STAGES = ("prepare", "validate", "train", "evaluate", "monitor")
MEASURED = (*STAGES[1:], "batch")
MLOPS = [sys.executable, "-m", "mlops"]
MODEL = "hist_gradient_boosting"


def make(path: Path, first: int, rows: int, columns: int, labelled: bool) -> None:
    """Write a CSV: an id, categories of few and of many levels, integers, numbers (some missing), and a target."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as csv

    with path.open("wb") as file:
        for start in range(first, first + rows, CHUNK):
            rng, size = np.random.default_rng(start), min(CHUNK, first + rows - start)
            table = {"id": pa.array(np.arange(start, start + size))}
            for name, levels in LEVELS.items():
                words = pa.array([f"{name} {number}" for number in range(levels)])
                table[name] = words.take(pa.array((levels * rng.random(size) ** 2).astype(np.int64)))
            for number in range(columns - len(LEVELS) - 2):
                values = rng.integers(0, 5_000, size) if number % 3 == 2 else np.round(rng.normal(100, 15, size), 3)
                table[f"number {number}"] = pa.array(values, mask=rng.random(size) < 0.02 * (number % 2))
            score = (table["number 0"].to_numpy() - 100) / 10
            likely = 1 / (1 + np.exp(-score))
            if labelled:
                table["target"] = pa.array(["no", "yes"]).take(pa.array((rng.random(size) < likely).astype(np.int64)))
            csv.write_csv(pa.table(table), file, csv.WriteOptions(include_header=start == first))


def _ran(command: list[str], folder: Path, pipe: int) -> None:
    """Run a command in a process that has nothing but it: the largest memory of its children is that of the command."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    os.write(pipe, f"{done.returncode} {time.perf_counter() - start} {used}".encode())


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and gigabytes of one command, which has to succeed."""
    out, pipe = os.pipe()
    process = get_context("fork").Process(target=_ran, args=(command, folder, pipe))
    process.start()
    process.join()
    code, seconds, used = os.read(out, 100).split()
    os.close(out)
    os.close(pipe)
    if int(code):
        sys.exit(f"{shlex.join(command)} failed")
    return float(seconds), float(used) / 1e9


def stage(project: Path, name: str) -> list[str]:
    """The command of a stage."""
    command: str = YAML(typ="safe").load(project / "dvc.yaml")["stages"][name]["cmd"]
    return [sys.executable, *shlex.split(command)[1:]]


def deliver(folder: Path, rows: int, columns: int, labelled: bool) -> None:
    """Lay files of so many rows in place of what is in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    size = -(-rows // FILES)
    jobs = [(folder / f"{k}.csv", k * size, min(size, rows - k * size), columns, labelled) for k in range(FILES)]
    with get_context("spawn").Pool(1) as pool:  # a process begins with the peak of the one that started it
        pool.starmap(make, jobs)


def generated(folder: Path, columns: int) -> Path:
    """A project for such tables."""
    with get_context("spawn").Pool(1) as pool:
        pool.starmap(make, [(folder / "small.csv", 0, SMALL, columns, True)])
    template = folder / "template"
    subprocess.run(["git", "clone", "--quiet", str(TEMPLATE), str(template)], check=True)
    answers = [f"data={folder / 'small.csv'}", "target=target", "project=large", "setup=no"]
    measured([*GENERATE, str(template), *answers, "--output-dir", str(folder)], folder)
    project = folder / "large"
    measured([*MLOPS, "schema", "infer", "--target", "target", "--force"], project)
    yaml, path = YAML(), project / "params.yaml"
    content = yaml.load(path)
    content["train"]["model"] = MODEL
    yaml.dump(content, path)
    return project


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--gigabytes", type=float, default=4.0, help="of memory, at most")
    parser.add_argument("--only", nargs="*", choices=MEASURED, default=MEASURED, help="of what comes after prepare")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlops-large-") as name:
        folder = Path(name)
        project = generated(folder, given.columns)
        raw, incoming = project / "data" / "raw", project / "data" / "incoming"
        commands = {what: stage(project, what) for what in (*STAGES, "register")}
        commands["batch"] = [*MLOPS, "batch", str(incoming), str(folder / "out.parquet"), "--version", "1"]
        for what in ("prepare", "validate", "train", "evaluate", "register"):
            measured(commands[what], project)  # for batch: how its model was fitted makes no difference to the memory
        print(f"{given.rows:,} rows × {given.columns} columns, {given.gigabytes:g} GB of memory at most", flush=True)
        deliver(raw, given.rows, given.columns, labelled=True)
        print(f"{sum(path.stat().st_size for path in raw.iterdir()) / 1e9:.1f} GB of CSV")
        print(f"{'what':10}{'seconds':>10}{'a million rows':>16}{'gigabytes':>11}", flush=True)
        for what in ("prepare", *(one for one in MEASURED if one in given.only)):
            if what in ("monitor", "batch") and raw.exists():
                shutil.rmtree(incoming)
                raw.rename(incoming)
            seconds, gigabytes = measured(commands[what], project)
            told = "" if gigabytes <= given.gigabytes else "  missed"
            print(f"{what:10}{seconds:10.1f}{seconds / given.rows * 1e6:16.2f}{gigabytes:11.2f}{told}", flush=True)


if __name__ == "__main__":
    main()
