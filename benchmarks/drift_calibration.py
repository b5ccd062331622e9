"""How often drift is found where there is none, and where there is some: `python -m benchmarks.drift_calibration`.

Each pair of tables is simulated from a seed: 200 to 200,000 rows a side (log-uniform) and 5 to 100 columns with ties,
skew, heavy tails, dates, missing values, few and many levels, and correlated numbers. A batch is called drifted if any
column is, or all of them together. `benchmarks/drift.py` has Evidently and NannyML judge smaller pairs.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MOST_VALUES = 4_000_000  # of a side: the largest tables have few columns
RATE, DETECTION = 0.05, 0.95  # what is asked for
MIXED = ("normal", "skewed", "heavy", "counts", "rounded", "zeros", "levels 2", "levels 3", "levels 10", "levels 50")
Pair = tuple[pd.DataFrame, pd.DataFrame, list[str]]  # before, now, and the kinds of their columns


def side(random: np.random.Generator, rows: int, kinds: list[str]) -> pd.DataFrame:
    """A table of `rows` of one population: a column per kind."""
    factor, columns = random.normal(size=rows), {}
    for number, kind in enumerate(kinds):
        latent = 0.5 * factor + np.sqrt(0.75) * random.normal(size=rows)
        name, _, size = kind.partition(" ")
        if name == "levels":  # the shares fall as 1 / rank
            shares = 1 / np.arange(1, int(size) + 1)
            ranks = np.searchsorted(np.cumsum(shares) / shares.sum(), random.random(rows))
            values: Any = pd.Series(ranks, dtype="str")
        elif name == "identity":
            values = pd.Series(random.integers(10**9, size=rows), dtype="str")
        elif name == "date":
            days = (np.abs(latent) * 200).astype("int64")
            values = pd.Series(np.datetime64("2024-01-01", "us") + days.astype("timedelta64[D]"))
        else:
            values = pd.Series(
                {
                    "normal": lambda z: z,
                    "skewed": lambda z: np.exp(2 * z),
                    "heavy": lambda z: random.standard_t(2, size=len(z)),
                    "counts": lambda z: random.poisson(np.exp(z)).astype(float),
                    "rounded": lambda z: np.round(z, 1),
                    "zeros": lambda z: np.where(z < 0.8, 0.0, z),
                    "constant": lambda z: np.ones(len(z)),
                }[name](latent)
            )
        if number % 4 == 3:
            values = values.mask(random.random(rows) < (0.002, 0.1, 0.6)[number % 3])
        columns[f"x{number}"] = values
    return pd.DataFrame(columns)


def pair(seed: int) -> Pair:
    """Two tables of one population, of different sizes, and the kinds of their columns."""
    random = np.random.default_rng([1, seed])
    sizes = np.exp(random.uniform(np.log(200), np.log(200_000), size=2)).astype(int).tolist()
    width = int(random.integers(5, 101))
    width = max(5, min(width, MOST_VALUES // max(sizes)))
    known = ["normal", "skewed", "heavy", "counts", "rounded", "zeros", "constant", "date", "identity"]
    known += [f"levels {count}" for count in (2, 3, 10, 50, 300, 2_000)]
    kinds = [str(kind) for kind in random.choice(known, width)]
    return side(random, sizes[0], kinds), side(random, sizes[1], kinds), kinds


def alike(seed: int, rows: int, reference: int) -> Pair:
    """Twenty columns of ten kinds, of one population."""
    random = np.random.default_rng([4, seed])
    kinds = [*MIXED, *MIXED]
    return side(random, reference, kinds), side(random, rows, kinds), kinds


def shifted(seed: int, rows: int = 2_000, reference: int = 2_000) -> Pair:
    """Twenty columns, one of which moved by 0.3 standard deviations."""
    random = np.random.default_rng([2, seed])
    one, other = (pd.DataFrame(random.normal(size=(size, 20))).add_prefix("x") for size in (reference, rows))
    return one, other.assign(x7=other["x7"] + 0.3), ["normal"] * 20


def correlated(seed: int, rows: int = 2_000, reference: int = 2_000) -> Pair:
    """Twenty columns, two of which have a correlation of 0.7 now, and had none; no column alone shows it."""
    random = np.random.default_rng([3, seed])
    one, other = (pd.DataFrame(random.normal(size=(size, 20))).add_prefix("x") for size in (reference, rows))
    return one, other.assign(x7=0.7 * other["x3"] + np.sqrt(0.51) * other["x7"]), ["normal"] * 20


def judge(one: pd.DataFrame, other: pd.DataFrame, kinds: list[str]) -> dict[str, Any]:
    """The verdict of `mlops.monitoring`, as the stage `monitor` makes it."""
    from mlops.base.params import Monitor
    from mlops.data import profile
    from mlops.data.schema import Column, Schema
    from mlops.monitoring import domain, drift

    types = {"date": "datetime", "levels": "category", "identity": "category"}
    columns = {name: Column(type=types.get(kind.split()[0], "number")) for name, kind in zip(one, kinds, strict=True)}
    schema = Schema(columns={**columns, "target": Column(type="number", role="target")})
    profiles = [profile.profile(table, schema) for table in (one, other)]
    found = drift.compare(*profiles, list(columns), Monitor())
    samples = [table.sample(min(domain.ROWS, len(table)), random_state=0) for table in (one, other)]
    together = domain.compare(*samples, list(columns), schema, Monitor())
    return {
        "columns": [column.column for column in found if column.drifted],
        "tests": [
            (kind.split()[0], test.name)
            for column, kind in zip(found, kinds, strict=True)
            for test in column.tests
            if test.drifted
        ],
        "together": not isinstance(together, str) and together.drifted,
        "auc": None if isinstance(together, str) else together.auc,
        "telling": [] if isinstance(together, str) else [column.column for column in together.columns],
    }


def measured(
    name: str, simulate: Any, count: int, first: int = 0
) -> Iterator[tuple[int, tuple[int, int], dict[str, Any]]]:
    """Judge `count` pairs, and say how far it is."""
    for seed in range(first, first + count):
        one, other, kinds = simulate(seed)
        yield seed, (len(one), len(other)), judge(one, other, kinds)
        if (seed + 1) % 25 == 0:
            print(f"{name}: {seed + 1 - first} of {count}", file=sys.stderr, flush=True)


def false_alarms(count: int, first: int) -> dict[str, Any]:
    """The shares of pairs without drift that are called drifted."""
    found, by_test, by_size = Counter[str](), Counter[str](), Counter[str]()
    for seed, sizes, verdict in measured("no drift", pair, count, first):
        small = "less than 1,000 rows" if min(sizes) < 1_000 else "1,000 rows or more"
        by_size[f"pairs of {small}"] += 1
        by_size[f"drifted of {small}"] += bool(verdict["columns"] or verdict["together"])
        found["any column"] += bool(verdict["columns"])
        found["all together"] += verdict["together"]
        found["drifted"] += bool(verdict["columns"] or verdict["together"])
        by_test.update(f"{kind}: {test}" for kind, test in verdict["tests"])
        if verdict["columns"] or verdict["together"]:
            print(seed, sizes, verdict, file=sys.stderr, flush=True)
    shares = {name: found[name] / count for name in ("any column", "all together", "drifted")}
    return {"pairs": count, **shares, "by test": dict(by_test), "by size": dict(by_size)}


def detections(count: int) -> dict[str, Any]:
    """The shares of drifted pairs in which the drift is found, and in which the right columns are named."""
    shift = [verdict for *_, verdict in measured("shift", shifted, count)]
    change = [verdict for *_, verdict in measured("correlation", correlated, count)]
    return {
        "pairs of each": count,
        "shift of 0.3: drifted": sum(bool(v["columns"] or v["together"]) for v in shift) / count,
        "shift of 0.3: the column": sum("x7" in v["columns"] for v in shift) / count,
        "shift of 0.3: all together": sum(v["together"] for v in shift) / count,
        "correlation: drifted": sum(bool(v["columns"] or v["together"]) for v in change) / count,
        "correlation: all together": sum(v["together"] for v in change) / count,
        "correlation: both columns first": sum({*v["telling"][:2]} == {"x3", "x7"} for v in change) / count,
    }


def main() -> int:
    """Measure and print; exit 1 if the figures are not what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=500, help="pairs without drift")
    parser.add_argument("--first", type=int, default=0, help="seed of the first of them, to go on with another part")
    parser.add_argument("--drifted", type=int, default=200, help="pairs with each kind of drift")
    parser.add_argument("--json", type=Path, help="where the results go")
    arguments = parser.parse_args()
    found = {"no drift": false_alarms(arguments.pairs, arguments.first), "drift": detections(arguments.drifted)}
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    detected = [found["drift"][f"{name}: drifted"] for name in ("shift of 0.3", "correlation")]
    return int(found["no drift"]["drifted"] > RATE or min(detected) < DETECTION)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "{{cookiecutter.project}}"))
    sys.exit(main())
