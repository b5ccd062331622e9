"""Whether prepared data is what `schema.yaml` promises: every check with what failed, summarised."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import DataError
from mlops.data.digest import row_hashes
from mlops.data.parsing import DTYPES, EXAMPLES
from mlops.data.schema import Column, Schema, Severity

if TYPE_CHECKING:
    import pandera.pandas as pa


@dataclass(frozen=True)
class Result:
    """One check: how many of the rows it counted, up to which share passes (`at_least`: from which), and five examples.

    `column` is None where the whole table was checked.
    """

    check: str
    column: str | None
    severity: Severity
    expected: str
    rows: int
    failed: int
    limit: float
    examples: list[str]
    at_least: bool = False

    @property
    def share(self) -> float:
        """The counted rows as a share of all."""
        return self.failed / self.rows if self.rows else 0.0

    @property
    def passed(self) -> bool:
        """Whether the share is within the limit."""
        return self.share >= self.limit if self.at_least else self.share <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "check": self.check,
            "column": self.column,
            "severity": self.severity,
            "expected": self.expected,
            "passed": self.passed,
            "failed": self.failed,
            "share": self.share,
            "examples": self.examples,
        }

    def sentence(self) -> str:
        """What failed, for a person."""
        what = f"{self.check} of {self.column}" if self.column else self.check
        shown = f", such as {', '.join(self.examples)}" if self.examples else ""
        return f"{what}: {self.failed} rows ({self.share:.1%}){shown}; expected {self.expected}"


def check_columns(table: pd.DataFrame, schema: Schema, missing_warning: float) -> list[Result]:
    """Check the columns of a typed table (n rows), or of a part of one: type, range, allowed values, missing share.

    Values are checked by pandera. A share of missing values above `missing_warning` is worth a warning, one above the
    column's own `max_missing` has the column's severity. Columns that `schema` ignores are left alone.

    Raises:
        DataError: a column has another type than `schema` says, so that its values cannot be checked.
    """
    import pandera.pandas as pa

    expected = {name: schema.columns[name] for name in schema.kept if name in table}
    for name, column in expected.items():
        if table[name].dtype != DTYPES[column.type]:
            raise DataError(
                f"the prepared column {name} should be {DTYPES[column.type]} but is {table[name].dtype}: run prepare"
            )
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
            results.append(_result(check.name, column.severity, check.description, table[name], rows))
        results += _missing(table[name], column, missing_warning)
    return results


def check_names(table: Container[str], schema: Schema) -> None:
    """Check that prepared data has every column that `schema` keeps.

    Raises:
        DataError: it has not, since another schema prepared it; all that lack are named.
    """
    if lacking := [name for name in schema.kept if name not in table]:
        raise DataError(f"the prepared data has no column {', '.join(lacking)}, which schema.yaml keeps: run prepare")


def combine(parts: Iterable[list[Result]]) -> list[Result]:
    """The same checks over all parts of a table, from what `check_columns` found in each."""
    found: dict[tuple[Any, ...], Result] = {}
    for result in (result for part in parts for result in part):
        key = (result.check, result.column, result.severity, result.limit)
        known = found.setdefault(key, replace(result, rows=0, failed=0, examples=[]))
        examples = list(dict.fromkeys(known.examples + result.examples))[:EXAMPLES]
        found[key] = replace(
            known, rows=known.rows + result.rows, failed=known.failed + result.failed, examples=examples
        )
    return list(found.values())


def check_ids(ids: pd.Series) -> Result:
    """Check that a whole column of the role id has each value once; missing ones aside."""
    repeated = ids.duplicated(keep=False) & ids.notna()
    return _result("unique", "error", "each value once", ids, ids.index[repeated])


def check_rows(hashes: NDArray[np.uint64], duplicate_warning: float) -> Result:
    """Check a whole table for duplicate rows, given a hash of each (n,); see `fingerprints`."""
    duplicated = int(pd.Series(hashes).duplicated().sum())
    most = f"at most {duplicate_warning:.1%} of the rows"
    return Result("duplicate rows", None, "warning", most, len(hashes), duplicated, duplicate_warning, [])


def check_balance(target: pd.Series, smallest_class: float) -> list[Result]:
    """Check for classes (n labels) that the smallest has its share; a number has none."""
    if target.dtype not in ("str", "boolean"):
        return []
    classes = target.value_counts(sort=False)
    least = f"at least {smallest_class:.1%} of the rows in the smallest class"
    name, fewest, smallest = str(target.name), int(classes.min()), [str(classes.idxmin())]
    return [
        Result("class balance", name, "warning", least, len(target), fewest, smallest_class, smallest, at_least=True)
    ]


def check_overlap(train: NDArray[np.uint64], test: NDArray[np.uint64], overlap_warning: float) -> Result:
    """Check that few rows of the test split equal one of the training split, given a hash of each row.

    Distinct rows that happen to be equal are normal in coarse data.
    """
    equal = int(pd.Series(test).isin(train).sum())
    most = f"at most {overlap_warning:.1%} of the test rows equal to a training row"
    return Result("overlap", None, "warning", most, len(test), equal, overlap_warning, [])


def check_id_overlap(train: pd.Series, test: pd.Series) -> Result:
    """Check that no id of the training split is in the test split as well."""
    both = test.isin(train) & test.notna()
    return _result("overlap", "error", "no id in both splits", test, test.index[both])


def fingerprints(table: pd.DataFrame, schema: Schema) -> NDArray[np.uint64]:
    """A hash of what a model sees of each row, shape (n,): ids aside.

    It is ten times faster than comparing rows, and two different rows share one nearly never.
    """
    return row_hashes(table[[*schema.inputs, schema.target]])


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
    return found


def _check(kind: Any, name: str, expected: str, *limits: Any) -> "pa.Check":
    return kind(*limits, name=name, description=expected, n_failure_cases=EXAMPLES)


def _missing(values: pd.Series, column: Column, warning: float) -> Iterator[Result]:
    missing = int(values.isna().sum())
    limits: list[tuple[float, Severity]] = [(warning, "warning")]
    if column.max_missing < 1:
        limits.append((column.max_missing, column.severity))
    for limit, severity in limits:
        most = f"at most {limit:.1%} missing"
        yield Result("missing values", str(values.name), severity, most, len(values), missing, limit, [])


def _result(check: str, severity: Severity, expected: str, values: pd.Series, failed: pd.Index) -> Result:
    examples = [str(value) for value in values.loc[failed].drop_duplicates().iloc[:EXAMPLES]]
    return Result(check, str(values.name), severity, expected, len(values), len(failed), 0.0, examples)
