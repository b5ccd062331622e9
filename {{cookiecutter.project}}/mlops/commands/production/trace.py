"""`trace`: the whole chain behind a version, from the raw files to production, with digests and commits."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops.base import console, files, params
from mlops.base.errors import StoreError
from mlops.commands.options import AsJson
from mlops.commands.production import lineage
from mlops.data import digest
from mlops.history import cache, data_versions, git, paths, revisions
from mlops.history.revisions import Revision
from mlops.registry import audit, backend, registry
from mlops.registry.registry import Version

KINDS = ("model", "data", "params", "code")
DIGITS = 12


def trace(
    what: Annotated[
        str, typer.Argument(help="The number of a version, a prediction id, or a file of a model or data.")
    ],
    openlineage: Annotated[Path | None, typer.Option(help="Also write OpenLineage events here, one a line.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say where a version comes from and where it went: raw files, stages, metrics, gate, approvals, production.

    A model file stands for the version that has its bytes, a data file for each version that it went into, and a
    prediction id (see `mlops.data.digest.prediction_ids`) stands for the version that gave it.

    With `openlineage`, that file gets the events of all of them, one JSON object a line.

    Raises:
        StoreError: no version has to do with it, no commit here holds that version, or the file cannot be written.
    """
    settings, tracking = params.load(params.Register), params.load(params.Tracking)
    with registry.opened(tracking.uri) as client:
        known = registry.versions(client, settings.name)
        entries = audit.read(client, settings.name)
    store = lineage.public(backend.address(tracking.uri))
    found = []
    for version in _meant(what, known):
        revision = revisions.of_result(version.tags)
        changes = [entry for entry in entries if entry.get("to") == version.number]
        found.append({"name": settings.name, "store": store, **_chain(version, revision, changes)})
    if openlineage:
        _export(found, openlineage)
    if as_json:
        console.print_json(found)
        return
    for chain in found:
        for line in _lines(chain):
            typer.echo(line)


def _meant(what: str, known: list[Version]) -> list[Version]:
    """The versions that a number, a model file or a data file stands for."""
    path = Path(what)
    if not path.is_file():
        if found := [version for version in known if version.number == what]:
            return found
        if (model := digest.model_of(what)) and (found := _of_model(known, model)):
            return found
        there = ", ".join(version.number for version in known) or "none"
        raise StoreError(
            f"{what} is neither a version (there are {there}), nor a prediction, nor a file of a model or of data"
        )
    found = _of_model(known, files.sha256(path))
    if not found:
        content = cache.md5(path)
        found = [version for version in known if content in _data_of(version)]
    if not found:
        raise StoreError(f"{what} is the model of no version, and was among the data of none that this repository has")
    return found


def _of_model(known: list[Version], beginning: str) -> list[Version]:
    return [version for version in known if version.tags.get(registry.MODEL_DIGEST, "").startswith(beginning)]


def _data_of(version: Version) -> set[str]:
    """The MD5s of all files of data behind a version; none if its commit is not here."""
    try:
        revision = revisions.of_result(version.tags)
    except StoreError:
        return set()
    return {file["md5"] for folder in data_versions.folders() for file in _files(revision, folder)}


def _files(revision: Revision, folder: str) -> list[dict[str, str]]:
    """The files of a folder of data, each with its MD5; none if DVC's cache has not even their list."""
    digest = revision.data(folder)
    if not digest or not cache.path_of(digest).exists():
        return []
    return [{"path": f"{folder}/{entry['relpath']}", "md5": entry["md5"]} for entry in cache.listing(digest)]


def _chain(version: Version, revision: Revision, changes: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything between a raw file and production, as plain values."""
    return {
        "version": version.as_dict(),
        "commit": revision.commit,
        "committed": _committed(revision.commit),
        "repository": lineage.source(git.run("remote", "get-url", "origin", default="").strip()),
        "data": [file for folder in data_versions.folders() for file in _files(revision, folder)],
        "stages": {
            name: {
                side: {entry["path"]: entry["md5"] for entry in stage.get(side, []) if not paths.is_code(entry["path"])}
                for side in ("deps", "outs")
            }
            for name, stage in revision.stages.items()
        },
        "metrics": revision.json(paths.METRICS),
        "gate": revision.json(paths.REGISTRATION)["rules"],
        "production": changes,
    }


def _committed(commit: str) -> str:
    """When a commit was made, in UTC."""
    seconds = int(git.run("show", "--no-patch", "--format=%ct", commit))
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _export(chains: list[dict[str, Any]], path: Path) -> None:
    lines = [json.dumps(event) for chain in chains for event in lineage.events(chain)]
    files.write_text(path, "".join(f"{line}\n" for line in lines))
    # Beside what is printed for the next program to read.
    typer.echo(f"{len(lines)} OpenLineage events are in {path}", err=True)


def _lines(chain: dict[str, Any]) -> list[str]:
    version = chain["version"]
    lines = [
        f"version {version['version']} ({', '.join(version['aliases']) or 'no alias'}), commit {chain['commit'][:8]}"
    ]
    lines += [f"  {file['path']}  md5 {file['md5'][:DIGITS]}" for file in chain["data"]]
    for name, stage in chain["stages"].items():
        lines.append(f"  {name}: {', '.join(stage['deps'])}")
        lines += [f"    → {path}  md5 {digest[:DIGITS]}" for path, digest in stage["outs"].items()]
    lines.append(
        "  " + ", ".join(f"{name} {value:.4f}" for name, value in chain["metrics"].items() if value is not None)
    )
    lines += [f"  {'✓' if rule['passed'] else '✗'} {rule['rule']}" for rule in chain["gate"]]
    lines.append(
        f"  registered {version['created']} by {version.get('author', 'unknown')}: "
        + ", ".join(f"{kind} {version.get(f'{kind}_digest', '')[:DIGITS]}" for kind in KINDS)
    )
    lines += [
        f"  {entry['action']} {entry['when']} by {entry['who']}: {entry['reason'] or 'no reason given'}"
        for entry in chain["production"]
    ]
    return lines
