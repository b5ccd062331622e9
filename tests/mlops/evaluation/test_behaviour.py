"""Behaviour tests: each kind passes a model that behaves, and catches one that is built to violate it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlops.base.errors import ParameterError
from mlops.data import profile
from mlops.data.schema import Schema
from mlops.evaluation import behaviour
from mlops.evaluation.declaration import KINDS, Declaration
from mlops.training.model import FittedModel, fitted_model
from sklearn.base import BaseEstimator

ROWS = 300
COLUMNS: dict[str, Any] = {
    "key": {"type": "integer", "role": "id"},
    "age": {"type": "number"},
    "visits": {"type": "integer"},
    "plan": {"type": "category"},
    "member": {"type": "boolean"},
    "sex": {"type": "category", "sensitive": True},
    "since": {"type": "datetime", "format": "%d.%m.%Y"},
}
TWO = Schema.model_validate({"columns": COLUMNS | {"left": {"type": "category", "role": "target"}}})
THREE = Schema.model_validate({"columns": COLUMNS | {"grade": {"type": "category", "role": "target"}}})
NUMBER = Schema.model_validate({"columns": COLUMNS | {"price": {"type": "number", "role": "target"}}})

Frame = pd.DataFrame
Answer = Callable[[Frame], np.ndarray]


def people() -> pd.DataFrame:
    """Typed rows with missing values, as the prepared test split has them; all follows from a row's number."""
    number = np.arange(ROWS)
    return pd.DataFrame(
        {
            "key": pd.array(number, dtype="Int64"),
            "age": np.where(number % 10 == 9, np.nan, 20.0 + number % 50),
            "visits": pd.array(np.where(number % 7 == 0, None, number % 13), dtype="Int64"),
            "plan": pd.array(np.where(number % 11 == 0, None, np.array(["free", "plus", "pro"])[number % 3]), "str"),
            "member": pd.array(number % 2 == 0, dtype="boolean"),
            "sex": pd.array(np.where(number % 5 < 2, "zebra", "okapi"), dtype="str"),
            "since": pd.to_datetime("2020-01-01").as_unit("us") + pd.to_timedelta(number * 7, unit="D"),
            "left": pd.array(np.where(number % 4 == 0, "Yes", "No"), dtype="str"),
            "grade": pd.array(np.array(["a", "b", "c"])[number % 3], dtype="str"),
            "price": 100.0 + number,
        }
    )


@dataclass
class ByHand(BaseEstimator):
    """A pipeline whose answers a function gives: the probability of the last class, or with no classes a number."""

    answer: Answer
    classes: tuple[str, ...] = ()
    calls: list[int] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        if name == "classes_" and self.classes:
            return np.array(self.classes, dtype=object)
        if name == "predict_proba" and self.classes:
            return self._probabilities
        raise AttributeError(name)

    def _probabilities(self, inputs: Frame) -> np.ndarray:
        self.calls.append(len(inputs))
        last = np.asarray(self.answer(inputs), dtype=float)
        others = [(1 - last) / (len(self.classes) - 1)] * (len(self.classes) - 1)
        return np.column_stack([*others, last])

    def predict(self, inputs: Frame) -> np.ndarray:
        if self.classes:
            return np.array(self.classes, dtype=object)[self._probabilities(inputs).argmax(axis=1)]
        return np.asarray(self.answer(inputs), dtype=float)


def sane(inputs: Frame) -> np.ndarray:
    """Grows with age, and is higher on the plan pro; what is missing is in the middle, and an age above 100 is 100."""
    return 0.1 + 0.004 * inputs["age"].fillna(45).clip(0, 100) + 0.2 * (inputs["plan"] == "pro")


def by_sex(inputs: Frame) -> np.ndarray:
    return sane(inputs) + 0.1 * (inputs["sex"] == "zebra")


def no_news(inputs: Frame) -> np.ndarray:
    """Fails for a plan that nobody has seen, with a sentence that has a value of a sensitive column."""
    if inputs["plan"].eq(behaviour.UNSEEN).any():
        raise RuntimeError("zebra has no plan")
    return sane(inputs)


def by_batch(inputs: Frame) -> np.ndarray:
    return sane(inputs) - 0.01 * (len(inputs) == 1)


def by_place(inputs: Frame) -> np.ndarray:
    return sane(inputs) + np.linspace(0, 1e-4, len(inputs))


class Unsteady:
    """Another answer at every call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, inputs: Frame) -> np.ndarray:
        self.calls += 1
        return sane(inputs) + 1e-12 * self.calls


def two_classes(answer: Answer) -> FittedModel:
    return fitted_model(ByHand(answer, ("No", "Yes")), TWO, "classification", "Yes", 1)


def three_classes(answer: Answer) -> FittedModel:
    return fitted_model(ByHand(answer, ("a", "b", "c")), THREE, "classification", None, 1)


def a_number(answer: Answer) -> FittedModel:
    return fitted_model(ByHand(answer), NUMBER, "regression", None, 1)


def test_of(kind: str, **said: Any) -> Declaration:
    return KINDS[kind].model_validate({"kind": kind, **said})


test_of.__test__ = False  # type: ignore[attr-defined]


def tried(model: FittedModel, table: pd.DataFrame | None = None, **declared: Declaration) -> dict[str, Any]:
    """The report of the tests on the rows of `people`."""
    table = people() if table is None else table
    known = table[list(model.schema.columns)]
    found = model.predict(known, known[model.schema.target].to_numpy(dtype=None if not model.classes else object))
    of_classes = ["accuracy", "recall_positive", "precision_positive", "f1_macro", "roc_auc"]
    metrics = of_classes if model.classes else ["r2", "mae"]
    reference = profile.profile(known, model.schema)
    return behaviour.run(declared, model, known, found, reference, metrics, 42)


def one(model: FittedModel, kind: str, **said: Any) -> dict[str, Any]:
    """What came of one test."""
    [result] = tried(model, it=test_of(kind, **said))["tests"]
    return result  # type: ignore[no-any-return]


OLDER = {"age": {"add": 10}}
# A kind with what it says, a model that behaves, one that does not, and words of the sentence about the latter.
KIND_BY_KIND: dict[str, tuple[str, dict[str, Any], FittedModel, FittedModel, str]] = {
    "minimum": (
        *("minimum", {"limit": 0.7}),
        *(two_classes(lambda rows: 0 * sane(rows)), two_classes(lambda rows: 1 - 0 * sane(rows)), "accuracy is"),
    ),
    "minimum, less is better": (
        *("minimum", {"metric": "mae", "limit": 5, "where": {"plan": "pro"}}),
        a_number(lambda rows: 100 + (rows["since day"] - 18262) / 7),
        *(a_number(lambda rows: 900 + 0 * rows["since day"]), "MAE is"),
    ),
    "invariance": ("invariance", {"change": {"sex": {"swap": True}}}, two_classes(sane), two_classes(by_sex), "0.1"),
    "invariance, many classes": (
        *("invariance", {"change": {"sex": {"swap": ["zebra", "okapi"]}}}),
        *(three_classes(sane), three_classes(by_sex), "moved by more than 0.01"),
    ),
    "invariance, a number": (
        *("invariance", {"change": {"sex": {"set": "okapi"}}}),
        *(a_number(lambda rows: 100 * sane(rows)), a_number(lambda rows: 100 * by_sex(rows)), "more than 2.99"),
    ),
    "direction": (
        *("direction", {"change": OLDER, "expect": "increase"}),
        *(two_classes(sane), two_classes(lambda rows: 1 - sane(rows)), "moved the wrong way"),
    ),
    "direction, a class": (
        *("direction", {"change": {"plan": {"set": "pro"}}, "expect": "decrease", "of": "a"}),
        *(three_classes(sane), three_classes(lambda rows: 1 - sane(rows)), "expected is: decrease"),
    ),
    "direction, nothing moves": (
        *("direction", {"change": {"visits": {"scale": 2}}, "expect": "increase"}),
        *(a_number(lambda rows: rows["visits"].fillna(0)), a_number(lambda rows: 0 * rows["visits"].fillna(0))),
        "on average they moved by +0",
    ),
    "robustness": ("robustness", {"bound": 0.6}, two_classes(sane), two_classes(no_news), "plan unseen: an error"),
    "robustness, not finite": (
        *("robustness", {"columns": ["age"]}),
        *(a_number(sane), a_number(lambda rows: 1 / (rows["age"].fillna(1) > 0)), "age below: not finite"),
    ),
    "robustness, too far": (
        *("robustness", {"columns": ["age", "since"], "bound": 100}),
        *(a_number(sane), a_number(lambda rows: rows["since day"]), "since below: too far"),
    ),
    "serving": ("serving", {}, two_classes(sane), two_classes(by_batch), "another answer alone"),
    "determinism, order": ("determinism", {}, three_classes(sane), two_classes(by_place), "in another order"),
    "determinism": ("determinism", {}, a_number(sane), a_number(Unsteady()), "when asked again"),
}


@pytest.mark.parametrize("case", KIND_BY_KIND)
def test_each_kind_passes_a_model_that_behaves_and_fails_one_that_does_not(case: str) -> None:
    kind, said, good, bad, words = KIND_BY_KIND[case]

    passing, failing = one(good, kind, **said), one(bad, kind, **said)

    assert passing["passed"] is True, passing["sentence"]
    assert failing["passed"] is False, failing["sentence"]
    assert words in failing["sentence"]
    assert passing["kind"] == kind


def test_the_report_counts_and_names_the_worst_rows() -> None:
    wrong = two_classes(lambda rows: sane(rows) - 0.3 * (rows["age"] == 69) * (rows["visits"] == 5))

    result = one(wrong, "direction", change={"age": {"set": 69}}, where={"visits": 5}, expect="increase")

    table = people()
    # Rows whose age is 69 already are not changed, and so not tried.
    about = table[(table["visits"] == 5).fillna(False) & (table["age"] != 69)]
    assert result["rows"] == len(about)
    assert result["failures"] == result["rows"]
    assert result["share"] == 1
    assert [set(example) for example in result["examples"]] == [{"row", "before", "after"}] * 5
    assert {example["row"] for example in result["examples"]} <= set(about.index)
    moves = [example["before"] - example["after"] for example in result["examples"]]
    assert moves == sorted(moves, reverse=True)


def test_a_share_of_the_rows_may_fail_if_that_is_allowed() -> None:
    said = {"change": {"sex": {"set": "okapi"}}, "tolerance": 0.05}
    partly = two_classes(lambda rows: sane(rows) + 0.1 * (rows["sex"] == "zebra") * (rows["plan"] == "plus"))

    strict = one(partly, "invariance", **said)

    assert 0 < strict["share"] < 0.5
    assert one(partly, "invariance", **said, allowed=strict["share"])["passed"]
    assert not one(partly, "invariance", **said, allowed=strict["share"] - 0.01)["passed"]


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({}, lambda table: table["key"] >= 0),
        ({"plan": ["free", "pro"]}, lambda table: table["plan"].isin(["free", "pro"])),
        ({"plan": None}, lambda table: table["plan"].isna()),
        ({"age": {"min": 30, "max": 40}}, lambda table: table["age"].between(30, 40)),
        ({"visits": {"max": 3}, "member": True}, lambda table: (table["visits"] <= 3) & table["member"]),
        ({"since": {"min": "01.01.2022"}}, lambda table: table["since"] >= "2022-01-01"),
        (
            {"since": {"max": "2021-12-31"}, "key": {"min": 20}},
            lambda table: (table["since"] < "2022") & (table["key"] >= 20),
        ),
        ({"left": "Yes"}, lambda table: table["left"] == "Yes"),
    ],
)
def test_a_slice_is_the_rows_for_which_every_condition_holds(where: dict[str, Any], rows: Any) -> None:
    result = one(two_classes(sane), "minimum", limit=0.01, where=where)

    assert result["rows"] == int(rows(people()).fillna(False).sum())


@pytest.mark.parametrize(
    ("change", "column", "value"),
    [
        ({"age": {"add": 1.5}}, "age", lambda before: before + 1.5),
        ({"age": {"set": None}}, "age", lambda before: before * np.nan),
        ({"visits": {"scale": 1.3}}, "visits", lambda before: (before * 1.3).round()),
        ({"visits": {"set": 4}}, "visits", lambda before: before * 0 + 4),
        ({"plan": {"swap": True}}, "plan", lambda before: before.map({"free": "plus", "plus": "pro", "pro": "free"})),
        ({"plan": {"swap": ["free", "pro"]}}, "plan", lambda before: before.replace({"free": "pro", "pro": "free"})),
        ({"member": {"swap": True}}, "member", lambda before: 1 - before),
        ({"since": {"add": 30}}, "since day", lambda before: before + 30),
        ({"since": {"set": "24.12.2025"}}, "since day", lambda before: before * 0 + 20446),
    ],
)
def test_a_change_reaches_the_model_as_it_was_declared(change: dict[str, Any], column: str, value: Any) -> None:
    asked: list[pd.Series] = []

    def listening(inputs: Frame) -> np.ndarray:
        asked.append(inputs[column].reset_index(drop=True))
        return np.zeros(len(inputs))

    result = one(a_number(listening), "invariance", change=change)

    before, after = asked[0], asked[1]
    changed = value(before)
    differs = ~((changed == before) | (changed.isna() & before.isna()))
    order = np.random.default_rng(42).permutation(ROWS)
    rows = order[differs.to_numpy()[order]][:200]
    assert len(after) == result["rows"] == len(rows)
    pd.testing.assert_series_equal(after, changed.iloc[rows].reset_index(drop=True), check_dtype=False)


def test_every_input_is_tried_missing_outside_its_range_or_unseen() -> None:
    asked: list[Frame] = []

    def listening(inputs: Frame) -> np.ndarray:
        asked.append(inputs)
        return np.zeros(len(inputs))

    result = one(a_number(listening), "robustness")

    before, after = asked[0], asked[1]
    for name in ("age", "visits", "since day"):
        low, high = before[name].min(), before[name].max()
        assert after[name].min() == pytest.approx(low - (high - low), abs=1)
        assert after[name].max() == pytest.approx(high + (high - low), abs=1)
    assert (after["plan"] == behaviour.UNSEEN).sum() == (after["sex"] == behaviour.UNSEEN).sum() > 20
    assert all(after[name].isna().sum() > before[name].isna().mean() * len(after) for name in before)
    assert len(after) == result["rows"] <= behaviour.ROWS_OF_CASES


def test_of_many_columns_some_hundred_odd_inputs_are_tried() -> None:
    wide = {f"x{k}": {"type": "number"} for k in range(150)}
    schema = Schema.model_validate({"columns": wide | {"price": {"type": "number", "role": "target"}}})
    table = pd.DataFrame(np.arange(20.0 * 150).reshape(20, 150), columns=list(wide)).assign(price=np.arange(20.0))
    model = fitted_model(ByHand(lambda rows: rows["x0"] * 0), schema, "regression", None, 1)

    [result] = tried(model, table, it=test_of("robustness"))["tests"]

    assert (result["rows"], result["passed"]) == (behaviour.ROWS_OF_CASES, True)


def test_an_error_is_laid_to_the_odd_input_alone_that_raises_it() -> None:
    report = tried(
        two_classes(no_news), odd=test_of("robustness"), same=test_of("invariance", change=OLDER, tolerance=0.9)
    )

    odd, same = report["tests"]
    assert (odd["failures"] == len(people()) and False) or 0 < odd["failures"] < odd["rows"] / 5
    assert {(example["column"], example["input"]) for example in odd["examples"]} == {("plan", "unseen")}
    assert all(example["after"] != example["after"] for example in odd["examples"])  # NaN: there is no answer
    assert same["passed"]
    assert "zebra" not in odd["sentence"]  # what an error says may be data


def test_nothing_of_a_sensitive_column_is_reported() -> None:
    declared = {
        "slice": test_of("minimum", limit=1, where={"sex": "zebra"}),
        "swapped": test_of("invariance", change={"sex": {"swap": ["zebra", "okapi"]}}),
        "older": test_of("direction", change=OLDER, where={"sex": ["zebra"]}, expect="decrease"),
        "odd": test_of("robustness", columns=["sex", "plan"], bound=0),
    }

    report = tried(two_classes(by_sex), **declared)

    assert not any(test["passed"] for test in report["tests"])
    text = json.dumps(report)
    assert "zebra" not in text
    assert "okapi" not in text
    assert [test["examples"] for test in report["tests"][:3]] == [[], [], []]
    assert {example["column"] for example in report["tests"][3]["examples"]} <= {"plan"}


def test_without_a_row_to_judge_a_test_is_neither_passed_nor_failed() -> None:
    report = tried(
        two_classes(sane),
        nobody=test_of("minimum", limit=1, where={"age": {"min": 200}}),
        same=test_of("invariance", change={"plan": {"set": "pro"}}, where={"plan": "pro"}),
        again=test_of("determinism", where={"age": {"min": 200}}),
        sure=test_of("serving"),
    )

    assert [test["passed"] for test in report["tests"]] == [None, None, None, True]
    assert (report["passed"], report["failed"], report["not_judged"]) == (1, 0, 3)
    assert behaviour.sentence(report) == "1 of 4 behaviour tests passed, 3 not judged"


def test_the_same_input_gives_the_same_report_whatever_else_is_declared() -> None:
    odd, older = test_of("robustness"), test_of("direction", change=OLDER, expect="increase")

    both, alone = tried(two_classes(sane), odd=odd, older=older), tried(two_classes(sane), older=older)

    assert json.dumps(both) == json.dumps(tried(two_classes(sane), odd=odd, older=older))
    assert both["tests"][1] == alone["tests"][0]


def test_no_test_is_said_to_be_none() -> None:
    assert behaviour.sentence(tried(two_classes(sane))) == "no behaviour tests: behaviour.yaml declares none"


UNKNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "tests.it.where.agee is no column of the prepared data: did you mean age?": ("serving", {"where": {"agee": 1}}),
    "tests.it.change.plam is no input of the model: did you mean plan?": (
        *("invariance", {"change": {"plam": {"swap": True}}}),
    ),
    "tests.it.change.left is no input of the model": ("invariance", {"change": {"left": {"swap": True}}}),
    "tests.it.columns.agee is no input of the model: did you mean age?": ("robustness", {"columns": ["agee"]}),
    "tests.it.where.plan is 'prro', which is no level of plan: did you mean pro?": (
        *("serving", {"where": {"plan": ["free", "prro"]}}),
    ),
    "tests.it.change.plan is 'prro', which is no level": ("invariance", {"change": {"plan": {"set": "prro"}}}),
    "tests.it.where.sex is 'zebre', which is no level of sex: see its levels": ("serving", {"where": {"sex": "zebre"}}),
    "tests.it.where.visits is 'many', but visits holds a whole number": ("serving", {"where": {"visits": "many"}}),
    "tests.it.where.since.min is 'soon', but since holds a date": ("serving", {"where": {"since": {"min": "soon"}}}),
    "a range is for numbers and dates": ("serving", {"where": {"plan": {"min": "free"}}}),
    "tests.it.change.plan is {'add': 1}, but plan is of type category": (
        *("invariance", {"change": {"plan": {"add": 1}}}),
    ),
    "tests.it.change.age asks for swap: true, but age is of type number": (
        *("invariance", {"change": {"age": {"swap": True}}}),
    ),
    "tests.it.of is 'Yess', which is no class: did you mean Yes?": (
        *("direction", {"change": OLDER, "expect": "increase", "of": "Yess"}),
    ),
    "tests.it.metric is acuracy, which is unknown: did you mean accuracy?": (
        *("minimum", {"metric": "acuracy", "limit": 1}),
    ),
    "tests.it.metric is rmse, which is unknown": ("minimum", {"metric": "rmse", "limit": 1}),
}


@pytest.mark.parametrize("sentence", UNKNOWN)
def test_what_there_is_not_is_one_clear_sentence(sentence: str) -> None:
    kind, said = UNKNOWN[sentence]

    with pytest.raises(ParameterError) as error:
        one(two_classes(sane), kind, **said)

    assert sentence in str(error.value)
    assert str(error.value).startswith("behaviour.yaml: tests.it")
    assert "okapi" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "said", "words"),
    [
        (a_number(sane), {"of": "Yes"}, "the model predicts a number: remove it"),
        (three_classes(sane), {}, "tests.it.of is missing: name one of the classes a, b, c"),
    ],
)
def test_a_direction_is_about_one_class_or_the_number(model: FittedModel, said: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        one(model, "direction", change=OLDER, expect="increase", **said)


@pytest.mark.parametrize(
    ("model", "kind", "said", "words"),
    [
        (two_classes(sane), "invariance", {"change": OLDER, "tolerance": 1}, "tolerance is 1, so that the test can"),
        (a_number(sane), "invariance", {"change": OLDER, "tolerance": 299}, "the target's range is 299"),
        (three_classes(sane), "robustness", {"bound": 1}, "bound is 1, so that the test can never fail"),
        (a_number(sane), "robustness", {"bound": 29_900}, "bound is 29900, so that the test can never fail"),
        (two_classes(sane), "minimum", {"limit": 0}, "limit is 0: the test can never fail: accuracy is never below 0"),
    ],
)
def test_a_test_that_no_model_can_fail_is_refused(
    model: FittedModel, kind: str, said: dict[str, Any], words: str
) -> None:
    with pytest.raises(ParameterError, match=words):
        one(model, kind, **said)


def test_wide_limits_that_still_say_something_are_taken() -> None:
    assert one(a_number(sane), "robustness", bound=900)["passed"]
    assert one(two_classes(sane), "robustness")["passed"]
    assert not one(two_classes(sane), "direction", change=OLDER, expect="decrease", tolerance=1, allowed=1)["passed"]


@pytest.mark.parametrize("metric", ["roc_auc", "recall_positive", "precision_positive"])
def test_a_metric_that_says_nothing_on_one_class_is_not_judged(metric: str) -> None:
    result = one(two_classes(sane), "minimum", metric=metric, limit=0.5, where={"left": "No"})

    assert (result["passed"], result["failures"], result["value"]) == (None, None, None)
    assert "says nothing on 225 rows of one class" in result["sentence"]


def test_what_can_be_judged_on_one_class_is() -> None:
    sure = two_classes(lambda rows: 0 * sane(rows))

    assert one(sure, "minimum", limit=0.9, where={"left": "No"})["passed"] is True
    assert one(sure, "minimum", limit=0.9, where={"left": "Yes"})["passed"] is False
    assert one(sure, "minimum", metric="recall_positive", limit=0.9, where={"left": "Yes"})["passed"] is False
