"""`sync`: run what the stage `register` runs, whatever DVC thinks of it: of what is checked out, or of experiments."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import typer

from ml.errors import StoreError
from store import backend, cache, clones, params, provenance, registry, revisions, yaml
from store.clones import State
from store.revisions import Revision

FOLDER = Path(".dvc/tmp/sync")


def sync(*, dry_run: bool) -> None:
    """Run the command that dvc.yaml gives for `register`.

    Raises:
        StoreError: it failed, and has said why; or the model is not that of dvc.lock, and was not loaded.
    """
    expected = revisions.find("").digests.get(revisions.MODEL.as_posix())
    if expected is None or not revisions.MODEL.is_file() or cache.md5(revisions.MODEL) != expected:
        raise StoreError(
            f"{revisions.MODEL} is not the model of {revisions.LOCK}, and was not loaded: `dvc checkout` or `dvc pull` "
            "brings that one, `dvc repro` makes it"
        )
    command = yaml.read(provenance.PIPELINE)["stages"]["register"]["cmd"]
    arguments = [*shlex.split(command)[1:], *(["--dry-run"] if dry_run else [])]
    if subprocess.run([sys.executable, *arguments], check=False).returncode:
        raise StoreError("nothing was synchronised: see the line above")


def sync_experiments(*, dry_run: bool) -> None:
    """Do so for each experiment of HEAD that has no run: DVC skips `register` where nothing that it reads has changed.

    Raises:
        StoreError: an experiment's results cannot be had, or recording one failed; it has said why.
    """
    tracking = params.load(params.Tracking)
    with registry.opened(tracking.uri) as client:
        recorded = registry.experiments(client, tracking.experiment)
    baseline = revisions.find("HEAD").commit
    missing = [one for one in revisions.experiments() if (one.name, baseline) not in recorded]
    for experiment in missing:
        if not dry_run:
            _record(experiment, baseline, backend.address(tracking.uri))
        typer.echo(f"{experiment.name} {'would be' if dry_run else 'is'} recorded")
    if not missing:
        typer.echo("every experiment has its run")


def _record(experiment: Revision, baseline: str, address: str) -> None:
    own = {"DVC_EXP_NAME": experiment.name, "DVC_EXP_BASELINE_REV": baseline, "MLFLOW_TRACKING_URI": address}
    with clones.clone(State(experiment.commit), (FOLDER / f"{os.getpid()}").resolve()) as project:
        command = [sys.executable, "-m", "ops", "sync"]
        if subprocess.run(command, cwd=project, env=clones.environment(**own), check=False).returncode:
            raise StoreError(f"{experiment.name} was not recorded: see the line above")
