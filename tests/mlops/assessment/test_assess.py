"""The command `assess`: what it asks, keeps and prints, and what it writes."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.dom.minidom import parse

import pytest
from markdown_it import MarkdownIt
from mlops.__main__ import app
from mlops.assessment import answers, report
from mlops.assessment.finding import Finding, Source
from mlops.base import pages
from mlops.base.errors import ParameterError, StoreError
from mlops.commands.assess import assess as command
from typer.testing import CliRunner, Result

from tests.mlops.assessment.samples import IDS, RUBRIC, finding, findings, made

HOSTILE = "<script>alert(1)</script> | [x](javascript:a) \x1b[2J `<img src=x>`"
DEMO = """\
Level 0  ██████████████████░░   90.0%  Manual process
Level 1  ████████████░░░░░░░░   60.0%  ML pipeline automation
Level 2  ████░░░░░░░░░░░░░░░░   20.0%  Full CI/CD automation
Level 0: Manual process
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder in which the test stands, outside of any repository."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def gathers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Finding]], None]:
    """A function that says what will be found in the repository."""

    def find(found: Sequence[Finding]) -> None:
        module = ModuleType("mlops.assessment.evidence.gathering")
        module.gather = lambda repository, now: list(found)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)

    return find


def assess(*options: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["assess", *options], input=typed)


def kept(path: Path = answers.FILE) -> dict[str, bool]:
    return answers.read(path, RUBRIC)


def test_the_demonstration_is_at_level_0_with_four_recommendations() -> None:
    done = assess("--demo")

    assert DEMO in done.stdout
    assert done.stdout.endswith(
        "1. Adopt an experiment tracker.\n2. Start to version the data.\n3. Script the training pipeline.\n"
        "4. Set up a model registry.\n"
    )
    assert (done.exit_code, done.stderr) == (0, "")


def test_what_is_no_answer_is_asked_again_and_progress_is_shown() -> None:
    done = assess(typed="maybe\n\nY\nＮｏ\nyes\n" + "n\n" * 33)

    assert done.exit_code == 0
    assert done.stderr.count(" 1/36  ") == 3
    assert done.stderr.count("Please answer yes or no") == 2
    assert "36/36" in done.stderr
    assert [name for name, yes in kept().items() if yes] == [IDS[0], IDS[2]]
    assert "Level 0  ███░░░░░░░░░░░░░░░░░   16.7%  Manual process\n" in done.stdout


def test_answers_may_be_japanese_and_so_is_what_is_said() -> None:
    done = assess("--lang", "ja", typed="多分\n" + "はい\nいいえ\n" * 18)

    assert done.stderr.count(" 1/36  ") == 2
    assert list(kept().values()) == [True, False] * 18
    assert "レベル1  ██████████░░░░░░░░░░   50.0%  MLパイプラインの自動化\n" in done.stdout
    assert done.stdout.endswith("4. モデルレジストリを用意する。\n")


def test_the_end_of_the_input_keeps_the_answers_and_a_later_call_goes_on_there() -> None:
    first = assess(typed="y\nn\n")

    assert isinstance(first.exception, ParameterError)
    assert str(first.exception).startswith("2 of 36 answers are kept in assessment.yaml: run the same command again")
    assert first.stdout == ""
    assert kept() == {IDS[0]: True, IDS[1]: False}

    second = assess(typed="n\n" * 34)

    assert "\n 3/36  " in second.stderr
    assert " 2/36  " not in second.stderr
    assert second.exit_code == 0
    assert kept() == {IDS[0]: True} | dict.fromkeys(IDS[1:], False)


def test_control_c_keeps_the_answers_and_exits_as_shells_expect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Typed(StringIO):
        """A person who answers once, and then types Ctrl-C."""

        def readline(self, size: int | None = -1) -> str:
            if line := super().readline(size):
                return line
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Typed("y\n"))

    with pytest.raises(SystemExit) as ended:
        command()

    assert ended.value.code == 130
    assert "1 of 36 answers are kept in assessment.yaml" in capsys.readouterr().err
    assert kept() == {IDS[0]: True}


def test_back_asks_the_statement_before() -> None:
    done = assess(typed="y\ny\nback\nb\nn\n" + "skip\n" * 34)

    assert "2/36  Data are not versioned. [yes/no, so far yes]" in done.stderr
    assert done.exit_code == 0
    assert kept() == {IDS[0]: False, IDS[1]: True}


def test_all_is_asked_again_on_request_and_an_empty_line_keeps_an_answer() -> None:
    answers.write(answers.FILE, dict.fromkeys(IDS, True), RUBRIC, "en")

    assert "36/36" not in assess().stderr
    done = assess("--again", typed="\n" * 35 + "n\n")

    assert done.stderr.count("so far yes") == 36
    assert kept() == dict.fromkeys(IDS[:-1], True) | {IDS[-1]: False}


def test_what_was_skipped_counts_as_not_met_and_is_named() -> None:
    done = assess(typed="y\n" * 35 + "skip\n")

    assert "Without an answer, and counted as not met: 1 (2.monitoring.response)" in done.stdout
    assert "91.7%  Full CI/CD automation" in done.stdout


def test_without_asking_a_missing_answer_is_an_error_that_names_it() -> None:
    answers.write(Path("some.json"), dict.fromkeys(IDS[:-1], True), RUBRIC, "en")

    done = assess("--non-interactive", "--answers", "some.json", typed="y\n")

    assert str(done.exception).startswith("some.json has no answer for 2.monitoring.response: ")
    answers.write(Path("some.json"), dict.fromkeys(IDS, True), RUBRIC, "en")
    whole = assess("--non-interactive", "--answers", "some.json", "--json")
    assert (whole.exit_code, json.loads(whole.stdout)["answers"]["level"]) == (0, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("answers: {1.data.lineages: yes}", "answers 1.data.lineages, which is no criterion: did you mean 1.data.line"),
        ("answers: {1.data.lineage: perhaps}", "says 'perhaps' of 1.data.lineage: write yes or no"),
        ("answers: {1.data.lineage: back}", "says 'back' of 1.data.lineage: write yes or no"),
        ("- 1", "has no answers: it needs a mapping"),
        ("answers: [", "is no valid YAML"),
    ],
)
def test_a_file_of_answers_that_is_wrong_is_one_sentence(text: str, said: str) -> None:
    answers.FILE.write_text(text, encoding="utf-8")

    done = assess("--non-interactive")

    assert isinstance(done.exception, StoreError)
    assert f"assessment.yaml {said}" in str(done.exception)


def test_answers_that_a_person_wrote_are_read_whatever_their_spelling() -> None:
    said = zip(IDS, ["true", "YES", "はい", "no", "null"], strict=False)
    lines = "\n".join(f"  {name}: {word}" for name, word in said)
    answers.FILE.write_text(f"rubric: '0.9'\nanswers:\n{lines}\n  0.data.gone: yes\n", encoding="utf-8")

    assert kept() == {IDS[0]: True, IDS[1]: True, IDS[2]: True, IDS[3]: False}


def test_a_file_of_answers_is_never_half_written(monkeypatch: pytest.MonkeyPatch) -> None:
    answers.write(answers.FILE, {IDS[0]: True}, RUBRIC, "en")
    before = answers.FILE.read_bytes()

    def full(self: Path, text: str, **_: Any) -> int:
        self.write_bytes(text.encode()[: len(text) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        done = assess(typed="n\n")

    assert "assessment.yaml could not be written: No space left on device" in str(done.exception)
    assert answers.FILE.read_bytes() == before
    assert list(Path().iterdir()) == [answers.FILE]


def test_an_answer_that_the_evidence_contradicts_is_shown_beside_it(
    gathers: Callable[[Sequence[Finding]], None],
) -> None:
    lineage = finding("1.data.lineage", outcome="false", said="no lineage", remedy="Run `dvc repro`.")
    gathers([lineage, finding("1.data.versioning")])
    said = dict.fromkeys(["1.data.lineage", "1.data.checks", "1.data.versioning"], True)
    answers.write(answers.FILE, said, RUBRIC, "en")

    done = assess("--evidence")
    facts = {each["id"]: each for each in json.loads(assess("--evidence", "--json").stdout)["criteria"]}

    assert (
        "    ✗ no: The lineage of the data is recorded, so that each model leads back to its data.\n"
        "        no lineage\n"
        "          dvc.lock:4, 3 d old\n"
        "        → Run `dvc repro`.\n"
        "        ! Contradiction: the answer is “yes”, the evidence says “no”.\n"
    ) in done.stdout
    assert done.stdout.count("Contradiction:") == 1
    assert done.stderr == ""  # nothing is asked
    sides = ("answer", "evidence", "contradiction")
    assert [facts["1.data.lineage"][side] for side in sides] == [True, False, True]
    assert [facts["1.data.checks"][side] for side in sides] == [True, None, False]
    assert [facts["1.data.versioning"][side] for side in sides] == [True, True, False]


def test_evidence_alone_needs_no_answers_and_writes_every_kind_of_report(
    gathers: Callable[[Sequence[Finding]], None],
) -> None:
    gathers(findings(dict.fromkeys(IDS, True)))
    options = {"--markdown": "a.md", "--html": "a.html", "--badge": "a.svg", "--output": "a.json"}

    done = assess("--evidence", "--lang", "ja", *(word for option in options.items() for word in option))

    assert done.exit_code == 0
    for name in options.values():
        assert Path(name).read_text(encoding="utf-8").count("1.0") >= 1, name  # the rubric's version
    assert '<html lang="ja">' in Path("a.html").read_text(encoding="utf-8")
    badge = parse("a.svg").documentElement  # noqa: S318 - written here
    assert badge.getAttribute("aria-label") == "MLOps成熟度: レベル2（証拠） · ML Test Score ≥ 0"
    facts = json.loads(Path("a.json").read_text(encoding="utf-8"))
    assert (facts["answers"], facts["evidence"]["level"]) == (None, 2)


def filled(template: str, facts: Mapping[str, Any]) -> str:
    return pages.filled(template, **report.content(RUBRIC, facts))


def test_text_of_a_repository_is_no_markup_anywhere() -> None:
    source = Source("workflow", HOSTILE, None, None)
    told = {"en": HOSTILE, "ja": HOSTILE}
    facts = made([Finding("looks", "false", told, (source,), told, ("1.data.lineage", "data.1"))])
    facts["repository"] = HOSTILE

    page, text, markdown = (filled(f"assessment.{kind}", facts) for kind in ("html", "txt", "md"))

    assert "&lt;script&gt;" in page
    for html in (page, MarkdownIt("commonmark").enable("table").render(markdown)):  # this one passes HTML on
        assert "<script" not in html
        assert "<img" not in html
        assert 'href="' not in html
    assert "\x1b" not in page + text + markdown


def test_the_page_is_whole_in_itself_and_draws_each_area_at_each_level() -> None:
    page = filled("assessment.html", made(findings({IDS[0]: True, IDS[1]: False}), {IDS[0]: False}))

    assert "http" not in page
    assert "src=" not in page
    assert "<script" not in page
    chart = page[page.index("<h2>Areas and levels") : page.index("<h2>ML Test Score")]
    assert chart.count("<rect") == 2 * 36  # by answers and by evidence
    signs = [chart.count(f">{sign}</text>") for sign in "✓✗?"]  # without colour
    assert signs == [1, 2, 69]
