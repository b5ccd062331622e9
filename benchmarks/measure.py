"""What all benchmarks share: sides that take turns, environments of peers, and rows of results.

Peers import this, too, each in its own environment, and a process begins with the peak of memory of the one that
started it: so nothing but the standard library is imported.
"""

import json
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

TEMPLATE = Path(__file__).resolve().parents[1]
PROJECT = TEMPLATE / "{{cookiecutter.project}}"
PEERS = TEMPLATE / "bench" / "peers"
FOLDER = TEMPLATE / "bench" / "work"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
}
GENERATE = [sys.executable, "-m", "cookiecutter", "--no-input"]
DVC = [sys.executable, "-m", "dvc"]
USED: dict[str, dict[str, str]] = {}  # versions in the environments that were asked for
OPS = [sys.executable, "-m", "mlops"]


@dataclass(frozen=True)
class Side:
    """A command that is measured, and where it runs; what has to be put back before each run is `reset`."""

    command: list[str]
    folder: Path = TEMPLATE
    reset: Callable[[], object] = lambda: None


class Cost(NamedTuple):
    """Wall time and processor time (seconds), and the largest resident memory of one process (megabytes)."""

    seconds: float
    processor: float
    megabytes: float


@dataclass(frozen=True)
class Row:
    """One figure of ours beside that of a peer, and the budget: of the ratio, or of our figure where no peer is.

    A peer that is not to be had has no figure, and `note` says why.
    """

    what: str
    unit: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    most: float | None = None
    least: float | None = None
    note: str = ""
    at: float | None = None  # the size of the table, in a row that is a point of a line

    @property
    def ratio(self) -> float | None:
        """How many times as much ours is; of shares, such as that of false alarms, it would say nothing."""
        return self.ours / self.theirs if self.theirs and not self.unit.startswith("share") else None

    @property
    def met(self) -> bool | None:
        """Whether the budget is kept; None where there is none, or no peer to compare with."""
        judged = self.ratio if self.peer else self.ours
        if judged is None or self.most is self.least is None:
            return None
        return judged <= self.most if self.most is not None else judged >= (self.least or 0)


class NotToBeHadError(Exception):
    """A peer cannot be installed here; the message says why."""


def run(folder: Path, *command: str) -> str:
    """Run a command that has to succeed; what it printed."""
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{shlex.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def cost(side: Side) -> Cost:
    """What one run takes, which has to succeed; processor time is that of all threads and processes that it started."""
    side.reset()
    log = TEMPLATE / "bench" / "last.log"
    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(side.command, cwd=side.folder, env=ENVIRONMENT, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{shlex.join(side.command)} failed:\n{log.read_text(encoding='utf-8', errors='replace')[-5000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def turns(sides: Mapping[str, Side], repeat: int, within: float = 60) -> dict[str, Cost]:
    """Medians of each side: all run once to warm up, then in turns, `repeat` times or until `within` seconds are over.

    Times of one machine prove nothing, so what counts is the ratio to the peer that took turns with us.
    """

    def round_of(number: int) -> dict[str, Cost]:
        say(f"{', '.join(sides)}: {f'turn {number}' if number else 'warming up'}")
        return {name: cost(side) for name, side in sides.items()}

    round_of(0)
    until, found = time.perf_counter() + within, [round_of(1)]
    while len(found) < repeat and time.perf_counter() < until:
        found.append(round_of(len(found) + 1))
    return {name: Cost(*map(statistics.median, zip(*(each[name] for each in found), strict=True))) for name in sides}


def rows(
    what: str, costs: Mapping[str, Cost], most: float | None = None, most_memory: float | None = None
) -> list[Row]:
    """Rows of the first side beside each other one; the budgets are of the first peer."""
    (_, ours), *others = costs.items()
    found = []
    for place, (peer, theirs) in enumerate(others):
        first = place == 0
        found += [
            Row(what, "s", ours.seconds, peer, theirs.seconds, most=most if first else None),
            Row(what, "s of processor time", ours.processor, peer, theirs.processor),
            Row(what, "MB at the peak", ours.megabytes, peer, theirs.megabytes, most=most_memory if first else None),
        ]
    return found


def say(words: str) -> None:
    """Tell the person who waits."""
    print(words, file=sys.stderr, flush=True)


def environment(name: str, *packages: str) -> str:
    """The interpreter of a peer's own environment, which is made at the first call.

    Raises:
        NotToBeHadError: the packages cannot be installed together, or not for this Python.
    """
    folder = PEERS / name
    interpreter, stamp = folder / "bin" / "python", folder / "packages.json"
    wanted = json.dumps([sys.executable, *packages])
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        installed(folder, packages)
        stamp.write_text(wanted, encoding="utf-8")
    USED[name] = versions(str(interpreter), *(re.split(r"[\[<=>]", package)[0] for package in packages))
    return str(interpreter)


def installed(folder: Path, packages: Iterable[str]) -> None:
    """Make an environment."""
    say(f"installing {', '.join(packages)}")
    uv, interpreter = ["uv", "--quiet"], folder / "bin" / "python"
    for command in (
        [*uv, "venv", "--clear", "--python", sys.executable, str(folder)],
        [*uv, "pip", "install", "--python", str(interpreter), *packages],
    ):
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            raise NotToBeHadError(" ".join(done.stderr.split())[:300])


@cache
def versions(interpreter: str, *names: str) -> dict[str, str]:
    """The versions of some packages in an environment."""
    listed = json.loads(run(TEMPLATE, "uv", "pip", "list", "--quiet", "--format", "json", "--python", interpreter))
    known = {each["name"]: each["version"] for each in listed}
    return {name: known[name] for name in names if name in known}


def locked(*names: str) -> list[str]:
    """Requirements of a peer that takes some packages in the versions that we have."""
    return [f"{name}=={version}" for name, version in versions(sys.executable, *names).items()]


@cache  # a commit while a benchmark runs would take its tables away
def exported() -> Path:
    """The template as a clone of it has it; what an older state of it left behind is removed."""
    template, state = FOLDER / "template", ("git", "rev-parse", f"HEAD:{PROJECT.name}", "HEAD:hooks")
    if not template.exists() or run(template, *state) != run(TEMPLATE, *state):
        shutil.rmtree(template.parent, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        run(TEMPLATE, "git", "clone", "--quiet", str(TEMPLATE), str(template))
    return template


def generated() -> Path:
    """The example project, generated and run once."""
    template, project = exported(), FOLDER / "customer-churn"
    if not project.exists():
        say("generating the example")
        run(FOLDER, *GENERATE, str(template), "setup=here", "--output-dir", str(FOLDER))
    return project


def copied(name: str) -> Path:
    """A copy of the example, with its storage, for a benchmark that changes it."""
    source, folder = generated(), FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    for each in (source, source.with_name("customer-churn-storage")):
        shutil.copytree(each, folder / each.name, symlinks=True)
    project = folder / source.name
    for setting, value in {"user.name": "bench", "user.email": "bench@localhost"}.items():
        run(project, "git", "config", setting, value)
    return project


def from_table(name: str, table: Path, *answers: str) -> Path:
    """A project of files only, made of a table whose target is `target`."""
    template, project = exported(), FOLDER / name
    shutil.rmtree(project, ignore_errors=True)
    given = [f"data={table}", "target=target", f"project={name}", "setup=no", *answers]
    run(FOLDER, *GENERATE, str(template), *given, "--output-dir", str(FOLDER))
    return project


def stage(project: Path, name: str) -> list[str]:
    """The command of a stage."""
    from ruamel.yaml import YAML

    command: str = YAML(typ="safe").load(project / "dvc.yaml")["stages"][name]["cmd"]
    return [sys.executable, *shlex.split(command)[1:]]
