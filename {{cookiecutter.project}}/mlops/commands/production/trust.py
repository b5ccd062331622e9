"""`trust`: let this account open a model that somebody else has made."""

from typing import Annotated

import typer

from mlops.base import files, model_files
from mlops.base.errors import StoreError
from mlops.commands.options import DryRun
from mlops.history import cache, paths, provenance, revisions


def trust(
    committed: Annotated[
        bool, typer.Option("--committed", help="Refuse a model that is not the one of the last commit.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Trust the model that is here, though it was made elsewhere.

    A model file is code, which whoever can write to DVC's remote can replace. `reproduce HEAD` makes the model again
    instead, and needs no trust. With `--committed` only who can change the branch can choose it, as in CI on the main
    branch.

    Raises:
        StoreError: there is no model, or it is not the one of the last commit.
    """
    digest = files.sha256(paths.MODEL)
    if committed and cache.md5(paths.MODEL) != revisions.find("HEAD").digests.get(paths.MODEL.as_posix()):
        raise StoreError(
            f"{paths.MODEL} is not the model of the last commit, and is not trusted: delete it, and `dvc pull` brings "
            "that one; if it does not, somebody has replaced it in the remote"
        )
    data = files.read_json(paths.DATASET)["digest"]
    commits = revisions.commits_of(provenance.digests(paths.MODEL, data), passed=False)
    whose = ", ".join(f"{commit.author} in {commit.digest[:8]}" for commit in commits) or "nobody"
    if not dry_run:
        model_files.trust(digest)
    verb = "would be" if dry_run else "is"
    typer.echo(f"{paths.MODEL} (SHA-256 {digest[:12]}…), committed by {whose}, {verb} trusted on this account")
