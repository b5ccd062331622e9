"""Requests with JSON to other programs: encrypted, bounded, repeated, no redirects, and no address in an error."""

import base64
import http.client
import ipaddress
import json
import re
import time
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, unquote, urlsplit

from mlops.base.errors import StoreError

TIMEOUT = 5.0  # seconds for a connection, and for each answer
PAUSES = (0.5, 1.5)  # seconds before the second and the third attempt
PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may be others a moment later
MOST = 20_000_000  # bytes of an answer
NO_ADDRESS = "is no web address such as https://example.org/hook"


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
        StoreError: nothing may be sent to the address, or nobody there took it; the sentence has the host at most.
    """
    if wrong := fault(url):
        raise StoreError(f"its address {wrong}")
    prepared, host = _prepared(parts(url), content, method, headers or {})
    # A proxy would read what is not encrypted, and lead away from this machine.
    opener = urllib.request.build_opener(_Stay, *([urllib.request.ProxyHandler({})] if is_here(host) else []))
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


def fault(url: str) -> str:
    """Why nothing may be sent to an address, without any part of it; "" if it may.

    The path of a webhook is as secret as a password or a token, so that all of them are encrypted on their way.
    """
    try:
        found = parts(url)
    except ValueError:
        return NO_ADDRESS
    if not re.fullmatch("[ -~]*", url.strip()) or " " in url.strip().rpartition("@")[2]:
        return NO_ADDRESS
    if found.scheme == "http" and not is_here(found.hostname or ""):
        return "is one of another machine without encryption, which anybody on the way could read: use https"
    return ""


def parts(url: str, schemes: tuple[str, ...] = ("http", "https")) -> SplitResult:
    """An address in its parts.

    Raises:
        ValueError: it is none: another scheme, no host, or a wrong port.
    """
    found = urlsplit(url.strip())
    if found.scheme not in schemes or not found.hostname or found.port == 0:
        raise ValueError("no address")
    return found


def is_here(host: str) -> bool:
    """Whether what is sent to a host does not leave this machine."""
    try:
        return host == "localhost" or ("%" not in host and ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


def reason(error: Exception) -> str:
    """Why a server could not be reached, without what may be secret: `urllib` prints addresses."""
    cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
    if isinstance(cause, TimeoutError):
        return f"did not answer within {TIMEOUT:g} s"
    said = getattr(cause, "verify_message", "") or getattr(cause, "strerror", "") or type(cause).__name__
    return f"could not be reached: {said}"


def _prepared(
    to: SplitResult, content: Any, method: str, headers: Mapping[str, str]
) -> tuple[urllib.request.Request, str]:
    """The request and the host; a user and a password in the address become a header."""
    host = to.hostname or ""  # without the port: in an address that is not encoded, that may be a part of the password
    sent = {"Content-Type": "application/json", "User-Agent": "mlops", **headers}
    if to.username is not None:
        pair = f"{unquote(to.username)}:{unquote(to.password or '')}"
        sent["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    place = to._replace(netloc=to.netloc.rpartition("@")[2], fragment="").geturl()
    data = None if content is None else json.dumps(content).encode()
    return urllib.request.Request(place, data, sent, method=method), host  # noqa: S310 – the scheme was checked


def _parsed(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:  # such as Slack's "ok"
        return None
