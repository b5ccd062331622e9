"""DVC's cache: what it keeps lies there under its MD5, whatever its name."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

from mlops.base.errors import StoreError
from mlops.history import paths

# A folder's MD5 stands for the list of its files.
FOLDER = ".dir"


def path_of(digest: str) -> Path:
    """Where content with this MD5 lies, if it is there."""
    return folder() / digest[:2] / digest[2:]


def md5(path: Path) -> str:
    """What DVC would call the content of a file, or of a folder of code."""
    if path.is_dir():
        found = [{"md5": md5(file), "relpath": file.relative_to(path).as_posix()} for file in paths.files_of(path)]
        text = json.dumps(sorted(found, key=lambda entry: entry["relpath"]))
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + FOLDER
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def listing(digest: str) -> list[dict[str, str]]:
    """The files of a folder, each with its path in it (`relpath`) and its MD5 (`md5`)."""
    entries: list[dict[str, str]] = json.loads(path_of(digest).read_text(encoding="utf-8"))
    return entries


def fetch(digests: Collection[str], what: str) -> None:
    """Bring from the remote what the cache lacks; of a folder, also its files. A person calls it `what`.

    Raises:
        StoreError: it cannot be had.
    """
    try:
        _fetch(digests)
        _fetch(entry["md5"] for digest in digests if digest.endswith(FOLDER) for entry in listing(digest))
    except Exception as error:  # remotes have errors of their own
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise StoreError(
            f"{what} is neither in DVC's cache nor to be had from the remote ({why}): `dvc push --all-commits` where "
            "it was made brings it there"
        ) from None


def _fetch(digests: Iterable[str]) -> None:
    if missing := [digest for digest in digests if not path_of(digest).exists()]:
        from dvc.repo import Repo
        from dvc_data.hashfile.hash_info import HashInfo

        logging.getLogger("dvc").setLevel(logging.CRITICAL)  # what is missing is said below, in one sentence
        with Repo() as repo:
            repo.cloud.pull([HashInfo("md5", digest) for digest in missing])
        if not all(path_of(digest).exists() for digest in missing):  # of which DVC only warns
            raise FileNotFoundError("it is not there either")


@cache
def folder() -> Path:
    """The folder of MD5s in the project's cache: only DVC's configuration is read, since `dvc.repo` loads slowly."""
    from dvc.config import Config

    place = Config(".dvc")["cache"].get("dir", ".dvc/cache")
    return Path(place, "files", "md5").resolve()
