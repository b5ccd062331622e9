"""The route of a running server, seen and changed from outside: for `serving`, `deliver` and `retrain`."""

import os
from typing import Any

from mlops.base.errors import ParameterError, StoreError
from mlops.serving.client import Client, RefusedError

URL, KEY = "MLOPS_SERVER_URL", "MLOPS_ADMIN_KEY"  # variables of the environment
PLACE = "/admin/route"


class UnreachableError(StoreError):
    """The server gave no answer, or is not able to answer now."""


def connected(url: str) -> Client:
    """A client that may change the route; its key is in the environment.

    Raises:
        ParameterError: there is no key, or the address is none.
    """
    key = os.environ.get(KEY, "")
    if not key:
        raise ParameterError(f"{KEY} is not set: give it one of the keys in the server's MLOPS_ADMIN_KEYS")
    try:
        return Client(url, key)
    except ValueError as error:
        raise ParameterError(str(error)) from None


def state(server: Client) -> dict[str, Any]:
    """Who answers on the server, what was counted, and what its step waits for.

    Raises:
        StoreError: the server refuses; an UnreachableError where the same may work later.
    """
    return _asked(server, "GET")


def change(server: Client, wanted: dict[str, Any]) -> dict[str, Any]:
    """Put another route in force; it is not sent again, since it may have been made although no answer came.

    Raises:
        StoreError: the server refuses, or gives no answer.
    """
    return _asked(server, "POST", wanted)


def _asked(server: Client, method: str, content: Any = None) -> dict[str, Any]:
    try:
        found: dict[str, Any] = server.request(method, PLACE, content, repeat=content is None)
    except RefusedError as refused:
        passing = refused.status == 0 or refused.status >= 500
        raise (UnreachableError if passing else StoreError)(str(refused)) from None
    if not isinstance(found, dict) or "described" not in found:
        raise StoreError(f"{server.url} says nothing of a route: is it the model server?")
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """The state of the route for people."""
    lines = [found["described"]]
    lines += [f"since {each['at'][:19]} by {each['who']}: {each['reason']}" for each in found.get("changed", [])]
    steps = found["route"].get("steps", []) if found["route"].get("mode") == "canary" else []
    for number, served in sorted(found["requests"].items(), key=lambda one: int(one[0])):
        share = f" ({100 * steps[int(number)]:.3g} %)" if int(number) < len(steps) else ""
        name = f"step {int(number) + 1}{share}" if steps else "requests"
        lines.append(f"{name}: {', '.join(f'{count:,} to the {side}' for side, count in sorted(served.items()))}")
    for metric, by_share in sorted(found["events"].items()):
        challenger, champion = (sum(counts[place] for counts in by_share.values()) for place in (0, 1))
        lines.append(f"  {metric}: {challenger:,} of the challenger's, {champion:,} of the champion's")
    if evidence := found.get("evidence"):
        lines.append(f"evidence against the challenger: {evidence['mean']:.2g}, rolled back at {evidence['limit']:.4g}")
    if found.get("loading"):
        lines.append("the challenger is being loaded: until then the version in production answers, and nothing counts")
    if found["waits_for"]:
        lines.append(f"the step waits for: {found['waits_for']}")
    return lines + [f"refused as {variant}: {reason}" for variant, reason in sorted(found["refused"].items())]
