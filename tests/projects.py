"""What tests do with a generated project: change it, run commands in it, and look at what came of it."""

import csv
import json
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from ruamel.yaml import YAML

if TYPE_CHECKING:
    from tests.conftest import BakedProject
    from tests.services import Tracking

DVC = ("python", "-m", "dvc")
MLOPS = ("python", "-m", "mlops")
REPRO = (*DVC, "repro")
# As little as the real stages can do, by section and name of params.yaml, and the rows that this is done with.
QUICK: Mapping[tuple[str, str], object] = {
    ("train", "folds"): 2,
    ("train", "model"): "logistic_regression",
    ("evaluate", "resamples"): 100,
    ("evaluate", "importance_repeats"): 1,
}
QUICK_ROWS = {"raw": 900, "incoming": 300}


def succeeds(project: "BakedProject", *command: str) -> str:
    """Run a command that has to succeed; what it printed."""
    done = project.run(*command)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def answers(project: "BakedProject", *arguments: str) -> str:
    """Call a command of `mlops` in this process, which has to succeed; what it printed."""
    done = project.call(*arguments)
    assert done.returncode == 0, f"mlops {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def started(project: "BakedProject", *command: str, stopped: bool = False) -> "subprocess.Popen[str]":
    """A command that goes on while the test does something else; Ctrl-C ends it, whatever started the tests.

    `stopped` says that the test stops it before its end.
    """
    return subprocess.Popen(
        command,
        cwd=project.path,
        env=project.surroundings if stopped else project.warm,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # `nohup` and `&` leave SIGINT ignored, which every child inherits.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def commit(project: "BakedProject", message: str) -> str:
    """Commit everything; the commit."""
    succeeds(project, "git", "add", "--all")
    succeeds(project, "git", "-c", "user.name=Ada", "-c", "user.email=ada@localhost", "commit", "-qm", message)
    return succeeds(project, "git", "rev-parse", "HEAD").strip()


def change(project: "BakedProject", section: str, name: str, value: object) -> None:
    """Set one parameter."""
    yaml = YAML()
    path = project.path / "params.yaml"
    content = yaml.load(path)
    content[section][name] = value
    yaml.dump(content, path)


@dataclass(frozen=True)
class Team:
    """People at one project, each known to Git, and to the tracking server if there is one."""

    project: "BakedProject"
    server: "Tracking | None"

    def __call__(self, name: str) -> "BakedProject":
        """The project as someone has it before them."""
        git = {
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "user.name",
            "GIT_CONFIG_VALUE_0": name.title(),
            "GIT_CONFIG_KEY_1": "user.email",
            "GIT_CONFIG_VALUE_1": f"{name}@localhost",
        }
        return self.project.with_env(**git, **(self.server.account(name) if self.server else {}))

    @property
    def name(self) -> str:
        """What its model and its MLflow experiment are called."""
        return json.loads(self.project.read("reports/registration.json"))["name"]

    def versions(self) -> list[dict[str, object]]:
        """What `registry show` has, the newest first."""
        return json.loads(answers(self("rita"), "registry", "show", "--json"))["versions"]


def raw_test_rows(project: "BakedProject") -> list[dict[str, str]]:
    """The rows of the test split, in its order, as the CSV has them."""
    (path,) = (project.path / "data" / "raw").glob("*.csv")
    with path.open(encoding="utf-8", newline="") as file:
        by_id = {row["customer_id"]: row for row in csv.DictReader(file)}
    ids = pd.read_parquet(project.path / "data" / "prepared" / "test.parquet")["customer_id"]
    return [by_id[str(key)] for key in ids]


def questions(project: "BakedProject") -> list[dict[str, str]]:
    """The test rows as somebody asks about them: without the target."""
    return [{name: value for name, value in row.items() if name != "churn"} for row in raw_test_rows(project)]


def another_version(team: Team) -> None:
    """Let Ada train, register and commit a second model."""
    estimator = YAML().load(team.project.read("params.yaml"))["models"]["logistic_regression"]
    change(team.project, "models", "logistic_regression", {**estimator, "C": 0.3})
    succeeds(team("ada"), *REPRO, "--quiet")
    commit(team.project, "Stricter")


def keep_rows(project: "BakedProject", folder: str, rows: int) -> None:
    """Leave so many rows in the file of a data folder."""
    (path,) = (project.path / "data" / folder).iterdir()
    text = "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[: rows + 1])
    path.unlink()  # it may be a link into DVC's cache
    path.write_text(text, encoding="utf-8")


def example(project: "BakedProject", folder: str = "raw") -> list[str]:
    """The lines of the delivery in a data folder."""
    (path,) = (project.path / "data" / folder).iterdir()
    return path.read_text(encoding="utf-8").splitlines()


def experiments(project: "BakedProject") -> set[str]:
    """The names of the experiments that started from what is checked out, as Git has them."""
    head = succeeds(project, "git", "rev-parse", "HEAD").strip()
    refs = succeeds(project, "git", "for-each-ref", "--format=%(refname)", f"refs/exps/{head[:2]}/{head[2:]}/")
    return {ref.rpartition("/")[2] for ref in refs.split()}


def experiment(project: "BakedProject", name: str) -> str:
    """The commit of an experiment."""
    return succeeds(project, "git", "for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}").strip()


def reported(project: "BakedProject", name: str, report: str) -> dict[str, object]:
    """A JSON report of an experiment."""
    found: dict[str, object] = json.loads(
        succeeds(project, "git", "show", f"{experiment(project, name)}:reports/{report}.json")
    )
    return found


def versions(project: "BakedProject") -> list[str]:
    """The digests of the versions in the project's registry, read from its database by MLflow."""
    import mlflow

    found = mlflow.MlflowClient(f"sqlite:///{project.path / 'mlflow.db'}").search_model_versions()
    return [version.tags["model_digest"] for version in found]


def runs(project: "BakedProject") -> list[dict[str, str]]:
    """The tags of every run in the project's store."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{project.path / 'mlflow.db'}")
    homes = [home.experiment_id for home in client.search_experiments()]
    return [dict(run.data.tags) for run in client.search_runs(homes)]


def experiment_runs(project: "BakedProject") -> dict[str, dict[str, str]]:
    """The tags of the runs of experiments, by the experiment's name."""
    found = [tags for tags in runs(project) if "experiment" in tags]
    by_name = {tags["experiment"]: tags for tags in found}
    assert len(by_name) == len(found)
    return by_name


def stub_runs(project: "BakedProject") -> set[str]:
    """The experiments for which the stage `register` of a stub project has made a run."""
    return {path.name for path in (project.path / "mlruns").iterdir()} - {"HEAD"}
