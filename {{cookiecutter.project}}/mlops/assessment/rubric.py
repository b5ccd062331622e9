"""The rubric: criteria, levels, the ML Test Score and every word that the assessment says, read from `rubric.yaml`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from mlops.base import yaml
from mlops.base.errors import StoreError, nearest

FILE = Path(__file__).with_name("rubric.yaml")
DAMAGED = "the file is machinery and damaged, so take it back with `git checkout HEAD -- mlops/assessment/rubric.yaml`"

Language = Literal["en", "ja"]
Line = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
Percent = Annotated[float, Field(ge=0, le=100)]
Item = TypeVar("Item")
Three = Annotated[tuple[Item, ...], Field(min_length=3, max_length=3)]
Four = Annotated[tuple[Item, ...], Field(min_length=4, max_length=4)]
Seven = Annotated[tuple[Item, ...], Field(min_length=7, max_length=7)]

AREAS = ("data", "model", "deployment", "monitoring")
SECTIONS = ("data", "model", "infrastructure", "monitoring")
CRITERIA = 3  # of each area at each level


class Part(BaseModel):
    """A part of the rubric; it admits no unknown name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(Part):
    """A text in each language."""

    en: Line
    ja: Line

    def of(self, language: Language) -> str:
        """The text in one language."""
        return self.ja if language == "ja" else self.en


class Typed(Part):
    """What a person may type, in each language."""

    en: tuple[Line, ...]
    ja: tuple[Line, ...]


class Inputs(Part):
    """What a person may type instead of an answer, or as one."""

    yes: Typed
    no: Typed
    back: Typed
    skip: Typed


class Recommendation(Text):
    """What to do next; it is followed already where these criteria are met."""

    done: tuple[str, ...] = ()


class Level(Part):
    """A level: its name, for whom it is enough, what to do next, and its criteria by area."""

    name: Text
    enough: Text
    recommendations: Four[Recommendation]
    criteria: dict[str, dict[str, Text]]


class Band(Text):
    """What a score of the ML Test Score means, up to and with `to`."""

    to: float | None


class Words(dict[str, str]):
    """The words of a language by their name."""

    def __missing__(self, name: str) -> str:
        """A word that the file lacks is an error that says so."""
        raise StoreError(f"{FILE} has no word {name}: {DAMAGED}")


@dataclass(frozen=True)
class Criterion:
    """A statement that is true or not; its id is LEVEL.AREA.NAME."""

    id: str
    level: int
    area: str
    statement: Text


class Rubric(Part):
    """All of `rubric.yaml`."""

    version: Line
    threshold: Percent
    demonstration: Three[Percent]
    areas: dict[str, Text]
    levels: Three[Level]
    tests: dict[str, Seven[Text]]
    sections: dict[str, Text]
    bands: Annotated[tuple[Band, ...], Field(min_length=1)]
    inputs: Inputs
    words: dict[str, Text]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        named: list[tuple[str, Mapping[str, object], tuple[str, ...]]] = [
            ("areas", self.areas, AREAS),
            ("tests", self.tests, SECTIONS),
            ("sections", self.sections, SECTIONS),
            *((f"levels.{number}.criteria", level.criteria, AREAS) for number, level in enumerate(self.levels)),
        ]
        for place, found, expected in named:
            if tuple(found) != expected:
                raise ValueError(f"{place} has {', '.join(found)}; expected {', '.join(expected)}, in this order")
        for number, level in enumerate(self.levels):
            for area, criteria in level.criteria.items():
                if len(criteria) != CRITERIA:
                    raise ValueError(f"levels.{number}.criteria.{area} has {len(criteria)}, expected {CRITERIA}")
        known = {each.id for each in self.criteria}
        for name in (name for level in self.levels for one in level.recommendations for name in one.done):
            if name not in known:
                raise ValueError(f"a recommendation names the criterion {name}: {nearest(name, known)}")
        ends = [math.inf if band.to is None else band.to for band in self.bands]
        if ends != sorted(set(ends)) or ends[-1] != math.inf:
            raise ValueError("bands must rise, and the last one must have no end (`to: null`)")
        return self

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """The 36 criteria in the order in which they are asked."""
        return tuple(
            Criterion(f"{number}.{area}.{name}", number, area, statement)
            for number, level in enumerate(self.levels)
            for area, criteria in level.criteria.items()
            for name, statement in criteria.items()
        )

    @property
    def test_items(self) -> dict[str, Text]:
        """The 28 tests of the ML Test Score by their id, SECTION.NUMBER."""
        return {
            f"{section}.{number}": text
            for section, texts in self.tests.items()
            for number, text in enumerate(texts, start=1)
        }

    def in_words(self, language: Language) -> Words:
        """The words of a language by their name."""
        return Words({name: text.of(language) for name, text in self.words.items()})


@cache
def load(path: Path = FILE) -> Rubric:
    """Read the rubric.

    Raises:
        StoreError: the file is missing or damaged; the sentence names every fault.
    """
    content = yaml.read(path)
    try:
        return yaml.validate(Rubric, content, path.name, StoreError)
    except StoreError as error:
        raise StoreError(f"{error}: {DAMAGED}") from None
