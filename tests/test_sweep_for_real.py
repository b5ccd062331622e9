"""`sweep` for real: grids and trials, two at once, killed and continued; the work tree is never touched."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import BakedProject, bake_copy, surroundings
from tests.test_experiments_for_real import commit, experiment_runs, experiments, quick, succeeds
from tests.test_pipeline import change, versions

__all__ = ["quick"]  # a fixture
SWEEP = ("python", "-m", "mlops", "sweep")
GRID = (*SWEEP, "-S", "models.logistic_regression.C=0.25,0.5,1.0", "--jobs", "2")


@pytest.fixture
def project(quick: BakedProject, tmp_path: Path) -> BakedProject:
    """A copy of the quick project, with a space to sweep over."""
    copy = bake_copy(quick, tmp_path)
    change(copy, "sweep", "space", {"models.logistic_regression.C": {"low": 0.01, "high": 10.0, "log": True}})
    commit(copy, "A space")
    return copy


def started(project: BakedProject, *command: str) -> "subprocess.Popen[str]":
    """A sweep that goes on while the test does something else."""
    return subprocess.Popen(
        command,
        cwd=project.path,
        env=surroundings(project.path, HOME=str(project.path.parent)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


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
    registered = versions(project)
    change(project, "train", "folds", 3)  # not committed, and part of what is swept
    process = started(project, *GRID, "--json")
    wait_for_one(project, process)
    change(project, "train", "folds", 99)  # too late to be part of it
    before = project.read("params.yaml")

    said, _ = process.communicate()

    assert process.returncode == 0, said
    ranking = json.loads(said[said.index("[\n") :])
    assert [one["mean"] for one in ranking] == sorted((one["mean"] for one in ranking), reverse=True)
    assert {one["name"] for one in ranking} == experiments(project) == experiment_runs(project).keys()
    assert len(ranking) == 3  # C = 1.0 is what the project has: an experiment and a run all the same
    assert versions(project) == registered
    for one in ranking:
        training = json.loads(succeeds(project, "git", "show", f"{ref(project, one['name'])}:reports/training.json"))
        assert len(training["folds"]) == 3
    assert project.read("params.yaml") == before
    assert succeeds(project, "git", "status", "--porcelain").split() == ["M", "params.yaml"]
    assert clones(project) == []


def ref(project: BakedProject, name: str) -> str:
    return succeeds(project, "git", "for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}").strip()


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_was_ended_goes_on_with_what_is_missing(project: BakedProject, kind: signal.Signals) -> None:
    command = (*SWEEP, "--trials", "3", "--sampler", "random")
    process = started(project, *command)
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
    assert experiment_runs(project).keys() == experiments(project)
    assert clones(project) == []
    if kind != signal.SIGKILL:
        assert process.returncode == 128 + kind
        assert f"{len(finished)} of 3 are finished and kept; the same command goes on" in said
    assert "3 of" in project.run(*command, "--dry-run").stdout.replace("3 trials, 3", "3 of 3")


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_ended_while_it_records_takes_half_a_run_back(
    project: BakedProject, kind: signal.Signals
) -> None:
    before = recorded(project)
    process = started(project, *SWEEP, "-S", "models.logistic_regression.C=0.5")
    while recorded(project) == before:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)

    os.kill(process.pid, kind)
    said, _ = process.communicate()

    assert process.returncode == 128 + kind, said
    assert recorded(project) == before
    assert experiments(project) == set()
    assert clones(project) == []


def recorded(project: BakedProject) -> list[tuple[str, str]]:
    """The runs in the store that are not deleted, and how they stand; half a run is one of them."""
    with closing(sqlite3.connect(project.path / "mlflow.db")) as store:
        return store.execute("SELECT run_uuid, status FROM runs WHERE lifecycle_stage = 'active'").fetchall()


def test_two_sweeps_at_once_on_a_fresh_store_do_not_disturb_each_other(project: BakedProject) -> None:
    (project.path / "mlflow.db").unlink()
    both = [
        started(project, *SWEEP, "--name", name, "-S", f"register.gate.minimum.limit={limits}")
        for name, limits in (("low", "0.5,0.55"), ("high", "0.7,0.71"))
    ]

    said = [process.communicate()[0] for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert len(experiments(project)) == 4
    assert experiment_runs(project).keys() == experiments(project)


def test_a_trial_that_fails_is_reported_and_the_others_go_on(project: BakedProject) -> None:
    # Nothing is changed, and 1.0 is what was committed: its result is the baseline's.
    done = project.run(*SWEEP, "-S", "models.logistic_regression.C=-1.0,1.0")
    alone = project.run(*SWEEP, "-S", "models.logistic_regression.C=-1.0")

    assert done.returncode == 0, done.stderr
    assert "failed: LogisticRegression could not be fitted" in done.stdout
    assert len(experiments(project)) == 1
    assert experiment_runs(project).keys() == experiments(project)
    assert alone.returncode == 1
    assert "Error: all 1 trials failed, the first one with: LogisticRegression" in alone.stderr
    assert "Traceback" not in alone.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-S", "train.modle=dummy"], "did you mean train.model?"),
        ([], "nothing is to be tried"),
        (["-S", "train.model=a,b", "--trials", "3"], "give -S one value each"),
        (["--trials", "3", "--metric", "acuracy"], "--metric is acuracy, but cross-validated are accuracy"),
        (["-S", "train.model=[a"], "-S is not as DVC takes it"),
    ],
)
def test_what_cannot_be_swept_is_one_sentence(quick: BakedProject, options: list[str], words: str) -> None:
    done = quick.run(*SWEEP, *options)

    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
