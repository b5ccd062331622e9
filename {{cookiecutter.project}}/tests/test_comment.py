"""One comment with the review, whatever the host: against a server that behaves as the two APIs do."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner, Result

from ml.errors import StoreError
from ops.__main__ import app
from ops.comment import MARKER

ROOT = Path(__file__).parent.parent
TOKEN = "a-token-that-nobody-sees"  # noqa: S105
HOSTS = ("github", "gitlab")
LISTS = {"github": "/repos/ada/churn/issues/7/comments", "gitlab": "/projects/5/merge_requests/7/notes"}
ONES = {"github": "/repos/ada/churn/issues/comments/", "gitlab": "/projects/5/merge_requests/7/notes/"}
UPDATES = {"github": "PATCH", "gitlab": "PUT"}


class Host(ThreadingHTTPServer):
    """The comments of one request, and what was asked of them; `status` answers all with that code, if set."""

    def __init__(self, kind: str) -> None:
        super().__init__(("127.0.0.1", 0), Api)
        self.kind = kind
        self.comments: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.status = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, body: str, *, own: bool) -> None:
        """A comment of the token's owner, or of a person."""
        author = {"type": "Bot", "id": 1} if own else {"type": "User", "id": 2}
        self.comments.append({"id": 100 + len(self.comments), "body": body, "user": author, "author": author})


class Api(BaseHTTPRequestHandler):
    server: Host

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""

    def answer(self) -> None:
        url, kind = urlsplit(self.path), self.server.kind
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(f"{self.command} {url.path}")
        sent = self.headers["Authorization"] if kind == "github" else self.headers["PRIVATE-TOKEN"]
        if self.server.status or sent != {"github": f"Bearer {TOKEN}", "gitlab": TOKEN}[kind]:
            return self.say(self.server.status or 401, {"message": "no"})
        if kind == "gitlab" and url.path == "/user":
            return self.say(200, {"id": 1})
        if url.path == LISTS[kind] and self.command == "GET":
            page = {name: int(values[0]) for name, values in parse_qs(url.query).items()}
            start = (page["page"] - 1) * page["per_page"]
            return self.say(200, self.server.comments[start : start + page["per_page"]])
        if url.path == LISTS[kind] and self.command == "POST":
            self.server.add(json.loads(content)["body"], own=True)
            return self.say(201, self.server.comments[-1])
        found = [one for one in self.server.comments if url.path == f"{ONES[kind]}{one['id']}"]
        if found and self.command == UPDATES[kind]:
            found[0]["body"] = json.loads(content)["body"]
            return self.say(200, found[0])
        return self.say(404, {"message": "not found"})

    do_GET = do_POST = do_PATCH = do_PUT = answer  # noqa: N815

    def say(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def variables(kind: str, url: str) -> dict[str, str]:
    """What the host's runner sets for a job."""
    if kind == "github":
        return {
            "GITHUB_API_URL": url,
            "GITHUB_SERVER_URL": "https://host.invalid",
            "GITHUB_REPOSITORY": "ada/churn",
            "GITHUB_REF": "refs/pull/7/merge",
            "GITHUB_RUN_ID": "42",
            "GITHUB_TOKEN": TOKEN,
        }
    return {
        "CI_API_V4_URL": url,
        "CI_PROJECT_ID": "5",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_PIPELINE_URL": "https://host.invalid/42",
        "REVIEW_TOKEN": TOKEN,
    }


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host of either kind, whose variables are set."""
    for name in list(os.environ):
        if re.match("GITHUB_|GITLAB_|CI|REVIEW_|.*_proxy$", name):
            monkeypatch.delenv(name)
    with Host(request.param) as server:
        for name, value in variables(request.param, server.url).items():
            monkeypatch.setenv(name, value)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def review(tmp_path: Path) -> Path:
    path = tmp_path / "review.md"
    path.write_text("## accuracy 0.82\n\nbetter – *really*\n", encoding="utf-8")
    return path


def comment(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["comment", *map(str, arguments)])


def refusal(*arguments: object) -> str:
    """The sentence with which the command ends."""
    done = comment(*arguments)
    assert isinstance(done.exception, StoreError), done.output
    assert TOKEN not in str(done.exception) + done.output
    return str(done.exception)


def test_the_first_run_posts_and_every_later_one_updates_the_same_comment(host: Host, review: Path) -> None:
    first = comment(review)
    (posted,) = host.comments
    earlier = dict(posted)
    review.write_text("## accuracy 0.83\n", encoding="utf-8")
    second = comment(review)

    assert earlier["body"].startswith(f"{MARKER}\n## accuracy 0.82\n\nbetter – *really*\n")
    assert "(https://host.invalid/" in earlier["body"]
    assert host.comments == [posted]
    assert "## accuracy 0.83" in posted["body"]
    assert "0.82" not in posted["body"]
    assert first.output.startswith("posted the comment on ")
    assert second.output.startswith("updated the comment on ")


def test_the_comment_is_found_on_the_last_page_and_those_of_others_stay(host: Host, review: Path) -> None:
    for number in range(250):
        host.add(f"remark {number}", own=number % 2 == 0)
    host.add(f"{MARKER}\ncopied by a person", own=False)
    host.add(f"see: {MARKER}", own=True)
    others = [one["body"] for one in host.comments]
    host.add(f"{MARKER}\nold", own=True)

    comment(review)

    assert [one["body"] for one in host.comments[:-1]] == others
    assert "accuracy 0.82" in host.comments[-1]["body"]
    assert host.asked[-1].startswith(UPDATES[host.kind])


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(host: Host, review: Path) -> None:
    before = comment(review, "--dry-run").output
    comment(review)
    kept = json.dumps(host.comments)
    review.write_text("other", encoding="utf-8")
    after = comment(review, "--dry-run").output

    assert before.startswith("would post")
    assert after.startswith("would update")
    assert json.dumps(host.comments) == kept


def test_a_text_that_is_too_long_ends_at_a_line_and_says_so(host: Host, review: Path) -> None:
    lines = [f"| line {number} | {'–' * 60} |" for number in range(20_000)]
    review.write_text("\n".join(lines), encoding="utf-8")

    comment(review)

    _, *shown, blank, note = host.comments[0]["body"].splitlines()
    assert shown == lines[: len(shown)]
    assert blank == ""
    assert note.startswith("*Cut here")
    limit = {"github": 65_536, "gitlab": 1_000_000}[host.kind]
    assert limit - 200 < len(host.comments[0]["body"]) <= limit


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_refusal_of_the_host_is_one_sentence_without_the_token(host: Host, review: Path, status: int) -> None:
    host.status = status

    said = refusal(review)

    assert f"({status} " in said
    assert ("write" in said or "REVIEW_TOKEN" in said) == (status < 500)
    assert host.comments == []


def test_a_host_that_is_not_there_is_one_sentence(host: Host, review: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = "http://127.0.0.1:9"
    monkeypatch.setenv({"github": "GITHUB_API_URL", "gitlab": "CI_API_V4_URL"}[host.kind], gone)

    assert "127.0.0.1:9 could not be reached" in refusal(review)


def test_a_missing_variable_is_named(host: Host, review: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {
        "github": ["GITHUB_REPOSITORY", "GITHUB_TOKEN"],
        "gitlab": ["CI_PROJECT_ID", "CI_MERGE_REQUEST_IID", "REVIEW_TOKEN"],
    }
    for name in needed[host.kind]:
        with monkeypatch.context() as without:
            without.delenv(name)
            assert refusal(review).startswith(f"{name} must be set")
    assert host.asked == []


def test_a_token_of_two_lines_is_refused_unseen(host: Host, review: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = {"github": "GITHUB_TOKEN", "gitlab": "REVIEW_TOKEN"}[host.kind]
    monkeypatch.setenv(name, f"{TOKEN}\nmore")

    assert refusal(review).startswith(f"{name} holds a character")


def test_without_ci_there_is_nothing_to_comment_on(host: Host, review: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables(host.kind, ""):
        monkeypatch.delenv(name)

    assert "no request to comment on" in refusal(review)


def test_no_text_is_no_comment(host: Host, tmp_path: Path) -> None:
    (tmp_path / "empty.md").write_text(" \n", encoding="utf-8")

    assert "empty.md is empty" in refusal(tmp_path / "empty.md")
    assert "missing.md could not be read" in refusal(tmp_path / "missing.md")
    assert host.comments == []


@pytest.mark.parametrize("host", ["github"], indirect=True)
def test_the_number_may_come_from_the_event(
    host: Host, review: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = tmp_path / "event.json"
    monkeypatch.setenv("GITHUB_REF", "refs/heads/main")
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))

    event.write_text('{"pull_request": {"number": 7}}')
    posted = comment(review).output
    event.write_text("{}")

    assert posted.startswith("posted the comment on pull request 7")
    assert "names a pull request" in refusal(review)


def test_it_runs_with_nothing_installed(host: Host, review: Path) -> None:
    bare = [sys.executable, "-S", "-m", "ops.comment"]

    done = subprocess.run([*bare, str(review)], cwd=ROOT, capture_output=True, text=True, check=True)
    failed = subprocess.run([*bare, "missing.md"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stdout.startswith("posted the comment on ")
    assert "accuracy 0.82" in host.comments[0]["body"]
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: missing.md could not be read")
    assert failed.stderr.count("\n") == 1
