"""Make a release of the template: `make release` checks, builds, signs and tags, and pushes nothing.

`python .ci/release.py build dist` only builds, as the workflow does on a tag. What is built depends on the commit, on
this Python and on the installed licences alone, so that the same commit gives the same bytes. docs/release.md says how
a release is verified.
"""

import gzip
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROJECT = "{{cookiecutter.project}}"
sys.path.insert(0, str(ROOT / PROJECT))

from mlops.rollout import bill  # noqa: E402

NAME = "cookiecutter-dvc-mlops"
BRANCH = "main"
PYTHON = (3, 11)  # the workflow's: a lock has other packages for other Pythons, of which this one knows no licence
VERSION = f"{PROJECT}/mlops/VERSION"
LOCKS = (f"{PROJECT}/requirements.txt", "requirements-demo.txt", "requirements-dev.txt")
SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
BILL, LICENCES, PROVENANCE, NOTES = "sbom.cdx.json", "licences.txt", "provenance.json", "notes.md"


class ReleaseError(Exception):
    """There is no release: a sentence that says what was found, and what to do."""


def git(*arguments: str) -> str:
    """What a Git command prints.

    Raises:
        ReleaseError: it fails.
    """
    return _git(*arguments).decode().strip()


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


# ---- may there be a release?


def changes(version: str, changelog: str) -> str:
    """The section of a version in CHANGELOG.md; "" if there is none."""
    found = re.search(rf"^## {re.escape(version)}\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def check() -> str:
    """The version to release.

    Raises:
        ReleaseError: the work tree is not a commit of main, or the version is not ready, or is released.
    """
    if (branch := git("rev-parse", "--abbrev-ref", "HEAD")) != BRANCH:
        raise ReleaseError(f"this is {branch}, and releases are made on {BRANCH}: git switch {BRANCH}")
    if dirty := git("status", "--porcelain"):
        number = len(dirty.splitlines())
        raise ReleaseError(f"{number} files are not as they were committed: commit them, or put them away")
    version = (ROOT / VERSION).read_text(encoding="utf-8").strip()
    packaged = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    if not packaged or packaged[1] != version:
        raise ReleaseError(f"pyproject.toml has not the version {version} of mlops/VERSION: set both to the same one")
    if not changes(version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")):
        raise ReleaseError(f"CHANGELOG.md has no section `## {version}`: write what a project gets by it")
    if git("tag", "--list", f"v{version}"):
        raise ReleaseError(f"there is a tag v{version}: raise the version in mlops/VERSION and pyproject.toml")
    return version


# ---- what is built


def build(to: Path) -> str:
    """Write the archive of HEAD, its bill of materials, licences and provenance, and their SHA-256; its version.

    Raises:
        ReleaseError: this Python is not that of the workflow.
    """
    if sys.version_info[:2] != PYTHON:
        wanted = ".".join(map(str, PYTHON))
        raise ReleaseError(f"releases are built by Python {wanted}, as in CI: make clean release PYTHON=python{wanted}")
    commit = git("rev-parse", "HEAD")
    seconds, time = git("show", "--no-patch", "--format=%ct %cI", commit).split()
    texts = {path: _git("show", f"{commit}:{path}") for path in (VERSION, "CHANGELOG.md", *LOCKS)}
    version = texts[VERSION].decode().strip()
    stem = f"{NAME}-{version}"
    # A person's settings change no bytes of it.
    plain = ["-c", "tar.umask=0022", "-c", "core.autocrlf=false", "-c", "core.attributesFile="]
    tar = _git(*plain, "archive", "--format=tar", f"--prefix={stem}/", commit)
    locks = {Path(path).name: texts[path] for path in LOCKS}
    content = bill_of_materials(version, locks, time)
    written = {
        f"{stem}.tar.gz": gzip.compress(tar, mtime=int(seconds)),
        BILL: _json(content),
        LICENCES: licences(content).encode(),
    }
    written[PROVENANCE] = _json(provenance(version, commit, locks, written))
    sums = "".join(f"{_sha256(data)}  {name}\n" for name, data in sorted(written.items()))
    notes = changes(version, texts["CHANGELOG.md"].decode())
    to.mkdir(parents=True, exist_ok=True)
    for name, data in {**written, SUMS: sums.encode(), NOTES: f"{notes}\n".encode()}.items():
        (to / name).write_bytes(data)
    return version


def bill_of_materials(version: str, locks: Mapping[str, bytes], time: str) -> dict[str, Any]:
    """The bill of a release (CycloneDX): the lock files, and the packages that each of them pins."""
    pinned = {name: bill.libraries(data.decode()) for name, data in locks.items()}
    files = [
        {"type": "file", "bom-ref": name, "name": name, "hashes": [{"alg": "SHA-256", "content": _sha256(data)}]}
        for name, data in locks.items()
    ]
    packages = {each["bom-ref"]: each for found in pinned.values() for each in found}
    uses = {NAME: list(locks), **{name: [each["bom-ref"] for each in found] for name, found in pinned.items()}}
    seed = repr((NAME, version, time, {name: _sha256(data) for name, data in locks.items()}))
    return bill.document(NAME, version, [*files, *packages.values()], uses, time, seed)


def licences(content: Mapping[str, Any]) -> str:
    """The licences of a bill of materials, a package a line."""
    packages = [each for each in content["components"] if each["type"] == "library"]
    lines = {f"{each['name']} {each['version']}: {bill.licence(each) or 'unknown'}\n" for each in packages}
    return "".join(sorted(lines))


def provenance(version: str, commit: str, locks: Mapping[str, bytes], written: Mapping[str, bytes]) -> dict[str, Any]:
    """What the files of a release were made from, and by what (in-toto Statement v1, SLSA provenance v1).

    https://slsa.dev/spec/v1.0/provenance describes the fields. It has no time and no machine: whoever builds the commit
    gets the same statement. Who did so is known by the signature.
    """
    source = f"pkg:generic/{NAME}@{version}"
    materials = [{"name": name, "digest": {"sha256": _sha256(data)}} for name, data in locks.items()]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": _sha256(data)}} for name, data in written.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": f"{source}#docs/release.md",
                "externalParameters": {"version": version, "python": ".".join(map(str, PYTHON))},
                "resolvedDependencies": [{"uri": source, "digest": {"gitCommit": commit}}, *materials],
            },
            "runDetails": {"builder": {"id": f"{source}#.ci/release.py"}},
        },
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(content, indent=1, ensure_ascii=False)}\n".encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ---- signatures


def sign(folder: Path) -> Path:
    """Sign the sums as Git signs for this person, by SSH or by GPG; the signature's file.

    Raises:
        ReleaseError: there is no key, or it cannot sign.
    """
    key = subprocess.run(
        ["git", "config", "--type=path", "user.signingkey"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    ).stdout.strip()
    if not key:
        raise ReleaseError("Git has no key to sign with: git config user.signingkey …, for a key of SSH gpg.format ssh")
    sums = folder / SUMS
    if _setting("gpg.format") != "ssh":
        signature = sums.with_suffix(".asc")
        program = _setting("gpg.program") or "gpg"
        _run(
            [
                program,
                "--batch",
                "--yes",
                "--armor",
                "--local-user",
                key,
                "--detach-sign",
                "--output",
                str(signature),
                str(sums),
            ]
        )
        return signature
    signature = folder / SIGNATURE
    signature.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as name:
        if key.startswith(("key::", "ssh-")):  # the public key itself, whose private one an agent has
            public = Path(name, "key.pub")
            public.write_text(key.removeprefix("key::") + "\n", encoding="utf-8")
            key = str(public)
        program = _setting("gpg.ssh.program") or "ssh-keygen"
        _run([program, "-Y", "sign", "-n", "file", "-f", key, str(sums)])
    return signature


def _setting(name: str) -> str:
    asked = ["git", "config", "--type=path", name]  # a path may begin with ~
    return subprocess.run(asked, cwd=ROOT, capture_output=True, encoding="utf-8", check=False).stdout.strip()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise ReleaseError(f"{Path(command[0]).name} could not sign: {done.stderr.strip()}")


def tag(version: str, folder: Path) -> None:
    """Tag HEAD, signed; the message has the sums, so that whoever verifies the tag has verified them, too."""
    message = f"Release {version}\n\n{(folder / SUMS).read_text(encoding='utf-8')}"
    git("tag", "--sign", f"v{version}", "--message", message)


def release(to: Path) -> str:
    """Check, build, sign and tag; what there is to push, and how."""
    version = check()
    build(to)
    signature = sign(to)
    tag(version, to)
    return (
        f"{to} has release {version}; tag v{version} is signed. Nothing is pushed; to publish it:\n"
        f"    git push --atomic origin {BRANCH} v{version}\n"
        f"When the workflow `release` has made the release of the same bytes, add your signature:\n"
        f"    gh release upload v{version} {to / signature.name}"
    )


def main(arguments: list[str]) -> None:
    """`release.py [build] FOLDER`."""
    *command, folder = arguments or ["dist"]
    try:
        print(f"built {build(Path(folder))}" if command == ["build"] else release(Path(folder)))
    except ReleaseError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
