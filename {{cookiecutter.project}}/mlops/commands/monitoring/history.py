"""`monitor history`: what every check of a delivery said, from Git alone, so that any clone can tell it."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.base import console, files
from mlops.base.errors import ParameterError, StoreError, counted
from mlops.commands.options import AsJson
from mlops.history import drift_reports, paths

DIGITS = 8
LONGEST = 90  # signs of a verdict in the table
PIPE = 250  # columns of text, for whoever reads it in a file


def history(
    as_json: AsJson = False,
    since: Annotated[str | None, typer.Option(help="Only checks from this date on, such as 2026-01-31.")] = None,
    most: Annotated[int | None, typer.Option(min=1, help="At most that many checks, the newest.")] = None,
    output: Annotated[Path | None, typer.Option(help="Also write the JSON into this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the page of the newest delivery, with time.")] = None,
) -> None:
    """List the checks of all deliveries, and what drifts most often.

    The reports come from Git: each commit that brought another reports/drift.json, and the one in the work tree. The
    promotions come from the copy of the audit log in Git.

    Raises:
        ParameterError: the date is none.
        StoreError: Git or the file cannot be used.
    """
    from mlops.base import pages
    from mlops.monitoring import checks, timeline
    from mlops.registry import audit

    found = drift_reports.read()
    told = checks.history(found.checks, audit.mirrored(), _baseline(found.report), since=_date(since), most=most)
    for note in found.notes:
        typer.echo(note, err=True)
    if output:
        files.write_json(output, told)
    if html:
        pages.write_page(html, "drift.html", **timeline.shown(told, found.report, _importances()))
    if as_json:
        console.print_json(told)
    elif found.checks and not told["drift_history"]:
        typer.echo(f"no check since {since}: the last one is of {found.checks[-1]['time'][:10]}")
    else:
        _print(told)


def _baseline(report: Any) -> dict[str, Any]:
    """Statistics of the training data: of all columns where the profile is here, else what the last report has."""
    from mlops.data import profile
    from mlops.intake import tables
    from mlops.monitoring import checks

    if paths.REFERENCE.is_file():
        try:
            return checks.baseline_of_profile(profile.from_frame(tables.read(paths.REFERENCE)))
        except (KeyError, StoreError):  # of an older pipeline, or broken
            typer.echo(f"{paths.REFERENCE} cannot be read, so the statistics are those of {paths.DRIFT}", err=True)
    return checks.baseline_of_report(report) if report else {}


def _importances() -> dict[str, float]:
    """How much the model relies on each feature; empty where the table is not here (`dvc pull` brings it)."""
    path = paths.PLOTS / "importances.csv"
    if not path.is_file():
        return {}
    table = files.read_csv(path, text=["feature"]).dropna()
    return {str(name): float(value) for name, value in zip(table["feature"], table["importance"], strict=True)}


def _date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise ParameterError(f"--since {text} is no date: give one such as 2026-01-31") from None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _print(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from mlops.monitoring import checks

    summary, found = told["summary"], told["drift_history"]
    if not found:
        typer.echo("no check of a delivery yet: `dvc repro` makes one as soon as data/incoming has a file")
        return
    first, last = (summary["period"][side][:10] for side in ("from", "to"))
    number = summary["total_deliveries"]
    again = f" of {counted(number, 'delivery', 'deliveries')}" if number < len(found) else ""
    typer.echo(f"{counted(len(found), 'check')}{again} from {first} to {last}, {summary['total_drifts']} with drift")
    drifts = summary["drifts_by_column"]
    often = [f"{each['column']} {each['drifts']}" for each in summary["most_drifted"]]
    if drifts:
        typer.echo(f"drift most often: {', '.join(often)}")
    if len(drifts) > len(often):
        typer.echo(
            f"drifts of the others: {', '.join(f'{name} {n}' for name, n in list(drifts.items())[len(often) :])}"
        )
    shifts = [
        f"{each['column']} {checks.shift_in_words(each)} on {each['time'][:10]}"
        for each in summary["largest_mean_shifts"]
    ]
    if shifts:
        typer.echo(f"largest shifts of a mean, by standard deviations (sd) of the training data: {', '.join(shifts)}")
    table = Table(box=None, pad_edge=False)
    for name in ("when", "commit", "version", "rows", "gap in days"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("when", "commit") else "right")
    table.add_column("verdict", overflow="fold")
    for each in found:
        gap = "–" if each["gap_days"] is None else f"{each['gap_days']:.1f}"
        commit = each["commit"] if " " in each["commit"] else each["commit"][:DIGITS]
        table.add_row(
            each["time"][:16].replace("T", " "),
            commit,
            f"{each['version'] or '–'}",
            f"{each['delivery']['rows']:,}" + ("!" if each["rows_unusual"] else ""),
            gap + ("!" if each["gap_unusual"] else ""),
            _shortened(each),
        )
    Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else PIPE).print(table)
    if any(each["rows_unusual"] or each["gap_unusual"] for each in found):
        typer.echo("!: far from the deliveries before: more than 3 robust standard deviations, and half of the median")


def _shortened(each: dict[str, Any]) -> str:
    """The verdict of a check, of a long one what comes before the first semicolon, and whether to retrain."""
    verdict: str = each["verdict"]
    if len(verdict) <= LONGEST:
        return verdict
    advice = "; retraining is recommended" if each["retraining"] else ""
    return f"{verdict.partition('; ')[0]}; …{advice}"
