"""What a worker of a Dask cluster does with a piece of work; see `mlops.base.cluster`, which sends it."""

import hashlib
import io
import pickle
import re
import time
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mlops.base import console
from mlops.base.errors import ProjectError, StoreError


def sent() -> Callable[..., bytes | tuple[str, str, str, str]]:
    """The function that a worker calls.

    It is made here, since such a function is sent with its code. One of a module would be sent by its name, and
    scheduler and workers do not have this module.
    """

    def piece(
        code: bytes, name: str, versions: dict[str, str], place: Any, digest: str, task: bytes
    ) -> bytes | tuple[str, str, str, str]:
        """Take in the project's code, unless it is there, and do the work; or name a package of another version."""
        import importlib
        import sys
        import threading
        from importlib import metadata
        from pathlib import Path

        from distributed import get_worker

        worker = get_worker()
        # One piece at a time: limits of threads, warnings and modules belong to the whole process. The lock cannot be
        # kept in this module, of which a worker may have several, one after the other.
        with vars(threading).setdefault("mlops_alone", threading.Lock()):
            file = Path(worker.local_directory, name)
            if str(file) not in sys.path:
                for package, version in versions.items():
                    try:
                        found = metadata.version(package)
                    except metadata.PackageNotFoundError:
                        found = ""
                    if found != version:
                        return worker.address, package, found, version
                file.write_bytes(code)
                sys.path[:] = [str(file), *(path for path in sys.path if not Path(path).match("mlops-*.zip"))]
                for module in [module for module in sys.modules if module.partition(".")[0] in ("mlops", "project")]:
                    del sys.modules[module]
                importlib.invalidate_caches()
            from mlops.base import pieces

            return pieces.carried_out(worker.address, place, digest, task)

    return piece


def carried_out(worker: str, place: bytes | str, digest: str, task: bytes) -> bytes:
    """Do a piece of work on a worker; what comes of it, pickled."""
    from threadpoolctl import threadpool_limits

    started, result, failed = time.monotonic(), None, None
    with warnings.catch_warnings(record=True) as shown:
        try:
            shared = _loaded(worker, place, digest)
            function, item, threads = pickle.loads(task)  # noqa: S301 – sent by who has sent the code
            with threadpool_limits(threads):
                result = function(*shared, *item)
        except ProjectError as error:
            failed = error
        except Exception as error:
            if not (sentence := console.fault(error)):
                raise
            failed = ProjectError(f"on the worker {worker}: {sentence}")
    told = [(str(one.message), one.category, one.filename, one.lineno) for one in shown]
    answer = {"worker": worker, "seconds": time.monotonic() - started, "warnings": told}
    return pickle.dumps({**answer, "result": result, "error": failed}, protocol=5)


@lru_cache(maxsize=1)
def _loaded(worker: str, place: bytes | str, digest: str) -> tuple[Any, ...]:
    """What all pieces share, read once by each process of a worker.

    Raises:
        StoreError: the file cannot be read, or is not the one that was written.
    """
    import fsspec

    def opened() -> Any:
        return io.BytesIO(place) if isinstance(place, bytes) else fsspec.open(place, "rb").open()

    try:
        with opened() as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except Exception as error:  # a bucket's packages have errors of their own
        raise StoreError(
            f"the worker {worker} cannot read {place!r} ({said(error)}): let compute.folder in "
            "params.yaml be a folder or a bucket that this machine and all workers see under the same name"
        ) from None
    if found != digest:  # a pickle is code
        raise StoreError(f"the worker {worker} does not find in {place!r} what was written there: run again")
    with opened() as file:
        shared: tuple[Any, ...] = pickle.load(file)  # noqa: S301 – its digest was sent
    return shared


def said(error: BaseException) -> str:
    """What an error says, on one line and without names and passwords in addresses."""
    return bare(" ".join(str(error).split())) or type(error).__name__


def bare(text: str) -> str:
    """A text whose addresses have no names and passwords."""
    return re.sub(r"[^/\s@'\"]*@", "", text)
