"""Performance with late labels: windows of prediction time, coverage, finality, and what was estimated beside it."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from mlops.base.errors import ParameterError
from mlops.monitoring import estimated, realised
from mlops.monitoring.realised import Answer, Windows
from mlops.training.metrics import Predictions, score

from tests.mlops.monitoring.test_estimated import YES_NO, classes, labels, numbers

DAY = 86_400.0
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


def answers(
    found: Predictions, start: datetime = MONDAY, told: float | None = DAY, version: str = "3", known: object = None
) -> list[Answer]:
    """A log of predictions, all within an hour; the label of each (of those in `known`) came after so many seconds."""
    probability = [None] * len(found.actual)
    if found.probabilities is not None:
        column = found.positive_probability if found.positive else found.probabilities.max(axis=1)
        probability = np.asarray(column).tolist()
    lines = zip(found.actual.tolist(), found.predicted.tolist(), probability, strict=True)
    listed = []
    for number, (actual, predicted, sure) in enumerate(lines):
        time = start.timestamp() + number % 3600
        has = told is not None and (known is None or known[number])
        listed.append(
            Answer(time, version, "f" * 16, predicted, sure, *((actual, time + told) if has else (None, None)))
        )
    return listed


def report(
    *logs: list[Answer], test: Predictions | None = None, days: float = 7, after: float = 60, delay: float | None = None
) -> dict:
    """The report so many days after Monday; `test` are the test rows of the model."""
    windows = Windows(days * DAY, lambda model: None if test is None else estimated.learn(test, realised.GROUPS))
    for log in logs:
        for answer in log:
            windows.add(answer)
    found = windows.report(MONDAY + timedelta(days=after), delay)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def test_a_window_is_that_of_the_predictions_and_the_metrics_are_those_of_the_labelled_rows() -> None:
    rng = np.random.default_rng(0)
    test, now, later = labels(rng, 1000), labels(rng, 900), labels(rng, 500)
    known = rng.random(900) < 0.5

    found = report(answers(now, told=10 * DAY, known=known), answers(later, MONDAY + timedelta(days=8)), test=test)

    first, second = found["windows"]
    actual = score(now.subset(known))
    assert (first["from"], first["to"]) == ("2026-11-02T00:00:00+00:00", "2026-11-09T00:00:00+00:00")
    assert second["from"] == first["to"]
    assert first["rows"] == 900
    assert first["labelled"]["share"] == known.mean()
    assert second["labelled"]["share"] == 1
    assert first["metrics"]["accuracy"]["value"] == actual["accuracy"]
    assert first["metrics"]["accuracy"]["low"] < actual["accuracy"] < first["metrics"]["accuracy"]["high"]
    assert first["metrics"]["roc_auc"]["value"] == pytest.approx(actual["roc_auc"], abs=0.003)
    sure, came = now.probabilities[known, 1], now.actual[known] == "yes"
    bins = (sure * 10).astype(int).clip(max=9)
    off = sum(abs(sure[bins == k].sum() - came[bins == k].sum()) for k in range(10)) / known.sum()
    assert first["calibration"] == {
        "error": pytest.approx(off),
        "mean_probability": pytest.approx(sure.mean()),
        "observed": pytest.approx(came.mean()),
    }


def test_what_was_estimated_is_of_the_same_rows_and_of_all() -> None:
    rng = np.random.default_rng(1)
    test, now = labels(rng, 1000), labels(rng, 1500, 0.5)
    known = now.predicted == "yes"

    [window] = report(answers(now, known=known), test=test)["windows"]

    for name, rows in {"estimated": now.subset(known), "estimated_all": now}.items():
        learnt = estimated.learn(test)
        exact = estimated.estimated(learnt, estimated.grouped(learnt, rows))["metrics"]
        assert window[name]["metrics"]["accuracy"]["value"] == pytest.approx(exact["accuracy"]["value"], abs=0.005)
        assert window[name]["metrics"]["roc_auc"]["value"] == pytest.approx(exact["roc_auc"]["value"], abs=0.01)


def test_a_warning_about_an_open_window_says_so_though_all_labels_are_there() -> None:
    rng = np.random.default_rng(2)
    test, drifted = labels(rng, 1000), labels(rng, 1000, lost=0.8)

    found = report(answers(drifted), test=test, after=7.5, delay=10 * DAY)

    assert found["windows"][0]["labelled"]["share"] == 1
    assert "to 2026-11-09T00:00 (this window is still open): accuracy is 0." in found["warnings"][0]


def test_labels_tell_the_concept_drift_that_the_estimate_does_not_see() -> None:
    rng = np.random.default_rng(2)
    test, now, drifted = labels(rng, 1000), labels(rng, 1000), labels(rng, 1000, lost=0.8)

    found = report(answers(now), answers(drifted, MONDAY + timedelta(days=7)), test=test)

    assert [window["against_estimate"] for window in found["windows"]] == ["as estimated", "worse"]
    [warning] = found["warnings"]
    assert warning.startswith("version 3, 2026-11-09T00:00 to 2026-11-16T00:00: accuracy is 0.5")
    assert "concept drift" in warning


def test_numbers_have_errors_and_many_classes_the_calibration_of_the_predicted_one() -> None:
    rng = np.random.default_rng(3)
    test, now = numbers(rng, 800), numbers(rng, 700, 0.5)
    three = classes(rng, 900, 0.5)

    [window] = report(answers(now), test=test)["windows"]
    [of_classes] = report(answers(three), test=three)["windows"]
    [worse] = report(answers(numbers(rng, 700, noise=2.0)), test=test)["windows"]

    for name in ("mae", "rmse", "r2"):
        assert window["metrics"][name]["value"] == pytest.approx(score(now)[name])
    assert window["calibration"] is None
    assert window["labelled"]["by_class"] == {}
    assert (window["against_estimate"], worse["against_estimate"]) == ("as estimated", "worse")
    assert list(of_classes["metrics"]) == ["accuracy"]
    assert of_classes["calibration"]["observed"] == pytest.approx(score(three)["accuracy"])
    assert of_classes["against_estimate"] == "as estimated"


def test_a_number_that_is_far_too_large_does_not_end_the_report() -> None:
    huge = Predictions(np.array([1e300, 2.0, -1e300]), np.array([1.0, 2.0, 3.0]), None, (), None)

    assert report(answers(huge))["windows"][0]["metrics"]["mae"]["value"] > 1e50


def test_a_window_is_final_when_the_delay_of_95_percent_of_the_labels_has_passed() -> None:
    log = answers(labels(np.random.default_rng(4), 100))
    log = [answer._replace(told=answer.time + (number + 1) * DAY / 5) for number, answer in enumerate(log)]

    found = report(log, after=27)
    assert found["delay"]["seconds"] == pytest.approx(19 * DAY, rel=0.02)
    assert found["delay"]["labels"] == 100
    assert found["windows"][0]["final"]
    assert not report(log, after=25)["windows"][0]["final"]
    assert report(log, after=9, delay=DAY)["windows"][0]["final"]
    assert not report(log, after=7.5, delay=DAY)["windows"][0]["final"]
    few = report(log[:29], after=1000)
    assert (few["delay"]["seconds"], few["windows"][0]["final"]) == (None, False)


def test_without_any_label_nothing_is_final_and_everything_is_an_estimate() -> None:
    rng = np.random.default_rng(5)

    found = report(answers(labels(rng, 300), told=None), test=labels(rng, 500), after=1000)

    [window] = found["windows"]
    assert (window["metrics"], window["calibration"], window["estimated"], window["final"]) == ({}, None, None, False)
    assert window["estimated_all"]["trusted"]
    assert found["delay"] == {"seconds": None, "chosen": False, "labels": 0}
    assert found["warnings"] == [
        "no label has come for any prediction of these windows: the metrics are estimates only"
    ]


def test_versions_are_apart_in_the_order_of_their_numbers_and_need_no_test_rows_for_an_accuracy() -> None:
    rng = np.random.default_rng(6)
    logs = [answers(labels(rng, 50), version=version) for version in ("10", "9")]

    windows = report(*logs)["windows"]

    assert [window["version"] for window in windows] == ["9", "10"]
    assert all(set(window["metrics"]) == {"accuracy"} for window in windows)
    assert all(window["estimated"] is window["calibration"] is None for window in windows)


@pytest.mark.parametrize(
    ("yes", "no", "one_sided"),
    [(1.0, 0.0, True), (0.0, 1.0, True), (0.9, 0.5, True), (0.6, 0.55, False), (1.0, 1.0, False), (0.0, 0.0, False)],
)
def test_labels_are_one_sided_where_they_come_for_one_class_of_predictions(
    yes: float, no: float, one_sided: bool
) -> None:
    now = labels(np.random.default_rng(7), 1000)
    wanted = {"yes": yes, "no": no}
    counts = {name: int((now.predicted == name).sum()) for name in YES_NO}
    seen = dict.fromkeys(YES_NO, 0)
    known = []
    for name in now.predicted:
        seen[name] += 1
        known.append(seen[name] <= wanted[name] * counts[name])

    found = report(answers(now, known=known))
    [window] = found["windows"]

    assert window["labels_one_sided"] is one_sided
    assert {name: round(share, 2) for name, share in window["labelled"]["by_class"].items()} == wanted
    said = [f"for {share:.0%} of the predictions of {name}" for name, share in wanted.items()]
    assert any(one in warning for one in said for warning in found["warnings"]) is one_sided
    labelled = now.subset(np.array(known)) if any(known) else None
    assert realised.label_coverage(now, labelled) == {name: window[name] for name in ("labelled", "labels_one_sided")}


def test_a_few_labels_of_one_class_may_be_chance_and_a_small_difference_does_not_matter() -> None:
    asked, many = {"yes": 40, "no": 40}, {"yes": 10_000, "no": 10_000}

    assert not realised.coverage(asked, {"yes": 3, "no": 1}, 80, 4)["labels_one_sided"]
    assert not realised.coverage(many, {"yes": 6000, "no": 5500}, 20_000, 11_500)["labels_one_sided"]
    assert not realised.coverage({"yes": 20, "no": 400}, {"no": 300}, 420, 300)["labels_one_sided"]


def test_windows_that_are_far_too_short_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realised, "MOST_WINDOWS", 100)

    with pytest.raises(ParameterError, match="more than 100 windows: give a longer window"):
        report(answers(labels(np.random.default_rng(8), 200)), days=1 / DAY)
