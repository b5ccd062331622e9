"""Both sides of the drift comparison: `python -m benchmarks.drift make|ours|loop FOLDER`."""

import sys
from pathlib import Path

ROWS, NUMBERS, CATEGORIES, LEVELS = 100_000, 50, 10, 20


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


def ours(folder: Path) -> None:
    """As `monitor` does it."""
    from mlops.base import params
    from mlops.data import profile
    from mlops.data.schema import Column, Schema
    from mlops.intake import tables
    from mlops.monitoring import drift

    tables = [tables.read(folder / f"{name}.parquet") for name in ("baseline", "current")]
    columns = {name: Column(type="number" if name.startswith("n") else "category") for name in tables[0]}
    schema = Schema(columns={**columns, "target": Column(type="number", role="target")})
    effects = {"ks_distance": 0.1, "cramers_v": 0.1, "missing_change": 0.05}
    limits = params.Monitor(features="all", p_value=0.05, drifted_share=0.3, minimum_accuracy=0.7, **effects)
    found = drift.compare(*(profile.profile(table, schema) for table in tables), list(columns), limits)
    print(sum(column.drifted for column in found), "drifted")


def loop(folder: Path) -> None:
    """As people do it."""
    import pandas as pd
    from scipy.stats import chi2_contingency, ks_2samp

    baseline, current = (pd.read_parquet(folder / f"{name}.parquet") for name in ("baseline", "current"))
    drifted = 0
    for name in baseline:
        one, other = baseline[name].dropna(), current[name].dropna()
        if pd.api.types.is_numeric_dtype(one):
            p_value = ks_2samp(one, other).pvalue
        else:
            counts = pd.DataFrame({"one": one.value_counts(), "other": other.value_counts()}).fillna(0)
            p_value = chi2_contingency(counts.to_numpy()).pvalue
        drifted += p_value < 0.05
    print(drifted, "drifted")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "{{cookiecutter.project}}"))
    {"make": make, "ours": ours, "loop": loop}[sys.argv[1]](Path(sys.argv[2]))
