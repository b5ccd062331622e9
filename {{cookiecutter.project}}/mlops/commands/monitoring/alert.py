"""`alert`: tell the configured channels how the newest delivery is, and each of them only what it does not know yet."""

from dataclasses import asdict

import typer

from mlops.alerting import alerts
from mlops.base import console, params
from mlops.commands.options import AsJson, DryRun
from mlops.history import drift_reports
from mlops.monitoring import incidents


def alert(as_json: AsJson = False, dry_run: DryRun = False) -> None:
    """Tell people and programs that the newest delivery drifted.

    The section `alerts` of params.yaml names the channels; addresses and passwords come from the environment. A
    channel that fails is told in a line, and the exit code stays 0. The alarm itself is `check-drift`.

    Raises:
        ParameterError: a channel is configured, but its address is not set.
        StoreError: there is no report, or it is not the report of the delivery that is here.
    """
    settings, project = params.load(params.Alerts), params.load(params.Register).name
    alerts.require(settings)
    found = drift_reports.newest(params.load(params.Monitor))
    incident = incidents.of_drift(found.report, found.recent, found.sentence)
    outcomes = alerts.tell(incident, settings, project, dry_run=dry_run)
    for note in found.notes:
        typer.echo(note, err=True)
    if as_json:
        facts = {**asdict(incident), "level": incident.level.name}
        console.print_json({"incident": facts, "channels": [asdict(outcome) for outcome in outcomes]})
        return
    typer.echo(f"{incident.title}: {found.sentence}")
    for outcome in outcomes:
        note = f"not told: {outcome.note}" if outcome.failed else outcome.note
        typer.echo(f"{outcome.channel}: {note}", err=outcome.failed)
