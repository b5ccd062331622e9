"""DVC's cache, which stores the content of every tracked file under its MD5."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

from mlops.base.errors import StoreError
from mlops.history import paths

# This ends the MD5 of a folder: the MD5 of the list of its files.
FOLDER = ".dir"


def path_of(digest: str) -> Path:
    """The path of the content with this MD5, which need not exist."""
    return folder() / digest[:2] / digest[2:]


def md5(path: Path) -> str:
    """The MD5 that DVC gives to a file, or to a folder of code."""
    if path.is_dir():
        entries = [{"md5": md5(file), "relpath": file.relative_to(path).as_posix()} for file in paths.files_of(path)]
        text = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]))
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + FOLDER
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def listing(digest: str) -> list[dict[str, str]]:
    """The files of a folder with this MD5, each with its path in the folder (`relpath`) and its own MD5 (`md5`)."""
    entries: list[dict[str, str]] = json.loads(path_of(digest).read_text(encoding="utf-8"))
    return entries


def fetch(digests: Collection[str], name: str) -> None:
    """Fetch the content with these MD5s from the remote if the cache lacks it; for a folder, fetch its files too.

    Raises:
        StoreError: the content cannot be fetched; the sentence calls the content `name`.
    """
    try:
        _fetch(digests)
        _fetch(entry["md5"] for digest in digests if digest.endswith(FOLDER) for entry in listing(digest))
    except Exception as error:  # each kind of remote has its own errors
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise StoreError(
            f"{name} is neither in DVC's cache nor to be had from the remote ({reason}): where it was made, check out "
            "its commit, and `dvc push` brings it there"
        ) from None


def _fetch(digests: Iterable[str]) -> None:
    if missing := [digest for digest in digests if not path_of(digest).exists()]:
        from dvc.repo import Repo
        from dvc_data.hashfile.hash_info import HashInfo

        logging.getLogger("dvc").setLevel(logging.CRITICAL)  # the sentence below names what is missing
        with Repo() as repo:
            repo.cloud.pull([HashInfo("md5", digest) for digest in missing])
        if not all(path_of(digest).exists() for digest in missing):  # DVC only warns
            raise FileNotFoundError("it is not there either")


@cache
def folder() -> Path:
    """The folder of MD5s in the project's cache: only DVC's configuration is read, since `dvc.repo` loads slowly."""
    from dvc.config import Config

    place = Config(".dvc")["cache"].get("dir", ".dvc/cache")
    return Path(place, "files", "md5").resolve()
