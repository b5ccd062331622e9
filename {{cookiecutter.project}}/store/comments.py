"""The comments on a pull request (GitHub) or merge request (GitLab), read and written through the host's API.

With the standard library alone: where a token may write, as little as possible is installed.
"""

import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib import error, request

from ml.errors import StoreError

SECONDS = 30  # that a host may take to answer


@dataclass(frozen=True)
class Discussion:
    """Where the comments on one request are.

    `comments` is the URL of their list, `comment` that of one but for its number, `update` the method that changes one;
    `author`, `trait` and `own` say which are one's own; `limit` is in characters; `run` is the page of this run of CI.
    """

    name: str
    comments: str
    comment: str
    update: str
    headers: dict[str, str] = field(repr=False)
    remedy: str
    author: str
    trait: str
    own: Any
    limit: int
    run: str

    def own_comments(self) -> Iterator[dict[str, Any]]:
        """The comments that this token's owner wrote, over all pages.

        Raises:
            StoreError: as `_ask`.
        """
        for page in itertools.count(1):
            found = _ask("GET", f"{self.comments}?per_page=100&page={page}", self.headers, self.remedy)
            if not found:
                return
            yield from (one for one in found if (one.get(self.author) or {}).get(self.trait) == self.own)

    def write(self, body: str, number: int | None) -> None:
        """Write a new comment, or in place of the one of that number.

        Raises:
            StoreError: as `_ask`.
        """
        method, url = (self.update, f"{self.comment}/{number}") if number else ("POST", self.comments)
        _ask(method, url, self.headers, self.remedy, {"body": body})


def discussion() -> Discussion:
    """The request that this run of CI is for, as the variables of its host name it.

    Raises:
        StoreError: there is none, or a variable is missing.
    """
    if "CI_API_V4_URL" in os.environ:
        return _on_gitlab()
    if "GITHUB_API_URL" in os.environ:
        return _on_github()
    raise StoreError(
        "there is no request to comment on (neither GITHUB_API_URL nor CI_API_V4_URL is set): run this in GitHub "
        "Actions or GitLab CI"
    )


def _on_github() -> Discussion:
    api, repository, token = _given("GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN")
    number = _number_on_github()
    return Discussion(
        name=f"pull request {number}",
        comments=f"{api}/repos/{repository}/issues/{number}/comments",
        comment=f"{api}/repos/{repository}/issues/comments",
        update="PATCH",
        headers={"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"},
        remedy="give the job `permissions: pull-requests: write`, which the run of a fork never has",
        author="user",
        trait="type",
        own="Bot",  # the token of a job cannot ask for its own name
        limit=65_536,
        run=f"{os.environ.get('GITHUB_SERVER_URL')}/{repository}/actions/runs/{os.environ.get('GITHUB_RUN_ID')}",
    )


def _number_on_github() -> int:
    if found := re.fullmatch(r"refs/pull/(\d+)/\w+", os.environ.get("GITHUB_REF", "")):
        return int(found[1])
    try:
        event = json.loads(Path(os.environ.get("GITHUB_EVENT_PATH", "")).read_text(encoding="utf-8"))
        return int(event["pull_request"]["number"])
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreError(
            "neither GITHUB_REF nor the file of GITHUB_EVENT_PATH names a pull request: run this on `pull_request`"
        ) from None


def _on_gitlab() -> Discussion:
    api, project, number, token = _given("CI_API_V4_URL", "CI_PROJECT_ID", "CI_MERGE_REQUEST_IID", "REVIEW_TOKEN")
    notes = f"{api}/projects/{project}/merge_requests/{number}/notes"
    headers = {"PRIVATE-TOKEN": token}
    remedy = "REVIEW_TOKEN has to be a valid access token of this project, with the scope api and the role Reporter"
    return Discussion(
        name=f"merge request {number}",
        comments=notes,
        comment=notes,
        update="PUT",
        headers=headers,
        remedy=remedy,
        author="author",
        trait="id",
        own=_ask("GET", f"{api}/user", headers, remedy)["id"],
        limit=1_000_000,
        run=os.environ.get("CI_PIPELINE_URL", ""),
    )


def _given(*names: str) -> list[str]:
    """The values of environment variables, the last of which is a token."""
    values = [os.environ.get(name, "").strip() for name in names]
    if missing := [name for name, value in zip(names, values, strict=True) if not value]:
        raise StoreError(f"{' and '.join(missing)} must be set in the environment to comment on a request")
    if not (values[-1].isascii() and values[-1].isprintable()):
        raise StoreError(f"{names[-1]} holds a character that no token has: set it anew, on one line")
    return values


def _ask(method: str, url: str, headers: dict[str, str], remedy: str, content: Any = None) -> Any:
    """What the host answers.

    Raises:
        StoreError: it cannot be reached, or refuses; the sentence never has the token.
    """
    data = None if content is None else json.dumps(content).encode()
    asked = request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 – CI names it
    for name, value in headers.items():
        asked.add_unredirected_header(name, value)  # no other host gets the token
    host = asked.host
    try:
        with request.urlopen(asked, timeout=SECONDS) as answer:  # noqa: S310
            return json.load(answer)
    except error.HTTPError as refused:
        hint = remedy if refused.code in (401, 403, 404) else "try again later"
        raise StoreError(f"{host} refused to {method} comments ({refused.code} {refused.reason}): {hint}") from None
    except (OSError, HTTPException) as failed:
        why = getattr(failed, "reason", failed) or type(failed).__name__
        raise StoreError(f"{host} could not be reached ({why}): try again later") from None
    except ValueError:
        raise StoreError(f"{host} answered with something else than JSON: see what stands between it and CI") from None
