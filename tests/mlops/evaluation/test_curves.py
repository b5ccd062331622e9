import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.evaluation import curves
from mlops.training.metrics import Predictions
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@st.composite
def ranked(draw):
    """Probabilities, often tied, and which rows are positive: both classes occur."""
    rows = draw(st.integers(2, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    probability = rng.random(rows) if draw(st.booleans()) else rng.integers(5, size=rows) / 4
    is_positive = rng.random(rows) < draw(st.sampled_from([0.1, 0.5, probability]))
    is_positive[:2] = [True, False]
    return probability, is_positive


def many(rows, informative, seed=0):
    rng = np.random.default_rng(seed)
    is_positive = rng.random(rows) < 0.3
    probability = 1 / (1 + np.exp(-rng.normal(informative * is_positive - 1)))
    return probability, is_positive


def binary(probability, is_positive):
    both = np.column_stack([1 - probability, probability])
    return Predictions(is_positive, probability > 0.5, both, (False, True), True)


@settings(max_examples=100, deadline=None)
@given(ranked())
def test_a_short_roc_curve_is_that_of_scikit_learn(case):
    probability, is_positive = case
    fpr, tpr, threshold = reference.roc_curve(is_positive, probability, drop_intermediate=False)

    expected = pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": threshold})

    pd.testing.assert_frame_equal(curves.roc(probability, is_positive), expected, check_exact=False, rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(ranked())
def test_a_short_precision_recall_curve_is_that_of_scikit_learn(case):
    probability, is_positive = case
    precision, recall, threshold = reference.precision_recall_curve(is_positive, probability)

    found = curves.precision_recall(probability, is_positive)

    expected = pd.DataFrame({"recall": recall[:-1], "precision": precision[:-1], "threshold": threshold})[::-1]
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True), check_exact=False, rtol=1e-12)


@pytest.mark.parametrize("informative", [0, 1, 4])
@pytest.mark.parametrize("decimals", [2, 16])
def test_a_thinned_roc_curve_keeps_its_ends_and_its_area(informative, decimals):
    probability, is_positive = many(20_000, informative)
    probability = probability.round(decimals)

    curve = curves.roc(probability, is_positive)

    assert len(curve) <= curves.MOST_POINTS + 1
    assert curve.iloc[0].tolist() == [0, 0, np.inf]
    assert curve.iloc[-1].tolist() == [1, 1, probability.min()]
    area = np.trapezoid(curve["tpr"], curve["fpr"])
    assert area == pytest.approx(reference.roc_auc_score(is_positive, probability), abs=0.005)


@pytest.mark.parametrize("informative", [0, 1, 4])
def test_a_thinned_precision_recall_curve_keeps_its_area(informative):
    probability, is_positive = many(20_000, informative)

    curve = curves.precision_recall(probability, is_positive)

    assert len(curve) <= curves.MOST_POINTS + 1
    assert curve["recall"].iloc[-1] == 1
    area = np.trapezoid(curve["precision"], curve["recall"])
    assert area == pytest.approx(reference.average_precision_score(is_positive, probability), abs=0.01)


def test_every_point_of_a_thinned_curve_is_a_point_of_the_whole_one():
    probability, is_positive = many(5_000, 1)
    fpr, tpr, threshold = reference.roc_curve(is_positive, probability, drop_intermediate=False)
    whole = set(zip(fpr, tpr, threshold, strict=True))

    assert set(curves.roc(probability, is_positive).itertuples(index=False, name=None)) <= whole


@pytest.mark.parametrize("rows", [10, 200, 1000])
def test_calibration_is_that_of_scikit_learn_by_quantiles(rows):
    probability, is_positive = many(rows, 1)
    observed, predicted = calibration_curve(is_positive, probability, n_bins=10, strategy="quantile")

    table = curves.calibration(probability, is_positive)

    np.testing.assert_allclose(table["predicted"], predicted, rtol=1e-12)
    np.testing.assert_allclose(table["observed"], observed, rtol=1e-12)
    assert (table["rows"] == rows / 10).all()


@settings(max_examples=100, deadline=None)
@given(ranked())
def test_calibration_puts_each_row_into_one_bin_and_equal_ones_into_the_same(case):
    probability, is_positive = case

    table = curves.calibration(probability, is_positive)

    assert len(table) <= min(curves.CALIBRATION_BINS, len(np.unique(probability)))
    assert table["predicted"].is_monotonic_increasing
    assert table["rows"].sum() == len(probability)
    assert (table["rows"] * table["predicted"]).sum() == pytest.approx(probability.sum())
    assert (table["rows"] * table["observed"]).sum() == pytest.approx(is_positive.sum())
    if len(np.unique(probability)) == len(probability):
        assert table["rows"].max() - table["rows"].min() <= 1


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (("a", "b", "c"), ["a", "b", "c"]),
        ((1, 2, 10), ["1", "2", "10"]),
        ((False, True), ["False", "True"]),
    ],
)
def test_confusion_counts_every_pair_in_the_order_of_the_classes(classes, names):
    rng = np.random.default_rng(0)
    labels = np.array(classes, dtype=object if isinstance(classes[0], str) else None)
    actual, predicted = labels[rng.integers(len(labels), size=40)], np.repeat(labels[:1], 40)

    table = curves.confusion(Predictions(actual, predicted, None, classes, None))

    matrix = reference.confusion_matrix(actual.tolist(), predicted.tolist(), labels=list(classes))
    assert table["rows"].tolist() == matrix.ravel().tolist()
    assert table["actual"].tolist() == [name for name in names for _ in names]
    assert table["predicted"].tolist() == names * len(names)


def test_confusion_shows_a_label_that_the_model_never_learnt():
    actual, predicted = np.array(["a", "new"], dtype=object), np.array(["a", "b"], dtype=object)

    table = curves.confusion(Predictions(actual, predicted, None, ("a", "b"), "b"))

    counts = table.set_index(["actual", "predicted"])["rows"]
    assert counts["new", "b"] == counts["a", "a"] == 1
    assert counts.sum() == 2
    assert len(counts) == 9


def test_residuals_of_many_rows_are_some_over_the_whole_range_of_predictions():
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=10_000)
    found = Predictions(predicted + rng.normal(size=10_000), predicted, None, (), None)

    table = curves.residuals(found)

    assert len(table) == curves.MOST_RESIDUALS
    assert table["predicted"].is_monotonic_increasing
    assert (table["predicted"].iloc[0], table["predicted"].iloc[-1]) == (predicted.min(), predicted.max())
    assert table["predicted"].median() == pytest.approx(np.median(predicted), abs=0.02)
    np.testing.assert_array_equal(table["residual"], table["actual"] - table["predicted"])


def test_residuals_of_few_rows_are_all_of_them():
    found = Predictions(np.array([3.0, 1.0]), np.array([2.0, 1.5]), None, (), None)

    assert curves.residuals(found).to_dict("list") == {
        "predicted": [1.5, 2.0],
        "actual": [1.0, 3.0],
        "residual": [-0.5, 1.0],
    }


half = np.full((4, 2), 0.5)
words = np.array(["a", "b", "a", "b"], dtype=object)
numbers = np.arange(4.0)


@pytest.mark.parametrize(
    ("found", "drawn"),
    [
        (binary(*many(50, 1)), {"roc", "precision_recall", "calibration", "confusion"}),
        (Predictions(words, words, None, ("a", "b"), "b"), {"confusion"}),
        (Predictions(words[::2], words[::2], half[::2], ("a", "b"), "b"), {"calibration", "confusion"}),
        (Predictions(words[1::2], words[::2], half[::2], ("a", "b"), "b"), {"calibration", "confusion"}),
        (Predictions(words, words, np.full((4, 3), 1 / 3), ("a", "b", "c"), None), {"confusion"}),
        (Predictions(numbers, numbers, None, (), None), {"residuals"}),
    ],
    ids=["binary", "no probabilities", "no positives", "no negatives", "three classes", "a number"],
)
def test_every_table_is_there_with_its_columns_and_those_that_say_nothing_are_empty(found, drawn):
    tables = curves.curves(found)

    assert {name: list(table.columns) for name, table in tables.items()} == curves.COLUMNS
    assert {name for name, table in tables.items() if len(table)} == drawn


@given(st.permutations(range(30)))
@settings(max_examples=30, deadline=None)
def test_curves_do_not_depend_on_the_order_of_the_rows(order):
    probability, is_positive = many(30, 1)
    probability = probability.round(1)
    tables = curves.curves(binary(probability, is_positive))

    again = curves.curves(binary(probability[order], is_positive[order]))

    for name in ("roc", "precision_recall", "confusion"):
        pd.testing.assert_frame_equal(again[name], tables[name])
