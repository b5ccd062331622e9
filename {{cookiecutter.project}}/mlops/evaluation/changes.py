"""The differences between two versions of a project: parameters, packages, rows, and a metric within groups."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops.data.levels import rows_by_level
from mlops.evaluation.comparison import paired_bootstrap
from mlops.training.metrics import Predictions


@dataclass(frozen=True)
class Rows:
    """The number of rows in two versions of a table, and how many rows were added, removed and changed.

    `changed` is None where rows have no ids.
    """

    before: int
    after: int
    added: int
    removed: int
    changed: int | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def of_values(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every name whose value changed, with both values (None where the name is absent), sorted by name."""
    names = sorted(before.keys() | after.keys())
    pairs = [{"name": name, "before": before.get(name), "after": after.get(name)} for name in names]
    # 1, 1.0 and True are equal to Python, but not to the person who wrote them.
    return [pair for pair in pairs if repr(pair["before"]) != repr(pair["after"])]


def packages(lock: str) -> dict[str, str]:
    """The pinned version of each package in a compiled requirements file; several pins are joined by commas."""
    pins: dict[str, str] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", lock, re.M):
        pins[name] = f"{pins[name]}, {version}" if name in pins else version
    return pins


def of_rows(before: NDArray[np.uint64], after: NDArray[np.uint64]) -> Rows:
    """The added and removed rows, given the hash of each row, shapes (n,) and (k,); equal rows count separately."""
    hashes, at = np.unique(np.concatenate([before, after]), return_inverse=True)
    then, now = (np.bincount(side, minlength=len(hashes)) for side in (at[: len(before)], at[len(before) :]))
    return Rows(len(before), len(after), int((now - then).clip(min=0).sum()), int((then - now).clip(min=0).sum()), None)


def of_rows_with_ids(before: pd.DataFrame, after: pd.DataFrame) -> Rows:
    """The added, removed and changed rows, given tables with the hashes (uint64) `id` of the ids and `row` of the rows.

    The hash of a row covers its id too: a row that is gone while its id is still there has changed.
    """
    rows, ids = (of_rows(before[name].to_numpy(), after[name].to_numpy()) for name in ("row", "id"))
    return replace(ids, changed=rows.removed - ids.removed)


def of_groups(
    one: Predictions, other: Predictions, table: pd.DataFrame, metric: str, resamples: int, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """The difference of `metric` between two models within each level of each column of `table` (n shared rows).

    The list is empty if one of the models lacks the metric, such as the ROC AUC of a model without probabilities.
    """
    return [
        {"column": column, "level": level, "rows": int(rows.sum()), **difference.as_dict()}
        for column, values in table.items()
        for level, rows in rows_by_level(values)
        for difference in paired_bootstrap(one.subset(rows), other.subset(rows), resamples, confidence, seed)
        if difference.metric == metric
    ]
