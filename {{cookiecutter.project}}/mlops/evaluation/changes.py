"""What differs between two versions of a project: parameters, packages, rows, and what a model says of groups."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.evaluation.comparison import paired_bootstrap
from mlops.training.metrics import MISSING_LEVEL, Predictions

ABSENT = None


@dataclass(frozen=True)
class Rows:
    """How many rows two versions of a table have, and how many came, went and, where rows have ids, changed."""

    before: int
    after: int
    added: int
    removed: int
    changed: int | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def of_values(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every name whose value is another one, with both (None where it is absent), in the order of the names."""
    names = sorted(before.keys() | after.keys())
    found = [{"name": name, "before": before.get(name, ABSENT), "after": after.get(name, ABSENT)} for name in names]
    # 1 and 1.0 and True are equal to Python, and not to the person who wrote them
    return [change for change in found if repr(change["before"]) != repr(change["after"])]


def packages(lock: str) -> dict[str, str]:
    """The pinned version of each package in a compiled requirements file; all of them where it has several."""
    pinned: dict[str, str] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", lock, re.M):
        pinned[name] = f"{pinned[name]}, {version}" if name in pinned else version
    return pinned


def of_rows(before: NDArray[np.uint64], after: NDArray[np.uint64]) -> Rows:
    """Rows that came and went, given a hash of each row (n,) and (k,); equal rows are counted, not taken as one."""
    keys, at = np.unique(np.concatenate([before, after]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(keys)) for part in (at[: len(before)], at[len(before) :])]
    moved = counts[1].astype(np.int64) - counts[0]
    return Rows(len(before), len(after), int(moved[moved > 0].sum()), int(-moved[moved < 0].sum()), None)


def of_rows_with_ids(before: pd.DataFrame, after: pd.DataFrame) -> Rows:
    """The same for rows that have ids: tables of `id` and `row`, their hashes (uint64); a row may change in place.

    `row` is a hash of all of the row, its id included: a row that went although its id stays has changed.
    """
    rows, ids = (of_rows(before[name].to_numpy(), after[name].to_numpy()) for name in ("row", "id"))
    return replace(ids, changed=rows.removed - ids.removed)


def of_groups(
    one: Predictions, other: Predictions, table: pd.DataFrame, metric: str, resamples: int, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """How `metric` differs between two models within each level of each column of `table` (n shared rows).

    Nothing is found where one of them lacks it, such as the ROC AUC of a model without probabilities.
    """
    found = []
    for column, levels in table.items():
        codes, occurring = pd.factorize(levels, sort=True)
        names = {**{code: str(level) for code, level in enumerate(occurring)}, -1: MISSING_LEVEL}
        for code, name in names.items():
            inside = codes == code
            if inside.any():
                sides = one.subset(inside), other.subset(inside)
                drawn = paired_bootstrap(*sides, resamples, confidence, seed)
                found += [
                    {"column": column, "level": name, "rows": int(inside.sum()), **difference.as_dict()}
                    for difference in drawn
                    if difference.metric == metric
                ]
    return found
