"""Checks that prepared data keeps the contract of `schema.yaml`; each result says how many rows failed."""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.base.errors import DataError, counted
from mlops.data.digest import among, repeated, row_hashes, value_hashes
from mlops.data.parsing import DTYPES, EXAMPLES
from mlops.data.round_trip import Change
from mlops.data.schema import Column, Schema, Severity


@dataclass(frozen=True)
class CheckResult:
    """The result of one check: the number of failed rows, the limit of their share, and up to five examples.

    `column` is None where the whole table was checked. With `at_least`, `failed` counts the rows that are wanted, and
    their share must reach the limit. `note` is for the sentence alone.
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
    note: str = ""

    @property
    def share(self) -> float:
        """The failed rows as a share of all rows (0 to 1)."""
        return self.failed / self.rows if self.rows else 0.0

    @property
    def passed(self) -> bool:
        """Whether the share keeps the limit."""
        return self.share >= self.limit if self.at_least else self.share <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = ("check", "column", "severity", "expected", "passed", "failed", "share", "examples")
        return {name: getattr(self, name) for name in names}

    def sentence(self) -> str:
        """The failure as a sentence for a person."""
        subject = f"{self.check} of {self.column}" if self.column else self.check
        examples = f", such as {', '.join(self.examples)}" if self.examples else ""
        rows = f"{self.failed} row{'s' if self.failed != 1 else ''}"
        return f"{subject}: {rows} ({self.share:.1%}){examples}{self.note}; expected {self.expected}"


def check_columns(table: pd.DataFrame, schema: Schema, missing_warning: float) -> list[CheckResult]:
    """Check each column of a typed table (n rows), or of a batch of it: range, allowed values, missing share.

    A missing share above `missing_warning` is a warning; above the column's own `max_missing`, it has the column's
    severity. Columns that `schema` ignores are not checked.

    Raises:
        DataError: a column has another type than `schema` says, so its values cannot be checked.
    """
    expected = {name: schema.columns[name] for name in schema.kept if name in table}
    for name, column in expected.items():
        if table[name].dtype != DTYPES[column.type]:
            raise DataError(
                f"the prepared column {name} should be {DTYPES[column.type]} but is {table[name].dtype}: run prepare"
            )
    return [
        result
        for name, column in expected.items()
        for result in (*_values(table[name], column), *_missing(table[name], column, missing_warning))
    ]


def with_unreadable(results: list[CheckResult], unparseable: list[dict[str, Any]]) -> list[CheckResult]:
    """The same results; that of missing values says where values are there, but are not of their column's type.

    `unparseable` is that of `dataset.json`.
    """
    notes: dict[str, str] = {}
    for wrong in unparseable:
        first = wrong["examples"][0]
        found = f"{counted(wrong['count'], 'value')} cannot be read as {wrong['expected']}, such as {first['value']!r}"
        if wrong["became"] == "missing":
            notes.setdefault(wrong["column"], f"; {found} ({first['at']})")
    return [
        replace(result, note=notes.get(result.column or "", "")) if result.check == "missing values" else result
        for result in results
    ]


def check_names(table: Container[str], schema: Schema) -> None:
    """Check that prepared data has every column that `schema` keeps.

    Raises:
        DataError: columns are missing, because the data was prepared with another schema; all of them are named.
    """
    if lacking := [name for name in schema.kept if name not in table]:
        raise DataError(f"the prepared data has no column {', '.join(lacking)}, which schema.yaml keeps: run prepare")


def combine(parts: Iterable[list[CheckResult]]) -> list[CheckResult]:
    """The results for a whole table, from the results of `check_columns` for each of its batches."""
    combined: dict[tuple[Any, ...], CheckResult] = {}
    for result in (result for part in parts for result in part):
        key = (result.check, result.column, result.severity, result.limit)
        known = combined.get(key, replace(result, rows=0, failed=0, examples=[]))
        rows, failed = known.rows + result.rows, known.failed + result.failed
        examples = list(dict.fromkeys(known.examples + result.examples))[:EXAMPLES]
        combined[key] = replace(known, rows=rows, failed=failed, examples=examples)
    return list(combined.values())


def check_ids(ids: pd.Series) -> CheckResult:
    """Check that no value of a whole id column occurs twice; missing values do not count."""
    hashes = value_hashes(ids)
    suspects = ids[among(hashes, repeated(hashes))].dropna()
    return _result("unique", "error", "each value once", ids, suspects.index[suspects.duplicated(keep=False)])


def check_rows(hashes: NDArray[np.uint64], duplicate_warning: float) -> CheckResult:
    """Check that few rows of a whole table are duplicates, given the `fingerprints` (n,)."""
    duplicated = len(repeated(hashes))
    most = f"at most {duplicate_warning:.1%} of the rows"
    return CheckResult("duplicate rows", None, "warning", most, len(hashes), duplicated, duplicate_warning, [])


def check_balance(target: pd.Series, smallest_class: float) -> list[CheckResult]:
    """Check that the smallest class of the target (n,) has a large enough share; there is no result for a number."""
    if target.dtype not in ("str", "boolean"):
        return []
    classes = target.value_counts(sort=False)
    least = f"at least {smallest_class:.1%} of the rows in the smallest class"
    name, rows, examples = str(target.name), int(classes.min()), [str(classes.idxmin())]
    result = CheckResult("class balance", name, "warning", least, len(target), rows, smallest_class, examples)
    return [replace(result, at_least=True)]


def check_losses(losses: Mapping[str, list[dict[str, Any]]], schema: Schema, rows: int) -> list[CheckResult]:
    """Check that reading lost nothing of a kind that `schema` does not know; `losses` are those of `dataset.json`."""
    results = []
    for name, changes in losses.items():
        known = schema.columns[name].losses
        new = [Change(**change) for change in changes if change["kind"] not in known]
        if new:
            kinds = ", ".join([*known, *(change.kind for change in new)])
            expected = f"only {', '.join(known) or 'no loss'}; if all is right, `losses: [{kinds}]` in schema.yaml"
            examples = [f"{change.written} → {change.read}" for change in new]
            count = min(sum(change.rows for change in new), rows)
            results.append(CheckResult("reading", name, "warning", expected, rows, count, 0.0, examples))
    return results


def check_overlap(train: NDArray[np.uint64], test: NDArray[np.uint64], overlap_warning: float) -> CheckResult:
    """Check that few rows of the test split equal a row of the training split, given the `fingerprints` of both.

    In coarse data, it is normal that different cases have equal rows.
    """
    equal = int(among(np.sort(test), np.sort(train)).sum())  # in order, they are found several times as fast
    most = f"at most {overlap_warning:.1%} of the test rows equal to a training row"
    return CheckResult("overlap", None, "warning", most, len(test), equal, overlap_warning, [])


def check_lines(dataset: dict[str, Any], left_out_error: float) -> list[CheckResult]:
    """Check how many lines of the text files were no rows, or were repaired, by the report of the stage `prepare`.

    Any are a warning; more left out than `left_out_error`, as a share of the rows, are an error.
    """
    limits: list[tuple[str, str, Severity, float]] = [
        ("lines left out", "left_out", "warning", 0.0),
        ("lines left out", "left_out", "error", left_out_error),
        ("lines repaired", "repaired", "warning", 0.0),
    ]
    results = []
    for check, key, severity, limit in limits:
        found = dataset[key]
        rows = sum(dataset["files"].values()) + dataset["left_out"]["rows"]
        examples = [f"{example['at']} ({example['why']})" for example in found["examples"]][:EXAMPLES]
        expected = f"at most {limit:.1%} of the lines"
        results.append(CheckResult(check, None, severity, expected, rows, found["rows"], limit, examples))
    return results


def check_id_overlap(train: pd.Series, test: pd.Series) -> CheckResult:
    """Check that no id of the test split is in the training split as well."""
    hashes, of_test = value_hashes(train), value_hashes(test)
    suspects = test[among(of_test, np.sort(hashes))].dropna()
    both = suspects.isin(train[among(hashes, np.sort(of_test))])
    return _result("overlap", "error", "no id in both splits", test, suspects.index[both])


def fingerprints(table: pd.DataFrame, schema: Schema) -> NDArray[np.uint64]:
    """A hash (n,) of the model's inputs and the target in each row, so without ids.

    Comparing hashes is ten times faster than comparing rows, and different rows hardly ever share a hash.
    """
    return row_hashes(table[[*schema.inputs, schema.target]])


def _values(values: pd.Series, column: Column) -> Iterator[CheckResult]:
    """The checks of the values that are given: their range, and the allowed values."""
    given = values.dropna()
    if column.min is not None or column.max is not None:
        bounds = {"at least": column.min, "at most": column.max}
        expected = " and ".join(f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None)
        low, high = -np.inf if column.min is None else column.min, np.inf if column.max is None else column.max
        outside = given.index[~given.between(low, high)]
        yield _result("range", column.severity, expected, values, outside)
    if (allowed := column.allowed) is not None:
        unknown = given.index[~given.isin(allowed)]
        yield _result("allowed values", column.severity, f"one of {', '.join(allowed)}", values, unknown)


def _missing(values: pd.Series, column: Column, warning: float) -> list[CheckResult]:
    limits: list[tuple[float, Severity]] = [(warning, "warning")]
    if column.max_missing < 1:
        limits.append((column.max_missing, column.severity))
    name, rows, missing = str(values.name), len(values), int(values.isna().sum())
    return [
        CheckResult("missing values", name, severity, f"at most {limit:.1%} missing", rows, missing, limit, [])
        for limit, severity in limits
    ]


def _result(check: str, severity: Severity, expected: str, values: pd.Series, failed: pd.Index) -> CheckResult:
    examples = [str(value) for value in values.loc[failed].drop_duplicates().iloc[:EXAMPLES]]
    return CheckResult(check, str(values.name), severity, expected, len(values), len(failed), 0.0, examples)
