"""The answer of a predicate: its outcome, the case of `sentences.yaml` that says it, and where it was found."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from mlops.assessment.evidence import documents
from mlops.assessment.finding import Finding, Outcome, Source, Text

SENTENCES = Path(__file__).with_name("sentences.yaml")
SHARED = "any"  # the predicate whose cases all others have, too
LANGUAGES = ("en", "ja")
OPPOSITE: dict[Outcome, Outcome] = {"true": "false", "false": "true"}


@dataclass(frozen=True)
class Answer:
    """What a predicate found; `values` fill the gaps of its sentences."""

    outcome: Outcome
    case: str
    sources: tuple[Source, ...] = ()
    automatic: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)

    def by_hand(self) -> "Answer":
        """The same answer, given by a person once."""
        return replace(self, automatic=False)


def yes(case: str, *sources: Source, automatic: bool = False, **values: Any) -> Answer:
    """It is so."""
    return Answer("true", case, sources, automatic, values)


def no(case: str, *sources: Source, **values: Any) -> Answer:
    """It is not so."""
    return Answer("false", case, sources, values=values)


def unknown(case: str, *sources: Source, **values: Any) -> Answer:
    """What would tell cannot be read."""
    return Answer("not_available", case, sources, values=values)


def unsupported(case: str, *sources: Source, **values: Any) -> Answer:
    """It is done by a tool that is not judged here."""
    return Answer("not_supported", case, sources, values=values)


def inapplicable(case: str, *sources: Source, **values: Any) -> Answer:
    """The question makes no sense here."""
    return Answer("not_applicable", case, sources, values=values)


def finding(predicate: str, answer: Answer, criteria: tuple[str, ...]) -> Finding:
    """The finding of a predicate, in words."""
    words = {**sentences()[SHARED], **sentences().get(predicate, {})}
    case = words[answer.case]
    remedy = case.get("remedy") or (words.get("remedy") if answer.outcome != "true" else None)
    return Finding(
        predicate,
        answer.outcome,
        _filled(case, answer.values),
        answer.sources[:MOST_SOURCES],
        _filled(remedy, answer.values) if remedy else None,
        criteria,
        answer.automatic and answer.outcome == "true",
    )


def opposite(found: Finding, predicate: str, criterion: str) -> Finding:
    """The finding of a predicate that says the contrary, of the same words and sources; its remedy makes it false."""
    outcome = OPPOSITE.get(found.outcome, found.outcome)
    remedy = None if found.outcome == "true" else found.remedy
    return Finding(predicate, outcome, found.sentence, found.sources, remedy, (criterion,))


MOST_SOURCES = 5


@cache
def sentences() -> dict[str, dict[str, dict[str, Any]]]:
    """The words of every predicate and case."""
    found: dict[str, dict[str, dict[str, Any]]] = documents.from_yaml(SENTENCES.read_text(encoding="utf-8"))
    return found


def _filled(words: Mapping[str, str], values: Mapping[str, Any]) -> Text:
    shown = {name: _short(value) for name, value in values.items()}
    said = {language: str(words[language]).format_map(shown) for language in LANGUAGES}
    return said | {"en": re.sub(r"\b(?<![.,])1 days\b", "1 day", said["en"])}


def _short(value: Any) -> Any:
    """A value from a repository in a sentence: on one line, and not too long."""
    if not isinstance(value, str):
        return value
    plain = "".join(sign if sign.isprintable() else " " for sign in value)
    return plain if len(plain) <= 120 else f"{plain[:119]}…"
