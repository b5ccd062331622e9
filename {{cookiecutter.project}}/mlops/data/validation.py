"""The work of the stage `validate`: every check of both splits, and what they found as one report."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import pandas as pd

from mlops.base.params import Validate
from mlops.data import checks
from mlops.data.profile import Columns
from mlops.data.schema import Schema


class Split(Columns, Protocol):
    """A typed table that is read by columns or by batches of rows."""

    def batches(self) -> Iterator[pd.DataFrame]:
        """All columns, some rows at a time."""


def validate(
    train: Split, test: Split, dataset: dict[str, Any], schema: Schema, settings: Validate
) -> list[checks.CheckResult]:
    """Check types, ranges, allowed values, missing shares, ids, duplicates, class balance, overlap and what was read.

    `dataset` is the report of the stage `prepare`.

    Raises:
        DataError: a split lacks a column of the schema, or has another one.
    """
    splits = (train, test)
    for split in splits:
        checks.check_names(split, schema)
    parts, hashes = [], []
    for split in splits:
        fingerprints = []
        for batch in split.batches():
            parts.append(checks.check_columns(batch, schema, settings.missing_warning))
            fingerprints.append(checks.fingerprints(batch, schema))
        hashes.append(np.concatenate(fingerprints))
    results = checks.with_unreadable(checks.combine(parts), dataset["unparseable"])
    for name in schema.with_role("id"):
        ids = [split[name] for split in splits]
        results += [checks.check_ids(pd.concat(ids, ignore_index=True)), checks.check_id_overlap(ids[0], ids[1])]
    target = pd.concat([split[schema.target] for split in splits])
    return [
        *results,
        checks.check_rows(np.concatenate(hashes), settings.duplicate_warning),
        *checks.check_balance(target, settings.smallest_class_warning),
        checks.check_overlap(hashes[0], hashes[1], settings.overlap_warning),
        *checks.check_lines(dataset, settings.left_out_error),
        *checks.check_losses(dataset["losses"], schema, sum(dataset["files"].values())),
    ]


def counts(results: list[checks.CheckResult]) -> dict[str, int]:
    """How many checks passed, how many failed as a warning and how many as an error."""
    failed = [result.severity for result in results if not result.passed]
    errors = failed.count("error")
    return {"passed": len(results) - len(failed), "warnings": len(failed) - errors, "errors": errors}


def report(results: list[checks.CheckResult]) -> dict[str, Any]:
    """The counts and every check, as plain values."""
    return {**counts(results), "checks": [result.as_dict() for result in results]}
