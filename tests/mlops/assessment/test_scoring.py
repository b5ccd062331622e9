"""Scores: thresholds, the weakest area, what could not be judged, the next step, and the ML Test Score."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.assessment import scoring

from tests.mlops.assessment.samples import IDS, RUBRIC, finding, findings, made

NOTHING = dict.fromkeys(IDS, False)
ITEMS = list(RUBRIC.test_items)


def verdicts(**met: bool | None) -> dict[str, bool | None]:
    """Verdicts by criterion, of which each area at each level has one for all (such as data_1); True without one."""
    named = {name: name.split(".") for name in IDS}
    return {name: met.get(f"{area}_{level}", True) for name, (level, area, _) in named.items()}


@pytest.mark.parametrize(
    ("scores", "level"),
    [
        ((90, 60, 20), 0),
        ((0, 70, 69.9), 1),
        ((100, 69.9, 0), 0),
        ((0, 70, 70), 2),
        ((0, 69.9, 70), 2),  # as asked for: level 2 by its own score
        ((None, 100, None), 1),
    ],
)
def test_the_level_is_the_highest_one_whose_score_reaches_the_threshold(
    scores: tuple[float | None, ...], level: int
) -> None:
    assert scoring.level_of(scores, 70) == level


@pytest.mark.parametrize(("percent", "full"), [(0, 0), (20, 4), (60, 12), (90, 18), (99.9, 19), (100, 20), (None, 0)])
def test_a_bar_has_twenty_characters_and_is_full_only_at_a_hundred(percent: float | None, full: int) -> None:
    assert scoring.bar(percent) == "█" * full + "░" * (20 - full)


@pytest.mark.parametrize(("met", "level"), [(8, 0), (9, 1)])  # 66.7 and 75 percent
def test_answers_count_among_all_twelve_criteria(met: int, level: int) -> None:
    answers = dict.fromkeys(IDS[12 : 12 + met], True)  # the others have no answer

    found = made(None, answers)["answers"]

    assert found["levels"][1]["score"] == pytest.approx(100 * met / 12)
    assert (found["level"], len(found["unanswered"])) == (level, 36 - met)
    assert [one["text"] for one in found["recommendations"]] == [one.en for one in RUBRIC.levels[level].recommendations]


def test_a_recommendation_that_is_followed_already_is_marked() -> None:
    answers = {"1.data.versioning": True, "1.model.registry": False, "2.model.ci": True}

    assert [one["done"] for one in made(None, answers)["answers"]["recommendations"]] == [False, True, False, False]
    judged = verdicts(monitoring_2=False) | {"2.deployment.automatic": False}
    assert [one["done"] for one in made(findings(judged))["evidence"]["recommendations"]] == [False, True, False, False]


def test_the_score_by_evidence_is_that_of_the_weakest_area_and_no_average() -> None:
    judged = verdicts(monitoring_1=False, data_2=False)
    judged["1.monitoring.drift"] = True

    found = made(findings(judged))["evidence"]

    assert found["levels"][1]["score"] == pytest.approx(100 / 3)  # 83 % of the twelve are met
    assert found["levels"][1]["weakest"] == ["monitoring"]
    assert found["level"] == 0


def test_what_cannot_be_judged_is_named_and_lowers_no_score() -> None:
    judged = verdicts(data_2=False)
    judged |= {"1.data.lineage": None, "1.data.checks": None}

    found = made(findings(judged))["evidence"]

    assert found["levels"][1]["score"] == 100
    assert found["not_judged"] == ["1.data.checks", "1.data.lineage"]
    assert (found["level"], found["judged"]) == (1, 34)


def test_a_level_is_not_given_where_an_area_could_not_be_judged_at_all() -> None:
    found = made(findings(verdicts(monitoring_1=None, data_2=False)))["evidence"]

    assert (found["level"], found["possible"]) == (0, [1])
    assert found["next_step"] == {
        "level": 1,
        "criteria": tuple(name for name in IDS if name.startswith("1.monitoring")),
        "before": 100,
        "after": None,
    }


def test_a_level_that_fails_in_an_area_is_not_possible_for_what_is_unknown_in_another() -> None:
    assert made(findings(verdicts(monitoring_1=None, data_1=False, data_2=False)))["evidence"]["possible"] == []


def test_findings_that_contradict_each_other_do_not_meet_a_criterion() -> None:
    name = IDS[12]

    assert scoring.verdict(name, [finding(name), finding(name, outcome="false")]) is False
    assert scoring.verdict(name, [finding(name), finding(name, outcome="error")]) is True
    assert scoring.verdict(name, [finding(name, outcome="not_applicable"), finding(IDS[13])]) is None


@settings(max_examples=25)
@given(st.lists(st.sampled_from([True, False, None]), min_size=12, max_size=12))
def test_the_next_step_is_a_smallest_set_that_lifts_the_weakest_area(drawn: list[bool | None]) -> None:
    known: dict[str, bool | None] = {**NOTHING, **dict(zip(IDS[12:24], drawn, strict=True))}
    before = scoring.lowest_score(scoring.by_area(RUBRIC.criteria, known, 1))
    unmet = [name for name in IDS[12:24] if known[name] is False]

    def score(chosen: tuple[str, ...]) -> float | None:
        return scoring.lowest_score(scoring.by_area(RUBRIC.criteria, {**known, **dict.fromkeys(chosen, True)}, 1))

    step = scoring.next_step(RUBRIC.criteria, known, 0, ())

    assert step is not None
    if not unmet:
        assert step.after is None
        return
    enough = (
        chosen for size in range(1, 5) for chosen in combinations(unmet, size) if (score(chosen) or 0) > (before or 0)
    )
    assert len(step.criteria) == len(next(enough))
    assert (step.before, step.after) == (before, score(step.criteria))


def test_of_two_unmet_criteria_the_next_step_is_the_one_with_a_remedy() -> None:
    judged = verdicts(data_1=False, data_2=False)
    mendable = finding("1.data.lineage", outcome="false", remedy="Run it.")

    found = made([*findings(judged), mendable])["evidence"]["next_step"]

    assert found == {"level": 1, "criteria": ("1.data.lineage",), "before": 0, "after": pytest.approx(100 / 3)}
    assert made(findings(verdicts()))["evidence"]["next_step"] is None  # nothing is above level 2


def test_the_ml_test_score_is_the_sum_of_its_smallest_section() -> None:
    found = [finding(*(item for item in ITEMS if item != "data.7"), automatic=True)]
    found += [finding("data.7"), finding("data.1"), finding("data.6", outcome="false")]
    found += [finding("model.1", outcome="not_available"), finding("monitoring.7", outcome="false")]

    told = made(found)["evidence"]["ml_test_score"]

    assert {name: section["points"] for name, section in told["sections"].items()} == {
        "data": 5.5,  # five by a system, one is not done, one by hand
        "model": 7,
        "infrastructure": 7,
        "monitoring": 6,
    }
    assert (told["score"], told["possible"], told["without_evidence"]) == (5.5, 5.5, [])


def test_a_test_without_evidence_is_named_and_leaves_the_score_open() -> None:
    told = made([finding("data.1", "model.1", "infrastructure.1", "monitoring.1")])["evidence"]["ml_test_score"]

    assert (told["score"], told["possible"]) == (0.5, 6.5)
    assert len(told["without_evidence"]) == 24
    assert told["sections"]["data"]["items"][0]["points"] == 0.5


@pytest.mark.parametrize(("each", "band"), [(0, 0), (1, 1), (2, 2), (3, 3), (5, 4), (6, 5)])
def test_the_band_of_the_ml_test_score_ends_with_its_upper_end(each: int, band: int) -> None:
    done = [item for item in ITEMS if int(item[-1]) <= each]

    told = made([finding(*done, automatic=True)])["evidence"]["ml_test_score"]

    assert (told["score"], told["band"]) == (each, RUBRIC.bands[band].en)
