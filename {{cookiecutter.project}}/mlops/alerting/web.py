"""Requests with JSON to other programs: bounded, repeated, without redirects, and with no address in an error."""

import base64
import http.client
import json
import time
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from mlops.base.errors import StoreError

TIMEOUT = 5.0  # seconds for a connection, and for each answer
PAUSES = (0.5, 1.5)  # seconds before the second and the third attempt
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others a moment later
MOST = 20_000_000  # bytes of an answer


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: `urllib` would drop the content, and send the token elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        """No request follows."""


def request(
    url: str,
    content: Any = None,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    repeat: bool = True,
) -> Any:
    """Send JSON, and return the JSON of the answer; None if the answer is none.

    Without `repeat` there is one attempt, because a second one could do the same twice.

    Raises:
        StoreError: the address is none, or nobody there took it; the sentence has the host, and nothing secret.
    """
    try:
        prepared, host = _prepared(url, content, method, headers or {})
    except ValueError:
        raise StoreError("its address is no web address such as https://example.org/hook") from None
    opener = urllib.request.build_opener(_Stay)
    for pause in (*(PAUSES if repeat else ()), None):
        try:
            with opener.open(prepared, timeout=TIMEOUT) as answer:
                return _parsed(answer.read(MOST))
        except HTTPError as error:
            error.close()
            failed, passing = f"{host} answered {error.code}", error.code in PASSING
        except (OSError, http.client.HTTPException, ValueError) as error:
            failed, passing = f"{host} {reason(error)}", isinstance(error, OSError)
        if pause is None or not passing:
            break
        time.sleep(pause)
    raise StoreError(failed)


def reason(error: Exception) -> str:
    """Why a server could not be reached, without what may be secret: `urllib` prints addresses."""
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, TimeoutError):
        return f"did not answer within {TIMEOUT:g} s"
    said = getattr(cause, "verify_message", "") or getattr(cause, "strerror", "") or type(cause).__name__
    return f"could not be reached: {said}"


def _prepared(url: str, content: Any, method: str, headers: Mapping[str, str]) -> tuple[urllib.request.Request, str]:
    """The request and the host; a user and a password in the address become a header.

    Raises:
        ValueError: this is no address of a web server.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.strip().isascii():
        raise ValueError("no address")
    host = parts.hostname  # without the port: in an address that is not encoded, that may be a part of the password
    sent = {"Content-Type": "application/json", "User-Agent": "mlops", **headers}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        sent["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    data = None if content is None else json.dumps(content).encode()
    return urllib.request.Request(place, data, sent, method=method), host  # noqa: S310 – the scheme was checked


def _parsed(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:  # such as Slack's "ok"
        return None
