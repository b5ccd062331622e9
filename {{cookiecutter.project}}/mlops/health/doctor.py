"""All checks side by side, and the safe repairs one after the other."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from mlops.base import environment
from mlops.base.errors import ProjectError
from mlops.health import (
    credentials,
    leftovers,
    machine,
    machinery,
    probes,
    repository,
    settings,
    storage,
    tracking,
    versions,
)
from mlops.health.finding import Finding

Check = Callable[[datetime], Iterator[Finding]]
# In the order in which they are told; by the name of what is looked at.
CHECKS: dict[str, Check] = {
    "environment": machine.check_environment,
    "settings": settings.check,
    "machinery": machinery.check,
    "Git": repository.check,
    "DVC": storage.check,
    "DVC remote": storage.check_remote,
    "registry": tracking.check,
    "in production": versions.check,
    "clock": tracking.check_clock,
    "credentials": credentials.check,
    "room": machine.check_room,
    "file system": machine.check_file_system,
    "leftovers": leftovers.check,
}
DEADLINE = 40.0  # seconds for all of them
# Of a network: an answer has five seconds, which its sockets see to. This is for what hangs elsewhere, such as a drive
# that is gone; on a busy machine, the libraries of a remote alone can take ten seconds to be imported.
NETWORK_SECONDS = 25.0
SHOW = "python -m mlops registry show"
NETWORK = {"DVC remote": "dvc status --cloud", "registry": SHOW, "in production": SHOW, "clock": "date"}
ORDER = {"fault": 0, "warning": 1, "unknown": 2, "fine": 3}


def examine(now: datetime, only: Sequence[str] = ()) -> Iterator[tuple[str, list[Finding]]]:
    """The findings of each check (all, or `only` some), as they are done; no secret is in any of them."""
    chosen = {name: check for name, check in CHECKS.items() if not only or name in only}
    secrets = credentials.known()
    jobs = {name: partial(_findings, name, check, now) for name, check in chosen.items()}
    for name, found in probes.together(jobs, DEADLINE):
        several = _failed(name, found) if isinstance(found, Exception) else found
        yield name, [_hidden(finding, secrets) for finding in several]


def _findings(name: str, check: Check, now: datetime) -> list[Finding]:
    """What a check finds; if it fails, what it had found before counts."""

    def several() -> list[Finding]:
        told: list[Finding] = []
        try:
            told += check(now)  # one by one
        except Exception as error:
            told += _failed(name, error)
        return told

    return probes.within(NETWORK_SECONDS, several) if name in NETWORK else several()


def _failed(name: str, error: Exception) -> list[Finding]:
    """A check that could not be made: no fault of the project's, unless it says so."""
    if isinstance(error, TimeoutError) and name in NETWORK:
        return [Finding(name, "fault", f"no answer within {NETWORK_SECONDS:g} s", NETWORK[name])]
    if isinstance(error, TimeoutError):
        return [Finding(name, "unknown", "no answer within the time that a look may take")]
    if isinstance(error, ProjectError):
        return [Finding(name, "unknown", str(error))]
    if isinstance(error, ImportError) and (said := environment.unusable(error)):
        return [Finding(name, "unknown", said, environment.install())]
    reason = error.strerror if isinstance(error, OSError) and error.strerror else f"failed with {type(error).__name__}"
    return [Finding(name, "unknown", f"could not be looked at: {reason}")]


def _hidden(finding: Finding, secrets: set[str]) -> Finding:
    sentence, command = (credentials.hidden(text, secrets) for text in (finding.sentence, finding.command))
    figures = credentials.hidden_everywhere(dict(finding.figures), secrets)
    return replace(finding, sentence=sentence, command=command, figures=figures)


def in_order(found: dict[str, list[Finding]]) -> list[Finding]:
    """All findings, the worst first, and within them in the order of the checks."""
    several = [finding for name in CHECKS for finding in found.get(name, [])]
    return sorted(several, key=lambda finding: ORDER[finding.state])


def repair(found: dict[str, list[Finding]]) -> Iterator[tuple[Finding, str]]:
    """Do every safe repair; gives the finding, and why it could not be repaired ("" if it was)."""
    secrets = credentials.known()
    for finding in in_order(found):
        if finding.repair:
            try:
                finding.repair.do()
            except (ProjectError, OSError) as error:
                yield finding, credentials.hidden(str(error), secrets)
            else:
                yield finding, ""
