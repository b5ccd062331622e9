"""`ingest --from-predictions`: which period of the prediction log becomes a delivery."""

import time
from datetime import UTC, datetime
from pathlib import Path

from mlops.base import files
from mlops.base.errors import ParameterError, ProjectError, StoreError
from mlops.serving.delivery import NOTHING_NEW, Period

# Up to when the log has been ingested; the file stands with the log, for another machine has another log.
INGESTED = "ingested.json"
SETTLED = 0.2  # seconds between the time in a record and its line in the log, at the most


def period(folder: Path, since: str | None, until: str | None, variant: str | None) -> Period:
    """The period of the log in `folder` that is asked for: from the end of the last one that was ingested, until now.

    It ends now even if `until` is later.

    Raises:
        ParameterError: a time is none of ISO 8601, or the period ends before it begins.
        StoreError: the file that has the end of the last period cannot be read.
    """
    now = datetime.now(UTC)
    now = now.replace(microsecond=now.microsecond // 1000 * 1000)  # the log has milliseconds
    start = moment("--since", since) if since else _last(folder)
    end = min(moment("--until", until), now) if until else now
    if start and start >= end:
        raise ParameterError(
            f"{NOTHING_NEW[1]} {end.isoformat()}, and begins at {start.isoformat()}"
            f"{'' if since else ', the end of the last one that was ingested'}: give an earlier --since, or a later "
            "--until"
        )
    if (wait := (end - now).total_seconds() + SETTLED) > 0:
        time.sleep(wait)  # lines of this period may be on their way
    return Period(start, end, variant or "")


def remember(folder: Path, period: Period) -> None:
    """Keep the end of a period that was ingested, from which the next one goes on; a later end stays.

    Raises:
        StoreError: it cannot be written.
    """
    end = max(filter(None, (period.until, _last(folder))))
    files.write_json(folder / INGESTED, {"until": end.isoformat()})


def _last(folder: Path) -> datetime | None:
    path = folder / INGESTED
    try:
        return datetime.fromisoformat(files.read_json(path)["until"]).astimezone(UTC) if path.exists() else None
    except (ProjectError, KeyError, TypeError, ValueError):
        raise StoreError(
            f"{path} does not say up to when the log was ingested: delete it, and say with --since where to begin"
        ) from None


def moment(option: str, text: str) -> datetime:
    """The time that an option gives, in UTC if it names no zone.

    Raises:
        ParameterError: it is none of ISO 8601.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(
            f"{option} is {text}, which is no time: give one of ISO 8601 (in UTC, if it names no zone), such as "
            "2026-11-01 or 2026-11-01T08:00+01:00"
        ) from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
