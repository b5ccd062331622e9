"""behaviour.yaml as people write it: every mistake is one clear sentence, and nothing in it is run."""

from pathlib import Path

import pytest
from mlops.base.errors import ProjectError
from mlops.evaluation import declaration
from mlops.intake import declarations

from tests.conftest import PROJECT, TEMPLATE

MINIMUM = "{kind: minimum, limit: 0.7}"
CHANGED = "kind: invariance, change"
# What a file holds, and words of the sentence that it is refused with.
WRONG = {
    "- a list": "has ['a list'] at its top",
    "test: {}": "has test at its top: expected is tests",
    "tests: [1]": "tests holds no names",
    "tests: {a: 1}": "tests.a holds no names",
    "tests: {a: {limit: 1}}": "tests.a.kind is missing: known are minimum, invariance",
    "tests: {a: {kind: invariant}}": "tests.a.kind is 'invariant', which is unknown: did you mean invariance?",
    "tests: {a: {kind: [minimum]}}": "which is unknown",
    "tests: {a: {kind: minimum}}": "tests.a.limit is missing",
    "tests: {a: {kind: minimum, limit: .inf}}": "tests.a.limit is inf",
    "tests: {a: {kind: minimum, limt: 0.7}}": "tests.a.limt is unknown: did you mean limit?",
    "tests: {a: {kind: determinism, allowed: 0.5}}": "tests.a.allowed is unknown",
    "tests: {a: {kind: invariance}}": "tests.a.change is missing",
    "tests: {a: {kind: invariance, change: {}}}": "tests.a.change",
    f"tests: {{a: {{{CHANGED}: {{x: 3}}}}}}": "tests.a.change.x is 3: expected is one of {set: a value}",
    f"tests: {{a: {{{CHANGED}: {{x: {{ad: 3}}}}}}}}": "ad is unknown: did you mean add?",
    f"tests: {{a: {{{CHANGED}: {{x: {{add: a}}}}}}}}": "expected is one of",
    f"tests: {{a: {{{CHANGED}: {{x: {{add: 1{'0' * 400}}}}}}}}}": "expected is one of",  # no float
    f"tests: {{a: {{{CHANGED}: {{x: {{add: 1, set: 2}}}}}}}}": "expected is one of",
    f"tests: {{a: {{{CHANGED}: {{x: {{swap: [1]}}}}}}}}": "expected is one of",
    f"tests: {{a: {{{CHANGED}: {{x: {{scale: .nan}}}}}}}}": "expected is one of",
    f"tests: {{a: {{{CHANGED}: {{x: {{swap: true}}}}, tolerance: -1}}}}": "tests.a.tolerance is -1",
    f"tests: {{a: {{{CHANGED}: {{x: {{swap: true}}}}, allowed: 2}}}}": "tests.a.allowed is 2",
    f"tests: {{a: {{{CHANGED}: {{x: {{swap: true}}}}, allowed: 1}}}}": "allowed is 1: if every row may fail, the test",
    "tests: {a: {kind: robustness, allowed: 1}}": "the test can never fail: expected is a share below 1",
    "tests: {a: {kind: minimum, metric: roc_auc, limit: 0}}": "limit is 0: the test can never fail: roc_auc is never",
    "tests: {a: {kind: minimum, metric: brier, limit: 1}}": "brier is never above 1, so give a smaller limit",
    "tests: {a: {kind: minimum, metric: log_loss, limit: 99}}": "log_loss is never above 37",
    "tests: {a: {kind: minimum, limit: 1, where: {x: {over: 3}}}}": "where.x is {'over': 3}: expected is a value",
    "tests: {a: {kind: minimum, limit: 1, where: {x: []}}}": "expected is a value, null for missing",
    "tests: {a: {kind: minimum, limit: 1, where: x > 3}}": "tests.a.where is 'x > 3'",
    "tests: {a: {kind: direction, change: {x: {add: 1}}, expect: up}}": "tests.a.expect is 'up'",
    "tests: {a: !!python/object/apply:os.system [touch canary]}": "no valid YAML",
    f"tests: {{a: {MINIMUM}, a: {MINIMUM}}}": "has a twice (again in line 1): keep one",
    f'tests: {{"a b": {MINIMUM}, "a  b": {MINIMUM}}}': "given once",
    f'tests: {{"": {MINIMUM}}}': "no name",
    f'tests: {{"a\\0b": {MINIMUM}}}': "no name",
    f"tests: {{{'n' * 101}: {MINIMUM}}}": "no name of 1 to 100 signs",
    "tests: {" + ", ".join(f"t{k}: {MINIMUM}" for k in range(101)) + "}": "declares 101 tests: 100 at most",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_one_sentence_that_names_its_place(text: str, tmp_path: Path) -> None:
    path = tmp_path / "behaviour.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ProjectError) as error:
        declarations.read(path)

    assert WRONG[text] in str(error.value)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "behaviour.yaml"
    path.write_text("tests: {one: {kind: minimum}, other: {kind: servng}}", encoding="utf-8")

    with pytest.raises(ProjectError, match=r"one\.limit is missing; .*other\.kind is 'servng'.*serving\?"):
        declarations.read(path)


@pytest.mark.parametrize(("text", "names"), [("", []), ("tests:\n", []), (f"tests: {{7: {MINIMUM}}}", ["7"])])
def test_a_file_may_declare_nothing_and_a_name_is_text(text: str, names: list[str], tmp_path: Path) -> None:
    path = tmp_path / "behaviour.yaml"
    path.write_text(text, encoding="utf-8")

    assert list(declarations.read(path) or {}) == names


def test_without_a_file_there_is_no_declaration() -> None:
    assert declarations.read(None) is None


def test_the_example_in_the_documentation_declares_every_kind(tmp_path: Path) -> None:
    text = (TEMPLATE / PROJECT / "docs" / "behaviour.md").read_text(encoding="utf-8")
    path = tmp_path / "behaviour.yaml"
    path.write_text(text.split("```yaml\n")[1].split("```")[0], encoding="utf-8")

    assert {test.kind for test in (declarations.read(path) or {}).values()} == set(declaration.KINDS)
