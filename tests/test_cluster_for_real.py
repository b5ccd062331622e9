"""Stages, `batch` and a sweep on a Dask cluster whose workers are killed: the same bytes as on this machine."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from tests.conftest import BakedProject, bake_copy
from tests.projects import DVC, MLOPS, answers, experiments, reported, succeeds

# The worker that begins the first piece of the named kind ends itself as the kernel would do it. All tell what they do.
DEADLY = """
import os
import signal
from pathlib import Path

from distributed import WorkerPlugin


class Deadly(WorkerPlugin):
    def transition(self, key, start, finish, **more):
        if finish == "executing":
            kind = str(key).partition("-")[0]
            with open("pieces", "a") as file:
                file.write(f"{kind}\\n")
            try:
                Path(f"kill-{kind}").unlink()
            except FileNotFoundError:
                return
            os.kill(os.getpid(), signal.SIGKILL)


async def dask_setup(worker):
    await worker.plugin_add(Deadly())
"""


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Dask]:
    """A scheduler with two workers, one of which is killed in each test."""
    folder = tmp_path_factory.mktemp("dask")
    (folder / "deadly.py").write_text(DEADLY)
    with services.dask(folder, 2, preload="deadly.py") as started:
        yield started


def killed_in(dask: services.Dask, kind: str) -> None:
    """Let the next piece of this kind end its worker, of which there are two."""
    for _ in range(2 - sum(worker.poll() is None for worker in dask.workers)):
        dask.start_worker(DASK_DISTRIBUTED__WORKER__PRELOAD="deadly.py")
    (dask.folder / f"kill-{kind}").touch()
    (dask.folder / "pieces").write_text("")


def pieces(dask: services.Dask) -> set[str]:
    """The kinds of pieces that were begun since then; the worker of one was killed."""
    assert not list(dask.folder.glob("kill-*"))
    assert sorted({str(worker.poll()) for worker in dask.workers}) == ["-9", "None"]
    return set((dask.folder / "pieces").read_text().split())


def test_stages_have_the_same_bytes(quick: BakedProject, dask: services.Dask, tmp_path: Path) -> None:
    project, here = bake_copy(quick, tmp_path), quick.read("dvc.lock")
    killed_in(dask, "fold")

    there = project.with_env(DASK_SCHEDULER_ADDRESS=dask.address)
    stages = ("prepare", "validate", "train", "evaluate", "monitor")
    printed = succeeds(there, *DVC, "repro", "--single-item", "--force", *stages)

    assert project.read("dvc.lock") == here
    assert pieces(dask) >= {"batch", "fold", "importance", "prediction"}
    assert not re.search("worker|dask", printed, re.IGNORECASE)  # of which a log hears nothing


def test_a_batch_has_the_same_bytes(quick: BakedProject, dask: services.Dask, tmp_path: Path) -> None:
    project = bake_copy(quick, tmp_path)
    header, *lines = next((project.path / "data" / "raw").iterdir()).read_text(encoding="utf-8").splitlines(True)
    (project.path / "rows").mkdir()
    values = lines[207].split(",")
    lines[207] = ",".join([*values[:5], "x", *values[6:]])
    for start in range(0, 400, 50):
        (project.path / "rows" / f"{start:03d}.csv").write_text("".join([header, *lines[start : start + 50]]))
    killed_in(dask, "batch")
    command = ("batch", "rows", "--version", "1", "--skip")

    said = answers(project, *command, "here.csv")
    there = answers(project.with_env(DASK_SCHEDULER_ADDRESS=dask.address), *command, "there.csv")

    assert there == said.replace("here.csv", "there.csv")
    assert project.read("there.csv") == project.read("here.csv")
    assert "batch" in pieces(dask)


def test_a_trial_of_a_sweep_uses_it(quick: BakedProject, dask: services.Dask, tmp_path: Path) -> None:
    project = bake_copy(quick, tmp_path)
    killed_in(dask, "prediction")

    trial = ("-S", "monitor.ks_distance=0.2")  # one stage is enough to see where its pieces go
    said = succeeds(project, *MLOPS, "sweep", "--cluster", dask.address, *trial)

    found = [reported(project, name, "drift")["delivery"] for name in experiments(project)]
    assert found == [json.loads(quick.read("reports/drift.json"))["delivery"]], said
    assert pieces(dask) >= {"batch", "prediction"}
