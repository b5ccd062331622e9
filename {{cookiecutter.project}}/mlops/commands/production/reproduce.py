"""`reproduce`: make a version again, from its commit and its data, and say whether the same came out."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.base import console, params
from mlops.base.errors import StoreError
from mlops.commands.options import AsJson
from mlops.history import cache, clones, data_versions, dvc, paths, revisions
from mlops.history.clones import State
from mlops.history.revisions import Revision
from mlops.registry import registry

FOLDER = Path(".dvc/tmp/reproduce")


def reproduce(
    version: Annotated[str, typer.Argument(help="Its number.")],
    fresh_env: Annotated[bool, typer.Option("--fresh-env", help="Make the environment of its lock anew.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version again from its commit and its data, beside the work tree, and say whether the same came out.

    The exit code is 1 if something else came out.

    Raises:
        StoreError: there is no such version, its commit or data cannot be had, or its environment is another one.
    """
    settings, tracking = params.load(params.Register), params.load(params.Tracking)
    with registry.opened(tracking.uri) as client:
        tags = registry.version(client, settings.name, version).tags
    revision = revisions.of_result(tags)
    data = {f"{folder}.dvc": revision.data(folder) for folder in data_versions.folders()}
    cache.fetch([digest for digest in data.values() if digest], f"the data of {revision.short}")
    folder = (FOLDER / f"{os.getpid()}").resolve()
    with clones.clone(State(revision.commit), folder, [name for name, digest in data.items() if digest]) as project:
        python = _environment(project, fresh_env)
        verdict = _damaged(project, revision) or _again(project, revision, python)
    found = {"version": version, "commit": revision.commit, **verdict}
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else _sentence(found))
    if verdict["verdict"] == "not reproducible":
        sys.exit(1)


def _environment(project: Path, fresh: bool) -> str:
    """The Python to run: this one, if it is what the commit's lock describes, or a new one that is.

    Raises:
        StoreError: it is not, or cannot be made.
    """
    if fresh:
        made = project / ".venv"
        python = str(made / "bin" / "python")
        steps = [
            [sys.executable, "-m", "venv", str(made)],
            [python, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", "requirements.txt"],
        ]
        for step in console.progress(steps, len(steps), "making the environment"):
            done = subprocess.run(step, cwd=project, capture_output=True, text=True, check=False)
            if done.returncode:
                why = " ".join(done.stderr.split())[-300:]
                raise StoreError(f"the environment of requirements.txt could not be made ({why})")
        return python
    checked = [sys.executable, "-m", "mlops.base.environment"]
    done = subprocess.run(checked, cwd=project, env=clones.environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise StoreError(f"{done.stderr.strip().removeprefix('Error: ')} Or give --fresh-env.")
    return sys.executable


def _damaged(project: Path, revision: Revision) -> dict[str, Any] | None:
    """The first file of the data whose content is not what its digest says, if there is one."""
    for folder in data_versions.folders():
        digest = revision.data(folder)
        for entry in cache.listing(digest) if digest else ():
            path = f"{folder}/{entry['relpath']}"
            if cache.md5(project / path) != entry["md5"]:
                return {"verdict": "not reproducible", "differing": [path], "why": "its content is not what Git says"}
    return None


def _again(project: Path, revision: Revision, python: str) -> dict[str, Any]:
    """Run everything, and compare what it wrote with what the commit says."""
    aside = {"MLFLOW_TRACKING_URI": f"sqlite:///{project.as_posix()}/mlflow.db"}
    path = os.pathsep.join([str(Path(python).parent), clones.environment()["PATH"]])
    command = dvc.command("repro", "--force", python=python)
    environment = clones.environment(**aside) | {"PATH": path}
    with (project / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=project, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    text = (project / "said").read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        errors = [line for line in text.splitlines() if line.startswith(("Error: ", "ERROR: "))]
        return {"verdict": "not reproducible", "differing": [], "why": errors[0] if errors else "the pipeline failed"}
    now = revisions.locked((project / paths.LOCK).read_text(encoding="utf-8"))
    differing = [path for path, digest in revision.digests.items() if now.get(path) != digest]
    if not differing:
        return {"verdict": "identical bytes", "differing": [], "outputs": len(revision.digests)}
    same = json.loads((project / paths.METRICS).read_text(encoding="utf-8")) == revision.json(paths.METRICS)
    return {"verdict": "identical metrics" if same else "not reproducible", "differing": differing, "why": None}


def _sentence(found: dict[str, Any]) -> str:
    said = f"version {found['version']}, made of {found['commit'][:8]}: {found['verdict']}"
    if found["verdict"] == "identical bytes":
        return f"{said} ({found['outputs']} files and folders)"
    first = f"; the first that differs is {found['differing'][0]}" if found["differing"] else ""
    others = f" (of {len(found['differing'])})" if len(found["differing"]) > 1 else ""
    return f"{said}{first}{others}" + (f"; {found['why']}" if found.get("why") else "")
