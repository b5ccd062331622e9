"""`monitor performance`: the log and feedback of the server as a table, with estimates by each version's test rows."""

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlops.__main__ import app
from mlops.base import files
from mlops.base.errors import ParameterError, StoreError
from mlops.intake import tables
from mlops.serving import prediction_log
from mlops.serving.prediction_log import PredictionLog
from typer.testing import CliRunner, Result

from tests.mlops.monitoring.test_estimated import frame, labels

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
COPIED, TRAINED, GONE = "c" * 16, "", "0" * 16


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that logs predictions of a model with the labels that came; the working directory is a project."""
    monkeypatch.chdir(tmp_path)
    written = {kind: PredictionLog(Path("serving"), kind) for kind in ("predictions", "feedback")}
    numbers = iter(range(10_000))

    def write(model: str, version: str, rows: int = 200, day: float = 0, told: float = 3, **more: Any) -> None:
        found = labels(np.random.default_rng(rows), rows)
        for actual, predicted, sure in zip(found.actual, found.predicted, found.probabilities[:, 1], strict=True):
            name, moment = f"{model}-{next(numbers):016x}", START + timedelta(days=day)
            times = (prediction_log.timestamp((moment + timedelta(days=days)).timestamp()) for days in (0, told))
            record = {"id": name, "time": next(times), "version": version, "variant": "champion", "features": {}}
            written["predictions"].append([{**record, "prediction": predicted, "probability": sure, **more}])
            if told:
                written["feedback"].append([{"id": name, "time": next(times), "actual": actual}])

    return write


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["monitor", "performance", *arguments])


def keep_results(predictions: Path, report: Path) -> None:
    test = labels(np.random.default_rng(0), 500)
    row = pd.Series(range(500), dtype="uint64")
    predictions.parent.mkdir(parents=True)
    tables.write(predictions, frame(test).assign(row=row))
    files.write_json(report, {"labels": ["no", "yes"], "positive": "yes"})


def test_each_version_is_estimated_by_its_own_test_rows_where_they_are_here(log: Callable[..., None]) -> None:
    copy = Path("serving/models", f"{COPIED}-{'d' * 16}")
    keep_results(copy / "predictions.parquet", copy / "evaluation.json")
    keep_results(Path("data/prepared/predictions.parquet"), Path("reports/evaluation.json"))
    files.write_text(Path("models/model.joblib"), "a model")
    trained = files.sha256(Path("models/model.joblib"))[:16]
    for version, model in enumerate((COPIED, trained, GONE), 1):
        log(model, str(version))

    found = json.loads(run("--json").stdout)

    assert [window["version"] for window in found["windows"]] == ["1", "2", "3"]
    assert [window["estimated"] is not None for window in found["windows"]] == [True, True, False]
    assert [window["against_estimate"] for window in found["windows"]] == ["as estimated", "as estimated", None]
    assert found["notes"] == [
        f"nothing is estimated for model {GONE}: its test rows are not on this machine, and there is no registry here"
    ]
    assert not Path("mlflow.db").exists()
    lines = run().stdout.splitlines()
    assert re.search("accuracy +estimated .labelled. +estimated .all rows. +off by +window", lines[0])
    assert sum("no domain classifier looks for rows unlike the training data here" in line for line in lines) == 1


def test_a_table_shows_the_windows_and_says_what_they_are(log: Callable[..., None]) -> None:
    log(GONE, "1")
    log(GONE, "1", day=7, told=0)
    log(GONE, "2", rows=50, day=7, told=0, shadow=True)
    Path("serving/feedback/x.jsonl").write_text('{"cut off', encoding="utf-8")

    lines = run("--delay", "2w").stdout.splitlines()

    assert lines[1].split()[:6] == ["2026-03-02", "00:00", "1", "200", "200", "(100%)"]
    assert lines[2].split() == ["2026-03-09", "00:00", "1", "200", "0", "(0%)", *"––––", "final"]
    assert "a window is final 14 d after its end: as asked for" in lines
    assert "left out: 50 answers of a shadow, which nobody was given" in lines
    assert "left out: cut off or damaged line of x.jsonl (1)" in lines


def test_a_prediction_that_stands_twice_in_the_log_counts_once(log: Callable[..., None]) -> None:
    log(GONE, "1", rows=40)
    for path in Path("serving/predictions").iterdir():
        shutil.copy(path, path.with_name(f"copy of {path.name}"))

    found = json.loads(run("--json").stdout)

    [window] = found["windows"]
    assert (window["rows"], window["labelled"]["rows"]) == (40, 40)
    assert found["left_out"] == {"line of a prediction that stands there before": 40}


def test_windows_are_as_long_as_asked_for_and_begin_with_since(log: Callable[..., None]) -> None:
    for day in (0, 0.5, 1, 9):
        log(GONE, "1", rows=20, day=day)

    found = json.loads(run("--window", "12h", "--since", "2026-03-02T12:00", "--json").stdout)

    assert [window["from"][:16] for window in found["windows"]] == [
        *("2026-03-02T12:00", "2026-03-03T00:00", "2026-03-11T00:00"),
    ]
    assert found["delay"]["seconds"] == pytest.approx(3 * 86_400, rel=0.02)


def test_labels_that_are_no_numbers_and_times_that_cannot_be_are_left_out(log: Callable[..., None]) -> None:
    log(GONE, "1", rows=3, prediction=2.5, probability=None)
    log(GONE, "1", rows=2, told=0, prediction=2.5, probability=None, time="9999-12-31T23:59:59.999+00:00")

    found = json.loads(run("--json").stdout)

    assert [(window["rows"], window["labelled"]["rows"]) for window in found["windows"]] == [(3, 0)]
    assert found["left_out"] == {"label that is no value of the target": 3, "time that cannot be": 2}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--window", "a week"], "--window is a week, which is no length of time: give a number with s, m, h, d or w"),
        (["--window", "0d"], "--window is 0d, which is no length of time"),
        (["--window", "999999w"], "--window is 999999w, which is no length of time"),  # beyond the year 9999
        (["--delay", "soon"], "such as 7d, or auto"),
        (["--since", "yesterday"], "--since is yesterday, which is no time"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(arguments: list[str], sentence: str, log: Callable[..., None]) -> None:
    done = run(*arguments)

    assert isinstance(done.exception, ParameterError)
    assert sentence in str(done.exception)


def test_an_empty_log_is_an_error_with_its_place(log: Callable[..., None]) -> None:
    done = run("--since", "2026-01-01")

    assert isinstance(done.exception, StoreError)
    assert str(done.exception).startswith("serving/predictions has no prediction from 2026-01-01T00:00:00+00:00 on: ")
