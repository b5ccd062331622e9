"""A repository with a notebook gets the pipeline, as docs/adopt.md says: its columns and its metric go on."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from tests.conftest import TEMPLATE, BakedProject
from tests.projects import QUICK, change, commit, succeeds

BLOCK = re.compile(r"^```(bash|python title=\"(?P<file>[^\"]+)\")\n(?P<text>.*?)^```$", re.M | re.S)
CELL = 'df["charges_per_month"] = df["charges"] / df["months"].clip(lower=1)'


def test_the_columns_and_the_metric_of_a_notebook_go_on_in_the_pipeline(template: Path, tmp_path: Path) -> None:
    repository = BakedProject(tmp_path / "churn", "")
    random = np.random.default_rng(0)
    months, charges = random.integers(1, 60, 600), random.uniform(100, 5000, 600).round(2)
    table = pd.DataFrame({"customer": [f"c{place}" for place in range(600)], "months": months, "charges": charges})
    table["left"] = np.where(charges / months + random.normal(0, 30, 600) > 100, "yes", "no")
    files = {
        "data/customers.csv": table.to_csv(index=False),
        "churn.ipynb": json.dumps({"cells": [{"cell_type": "code", "source": CELL}], "nbformat": 4}),
        "README.md": "How I found out\n",
    }
    for name, text in files.items():
        (repository.path / name).parent.mkdir(parents=True, exist_ok=True)
        (repository.path / name).write_text(text)
    succeeds(repository, "git", "init", "--quiet")
    commit(repository, "A notebook")
    text = (TEMPLATE / "docs" / "adopt.md").read_text(encoding="utf-8")
    assert CELL in text
    generation, *blocks, run = BLOCK.finditer(text)
    above = BakedProject(tmp_path, "")

    # The setup takes the environment of the tests, and as little as the stages can do.
    shell = generation["text"].replace("TEMPLATE", str(template)).replace("--no-input", "--no-input setup=no")
    assert shell.endswith("source .venv/bin/activate\n")
    shell = shell.removesuffix("source .venv/bin/activate\n")
    succeeds(above, "bash", "-ec", shell)
    for (section, name), value in QUICK.items():
        change(repository, section, name, value)
    succeeds(
        repository,
        "bash",
        "-ec",
        "dvc add --quiet data/raw data/incoming data/events; python -m mlops schema infer --target left --force",
    )
    for block in blocks:
        (repository.path / block["file"]).write_text(block["text"])
    shown = succeeds(
        repository, "bash", "-ec", f"git config user.name Ada; git config user.email ada@localhost\n{run['text']}"
    )

    assert repository.read("before/README.md") == files["README.md"]
    assert {name: repository.read(name) for name in files if name != "README.md"} == {
        name: text for name, text in files.items() if name != "README.md"
    }
    assert "  charges_per_month: " in repository.read("schema.yaml")
    assert json.loads(repository.read("reports/metrics.json"))["cost"] > 0
    assert "cost" in shown
    assert succeeds(repository, "git", "log", "--format=%s").splitlines()[0] == "What the notebook did, as a pipeline"
