"""The bill of materials of a version (CycloneDX 1.6, JSON): its packages by the lock, its model and its data.

https://cyclonedx.org/docs/1.6/json/ describes the fields. The file is made here, since a generator of such files would
bring six packages for these lines; a test holds it against the schema of the standard.
"""

import re
import uuid
from collections.abc import Mapping
from importlib import metadata
from typing import Any

# A pin of the lock, such as `numpy==2.4.6 ; python_full_version < '3.12'`, and its hashes on the lines that follow.
PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)(?: ; ([^\\\n]+?))?(?: \\)?\n((?: +--hash=.*\n?)*)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
MARKER = "mlops:environment-marker"  # which Python or system a package is for
NAMESPACE = uuid.UUID("8c8a35c1-1d0c-5d4e-9a47-2f1b6f0c2b64")  # of serial numbers made of digests
LONGEST_LICENSE = 100  # characters of a name; a longer one is the whole text
MODEL, DATA = "model", "data"  # references of components


def bill(project: str, lock: str, facts: Mapping[str, Any], time: str) -> dict[str, Any]:
    """The bill of a version of `project`: `lock` is the text of its requirements.txt, `facts` what is registered.

    `time` is that of its commit (ISO 8601), so that the same version gives the same bill.
    """
    packages = libraries(lock)
    components = [_model(project, facts), _data(project, facts), *packages]
    uses = {project: [MODEL, DATA, *(package["bom-ref"] for package in packages)], MODEL: [DATA]}
    seed = repr((project, sorted(facts.items(), key=repr), lock))
    return document(project, str(facts["version"]), components, uses, time, seed)


def document(
    name: str, version: str, components: list[dict[str, Any]], uses: Mapping[str, list[str]], time: str, seed: str
) -> dict[str, Any]:
    """The bill of an application: its components, and by reference what each of them uses.

    The application's own reference is its name. Equal seeds give equal serial numbers.
    """
    root = {"type": "application", "bom-ref": name, "name": name, "version": version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, seed)}",
        "version": 1,
        "metadata": {"timestamp": time, "component": root},
        "components": components,
        "dependencies": [{"ref": reference, "dependsOn": used} for reference, used in uses.items()],
    }


def libraries(lock: str) -> list[dict[str, Any]]:
    """The packages that a lock pins, as components: a package that is pinned twice is two of them.

    A licence is named where the package is installed here in the version of the lock. The hashes of a package are those
    of all its files.
    """
    return [_package(*pin) for pin in PIN.findall(lock)]


def licence(library: Mapping[str, Any]) -> str:
    """The licence of a component in one line; "" if it is unknown."""
    named = (each.get("expression") or each["license"]["name"] for each in library.get("licenses", []))
    return ", ".join(named)


def _package(name: str, version: str, marker: str, hashes: str) -> dict[str, Any]:
    reference = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": version,
        "purl": reference,
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in HASH.findall(hashes)],
    }
    if licenses := _licenses(name, version):
        found["licenses"] = licenses
    if marker:
        found["properties"] = [{"name": MARKER, "value": marker.strip()}]
    return found


def _licenses(name: str, version: str) -> list[dict[str, Any]]:
    """What the installed package says of its licence: an expression of SPDX, else a name, else its classifiers."""
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return []
    said = {key: found[key].strip() for key in ("Version", "License-Expression", "License") if key in found}
    if said.get("Version") != version:
        return []
    if expression := said.get("License-Expression"):
        return [{"expression": expression}]
    text = said.get("License", "UNKNOWN")
    if text != "UNKNOWN" and len(text) <= LONGEST_LICENSE and "\n" not in text:
        return [{"license": {"name": text}}]
    classified = [value for value in found.get_all("Classifier") or [] if value.startswith("License ::")]
    return [{"license": {"name": value.rpartition(" :: ")[2]}} for value in classified]


def _model(project: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": f"{project} model",
        "version": str(facts["version"]),
        "hashes": _sha256(facts["model_digest"]),
        "modelCard": {
            "modelParameters": {
                "modelArchitecture": facts["model_type"],
                "datasets": [{"ref": DATA}],
            },
        },
        "properties": [
            {"name": f"mlops:{name}", "value": str(facts[name])} for name in ("commit", "params_digest", "code_digest")
        ],
    }


def _data(project: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The training data: its hash is the digest of its rows, in whatever order and files they lie."""
    return {
        "type": "data",
        "bom-ref": DATA,
        "name": f"{project} data",
        "hashes": _sha256(facts["data_digest"]),
        "data": [{"type": "dataset", "name": "data/raw"}],
    }


def _sha256(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]
