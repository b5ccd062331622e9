"""Look at something that may never answer: in a thread, for a bounded time, and without retries."""

import base64
import importlib
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit

from mlops.alerting import web
from mlops.base.errors import StoreError

T = TypeVar("T")
SECONDS = 5.0  # that one look at a network may take
SHARED = ("dvc.config", "psutil")  # modules that several jobs import
MOST = 5_000_000  # bytes of an answer


@dataclass(frozen=True)
class Answer:
    """What an HTTP server answered: its status, the text, and by how many seconds its clock is ahead, if it says so."""

    status: int
    text: str
    ahead: float | None

    @property
    def json(self) -> Any:
        """The content.

        Raises:
            StoreError: it is no JSON.
        """
        try:
            return json.loads(self.text)
        except ValueError:
            raise StoreError("its answer is no JSON") from None


class _Stay(urllib.request.HTTPRedirectHandler):
    """No redirect is followed: `urllib` would send the account along, to another host."""

    def redirect_request(self, *_: Any) -> None:
        """No request follows."""


def get(url: str, headers: Mapping[str, str] | None = None, content: Any = None, method: str | None = None) -> Answer:
    """Ask an HTTP server once; a user and a password in the address are sent as a header.

    Raises:
        StoreError: it did not answer; the sentence has neither address nor password.
    """
    parts = urlsplit(url)
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    sent = dict(headers or {})
    if parts.username:
        sent |= basic(unquote(parts.username), unquote(parts.password or ""))
    body = None if content is None else json.dumps(content).encode()
    if body:
        sent["Content-Type"] = "application/json"
    begun = time.time()
    try:
        if parts.scheme not in ("http", "https"):
            raise StoreError("its address is none of the web")
        asked = urllib.request.Request(place, body, sent, method=method)  # noqa: S310 – the scheme is looked at above
        near = [urllib.request.ProxyHandler({})] if web.is_here(parts.hostname or "") else []
        with urllib.request.build_opener(_Stay, *near).open(asked, timeout=SECONDS) as answer:
            return Answer(answer.status, _text(answer), _ahead(answer.headers.get("date"), begun))
    except HTTPError as error:
        with error:
            return Answer(error.code, _text(error), _ahead(error.headers.get("date"), begun))
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        said = "no answer in time" if isinstance(reason, TimeoutError) else getattr(reason, "strerror", None)
        raise StoreError(f"{said or type(reason).__name__}") from None


def basic(user: str, password: str) -> dict[str, str]:
    """The header that says who asks (RFC 7617)."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _text(answer: Any) -> str:
    return str(answer.read(MOST).decode("utf-8", errors="replace"))


def _ahead(date: str | None, begun: float) -> float | None:
    """By how many seconds a clock is ahead of this one; a header has whole seconds, and the answer took some time."""
    try:
        told = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError):
        return None
    return told + 0.5 - (begun + time.time()) / 2


def within(seconds: float, job: Callable[[], T]) -> T:
    """The result of a job that ends in time.

    Raises:
        Exception: that of the job; a TimeoutError if it does not end within `seconds`.
    """
    [(_, found)] = together({"": job}, seconds)
    if isinstance(found, Exception):
        raise found
    return found


def together(jobs: Mapping[str, Callable[[], T]], seconds: float) -> Iterator[tuple[str, T | Exception]]:
    """Run jobs side by side, and give the result or the error of each as it comes; what is late is a TimeoutError.

    The threads are daemons: one that hangs, such as in a name server or on a network drive, does not keep the process.
    """
    for module in SHARED:  # threads that import the same module at once may get half of it
        importlib.import_module(module)
    results: dict[str, T | Exception] = {}
    news = threading.Condition()

    def run(name: str, job: Callable[[], T]) -> None:
        found: T | Exception
        try:
            found = job()
        except Exception as error:  # of any library that was asked
            found = error
        with news:
            results[name] = found
            news.notify()

    for each in jobs.items():
        threading.Thread(target=run, args=each, daemon=True).start()
    end, given = time.monotonic() + seconds, 0
    while given < len(jobs):
        with news:
            news.wait_for(lambda: len(results) > given, max(end - time.monotonic(), 0))  # noqa: B023 – asked at once
            ready = list(results.items())[given:]  # in the order in which they came
        if not ready:
            yield from ((name, TimeoutError()) for name in jobs if name not in results)
            return
        yield from ready
        given += len(ready)
