"""The report of an assessment: plain values in one language, from which the templates make text, a page and a badge."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from unicodedata import east_asian_width

from mlops.assessment import scoring
from mlops.assessment.finding import Finding
from mlops.assessment.rubric import Language, Rubric

DIGITS = 12  # of a commit


def make(
    rubric: Rubric,
    language: Language,
    about: Mapping[str, Any],
    answers: Mapping[str, bool] | None,
    findings: Sequence[Finding] | None,
) -> dict[str, Any]:
    """All facts of a report; `answers` or `findings` are None where they were not asked for.

    `about` has what was assessed: repository, commit, time, and the file of the answers.
    """
    criteria = rubric.criteria
    verdicts = {each.id: scoring.verdict(each.id, findings or ()) for each in criteria}
    return {
        "rubric": rubric.version,
        "language": language,
        "threshold": rubric.threshold,
        **about,
        "areas": {name: text.of(language) for name, text in rubric.areas.items()},
        "levels": [
            {"level": number, "name": level.name.of(language), "enough": level.enough.of(language)}
            for number, level in enumerate(rubric.levels)
        ],
        "answers": None if answers is None else _of_answers(rubric, language, answers),
        "evidence": None if findings is None else _of_evidence(rubric, language, verdicts, findings),
        "criteria": [
            {
                "id": each.id,
                "level": each.level,
                "area": each.area,
                "statement": each.statement.of(language),
                **_compared((answers or {}).get(each.id), verdicts[each.id]),
                "findings": [_finding(one, language) for one in findings or () if each.id in one.criteria],
            }
            for each in criteria
        ],
    }


def _compared(answer: bool | None, verdict: bool | None) -> dict[str, bool | None]:
    contradiction = answer is not None and verdict is not None and answer != verdict
    return {"answer": answer, "evidence": verdict, "contradiction": contradiction}


def demonstration(rubric: Rubric, language: Language, about: Mapping[str, Any]) -> dict[str, Any]:
    """The report of the scores that stand in the rubric as an example; it has no criteria."""
    facts = make(rubric, language, about, None, None)
    scores = list(rubric.demonstration)
    rows = [
        {"level": level, "score": score, "bar": scoring.bar(score), "areas": {}} for level, score in enumerate(scores)
    ]
    reached = scoring.level_of(scores, rubric.threshold)
    found = {"levels": rows, "answered": 0, "unanswered": [], "unmet": [], **_level(rubric, language, reached, {})}
    return {**facts, "answers": found, "criteria": []}


def _level(rubric: Rubric, language: Language, reached: int, verdicts: Mapping[str, bool | None]) -> dict[str, Any]:
    level = rubric.levels[reached]
    return {
        "level": reached,
        "name": level.name.of(language),
        "recommendations": [
            {"text": one.of(language), "done": bool(one.done) and all(verdicts.get(name) for name in one.done)}
            for one in level.recommendations
        ],
    }


def _of_answers(rubric: Rubric, language: Language, answers: Mapping[str, bool]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    criteria = rubric.criteria
    for number in range(len(rubric.levels)):
        areas = scoring.by_area(criteria, answers, number)
        score = scoring.questionnaire(areas)
        tallies = {name: {"met": area.met, "of": area.of} for name, area in areas.items()}
        rows.append({"level": number, "score": score, "bar": scoring.bar(score), "areas": tallies})
    reached = scoring.level_of([row["score"] for row in rows], rubric.threshold)
    return {
        "levels": rows,
        "answered": len(answers),
        "unanswered": [each.id for each in criteria if each.id not in answers],
        "unmet": [each.id for each in criteria if each.level == reached + 1 and answers.get(each.id) is False],
        **_level(rubric, language, reached, answers),
    }


def _of_evidence(
    rubric: Rubric, language: Language, verdicts: Mapping[str, bool | None], findings: Sequence[Finding]
) -> dict[str, Any]:
    criteria = rubric.criteria
    tallies = [scoring.by_area(criteria, verdicts, number) for number in range(len(rubric.levels))]
    rows = []
    for number, areas in enumerate(tallies):
        score = scoring.lowest_score(areas)
        rows.append(
            {
                "level": number,
                "score": score,
                "bar": scoring.bar(score),
                "weakest": scoring.weakest(areas),
                "areas": {name: {**asdict(area), "score": area.percent} for name, area in areas.items()},
            }
        )
    reached, possible = scoring.level_by_evidence(tallies, rubric.threshold)
    remedied = {name for one in findings if one.remedy for name in one.criteria}
    step = scoring.next_step(criteria, verdicts, reached, remedied)
    return {
        "levels": rows,
        **_level(rubric, language, reached, verdicts),
        "possible": possible,
        "judged": sum(value is not None for value in verdicts.values()),
        "not_judged": [name for name, value in verdicts.items() if value is None],
        "next_step": step and asdict(step),
        "ml_test_score": _test_score(rubric, language, findings),
    }


def _test_score(rubric: Rubric, language: Language, findings: Sequence[Finding]) -> dict[str, Any]:
    sections, texts = scoring.ml_test_score(rubric.test_items, findings), rubric.test_items
    score = min(section.points for section in sections.values())
    band = next(band for band in rubric.bands if band.to is None or score <= band.to)
    return {
        "score": score,
        "possible": min(section.possible for section in sections.values()),
        "band": band.of(language),
        "sections": {
            name: {
                "name": rubric.sections[name].of(language),
                "points": section.points,
                "items": [
                    {
                        "id": item,
                        "test": texts[item].of(language),
                        "points": points,
                        "findings": [_finding(one, language) for one in findings if item in one.criteria],
                    }
                    for item, points in section.items.items()
                ],
            }
            for name, section in sections.items()
        },
        "without_evidence": [
            item for section in sections.values() for item, points in section.items.items() if points is None
        ],
    }


def _finding(finding: Finding, language: Language) -> dict[str, Any]:
    return {
        "predicate": finding.predicate,
        "outcome": finding.outcome,
        "sentence": finding.sentence[language],
        "remedy": finding.remedy[language] if finding.remedy else None,
        "automatic": finding.automatic,
        "sources": [asdict(source) for source in finding.sources],
    }


def content(rubric: Rubric, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a template of the report needs: its facts, the words of its language, and the criteria by their id."""
    words, rows = rubric.in_words(facts["language"]), (facts["evidence"] or {}).get("levels", ())

    def place(source: Mapping[str, Any]) -> str:
        """A source: its kind unless it is a file, where it is, and its age in days."""
        what = source["what"][:DIGITS] if source["kind"] == "commit" else source["what"]
        what = what if source["line"] is None else f"{what}:{source['line']}"
        kind = "" if source["kind"] == "file" else f"{words['kind_' + source['kind']]} "
        if (days := source["age_days"]) is None:
            return f"{kind}{what}"
        age = words["age"].format(days=int(days)) if days >= 1 else words["age_today"]
        return f"{kind}{what}, {age}"

    def unknown(level: int) -> str:
        """The areas of which nothing could be judged at a level."""
        return named(name for name, area in rows[level]["areas"].items() if not area["judged"])

    def named(areas: Iterable[str]) -> str:
        return words["comma"].join(facts["areas"][name] for name in areas)

    step = (facts["evidence"] or {}).get("next_step")
    if step is None:
        gain = words["step_none"]
    elif step["after"] is None:
        gain = words["step_judge"].format(level=step["level"])
    else:
        weakest = named(rows[step["level"]]["weakest"])
        sides = {side: round(step[side]) for side in ("before", "after")}
        gain = words["step_gain"].format(level=step["level"], areas=weakest, **sides)
    return {
        **facts,
        "w": words,
        "by_id": {each["id"]: each for each in facts["criteria"]},
        "place": place,
        "unknown": unknown,
        "gain": gain,
        "step_ids": step["criteria"] if step else (),
        "width": _width,
    }


def _width(text: str) -> int:
    """About how wide a text of a badge is, in pixels; letters of East Asia are wider."""
    return sum(11 if east_asian_width(sign) in "WF" else 7 for sign in text)
