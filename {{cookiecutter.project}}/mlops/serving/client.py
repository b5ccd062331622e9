"""A client of the model server, of Python's standard library only: copy it into a program of yours."""

import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

AGAIN = (429, 502, 503, 504)  # answers after which the same request may succeed
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before another try
LONGEST = 60.0  # seconds that a server may ask to wait
FAILURES = (OSError, http.client.HTTPException)


class RefusedError(Exception):
    """The server answered with the HTTP `status`, and with one sentence or the faults of a request as `detail`.

    A fault is `{"row": 1, "column": "tenure", "fault": "…"}`. The status is 0 if there was no answer.
    """

    def __init__(self, status: int, detail: str | list[dict[str, Any]]) -> None:
        super().__init__(detail if isinstance(detail, str) else "; ".join(str(fault["fault"]) for fault in detail))
        self.status, self.detail = status, detail


class Client:
    """One connection to a server, which is kept from request to request; `key` is an API key of it.

    `pauses` are the seconds before each further try. A `timeout` is in seconds, and for each step of a request.
    """

    def __init__(
        self,
        url: str,
        key: str = "",
        timeout: float = 60.0,
        pauses: Sequence[float] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        url = re.sub(r"//[^/\s@]*@", "//", url)  # a name and a password are not sent, and are in no sentence
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no address of a server: give one such as http://127.0.0.1:8000")
        self.url, self._path, self._pauses, self._sleep = (
            url,
            parts.path.rstrip("/"),
            PAUSES if pauses is None else pauses,
            sleep,
        )
        self._headers = {"content-type": "application/json", **({"x-api-key": key} if key else {})}
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The answers to n rows of JSON values by column name, in their order.

        Raises:
            RefusedError: the server cannot be reached, or refuses.
        """
        found = self.request("POST", "/predict", {"rows": rows})
        answers: Any = found.get("predictions") if isinstance(found, dict) else None
        if not isinstance(answers, list) or len(answers) != len(rows):
            raise RefusedError(0, f"{self.url} did not answer each of {len(rows)} rows: is it the model server?")
        return answers

    def feedback(self, labels: Sequence[tuple[str, Any]]) -> int:
        """Tell what became of predictions, each by its id and its actual value; how many the server accepted.

        The same label may be sent again: it counts once, and of several values for one id the last one.

        Raises:
            RefusedError: the server cannot be reached, or refuses.
        """
        entries = [{"prediction_id": name, "actual": actual} for name, actual in labels]
        found = self.request("POST", "/feedback", {"feedback": entries})
        if not isinstance(found, dict) or found.get("accepted") != len(labels):
            raise RefusedError(0, f"{self.url} did not accept {len(labels)} labels: is it the model server?")
        return len(labels)

    def request(self, method: str, path: str, content: Any = None, *, repeat: bool = True) -> Any:
        """The JSON that the server answers with.

        With `repeat`, a request that gets no answer, or one of `AGAIN`, is sent again after a pause: only right for one
        that changes nothing.

        Raises:
            RefusedError: the server cannot be reached, or refuses.
        """
        body = None if content is None else json.dumps(content, allow_nan=False).encode()
        pauses = iter(self._pauses if repeat else ())
        while True:
            try:
                with suppress(BrokenPipeError, ConnectionResetError):  # it may refuse before it has read everything
                    self._connection.request(method, self._path + path, body, self._headers)
                answer = self._connection.getresponse()
                text = answer.read()
            except FAILURES as error:
                self._connection.close()  # the next request opens it again
                said = str(error) or type(error).__name__
                refused, wait = RefusedError(0, f"{self.url} cannot be reached ({said}): is the server running?"), 0.0
            else:
                if answer.status < 300:
                    return _parsed(text)
                refused = RefusedError(answer.status, _detail(answer.status, text))
                if answer.status not in AGAIN:
                    raise refused
                wait = _seconds(answer.getheader("retry-after"))
            pause = next(pauses, None)
            if pause is None:
                raise refused
            self._sleep(max(pause, wait))


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise RefusedError(0, "the answer is no JSON: is it the model server?") from None


def _detail(status: int, text: bytes) -> str | list[dict[str, Any]]:
    """What the server says, or what its status means where that is no JSON, as from a proxy."""
    try:
        detail: str | list[dict[str, Any]] = json.loads(text)["detail"]
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status} {http.client.responses.get(status, '')}".rstrip()
    return detail


def _seconds(header: str | None) -> float:
    """The seconds of a header Retry-After; 0.0 without one, or where it is a date."""
    try:
        return min(max(float(header or 0), 0.0), LONGEST)
    except ValueError:
        return 0.0
