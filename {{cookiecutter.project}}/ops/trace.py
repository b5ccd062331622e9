"""`trace`: the whole chain behind a version, from the raw files to production, with digests and commits."""

import json
from pathlib import Path
from typing import Any

import typer

from ml.errors import StoreError
from store import audit, cache, files, params, registry, revisions, versions
from store.registry import Version
from store.revisions import Revision

KINDS = ("model", "data", "params", "code")
DIGITS = 12


def trace(what: str, *, as_json: bool) -> None:
    """Print the chain of a version by its number, of a model file by its bytes, or of each that a data file went into.

    Raises:
        StoreError: no version has to do with it, or no commit here holds that version.
    """
    settings, tracking = params.load(params.Register), params.load(params.Tracking)
    with registry.opened(tracking.uri) as client:
        known = registry.versions(client, settings.name)
        entries = audit.read(client, settings.name)
    found = []
    for version in _meant(what, known):
        revision = revisions.of_result(version.tags)
        changes = [entry for entry in entries if entry["to"] == version.number]
        found.append(_chain(version, revision, changes))
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
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
        there = ", ".join(version.number for version in known) or "none"
        raise StoreError(f"{what} is neither a version (there are {there}) nor a file of a model or of data")
    model = files.sha256(path)
    found = [version for version in known if version.tags.get("model_digest") == model]
    if not found:
        content = cache.md5(path)
        found = [version for version in known if content in _data_of(version)]
    if not found:
        raise StoreError(f"{what} is the model of no version, and was among the data of none that this repository has")
    return found


def _data_of(version: Version) -> set[str]:
    """The MD5s of all files of data behind a version; none if its commit is not here."""
    try:
        revision = revisions.of_result(version.tags)
    except StoreError:
        return set()
    return {file["md5"] for folder in versions.folders() for file in _files(revision, folder)}


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
        "data": [file for folder in versions.folders() for file in _files(revision, folder)],
        "stages": {
            name: {
                side: {entry["path"]: entry["md5"] for entry in stage.get(side, []) if not _is_code(entry["path"])}
                for side in ("deps", "outs")
            }
            for name, stage in revision.stages.items()
        },
        "metrics": revision.json(revisions.METRICS),
        "gate": revision.json(revisions.REGISTRATION)["rules"],
        "production": changes,
    }


def _is_code(path: str) -> bool:
    return path.endswith(".py") or path.startswith("store/templates/") or path == "requirements.txt"


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
