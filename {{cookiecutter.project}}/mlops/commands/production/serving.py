"""`serving route` and `serving status`: change who answers on a running server, and see how that goes."""

import json
from typing import Annotated

import typer

from mlops.base import console, params, yaml
from mlops.base.errors import ParameterError
from mlops.commands.options import AsJson, DryRun, Reason
from mlops.serving import admin

Url = Annotated[str, typer.Option(envvar=admin.URL, help="Address of the server.")]
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
    with admin.connected(url) as server:
        if dry_run:
            now = admin.state(server)["described"]
            typer.echo(f"now: {now}\nwould be asked for: {json.dumps(wanted, ensure_ascii=False)}")
            return
        typer.echo(admin.change(server, {**wanted, "reason": reason})["described"])


def status(url: Url = URL, as_json: AsJson = False) -> None:
    """Show who answers on a running server, and how a canary goes.

    The key is taken from MLOPS_ADMIN_KEY.

    Raises:
        ParameterError: there is no key.
        StoreError: the server cannot be reached, or refuses.
    """
    with admin.connected(url) as server:
        found = admin.state(server)
    if as_json:
        console.print_json(found)
        return
    typer.echo("\n".join(admin.lines(found)))


def _numbers(text: str | None) -> list[float] | None:
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise ParameterError(f"--steps is {text}: give shares, such as 0.01,0.05,0.25") from None
