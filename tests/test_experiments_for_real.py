"""DVC's experiments, as its documentation has them, with the tracking store, Git and the review beside them."""

import json
import time
from pathlib import Path

import pytest

from tests.conftest import BakedProject, bake_copy, shared
from tests.projects import (
    DVC,
    MLOPS,
    REPRO,
    answers,
    change,
    commit,
    experiment_runs,
    experiments,
    keep_rows,
    reported,
    runs,
    stub_runs,
    succeeds,
    versions,
)

RUN = (*DVC, "exp", "run", "--quiet")
WEAKER = ("-S", "models.logistic_regression.C=0.5")
# Every answer is drawn by lot: nobody takes that for as good as a model, be the rows ever so few.
GUESS = {"train.model": "dummy", "+models.dummy.strategy": "stratified"}
QUEUE_ENDS = 600  # seconds


@pytest.fixture
def project(quick: BakedProject, tmp_path: Path) -> BakedProject:
    """A copy of the quick project, to be changed."""
    return bake_copy(quick, tmp_path)


@pytest.fixture(scope="session")
def tried(quick: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The quick project with four experiments, run in the workspace and beside it; DVC has skipped all stages of one.

    The workspace is as committed again.
    """

    def make(stands: Path) -> BakedProject:
        project = bake_copy(quick, stands)
        succeeds(project, *RUN, "-n", "here", *WEAKER)
        succeeds(project, "git", "checkout", "--quiet", ".")
        succeeds(project, *DVC, "checkout", "--quiet")
        succeeds(project, *RUN, "--temp", "-n", "aside", *WEAKER)
        overrides = [part for name, value in GUESS.items() for part in ("-S", f"{name}={value}")]
        succeeds(project, *RUN, "--temp", "-n", "guess", *overrides)
        succeeds(project, *RUN, "--temp", "-n", "same", "-S", "train.model=logistic_regression")
        return project

    return shared(tmp_path_factory, "tried", make)


@pytest.fixture(scope="session")
def guessed(quick: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The quick project, whose branch `try`, which is checked out, has one commit with a model that guesses."""

    def make(stands: Path) -> BakedProject:
        project = bake_copy(quick, stands)
        succeeds(project, "git", "switch", "--quiet", "--create", "try")
        guess(project)
        succeeds(project, *REPRO, "--quiet")
        commit(project, "Guess")
        return project

    return shared(tmp_path_factory, "guessed", make)


def guess(project: BakedProject) -> None:
    """Choose a model that guesses."""
    change(project, "models", "dummy", {"classifier": "sklearn.dummy.DummyClassifier", "strategy": "stratified"})
    change(project, "train", "model", "dummy")


def queue_ends(project: BakedProject, count: int) -> None:
    """Wait until so many experiments are finished, which Git says soon, and nothing is queued or running."""
    start = time.monotonic()
    while len(experiments(project)) < count and time.monotonic() - start < QUEUE_ENDS:
        time.sleep(0.2)
    while any(word in (said := succeeds(project, *DVC, "queue", "status")) for word in ("Queued", "Running")):
        assert time.monotonic() - start < QUEUE_ENDS, said
        time.sleep(1)


# ---- experiments


def test_a_queue_of_six_on_two_workers_leaves_none_behind(stub: BakedProject, tmp_path: Path) -> None:
    project = bake_copy(stub, tmp_path)
    # What only the last stage reads: a candidate costs little, and is a result of its own nevertheless.
    grid = ["register.gate.minimum.limit=0.6,0.7", "register.gate.overfitting.limit=0.2,0.3,0.4"]
    succeeds(project, *RUN, "--queue", "-S", grid[0], "-S", grid[1])
    succeeds(project, *DVC, "queue", "start", "--jobs", "2")
    queue_ends(project, 6)

    assert len(experiments(project)) == 6, succeeds(project, *DVC, "queue", "status")
    assert stub_runs(project) == experiments(project)
    assert succeeds(project, "git", "status", "--porcelain") == ""


def test_an_experiment_is_a_tagged_run_wherever_it_ran(tried: BakedProject, tmp_path: Path) -> None:
    project = bake_copy(tried, tmp_path)
    here = reported(project, "here", "registration")

    tags = experiment_runs(project)

    assert {"here", "aside", "guess", "same"} == experiments(project) == tags.keys() | {"same"}
    for name in ("here", "aside"):
        assert tags[name]["baseline"] == succeeds(project, "git", "rev-parse", "HEAD").strip()
        assert tags[name]["training_type"] == "experiment"
        assert tags[name]["model_digest"] == here["model_digest"]
        assert tags[name]["data_digest"] == here["data_digest"]
        assert len({tags[name][f"{kind}_digest"] for kind in ("model", "data", "params", "code")}) == 4
        assert tags[name]["registered"] == "false"
    assert versions(project) == [json.loads(project.read("reports/registration.json"))["model_digest"]]


def test_an_experiment_that_dvc_skipped_is_recorded_when_asked(tried: BakedProject, tmp_path: Path) -> None:
    project = bake_copy(tried, tmp_path)
    before = {tags.get("experiment") for tags in runs(project)}, versions(project)

    said = [succeeds(project, *MLOPS, "sync", "--experiments") for _ in range(2)]

    assert before[0] == {None, "here", "aside", "guess"}
    assert experiment_runs(project).keys() == {"same"} | before[0] - {None} == experiments(project)
    assert versions(project) == before[1]
    assert said[0].endswith("same is recorded\n")
    assert said[1] == "every experiment has its run\n"
    assert succeeds(project, "git", "status", "--porcelain") == ""


def test_a_queued_experiment_runs_the_code_and_parameters_of_when_it_was_queued(project: BakedProject) -> None:
    registered = versions(project)
    succeeds(project, *RUN, "--queue", "-n", "then", *WEAKER)
    stage = project.path / "stages" / "train.py"
    stage.write_text(stage.read_text() + "\nraise SystemExit('the code of now')\n")
    change(project, "train", "folds", 3)

    succeeds(project, *DVC, "queue", "start")
    queue_ends(project, 1)

    shown = reported(project, "then", "training")
    assert len(shown["folds"]) == 2
    assert shown["arguments"]["C"] == 0.5
    assert experiment_runs(project).keys() == {"then"}
    assert versions(project) == registered


def test_what_an_experiment_found_can_be_shown_compared_applied_and_registered(
    tried: BakedProject, tmp_path: Path
) -> None:
    project = bake_copy(tried, tmp_path)
    registered = versions(project)

    shown = json.loads(succeeds(project, *DVC, "exp", "show", "--json"))
    compared = json.loads(answers(project, "compare", "HEAD", "aside", "guess", "--json"))
    succeeds(project, *DVC, "exp", "apply", "aside")
    succeeds(project, *MLOPS, "sync")

    assert {"guess", "aside"} <= set(json.dumps(shown).replace('"', " ").split())
    verdicts = {one["name"]: one["verdict"] for one in compared["models"]}
    assert verdicts["guess"] == "worse"
    assert sorted(verdicts) == ["HEAD", "aside", "guess"]
    assert sorted(verdicts.values()) in (["best", "not distinguishable", "worse"], ["best", "worse", "worse"])
    assert len(versions(project)) == len(registered) + 1
    # The run of the same result that was recorded first.
    recorded = experiment_runs(project)
    assert "true" in {recorded[name]["registered"] for name in ("here", "aside")}


# ---- review


def review(project: BakedProject, *options: str) -> dict[str, object]:
    """What the review says, as JSON."""
    found: dict[str, object] = json.loads(answers(project, "review", "--json", *options))
    return found


def test_a_parameter_whose_effect_has_not_been_computed_is_said(project: BakedProject) -> None:
    change(project, "train", "model", "dummy")

    found = review(project, "HEAD")

    assert found["not_run"] == ["train", "register", "monitor"]
    assert found["stages"] == []


def test_a_changed_parameter_is_reviewed_with_what_it_did(guessed: BakedProject, tmp_path: Path) -> None:
    project = bake_copy(guessed, tmp_path)

    found = review(project)
    page = tmp_path / "review.html"
    done = project.run(*MLOPS, "review", "--html", str(page), "--fail-on", "regression")

    assert {"name": "train.model", "before": "logistic_regression", "after": "dummy"} in found["parameters"]
    assert {one["name"].rpartition(".")[0] for one in found["parameters"]} == {"train", "models.dummy"}
    assert found["stages"] == ["train", "evaluate", "register", "monitor"]
    assert found["headline"]["verdict"] == "worse"
    assert found["metrics"]["shared_rows"] == 180
    assert found["gate"]["passed_before"] is True
    assert found["gate"]["passed"] is False
    assert (found["data"]["changed"], found["code"], found["environment"]) == (False, [], [])
    assert done.returncode == 3
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
    raw.write_text("\n".join([header, *lines]) + "\n")
    keep_rows(project, "raw", 800)
    succeeds(project, *DVC, "add", "--quiet", "data/raw")
    succeeds(project, *REPRO, "--quiet")

    found = review(project, "HEAD")

    assert found["data"]["changed"] is True
    assert found["data"]["rows"] == {"before": 900, "after": 800, "added": 0, "removed": 100, "changed": 1}
    assert found["data"]["columns"] == []
    assert found["data"]["drift"] == []
    assert found["parameters"] == []
    assert 0 < found["metrics"]["shared_rows"] < 180
    assert found["stages"] == ["prepare", "validate", "train", "evaluate", "register", "monitor"]


def test_changed_code_is_named_and_a_change_without_effect_is_called_none(project: BakedProject) -> None:
    with (project.path / "mlops" / "monitoring" / "drift.py").open("a") as file:
        file.write("\n# touched\n")
    succeeds(project, *REPRO, "--quiet")
    touched = review(project)
    commit(project, "Touch")
    nothing = review(project)

    assert touched["code"] == [{"path": "mlops/monitoring/drift.py", "added": 2, "removed": 0}]
    assert touched["stages"] == ["monitor"]
    assert touched["regression"] is False
    assert nothing["stages"] == nothing["code"] == nothing["parameters"] == []
    assert {row["verdict"] for row in nothing["metrics"]["rows"]} == {"no real difference"}
    assert "Nothing: parameters, data, code and environment are the same." in answers(project, "review")


def test_a_clone_without_the_data_reviews_what_git_has(guessed: BakedProject, tmp_path: Path) -> None:
    clone = BakedProject(tmp_path / "fork", "")
    succeeds(guessed, "git", "clone", "--quiet", str(guessed.path), str(clone.path))

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

    refused = clone.call("review")
    fetch = refused.stderr.split("`")[1]
    succeeds(clone, "sh", "-c", fetch)

    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: this clone has a part of the history only")
    assert refused.stderr.count("\n") == 1
    assert review(clone)["parameters"] == [{"name": "monitor.ks_distance", "before": 0.1, "after": 0.2}]
