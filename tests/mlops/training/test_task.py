"""From the target's type to the task, its labels, and the class that precision and recall speak of."""

import numpy as np
import pandas as pd
import pytest
from mlops.base.errors import DataError, ParameterError
from mlops.training import task

TARGETS = {
    "category": pd.Series(["a", "b", "c"], dtype="str", name="y"),
    "boolean": pd.Series([True, False, True], dtype="boolean", name="y"),
    "number": pd.Series([0.0, 1.0, 1.0], name="y"),
    "integer": pd.Series([1, 2, 3], dtype="Int64", name="y"),
}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("category", "classification"),
        ("boolean", "classification"),
        ("number", "regression"),
        ("integer", "regression"),
    ],
)
def test_the_type_of_the_target_decides_the_task(column: str, expected: str) -> None:
    assert task.task_of(TARGETS[column], column, "auto") == expected  # type: ignore[arg-type]


def test_two_integers_are_classes() -> None:
    assert task.task_of(pd.Series([0, 1, 1], dtype="Int64"), "integer", "auto") == "classification"
    assert task.task_of(pd.Series([0, 1, 1], dtype="Int64"), "integer", "regression") == "regression"


def test_integers_are_classes_on_request() -> None:
    assert task.task_of(TARGETS["integer"], "integer", "classification") == "classification"


@pytest.mark.parametrize("column", ["category", "boolean"])
def test_what_is_no_number_cannot_be_regressed(column: str) -> None:
    with pytest.raises(ParameterError, match=f"train.task is regression, but the target y is of type {column}"):
        task.task_of(TARGETS[column], column, "regression")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("column", "asked", "dtype"),
    [
        ("category", "classification", "object"),
        ("boolean", "classification", "bool"),
        ("integer", "classification", "int64"),
        ("integer", "regression", "float64"),
        ("number", "regression", "float64"),
    ],
)
def test_labels_come_as_scikit_learn_wants_them(column: str, asked: str, dtype: str) -> None:
    labels = task.labels(TARGETS[column], asked)  # type: ignore[arg-type]

    assert labels.dtype == dtype
    assert labels.tolist() == TARGETS[column].tolist()


@pytest.mark.parametrize("column", TARGETS)
def test_a_missing_label_is_an_error_that_counts_them(column: str) -> None:
    target = TARGETS[column].copy()
    target[1] = None

    with pytest.raises(DataError, match="the target y is missing in 1 row: label"):
        task.labels(target, "classification")


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (["No", "Yes"], "Yes"),
        (["positive", "unknown"], "positive"),
        (["TRUE", "wrong"], "TRUE"),
        (["bad", "good"], "good"),
        ([0, 1], 1),
        ([1, 2], 1),
        ([False, True], True),
        (["a", "b", "c"], None),
        (["a"], None),
    ],
)
def test_the_positive_class_reads_as_a_yes_or_is_the_last(classes: list[object], positive: object) -> None:
    target = np.array(classes, dtype=object if isinstance(classes[0], str) else None)

    assert task.positive_class(target, None) == positive


@pytest.mark.parametrize(("chosen", "found"), [("No", "No"), (0, 0), ("0", 0), (False, False), ("False", False)])
def test_a_chosen_positive_class_is_found_however_yaml_read_it(chosen: task.Label, found: task.Label) -> None:
    classes = {str: np.array(["No", "Yes"], dtype=object), int: np.array([0, 1]), bool: np.array([False, True])}

    positive = task.positive_class(classes[type(found)], chosen)

    assert positive == found
    assert type(positive) is type(found)


def test_a_chosen_class_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    with pytest.raises(ParameterError, match=r"train\.positive is 'maybe', but the classes are No, Yes"):
        task.positive_class(np.array(["No", "Yes"], dtype=object), "maybe")


def test_a_number_has_no_positive_class() -> None:
    assert task.positive_class(np.array([0.0, 1.0]), None) is None


@pytest.mark.parametrize(("target", "what"), [(np.array([0.0, 1.0]), "is a number"), (np.arange(3), "has 3 classes")])
def test_a_positive_class_without_two_classes_is_refused(target: np.ndarray, what: str) -> None:
    with pytest.raises(ParameterError, match=f"train.positive is 1, which is for .* this target {what}: remove it"):
        task.positive_class(target, 1)


@pytest.mark.parametrize(
    ("rows", "positive", "probabilities", "metric"),
    [
        ({}, None, False, "r2"),
        ({"No": 80, "Yes": 20}, "Yes", True, "accuracy"),
        ({"No": 81, "Yes": 19}, "Yes", True, "average_precision"),
        ({"No": 81, "Yes": 19}, "Yes", False, "balanced_accuracy"),  # nothing can be ranked
        ({"No": 19, "Yes": 81}, "Yes", True, "balanced_accuracy"),  # of which average precision is high by itself
        ({False: 96, True: 4}, True, True, "average_precision"),
        ({"a": 30, "b": 30, "c": 40}, None, True, "accuracy"),
        ({"a": 5, "b": 45, "c": 50}, None, True, "f1_macro"),
    ],
)
def test_the_headline_fits_the_smallest_class(
    rows: dict[task.Label, int], positive: task.Label | None, probabilities: bool, metric: str
) -> None:
    assert task.headline("auto", rows, positive, probabilities=probabilities).metric == metric
    assert task.headline("mae", rows, positive, probabilities=probabilities) == ("mae", "")


def test_the_headline_has_a_reason_with_the_class_and_its_share() -> None:
    found = task.headline("auto", {"No": 96, "Yes": 4}, "Yes", probabilities=True)

    assert found.reason == "the smallest class, Yes, has only 4.0% of the training rows"


def test_rows_are_counted_per_class_and_a_number_has_none() -> None:
    assert task.rows_per_class(np.array(["b", "a", "b"], dtype=object)) == {"a": 1, "b": 2}
    assert task.rows_per_class(np.array([True, False, True])) == {False: 1, True: 2}
    assert task.rows_per_class(np.array([1.0, 2.0])) == {}
