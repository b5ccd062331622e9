"""A SQLite store of MLflow: its address, its lock, and its artifacts, which lie in a folder beside it."""

import sqlite3
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from urllib.parse import unquote

from mlops.base import locks
from mlops.base.errors import StoreError

LOCK_TIMEOUT = 600  # seconds to wait for other processes that record results
START = "sqlite:///"
# Where MLflow keeps the absolute address of artifacts: columns by table.
LOCATIONS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}


def address(path: Path) -> str:
    """The address of the store in a file. It is a URL: a % or ? in the path would name another file."""
    return START + path.as_posix().replace("%", "%25").replace("?", "%3F")


def file_of(uri: str) -> Path | None:
    """The file of a SQLite store; None for any other store."""
    return Path(unquote(uri.removeprefix(START).partition("?")[0])) if uri.startswith(START) else None


def artifact_root(database: Path) -> Path:
    """The folder of all artifacts of a store."""
    return database.parent / "mlruns"


def exclusive(uri: str) -> AbstractContextManager[None]:
    """Keep other processes out of a SQLite store; a server needs no lock."""
    path = file_of(uri)
    if path is None:
        return nullcontext()
    message = f"the tracking store {path} is in use by another process: try again when it has ended"
    return locks.exclusive(path.with_name(f"{path.name}.lock"), message, LOCK_TIMEOUT)


def create(database: Path) -> None:
    """Create a store under another name and move it into place, so that no process sees half a store."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    part = database.with_name(f".{database.name}.part")
    for left in (part, part.with_name(f"{part.name}-journal")):
        left.unlink(missing_ok=True)  # a process that was killed may have left it
    SqlAlchemyStore(address(part), artifact_root(database).as_uri()).engine.dispose()
    part.replace(database)


def follow(database: Path) -> None:
    """Find the artifacts again where a store was moved or copied with its folder.

    MLflow keeps absolute addresses: without this, a moved store finds none of its files, and a copy writes into its
    original.

    Raises:
        StoreError: the artifacts did not come along.
    """
    root = artifact_root(database)
    here = root.as_uri()
    with closing(sqlite3.connect(database)) as store, store:
        found = store.execute("SELECT artifact_location FROM experiments WHERE experiment_id = 0").fetchone()
        there = found[0].removesuffix("/0") if found else here
        if there == here or not there.endswith(f"/{root.name}"):  # else it was made with a place of its own
            return
        if not root.is_dir() and store.execute("SELECT 1 FROM runs").fetchone():
            raise StoreError(
                f"{database} was moved or copied without its folder {root.name}: move that one (from "
                f"{unquote(there.removeprefix('file://'))}) beside it"
            )
        for table, column in LOCATIONS.items():
            store.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                (here, len(there) + 1, len(there) + 1, f"{there}/"),
            )
