"""The page of benchmarks is made of what was measured, and says what is missed."""

import sys
from importlib import import_module

import pytest

from benchmarks import __main__ as command_line
from benchmarks import page, results
from benchmarks.measure import Row


def test_the_page_is_what_the_results_give() -> None:
    found = page.results()

    assert found
    assert (page.DOCS / "benchmarks.md").read_text(encoding="utf-8") == page.page(found), (
        "run `python -m benchmarks.page`"
    )


def test_the_page_says_of_every_missed_budget_why() -> None:
    text = (page.DOCS / "benchmarks.md").read_text(encoding="utf-8")
    told = [words for name, each in page.results().items() for words in page.missed(name, each)]

    assert len(told) == text.count("**missed**") // 2  # each stands in two tables
    assert page.UNKNOWN not in text


def test_a_picture_is_what_the_results_give() -> None:
    name, content = next(iter(page.results().items()))

    drawn = page.picture(content["rows"])

    assert (page.DOCS / "pictures" / f"bench-{name}.svg").read_text(encoding="utf-8") == drawn


@pytest.mark.parametrize("name", results.NAMES)
def test_every_benchmark_has_what_the_page_needs(name: str) -> None:
    module = import_module(f"benchmarks.{name}")

    assert callable(module.measure)
    assert module.TITLE
    assert module.ABOUT.strip()
    assert module.PACKAGES


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (Row("a", "s", 2.0, "peer", 1.0, most=1.3), "MISSED"),
        (Row("a", "s", 1.0, "peer", 1.0, most=1.3), "met"),
        (Row("a", "requests", 40.0, "peer", 1.0, least=50), "MISSED"),
        (Row("a", "share", 0.02, most=0.05), "met"),
        (Row("a", "share", 0.0, least=0.95), "MISSED"),
        (Row("a", "share", 0.0, most=0.05), "met"),
        (Row("a", "s", 2.0, "peer", 1.0), "–"),
        (Row("a", "s", 2.0, "peer", None, most=0.8), "not to be had here"),
    ],
)
def test_a_budget_is_of_the_ratio_where_a_peer_is_named_and_else_of_our_figure(row: Row, said: str) -> None:
    assert results.verdict(row) == said


@pytest.mark.parametrize(
    ("unit", "judged"),
    [
        ("s", False),
        ("requests a second", False),
        ("ms", False),
        ("s of processor time", True),
        ("MB at the peak", True),
    ],
)
def test_wall_time_of_a_busy_machine_is_not_judged(unit: str, judged: bool) -> None:
    row = Row("a", unit, 2.0, "peer", 1.0, most=1.3)

    assert results.is_busy("2 cores, 25 GB, shared with other work (load 20.7 at the start)")
    assert not results.is_busy("2 cores, 25 GB, shared with other work (load 1.7 at the start)")
    assert results.verdict(row, busy=True) == ("MISSED" if judged else "not judged")


def test_a_benchmark_that_is_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "drfit"])

    with pytest.raises(SystemExit):
        command_line.main()

    assert "no benchmark drfit: known are pipeline," in capsys.readouterr().err
