"""A version as a folder or an archive: model, code, lock, card, bill of materials, and what is needed for its image.

The same version gives the same bytes: what is in it comes from its commit, from DVC and from what the registry has had
of it since it was made; no time is in it but the commit's.
"""

import gzip
import json
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlops.base import files
from mlops.base.errors import StoreError
from mlops.history import git, paths, revisions
from mlops.history.revisions import Revision
from mlops.registry import registry
from mlops.rollout import bill
from mlops.serving import versions
from mlops.serving.versions import Served

if TYPE_CHECKING:
    from mlops.registry.registry import Version

MANIFEST, BILL, FACTS, ARCHIVE = "MANIFEST", "sbom.cdx.json", "registration.json", ".tar.gz"
CARD = Path("reports/model_card.md")
# What an image needs, of the commit: its recipe, the code and its settings.
CODE = ("Dockerfile", ".dockerignore", "mlops", "params.yaml", "project", "requirements.txt", "schema.yaml")
# Tags of a version that never change.
KEPT = (
    *("model_digest", "data_digest", "params_digest", "code_digest", "package_digest"),
    *("gate", "model_type", "framework", "environment", "training_type", "trigger", "reasons"),
)
SERVING = Path("serving")  # where the image looks for its model
LINE = re.compile("[0-9a-f]{64}  (.+)")  # of a manifest: digest and path


@dataclass(frozen=True)
class Package:
    """A package that was written: its place, the SHA-256 of its manifest, its number of files, and the version."""

    place: Path
    digest: str
    files: int
    version: str


def find(number: str) -> "Version":
    """The version with this number, or if it is "", the one of the result that HEAD has.

    Raises:
        StoreError: the registry cannot be reached, or has no such version.
    """
    with registry.configured() as (client, settings):
        if number:
            return registry.version(client, settings.name, number)
        known = registry.versions(client, settings.name)
    digest = revisions.find("HEAD").json(paths.REGISTRATION)["model_digest"]
    mine = [version for version in known if version.tags.get(registry.MODEL_DIGEST) == digest]
    if not mine:
        raise StoreError("the result of HEAD is no version yet: `python -m mlops sync` registers it if the gate passes")
    return mine[0]


def time_of(version: "Version") -> int:
    """When the commit of a version was made, in Unix seconds.

    Raises:
        StoreError: no commit of this clone has the version.
    """
    return int(git.run("log", "-1", "--format=%ct", revisions.of_result(version.tags).commit))


def write(version: "Version", to: Path) -> Package:
    """Write the package of a version; a package that is there already is replaced.

    In an archive, all is in a folder that is named after model and version, whatever the archive's own name.

    Raises:
        StoreError: something else is there, a part of the version cannot be had, or the model is not the registered
            one.
    """
    archive = to.name.endswith(ARCHIVE)
    if to.is_symlink() or (to.exists() and not (to.is_file() == archive and _is_package(to))):
        raise StoreError(f"{to} is there already, and is no package: give another place, or delete it")
    if to.is_dir() and (more := _unlisted(to)):
        raise StoreError(f"{to} has {more}, which is not of the package: give another place, or move it away")
    revision = revisions.of_result(version.tags)
    time = git.run("log", "-1", "--format=%cI", revision.commit).strip()
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(".part", "package-", to.parent) as name:
        folder = Path(name, "package")
        model = _fill(folder, version, revision, time)
        listed = _listed(folder)
        files.write_text(folder / MANIFEST, "".join(f"{digest}  {path}\n" for path, digest in listed))
        digest = files.sha256(folder / MANIFEST)
        if archive:
            with files.written_whole(to) as part:
                _pack(folder, f"{model}-{version.number}", part, time_of(version))
        else:
            if to.exists():
                to.rename(Path(name, "old"))
            folder.rename(to)
    return Package(to, digest, len(listed) + 1, version.number)


@contextmanager
def unpacked(place: Path) -> Iterator[Path]:
    """The folder of a package that may be an archive."""
    if place.is_dir():
        yield place
        return
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(place) as archive:
            archive.extractall(name, filter="data")
        (folder,) = Path(name).iterdir()
        yield folder


def _is_package(place: Path) -> bool:
    """Whether a folder or an archive is what `write` wrote: other folders have a file MANIFEST, too."""
    try:
        if place.is_dir():
            text, facts = (place / MANIFEST).read_text(encoding="utf-8"), (place / FACTS).is_file()
        else:
            with tarfile.open(place) as archive:
                (top,) = {name.partition("/")[0] for name in archive.getnames()}
                facts = archive.getmember(f"{top}/{FACTS}").isfile()
                manifest = archive.extractfile(f"{top}/{MANIFEST}")
                text = manifest.read().decode() if manifest else ""
    except (OSError, EOFError, KeyError, ValueError, tarfile.TarError, zlib.error):
        return False
    listed = [LINE.fullmatch(line) for line in text.splitlines()]
    return facts and all(listed) and FACTS in [line[1] for line in listed if line]


def _unlisted(package: Path) -> str:
    """The first file in the folder of a package that its manifest does not list, but for byte code; "" if none."""
    lines = map(LINE.fullmatch, (package / MANIFEST).read_text(encoding="utf-8").splitlines())
    listed = {MANIFEST, *(line[1] for line in lines if line)}
    there = (path.relative_to(package) for path in sorted(package.rglob("*")) if not path.is_dir())
    own = (path.as_posix() for path in there if "__pycache__" not in path.parts)
    return next((path for path in own if path not in listed), "")


def _fill(folder: Path, version: "Version", revision: Revision, time: str) -> str:
    """Write all but the manifest; the name of the model."""
    with registry.configured() as (client, settings):
        copy = versions.fetch(client, version, folder / SERVING)
    Path(copy.folder, versions.CHECK).unlink(missing_ok=True)  # rows of people
    copy = replace(copy, folder=Path(copy.folder).relative_to(folder).as_posix())
    served = Served(settings.name, champion=copy)
    files.write_text(folder / SERVING / versions.SERVED, json.dumps(asdict(served), indent=2))
    _code(folder, revision)
    model = revision.kept(paths.MODEL)
    if files.sha256(model) != version.tags[registry.MODEL_DIGEST]:
        raise StoreError(
            f"{paths.MODEL} of {revision.short} is not the model of version {version.number}: somebody has replaced it "
            "in DVC's cache or its remote"
        )
    shutil.copyfile(model, folder / paths.MODEL.name)
    files.write_text(folder / CARD.name, _text(revision, CARD))
    author = git.run("log", "-1", "--format=%an <%ae>", revision.commit).strip()
    facts = {"name": settings.name, "version": version.number, "run_id": version.run_id}
    facts |= {"commit": revision.commit, "author": author, **{name: version.tags.get(name, "") for name in KEPT}}
    files.write_json(folder / FACTS, facts)
    content = bill.bill(settings.name, _text(revision, paths.REQUIREMENTS), facts, time)
    files.write_text(folder / BILL, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return settings.name


def _text(revision: Revision, path: Path) -> str:
    found = revision.text(path)
    if found is None:
        raise StoreError(f"{revision.short} has no {path}")
    return found


def _code(folder: Path, revision: Revision) -> None:
    """Write the files of CODE as the commit has them."""
    listed = git.run("ls-tree", "-r", "-z", "--name-only", revision.commit, "--", *CODE).split("\0")[:-1]
    for name, content in zip(listed, git.contents(f"{revision.commit}:./{name}" for name in listed), strict=True):
        if content is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def _listed(folder: Path) -> list[tuple[str, str]]:
    """Path and SHA-256 of each file."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path.relative_to(folder).as_posix(), files.sha256(path)) for path in found]


def _pack(folder: Path, name: str, to: Path, time: int) -> None:
    """Pack a folder, so that the same files give the same bytes."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime, entry.mode = time, 0o755 if entry.isdir() else 0o644
        return entry

    with (
        to.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=time) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(folder.rglob("*")):
            archive.add(path, f"{name}/{path.relative_to(folder).as_posix()}", recursive=False, filter=plain)
