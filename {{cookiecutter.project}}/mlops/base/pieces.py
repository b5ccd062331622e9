"""What a worker of a Dask cluster does with a piece of work; see `mlops.base.cluster`, which sends it."""

import hashlib
import io
import pickle
import re
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from mlops.base import console
from mlops.base.errors import ProjectError, StoreError

# A pickle, or the place of a file with it in a folder or bucket that all machines see, and its SHA-256.
Packed: TypeAlias = bytes | tuple[str, str]
# What is pickled travels through the scheduler up to this size, and by a file from there on.
MOST_SENT = 4_000_000


def sent() -> Callable[..., Any]:
    """The function that a worker calls.

    It is made here, since such a function is sent with its code. One of a module would be sent by its name, and
    scheduler and workers do not have this module.
    """

    def piece(code: bytes, name: str, versions: dict[str, str], shared: Any, task: Any) -> Any:
        """Take in the project's code, unless it is there, and do the work; or name a package of another version."""
        import importlib
        import io
        import sys
        import threading
        import zipfile
        from importlib import metadata
        from pathlib import Path

        from distributed import get_worker

        worker = get_worker()
        # One piece at a time: limits of threads, warnings and modules belong to the whole process. The lock cannot be
        # kept in this module, of which a worker may have several, one after the other.
        with vars(threading).setdefault("mlops_alone", threading.Lock()):
            folder = Path(worker.local_directory, name)
            if str(folder) not in sys.path:
                for package, version in versions.items():
                    try:
                        found = metadata.version(package)
                    except metadata.PackageNotFoundError:
                        found = ""
                    if found != version:
                        return {
                            "machine": f"the worker {worker.address}",
                            "package": package,
                            "there": found,
                            "here": version,
                        }
                zipfile.ZipFile(io.BytesIO(code)).extractall(folder)
                others = [path for path in sys.path if Path(path).parent != folder.parent]  # code of before
                sys.path[:] = [str(folder), *others]
                for module in [module for module in sys.modules if module.partition(".")[0] in ("mlops", "project")]:
                    del sys.modules[module]
                importlib.invalidate_caches()
            from mlops.base import pieces

            return pieces.carried_out(worker.address, shared, task)

    return piece


def carried_out(worker: str, shared: Packed, task: Packed) -> Packed:
    """Do a piece of work on a worker; what comes of it.

    An answer that is large goes the way on which the task has come.
    """
    from threadpoolctl import threadpool_limits

    started, result, failed = time.monotonic(), None, None
    reader = f"the worker {worker}"
    with warnings.catch_warnings(record=True) as shown:
        try:
            known = _shared(shared, reader)
            function, item, threads = unpacked(task, reader)
            with threadpool_limits(threads):
                result = function(*known, *item)
        except ProjectError as error:
            failed = error
        except Exception as error:
            if not (sentence := console.fault(error)):
                raise
            failed = ProjectError(f"on {reader}: {sentence}")
    told = [(str(one.message), one.category, one.filename, one.lineno) for one in shown]
    answer = {"worker": worker, "seconds": time.monotonic() - started, "warnings": told}
    folder = "" if isinstance(task, bytes) else task[0].rpartition("/")[0]
    return packed({**answer, "result": result, "error": failed}, folder)


@lru_cache(maxsize=1)
def _shared(shared: Packed, reader: str) -> tuple[Any, ...]:
    """What all pieces share, read once by each process of a worker."""
    found: tuple[Any, ...] = unpacked(shared, reader)
    return found


def packed(content: Any, folder: str) -> Packed:
    """Pickle something: in memory as long as it may be sent or no `folder` is given, else into a file there.

    Raises:
        StoreError: the folder cannot be written to.
    """
    spool = _Spool(folder)
    pickle.dump(content, spool, protocol=5)
    return spool.packed()


def unpacked(found: Packed, reader: str) -> Any:
    """What was packed.

    Raises:
        StoreError: the file cannot be read, or is not the one that was written.
    """
    import fsspec

    if isinstance(found, bytes):
        return pickle.loads(found)  # noqa: S301 – sent by who has sent the code, and back by who runs that
    place, digest = found
    try:
        with fsspec.open(place, "rb") as file:
            there = hashlib.file_digest(file, "sha256").hexdigest()
    except Exception as error:  # a bucket's packages have errors of their own
        raise StoreError(
            f"{reader} cannot read {place!r} ({said(error)}): let compute.folder in "
            "params.yaml be a folder or a bucket that this machine and all workers see under the same name"
        ) from None
    if there != digest:  # a pickle is code
        raise StoreError(f"{reader} does not find in {place!r} what was written there: run again")
    with fsspec.open(place, "rb") as file:
        return pickle.load(file)  # noqa: S301 – its digest was sent


def remove(place: str) -> None:
    """Delete a file or a folder for pieces, if it is there."""
    import fsspec

    with suppress(Exception):
        storage, path = fsspec.url_to_fs(place)
        storage.rm(path, recursive=True)


class _Spool:
    """What pickle writes into: memory as long as it may be sent or there is no folder, then a file in that folder.

    Raises:
        StoreError: the folder cannot be written to.
    """

    def __init__(self, folder: str) -> None:
        self.place = f"{folder}/{uuid.uuid4().hex}.pickle" if folder else ""
        self.memory, self.digest = io.BytesIO(), hashlib.sha256()
        self.file: Any = None

    def write(self, part: bytes) -> int:
        import fsspec

        size = memoryview(part).nbytes
        if self.file is None and (not self.place or self.memory.tell() + size <= MOST_SENT):
            return self.memory.write(part)
        with self._told():
            if self.file is None:
                if "://" not in self.place:
                    Path(self.place).parent.mkdir(parents=True, exist_ok=True)
                self.file = fsspec.open(self.place, "wb").open()
                self._append(self.memory.getbuffer())
            self._append(part)
        return size

    def _append(self, part: Any) -> None:
        self.digest.update(part)
        self.file.write(part)

    def packed(self) -> Packed:
        """What was written."""
        if self.file is None:
            return self.memory.getvalue()
        with self._told():
            self.file.close()
        return self.place, self.digest.hexdigest()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a bucket's packages have errors of their own
            raise StoreError(
                f"{self.place} could not be written for the pieces of work ({said(error)}): correct compute.folder in "
                "params.yaml"
            ) from None


def said(error: BaseException) -> str:
    """What an error says, on one line and without names and passwords in addresses."""
    return bare(" ".join(str(error).split())) or type(error).__name__


def bare(text: str) -> str:
    """A text whose addresses have no names and passwords."""
    return re.sub(r"[^/\s@'\"]*@", "", text)
