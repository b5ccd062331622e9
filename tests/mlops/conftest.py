"""The same tests each time: property tests draw the same examples in every run; and projects made without a stage."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from mlops.base import files, yaml
from mlops.data import digest, profile
from mlops.data.schema import Schema
from mlops.evaluation import baseline, curves, fairness, results
from mlops.history import cache
from mlops.intake import tables
from mlops.training.metrics import Predictions

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

COLUMNS = {
    "key": {"type": "integer", "role": "id"},
    "age": {"type": "number"},
    "sex": {"type": "category", "sensitive": True},
    "note": {"type": "text", "role": "ignore"},
    "churn": {"type": "category", "role": "target"},
}
PARAMS: dict[str, dict[str, Any]] = {
    "train": {"model": "forest", "folds": 5, "seed": 42},
    "models": {"forest": {"max_depth": 10}},
    "evaluate": {"resamples": 100, "confidence": 0.95, "importance_repeats": 1, "smallest_group": 1},
}
PIPELINE = {
    "prepare": {"cmd": "prepare", "deps": ["schema.yaml"], "outs": []},
    "train": {"cmd": "train", "deps": ["code.py"], "params": ["train", "models"], "outs": []},
    "evaluate": {"cmd": "evaluate", "deps": ["code.py"], "params": ["evaluate"], "outs": []},
}
REQUIREMENTS = "numpy==2.0.0 \\\n    --hash=sha256:aa\npandas==3.0.0\n"


@dataclass(frozen=True)
class HandMade:
    """A project whose results are written as the stages write them, with nothing trained, in Git and DVC's cache."""

    path: Path
    columns = COLUMNS

    def git(self, *arguments: str) -> str:
        """What Git prints."""
        done = subprocess.run(["git", *arguments], cwd=self.path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, message: str = "Change") -> str:
        """Commit everything; the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def experiment(self, name: str) -> None:
        """Take what is changed back, and keep it as an experiment of that name."""
        baseline = self.git("rev-parse", "HEAD")
        self.git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", self.commit(name))
        self.git("reset", "--quiet", "--hard", baseline)

    def write(self, name: str, content: Any) -> None:
        """Text as it is, else JSON or YAML."""
        said = content if isinstance(content, str) else None
        if said is None:
            said = yaml.dumped(content) if name.endswith((".yaml", ".lock")) else json.dumps(files._plain(content))
        files.write_text(self.path / name, said)

    def keep(self, name: str, table: pd.DataFrame) -> dict[str, str]:
        """Put a table into DVC's cache; what dvc.lock says of it."""
        tables.write(self.path / name, table)
        found = cache.md5(self.path / name)
        place = self.path / ".dvc" / "cache" / "files" / "md5" / found[:2] / found[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.path / name, place)
        return {"path": name, "md5": found}

    def result(
        self,
        found: Predictions,
        *,
        test: pd.DataFrame | None = None,
        train: pd.DataFrame | None = None,
        folds: Sequence[float] = (0.8, 0.81, 0.79, 0.82, 0.78),
        passed: bool = True,
        columns: dict[str, Any] | None = None,
        changed: dict[str, Any] | None = None,
    ) -> None:
        """Write the result of a model that answered so on the test rows; `changed` is merged into params.yaml."""
        columns = COLUMNS if columns is None else columns
        schema = Schema.model_validate({"columns": columns})
        test = _people(len(found.actual)) if test is None else test
        train = _people(200) if train is None else train
        params = dict(PARAMS)
        for section, values in (changed or {}).items():
            params[section] = {**params.get(section, {}), **values}
        scores = results.scores(found, "accuracy")
        self.write("schema.yaml", {"columns": columns})
        self.write("params.yaml", params)
        distributions = profile.profile(train, schema)
        self.write("reports/metrics.json", scores)
        self.write("reports/baseline.json", baseline.scores(found, distributions["churn"]))
        said = {"headline": "accuracy", "labels": found.classes, "positive": found.positive}
        self.write("reports/evaluation.json", said)
        self.write(
            "reports/training.json",
            {
                "model": params["train"]["model"],
                "task": "classification",
                "headline": {"metric": "accuracy", "reason": ""},
                "folds": [{"accuracy": value} for value in folds],
                "cross_validated": {"accuracy": {"mean": np.mean(folds), "std": np.std(folds, ddof=1)}},
            },
        )
        self.write(
            "reports/dataset.json",
            {
                "digest": digest.content_digest(pd.concat([train, test], ignore_index=True)),
                "split": {"train": len(train), "test": len(test)},
            },
        )
        groups = results.metrics_by_group(found, test, schema.sensitive)
        files.write_csv(self.path / "reports" / "slices.csv", groups)
        self.write("reports/fairness.json", fairness.report(found, test[schema.sensitive], 1, 0.95))
        rule = {"rule": "minimum", "metric": "accuracy", "measured": "test accuracy", "comparison": "≥"}
        rules = [{**rule, "limit": 0.5, "actual": scores["accuracy"], "passed": passed}]
        self.write("reports/registration.json", {"passed": passed, "rules": rules})
        for name, curve in curves.curves(found).items():
            files.write_csv(self.path / "reports" / "plots" / f"{name}.csv", curve)
        reference = profile.to_frame(distributions)
        tables = {"train": train, "test": test, "reference": reference}
        outs = {
            "prepare": [self.keep(f"data/prepared/{name}.parquet", table) for name, table in tables.items()],
            "evaluate": [self.keep("data/prepared/predictions.parquet", results.to_frame(found, test, schema))],
        }
        stages = {
            name: {
                "cmd": stage["cmd"],
                "deps": [
                    *({"path": path, "md5": cache.md5(self.path / path)} for path in stage["deps"]),
                    {"path": "data/raw", "md5": "".join(out["md5"] for out in outs.get(name, []))},  # explains them
                ],
                "params": {"params.yaml": {section: params[section] for section in stage.get("params", [])}},
                "outs": outs.get(name, []),
            }
            for name, stage in PIPELINE.items()
        }
        self.write("dvc.lock", {"schema": "2.0", "stages": stages})


def _people(rows: int, first: int = 0) -> pd.DataFrame:
    """So many rows of the test or training split, typed, with keys from `first` on."""
    keys = np.arange(first, first + rows)
    return pd.DataFrame(
        {
            "key": pd.array(keys, dtype="Int64"),
            "age": 20.0 + keys % 50,
            "sex": pd.array(np.where(keys % 3 == 0, "f", "m"), dtype="str"),
            "churn": pd.array(np.where(keys % 4 == 0, "Yes", "No"), dtype="str"),
        }
    )


@pytest.fixture
def people() -> Any:
    """The function that makes rows."""
    return _people


@pytest.fixture
def handmade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HandMade:
    """One without a result yet, on the branch main, in which the test stands."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    project = HandMade(tmp_path / "project")
    project.path.mkdir()
    project.git("init", "--quiet", "--initial-branch", "main")
    project.git("config", "user.name", "Ada")
    project.git("config", "user.email", "ada@localhost")
    project.write(".dvc/config", "[core]\n    analytics = false\n")
    project.write(".dvc/.gitignore", "/cache\n/tmp\n")
    project.write("dvc.yaml", {"stages": PIPELINE})
    project.write("requirements.txt", REQUIREMENTS)
    project.write("code.py", "print()\n")
    monkeypatch.chdir(project.path)
    cache.folder.cache_clear()
    return project


@pytest.fixture
def classifier() -> Any:
    """A function that makes a model's answers on the rows of `people`: which of them (n,) it gets right."""

    def answers(right: np.ndarray) -> Predictions:
        actual = _people(len(right))["churn"].to_numpy(dtype=object)
        other = np.where(actual == "Yes", "No", "Yes").astype(object)
        predicted = np.where(right, actual, other).astype(object)
        probability = np.where(predicted == "Yes", 0.7, 0.2) + np.linspace(0, 0.1, len(right))
        both = np.column_stack([1 - probability, probability])
        return Predictions(actual, predicted, both, ("No", "Yes"), "Yes")

    return answers
