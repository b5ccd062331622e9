"""The channels that carry a message: log, webhook, Slack, e-mail, and the text file for Prometheus."""

import re
import smtplib
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import typer

from mlops.alerting import web
from mlops.base import files
from mlops.base.errors import StoreError
from mlops.base.params import Alerts
from mlops.monitoring.incidents import Incident, Level

WEBHOOK, SLACK, SMTP = "MLOPS_ALERT_WEBHOOK", "MLOPS_ALERT_SLACK", "MLOPS_SMTP_URL"
MAIL = ("smtp", "smtps")


@dataclass(frozen=True)
class Message:
    """What is told of an incident: the `step` that it made, and its `text` in plain lines, the title first."""

    project: str
    step: str
    incident: Incident
    title: str
    text: str
    time: str


def log(message: Message) -> None:
    """Write one line to standard error, where cron, systemd and CI keep it."""
    incident = message.incident
    title, _, rest = message.text.partition("\n")
    said = f"{title}: {' '.join(rest.split())}" if rest else title
    typer.echo(f"ALERT {message.time} {incident.name} {message.step}, {incident.level.name}: {said}", err=True)


def webhook(message: Message, url: str) -> None:
    """Post the message as JSON.

    Raises:
        StoreError: nobody took it.
    """
    facts: dict[str, Any] = {"project": message.project, "time": message.time, "step": message.step}
    web.request(url, {**facts, **asdict(message.incident), "level": message.incident.level.name})


def slack(message: Message, url: str) -> None:
    """Post the message in the form of Slack's incoming webhooks, which Mattermost and others read, too.

    Raises:
        StoreError: nobody took it.
    """
    title, _, rest = message.text.partition("\n")
    escaped = [part.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for part in (title, rest)]
    web.request(url, {"text": f"*{message.project}: {escaped[0]}*\n{escaped[1]}".strip()})


def email(message: Message, url: str, settings: Alerts) -> int:
    """Send the message by SMTP: `smtp://user:password@host:587` (with STARTTLS) or `smtps://…`.

    Returns how many of several recipients the server refused.

    Raises:
        StoreError: the address is none, or the server did not take the message.
    """
    if wrong := mail_fault(url):
        raise StoreError(f"{SMTP} {wrong}")
    parts = web.parts(url, MAIL)
    host = parts.hostname or ""
    sender = settings.email_from or settings.email_to[0]
    mail = EmailMessage()
    mail["Subject"] = f"[{message.project}] {message.title}"
    mail["From"], mail["To"] = sender, ", ".join(settings.email_to)
    domain = sender.rpartition("@")[2]
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=domain)
    mail["Auto-Submitted"] = "auto-generated"  # so that no answering machine answers
    mail.set_content(message.text + "\n")
    for pause in (*web.PAUSES, None):
        try:
            return _sent(mail, parts.scheme, host, parts.port, (parts.username, parts.password), domain)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            failed, passing = f"{host} refused all recipients ({len(codes)})", all(map(_is_passing, codes))
        except smtplib.SMTPResponseException as error:
            failed, passing = f"{host} answered {error.smtp_code}", _is_passing(error.smtp_code)
        except smtplib.SMTPServerDisconnected:
            failed, passing = f"{host} ended the connection", True
        except smtplib.SMTPException as error:
            failed, passing = f"{host} cannot do that: {type(error).__name__}", False
        except (OSError, ValueError) as error:
            failed, passing = f"{host} {web.reason(error)}", isinstance(error, OSError)
        if pause is None or not passing:
            break
        time.sleep(pause)
    raise StoreError(failed)


def mail_fault(url: str) -> str:
    """Why no mail can be sent by an address, without any part of it; "" if one can."""
    try:
        web.parts(url, MAIL)
    except ValueError:
        return "is no address such as smtp://user:password@example.org:587"
    return ""


def _is_passing(code: int) -> bool:
    """Whether an answer of a mail server may be another one a moment later (RFC 5321, section 4.2.1)."""
    return code // 100 == 4


def _sent(
    mail: EmailMessage, scheme: str, host: str, port: int | None, login: tuple[str | None, str | None], domain: str
) -> int:
    """Send a mail; returns how many recipients were refused."""
    user, password = (unquote(part) if part else "" for part in login)
    context = ssl.create_default_context()
    if scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port or 465, domain, timeout=web.TIMEOUT, context=context)
    else:
        server = smtplib.SMTP(host, port or (587 if user else 25), domain, timeout=web.TIMEOUT)
    try:
        server.ehlo_or_helo_if_needed()
        if scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=context)
        elif scheme == "smtp" and user and not web.is_here(host):
            raise StoreError(f"{host} offers no encryption, so the password was not sent")
        if user:
            server.login(user, password)
        return len(server.send_message(mail))
    finally:
        with suppress(OSError, smtplib.SMTPException):  # the message is on its way by now, or the error is another one
            server.quit()


def textfile(path: Path, project: str, incidents: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the state of all incidents for the textfile collector of Prometheus' node exporter.

    Raises:
        StoreError: the file cannot be written.
    """
    help_of = {
        "level": f"State of an incident: {', '.join(f'{level.value} {level.name}' for level in Level)}.",
        "checked_timestamp_seconds": "When the state was looked at last.",
    }
    samples: dict[str, list[str]] = {}
    for name, state in sorted(incidents.items()):
        labels = "{" + f'project="{_label(project)}",incident="{_label(name)}"' + "}"
        for metric, value in {**state["numbers"], "level": state["level"], **_checked(state)}.items():
            samples.setdefault(re.sub(r"\W", "_", metric, flags=re.ASCII), []).append(f"{labels} {float(value)!r}")
    lines = []
    for metric, values in sorted(samples.items()):
        full = f"mlops_alert_{metric}"
        lines += [f"# HELP {full} {help_of.get(metric, metric.replace('_', ' ').capitalize() + '.')}"]
        lines += [f"# TYPE {full} gauge", *(f"{full}{value}" for value in values)]
    files.write_text(path, "\n".join(lines) + "\n")


def _checked(state: Mapping[str, Any]) -> dict[str, float]:
    return {"checked_timestamp_seconds": state["checked"]}


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
