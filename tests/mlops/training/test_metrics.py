import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.data.levels import MISSING_LEVEL
from mlops.training.metrics import (
    HIGHER_IS_BETTER,
    Predictions,
    by_level,
    classification_report,
    limits,
    score,
    scorer,
)
from sklearn import metrics as reference

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

PAIRS = [("no", "yes"), (0, 1), (False, True), (-1, 7)]
TRIPLES = [("a", "b", "c"), (1, 2, 3), ("high", "low", "none", "other")]
COARSE = 4  # probabilities in quarters: nearly every one is tied


def array(labels):
    return np.array(labels, dtype=object if isinstance(labels[0], str) else None)


def predictions_of(classes, actual, probabilities, positive=None):
    """Predictions whose predicted label is the most probable class."""
    names = array(classes)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    return Predictions(names[actual], names[probabilities.argmax(axis=1)], probabilities, tuple(classes), positive)


@st.composite
def classified(draw, choices):
    classes = draw(st.sampled_from(choices))
    rows = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    occurring = draw(st.integers(1, len(classes)))  # one class only is a case of its own
    actual = rng.integers(occurring, size=rows)
    raw = rng.random((rows, len(classes)))
    if draw(st.booleans()):
        raw = np.ceil(raw * COARSE)
    if draw(st.booleans()):
        raw[:, -1] = 0  # the last class is never predicted
    raw += 1e-3
    positive = classes[draw(st.integers(0, 1))] if len(classes) == 2 else None
    weights = rng.choice([rng.random(rows) + 0.1, rng.integers(1, 4, rows), np.ones(rows)])
    return predictions_of(classes, actual, raw / raw.sum(axis=1, keepdims=True), positive), weights


def averaged(found, weights, average, **which):
    """Precision, recall and F1 as scikit-learn has them."""
    sides = (found.actual.tolist(), found.predicted.tolist())
    values = reference.precision_recall_fscore_support(
        *sides, average=average, sample_weight=weights, zero_division=0, **which
    )
    return values[:3]


def of_labels(found, weights):
    actual, predicted = found.actual.tolist(), found.predicted.tolist()
    matrix = reference.confusion_matrix(actual, predicted, sample_weight=weights, labels=list(found.classes))
    occurring = matrix.sum(axis=1) > 0
    return {
        "accuracy": reference.accuracy_score(actual, predicted, sample_weight=weights),
        "balanced_accuracy": np.mean((matrix.diagonal() / np.maximum(matrix.sum(axis=1), 1e-300))[occurring]),
        **dict(zip(("precision", "recall", "f1"), averaged(found, weights, "weighted"), strict=True)),
    }


def area(is_positive, probability, weights):
    if is_positive.all() or not is_positive.any():
        return np.nan
    return reference.roc_auc_score(is_positive, probability, sample_weight=weights)


def assert_agrees(found, expected):
    assert list(found) == [name for name in HIGHER_IS_BETTER if name in expected]
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-9, err_msg=name)


def at(weights, found):
    return {name: values[0] for name, values in scorer(found)(np.asarray(weights, dtype=np.float64)[None]).items()}


@settings(max_examples=60, deadline=None)
@given(classified(PAIRS))
def test_binary_metrics_agree_with_scikit_learn_for_any_weights(case):
    found, weights = case
    is_positive, probability = found.actual == found.positive, found.positive_probability
    names = ("precision_positive", "recall_positive", "f1_positive")
    of_positive = averaged(found, weights, None, labels=[found.positive])
    expected = of_labels(found, weights) | {
        **{name: value[0] for name, value in zip(names, of_positive, strict=True)},
        "roc_auc": area(is_positive, probability, weights),
        "average_precision": (
            reference.average_precision_score(is_positive, probability, sample_weight=weights)
            if is_positive.any()
            else np.nan
        ),
        "log_loss": reference.log_loss(is_positive, probability, sample_weight=weights, labels=[False, True]),
        "brier": reference.brier_score_loss(is_positive, probability, sample_weight=weights, pos_label=True),
    }

    assert_agrees(at(weights, found), expected)


@settings(max_examples=60, deadline=None)
@given(classified(TRIPLES))
def test_multiclass_metrics_agree_with_scikit_learn_for_any_weights(case):
    found, weights = case
    per_class = [
        area(found.actual == label, found.probabilities[:, k], weights) for k, label in enumerate(found.classes)
    ]
    names = ("precision_macro", "recall_macro", "f1_macro")
    codes = [found.classes.index(label) for label in found.actual]
    expected = of_labels(found, weights) | {
        **dict(zip(names, averaged(found, weights, "macro"), strict=True)),
        "roc_auc": np.nan if np.isnan(per_class).all() else np.nanmean(per_class),
        "log_loss": reference.log_loss(
            codes, found.probabilities, sample_weight=weights, labels=list(range(len(found.classes)))
        ),
    }

    assert_agrees(at(weights, found), expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 60), st.sampled_from([(0, 1e-3), (1, 1), (1e6, 1), (1e9, 1e6)]))
def test_regression_metrics_agree_with_scikit_learn_for_any_weights(seed, rows, place):
    offset, scale = place
    rng = np.random.default_rng(seed)
    actual = offset + scale * rng.normal(size=rows)
    predicted = actual + scale * rng.normal(size=rows)
    weights = rng.random(rows) + 0.1
    found = Predictions(actual, predicted, None, (), None)

    both = {"y_true": actual, "y_pred": predicted, "sample_weight": weights}
    expected = {
        "mae": reference.mean_absolute_error(**both),
        "rmse": reference.root_mean_squared_error(**both),
        "r2": reference.r2_score(**both),
        "mape": reference.mean_absolute_percentage_error(**both),
    }
    assert_agrees(at(weights, found), expected)


def test_many_weightings_at_once_give_what_each_gives_alone():
    rng = np.random.default_rng(0)
    raw = rng.random((300, 2))
    found = predictions_of(("no", "yes"), rng.integers(2, size=300), raw / raw.sum(axis=1, keepdims=True), "yes")
    weights = rng.integers(4, size=(9, 300)).astype(np.float64)

    together = scorer(found)(weights)

    for row, alone in enumerate(weights):
        assert {name: values[row] for name, values in together.items()} == at(alone, found)


@settings(max_examples=50, deadline=None)
@given(classified(PAIRS + TRIPLES), st.integers(0, 2**32))
def test_a_weight_is_how_often_a_row_is_there_and_zero_is_not_at_all(case, seed):
    found, _ = case
    often = np.random.default_rng(seed).integers(3, size=len(found.actual))
    often[0] += 1

    repeated = score(found.subset(np.repeat(np.arange(len(often)), often)))

    assert at(often, found) == pytest.approx(repeated, nan_ok=True, abs=1e-9)


def test_a_row_counted_twice_is_the_same_as_two_rows():
    found = predictions_of((0, 1), [0, 1, 1], [[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]], positive=1)

    twice = score(found.subset(np.array([0, 0, 1, 2, 2])))

    assert at([2, 1, 2], found) == pytest.approx(twice)


def test_a_row_of_weight_zero_is_not_there():
    found = predictions_of((0, 1, 2), [0, 1, 2, 1], [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [1, 0, 0]])

    assert at([1, 1, 0, 1], found) == pytest.approx(score(found.subset(np.array([True, True, False, True]))))


def test_what_one_class_cannot_tell_is_not_a_number_and_the_rest_is():
    found = predictions_of(("no", "yes"), [0, 0], [[0.8, 0.2], [0.4, 0.6]], positive="yes")

    scores = score(found)

    undefined = {name for name, value in scores.items() if np.isnan(value)}
    assert undefined == {"roc_auc", "average_precision"}
    assert scores["accuracy"] == 0.5
    assert scores["precision_positive"] == scores["recall_positive"] == 0


def test_the_r2_of_equal_values_is_not_a_number_however_large_they_are():
    predicted = np.array([0.1, 0.2, 0.3])
    for value in (0.0, 0.1, -1e12 / 3):
        found = Predictions(np.full(3, value), value + predicted, None, (), None)
        assert np.isnan(score(found)["r2"])
    drawn_alone = Predictions(np.array([0.1, 5.0, 1e9]), predicted, None, (), None)
    assert np.isnan(at([3, 0, 0], drawn_alone)["r2"])
    assert np.isfinite(at([2, 1, 0], drawn_alone)["r2"])


def test_the_relative_error_is_left_out_where_an_actual_value_is_zero():
    predicted = np.array([1.0, 2.0])

    assert "mape" in score(Predictions(np.array([1.0, 2.0]), predicted, None, (), None))
    assert "mape" not in score(Predictions(np.array([0.0, 2.0]), predicted, None, (), None))


def test_without_probabilities_the_metrics_of_labels_remain():
    actual, predicted = array(["a", "b", "b"]), array(["a", "a", "b"])

    scores = score(Predictions(actual, predicted, None, ("a", "b"), "b"))

    assert list(scores) == [
        "accuracy", "balanced_accuracy", "precision", "recall", "f1",
        "precision_positive", "recall_positive", "f1_positive",
    ]  # fmt: skip
    assert scores["recall_positive"] == 0.5


def test_a_label_that_the_model_never_learnt_counts_as_a_mistake_at_no_probability():
    known = predictions_of(("a", "b", "c"), [0, 1, 2, 2], np.eye(3)[[0, 1, 2, 0]] * 0.7 + 0.1)
    actual = array(["a", "b", "c", "new"])
    met = Predictions(actual, known.predicted, known.probabilities, known.classes, None)

    scores = score(met)

    sides = (actual.tolist(), known.predicted.tolist())
    assert scores["accuracy"] == 0.75
    assert scores["balanced_accuracy"] == pytest.approx(reference.recall_score(*sides, average="macro"))
    assert scores["f1"] == pytest.approx(reference.f1_score(*sides, average="weighted", zero_division=0))
    assert scores["f1_macro"] == pytest.approx(reference.f1_score(*sides, average="macro", zero_division=0))
    assert scores["log_loss"] == pytest.approx((-3 * np.log(0.8) - np.log(np.finfo(float).eps)) / 4)
    assert classification_report(met)[3] == {"class": "new", "precision": 0, "recall": 0, "f1": 0, "rows": 1}


@settings(max_examples=50, deadline=None)
@given(classified(PAIRS + TRIPLES))
def test_the_report_per_class_agrees_with_scikit_learn_and_with_the_metrics(case):
    found, _ = case

    *classes, macro, mean = classification_report(found)

    assert [row["class"] for row in classes] == [str(label) for label in found.classes]
    expected = reference.classification_report(
        found.actual.tolist(), found.predicted.tolist(), output_dict=True, zero_division=0
    )
    named = {"macro average": "macro avg", "weighted average": "weighted avg"}
    for row in (*classes, macro, mean):
        of_sklearn = expected.get(named.get(row["class"], row["class"]))
        if of_sklearn is None:  # a class that occurs on neither side
            assert row["rows"] == 0
            continue
        assert row["rows"] == of_sklearn["support"]
        for name, key in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert row[name] == pytest.approx(of_sklearn[key])
    assert mean["f1"] == pytest.approx(score(found)["f1"])


def test_each_level_of_a_column_is_scored_on_its_rows_and_missing_is_a_level():
    found = predictions_of((0, 1), [0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]], positive=1)
    levels = pd.Series(["south", "north", None, "south"], dtype="str")

    table = by_level(found, levels)

    assert table["level"].tolist() == ["north", "south", MISSING_LEVEL]
    assert table["rows"].tolist() == [1, 2, 1]
    assert table["accuracy"].tolist() == [1, 1, 0]
    assert table["roc_auc"].isna().all()
    assert set(table.columns) == {"level", "rows", *score(found)}


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (pd.Series([10, 2, None, 10], dtype="Int64"), ["2", "10", MISSING_LEVEL]),
        (pd.Series([True, False, None, True], dtype="boolean"), ["False", "True", MISSING_LEVEL]),
        (pd.Series([0.5, 10, np.nan, 2]), ["0.5", "2.0", "10.0", MISSING_LEVEL]),
    ],
)
def test_levels_of_every_type_are_in_their_own_order(levels, expected):
    found = predictions_of((0, 1), [0, 1, 1, 0], np.full((4, 2), 0.5), positive=1)

    assert by_level(found, levels)["level"].tolist() == expected


def test_a_metric_is_within_its_limits():
    assert (limits("average_precision"), limits("brier")) == ((0, 1), (0, 1))
    assert (limits("log_loss"), limits("r2")) == ((0, np.inf), (-np.inf, 1))


def test_predictions_know_what_was_to_be_predicted():
    half = np.full((1, 2), 0.5)
    assert Predictions(array(["a"]), array(["a"]), half, ("a", "b"), "b").kind == "binary"
    assert Predictions(array(["a"]), array(["a"]), None, ("a", "b", "c"), None).kind == "multiclass"
    assert Predictions(np.zeros(1), np.zeros(1), None, (), None).kind == "regression"
