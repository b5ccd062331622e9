"""`sync`: run what the stage `register` runs, whatever DVC thinks of it."""

import shlex
import subprocess
import sys

from ml.errors import StoreError
from store import provenance, yaml


def sync(*, dry_run: bool) -> None:
    """Run the command that dvc.yaml gives for `register`.

    Raises:
        StoreError: it failed; it has said why.
    """
    command = yaml.read(provenance.PIPELINE)["stages"]["register"]["cmd"]
    arguments = [*shlex.split(command)[1:], *(["--dry-run"] if dry_run else [])]
    if subprocess.run([sys.executable, *arguments], check=False).returncode:
        raise StoreError("nothing was synchronised: see the line above")
