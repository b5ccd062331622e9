"""A merge that conflicts in dvc.lock and in the reports, resolved by the real pipeline."""

import json
from pathlib import Path

import pytest

from tests.conftest import BakedProject, bake_copy
from tests.test_experiments_for_real import DVC, OPS, commit, succeeds
from tests.test_pipeline import change


@pytest.fixture
def project(pipeline: BakedProject, tmp_path: Path) -> BakedProject:
    """A copy of the real bake, in the middle of a merge: each branch has changed a parameter, one of them the data."""
    copy = bake_copy(pipeline, tmp_path)
    for name, value in {"user.name": "Ada", "user.email": "ada@localhost"}.items():
        succeeds(copy, "git", "config", name, value)
    change(copy, "train", "model", "logistic_regression")
    change(copy, "evaluate", "importance_repeats", 1)
    succeeds(copy, *DVC, "repro", "--quiet")
    commit(copy, "As little as it can take")
    succeeds(copy, "git", "switch", "--quiet", "--create", "theirs")
    change(copy, "evaluate", "resamples", 500)
    (raw,) = (copy.path / "data" / "raw").glob("*.csv")
    raw.write_text("".join(raw.read_text().splitlines(keepends=True)[:3001]))
    succeeds(copy, *DVC, "add", "--quiet", "data/raw")
    succeeds(copy, *DVC, "repro", "--quiet")
    commit(copy, "Half of the data")
    succeeds(copy, "git", "switch", "--quiet", "--create", "ours", "HEAD~1")
    succeeds(copy, *DVC, "checkout", "--quiet")
    change(copy, "train", "folds", 3)
    succeeds(copy, *DVC, "repro", "--quiet")
    commit(copy, "Three folds")
    merged = copy.run("git", "merge", "theirs")
    assert merged.returncode == 1, merged.stderr
    return copy


def test_resolve_ends_a_merge_with_what_the_pipeline_gives_for_both_changes(project: BakedProject) -> None:
    before = succeeds(project, "git", "diff", "--name-only", "--diff-filter=U").split()

    printed = succeeds(project, *OPS, "resolve")

    assert {"dvc.lock", "reports/training.json"} <= set(before)
    assert "go on with `git commit`" in printed
    assert succeeds(project, "git", "diff", "--name-only", "--diff-filter=U") == ""
    succeeds(project, "git", "commit", "--quiet", "--no-edit")
    assert succeeds(project, "git", "status", "--porcelain") == ""
    assert succeeds(project, *DVC, "status") == "Data and pipelines are up to date.\n"
    assert len(json.loads(project.read("reports/training.json"))["folds"]) == 3
    assert json.loads(project.read("reports/dataset.json"))["rows"] == 3000
    assert succeeds(project, "git", "diff", "theirs", "--", "data") == ""
