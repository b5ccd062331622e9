"""Checking a million rows, beside pandera and Great Expectations: `python -m benchmarks.validation SIDE FILE`."""

import sys
from argparse import Namespace
from pathlib import Path

from benchmarks.measure import (
    FOLDER,
    PROJECT,
    TEMPLATE,
    NotToBeHadError,
    Row,
    Side,
    environment,
    locked,
    rows,
    run,
    turns,
)

TITLE = "Checks of data"
PACKAGES = ("pandas", "pyarrow")
PEERS = {"Great Expectations": "great-expectations", "pandera": "pandera[pandas]"}
GROUP = 50_000
ROWS, NUMBERS, INTEGERS, CATEGORIES = 1_000_000, 9, 5, 5
ALLOWED = [f"level {number}" for number in range(12)]
MOST_MISSING = 0.1
# Beyond these, one value in a thousand.
LOW, HIGH = -3.3, 3.3
ABOUT = f"""
A Parquet file of {ROWS:,} rows: an identity, {NUMBERS} numbers, {INTEGERS} integers and {CATEGORIES} categories. Each
column is checked for its type and for at most {MOST_MISSING:.0%} missing values, numbers and integers for a range,
categories for {len(ALLOWED)} allowed levels, the identity for each value once. The numbers break their range, and one
category has a level too many, on purpose: all sides say the same {NUMBERS + 1} failures. Each side gets the file with
the types that it likes. Ours reads by batches, so that memory does not grow with the table. The stage `validate`
makes more checks than these: equal rows, rows in both splits, balance of classes, what reading lost.

**What they do that we do not:** Great Expectations checks tables in databases and in Spark, has hundreds of
expectations, data docs for people who do not program, and a service. pandera checks polars, Dask and Spark, has types
for function arguments, hypothesis tests, and makes examples of a schema.
"""


def measure(options: Namespace) -> list[Row]:
    """The whole process of each, from the file to the number of failed checks."""
    table = FOLDER / "validation.parquet"
    if not table.exists():
        run(TEMPLATE, sys.executable, "-m", "benchmarks.validation", "make", str(table))

    def side(name: str, python: str) -> Side:
        file = table if name == "ours" else table.with_name("peers.parquet")  # the same, typed as pandas likes it
        return Side([python, "-m", "benchmarks.validation", name, str(file)])

    sides, missing = {"ours": side("ours", sys.executable)}, {}
    for name, package in PEERS.items():
        try:
            sides[name] = side(name, environment(name.replace(" ", "-"), package, *locked("pandas", "pyarrow")))
        except NotToBeHadError as error:
            missing[name] = str(error)
    what, costs = f"{ROWS:,} × {1 + NUMBERS + INTEGERS + CATEGORIES}", turns(sides, options.repeat)
    return [
        *rows(what, costs, most=0.2),
        *(Row(what, "s", costs["ours"].seconds, name, note=reason) for name, reason in missing.items()),
    ]


# ---- What runs in an environment of its own


def make(path: Path) -> None:
    """Write the table."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    columns = {"identity": rng.permutation(ROWS).astype("int64")}
    for number in range(NUMBERS):
        columns[f"number {number}"] = np.where(rng.random(ROWS) < 0.05, np.nan, rng.normal(size=ROWS))
    columns |= {f"integer {number}": rng.integers(0, 5_000, ROWS) for number in range(INTEGERS)}
    columns |= {f"category {number}": np.array(ALLOWED)[rng.integers(0, 12, ROWS)] for number in range(CATEGORIES)}
    columns["category 0"][0] = "another"
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = pd.DataFrame(columns)
    plain.to_parquet(path.with_name("peers.parquet"))
    # As `prepare` types it, in groups of rows.
    plain.astype(dict.fromkeys(plain.select_dtypes("integer"), "Int64")).to_parquet(path, row_group_size=GROUP)


def ours(path: Path) -> int:
    """As the stage `validate` does it."""
    from mlops.data import checks
    from mlops.data.schema import Column, Schema
    from mlops.intake import tables

    common = {"max_missing": MOST_MISSING}
    columns = {"identity": Column(type="integer", role="id", **common)}
    columns |= {f"number {number}": Column(type="number", min=LOW, max=HIGH, **common) for number in range(NUMBERS)}
    columns |= {f"integer {number}": Column(type="integer", min=0, max=5_000, **common) for number in range(INTEGERS)}
    columns |= {
        f"category {number}": Column(type="category", allowed=ALLOWED, **common) for number in range(CATEGORIES)
    }
    columns["category 0"] = columns["category 0"].model_copy(update={"role": "target"})
    schema, table = Schema(columns=columns), tables.Stored(path)
    checks.check_names(table, schema)
    results = checks.combine(checks.check_columns(batch, schema, 1.0) for batch in table.batches())
    return sum(not result.passed for result in [*results, checks.check_ids(table["identity"])])


def pandera(path: Path) -> int:
    """All columns of one schema, lazily, so that all failures are told."""
    import pandas as pd
    import pandera.pandas as pa

    def missing(values: pd.Series) -> bool:
        return bool(values.isna().mean() <= MOST_MISSING)

    few = pa.Check(missing, ignore_na=False)
    columns = {"identity": pa.Column("int64", few, unique=True, nullable=True)}
    columns |= {
        f"number {number}": pa.Column("float64", [few, pa.Check.in_range(LOW, HIGH)], nullable=True)
        for number in range(NUMBERS)
    }
    columns |= {
        f"integer {number}": pa.Column("int64", [few, pa.Check.in_range(0, 5_000)], nullable=True)
        for number in range(INTEGERS)
    }
    columns |= {
        f"category {number}": pa.Column("str", [few, pa.Check.isin(ALLOWED)], nullable=True)
        for number in range(CATEGORIES)
    }
    try:
        pa.DataFrameSchema(columns).validate(pd.read_parquet(path), lazy=True)
    except pa.errors.SchemaErrors as error:
        return len({(failed.schema.name, str(failed.check)) for failed in error.schema_errors})
    return 0


def great_expectations(path: Path) -> int:
    """One suite over a data frame, in a context that keeps nothing."""
    import great_expectations as gx
    import great_expectations.expectations as gxe
    import pandas as pd

    context = gx.get_context(mode="ephemeral")
    batch = (
        context.data_sources.add_pandas("pandas")
        .add_dataframe_asset("table")
        .add_batch_definition_whole_dataframe("all")
    )
    suite = gx.ExpectationSuite(name="suite")
    types = {"identity": "int64"}
    types |= {f"number {number}": "float64" for number in range(NUMBERS)}
    types |= {f"integer {number}": "int64" for number in range(INTEGERS)}
    types |= {f"category {number}": "str" for number in range(CATEGORIES)}
    for name, kind in types.items():
        suite.add_expectation(gxe.ExpectColumnValuesToBeOfType(column=name, type_=kind))
        suite.add_expectation(gxe.ExpectColumnValuesToNotBeNull(column=name, mostly=1 - MOST_MISSING))
        if name.startswith("category"):
            suite.add_expectation(gxe.ExpectColumnValuesToBeInSet(column=name, value_set=ALLOWED))
        elif name.startswith("integer"):
            suite.add_expectation(gxe.ExpectColumnValuesToBeBetween(column=name, min_value=0, max_value=5_000))
        elif name.startswith("number"):
            suite.add_expectation(gxe.ExpectColumnValuesToBeBetween(column=name, min_value=LOW, max_value=HIGH))
    suite.add_expectation(gxe.ExpectColumnValuesToBeUnique(column="identity"))
    found = batch.get_batch({"dataframe": pd.read_parquet(path)}).validate(suite)
    return int(found.statistics["unsuccessful_expectations"])


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    side, file = sys.argv[1], Path(sys.argv[2])
    if side == "make":
        make(file)
    else:
        failed = {"ours": ours, "pandera": pandera, "Great Expectations": great_expectations}[side](file)
        print(failed, "checks failed")
        sys.exit(failed != NUMBERS + 1)
