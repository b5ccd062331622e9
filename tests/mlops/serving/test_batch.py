"""`batch`: the bits of server, training and monitor for whole files, and what becomes of rows that cannot be read."""

import io
import json
import pickle
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlops.__main__ import app
from mlops.base.errors import DataError, ParameterError, StoreError
from mlops.data import parsing
from mlops.data.deriving import derived
from mlops.data.schema import Schema
from mlops.intake import collecting
from mlops.intake.deliveries import Terms
from mlops.registry.scoring import RawModel
from mlops.serving import answer_files, engine, offline, versions
from mlops.serving.offline import Scored
from mlops.serving.versions import Copy, Served
from mlops.training import calibration, encoding, fitting
from mlops.training.model import FittedModel, fitted_model
from sklearn.base import BaseEstimator
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

COLUMNS: dict[str, dict[str, Any]] = {
    "key": {"type": "integer", "role": "id"},
    "tenure": {"type": "integer"},
    "charges": {"type": "number", "decimal": ","},
    "member": {"type": "boolean"},
    "plan": {"type": "category"},
    "city": {"type": "category"},
    "monthly": {"type": "number", "derived": True},
    "y": {"type": "category", "role": "target"},
}
SCHEMA = Schema.model_validate({"columns": COLUMNS})
ROWS = 3000  # more than what is read, encoded and predicted in the usual way


def derive(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(monthly=table["charges"] / table["tenure"].clip(lower=1).astype("float64"))


@cache
def text() -> pd.DataFrame:
    """Rows as CSV has them: spellings, missing values, rare and unseen levels."""
    rng = np.random.default_rng(3)
    columns = {
        "key": np.arange(ROWS).astype(str),
        "tenure": rng.choice(["", " 3 ", "4.0", *map(str, range(60))], ROWS),
        "charges": [f"{value:.2f}".replace(".", ",") for value in rng.exponential(30, ROWS)],
        "member": rng.choice(["Yes", "no", "1", "0", "NA", ""], ROWS),
        "plan": rng.choice(["a", "b", " b", "7.0", "rare", ""], ROWS, p=[0.4, 0.3, 0.1, 0.1, 0.001, 0.099]),
        "city": [f"c{number}" for number in rng.integers(0, 30, ROWS)],
        "y": rng.choice(["no", "yes"], ROWS),
    }
    return pd.DataFrame(columns, dtype="str")


def typed() -> pd.DataFrame:
    return derived(parsing.parse(text(), SCHEMA, "the test", SCHEMA.delivered).table, SCHEMA, derive)


@cache
def fitted(name: str) -> FittedModel:
    """A model that has learnt from the first rows, which lack some levels."""
    estimators: dict[str, BaseEstimator] = {
        "forest": RandomForestClassifier(10, max_depth=8, random_state=0),
        "calibrated": RandomForestClassifier(5, max_depth=4, random_state=0),
        "boosting": GradientBoostingClassifier(n_estimators=5),
        "regression": HistGradientBoostingRegressor(max_iter=5),
        "many classes": RandomForestClassifier(5, max_depth=4, random_state=0),
        "linear": LogisticRegression(),
    }
    table = typed().head(1500)
    noise = np.random.default_rng(4).normal(size=len(table))
    score = table["charges"].to_numpy() / 30 + (table["plan"] == "b") + noise
    target: Any = np.where(score > 1.3, "yes", "no").astype(object)
    target = {"regression": score, "many classes": np.digitize(score, [0.7, 1.5])}.get(name, target)
    task = "regression" if name == "regression" else "classification"
    inputs = encoding.inputs(table, SCHEMA)
    pipeline = fitting.pipeline(encoding.encoder(SCHEMA, ["city"], 5, task, 1), estimators[name])
    fitting.fit(pipeline, inputs, target, 1)
    if name == "calibrated":
        found = calibration.scores(pipeline, inputs, 1)
        pipeline = calibration.calibrated(pipeline, calibration.learn(found, target, ["no", "yes"], "sigmoid"))
    two = name not in ("regression", "many classes")
    return fitted_model(pipeline, SCHEMA, task, "yes" if two else None, 1, 0.4 if name == "forest" else None)


@cache
def raw(name: str) -> RawModel:
    content = io.BytesIO()
    joblib.dump(fitted(name), content, compress=1)
    return RawModel(content.getvalue(), derive, pickle.loads)


def scored(model: RawModel, path: Path, *, skip: bool = False, named: bool = False) -> tuple[pd.DataFrame, Scored]:
    found, paths = Scored(), sorted(path.iterdir()) if path.is_dir() else [path]
    tables = list(offline.score(model, "3", paths, Terms(), found, skip=skip, named=named))
    return pd.concat([table.to_pandas() for table in tables], ignore_index=True), found


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "incoming" / "rows.csv"
    path.parent.mkdir()
    text().to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["forest", "calibrated", "boosting", "regression", "many classes", "linear"])
def test_training_monitor_server_and_batch_give_the_same_bits(rows: Path, tmp_path: Path, name: str) -> None:
    model, table = raw(name), typed()
    inputs, pipeline = encoding.inputs(table, SCHEMA), fitted(name).pipeline

    batch, _ = scored(model, rows)
    training = fitted(name).predict(table)
    with collecting.collected(rows.parent, SCHEMA, SCHEMA.needed, derive, tmp_path / "aside") as delivered:
        [monitor] = [fitted(name).predict(part) for part in delivered.table.batches()]
    records = json.loads(text()[SCHEMA.needed].to_json(orient="records"))[:300]
    server = engine.choose(model).predict(records)

    assert batch["prediction"].tolist() == training.predicted.tolist() == monitor.predicted.tolist()
    if name == "regression":
        # The engine adds up the trees in another order.
        assert np.allclose(server.predicted, training.predicted[:300], rtol=engine.TOLERANCE, atol=0)
        assert np.array_equal(training.predicted, pipeline.predict(inputs))  # by scikit-learn alone
        assert "probability" not in batch
        return
    assert server.predicted.tolist() == training.predicted[:300].tolist()
    every = pipeline.predict_proba(inputs)
    assert np.array_equal(training.probabilities, every)
    assert np.array_equal(monitor.probabilities, every)
    if name == "many classes":
        of_classes = batch[[f"probability of {label}" for label in training.classes]].to_numpy()
        assert np.array_equal(of_classes, every)
        assert np.array_equal(batch["probability"], every.max(axis=1))
    else:
        assert np.array_equal(batch["probability"], every[:, 1])
    assert server.probabilities is not None
    if name in ("linear", "many classes"):  # BLAS sums by the number of rows, and the engine makes each leaf's sum 1
        assert np.abs(server.probabilities - every[:300]).max() <= engine.TOLERANCE
    else:
        assert np.array_equal(server.probabilities, every[:300])


def test_few_rows_at_a_time_give_the_same_answers(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, _ = scored(raw("forest"), rows)
    monkeypatch.setattr(offline, "CELLS", 6 * 700)
    rows = rows.rename(rows.with_suffix(".parquet"))
    text().to_parquet(rows)

    tables = list(offline.score(raw("forest"), "3", [rows], Terms(), Scored(), skip=False, named=False))

    assert [len(table) for table in tables] == [700, 700, 700, 700, 200]
    found = pd.concat([table.to_pandas() for table in tables], ignore_index=True)
    pd.testing.assert_frame_equal(found, at_once)
    assert found["key"].tolist() == text()["key"].tolist()
    assert set(found["model_version"]) == {"3"}


def test_files_of_a_folder_come_in_the_order_of_their_names(rows: Path) -> None:
    text().head(5).to_parquet(rows.parent / "a.parquet")

    found, about = scored(raw("forest"), rows.parent, named=True)

    assert found["file"].tolist() == ["a.parquet"] * 5 + ["rows.csv"] * ROWS
    assert about.rows == ROWS + 5
    assert found["probability"][:5].tolist() == found["probability"][5:10].tolist()


def with_faults(path: Path) -> None:
    table = text().copy()
    table.loc[[2, 7], "tenure"] = "often"
    table.loc[2, "charges"] = "dear"
    table.to_csv(path, index=False)


def test_a_value_that_cannot_be_read_is_named_by_its_line(rows: Path) -> None:
    with_faults(rows)

    with pytest.raises(DataError, match=r"^rows\.csv:4: tenure is 'often', which is no integer: .*--skip"):
        scored(raw("forest"), rows)


def test_with_skip_such_rows_have_no_answer_and_the_others_theirs(rows: Path) -> None:
    right, _ = scored(raw("forest"), rows)
    with_faults(rows)

    found, about = scored(raw("forest"), rows, skip=True)

    assert about.skipped == 2
    assert about.examples == ["rows.csv:4: tenure is 'often', which is no integer"]
    assert np.flatnonzero(found["prediction"].isna()).tolist() == [2, 7]
    pd.testing.assert_frame_equal(found.drop(index=[2, 7]), right.drop(index=[2, 7]))


def test_a_file_in_which_no_row_can_be_read_has_no_answers(rows: Path) -> None:
    text().head(3).assign(tenure="often").to_csv(rows, index=False)

    found, _ = scored(raw("forest"), rows, skip=True)

    assert found["prediction"].isna().tolist() == found["probability"].isna().tolist() == [True] * 3


def test_a_column_that_is_not_there_is_named(rows: Path) -> None:
    text().drop(columns=["plan", "city"]).to_csv(rows, index=False)

    with pytest.raises(DataError, match=r"rows\.csv lacks plan, city, which version 3 needs \(it has key, tenure"):
        scored(raw("forest"), rows)


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that has these versions fetched, in a folder that is the project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(versions, "load", lambda copy: raw("forest"))

    def fetch(place: str, champion: str, challenger: str = "") -> None:
        copies = {number: Copy(number, "", "", str(tmp_path / number)) for number in (champion, challenger) if number}
        for copy in copies.values():
            Path(copy.folder).mkdir(exist_ok=True)
        versions.write(tmp_path / place, Served("m", copies[champion], copies.get(challenger)))

    return fetch


def test_offline_takes_what_was_fetched_before(fetched: Callable[..., None]) -> None:
    fetched("serving", "2", "5")
    fetched("serving/batch", "1")

    assert offline.version("", Path("serving"), offline=True).number == "2"
    assert [offline.version(number, Path("serving"), offline=True).number for number in "152"] == ["1", "5", "2"]
    with pytest.raises(StoreError, match="version 7 was fetched before: leave out --offline"):
        offline.version("7", Path("serving"), offline=True)


def run(*arguments: str) -> str:
    return CliRunner().invoke(app, ["batch", *arguments, "--offline"], catch_exceptions=False).output


def test_the_command_writes_all_answers_or_no_file(fetched: Callable[..., None], rows: Path) -> None:
    fetched("serving", "2")
    with_faults(rows)

    with pytest.raises(DataError, match="nothing was written"):
        run("incoming/rows.csv", "out.csv")
    assert not Path("out.csv").exists()

    said = run("incoming/rows.csv", "out.csv", "--skip")
    assert said.splitlines() == [
        "2 rows have no answer, such as rows.csv:4: tenure is 'often', which is no integer",
        "2,998 answers of version 2 are in out.csv",
    ]
    run("incoming/rows.csv", "out.parquet", "--skip")
    written, exact = pd.read_csv("out.csv", dtype=str), pd.read_parquet("out.parquet")
    assert written["probability"].map(float).equals(exact["probability"])  # every digit
    pd.testing.assert_frame_equal(written.drop(columns="probability"), exact.drop(columns="probability"))


def test_a_value_with_a_comma_is_quoted(tmp_path: Path, fetched: Callable[..., None]) -> None:
    fetched("serving", "2")
    text().head(2).assign(key=["1", "2"], city=['"a,b"', "c"]).to_csv("a,b.csv", index=False)
    Path("two").mkdir()
    Path("a,b.csv").rename("two/a,b.csv")

    run("two", "out.csv")

    assert pd.read_csv("out.csv")["file"].tolist() == ["a,b.csv"] * 2


def test_answers_do_not_replace_the_rows(fetched: Callable[..., None], rows: Path) -> None:
    for out, sentence in (("incoming/rows.csv", "is a file of rows"), ("out.txt", "ends in neither")):
        with pytest.raises(ParameterError, match=sentence):
            run("incoming", out)


@pytest.mark.parametrize("name", ["answers.csv", "answers.parquet"])
def test_answers_have_the_same_bytes_whatever_the_sizes_of_the_batches(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_files, "ROWS", 4)
    texts = [f"{number}, said" if number == 3 else str(number) for number in range(10)]
    table = pa.table({"id": texts, "probability": [number / 8 for number in range(10)]})

    def written(*ends: int) -> bytes:
        with answer_files.written(tmp_path / name) as write:
            for start, end in pairwise([0, *ends, 10]):
                write(table.slice(start, end - start))
        return (tmp_path / name).read_bytes()

    assert written() == written(1, 2, 9) == written(5) == written(4, 8)
