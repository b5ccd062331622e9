"""What is in production can be made again, whatever the work tree has become; and what cannot is named."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import BakedProject, bake_copy
from tests.test_experiments_for_real import commit, quick, succeeds
from tests.test_pipeline import change

__all__ = ["quick"]  # a fixture
OPS = ("python", "-m", "ops")


@pytest.fixture
def project(quick: BakedProject, tmp_path: Path) -> BakedProject:
    """A copy whose newest version is three commits back, and whose work tree has moved on since."""
    copy = bake_copy(quick, tmp_path)
    change(copy, "train", "model", "random_forest")
    commit(copy, "Another model")
    with (copy.path / "ml" / "metrics.py").open("a") as file:
        file.write("\nraise RuntimeError('not what it was')\n")
    commit(copy, "Broken code")
    (copy.path / "notes.txt").write_text("mine")
    commit(copy, "Notes")
    change(copy, "train", "folds", 99)  # and not even committed
    return copy


def test_a_version_three_commits_back_is_made_again_to_the_byte(project: BakedProject) -> None:
    before = state(project)
    newest = json.loads(before["versions"])["versions"][0]["version"]

    found = json.loads(succeeds(project, *OPS, "reproduce", newest, "--json"))

    assert found["verdict"] == "identical bytes"
    assert found["commit"] == succeeds(project, "git", "rev-parse", "HEAD~3").strip()
    assert state(project) == before
    assert not list((project.path / ".dvc" / "tmp" / "reproduce").iterdir())


def state(project: BakedProject) -> dict[str, str]:
    """What must be the same after it as before."""
    return {
        "status": succeeds(project, "git", "status", "--porcelain"),
        "versions": succeeds(project, *OPS, "registry", "show", "--json"),
        **{name: project.read(name) for name in ("params.yaml", "dvc.lock", "ml/metrics.py")},
    }


def test_data_that_is_no_longer_what_it_was_is_named(project: BakedProject) -> None:
    succeeds(project, "git", "checkout", "--quiet", "--force", "HEAD~3")
    (raw,) = (project.path / "data" / "raw").glob("*.csv")
    listing = project.read("data/raw.dvc")
    folder = listing.split("md5: ")[1].split()[0]
    cache = project.path / ".dvc" / "cache" / "files" / "md5"
    (entry,) = json.loads((cache / folder[:2] / folder[2:]).read_text())
    kept = cache / entry["md5"][:2] / entry["md5"][2:]
    kept.chmod(0o644)
    kept.write_bytes(kept.read_bytes().replace(b"Month-to-month", b"Month-by-month", 1))
    os.utime(kept)

    done = project.run(*OPS, "reproduce", "2")

    assert done.returncode == 1, done.stdout + done.stderr
    assert f"not reproducible; the first that differs is data/raw/{raw.name}" in done.stdout
    assert not list((project.path / ".dvc" / "tmp" / "reproduce").iterdir())


def test_the_chain_behind_a_version_is_found_from_any_end(quick: BakedProject) -> None:
    (raw,) = (quick.path / "data" / "raw").glob("*.csv")
    from_version, from_model, from_data = (
        json.loads(succeeds(quick, *OPS, "trace", what, "--json"))
        for what in ("2", "models/model.joblib", f"data/raw/{raw.name}")
    )

    (chain,) = from_version
    assert from_model == from_version
    assert [one["version"]["version"] for one in from_data] == ["2", "1"]
    assert chain["commit"] == succeeds(quick, "git", "rev-parse", "HEAD").strip()
    assert chain["data"][0]["path"] == f"data/raw/{raw.name}"
    assert list(chain["stages"]) == ["prepare", "validate", "train", "evaluate", "register", "monitor"]
    model = chain["stages"]["train"]["outs"]["models/model.joblib"]
    assert chain["stages"]["evaluate"]["deps"]["models/model.joblib"] == model
    assert chain["metrics"] == json.loads(quick.read("reports/metrics.json"))
    assert "train: data/prepared/train.parquet" in succeeds(quick, *OPS, "trace", "2")
    refused = quick.run(*OPS, "trace", "README.md")
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: README.md is the model of no version")


def test_a_version_that_there_is_not_is_one_sentence(quick: BakedProject) -> None:
    done = quick.run(*OPS, "reproduce", "9")

    assert done.returncode == 1
    assert done.stderr.startswith("Error: customer-churn has no version 9: there are 2, 1")
