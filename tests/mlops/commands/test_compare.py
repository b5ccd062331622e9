"""`compare`, on results made by hand: which model is best, and which of the others it is really better than."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlops.__main__ import app
from mlops.base.errors import ParameterError, StoreError
from typer.testing import CliRunner, Result

ROWS = 200
RIGHT = np.arange(ROWS) % 5 > 0
FOLDS = np.array([0.80, 0.81, 0.79, 0.82, 0.78])
NOISE = np.array([0.01, -0.012, 0.008, -0.006, 0.004])


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments])


def compared(*arguments: str) -> tuple[dict[str, dict], str]:
    """The models by name, the best first, and the conclusion."""
    done = compare("--json", *arguments)
    assert done.exception is None, done.exception
    found = json.loads(done.stdout, parse_constant=pytest.fail)
    return {one["name"]: one for one in found["models"]}, found["conclusion"]


@pytest.fixture
def project(handmade, classifier):
    """A result, and experiments from there: one that noise favours, one that is far worse, one of other folds."""
    results = {
        "noise": (FOLDS + NOISE, np.roll(RIGHT, 3), {"model": "lucky"}),
        "worse": (FOLDS - 0.1 + NOISE, RIGHT & (np.arange(ROWS) % 4 > 0), {"model": "dummy"}),
        "folds": (np.tile(FOLDS + 0.1, 2), RIGHT, {"folds": 10}),
    }
    handmade.result(classifier(RIGHT), folds=FOLDS.tolist())
    handmade.commit("First")
    for name, (folds, right, train) in results.items():
        handmade.result(classifier(right), folds=folds.tolist(), changed={"train": train})
        handmade.experiment(name)
    return handmade


def test_head_and_its_experiments_are_ranked_and_noise_is_told_from_a_difference(project):
    found, said = compared()

    assert list(found) == ["noise", "HEAD", "worse", "folds"]
    assert [one["verdict"] for one in found.values()] == ["best", "not distinguishable", "worse", "other folds"]
    assert found["noise"]["mean"] == pytest.approx((FOLDS + NOISE).mean())
    assert found["noise"]["std"] == pytest.approx((FOLDS + NOISE).std(ddof=1))
    assert found["HEAD"]["difference"] == pytest.approx(NOISE.mean())
    assert found["HEAD"]["p_folds"] > 0.5
    assert found["HEAD"]["p_rows"] == 1  # as many rows that only one of them gets right on either side
    assert found["worse"]["p_rows"] < 0.001
    assert found["worse"]["rows_test"] == "McNemar"
    assert found["worse"]["test"] == pytest.approx((RIGHT & (np.arange(ROWS) % 4 > 0)).mean())
    assert said == (
        "noise (lucky) has the best accuracy: 0.8008 ± 0.0118 over 5 folds. Really better than worse. Not "
        "distinguishable from HEAD: take the simplest of them (a linear model before trees, few or shallow trees "
        "before many or deep ones). Not under the same folds, and so not compared: folds (their "
        "training split, train.folds, train.seed or task differ)."
    )


def test_the_headline_of_the_folds_ranks(project, classifier):
    project.result(classifier(RIGHT))
    training = json.loads((project.path / "reports" / "training.json").read_text())
    training |= {"folds": [{"accuracy": 0.8, "f1": f1} for f1 in FOLDS], "headline": {"metric": "f1", "reason": "rare"}}
    project.write("reports/training.json", training)
    project.commit("Judged by F1")
    project.experiment("same")

    assert " best F1 weighted: 0.8000 ± 0.0158" in compared("HEAD", "same")[1]
    del training["headline"]  # as an older pipeline wrote it
    project.write("reports/training.json", training)
    project.commit("Older")
    assert " best accuracy: 0.8000 ± 0.0000" in compared("HEAD", "HEAD")[1]


def test_the_table_for_people_says_the_same(project):
    lines = compare("worse", "HEAD").output.splitlines()

    assert lines[0].split()[:3] == ["experiment", "model", "threshold"]
    assert "best − it (test rows)  p (test rows)" in lines[0]
    assert lines[1].startswith("HEAD")
    assert "0.8000 ± 0.0158" in lines[1]
    assert lines[1].rstrip().endswith("best")
    assert lines[2].startswith("worse")
    assert "+0.0992" in lines[2]
    assert lines[3].startswith("HEAD (forest) has the best accuracy: 0.8000 ± 0.0158 over 5 folds. Really better")


def test_a_best_on_the_folds_that_is_really_worse_on_the_rows_is_not_called_better(project, classifier):
    project.result(classifier(RIGHT | (np.arange(ROWS) % 10 == 0)), folds=(FOLDS - 0.05).tolist())
    project.experiment("rows")

    found, _ = compared("HEAD", "rows")

    assert list(found) == ["HEAD", "rows"]
    assert found["rows"]["p_folds"] < 1e-9
    assert found["rows"]["p_rows"] < 0.001
    assert found["rows"]["verdict"] == "not distinguishable"


def test_without_the_data_only_the_folds_are_compared(project):
    shutil.rmtree(".dvc/cache")

    found, _ = compared("HEAD", "noise", "worse")

    assert {(one["p_rows"], one["rows_test"]) for one in found.values()} == {(None, None)}
    assert found["worse"]["p_folds"] < 0.01
    assert [one["verdict"] for one in found.values()] == ["best", "not distinguishable", "worse"]


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (["HEAD"], ParameterError, "there is nothing to compare .* with: name experiments or commits"),
        (["HEAD", "nothing"], StoreError, "nothing is no commit, branch, tag or experiment"),
        (["HEAD", "worse", "--metric", "roc"], ParameterError, "no model has roc in every fold; .* has accuracy: "),
        (["HEAD", "empty"], StoreError, r"empty \(.*\) has no reports/training.json: run `dvc repro` there"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(project, arguments, error, sentence):
    Path("reports/training.json").unlink()
    project.experiment("empty")

    done = compare(*arguments)

    assert done.exit_code == 1
    assert isinstance(done.exception, error)
    with pytest.raises(error, match=sentence):
        raise done.exception


@pytest.mark.parametrize("folds", [[{"f1": 0.9}] * 5, [{"accuracy": 0.9}] * 4 + [{"accuracy": None}]])
def test_a_model_without_the_metric_is_shown_without_a_rank(project, folds):
    training = json.loads(Path("reports/training.json").read_text())
    project.write("reports/training.json", {**training, "model": "ridge", "folds": folds})
    project.experiment("lacking")

    found, said = compared("lacking", "HEAD", "worse")

    assert list(found) == ["HEAD", "worse", "lacking"]
    assert (found["lacking"]["mean"], found["lacking"]["p_folds"]) == (None, None)
    assert found["lacking"]["verdict"] == "no accuracy"
    assert said.endswith("Really better than worse. Not defined in every fold, and so not compared: lacking.")
    row = next(line for line in compare("lacking", "HEAD").output.splitlines() if line.startswith("lacking"))
    assert row.split()[1:3] == ["ridge", "–"]


def test_an_older_report_without_a_key_is_one_sentence(project):
    project.write("reports/training.json", {"folds": []})
    project.experiment("older")

    done = compare("HEAD", "older")

    assert isinstance(done.exception, StoreError)
    assert "reports/training.json of older" in str(done.exception)
    assert "has no " in str(done.exception)
    assert str(done.exception).endswith("it was made by an older pipeline: run `dvc repro` there")


def test_predictions_of_an_older_pipeline_leave_the_folds(project):
    project.write("reports/evaluation.json", {"headline": "accuracy"})
    project.experiment("older")

    found, _ = compared("HEAD", "older")

    assert found["older"]["p_folds"] == 1
    assert (found["older"]["p_rows"], found["older"]["difference_rows"]) == (None, None)


def test_the_same_model_twice_is_not_distinguishable(project):
    found, _ = compared("HEAD", "main")

    assert [one["verdict"] for one in found.values()] == ["best", "not distinguishable"]
    assert (found["main"]["difference"], found["main"]["p_folds"], found["main"]["p_rows"]) == (0, 1, 1)
