"""Whether prepared data is what `schema.yaml` promises: every check with what failed, summarised."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ml.errors import DataError
from ml.schema import Column, ColumnType, Schema, Severity

if TYPE_CHECKING:
    import pandera.pandas as pa

EXAMPLES = 5
DTYPES: dict[ColumnType, str] = {
    "number": "float64",
    "integer": "Int64",
    "boolean": "boolean",
    "category": "str",
    "text": "str",
    "datetime": "datetime64[us]",
}


@dataclass(frozen=True)
class Result:
    """One check: how many of its rows failed, which share of the rows that is (0 to 1), and up to five examples.

    `column` is None where the whole table was checked.
    """

    check: str
    column: str | None
    severity: Severity
    expected: str
    passed: bool
    failed: int
    share: float
    examples: list[str]

    def sentence(self) -> str:
        """What failed, for a person."""
        what = f"{self.check} of {self.column}" if self.column else self.check
        shown = f", such as {', '.join(self.examples)}" if self.examples else ""
        return f"{what}: {self.failed} rows ({self.share:.1%}){shown}; expected {self.expected}"


def check_columns(table: pd.DataFrame, schema: Schema, missing_warning: float) -> list[Result]:
    """Check each column of a typed table (n rows) against `schema`: type, range, allowed values, ids, missing share.

    Values are checked by pandera. A share of missing values above `missing_warning` is worth a warning, one above the
    column's own `max_missing` has the column's severity.

    Raises:
        DataError: the table lacks a column or has it in another type, so that its values cannot be checked.
    """
    import pandera.pandas as pa

    expected = {name: schema.columns[name] for name in schema.kept}
    for name, column in expected.items():
        if name not in table or table[name].dtype != DTYPES[column.type]:
            found = table[name].dtype if name in table else "no such column"
            raise DataError(f"the prepared column {name} should be {DTYPES[column.type]} but is {found}: run prepare")
    checks = {name: _value_checks(column) for name, column in expected.items()}
    rules = {name: pa.Column(DTYPES[expected[name].type], found, nullable=True) for name, found in checks.items()}
    broken: dict[tuple[str, str], pd.Index] = {}
    try:
        pa.DataFrameSchema(rules).validate(table, lazy=True)
    except pa.errors.SchemaErrors as errors:
        for error in errors.schema_errors:
            passing = error.check_output
            broken[error.schema.name, error.check.name] = passing.index[~passing.astype(bool)]
    results = []
    for name, column in expected.items():
        for check in checks[name]:
            rows = broken.get((name, check.name), table.index[:0])
            severity = "error" if check.name == "unique" else column.severity
            results.append(_result(check.name, name, severity, check.description, len(table), table[name], rows))
        results += _missing(table[name], column, missing_warning)
    return results


def check_rows(table: pd.DataFrame, schema: Schema, duplicate_warning: float, smallest_class: float) -> list[Result]:
    """Check a table as a whole: duplicate rows (ids aside), and for classes the share of the smallest."""
    duplicated = _fingerprints(table, schema).duplicated()
    share = float(duplicated.mean())
    most = f"at most {duplicate_warning:.1%} of the rows"
    duplicates = Result(
        "duplicate rows", None, "warning", most, share <= duplicate_warning, int(duplicated.sum()), share, []
    )
    if schema.columns[schema.target].type not in ("category", "boolean"):
        return [duplicates]
    classes = table[schema.target].value_counts(sort=False)
    smallest = classes.min() / len(table)
    least = f"at least {smallest_class:.1%} of the rows in the smallest class"
    balance = Result(
        "class balance",
        schema.target,
        "warning",
        least,
        bool(smallest >= smallest_class),
        int(classes.min()),
        float(smallest),
        [str(classes.idxmin())],
    )
    return [duplicates, balance]


def check_overlap(train: pd.DataFrame, test: pd.DataFrame, schema: Schema, overlap_warning: float) -> list[Result]:
    """Check that the test split is new to the model: no id of the training split, and few rows equal to one of it.

    Distinct rows that happen to be equal are normal in coarse data; an id on both sides is an error.
    """
    equal = _fingerprints(test, schema).isin(_fingerprints(train, schema))
    share = float(equal.mean())
    most = f"at most {overlap_warning:.1%} of the test rows equal to a training row"
    overlap = Result("overlap", None, "warning", most, share <= overlap_warning, int(equal.sum()), share, [])
    ids = schema.with_role("id")
    if not ids:
        return [overlap]
    both = _hashed(test[ids]).isin(_hashed(train[ids]))
    rows = test.index[both.to_numpy()]
    return [overlap, _result("overlap", ids[0], "error", "no id in both splits", len(test), test[ids[0]], rows)]


def _value_checks(column: Column) -> list["pa.Check"]:
    """Pandera's checks of one column, each with its outcome kept short: a bad column is not a row per bad cell."""
    import pandera.pandas as pa

    found = []
    if column.min is not None or column.max is not None:
        low, high = column.min, column.max
        bounds = [f"at least {low:g}" if low is not None else "", f"at most {high:g}" if high is not None else ""]
        limits = (-np.inf if low is None else low, np.inf if high is None else high)
        found.append(_check(pa.Check.in_range, "range", " and ".join(filter(None, bounds)), *limits))
    if column.allowed is not None:
        found.append(_check(pa.Check.isin, "allowed values", f"one of {', '.join(column.allowed)}", column.allowed))
    if column.role == "id":
        unique = pa.Check(
            lambda values: ~values.duplicated(keep=False),
            name="unique",
            description="each value once",
            n_failure_cases=EXAMPLES,
        )
        found.append(unique)
    return found


def _check(kind: Any, name: str, expected: str, *limits: Any) -> "pa.Check":
    return kind(*limits, name=name, description=expected, n_failure_cases=EXAMPLES)


def _missing(values: pd.Series, column: Column, warning: float) -> Iterator[Result]:
    missing = int(values.isna().sum())
    share = missing / len(values)
    limits: list[tuple[float, Severity]] = [(warning, "warning")]
    if column.max_missing < 1:
        limits.append((column.max_missing, column.severity))
    for limit, severity in limits:
        most = f"at most {limit:.1%} missing"
        yield Result("missing values", str(values.name), severity, most, share <= limit, missing, share, [])


def _result(
    check: str, name: str, severity: Severity, expected: str, rows: int, values: pd.Series, failed: pd.Index
) -> Result:
    examples = [str(value) for value in values.loc[failed].drop_duplicates().iloc[:EXAMPLES]]
    return Result(check, name, severity, expected, len(failed) == 0, len(failed), len(failed) / rows, examples)


def _fingerprints(table: pd.DataFrame, schema: Schema) -> pd.Series:
    return _hashed(table[[*schema.features, schema.target]])


def _hashed(table: pd.DataFrame) -> pd.Series:
    """A 64-bit hash per row: ten times faster than comparing rows, and two different rows share one nearly never."""
    return pd.util.hash_pandas_object(table, index=False)
