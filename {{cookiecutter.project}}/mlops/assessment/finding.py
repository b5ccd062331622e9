"""One finding about a repository: what was found where, what it says of the criteria, and what to do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

# As OpenSSF Scorecard has them: without access nothing is false, and a tool that is not known is not supported.
Outcome = Literal["true", "false", "not_available", "not_supported", "not_applicable", "error"]
Kind = Literal["file", "commit", "version", "workflow", "report"]
Text = Mapping[str, str]  # by language: en, ja


@dataclass(frozen=True)
class Source:
    """Where something was found: a file and line, a commit, a registry version, a workflow or a report.

    `age_days` is the age of the commit that last changed it, or of the run or version itself; None if unknown.
    """

    kind: Kind
    what: str
    line: int | None = None
    age_days: float | None = None

    def __str__(self) -> str:
        """The place and its age for a person, such as `dvc.yaml:12 (3 days)`."""
        place = self.what if self.line is None else f"{self.what}:{self.line}"
        if self.age_days is None:
            return place
        days = f"{self.age_days:.0f}"
        return f"{place} ({days} day{'' if days == '1' else 's'})"


@dataclass(frozen=True)
class Finding:
    """The answer of one predicate.

    `criteria` are the ids of the rubric that it speaks to, items of the ML Test Score among them. `automatic` says that
    a system does it again and again, which is a whole point of that score; by hand with documented results is a half.
    """

    predicate: str
    outcome: Outcome
    sentence: Text
    sources: tuple[Source, ...] = ()
    remedy: Text | None = None
    criteria: tuple[str, ...] = ()
    automatic: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
