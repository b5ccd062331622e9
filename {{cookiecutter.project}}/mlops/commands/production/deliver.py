"""`deliver`: bring what is checked out into production, by a canary on the running server."""

import sys
from contextlib import ExitStack
from typing import Annotated, Any

import typer

from mlops.base import console, pages
from mlops.base.errors import ParameterError
from mlops.commands.options import AsJson, DryRun
from mlops.rollout import flow
from mlops.rollout.canary import Watch
from mlops.serving import admin


def deliver(
    url: Annotated[str, typer.Option(envvar=admin.URL, help="Address of the model server.")] = "",
    no_canary: Annotated[bool, typer.Option("--no-canary", help="Promote at once, without a server.")] = False,
    reproduce: Annotated[bool, typer.Option("--reproduce", help="First make a version again that nobody has.")] = False,
    limit: Annotated[float, typer.Option(min=0, help="Minutes to watch for; the canary goes on after that.")] = 240.0,
    poll: Annotated[float, typer.Option(min=0.05, help="Seconds between two looks at the server.")] = 5.0,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring what is checked out into production, by a canary.

    The result is recorded as `sync` does. Its version has to be approved, as for `promote`. The running server then
    gives it a growing share of the requests, and promotes it or rolls it back. The key of the server is taken from
    MLOPS_ADMIN_KEY. The first version of all, which needs no server, and one with --no-canary is promoted at once. What
    was interrupted goes on with the same command. From a branch that is not the main one, a line on standard error says
    so.

    The report is Markdown, which a terminal shows as text. The exit code is 0 if the version is in production, and 3 if
    it was rolled back, waits for a person, or is not decided yet.

    Raises:
        ParameterError: a version is in production, and there is no address or no key of the server.
        StoreError: another delivery is running here, or a step failed.
    """
    if no_canary and url:
        raise ParameterError("give the address of a model server, or --no-canary, and not both")
    if not (no_canary or url) and (live := flow.in_production()):
        raise ParameterError(
            f"{admin.URL} is not set, and version {live} is in production: give it the address of the model server, or "
            "--no-canary promotes at once"
        )
    if branch := flow.other_branch():
        _say(f"Warning: this is delivered from the branch {branch}, not from the main one")
    with ExitStack() as stack:
        server = stack.enter_context(admin.connected(url)) if url else None
        if dry_run:
            plan = flow.planned(server, remake=reproduce)
            console.print_json(plan) if as_json else typer.echo("\n".join(plan))
            return
        found = flow.deliver(server, Watch(poll, 60 * limit), _say, remake=reproduce)
    if as_json:
        console.print_json(found)
    else:
        console.print_markdown(pages.filled("delivery.md", **found, headline=_headline(found)).strip())
    if found["outcome"] not in flow.FINE:
        sys.exit(console.VERDICT)


def _headline(found: dict[str, Any]) -> str:
    number, before = found["version"], found["before"]
    stays = f"version {before} is in production" if before else "nothing is in production"
    return {
        "promoted": f"Version {number} is in production{f', instead of version {before}' if before else ''}.",
        "in production": f"Version {number} is in production: there was nothing to do.",
        "rolled back": f"Version {number} was rolled back: {stays}.",
        "waiting": f"Version {number} waits for a person: {stays}.",
        "undecided": f"Version {number} is in its canary: {stays}.",
        "refused": f"No version was made: {stays}.",
        "none asked for": "There is no version to deliver.",
    }[found["outcome"]]


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)
