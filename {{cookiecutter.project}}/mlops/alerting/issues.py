"""An issue on GitHub or GitLab as long as an incident stands: opened, updated, and closed when all is well again."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from mlops.alerting import web
from mlops.base.errors import StoreError
from mlops.monitoring.incidents import Incident

LABEL = "mlops-alert"
ADDRESS = {"github": "GITHUB_API_URL", "gitlab": "CI_API_V4_URL"}  # for platforms of one's own
NEEDED = {"github": ("GITHUB_TOKEN", "GITHUB_REPOSITORY"), "gitlab": ("GITLAB_TOKEN", "CI_PROJECT_ID")}


@dataclass(frozen=True)
class Tracker:
    """Where the issues of a project are, and what the platform calls their parts."""

    issues: str
    headers: Mapping[str, str] = field(repr=False)
    opened: str
    text: str
    number: str
    comments: str
    change: str
    closing: Mapping[str, str]
    labels: Any
    labels_at: str = ""  # where a label is made, if the platform does not do so by itself

    def send(self, place: str = "", content: Any = None, *, method: str = "POST", repeat: bool = True) -> Any:
        """Ask the platform; `place` follows the address of the issues."""
        return web.request(self.issues + place, content, method=method, headers=self.headers, repeat=repeat)


def tracker(platform: str, environ: Mapping[str, str]) -> Tracker:
    """The issues of the project that the environment names, as CI sets it.

    Raises:
        StoreError: the name of the repository is none.
    """
    if platform == "github":
        base = environ.get(ADDRESS[platform]) or "https://api.github.com"
        repository, token = environ["GITHUB_REPOSITORY"], environ["GITHUB_TOKEN"]
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
            raise StoreError("GITHUB_REPOSITORY is no name such as owner/repository")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
        project = f"{base.rstrip('/')}/repos/{repository}"
        names = ("open", "body", "number", "comments", "PATCH")
        return Tracker(f"{project}/issues", headers, *names, {"state": "closed"}, [LABEL], f"{project}/labels")
    base = environ.get(ADDRESS[platform]) or "https://gitlab.com/api/v4"
    project, headers = quote(environ["CI_PROJECT_ID"], safe=""), {"PRIVATE-TOKEN": environ["GITLAB_TOKEN"]}
    at, names = f"{base.rstrip('/')}/projects/{project}/issues", ("opened", "description", "iid", "notes", "PUT")
    return Tracker(at, headers, *names, {"state_event": "close"}, LABEL)


def follow(where: Tracker, incident: Incident, title: str, text: str) -> str:
    """Let the issue of an incident say what is true now; returns what was done.

    The platform remembers which issue it is: the label, which strangers cannot set, and a comment in its text. A
    change of the title, which is one of the level, is a comment, too, because it notifies people.

    Raises:
        StoreError: the platform did not do it.
    """
    mark = f"<!-- {LABEL}: {incident.name} -->"
    text = f"{text}\n\n{mark}"
    known = where.send(f"?state={where.opened}&labels={LABEL}&per_page=100", method="GET")
    if not isinstance(known, list):
        raise StoreError("the answer is no list of issues")
    issue = next((each for each in known if mark in (each.get(where.text) or "")), None)
    if issue is None and not incident.level:
        return "no issue is open"
    if issue is None:
        if where.labels_at:
            with suppress(StoreError):  # it is there already, or the answer below lacks it
                web.request(where.labels_at, {"name": LABEL, "color": "d93f0b"}, headers=where.headers, repeat=False)
        content = {"title": title, where.text: text, "labels": where.labels}
        made = where.send(content=content, repeat=False)  # a second one would be another issue
        names = [label.get("name") if isinstance(label, dict) else label for label in made.get("labels", [])]
        lost = "" if LABEL in names else f"; it did not get the label {LABEL}, so the next alert will not find it"
        return f"opened issue {made[where.number]}{lost}"
    place, number = f"/{issue[where.number]}", issue[where.number]
    if not incident.level:
        where.send(f"{place}/{where.comments}", {"body": text}, repeat=False)
        where.send(place, where.closing, method=where.change)
        return f"closed issue {number}"
    if (issue["title"], _plain(issue[where.text])) == (title, _plain(text)):
        return f"issue {number} says so already"
    where.send(place, {"title": title, where.text: text}, method=where.change)
    if issue["title"] != title:
        where.send(f"{place}/{where.comments}", {"body": f"{title}\n\n{text}"}, repeat=False)
    return f"updated issue {number}"


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()
