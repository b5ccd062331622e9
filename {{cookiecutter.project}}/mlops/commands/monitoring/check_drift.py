"""`check-drift`: the alarm. The stage `monitor` only reports, so that its report is never lost to its own alarm."""

import sys

import typer

from mlops.base import console, files
from mlops.base.errors import StoreError
from mlops.commands.options import AsJson
from mlops.history import cache, paths, revisions

RETRAIN = console.VERDICT + 1


def check_drift(as_json: AsJson = False) -> None:
    """Say whether the newest delivery has drifted, or the model got worse on it.

    The exit code is 0 if all is well, 3 if something drifted, and 4 if retraining is recommended.

    Raises:
        StoreError: there is no report, or it is not the report of the delivery that is here.
    """
    found = files.read_json(paths.DRIFT)
    now = revisions.find("")
    delivery = cache.md5(paths.INCOMING) if paths.INCOMING.is_dir() else now.data(paths.INCOMING.as_posix())
    known = now.digests
    if known.get(paths.INCOMING.as_posix()) != delivery or known.get(paths.DRIFT.as_posix()) != cache.md5(paths.DRIFT):
        raise StoreError(f"{paths.DRIFT} is not the report of what is in {paths.INCOMING}: `dvc repro` writes it")
    if as_json:
        console.print_json(found)
    else:
        typer.echo(found["verdict"])
    if found["alarm"]:
        sys.exit(RETRAIN if found["retraining"]["recommended"] else console.VERDICT)
