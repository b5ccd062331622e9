"""Which variant answers a request, what counts as a bad event, and when a canary moves on, up or back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlops.base.params import Serving
from mlops.serving import sequential
from mlops.serving.sequential import Hypothesis

if TYPE_CHECKING:
    from mlops.training.metrics import Predictions

Mode = Literal["champion", "ab", "shadow", "canary"]
# Events of the challenger and of the champion, by the share when the requests were assigned.
Counts = Mapping[float, tuple[int, int]]
Variant = Literal["champion", "challenger"]

# Names of metrics. That of a predicted class begins with CLASS; LABELLED counts answers with feedback, and is no test.
ERROR, SLOW, WRONG, ODD, ABOVE, BELOW = "error", "slow", "wrong", "odd", "above", "below"
CLASS = "class "
LABELLED = "labelled"
MOST_CLASSES = 8  # that are metrics; the most frequent ones

TAIL = 0.05  # of the champion's test rows; numbers beyond are very high or very low, errors beyond are wrong answers
MARGIN = 0.5  # numbers this far outside the champion's range are odd, as a share of the range
SLOW_FACTOR, FASTEST_LIMIT = 2.0, 10.0  # `slow_ms: auto`: times the champion's 95 % quantile, at least milliseconds
SMALLEST_PART = 0.5  # of the requests that the challenger should get in a step, which it must get to pass it

# Parameters that are fixed with a route: to change them while counting would judge the same counts anew.
JUDGING = ("step_requests", "step_minutes", "alpha", "tolerated_ratio", "prediction_ratio")

WORDS = {
    ERROR: "errors",
    SLOW: "slow answers",
    WRONG: "wrong answers",
    ODD: "predictions outside the champion's range",
    ABOVE: "very high predictions",
    BELOW: "very low predictions",
}


@dataclass(frozen=True)
class Route:
    """One setting of the routing, with all that has to stay the same while events are counted for it.

    `share` is that of `ab`, `step` the position in `steps` of a canary. `id` is unique: counts belong to it, over all
    steps. `started` is when the step began (Unix seconds), for people only: no decision depends on the wall clock.
    `classes` are the champion's, the most frequent first; `ranges` are bounds of a predicted number (see `ranges_of`),
    `judging` the parameters below `serving` that JUDGING names.
    """

    id: str
    mode: Mode = "champion"
    champion: str = ""
    challenger: str = ""
    share: float = 0.5
    key: str = ""
    steps: tuple[float, ...] = ()
    step: int = 0
    started: float = 0.0
    slow_ms: float = math.inf
    classes: tuple[str, ...] = ()
    ranges: Mapping[str, float] = field(default_factory=dict)
    judging: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def known(self) -> frozenset[str]:
        """The champion's classes."""
        return frozenset(self.classes)

    @cached_property
    def counted(self) -> frozenset[str]:
        """The classes that are metrics."""
        return frozenset(self.classes[:MOST_CLASSES])


def as_dict(route: Route) -> dict[str, Any]:
    """The route as plain values for JSON."""
    limit = route.slow_ms if math.isfinite(route.slow_ms) else None
    return asdict(route) | {"steps": list(route.steps), "classes": list(route.classes), "slow_ms": limit}


def from_dict(values: Mapping[str, Any]) -> Route:
    """The route of plain values; the opposite of `as_dict`."""
    limit = math.inf if values["slow_ms"] is None else values["slow_ms"]
    known = {name: values[name] for name in Route.__dataclass_fields__ if name in values}
    return Route(**known | {"steps": tuple(values["steps"]), "classes": tuple(values["classes"]), "slow_ms": limit})


def begin(
    settings: Serving,
    route_id: str,
    champion: str,
    challenger: str,
    tests: "Predictions",
    latencies: Sequence[float] = (),
) -> Route:
    """The route that `settings` ask for, between two versions.

    `tests` are the champion's predictions on its test rows, `latencies` some of its recent answers in milliseconds,
    without those while it was warming up. What they fix stays until the next route: a limit that followed the data
    would make the test invalid.
    """
    return Route(
        id=route_id,
        mode=settings.route,
        champion=champion,
        challenger=challenger,
        share=settings.share,
        key=settings.key,
        steps=tuple(settings.steps),
        slow_ms=slow_limit(latencies) if isinstance(settings.slow_ms, str) else settings.slow_ms,
        classes=frequent_classes(tests),
        ranges=ranges_of(tests),
        judging={name: getattr(settings, name) for name in JUDGING},
    )


def slow_limit(latencies: Sequence[float]) -> float:
    """From how many milliseconds on an answer is slow, by latencies of the champion in milliseconds.

    It is twice their 95 % quantile, and at least 10 ms: a challenger in a process of its own is a little slower by
    nature, and must not be rolled back for that. Without latencies nothing is slow.
    """
    if not len(latencies):
        return math.inf
    return max(SLOW_FACTOR * float(np.quantile(latencies, 1 - TAIL)), FASTEST_LIMIT)


def frequent_classes(tests: "Predictions") -> tuple[str, ...]:
    """The classes as text, those first that are predicted most often; of equally frequent ones, in their own order."""
    predicted: list[Any] = tests.predicted.tolist()
    counts = dict.fromkeys(tests.classes, 0)
    for label in predicted:
        counts[label] = counts.get(label, 0) + 1
    return tuple(str(label) for label in sorted(counts, key=lambda label: -counts[label]))


def ranges_of(tests: "Predictions") -> dict[str, float]:
    """Bounds of a predicted number; none where classes are predicted, or no prediction is finite.

    `low` and `high` are the 5 % and 95 % quantiles of the predictions, `least` and `most` their range with half of it
    added on either side, `error` the 95 % quantile of the absolute errors. If all predictions are equal, the actual
    values make the range.
    """
    finite = np.isfinite(tests.predicted.astype(float)) if not tests.classes else np.zeros(0, dtype=bool)
    if not finite.any():
        return {}
    predicted, actual = (values.astype(float)[finite] for values in (tests.predicted, tests.actual))
    errors = np.abs(actual - predicted)
    low, high = np.quantile(predicted, [TAIL, 1 - TAIL])
    spread = predicted if np.ptp(predicted) > 0 else np.concatenate([predicted, actual[np.isfinite(actual)]])
    margin = MARGIN * np.ptp(spread)
    bounds = {"low": low, "high": high, "least": spread.min() - margin, "most": spread.max() + margin}
    if np.isfinite(errors).any():
        bounds["error"] = np.quantile(errors[np.isfinite(errors)], 1 - TAIL)
    return {name: float(value) for name, value in bounds.items()}


def share(route: Route) -> float:
    """The share of the requests that the challenger answers, from 0 to 1."""
    if route.mode == "canary":
        return route.steps[route.step]
    return route.share if route.mode == "ab" else 0.0


def hashed(route: Route, key: str) -> int:
    """A key of this route as a number from 0 to 2⁶³ − 1: another route puts its keys in another order.

    Counts and the state have the number only, never the key.
    """
    text = f"{route.id}\0{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest()) >> 1


def position(number: int) -> float:
    """Where a hashed key lies in [0, 1)."""
    return (number >> 10) / 2**53


def variant(route: Route, key: str | None, draw: float) -> Variant:
    """Who answers: for a key always the same, until a larger step gives its value to the challenger, too.

    Without key (None), `draw` decides: a random number in [0, 1). All rows of a request without key share one draw.
    What shares a draw or a key is one unit to the test, and counts once per metric: its rows go wrong together.
    """
    part = share(route)
    if not part:
        return "champion"
    return "challenger" if (draw if key is None else position(hashed(route, key))) < part else "champion"


def events(
    route: Route, prediction: Any = None, probability: float | None = None, *, ms: float | None, error: bool = False
) -> list[str]:
    """The metrics in which one answered row is an event.

    `ms` is None for an answer that a freshly loaded model gave while it was warming up, which is not judged by time.
    With `error` there is no prediction.
    """
    found = [SLOW] if ms is not None and ms > route.slow_ms else []
    if error:
        return [*found, ERROR]
    if probability is not None and not 0 <= probability <= 1:
        found.append(ODD)  # NaN is in no range
    if route.classes:
        label = str(prediction)
        if label in route.counted:
            return [*found, CLASS + label]
        return found if label in route.known or ODD in found else [*found, ODD]
    if route.ranges and not route.ranges["least"] <= prediction <= route.ranges["most"]:
        found.append(ODD)
    if route.ranges and prediction > route.ranges["high"]:
        found.append(ABOVE)
    if route.ranges and prediction < route.ranges["low"]:
        found.append(BELOW)
    return found


def wrong(route: Route, predicted: Any, actual: Any) -> bool:
    """Whether an answer was wrong: another label, or a number further off than 95 % of the champion's test rows.

    Both values have the type of the target, as `schema.yaml` reads it. An actual value that is no number where one is
    predicted says nothing: an error here would keep a whole batch of counts from being added.
    """
    if route.classes:
        return str(predicted) != str(actual)
    try:
        return "error" in route.ranges and not abs(float(actual) - float(predicted)) <= route.ranges["error"]
    except (TypeError, ValueError, OverflowError):
        return False


def hypotheses(route: Route, settings: Serving) -> tuple[Hypothesis, ...]:
    """What the test assumes until the counts speak against it; fixed with the route.

    A class, or a very high or low number, may be predicted neither too often nor too seldom: a challenger that always
    gives the most frequent class would else stay unnoticed.
    """
    worse = tuple(Hypothesis(metric, settings.tolerated_ratio) for metric in (ERROR, SLOW, WRONG))
    levels = [CLASS + label for label in route.classes[:MOST_CLASSES]] or ([ABOVE, BELOW] if route.ranges else [])
    ratio = settings.prediction_ratio
    both = (Hypothesis(metric, ratio, fewer) for metric in levels for fewer in (False, True))
    return (*worse, Hypothesis(ODD, ratio), *both)


@dataclass(frozen=True)
class Decision:
    """What to do, and why. `evidence` is plain, for the audit log: by metric, their mean, the limit, the requests."""

    action: Literal["next", "promote", "roll back"]
    route: Route  # that comes next
    reason: str
    evidence: dict[str, Any]


def decide(
    route: Route,
    totals: Mapping[int, Mapping[str, int]],
    counts: Mapping[str, Counts],
    settings: Serving,
    elapsed: float,
) -> Decision | None:
    """What the counts of a route ask for, if anything.

    `totals` are requests by step and variant, `counts` events by metric and share, `elapsed` the seconds that the step
    has been served. An alarm rolls back, in a canary and in `ab`. A step of a canary is passed by enough requests and
    time without one; the challenger must have answered at least half of the requests that its share promises, since
    with few keys it may have got none. After the last step it is promoted.
    """
    settings = fixed(route, settings)
    if not share(route):
        return None
    tested, verdict, evidence = _judged(route, totals, counts, settings)
    served = evidence["requests"]
    if verdict.alarm:
        reason = _alarm(route, tested[verdict.worst], verdict, served, counts)
        return Decision(
            "roll back", only_champion(route), f"{reason} (limit: 1 in {1 / settings.alpha:,.0f})", evidence
        )
    if route.mode != "canary" or _missing(route, totals.get(route.step, {}), settings, elapsed):
        return None
    reason = (
        f"step {route.step + 1} of {len(route.steps)} passed: {_shares(share(route))} of the requests went to version "
        f"{route.challenger}, {served['challenger']:,} of {sum(served.values()):,} so far, without an alarm"
    )
    if route.step + 1 < len(route.steps):
        return Decision("next", replace(route, step=route.step + 1), reason, evidence)
    return Decision("promote", replace(only_champion(route), champion=route.challenger), reason, evidence)


def evidence_so_far(
    route: Route, totals: Mapping[int, Mapping[str, int]], counts: Mapping[str, Counts], settings: Serving
) -> dict[str, Any]:
    """The evidence against the challenger as plain values (see `Decision`), decided or not."""
    return _judged(route, totals, counts, fixed(route, settings))[2]


def fixed(route: Route, settings: Serving) -> Serving:
    """The settings with what was fixed when the route began."""
    return settings.model_copy(update=dict(route.judging))


def _judged(
    route: Route, totals: Mapping[int, Mapping[str, int]], counts: Mapping[str, Counts], settings: Serving
) -> tuple[tuple[Hypothesis, ...], sequential.Verdict, dict[str, Any]]:
    tested = hypotheses(route, settings)
    verdict = sequential.verdict(counts, tested, settings.alpha)
    logarithms = zip(tested, verdict.log_evidence, strict=True)
    evidence = {
        "mean": verdict.mean,
        "limit": 1 / settings.alpha,
        "metrics": {_words(one): sequential.finite_exp(logarithm) for one, logarithm in logarithms},
        "requests": {side: sum(by.get(side, 0) for by in totals.values()) for side in ("challenger", "champion")},
    }
    return tested, verdict, evidence


def only_champion(route: Route) -> Route:
    """The route after this one, in which the champion answers everything."""
    return replace(route, id=f"{route.id}+", mode="champion", challenger="", step=0)


def waiting(route: Route, totals: Mapping[int, Mapping[str, int]], settings: Serving, elapsed: float) -> str:
    """What the step of a canary still waits for, in words; empty if nothing, or in another mode."""
    if route.mode != "canary":
        return ""
    return "; ".join(_missing(route, totals.get(route.step, {}), fixed(route, settings), elapsed))


def _missing(route: Route, served: Mapping[str, int], settings: Serving, elapsed: float) -> list[str]:
    challenger, every = served.get("challenger", 0), sum(served.values())
    least = math.ceil(SMALLEST_PART * share(route) * settings.step_requests)
    found = []
    if every < settings.step_requests:
        found.append(f"{every:,} of {settings.step_requests:,} requests")
    if challenger < least:
        found.append(f"{challenger:,} of at least {least:,} requests to the challenger")
    if elapsed < 60 * settings.step_minutes:
        found.append(f"{elapsed / 60:.1f} of {settings.step_minutes:g} minutes")
    return found


def described(route: Route, answering: str = "") -> str:
    """The route in words.

    `answering` is the number of the version that answers if all requests go to the champion: a route names the one
    that was in production when the route began, and production may have another since.
    """
    sticky = f", the same for each {route.key}" if route.key else ""
    if route.mode == "shadow":
        return f"version {route.champion} answers; version {route.challenger} answers in its shadow, and is only logged"
    if route.mode == "champion":
        return f"version {answering} answers all requests" if answering else "the version in production answers"
    part = _shares(share(route))
    both = f"version {route.challenger} answers {part} of the requests, version {route.champion} the others{sticky}"
    if route.mode == "ab":
        return both
    return f"canary, step {route.step + 1} of {len(route.steps)}: {both}"


def _words(one: Hypothesis) -> str:
    words = WORDS.get(one.metric, f"predictions of {one.metric.removeprefix(CLASS)}")
    return f"fewer {words}" if one.fewer else words


def _shares(value: float) -> str:
    return f"{100 * value:.3g} %"


def _alarm(
    route: Route,
    worst: Hypothesis,
    verdict: sequential.Verdict,
    served: Mapping[str, int],
    counts: Mapping[str, Counts],
) -> str:
    """The sentence of a rollback, by the metric with the most evidence."""
    challenger, champion = _summed(counts[worst.metric])
    of_challenger, of_champion, noun = served["challenger"], served["champion"], "requests"
    if worst.metric == WRONG and LABELLED in counts:
        (of_challenger, of_champion), noun = _summed(counts[LABELLED]), "answers with feedback"
    once = f", each {route.key} counted once" if route.key else ""
    tolerated = f", where a ratio of {worst.tolerated:g} is tolerated" if worst.tolerated > 1 else ""
    mean, exponent = verdict.mean, verdict.log_mean / math.log(10)
    chance = f"1 in {mean:,.0f}" if mean < 1e9 else f"1e-{exponent:.0f}"
    return (
        f"version {route.challenger} was rolled back, {_words(worst)}: {challenger:,} of the challenger's "
        f"{of_challenger:,} {noun}, {champion:,} of the champion's {of_champion:,}{once}{tolerated}; with an equal "
        f"challenger such evidence has a chance of at most {chance}"
    )


def _summed(counts: Counts) -> tuple[int, int]:
    """The events of the challenger and of the champion over all shares."""
    challenger, champion = np.sum(list(counts.values()), axis=0).tolist()
    return int(challenger), int(champion)
