"""`retrain`: the one command of continuous training, for a schedule or by hand."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops.base import console
from mlops.commands.options import AsJson, DryRun

if TYPE_CHECKING:
    from mlops.monitoring.incidents import Level


def retrain(
    source: Annotated[
        str | None, typer.Option(help="Take this delivery, as `ingest` does: a path, a web, S3 or database URL.")
    ] = None,
    query: Annotated[str | None, typer.Option(help="What to read from a database: SELECT …")] = None,
    from_predictions: Annotated[
        bool, typer.Option("--from-predictions", help="Take what the model server was asked, with its feedback.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Train again without any other reason.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take the newest delivery, and train again if there is a reason.

    The newest delivery is what lies in data/incoming/, unless an option names another one. It is checked and compared
    with the training data. The rules of the section `retrain` of params.yaml decide. If they ask for a new model, the
    labelled rows are added to the training data, the pipeline runs in a clone, and the result is pushed as a branch
    with a review, and proposed. The work tree stays as it is. The same command goes on where it was killed.

    The channels of the section `alerts` are told of a failure, and of drift, as `alert` tells them.

    Raises:
        ParameterError: a channel is configured, but its address is not set.
        ProjectError: a step failed; production, main branch and work tree are as they were.
    """
    from mlops.alerting import alerts
    from mlops.base import params
    from mlops.monitoring.incidents import Level
    from mlops.retraining import loop
    from mlops.retraining.steps import Request

    check(source, query, from_predictions)
    request = Request(source, query, from_predictions, force)
    settings = params.load(params.Alerts)
    if not dry_run:
        alerts.require(settings)  # a failure at night that reaches nobody is worse than none
    outcome = loop.run(request, clock=lambda: datetime.now(UTC), alarm=alarm, say=_say, dry_run=dry_run)
    if not dry_run:
        if outcome["outcome"] == "rolled back" and not outcome.get("again"):
            _tell(Level.critical, "The version of a retraining was rolled back", *outcome["told"])
        else:
            _tell(Level.ok, "Retraining works again")
        if outcome["watched"]:
            _tell_drift(outcome["watched"])
    if as_json:
        console.print_json(outcome)
        return
    if outcome.get("again"):
        typer.echo("this was done already, and nothing is new since (delete .retrain/state.json to do it again):")
    typer.echo("\n".join(outcome["told"]))


def check(source: str | None, query: str | None, from_predictions: bool) -> None:
    """Refuse options that exclude each other."""
    if source == "":
        raise typer.BadParameter("--source is empty: name a delivery, or leave it out for what lies in data/incoming/")
    if (source and from_predictions) or (query and not source):
        raise typer.BadParameter("give --source, for a database with --query, or --from-predictions, or none of them")


def alarm(sentence: str) -> None:
    """Tell people that a retraining failed, by the channels of the section `alerts`."""
    from mlops.monitoring.incidents import Level

    _tell(Level.critical, "Retraining failed", sentence)


def _tell(level: "Level", title: str, *details: str) -> None:
    """Tell the state of retraining; the all-clear goes only to whom a failure was told."""
    from mlops.alerting import alerts
    from mlops.base import params
    from mlops.monitoring.incidents import Incident

    incident = Incident("retraining", level, title, details, fact=" ".join(details))
    alerts.tell(incident, params.load(params.Alerts), params.load(params.Register).name)


def _tell_drift(report: dict[str, Any]) -> None:
    """Tell how the delivery is, as `alert` does of the one in the work tree."""
    from mlops.alerting import alerts
    from mlops.base import params
    from mlops.history import drift_reports
    from mlops.monitoring import incidents

    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = drift_reports.among_others(report, params.load(params.Monitor), now)
    incident = incidents.of_drift(found.report, found.recent, found.sentence)
    alerts.tell(incident, params.load(params.Alerts), params.load(params.Register).name)


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)
