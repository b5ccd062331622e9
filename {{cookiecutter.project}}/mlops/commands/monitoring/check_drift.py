"""`check-drift`: the alarm. The stage `monitor` only reports, so that its report is never lost to its own alarm."""

import sys
from dataclasses import asdict

import typer

from mlops.base import console, params
from mlops.commands.options import AsJson
from mlops.history import drift_reports

RETRAIN = console.VERDICT + 1


def check_drift(as_json: AsJson = False) -> None:
    """Say whether the newest delivery drifted.

    The exit code is 3 if its columns or the predictions drifted, and 4 if retraining is recommended. With
    `monitor.windows` and `monitor.needed` in params.yaml, an alarm takes that many of the last deliveries, the newest
    one among them.

    Raises:
        StoreError: there is no report, or it is not the report of the delivery that is here.
    """
    found = drift_reports.newest(params.load(params.Monitor, missing_ok=True))
    for note in found.notes:
        typer.echo(note, err=True)
    if as_json:
        console.print_json({**found.report, "recent": asdict(found.recent)})
    else:
        typer.echo(found.sentence)
    if found.recent.alarm:
        sys.exit(RETRAIN if found.recent.retraining else console.VERDICT)
