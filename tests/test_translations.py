"""A translation says what its original says: whoever changes one page without the other is told where."""

import re
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.conftest import TEMPLATE

TRANSLATIONS = sorted([*TEMPLATE.glob("*.ja.md"), *(TEMPLATE / "docs").rglob("*.ja.md")])
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# An entry of each is counted, in no order: a sentence has another one in another language.
COUNTED = {"code_inline": "words", "link_open": "links", "strong_open": "strong", "em_open": "strong"}


@dataclass
class Section:
    """What no translation changes in a section: its level, its blocks and code in order, and the rest sorted."""

    title: str = field(compare=False)
    level: str
    blocks: list[str] = field(default_factory=list)
    code: list[tuple[str, str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    strong: list[str] = field(default_factory=list)


def sections(text: str) -> list[Section]:
    """The sections of a page, each from its heading to the next one. A link to a translation is one to the original."""
    found = [Section("the beginning", "")]
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "heading_open":
            found.append(Section("", token.tag))
        here = found[-1]
        if token.type in ("fence", "code_block"):
            here.code.append((token.info, token.content))
        elif token.nesting == 1:
            here.blocks.append(token.type)
        for child in token.children or []:
            here.title = here.title or token.content
            if child.type == "text":
                here.numbers += NUMBER.findall(child.content)
            elif child.type in COUNTED:
                entry = str(child.attrs["href"]).replace(".ja.md", ".md") if child.tag == "a" else child.content
                getattr(here, COUNTED[child.type]).append(entry)
    for section in found:
        for entries in (section.words, section.links, section.numbers, section.strong):
            entries.sort()
    return found


def test_the_readme_and_the_tutorial_are_there_in_japanese() -> None:
    assert {"README.ja.md", "docs/tutorial.ja.md"} <= {path.relative_to(TEMPLATE).as_posix() for path in TRANSLATIONS}


@pytest.mark.parametrize("path", TRANSLATIONS, ids=lambda path: path.name)
def test_a_translation_has_the_sections_code_links_and_numbers_of_its_original(path: Path) -> None:
    original = path.with_name(path.name.replace(".ja.md", ".md"))

    pairs = zip_longest(*(sections(page.read_text(encoding="utf-8")) for page in (path, original)))

    for translated, english in pairs:
        assert translated == english, f"{path.name} differs from {original.name}: {(english or translated).title}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("$ make demo", "$ make test"),
        ("## Use", "### Use"),
        ("(a.md)", "(b.md)"),
        ("7,043", "7,044"),
        ("`make`", "make"),
        ("**One**", "One"),
        ("- two", "- two\n- three"),
    ],
)
def test_a_change_of_the_original_alone_is_seen(before: str, after: str) -> None:
    page = "# Page\n\n**One** [link](a.md), 7,043 rows\n\n- one\n- two\n\n## Use\n\n"
    page += "By `make`:\n\n```console\n$ make demo\n```\n"

    assert sections(page.replace(before, after)) != sections(page)
    assert sections(page.replace("(a.md)", "(a.ja.md)").replace("By", "で")) == sections(page)
