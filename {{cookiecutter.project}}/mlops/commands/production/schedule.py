"""`schedule`: run `retrain` every day or week, on a machine that has neither cron nor systemd."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import partial
from pathlib import Path
from time import sleep
from typing import Annotated, Literal, get_args

import typer

from mlops.base import files, locks
from mlops.base.errors import StoreError, with_memory
from mlops.commands.production import retrain

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

COMMAND = (sys.executable, "-m", "mlops", "retrain")
STATE = Path(".retrain/scheduled")  # the time up to which nothing is due
NAP = timedelta(minutes=1)  # while a machine is suspended, the clock of a longer sleep would stand still
GRACE = 60  # seconds that a run has to end, for it gives its own processes 30


def schedule(
    at: Annotated[str, typer.Option(help="Time of day, such as 02:00.")],
    every: Annotated[Literal["daily", "weekly"], typer.Option(help="How often.")] = "daily",
    on: Annotated[Weekday | None, typer.Option(help="Day of a weekly run; Monday by default.")] = None,
    utc: Annotated[bool, typer.Option("--utc", help="The time is UTC, not this machine's local time.")] = False,
    options: Annotated[list[str] | None, typer.Argument(help="Behind --, options for retrain.")] = None,
) -> None:
    """Run `retrain` every day or week, where nothing else does.

    It goes on until it is ended. If a time has passed while the machine or this command was off, it is made up for at
    once; so are several, by one run. While a run lasts, no other one starts. If a run fails, that is told, and the next
    one comes at its time. Ctrl-C or SIGTERM ends this command and a run in progress, which the next start takes up.

    Raises:
        StoreError: another `schedule` is at work in this project, or its state cannot be written.
    """
    if on and every == "daily":
        raise typer.BadParameter("--on is the day of a weekly run: add --every weekly, or leave --on out")
    _check(options or [])
    weekday = get_args(Weekday).index(on or "monday") if every == "weekly" else None
    zone = UTC if utc else None
    following = partial(next_time, at=_time_of_day(at), weekday=weekday, zone=zone)
    STATE.parent.mkdir(exist_ok=True)
    with locks.exclusive(STATE.with_suffix(".lock"), "another schedule is at work in this project: end it first"):
        done = _done_until()
        first = following(done)
        typer.echo(f"retrain runs {every}; {'due since' if first <= _now() else 'the next run:'} {_local(first, zone)}")
        for due in due_times(following, done, _now, sleep, partial(_show, zone=zone)):
            typer.echo(f"{_local(_now(), zone)}: retrain starts")
            failure = _run([*COMMAND, *(options or [])])
            done = max(due, _now())
            _remember(done)
            said = (
                f"{_local(done, zone)}: retrain {failure or 'is done'}; the next run: {_local(following(done), zone)}"
            )
            typer.echo(said, err=bool(failure))


def next_time(after: datetime, at: time, weekday: int | None, zone: tzinfo | None) -> datetime:
    """The first time later than `after` at which the clocks of `zone` show `at`, in UTC.

    A time that the clocks skip in spring is as long after midnight as on other days, and they show it an hour later. Of
    a time that they show twice in autumn, the first is taken.

    Args:
        after: A time with its zone.
        at: The time of day.
        weekday: 0 for Monday to 6 for Sunday; None for every day.
        zone: A time zone; None is that of the machine.
    """
    # Where the clocks skip midnight, the time of one day can be in the next: the search begins a day early.
    day = after.astimezone(zone).date() - timedelta(days=1)
    while True:
        # Without a zone `astimezone` would move a time that the clocks skip an hour back, `timestamp` moves it forward.
        due = datetime.fromtimestamp(datetime.combine(day, at, zone).timestamp(), UTC)
        if due > after and weekday in {None, day.weekday()}:
            return due
        day += timedelta(days=1)


def due_times(
    following: Callable[[datetime], datetime],
    done: datetime,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
    show: Callable[[datetime, timedelta], None],
) -> Iterator[datetime]:
    """Give each due time as soon as the clock has reached it; of several that have passed, the first alone.

    Args:
        following: The first due time after a time.
        done: The time up to which nothing is due.
        now: The clock.
        sleep: Waits for so many seconds.
        show: Is told before each sleep what is waited for and how long, and at the end of the wait a length of 0.
    """
    while True:
        due = following(done)
        try:
            while (left := due - now()) > timedelta():
                show(due, left)
                sleep(min(left, NAP).total_seconds())
        finally:
            show(due, timedelta())
        yield due
        done = max(due, now())  # a clock that was put back does not make a time due again


def _check(options: list[str]) -> None:
    """Refuse options that retrain does not have, now and not at night."""
    command = typer.Typer(add_completion=False)
    command.command("retrain")(retrain.retrain)
    with typer.main.get_command(command).make_context("python -m mlops retrain", [*options]) as context:
        retrain.check(*(context.params[name] for name in ("source", "query", "from_predictions")))


def _time_of_day(text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise typer.BadParameter(f"--at is {text!r}, expected a time of day such as 02:00") from None


def _now() -> datetime:
    return datetime.now(UTC)


def _local(moment: datetime, zone: tzinfo | None) -> str:
    return f"{moment.astimezone(zone):%A %Y-%m-%d %H:%M %Z}"


def _show(due: datetime, left: timedelta, zone: tzinfo | None) -> None:
    """Draw what is waited for on a terminal, and take it away at the end of the wait; a log gets nothing."""
    if sys.stderr.isatty():
        hours, minutes = divmod(-(-left // timedelta(minutes=1)), 60)
        said = f"The next run: {_local(due, zone)}, in {hours} h {minutes:02d} min" if left else ""
        print(f"\r{said:<78}", end="" if said else "\r", file=sys.stderr, flush=True)


def _done_until() -> datetime:
    """The time up to which nothing is due: the end of the last run, or the first start.

    It is never in the future, where a wrong clock can have put it.
    """
    try:
        return min(datetime.fromisoformat(STATE.read_text(encoding="utf-8").strip()).astimezone(UTC), _now())
    except (OSError, ValueError):  # none yet, or half of one
        done = _now()
        files.write_text(STATE, f"{done.isoformat()}\n")
        return done


def _remember(done: datetime) -> None:
    """Keep the end of a run. A full disk must not end the schedule."""
    try:
        files.write_text(STATE, f"{done.isoformat()}\n")
    except StoreError as error:
        typer.echo(f"Warning: {error}; a restart would run retrain once more", err=True)


def _run(command: Sequence[str]) -> str:
    """Run a command to its end; why it failed, or "". If this process is ended meanwhile, so is the command."""
    try:
        # In a session of its own Ctrl-C does not reach it: it gets one signal, and has time to end what it has started.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        return f"could not be started ({error})"
    try:
        code = process.wait()
    except BaseException:
        typer.echo("retrain is being ended; its next run goes on where it stands", err=True)
        process.terminate()
        try:
            process.wait(GRACE)
        finally:  # also if somebody does not want to wait
            process.kill()
        raise
    return with_memory(f"failed with exit code {code}, and says why above", code) if code else ""
