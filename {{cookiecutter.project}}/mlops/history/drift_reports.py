"""All reports of the stage `monitor` that Git has, and the one in the work tree."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlops.base import files
from mlops.base.errors import DataError, StoreError, counted
from mlops.base.params import Monitor
from mlops.history import cache, git, paths, revisions
from mlops.monitoring import checks
from mlops.monitoring.checks import Check, Origin, Recent


@dataclass(frozen=True)
class Found:
    """The checks, oldest first, the last report as it is (None without any), and what could not be read, in sentences.

    The check of the work tree is the last one, if nobody committed it yet.
    """

    checks: list[Check]
    report: Any
    notes: list[str]


@dataclass(frozen=True)
class Newest:
    """The report on the delivery that is here, how the last deliveries were, and what both say in a sentence."""

    report: dict[str, Any]
    recent: Recent
    sentence: str
    notes: list[str]


def read() -> Found:
    """Every check: each commit in the history of HEAD that brought another report, and the work tree.

    Raises:
        StoreError: Git is not installed, or its store is damaged.
    """
    found: list[Check] = []
    notes: list[str] = []
    last = None
    for origin, text in _reports():
        try:
            report = json.loads(text or b"")
            if check := checks.check(origin, report):
                found.append(check)
                last = report
        except (ValueError, RecursionError, DataError) as error:
            said = str(error) if isinstance(error, DataError) else "it is no JSON" if text else "it cannot be read"
            at = origin.commit if origin.commit == revisions.WORK_TREE else origin.commit[:8]
            notes.append(f"{paths.DRIFT} of {at} is left out: {said}")
    return Found(found, last, notes + ([revisions.SHALLOW] if revisions.is_shallow() else []))


def newest(settings: Monitor) -> Newest:
    """The report on the delivery that is in the work tree, and the checks before as far as `settings` need them.

    Raises:
        StoreError: there is no report, or it is not the report of the delivery that is here.
    """
    return among_others(_current(), settings, _written())


def among_others(report: dict[str, Any], settings: Monitor, at: str) -> Newest:
    """A report, made `at` a time (ISO 8601), and the checks before it as far as `settings` need them.

    Raises:
        StoreError: the report cannot be used, or Git not be read.
    """
    if settings.windows == 1:
        return Newest(report, _alone(report), str(report["verdict"]), [])
    found = read()
    try:
        now = checks.check(Origin("", at), report)
    except DataError as error:
        raise StoreError(f"{paths.DRIFT} cannot be used: {error}; `dvc repro` writes it") from None
    # The report that stands may be older than the last one in the history, such as after a merge.
    recent = checks.recent([*found.checks, *([now] if now else [])], settings.windows, settings.needed)
    return Newest(report, recent, _sentence(report, recent) if now else str(report["verdict"]), found.notes)


def _alone(report: dict[str, Any]) -> Recent:
    alarm, advised = bool(report["alarm"]), bool(report["retraining"]["recommended"])
    return Recent(1, 1, int(report.get("delivery") is not None), int(alarm), int(advised), alarm, alarm and advised)


def _sentence(report: dict[str, Any], recent: Recent) -> str:
    last = counted(recent.deliveries, "delivery", "deliveries")
    said = f"{report['verdict']}; {recent.alarms} of the last {last} raised an alarm"
    if report["alarm"] and not recent.alarm:
        return f"{said}, {recent.needed} are needed"
    if report["retraining"]["recommended"] and not recent.retraining:
        return f"{said}, and {recent.recommendations} recommended retraining, {recent.needed} are needed"
    return said


def _current() -> Any:
    """The report in the work tree, if it is about the delivery, the model and the code that are there.

    Raises:
        StoreError: there is no report, or it is about something else.
    """
    report = files.read_json(paths.DRIFT)
    now = revisions.find("")
    delivery = cache.md5(paths.INCOMING) if paths.INCOMING.is_dir() else now.data(paths.INCOMING.as_posix())
    known, monitor = now.digests, now.stages.get("monitor", {})
    here = {paths.INCOMING.as_posix(): delivery, paths.DRIFT.as_posix(): cache.md5(paths.DRIFT)}
    older = [dep["path"] for dep in monitor.get("deps", []) if known[dep["path"]] != dep["md5"]]  # than the model, say
    if older or "monitor" in now.stale() or any(known.get(path) != digest for path, digest in here.items()):
        raise StoreError(f"{paths.DRIFT} is not the report of what is in {paths.INCOMING}: `dvc repro` writes it")
    return report


def _reports() -> Iterator[tuple[Origin, bytes | None]]:
    """The text of each report, None if it is damaged, with where it comes from, oldest first."""
    brought = _brought()
    # The names of the reports, then those of what tells their models: one process reads all of them.
    names = (name for commit, _, blob in brought for name in (blob, f"{commit}:./{paths.REGISTRATION.as_posix()}"))
    texts = git.contents(names)
    for commit, seconds, _ in brought:
        report, registration = next(texts), next(texts)
        yield Origin(commit, datetime.fromtimestamp(seconds, UTC).isoformat(), _model(registration)), report
    if paths.DRIFT.is_file() and not _is_committed():
        registration = paths.REGISTRATION.read_bytes() if paths.REGISTRATION.is_file() else None
        yield Origin(revisions.WORK_TREE, _written(), _model(registration)), paths.DRIFT.read_bytes()


def _brought() -> list[tuple[str, int, str]]:
    """The commits whose report is that of none of their parents: commit, time of its author, digest of the report."""
    if not git.run("rev-parse", "--verify", "--quiet", "HEAD", default=""):
        return []
    # A combined difference (-c) shows of a merge what differs from every parent.
    shown = ("--full-history", "-c", "--raw", "--no-abbrev", "--no-renames", "--format=%x1f%H %at")
    log = git.run("-c", "log.showRoot=true", "log", "--reverse", "--date-order", *shown, "--", paths.DRIFT.as_posix())
    found = []
    for entry in log.split("\x1f")[1:]:
        facts, _, difference = entry.partition("\n")
        commit, seconds = facts.split()
        raw = [line.partition("\t")[0].split() for line in difference.splitlines() if line.startswith(":")]
        found += [(commit, int(seconds), blob) for *_, blob, _ in raw if blob.strip("0")]
    return found


def _is_committed() -> bool:
    """Whether HEAD has the report of the work tree."""
    known = git.run("rev-parse", "--verify", "--quiet", f"HEAD:./{paths.DRIFT.as_posix()}", default="")
    return bool(known) and git.run("diff", "--quiet", "HEAD", "--", paths.DRIFT.as_posix(), default="differs") == ""


def _written() -> str:
    """When the report in the work tree was written."""
    return datetime.fromtimestamp(int(paths.DRIFT.stat().st_mtime), UTC).isoformat()


def _model(registration: bytes | None) -> str | None:
    """The SHA-256 of the model in the text of `reports/registration.json`; None if it does not say."""
    try:
        digest = json.loads(registration or b"")["model_digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return digest if isinstance(digest, str) else None
