"""How often drift is found where there is none, and where there is some: `python -m benchmarks.drift_calibration`.

Each pair of tables is simulated from a seed: 200 to 200,000 rows a side (log-uniform) and 5 to 100 columns with ties,
skew, heavy tails, dates, missing values, few and many levels, and correlated numbers. A batch is called drifted if any
column is, or all of them together. With `--peers`, Evidently and NannyML judge the same pairs, each in an environment
of its own, which pip builds below the folder named (a few gigabytes; take `--pairs 50`).
"""

import argparse
import json
import subprocess
import sys
import time
import venv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MOST_VALUES = 4_000_000  # of a side: the largest tables have few columns
MOST_OF_PEER = 20_000  # rows of a side that a peer gets, since Evidently takes minutes for more
CHUNKS = 10  # of the first side, of which NannyML learns its thresholds
RATE, DETECTION = 0.05, 0.95  # what is asked for
# Evidently does not import with pandas 3.1; NannyML does not declare that it needs statsmodels.
OURS = "ours"
PEERS = {"evidently": ["evidently", "pandas<3"], "nannyml": ["nannyml", "statsmodels"]}


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


def pair(seed: int) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Two tables of one population, of different sizes, and the kinds of their columns."""
    random = np.random.default_rng([1, seed])
    sizes = np.exp(random.uniform(np.log(200), np.log(200_000), size=2)).astype(int).tolist()
    width = int(random.integers(5, 101))
    width = max(5, min(width, MOST_VALUES // max(sizes)))
    known = ["normal", "skewed", "heavy", "counts", "rounded", "zeros", "constant", "date", "identity"]
    known += [f"levels {count}" for count in (2, 3, 10, 50, 300, 2_000)]
    kinds = [str(kind) for kind in random.choice(known, width)]
    return side(random, sizes[0], kinds), side(random, sizes[1], kinds), kinds


def shifted(seed: int, rows: int = 2_000) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Twenty columns, one of which moved by 0.3 standard deviations."""
    random = np.random.default_rng([2, seed])
    one, other = (pd.DataFrame(random.normal(size=(rows, 20))).add_prefix("x") for _ in range(2))
    return one, other.assign(x7=other["x7"] + 0.3), ["normal"] * 20


def correlated(seed: int, rows: int = 2_000) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Twenty columns, two of which have a correlation of 0.7 now, and had none; no column alone shows it."""
    random = np.random.default_rng([3, seed])
    one, other = (pd.DataFrame(random.normal(size=(rows, 20))).add_prefix("x") for _ in range(2))
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


def peers(folder: Path, count: int) -> dict[str, Any]:
    """What Evidently and NannyML say of the same pairs, and what is said here."""
    found = {OURS: as_peer(OURS, count)}
    for name, packages in PEERS.items():
        python = folder / name / "bin" / "python"
        if not python.exists():
            venv.create(folder / name, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        command = [python, Path(__file__), "--as-peer", name, "--pairs", str(count)]
        found[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def as_peer(name: str, count: int) -> dict[str, Any]:
    """Run one peer, in its environment: the share of pairs that each of its verdicts calls drifted."""
    ask = {"evidently": _evidently, "nannyml": _nannyml, OURS: _ours}[name]
    found: dict[str, Any] = {}
    for kind, simulate in (("no drift", pair), ("shift of 0.3", shifted), ("correlation", correlated)):
        drifted, judged, seconds = Counter[str](), 0, 0.0
        for seed in range(count):
            one, other, kinds = simulate(seed)
            if max(len(one), len(other)) > MOST_OF_PEER:
                continue
            start = time.perf_counter()
            drifted.update(ask(one, other, kinds))
            seconds += time.perf_counter() - start
            judged += 1
            print(f"{name}, {kind}: {seed + 1} of {count}", file=sys.stderr, flush=True)
        shares = {verdict: drifted[verdict] / max(judged, 1) for verdict in sorted(drifted)}
        found[kind] = {"pairs": judged, **shares, "seconds a pair": seconds / max(judged, 1)}
    return found


def _ours(one: pd.DataFrame, other: pd.DataFrame, kinds: list[str]) -> dict[str, bool]:
    verdict = judge(one, other, kinds)
    columns, together = bool(verdict["columns"]), bool(verdict["together"])
    return {"any column": columns, "all together": together, "drifted": columns or together}


def _evidently(one: pd.DataFrame, other: pd.DataFrame, _: list[str]) -> dict[str, bool]:
    """Its preset as it is: a column by a test of its choice, a table if half of the columns drifted."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    metrics = Report([DataDriftPreset()]).run(other, one).dict()["metrics"]
    values = [metric["value"] for metric in metrics]
    counted = [value for value in values if isinstance(value, dict) and "share" in value]
    return {
        "any column": any(value["count"] > 0 for value in counted),
        "half of the columns": any(value["share"] >= 0.5 for value in counted),
    }


def _nannyml(one: pd.DataFrame, other: pd.DataFrame, _: list[str]) -> dict[str, bool]:
    """Its tests of columns and its reconstruction by principal components, with its own thresholds.

    It cuts both sides into chunks of one size, and its thresholds come from those of the first side, so that it takes
    several; without dates and constants, which it refuses. Judged is the first chunk, and any one.
    """
    import nannyml

    nannyml.disable_usage_logging()
    kept = [name for name in one if one[name].dtype.kind != "M" and len(one[name].dropna().unique()) > 1]
    words = {name: "object" for name in kept if one[name].dtype.kind not in "fi"}
    one, other = (side[kept].astype(words) for side in (one, other))
    size = min(len(one) // CHUNKS, len(other))
    columns = nannyml.UnivariateDriftCalculator(
        column_names=kept, chunk_size=size, continuous_methods=["kolmogorov_smirnov"], categorical_methods=["chi2"]
    )
    numbers = [name for name in kept if one[name].dtype.kind in "fi"]
    together = nannyml.DataReconstructionDriftCalculator(column_names=numbers, chunk_size=size)
    verdicts = {}
    for verdict, calculator in (("any column", columns), ("reconstruction of numbers", together)):
        if calculator is together and len(numbers) < 2:
            continue
        result = calculator.fit(one).calculate(other).filter(period="analysis").to_df()
        alerts = result[[column for column in result.columns if column[-1] == "alert"]].to_numpy(dtype=bool)
        verdicts |= {f"{verdict}, first chunk": bool(alerts[0].any()), f"{verdict}, any chunk": bool(alerts.any())}
    return verdicts


def main() -> int:
    """Measure and print; exit 1 if the figures are not what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=500, help="pairs without drift")
    parser.add_argument("--first", type=int, default=0, help="seed of the first of them, to go on with another part")
    parser.add_argument("--drifted", type=int, default=200, help="pairs with each kind of drift")
    parser.add_argument("--peers", type=Path, help="folder for the environments of Evidently and NannyML")
    parser.add_argument("--as-peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="where the results go")
    arguments = parser.parse_args()
    if arguments.as_peer:
        print(json.dumps(as_peer(arguments.as_peer, arguments.pairs)))
        return 0
    found = {"no drift": false_alarms(arguments.pairs, arguments.first), "drift": detections(arguments.drifted)}
    if arguments.peers:
        found["peers"] = peers(arguments.peers, min(arguments.pairs, 50))
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    detected = [found["drift"][f"{name}: drifted"] for name in ("shift of 0.3", "correlation")]
    return int(found["no drift"]["drifted"] > RATE or min(detected) < DETECTION)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "{{cookiecutter.project}}"))
    sys.exit(main())
