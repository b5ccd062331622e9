"""DVC's experiments, as its documentation has them, with the tracking store, Git and the review beside them."""

import json
import time
from pathlib import Path

import pytest

from tests.conftest import BakedProject, bake_copy
from tests.test_pipeline import change, runs, versions

DVC = ("python", "-m", "dvc")
OPS = ("python", "-m", "mlops")
QUEUE_ENDS = 600  # seconds


@pytest.fixture(scope="module")
def quick(pipeline: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """A copy of the real bake whose pipeline takes as little as it can, run and committed."""
    copy = bake_copy(pipeline, tmp_path_factory.mktemp("quick"))
    change(copy, "train", "folds", 2)
    change(copy, "train", "model", "logistic_regression")
    change(copy, "evaluate", "importance_repeats", 1)
    succeeds(copy, *DVC, "repro", "--quiet")
    commit(copy, "As little as it can take")
    return copy


@pytest.fixture
def project(quick: BakedProject, tmp_path: Path) -> BakedProject:
    """A copy of it, to be changed."""
    return bake_copy(quick, tmp_path)


def succeeds(project: BakedProject, *command: str) -> str:
    """Run a command that has to succeed; what it printed."""
    done = project.run(*command)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def commit(project: BakedProject, message: str) -> str:
    """Commit everything; the commit."""
    succeeds(project, "git", "add", "--all")
    succeeds(project, "git", "-c", "user.name=Ada", "-c", "user.email=ada@localhost", "commit", "-qm", message)
    return succeeds(project, "git", "rev-parse", "HEAD").strip()


def experiments(project: BakedProject) -> set[str]:
    """The names of the experiments that started from what is checked out."""
    return set(succeeds(project, *DVC, "exp", "list", "--name-only").split())


def experiment_runs(project: BakedProject) -> dict[str, dict[str, str]]:
    """The tags of the runs of experiments, by the experiment's name."""
    found = [tags for tags in runs(project) if "experiment" in tags]
    by_name = {tags["experiment"]: tags for tags in found}
    assert len(by_name) == len(found)
    return by_name


def queue_ends(project: BakedProject) -> None:
    """Wait until nothing is queued or running."""
    start = time.monotonic()
    while any(word in (said := succeeds(project, *DVC, "queue", "status")) for word in ("Queued", "Running")):
        assert time.monotonic() - start < QUEUE_ENDS, said
        time.sleep(1)


# ---- experiments


def test_a_queue_of_six_on_two_workers_leaves_none_behind_five_times(project: BakedProject) -> None:
    registered = versions(project)
    for turn in range(5):
        # What only the last stage reads: a candidate costs little, and is a result of its own nevertheless.
        grid = [f"register.gate.minimum.limit=0.6{turn},0.7{turn}", "register.gate.overfitting.limit=0.2,0.3,0.4"]
        succeeds(project, *DVC, "exp", "run", "--quiet", "--queue", "-S", grid[0], "-S", grid[1])
        succeeds(project, *DVC, "queue", "start", "--jobs", "2")
        queue_ends(project)

        assert len(experiments(project)) == 6 * (turn + 1), succeeds(project, *DVC, "queue", "status")

    assert experiment_runs(project).keys() == experiments(project)
    assert versions(project) == registered
    assert succeeds(project, "git", "status", "--porcelain") == ""


def test_an_experiment_is_a_tagged_run_wherever_it_ran(project: BakedProject) -> None:
    head, registered = succeeds(project, "git", "rev-parse", "HEAD").strip(), versions(project)
    succeeds(project, *DVC, "exp", "run", "--quiet", "-n", "here", "-S", "models.logistic_regression.C=0.5")
    here = json.loads(project.read("reports/registration.json"))
    succeeds(project, "git", "checkout", "--quiet", ".")
    succeeds(project, *DVC, "exp", "run", "--quiet", "--temp", "-n", "aside", "-S", "models.logistic_regression.C=0.5")

    tags = experiment_runs(project)

    assert tags.keys() == {"here", "aside"} == experiments(project)
    for found in tags.values():
        assert found["commit"] == head
        assert found["model_digest"] == here["model_digest"]
        assert found["data_digest"] == here["data_digest"]
        assert len({found[f"{kind}_digest"] for kind in ("model", "data", "params", "code")}) == 4
        assert found["registered"] == "false"
    assert versions(project) == registered


def test_an_experiment_that_dvc_skipped_is_recorded_when_asked(project: BakedProject) -> None:
    before = runs(project), versions(project)
    succeeds(project, *DVC, "exp", "run", "--quiet", "--temp", "-n", "same", "-S", "train.model=logistic_regression")
    skipped = runs(project)

    said = [succeeds(project, *OPS, "sync", "--experiments") for _ in range(2)]

    assert skipped == before[0]
    assert experiment_runs(project).keys() == {"same"} == experiments(project)
    assert versions(project) == before[1]
    assert said[0].endswith("same is recorded\n")
    assert said[1] == "every experiment has its run\n"
    assert succeeds(project, "git", "status", "--porcelain") == ""


def test_a_queued_experiment_runs_the_code_and_parameters_of_when_it_was_queued(project: BakedProject) -> None:
    succeeds(project, *DVC, "exp", "run", "--quiet", "--queue", "-n", "then", "-S", "models.logistic_regression.C=0.5")
    stage = project.path / "stages" / "train.py"
    stage.write_text(stage.read_text() + "\nraise SystemExit('the code of now')\n")
    change(project, "train", "folds", 3)

    succeeds(project, *DVC, "queue", "start")
    queue_ends(project)

    shown = json.loads(succeeds(project, "git", "show", f"{ref(project, 'then')}:reports/training.json"))
    assert len(shown["folds"]) == 2
    assert shown["arguments"]["C"] == 0.5


def ref(project: BakedProject, name: str) -> str:
    """The commit of an experiment."""
    lines = succeeds(project, "git", "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps").splitlines()
    return next(line.split()[1] for line in lines if line.split()[0].endswith(f"/{name}"))


def test_what_an_experiment_found_can_be_shown_compared_applied_and_registered(project: BakedProject) -> None:
    registered = versions(project)
    succeeds(project, *DVC, "exp", "run", "--quiet", "--temp", "-n", "guess", "-S", "train.model=dummy")
    succeeds(project, *DVC, "exp", "run", "--quiet", "--temp", "-n", "weaker", "-S", "models.logistic_regression.C=0.5")

    shown = json.loads(succeeds(project, *DVC, "exp", "show", "--json"))
    compared = json.loads(succeeds(project, *OPS, "compare", "--json"))
    succeeds(project, *DVC, "exp", "apply", "weaker")
    succeeds(project, *OPS, "sync")

    assert {"guess", "weaker"} <= set(json.dumps(shown).replace('"', " ").split())
    verdicts = {one["name"]: one["verdict"] for one in compared["models"]}
    assert verdicts["guess"] == "worse"
    assert sorted(verdicts) == ["HEAD", "guess", "weaker"]
    assert sorted(verdicts.values()) in (["best", "not distinguishable", "worse"], ["best", "worse", "worse"])
    assert len(versions(project)) == len(registered) + 1
    assert experiment_runs(project)["weaker"]["registered"] == "true"


# ---- review


def review(project: BakedProject, *options: str) -> dict[str, object]:
    """What the review says, as JSON."""
    found: dict[str, object] = json.loads(succeeds(project, *OPS, "review", "--json", *options))
    return found


def test_a_changed_parameter_is_reviewed_with_what_it_did(project: BakedProject, tmp_path: Path) -> None:
    succeeds(project, "git", "switch", "--quiet", "--create", "try")
    change(project, "train", "model", "dummy")
    before_it_ran = review(project)
    succeeds(project, *DVC, "repro", "--quiet")
    commit(project, "Guess")

    found = review(project)
    page = tmp_path / "review.html"
    done = project.run(*OPS, "review", "--html", str(page), "--fail-on", "regression")

    assert before_it_ran["not_run"] == ["train", "register"]
    assert before_it_ran["stages"] == []
    assert found["parameters"] == [{"name": "train.model", "before": "logistic_regression", "after": "dummy"}]
    assert found["stages"] == ["train", "evaluate", "register", "monitor"]
    assert found["headline"]["verdict"] == "worse"
    assert found["metrics"]["shared_rows"] == 1200
    assert found["gate"]["passed_before"] is True
    assert found["gate"]["passed"] is False
    assert (found["data"]["changed"], found["code"], found["environment"]) == (False, [], [])
    assert done.returncode == 1
    assert "| `train.model` | `logistic_regression` | `dummy` |" in done.stdout
    html = page.read_text()
    assert html.count("<svg") == 4
    assert "<script" not in html
    assert 'src="http' not in html


def test_changed_data_is_reviewed_row_by_row(project: BakedProject) -> None:
    (raw,) = (project.path / "data" / "raw").glob("*.csv")
    header, *lines = raw.read_text().splitlines()
    column = header.split(",").index("monthly_charges")
    fields = lines[10].split(",")
    fields[column] = "21.5"
    lines[10] = ",".join(fields)
    raw.write_text("\n".join([header, *lines[:-100]]) + "\n")
    succeeds(project, *DVC, "add", "--quiet", "data/raw")
    succeeds(project, *DVC, "repro", "--quiet")

    found = review(project, "HEAD")

    assert found["data"]["changed"] is True
    assert found["data"]["rows"] == {"before": 6000, "after": 5900, "added": 0, "removed": 100, "changed": 1}
    assert found["data"]["columns"] == []
    assert found["data"]["drift"] == []
    assert found["parameters"] == []
    assert 0 < found["metrics"]["shared_rows"] < 1200
    assert found["stages"] == ["prepare", "validate", "train", "evaluate", "register", "monitor"]


def test_changed_code_is_named_and_a_change_without_effect_is_called_none(project: BakedProject) -> None:
    with (project.path / "ml" / "drift.py").open("a") as file:
        file.write("\n# touched\n")
    succeeds(project, *DVC, "repro", "--quiet")
    touched = review(project)
    commit(project, "Touch")
    nothing = review(project)

    assert touched["code"] == [{"path": "mlops/monitoring/drift.py", "added": 2, "removed": 0}]
    assert touched["stages"] == ["monitor"]
    assert touched["regression"] is False
    assert nothing["stages"] == nothing["code"] == nothing["parameters"] == []
    assert {row["verdict"] for row in nothing["metrics"]["rows"]} == {"no real difference"}
    assert "Nothing: parameters, data, code and environment are the same." in succeeds(project, *OPS, "review")


def test_a_clone_without_the_data_reviews_what_git_has(project: BakedProject, tmp_path: Path) -> None:
    change(project, "train", "model", "dummy")
    succeeds(project, *DVC, "repro", "--quiet")
    commit(project, "Guess")
    clone = BakedProject(tmp_path / "fork", "")
    succeeds(project, "git", "clone", "--quiet", str(project.path), str(clone.path))

    found = review(clone, "HEAD~1")

    assert "no interval and no verdict" in str(found["note"])
    assert found["headline"]["difference"] < 0
    assert found["headline"]["verdict"] is None
    assert found["not_run"] == []


def test_a_shallow_clone_says_what_to_fetch(project: BakedProject, tmp_path: Path) -> None:
    clone = BakedProject(tmp_path / "shallow", "")
    succeeds(project, "git", "switch", "--quiet", "--create", "try")
    change(project, "monitor", "ks_distance", 0.2)
    commit(project, "Try")
    succeeds(project, "git", "switch", "--quiet", "main")
    source = f"file://{project.path}"
    succeeds(project, "git", "clone", "--quiet", "--depth", "1", "--branch", "try", source, str(clone.path))

    refused = clone.run(*OPS, "review")
    fetch = refused.stderr.split("`")[1]
    succeeds(clone, "sh", "-c", fetch)

    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: this clone has a part of the history only")
    assert refused.stderr.count("\n") == 1
    assert review(clone)["parameters"] == [{"name": "monitor.ks_distance", "before": 0.1, "after": 0.2}]
