"""Reports for looking at: one self-contained HTML file each, without scripts, readable offline and in ten years."""

import re
from pathlib import Path
from typing import Any

from mlops.base import files

TEMPLATES = Path(__file__).parent / "templates"
LONGEST_CODE = 80  # characters
SMALLEST_DECIMAL = 0.00005  # what is less has no digit in four decimals


def write_page(path: Path, template: str, **content: Any) -> None:
    """Fill a template of `mlops/base/templates` and write it; text is escaped, a figure (SVG) is set in as it is.

    Raises:
        StoreError: the page cannot be written.
    """
    files.write_text(path, filled(template, **content))


def filled(template: str, **content: Any) -> str:
    """A template of `mlops/base/templates`, filled: HTML, where text is escaped, or Markdown.

    In Markdown, `| code` escapes values, `| cell` those in a table, and `| text` sentences. Templates are Jinja with
    square brackets, since curly ones are cookiecutter's.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
    )
    environment.filters |= {"number": _number, "share": _share, "signed": _signed}
    environment.filters |= {"code": _code, "cell": _cell, "text": _text}
    return environment.get_template(template).render(content)


def write_both(path: Path, template: str, page: Path, around: str, **content: Any) -> None:
    """Fill a template of Markdown and write it, and once more as HTML, the `body` of the template `around` it.

    Raises:
        StoreError: one of them cannot be written.
    """
    text = filled(template, **content) + "\n"
    files.write_text(path, text)
    write_page(page, around, **content, body=from_markdown(text))


def from_markdown(text: str) -> str:
    """Markdown (CommonMark, with tables) as HTML; HTML in it stays text."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))


def _number(value: float | None) -> str:
    """Four significant digits; a dash where it is undefined."""
    return "–" if value is None or value != value else f"{value:,.4g}"


def _share(value: float | None) -> str:
    """A share as a percentage with one decimal."""
    return "–" if value is None or value != value else f"{value:.1%}"


def _signed(value: float | None) -> str:
    """A difference, with its sign: four decimals, or two digits of one that would be all zeros."""
    if value is None or value != value:
        return "–"
    return format(value, "+.2g" if 0 < abs(value) < SMALLEST_DECIMAL else "+,.4f").replace("-", "−")


def _code(value: Any) -> str:
    """A value in Markdown, as code on one line: whatever it holds, it is neither markup nor a mention."""
    if value is None:
        return "–"
    text = " ".join(str(value).split()) or '""'
    text = text if len(text) <= LONGEST_CODE else text[:LONGEST_CODE] + "…"
    return "`" + text.replace("`", "'") + "`"


def _cell(value: Any) -> str:
    """The same for a cell of a table, where a bar would end it even in code."""
    return _code(value).replace("|", "\\|")


def _text(value: str) -> str:
    """A sentence in Markdown, on one line: its signs are signs, and no markup."""
    line = " ".join(value.split())
    line = re.sub(r"[\\`*_\[\]<>&~|$]", r"\\\g<0>", line)
    return re.sub(r"^(\d*)([-+=#.)])", r"\1\\\2", line)  # would begin a list, a heading or a rule
