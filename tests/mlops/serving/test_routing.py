"""Who answers, what counts as a bad event, and when a canary moves on, up or back."""

import json
import math
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mlops.base.params import Serving
from mlops.serving import routing
from mlops.serving.routing import ABOVE, BELOW, ERROR, ODD, SLOW, WRONG, Route
from mlops.training.metrics import Predictions

STEPS = (0.01, 0.05, 0.25)
CANARY = Route("a1", "canary", "6", "7", steps=STEPS, slow_ms=20, classes=("No", "Yes"))
NUMBER = replace(CANARY, classes=(), ranges={"low": 10, "high": 90, "least": -50, "most": 150, "error": 5})
SETTINGS = Serving(step_requests=2000, step_minutes=10)
LONG = 601.0  # seconds


def of(predicted: list[Any], actual: list[Any] | None = None, classes: tuple[Any, ...] = ()) -> Predictions:
    kind = object if classes else float
    return Predictions(np.array(actual or predicted, kind), np.array(predicted, kind), None, classes, None)


def served(route: Route, challenger: int, champion: int) -> dict[int, dict[str, int]]:
    return {route.step: {"challenger": challenger, "champion": champion}}


@pytest.mark.parametrize(("mode", "share"), [("champion", 0), ("shadow", 0), ("ab", 0.3), ("canary", 0.05)])
@pytest.mark.parametrize("keyed", [True, False])
def test_the_challenger_gets_its_share(mode: routing.Mode, share: float, keyed: bool) -> None:
    route = replace(CANARY, mode=mode, share=0.3, step=1)
    draw = random.Random(1)

    found = Counter(routing.variant(route, f"c{n}" if keyed else None, draw.random()) for n in range(20_000))

    assert found["challenger"] / 20_000 == pytest.approx(share, abs=0.01)


def test_a_key_keeps_its_variant_and_a_larger_step_takes_nobody_back() -> None:
    keys = [f"customer {number}" for number in range(5000)] + ["", "ключ", "\ud800", "a\0b"]
    chosen = [
        {key for key in keys if routing.variant(replace(CANARY, step=step), key, draw=0.999) == "challenger"}
        for step in range(3)
    ]

    assert 0 < len(chosen[0]) < len(chosen[1]) < len(chosen[2])
    assert chosen[0] < chosen[1] < chosen[2]
    another = {key for key in keys if routing.variant(replace(CANARY, id="b2", step=2), key, 0.0) == "challenger"}
    overlap = len(chosen[2] & another) / len(chosen[2])
    assert overlap == pytest.approx(0.25, abs=0.05)  # another route asks other customers


def test_a_route_survives_json() -> None:
    for route in (CANARY, NUMBER, Route("x"), replace(CANARY, slow_ms=math.inf)):
        text = json.dumps(routing.as_dict(route), allow_nan=False)
        assert routing.from_dict(json.loads(text)) == route


def test_what_is_fixed_at_the_start_comes_from_the_champions_own_rows() -> None:
    classes = routing.begin(
        Serving(route="canary", key="customer"),
        "a1",
        "6",
        "7",
        of(["b", "a", "b"], classes=("a", "b", "c")),
        [4.0, 30.0],
    )
    predicted = [float(value) for value in range(101)]
    number = routing.begin(Serving(slow_ms=5), "a1", "6", "7", of(predicted, [value + 2 for value in predicted]))

    assert (classes.mode, classes.classes, classes.ranges, classes.key) == ("canary", ("b", "a", "c"), {}, "customer")
    assert classes.slow_ms == pytest.approx(2 * (4 + 0.95 * 26))
    assert number.slow_ms == 5
    assert number.ranges == {"low": 5, "high": 95, "least": -50, "most": 150, "error": 2}
    assert routing.slow_limit([0.5, 0.6]) == 10
    assert routing.slow_limit([]) == math.inf
    assert routing.ranges_of(of([math.nan, math.inf])) == {}
    assert routing.ranges_of(of([5.0, 5.0], [1.0, 9.0]))["most"] == 13  # of a constant the actual values make the range


@pytest.mark.parametrize(
    ("route", "prediction", "probability", "ms", "error", "expected"),
    [
        (CANARY, "Yes", 0.7, 1.0, False, {"class Yes"}),
        (CANARY, "Yes", 0.7, 20.1, False, {SLOW, "class Yes"}),
        (CANARY, "Yes", 0.7, None, False, {"class Yes"}),
        (CANARY, "Maybe", 0.7, 1.0, False, {ODD}),
        (CANARY, "No", math.nan, 1.0, False, {ODD, "class No"}),
        (CANARY, "No", 1.1, 1.0, False, {ODD, "class No"}),
        (CANARY, "Maybe", math.nan, 1.0, False, {ODD}),
        (CANARY, None, None, 30.0, True, {SLOW, ERROR}),
        (replace(CANARY, classes=(*"abcdefgh", "rare")), "rare", None, 1.0, False, set()),
        (replace(CANARY, classes=("True", "False")), True, None, 1.0, False, {"class True"}),
        (replace(CANARY, classes=("1", "2")), 2, None, 1.0, False, {"class 2"}),
        (NUMBER, 50.0, None, 1.0, False, set()),
        (NUMBER, 90.5, None, 1.0, False, {ABOVE}),
        (NUMBER, 9, None, 1.0, False, {BELOW}),
        (NUMBER, 151.0, None, 1.0, False, {ABOVE, ODD}),
        (NUMBER, math.nan, None, 1.0, False, {ODD}),
        (NUMBER, -math.inf, None, 1.0, False, {BELOW, ODD}),
    ],
)
def test_events_of_an_answer(
    route: Route, prediction: Any, probability: float | None, ms: float | None, error: bool, expected: set[str]
) -> None:
    found = routing.events(route, prediction, probability, ms=ms, error=error)

    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("route", "predicted", "actual", "expected"),
    [
        *((CANARY, "Yes", "Yes", False), (CANARY, "Yes", "No", True)),
        *((NUMBER, 50.0, 55, False), (NUMBER, 50.0, 44.9, True), (NUMBER, math.nan, 44.9, True)),
        (replace(NUMBER, ranges={}), 1.0, 100.0, False),
        *((NUMBER, 50.0, "many", False), (NUMBER, 50.0, None, False), (NUMBER, 50.0, [1], False)),
    ],
)
def test_feedback_says_what_was_wrong(route: Route, predicted: Any, actual: Any, expected: bool) -> None:
    assert routing.wrong(route, predicted, actual) == expected


def test_at_most_8_classes_are_tested_in_both_directions() -> None:
    many = replace(CANARY, classes=tuple("abcdefghijkl"))

    tested = routing.hypotheses(many, SETTINGS)

    assert [one.metric for one in tested[:4]] == [ERROR, SLOW, WRONG, ODD]
    assert len(tested) == 4 + 2 * 8
    assert {one.metric for one in tested[4:]} == {f"class {name}" for name in "abcdefgh"}
    assert [(one.metric, one.fewer) for one in routing.hypotheses(NUMBER, SETTINGS)[4:]] == [
        *((ABOVE, False), (ABOVE, True), (BELOW, False), (BELOW, True))
    ]


def test_a_step_is_passed_by_requests_and_time() -> None:
    quiet = served(CANARY, 20, 1980)

    assert routing.decide(CANARY, quiet, {}, SETTINGS, 599) is None
    assert routing.decide(CANARY, served(CANARY, 20, 1979), {}, SETTINGS, LONG) is None
    passed = routing.decide(CANARY, quiet, {}, SETTINGS, LONG)

    assert passed is not None
    assert (passed.action, passed.route) == ("next", replace(CANARY, step=1))
    assert passed.reason == (
        "step 1 of 3 passed: 1 % of the requests went to version 7, 20 of 2,000 so far, without an alarm"
    )
    assert routing.waiting(CANARY, served(CANARY, 0, 1999), SETTINGS, 90) == (
        "1,999 of 2,000 requests; 0 of at least 10 requests to the challenger; 1.5 of 10 minutes"
    )


def test_a_step_that_gave_the_challenger_nothing_is_not_passed() -> None:
    """Of a few hundred keys, the hash may give a share of 1 % none."""
    assert routing.decide(CANARY, served(CANARY, 9, 50_000), {}, SETTINGS, LONG) is None


def test_only_requests_of_the_step_itself_count_for_it() -> None:
    second = replace(CANARY, step=1)

    assert routing.decide(second, {0: {"champion": 5000, "challenger": 500}}, {}, SETTINGS, LONG) is None


def test_after_the_last_step_the_challenger_is_promoted() -> None:
    decision = routing.decide(replace(CANARY, step=2), {2: {"challenger": 500, "champion": 1500}}, {}, SETTINGS, LONG)

    assert decision is not None
    assert decision.action == "promote"
    assert (decision.route.mode, decision.route.champion, decision.route.challenger) == ("champion", "7", "")
    assert decision.route.id != CANARY.id
    assert "step 3 of 3 passed" in decision.reason


@pytest.mark.parametrize("mode", ["ab", "canary"])
def test_an_alarm_rolls_back_with_its_evidence_whatever_the_step_waits_for(mode: routing.Mode) -> None:
    route = replace(CANARY, mode=mode, share=0.01, key="customer_id")

    decision = routing.decide(route, served(route, 31, 3069), {ERROR: {0.01: (12, 3)}}, SETTINGS, 1)

    assert decision is not None
    assert decision.action == "roll back"
    assert (decision.route.mode, decision.route.champion, decision.route.challenger) == ("champion", "6", "")
    assert decision.reason.startswith(
        "version 7 was rolled back, errors: 12 of the challenger's 31 requests, 3 of the champion's 3,069, each "
        "customer_id counted once; with an equal challenger such evidence has a chance of at most 1e-"
    )
    assert decision.reason.endswith("(limit: 1 in 100)")
    json.dumps(decision.evidence, allow_nan=False)
    assert decision.evidence["mean"] > decision.evidence["limit"] == 100
    assert max(decision.evidence["metrics"], key=decision.evidence["metrics"].get) == "errors"
    assert decision.evidence["requests"] == {"challenger": 31, "champion": 3069}


def test_wrong_answers_are_told_among_those_with_feedback_and_predictions_with_what_is_tolerated() -> None:
    counts = {WRONG: {0.5: (900, 500)}, routing.LABELLED: {0.5: (2500, 2510)}}
    half = replace(CANARY, mode="ab")

    wrong = routing.decide(half, served(half, 6000, 6000), counts, SETTINGS, 1)
    never = routing.decide(half, served(half, 6000, 6000), {"class Yes": {0.5: (0, 60)}}, SETTINGS, 1)

    assert wrong is not None
    assert (
        "wrong answers: 900 of the challenger's 2,500 answers with feedback, 500 of the champion's 2,510;"
        in wrong.reason
    )
    assert never is not None
    assert "fewer predictions of Yes: 0 of the challenger's 6,000 requests" in never.reason
    assert "where a ratio of 1.5 is tolerated" in never.reason


@pytest.mark.parametrize("mode", ["champion", "shadow"])
def test_where_the_challenger_answers_nobody_nothing_is_decided(mode: routing.Mode) -> None:
    route = replace(CANARY, mode=mode)

    assert routing.decide(route, served(route, 9999, 9999), {ERROR: {0.01: (99, 0)}}, SETTINGS, LONG) is None


def test_a_tolerated_ratio_is_tolerated() -> None:
    """Three times as many errors are an alarm, unless that was allowed."""
    counts = {ERROR: {0.5: (90, 30)}}
    half = replace(CANARY, mode="ab")

    assert routing.decide(half, served(half, 1000, 1000), counts, SETTINGS, 1) is not None
    assert routing.decide(half, served(half, 1000, 1000), counts, Serving(tolerated_ratio=3), 1) is None


@pytest.mark.parametrize(
    ("route", "words"),
    [
        (replace(CANARY, mode="champion"), "the version in production answers"),
        (replace(CANARY, mode="ab", share=0.5), "version 7 answers 50 % of the requests, version 6 the others"),
        (
            replace(CANARY, step=1, key="id"),
            "canary, step 2 of 3: version 7 answers 5 % of the requests, version 6 the others, the same for each id",
        ),
        (
            replace(CANARY, mode="shadow"),
            "version 6 answers; version 7 answers in its shadow, and is only logged",
        ),
    ],
)
def test_a_route_in_words(route: Route, words: str) -> None:
    assert routing.described(route) == words


def test_a_champion_that_answers_alone_is_named_by_the_number_that_answers_now() -> None:
    assert routing.described(replace(CANARY, mode="champion"), "8") == "version 8 answers all requests"
    assert routing.described(replace(CANARY, mode="shadow"), "8").startswith("version 6 answers; version 7 ")
