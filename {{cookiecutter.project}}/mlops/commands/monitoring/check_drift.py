"""`check-drift`: the alarm. The stage `monitor` only reports, so that its report is never lost to its own alarm."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlops.base import console, files
from mlops.commands.options import AsJson
from mlops.history import paths


def check_drift(
    report: Annotated[Path, typer.Option(help="Report of the stage `monitor`.")] = paths.DRIFT,
    as_json: AsJson = False,
) -> None:
    """Say whether the newest delivery drifted.

    The exit code is 1 if its columns or the predictions drifted, or if retraining is recommended.
    """
    found = files.read_json(report)
    if as_json:
        console.print_json(found)
    else:
        typer.echo(found["verdict"])
    sys.exit(int(found["alarm"]))
