"""Rates per group agree with counting, intervals with scipy's, and small groups are shown but not judged."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.evaluation import fairness
from mlops.training.metrics import Predictions
from scipy import stats
from sklearn.metrics import confusion_matrix

EXAMPLES = settings(max_examples=50, deadline=None, derandomize=True)


def predictions(actual: list[bool], predicted: list[bool]) -> Predictions:
    sides = (np.where(side, "yes", "no").astype(object) for side in (actual, predicted))
    return Predictions(*sides, None, ("no", "yes"), "yes")


@EXAMPLES
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abc")), min_size=1, max_size=60))
def test_rates_are_those_of_the_confusion_in_each_group(rows: list[tuple[bool, bool, str]]) -> None:
    actual, predicted, levels = (list(column) for column in zip(*rows, strict=True))

    found = fairness.rates_by_group(predictions(actual, predicted), pd.Series(levels, dtype="str"), 1, 0.95)

    assert [group["level"] for group in found] == sorted(set(levels))
    for group in found:
        inside = [level == group["level"] for level in levels]
        sides = (np.array(side)[inside] for side in (actual, predicted))
        (tn, fp), (fn, tp) = confusion_matrix(*sides, labels=[False, True])
        counts = {"selection_rate": (tp + fp, sum(inside)), "tpr": (tp, tp + fn), "fpr": (fp, fp + tn)}
        for name, (part, whole) in {**counts, "precision": (tp, tp + fp)}.items():
            if not whole:
                assert group[name] is None
                continue
            low, high = stats.binomtest(int(part), int(whole)).proportion_ci(0.95, method="wilson")
            assert group[name]["rate"] == pytest.approx(part / whole)
            assert (group[name]["low"], group[name]["high"]) == pytest.approx((low, high), abs=1e-9)


def test_gaps_are_the_largest_differences_and_small_groups_are_in_none() -> None:
    actual = [True, True, False, False] * 2 + [True]
    predicted = [True, False, False, False, True, True, True, False, False]
    table = pd.DataFrame({"sex": ["f"] * 4 + ["m"] * 4 + ["x"]}, dtype="str")

    found = fairness.report(predictions(actual, predicted), table, smallest=2, confidence=0.95)

    assert found["gaps"] == {"demographic_parity": 0.5, "equalised_odds": 0.5}
    column = found["columns"][0]
    assert [group["small"] for group in column["groups"]] == [False, False, True]
    assert column["demographic_parity"] == {"gap": 0.5, "rate": "selection_rate", "highest": "m", "lowest": "f"}
    assert column["equalised_odds"] == {"gap": 0.5, "rate": "tpr", "highest": "m", "lowest": "f"}


def test_a_rate_of_no_rows_is_in_no_gap() -> None:
    actual = [True, False, True, True]  # nobody of m is negative: there is no false positive rate
    table = pd.DataFrame({"sex": ["f", "f", "m", "m"]}, dtype="str")

    found = fairness.report(predictions(actual, [True, True, True, False]), table, 1, 0.95)

    assert found["columns"][0]["groups"][1]["fpr"] is None
    assert found["columns"][0]["equalised_odds"] == {"gap": 0.5, "rate": "tpr", "highest": "f", "lowest": "m"}


def test_missing_levels_are_a_group() -> None:
    levels = pd.Series(["a", None, "a", None], dtype="str")

    found = fairness.rates_by_group(predictions([True] * 4, [True] * 4), levels, 1, 0.95)

    assert [(group["level"], group["rows"]) for group in found] == [("a", 2), ("(missing)", 2)]


@pytest.mark.parametrize("kind", ["several classes", "nothing sensitive", "one group"])
def test_where_nothing_can_be_compared_there_is_no_gap(kind: str) -> None:
    one = predictions([True, False], [True, False])
    table = pd.DataFrame({"sex": ["f", "f"]}, dtype="str")
    if kind == "several classes":
        one = Predictions(one.actual, one.predicted, None, ("a", "no", "yes"), None)
    elif kind == "nothing sensitive":
        table = table[[]]

    found = fairness.report(one, table, 1, 0.95)

    assert found["gaps"] == {"demographic_parity": None, "equalised_odds": None}
    assert (found["note"] is None) == (kind == "one group")
