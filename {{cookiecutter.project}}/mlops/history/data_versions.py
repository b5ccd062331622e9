"""Versions of the data: Git has their `data/*.dvc` files, and DVC's cache has their content."""

import functools
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from mlops.base import yaml
from mlops.base.errors import DataError, StoreError
from mlops.history import cache, git, paths, revisions
from mlops.history.revisions import Revision
from mlops.intake import deliveries

FOLDERS = (paths.RAW.as_posix(), paths.INCOMING.as_posix())  # folders of deliveries
LEAST_DIGITS = 4  # a shorter start of a digest names no version


@dataclass(frozen=True)
class DataVersion:
    """One state of a data folder: its number (1 is the oldest), its commit, and its content.

    `digest` is DVC's MD5 of the folder, `size` is in bytes, and `rows` is None if the data is not in the cache or was
    not counted. `origin` is the note of `ingest`. `tags` are the Git tags of all commits with this state. The number
    is 0 if the commit is not in the history of HEAD.
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


def log(folder: str, *, counted: bool = True) -> list[DataVersion]:
    """All versions of a data folder, the oldest first; data that is not committed yet is the last version.

    A commit makes a version if none of its parents has the same data. Renamed `.dvc` files are followed.

    Raises:
        StoreError: this is no Git repository.
    """
    head = git.run("rev-parse", "--verify", "--quiet", "HEAD", default="").strip()
    shown = ["log", "--reverse", "--date-order", "--format=%H%x1f%P%x1f%aI%x1f%an%x1f%s"]
    commits = [line.split("\x1f") for line in git.run(*shown).splitlines()] if head else []
    outs = _outs([commit for commit, *_ in commits], folder)
    found: list[DataVersion] = []
    state: dict[str, DataVersion] = {}
    for commit, parents, *facts in commits:
        if out := outs.get(commit):
            before = [state[parent] for parent in parents.split() if parent in state]
            same = [version for version in before if version.digest == out["md5"]]
            new = [] if same else [_version(len(found) + 1, folder, commit, facts, out, counted)]
            [state[commit], *_] = same + new
            found += new
    for name, commit in _tags():
        if commit in state:
            state[commit].tags.append(name)
    file = Path(f"{folder}.dvc")
    out = _out(file.read_text(encoding="utf-8")) if file.exists() else None
    if out and (head not in state or state[head].digest != out["md5"]):
        found.append(_version(len(found) + 1, folder, revisions.WORK_TREE, ["", "", ""], out, counted))
    return found


def find(name: str, folder: str) -> DataVersion:
    """The version with this number, tag, branch, commit or start of its digest.

    Raises:
        DataError: no version or more than one version fits.
    """
    known = log(folder, counted=False)
    meant = [version for version in known if name == f"{version.number}"]
    commit = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}", default="").strip()
    if out := _outs([commit], folder).get(commit) if commit else None:
        same = [version for version in known if version.digest == out["md5"]]
        facts = git.run("log", "-1", "--format=%aI%x1f%an%x1f%s", "--end-of-options", commit).strip("\n").split("\x1f")
        meant += same[-1:] or [_version(0, folder, commit, facts, out, counted=False)]
    if len(name) >= LEAST_DIGITS:
        meant += [version for version in known if version.digest.startswith(name)]
    if not meant:
        numbers = f"a number from 1 to {len(known)}, " if known else ""
        why = f": its commit {commit[:8]} has no {folder}.dvc" if commit else ""
        raise DataError(
            f"{name} is no version of {folder}{why}: give {numbers}a tag, a branch, a commit or a digest (see "
            "`python -m mlops data log`)"
        )
    if len({version.digest for version in meant}) > 1:
        choice = ", ".join(f"{version.number} ({version.digest[:8]})" for version in meant)
        raise DataError(f"{name} may be each of the versions {choice} of {folder}: give one of these digests")
    return meant[0]


def check_out(version: DataVersion, goal: Path) -> None:
    """Copy the files of a version from DVC's cache or remote to the new folder `goal`.

    Raises:
        DataError: the folder exists already.
        StoreError: the files cannot be had, or the folder cannot be written.
    """
    if goal.exists() or goal.is_symlink():
        raise DataError(f"{goal} is there already: name another folder with --to")
    cache.fetch([version.digest], f"version {version.digest[:8]} of {version.folder}")
    part = goal.with_name(f".{goal.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for entry in cache.listing(version.digest):
            file = part / entry["relpath"]
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cache.path_of(entry["md5"]), file)
        part.rename(goal)
    except OSError as error:
        raise StoreError(f"{goal} could not be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def files_of(revision: Revision) -> dict[str, str]:
    """The MD5 of each data file of a commit by its path, as far as DVC's cache has the lists of files."""
    folders = {folder: revision.data(folder) for folder in FOLDERS}
    return {
        f"{folder}/{entry['relpath']}": entry["md5"]
        for folder, digest in folders.items()
        if digest and cache.path_of(digest).exists()
        for entry in cache.listing(digest)
    }


def _version(
    number: int, folder: str, commit: str, facts: list[str], out: dict[str, Any], counted: bool
) -> DataVersion:
    """The version that a commit made; its `facts` are the author's date, the author and the message."""
    when, who, message = facts
    utc = datetime.fromisoformat(when).astimezone(UTC).isoformat() if when else ""
    content = (out["md5"], out.get("nfiles", 1), out.get("size", 0), _rows(out["md5"]) if counted else None)
    return DataVersion(number, folder, utc, who, commit, message, *content, out.get("desc", ""))


def _outs(commits: list[str], folder: str) -> dict[str, dict[str, Any]]:
    """For each commit that tracks the folder, the entry in its `.dvc` file."""
    names = [git.run("rev-parse", "--show-prefix").strip() + f"{folder}.dvc"]
    # Renames, the newest first; copies and renames in merges are ignored.
    renamed = git.run(
        "log", "--diff-filter=R", "-M", "--name-status", "-z", "--format=", "--", ":(top)*.dvc", default=""
    )
    fields = renamed.split("\0")[:-1]
    for old, new in zip(fields[1::3], fields[2::3], strict=True):
        names += [old] if new in names and old not in names else []
    asked = [f"{commit}:{name}" for commit in commits for name in names]
    answers = git.run("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin="\n".join(asked)).splitlines()
    outs: dict[str, dict[str, Any]] = {}
    for spot, answer in zip(asked, answers, strict=True):
        commit, blob = spot.partition(":")[0], answer.removesuffix(" blob")
        if blob != answer and commit not in outs and (out := _out(_blob(blob))):
            outs[commit] = out
    return outs


@functools.cache
def _blob(name: str) -> str:
    return git.run("cat-file", "blob", name)


def _out(text: str) -> dict[str, Any] | None:
    """The entry in the text of a `.dvc` file; None if the text is not valid, such as in a merge conflict."""
    try:
        out = yaml.parsed(text, "a .dvc file")["outs"][0]
        return out if "md5" in out else None
    except (StoreError, TypeError, KeyError, IndexError):
        return None


@functools.cache
def _rows(digest: str) -> int | None:
    """The number of rows in all files of a folder; None if DVC's cache lacks a file."""
    if not cache.path_of(digest).exists():
        return None
    counts = [_rows_of_file(entry["md5"], PurePosixPath(entry["relpath"]).name) for entry in cache.listing(digest)]
    return None if None in counts else sum(filter(None, counts))


@functools.cache
def _rows_of_file(digest: str, name: str) -> int | None:
    if not cache.path_of(digest).exists():
        return None
    if deliveries.is_parquet(Path(name)):
        import pyarrow.parquet as pq

        return int(pq.read_metadata(cache.path_of(digest)).num_rows)
    with tempfile.TemporaryDirectory() as aside:
        path = Path(aside, name)  # the ending of the name decides how the file is read
        path.symlink_to(cache.path_of(digest))
        try:
            terms = deliveries.Terms(ragged="reject")
            return sum(len(batch) for batch in deliveries.batches(path, deliveries.columns(path)[:1], terms=terms))
        except DataError:
            return None


def _tags() -> list[tuple[str, str]]:
    """All Git tags, each with its commit."""
    shown = "--format=%(refname:short) %(objectname) %(*objectname)"
    lines = (line.split() for line in git.run("for-each-ref", shown, "refs/tags").splitlines())
    return [(name, commits[-1]) for name, *commits in lines]
