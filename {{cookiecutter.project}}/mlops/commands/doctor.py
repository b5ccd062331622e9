"""`doctor`: is everything that the project stands on in order, and if not, which command mends it?"""

import sys
import textwrap
from datetime import UTC, datetime
from typing import Annotated

import typer

from mlops.base import console
from mlops.base.errors import counted
from mlops.commands.options import AsJson, DryRun
from mlops.health import doctor as health
from mlops.health import repository
from mlops.health.finding import Finding

WIDTH = 100  # columns
Found = dict[str, list[Finding]]


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Make the repairs that lose nothing.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Check that everything the project stands on is in order.

    It looks at packages, machinery, Git, DVC and its remote, the registry, clocks, credentials, disk, memory, and what
    killed commands left. Each fault comes with the command that mends it. With `--fix` the safe repairs are made:
    locks and leftovers of dead processes, missing files that DVC's cache has, rights of files with secrets. Secrets are
    never printed. The exit code is 3 if there are faults; warnings leave it at 0.

    Raises:
        StoreError: this is no project's folder.
    """
    repository.project_root()
    now = datetime.now(UTC)
    found = _examined(now)
    done = [] if dry_run or not fix else list(health.repair(found))
    repaired = [finding for finding, failure in done if not failure]
    if done:
        found |= _examined(now, [name for name in found if any(one.repair for one in found[name])])
    told = health.in_order(found)
    faults = sum(finding.state == "fault" for finding in told)
    warnings = sum(finding.state == "warning" for finding in told)
    planned = [one.repair.what for one in told if one.repair] if fix and dry_run else []
    if as_json:
        facts = {"faults": faults, "warnings": warnings, "findings": [finding.as_dict() for finding in told]}
        tried = [{"repair": one.repair.done, "failure": why} for one, why in done if one.repair]
        console.print_json({**facts, "repairs": tried, "planned": planned})
    else:
        for one, why in done:
            typer.echo(f"not repaired: {why}" if why else f"repaired: {one.repair.done}" if one.repair else "")
        if fix and not done and not planned and (faults or warnings):
            typer.echo("nothing was mended: what is named here, only a person can mend, by the commands below")
        for what in planned:
            typer.echo(f"would {what}")
        typer.echo("\n".join(line for finding in told for line in _lines(finding)))
        repairable = sum(bool(finding.repair) for finding in told) if not fix else 0
        more = f"; `python -m mlops doctor --fix` repairs {repairable}" if repairable else ""
        more += f"; {counted(len(repaired), 'repair')} made" if repaired else ""
        typer.echo(f"{counted(faults, 'fault')}, {counted(warnings, 'warning')}{more}")
    if faults:
        sys.exit(console.VERDICT)


def _examined(now: datetime, only: list[str] | None = None) -> Found:
    """The findings by check; what is being looked at is shown on a terminal."""
    number = len(only or health.CHECKS)
    return dict(console.progress(health.examine(now, only or ()), number, "looking"))


def _lines(finding: Finding) -> list[str]:
    """A finding for people: its state, what it is about, the sentence, and the command below it."""
    head = f"{finding.state:<8} {finding.subject:<12} "
    lines = textwrap.wrap(
        finding.sentence, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False
    )
    return [*lines, *([f"{' ' * len(head)}$ {finding.command}"] if finding.command else [])]
