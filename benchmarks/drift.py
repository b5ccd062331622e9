"""Drift beside Evidently, NannyML and a loop over scipy's tests: what it takes, and how often each is right.

A side runs as `python -m benchmarks.drift cost|rates SIDE …`, in its own environment.
"""

import json
import os
import sys
import time
from argparse import Namespace
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.measure import (
    FOLDER,
    PROJECT,
    TEMPLATE,
    NotToBeHadError,
    Row,
    Side,
    environment,
    rows,
    run,
    say,
    turns,
)  # fmt: skip

TITLE = "Drift"
PACKAGES = ("scipy", "scikit-learn", "pandas")
# Evidently does not import with pandas 3.1; NannyML does not declare that it needs statsmodels.
PEERS = {"Evidently": ("evidently", "pandas<3.1"), "NannyML": ("nannyml", "statsmodels")}
ROWS, NUMBERS, CATEGORIES, LEVELS = 100_000, 50, 10, 20
CHUNKS = 10  # of the reference, of which NannyML learns its thresholds
DELIVERED = 2_000
# The pairs that are judged, and what each verdict is called.
KINDS = {"alike": "false alarms", "shifted": "shift found", "correlated": "correlation found"}
ABOUT = f"""
**What it takes:** two Parquet files of {ROWS:,} rows, {NUMBERS} numbers and {CATEGORIES} categories of {LEVELS}
levels, without drift. Ours is what the stage `monitor` does: profiles, then tests of shape, missing values and new
levels, adjusted together. Evidently runs its `DataDriftPreset` as it is, which draws figures, too. NannyML runs its
Kolmogorov–Smirnov and chi-square tests over chunks of a tenth. The loop calls `ks_2samp` and `chi2_contingency`.

**How often it is right:** a reference of {CHUNKS * DELIVERED:,} rows and a delivery of {DELIVERED:,}, of 20 columns.
Pairs without drift have ten kinds of columns (skewed, heavy tails, counts, many zeros, up to 50 levels, missing
values). In the others, one of 20 normal columns moved by 0.3 standard deviations, or two have a correlation of 0.7
now, which no column shows alone. Each is asked as its manual begins, with thresholds as they are; ours are adjusted
for the number of columns, and have a floor for effects that do not matter. NannyML gets the delivery as one chunk
beside ten of the reference. `python -m benchmarks.drift_calibration` judges 500 pairs of 200 to 200,000 rows with our
side alone.

**What they do that we do not:** Evidently has checks of texts, recommendations and language models, a hundred
metrics, dashboards and a service; NannyML estimates performance by period with thresholds of its own, ranks columns
by alarms, and places values in time, chunk by chunk. Both work in a notebook on any data frame, without a project
around them.
"""

MISSED = {
    (f"{ROWS:,} × {NUMBERS + CATEGORIES}", "s", "Evidently"): (
        "imports, pandas above all, are a large part of ours, and take as long however fast the tests are."
    ),
}


def measure(options: Namespace) -> list[Row]:
    """Time and memory of one large pair, and the verdicts on many small ones."""
    tables = FOLDER / "drift"
    if not tables.exists():
        run(TEMPLATE, sys.executable, "-m", "benchmarks.drift", "make", str(tables))
    pythons, missing = {"ours": sys.executable, "scipy loop": sys.executable}, {}
    for name, packages in PEERS.items():
        try:
            pythons[name] = environment(name, *packages)
        except NotToBeHadError as error:
            missing[name] = str(error)
    module = ["-m", "benchmarks.drift"]
    sides = {name: Side([python, *module, "cost", name, str(tables)]) for name, python in pythons.items()}
    what = f"{ROWS:,} × {NUMBERS + CATEGORIES}"
    taken = turns({name: sides[name] for name in ("ours", "scipy loop")}, options.repeat)
    found = rows(what, taken, most=0.6)
    found += [Row(what, "s", taken["ours"].seconds, name, note=reason) for name, reason in missing.items()]
    for name in (each for each in PEERS if each in pythons):  # they take much longer, so they have turns of their own
        budgets = {"most": 0.05, "most_memory": 0.5} if name == "Evidently" else {}
        found += rows(what, turns({each: sides[each] for each in ("ours", name)}, options.repeat), **budgets)

    def judged(name: str) -> Any:
        say(f"{name}: verdicts on {options.pairs} pairs of each kind")
        printed = run(TEMPLATE, pythons[name], *module, "rates", name, str(options.pairs))
        return json.loads(printed.splitlines()[-1])

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # at once, since what is measured is processor time
        names = list(reversed(pythons))  # the slow ones first
        verdicts = dict(zip(names, pool.map(judged, names), strict=True))
    return found + rates(verdicts, options.pairs)


def rates(verdicts: dict[str, Any], pairs: int) -> list[Row]:
    """Rows of the shares of pairs that are called drifted, and of the time that a pair takes."""
    ours, found = verdicts.pop("ours"), []
    for kind, what in KINDS.items():
        limit = {"most": 0.05} if kind == "alike" else {"least": 0.95}
        mine, name = ours[kind]["shares"]["drifted"], f"{what} in {pairs} pairs"
        found.append(Row(name, "share of pairs", mine, **limit))
        found += [
            Row(name, "share of pairs", mine, f"{peer}, {verdict}", share)
            for peer, each in verdicts.items()
            for verdict, share in each[kind]["shares"].items()
        ]
    found += [
        Row("a pair", "s of processor time", ours["alike"]["seconds"], peer, each["alike"]["seconds"])
        for peer, each in verdicts.items()
    ]
    return found


# ---- What runs in an environment of its own


def make(folder: Path) -> None:
    """Two tables without drift."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    levels = np.array([f"level {number}" for number in range(LEVELS)])
    for name in ("baseline", "current"):
        columns: dict[str, object] = {f"n{number}": rng.normal(size=ROWS) for number in range(NUMBERS)}
        columns |= {f"c{number}": levels[rng.integers(LEVELS, size=ROWS)] for number in range(CATEGORIES)}
        pd.DataFrame(columns).to_parquet(folder / f"{name}.parquet")


def costing(name: str, folder: Path) -> None:
    """Read both tables, and judge them."""
    paths = [folder / f"{side}.parquet" for side in ("baseline", "current")]
    if name == "ours":
        print(profiled(*paths))
        return
    import pandas as pd

    one, other = (pd.read_parquet(path) for path in paths)
    print(JUDGES[name](one, other, []))


def profiled(*paths: Path) -> int:
    """As `monitor` does it; the number of columns that drifted."""
    from mlops.base.params import Monitor
    from mlops.data import profile
    from mlops.data.schema import Column, Schema
    from mlops.intake import tables
    from mlops.monitoring import drift

    read = [tables.Stored(path) for path in paths]
    columns = {name: Column(type="number" if name.startswith("n") else "category") for name in read[0].names}
    schema = Schema(columns={**columns, "target": Column(type="number", role="target")})
    found = drift.compare(*(profile.profile(table, schema) for table in read), list(columns), Monitor())
    return sum(column.drifted for column in found)


def rating(name: str, count: int) -> dict[str, Any]:
    """The share of pairs that each verdict of one side calls drifted, and the processor seconds of a pair, by kind."""
    from benchmarks import drift_calibration

    found: dict[str, Any] = {}
    for kind in KINDS:
        drifted, seconds = Counter[str](), 0.0
        for seed in range(count):
            pair = getattr(drift_calibration, kind)(seed, DELIVERED, CHUNKS * DELIVERED)
            start = time.process_time()
            drifted.update({verdict: int(called) for verdict, called in JUDGES[name](*pair).items()})
            seconds += time.process_time() - start
        found[kind] = {"shares": {one: drifted[one] / count for one in drifted}, "seconds": seconds / count}
    return found


def ours(one: Any, other: Any, kinds: list[str]) -> dict[str, bool]:
    """Any column, or all of them together."""
    from benchmarks.drift_calibration import judge

    verdict = judge(one, other, kinds)
    return {"drifted": bool(verdict["columns"]) or verdict["together"]}


def loop(one: Any, other: Any, _: list[str]) -> dict[str, bool]:
    """As people do it: a test for each column, at 5 %."""
    import pandas as pd
    from scipy.stats import chi2_contingency, ks_2samp

    drifted = 0
    for name in one:
        old, new = one[name].dropna(), other[name].dropna()
        if pd.api.types.is_numeric_dtype(old):
            p_value = ks_2samp(old, new).pvalue
        else:
            counts = pd.DataFrame({"old": old.value_counts(), "new": new.value_counts()}).fillna(0)
            p_value = chi2_contingency(counts.to_numpy()).pvalue
        drifted += p_value < 0.05
    return {"any column": bool(drifted)}


def evidently(one: Any, other: Any, _: list[str]) -> dict[str, bool]:
    """Its preset as it is: a column by a test of its choice, a table if half of the columns drifted."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    metrics = Report([DataDriftPreset()]).run(other, one).dict()["metrics"]
    counted = [each["value"] for each in metrics if isinstance(each["value"], dict) and "share" in each["value"]]
    return {
        "any column": any(value["count"] > 0 for value in counted),
        "half of the columns": any(value["share"] >= 0.5 for value in counted),
    }


def nannyml(one: Any, other: Any, kinds: list[str]) -> dict[str, bool]:
    """Its tests of columns and, but for the large pair, its reconstruction by principal components, as they are.

    Its thresholds come from chunks of the reference; the delivery is one chunk of the same size.
    """
    import nannyml

    nannyml.disable_usage_logging()
    words = {name: "object" for name in one if one[name].dtype.kind not in "fi"}
    one, other = (side.astype(words) for side in (one, other))
    size = min(len(one) // CHUNKS, len(other))
    numbers = [name for name in one if name not in words]
    calculators = {
        "any column": nannyml.UnivariateDriftCalculator(
            column_names=list(one), chunk_size=size,
            continuous_methods=["kolmogorov_smirnov"], categorical_methods=["chi2"],
        ),
        "reconstruction of numbers": nannyml.DataReconstructionDriftCalculator(column_names=numbers, chunk_size=size),
    }  # fmt: skip
    verdicts = {}
    for verdict, calculator in list(calculators.items())[: 2 if kinds else 1]:
        result = calculator.fit(one).calculate(other).filter(period="analysis").to_df()
        alerts = result[[column for column in result.columns if column[-1] == "alert"]].to_numpy(dtype=bool)
        verdicts[verdict] = bool(alerts.any())
    return verdicts


JUDGES = {"ours": ours, "scipy loop": loop, "Evidently": evidently, "NannyML": nannyml}


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    what, *given = sys.argv[1:]
    if what == "make":
        make(Path(given[0]))
    elif what == "cost":
        costing(given[0], Path(given[1]))
    else:
        answer = rating(given[0], int(given[1]))
        print(json.dumps(answer))
