"""Permutation importances equal those of scikit-learn, but nothing is encoded twice."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.data.schema import Column, Schema
from mlops.evaluation import importance
from mlops.evaluation.dependence import partial_dependence
from mlops.training import encoding, fitting
from mlops.training.metrics import HIGHER_IS_BETTER, Predictions, score
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression

EXAMPLES = settings(max_examples=8, deadline=None, derandomize=True)
OF_EVERY_TYPE = Schema(
    columns={
        "amount": Column(type="number"),
        "visits": Column(type="integer"),
        "member": Column(type="boolean"),
        "plan": Column(type="category"),
        "plan_a": Column(type="category"),  # a name that could be taken for a level of the one before
        "since": Column(type="datetime"),
        "seen": Column(type="datetime", role="time"),
        "left": Column(type="category", role="target"),
    }
)


def table_of_every_type(rows: int, seed: int) -> pd.DataFrame:
    """Features with missing values, and levels that are rare or, in the last rows, new."""
    rng = np.random.default_rng(seed)
    missing = rng.random((rows, 7)) < 0.1
    plan = rng.choice(["a", "b", "a_b", "rare"], p=[0.5, 0.3, 0.17, 0.03], size=rows).astype(object)
    plan[-2:] = "new"
    since, seen = np.datetime64("2024-01-01T00:00", "us") + rng.integers(0, 10**6, size=(2, rows)) * np.timedelta64(
        1, "m"
    )
    return pd.DataFrame(
        {
            "amount": pd.Series(rng.normal(size=rows)).mask(missing[:, 0]),
            "visits": pd.Series(rng.integers(9, size=rows), dtype="Int64").mask(missing[:, 1]),
            "member": pd.Series(rng.random(rows) < 0.5, dtype="boolean").mask(missing[:, 2]),
            "plan": pd.Series(plan, dtype="str").mask(missing[:, 3]),
            "plan_a": pd.Series(rng.choice(["b", "c"], size=rows), dtype="str").mask(missing[:, 4]),
            "since": pd.Series(since, dtype="datetime64[us]").mask(missing[:, 5]),
            "seen": pd.Series(seen, dtype="datetime64[us]").mask(missing[:, 6]),
        }
    )


def fitted(
    schema: Schema, inputs: pd.DataFrame, target: np.ndarray, rare_level: int = 5, many: tuple[str, ...] = ()
) -> tuple:
    """A linear model, and its predictions on what it learnt from."""
    estimator = LinearRegression() if target.dtype == np.float64 else LogisticRegression(max_iter=500)
    task = "regression" if target.dtype == np.float64 else "classification"
    classes = np.unique(target)
    model = fitting.pipeline(encoding.encoder(schema, list(many), rare_level, task, seed=5), estimator)
    model.fit(inputs, target)
    positive = classes[-1] if len(classes) == 2 and task == "classification" else None
    return model, fitting.predict(model, inputs, target, positive, threads=1)


def importances(
    model: object, inputs: pd.DataFrame, found: Predictions, schema: Schema, metric: str, **how: int
) -> dict:
    how = {"repeats": 3, "seed": 7, "threads": 1} | how
    shuffled = importance.permutation_importances(model, inputs, found, schema, metric, **how)  # type: ignore[arg-type]
    return {name: (mean, spread) for name, mean, spread in shuffled}


@EXAMPLES
@given(
    st.integers(0, 2**32),
    st.integers(1, 30),
    st.sampled_from([(), ("plan",), ("plan_a",), ("plan", "plan_a")]),
    st.sampled_from([2, 3]),
    st.sampled_from(["accuracy", "f1", "log_loss"]),
)
def test_shuffling_encoded_columns_is_encoding_the_shuffled_feature(
    seed: int, rare_level: int, many: tuple[str, ...], classes: int, metric: str
) -> None:
    table = table_of_every_type(120, seed)
    inputs = encoding.inputs(table, OF_EVERY_TYPE)
    target = np.array(["yes", "no", "maybe" if classes == 3 else "no"], dtype=object)[np.arange(120) % 3]
    positive = "yes" if classes == 2 else None
    seen = slice(0, 118)  # the levels of the last rows are new to the model
    model, _ = fitted(OF_EVERY_TYPE, inputs[seen], target[seen], rare_level, many)
    found = fitting.predict(model, inputs, target, positive, threads=1)

    by_blocks = importances(model, inputs, found, OF_EVERY_TYPE, metric, repeats=2)

    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    for name in OF_EVERY_TYPE.inputs:
        losses = []
        for repeat in range(2):
            order = np.random.default_rng([7, repeat]).permutation(120)
            shuffled = encoding.inputs(table.assign(**{name: table[name].array[order]}), OF_EVERY_TYPE)
            again = fitting.predict(model, shuffled, target, positive, threads=1)
            losses.append(sign * (score(found)[metric] - score(again)[metric]))
        assert by_blocks[name] == pytest.approx((np.mean(losses), np.std(losses)), abs=1e-9), name


@pytest.mark.parametrize("metric", ["r2", "rmse"])
def test_importances_are_those_of_scikit_learn_but_for_the_shuffles(metric: str) -> None:
    rng = np.random.default_rng(3)
    inputs = pd.DataFrame({name: rng.normal(size=1_500) for name in ("nothing", "weak", "strong")})
    target = (3 * inputs["strong"] + inputs["weak"] + rng.normal(size=1_500)).to_numpy()
    schema = Schema(
        columns={**{name: Column(type="number") for name in inputs}, "y": Column(type="number", role="target")}
    )
    model, found = fitted(schema, inputs, target)
    scoring = {"r2": "r2", "rmse": "neg_root_mean_squared_error"}[metric]
    expected = permutation_importance(model, inputs, target, scoring=scoring, n_repeats=30, random_state=1)

    ours = importances(model, inputs, found, schema, metric, repeats=30)

    assert list(ours) == ["nothing", "weak", "strong"]
    assert [mean for mean, _ in ours.values()] == pytest.approx(expected.importances_mean.tolist(), rel=0.05, abs=0.002)
    assert ours["strong"][0] > 3 * ours["weak"][0] > 30 * abs(ours["nothing"][0])


def test_shuffled_rows_are_labelled_by_the_threshold_of_the_others() -> None:
    rng = np.random.default_rng(3)
    inputs = pd.DataFrame({"nothing": rng.normal(size=200), "strong": rng.normal(size=200)})
    target = np.where(inputs["strong"] + rng.normal(size=200) > 1.5, "yes", "no").astype(object)
    columns = {name: Column(type="number") for name in inputs}
    schema = Schema(columns={**columns, "y": Column(type="category", role="target")})
    model, found = fitted(schema, inputs, target)
    above_all = found.at(float(found.positive_probability.max()) * 1.1)

    assert set(importances(model, inputs, above_all, schema, "accuracy").values()) == {(0.0, 0.0)}  # always no
    assert importances(model, inputs, found.at(0.3), schema, "accuracy")["strong"][0] > 0.01


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_of_very_many_features_those_that_the_predictions_follow_are_shuffled(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importance, "MOST_FEATURES", 2)
    rng = np.random.default_rng(3)
    inputs = pd.DataFrame({name: rng.normal(size=500) for name in ("nothing", "weak", "constant", "strong")})
    inputs["constant"] = 1.0
    target = (3 * inputs["strong"] + inputs["weak"]).to_numpy()
    if classes:
        target = np.array(["a", "b", "c"], dtype=object)[pd.qcut(target, classes, labels=False)]
    kind = "category" if classes else "number"
    schema = Schema(columns={**{name: Column(type="number") for name in inputs}, "y": Column(type=kind, role="target")})
    model, found = fitted(schema, inputs, target)

    for predictions in (found, replace(found, probabilities=None)):
        assert list(importances(model, inputs, predictions, schema, "accuracy" if classes else "r2")) == [
            "weak",
            "strong",
        ]


def test_a_category_without_effect_is_worth_nothing_and_one_that_decides_is_worth_most() -> None:
    rng = np.random.default_rng(5)
    table = table_of_every_type(1_000, 5)
    target = np.where((table["plan"] == "a") ^ (rng.random(1_000) < 0.1), "yes", "no").astype(object)
    inputs = encoding.inputs(table, OF_EVERY_TYPE)
    model, found = fitted(OF_EVERY_TYPE, inputs, target)

    ours = importances(model, inputs, found, OF_EVERY_TYPE, "accuracy", repeats=10)

    assert importance.table((name, *both) for name, both in ours.items())["feature"][0] == "plan"
    assert ours["plan"][0] > 0.3
    assert all(abs(mean) < 0.02 for name, (mean, _) in ours.items() if name != "plan")


def test_the_seed_alone_decides_whatever_the_threads() -> None:
    inputs = encoding.inputs(table_of_every_type(200, 1), OF_EVERY_TYPE)
    target = np.where(inputs["amount"].fillna(0) > 0, "yes", "no").astype(object)
    model, found = fitted(OF_EVERY_TYPE, inputs, target)

    once, again, other = (importances(model, inputs, found, OF_EVERY_TYPE, "f1", seed=seed) for seed in (1, 1, 2))

    assert once == again
    assert once["amount"] != other["amount"]


def test_of_many_rows_the_first_are_shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = encoding.inputs(table_of_every_type(200, 1), OF_EVERY_TYPE)
    target = np.where(inputs["amount"].fillna(0) > 0, "yes", "no").astype(object)
    model, found = fitted(OF_EVERY_TYPE, inputs, target)
    first = importances(model, inputs[:80], found.subset(slice(80)), OF_EVERY_TYPE, "accuracy")

    monkeypatch.setattr(importance, "MOST_ROWS", 80)

    assert importances(model, inputs, found, OF_EVERY_TYPE, "accuracy") == first


@pytest.mark.parametrize("kind", ["number", "category"])
def test_features_of_one_kind_alone_are_no_special_case_whatever_their_name(kind: str) -> None:
    schema = Schema(columns={"self": {"type": kind}, "y": {"type": "number", "role": "target"}})  # type: ignore[dict-item]
    codes = np.arange(60) % 3
    inputs = pd.DataFrame(
        {"self": codes.astype(float) if kind == "number" else np.array(["a", "b", "c"], object)[codes]}
    )
    model, found = fitted(schema, inputs, codes.astype(np.float64))

    assert importances(model, inputs, found, schema, "r2")["self"][0] > 0.5
    dependence = partial_dependence(model, inputs, found, schema, ["self"], seed=0, threads=1)
    assert dependence["mean"].round(3).tolist() == [0, 1, 2]


def test_the_table_has_the_greatest_first_and_equal_ones_as_they_came() -> None:
    table = importance.table([("a", 0.0, 0.1), ("b", 0.5, 0.2), ("c", -0.1, 0.0), ("d", 0.0, 0.0)])

    assert table["feature"].tolist() == ["b", "a", "d", "c"]
    assert table.columns.tolist() == ["feature", "importance", "spread"]
    assert importance.table([]).columns.tolist() == ["feature", "importance", "spread"]
