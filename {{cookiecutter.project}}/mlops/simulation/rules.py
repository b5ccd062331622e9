"""When the loop of a simulated year retrains: the one place that knows the rules.

`Watched` is all that the loop knows in a week; `reasons` is the only function that reads it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlops.base.params import Monitor, Retrain
from mlops.retraining import decision

SMALLEST = 100  # labelled rows that say something
FALL = 0.03  # of accuracy, from which on it matters …
SURE = 2.6  # … and so many standard errors, so that luck alone hardly ever retrains


@dataclass(frozen=True)
class Watched:
    """What is known at the end of a week.

    `drift` is the report of `monitoring.verdict` on the first delivery that alarmed since the last training and whose
    labels have come by now; None if there is none. `realised` is the champion's accuracy on the newest `rows` answers
    whose labels have come, None if there are none; `expected` that on its `tested` test rows. The champion has learnt
    from `trained_rows`, `days` ago; `new_rows` have got their labels since the last training.
    """

    drift: Mapping[str, Any] | None
    realised: float | None
    rows: int
    expected: float
    tested: int
    trained_rows: int
    new_rows: int
    days: float


def reasons(watched: Watched, limits: Monitor, settings: Retrain) -> list[str]:
    """Why to retrain now; empty if there is no reason.

    They are those of `python -m mlops retrain`, without the rule on new rows, which would hold every week; and a fall
    of the accuracy.
    """
    report = {"delivery": {}, **(watched.drift or {})}
    if watched.realised is not None and watched.rows >= SMALLEST:
        report["predictions"] = {"metrics": {"accuracy": watched.realised}}
    facts = decision.Facts(report, watched.trained_rows, watched.new_rows, model_days=watched.days)
    decided = decision.decide(facts, settings.model_copy(update={"new_rows": None}))
    found = [reason.sentence for reason in decided.wanted]
    if watched.realised is None or watched.rows < SMALLEST:
        return found
    fall = watched.expected - watched.realised
    spread = math.sqrt(_variance(watched.expected, watched.tested) + _variance(watched.realised, watched.rows))
    if limits.minimum_accuracy is not None and watched.realised < limits.minimum_accuracy:
        found.append(
            f"accuracy on {watched.rows:,} answers whose labels have come is {watched.realised:.3f}, below "
            f"{limits.minimum_accuracy:g}"
        )
    elif fall >= max(FALL, SURE * spread):
        found.append(
            f"accuracy on {watched.rows:,} answers whose labels have come is {watched.realised:.3f}, on the test split "
            f"it was {watched.expected:.3f}"
        )
    return found


def _variance(share: float, rows: int) -> float:
    return share * (1 - share) / rows
