"""Who answers on a model server: by its state on disk, which is only read, or by what a running server says."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlops.base.errors import StoreError
from mlops.serving import routing, state, versions
from mlops.serving.client import Client, RefusedError

KEY, URL = "MLOPS_ADMIN_KEY", "MLOPS_SERVER_URL"
PLACE = "/admin/route"
SECONDS = 3.0  # to wait for a server


def on_disk(folder: Path) -> dict[str, Any] | None:
    """The route in the state of the server in `folder`, since when, by whom and why; None if it never had one.

    Raises:
        StoreError: the state cannot be read.
    """
    path = folder / state.FILE
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=1)) as connection:
            route = state.route(connection)
            changes = state.history(connection, 1)
            served = sum(sum(each.values()) for each in state.totals(connection, route.id).values()) if route else 0
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} cannot be read ({error})") from None
    if route is None:
        return None
    at = datetime.fromtimestamp(changes[0].at, UTC).isoformat(timespec="seconds") if changes else ""
    who = {"who": changes[0].who, "reason": changes[0].reason} if changes else {"who": "", "reason": ""}
    described = routing.described(route, answering(folder))
    told = {"mode": route.mode, "challenger": route.challenger, "described": described, "since": at, **who}
    return {**told, "requests": served, "waits_for": "", "from": str(path)}


def answering(folder: Path) -> str:
    """The number of the version that the server in `folder` has as its champion; "" if its state does not say so."""
    served = versions.read(folder)
    return served.champion.number if served and served.champion else ""


def of_server(url: str, environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The route that a running server says it has.

    Raises:
        StoreError: there is no key, or the server cannot be reached or refuses.
    """
    if not (key := environ.get(KEY)):
        raise StoreError(f"{KEY} is not set, and the server at {url} tells its route to nobody else")
    try:
        with Client(url, key, timeout=SECONDS, pauses=()) as server:
            found = server.request("GET", PLACE)
        changed = (found["changed"] or [{"at": "", "who": "", "reason": ""}])[0]
        requests = sum(sum(each.values()) for each in found["requests"].values())
        told = {"mode": found["route"]["mode"], "challenger": str(found["route"].get("challenger", ""))}
        told |= {"described": found["described"], "since": changed["at"][:19]}
    except (RefusedError, ValueError) as error:
        raise StoreError(str(error)) from None
    except (KeyError, TypeError, AttributeError):
        raise StoreError(f"{url} says nothing of a route: is it the model server?") from None
    who = {"who": changed["who"], "reason": changed["reason"]}
    return {**told, **who, "requests": requests, "waits_for": found.get("waits_for", ""), "from": url}
