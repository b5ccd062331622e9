"""Time and memory of each stage over the number of rows and of columns."""

import shutil
import sys
from argparse import Namespace
from collections import defaultdict
from multiprocessing import get_context
from pathlib import Path

from benchmarks.measure import FOLDER, OPS, Cost, Row, Side, cost, exported, from_table, say, stage

TITLE = "Time and memory over rows and columns"
PACKAGES = ("pandas", "pyarrow", "scikit-learn")
CHUNK, LEVELS = 250_000, 800
MANY_ROWS, FEW_ROWS, MANY_COLUMNS, FEW_COLUMNS = 10_000, 1_000, 20, 10
STAGES = ("schema infer", "prepare", "validate", "train", "evaluate", "register", "monitor")
IN_BATCHES = ("schema infer", "prepare", "validate", "monitor")  # their memory has a limit
MOST_EXPONENT, MOST_MEGABYTES, MOST_NOISE, POINTS = 1.1, 2_000, 0.5, 4
MODEL = "hist_gradient_boosting"
ABOUT = f"""
A table of {MANY_COLUMNS} columns from {MANY_ROWS:,} rows on, and one of {FEW_ROWS:,} rows from {FEW_COLUMNS} columns
on, up to {POINTS} sizes of each: two of five columns are numbers, one an integer, one a category of 12 levels, one of
{LEVELS}. The stages run one after the other as `dvc repro` runs them, with `{MODEL}` as the model. Seconds are those
of the processor, all threads together, so that other work on the machine counts little. The exponent p is that of
seconds = c + b · size^p: the time of the smallest table is taken away, and a line fitted through the logarithms. A
size that takes less than half as long again as the smallest one does not count, and a stage with less than two that
count has no exponent: there, it mostly starts. Only large tables (`--rows 5000000`) say it well. Memory is the peak
of a process above that of a bare interpreter. `train` and `evaluate` hold what fits their limits in memory, the
others take a batch at a time.
"""


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


def deliver(project: Path, source: Path) -> None:
    """Lay a file in place of all labelled data and of the delivery."""
    for folder in (project / "data" / "raw", project / "data" / "incoming"):
        shutil.rmtree(folder)
        folder.mkdir()
        (folder / source.name).symlink_to(source)


def sizes(least: int, most: int) -> list[int]:
    """Sizes whose logarithms are equally far from each other."""
    return [round(least * (most / least) ** (number / (POINTS - 1))) for number in range(POINTS)]


def exponent(at: list[int], seconds: list[float]) -> float | None:
    """The exponent p of seconds = c + b · size^p, by a line through the logarithms, without the smallest size.

    What is taken away there, is taken away from the sizes as well, so that p is right where it is 1. A size that adds
    less than MOST_NOISE of the smallest one's time does not count; None if less than two sizes do.
    """
    import numpy as np

    sizes_above, above = np.array(at) - at[0], np.array(seconds) - seconds[0]
    counted = above > MOST_NOISE * seconds[0]
    if counted.sum() < 2:
        return None
    return float(np.polyfit(np.log(sizes_above[counted]), np.log(above[counted]), 1)[0])


def stages(name: str, tables: dict[int, Path]) -> dict[str, list[Cost]]:
    """What each stage takes, table by table."""
    project = from_table(name, next(iter(tables.values())))
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("  model: random_forest ", f"  model: {MODEL} "), encoding="utf-8")
    infer = [*OPS, "schema", "infer", "--target", "target", "--force"]
    found = defaultdict(list)
    for number, path in enumerate([next(iter(tables.values())), *tables.values()]):
        deliver(project, path)
        for each in STAGES:
            taken = cost(Side(infer if each == "schema infer" else stage(project, each), project))
            if number:  # the first time, Python compiles and MLflow makes its database
                found[each].append(taken)
                say(f"{path.stem}: {each} {taken.processor:.1f} s, {taken.megabytes:.0f} MB")
    return found


def measure(options: Namespace) -> list[Row]:
    """The stages over rows, then over columns."""
    exported()
    by_rows = {rows: FOLDER / f"{rows} rows.csv" for rows in sizes(MANY_ROWS, options.rows)}
    by_columns = {columns: FOLDER / f"{columns} columns.csv" for columns in sizes(FEW_COLUMNS, options.columns)}
    jobs = [(path, rows, MANY_COLUMNS) for rows, path in by_rows.items()]
    jobs += [(path, FEW_ROWS, columns) for columns, path in by_columns.items()]
    with get_context("spawn").Pool(1) as pool:  # a process begins with the peak of the one that started it
        pool.starmap(make, jobs)
    bare = cost(Side([sys.executable, "-c", ""])).megabytes
    exponents, limits, points = [], [], []
    for what, tables in (("rows", by_rows), ("columns", by_columns)):
        at = list(tables)
        for name, costs in stages(f"scaling-{what}", tables).items():
            fitted = exponent(at, [each.processor for each in costs])
            if fitted is not None:
                exponents.append(Row(f"{name}, by {what}", "exponent", fitted, most=MOST_EXPONENT))
            if what == "rows":
                memory = costs[-1].megabytes - bare
                limit = MOST_MEGABYTES if name in IN_BATCHES else None
                limits.append(Row(f"{name}, {at[-1]:,} × {MANY_COLUMNS}", "MB", memory, most=limit))
            for size, each in zip(at, costs, strict=True):
                points.append(Row(name, f"s of processor time, by {what}", each.processor, at=size))
                points.append(Row(name, f"MB, by {what}", each.megabytes - bare, at=size))
    return [*exponents, *limits, *points]
