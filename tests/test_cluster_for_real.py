"""The stages on a Dask cluster, one of whose workers is killed in the middle: the same bytes as on this machine."""

import re
from pathlib import Path

from tests import services
from tests.conftest import BakedProject, bake_copy
from tests.projects import DVC, change, succeeds

# A model and a metric of the project, of which a worker has no file. The model kills whoever fits it first.
ESTIMATOR = """import os
import signal
from pathlib import Path

from sklearn.ensemble import RandomForestClassifier


class Deadly(RandomForestClassifier):
    def fit(self, X, y, sample_weight=None):
        try:
            Path("MARK").unlink()
        except FileNotFoundError:
            return super().fit(X, y, sample_weight)
        os.kill(os.getpid(), signal.SIGKILL)
"""
METRIC = """
def missed(actual, predicted, probability):
    return float(((actual == "Yes") & (predicted == "No")).mean())


METRICS = {missed: "lower"}
"""


def test_a_cluster_that_loses_a_worker_gives_the_same_bytes(quick: BakedProject, tmp_path: Path) -> None:
    project, mark = bake_copy(quick, tmp_path), tmp_path / "kill"
    (project.path / "project" / "estimators.py").write_text(ESTIMATOR.replace("MARK", mark.as_posix()))
    metrics = project.read("project/metrics.py")
    (project.path / "project" / "metrics.py").write_text(metrics.partition("# Each function, and")[0] + METRIC)
    change(project, "models", "deadly", {"classifier": "project.estimators.Deadly", "n_estimators": 10})
    change(project, "train", "model", "deadly")
    change(project, "train", "calibrate", "sigmoid")
    space = {"deadly": {"max_depth": {"low": 2, "high": 9}}}
    change(project, "train", "search", {"candidates": 3, "metric": "missed", "space": space})
    succeeds(project, *DVC, "repro", "--quiet", "evaluate")
    here = project.read("dvc.lock")
    assert "missed" in project.read("reports/metrics.json")

    with services.dask(tmp_path, 2) as dask:
        mark.touch()
        there = project.with_env(DASK_SCHEDULER_ADDRESS=dask.address)
        printed = succeeds(there, *DVC, "repro", "--single-item", "--force", "train", "evaluate")
        ended = sorted(str(worker.poll()) for worker in dask.workers)

    assert project.read("dvc.lock") == here
    assert ended == ["-9", "None"]
    assert not re.search("worker|dask", printed, re.IGNORECASE)  # of which a log hears nothing
