"""`serving route` and `serving status`: change who answers on a running server, and see how that goes."""

import json
import os
from typing import Annotated, Any

import typer

from mlops.base import console, params, yaml
from mlops.base.errors import ParameterError, StoreError
from mlops.commands.options import AsJson, DryRun, Reason
from mlops.serving.client import Client, RefusedError

KEY = "MLOPS_ADMIN_KEY"
PLACE = "/admin/route"
Url = Annotated[str, typer.Option(help="Address of the server.")]
URL = "http://127.0.0.1:8000"


def route(
    mode: Annotated[str, typer.Argument(help="champion, ab, shadow or canary.")],
    reason: Reason,
    challenger: Annotated[str | None, typer.Option(help="Number of a version; by default the registry's.")] = None,
    share: Annotated[float | None, typer.Option(help="ab: share of the requests for the challenger.")] = None,
    steps: Annotated[str | None, typer.Option(help="canary: shares of the challenger, such as 0.01,0.05,0.25.")] = None,
    key: Annotated[str | None, typer.Option(help="Column whose value always gets the same variant.")] = None,
    step_requests: Annotated[int | None, typer.Option(help="canary: requests that pass a step.")] = None,
    step_minutes: Annotated[float | None, typer.Option(help="canary: minutes that pass a step.")] = None,
    slow_ms: Annotated[float | None, typer.Option(help="Milliseconds from which on an answer is slow.")] = None,
    url: Url = URL,
    dry_run: DryRun = False,
) -> None:
    """Change which versions answer on a running server.

    What is not given is as in the params.yaml of the server. Counts begin anew. The registry's audit log gets the
    change with its reason and the name of the key, which is taken from MLOPS_ADMIN_KEY.

    Raises:
        ParameterError: there is no key, or a value is out of range.
        StoreError: the server cannot be reached, or refuses.
    """
    given = {"share": share, "steps": _numbers(steps), "key": key}
    given |= {"step_requests": step_requests, "step_minutes": step_minutes, "slow_ms": slow_ms}
    wanted = {"route": mode, **{name: value for name, value in given.items() if value is not None}}
    yaml.validate(params.Serving, wanted, "the command", ParameterError)
    wanted |= {"challenger": challenger} if challenger else {}
    if not reason.strip():
        raise ParameterError("--reason is empty: say why, for the audit log")
    with _asking(url) as server:
        if dry_run:
            now = _asked(server, "GET")["described"]
            typer.echo(f"now: {now}\nwould be asked for: {json.dumps(wanted, ensure_ascii=False)}")
            return
        typer.echo(_asked(server, "POST", {**wanted, "reason": reason})["described"])


def status(url: Url = URL, as_json: AsJson = False) -> None:
    """Show who answers on a running server, and how a canary goes.

    The key is taken from MLOPS_ADMIN_KEY.

    Raises:
        ParameterError: there is no key.
        StoreError: the server cannot be reached, or refuses.
    """
    with _asking(url) as server:
        found = _asked(server, "GET")
    if as_json:
        console.print_json(found)
        return
    typer.echo("\n".join(_lines(found)))


def _asking(url: str) -> Client:
    key = os.environ.get(KEY, "")
    if not key:
        raise ParameterError(f"{KEY} is not set: give it one of the keys in the server's MLOPS_ADMIN_KEYS")
    try:
        return Client(url, key)
    except ValueError as error:
        raise ParameterError(str(error)) from None


def _asked(server: Client, method: str, content: Any = None) -> dict[str, Any]:
    """What the server says; a change is not sent again, since it may have been made although no answer came."""
    try:
        found: dict[str, Any] = server.request(method, PLACE, content, repeat=content is None)
    except RefusedError as refused:
        raise StoreError(str(refused)) from None
    if not isinstance(found, dict) or "described" not in found:
        raise StoreError(f"{server.url} says nothing of a route: is it the model server?")
    return found


def _numbers(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise ParameterError(f"--steps is {text}: give shares, such as 0.01,0.05,0.25") from None


def _lines(found: dict[str, Any]) -> list[str]:
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
