"""Findings and verdicts to assess with, and the report that is made of them."""

from collections.abc import Mapping
from typing import Any

from mlops.assessment import report, rubric
from mlops.assessment.finding import Finding, Outcome, Source

RUBRIC = rubric.load()
IDS = [each.id for each in RUBRIC.criteria]
ABOUT = {
    "repository": "churn",
    "commit": "abc1234",
    "time": "2026-11-29T00:00:00+00:00",
    "demonstration": False,
    "by_evidence": True,
}


def finding(
    *criteria: str, outcome: Outcome = "true", said: str = "found", automatic: bool = False, remedy: str = ""
) -> Finding:
    """A finding with a source, about these criteria or items."""
    source = Source("file", "dvc.lock", 4, 3.2)
    mended = {"en": remedy, "ja": remedy} if remedy else None
    return Finding("looks", outcome, {"en": said, "ja": f"日本語 {said}"}, (source,), mended, criteria, automatic)


def findings(verdicts: Mapping[str, bool | None]) -> list[Finding]:
    """A finding per criterion; None is one that was not available."""
    outcomes: dict[bool | None, Outcome] = {True: "true", False: "false", None: "not_available"}
    return [finding(name, outcome=outcomes[verdict]) for name, verdict in verdicts.items()]


def made(
    found: list[Finding] | None, answers: Mapping[str, bool] | None = None, language: rubric.Language = "en"
) -> dict[str, Any]:
    """The facts of a report."""
    return report.make(RUBRIC, language, ABOUT, answers, found)
