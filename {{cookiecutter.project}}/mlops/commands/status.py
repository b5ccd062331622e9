"""`status`: one screen for every morning."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console
from mlops.commands.options import AsJson


def status(
    url: Annotated[str, typer.Option(help="Ask this model server who answers; the key is MLOPS_ADMIN_KEY.")] = "",
    html: Annotated[Path | None, typer.Option(help="Also write it as a page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show how the project stands, and what to do next.

    What is in production since when, how good it is, drift, open incidents, a running canary, the last retraining, what
    is stale or not pushed, and the next commands in their order. What cannot be reached is not available, and the rest
    is shown.

    Raises:
        StoreError: this is no project's folder, or the page cannot be written.
    """
    from mlops.health import credentials, repository, screen
    from mlops.health import status as health

    repository.project_root()
    facts = health.gather(datetime.now(UTC), url)
    facts = credentials.hidden_everywhere(facts, credentials.known())
    if html:
        from mlops.base import pages

        rows = [{"label": label, "words": words, "look": look} for label, words, look in screen.lines_of(facts)]
        pages.write_page(html, "status.html", facts=facts, rows=rows)
    if as_json:
        console.print_json(facts)
        return
    width, is_terminal = screen.room()
    typer.echo("\n".join(screen.text(facts, width, cut=is_terminal)))
