"""The test behind a rollback: valid whenever one looks, blind to what both variants share, quick where it matters."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.serving import sequential
from mlops.serving.routing import ERROR, WRONG
from mlops.serving.sequential import RATIOS, Hypothesis

from benchmarks import canary

FEWER = st.booleans()
SHARES = st.floats(0.001, 0.999)


def after(challenger: int, champion: int, share: float, hypothesis: Hypothesis) -> float:
    return float(sequential.log_evidence({share: (challenger, champion)}, hypothesis))


def test_evidence_is_the_mean_of_the_likelihood_ratios_of_larger_ratios() -> None:
    counts = {0.01: (2, 3), 0.25: (1, 0)}
    products = []
    for ratio in 1.5 * RATIOS:
        product = 1.0
        for share, (challenger, champion) in counts.items():
            null, other = (share * one / (share * one + 1 - share) for one in (1.5, ratio))
            product *= (other / null) ** challenger * ((1 - other) / (1 - null)) ** champion
        products.append(product)

    found = sequential.log_evidence(counts, Hypothesis("error", 1.5))

    assert math.exp(found) == pytest.approx(np.mean(products), rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(SHARES, st.floats(1, 5), FEWER, st.floats(0.05, 1), st.integers(0, 20), st.integers(0, 200))
def test_whatever_was_counted_the_next_event_is_expected_to_raise_no_evidence(
    share: float, tolerated: float, fewer: bool, part: float, challenger: int, champion: int
) -> None:
    """Which is what makes a look at any moment harmless: the evidence is a supermartingale under the hypothesis."""
    hypothesis = Hypothesis("error", tolerated, fewer)
    ratio = part * tolerated  # of the rates: anything up to the tolerated one
    ratio = 1 / ratio if fewer else ratio
    ours = share * ratio / (share * ratio + 1 - share)

    before = after(challenger, champion, share, hypothesis)
    more = [after(challenger + 1, champion, share, hypothesis), after(challenger, champion + 1, share, hypothesis)]

    expected = ours * math.exp(more[0] - before) + (1 - ours) * math.exp(more[1] - before)
    assert expected <= 1 + 1e-9
    if part == 1:
        assert expected == pytest.approx(1)


def test_the_mean_is_over_all_that_was_to_be_tested_with_events_or_not() -> None:
    tested = [Hypothesis("error", 1.0), Hypothesis("slow", 1.0)]

    alone = sequential.verdict({"error": {0.5: (10, 0)}}, tested[:1], 0.01)
    both = sequential.verdict({"error": {0.5: (10, 0)}}, tested, 0.01)

    assert both.mean == pytest.approx((alone.mean + 1) / 2)
    assert both.worst == 0
    assert alone.alarm
    assert alone.mean / 2 < 1 / 0.01 < alone.mean
    assert not both.alarm
    assert sequential.verdict({}, tested, 0.01) == sequential.Verdict(False, (0.0, 0.0), 0.0, 0)


@pytest.mark.parametrize(("counts", "alarm"), [((10**7, 0), True), ((0, 10**7), False), ((10**7, 10**7), False)])
def test_many_events_overflow_nothing(counts: tuple[int, int], alarm: bool) -> None:
    verdict = sequential.verdict({"error": {0.5: counts}}, [Hypothesis("error", 1.0)], 0.01)

    assert verdict.alarm == alarm
    assert math.isfinite(verdict.log_mean)
    assert math.isfinite(verdict.mean)


def test_of_2000_equal_challengers_at_most_1_percent_are_rolled_back() -> None:
    outcome = canary.independent(np.random.default_rng(1), 2000, {}, every=200)

    assert outcome.rolled_back <= 0.01


def test_an_outage_of_both_variants_is_no_sign_against_one() -> None:
    outcome = canary.independent(np.random.default_rng(6), 300, {}, every=400, outage=True)

    assert outcome.rolled_back <= 0.01


def test_requests_that_depend_on_each_other_by_key_are_harmless_only_if_a_key_counts_once() -> None:
    once = canary.sticky(np.random.default_rng(2), 200)
    every_time = canary.sticky(np.random.default_rng(2), 100, once=False)

    assert once.rolled_back <= 0.01
    assert every_time.rolled_back > 0.04


def test_a_challenger_2_points_worse_by_feedback_is_found_with_enough_labels() -> None:
    outcome = canary.independent(np.random.default_rng(3), 200, {WRONG: 0.22}, canary.AB, 2000)

    assert outcome.rolled_back >= 0.98
    assert np.median(outcome.requests) <= 45_000


def test_a_challenger_that_fails_always_is_rolled_back_in_the_first_step_after_a_handful_of_its_answers() -> None:
    outcome = canary.independent(np.random.default_rng(4), 500, {ERROR: 1.0})

    assert outcome.rolled_back == 1
    assert np.quantile(outcome.requests, 0.95) <= 1000
    assert np.quantile(outcome.challenger, 0.95) <= 10


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_challenger_that_always_answers_the_same_is_rolled_back(rate: float) -> None:
    outcome = canary.independent(np.random.default_rng(5), 200, {canary.YES: rate})

    assert outcome.rolled_back == 1
    assert np.quantile(outcome.requests, 0.95) <= 4000
