"""Pieces of work on a Dask cluster, which `compute.scheduler` or DASK_SCHEDULER_ADDRESS names.

A worker needs the packages of requirements.txt and nothing of this project: its code is sent along. The results have
the bytes that they have on one machine, also if a worker dies, since its pieces are then done anew by another.
"""

import hashlib
import io
import json
import logging
import os
import sys
import time
import uuid
import warnings
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlops.base import environment, parallel, pieces
from mlops.base.errors import MEMORY, ProjectError, StoreError, counted

if TYPE_CHECKING:
    from distributed import Client, Future

    from mlops.base.params import Compute

ROOT = Path(__file__).parents[2]
# Of pieces too large to be sent, so many are made ready for each worker: one that it does, and the next one.
AHEAD = 2
# How long they are waited for, and after how many seconds of waiting for a piece the cluster is looked at.
SCHEDULER_SECONDS, WORKER_SECONDS, LOOK_SECONDS = 10, 60, 5
# Of a piece that failed by what is no fault of data, parameters or code, such as a storage that is away for a moment.
RETRIES = 2


@contextmanager
def connected(settings: "Compute", estimators: Collection[str] = ()) -> Iterator[Callable[..., Iterator[Any]] | None]:
    """What runs pieces of work on the cluster that is named (see `_Cluster.run`); None where none is.

    `estimators` are import paths, the packages behind which have to be the same everywhere.

    Raises:
        StoreError: there is no such cluster, or one of its workers has other packages.
    """
    address = os.environ.get("DASK_SCHEDULER_ADDRESS") or settings.scheduler
    if not address:
        yield None
        return
    bare = pieces.bare(address)
    try:
        from distributed import Client
    except ImportError:
        raise StoreError(
            f"the Dask cluster {bare} takes the package distributed, which is missing: lock it (`python -m mlops lock "
            f"--extra cluster`) and install it (`{environment.install()}`)"
        ) from None
    for name in ("distributed", "distributed.client"):  # what they have to say is said here in a sentence
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as closed:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of other versions: see _refuse_others
                client = closed.enter_context(Client(address, timeout=SCHEDULER_SECONDS, set_as_default=False))
            workers = _Cluster(client, bare, settings.folder, estimators)
        except ProjectError:
            raise
        except Exception as error:  # of an address or a certificate, too
            source = "DASK_SCHEDULER_ADDRESS" if os.environ.get("DASK_SCHEDULER_ADDRESS") else "compute.scheduler"
            raise StoreError(
                f"the Dask scheduler {bare} does not answer ({pieces.said(error)}): start it, correct {source}, or "
                "remove that to work on this machine"
            ) from None
        yield workers.run


@contextmanager
def used(settings: "Compute", estimators: Collection[str] = ()) -> Iterator[None]:
    """Let the cluster that is named do the parallel work; where none is, this machine does it.

    Raises:
        StoreError: as `connected`.
    """
    with connected(settings, estimators) as run, parallel.run_by(run):
        yield


class _Cluster:
    """A connection whose workers have the packages of this machine; the code of this project, packed."""

    def __init__(self, client: "Client", address: str, folder: str, estimators: Collection[str]) -> None:
        self.client, self.address, self.folder = client, address, folder
        self.versions = self._refuse_others(estimators)
        code = _packed()
        # Another name for other code or other versions: a worker looks at both once.
        self.name = f"mlops-{hashlib.sha256(code + json.dumps(self.versions).encode()).hexdigest()[:16]}"
        self.code = client.submit(bytes, code, pure=False)
        if sys.stderr.isatty():
            shown = "dashboard" in client.scheduler_info()["services"]
            dashboard = f"; its dashboard is {client.dashboard_link}" if shown else ""
            typer.echo(
                f"on the Dask cluster {address} with {counted(len(client.nthreads()), 'worker')}{dashboard}", err=True
            )

    def _refuse_others(self, estimators: Collection[str]) -> dict[str, str]:
        """The versions of what results depend on, which are those of all workers.

        Raises:
            StoreError: a worker has another version, or the scheduler one of what it needs; or there is no worker.
        """
        try:  # a cluster that grows by need starts its first worker for a task
            self.client.submit(int, pure=False).result(timeout=WORKER_SECONDS)
        except TimeoutError:
            raise self._without_workers() from None
        names = environment.ANSWERS_WITH | {"cloudpickle", "distributed"}
        names = names.union(*map(environment.packages_behind, estimators))
        found = self.client.get_versions(packages=sorted(names))

        def versions(machine: dict[str, Any]) -> dict[str, str]:
            python = ".".join(machine["packages"]["python"].split(".")[:2])
            return {"Python": python, **{name: machine["packages"][name] for name in sorted(names)}}

        here, scheduler = versions(found["client"]), versions(found["scheduler"])
        there = {f"the worker {worker}": versions(machine) for worker, machine in found["workers"].items()}
        there["the scheduler"] = {name: scheduler[name] for name in ("Python", "cloudpickle", "distributed")}
        for machine, packages in there.items():
            for name, version in packages.items():
                if version != here[name]:
                    raise _other_version(machine, name, version, here[name])
        return {name: here[name] for name in sorted(names)}

    def run(
        self,
        name: str,
        function: Callable[..., Any],
        shared: tuple[Any, ...],
        items: Iterable[Sequence[Any]],
        threads: int,
    ) -> Iterator[Any]:
        """Call `function` with `shared` and the arguments of each item on workers; yield its answers, in order.

        It is a function of a module, by which workers know it, and `name` is its name for people. On a terminal, a line
        says in the end who did how much.

        Raises:
            ProjectError: a piece raised it.
            StoreError: the cluster was lost, a piece kills its worker, or what is shared cannot be written or read.
        """
        started, seconds, done, key = time.monotonic(), 0.0, Counter[str](), f"{name}-{uuid.uuid4().hex}"
        parent = self.folder if "://" in self.folder else str(Path(self.folder).resolve())
        folder = f"{parent.rstrip('/')}/mlops-{uuid.uuid4().hex}"
        running: deque[tuple[Future, pieces.Packed]] = deque()
        sent, piece, failed, kept = 0, pieces.sent(), None, False
        coming: Iterator[Sequence[Any]] | None = iter(items)
        try:
            common: Any = pieces.packed(shared, folder)
            kept = isinstance(common, tuple)
            if not kept:
                common = self.client.submit(bytes, common, pure=False)
            while True:
                while coming and self._has_room(running):
                    try:
                        task = pieces.packed((function, tuple(next(coming)), threads), folder)
                    except StopIteration:
                        coming = None
                        continue
                    except Exception as error:  # is told when all before it are done, as on one machine
                        coming, failed = None, error
                        continue
                    kept = kept or isinstance(task, tuple)
                    # By its priority the first is done first: an answer waits on its worker until all before it are
                    # taken.
                    options = {"key": f"{key}-{sent}", "priority": -sent, "pure": False, "retries": RETRIES}
                    known = (self.code, self.name, self.versions, common)
                    running.append((self.client.submit(piece, *known, task, **options), task))
                    sent += 1
                if not running:
                    break
                future, task = running[0]
                total = "" if coming else f" of {sent}"
                answer = self._answer(future, f"{name} {sent - len(running) + 1}{total}")
                running.popleft()
                future.release()  # or the worker would keep what it has sent
                if isinstance(task, tuple):
                    pieces.remove(task[0])
                done[answer["worker"]] += 1
                seconds += answer["seconds"]
                yield answer["result"]
        finally:
            with suppress(Exception):
                self.client.cancel([future for future, _ in running])
            if kept:
                pieces.remove(folder)
        if failed:
            raise failed
        if sys.stderr.isatty():
            who = ", ".join(f"{count} on {worker}" for worker, count in sorted(done.items()))
            lasted = time.monotonic() - started
            typer.echo(f"{counted(sent, name)}: {who}; {seconds:.1f} s of work in {lasted:.1f} s", err=True)

    def _has_room(self, running: Collection[tuple["Future", pieces.Packed]]) -> bool:
        """Whether one more piece may be sent: of those that lie in the folder, there are two for each worker."""
        large = sum(isinstance(task, tuple) for _, task in running)
        return not large or large < AHEAD * max(1, len(self.client.nthreads()))

    def _answer(self, future: "Future", which: str) -> dict[str, Any]:
        """The answer of a piece, whose warnings are shown here.

        Raises:
            ProjectError: the piece raised it.
            StoreError: there is no answer.
        """
        from distributed import CancelledError, KilledWorker

        try:
            found = self._waited_for(future)
        except KilledWorker as error:
            raise StoreError(
                f"{which} ended each of the {error.allowed_failures + 1} workers of the Dask cluster {self.address} "
                f"that tried it, the last one {error.last_worker.address}: most likely {MEMORY}"
            ) from None
        except (CancelledError, OSError) as error:
            if future.status == "error":
                raise
            reason = getattr(error, "reason", "") or pieces.said(error)
            raise StoreError(
                f"the Dask cluster {self.address} was lost in the middle of the work ({reason}): start it, and run "
                "again"
            ) from None
        if isinstance(found, dict):
            raise _other_version(**found)
        answer: dict[str, Any] = pieces.unpacked(found, "this machine")
        if isinstance(found, tuple):
            pieces.remove(found[0])
        for message, kind, file, line in answer["warnings"]:
            warnings.warn_explicit(message, kind, file, line)
        if answer["error"]:
            raise answer["error"]
        return answer

    def _waited_for(self, future: "Future") -> Any:
        last = time.monotonic()  # that there was a worker
        while True:
            try:
                return future.result(timeout=LOOK_SECONDS)
            except TimeoutError:
                if future.done():  # it was done meanwhile, or it is the piece that raised this
                    return future.result()
            if self.client.nthreads():
                last = time.monotonic()
            elif time.monotonic() - last > WORKER_SECONDS:
                raise self._without_workers()

    def _without_workers(self) -> StoreError:
        return StoreError(
            f"the Dask cluster {self.address} has had no worker for {WORKER_SECONDS} seconds: start one (`dask worker "
            f"{self.address} --nthreads 1`), or remove compute.scheduler to work on this machine"
        )


def _packed() -> bytes:
    """The machinery, and project/ with what its code reads from there, as a zip; the same files give the same bytes."""
    found = {path for path in (ROOT / "project").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    files = {path: path.read_bytes() for path in found.union((ROOT / "mlops").rglob("*.py"))}
    # Without this file, a folder of the same name elsewhere would be part of it.
    files = {ROOT / "project" / "__init__.py": b""} | files
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(files.items()):
            name = zipfile.ZipInfo(path.relative_to(ROOT).as_posix())  # without a time
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _other_version(machine: str, package: str, there: str | None, here: str) -> StoreError:
    has = f"{package} {there}" if there else f"no {package}"
    return StoreError(
        f"{machine} has {has}, and this machine {here}: install requirements.txt there, too, or results "
        "could have other bytes"
    )
