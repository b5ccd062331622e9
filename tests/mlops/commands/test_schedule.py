"""`schedule`: when something is due, by clocks that jump, and what a run that fails or is ended leaves behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from functools import partial
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from mlops.__main__ import app
from mlops.base.errors import StoreError
from mlops.commands.production import schedule
from typer.testing import CliRunner

from tests.conftest import PROJECT, TEMPLATE

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = 0


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(moment: datetime) -> str:
    return f"{moment.astimezone(BERLIN):%Y-%m-%d %H:%M %Z}"


def following(at: str, weekday: int | None = None, zone: ZoneInfo | None = BERLIN) -> Callable[[datetime], datetime]:
    return partial(schedule.next_time, at=time_of_day.fromisoformat(at), weekday=weekday, zone=zone)


def days(at: str, start: str, number: int, zone: ZoneInfo | None = BERLIN) -> list[str]:
    """So many times one after the other, the first after a time of UTC."""
    found, moment = [], utc(start)
    for _ in range(number):
        moment = following(at, zone=zone)(moment)
        found.append(local(moment))
    return found


class Clock:
    """A clock that is moved by sleeping, and by what happens meanwhile."""

    def __init__(self, start: str) -> None:
        self.now = utc(start)
        self.slept: list[float] = []
        self.shown: list[timedelta] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)

    def due_times(self, done: str | None = None, at: str = "02:00", weekday: int | None = None) -> Iterator[datetime]:
        return schedule.due_times(
            following(at, weekday),
            utc(done) if done else self.now,
            lambda: self.now,
            self.sleep,
            lambda due, left: self.shown.append(left),
        )


# ---- when something is due


def test_every_day_has_its_time_whatever_the_clocks_do() -> None:
    assert days("02:00", "2026-03-27T12:00", 3) == [
        "2026-03-28 02:00 CET",
        "2026-03-29 03:00 CEST",  # 02:00 to 03:00 is left out
        "2026-03-30 02:00 CEST",
    ]
    assert days("02:30", "2026-10-23T12:00", 3) == [
        "2026-10-24 02:30 CEST",
        "2026-10-25 02:30 CEST",  # and not again at 02:30 CET
        "2026-10-26 02:30 CET",
    ]


def test_a_day_that_a_zone_leaves_out_is_no_second_run() -> None:
    samoa = ZoneInfo("Pacific/Apia")  # went from 29 to 31 December

    first = following("02:00", zone=samoa)(utc("2011-12-29T13:00"))
    second = following("02:00", zone=samoa)(first)

    assert [f"{moment.astimezone(samoa):%d %H:%M}" for moment in (first, second)] == ["31 02:00", "01 02:00"]


def test_a_time_that_is_moved_past_midnight_is_not_lost() -> None:
    scoresbysund = ZoneInfo("America/Scoresbysund")  # 23:00 to 24:00 was left out
    start = datetime(2024, 3, 31, 0, 10, tzinfo=scoresbysund)

    assert following("23:30", zone=scoresbysund)(start) > start


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the system's zone cannot be set for a process")
def test_without_a_zone_the_time_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        spring, autumn = (days("02:30", f"2026-{day}T12:00", 2, None) for day in ("03-28", "10-24"))
    time.tzset()  # back to that of the tests

    assert spring == ["2026-03-29 03:30 CEST", "2026-03-30 02:30 CEST"]
    assert autumn == ["2026-10-25 02:30 CEST", "2026-10-26 02:30 CET"]


def test_a_weekly_run_has_its_day_in_the_zone_and_not_in_utc() -> None:
    weekly = following("00:30", weekday=MONDAY)

    first = weekly(utc("2026-11-28T12:00"))

    assert [local(first), local(weekly(first))] == ["2026-11-30 00:30 CET", "2026-12-07 00:30 CET"]
    assert first == utc("2026-11-29T23:30")


# ---- waiting


def test_it_waits_in_naps_and_shows_how_long() -> None:
    clock = Clock("2026-11-28T23:58:30")

    due = next(clock.due_times())

    assert (local(due), clock.now) == ("2026-11-29 02:00 CET", utc("2026-11-29T01:00"))
    assert (max(clock.slept), sum(clock.slept)) == (60, 61.5 * 60)
    assert clock.shown[:2] == [timedelta(minutes=61, seconds=30), timedelta(minutes=60, seconds=30)]
    assert clock.shown[-1] == timedelta()


def test_what_a_machine_has_slept_through_runs_once_on_waking() -> None:
    clock = Clock("2026-11-28T12:00")
    times = clock.due_times()

    def suspended(seconds: float) -> None:  # in the first nap, for three days
        clock.now += timedelta(days=3) if not clock.slept else timedelta(seconds=seconds)
        clock.slept.append(seconds)

    clock.sleep = suspended  # type: ignore[method-assign]
    times = clock.due_times()
    woken = (next(times), clock.now)
    after = (next(times), clock.now)

    assert woken == (utc("2026-11-29T01:00"), utc("2026-12-01T12:00"))
    assert after == (utc("2026-12-02T01:00"), utc("2026-12-02T01:00"))


def test_a_run_that_lasts_for_days_does_not_pile_up() -> None:
    clock = Clock("2026-11-28T12:00")
    runs = []

    for due in islice(clock.due_times(), 2):
        runs.append((due, clock.now))
        clock.now += timedelta(hours=50)

    assert runs == [(utc(f"2026-{day}T01:00"), utc(f"2026-{day}T01:00")) for day in ("11-29", "12-02")]


def test_a_clock_that_is_put_back_makes_no_time_due_again() -> None:
    clock = Clock("2026-11-28T12:00")
    times = clock.due_times()
    first = next(times)
    clock.now -= timedelta(hours=3)

    assert next(times) - first == timedelta(days=1)


def test_what_was_due_while_it_was_off_runs_at_the_start() -> None:
    clock = Clock("2026-11-28T12:00")

    next(clock.due_times(done="2026-11-20T12:00", weekday=MONDAY))

    assert (clock.now, clock.slept) == (utc("2026-11-28T12:00"), [])


# ---- the command


@pytest.fixture
def scheduled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that lets the schedule do so many runs of this script, a day apart; what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schedule, "COMMAND", (sys.executable, "retrain.py"))
    clock = Clock("2026-11-28T12:00")
    monkeypatch.setattr(schedule, "_now", lambda: clock.now)

    def run(script: str, runs: int, *options: str) -> str:
        (tmp_path / "retrain.py").write_text(script, encoding="utf-8")
        last = clock.now + timedelta(days=runs)

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            if clock.now > last:
                raise KeyboardInterrupt

        monkeypatch.setattr(schedule, "sleep", sleep)
        done = CliRunner().invoke(app, ["schedule", "--at", "02:00", "--utc", *options])
        assert done.exit_code == 130, done.output
        return str(done.output)

    return run


def test_a_run_that_fails_is_told_and_the_next_one_comes(scheduled: Callable[..., str], tmp_path: Path) -> None:
    said = scheduled("import sys\nopen('runs', 'a').write('x')\nsys.exit(len(open('runs').read()) % 2)\n", 2)

    assert (tmp_path / "runs").read_text() == "xx"
    first, second, third = [
        f"{day} 02:00 UTC" for day in ("Sunday 2026-11-29", "Monday 2026-11-30", "Tuesday 2026-12-01")
    ]
    assert said.splitlines()[:5] == [
        f"retrain runs daily; the next run: {first}",
        f"{first}: retrain starts",
        f"{first}: retrain failed with exit code 1, and says why above; the next run: {second}",
        f"{second}: retrain starts",
        f"{second}: retrain is done; the next run: {third}",
    ]


@pytest.mark.parametrize(
    ("command", "words"),
    [((sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"), "memory"), (("gone",), "could not be started")],
)
def test_a_run_that_is_killed_or_cannot_start_ends_no_schedule(
    command: tuple[str, ...], words: str, scheduled: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "COMMAND", command)

    said = scheduled("", 2)

    assert (said.count("retrain starts"), said.count(words)) == (2, 2)


def test_a_disk_without_place_ends_no_schedule(scheduled: Callable[..., str], tmp_path: Path) -> None:
    # The folder of the state becomes a file.
    script = "import pathlib, shutil; shutil.rmtree('.retrain', True); pathlib.Path('.retrain').touch()\n"

    said = scheduled(script, 2)

    assert (said.count("retrain is done"), said.count("Warning: ")) == (2, 2)


def test_it_knows_after_a_restart_what_was_done(scheduled: Callable[..., str], tmp_path: Path) -> None:
    script = "open('runs', 'a').write('x')\n"

    scheduled(script, 1)
    scheduled(script, 0, "--every", "weekly", "--on", "monday")
    assert (tmp_path / "runs").read_text() == "x"

    schedule.STATE.write_text("2026-11-20T12:00:00+00:00\n")
    scheduled(script, 0, "--every", "weekly", "--on", "monday")
    assert (tmp_path / "runs").read_text() == "xx"


def test_what_stands_behind_two_dashes_is_for_retrain(scheduled: Callable[..., str], tmp_path: Path) -> None:
    scheduled("import sys\nopen('given', 'w').write(repr(sys.argv[1:]))\n", 1, "--", "--source", "a b", "--force")

    assert (tmp_path / "given").read_text() == "['--source', 'a b', '--force']"


@pytest.mark.parametrize("text", ["", "half of a ti", "2126-01-01T00:00:00+00:00"])
def test_a_state_that_is_broken_or_in_the_future_is_as_at_the_first_start(
    text: str, scheduled: Callable[..., str]
) -> None:
    schedule.STATE.parent.mkdir()
    schedule.STATE.write_text(text)

    assert scheduled("", 0).splitlines()[0].endswith("the next run: Sunday 2026-11-29 02:00 UTC")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--at", "25:00"], "expected a time of day such as 02:00"),
        (["--at", "02:00", "--on", "friday"], "add --every weekly"),
        ([], "Missing option"),
        (["--at", "02:00", "--", "--nonsense"], "No such option: --nonsense"),
        (["--at", "02:00", "--", "march.csv"], "unexpected extra argument"),
        (["--at", "02:00", "--", "--source", ""], "--source is empty"),
        (["--at", "02:00", "--", "--query", "SELECT 1"], "for a database with --query"),
    ],
)
def test_wrong_usage_is_said_at_once(options: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["schedule", *options], env={"COLUMNS": "200"})

    assert done.exit_code == 2
    assert words in done.output


STARTED = """\
import sys
from mlops.base import console
from mlops.commands.production import schedule
schedule.COMMAND = (sys.executable, "retrain.py")
console.run(schedule.schedule)
"""
# A run that says when it begins, and what it is ended by.
RUN = """\
import pathlib, signal, sys, time
def ended(number, frame):
    pathlib.Path("ended").write_text(str(number))
    sys.exit(143)
signal.signal(signal.SIGTERM, ended)
pathlib.Path("begun").touch()
time.sleep(60)
"""


def test_a_signal_ends_it_and_its_run_and_meanwhile_a_second_one_is_refused(tmp_path: Path) -> None:
    codes = {signal.SIGTERM: 143, signal.SIGINT: 130}
    surroundings = {**os.environ, "PYTHONPATH": str(TEMPLATE / PROJECT)}
    with ExitStack() as stack:
        started = {}
        for kind in codes:
            folder = tmp_path / kind.name
            (folder / ".retrain").mkdir(parents=True)
            (folder / "retrain.py").write_text(RUN)
            (folder / schedule.STATE).write_text("2026-01-01T00:00:00+00:00\n")
            with (folder / "log").open("w") as log:
                command = [sys.executable, "-c", STARTED, "--at", "02:00"]
                started[kind] = subprocess.Popen(command, cwd=folder, env=surroundings, stdout=log, stderr=log)
            stack.callback(started[kind].kill)
        for kind, process in started.items():
            while not (tmp_path / kind.name / "begun").exists():
                assert process.poll() is None, (tmp_path / kind.name / "log").read_text()
                time.sleep(0.02)
        with chdir(folder), pytest.raises(StoreError, match="another schedule is at work"):
            schedule.schedule("02:00")
        for kind, process in started.items():
            process.send_signal(kind)
        found = {kind: process.wait(20) for kind, process in started.items()}

    assert found == codes
    for kind in codes:
        folder = tmp_path / kind.name
        said = (folder / "log").read_text()
        assert (folder / "ended").read_text() == str(signal.SIGTERM.value)
        assert "retrain is being ended; its next run goes on where it stands" in said
        assert "retrain runs daily; due since " in said
        assert "Traceback" not in said
        assert "The next run" not in said  # nothing is drawn into a log
        assert (folder / schedule.STATE).read_text().startswith("2026-01-01")  # so that the next start takes it up
