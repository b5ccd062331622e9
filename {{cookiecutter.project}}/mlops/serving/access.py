"""What stands before the endpoints of the server: who asks, how often, and what is written down of it."""

import logging
import re
import secrets
import select
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from mlops.serving import keys
from mlops.serving.metrics import Metrics
from mlops.serving.prediction_log import timestamp
from mlops.serving.request import JSON
from mlops.serving.to_json import to_json

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]
# Asked by machines that have no key; they tell nothing of a row.
OPEN = {"/health", "/ready", "/metrics", "/docs", "/openapi.json", "/v2", "/v2/health/live", "/v2/health/ready"}
IDENTITY = re.compile(r"[A-Za-z0-9._-]{1,64}")  # of a request, if the client gives one
LONGEST_PATH = 500  # characters in the access log; a pipe with room takes a line of 4096 bytes without waiting
SAYS = logging.getLogger("mlops.serving")


def answer(content: Any, status: int = 200) -> Response:
    """A response with JSON."""
    return Response(to_json(content), status, media_type=JSON)


class Access:
    """Around every request: its id, its key, its metrics, its line in the access log, and no trace of a failure.

    `straight` are endpoints by method and path that are called without the framework around them, which takes as long
    as a prediction; `limit` is in requests a second of each key.
    """

    def __init__(self, app: Any, straight: Mapping[tuple[str, str], Endpoint], metrics: Metrics, limit: float) -> None:
        self.app, self.straight, self.metrics = app, straight, metrics
        self.known, self.admins = keys.named(keys.API_KEYS), keys.named(keys.ADMIN_KEYS)
        self.limit = keys.Limit(limit)
        self._has_room = _room(sys.stdout)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, path = time.perf_counter(), scope["path"]
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("ascii", "replace")
        identity = given if IDENTITY.fullmatch(given) else secrets.token_hex(8)
        scope["identity"], scope["content_type"] = identity, headers.get(b"content-type", b"").decode("latin-1")
        status = 500
        began = False

        async def tell(message: Any) -> None:
            nonlocal status, began
            if message["type"] == "http.response.start":
                status, began = message["status"], True
                message["headers"] = [*message["headers"], (b"x-request-id", identity.encode())]
            await send(message)

        who = endpoint = None
        try:
            who, refusal = self._admitted(path, headers.get(keys.HEADER.encode(), b"").decode("latin-1"), start)
            scope["who"] = who
            endpoint = self.straight.get((scope["method"], path))
            if refusal:
                await refusal(scope, receive, tell)
            elif endpoint:
                response = await endpoint(Request(scope, receive))
                await response(scope, receive, tell)
            else:
                await self.app(scope, receive, tell)
        except ClientDisconnect:
            status = 499  # as nginx calls it: nobody is there to be answered
        except Exception:
            SAYS.exception("request %s failed", identity)
            if not began:
                await answer({"detail": f"the request failed; the server's log says why, under {identity}"}, 500)(
                    scope, receive, tell
                )
        finally:
            seconds = time.perf_counter() - start
            # The path itself may be anything, and each would be a series of its own.
            known = path if endpoint else getattr(scope.get("route"), "path", "")
            self.metrics.requests(known, str(status)).inc()
            self.metrics.seconds(known).observe(seconds)
            self._log(scope, status, seconds, identity, who)

    def _admitted(self, path: str, given: str, now: float) -> tuple[str | None, Response | None]:
        """Whose key was given, and the refusal if it does not open this path."""
        if path.startswith("/admin"):
            if not self.admins:
                return None, answer({"detail": f"no key opens this: start the server with {keys.ADMIN_KEYS}"}, 403)
            who = keys.owner(self.admins, given)
            problem = f"the header {keys.HEADER} has to hold a key of {keys.ADMIN_KEYS}"
        elif self.known and path not in OPEN:
            who, problem = keys.owner(self.known, given), f"the header {keys.HEADER} has to hold a key"
        else:
            return None, None
        if who is None:
            return None, answer({"detail": problem}, 401)
        if wait := self.limit.wait(who, now):
            refused = answer({"detail": f"the key {who} has asked too often: try again in {wait:.1f} s"}, 429)
            refused.headers["retry-after"] = str(int(wait) + 1)
            return who, refused
        return who, None

    def _log(self, scope: Any, status: int, seconds: float, identity: str, who: str | None) -> None:
        line = {
            "time": timestamp(),
            "request": identity,
            "method": scope["method"],
            "path": scope["path"][:LONGEST_PATH],
            "status": status,
            "ms": round(1000 * seconds, 3),
            "client": scope["client"][0] if scope["client"] else None,
            "key": who,
        }
        try:
            if self._has_room():
                sys.stdout.write(to_json(line).decode() + "\n")
                return
        except (OSError, ValueError):  # who read it has gone, the disk is full, or it is closed
            pass
        self.metrics.access_drops.inc()


def _room(stream: Any) -> Callable[[], bool]:
    """Whether a line can be written to a stream at once: a pipe that nobody reads must not hold up the answers."""
    try:
        waiting = select.poll()
        waiting.register(stream, select.POLLOUT)
    except (AttributeError, OSError, ValueError):  # on another system, or no file
        return lambda: True
    return lambda: bool(waiting.poll(0))
