"""Your own metrics, such as money.

A metric is a function of what was (`actual`), what the model said (`predicted`), and how sure it was (`probability`),
each with one entry per row: labels, or numbers to regress. The probability is that of the positive class; of more than
two classes it has a column per class, in sorted order; it is None to regress.

With the example below, and `METRICS = {cost: "lower"}`, `cost` stands beside the other metrics everywhere: folds, test
with its interval, gate, review. It is computed for the baseline, too, which answers every row the same. To choose by
it, name it in `evaluate.metric`, `train.search.metric`, or `--metric` of `sweep` and `compare`.
"""

from collections.abc import Callable
from typing import Any, Literal

from numpy.typing import NDArray

Values = NDArray[Any]  # one entry per row

# def cost(actual: Values, predicted: Values, probability: Values) -> float:
#     """Give the cost of the wrong answers, per row."""
#     missed = (actual == "Yes") & (predicted == "No")
#     alarms = (actual == "No") & (predicted == "Yes")
#     return float(500 * missed.sum() + 20 * alarms.sum()) / len(actual)


# Each function, and whether a higher or a lower value is better.
METRICS: dict[Callable[..., float], Literal["higher", "lower"]] = {}
