"""The page on a delivery: small pictures of distributions, performance, and what to look at next."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.data.profile import Distribution
from mlops.monitoring import panels

from tests.mlops.monitoring.test_verdict import levels, numbers

EXAMPLES = settings(max_examples=50, deadline=None, derandomize=True)
NUMBERS = st.lists(
    st.none() | st.integers(-3, 3).map(float) | st.floats(-1e9, 1e9) | st.floats(-1e300, 1e300), max_size=40
)
LEVELS = st.lists(st.none() | st.sampled_from("abcdefghijklmno"), max_size=40)


def column(name: str = "tenure", **facts: Any) -> dict[str, Any]:
    """A panel of a drifted number whose mean moved by an eighth."""
    tests = [
        {"name": "kolmogorov_smirnov", "effect": 0.3, "floor": 0.1, "drifted": True},
        {"name": "missing_share", "effect": 0.0, "floor": 0.05, "drifted": False},
    ]
    shares = {"missing_shares": (0.001, 0.125), "new_levels": [], "new_level_count": 0, "mean_shift_percent": 12.5}
    return {"column": name, "drifted": True, "effect": 0.3, "importance": 0.04, "tests": tests, **shares, **facts}


def report(**facts: Any) -> dict[str, Any]:
    predictions = {"count": 1000, "drifted": [], "metrics": {"accuracy": 0.8}, **facts.pop("predictions", {})}
    return {"predictions": predictions, "retraining": {"recommended": False, "reasons": []}, **facts}


# What to look at next


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({}, "Look at tenure: its mean moved by +12.5%, and its importance is 0.04."),
        ({"importance": None}, "Look at tenure: its mean moved by +12.5%."),
        ({"importance": -0.01}, "Look at tenure: its mean moved by +12.5%, but the model does not rely on it."),
        ({"date": "D"}, "Look at tenure: its distribution moved (effect 0.3), and its importance is 0.04."),
        (
            {"new_levels": ["trial", "gold"], "new_level_count": 2, "importance": None},
            "Look at tenure: 2 of its levels are new (trial, gold).",
        ),
        (
            {
                "tests": [{"name": "chi_square", "drifted": True, "effect": 0.3, "floor": 0.1}],
                "sketch": {"labels": ["a", "b"], "reference": [0.5, 0.3, 0.2], "current": [0.55, 0.1, 0.35]},
                **{"new_levels": ["z"], "new_level_count": 1, "importance": None},
            },
            "Look at tenure: the share of b went from 30.0% to 10.0%.",
        ),
        (
            {"vanished_levels": ["basic"], "vanished_level_count": 1, "importance": None},
            "Look at tenure: 1 of its levels is gone (basic).",
        ),
        (
            {"tests": [{"name": "missing_share", "drifted": True, "effect": 0.124, "floor": 0.05}], "importance": None},
            "Look at tenure: 12.5% of its values are missing, 0.1% before.",
        ),
    ],
)
def test_the_next_step_says_what_happened_to_the_column_of_most_consequence(
    facts: dict[str, Any], sentence: str
) -> None:
    stable = column("noise", drifted=False)

    assert panels.next_steps(report(), [stable, column(**facts)]) == [sentence]


@pytest.mark.parametrize(
    ("facts", "beginning"),
    [
        ({"predictions": {"count": 40}}, "Wait for more rows: in 40,"),
        ({"multivariate": {"drifted": True, "columns": [column("a"), column("b")]}}, "Look at a and b together"),
        ({"predictions": {"drifted": ["probability"]}}, "Look at features together"),
        ({"predictions": {"labels_one_sided": True}}, "Wait for the labels of the other classes"),
        ({"labels_one_sided": True}, "Wait for the labels of the other classes"),
        ({"estimated": {"trusted": False}, "labels_one_sided": True}, "Get labels of all kinds of rows"),
        ({"estimated": {"trusted": False}}, "Get labels for some of these rows"),
        ({"estimated": {"trusted": False}, "labelled": {"share": 0.09}}, "Get labels for some of these rows"),
        ({"estimated": {"trusted": False}, "predictions": {"labelled": {"share": 1.0}}}, "Go by the measured metrics"),
        ({"retraining": {"recommended": True}}, "Before you retrain, make sure that the new values are real"),
        ({"predictions": {"metrics": {}}}, "Nothing has to be done now. How well the model does here is known when"),
        ({"multivariate": None, "estimated": None}, "Nothing has to be done now: look at the next delivery."),
    ],
)
def test_the_next_step_is_told_where_no_column_drifted(facts: dict[str, Any], beginning: str) -> None:
    [sentence] = panels.next_steps(report(**facts), [column(drifted=False)])

    assert sentence.startswith(beginning)


def test_at_most_three_sentences_are_told_and_those_that_change_the_reading_come_first() -> None:
    facts = {"estimated": {"trusted": False}, "retraining": {"recommended": True}}

    steps = panels.next_steps(report(predictions={"count": 40}, **facts), [column("a"), column("b")])

    assert [step.split(":")[0] for step in steps] == [
        "Wait for more rows",
        "Look at a",
        "Get labels for some of these rows",
    ]


# Performance, and a report from a file


def test_each_metric_has_its_test_result_its_estimate_and_what_was_measured() -> None:
    estimate = {"value": 0.78, "low": 0.76, "high": 0.8, "test": 0.81}
    estimated = {"metrics": {"roc_auc": estimate, "own": estimate}, "trusted": True}

    rows = panels.performance(
        report(
            estimated=estimated,
            predictions={
                **{"metrics": {"roc_auc": math.nan, "accuracy": 0.7, "f1": 0.6}},
                "test_metrics": {"accuracy": math.nan, "f1": 0.65, "roc_auc": 0.82},
            },
        )
    )

    assert [(row["title"], row["test"], row["estimated"], row["actual"]) for row in rows] == [
        ("accuracy", None, None, 0.7),
        ("F1 weighted", 0.65, None, 0.6),
        ("ROC AUC", 0.81, estimate, None),
        ("own", 0.81, estimate, None),
    ]


def test_the_telling_test_is_the_one_that_found_the_drift() -> None:
    tests = [
        {"name": "chi_square", "effect": 0.09, "floor": 0.1, "drifted": False},
        {"name": "missing_share", "effect": 0.04, "floor": 0.0, "drifted": True},
    ]

    assert panels.telling({"tests": tests})["name"] == "missing_share"
    assert panels.telling({"tests": [{**test, "drifted": False} for test in tests]})["name"] == "chi_square"


def test_a_report_from_a_file_is_sorted_by_effect_times_importance_and_its_answers_come_last() -> None:
    columns = [column("a", effect=0.5), column("b", effect=0.1), column("probability")]
    for part in columns:
        del part["importance"]
    found = report(delivery={"rows": 3}, features={"watched": 2}, columns=columns)

    shown = panels.of_report(found, {"b": 0.5})

    assert [part["column"] for part in shown["columns"]] == ["b", "a"]
    assert [part["column"] for part in shown["answers"]] == ["probability"]
    assert panels.of_report({"delivery": None}) == {"delivery": None}


# Sketches


def assert_shares(shares: list[float], side: Distribution) -> None:
    assert all(0 <= share <= 1 for share in shares)
    assert sum(shares) == pytest.approx(1 if side.given else 0)


@EXAMPLES
@given(NUMBERS, NUMBERS)
def test_a_sketch_of_numbers_places_every_row_that_has_a_value(then: list, now: list) -> None:
    baseline, current = numbers(then), numbers(now)

    sketch = panels.sketch(baseline, current)

    assert len(sketch["reference"]) == len(sketch["current"]) <= panels.SKETCH_BARS + 2
    assert sketch["least"] <= sketch["low"] <= sketch["high"] <= sketch["greatest"]
    given_values = [value for value in [*then, *now] if value is not None] or [0]
    assert (sketch["least"], sketch["greatest"]) == (min(given_values), max(given_values))
    assert_shares(sketch["reference"], baseline)
    assert_shares(sketch["current"], current)


@EXAMPLES
@given(LEVELS, LEVELS)
def test_a_sketch_of_categories_has_the_shares_of_the_levels_that_are_most_frequent(then: list, now: list) -> None:
    baseline, current = levels(then), levels(now)

    sketch = panels.sketch(baseline, current)

    every = {level for level in [*then, *now] if level is not None}
    assert set(sketch["labels"]) <= every
    assert len(sketch["labels"]) == min(len(every), panels.SKETCH_LEVELS)
    for name, side, values in (("reference", baseline, then), ("current", current, now)):
        shares = [values.count(label) / max(side.given, 1) for label in sketch["labels"]]
        assert sketch[name][: len(shares)] == pytest.approx(shares)
        assert len(sketch[name]) == len(shares) + bool(sketch["others"])
        assert_shares(sketch[name], side)


def test_a_number_that_never_changes_is_one_bar_and_others_lie_outside() -> None:
    sketch = panels.sketch(numbers([0.5] * 9), numbers([0.5, 0.5, 0.4, 0.7]))

    assert (sketch["reference"], sketch["current"]) == ([0, 1, 0], [0.25, 0.5, 0.25])


@pytest.mark.parametrize("least", [1, 5])
def test_bars_of_whole_numbers_hold_equally_many_of_them(least: int) -> None:
    months = numbers(np.repeat(np.arange(least, least + 40), 100))

    sketch = panels.sketch(months, months)

    assert (sketch["low"], sketch["high"]) == (least, least + 39)
    assert sketch["reference"] == pytest.approx([0, *[3 / 40] * 13, 1 / 40, 0])


def test_what_lies_outside_the_reference_falls_into_the_outer_bars() -> None:
    sketch = panels.sketch(numbers(np.linspace(0, 1, 1_000)), numbers([-50.0, -50.0, -50.0, 99.0]))

    assert (sketch["current"][0], sketch["current"][-1]) == (0.75, 0.25)
