"""Training splits that are too large to be held in memory."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from mlops.base import params
from mlops.data.schema import Schema
from mlops.intake import tables
from mlops.training import encoding, fitting, large, selection
from mlops.training.selection import Trained
from sklearn import neural_network
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight

ROWS = 2_000
SCHEMA = Schema(
    columns={
        "id": {"type": "integer", "role": "id"},
        "size": {"type": "number"},
        "level": {"type": "category"},
        "y": {"type": "category", "role": "target"},
    }
)
NUMBER = Schema(columns={**SCHEMA.columns, "y": {"type": "number", "role": "target"}})
MODELS = params.Models(
    {
        "tree": params.Estimator(classifier="sklearn.tree.DecisionTreeClassifier", max_depth=3),
        "linear": params.Estimator(
            classifier="sklearn.linear_model.SGDClassifier",
            regressor="sklearn.linear_model.SGDRegressor",
            average=True,
        ),
        "bayes": params.Estimator(classifier="sklearn.naive_bayes.GaussianNB"),
    }
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of 20 rows in files, 50 rows that are encoded at once, and megabytes of a thousand bytes."""
    monkeypatch.setattr(tables, "BATCH", 20)
    monkeypatch.setattr(encoding, "ROWS", 50)
    monkeypatch.setattr(encoding, "MEGABYTE", 1_000)


def people(rows: int = ROWS) -> pd.DataFrame:
    """Typed rows in the order of the target, a fifth of which is "yes"; four encoded columns."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=rows)
    table = pd.DataFrame(
        {
            "id": pd.array(np.arange(rows), dtype="Int64"),
            "size": pd.Series(size).mask(rng.random(rows) < 0.05),
            "level": pd.Series(rng.choice(["a", "b", "c"], size=rows), dtype="str"),
            "y": pd.Series(np.where(size + rng.normal(size=rows) / 3 > 0.9, "yes", "no"), dtype="str"),
        }
    )
    return table.sort_values("y", kind="stable", ignore_index=True)


@pytest.fixture
def stored(tmp_path: Path) -> tables.Stored:
    """The rows in a file."""
    tables.write(tmp_path / "train.parquet", people())
    return tables.Stored(tmp_path / "train.parquet")


def train(table: Any, schema: Schema = SCHEMA, **settings: Any) -> Trained:
    """Train with two folds; 16 megabytes are those of 500 rows."""
    chosen = params.Train(**{"model": "tree", "folds": 2, "megabytes": 16, **settings})
    return selection.train(table, schema, chosen, MODELS, lambda pieces, *_: pieces)


def saved(trained: Trained) -> bytes:
    file = io.BytesIO()
    joblib.dump(trained.model, file)
    return file.getvalue()


def test_a_file_that_fits_gives_the_model_of_all_its_rows(stored: tables.Stored) -> None:
    found, whole = train(stored, megabytes=64), train(people())

    assert saved(found) == saved(whole)
    assert found.report == whole.report
    assert "sample" not in found.report
    assert "of" not in found.sentence


def test_of_more_rows_a_sample_with_the_share_of_each_class_is_fitted_and_told(stored: tables.Stored) -> None:
    settings = params.Train(model="tree", folds=2, megabytes=16)
    sample, whole = large.held(stored, SCHEMA, settings)
    found = train(stored)

    share = (people()["y"] == "yes").mean()
    assert whole is not None
    assert len(sample) == len(whole.places) == 500
    assert (sample["y"] == "yes").mean() == pytest.approx(share, abs=1 / 500)
    assert found.report["sample"] == {"rows": 500, "of": ROWS, "passes": None}
    assert found.report["rows"] == 500
    assert found.sentence.endswith(", fitted on 500 of 2,000 rows")
    assert saved(found) == saved(train(stored)) == saved(train(people().iloc[whole.places]))
    assert saved(found) != saved(train(stored, seed=1))


@pytest.mark.parametrize("passes", [1, 2])
def test_an_estimator_that_can_learns_from_all_rows_batch_by_batch(stored: tables.Stored, passes: int) -> None:
    found = train(stored, model="linear", passes=passes)

    assert found.model.pipeline[-1].t_ == 1 + passes * ROWS  # rows that it has seen
    assert found.report["sample"] == {"rows": 500, "of": ROWS, "passes": passes}
    times = "" if passes == 1 else " in 2 passes"
    assert f", fitted on all 2,000 rows batch by batch{times}, cross-validated on 500 of them" in found.sentence
    assert saved(found) == saved(train(stored, model="linear", passes=passes))


def test_a_file_in_the_order_of_its_target_is_learnt_all_the_same(stored: tables.Stored) -> None:
    found = train(stored, model="linear").model.predict(people())

    assert (found.predicted == people()["y"]).mean() > 0.9


def test_what_begins_anew_with_each_batch_does_not_learn_in_batches() -> None:
    network = neural_network.MLPRegressor

    assert large.learns_in_batches(network())
    assert not large.learns_in_batches(network(solver="lbfgs"))
    assert not large.learns_in_batches(type("Own", (), {"partial_fit": None})())


def test_a_number_is_learnt_batch_by_batch(tmp_path: Path) -> None:
    table = people().assign(y=lambda rows: rows["size"].fillna(0) * 2 + 1)
    tables.write(tmp_path / "a.parquet", table)
    found = train(tables.Stored(tmp_path / "a.parquet"), NUMBER, model="linear")

    assert found.report["task"] == "regression"
    assert found.model.pipeline[-1].t_ == 1 + ROWS
    assert found.metrics["r2"] > 0.9


def test_a_class_of_one_row_is_known_to_sample_and_model(tmp_path: Path) -> None:
    table = people()
    table.loc[1234, "y"] = "once"
    tables.write(tmp_path / "a.parquet", table)
    stored = tables.Stored(tmp_path / "a.parquet")

    for model in ("bayes", "tree"):
        assert train(stored, model=model).model.classes == ("no", "once", "yes")


@pytest.mark.parametrize("model", ["linear", "bayes"])
def test_classes_weigh_the_same_in_batches_if_they_are_to(stored: tables.Stored, model: str) -> None:
    found = train(stored, model=model, balance="classes")

    estimator, target = found.model.pipeline[-1], people()["y"].to_numpy(dtype=object)
    weights = compute_class_weight("balanced", classes=np.array(["no", "yes"]), y=target)
    if model == "linear":
        assert estimator.class_weight == pytest.approx(dict(zip(["no", "yes"], weights, strict=True)))
        assert found.report["arguments"]["class_weight"] == "balanced"
    else:
        assert estimator.class_prior_ == pytest.approx([0.5, 0.5])


def test_an_estimator_that_refuses_batches_says_so(stored: tables.Stored) -> None:
    models = params.Models(
        {"linear": params.Estimator(**{**MODELS.root["linear"].model_dump(), "early_stopping": True})}
    )
    settings = params.Train(model="linear", folds=2, megabytes=16)

    with pytest.raises(params.ParameterError, match="SGDClassifier could not be fitted: early_stopping"):
        selection.train(stored, SCHEMA, settings, models, lambda pieces, *_: pieces)


class Recorder(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Keeps what it is given."""

    def partial_fit(self, encoded: np.ndarray, target: np.ndarray, classes: np.ndarray) -> "Recorder":
        """Keep the rows."""
        self.seen = [*getattr(self, "seen", []), np.column_stack([encoded, target == "yes"])]
        self.known = classes
        return self


def test_a_row_of_the_sample_keeps_the_mean_that_other_rows_taught(stored: tables.Stored) -> None:
    settings = params.Train(model="tree", folds=2, megabytes=8)
    sample, whole = large.held(stored, SCHEMA, settings)
    assert whole is not None
    inputs, target = encoding.inputs(sample, SCHEMA), sample["y"].to_numpy(dtype=object)
    encoder = encoding.encoder(SCHEMA, ["level"], 10, "classification", 42)
    expected = encoding.encoder(SCHEMA, ["level"], 10, "classification", 42).fit_transform(inputs, target)
    model = fitting.pipeline(encoder, Recorder())
    read: Iterator[int] = large.fit_in_batches(model, inputs, target, whole, SCHEMA, "classification", settings, False)

    assert sum(read) == ROWS
    seen = {tuple(row) for row in np.concatenate(model[-1].seen)}
    assert {tuple(row) for row in np.column_stack([expected, target == "yes"])} <= seen
    assert model[-1].known.tolist() == ["no", "yes"]
    assert max(map(len, model[-1].seen)) == 50
