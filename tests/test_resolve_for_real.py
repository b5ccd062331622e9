"""Merges that conflict in dvc.lock and in the reports, resolved by the whole pipeline."""

import json
from pathlib import Path

from tests.conftest import BakedProject, bake_copy
from tests.projects import DVC, MLOPS, REPRO, change, commit, keep_rows, succeeds


def known(project: BakedProject) -> BakedProject:
    """The same, by someone whom Git knows."""
    for name, value in {"user.name": "Ada", "user.email": "ada@localhost"}.items():
        succeeds(project, "git", "config", name, value)
    return project


def resolved(project: BakedProject) -> set[str]:
    """Merge the branch theirs, which conflicts, resolve and commit that; the files that were in conflict."""
    assert project.run("git", "merge", "theirs").returncode == 1
    before = succeeds(project, "git", "diff", "--name-only", "--diff-filter=U").split()

    printed = succeeds(project, *MLOPS, "resolve")

    assert "go on with `git commit`" in printed
    assert succeeds(project, "git", "diff", "--name-only", "--diff-filter=U") == ""
    succeeds(project, "git", "commit", "--quiet", "--no-edit")
    assert succeeds(project, "git", "status", "--porcelain") == ""
    assert succeeds(project, *DVC, "status") == "Data and pipelines are up to date.\n"
    return set(before)


def test_resolve_ends_a_merge_with_what_the_pipeline_gives_for_both_changes(stub: BakedProject, tmp_path: Path) -> None:
    project = known(bake_copy(stub, tmp_path))
    succeeds(project, "git", "switch", "--quiet", "--create", "theirs")
    change(project, "evaluate", "resamples", 500)
    keep_rows(project, "raw", 3000)
    succeeds(project, *DVC, "add", "--quiet", "data/raw")
    succeeds(project, *REPRO, "--quiet")
    commit(project, "Half of the data")
    succeeds(project, "git", "switch", "--quiet", "main")
    succeeds(project, *DVC, "checkout", "--quiet")
    change(
        project, "train", "folds", 10
    )  # of another length, for Git that looks at a file in the second it was written
    succeeds(project, *REPRO, "--quiet")
    commit(project, "Ten folds")

    conflicts = resolved(project)

    assert {"dvc.lock", "reports/training.json"} <= conflicts
    assert len(json.loads(project.read("reports/training.json"))["folds"]) == 10
    assert json.loads(project.read("reports/dataset.json"))["rows"] == 3000
    assert succeeds(project, "git", "diff", "theirs", "--", "data") == ""


def test_a_merge_of_two_words_for_the_model_card_gives_a_card_with_both(quick: BakedProject, tmp_path: Path) -> None:
    project = known(bake_copy(quick, tmp_path))
    for branch, name, word in (("theirs", "users", "the call centre"), ("ours", "owner", "Grace Hopper")):
        succeeds(project, "git", "switch", "--quiet", "--create", branch, "main")
        change(project, "card", name, word)
        succeeds(project, *REPRO, "--quiet")
        commit(project, f"Words of {branch}")
        succeeds(project, *DVC, "checkout", "--quiet")

    conflicts = resolved(project)

    card = project.read("reports/model_card.md")
    assert "dvc.lock" in conflicts
    assert "the call centre" in card
    assert "Grace Hopper" in card
