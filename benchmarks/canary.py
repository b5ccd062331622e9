"""How often the server's test rolls back a challenger that is as good as the champion, and how soon a worse one.

    python -m benchmarks.canary [runs]    prints more of it than the page shows

Each run is a canary of the steps 1, 5 and 25 % with 2,000, 4,000 and 4,000 requests, unless it says otherwise. The
counts are drawn; everything else is the server's own code: shares and keys by `routing`, evidence by `sequential`.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "{{cookiecutter.project}}"))

import numpy as np
from mlops.base.params import Serving
from mlops.serving import routing, sequential
from mlops.serving.routing import ERROR, SLOW, WRONG, Route
from numpy.typing import NDArray

from benchmarks.measure import Row

TITLE = "The canary's test"
PACKAGES = ("numpy",)
RUNS = 2000
CANARY = ((0.01, 2000), (0.05, 4000), (0.25, 4000))  # share of the challenger, requests
YES, NO = f"{routing.CLASS}Yes", f"{routing.CLASS}No"
EQUAL = {ERROR: 0.002, SLOW: 0.05, WRONG: 0.2, YES: 0.26}  # the champion's rates of bad events
OF_A_KEY = 8  # requests of one key
PRONE = 0.8  # rate of the events of a key that has them at all
SETTINGS = Serving()

ABOUT = f"""
{RUNS:,} simulated canaries of 1, 5 and 25 % with 10,000 requests in all: counts are drawn, the rest is the server's
own code. The test may be looked at all the time, and its limit is α = 1 %. Of the peers that serve models here, none
decides a canary; Argo Rollouts and Flagger, which do, compare with thresholds that are given. `python -m
benchmarks.canary` prints more cases.
"""
ASKED = {"equal": (0.01, None), "errors 10 %": (None, 0.95), "wrong 30 %": (None, 0.95)}

Plan = Sequence[tuple[float, int]]
# Events of the challenger and of the champion by metric and share, each up to a look, of shape (runs, looks).
Drawn = dict[str, dict[float, tuple[NDArray[np.int64], NDArray[np.int64]]]]


@dataclass(frozen=True)
class Outcome:
    """What happened in some runs: requests before each rollback, and those of the challenger among them."""

    runs: int
    requests: NDArray[np.int64]
    challenger: NDArray[np.int64]

    @property
    def rolled_back(self) -> float:
        """The share of the runs with a rollback."""
        return len(self.requests) / self.runs


def route_of(plan: Plan, name: str = "simulated") -> Route:
    """A canary with these shares."""
    return Route(name, "canary", "1", "2", steps=tuple(part for part, _ in plan), classes=("No", "Yes"))


def looks_at(rng: np.random.Generator, plan: Plan, every: int = 100) -> NDArray[np.int64]:
    """Numbers of requests after which one looks: regularly, at as many random moments, and at the end of a step."""
    ends = np.cumsum([requests for _, requests in plan])
    regular = np.arange(every, ends[-1] + 1, every)
    return np.unique(np.concatenate([regular, rng.integers(1, ends[-1], len(regular)), ends]))


def independent(
    rng: np.random.Generator,
    runs: int,
    challenger: Mapping[str, float],
    plan: Plan = CANARY,
    every: int = 100,
    *,
    outage: bool = False,
) -> Outcome:
    """Runs in which requests do not depend on each other; `challenger` has the rates that differ from EQUAL.

    During an `outage` in the middle, 60 % of the requests fail, whoever answers.
    """
    looks = looks_at(rng, plan, every)
    sizes, steps = np.diff(looks, prepend=0), _steps(plan, looks - 1)
    shares = np.array([part for part, _ in plan])[steps]
    served = rng.binomial(sizes, shares, (runs, len(looks)))
    others = sizes - served
    failing = outage & (looks > 0.4 * looks[-1]) & (looks < 0.5 * looks[-1])
    drawn: Drawn = {}
    for metric, rate in EQUAL.items():
        rates = [np.where(failing & (metric == ERROR), 0.6, one) for one in (challenger.get(metric, rate), rate)]
        a, b = rng.binomial(served, rates[0]), rng.binomial(others, rates[1])
        drawn[metric] = _by_share(plan, steps, a, b)
        if metric == YES:
            drawn[NO] = _by_share(plan, steps, served - a, others - b)
    return _outcome(drawn, plan, looks, served)


def sticky(rng: np.random.Generator, runs: int, plan: Plan = CANARY, *, once: bool = True) -> Outcome:
    """Runs of an equal challenger in which a key has several requests, always answered by the same variant.

    A key either has the events of a metric in most of its requests, or in none. `once` counts its first one only.
    """
    looks = looks_at(rng, plan)
    total = looks[-1]
    keys = total // OF_A_KEY
    steps = _steps(plan, np.arange(total))
    shares = np.array([part for part, _ in plan])[steps]
    metrics = [*EQUAL, NO]
    found = {metric: np.zeros((2, runs, total), dtype=bool) for metric in metrics}
    for run in range(runs):
        route = route_of(plan, f"run {run} of {runs}")
        places = np.array([routing.position(routing.hashed(route, f"customer {key}")) for key in range(keys)])
        key = rng.permutation(np.repeat(np.arange(keys), OF_A_KEY))
        ours = places[key] < shares
        for metric, rate in EQUAL.items():
            bad = (rng.random(keys) < rate / PRONE)[key] & (rng.random(total) < PRONE)
            for name, events in ((metric, bad), (NO, ~bad)) if metric == YES else ((metric, bad),):
                at = np.flatnonzero(events)
                if once:
                    first = np.full(keys, -1)
                    first[key[at[::-1]]] = at[::-1]
                    at = first[first >= 0]
                found[name][0, run, at] = ours[at]
                found[name][1, run, at] = ~ours[at]
    ends = [np.add.reduceat(found[metric], np.concatenate([[0], looks[:-1]]), axis=2) for metric in metrics]
    drawn = {
        metric: _by_share(plan, _steps(plan, looks - 1), *events) for metric, events in zip(metrics, ends, strict=True)
    }
    return _outcome(drawn, plan, looks, np.zeros((runs, len(looks)), dtype=int))


def _steps(plan: Plan, requests: NDArray[np.int64]) -> NDArray[np.int64]:
    """The position of the step in which each request falls; requests are counted from 0."""
    return np.searchsorted(np.cumsum([number for _, number in plan]), requests, side="right")


def _by_share(
    plan: Plan, steps: NDArray[np.int64], challenger: NDArray[np.int64], champion: NDArray[np.int64]
) -> dict[float, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Events between looks (runs, looks), added up by share."""
    return {
        part: (
            np.cumsum(challenger * (steps == step), axis=1, dtype=np.int64),
            np.cumsum(champion * (steps == step), axis=1, dtype=np.int64),
        )
        for step, (part, _) in enumerate(plan)
    }


def _outcome(drawn: Drawn, plan: Plan, looks: NDArray[np.int64], served: NDArray[np.int64]) -> Outcome:
    """Look at the evidence as the server does, and stop at the first alarm."""
    tested = routing.hypotheses(route_of(plan), SETTINGS)
    mean = sequential.log_mean([sequential.log_evidence(drawn.get(one.metric, {}), one) for one in tested])
    alarms = mean >= -np.log(SETTINGS.alpha)
    runs = np.flatnonzero(alarms.any(axis=1))
    first = alarms[runs].argmax(axis=1)
    return Outcome(len(served), looks[first], np.cumsum(served, axis=1)[runs, first])


AB = ((0.5, 100_000),)
LONG = ((0.25, 200_000),)
SCENARIOS: dict[str, tuple[dict[str, float], Plan]] = {
    "equal": ({}, CANARY),
    "equal, 50 % of 100,000": ({}, AB),
    "errors 100 %": ({ERROR: 1.0}, CANARY),
    "errors 10 %": ({ERROR: 0.1}, CANARY),
    "errors 2 %": ({ERROR: 0.02}, CANARY),
    "errors 0.6 %": ({ERROR: 0.006}, CANARY),
    "slow 100 %": ({SLOW: 1.0}, CANARY),
    "slow 30 %": ({SLOW: 0.3}, CANARY),
    "slow 10 %": ({SLOW: 0.1}, CANARY),
    "wrong 50 %": ({WRONG: 0.5}, CANARY),
    "wrong 30 %": ({WRONG: 0.3}, CANARY),
    "wrong 25 %": ({WRONG: 0.25}, CANARY),
    "wrong 22 %": ({WRONG: 0.22}, CANARY),
    "wrong 22 %, 50 % of 100,000": ({WRONG: 0.22}, AB),
    "wrong 22 %, 25 % of 200,000": ({WRONG: 0.22}, LONG),
    "always yes": ({YES: 1.0}, CANARY),
    "never yes": ({YES: 0.0}, CANARY),
    "yes 52 % instead of 26 %": ({YES: 0.52}, CANARY),
    "yes 32 % instead of 26 %": ({YES: 0.32}, CANARY),
}


def measure(_: Namespace) -> list[Row]:
    """The share of canaries that are rolled back: of equal challengers, also with keys, and of worse ones."""
    found = []
    for name, (most, least) in ASKED.items():
        rates, plan = SCENARIOS[name]
        outcome = independent(np.random.default_rng(1), RUNS, rates, plan)
        found.append(Row(f"rolled back: {name}", "share of canaries", outcome.rolled_back, most=most, least=least))
    parts = [sticky(np.random.default_rng(seed), 200) for seed in range(RUNS // 200)]
    share = sum(len(part.requests) for part in parts) / RUNS
    found.append(Row("rolled back: equal, keys of 8 requests", "share of canaries", share, most=0.01))
    return found


def row(name: str, outcome: Outcome, seconds: float) -> str:
    """One line of the table."""
    line = f"{name:36} {outcome.rolled_back:>7.2%}"
    if len(outcome.requests):
        median, late = np.quantile(outcome.requests, [0.5, 0.95])
        line += f"  {median:>8,.0f}  ({late:>8,.0f})  {np.median(outcome.challenger):>7,.0f}"
    return f"{line}   [{seconds:.1f} s]"


def main() -> None:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    print(
        f"{runs:,} runs a line, alpha {SETTINGS.alpha:.0%}; requests in all: median (95 %); of the challenger: median"
    )
    for name, (rates, plan) in SCENARIOS.items():
        start = time.perf_counter()
        every = 100 if plan is CANARY else 2000
        outcome = independent(np.random.default_rng(1), runs, rates, plan, every)
        print(row(name, outcome, time.perf_counter() - start), flush=True)
    start = time.perf_counter()
    outcome = independent(np.random.default_rng(1), runs, {}, outage=True)
    print(row("equal, an outage of both", outcome, time.perf_counter() - start), flush=True)
    for name, once in (("equal, keys of 8 requests, once", True), ("the same, every event counted", False)):
        start, block = time.perf_counter(), 200
        parts = [sticky(np.random.default_rng(seed), block, once=once) for seed in range(max(1, runs // block))]
        joined = Outcome(
            sum(part.runs for part in parts),
            np.concatenate([part.requests for part in parts]),
            np.concatenate([part.challenger for part in parts]),
        )
        print(row(name, joined, time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
