"""Trials of a sweep: DVC experiments that run in a clone of the project."""

import json
import re
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mlops.base import params, yaml
from mlops.base.errors import StoreError, with_memory
from mlops.history import clones, dvc, git, paths, revisions
from mlops.history.clones import State
from mlops.history.revisions import Revision

SKIPPED = "Stage 'register' didn't change, skipping"
PLAIN = re.compile(r"[\w./+-]+")


@dataclass(frozen=True)
class Trial:
    """One experiment of a sweep: its number, its name, and its parameter changes as DVC's `-S` takes them."""

    number: int
    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class TrialResult:
    """Mean and standard deviation of the metric over the folds; both are None while the trial runs or if it failed.

    The deviation is also None if the metric is defined in one fold only.

    `parameters` has the values of params.yaml by dotted name, and `failed` the reason of a failure.
    """

    trial: Trial
    mean: float | None = None
    std: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    failed: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self.trial), "mean": self.mean, "std": self.std, "failed": self.failed}


def finished(sweep: str, metric: str) -> list[TrialResult]:
    """The finished trials of this sweep: its experiments in Git."""
    before = params.flat(revisions.find("").yaml(params.FILE))
    results = []
    for revision in revisions.experiments():
        if re.fullmatch(re.escape(sweep) + r"-\d+", revision.name):
            now = params.flat(revision.yaml(params.FILE))
            changes = {name: now[name] for name in now if name not in before or before[name] != now[name]}
            trial = Trial(int(revision.name.rpartition("-")[2]), revision.name, as_overrides(changes))
            results.append(_result(revision, trial, metric, now))
    return results


def _result(revision: Revision, trial: Trial, metric: str, parameters: Mapping[str, Any]) -> TrialResult:
    """The result of a trial in Git; an experiment for which this metric is not defined has failed."""
    try:
        scores = revision.json(paths.TRAINING)["cross_validated"]
        defined = [name for name, score in scores.items() if score["mean"] is not None]
    except StoreError as error:
        return TrialResult(trial, parameters=parameters, failed=str(error))
    if metric not in defined:
        failed = f"{metric} is not defined for it, but {', '.join(defined) or 'no other metric either'}"
        return TrialResult(trial, parameters=parameters, failed=failed)
    return TrialResult(trial, scores[metric]["mean"], scores[metric]["std"], parameters)


def as_overrides(changes: Mapping[str, Any]) -> tuple[str, ...]:
    """Parameter changes as `-S` takes them."""
    return tuple(
        f"{name}={value if isinstance(value, str) and PLAIN.fullmatch(value) else json.dumps(value)}"
        for name, value in changes.items()
    )


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """The values of overrides by dotted name."""
    pairs = (override.partition("=") for override in overrides)
    return {name: yaml.parsed(value, name) for name, _, value in pairs}


def run(
    trial: Trial, state: State, project: Path, metric: str, environment: Mapping[str, str], stop: threading.Event
) -> TrialResult:
    """Run one experiment in the clone of `project`, and push the experiment into this repository.

    Setting `stop` ends the experiment.
    """
    clones.restore(state, project)
    changes = [part for override in trial.overrides for part in ("-S", override)]
    output, failed = clones.run(dvc.command("exp", "run", "--name", trial.name, *changes), project, environment, stop)
    if not failed and SKIPPED in output:
        # DVC took the result from its cache, but each experiment has a run of its own in MLflow.
        own = {"DVC_EXP_NAME": trial.name, "DVC_EXP_BASELINE_REV": state.commit}
        output, failed = clones.run([sys.executable, "-m", "mlops", "sync"], project, {**environment, **own}, stop)
    if failed:
        return TrialResult(trial, failed=reason(output))
    ref = f"refs/exps/{state.commit[:2]}/{state.commit[2:]}/{trial.name}"
    git.run("-C", str(project), "push", "--quiet", "origin", f"{ref}:{ref}")
    revision = revisions.find(trial.name)
    return _result(revision, trial, metric, params.flat(revision.yaml(params.FILE)))


def reason(output: str) -> str:
    """The error of the stage that failed, else DVC's error, else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no reason given"]
    for prefix in ("Error: ", "ERROR: "):
        if errors := [line for line in lines if line.startswith(prefix)]:
            return with_memory(errors[-1].removeprefix(prefix).strip())
    return lines[-1]
