"""Stages that judge, or ask the model about, a part of many rows: always the same one, and they say so."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlops.base import files
from mlops.intake import tables
from stages import evaluate, monitor, prepare, train

PARAMS = """\
train: {model: tree, folds: 2}
models: {tree: {classifier: sklearn.tree.DecisionTreeClassifier, max_depth: 2}}
evaluate: {resamples: 20, importance_repeats: 1, rows: 40}
monitor: {rows: 70}
"""
SCHEMA = """\
columns:
  key: {type: integer, role: id}
  size: {type: number}
  y: {type: category, role: target}
"""


def delivery(rows: int, first: int = 0) -> pd.DataFrame:
    """Rows whose label depends on their size; every tenth has none yet."""
    rng = np.random.default_rng(first)
    size = rng.normal(size=rows)
    table = pd.DataFrame({"key": np.arange(first, first + rows), "size": size, "y": np.where(size > 0, "yes", "no")})
    table.loc[::10, "y"] = ""
    return table


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that are prepared and learnt, and a delivery."""
    folder = tmp_path_factory.mktemp("sampled")
    for name, content in {"params.yaml": PARAMS, "schema.yaml": SCHEMA, "requirements.txt": "numpy==2.0.0\n"}.items():
        (folder / name).write_text(content, encoding="utf-8")
    for name, rows, first in (("raw", 500, 0), ("incoming", 300, 1000)):
        (folder / name).mkdir()
        delivery(rows, first).to_csv(folder / name / "a.csv", index=False)
    return folder


def judged(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, bytes]]:
    """What both stages say, and the bytes of what they write."""
    out = Path("out")
    evaluate.main(
        *(Path("model"), Path("test"), Path("reference"), Path("dataset.json"), Path("training.json")),
        *(out / "metrics.json", out / "baseline.json", out / "evaluation.json", out / "slices.csv"),
        *(out / "fairness.json", out / "plots", out / "predictions", out / "evaluation.html"),
    )
    monitor.main(
        *(Path("incoming"), Path("events"), Path("schema.yaml"), Path("reference"), Path("train"), Path("model")),
        *(out / "predictions", out / "plots", out / "drift.json", out / "drift.html"),
    )
    written = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return capsys.readouterr().out, written


def test_of_many_rows_the_same_few_are_judged_and_that_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setattr("mlops.base.environment.require_locked", lambda _: None)
    prepare.main(*map(Path, ("raw", "events", "schema.yaml", "train", "test", "reference", "dataset.json")))
    train.main(*map(Path, ("train", "schema.yaml", "model", "training.json", "cross_validated.json", "search.csv")))
    capsys.readouterr()

    said, written = judged(project, capsys)

    predictions, test = tables.read(Path("out/predictions")), tables.read(Path("test"))
    assert (len(predictions), len(test)) == (40, 90)
    assert "on 40 of 90 test rows" in said
    assert "300 rows (the model answered 70 of them): " in said
    assert files.read_json(Path("out/evaluation.json"))["sample"] == {"rows": 40, "of": 90}
    assert "on 40 of 90 test rows, baseline" in written["evaluation.html"].decode()
    assert "trained on 360 rows, tested on 40 of 90" in written["evaluation.html"].decode()
    drift = files.read_json(Path("out/drift.json"))
    assert (drift["delivery"]["rows"], drift["delivery"]["answered"]) == (300, 70)
    assert drift["predictions"]["count"] == 70
    assert 50 < drift["predictions"]["labelled"]["rows"] < 70
    assert drift["columns"][0]["sample_sizes"] == [360, 300]
    assert "(the model answered 70 of them, drawn at random)" in written["drift.html"].decode()

    monkeypatch.setattr(tables, "BATCH", 7)
    prepare.main(*map(Path, ("raw", "events", "schema.yaml", "train", "test", "reference", "dataset.json")))
    again = judged(project, capsys)[1]
    assert {**again, "predictions": b""} == {**written, "predictions": b""}  # which lie in groups of other sizes
    pd.testing.assert_frame_equal(tables.read(Path("out/predictions")), predictions)
