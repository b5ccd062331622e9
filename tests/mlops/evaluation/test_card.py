"""The model card: its facts are those of the reports, gaps are named as gaps, and text in it stays text."""

import re
from typing import Any

import pytest
from mlops.base import pages, params
from mlops.data.schema import Column, Schema
from mlops.evaluation import card

SCHEMA = Schema(
    columns={
        "age": Column(type="number"),
        "sex": Column(type="category", sensitive=True),
        "left": Column(type="boolean", role="target"),
    }
)
RATE = {"rate": 0.5, "low": 0.4, "high": 0.6}


def group(level: str, rows: int) -> dict[str, Any]:
    return {"level": level, "rows": rows, "small": rows < 30} | dict.fromkeys(card.RATES, RATE)


FOUND: dict[str, Any] = {
    "dataset": {
        "rows": 1000,
        "columns": 3,
        "files": {"march.csv": 600, "april.csv": 400},
        "rejected": {"unparseable": 1, "target_missing": 2},
        "duplicates_dropped": 3,
        "period": {"column": "day", "first": "2026-01-01", "last": "2026-04-30"},
        "target": {"True": 250, "False": 750},
        "split": {"by": "stratified", "train": 800, "test": 200},
    },
    "training": {
        "model": "forest",
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "arguments": {"max_depth": 5, "class_weight": None, "penalty": "deprecated", "scoring": "warn"},
        "cross_validated": {"accuracy": {"mean": 0.8, "std": 0.01}, "recall": {"mean": 0.7, "std": 0.02}},
        "folds": [{}] * 5,
        "rare_classes": {},
    },
    "metrics": {"accuracy": 0.8125, "recall": 0.6},
    "baseline": {"accuracy": 0.75, "recall": 0.0},
    "validation": {
        "passed": 7,
        "warnings": 1,
        "errors": 0,
        "checks": [
            {"check": "range", "column": "age", "expected": "≥ 0", "failed": 4, "share": 0.004, "passed": False},
            {"check": "type", "column": "age", "expected": "number", "failed": 0, "share": 0.0, "passed": True},
        ],
    },
    "evaluation": {
        "headline": "accuracy",
        "reason": "the smallest class, True, has 25.0% of the training rows",
        "luck": "lucky split",
        "expected": [0.78, 0.81],
        "intervals": {"accuracy": [0.79, 0.83], "recall": [0.5, 0.7]},
        "labels": ["False", "True"],
        "positive": "True",
    },
    "fairness": {
        "note": None,
        "gaps": {"demographic_parity": 0.1, "equalised_odds": None},
        "columns": [{"column": "sex", "groups": [group("f", 90), group("m", 100), group("x", 10)]}],
    },
}
GROUPS = [
    {"column": "sex", "level": "m", "rows": 100, "accuracy": 0.9},
    {"column": "sex", "level": "f", "rows": 90, "accuracy": 0.7},
    {"column": "sex", "level": "x", "rows": 10, "accuracy": 0.1},
]
IMPORTANCES = [{"feature": "age", "importance": 0.05, "spread": 0.01}]
WORDS = params.Card(purpose="Whom to call", users="", not_for="", limits=["Made up"], owner="Ada")


def written(template: str = "model_card.md", **other: Any) -> str:
    """The filled template of the card, as the stage fills it."""
    facts = card.facts(FOUND, GROUPS, IMPORTANCES, SCHEMA, 30, 0.95)
    rule = {"rule": "minimum", "measured": "test accuracy", "actual": 0.8125, "comparison": "≥", "limit": 0.75}
    content = {
        **facts,
        "name": "churn",
        "passed": True,
        "rules": [{**rule, "passed": True, "note": None}],
        "card": WORDS,
        "digests": {"model": "a" * 64, "data": "b" * 64, "params": "c" * 64, "code": "d" * 64},
        "mode": "enforce",
        "not_here": ["champion"],
        "packages": {"numpy": ["2.4.6", "2.5.5"]},
        "registration": "reports/registration.json",
    }
    return pages.filled(template, **content | other)


@pytest.mark.parametrize(
    "sentence",
    [
        "**accuracy 0.8125** (95% interval 0.7900 to 0.8300) on 200 test rows · gate passed (model alone)",
        "Every rule of the model alone holds.",
        "- **Purpose:** Whom to call",
        "- **Intended users:** *not stated: fill in `card.users` in params.yaml*",
        "`sklearn.ensemble.RandomForestClassifier` with `max_depth=5`\n",
        "1,000 of 3 columns, from `march.csv` (600), `april.csv` (400)",
        "2 without a target, 1 rejected for a value of another type, 3 duplicates",
        "`2026-01-01` to `2026-04-30` (`day`)",
        "`False` 750 (75.0%), `True` 250 (25.0%)",
        "| recall weighted | 0.6 | 0.5 to 0.7 | 0 | 0.7 ± 0.02 |",
        "The headline is accuracy, since the smallest class, True, has 25.0% of the training rows.",
        "The baseline is the best prediction without features: the most frequent class, and the shares of the classes,",
        "**Lucky split:** by the folds, accuracy is expected from 0.78 to 0.81 on so many test rows.",
        "Other test rows would probably show a worse one.",
        "| `sex` = `x` (small) | 10 |",
        "demographic parity 0.1, equalised odds –",
        "| `age` | +0.0500 | 0.01 |",
        "- Made up",
        "- The interval of recall weighted is wide, 0.5 to 0.7: there are too few test rows to know it better.",
        "- The group `sex` = `x` has only 10 test rows, too few to judge.",
        "- Range of `age`: 4 rows (0.4%); expected `≥ 0`.",
        "| `minimum` | `test accuracy` | 0.8125 | ≥ 0.75 | ✓ |",
        "numpy 2.4.6 or 2.5.5",
        f"-S {'a' * 64} -- reports/registration.json",
    ],
)
def test_the_card_says_what_the_reports_and_the_people_say(sentence: str) -> None:
    assert sentence in written()


def test_the_measured_value_of_a_rule_is_shown_whole_and_all_rules_hold_where_none_is_judged_elsewhere() -> None:
    rule = {"rule": "skill", "metric": "log_loss", "measured": "a long sentence " * 15, "comparison": ">"}

    text = written(not_here=[], rules=[{**rule, "limit": 0, "actual": 0.1, "passed": True, "note": None}])

    assert f"| `skill` | `{'a long sentence ' * 14}a long sentence` |" in text
    assert "\n\nEvery rule holds.\n" in text
    assert " · gate passed · " in text


def test_of_many_inputs_and_warnings_the_card_names_the_first_and_counts_the_others() -> None:
    columns = {f"c{number}": Column(type="number") for number in range(300)}
    schema = Schema(columns={**columns, "left": Column(type="boolean", role="target")})
    check = {"check": "range", "expected": "≥ 0", "failed": 4, "share": 0.004, "passed": False}
    validation = {**FOUND["validation"], "checks": [{**check, "column": name} for name in columns]}
    facts = card.facts({**FOUND, "validation": validation}, GROUPS, IMPORTANCES, schema, 30, 0.95)

    text = written(inputs=facts["inputs"], limits=facts["limits"])

    assert "**Inputs:** 300 columns: `c0`, `c1`," in text
    assert "`c99` and 200 more\n" in text
    assert "- Range of `c99`: 4 rows" in text
    assert "Range of `c100`" not in text
    assert "200 more warnings stand in reports/validation.json" in text


def test_the_worst_group_comes_first_and_small_ones_last() -> None:
    facts = card.facts(FOUND, GROUPS, IMPORTANCES, SCHEMA, 30, 0.95)

    assert [one["level"] for one in facts["groups"]["shown"]] == ["f", "m", "x"]
    worst = facts["groups"]["shown"][0]
    assert worst["low"] < 0.7 < worst["high"]


def test_the_card_says_which_probability_is_the_positive_class_and_why() -> None:
    costs = {"false_positive": 1, "false_negative": 20}
    found = {"rows": 4800, "positive": 1269, "value": 0.6108, "value_at_half": 2.696, "by_other_folds": [0.05]}
    after = {"method": "isotonic", "before": None, "after": {"log_loss": 0.4412, "brier": 0.14}}
    plain = {"threshold": 0.5, "chosen_by": None, "costs": None, "out_of_fold": None, "calibration": None}
    chosen = {
        "threshold": 0.0467,
        "chosen_by": "cost per row",
        "costs": costs,
        "out_of_fold": found,
        "calibration": after,
    }

    own, decided = (
        written(training=FOUND["training"] | {"decision": decision, "balance": balance})
        for decision, balance in ((plain, "none"), (chosen, "classes"))
    )

    assert "\n- **Decision:** `True` from a probability of 0.5 on\n- **Algorithm:** " in own
    assert (
        "`True` from a probability of 0.0467 on, chosen by cost per row (a false positive costs 1, a false negative "
        "20) on 4,800 out-of-fold training rows, 1,269 of them positive: 0.6108, and 2.696 at 0.5\n" in decided
    )
    assert ("**Class weights:**" in own, "**Class weights:**" in decided) == (False, True)
    assert "calibrated on out-of-fold rows (isotonic), log loss there – before and 0.4412 after" in decided


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "# A heading\n\n| a | b |",
        "[click](javascript:alert(1))",
        "1. *one* `two` **three**",
        "~~~",
    ],
)
def test_what_people_write_stays_text(hostile: str) -> None:
    words = WORDS.model_copy(update={"purpose": hostile, "limits": [hostile]})

    html = pages.from_markdown(written(card=words))

    plain = re.sub(r"<[^>]+>", "", html)
    for sign, entity in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        plain = plain.replace(sign, entity)
    line = " ".join(hostile.split())
    assert plain.count(line) == 2
    assert "<script" not in html
    assert "<a " not in html
    assert html.count("<h1>") == 1


def test_behaviour_tests_are_listed_and_their_names_stay_text() -> None:
    tests = [
        {"name": "*no* <b>", "kind": "serving", "passed": passed, "sentence": "2 of 10 rows"}
        for passed in (True, False, None)
    ]
    behaved = {"tests": tests, "note": None, "passed": 1, "failed": 1, "not_judged": 1}

    said = written(behaviour=behaved)

    assert "Of 3 tests in behaviour.yaml, 1 passed, and 1 had no row to judge." in said
    for mark in ("✓", "✗ **failed**", "–"):
        assert f"- {mark} \\*no\\* \\<b\\> (serving): 2 of 10 rows.\n" in said
    assert "No behaviour tests: dvc.yaml gives the stage register no report of them." in written()


def test_the_page_holds_the_card_as_html() -> None:
    opening, rest = pages.from_markdown(written()).split("<h2>", 1)

    page = written("model_card.html")

    assert opening in page
    assert rest in page


@pytest.mark.parametrize(
    ("passed", "said", "colour"), [(True, "gate passed", "good"), (False, "gate <strong>FAILED", "bad")]
)
def test_the_page_begins_with_the_verdict_and_leads_to_the_others(passed: bool, said: str, colour: str) -> None:
    page = written("model_card.html", passed=passed)

    (top,) = re.findall(rf'<header class="{colour}">(.*?)</header>', page, re.DOTALL)
    assert said in top
    assert "accuracy 0.8125" in top
    assert re.findall('<a href="(.*?)"', page) == ["evaluation.html", "model_card.html", "drift.html"]
    assert '<a href="model_card.html" aria-current="page">' in page


def test_a_headline_that_is_undefined_is_said_so() -> None:
    nothing = {"headline": "accuracy", "intervals": {"accuracy": [None, None], "recall": [0.5, 0.7]}}
    found = FOUND | {"metrics": {"accuracy": None, "recall": 0.6}, "evaluation": FOUND["evaluation"] | nothing}

    facts = card.facts(found, GROUPS, IMPORTANCES, SCHEMA, 30, 0.95)

    assert facts["summary"] == "**accuracy undefined** on 200 test rows"


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(ValueError, match="purpos"):
        params.Card.model_validate({"purpos": "", "users": "", "not_for": "", "limits": [], "owner": ""})


def test_the_card_says_if_a_part_of_the_rows_was_learnt_or_judged() -> None:
    learnt = {**FOUND["training"], "sample": {"rows": 500, "of": 800, "passes": None}}
    judged = {**FOUND["evaluation"], "sample": {"rows": 150, "of": 200}}
    facts = card.facts({**FOUND, "training": learnt, "evaluation": judged}, GROUPS, IMPORTANCES, SCHEMA, 30, 0.95)

    said = written(**facts)

    assert "on 150 of 200 test rows · gate" in said
    assert "On 150 of 200 test rows, with 95% bootstrap intervals" in said
    assert "- The model was fitted on 500 of 800 rows." in said
    assert "- It was judged on 150 of 200 test rows, drawn at random." in said
    assert "fitted on" not in written()
