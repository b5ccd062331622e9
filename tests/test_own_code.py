"""The owner's rooms for real: a feature, a metric, an estimator, and an estimator of another package."""

import json
import re
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.conftest import PROJECT, TEMPLATE, BakedProject, bake_copy
from tests.projects import DVC, MLOPS, REPRO, change, commit, succeeds, versions

FENCES = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What docs/own-code.md shows: a feature and a metric in Python; rules of the gate, a model and a search in YAML.
SHOWN = FENCES.findall((TEMPLATE / PROJECT / "docs" / "own-code.md").read_text(encoding="utf-8"))
FEATURE, METRIC = (text for language, text in SHOWN if language == "python")
RULES, MODEL, SEARCH = (YAML(typ="safe").load(text) for language, text in SHOWN if language == "yaml")
ESTIMATOR = '''
from sklearn.linear_model import LogisticRegression


class Mine(LogisticRegression):
    """Says yes as soon as it is no less likely than one in four."""

    def predict_proba(self, rows):
        """Probabilities (n, 2), those of a yes raised."""
        probability = super().predict_proba(rows)[:, 1] ** 0.5
        return __import__("numpy").column_stack([1 - probability, probability])
'''
TESTED = ("test", "predictions")


def with_its_own_store(project: BakedProject, to: Path) -> BakedProject:
    """A copy whose runs and models are kept in it: the store of a copy still names the original's folder."""
    copy = bake_copy(project, to)
    for store in copy.path.glob("mlflow.db*"):
        store.unlink()
    return copy


def edit(project: BakedProject, name: str, old: str, new: str) -> None:
    """Replace a text, which has to be there, in a file."""
    text = project.read(name)
    assert old in text
    (project.path / name).write_text(text.replace(old, new), encoding="utf-8")


def append(project: BakedProject, name: str, text: str) -> None:
    """Write more to the end of a file."""
    (project.path / name).write_text(project.read(name) + text, encoding="utf-8")


def report(project: BakedProject, name: str) -> dict:
    """A JSON report of the work tree."""
    return json.loads(project.read(f"reports/{name}.json"))


def test_a_feature_a_metric_and_an_estimator_of_the_project_are_everywhere(quick: BakedProject, tmp_path: Path) -> None:
    project = with_its_own_store(quick, tmp_path)
    edit(project, "project/features.py", "return table\n", FEATURE)
    append(project, "project/metrics.py", f"\n\n{METRIC}")
    append(project, "project/estimators.py", ESTIMATOR)
    change(project, "models", "mine", {"classifier": "project.estimators.Mine", "C": 2.0, "max_iter": 1000})
    change(project, "train", "model", "mine")
    change(project, "evaluate", "metric", "cost")
    raised = {"measure": "skill", "direction": "above", "limit": -1}  # its probabilities are raised on purpose
    change(project, "register", "gate", RULES | {"skill": raised})

    added = succeeds(project, *MLOPS, "schema", "infer", "--update")
    ran = succeeds(project, *REPRO)

    assert added == "schema.yaml: added charges_per_month\n"
    assert re.search(
        r"^  charges_per_month: {type: number, .*derived: true}", project.read("schema.yaml"), re.MULTILINE
    )
    assert all(f"gate passed  {rule}: " in ran for rule in RULES)
    assert "minimum: test cost is " in ran
    # Training, checks, evaluation, monitoring have the feature …
    train = pd.read_parquet(project.path / "data" / "prepared" / "train.parquet")
    assert (train["charges_per_month"] == train["total_charges"] / train["tenure"].clip(lower=1)).sum() > len(train) / 2
    assert "charges_per_month" in report(project, "training")["features"]
    assert "charges_per_month" in {check["column"] for check in report(project, "validation")["checks"]}
    assert "charges_per_month" in project.read("reports/plots/importances.csv")
    assert "charges_per_month" in {column["column"] for column in report(project, "drift")["columns"]}
    # … folds, test, its interval and the gate the metric …
    assert all("cost" in fold for fold in report(project, "training")["folds"])
    assert next(iter(report(project, "metrics"))) == "cost"
    low, high = report(project, "evaluation")["intervals"]["cost"]
    assert low < report(project, "metrics")["cost"] < high
    # … and the version has estimator and feature: it answers raw rows as the pipeline does.
    assert len(versions(project)) == 1
    kept = max((project.path / "mlruns").rglob("MLmodel"), key=lambda file: file.stat().st_mtime)
    (delivery,) = (project.path / "data" / "raw").glob("*.csv")
    test, said = (pd.read_parquet(project.path / "data" / "prepared" / f"{name}.parquet") for name in TESTED)
    rows = pd.read_csv(delivery, dtype=str).set_index("customer_id").loc[test["customer_id"].astype("str")]
    answers = mlflow.pyfunc.load_model(str(kept.parent)).predict(rows)
    assert answers[["prediction", "probability"]].to_numpy().tolist() == (
        said[["prediction", "probability"]].to_numpy().tolist()
    )

    review = json.loads(succeeds(project, *MLOPS, "review", "HEAD", "--json"))
    explained = json.loads(succeeds(project, *MLOPS, "explain", "--rows", "1", "--json"))
    commit(project, "Ours")
    compared = json.loads(succeeds(project, *MLOPS, "compare", "HEAD", "HEAD~1", "--metric", "accuracy", "--json"))

    (row,) = [row for row in review["metrics"]["rows"] if row["metric"] == "cost"]
    assert None not in (row["before"], row["now"], row["low"], row["verdict"])
    assert "charges_per_month" in {part["feature"] for part in explained["rows"][0]["features"]}
    assert {one["model"] for one in compared["models"]} == {"mine", "logistic_regression"}
    for command in (("pytest", "-q"), ("dvc", "status")):
        succeeds(project, "python", "-m", *command)

    # Only what depends on a room runs again.
    append(project, "project/metrics.py", "# the same\n")
    stale = succeeds(project, *DVC, "status")
    assert {line.rstrip(":") for line in stale.splitlines() if line and not line[0].isspace()} == {
        *("train", "evaluate", "register", "monitor")
    }


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        (
            "features",
            "return table\n",
            'return table.assign(x=table["age"])\n',
            "fails at line 17 (return table.assign",
        ),
        ("features", "return table\n", "return table.head(3)\n", "returns 3 rows for "),
        ("features", "return table\n", "return table.assign(x=1)\n", "adds x, which schema.yaml does not call derived"),
        ("features", "import pandas", "import pandsa", "project/features.py"),
    ],
    ids=["fails", "drops", "undeclared", "import"],
)
def test_a_feature_that_is_wrong_is_one_sentence_with_its_own_line(
    quick: BakedProject, tmp_path: Path, name: str, old: str, new: str, sentence: str
) -> None:
    project = bake_copy(quick, tmp_path)
    edit(project, f"project/{name}.py", old, new)

    done = project.run("sh", "-c", YAML(typ="safe").load(project.read("dvc.yaml"))["stages"]["prepare"]["cmd"])

    printed = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in printed
    (error,) = [line for line in printed.splitlines() if line.startswith("Error: ")]
    assert "project/features.py" in error
    assert sentence in error


def test_an_estimator_of_another_package_is_trained_registered_and_made_again_to_the_same_bytes(
    quick: BakedProject, tmp_path: Path
) -> None:
    project = with_its_own_store(quick, tmp_path)
    change(project, "models", "boosting", MODEL["models"]["boosting"])
    change(project, "train", "model", "boosting")
    change(project, "train", "search", SEARCH["search"])

    unlocked = project.run(*REPRO)
    lock = (TEMPLATE / "requirements-dev.txt").read_text(encoding="utf-8")
    (pinned,) = re.findall(r"^lightgbm==.*?(?=^\S)", lock, re.MULTILINE | re.DOTALL)
    append(project, "requirements.txt", pinned)
    succeeds(project, *REPRO)
    commit(project, "Boosting")

    assert unlocked.returncode != 0
    assert "lightgbm is not in requirements.txt" in unlocked.stdout + unlocked.stderr
    assert report(project, "training")["estimator"] == "lightgbm.LGBMClassifier"
    assert len(versions(project)) == 1
    requirements = [path.read_text(encoding="utf-8") for path in (project.path / "mlruns").rglob("requirements.txt")]
    assert sum("lightgbm==" in text for text in requirements) == 1
    assert "identical bytes" in succeeds(project, *MLOPS, "reproduce", "1")


def test_parameters_of_the_first_version_run_as_they_are(quick: BakedProject, tmp_path: Path) -> None:
    project = bake_copy(quick, tmp_path)
    first = YAML().load((TEMPLATE / "tests" / "mlops" / "base" / "params-0.1.yaml").read_text(encoding="utf-8"))
    now = YAML().load(project.read("params.yaml"))
    for section, name in (("train", "folds"), ("train", "model"), ("evaluate", "resamples")):
        first[section][name] = now[section][name]
    first["features"] = {}  # DVC wants every section that dvc.yaml names: docs/upgrade.md says so
    with (project.path / "params.yaml").open("w") as file:
        YAML().dump(first, file)

    ran = succeeds(project, *REPRO)

    assert "Error" not in ran
    assert report(project, "metrics").keys() == json.loads(quick.read("reports/metrics.json")).keys()
