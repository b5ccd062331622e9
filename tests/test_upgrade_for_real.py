"""A project of the released version becomes one of this version: its pipeline, edits and old versions go on."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.conftest import PROJECT, TEMPLATE, BakedProject, baked, copy_template, generate
from tests.projects import (
    DVC,
    MLOPS,
    QUICK,
    QUICK_ROWS,
    REPRO,
    Team,
    answers,
    change,
    commit,
    keep_rows,
    questions,
    succeeds,
)

FEATURES = '''"""Own columns."""

import pandas as pd


def derive(table: pd.DataFrame) -> pd.DataFrame:
    """Charges per month."""
    return table.assign(per_month=table["total_charges"] / table["tenure"].clip(lower=1))
'''


def git(place: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Template", "-c", "user.email=template@localhost"]
    done = subprocess.run(["git", *identity, *arguments], cwd=place, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def traced(project: BakedProject) -> list[dict[str, Any]]:
    """What version 1 is made of; a newer version may take the alias `challenger` from it."""
    found: list[dict[str, Any]] = json.loads(answers(project, "trace", "1", "--json"))
    for each in found:
        assert "champion" in each["version"].pop("aliases")
    return found


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the template at the commit that set the version it has, with what it is now as a commit after that."""
    clone = tmp_path_factory.mktemp("template") / "template"
    git(TEMPLATE, "clone", "--quiet", "--branch", git(TEMPLATE, "rev-parse", "--abbrev-ref", "HEAD"), ".", str(clone))
    released = git(clone, "log", "-1", "--format=%H", "--", f"{PROJECT}/mlops/VERSION")
    git(clone, "rm", "-r", "--quiet", PROJECT, "hooks")
    copy_template(clone)
    with (clone / PROJECT / "mlops" / "training" / "metrics.py").open("a") as file:
        file.write("\n# what a stage depends on, which is new even if nothing else is\n")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "Now")
    git(clone, "tag", "v99.0.0")
    git(clone, "checkout", "--quiet", released)
    return clone


def test_a_project_of_the_released_version_goes_on_with_all_that_its_owner_made(template: Path, tmp_path: Path) -> None:
    project = baked(generate(template, tmp_path, setup="no"), tmp_path / "customer-churn")
    for (section, name), value in QUICK.items():
        change(project, section, name, value)
    for folder, rows in QUICK_ROWS.items():
        keep_rows(project, folder, rows)
    (project.path / "project" / "features.py").write_text(FEATURES)
    stage = project.path / "stages" / "train.py"
    stage.write_text(f"{stage.read_text()}\n# a line of the owner\n")
    # The environment of the tests has the lock of today.
    (project.path / "requirements.txt").write_bytes((TEMPLATE / PROJECT / "requirements.txt").read_bytes())
    team = Team(project, None)
    ada, bob = team("ada"), team("bob")
    succeeds(project, "git", "init", "--quiet", "--initial-branch=main")
    succeeds(ada, *DVC, "add", "--quiet", "data/raw", "data/incoming", "data/events")
    succeeds(ada, *MLOPS, "schema", "infer", "--update")
    succeeds(ada, *REPRO, "--quiet")
    commit(project, "Version 1")
    succeeds(ada, *DVC, "push", "--quiet")
    answers(ada, "sync")
    answers(bob, "approve", "1", "--reason", "looked at it")
    answers(ada, "promote", "1", "--reason", "go")
    commit(project, "Promoted")
    before = traced(ada)

    succeeds(ada, *MLOPS, "upgrade")
    succeeds(ada, *REPRO, "--quiet")
    commit(project, "Upgrade")

    assert project.read(".cruft.json").count(git(template, "rev-parse", "v99.0.0")) == 1
    assert "which is new" in project.read("mlops/training/metrics.py")
    assert project.read("project/features.py") == FEATURES
    assert project.read("stages/train.py").endswith("# a line of the owner\n")
    assert "per_month: " in project.read("schema.yaml")
    assert "model: logistic_regression" in project.read("params.yaml")
    assert json.loads(project.read("reports/registration.json"))["passed"]
    assert succeeds(ada, *REPRO).count("didn't change, skipping") == 9
    assert traced(ada) == before
    assert "identical bytes" in succeeds(ada, *MLOPS, "reproduce", "1")
    with services.model(ada, tmp_path / "server") as server:
        status, answer = server.ask("/predict", {"rows": questions(project)[:3]})
    assert (status, [each["model_version"] for each in answer["predictions"]]) == (200, ["1"] * 3)
