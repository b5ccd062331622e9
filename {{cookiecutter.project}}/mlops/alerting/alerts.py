"""Alerts: tell an incident to the channels of params.yaml, each what it does not know yet, and never fail for that."""

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from mlops.alerting import channels, issues, web
from mlops.alerting.channels import Message
from mlops.base import files, locks, pages, params
from mlops.base.errors import ParameterError, ProjectError
from mlops.base.params import Alerts
from mlops.monitoring import incidents
from mlops.monitoring.incidents import Incident, Level, Told

STATE = Path(".mlops/alerts.json")  # what each channel was told last; ignored by Git
WAIT = 60  # seconds for another process that tells
DEADLINE = 30.0  # seconds for all channels together, however slow a name server or a mail server is
FOLLOWING = ("issue", "textfile")  # channels that show a state, and so are brought up to date each time
ADDRESS = {"webhook": channels.WEBHOOK, "slack": channels.SLACK, "email": channels.SMTP}


@dataclass(frozen=True)
class Outcome:
    """What became of one channel: the `step` that it was told (None: nothing was due), and a note in words."""

    channel: str
    step: str | None
    failed: bool
    note: str


def require(settings: Alerts, environ: Mapping[str, str] = os.environ) -> None:
    """Check that the environment has the addresses and tokens of the configured channels.

    Raises:
        ParameterError: a variable is not set, is no address, or one without encryption; all of them are named.
    """
    if found := [sentence for name in configured(settings) if (sentence := _wrong(name, settings, environ))]:
        raise ParameterError(f"{params.FILE}: {'; '.join(found)}")


def configured(settings: Alerts) -> list[str]:
    """The names of the channels."""
    shown = {"issue": settings.issue != "none", "textfile": bool(settings.textfile)}
    return [*dict.fromkeys(settings.channels), *(name for name in FOLLOWING if shown[name])]


def tell(
    incident: Incident, settings: Alerts, project: str, *, dry_run: bool = False, now: datetime | None = None
) -> list[Outcome]:
    """Tell all channels what they do not know yet of an incident; level `ok` ends it.

    A channel that fails is told at the next call, and costs neither the others nor the caller anything: no error is
    raised. The call takes DEADLINE seconds at most, and WAIT more while another process tells.
    """
    now, outcomes = now or datetime.now(UTC), []
    with ExitStack() as stack:
        if not dry_run:
            try:
                STATE.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locks.exclusive(STATE.with_suffix(".lock"), "another process tells alerts", WAIT))
            except (OSError, ProjectError) as error:
                outcomes.append(Outcome("memory", None, failed=True, note=f"an alert may come twice: {error}"))
        state = _state()
        known = state.setdefault(incident.name, {"told": {}})
        known |= {"level": int(incident.level), "numbers": dict(incident.numbers), "checked": now.timestamp()}
        jobs: dict[str, Callable[[], str]] = {}
        steps: dict[str, str | None] = {}
        for name in configured(settings):
            told = _told(known["told"].get(name))
            steps[name] = incidents.due(incident, told, now, timedelta(hours=settings.cooldown_hours))
            if steps[name] or name in FOLLOWING:
                message = _message(incident, steps[name] or "unchanged", project, now)
                jobs[name] = partial(_carry, name, message, settings, state)
            else:
                outcomes.append(Outcome(name, None, failed=False, note=_nothing_due(incident, told)))
        if dry_run:
            return [*outcomes, *(Outcome(name, steps[name], failed=False, note="would be told") for name in jobs)]
        for name, (done, note) in _together(jobs).items():
            outcomes.append(Outcome(name, steps[name], failed=not done, note=note))
            if done:
                known["told"][name] = {"level": int(incident.level), "fact": incident.fact, "at": now.isoformat()}
        try:
            files.write_json(STATE, state)
        except ProjectError as error:
            outcomes.append(Outcome("memory", None, failed=True, note=f"an alert may come twice: {error}"))
    return outcomes


def _carry(name: str, message: Message, settings: Alerts, state: Mapping[str, Any]) -> str:
    """Bring a message to a channel; returns what was done.

    Raises:
        ProjectError: it did not arrive.
    """
    if wrong := _wrong(name, settings, os.environ):
        raise ParameterError(wrong)
    if name == "log":
        channels.log(message)
    elif name == "webhook":
        channels.webhook(message, os.environ[channels.WEBHOOK])
    elif name == "slack":
        channels.slack(message, os.environ[channels.SLACK])
    elif name == "email":
        refused, of = channels.email(message, os.environ[channels.SMTP], settings), len(settings.email_to)
        if refused:
            return f"told ({message.step}), but the mail server refused {refused} of {of} recipients"
    elif name == "textfile":
        channels.textfile(Path(settings.textfile), message.project, state)
        return "written"
    else:
        text = pages.filled("alert.md", details=message.incident.details).strip()
        where = issues.tracker(settings.issue, os.environ)
        return issues.follow(where, message.incident, f"{message.project}: {message.title}", text)
    return f"told ({message.step})"


def _together(jobs: Mapping[str, Callable[[], str]]) -> dict[str, tuple[bool, str]]:
    """Run the jobs side by side; for each, whether it succeeded, and what it says.

    The threads are daemons: one that hangs, such as in a name server, does not keep the process.
    """
    results: dict[str, tuple[bool, str]] = {}

    def run(name: str, job: Callable[[], str]) -> None:
        try:
            results[name] = (True, job())
        except ProjectError as error:
            results[name] = (False, str(error))
        except Exception as error:  # a channel never costs the run anything; text of unknown errors may hold an address
            results[name] = (False, f"failed with {type(error).__name__}")

    threads = [threading.Thread(target=run, args=job, daemon=True) for job in jobs.items()]
    for thread in threads:
        thread.start()
    end = datetime.now(UTC) + timedelta(seconds=DEADLINE)
    for thread in threads:
        thread.join(max((end - datetime.now(UTC)).total_seconds(), 0))
    late = (False, f"did not end within {DEADLINE:g} s")
    return {name: results.get(name, late) for name in jobs}


def _message(incident: Incident, step: str, project: str, now: datetime) -> Message:
    """The message in plain lines, without signs that nobody sees or that steer a terminal."""
    lines = [" ".join(line.split()) for line in (incident.title, *incident.details)]
    text = pages.filled("alert.txt", title=lines[0], details=lines[1:]).strip()
    return Message(project, step, incident, text.partition("\n")[0], text, now.isoformat(timespec="seconds"))


def _wrong(name: str, settings: Alerts, environ: Mapping[str, str]) -> str:
    """What the environment lacks for a channel, or which address cannot be used, in a sentence; "" if all is well."""
    needed: Sequence[str] = issues.NEEDED.get(settings.issue, ()) if name == "issue" else ()
    needed = [ADDRESS[name]] if name in ADDRESS else needed
    missing = [variable for variable in needed if not environ.get(variable)]
    what = f"alerts.issue is {settings.issue}" if name == "issue" else f"alerts.channels has {name}"
    if missing:
        return f"{what}, but the environment lacks {' and '.join(missing)}"
    variable = issues.ADDRESS.get(settings.issue, "") if name == "issue" else ADDRESS.get(name, "")
    address = environ.get(variable)  # that of a platform has a default
    found = (channels.mail_fault if name == "email" else web.fault)(address) if address else ""
    return f"{what}, but {variable} {found}" if found else ""


def _nothing_due(incident: Incident, told: Told | None) -> str:
    if not incident.level:
        return "nothing to tell"
    return "told already" if told and told.fact == incident.fact else "held back, since it was told a short while ago"


def _state() -> dict[str, dict[str, Any]]:
    """What is remembered of each incident; nothing if the file is missing or broken."""
    try:
        found = json.loads(STATE.read_text(encoding="utf-8"))
        for each in found.values():
            for told in each["told"].values():
                _told(told)
            float(each["checked"]), Level(each["level"]), {name: float(n) for name, n in each["numbers"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return dict(found)


def _told(found: Mapping[str, Any] | None) -> Told | None:
    if found is None:
        return None
    at = datetime.fromisoformat(found["at"])
    return Told(Level(found["level"]), str(found["fact"]), at if at.tzinfo else at.replace(tzinfo=UTC))
