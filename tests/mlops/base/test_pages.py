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
    assert {part.type for part in item.children} <= {"text", "text_special"}
    assert "".join(part.content for part in item.children) == " ".join(sentence.split())
    assert end.content == "end"


@given(st.text(st.sampled_from("|`\\<>!-*_[](){}@#~&; \t\r\n\v\u2028ax1"), max_size=120) | st.text())
def test_whatever_a_value_holds_it_is_one_piece_of_code_in_its_cell(value):
    parsed = MARKDOWN.parse(f"| a | b |\n|---|---|\n| {pages._cell(value)} | end |\n")

    cells = [token.children for token in parsed if token.type == "inline"]
    assert [[part.type for part in cell] for cell in cells] == [["text"], ["text"], ["code_inline"], ["text"]]
    assert cells[-1][0].content == "end"
