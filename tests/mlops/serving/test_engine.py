"""A fast engine answers raw rows as scikit-learn does, encodes them to the same bits, and leaves the rest to it."""

import io
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import treelite
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlops.data.schema import Column, Schema
from mlops.registry import packaging
from mlops.registry.scoring import RawModel
from mlops.serving import engine, lookup
from mlops.training import calibration, encoding, estimators, fitting
from mlops.training.metrics import Predictions
from mlops.training.model import fitted_model
from ruamel.yaml import YAML
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier

from tests.conftest import PROJECT, TEMPLATE

COLUMNS: dict[str, dict[str, Any]] = {
    "key": {"type": "integer", "role": "id"},
    "amount": {"type": "number"},
    "price": {"type": "number", "decimal": ",", "unit": "EUR", "missing": ["-999", "NA"]},
    "count": {"type": "integer"},
    "member": {"type": "boolean"},
    "plan": {"type": "category"},
    "city": {"type": "category"},
    "since": {"type": "datetime"},
    "born": {"type": "datetime", "format": "%d.%m.%y"},
    "y": {"type": "category", "role": "target"},
}
ROW = {
    **{"amount": 1.5, "price": 2.5, "count": 3, "member": True, "plan": "A", "city": "c3"},
    **{"since": "2024-02-29", "born": "2001-05-06"},
}
PLANS = ["A", "B", "true", "1", "rare", "rarer"]
ROWS = 400
TARGETS = {
    "binary": lambda score: np.where(score > 0.5, "yes", "no").astype(object),
    "multiclass": lambda score: np.digitize(score, [-0.3, 1.0]).astype(np.int64),
    "regression": lambda score: score,
}
# The names of the numbers of trees, so that models are small.
FEW = {"n_estimators": 20, "max_iter": 20}


def shipped() -> dict[str, dict[str, Any]]:
    text = (TEMPLATE / PROJECT / "params.yaml").read_text(encoding="utf-8")
    models: dict[str, dict[str, Any]] = YAML(typ="safe").load(text[text.index("\nmodels:") : text.index("\nevaluate:")])
    return models["models"]


CASES = [
    (name, kind)
    for name, model in shipped().items()
    for kind in TARGETS
    if ("regressor" if kind == "regression" else "classifier") in model
]


def table() -> pd.DataFrame:
    """A typed table with missing values, rare levels, and a category of many levels."""
    rng = np.random.default_rng(5)
    since = pd.Series(rng.integers(0, 20_000 * 86_400, ROWS).astype("datetime64[s]"))
    columns = {
        "amount": pd.Series(rng.normal(20, 5, ROWS)),
        "price": pd.Series(rng.exponential(3.0, ROWS)),
        "count": pd.Series(rng.poisson(3, ROWS), dtype="Int64"),
        "member": pd.Series(rng.random(ROWS) < 0.5, dtype="boolean"),
        "plan": pd.Series(
            rng.choice(["A", "B", "true", "1", "rare", "rarer"], ROWS, p=[0.4, 0.3, 0.2, 0.09, 0.005, 0.005]),
            dtype="str",
        ),
        "city": pd.Series([f"c{number}" for number in rng.integers(0, 30, ROWS)], dtype="str"),
        "since": since.astype("datetime64[us]"),
        "born": since.dt.normalize().astype("datetime64[us]"),
    }
    return pd.DataFrame({name: values.mask(rng.random(ROWS) < 0.08) for name, values in columns.items()})


def score(typed: pd.DataFrame) -> np.ndarray:
    rng = np.random.default_rng(6)
    number = typed["amount"].fillna(20).to_numpy() / 5 - 4
    return number + (typed["plan"] == "B") + typed["member"].fillna(False).to_numpy() + rng.normal(size=ROWS) / 2


def made(
    estimator: BaseEstimator,
    kind: str = "binary",
    *,
    columns: Mapping[str, Any] = COLUMNS,
    derive: Callable[[pd.DataFrame], pd.DataFrame] = lambda given: given,
    threshold: float | None = None,
    calibrate: str | None = None,
) -> RawModel:
    """A model of the table, as a version has it."""
    schema = Schema.model_validate({"columns": columns})
    task = "regression" if kind == "regression" else "classification"
    typed, target = table(), TARGETS[kind](score(table()))
    inputs = encoding.inputs(derive(typed), schema)
    pipeline = fitting.pipeline(
        encoding.encoder(schema, [name for name in columns if name == "city"], 5, task, 1), estimator
    )
    fitting.fit(pipeline, inputs, target, 1)
    if calibrate:
        found = calibration.scores(pipeline, inputs, 1)
        pipeline = calibration.calibrated(pipeline, calibration.learn(found, target, ["no", "yes"], calibrate))
    positive = "yes" if kind == "binary" else None
    return raw(fitted_model(pipeline, schema, task, positive, 1, threshold), derive)


def raw(model: Any, derive: Callable[[pd.DataFrame], pd.DataFrame] = lambda given: given) -> RawModel:
    content = io.BytesIO()
    joblib.dump(model, content, compress=1)
    return RawModel(content.getvalue(), derive, pickle.loads)


@cache
def shipped_model(name: str, kind: str) -> RawModel:
    given = dict(shipped()[name])
    classifier, regressor = given.pop("classifier", None), given.pop("regressor", None)
    given |= {argument: few for argument, few in FEW.items() if argument in given and name != "logistic_regression"}
    task = "regression" if kind == "regression" else "classification"
    return made(estimators.build(name, regressor if task == "regression" else classifier, given, task, 42), kind)


def check() -> pd.DataFrame:
    return table().head(60)


@cache
def rows() -> list[dict[str, Any]]:
    """The check rows as JSON has them, and one of unseen and of rare levels."""
    return [*engine._raw(check(), shipped_model("dummy", "binary")), ROW | {"plan": "rare", "city": "c99"}]


def agree(found: Predictions, right: Any) -> None:
    assert found.predicted.tolist() == right.predicted.tolist() or not right.classes
    assert {type(label) for label in found.predicted} <= {str, int, bool, np.float64}
    assert (found.classes, found.positive, found.threshold) == (right.classes, right.positive, right.threshold)
    if right.probabilities is not None:
        np.testing.assert_allclose(found.probabilities, right.probabilities, rtol=0, atol=1e-12)
    if not right.classes:
        np.testing.assert_allclose(found.predicted, right.predicted, rtol=1e-12)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_shipped_model_has_a_fast_engine_that_answers_as_scikit_learn(name: str, kind: str) -> None:
    model = shipped_model(name, kind)

    chosen = engine.choose(model, check())

    assert (chosen.name, chosen.reason) == ("linear" if name.endswith("regression") or name == "dummy" else "trees", "")
    right = model._predictions(rows())
    agree(chosen.predict(rows()), right)
    for number in (0, -1):
        agree(chosen.predict([rows()[number]]), right.subset(slice(number, None if number else 1)))


@pytest.mark.parametrize(("name", "kind"), [("hist_gradient_boosting", "binary"), ("linear_regression", "regression")])
def test_without_check_rows_they_are_made_up_of_what_the_encoder_knows(name: str, kind: str) -> None:
    model = shipped_model(name, kind)

    made_up = engine._made_up(model)

    assert len(made_up) == 1000
    assert engine._is_typed(made_up, model)
    assert set(check()["city"].dropna()) < set(made_up["city"].dropna())
    assert made_up.isna().any().all()
    assert engine.choose(model).reason == ""


@cache
def alone(name: str) -> tuple[RawModel, lookup.Encode]:
    """A model of one column, which is read faster, and the lookup of it."""
    columns = {name: COLUMNS[name], "y": COLUMNS["y"]}
    model = made(DummyClassifier(), columns=columns)
    return model, lookup.encoder(model, [])


def right_bits(name: str, value: Any) -> bytes | None:
    """What the one way gives for a value; None if it refuses it."""
    model, _ = alone(name)
    try:
        return model.encoded(model.typed([{name: value}])).tobytes()
    except MlflowException:
        return None


VALUES: dict[str, list[Any]] = {
    "amount": [
        3,
        3.0,
        "3",
        " 3 ",
        "3.25",
        "-0",
        -0.0,
        0,
        "1e3",
        "1,234",
        "NA",
        "",
        None,
        "0.1",
        0.1,
        1e-320,
        2**53 + 1,
    ],
    "price": [3, 3.0, "3", "3,5", "3,5 EUR", "1.234,5", -999, -999.0, "-999", "NA", None, 0.1],
    "count": [3, 3.0, "3", "3.0", -0.0, "-0", "007", None, 2**53 + 1, -(2**62), 2**63 - 1, "9007199254740993"],
    "member": [True, False, None, 1, 0, 1.0, 0.0, "1", "0", "yes", "No", "TRUE", "true", " t ", "NA", "1.0"],
    "plan": [
        *("A", "a", " A ", "rare", "rarer", "unseen", "true", True, False, "1", 1, 1.0, 1.5, 0.0, -0.0, "1.0", "-1.0"),
        *(None, "", "NA", "nan", "None", '="A"', "\u00a0A", "A\u2003", "\x1fA", "Ä", "x" * 500, 10**17),
    ],
    "city": ["c3", "c3 ", "c99", 3, None, "NA", "?", False],
    "since": [
        *(
            "2024-02-29",
            "2024-02-29T12:30:00",
            "2024-02-29 12:30:59",
            "2024-02-29T12:30:59.123",
            "2024-02-29T12:30:59Z",
        ),
        *("2024-02-29T12:30:59.123Z", "2024-02-29T12:30:59.123456", "2024-02-29T01:00:00+02:00", "2024-02-29T24:00:00"),
        *(
            "0001-01-01",
            "1600-02-29",
            "9999-12-31T23:59:59",
            "9999-12-31T23:59:59Z",
            "1969-12-31T23:59:59.999",
            "20240229",
        ),
        *("2024-02-29T12:30", " 2024-02-29", None, "NA"),
    ],
    "born": ["2001-05-06", "06.05.01", "6.5.01", "2001-05-06T11:12:13", None, "NA"],
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_encoded_to_the_same_bits_however_it_is_written(name: str) -> None:
    _, encode = alone(name)
    for value in VALUES[name]:
        right = right_bits(name, value)
        assert encode([{name: value}]).tobytes() == right, value
        assert encode([{name: value}]).tobytes() == right, value  # it was learnt, or known


REFUSED: dict[str, list[Any]] = {
    "amount": ["much", True, "2024-01-01", [1], "\u0663"],
    "price": ["1,2,3", "3 USD"],
    "count": [2.5, "3.5", "1e400", True],
    "member": [2, 0.5, "perhaps", -0.0],
    "since": ["2023-02-29", "2024-13-01", "0000-01-01", "yesterday", True, "2024-01-01Z"],
    "born": ["1925-05-06", "31.02.01"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_model_refuses_is_refused_with_its_own_sentence(name: str) -> None:
    model, encode = alone(name)
    fast = engine.Fast("linear", model, encode, np.zeros_like, model.model.classes)
    for value in REFUSED[name]:
        asked = [{name: ROW[name]}, {name: value}, {name: "never"}]
        with pytest.raises(MlflowException) as right:
            model._predictions(asked)
        with pytest.raises(MlflowException) as found:
            fast.predict(asked)
        assert str(found.value) == str(right.value)


@pytest.mark.parametrize("asked", [[], [{}], [ROW, {name: 1 for name in ROW if name != "city"}]])
def test_rows_that_are_none_are_refused_as_ever(asked: list[dict[str, Any]]) -> None:
    model = shipped_model("dummy", "binary")
    with pytest.raises(MlflowException) as right:
        model._predictions(asked)
    with pytest.raises(MlflowException, match=re.escape(str(right.value))):
        engine.choose(model, check()).predict(asked)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-9, 9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
NUMBERS = st.one_of(ANYTHING, st.from_regex(r"-?[0-9]{1,17}([.,][0-9]{0,17})?", fullmatch=True))
DATES = st.one_of(
    ANYTHING,
    st.datetimes().map(str),
    st.datetimes().map(lambda time: time.isoformat(timespec="milliseconds") + "Z"),
    st.dates().map(str),
)
LEVELS = st.one_of(ANYTHING, st.text("A1. \u00a0c", max_size=4), st.sampled_from(["A", "B", "rare", "c1", "NA", "1.0"]))


KINDS = {
    **{"amount": NUMBERS, "price": NUMBERS, "count": NUMBERS, "member": LEVELS, "plan": LEVELS, "city": LEVELS},
    **{"since": DATES, "born": DATES},
}


@settings(max_examples=100)
@given(st.sampled_from(sorted(KINDS)).flatmap(lambda name: st.tuples(st.just(name), KINDS[name])))
def test_any_value_is_encoded_to_the_same_bits_or_left_to_the_model(given: tuple[str, Any]) -> None:
    name, value = given
    try:
        found = alone(name)[1]([{name: value}]).tobytes()
    except lookup.UnusualRowError:
        return
    assert found == right_bits(name, value)


def test_values_that_python_takes_for_equal_are_values_of_their_own() -> None:
    _, members = alone("member")
    _, plans = alone("plan")
    _, counts = alone("count")

    members([{"member": 0.0}])
    with pytest.raises(lookup.UnusualRowError):  # the text -0.0 is no truth value
        members([{"member": -0.0}])
    assert plans([{"plan": 1}]).tobytes() == plans([{"plan": "1"}]).tobytes() != plans([{"plan": True}]).tobytes()
    assert counts([{"count": 1}]).tobytes() == right_bits("count", 1)
    with pytest.raises(lookup.UnusualRowError):  # a truth value is no number
        counts([{"count": True}])
    whole = lookup._number(Column(type="integer"), (0,), (0.0, 0.0, 1.0), {})
    assert str(whole(-0.0)) == "((0,), (0.0,))"


class Own(LogisticRegression):
    """The project's own."""


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (Own(), "there is no faster engine for Own"),
        (KNeighborsClassifier(), "there is no faster engine for KNeighborsClassifier"),
        (
            DummyClassifier(strategy="stratified", random_state=1),
            "the engine linear gives other labels than scikit-learn",
        ),
    ],
)
def test_scikit_learn_answers_for_what_has_no_engine_or_a_wrong_one(
    monkeypatch: pytest.MonkeyPatch, estimator: BaseEstimator, reason: str
) -> None:
    model = made(estimator)

    chosen = engine.choose(model, check())

    assert chosen.name == "scikit-learn"
    assert chosen.reason.startswith(reason)
    right = model._predictions(rows())
    agree(chosen.predict(rows()), right)
    monkeypatch.setattr(model, "typed", None)  # the rows are looked up all the same
    monkeypatch.setattr(model, "_predictions", None)
    found = chosen.predict(rows())
    assert found.probabilities.tobytes() == right.probabilities.tobytes()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (1e-11, "the engine trees differs from scikit-learn by more than 1e-12 in 60 of 60 rows, by 1e-11"),
        (0.6, "the engine trees gives other labels than scikit-learn"),
        (np.nan, "the engine trees gives other labels than scikit-learn"),
    ],
)
def test_scikit_learn_answers_where_treelite_is_wrong(
    monkeypatch: pytest.MonkeyPatch, change: float, reason: str
) -> None:
    made = engine._interpreter

    def wrong(*given: Any) -> engine.Evaluate:
        ask = made(*given)
        return lambda encoded: ask(encoded) + np.array([0, change])

    monkeypatch.setattr(engine, "_interpreter", wrong)

    chosen = engine.choose(shipped_model("random_forest", "binary"), check())

    assert chosen.name == "scikit-learn"
    assert chosen.reason.startswith(reason)


def test_scikit_learn_answers_where_treelite_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(estimator: object) -> None:
        raise AssertionError("unknown\ntree")

    monkeypatch.setattr(treelite.sklearn, "import_model", fail)

    chosen = engine.choose(shipped_model("random_forest", "binary"), check())

    assert chosen.reason == "no fast engine could be made (AssertionError: unknown tree)"


def test_scikit_learn_answers_where_the_lookup_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "numbers", lambda transformer: dict.fromkeys(range(100), (0.0, 0.0, 2.0)))

    chosen = engine.choose(shipped_model("random_forest", "binary"), check())

    assert chosen.reason == "the lookup encodes check row 1 in another way than the model's encoder"


@pytest.mark.parametrize("calibrate", [None, "isotonic", "sigmoid"])
@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(20, random_state=1),
        GradientBoostingClassifier(n_estimators=20, random_state=1),
        LogisticRegression(),
    ],
    ids=["forest", "boosting", "logistic"],
)
def test_a_threshold_and_a_calibrator_are_those_of_the_model(estimator: BaseEstimator, calibrate: str | None) -> None:
    model = made(clone(estimator), threshold=0.2, calibrate=calibrate)

    chosen = engine.choose(model, check())

    assert chosen.name in ("trees", "linear"), chosen.reason
    agree(chosen.predict(rows()), model._predictions(rows()))


def test_an_estimator_without_probabilities_gives_labels_alone() -> None:
    model = made(RidgeClassifier())

    chosen = engine.choose(model, check())

    assert (chosen.name, chosen.predict(rows()).probabilities) == ("linear", None)
    agree(chosen.predict(rows()), model._predictions(rows()))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_what_is_too_large_for_a_forest_is_refused_as_scikit_learn_does() -> None:
    model = shipped_model("random_forest", "binary")
    chosen = engine.choose(model, check())
    for amount in (1e300, "1e300", 1e41):
        with pytest.raises(MlflowException, match="RandomForestClassifier could not be asked"):
            chosen.predict([ROW | {"amount": amount}])


def test_derived_columns_and_sources_are_computed_by_the_version_s_own_code() -> None:
    def derive(given: pd.DataFrame) -> pd.DataFrame:
        return given.assign(double=given["amount"] * 2 + given["count"].astype("float64").fillna(0))

    columns = {**COLUMNS, "count": {"type": "integer", "role": "source"}, "double": {"type": "number", "derived": True}}
    model = made(RandomForestClassifier(20, random_state=1), columns=columns, derive=derive)

    chosen = engine.choose(model, derive(check()))

    assert chosen.name == "trees", chosen.reason
    agree(chosen.predict(rows()[:9]), model._predictions(rows()[:9]))
    assert engine.choose(model).name == "trees"
    with pytest.raises(MlflowException, match="the row lacks count"):
        chosen.predict([{name: value for name, value in ROW.items() if name != "count"}])


@pytest.mark.parametrize("many", [engine.SEVERAL_ROWS, engine.MANY_ROWS])
def test_several_rows_are_scikit_learn_s(many: int) -> None:
    model = made(RandomForestClassifier(20, random_state=1), threshold=0.2)

    def fail(encoded: Any) -> Any:
        raise AssertionError

    chosen = replace(engine.choose(model, check()), evaluate=fail)
    asked = [rows()[number % len(rows())] for number in range(many)]

    found, right = chosen.predict(asked), model._predictions(asked)

    agree(found, right)
    assert found.probabilities.tobytes() == right.probabilities.tobytes()
    with pytest.raises(AssertionError):
        chosen.predict(asked[:9])


def test_raw_check_rows_are_read_by_the_model() -> None:
    model = shipped_model("random_forest", "multiclass")

    assert engine.choose(model, pd.DataFrame(rows())).name == "trees"


def test_a_version_answers_with_its_own_code() -> None:
    model = shipped_model("random_forest", "binary")
    with packaging.package() as (_, code):
        version = code.load(model.__reduce__()[1][0])

        found = engine.choose(version, check()).predict(rows())

    assert type(version) is not RawModel
    assert type(found) is Predictions
    agree(found, model._predictions(rows()))


def test_a_version_of_older_code_is_left_to_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(RawModel, "encoded")

    assert engine.choose(shipped_model("dummy", "binary")).reason.startswith("the version's code is of before")


def test_a_model_without_its_file_answers_and_is_no_longer_pickled() -> None:
    model = made(DummyClassifier())
    before = model._predictions([ROW])

    model.forget_file()

    agree(engine.choose(model, check()).predict([ROW]), before)
    with pytest.raises(TypeError, match="has forgotten its file"):
        pickle.dumps(model)
