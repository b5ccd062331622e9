"""`reproduce`: run the pipeline of a version again, and compare the results."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.base import console, environment
from mlops.base.errors import StoreError, with_memory
from mlops.commands.options import AsJson
from mlops.history import cache, clones, data_versions, dvc, git, paths, provenance, revisions
from mlops.history.clones import State
from mlops.history.revisions import Revision
from mlops.registry import backend, registry, sqlite_store

FOLDER = Path(".dvc/tmp/reproduce")


def reproduce(
    what: Annotated[str, typer.Argument(help="Number of a version; or a commit, branch or tag.")],
    fresh_env: Annotated[bool, typer.Option("--fresh-env", help="Install the requirements.txt of its commit.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version or commit again, and compare the bytes.

    The pipeline runs on its code and its data, in a clone; the work tree stays as it is. A version that gave the same
    bytes says so from then on, with who made it again. The exit code is 3 if the results differ.

    Raises:
        StoreError: there is no such version or commit, its data cannot be had, or this environment is not the
            environment of its commit.
    """
    revision = _revision(what)
    folders = (*data_versions.FOLDERS, paths.EVENTS.as_posix())
    data = {f"{folder}.dvc": revision.data(folder) for folder in folders}
    cache.fetch([digest for digest in data.values() if digest], f"the data of {revision.short}")
    folder = (FOLDER / f"{os.getpid()}").resolve()
    with clones.clone(State(revision.commit), folder, [name for name, digest in data.items() if digest]) as project:
        python = _environment(project, fresh_env)
        verdict = _damaged(project, revision) or _rerun(project, revision, python)
    found = {"version": what if what.isdecimal() else None, "commit": revision.commit, **verdict}
    if found["version"] and found["verdict"] == "identical bytes":
        _enter(what)
    console.print_json(found) if as_json else typer.echo(_sentence(found))
    if verdict["verdict"] != "identical bytes":
        sys.exit(console.VERDICT)


def _revision(what: str) -> Revision:
    """The commit behind a version, or with this name."""
    if not what.isdecimal():
        return revisions.find(what)
    with registry.configured() as (client, settings):
        return revisions.of_result(registry.version(client, settings.name, what).tags)


def _enter(number: str) -> None:
    """Let a version say that it was made again; an account that may only read leaves it as it is."""
    who, where = (
        provenance.account() or provenance.identity() or "somebody",
        "in CI" if os.environ.get("CI") else "by hand",
    )
    text = f"identical bytes on {datetime.now(UTC):%Y-%m-%d} by {who}, {where}"
    with registry.configured() as (client, settings):
        try:
            client.set_model_version_tag(settings.name, number, registry.REMADE, text)
        except Exception as error:
            if not backend.refused(error):
                raise
            typer.echo(f"{settings.name} {number} does not say so: this account may not write there", err=True)


def _environment(project: Path, fresh: bool) -> str:
    """The Python for the pipeline: this one if its packages are those of the commit, or with `fresh` a new one.

    Raises:
        StoreError: the packages differ, or the new environment cannot be made.
    """
    if fresh:
        python = str(project / ".venv" / environment.SCRIPTS / "python")
        steps = [
            [sys.executable, "-m", "venv", str(project / ".venv")],
            [python, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", "requirements.txt"],
        ]
        for step in console.progress(steps, len(steps), "making the environment"):
            done = subprocess.run(
                step, cwd=project, capture_output=True, encoding="utf-8", errors="replace", check=False
            )
            if done.returncode:
                why = " ".join(done.stderr.split())[-300:]
                raise StoreError(f"the environment of requirements.txt could not be made ({why})")
        return python
    check = [sys.executable, "-m", "mlops.base.environment"]
    done = subprocess.run(
        check,
        cwd=project,
        env=clones.environment(),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise StoreError(f"{done.stderr.strip().removeprefix('Error: ')} Or give --fresh-env.")
    return sys.executable


def _damaged(project: Path, revision: Revision) -> dict[str, Any] | None:
    """The verdict if a data file does not have the content that Git says; None if all files have it."""
    for path, digest in data_versions.files_of(revision).items():
        if cache.md5(project / path) != digest:
            return {"verdict": "not reproducible", "differing": [path], "why": "its content is not what Git says"}
    return None


def _rerun(project: Path, revision: Revision, python: str) -> dict[str, Any]:
    """The verdict after running the whole pipeline and comparing its results with the commit."""
    path = os.pathsep.join([str(Path(python).parent), clones.environment()["PATH"]])
    environment = clones.environment(PATH=path, MLFLOW_TRACKING_URI=sqlite_store.address(project / "mlflow.db"))
    output, failed = clones.run(dvc.command("repro", "--force", python=python), project, environment)
    if failed:
        errors = [line for line in output.splitlines() if line.startswith(("Error: ", "ERROR: "))]
        why = with_memory(errors[0]) if errors else "the pipeline failed"
        return {"verdict": "not reproducible", "differing": [], "why": why}
    now = revisions.locked((project / paths.LOCK).read_text(encoding="utf-8"))
    differing = [path for path, digest in revision.digests.items() if now.get(path) != digest]
    # What Git has of a report may not be what dvc.lock says of it.
    changed = git.run("-C", str(project), "diff", "--name-only", "--relative", "-z", "HEAD").split("\0")[:-1]
    differing += [path for path in changed if path != paths.LOCK.as_posix() and path not in differing]
    if not differing:
        return {"verdict": "identical bytes", "differing": [], "outputs": len(revision.digests)}
    same = json.loads((project / paths.METRICS).read_text(encoding="utf-8")) == revision.json(paths.METRICS)
    return {"verdict": "identical metrics" if same else "not reproducible", "differing": differing, "why": None}


def _sentence(found: dict[str, Any]) -> str:
    name = f"version {found['version']}, made of " if found["version"] else ""
    start = f"{name}{found['commit'][:8]}: {found['verdict']}"
    if found["verdict"] == "identical bytes":
        return f"{start} ({found['outputs']} files and folders)"
    first = f"; the first that differs is {found['differing'][0]}" if found["differing"] else ""
    others = f" (of {len(found['differing'])})" if len(found["differing"]) > 1 else ""
    return f"{start}{first}{others}" + (f"; {found['why']}" if found.get("why") else "")
