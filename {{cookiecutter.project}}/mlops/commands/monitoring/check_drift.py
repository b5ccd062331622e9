"""`check-drift`: the alarm. The stage `monitor` only reports, so that its report is never lost to its own alarm."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console, files
from mlops.commands.options import AsJson
from mlops.history import paths


def check_drift(
    report: Annotated[Path, typer.Option(help="What `monitor` wrote.")] = paths.DRIFT,
    as_json: AsJson = False,
) -> None:
    """Say whether the newest delivery has drifted, or the model got worse on it; exit with 1 if so."""
    found = files.read_json(report)
    if as_json:
        console.print_json(found)
    else:
        typer.echo(found["verdict"])
    sys.exit(int(found["alarm"]))
