"""Reports for people: self-contained HTML files without scripts, readable offline and in ten years."""

import re
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops.base import files

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
LONGEST_CODE = 80  # characters
SMALLEST_DECIMAL = 0.00005  # smaller numbers are zero in four decimals
SMALLEST_P = 0.001  # smaller p-values are not told apart
MINUTES_A_DAY = 1440
LARGE, HUGE = 1e4, 1e15  # numbers between them are written out, without decimals
# Signs that nobody sees, and that hide or reorder what stands around them: controls, zero-width and bidirectional ones.
INVISIBLE = re.compile(
    r"[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)
# What GitHub or GitLab would take for a person to be told, or for an issue to be linked.
MENTION = re.compile(r"((?:(?<!\w)@\w|[#!]\d|\bGH-\d)[^\s`]*)")


def write_page(path: Path, template: str, **content: Any) -> None:
    """Fill a template of `mlops/base/templates` and write the page; text is escaped, figures (SVG) are not.

    Raises:
        StoreError: the page cannot be written.
    """
    files.write_text(path, filled(template, **content))


def filled(template: str, **content: Any) -> str:
    """The text of a filled template of `mlops/base/templates`: HTML, where all text is escaped, or Markdown.

    In Markdown, `| code` escapes a value, `| cell` a value in a table, and `| text` a sentence. Invisible signs are
    shown as their codes everywhere. Templates are Jinja with square brackets, because cookiecutter uses the curly
    brackets.
    """
    return _environment().get_template(template).render(content)


@cache
def _environment() -> "Environment":
    """Jinja, which keeps the templates that it has compiled."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
    )
    environment.filters |= {"number": _number, "share": partial(_formatted, form=".1%"), "p_value": p_value}
    environment.filters |= {"signed": _signed, "code": _code, "cell": _cell, "hundred": _hundred, "date": _date}
    environment.filters |= {"text": _text, "markdown": from_markdown}
    return environment


def write_both(path: Path, template: str, page: Path, around: str, **content: Any) -> None:
    """Fill a Markdown template and write it, then the HTML template `around` that includes the Markdown template.

    Raises:
        StoreError: one of the files cannot be written.
    """
    files.write_text(path, filled(template, **content) + "\n")
    write_page(page, around, **content)


def from_markdown(text: str) -> str:
    """Markdown (CommonMark, with tables) as HTML whose wide tables and code scroll; HTML in `text` stays text."""
    from markdown_it import MarkdownIt

    html = str(MarkdownIt("commonmark", {"html": False}).enable("table").render(str(text)))
    html = html.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    return html.replace("<pre>", '<div class="scroll"><pre>').replace("</pre>", "</pre></div>")


def p_value(value: float | None) -> str:
    """A p-value with three decimals; never zero, because no test is that sure."""
    return f"< {SMALLEST_P}" if value is not None and value < SMALLEST_P else _formatted(value, ".3f")


def _number(value: float | None) -> str:
    """A number with four digits; a large one is written out, without an exponent."""
    return _formatted(value, ",.0f" if LARGE <= abs(value or 0) < HUGE else ",.4g")


def _hundred(share: float | None) -> str:
    """A share as so many of 100, with the digits that tell a few from none and most from all."""
    rest = min(share or 0, 1 - (share or 0))
    return _formatted(None if share is None else 100 * share, ".3g" if 0 < rest < 0.01 else ".0f")


def _date(days: float, precision: str) -> str:
    """Days since 1970 as a date in ISO 8601, of the precision D, or m for one with a time."""
    import numpy as np

    minutes = np.datetime64(round(days * MINUTES_A_DAY), "m")
    return str(minutes.astype(f"datetime64[{precision}]")).replace("T", " ")


def _visible(value: Any) -> Any:
    r"""A value as it is printed, with its invisible signs as codes such as \u202e."""
    if isinstance(value, str) and INVISIBLE.search(value):  # of HTML, type(value) keeps that it is HTML
        return type(value)(INVISIBLE.sub(lambda sign: sign[0].encode("unicode_escape").decode(), value))
    return value


def _formatted(value: float | None, form: str) -> str:
    """A number in the given format; a dash where the number is undefined."""
    return "–" if value is None or value != value else format(value, form)


def _signed(value: float | None) -> str:
    """A difference with its sign and four decimals; a tiny one has two significant digits, a large one no decimals."""
    size = abs(value or 0)
    form = "+.2g" if 0 < size < SMALLEST_DECIMAL else "+,.0f" if LARGE <= size < HUGE else "+,.4f"
    return _formatted(value, form).replace("-", "−")


def _code(value: Any, longest: int = LONGEST_CODE) -> str:
    """A value as Markdown code on one line, so that nothing in the value is markup or a mention."""
    if value is None:
        return "–"
    text = " ".join(str(value).split()) or '""'
    text = text if len(text) <= longest else text[:longest] + "…"
    return "`" + text.replace("`", "'") + "`"


def _cell(value: Any, longest: int = LONGEST_CODE) -> str:
    """A value as code in a cell of a table, where a bar would end the cell even in code."""
    return _code(value, longest).replace("|", "\\|")


def _text(value: str) -> str:
    """A sentence as plain Markdown text on one line: nothing in it is markup, and what looks like a mention is code."""
    parts = MENTION.split(" ".join(value.split()))
    line = "".join(
        _code(part) if at % 2 else re.sub(r"[\\`*_\[\]<>&~|$]", r"\\\g<0>", part) for at, part in enumerate(parts)
    )
    return re.sub(r"^(\d*)([-+=#.)])", r"\1\\\2", line)  # a start of a list, a heading or a rule
