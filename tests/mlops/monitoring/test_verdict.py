"""The report on a delivery: when to retrain, when to raise an alarm, and the small pictures of distributions."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from mlops.base import pages
from mlops.base.params import Costs, Monitor
from mlops.data.profile import Distribution, distribution
from mlops.data.schema import Column, Schema
from mlops.monitoring import drift, verdict
from mlops.monitoring.domain import Domain, Importance
from mlops.training.metrics import Predictions
from scipy import stats

LIMITS = Monitor(drifted_share=0.5, minimum_accuracy=0.7)


def numbers(values: object) -> Distribution:
    return distribution(pd.Series(values, dtype="float64"), "number")


def levels(values: object) -> Distribution:
    return distribution(pd.Series(values, dtype="str"), "category")


def compared(shifts: dict[str, float]) -> list[drift.ColumnDrift]:
    """The drift of a column per name, moved by so much of its range."""
    baseline = {name: numbers(np.linspace(0, 1, 500)) for name in shifts}
    current = {name: numbers(np.linspace(0, 1, 500) + shift) for name, shift in shifts.items()}
    return drift.compare(baseline, current, list(shifts), LIMITS)


def binary(correct: int, wrong: int) -> Predictions:
    """Answers of a classifier, so many of which turn out correct."""
    predicted = np.array(["yes", "no"] * (correct + wrong), dtype=object)[: correct + wrong]
    other = np.where(predicted == "yes", "no", "yes").astype(object)
    actual = np.where(np.arange(correct + wrong) < correct, predicted, other)
    probability = np.where(predicted == "yes", 0.75, 0.25)
    return Predictions(actual, predicted, np.column_stack([1 - probability, probability]), ("no", "yes"), "yes")


def report(
    shifts: dict[str, float],
    moved: float = 0,
    labelled: Predictions | None = None,
    least: float | None = 0.7,
    costs: Costs | None = None,
    together: Domain | str = "no rows were given",
) -> dict:
    outputs = compared({"probability": moved})
    limits = LIMITS.model_copy(update={"minimum_accuracy": least})
    return verdict.report(
        compared(shifts), outputs, binary(80, 20), labelled, "classification", limits, costs, together
    )


def compare(
    columns: dict[str, Column], then: dict, now: dict, importances: dict[str, float], labels: str | None = None
) -> tuple[dict, dict]:
    """The report and what its page shows, of a model that says yes to forty rows."""
    schema = Schema(columns=columns | {"left": Column(type="category", role="target")})
    answered = Predictions(np.full(40, "yes"), np.full(40, "yes"), None, ("no", "yes"), "yes")
    actual = None if labels is None else pd.Series([labels] * 40)
    found, shown = verdict.compare(
        then,
        now,
        pd.DataFrame({"prediction": answered.predicted}),
        *(answered, actual, schema, "classification", LIMITS, pd.Series(importances, dtype="float64")),
    )
    return found, {"delivery": {"rows": 40, "files": {"may.csv": 40}, "digest": "d" * 64}, **shown}


def test_a_delivery_like_the_training_data_is_no_reason_for_anything() -> None:
    found = report({"age": 0, "income": 0})

    assert found["features"] == {"watched": 2, "drifted": [], "share": 0}
    assert found["retraining"] == {"recommended": False, "reasons": []}
    assert found["alarm"] is False
    assert found["verdict"] == "0 of 2 features drifted"


@pytest.mark.parametrize(("drifted", "recommended"), [(1, False), (2, False), (3, True), (4, True)])
def test_retraining_needs_more_than_the_share_of_drifted_features_and_the_alarm_any(
    drifted: int, recommended: bool
) -> None:
    found = report({f"x{number}": 0.5 * (number < drifted) for number in range(4)})

    assert found["features"]["drifted"] == [f"x{number}" for number in range(drifted)]
    assert found["features"]["share"] == drifted / 4
    assert found["retraining"]["recommended"] is recommended
    assert found["alarm"] is True
    if recommended:
        assert found["retraining"]["reasons"] == [f"{drifted / 4:.0%} of the features drifted, more than 50%"]


@pytest.mark.parametrize(("correct", "recommended"), [(71, False), (70, False), (69, True)])
def test_retraining_is_recommended_below_the_least_accuracy_though_nothing_drifted(
    correct: int, recommended: bool
) -> None:
    found = report({"age": 0}, labelled=binary(correct, 100 - correct))

    assert found["predictions"]["metrics"]["accuracy"] == correct / 100
    assert found["retraining"]["recommended"] is found["alarm"] is recommended
    if recommended:
        assert found["retraining"]["reasons"] == ["accuracy on the delivery is 0.690, below 0.7"]
        assert found["verdict"].endswith("retraining is recommended: accuracy on the delivery is 0.690, below 0.7")


@pytest.mark.parametrize(
    ("labelled", "note"),
    [
        (binary(0, 1), "accuracy on the delivery is 0.000, below 0.7, which 1 label cannot say"),
        (
            binary(30, 60).subset(binary(30, 60).predicted == "yes"),
            "accuracy on the delivery is 0.333, below 0.7, but the labels came mostly for one class",
        ),
    ],
    ids=["one label", "labels of one class"],
)
def test_labels_that_say_little_recommend_nothing(labelled: Predictions, note: str) -> None:
    found = report({"age": 0}, labelled=labelled)

    assert not found["retraining"]["recommended"]
    assert found["verdict"].endswith(note)


def test_labels_that_are_no_class_of_the_model_are_told_and_in_no_metric() -> None:
    same = {"age": numbers(np.arange(40.0))}
    found, _ = compare({"age": Column(type="number")}, same, same, {}, labels="Maybe")

    assert found["predictions"]["metrics"] == {}
    assert found["predictions"]["unknown_labels"] == {"Maybe": 40}
    assert found["verdict"].endswith("40 labels of no class of the model (Maybe)")


def test_no_accuracy_is_too_low_where_nobody_said_what_is() -> None:
    assert not report({"age": 0}, labelled=binary(1, 99), least=None)["retraining"]["recommended"]


def test_the_costs_that_chose_the_threshold_are_told_beside_the_accuracy() -> None:
    found = report({"age": 0}, labelled=binary(5, 3), costs=Costs(false_positive=1, false_negative=20))

    assert found["predictions"]["metrics"]["cost_per_row"] == (20 + 1 + 20) / 8


def test_without_labels_there_is_no_accuracy_to_fall() -> None:
    found = report({"age": 0}, labelled=None, least=1)

    assert found["predictions"]["metrics"] == {}
    assert not found["retraining"]["recommended"]


def test_the_metrics_are_of_the_labelled_rows_and_the_spread_of_all() -> None:
    found = report({"age": 0}, labelled=binary(30, 10))

    assert found["predictions"]["metrics"]["accuracy"] == 0.75
    assert found["predictions"]["count"] == 100
    assert found["predictions"]["labelled"] == {"rows": 40, "share": 0.4, "by_class": {"no": 0.4, "yes": 0.4}}


def test_answers_that_moved_are_an_alarm_but_alone_no_reason_to_retrain() -> None:
    found = report({"age": 0}, moved=0.5)

    assert found["predictions"]["drifted"] == ["probability"]
    assert found["alarm"] is True
    assert not found["retraining"]["recommended"]
    assert found["verdict"] == "0 of 1 features drifted; the predictions drifted"
    assert [column["column"] for column in found["columns"]] == ["age", "probability"]


@pytest.mark.parametrize("drifted", [True, False])
def test_columns_that_drifted_together_are_an_alarm_but_alone_no_reason_to_retrain(drifted: bool) -> None:
    together = Domain(0.6, 0.55, 0.65, drifted, (900, 800), [Importance("age", 0.1), Importance("income", 0.05)])

    found = report({"age": 0, "income": 0}, together=together)

    said = "the columns taken together drifted: a classifier tells the new rows from the old ones (AUC 0.60, by "
    assert found["verdict"] == "0 of 2 features drifted" + (f"; {said}age, income)" if drifted else "")
    assert found["alarm"] is drifted
    assert not found["retraining"]["recommended"]
    assert found["multivariate"]["rows"] == (900, 800)
    assert found["multivariate"]["columns"][1] == {"column": "income", "importance": 0.05}
    assert (found["multivariate_note"], found["estimated"]) == (None, None)


def test_the_verdict_names_no_column_that_adds_next_to_nothing() -> None:
    columns = [Importance("age", 0.1), Importance("income", 0.009)]

    some, none = (
        report({"age": 0}, together=Domain(0.6, 0.55, 0.65, drifted=True, rows=(900, 800), columns=named))["verdict"]
        for named in (columns, [])
    )

    assert some.endswith("(AUC 0.60, by age)")
    assert none.endswith("(AUC 0.60)")


def test_what_was_measured_stands_beside_the_same_metrics_of_the_test_split() -> None:
    predicted = np.array(["yes", "no", "yes", "no"], dtype=object)
    answered = Predictions(predicted, predicted, None, ("no", "yes"), "yes")
    test = pd.DataFrame({"prediction": predicted, "actual": ["yes", "no", "yes", "yes"]})
    schema = Schema(columns={"age": Column(type="number"), "left": Column(type="category", role="target")})
    costs = Costs(false_positive=1, false_negative=20)

    found, shown = verdict.compare(
        *({}, {}, test, answered, pd.Series(predicted), schema, "classification", LIMITS),
        *(pd.Series(dtype="float64"), costs),
    )

    assert [(row["name"], row["test"], row["actual"]) for row in shown["performance"]] == [
        ("accuracy", 0.75, 1.0),
        ("f1", pytest.approx(0.75 * 0.8 + 0.25 * 2 / 3), 1.0),
        ("cost_per_row", 5.0, 0.0),
    ]
    assert set(found["predictions"]["test_metrics"]) == set(found["predictions"]["metrics"])
    delivery = {"rows": 4, "files": {"may.csv": 4}, "digest": "d" * 64}
    head = re.findall(r'<th scope="col">([a-z ]+)</th>', pages.filled("drift.html", delivery=delivery, **shown))
    assert head[:3] == ["metric", "test split", "measured here"]


def test_why_columns_were_not_compared_together_is_told() -> None:
    found = report({"age": 0}, together="too few rows")

    assert (found["multivariate"], found["multivariate_note"], found["alarm"]) == (None, "too few rows", False)


def test_features_and_answers_are_adjusted_together() -> None:
    """Otherwise, a delivery without drift would get two chances of an alarm."""
    line = numbers(np.linspace(0, 1, 500))

    found, _ = compare(
        {"age": Column(type="number")}, {"age": line}, {"age": numbers(np.linspace(0, 1, 60) + 0.19)}, {}
    )

    tests = [test for column in found["columns"] for test in column["tests"]]
    known = [test["p_value"] for test in tests]
    assert [test["adjusted_p_value"] for test in tests] == pytest.approx(stats.false_discovery_control(known))
    assert len(known) > 2
    assert known[0] < 0.05


def test_the_verdict_names_five_of_many_drifted_features() -> None:
    found = report({f"x{number}": 0.5 for number in range(7)})

    assert found["verdict"].startswith("7 of 7 features drifted (x0, x1, x2, x3, x4, …); retraining is recommended: ")


def test_nothing_watched_is_no_alarm() -> None:
    found = report({})

    assert found["features"] == {"watched": 0, "drifted": [], "share": 0}
    assert found["alarm"] is False


def test_a_model_of_a_number_is_held_to_its_r2_and_its_answers_are_summed_up() -> None:
    predicted = np.tile([1.0, 2.0, 3.0, 6.0], 10)
    good = Predictions(predicted + 0.1, predicted, None, (), None)
    bad = Predictions(np.tile([6.0, 3.0, 2.0, 1.0], 10), predicted, None, (), None)

    def found(labelled: Predictions) -> dict:
        return verdict.report(compared({"x": 0}), [], good, labelled, "regression", LIMITS)

    spread = found(good)["predictions"]
    assert {name: spread[name] for name in ("count", "mean", "std", "min", "max")} == {
        "count": 40,
        "mean": 3.0,
        "std": pytest.approx(np.std([1, 2, 3, 6])),
        "min": 1.0,
        "max": 6.0,
    }
    assert not found(good)["retraining"]["recommended"]
    assert found(bad)["retraining"]["reasons"][0].startswith("R² on the delivery is -")


def test_a_model_of_two_classes_is_summed_up_by_the_probability_of_the_positive_one() -> None:
    spread = report({"age": 0})["predictions"]

    assert (spread["min"], spread["max"], spread["mean"]) == (0.25, 0.75, 0.5)


def test_labels_without_probabilities_are_counted() -> None:
    labels = np.array(["a", "b", "c"], dtype=object)
    answered = Predictions(labels, labels, None, ("a", "b", "c"), None)

    found = verdict.report(compared({"x": 0}), [], answered, None, "classification", LIMITS)

    assert found["predictions"] == {
        **{"count": 3, "drifted": [], "metrics": {}, "labels_one_sided": False},
        "labelled": {"rows": 0, "share": 0, "by_class": {"a": 0, "b": 0, "c": 0}},
    }


def test_a_report_is_plain_json() -> None:
    found = report({"age": 0.5}, moved=0.5, labelled=binary(6, 4))

    assert json.loads(json.dumps(found, allow_nan=False))["alarm"] is True


@pytest.mark.parametrize(
    ("moved", "labels", "why"),
    [
        (0, "yes", None),
        (1, None, "below 0.7 (no actual values have come yet)"),
        (
            1,
            "yes",
            "than 50.0% of the features drifted (33.3% did), or if accuracy on the delivery is below 0.7 (it is 1)",
        ),
        (1, "no", None),  # retraining is recommended
    ],
)
def test_the_page_says_why_drift_is_no_reason_to_retrain(moved: float, labels: str | None, why: str | None) -> None:
    line = np.linspace(0, 1, 500)
    then = dict.fromkeys(("age", "income", "tenure"), numbers(line))
    now = then | {"age": numbers(line + moved)}

    _, shown = compare({name: Column(type="number") for name in then}, then, now, {}, labels)

    page = pages.filled("drift.html", **shown)
    top = page[page.index("<header") : page.index("</header>")]
    assert f"{int(moved)} of 3 features drifted" in top
    assert ("Still, retraining is not needed" in top) == bool(why)
    assert (why or "") in top
    assert ("p &lt; 0.001" in page) == bool(moved)


def test_the_page_names_levels_dates_units_and_missing_values_of_both_sides_by_effect_times_importance() -> None:
    columns = {
        "noise": Column(type="number"),
        "unknown": Column(type="number"),
        "joined": Column(type="datetime"),
        "weight": Column(type="number", unit="kg"),
        "plan": Column(type="category"),
    }
    days = distribution(pd.Series(pd.date_range("2024-01-01", "2024-12-31")), "number")
    later = distribution(pd.Series([*pd.date_range("2024-03-01", "2024-12-31"), None, None]), "number")
    line = np.linspace(0, 1, 500)
    then = {"noise": numbers([1e-7, *line[1:]]), "unknown": numbers(line), "joined": days}
    now = {"noise": numbers(line + 0.9), "unknown": numbers(line + 0.5), "joined": later}
    then |= {"weight": numbers(50.5 + 20 * line), "plan": levels(["basic"] * 300 + ["gold <b>"] * 100)}
    now |= {
        "weight": numbers([*(50.5 + 22 * line), 999.5]),
        "plan": levels(["basic"] * 200 + ["trial"] * 150 + [None] * 50),
    }
    importances = {"noise": -0.01, "joined": 0.02, "weight": 0.03, "plan": 0.04}

    found, shown = compare(columns, then, now, importances)

    page = pages.filled("drift.html", **shown)
    panels = dict(re.findall(r"<figcaption><h3>(\w+)</h3> (.*?)</figure>", page, re.DOTALL))
    text = {name: " ".join(re.sub(r"<[^>]*>", " ", panel).split()) for name, panel in panels.items()}
    effects = {column["column"]: column["effect"] for column in found["columns"]}
    products = {name: effects[name] * importance for name, importance in importances.items()}
    assert list(panels) == ["prediction", "plan", "joined", "weight", "noise", "unknown"]
    assert products["plan"] > products["joined"] > products["weight"]
    assert effects["noise"] > effects["unknown"]
    assert "test split delivery missing 0.0% 0.0%" in text["prediction"]
    assert "training split delivery missing 0.0% 12.5%" in text["plan"]
    assert "basic 75.0% → 57.1%" in text["plan"]
    assert "trial new 0.0% → 42.9% gold &lt;b&gt; gone 25.0% → 0.0%" in text["plan"]
    assert "missing 0.0% 0.6% median 2024-07-01 2024-07-31" in text["joined"]
    assert "2024-01-01 2024-12-31" in text["joined"]
    assert "50.5 kg 70.5 kg" in text["weight"]
    assert " 0 1 " in text["noise"]
    assert "up to 999.5 kg" in text["weight"]
    assert text["plan"].endswith("importance 0.04")
    assert "without an importance" in text["unknown"]
    assert all('class="then"' in panel and 'class="now"' in panel for panel in panels.values())
    assert "<script" not in page


def test_the_page_of_a_wide_table_shows_what_drifted_and_counts_the_rest() -> None:
    line = np.linspace(0, 1, 300)
    then = {f"x{number}": numbers(line) for number in range(100)}
    now = then | {"x99": numbers(line + 0.3)}

    _, shown = compare({name: Column(type="number") for name in then}, then, now, dict.fromkeys([*then][:-1], 0.1))

    assert len(shown["columns"]) == verdict.MOST_SHOWN
    assert shown["unshown"] == 100 - verdict.MOST_SHOWN
    assert "x99" in [column["column"] for column in shown["columns"]]


def test_no_delivery_is_a_normal_state() -> None:
    found = verdict.no_delivery()

    assert found["alarm"] is False
    assert found["retraining"]["recommended"] is False


# The answers of a model


@pytest.mark.parametrize(
    ("prediction", "task", "kinds"),
    [
        (pd.Series(["yes", "no"], dtype=object), "classification", ("category", "number")),
        (pd.Series([0, 1]), "classification", ("category", "number")),
        (pd.Series([True, False]), "classification", ("category", "number")),
        (pd.Series([1.5, 2.5]), "regression", ("number", "number")),
    ],
)
def test_answers_are_profiled_as_classes_or_as_numbers(prediction: pd.Series, task: str, kinds: tuple) -> None:
    found = verdict.answer_profile(
        pd.DataFrame({"prediction": prediction, "probability": [0.1, 0.9]}),
        task,  # type: ignore[arg-type]
    )

    assert tuple(column.kind for column in found.values()) == kinds
    assert found["prediction"].rows == 2
