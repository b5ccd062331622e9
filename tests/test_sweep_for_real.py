"""`sweep` for real: grids and trials, two at once, killed and continued; the work tree is never touched.

The stages are stubs where only the sweep is looked at, and the real ones where what they train and record is.
"""

import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import BakedProject, bake_copy
from tests.projects import (
    MLOPS,
    change,
    experiment_runs,
    experiments,
    reported,
    started,
    stub_runs,
    succeeds,
    versions,
)

SWEEP = (*MLOPS, "sweep")
GRID = (*SWEEP, "-S", "models.logistic_regression.C=0.25,0.5,1.0", "--jobs", "2")


@pytest.fixture
def project(stub: BakedProject, tmp_path: Path) -> BakedProject:
    """A copy of the stub project, to be changed."""
    return bake_copy(stub, tmp_path)


@pytest.fixture
def real(quick: BakedProject, tmp_path: Path) -> BakedProject:
    """A copy of the quick project, to be changed."""
    return bake_copy(quick, tmp_path)


def wait_for_one(project: BakedProject, process: "subprocess.Popen[str]") -> None:
    """Return once an experiment is finished."""
    for _ in range(1200):
        if succeeds(project, "git", "for-each-ref", "refs/exps"):
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    pytest.fail("no experiment was ever finished")


def clones(project: BakedProject) -> list[Path]:
    return [path for path in (project.path / ".dvc" / "tmp" / "sweeps").glob("*") if path.is_dir()]


def test_a_grid_runs_beside_the_work_tree_and_every_experiment_is_a_run(project: BakedProject) -> None:
    change(project, "train", "folds", 3)  # not committed, and part of what is swept
    process = started(project, *GRID, "--json")
    wait_for_one(project, process)
    change(project, "train", "folds", 99)  # too late to be part of it
    before = project.read("params.yaml")

    said, _ = process.communicate()

    assert process.returncode == 0, said
    ranking = json.loads(said[said.index("[\n") :])
    assert [one["mean"] for one in ranking] == sorted((one["mean"] for one in ranking), reverse=True)
    assert [one["overrides"] for one in ranking] == [[f"models.logistic_regression.C={C}"] for C in (1.0, 0.5, 0.25)]
    assert {one["name"] for one in ranking} == experiments(project) == stub_runs(project)
    for one in ranking:
        training = reported(project, one["name"], "training")
        assert len(training["folds"]) == 3
        assert f"models.logistic_regression.C={training['arguments']['C']}" in one["overrides"]
    assert project.read("params.yaml") == before
    assert succeeds(project, "git", "status", "--porcelain").split() == ["M", "params.yaml"]
    assert clones(project) == []


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_was_ended_goes_on_with_what_is_missing(project: BakedProject, kind: signal.Signals) -> None:
    command = (*SWEEP, "--trials", "3", "--sampler", "random")
    process = started(project, *command, stopped=True)
    wait_for_one(project, process)
    os.kill(process.pid, kind)
    said, _ = process.communicate()
    finished = experiments(project)

    again = project.run(*command)

    assert 0 < len(finished) < 3, said
    assert again.returncode == 0, again.stderr
    assert len(experiments(project)) == 3
    assert finished < experiments(project)
    assert again.stderr.count("accuracy") + again.stderr.count("±") == 3 - len(finished)
    assert stub_runs(project) >= experiments(project)
    assert clones(project) == []
    if kind != signal.SIGKILL:
        assert process.returncode == 128 + kind
        assert f"{len(finished)} of 3 are finished and kept; the same command goes on" in said
    assert "3 trials, 3 of them finished" in project.call(*command[3:], "--dry-run").stdout


def test_a_sweep_that_is_ended_while_it_records_leaves_no_result(real: BakedProject) -> None:
    before = recorded(real)
    process = started(real, *SWEEP, "-S", "register.gate.minimum.limit=0.7", stopped=True)
    while recorded(real) == before:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)

    os.kill(process.pid, signal.SIGTERM)
    said, _ = process.communicate()

    assert process.returncode == 128 + signal.SIGTERM, said
    assert recorded(real) == before
    assert experiments(real) == set()
    assert clones(real) == []


def recorded(project: BakedProject) -> list[tuple[str, str]]:
    """The runs in the store that are not deleted, and how they stand; half a run is one of them."""
    with closing(sqlite3.connect(project.path / "mlflow.db")) as store:
        return store.execute("SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'").fetchall()


def test_two_sweeps_at_once_on_a_fresh_store_train_and_record_what_each_has_to(real: BakedProject) -> None:
    (real.path / "mlflow.db").unlink()
    # 1.0 is what the project has: nothing runs for it, and it is an experiment and a run all the same.
    grids = {"train": "models.logistic_regression.C=0.001,1.0", "register": "register.gate.minimum.limit=0.7,0.71"}
    both = [started(real, *SWEEP, "--name", name, "-S", grid, "--json") for name, grid in grids.items()]

    said = [process.communicate()[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    trained, judged = (json.loads(text[text.index("[\n") :]) for text in said)
    assert {one["name"] for one in [*trained, *judged]} == experiments(real) == experiment_runs(real).keys()
    assert len(experiments(real)) == 4
    assert [one["overrides"] for one in trained] == [[f"models.logistic_regression.C={C}"] for C in (1.0, 0.001)]
    assert trained[0]["mean"] == judged[0]["mean"] == judged[1]["mean"] > trained[1]["mean"]
    for one in trained:
        found = reported(real, one["name"], "training")
        assert found["cross_validated"]["accuracy"]["mean"] == one["mean"]
        assert f"models.logistic_regression.C={found['arguments']['C']}" in one["overrides"]
    assert versions(real) == []


def test_a_trial_that_fails_is_reported_and_the_others_go_on(project: BakedProject) -> None:
    # Nothing is changed, and 1.0 is what was committed: its result is the baseline's.
    done = project.run(*SWEEP, "-S", "models.logistic_regression.C=-1.0,1.0")
    alone = project.run(*SWEEP, "-S", "models.logistic_regression.C=-1.0")

    assert done.returncode == 0, done.stderr
    assert "failed: logistic_regression could not be fitted" in done.stdout
    assert len(experiments(project)) == 1
    assert stub_runs(project) == experiments(project)
    assert alone.returncode == 1
    assert "Error: all 1 trials failed, the first one with: logistic_regression" in alone.stderr
    assert "Traceback" not in alone.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-S", "train.modle=dummy"], "did you mean train.model?"),
        ([], "nothing is to be tried"),
        (["-S", "train.model=a,b", "--trials", "3"], "give -S one value each"),
        (["--trials", "3", "--metric", "acuracy"], "--metric is acuracy, but cross-validated are accuracy"),
        (["-S", "train.model=[a"], "-S cannot be read"),
        (["-S", "train.folds=2,3", "--cluster", "http://127.0.0.1:1"], "scheduler http://127.0.0.1:1 does not answer"),
    ],
)
def test_what_cannot_be_swept_is_one_sentence(project: BakedProject, options: list[str], words: str) -> None:
    done = project.call("sweep", *options)

    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
