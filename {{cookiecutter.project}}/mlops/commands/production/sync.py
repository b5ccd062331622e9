"""`sync`: record results in MLflow without DVC, for the work tree or for experiments."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from mlops.base import params, yaml
from mlops.base.errors import StoreError
from mlops.commands.options import DryRun
from mlops.history import cache, clones, paths, revisions
from mlops.history.clones import State
from mlops.history.revisions import Revision
from mlops.registry import backend, registry

FOLDER = Path(".dvc/tmp/sync")


def sync(
    experiments: Annotated[bool, typer.Option("--experiments", help="Record experiments that have no run.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Record the result of the work tree in MLflow.

    This runs the command of the stage `register`, even if DVC finds nothing to do: after a clone, or for a new
    registry.

    Raises:
        StoreError: the command failed, and has said why; or the model is missing, or not the model of dvc.lock.
    """
    if experiments:
        _sync_experiments(dry_run=dry_run)
        return
    expected = revisions.find("").digests.get(paths.MODEL.as_posix())
    if expected is not None and not paths.MODEL.exists():
        raise StoreError(f"{paths.MODEL} is missing: `dvc pull` brings it, or `dvc repro` makes it")
    if expected is None or not paths.MODEL.is_file() or cache.md5(paths.MODEL) != expected:
        raise StoreError(
            f"{paths.MODEL} is not the model of {paths.LOCK}, and was not loaded: delete it, and `dvc pull` brings "
            "that one, or `dvc repro` makes it"
        )
    command = yaml.read(paths.PIPELINE)["stages"]["register"]["cmd"]
    arguments = [*shlex.split(command)[1:], *(["--dry-run"] if dry_run else [])]
    if _ended([sys.executable, *arguments]):
        raise StoreError("nothing was synchronised: see the line above")


def _sync_experiments(*, dry_run: bool) -> None:
    """Record every experiment of HEAD that has no MLflow run.

    DVC skips `register` in an experiment that changes nothing that the stage reads: then there is no run.

    Raises:
        StoreError: the results of an experiment cannot be had, or recording failed, and has said why.
    """
    tracking = params.load(params.Tracking)
    with registry.opened(tracking.uri) as client:
        recorded = registry.experiments(client, tracking.experiment)
    baseline = revisions.find("HEAD").commit
    missing = [each for each in revisions.experiments() if (each.name, baseline) not in recorded]
    for experiment in missing:
        if not dry_run:
            _record(experiment, baseline, backend.address(tracking.uri))
        typer.echo(f"{experiment.name} {'would be' if dry_run else 'is'} recorded")
    if not missing:
        typer.echo("every experiment has its run")


def _record(experiment: Revision, baseline: str, address: str) -> None:
    own = {"DVC_EXP_NAME": experiment.name, "DVC_EXP_BASELINE_REV": baseline, "MLFLOW_TRACKING_URI": address}
    with clones.clone(State(experiment.commit), (FOLDER / f"{os.getpid()}").resolve()) as project:
        command = [sys.executable, "-m", "mlops", "sync"]
        if _ended(command, cwd=project, env=clones.environment(**own)):
            raise StoreError(f"{experiment.name} was not recorded: see the line above")


def _ended(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> int:
    """Run a command to its end; its exit code.

    An interruption reaches the command, too, which takes half a run back. `subprocess.run` would kill it after a
    quarter of a second.
    """
    process = subprocess.Popen(command, cwd=cwd, env=env)
    try:
        return process.wait()
    except BaseException:
        process.wait()
        raise
