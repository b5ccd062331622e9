"""The generated pipeline, for real: one bake, whose copies are re-run, changed, killed and broken.

What does not hang on the size of the example is done with fewer rows of it, and what does not hang on DVC without it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import browser, reproducibility
from tests.conftest import BakedProject, bake_copy, storage_of, surroundings
from tests.projects import MLOPS, REPRO, change, example, runs, succeeds, versions

STAGES = ["prepare", "validate", "train", "evaluate", "register", "monitor"]


@pytest.fixture
def project(quick: BakedProject, tmp_path: Path) -> BakedProject:
    """A copy of the quick project, to be changed."""
    return bake_copy(quick, tmp_path)


@pytest.fixture
def example_project(pipeline: BakedProject, tmp_path: Path) -> BakedProject:
    """A copy of the real bake, to be changed."""
    return bake_copy(pipeline, tmp_path)


def repro(project: BakedProject, *options: str) -> list[str]:
    """Run `dvc repro`; the stages that it ran, in order."""
    return ran(succeeds(project, *REPRO, *options))


def ran(printed: str) -> list[str]:
    """The stages that DVC says it ran."""
    return [line.split("'")[1] for line in printed.splitlines() if line.startswith("Running stage")]


def failing(project: BakedProject, *options: str) -> str:
    """Run `dvc repro`, which is to fail with one sentence and no traceback; the sentence."""
    return sentence_of(project.run(*REPRO, *options))


def sentence_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence with which a command has failed, without a traceback."""
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in printed, printed
    sentences = [line for line in printed.splitlines() if line.startswith("Error: ")]
    assert len(sentences) == 1, printed
    return sentences[0]


def lay(project: BakedProject, folder: str, content: str | bytes) -> None:
    """Replace what lies in a data folder by one file."""
    for path in (project.path / "data" / folder).iterdir():
        path.unlink()
    data = content if isinstance(content, bytes) else content.encode()
    (project.path / "data" / folder / "delivery.csv").write_bytes(data)


def deliver(project: BakedProject, folder: str, content: str | bytes) -> None:
    """The same, told to DVC."""
    lay(project, folder, content)
    succeeds(project, "python", "-m", "dvc", "add", f"data/{folder}")


def lock(project: BakedProject) -> bytes:
    """What `dvc.lock` says."""
    return (project.path / "dvc.lock").read_bytes()


# ---- green, and again


def test_the_first_run_is_green_and_committed(pipeline: BakedProject) -> None:
    metrics = json.loads(pipeline.read("reports/metrics.json"))
    registration = json.loads(pipeline.read("reports/registration.json"))
    drift = json.loads(pipeline.read("reports/drift.json"))

    assert metrics["accuracy"] > 0.78
    assert metrics["roc_auc"] > 0.84
    assert registration["passed"] is True
    judged = ["skill", "minimum", "overfitting", "worst_group", "fairness", "validation", "behaviour"]
    assert [rule["rule"] for rule in registration["rules"]] == judged
    assert drift["alarm"] is False
    assert drift["delivery"]["rows"] == 1043
    assert pipeline.run("git", "status", "--porcelain").stdout == ""
    assert pipeline.run("git", "branch", "--show-current").stdout.strip() == "main"
    assert versions(pipeline) == [registration["model_digest"]]


def test_the_model_card_is_kept_with_the_version_and_leads_to_its_commit(
    pipeline: BakedProject, tmp_path: Path
) -> None:
    import mlflow

    card = pipeline.read("reports/model_card.md")
    client = mlflow.MlflowClient(f"sqlite:///{pipeline.path / 'mlflow.db'}")
    (version,) = client.search_model_versions("name = 'customer-churn'")

    kept = client.download_artifacts(version.run_id, "reports/model_card.md", str(tmp_path))
    (command,) = re.findall(r"^git checkout (.*)$", card, re.MULTILINE)

    assert Path(kept).read_text(encoding="utf-8") == card
    assert version.description.startswith("**accuracy 0.8")
    assert pipeline.run("bash", "-c", f"echo {command}").stdout == pipeline.run("git", "rev-parse", "HEAD").stdout
    page = pipeline.read("reports/model_card.html")
    assert all(f"<h2>{title}</h2>" in page for title in re.findall(r"^## (.*)$", card, re.MULTILINE))


def test_every_page_fits_every_window_light_or_dark(quick: BakedProject, tmp_path: Path) -> None:
    reports = [quick.path / "reports" / f"{name}.html" for name in ("evaluation", "model_card", "drift")]
    reports.append(tmp_path / "with time.html")
    succeeds(quick, *MLOPS, "monitor", "history", "--html", str(reports[-1]))

    assert "Explanations of single rows" in quick.read("reports/evaluation.html")
    assert browser.faults(reports, tmp_path) == []


def test_the_second_run_does_nothing(example_project: BakedProject) -> None:
    before = lock(example_project)

    assert repro(example_project) == []
    assert lock(example_project) == before


def test_every_variation_gives_the_same_bytes(
    pipeline: BakedProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in surroundings(pipeline.path).items():
        monkeypatch.setenv(name, value)

    difference, _ = reproducibility.rerun(pipeline.path, reproducibility.VARIATIONS, tmp_path)

    assert difference is None


def test_a_difference_is_named_by_the_first_file_that_differs(project: BakedProject, quick: BakedProject) -> None:
    outputs = reproducibility.outputs(project.path / "dvc.lock")
    text = project.read("dvc.lock").replace(outputs["models/model.joblib"], "0" * 32)
    (project.path / "dvc.lock").write_text(text)

    assert reproducibility.first_difference(quick.path, project.path) == "models/model.joblib"


def test_a_fresh_clone_pulls_everything_and_has_nothing_to_do(quick: BakedProject, tmp_path: Path) -> None:
    clone = BakedProject(tmp_path / "customer-churn", "")
    shutil.copytree(storage_of(quick.path), tmp_path / "customer-churn-storage")
    succeeds(quick, "git", "clone", "--quiet", str(quick.path), str(clone.path))

    sentence = clone.run(*REPRO)
    pulled = clone.run("python", "-m", "dvc", "pull")

    assert sentence.returncode != 0
    assert "missing data 'source': data/raw" in sentence.stderr  # DVC's own sentence; no stage has run by then
    assert pulled.returncode == 0, pulled.stderr
    assert repro(clone) == []
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_a_synchronised_clone_has_the_version_too_and_only_once(quick: BakedProject, project: BakedProject) -> None:
    (project.path / "mlflow.db").unlink()

    for _ in range(2):
        succeeds(project, *MLOPS, "sync")

    assert versions(project) == versions(quick)
    assert project.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_in_the_middle_is_completed_to_the_same_bytes(project: BakedProject, stage: str) -> None:
    before = lock(project)
    # A stage that has ended leaves DVC to write its lock, and killing that is what tests/test_killed.py is about.
    assert any(killed_within(project, stage, delay) for delay in (0.6, 0.3, 0.1)), f"{stage} always ended before"

    repro(project)

    assert lock(project) == before
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert not list(project.path.glob("*/.*.part"))


def killed_within(project: BakedProject, stage: str, delay: float) -> bool:
    """Run a stage and kill it so many seconds after its start; False if it had ended by then, and DVC ended, too."""
    process = subprocess.Popen(
        [*REPRO, "--force", "--single-item", stage],
        cwd=project.path,
        env=surroundings(project.path, HOME=str(project.path.parent)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    for _ in range(600):
        if is_running(process, stage):
            break
        assert process.poll() is None, f"dvc ended before {stage} ran"
        time.sleep(0.05)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGSTOP)
    killed = is_running(process, stage)
    os.killpg(process.pid, signal.SIGKILL if killed else signal.SIGCONT)
    process.wait()
    return killed


def is_running(dvc: "subprocess.Popen[bytes]", stage: str) -> bool:
    """Whether a process of DVC's session runs the stage."""
    listed = subprocess.run(["ps", "-s", str(dvc.pid), "-o", "args="], capture_output=True, text=True, check=False)
    return f"stages.{stage}" in listed.stdout


# ---- what runs again


@pytest.mark.parametrize(
    ("section", "name", "value", "expected"),
    [
        ("monitor", "ks_distance", 0.2, ["monitor"]),
        ("validate", "duplicate_warning", 0.2, ["validate", "train", "register"]),
        ("evaluate", "resamples", 200, ["evaluate", "register"]),
        ("tracking", "experiment", "another", []),
    ],
)
def test_a_parameter_reruns_only_what_is_downstream(
    project: BakedProject, section: str, name: str, value: object, expected: list[str]
) -> None:
    change(project, section, name, value)

    assert repro(project) == expected


def test_changed_code_reruns_only_the_stages_that_import_it(project: BakedProject) -> None:
    drift = project.path / "mlops" / "monitoring" / "drift.py"
    drift.write_text(drift.read_text() + "\n# touched\n")

    assert repro(project) == ["monitor"]


# ---- the gate, experiments, drift


def test_a_failing_gate_registers_nothing_and_names_the_rule(project: BakedProject) -> None:
    change(project, "train", "model", "dummy")

    printed = succeeds(project, *REPRO)

    assert ran(printed) == ["train", "evaluate", "register", "monitor"]
    rules = {rule["rule"]: rule for rule in json.loads(project.read("reports/registration.json"))["rules"]}
    failed = [line.split()[2].rstrip(":") for line in printed.splitlines() if line.startswith("gate FAILED")]
    assert failed == [name for name, rule in rules.items() if not rule["passed"]]
    assert rules["minimum"]["passed"] is False
    assert rules["minimum"]["actual"] < 0.75
    assert f", version none: the gate failed ({', '.join(failed)})\n" in printed
    assert len(versions(project)) == 1
    assert sorted(tags["registered"] for tags in runs(project)) == ["false", "true"]


def test_a_shifted_delivery_raises_the_alarm_and_an_unshifted_one_does_not(project: BakedProject) -> None:
    calm = project.call("check-drift")
    header, *lines = example(project, "incoming")
    column = header.split(",").index("monthly_charges")
    shifted = [line.split(",") for line in lines]
    for fields in shifted:
        fields[column] = str(float(fields[column]) + 40)
    deliver(project, "incoming", "\n".join([header, *map(",".join, shifted)]) + "\n")

    assert repro(project) == ["monitor"]
    alarm = project.call("check-drift")

    assert calm.returncode == 0, calm.stderr
    assert alarm.returncode == 3
    assert "monthly_charges" in alarm.stdout
    assert "monthly_charges" in json.loads(project.read("reports/drift.json"))["features"]["drifted"]


def test_no_delivery_yet_is_a_normal_state(project: BakedProject) -> None:
    (next((project.path / "data" / "incoming").iterdir())).unlink()
    succeeds(project, "python", "-m", "dvc", "add", "data/incoming")

    assert repro(project) == ["monitor"]

    assert project.call("check-drift").returncode == 0
    assert json.loads(project.read("reports/drift.json"))["verdict"] == "no delivery yet"


# ---- bad input


def broken(number: int, column: str, value: str) -> Callable[[list[str]], str]:
    """A delivery whose row `number` has `value` in `column`."""

    def replaced(lines: list[str]) -> str:
        fields = lines[number].split(",")
        fields[lines[0].split(",").index(column)] = value
        return "\n".join([*lines[:number], ",".join(fields), *lines[number + 1 :]]) + "\n"

    return replaced


ONE_CLASS = "churn is No in every row"


def one_class(lines: list[str]) -> str:
    """A delivery of customers who all stayed."""
    return "\n".join([lines[0], *[line for line in lines if line.endswith(",No")]])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda lines: "", ["delivery.csv is empty"]),
        (lambda lines: lines[0] + "\n", ["delivery.csv has a header but no row"]),
        (lambda lines: b"\x89PNG\r\n\x1a\n\x00\xff\xfe\x00", ["delivery.csv"]),
        (lambda lines: lines[0].replace("tenure", "months") + "\n" + "\n".join(lines[1:]), ["tenure"]),
        (
            lambda lines: "\n".join(f"{line},{number}" for number, line in enumerate(lines)),
            ["schema.yaml does not name"],
        ),
        (one_class, [ONE_CLASS]),
        (
            lambda lines: "\n".join([lines[0], lines[1], next(line for line in lines if line.endswith(",Yes"))]),
            ["too few"],
        ),
    ],
    ids=["empty", "header only", "no CSV", "column missing", "column unknown", "one class", "too few rows"],
)
def test_data_that_cannot_be_used_gets_one_sentence(
    project: BakedProject, content: Callable[[list[str]], str | bytes], words: list[str]
) -> None:
    lay(project, "raw", content(example(project)))
    before = {path: path.read_bytes() for path in (project.path / "data" / "prepared").iterdir()}

    sentence = sentence_of(project.stage("prepare"))

    assert all(word in sentence for word in words), sentence
    assert {path: path.read_bytes() for path in (project.path / "data" / "prepared").iterdir()} == before


def test_data_that_cannot_be_used_stops_the_pipeline_and_loses_no_model(project: BakedProject) -> None:
    kept = (project.path / "models" / "model.joblib").read_bytes()
    deliver(project, "raw", one_class(example(project)))

    assert ONE_CLASS in failing(project)
    assert (project.path / "models" / "model.joblib").read_bytes() == kept


def test_values_that_are_no_numbers_are_counted_and_located(project: BakedProject) -> None:
    lines = broken(12, "monthly_charges", "inf")(example(project)).splitlines()
    lay(project, "raw", broken(20, "tenure", "a year")(lines))

    assert project.stage("prepare").returncode == 0

    found = {entry["column"]: entry for entry in json.loads(project.read("reports/dataset.json"))["unparseable"]}
    assert found["monthly_charges"]["examples"] == [{"at": "delivery.csv:13", "value": "inf"}]
    assert found["tenure"]["examples"] == [{"at": "delivery.csv:21", "value": "a year"}]
    assert found["tenure"]["became"] == "missing"


def test_a_broken_check_stops_the_pipeline_with_its_report_on_disk(project: BakedProject) -> None:
    lines = broken(3, "contract", "Three years")(example(project)).splitlines()
    deliver(project, "raw", broken(5, "tenure", "999")(lines))

    sentence = failing(project)

    failed = {
        check["column"]
        for check in json.loads(project.read("reports/validation.json"))["checks"]
        if not check["passed"]
    }
    assert "2 checks" in sentence
    assert failed == {"contract", "tenure"}


@pytest.mark.parametrize(
    ("section", "name", "value", "words"),
    [
        ("prepare", "test_size", -0.2, ["prepare.test_size", "-0.2"]),
        ("prepare", "tset_size", 0.2, ["tset_size", "did you mean test_size?"]),
        ("train", "model", "random_florest", ["random_florest", "did you mean random_forest?"]),
        ("models", "random_forest", {"classifier": "sklearn.ensemble.RandomForrest"}, ["RandomForrest"]),
        (
            "models",
            "random_forest",
            {"classifier": "sklearn.ensemble.RandomForestClassifier", "max_dept": 3},
            ["max_depth?"],
        ),
    ],
    ids=["negative test size", "misspelt parameter", "unknown model", "unknown estimator", "misspelt argument"],
)
def test_a_wrong_parameter_gets_one_sentence(
    project: BakedProject, section: str, name: str, value: object, words: list[str]
) -> None:
    change(project, "train", "model", "random_forest")
    change(project, section, name, value)

    sentence = sentence_of(project.stage("prepare" if section == "prepare" else "train"))

    assert all(word in sentence for word in words), sentence


def test_a_wrong_parameter_stops_the_pipeline(project: BakedProject) -> None:
    change(project, "prepare", "tset_size", 0.2)

    assert "did you mean test_size?" in failing(project)


def test_an_unreachable_tracking_store_gets_one_sentence_without_secrets(project: BakedProject) -> None:
    nowhere = project.with_env(MLFLOW_TRACKING_URI="http://somebody:hunter2@127.0.0.1:9")

    done = nowhere.run(*REPRO, "--single-item", "--force", "register")

    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert "could not be used" in printed
    assert "hunter2" not in printed
    assert "Traceback" not in printed


def test_another_python_first_on_the_path_gets_one_sentence(project: BakedProject, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    change(project, "prepare", "seed", 7)
    env = surroundings(project.path)
    env["PATH"] = os.pathsep.join([str(tmp_path / "bare" / "bin"), env["PATH"]])

    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=project.path, env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "is not the environment of requirements.txt" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


# ---- the project's own house


def test_the_projects_own_tests_and_checks_pass(example_project: BakedProject) -> None:
    # What mypy looks at is the same to the byte in the template (test_bake.py), where `make lint` runs it.
    for command in (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("pytest", "-q")):
        succeeds(example_project, "python", "-m", *command)

    assert example_project.run("git", "status", "--porcelain").stdout == ""


def test_without_the_commands_the_pipeline_and_its_test_are_green(project: BakedProject) -> None:
    before = lock(project)
    shutil.rmtree(project.path / "mlops" / "commands")
    (project.path / "mlops" / "__main__.py").unlink()

    assert repro(project, "--force") == STAGES
    assert lock(project) == before
    succeeds(project, "python", "-m", "pytest", "-q", "tests/test_pipeline.py")
