"""Cross-validation agrees with scikit-learn's, nothing leaks, and the same input gives the same model to the byte."""

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlops.base import model_files, params
from mlops.base.errors import DataError, ParameterError
from mlops.data.schema import Schema
from mlops.training import encoding, estimators, fitting, selection
from mlops.training.metrics import Predictions, joined
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TimeSeriesSplit, cross_validate
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from tests.conftest import PROJECT, TEMPLATE
from tests.mlops.training.samples import PATHS, SCHEMA, data

ROOT = TEMPLATE / PROJECT


def model(name: str, **arguments: object) -> Pipeline:
    estimator = estimators.build(name, PATHS[name], arguments, "classification", seed=5)
    return fitting.pipeline(encoding.encoder(SCHEMA, [], 5, "classification", seed=5), estimator)


@pytest.mark.parametrize("name", ["logistic", "forest", "dummy"])
def test_cross_validation_agrees_with_scikit_learn_on_the_same_folds(name: str) -> None:
    table, target = data()
    unfitted = model(name, **({"n_estimators": 10} if name == "forest" else {}))
    cut = fitting.folds(target, None, "classification", 5, seed=3)

    scores = list(fitting.cross_validate(unfitted, table, target, cut, "yes", threads=1))

    expected = cross_validate(unfitted, table, target, cv=cut, scoring=["accuracy", "f1_weighted"])
    assert [fold["accuracy"] for fold in scores] == pytest.approx(expected["test_accuracy"], abs=1e-9)
    assert [fold["f1"] for fold in scores] == pytest.approx(expected["test_f1_weighted"], abs=1e-9)
    assert not hasattr(unfitted, "classes_")


def test_what_is_imputed_comes_from_the_training_rows_of_a_fold_alone() -> None:
    table = pd.DataFrame({"size": [1.0, 2.0, 3.0, 1000.0, np.nan, 5000.0], "level": ["a", "a", "b", "z", "z", "z"]})
    target = np.array(["yes", "no", "yes", "no", "yes", "no"], dtype=object)

    fitted = fitting.fit(model("logistic"), table.iloc[:3], target[:3], threads=1)

    encoder = fitted.named_steps["encoder"].named_transformers_
    assert encoder["numbers"]["impute"].statistics_.tolist() == [2.0]
    assert encoder["categories"]["impute"].statistics_.tolist() == ["a"]
    assert encoder["categories"]["encode"].categories_[0].tolist() == ["a", "b"]
    assert encoder["numbers"]["scale"].n_samples_seen_ == 3


def test_the_rows_that_test_a_fold_do_not_change_how_it_is_fitted() -> None:
    """Other test rows, the same model: with each row's own label as its only clue, a leak would show."""
    rows = 60
    table = pd.DataFrame({"size": np.arange(rows, dtype=float), "level": [f"level {row}" for row in range(rows)]})
    target = np.random.default_rng(2).choice(np.array(["no", "yes"], dtype=object), size=rows)
    cut = fitting.folds(target, None, "classification", 5, seed=3)
    changed = table.copy()
    changed.loc[cut[0][1], "size"] = 1e6

    one, other = (
        fitting.fit(model("logistic"), part.iloc[cut[0][0]], target[cut[0][0]], 1) for part in (table, changed)
    )

    assert np.array_equal(one.named_steps["estimator"].coef_, other.named_steps["estimator"].coef_)


def test_folds_are_reproducible_stratified_and_test_each_row_once() -> None:
    _, target = data()

    cut = fitting.folds(target, None, "classification", 5, seed=3)

    again = fitting.folds(target, None, "classification", 5, seed=3)
    assert all(np.array_equal(one[1], other[1]) for one, other in zip(cut, again, strict=True))
    assert sorted(np.concatenate([test for _, test in cut])) == list(range(len(target)))
    of_class = [int((target[test] == "yes").sum()) for _, test in cut]
    assert max(of_class) - min(of_class) <= 1


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_rows_of_one_group_are_in_one_fold(task: str) -> None:
    groups = pd.Series(np.arange(60) // 4)
    target = (np.arange(60) % 2).astype(float if task == "regression" else int)

    for train, test in fitting.folds(target, groups, task, 5, seed=3):  # type: ignore[arg-type]
        assert set(groups[train]).isdisjoint(groups[test])


@pytest.mark.parametrize("rows", [6, 40, 203])
def test_folds_by_time_are_those_of_scikit_learn_in_the_order_of_time(rows: int) -> None:
    order = np.random.default_rng(1).permutation(rows)
    time = pd.Series(np.datetime64("2024-01-01") + order * np.timedelta64(1, "D"), name="day")
    sorted_rows = np.argsort(order)

    cut = fitting.folds_by_time(time, 5)

    for found, expected in zip(cut, TimeSeriesSplit(5).split(time), strict=True):
        assert [part.tolist() for part in found] == [sorted_rows[part].tolist() for part in expected]


def test_rows_of_one_time_are_in_one_fold_and_no_fold_is_tested_by_its_past() -> None:
    time = pd.Series(np.random.default_rng(1).integers(12, size=200))

    cut = fitting.folds_by_time(time, 4)

    assert all(time[train].max() < time[test].min() for train, test in cut)
    assert len(np.concatenate([test for _, test in cut])) == len(time) - len(cut[0][0])


def test_a_split_by_time_decides_the_folds_of_training() -> None:
    table, target = data()
    table = table.assign(day=np.random.default_rng(2).permutation(len(table)), y=target)
    schema = Schema(columns={**SCHEMA.columns, "day": {"type": "integer", "role": "time"}})  # type: ignore[dict-item]
    models = params.Models.model_validate({"logistic": {"classifier": PATHS["logistic"]}})
    settings = params.Train(model="logistic", folds=3)

    by_time, shuffled = (
        selection.train(table, schema, settings, models, lambda pieces, *_: pieces, how).report["folds"]
        for how in ("time", "stratified")
    )

    encoder = encoding.encoder(schema, [], settings.rare_level, "classification", settings.seed)
    model = fitting.pipeline(encoder, LogisticRegression(random_state=settings.seed))
    cut = fitting.folds_by_time(table["day"], 3)
    assert by_time == list(fitting.cross_validate(model, encoding.inputs(table, schema), target, cut, "yes", 1))
    assert by_time != shuffled


def test_what_is_told_of_the_folds_is_the_headline() -> None:
    table, target = data()
    table = table.assign(y=target)
    models = params.Models.model_validate({"logistic": {"classifier": PATHS["logistic"]}})
    settings = params.Train(model="logistic", folds=3)

    def trained(asked: str) -> selection.Trained:
        return selection.train(table, SCHEMA, settings, models, lambda pieces, *_: pieces, headline=asked)

    share = np.mean(target == "yes")
    auto, asked = trained("auto"), trained("f1_positive")
    assert auto.sentence.startswith(f"logistic: accuracy {auto.metrics['accuracy']:.4f} ± ")
    reason = f"the smallest class, yes, has {share:.1%} of the training rows"
    assert auto.report["headline"] == {"metric": "accuracy", "reason": reason}
    assert asked.sentence.startswith(f"logistic: f1_positive {asked.metrics['f1_positive']:.4f} ± ")
    with pytest.raises(ParameterError, match=r"evaluate\.metric is f1_pos, which is no metric: did you mean"):
        trained("f1_pos")
    with pytest.raises(ParameterError, match=r"evaluate\.metric is rmse, but there are accuracy, "):
        trained("rmse")


@pytest.mark.parametrize("times", [[1, 2, 3], [1, 1, 1, 1, 1, 1, 1, 1, 1, 2], [1] * 20])
def test_too_few_different_times_are_an_error_that_counts_them(times: list[int]) -> None:
    with pytest.raises(DataError, match=rf"the training split has {len(set(times))} different times in day, too few"):
        fitting.folds_by_time(pd.Series(times, name="day"), 3)


@pytest.mark.parametrize("rows", [1, 4])
def test_too_few_rows_for_the_folds_are_an_error_that_counts_them(rows: int) -> None:
    with pytest.raises(DataError, match=rf"the training split has {rows} rows, too few for 5 folds: .*train\.folds"):
        fitting.folds(np.arange(rows, dtype=float), None, "regression", 5, seed=3)


def test_too_few_groups_for_the_folds_are_an_error_that_counts_them() -> None:
    with pytest.raises(DataError, match="the training split has 2 groups, too few for 5 folds"):
        fitting.folds(np.array([0, 1] * 10), pd.Series([1, 2] * 10), "classification", 5, seed=3)


@pytest.mark.parametrize("groups", [None, pd.Series(range(6))])
def test_folds_are_random_where_no_class_has_as_many_rows_as_there_are_folds(groups: pd.Series | None) -> None:
    target = np.array([0, 1, 2, 0, 1, 2])

    cut = fitting.folds(target, groups, "classification", 5, seed=3)

    assert len(cut) == 5
    assert sorted(np.concatenate([test for _, test in cut])) == list(range(6))
    assert fitting.rare_classes(target, 5) == {"0": 2, "1": 2, "2": 2}


def test_one_class_of_enough_rows_is_enough_to_stratify() -> None:
    target = np.array(["often"] * 20 + ["seldom"] * 2 + ["once"], dtype=object)

    cut = fitting.folds(target, None, "classification", 5, seed=3)

    of_class = {label: [int((target[test] == label).sum()) for _, test in cut] for label in ("often", "seldom", "once")}
    assert set(of_class["often"]) == {4}
    assert (sorted(of_class["seldom"]), sorted(of_class["once"])) == ([0, 0, 0, 1, 1], [0, 0, 0, 0, 1])


def test_folds_that_cannot_be_cut_are_an_error_that_says_why() -> None:
    with pytest.raises(DataError, match=r"the training split has 4 rows, too few for 5 folds: .*train\.folds"):
        fitting.folds(np.array([0, 1, 0, 1]), None, "classification", 5, seed=3)


def test_a_class_that_is_missing_from_the_training_rows_of_a_fold_is_scored_all_the_same() -> None:
    table, target = data(100)
    target[7] = "unheard of"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut = fitting.folds(target, None, "classification", 5, seed=3)

    scores = list(fitting.cross_validate(model("logistic"), table, target, cut, None, threads=1))

    assert len(scores) == 5
    assert all(0 <= fold["accuracy"] <= 1 for fold in scores)
    assert fitting.rare_classes(target, 5) == {"unheard of": 1}


@pytest.mark.parametrize("levels", [3, 60])
def test_a_rare_class_can_be_learnt_beside_means_of_the_target(levels: int) -> None:
    table, target = data(300)
    table["level"] = (
        np.random.default_rng(4).choice([f"level {level}" for level in range(levels)], size=300).astype(object)
    )
    target[7] = "unheard of"
    logistic = estimators.build("logistic", PATHS["logistic"], {}, "classification", seed=5)
    unfitted = fitting.pipeline(encoding.encoder(SCHEMA, ["level"], 5, "classification", seed=5), logistic)
    cut = fitting.folds(target, None, "classification", 5, seed=3)

    scores = list(fitting.cross_validate(unfitted, table, target, cut, None, threads=1))

    assert all(0.5 < fold["accuracy"] <= 1 for fold in scores)


def test_levels_of_one_row_each_teach_nothing() -> None:
    """Means of the target that were learnt on the rows themselves would give it away, and cost the honest feature."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"size": rng.normal(size=600), "level": [f"level {row}" for row in range(600)]})
    target = np.where(table["size"] + rng.normal(size=600) / 2 > 0, "yes", "no").astype(object)
    logistic = estimators.build("logistic", PATHS["logistic"], {}, "classification", seed=5)
    cut = fitting.folds(target, None, "classification", 5, seed=3)

    scores = []
    for many in (["level"], []):
        unfitted = fitting.pipeline(encoding.encoder(SCHEMA, many, 5, "classification", seed=5), logistic)
        found = list(fitting.cross_validate(unfitted, table, target, cut, "yes", threads=1))
        scores.append(np.mean([fold["accuracy"] for fold in found]))

    assert scores[0] > 0.8
    assert scores[0] == pytest.approx(scores[1], abs=0.03)


def test_a_class_that_was_not_fitted_has_probability_zero() -> None:
    table, target = data(100)
    fitted = fitting.fit(model("logistic"), table, target, threads=1)

    found = fitting.predict(fitted, table, target, None, 1, np.array(["maybe", "no", "yes"], dtype=object))

    assert found.classes == ("maybe", "no", "yes")
    assert (found.probabilities[:, 0] == 0).all()
    assert found.probabilities.sum(axis=1) == pytest.approx(1)
    assert (found.predicted == fitted.predict(table)).all()


def test_an_estimator_without_probabilities_predicts_labels() -> None:
    table, target = data(100)
    ridge = estimators.build("ridge", "sklearn.linear_model.RidgeClassifier", {}, "classification", seed=5)
    unfitted = fitting.pipeline(encoding.encoder(SCHEMA, [], 5, "classification", seed=5), ridge)
    cut = fitting.folds(target, None, "classification", 5, seed=3)

    scores = list(fitting.cross_validate(unfitted, table, target, cut, "yes", threads=1))

    expected = cross_validate(unfitted, table, target, cv=cut, scoring="accuracy")
    assert [fold["accuracy"] for fold in scores] == pytest.approx(expected["test_score"], abs=1e-9)


@pytest.mark.parametrize("rows", [1, 99, 100, 101, 350])
def test_predictions_do_not_depend_on_how_many_rows_are_predicted_at_once(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, target = data(400)
    fitted = fitting.fit(model("forest", n_estimators=10), table, target, threads=1)
    whole = fitting.predict(fitted, table[:rows], target[:rows], "yes", 1)

    monkeypatch.setattr(fitting, "ROWS", 100)
    cut = fitting.predict(fitted, table[:rows], target[:rows], "yes", 1)

    assert cut.probabilities.shape == (rows, 2)
    assert np.array_equal(cut.probabilities, whole.probabilities)
    assert cut.predicted.tolist() == whole.predicted.tolist()
    assert cut.actual.tolist() == target[:rows].tolist()


def test_predictions_of_batches_join_to_those_of_the_whole() -> None:
    table, target = data(300)
    fitted = fitting.fit(model("logistic"), table, target, threads=1)
    whole = fitting.predict(fitted, table, target, "yes", 1)

    found = joined(
        [
            fitting.predict(fitted, table[start : start + 70], target[start : start + 70], "yes", 1)
            for start in range(0, 300, 70)
        ]
    )

    assert (found.classes, found.positive) == (whole.classes, whole.positive)
    assert found.actual.tolist() == whole.actual.tolist()
    assert found.predicted.tolist() == whole.predicted.tolist()
    assert found.probabilities == pytest.approx(whole.probabilities, abs=1e-12)


def test_numbers_that_were_predicted_in_batches_join_without_probabilities() -> None:
    parts = [Predictions(np.array([1.0]), np.array([value]), None, (), None) for value in (1.5, 2.5)]

    assert joined(parts).predicted.tolist() == [1.5, 2.5]
    assert joined(parts).probabilities is None
    assert joined(parts).kind == "regression"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("logistic", {"C": -1}),
        ("logistic", {"C": "much"}),
        ("forest", {"n_estimators": 0}),
        ("boosting", {"learning_rate": None}),
    ],
)
def test_a_bad_value_of_an_argument_is_one_sentence(name: str, arguments: dict[str, object]) -> None:
    table, target = data(40)

    with pytest.raises(ParameterError, match=f"could not be fitted: .*'{next(iter(arguments))}'") as error:
        fitting.fit(model(name, **arguments), table, target, threads=1)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["forest", "boosting", "logistic"])
def test_two_fits_give_the_same_bytes_and_leave_no_trace_of_parallel_work(name: str, tmp_path: Path) -> None:
    table, target = data()

    for path in ("one", "other"):
        model_files.write(tmp_path / path, fitting.fit(model(name), table, target, threads=1))

    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert model_files.read(tmp_path / "one").get_params().get("estimator__n_jobs") is None


FIT = """
import sys
from pathlib import Path
import numpy as np, pandas as pd
from mlops.base import model_files, params
from mlops.data.schema import Schema
from mlops.training import encoding, estimators, fitting, selection

rng = np.random.default_rng(1)
table = pd.DataFrame(rng.normal(size=(3000, 8)), columns=list("abcdefgh"))
table["level"] = rng.choice(["x", "y", "z"], size=3000).astype(object)
target = np.where(table["a"] * table["b"] + rng.normal(size=3000) > 0, "yes", "no").astype(object)
columns = {name: {"type": "category" if name == "level" else "number"} for name in table}
schema = Schema(columns={**columns, "y": {"type": "category", "role": "target"}})
for many, name, arguments in [
    ([], "HistGradientBoostingClassifier", {"max_iter": 20}),
    (["level"], "RandomForestClassifier", {"n_estimators": 10}),
]:
    estimator = estimators.build("m", f"sklearn.ensemble.{name}", arguments, "classification", 5)
    unfitted = fitting.pipeline(encoding.encoder(schema, many, 5, "classification", seed=5), estimator)
    model_files.write(Path(sys.argv[1]) / name, fitting.fit(unfitted, table, target, threads=1))
"""


def test_the_bytes_of_a_model_depend_neither_on_the_number_of_threads_nor_on_the_hash_seed(tmp_path: Path) -> None:
    begun = {}
    for threads, hash_seed in (("1", "0"), ("4", "12345")):
        folder = tmp_path / threads
        folder.mkdir()
        settings = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", FIT, str(folder)]
        begun[folder] = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings})

    assert [process.wait() for process in begun.values()] == [0, 0]
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in begun)
    assert len(one) == 2
    assert one == other


def test_scores_are_summarised_over_the_folds_where_they_are_defined() -> None:
    summary = fitting.summarise([{"accuracy": 0.5, "roc_auc": np.nan}, {"accuracy": 0.7, "roc_auc": 0.9}])

    assert summary["accuracy"] == pytest.approx({"mean": 0.6, "std": 0.02**0.5})
    assert summary["roc_auc"]["mean"] == 0.9


def test_equal_folds_have_a_spread_of_zero() -> None:
    equal = [{"accuracy": 0.7}] * 6

    assert pd.Series([0.7] * 6).std() > 0  # the mean is rounded
    assert fitting.summarise(equal)["accuracy"]["std"] == 0


def test_predictions_are_judged_by_the_rows_whose_actual_value_has_come() -> None:
    table, target = data(100)
    fitted = fitting.fit(
        fitting.pipeline(encoding.encoder(SCHEMA, [], 5, "classification", seed=5), LogisticRegression()),
        table,
        target,
        1,
    )
    predictions = fitting.predict(fitted, table, None, "yes", 1)

    actual = pd.Series(target, dtype="str").where(pd.Series(range(100)) < 30)
    judged = fitting.with_labels(predictions, actual, "classification")

    assert judged is not None
    assert judged.actual.tolist() == target[:30].tolist()
    assert judged.predicted.tolist() == predictions.predicted[:30].tolist()
    assert fitting.with_labels(predictions, None, "classification") is None
    assert fitting.with_labels(predictions, actual.where(actual == "?"), "classification") is None


@pytest.mark.parametrize("name", ["forest", "boosting", "logistic"])
@pytest.mark.parametrize("sorted_rows", [1, 1_000], ids=["fast", "plain"])
@pytest.mark.filterwarnings("error")
def test_numbers_that_no_forest_holds_are_its_largest_if_clipped_and_change_no_other_row(
    name: str, sorted_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "SORTED_ROWS", sorted_rows)
    table, target = data()
    table["size"] /= 1e3  # so that its spread makes infinity of the largest numbers
    fitted = fitting.fit(model(name), table, target, threads=1)
    usual = fitting.predict(fitted, table, None, "yes", 1, schema=SCHEMA)
    huge = table.copy()
    huge.loc[[0, 1, 2], "size"] = [1.7e308, -1.7e308, 1.7e308]
    far = table.iloc[:2].assign(size=[1e30, -1e30])

    clipped = fitting.predict(fitted, table, None, "yes", 1, schema=SCHEMA, clipped=True)
    found = fitting.predict(fitted, huge, None, "yes", 1, schema=SCHEMA, clipped=True)

    assert clipped.probabilities.tobytes() == usual.probabilities.tobytes()
    assert found.probabilities[3:].tobytes() == usual.probabilities[3:].tobytes()
    expected = fitting.predict(fitted, far, None, "yes", 1, schema=SCHEMA).probabilities
    assert found.probabilities[:2] == pytest.approx(expected, abs=1e-12)


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("name", ["forest", "logistic"])
def test_without_clipping_numbers_that_are_too_large_are_refused(name: str) -> None:
    table, target = data()
    fitted = fitting.fit(model(name), table.assign(size=table["size"] / 1e3), target, threads=1)

    with pytest.raises(ParameterError, match=r"could not be asked: .*infinity"):
        fitting.predict(fitted, table.assign(size=1.7e308), None, "yes", 1, schema=SCHEMA)


class Cautious(LogisticRegression):
    """Says yes from a probability of 0.2."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.where(self.predict_proba(rows)[:, 1] >= 0.2, "yes", "no").astype(object)


def test_an_estimator_of_the_project_decides_by_its_own_threshold() -> None:
    table, target = data()
    inputs, labels = table[["size"]].fillna(0.0).to_numpy(), target
    fitted = fitting.fit(Cautious(), inputs, labels, threads=1)

    found = fitting.predict(fitted, inputs, labels, "yes", threads=1)

    assert found.probabilities is not None
    assert (found.predicted == np.where(found.probabilities[:, 1] >= 0.2, "yes", "no")).all()
    assert (found.predicted != np.where(found.probabilities[:, 1] >= 0.5, "yes", "no")).any()


class Broken(LogisticRegression):
    """Gives what it is told instead of probabilities."""

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        both = super().predict_proba(rows)
        return {"nan": both * np.nan, "three": both * 3, "one": both[:, 0]}[self.solver_]


@pytest.mark.parametrize("fault", ["nan", "three", "one"])
def test_what_are_no_probabilities_is_refused(fault: str) -> None:
    table, target = data()
    fitted = fitting.fit(Broken(), table[["size"]].fillna(0.0).to_numpy(), target, threads=1)
    fitted.solver_ = fault

    with pytest.raises(ParameterError, match=r"Broken gives probabilities of shape \(200.*that do not sum to 1"):
        fitting.predict(fitted, table[["size"]].fillna(0.0).to_numpy(), target, "yes", threads=1)


class Falls(LogisticRegression):
    """Cannot be fitted."""

    def fit(self, rows: np.ndarray, target: np.ndarray) -> "Falls":
        raise RuntimeError("no such file")


def test_whatever_an_estimator_raises_is_one_sentence() -> None:
    with pytest.raises(ParameterError, match="Falls could not be fitted: RuntimeError: no such file"):
        fitting.fit(Falls(), np.zeros((2, 1)), np.array(["no", "yes"]), threads=1)


# Boosting of so few rows would not stop early: for that, see the next test.
@pytest.mark.parametrize(
    ("name", "many_rows"), [("boosting", 10_000), ("logistic", 10_000), ("logistic", 100), ("forest", 100)]
)
def test_a_pipeline_that_is_fitted_in_two_steps_is_the_same_to_the_byte(
    name: str, many_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "MANY_ROWS", many_rows)
    table, target = data()
    rows = np.flatnonzero(np.arange(len(table)) % 5)
    model_files.write(tmp_path / "steps", fitting.fit(model(name), table, target, threads=1, rows=rows))
    with threadpool_limits(1):
        model_files.write(tmp_path / "whole", model(name).fit(table.iloc[rows], target[rows]))

    assert (tmp_path / "steps").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("own", [{}, {"early_stopping": False}, {"validation_fraction": 0.05}, {"random_state": 7}])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_boosting_of_many_rows_is_to_the_byte_what_it_would_be_with_its_own_early_stopping(
    task: str, own: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "MANY_ROWS", 11_500)
    held: list[np.ndarray] = []
    encode = encoding.fit_transform
    monkeypatch.setattr(encoding, "fit_transform", lambda *given: held.extend(encode(*given)) or list(held))
    table, target = data(11_500)
    kind = HistGradientBoostingClassifier
    if task == "regression":
        target, kind = np.random.default_rng(0).normal(size=len(table)), HistGradientBoostingRegressor
    estimator = kind(max_iter=2, **{"random_state": 42} | own)
    unfitted = fitting.pipeline(encoding.encoder(SCHEMA, [], 5, task, seed=5), estimator)  # type: ignore[arg-type]
    with threadpool_limits(1):
        expected = clone(unfitted).fit(table, target)

    found = fitting.fit(clone(unfitted), table, target, threads=1)

    assert pickle.dumps(found) == pickle.dumps(expected)
    assert held
    assert sum(map(len, held)) == 0, "encoded rows were kept beside their bins"


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=20, random_state=1),
        HistGradientBoostingClassifier(max_iter=5, max_bins=16, early_stopping=True, random_state=1),
        HistGradientBoostingRegressor(max_iter=20, random_state=1),
        HistGradientBoostingRegressor(loss="poisson", max_iter=20, random_state=1),
    ],
    ids=["classes", "few bins", "numbers", "counts"],
)
@pytest.mark.parametrize("labels", [2, 3])
def test_rows_as_bins_get_the_bits_of_scikit_learn(estimator: Any, labels: int) -> None:
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=2000), rng.integers(0, 2, 2000), rng.integers(0, 900, 2000) / 7])
    rows[rng.random(rows.shape) < 0.05] = np.nan
    target = rng.integers(0, labels, 2000) * np.nan_to_num(np.abs(rows[:, 0]) > 0.3)
    estimator = clone(estimator).fit(rows, target)
    limits = [limit for limits in estimator._bin_mapper.bin_thresholds_ for limit in limits.tolist()]
    edges = [*limits, *np.nextafter(limits, np.inf), *np.nextafter(limits, -np.inf), np.inf, -np.inf, 1e300, -0.0]
    asked = np.concatenate([rows, rng.choice(edges, (5000, 3))])
    ask = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"

    found = fitting._trees(estimator, ask, asked)

    assert found.tobytes() == getattr(estimator, ask)(asked).tobytes()
    assert not hasattr(estimator, "_in_fit")
