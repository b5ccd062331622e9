"""The stages on a Dask cluster, one of whose workers is killed in the middle: the same bytes as on this machine."""

import re
from pathlib import Path

from tests import services
from tests.conftest import BakedProject, bake_copy
from tests.projects import DVC, succeeds

# Of the workers, the one that begins the first fold ends itself as the kernel would do it.
DEADLY = """
import os
import signal
from pathlib import Path

from distributed import WorkerPlugin


class Deadly(WorkerPlugin):
    def transition(self, key, start, finish, **more):
        if finish == "executing" and str(key).startswith("fold-"):
            try:
                Path("kill").unlink()
            except FileNotFoundError:
                return
            os.kill(os.getpid(), signal.SIGKILL)


async def dask_setup(worker):
    await worker.plugin_add(Deadly())
"""


def test_a_cluster_that_loses_a_worker_gives_the_same_bytes(quick: BakedProject, tmp_path: Path) -> None:
    project, here = bake_copy(quick, tmp_path), quick.read("dvc.lock")
    (tmp_path / "deadly.py").write_text(DEADLY)
    (tmp_path / "kill").touch()

    with services.dask(tmp_path, 2, preload="deadly.py") as dask:
        there = project.with_env(DASK_SCHEDULER_ADDRESS=dask.address)
        printed = succeeds(there, *DVC, "repro", "--single-item", "--force", "train", "evaluate")
        ended = sorted(str(worker.poll()) for worker in dask.workers)
        answered = (tmp_path / "dask.log").read_text()

    assert project.read("dvc.lock") == here
    assert ended == ["-9", "None"]
    assert not re.search("worker|dask", printed, re.IGNORECASE), answered  # of which a log hears nothing
