"""The history of a version as OpenLineage events (specification 2-0-2), which data catalogues read."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from mlops.history import paths
from mlops.registry import registry

Plain = dict[str, Any]

PRODUCER = "pkg:generic/cookiecutter-dvc-mlops"  # a package URL, since no web address is common to all copies
SPECIFICATION = "https://openlineage.io/spec"
EVENT = f"{SPECIFICATION}/2-0-2/OpenLineage.json#/$defs/RunEvent"
SOURCE = f"{SPECIFICATION}/facets/1-1-0/SourceCodeLocationJobFacet.json#/$defs/SourceCodeLocationJobFacet"
VERSION = f"{SPECIFICATION}/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
TAGS = f"{SPECIFICATION}/facets/1-0-0/TagsRunFacet.json#/$defs/TagsRunFacet"


def events(chain: Mapping[str, Any]) -> list[Plain]:
    """One COMPLETE event per stage, then one per approval, promotion and rollback; `chain` comes from `trace`.

    The same chain gives the same events with the same run ids. The time of a stage is the time of its commit, since
    the pipeline keeps no times; the time of the stage that registers is the time when the version was made.
    """
    version, name = chain["version"], chain["name"]
    digests = {kind: version.get(kind, "") for kind in registry.DIGESTS}
    registered = _dataset(chain["store"], name, version["version"])
    code = _facet(SOURCE, type="git", url=chain["repository"], version=chain["commit"])
    found = []
    for stage, files in chain["stages"].items():
        job = {"namespace": name, "name": stage, "facets": {"sourceCodeLocation": code} if chain["repository"] else {}}
        inputs = [_dataset(f"dvc://{name}", *file) for file in _read(files["deps"], chain["data"])]
        outputs = [_dataset(f"dvc://{name}", *file) for file in files["outs"].items()]
        when, tags = chain["committed"], {}
        if paths.METRICS.as_posix() in files["outs"]:
            tags = chain["metrics"]
        if paths.REGISTRATION.as_posix() in files["outs"]:
            outputs.append(registered)
            when, tags = version["created"], {"author": version.get("author"), **digests}
        found.append(_event(job, "/".join(digests.values()), when, inputs, outputs, tags))
    champion = _dataset(chain["store"], f"{name}@{registry.CHAMPION}", version["version"])
    for entry in chain["production"]:
        job = {"namespace": name, "name": entry["action"], "facets": {}}
        outputs = [] if entry["action"] == "approve" else [champion]
        tags = {fact: entry[fact] for fact in ("who", "reason", "from")}
        found.append(_event(job, entry["hash"], entry["when"], [registered], outputs, tags))
    return found


def public(address: str) -> str:
    """An address without user, password, query and fragment."""
    # A password that is not encoded may contain a slash.
    bare = re.sub(r"^([\w+.:-]+://)(?:[^/?#]*|[^:/@]*:[^@]*)@", r"\1", address)
    return re.split(r"[?#]", bare)[0] if "://" in bare else bare


def source(remote: str) -> str:
    """The public URL of a Git remote, which may be written as user@host:path; "" if the remote is a path."""
    if "://" not in remote:
        host = re.fullmatch(r"(?:[^/:@]+@)?([^/:@]{2,}):([^:].*)", remote)  # one letter is a drive
        remote = f"ssh://{host[1]}/{host[2].lstrip('/')}" if host else ""
    return quote(public(remote), safe="/:@%+~[]")


def _read(deps: Mapping[str, str], data: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Path and MD5 of everything that a stage reads; a data folder is followed by its known files."""
    folders = tuple(f"{dep}/" for dep in deps)
    return [*deps.items(), *((file["path"], file["md5"]) for file in data if file["path"].startswith(folders))]


def _event(
    job: Plain, identity: str, when: str, inputs: list[Plain], outputs: list[Plain], tags: Mapping[str, Any]
) -> Plain:
    """The event of a finished run; its id is derived from the job and the `identity` of the run."""
    facets = [{"key": key, "value": str(value)} for key, value in tags.items() if value is not None]
    return {
        "eventType": "COMPLETE",
        "eventTime": when,
        "run": {
            "runId": str(uuid5(NAMESPACE_URL, f"{job['namespace']}/{job['name']}/{identity}")),
            "facets": {"tags": _facet(TAGS, tags=facets)} if facets else {},
        },
        "job": job,
        "inputs": inputs,
        "outputs": outputs,
        "producer": PRODUCER,
        "schemaURL": EVENT,
    }


def _dataset(namespace: str, name: str, version: str) -> Plain:
    return {"namespace": namespace, "name": name, "facets": {"version": _facet(VERSION, datasetVersion=version)}}


def _facet(schema: str, **content: Any) -> Plain:
    return {"_producer": PRODUCER, "_schemaURL": schema, **content}
