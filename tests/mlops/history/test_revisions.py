"""Results as they were: any commit, branch, tag or experiment of a real repository, read without checking it out."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlops.base import files, yaml
from mlops.base.errors import StoreError
from mlops.history import cache, paths, revisions

CODE = ("*.py", "mlops/base/templates/*", "dvc.yaml")
RIGHT = np.arange(60) % 5 > 0


@pytest.fixture
def project(handmade, classifier):
    """A project with a result, committed."""
    handmade.result(classifier(RIGHT))
    handmade.commit("First")
    return handmade


# ---- names


def test_a_state_is_found_by_each_of_its_names(project):
    first = project.git("rev-parse", "HEAD")
    project.git("tag", "--annotate", "--message", "v1", "v1")
    project.git("branch", "try/this")
    project.experiment("lunar-fowl")

    for name in ("HEAD", "main", "v1", "try/this", first, first[:7], "@", "HEAD~0"):
        assert revisions.find(name).commit == first
    found = revisions.find("lunar-fowl")
    assert project.git("log", "-1", "--format=%s", found.commit) == "lunar-fowl"
    assert [found] == revisions.experiments()
    assert found.short == f"lunar-fowl ({found.commit[:8]})"
    assert revisions.find(first[:7]).short == revisions.find("HEAD").short == first[:8]
    assert revisions.find("").short == "work tree"


def test_references_that_dvc_keeps_for_itself_are_no_experiments(project):
    project.git("update-ref", "refs/exps/exec/EXEC_HEAD", "HEAD")
    project.git("update-ref", "refs/exps/celery/stash", "HEAD")
    project.git("update-ref", "refs/exps/stash", "HEAD")

    assert revisions.experiments() == []


def test_an_experiment_of_two_commits_is_the_one_of_the_commit_that_is_checked_out(project):
    project.experiment("twice")
    first = revisions.find("twice").commit
    project.commit("Second")
    project.experiment("twice")
    second = revisions.find("twice").commit
    project.commit("Third")

    assert first != second
    assert revisions.experiments() == []
    with pytest.raises(StoreError, match="several experiments are called twice: give the commit of one"):
        revisions.find("twice")
    project.git("checkout", "--quiet", "HEAD~2")
    assert revisions.find("twice").commit == first


@pytest.mark.parametrize("name", ["nothing", "--all", "HEAD~9", "main:code.py", "a b", "refs/exps"])
def test_a_name_of_nothing_is_one_sentence(project, name):
    with pytest.raises(StoreError, match=r"is no commit, branch, tag or experiment of this repository: see `git log`"):
        revisions.find(name)


def test_a_branch_that_only_the_remote_has_is_found_by_its_own_name(project, tmp_path, monkeypatch):
    project.git("switch", "--quiet", "--create", "elsewhere")
    there = project.commit("Elsewhere")
    project.git("switch", "--quiet", "main")
    project.git("clone", "--quiet", str(project.path), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")

    assert revisions.find("elsewhere").commit == there


# ---- who brought a result


def test_a_commit_whose_gate_refused_the_model_brings_no_version(handmade):
    digests = {"model": "1" * 64, "data": "2" * 64, "params": ""}
    report = {"model_digest": digests["model"], "data_digest": digests["data"]}
    handmade.write("params.yaml", "seed: 1\n")
    handmade.write("reports/registration.json", {**report, "passed": False})
    refused = handmade.commit("A limit that is too high")
    assert revisions.commits_of(digests, passed=True) == []

    handmade.write("reports/registration.json", {**report, "passed": True})
    passed = handmade.commit("A lower limit")

    assert [each.digest for each in revisions.commits_of(digests, passed=True)] == [passed]
    assert [each.digest for each in revisions.commits_of(digests, passed=False)] == [refused]


# ---- content


def test_files_are_those_of_the_state_and_not_of_the_work_tree(project, monkeypatch):
    Path("code.py").write_text("print(2)\n", encoding="utf-8")
    Path("reports/metrics.json").write_text("{", encoding="utf-8")
    head, here = revisions.find("HEAD"), revisions.find("")

    assert (head.text(Path("code.py")), here.text(Path("code.py"))) == ("print()\n", "print(2)\n")
    assert head.text(Path("nothing.py")) is here.text(Path("nothing.py")) is None
    assert head.json(paths.METRICS)["accuracy"] == 0.8
    assert head.csv(Path("reports/plots/confusion.csv"))["rows"].sum() == 60
    with pytest.raises(
        StoreError, match=r"reports/metrics\.json of work tree is no JSON \(.*\): run `dvc repro` there"
    ):
        here.json(paths.METRICS)
    with pytest.raises(StoreError, match=r"has no nothing\.yaml: run `dvc repro` there, and commit what it writes"):
        head.yaml(Path("nothing.yaml"))


def test_a_small_table_has_the_same_values_as_in_the_work_tree(project):
    table = "actual,rows,share\nNA,1,0.5\n007,2,\n"
    project.write("reports/plots/confusion.csv", table)
    project.commit()
    path = Path("reports/plots/confusion.csv")

    back, here = revisions.find("HEAD").csv(path, ["actual"]), files.read_csv(path, ["actual"])

    assert back.equals(here)
    assert back["actual"].tolist() == ["NA", "007"]
    assert np.isnan(back["share"][1])
    project.write("reports/plots/confusion.csv", "")
    with pytest.raises(StoreError, match=r"confusion\.csv of work tree could not be read"):
        revisions.find("").csv(path)


def test_a_key_that_a_report_lacks_is_one_sentence_at_any_depth(project):
    project.write("reports/training.json", {"folds": [{"accuracy": 1}]})

    report = revisions.find("").json(paths.TRAINING)

    assert report == {"folds": [{"accuracy": 1}]}
    assert report["folds"][0].get("f1") is None
    with pytest.raises(StoreError, match=r"reports/training\.json of work tree has no f1, it was made by an older"):
        report["folds"][0]["f1"]


def test_a_profile_of_an_older_pipeline_is_one_sentence(project):
    entry = project.keep("data/prepared/reference.parquet", pd.DataFrame({"column": ["age"]}))
    project.write("dvc.lock", {"stages": {"prepare": {"outs": [entry]}}})

    with pytest.raises(StoreError, match=r"reference\.parquet of work tree has no missing, it was made by an older"):
        revisions.find("").profile()


def test_a_project_in_a_folder_of_a_repository_has_its_own_files(project, classifier, tmp_path, monkeypatch):
    project.path.rename(tmp_path / "inner")
    outer = type(project)(tmp_path / "project")
    outer.path.mkdir()
    shutil.move(tmp_path / "inner", outer.path / "inner")
    shutil.move(outer.path / "inner" / ".git", outer.path / ".git")
    monkeypatch.chdir(outer.path / "inner")
    outer.write("code.py", "print('outer')\n")
    outer.commit("Moved")
    Path("code.py").write_text("changed\nagain\n", encoding="utf-8")
    Path("new.py").write_text("new\n", encoding="utf-8")
    outer.write("new.py", "outer\n")
    head = revisions.find("HEAD")

    assert head.text(Path("code.py")) == "print()\n"
    assert head.predictions()[1].actual.tolist() == classifier(RIGHT).actual.tolist()
    assert revisions.changed_files(head, revisions.find(""), CODE) == [("code.py", 2, 1), ("new.py", 1, 0)]


def test_predictions_of_a_state_come_from_the_cache_or_from_the_remote(project, classifier, tmp_path):
    found = classifier(RIGHT)
    project.write(
        ".dvc/config",
        f"[core]\n    analytics = false\n    remote = storage\n['remote \"storage\"']\n    url = {tmp_path}/storage\n",
    )
    Path(".dvc/cache").rename(tmp_path / "storage")

    kept, back = revisions.find("HEAD").predictions()

    assert back.predicted.tolist() == found.predicted.tolist()
    assert kept["row"].nunique() == 60
    assert cache.path_of(revisions.find("HEAD").digests["data/prepared/predictions.parquet"]).is_file()


@pytest.mark.parametrize("remote", [True, False])
def test_data_that_is_nowhere_is_one_sentence(project, tmp_path, remote):
    shutil.rmtree(".dvc/cache")
    if remote:
        (tmp_path / "storage").mkdir()
        Path(".dvc/config").write_text(f"[core]\nremote = s\n['remote \"s\"']\nurl = {tmp_path}/storage\n")

    with pytest.raises(StoreError, match="is neither in DVC's cache nor to be had from the remote") as found:
        revisions.find("HEAD").predictions()

    assert ("it is not there either" if remote else "no remote") in str(found.value)
    assert "\n" not in str(found.value)


def test_a_result_of_an_older_pipeline_or_of_none_says_what_to_do(project):
    project.write("reports/evaluation.json", {"headline": "accuracy"})
    with pytest.raises(StoreError, match=r"has no labels, it was made by an older pipeline: run `dvc repro` there"):
        revisions.find("").predictions()

    Path("dvc.lock").unlink()
    with pytest.raises(StoreError, match=r"work tree has no data/prepared/predictions\.parquet in its dvc\.lock"):
        revisions.find("").predictions()
    assert revisions.find("").stages == {}


def test_a_stage_is_stale_when_its_code_parameters_or_command_changed(project):
    def stale() -> list[str]:
        return revisions.find("").stale()

    assert stale() == []
    settings, pipeline = (Path(name).read_text(encoding="utf-8") for name in ("params.yaml", "dvc.yaml"))
    project.write("params.yaml", settings.replace("max_depth: 10", "max_depth: 9"))
    assert stale() == ["train"]
    project.write("params.yaml", settings)
    project.write("dvc.yaml", pipeline.replace("cmd: prepare", "cmd: prepare --fast"))
    assert stale() == ["prepare"]
    project.write("code.py", "other()\n")
    assert stale() == ["prepare", "train", "evaluate"]


def test_a_stage_may_declare_one_parameter_of_a_section(project):
    lock, pipeline = (yaml.read(Path(name)) for name in ("dvc.lock", "dvc.yaml"))
    lock["stages"]["train"]["params"]["params.yaml"] = {"train.seed": 42}
    pipeline["stages"]["train"]["params"] = ["train.seed"]
    project.write("dvc.lock", lock)
    project.write("dvc.yaml", pipeline)
    settings = (project.path / "params.yaml").read_text(encoding="utf-8")

    project.write("params.yaml", settings.replace("folds: 5", "folds: 6"))
    assert revisions.find("").stale() == []
    project.write("params.yaml", settings.replace("seed: 42", "seed: 43"))
    assert revisions.find("").stale() == ["train"]


# ---- what changed


def test_changed_files_are_counted_also_those_that_git_does_not_know(project):
    project.write("old.py", "a\nb\n")
    project.write("größe 1.py", "a\n")
    project.write("README.md", "x\n")
    project.commit()
    before = revisions.find("HEAD")
    Path("old.py").rename("renamed.py")
    project.write("größe 1.py", "b\nc\n")
    project.write("README.md", "y\n")
    project.write("sub/new.py", "1\n2\n3")
    project.write("mlops/base/templates/page.html", "x\n")
    project.write(".gitignore", "ignored.py\n")
    project.write("ignored.py", "x\n")

    expected = [
        ("größe 1.py", 2, 1),
        ("mlops/base/templates/page.html", 1, 0),
        ("old.py", 0, 2),
        ("renamed.py", 2, 0),
        ("sub/new.py", 3, 0),
    ]
    assert revisions.changed_files(before, revisions.find(""), CODE) == expected
    project.commit()
    assert revisions.changed_files(before, revisions.find("HEAD"), CODE) == expected
    assert revisions.changed_files(revisions.find("HEAD"), revisions.find(""), CODE) == []


# ---- where the main branch was left


def test_the_merge_base_is_where_a_branch_left_main_and_on_main_the_last_commit(project):
    first = project.git("rev-parse", "HEAD")
    project.git("switch", "--quiet", "--create", "try")
    project.commit("Try")
    project.git("switch", "--quiet", "main")
    second = project.commit("Meanwhile")

    assert revisions.merge_base().commit == second
    project.git("switch", "--quiet", "try")
    assert revisions.merge_base().commit == first


def test_main_is_the_remotes_whatever_it_is_called_there(project, tmp_path, monkeypatch):
    first = project.git("rev-parse", "HEAD")
    project.git("branch", "--move", "main", "trunk")
    project.git("clone", "--quiet", str(project.path), str(tmp_path / "clone"))
    clone = type(project)(tmp_path / "clone")
    monkeypatch.chdir(clone.path)
    clone.git("-c", "user.name=Ada", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "Ahead")

    assert revisions.merge_base().commit == first


def test_without_a_main_branch_a_person_names_what_to_compare_with(project):
    project.git("branch", "--move", "main", "trunk")

    with pytest.raises(StoreError, match=r"there is no main branch to compare with: name what to compare with"):
        revisions.merge_base()


@pytest.mark.parametrize("checked_out", ["main", "try"])
def test_a_shallow_clone_says_what_to_fetch_and_that_is_enough(project, tmp_path, monkeypatch, checked_out):
    first = project.git("rev-parse", "HEAD")
    project.git("switch", "--quiet", "--create", "try")
    project.commit("Try")
    project.commit("Again")
    project.git("switch", "--quiet", checked_out)
    source = f"file://{project.path}"
    project.git("clone", "--quiet", "--depth", "1", "--branch", "try", source, str(tmp_path / "clone"))
    clone = type(project)(tmp_path / "clone")
    clone.git("remote", "set-head", "origin", "--delete")
    monkeypatch.chdir(clone.path)

    assert revisions.is_shallow()
    with pytest.raises(StoreError, match="this clone has a part of the history only: `git fetch") as found:
        revisions.merge_base()
    with pytest.raises(StoreError, match=r"main is no commit, .*: this clone has a part of the history only"):
        revisions.find("main")
    clone.git(*[word.strip('"') for word in str(found.value).split("`")[1].split()[1:]])

    assert not revisions.is_shallow()
    assert revisions.merge_base().commit == revisions.find("main").commit == first


def test_where_a_run_was_stopped_what_a_stage_wrote_counts_and_not_what_a_later_stage_had_read() -> None:
    text = """
    stages:
      train: {outs: [{path: models/model.joblib, md5: new}]}
      register: {deps: [{path: models/model.joblib, md5: old}]}
    """

    assert revisions.locked(text) == {"models/model.joblib": "new"}


@pytest.mark.parametrize("tag", ["--output=taken", "HEAD~1", "main"])
def test_a_versions_tag_that_is_no_commit_never_reaches_git(project, monkeypatch, tag):
    asked = []
    run = revisions.git.run
    monkeypatch.setattr(revisions.git, "run", lambda *words, **more: asked.extend(words) or run(*words, **more))

    with pytest.raises(StoreError, match="no commit here has the model"):
        revisions.of_result({"commit": tag, "model_digest": "0" * 64})

    assert not [word for word in asked if word.startswith(tag)]
    assert not list(project.path.glob("taken*"))


def test_an_option_is_no_name_of_a_revision(project):
    with pytest.raises(StoreError, match="is no commit, branch, tag or experiment"):
        revisions.find("--output=taken")
    assert revisions.Revision("x", "--output=taken").text(Path("code.py")) is None

    assert not list(project.path.glob("taken*"))
