"""Versions of the data, as Git has them in `data/*.dvc` and DVC has them in its cache."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ml.errors import DataError, StoreError
from store import deliveries

WORK_TREE = "work tree"
LEAST_DIGITS = 4  # of a digest that names a version


@dataclass(frozen=True)
class Version:
    """One state of a folder of data: its number (1 is the oldest), who committed it when, and what it holds.

    `digest` is DVC's MD5 of the folder, `size` in bytes, `rows` None where the data is not in the cache; `origin` is
    what `ops ingest` noted.
    """

    number: int
    folder: str
    when: str
    who: str
    commit: str
    message: str
    digest: str
    files: int
    size: int
    rows: int | None
    origin: str
    tags: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def log(folder: str) -> list[Version]:
    """Every version of a folder, the oldest first; a state that is not committed yet is the last.

    Raises:
        StoreError: this is no Git repository.
    """
    file = f"{folder}.dvc"
    shown = _git("log", "--reverse", "--date-order", "--format=%H%x1f%aI%x1f%an%x1f%s", "HEAD", "--", file).splitlines()
    states = [(*line.split("\x1f"), _git("show", f"{line[:40]}:./{file}", missing="")) for line in shown]
    if Path(file).exists():
        states.append((WORK_TREE, "", "", "", Path(file).read_text(encoding="utf-8")))
    tags = _tags()
    found: list[Version] = []
    for commit, when, who, message, text in states:
        out = _out(text)
        if out is None or (found and found[-1].digest == out["md5"]):
            continue
        found.append(
            Version(
                number=len(found) + 1,
                folder=folder,
                when=when,
                who=who,
                commit=commit,
                message=message,
                digest=out["md5"],
                files=out.get("nfiles", 1),
                size=out.get("size", 0),
                rows=_rows(out["md5"]),
                origin=out.get("desc", ""),
                tags=tags.get(commit, []),
            )
        )
    return found


def find(name: str, folder: str) -> Version:
    """The version that a number, a tag, a branch, a commit or the first digits of a digest name.

    Raises:
        DataError: none or several are called so.
    """
    known = log(folder)
    if name.isdecimal() and 0 < int(name) <= len(known):
        return known[int(name) - 1]
    if len(name) >= LEAST_DIGITS and (same := [version for version in known if version.digest.startswith(name)]):
        if len(same) == 1:
            return same[0]
        raise DataError(f"{name} begins the digest of {len(same)} versions of {folder}: give more digits")
    text = _git("show", f"{name}:./{folder}.dvc", missing="") if name else ""
    for version in known:
        if (out := _out(text)) is not None and out["md5"] == version.digest:
            return version
    raise DataError(
        f"{name} is no version of {folder}: give a number from 1 to {len(known)}, a tag, a commit or a digest (see "
        "`python -m ops data log`)"
    )


def check_out(version: Version, goal: Path) -> None:
    """Lay the files of a version into a new folder, from DVC's cache or remote; nothing else is touched.

    Raises:
        DataError: there is such a folder already.
        StoreError: they cannot be had.
    """
    if goal.exists():
        raise DataError(f"{goal} is there already: name another folder with --to")
    from dvc.api import DVCFileSystem

    goal.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=goal.parent, prefix=".") as aside:
        try:
            if version.commit == WORK_TREE:
                DVCFileSystem().get(version.folder, str(Path(aside, "data")), recursive=True)
            else:
                inside = _git("rev-parse", "--show-prefix").strip()  # the project may be a part of a larger repository
                source = DVCFileSystem(rev=version.commit, subrepos=True)
                source.get(f"{inside}{version.folder}", str(Path(aside, "data")), recursive=True)
        except Exception as error:  # remotes have errors of their own
            raise StoreError(
                f"version {version.number} of {version.folder} could not be fetched: {' '.join(str(error).split())}"
            ) from None
        Path(aside, "data").rename(goal)


def is_shallow() -> bool:
    """Whether the history of this clone is cut off."""
    return _git("rev-parse", "--is-shallow-repository").strip() == "true"


def _out(text: str) -> dict[str, Any] | None:
    """What a `.dvc` file tracks."""
    from ruamel.yaml import YAML

    outs = (YAML(typ="safe", pure=True).load(text) or {}).get("outs") if text else None
    return outs[0] if outs and "md5" in outs[0] else None


@cache
def _rows(digest: str) -> int | None:
    """The rows of all files of a folder, counted in DVC's cache."""
    listing = _cached(digest)
    if not listing.exists():
        return None
    rows = 0
    for entry in json.loads(listing.read_text(encoding="utf-8")):
        counted = _rows_of_file(entry["md5"], Path(entry["relpath"]).name)
        if counted is None:
            return None
        rows += counted
    return rows


@cache
def _rows_of_file(digest: str, name: str) -> int | None:
    if not _cached(digest).exists():
        return None
    with tempfile.TemporaryDirectory() as aside:
        path = Path(aside, name)  # its name says what kind of file it is
        path.symlink_to(_cached(digest))
        first = deliveries.columns(path)[:1]
        return sum(len(batch) for batch in deliveries.batches(path, first))


def _cached(digest: str) -> Path:
    return _cache_folder() / digest[:2] / digest[2:]


@cache
def _cache_folder() -> Path:
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local.path).resolve()


def _tags() -> dict[str, list[str]]:
    """The tags of each commit."""
    tags: dict[str, list[str]] = {}
    for line in _git(
        "for-each-ref", "--format=%(refname:short) %(objectname) %(*objectname)", "refs/tags"
    ).splitlines():
        name, *commits = line.split()
        tags.setdefault(commits[-1], []).append(name)
    return tags


def _git(*arguments: str, missing: str | None = None) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode and missing is None:
        raise StoreError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout if not done.returncode else str(missing)


def folders() -> Iterator[str]:
    """The folders of deliveries."""
    yield from ("data/raw", "data/incoming")
