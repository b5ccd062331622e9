"""DVC experiments that are run in a clone of the project, and read where they ended."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlops.base import params, yaml
from mlops.history import clones, git, paths, revisions
from mlops.history.clones import State
from mlops.history.revisions import Revision

PATIENCE = 10  # seconds that an ended experiment has to go
SKIPPED = "Stage 'register' didn't change, skipping"
PLAIN = re.compile(r"[\w./+-]+")


@dataclass(frozen=True)
class Candidate:
    """One experiment of a sweep: its number, its name, and what it changes, as DVC's `-S` takes it."""

    number: int
    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a candidate: mean and spread of the metric over the folds, or why it failed.

    `parameters` are all of params.yaml, by dotted name; `seconds` is what it took, if it ran just now.
    """

    candidate: Candidate
    mean: float | None
    std: float | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    failed: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self.candidate), "mean": self.mean, "std": self.std, "failed": self.failed}


def finished(sweep: str, metric: str) -> list[Outcome]:
    """The candidates of this sweep that are finished: experiments in Git."""
    found = []
    for revision in revisions.experiments():
        if re.fullmatch(re.escape(sweep) + r"-\d+", revision.name):
            candidate = Candidate(int(revision.name.rpartition("-")[2]), revision.name, _overrides(revision))
            found.append(_read(revision, candidate, metric))
    return found


def _overrides(revision: Revision) -> tuple[str, ...]:
    """What an experiment changed of the parameters that are in the work tree."""
    now, before = (params.flat(side.yaml(params.FILE)) for side in (revision, revisions.find("")))
    return tuple(
        f"{name}={as_override(value)}" for name, value in now.items() if name not in before or before[name] != value
    )


def _read(revision: Revision, candidate: Candidate, metric: str, seconds: float = 0.0) -> Outcome:
    spread = revision.json(paths.TRAINING)["cross_validated"][metric]
    return Outcome(candidate, spread["mean"], spread["std"], params.flat(revision.yaml(params.FILE)), seconds)


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """What changes, as values by dotted name."""
    pairs = (override.partition("=") for override in overrides)
    return {name: yaml.parsed(value, name) for name, _, value in pairs}


def as_override(value: Any) -> str:
    """A value as `-S` takes it."""
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) else json.dumps(value)
    return json.dumps(value)


def run(
    candidate: Candidate, state: State, folder: Path, project: Path, metric: str, address: str, stop: threading.Event
) -> Outcome:
    """Run one experiment in the clone in `folder`, whose project is `project`, and bring it into this repository.

    Its MLflow run goes to the store at `address`. It is ended once `stop` is set.
    """
    start = time.monotonic()
    clones.restore(state, folder)
    changes = [part for override in candidate.overrides for part in ("-S", override)]
    env = clones.environment(MLFLOW_TRACKING_URI=address)
    said, failed = _ended([*clones.DVC, "exp", "run", "--name", candidate.name, *changes], project, env, stop)
    if not failed and SKIPPED in said:
        # Its result was there before, but each experiment has a run of its own.
        own = {"DVC_EXP_NAME": candidate.name, "DVC_EXP_BASELINE_REV": state.commit}
        said, failed = _ended([sys.executable, "-m", "mlops", "sync"], project, env | own, stop)
    seconds = time.monotonic() - start
    if failed:
        return Outcome(candidate, None, None, seconds=seconds, failed=_reason(said))
    ref = f"refs/exps/{state.commit[:2]}/{state.commit[2:]}/{candidate.name}"
    git.run("-C", str(folder), "push", "--quiet", "origin", f"{ref}:{ref}")
    return _read(revisions.find(candidate.name), candidate, metric, seconds)


def _ended(command: list[str], project: Path, env: dict[str, str], stop: threading.Event) -> tuple[str, bool]:
    """Run a command to its end, or until the sweep is stopped: what it said, and whether it failed."""
    log = project / ".dvc" / "tmp" / "said"
    with log.open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=project,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        while process.poll() is None:
            if stop.wait(0.1):
                _end(process)
    return log.read_text(encoding="utf-8", errors="replace"), bool(process.returncode)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and those that it started: at first as Ctrl-C does, so that `register` takes back half a run."""
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, kind)
            process.wait(PATIENCE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _reason(said: str) -> str:
    """The sentence of the stage that failed, or the last one that DVC said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")] or [
        line for line in lines if line.startswith("ERROR: ")
    ]
    return (errors or lines or ["no reason given"])[-1].removeprefix("Error: ").removeprefix("ERROR: ")
