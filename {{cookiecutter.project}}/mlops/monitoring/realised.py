"""Performance with labels that come late: by windows of prediction time and by version, answer after answer.

A window is that of the predictions, not of their labels, so that later labels complete it and change no other one. It
is final when the label delay has passed since its end. Before, the labels that are there may be those that come fast.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from mlops.base.errors import ParameterError
from mlops.monitoring import estimated
from mlops.monitoring.estimated import CONFIDENT, LEAST_ROWS, Answered, Learnt, Values
from mlops.training.metrics import Predictions, title

ORIGIN = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday: windows of whole weeks begin on one, those of days at midnight
MOST_WINDOWS = 20_000  # about 10 kB each
GROUPS = 100  # of probabilities in a window
LARGEST = 1e60  # whose fourth power, a million times, is still a number
BINS = 10  # of equal width, of the expected calibration error
DELAY = 0.95  # quantile of the observed delays
STEP = math.log(1.01)  # delays are counted to one per cent
# Labels are one-sided if of one predicted class less than four fifths of the share come that come of another one, and
# that is not by chance.
LEAST_RATIO, BY_CHANCE = 0.8, 0.01
CERTAIN = 2.5758293035489004 / CONFIDENT  # half-widths of a 95 % interval in one of 99 %


class Answer(NamedTuple):
    """A prediction and what became of it: `time` and `told` (when its label came, None without one) in Unix seconds.

    `model` are the first digits of the model's digest; `actual` is None without a label.
    """

    time: float
    version: str
    model: str
    prediction: Any
    probability: float | None
    actual: Any
    told: float | None


@dataclass
class Groups:
    """Answers counted in the g groups of a `Learnt`: as `Answered`, and those that came true (`came`)."""

    rows: Values
    flagged: Values
    totals: Values
    came: Values
    beyond: int = 0

    @classmethod
    def empty(cls, size: int) -> "Groups":
        """No answers in `size` groups."""
        return cls(np.zeros(size), np.zeros(size), np.zeros(size), np.zeros(size))

    def add(self, learnt: Learnt, score: float, *, flagged: bool, came: bool) -> None:
        """Count an answer."""
        group = int(learnt.edges.searchsorted(score))
        self.rows[group] += 1
        self.flagged[group] += flagged
        self.totals[group] += score
        self.came[group] += came
        self.beyond += not learnt.ends[0] <= score <= learnt.ends[1]

    @property
    def answered(self) -> Answered:
        """The same without what came true."""
        return Answered(self.rows, self.flagged, self.totals, self.beyond)


@dataclass
class Window:
    """What is counted of the answers of a version in a window; `asked` and `told` (with a label) are by prediction."""

    learnt: Learnt | None
    rows: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    labelled: int = 0
    right: int = 0
    numbers: bool = False
    # Of numbers: sums of the absolute error, its square and its fourth power; mean of the actual values and the sum of
    # their squared distances from it (Welford 1962).
    errors: list[float] = field(default_factory=lambda: [0.0] * 3)
    mean: float = 0.0
    spread: float = 0.0
    every: Groups | None = None
    known: Groups | None = None
    bins: Values = field(default_factory=lambda: np.zeros((3, BINS)))  # rows, sum of probabilities, came

    def __post_init__(self) -> None:
        """Make room for the groups of the version."""
        if self.learnt:
            self.every, self.known = (Groups.empty(len(self.learnt.scores)) for _ in range(2))

    def add(self, answer: Answer) -> None:
        """Count an answer."""
        labelled = answer.told is not None
        self.rows += 1
        self.labelled += labelled
        if isinstance(answer.prediction, float):
            self.numbers = True
            if labelled:
                self._add_error(answer.prediction, float(answer.actual))
        else:
            self.asked[str(answer.prediction)] += 1
            self.told[str(answer.prediction)] += labelled
            self.right += labelled and _same(answer.prediction, answer.actual)
        score = answer.prediction if self.numbers else answer.probability
        if self.learnt is None or self.every is None or self.known is None or score is None:
            return
        binary = self.learnt.kind == "binary"
        flagged = not binary or _same(answer.prediction, self.learnt.positive)
        self.every.add(self.learnt, score, flagged=flagged, came=False)
        if labelled:
            came = _same(answer.actual, self.learnt.positive if binary else answer.prediction)
            self.known.add(self.learnt, score, flagged=flagged, came=came)
            if not self.numbers:
                self.bins[:, min(int(score * BINS), BINS - 1)] += (1, score, came)

    def _add_error(self, prediction: float, actual: float) -> None:
        actual = max(min(actual, LARGEST), -LARGEST)
        error = min(abs(actual - prediction), LARGEST)
        for place, value in enumerate((error, error**2, error**4)):
            self.errors[place] += value
        step = actual - self.mean
        self.mean += step / self.labelled
        self.spread += step * (actual - self.mean)

    def report(self) -> dict[str, Any]:
        """What the page, the table and JSON have of this window, without its time."""
        metrics = self._metrics()
        same = self._estimate(self.known)
        return {
            "rows": self.rows,
            **coverage(self.asked, self.told, self.rows, self.labelled),
            "metrics": metrics,
            "calibration": self._calibration(),
            "estimated": same,
            "estimated_all": self._estimate(self.every),
            "against_estimate": against_estimate(metrics, same),
        }

    def _metrics(self) -> dict[str, dict[str, float | None]]:
        if not self.labelled:
            return {}
        if self.numbers:
            absolute, squared, fourth = (total / self.labelled for total in self.errors)
            rmse = math.sqrt(squared)
            spread = math.sqrt(max(fourth - squared**2, 0) / self.labelled)
            found = {
                "mae": _around(absolute, math.sqrt(max(squared - absolute**2, 0) / self.labelled)),
                "rmse": _around(rmse, spread / (2 * rmse) if rmse else 0.0),
            }
            r2 = 1 - self.errors[1] / self.spread if self.spread > 0 else None
            return found if r2 is None else found | {"r2": {"value": r2, "low": None, "high": None}}
        found = {"accuracy": _share(self.right, self.labelled)}
        if self.learnt and self.learnt.kind == "binary" and self.known:
            auc = float(estimated.roc_auc(self.known.came, self.known.rows - self.known.came))
            if math.isfinite(auc):
                found["roc_auc"] = {"value": auc, "low": None, "high": None}
        return found

    def _calibration(self) -> dict[str, float] | None:
        """The expected calibration error of the probabilities, their mean, and the share that came; None without."""
        rows, totals, came = self.bins
        if not rows.sum():
            return None
        means = np.stack([totals, came]) / rows.sum()
        return {
            "error": float(np.abs(means[0] - means[1]).sum()),
            "mean_probability": float(means[0].sum()),
            "observed": float(means[1].sum()),
        }

    def _estimate(self, groups: Groups | None) -> dict[str, Any] | None:
        if self.learnt is None or groups is None or not groups.rows.sum():
            return None
        return estimated.estimated(self.learnt, groups.answered)


class Windows:
    """The windows of `seconds` into which answers are counted; memory grows with windows, not with answers.

    `learnt_of` gives what the test rows of a model teach, by the first digits of its digest; None if that is not known.
    """

    def __init__(self, seconds: float, learnt_of: Callable[[str], Learnt | None]) -> None:
        self._seconds, self._learnt_of = seconds, learnt_of
        self._windows: dict[tuple[int, str, str], Window] = {}
        self._learnt: dict[str, Learnt | None] = {}
        self._delays: Counter[int] = Counter()

    def add(self, answer: Answer) -> None:
        """Count an answer.

        Raises:
            ParameterError: there are too many windows.
        """
        number = math.floor((answer.time - ORIGIN.timestamp()) / self._seconds)
        key = number, answer.version, answer.model
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) == MOST_WINDOWS:
                raise ParameterError(
                    f"the predictions lie in more than {MOST_WINDOWS:,} windows: give a longer window, or a later start"
                )
            if answer.model not in self._learnt:
                self._learnt[answer.model] = self._learnt_of(answer.model)
            window = self._windows[key] = Window(self._learnt[answer.model])
        window.add(answer)
        if answer.told is not None:
            self._delays[math.ceil(math.log(max(answer.told - answer.time, 1)) / STEP)] += 1

    @property
    def delay(self) -> float | None:
        """The time in seconds after which 95 % of the labels that have come had come; None if fewer than 30 have."""
        reached = 0
        if self._delays.total() < LEAST_ROWS:
            return None
        for step in sorted(self._delays):
            reached += self._delays[step]
            if reached >= DELAY * self._delays.total():
                return math.exp(step * STEP)
        return None

    def report(self, now: datetime, delay: float | None = None) -> dict[str, Any]:
        """All windows, the oldest first, as plain values, and what a person should know of them.

        `delay` is the label delay in seconds; None takes that of the labels that have come. A window is `final` when it
        ended so long before `now`; while too few labels say how long that is, none is.
        """
        wait = self.delay if delay is None else delay
        found = []
        for (number, version, model), window in sorted(self._windows.items(), key=_in_order):
            start = ORIGIN + timedelta(seconds=number * self._seconds)
            end = start + timedelta(seconds=self._seconds)
            final = wait is not None and end.timestamp() + wait <= now.timestamp()
            of_time = {"from": start.isoformat(), "to": end.isoformat(), "version": version, "model": model}
            found.append({**of_time, "final": final, **window.report()})
        return {
            "window_seconds": self._seconds,
            "delay": {"seconds": wait, "chosen": delay is not None, "labels": self._delays.total()},
            "windows": found,
            "warnings": warnings(found),
        }


def label_coverage(predictions: Predictions, labelled: Predictions | None) -> dict[str, Any]:
    """How many of n answers have a label, and for which predictions: the result of `coverage`.

    `labelled` are those of the rows that have one; None if no row has.
    """
    rows, known = len(predictions.predicted), 0 if labelled is None else len(labelled.predicted)
    if not predictions.classes:
        return coverage({}, {}, rows, known)
    sides = [Counter(map(str, one.predicted.tolist())) for one in (predictions, labelled) if one is not None]
    return coverage(sides[0], sides[1] if known else {}, rows, known)


def coverage(asked: Mapping[str, int], told: Mapping[str, int], rows: int, labelled: int) -> dict[str, Any]:
    """The share of `rows` with a label, by predicted class, too, and whether labels come for some classes only.

    `asked` and `told` count the rows, and those with a label, by predicted class.
    """
    shares = {name: told.get(name, 0) / asked[name] for name in sorted(asked)}
    return {
        "labelled": {"rows": labelled, "share": labelled / rows if rows else 0.0, "by_class": shares},
        "labels_one_sided": _one_sided(asked, told),
    }


def _one_sided(asked: Mapping[str, int], told: Mapping[str, int]) -> bool:
    """Whether the share of labels differs between predicted classes, by a chi-square test and by a ratio."""
    names = [name for name in asked if asked[name] >= LEAST_ROWS]
    rows = np.array([asked[name] for name in names], dtype=np.float64)
    known = np.array([told.get(name, 0) for name in names], dtype=np.float64)
    if len(names) < 2 or known.sum() in (0, rows.sum()):
        return False
    from scipy.special import chdtrc

    shares, share = known / rows, known.sum() / rows.sum()
    square = float(((known - rows * share) ** 2 / (rows * share * (1 - share))).sum())
    return bool(shares.min() < LEAST_RATIO * shares.max() and chdtrc(len(names) - 1, square) < BY_CHANCE)


def against_estimate(metrics: Mapping[str, Any], same: Mapping[str, Any] | None) -> str | None:
    """Whether accuracy or MAE is `as estimated` on the same rows, `worse` or `better`; None if nobody can say.

    It is not as estimated outside of the 99 % interval of the estimate, for many windows are looked at.
    """
    name = next((name for name in ("accuracy", "mae") if name in metrics), None)
    if name is None or same is None or not same["trusted"] or name not in same["metrics"]:
        return None
    by, value = same["metrics"][name], metrics[name]["value"]
    if value < by["value"] - CERTAIN * (by["value"] - by["low"]):
        return "worse" if name == "accuracy" else "better"
    if value > by["value"] + CERTAIN * (by["high"] - by["value"]):
        return "better" if name == "accuracy" else "worse"
    return "as estimated"


def warnings(windows: list[dict[str, Any]]) -> list[str]:
    """What a person should know of windows, a sentence each: of each kind and version that of its last window."""
    found: dict[tuple[str, str], str] = {}
    for window in windows:
        state = "" if window["final"] else " (this window is still open)"
        where = f"version {window['version']}, {window['from'][:16]} to {window['to'][:16]}{state}"
        shares = window["labelled"]["by_class"]
        if window["labels_one_sided"]:
            low, high = (choose(shares, key=shares.__getitem__) for choose in (min, max))
            found["labels", window["version"]] = (
                f"{where}: labels have come for {shares[high]:.0%} of the predictions of {high} and {shares[low]:.0%} "
                f"of those of {low}, so that the metrics are mostly about the first"
            )
        if window["against_estimate"] == "worse":
            name = next(iter(window["metrics"]))
            by = window["estimated"]["metrics"][name]
            found["estimate", window["version"]] = (
                f"{where}: {title(name)} is {window['metrics'][name]['value']:.3f}, and {by['value']:.3f} "
                f"({by['low']:.3f} to {by['high']:.3f}) was estimated for the same rows: what follows from the "
                "features may have changed (concept drift), which no estimate sees"
            )
    if windows and not any(window["labelled"]["rows"] for window in windows):
        found["none", ""] = "no label has come for any prediction of these windows: the metrics are estimates only"
    return list(found.values())


def _in_order(item: tuple[tuple[int, str, str], Window]) -> tuple[int, int, str]:
    number, version, model = item[0]
    return number, int(version) if version.isdecimal() else -1, version + model


def _same(one: Any, other: Any) -> bool:
    return str(one) == str(other)  # as the model server compares labels


def _around(value: float, deviation: float) -> dict[str, float | None]:
    return {"value": value, "low": max(value - CONFIDENT * deviation, 0.0), "high": value + CONFIDENT * deviation}


def _share(part: int, whole: int) -> dict[str, float | None]:
    """A share with its 95 % interval (Wilson 1927)."""
    square, share = CONFIDENT**2, part / whole
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    reach = CONFIDENT * math.sqrt(share * (1 - share) / whole + square / (4 * whole**2)) / (1 + square / whole)
    return {"value": share, "low": max(middle - reach, 0.0), "high": min(middle + reach, 1.0)}
