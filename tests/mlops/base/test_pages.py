"""How values are written for people, in a page and in Markdown."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from mlops.base import pages

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "+0.0000"),
        (-0.0108333, "−0.0108"),
        (1234.5, "+1,234.5000"),
        (-1234567.8, "−1,234,568"),
        (-0.0000123, "−1.2e−05"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_a_difference_has_its_sign(value, text):
    assert pages._signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.1235"),
        (1234.5, "1,234"),
        (36278.4, "36,278"),
        (-1234567.8, "-1,234,568"),
        (1e20, "1e+20"),
        (None, "–"),
    ],
)
def test_a_number_has_four_digits_and_no_exponent_that_nobody_reads(value, text):
    assert pages._number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "< 0.001"),
        (0.00099, "< 0.001"),
        (0.001, "0.001"),
        (0.5, "0.500"),
        (1.0, "1.000"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_no_p_value_is_zero(value, text):
    assert pages.p_value(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        ("", '`""`'),
        (False, "`False`"),
        (0, "`0`"),
        ([1, "a|b"], "`[1, 'a\\|b']`"),
        ("x" * 80, "`" + "x" * 80 + "`"),
        ("x" * 81, "`" + "x" * 80 + "…`"),
        ("x" * 79 + "||", "`" + "x" * 79 + "\\|…`"),
    ],
)
def test_a_value_in_a_cell_is_code(value, text):
    assert pages._cell(value) == text
    assert pages._code(value) == text.replace("\\|", "|")


@given(st.text(st.sampled_from("|`\\<>!-*_[](){}@#~&;:.+=$012 \t\r\n\u2028ax'\""), max_size=60).filter(str.strip))
def test_whatever_a_sentence_holds_it_is_text_in_its_item(sentence):
    parsed = MARKDOWN.parse(f"- {pages._text(sentence)}\n\nend\n")

    item, end = [token for token in parsed if token.type == "inline"]
    assert [token.type for token in parsed[:4]] == ["bullet_list_open", "list_item_open", "paragraph_open", "inline"]
    assert {part.type for part in item.children} <= {"text", "text_special", "code_inline"}
    assert not any(pages.MENTION.search(part.content) for part in item.children if part.type != "code_inline")
    assert "".join(part.content for part in item.children) == " ".join(sentence.split())
    assert end.content == "end"


@given(st.text(st.sampled_from("|`\\<>!-*_[](){}@#~&; \t\r\n\v\u2028ax1"), max_size=120) | st.text())
def test_whatever_a_value_holds_it_is_one_piece_of_code_in_its_cell(value):
    parsed = MARKDOWN.parse(f"| a | b |\n|---|---|\n| {pages._cell(value)} | end |\n")

    cells = [token.children for token in parsed if token.type == "inline"]
    assert [[part.type for part in cell] for cell in cells] == [["text"], ["text"], ["code_inline"], ["text"]]
    assert cells[-1][0].content == "end"


def test_what_could_ping_or_link_is_code_and_an_address_is_text() -> None:
    assert pages._text("@everyone: see #12, o/r#3, !4, GH-5") == "`@everyone:` see `#12,` o/r`#3,` `!4,` `GH-5`"
    assert pages._text("ada@example.org = C#") == "ada@example.org = C#"


@pytest.mark.parametrize("sign", ["\0", "\x1b", "\u200b", "\u200f", "\u202e", "\u2066", "\ufeff"])
def test_an_invisible_sign_is_shown_as_its_code_in_pages_and_markdown(sign: str) -> None:
    code = sign.encode("unicode_escape").decode()
    rule = {"rule": "a", "measured": f"b{sign}c", "actual": 1.0, "comparison": "≥", "limit": 0.5, "passed": True}
    line = {"title": f"F1{sign}", "before": None, "now": 0.5, "verdict": "", "low": None, "high": None}
    line |= {"difference": None, "baseline": 0.25}
    known = {
        "before": "main",
        "now": f"@all{sign}",
        "headline": line,
        "metrics": {"confidence": 0.95, "test_rows": 1, "test_rows_before": 1, "rows": [line]},
        "gate": {"passed": True, "passed_before": None, "rules": [rule]},
        "data": {"changed": False, "columns": []},
        **dict.fromkeys(("stages", "unexplained", "not_run", "left_out", "parameters", "code", "environment"), ()),
        "note": f"see #1{sign}",
        "delivery": {"changed": False},
        "threshold": {"before": None, "now": None, "costs": None},
        "figures": [{"title": f"a{sign}", "svg": f"<svg><text>{sign}</text></svg>"}],
    }
    known["metrics"] |= {"groups": [], "shared_rows": 0, "on_shared_rows": False}  # type: ignore[operator]

    text, page = pages.filled("review.md", **known), pages.filled("review.html", **known)

    assert sign not in text + page
    assert f"`b{code}c`" in text
    assert f"`@all{code}`" in text
    assert f"`#1{code}`" in text
    assert f"<svg><text>{code}</text></svg>" in page


@pytest.mark.parametrize(
    ("share", "said"),
    [(None, "–"), (0, "0"), (0.0004, "0.04"), (0.004, "0.4"), (0.54, "54"), (0.996, "99.6"), (1, "100")],
)
def test_a_share_is_so_many_of_100_and_a_few_are_not_none(share: float | None, said: str) -> None:
    assert pages._hundred(share) == said
