"""Contributions sum to the answer for every kind of model, and have the right size where that is known."""

import sys
from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from mlops.base.errors import ParameterError, ProjectError
from mlops.data import profile
from mlops.data.schema import Column, Schema
from mlops.evaluation import explanation
from mlops.training import calibration, encoding, fitting
from mlops.training.metrics import Predictions
from scipy.special import expit
from sklearn import ensemble, linear_model, neighbors, svm, tree

SCHEMA = Schema(
    columns={
        "amount": Column(type="number"),
        "visits": Column(type="integer"),
        "member": Column(type="boolean"),
        "plan": Column(type="category"),
        "city": Column(type="category"),
        "since": Column(type="datetime"),
        "seen": Column(type="datetime", role="time"),
        "left": Column(type="category", role="target"),
    }
)
LINEAR = [
    linear_model.LogisticRegression(max_iter=500),
    linear_model.RidgeClassifier(),
    linear_model.Ridge(),
    linear_model.Lasso(alpha=0.01),
]
TREES = [
    ensemble.RandomForestClassifier(10, max_depth=5, random_state=0),
    ensemble.ExtraTreesClassifier(10, max_depth=5, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0, init="zero"),
    ensemble.HistGradientBoostingClassifier(max_iter=10, random_state=0),
    tree.DecisionTreeClassifier(max_depth=4, random_state=0),
    ensemble.RandomForestRegressor(10, max_depth=5, random_state=0),
    ensemble.GradientBoostingRegressor(n_estimators=10, random_state=0),
    ensemble.HistGradientBoostingRegressor(max_iter=10, random_state=0),
    lightgbm.LGBMClassifier(n_estimators=10, n_jobs=1, verbosity=-1),
    lightgbm.LGBMRegressor(n_estimators=10, n_jobs=1, verbosity=-1),
]


def people(rows: int = 400, seed: int = 3) -> pd.DataFrame:
    """Typed rows of every type, with missing values; `city` has many levels."""
    rng = np.random.default_rng(seed)
    missing = rng.random((rows, 6)) < 0.1
    since, seen = np.datetime64("2024-01-01", "us") + rng.integers(0, 700, (2, rows)) * np.timedelta64(1, "D")
    plan = pd.Series(rng.choice(["a", "b", "rare"], rows, p=[0.6, 0.37, 0.03]), dtype="str")
    return pd.DataFrame(
        {
            "amount": pd.Series(rng.normal(5, 2, rows)).mask(missing[:, 0]),
            "visits": pd.Series(rng.integers(9, size=rows), dtype="Int64").mask(missing[:, 1]),
            "member": pd.Series(rng.random(rows) < 0.5, dtype="boolean").mask(missing[:, 2]),
            "plan": plan.mask(missing[:, 3]),
            "city": pd.Series(rng.integers(40, size=rows).astype(str), dtype="str").mask(missing[:, 4]),
            "since": pd.Series(since, dtype="datetime64[us]").mask(missing[:, 5]),
            "seen": pd.Series(seen, dtype="datetime64[us]"),
        }
    )


def answers(table: pd.DataFrame, classes: int) -> np.ndarray:
    """A target that depends on amount, plan and member: a number, or so many classes."""
    score = (
        table["amount"].fillna(5)
        - 2 * (table["plan"] == "a")
        + table["member"].fillna(False) * table["amount"].fillna(5)
    )
    number = score.to_numpy(dtype=np.float64) + np.random.default_rng(1).normal(size=len(table))
    if not classes:
        return number
    names = np.array(["no", "yes"] if classes == 2 else ["low", "middle", "high"], dtype=object)
    return names[np.searchsorted(np.quantile(number, np.arange(1, classes) / classes), number)]


def fitted(estimator: Any, classes: int, table: pd.DataFrame) -> Any:
    task = "classification" if classes else "regression"
    encoder = encoding.encoder(SCHEMA, ["city"], 20, task, seed=5)
    model = fitting.pipeline(encoder, estimator)
    return fitting.fit(model, encoding.inputs(table, SCHEMA), answers(table, classes), threads=1)


def explained(model: Any, rows: pd.DataFrame, trained: pd.DataFrame, positive: str | None) -> explanation.Explanation:
    return explanation.explain(model, rows, SCHEMA, profile.profile(trained, SCHEMA), positive, threads=1)


def named(estimator: Any) -> str:
    return type(estimator).__name__


def kinds(estimator: Any) -> list[int]:
    return [2, 3] if hasattr(estimator, "predict_proba") or "Classifier" in named(estimator) else [0]


def each(estimators: list[Any]) -> Callable[..., Any]:
    cases = [(one, classes) for one in estimators for classes in kinds(one)]
    return pytest.mark.parametrize(("estimator", "classes"), cases, ids=[f"{named(one)}-{n}" for one, n in cases])


def assert_sums_to_the_answer(estimator: Any, classes: int) -> None:
    table = people()
    model, new = fitted(estimator, classes, table), people(30, seed=8)
    found = explained(model, new, table, "no" if classes == 2 else None)

    assert found.features == SCHEMA.inputs
    assert found.contributions.shape == (30, 7)
    assert found.base + found.contributions.sum(axis=1) == pytest.approx(found.answer, abs=1e-6)
    given = encoding.inputs(new, SCHEMA)
    if not classes:
        assert found.scale == "number"
        assert found.answer == pytest.approx(model.predict(given))
    elif classes == 3:
        assert found.of == model.predict(given).tolist()
    else:
        assert found.of == ["no"] * 30
        predicted = found.answer > (0.5 if found.scale == "probability" else 0)
        assert (predicted == (model.predict(given) == "no")).all()
    if found.scale in ("probability", "log-odds"):
        probability = model.predict_proba(given)[np.arange(30), np.searchsorted(model.classes_, found.of)]
        answered = found.answer if found.scale == "probability" else expit(found.answer)
        assert answered == pytest.approx(probability)


@each(LINEAR)
def test_contributions_sum_to_the_answer_of_a_linear_model(estimator: Any, classes: int) -> None:
    assert_sums_to_the_answer(estimator, classes)


@each(TREES)
def test_contributions_sum_to_the_answer_of_trees(estimator: Any, classes: int) -> None:
    pytest.importorskip("shap")
    assert_sums_to_the_answer(estimator, classes)


def test_a_linear_model_starts_from_its_mean_answer_on_the_training_split() -> None:
    table = people()
    model = fitted(linear_model.Ridge(), 0, table)

    found = explained(model, table, table, None)

    assert found.base == pytest.approx(np.full(400, model.predict(encoding.inputs(table, SCHEMA)).mean()))
    assert found.contributions.mean(axis=0) == pytest.approx(np.zeros(7), abs=1e-9)


def test_training_means_are_those_of_the_encoded_training_split(monkeypatch: pytest.MonkeyPatch) -> None:
    table = people()
    encoder = fitted(linear_model.Ridge(), 0, table).named_steps["encoder"]
    expected = encoder.transform(encoding.inputs(table, SCHEMA)).mean(axis=0)

    for rows in (20_000, 3):  # levels that are encoded at once
        monkeypatch.setattr(explanation, "ROWS", rows)
        found = explanation.training_means(encoder, SCHEMA, profile.profile(table, SCHEMA))
        assert found == pytest.approx(expected, abs=1e-12)


def test_a_number_adds_its_coefficient_times_its_distance_from_the_mean() -> None:
    table = people().assign(amount=lambda rows: rows["amount"].fillna(4.0))
    model = fitted(linear_model.LogisticRegression(), 2, table)
    scaler = model.named_steps["encoder"].named_transformers_["numbers"]["scale"]

    found = explained(model, table.iloc[:5], table, "yes")

    slope = model.named_steps["estimator"].coef_[0, 0] / scaler.scale_[0]
    expected = slope * (table["amount"].iloc[:5] - table["amount"].mean())
    assert found.scale == "log-odds"
    assert found.contributions[:, 0] == pytest.approx(expected.to_numpy())
    other = explained(model, table.iloc[:5], table, "no")
    assert other.contributions == pytest.approx(-found.contributions)


def test_a_row_is_explained_with_its_own_values_and_the_largest_contribution_first() -> None:
    table = people()
    new = table.iloc[:1].assign(
        plan=pd.Series([None], dtype="str"), amount=30.0, since=np.datetime64("2024-05-06", "us")
    )
    model = fitted(linear_model.Ridge(), 0, table)

    row = explained(model, new, table, None).rows(new)[0]

    values = {feature["feature"]: feature["value"] for feature in row["features"]}
    assert row["features"][0]["feature"] == "amount"
    assert values["amount"] == 30.0
    assert values["plan"] is None
    assert values["since"] == "2024-05-06T00:00:00"
    assert row["base"] + sum(feature["contribution"] for feature in row["features"]) == pytest.approx(row["answer"])


@pytest.mark.parametrize(
    "estimator",
    [
        neighbors.KNeighborsRegressor(),
        svm.SVR(),
        lightgbm.LGBMRegressor(n_estimators=3, linear_tree=True, n_jobs=1, verbosity=-1),
        linear_model.PoissonRegressor(),  # its answer is the exponential of a sum
    ],
    ids=named,
)
def test_a_model_that_is_no_sum_of_parts_is_named_with_those_that_are(estimator: Any) -> None:
    table = people()
    model = fitting.pipeline(encoding.encoder(SCHEMA, [], 5, "regression", 5), estimator)
    model.fit(encoding.inputs(table, SCHEMA), np.abs(answers(table, 0)))

    with pytest.raises(ParameterError, match=rf"this {named(estimator)} cannot .*logistic_regression.*random_forest"):
        explained(model, table.iloc[:3], table, None)


def test_without_shap_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    table = people()
    model = fitted(tree.DecisionTreeClassifier(max_depth=3), 2, table)

    with pytest.raises(ProjectError, match=r"DecisionTreeClassifier takes shap.*`python -m pip install shap`"):
        explained(model, table.iloc[:3], table, "yes")


def test_the_extremes_and_the_most_doubtful_row_are_notable() -> None:
    yes = np.array([0.2, 0.95, 0.45, 0.01])
    actual = np.array(["no"] * 4, dtype=object)
    both = np.column_stack([1 - yes, yes])

    found = Predictions(actual, actual, both, ("no", "yes"), "yes")
    assert explanation.notable(found) == {"highest": 1, "nearest to the boundary": 2, "lowest": 3}
    several = Predictions(actual, actual, np.column_stack([both / 2, np.full(4, 0.5)]), ("a", "b", "no"), None)
    assert explanation.notable(several) == {"most certain": 0, "least certain": 0}
    number = Predictions(yes, yes, None, (), None)
    assert explanation.notable(number) == {"highest": 1, "in the middle": 0, "lowest": 3}
    assert explanation.notable(Predictions(actual, actual, None, ("no", "yes"), "yes")) == {}


def test_the_row_nearest_to_the_boundary_is_nearest_to_the_threshold() -> None:
    yes = np.array([0.2, 0.95, 0.45, 0.01])
    actual = np.array(["no"] * 4, dtype=object)
    found = Predictions(actual, actual, np.column_stack([1 - yes, yes]), ("no", "yes"), "yes")

    assert explanation.notable(found.at(0.15))["nearest to the boundary"] == 0


@pytest.mark.parametrize("estimator", [LINEAR[0], TREES[5]], ids=named)
def test_of_a_calibrated_model_the_estimator_below_is_explained_and_called_so(estimator: Any) -> None:
    pytest.importorskip("shap")
    table = people()
    model = fitted(estimator, 2, table)
    scores = calibration.scores(model, encoding.inputs(table, SCHEMA), 1)
    calibrator = calibration.learn(scores, answers(table, 2), ["no", "yes"], "sigmoid")

    own, found = (
        explained(one, table.iloc[:9], table, "yes") for one in (model, calibration.calibrated(model, calibrator))
    )

    assert found.scale == f"uncalibrated {own.scale}"
    np.testing.assert_array_equal(found.contributions, own.contributions)
    np.testing.assert_array_equal(found.answer, own.answer)
    assert explanation.is_linear(calibration.calibrated(model, calibrator)) == explanation.is_linear(model)


@pytest.mark.parametrize("trees", [True, False])
def test_the_report_explains_trees_only_where_the_lock_has_what_it_takes(trees: bool) -> None:
    pytest.importorskip("shap")
    table = people()
    model = fitted(tree.DecisionTreeClassifier(max_depth=4, random_state=0), 2, table)
    found = fitting.predict(model, encoding.inputs(table, SCHEMA), answers(table, 2), "yes", threads=1)

    reference = profile.profile(table, SCHEMA)
    explanations = explanation.of_notable(model, table, found, SCHEMA, reference, threads=1, trees=trees)

    names = [row["what"] for row in explanations]
    assert names == (["highest", "nearest to the boundary", "lowest"] if trees else [])
