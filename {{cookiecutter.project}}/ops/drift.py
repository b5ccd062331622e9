"""`check-drift`: the alarm. The stage `monitor` only reports, so that its report is never lost to its own alarm."""

import json
import sys
from pathlib import Path

import typer

from store import files


def check(report: Path, *, as_json: bool) -> None:
    """Print the verdict of `report` and exit with 1 if there is reason for an alarm."""
    found = files.read_json(report)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        typer.echo(found["verdict"])
    sys.exit(int(found["alarm"]))
