"""`trust`: let this account open a model that somebody else has made."""

import typer

from mlops.base import files, model_files
from mlops.commands.options import DryRun
from mlops.history import paths, provenance, revisions


def trust(dry_run: DryRun = False) -> None:
    """Trust the model that is checked out, though it was made elsewhere.

    A model file is code, which whoever can write to DVC's remote can replace. `reproduce HEAD` makes the model again
    instead, and needs no trust.

    Raises:
        StoreError: there is no model.
    """
    digest = files.sha256(paths.MODEL)
    data = files.read_json(paths.DATASET)["digest"]
    commits = revisions.commits_of(provenance.digests(paths.MODEL, data))
    whose = ", ".join(f"{commit.author} in {commit.digest[:8]}" for commit in commits) or "nobody"
    if not dry_run:
        model_files.trust(digest)
    verb = "would be" if dry_run else "is"
    typer.echo(f"{paths.MODEL} (SHA-256 {digest[:12]}…), committed by {whose}, {verb} trusted on this account")
