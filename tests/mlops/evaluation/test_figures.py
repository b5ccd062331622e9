"""Figures: the same bytes each time, alone or with those of the version before in the same axes."""

import re

import numpy as np
import pandas as pd
import pytest
from mlops.base import pages
from mlops.evaluation import curves, figures
from mlops.training.metrics import Predictions

BINARY = ["ROC", "Precision and recall", "Calibration", "Confusion"]


def binary(seed, classes=("no", "yes")):
    rng = np.random.default_rng(seed)
    actual, probability = rng.random(80) < 0.4, rng.random(80)
    labels = np.array(classes, dtype=object)
    both = np.column_stack([1 - probability, probability])
    predicted = labels[(probability > 0.5).astype(int)]
    return curves.curves(Predictions(labels[actual.astype(int)], predicted, both, classes, classes[1]))


def regression(seed):
    rng = np.random.default_rng(seed)
    return curves.curves(Predictions(rng.normal(size=50), rng.normal(size=50), None, (), None))


def texts(svg):
    return re.findall(r">([^<>]*)</text>", svg)


def titles(drawn):
    return [figure["title"] for figure in drawn]


@pytest.mark.parametrize(("made", "named"), [(binary, BINARY), (regression, ["Residuals"])])
def test_two_versions_are_in_one_figure_that_says_which_is_which(made, named):
    alone, both = figures.of_curves(made(0)), figures.of_curves(made(0), made(1))

    assert titles(alone) == titles(both) == named
    for one, two in zip(alone, both, strict=True):
        assert "before" not in texts(one["svg"])
        if one["title"] != "Confusion":
            assert {"before", "now"} <= set(texts(two["svg"]))
            assert figures.SECOND in two["svg"]
            assert figures.SECOND not in one["svg"]


def test_the_same_tables_give_the_same_bytes():
    assert figures.of_curves(binary(0), binary(1)) == figures.of_curves(binary(0), binary(1))
    assert figures.of_curves(binary(0), binary(1)) != figures.of_curves(binary(0), binary(2))


@pytest.mark.parametrize(("costs", "at"), [(None, 0.323), ({"false_negative": 20}, 0.9)])
def test_the_curve_of_thresholds_marks_the_one_that_is_used(costs, at):
    table = pd.DataFrame({"threshold": np.linspace(0, 0.8, 50), "value": np.linspace(1, 0, 50)})

    figure = figures.threshold(table, {"threshold": at, "by": "cost per row", "value": 0.5, "costs": costs})

    assert figure["title"] == "Threshold"
    assert {f"{at:.3g}", "cost per row", "threshold"} <= set(texts(figure["svg"]))
    assert figures.SECOND in figure["svg"]


def test_probabilities_before_calibration_are_drawn_beside_those_after():
    tables = binary(0) | {"importances": pd.DataFrame(columns=["feature", "importance", "spread"])}
    tables |= {"partial_dependence": pd.DataFrame(columns=["feature", "kind", "value", "mean"])}

    alone, both = (
        figures.of_evaluation(tables | more, "accuracy", [], None)["figures"]
        for more in ({"uncalibrated": binary(1)["calibration"][:0]}, {"uncalibrated": binary(1)["calibration"]})
    )

    assert titles(alone) == titles(both) == BINARY
    assert [one["title"] for one, two in zip(alone, both, strict=True) if one != two] == ["Calibration"]
    assert {"before", "now"} <= set(texts(both[2]["svg"]))


def test_a_confusion_has_the_rows_of_both_versions_also_of_classes_that_are_new():
    now, before = binary(0, ("maybe", "yes")), binary(1, ("no", "yes"))

    shown = texts(figures.confusion(now["confusion"], before["confusion"]))

    counts = now["confusion"].set_index(["actual", "predicted"])["rows"]
    then = before["confusion"].set_index(["actual", "predicted"])["rows"]
    pairs = [(0 if "maybe" in pair else then[pair], rows) for pair, rows in counts.items()]
    assert [shown[at : at + 2] for at in range(len(shown)) if shown[at + 1 : at + 2] and "→" in shown[at + 1]] == [
        [f"{earlier}", f"→ {rows}"] for earlier, rows in pairs
    ]


def test_a_version_before_without_curves_changes_nothing():
    alone = figures.of_curves(binary(0))

    assert figures.of_curves(binary(0), regression(1)) == alone
    assert titles(figures.of_curves(regression(0), binary(1))) == ["Residuals"]


def test_labels_are_text_and_nothing_else():
    drawn = figures.of_curves(binary(0, ("$\\broken$", "<script>x</script> & more")))

    svg = drawn[-1]["svg"]
    assert "$\\broken$" in texts(svg)
    assert "<script" not in svg
    assert "&lt;script&gt;x&lt;/script&gt; &amp; more" in texts(svg)


def test_every_ink_is_one_that_the_page_has_for_light_and_for_dark():
    drawn = figures.of_curves(binary(0), binary(1)) + figures.of_curves(regression(0), regression(1))
    svg = "".join(figure["svg"] for figure in drawn)

    assert set(re.findall("(?:fill|stroke): (#[0-9a-f]+)", svg)) <= {"#ffffff"}  # on the dark cells of a confusion
    page = (pages.TEMPLATES / "page.html").read_text(encoding="utf-8")
    for name in set(re.findall(r"var\(--(\w+)", svg)):
        assert len(re.findall(rf"--{name}: #", page)) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-0.25, "−0.25"), (2019, "2019"), (12500, "12.5k"), (-800000, "−800k"), (1.2e6, "1.2M"), (3e9, "3G")],
)
def test_a_number_at_an_axis_is_short(value, text):
    assert figures._tick(value) == text


def test_the_first_and_the_last_date_of_an_axis_end_inside_the_figure():
    days = ["2019-01-09T00:00:00", "2021-05-01T00:00:00", "2023-12-21T00:00:00"]
    table = pd.DataFrame({"feature": "listed", "kind": "time", "value": days, "mean": [1e6, 2e6, 3e6]})

    (figure,) = figures.partial_dependences(table)

    first, last = (re.search(f'<text style="([^"]*)"[^>]*>{day[:10]}</text>', figure["svg"])[1] for day in days[::2])
    assert "text-anchor: end" in last
    assert "text-anchor: middle" not in first
    assert "3M" in texts(figure["svg"])  # and no power of ten, for which there is no room
