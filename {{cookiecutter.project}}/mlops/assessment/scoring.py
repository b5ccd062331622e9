"""From answers and findings to scores: of the questionnaire, of the evidence, and of the ML Test Score."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mlops.assessment.finding import Finding
from mlops.assessment.rubric import CRITERIA, SECTIONS, Criterion

BAR = 20  # characters of a full bar
HIGHEST = 2


@dataclass(frozen=True)
class Area:
    """The criteria of an area at a level: their number, how many could be judged, and how many of those are met."""

    met: int
    judged: int
    of: int = CRITERIA

    @property
    def percent(self) -> float | None:
        """The share of the judged criteria that are met; None if none could be judged."""
        return 100 * self.met / self.judged if self.judged else None


@dataclass(frozen=True)
class Step:
    """The smallest set of unmet criteria that lifts the weakest area of a level, and its score before and after.

    Where nothing is unmet, the criteria are those that nobody could judge, and there is no score after.
    """

    level: int
    criteria: tuple[str, ...]
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Section:
    """A section of the ML Test Score: the points of each item by id; None is no evidence."""

    items: Mapping[str, float | None]

    @property
    def points(self) -> float:
        """The sum; an item without evidence adds nothing."""
        return sum(points or 0 for points in self.items.values())

    @property
    def possible(self) -> float:
        """The sum if every item without evidence were done by a system."""
        return self.points + sum(points is None for points in self.items.values())


def bar(percent: float | None) -> str:
    """A score as 20 characters; the bar is full only at 100."""
    full = 0 if percent is None else int(percent * BAR // 100)
    return "█" * full + "░" * (BAR - full)


def level_of(scores: Sequence[float | None], threshold: float) -> int:
    """Level 2 if its score reaches the threshold (both in percent), else level 1 if its score does, else 0."""
    reached = [(score := scores[level]) is not None and score >= threshold for level in range(HIGHEST + 1)]
    return next((level for level in range(HIGHEST, 0, -1) if reached[level]), 0)


def by_area(criteria: Sequence[Criterion], verdicts: Mapping[str, bool | None], level: int) -> dict[str, Area]:
    """The tally of each area at a level; a criterion without a verdict is not judged."""
    tallies = {}
    for area in dict.fromkeys(each.area for each in criteria):
        found = [verdicts.get(each.id) for each in criteria if (each.level, each.area) == (level, area)]
        tallies[area] = Area(sum(one is True for one in found), sum(one is not None for one in found), len(found))
    return tallies


def questionnaire(areas: Mapping[str, Area]) -> float:
    """The score of a level by answers, in percent: criteria met, of all twelve; without an answer none is met."""
    return 100 * sum(area.met for area in areas.values()) / sum(area.of for area in areas.values())


def weakest(areas: Mapping[str, Area]) -> list[str]:
    """The areas with the lowest score; more than one if they are equal, none if nothing could be judged."""
    lowest = lowest_score(areas)
    return [name for name, area in areas.items() if lowest is not None and area.percent == lowest]


def lowest_score(areas: Mapping[str, Area]) -> float | None:
    """The score of a level by evidence, in percent: that of its weakest area; None if nothing could be judged."""
    return min((area.percent for area in areas.values() if area.percent is not None), default=None)


def level_by_evidence(levels: Sequence[Mapping[str, Area]], threshold: float) -> tuple[int, list[int]]:
    """The level, and the levels above it that might be reached if all their areas could be judged.

    A level is given only if each of its areas has a criterion that could be judged.
    """
    scores = [lowest_score(areas) for areas in levels]
    judged = [all(area.judged for area in areas.values()) for areas in levels]
    level = level_of([score if whole else None for score, whole in zip(scores, judged, strict=True)], threshold)
    possible = [
        number
        for number in range(level + 1, len(levels))
        if not judged[number] and ((score := scores[number]) is None or score >= threshold)
    ]
    return level, possible


def verdict(criterion: str, findings: Collection[Finding]) -> bool | None:
    """Whether a criterion is met: a finding that speaks to it is true, and none is false; None if none is either."""
    outcomes = {finding.outcome for finding in findings if criterion in finding.criteria}
    return False if "false" in outcomes else True if "true" in outcomes else None


def next_step(
    criteria: Sequence[Criterion],
    verdicts: Mapping[str, bool | None],
    level: int,
    with_remedy: Collection[str],
) -> Step | None:
    """What gains most at the next level; None if there is no next level.

    Of each of the weakest areas it is one unmet criterion: the first that has a remedy, else the first.
    """
    if level == HIGHEST:
        return None
    target = level + 1
    areas = by_area(criteria, verdicts, target)
    chosen = []
    for area in weakest(areas):
        unmet = [
            each.id for each in criteria if (each.level, each.area) == (target, area) and verdicts[each.id] is False
        ]
        if unmet:
            chosen.append(min(unmet, key=lambda one: one not in with_remedy))
    before = lowest_score(areas)
    if not chosen:
        open_ = tuple(each.id for each in criteria if each.level == target and verdicts[each.id] is None)
        return Step(target, open_, before, None)
    after = lowest_score(by_area(criteria, {**verdicts, **dict.fromkeys(chosen, True)}, target))
    return Step(target, tuple(chosen), before, after)


def ml_test_score(items: Collection[str], findings: Collection[Finding]) -> dict[str, Section]:
    """The sections of the ML Test Score (Breck et al. 2017); the score is the smallest section's sum.

    An item has one point if a system does it repeatedly, half a point if it is done by hand with documented results,
    none if a finding is false, and None if no finding is true or false.
    """
    points: dict[str, float | None] = {}
    for item in items:
        found = verdict(item, findings)
        if found:
            ways = [each.automatic for each in findings if item in each.criteria and each.outcome == "true"]
            points[item] = 1.0 if any(ways) else 0.5
        else:
            points[item] = None if found is None else 0.0
    return {
        section: Section({item: value for item, value in points.items() if item.partition(".")[0] == section})
        for section in SECTIONS
    }
