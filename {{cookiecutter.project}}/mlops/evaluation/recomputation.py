"""Whether the reported numbers follow from the predictions: a report is a file that anybody can edit."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mlops.base.errors import DataError
from mlops.base.params import Evaluate
from mlops.data.profile import Distribution
from mlops.evaluation import baseline, fairness, results
from mlops.training.metrics import Predictions, score

ROUNDING = 1e-5  # reports in CSV have six significant digits

Number = float | None


def check(
    table: pd.DataFrame,
    predictions: Predictions,
    metrics: Mapping[str, Number],
    constant: Mapping[str, Number],
    groups: pd.DataFrame,
    gaps: Mapping[str, Number],
    target: Distribution,
    judging: Evaluate,
) -> None:
    """Compute every number that is reported of the test split (n rows) again from the predictions.

    `table` is that of `results.to_frame`, and `predictions` are those in it; `target` is the distribution of the target
    in the training split. `metrics`, `constant`, `groups` and `gaps` are what reports/metrics.json,
    reports/baseline.json, reports/slices.csv and reports/fairness.json say; `constant` is empty if an older pipeline,
    which did not write it, made the result.

    Raises:
        DataError: a report has another number; the sentence has the file and both numbers.
    """
    sensitive = results.groups_of(table)
    fair = fairness.report(predictions, sensitive, judging.smallest_group, judging.confidence)["gaps"]
    per_group = results.metrics_by_group(predictions, sensitive, sensitive.columns.tolist())
    pairs = {
        "reports/metrics.json": (metrics, score(predictions)),
        "reports/baseline.json": (constant, baseline.scores(predictions, target) if constant else {}),
        "reports/fairness.json": (gaps, fair),
        "reports/slices.csv": (_by_name(groups), _by_name(per_group)),
    }
    wrong = [sentence for file, both in pairs.items() for sentence in _differences(file, *both)]
    if wrong:
        raise DataError(
            f"{'; '.join(wrong[:3])}: nobody has computed what is reported; `dvc repro --force evaluate` does, and "
            "Git says who wrote it"
        )


def _differences(file: str, reported: Mapping[str, Number], computed: Mapping[str, Number]) -> Iterator[str]:
    for name in dict.fromkeys([*reported, *computed]):
        value, found = reported.get(name), computed.get(name)
        then, now = (np.nan if each is None else each for each in (value, found))
        if not np.isclose(then, now, rtol=ROUNDING, atol=0, equal_nan=True):
            told = f"says that {name} is {value}" if name in reported else f"has no {name}"
            yield f"{file} {told}, but the predictions give {found}"


def _by_name(groups: pd.DataFrame) -> dict[str, Any]:
    """A metric per group of `results.metrics_by_group`, by a name for people."""
    return {
        f"{metric} of {row['column']} = {row['level']}": value
        for row in groups.to_dict(orient="records")
        for metric, value in row.items()
        if metric not in ("column", "level")
    }
