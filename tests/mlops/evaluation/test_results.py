"""The table of a model's predictions restores them, and identifies the same rows in any table."""

import math

import numpy as np
import pandas as pd
import pytest
from mlops.base import files, pages
from mlops.data.schema import Column, Schema
from mlops.evaluation import behaviour, results
from mlops.evaluation.comparison import shared_rows
from mlops.evaluation.intervals import Interval
from mlops.intake import tables
from mlops.training.metrics import Predictions, score
from mlops.training.task import Headline

ROWS = 40


def layout(*, with_id: bool) -> Schema:
    columns = {"x": Column(type="number"), "y": Column(type="category", role="target")}
    return Schema(columns={"key": Column(type="text", role="id"), **columns} if with_id else columns)


def table() -> pd.DataFrame:
    """Twenty different rows, each of them twice but for its key."""
    rows = np.arange(ROWS)
    return pd.DataFrame(
        {"key": [f"k{row}" for row in rows], "x": rows % 20 / 7, "y": ["yes"] * ROWS}, index=rows + 100
    ).astype({"key": "str", "y": "str"})


def predictions(classes: tuple, positive: object, *, probabilities: bool) -> Predictions:
    rng = np.random.default_rng(0)
    labels = np.array(classes, dtype=object if isinstance(classes[0], str) else None)
    shares = rng.dirichlet(np.ones(len(classes)), ROWS)
    actual, predicted = labels[rng.integers(len(classes), size=ROWS)], labels[shares.argmax(axis=1)]
    return Predictions(actual, predicted, shares if probabilities else None, classes, positive)


NUMBER = Predictions(np.linspace(-1, 1, ROWS), np.linspace(0, 1, ROWS), None, (), None)


@pytest.mark.parametrize("probabilities", [True, False])
@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (("no", "yes"), "yes"),
        (("no", "yes"), "no"),
        ((False, True), True),
        ((False, True), False),
        ((0, 1), 1),
        ((3, 7), 3),
        (("a", "b", "c"), None),
        ((1, 2, 30), None),
    ],
)
def test_predictions_come_back_from_the_file_that_keeps_them(classes, positive, probabilities, tmp_path):
    found = predictions(classes, positive, probabilities=probabilities)

    back = kept_and_restored(found, tmp_path)

    assert_equal(back, found)
    assert score(back) == pytest.approx(score(found), rel=1e-12)


def test_numbers_and_labels_that_the_model_never_learnt_come_back_too(tmp_path):
    text = predictions(("no", "yes"), "yes", probabilities=True)
    text.actual[0] = "perhaps"

    assert_equal(kept_and_restored(NUMBER, tmp_path), NUMBER)
    assert_equal(kept_and_restored(text, tmp_path), text)


def kept_and_restored(found: Predictions, folder) -> Predictions:
    """By way of the files, as between two commits."""
    tables.write(folder / "kept.parquet", results.to_frame(found, table(), layout(with_id=True)))
    files.write_json(folder / "evaluation.json", {"labels": found.classes, "positive": found.positive})
    evaluation = files.read_json(folder / "evaluation.json")
    return results.from_frame(tables.read(folder / "kept.parquet"), evaluation["labels"], evaluation["positive"])


def assert_equal(back: Predictions, found: Predictions) -> None:
    assert (back.classes, back.positive, back.kind) == (found.classes, found.positive, found.kind)
    for side in ("actual", "predicted"):
        assert getattr(back, side).dtype == getattr(found, side).dtype
        assert getattr(back, side).tolist() == getattr(found, side).tolist()
    if found.probabilities is None:
        assert back.probabilities is None
    else:
        assert back.probabilities == pytest.approx(found.probabilities, abs=1e-15)


@pytest.mark.parametrize("with_id", [True, False])
def test_a_row_has_the_same_key_wherever_it_stands(with_id):
    order = np.random.default_rng(1).permutation(ROWS)
    schema, rows = layout(with_id=with_id), table() if with_id else table().drop(columns="key")
    here = results.to_frame(NUMBER, rows, schema)
    there = results.to_frame(NUMBER.subset(order), rows.iloc[order], schema)

    assert here["row"].dtype == np.uint64
    assert here["row"].tolist() == there["row"].iloc[np.argsort(order)].tolist()
    assert here["row"].nunique() == (ROWS if with_id else 20)
    pairs = shared_rows(here["row"].to_numpy(), there["row"].to_numpy())
    assert len(pairs.one) == ROWS


def test_with_an_id_a_row_is_the_same_when_its_values_changed_and_without_one_it_is_another():
    corrected = table().assign(x=-1.0)

    def keys(rows: pd.DataFrame, *, with_id: bool) -> list[int]:
        shown = rows if with_id else rows.drop(columns="key")
        return results.to_frame(NUMBER, shown, layout(with_id=with_id))["row"].tolist()

    assert keys(corrected, with_id=True) == keys(table(), with_id=True)
    assert not set(keys(corrected, with_id=False)) & set(keys(table(), with_id=False))


def test_what_is_undefined_is_said_and_not_logged():
    test = {"accuracy": 0.5, "roc_auc": None, "log_loss": math.inf}
    folds = {"accuracy": {"mean": 0.6, "std": None}, "roc_auc": {"mean": math.nan, "std": math.nan}}

    assert results.logged(test, folds) == {"accuracy": 0.5, "cross_validated.accuracy": 0.6}
    scores, spans = {"accuracy": 0.5, "roc_auc": math.nan}, {"accuracy": Interval(0.4, 0.6)}
    said = results.sentence(scores, spans, Headline("accuracy", "it fits"), 10, {"accuracy": 0.3})
    assert said == (
        "accuracy 0.5000 (0.4000 to 0.6000) on 10 test rows, baseline 0.3000 (the headline, since it fits); "
        "not defined on them, so not logged: ROC AUC"
    )


@pytest.mark.parametrize(
    ("metric", "value", "interval", "expected", "luck"),
    [
        ("accuracy", 0.8, Interval(0.77, 0.83), Interval(0.7, 0.9), None),
        ("accuracy", 0.9, Interval(0.87, 0.93), Interval(0.7, 0.8), "lucky split"),
        ("accuracy", 0.6, Interval(0.57, 0.63), Interval(0.7, 0.8), "unlucky split"),
        ("rmse", 0.9, Interval(0.87, 0.93), Interval(0.7, 0.8), "unlucky split"),
        ("rmse", 0.6, Interval(0.57, 0.63), Interval(0.7, 0.8), "lucky split"),
        ("accuracy", 0.9, Interval(0.7, 1.0), Interval(0.7, 0.8), None),  # the test rows themselves say little
        ("accuracy", 0.9, Interval(0.87, 0.93), Interval(math.nan, math.nan), None),
        ("accuracy", math.nan, Interval(math.nan, math.nan), Interval(0.7, 0.8), None),
    ],
)
def test_a_split_is_lucky_where_folds_and_test_rows_agree_on_it(metric, value, interval, expected, luck):
    assert results.luck(metric, value, interval, expected) == luck


def test_people_who_know_no_metric_get_shares_of_rows_and_the_mean_error():
    actual, predicted = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0]), np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0])
    binary = Predictions(actual, predicted, None, (0, 1), 1)
    of_none = Predictions(actual, np.zeros(10, int), None, (0, 1), 1)
    many = Predictions(actual, predicted, None, (0, 1, 2), None)

    assert results.in_plain_numbers(binary, {}, {}) == pytest.approx(
        {"positive": 0.4, "flagged": 0.4, "found": 0.75, "right": 0.75}
    )
    assert results.in_plain_numbers(of_none, {}, {}) == {"positive": 0.4, "flagged": 0, "found": 0, "right": None}
    assert results.in_plain_numbers(many, {"accuracy": 0.8}, {"accuracy": 0.6}) == {"right": 0.8, "without": 0.6}
    assert results.in_plain_numbers(NUMBER, {"mae": 3.2}, {"mae": 8.9}) == {"off": 3.2, "without": 8.9}


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        (
            {"positive": 0.264, "flagged": 0.198, "found": 0.536, "right": 0.714},
            "finds <b>54</b>, and of 100 rows that it flags <b>71</b> are. Without the model, as many flags at random",
        ),
        (
            {"positive": 0.04, "flagged": 0.0, "found": 0.0, "right": None},
            "It finds <b>none</b> of the rows with left = Yes, though 4 of 100 rows are.",
        ),
        (
            {"right": 0.82, "without": 0.45},
            "Of 100 rows it names the right left for <b>82</b>. Without the model, it would be 45.",
        ),
        (
            {"off": 3.2, "without": 8.9},
            "Its left is off by <b>3.2</b> on average. Without the model, it would be off by 8.9.",
        ),
    ],
)
def test_the_page_begins_with_what_a_manager_needs(plain, said):
    assert said in page(plain=plain, luck=None)


def test_a_lucky_or_unlucky_split_is_said_at_the_top():
    assert "<b>Lucky split:</b> the 2 folds make 0.7 to 0.8 likely, so other test rows" in page(luck="lucky split")
    assert "would probably show a better accuracy, unless the times have changed." in page(luck="unlucky split")
    assert "split:" not in page(luck=None)


def test_the_page_shows_what_came_of_each_behaviour_test():
    tests = [
        {"name": f"<b>{passed}</b>", "kind": "serving", "passed": passed, "sentence": f"it {passed}"}
        for passed in (True, False, None)
    ]

    shown = page(luck=None, behaviour={"tests": tests, "note": None})

    assert [f"it {passed}" in shown for passed in (True, False, None)] == [True] * 3
    assert [shown.count(mark) for mark in ("✓", "✗ failed", "&lt;b&gt;")] == [1, 1, 3]
    assert "No behaviour tests: nobody asked." in page(luck=None)


def page(**other: object) -> str:
    """The top of reports/evaluation.html."""
    metric = {"name": "accuracy", "title": "accuracy", "value": 0.9, "low": 0.88, "high": 0.92, "baseline": 0.7}
    content = {
        "metrics": [{**metric, "mean": 0.75, "std": 0.01}],
        "headline": "accuracy",
        "reason": "it fits",
        "expected": [0.7, 0.8],
        "plain": {"off": 1, "without": 2},
        "target": "left",
        "positive": "Yes",
        "labels": ["No", "Yes"],
        "confidence": 0.95,
        "dataset": {"split": {"by": "time", "train": 100, "test": 20}, "digest": "d" * 64},
        "trained": {"model": "forest", "positive": "Yes", "folds": [{}, {}]},
        "fitted_on": "trained on 100 rows",
        "tested_on": "20 test rows",
        "importances": "<svg/>",
        "subject": None,
        "decision": None,
        "unshuffled": 0,
        "fairness": {"columns": []},
        "behaviour": behaviour.none("nobody asked"),
        **dict.fromkeys(("figures", "partial", "explained", "classes", "groups"), ()),
    }
    return pages.filled("evaluation.html", **content | other)
