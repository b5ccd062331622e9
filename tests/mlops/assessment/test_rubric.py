"""The rubric: it is whole in both languages, its criteria are those of the evidence, and damage is one sentence."""

import re
from pathlib import Path
from string import Formatter

import pytest
from mlops.assessment import rubric
from mlops.base import pages
from mlops.base.errors import StoreError

from tests.mlops.assessment.samples import IDS, RUBRIC

JAPANESE = re.compile("[ぁ-ヿ一-鿿]")
SAME = {"ML Test Score", "ML Test Score {score}"}  # a name
CONTRACT = """
0: data.local_files data.no_versioning data.checks_by_hand model.notebooks model.results_by_hand model.trial_and_error
   deployment.by_hand deployment.rare deployment.no_check monitoring.none monitoring.no_alerts
   monitoring.only_afterwards
1: data.versioning data.checks data.lineage model.tracker model.recorded model.registry deployment.pipeline
   deployment.packaged deployment.staging monitoring.performance monitoring.drift monitoring.retraining_by_hand
2: data.automated data.feature_store data.quality model.ci model.tests model.search deployment.automatic
   deployment.canary deployment.rollback monitoring.observability monitoring.retraining monitoring.response
"""


def texts() -> list[rubric.Text]:
    """Every text of the rubric."""
    found = [*RUBRIC.areas.values(), *RUBRIC.sections.values(), *RUBRIC.bands, *RUBRIC.words.values()]
    found += [each.statement for each in RUBRIC.criteria]
    found += [text for level in RUBRIC.levels for text in (level.name, level.enough, *level.recommendations)]
    return [*found, *RUBRIC.test_items.values()]


def fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_the_criteria_are_those_that_the_evidence_speaks_of() -> None:
    level, expected = "", []
    for word in CONTRACT.split():
        if word.endswith(":"):
            level = word[0]
        else:
            expected.append(f"{level}.{word}")

    assert expected == IDS


def test_each_text_is_in_english_and_in_japanese_with_the_same_blanks_to_fill() -> None:
    assert len(texts()) > 36 + 28 + 12 + 50
    for text in texts():
        assert fields(text.en) == fields(text.ja), text
        assert not JAPANESE.search(text.en), text
        if text.en not in SAME and text != RUBRIC.words["comma"]:
            assert JAPANESE.search(text.ja) or text.ja == "{days}日前", text


def test_no_word_is_missing_and_none_is_left_over() -> None:
    code = [path for path in Path(rubric.__file__).parent.rglob("*.py") if "evidence" not in path.parts]
    code += [Path(rubric.__file__).parents[1] / "commands" / "assess.py", *pages.TEMPLATES.glob("assessment.*")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in code)
    used = set(re.findall(r"\bw\.(\w+)", text)) | set(re.findall(r"""words\[['"](\w+)['"]\]""", text))
    used |= {f"outcome_{name}" for name in ("not_available", "not_supported", "not_applicable", "error")}
    used |= {f"kind_{name}" for name in ("commit", "version", "workflow", "report")}
    used |= {"kept", "none_kept", "answer", "evidence"}  # chosen while it runs

    assert used == set(RUBRIC.words)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    ja: 手動プロセス\n", "", "levels.0.name.ja is missing"),
        ("version: '1.0'\n", "", "version is missing"),
        ("      no_versioning:\n", "      local_files:\n", "has local_files twice"),
        ("  model:\n    en: Model development", "  modell:\n    en: Model development", "areas has data, modell"),
        ("threshold: 70 ", "threshold: 170 ", "threshold is 170"),
        ("done: [1.model.tracker]", "done: [1.model.trackers]", "the criterion 1.model.trackers: did you mean 1.model"),
        ("- to: 2\n", "- to: 9\n", "bands must rise"),
    ],
)
def test_a_damaged_rubric_is_one_sentence_that_says_where(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = rubric.FILE.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "rubric.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")

    with pytest.raises(StoreError, match=re.escape(said)):
        rubric.load(tmp_path / "rubric.yaml")


def test_a_word_that_the_rubric_lacks_is_one_sentence() -> None:
    with pytest.raises(StoreError, match="has no word nonsense: the file is machinery and damaged"):
        RUBRIC.in_words("en")["nonsense"]
