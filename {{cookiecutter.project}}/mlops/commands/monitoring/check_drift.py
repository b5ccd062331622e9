"""`check-drift`: the alarm. The stage `monitor` only reports, so that its report is never lost to its own alarm."""

import sys

import typer

from mlops.base import console, files
from mlops.base.errors import StoreError
from mlops.commands.options import AsJson
from mlops.history import cache, paths, revisions

RETRAIN = console.VERDICT + 1


def check_drift(as_json: AsJson = False) -> None:
    """Say whether the newest delivery drifted.

    The exit code is 3 if its columns or the predictions drifted, and 4 if retraining is recommended.

    Raises:
        StoreError: there is no report, or it is not the report of the delivery that is here.
    """
    found = files.read_json(paths.DRIFT)
    now = revisions.find("")
    delivery = cache.md5(paths.INCOMING) if paths.INCOMING.is_dir() else now.data(paths.INCOMING.as_posix())
    known, monitor = now.digests, now.stages.get("monitor", {})
    here = {paths.INCOMING.as_posix(): delivery, paths.DRIFT.as_posix(): cache.md5(paths.DRIFT)}
    older = [dep["path"] for dep in monitor.get("deps", []) if known[dep["path"]] != dep["md5"]]  # than the model, say
    if older or "monitor" in now.stale() or any(known.get(path) != digest for path, digest in here.items()):
        raise StoreError(f"{paths.DRIFT} is not the report of what is in {paths.INCOMING}: `dvc repro` writes it")
    if as_json:
        console.print_json(found)
    else:
        typer.echo(found["verdict"])
    if found["alarm"]:
        sys.exit(RETRAIN if found["retraining"]["recommended"] else console.VERDICT)
