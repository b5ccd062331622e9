"""Reports for looking at: one self-contained HTML file each, without scripts, readable offline and in ten years."""

from pathlib import Path
from typing import Any

from store import files

TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, **content: Any) -> None:
    """Fill a template of `store/templates` and write it; text is escaped, a figure (SVG) is set in as it is.

    Raises:
        StoreError: the page cannot be written.
    """
    files.write_text(path, filled(template, **content))


def filled(template: str, **content: Any) -> str:
    """A template of `store/templates`, filled: HTML, where text is escaped, or Markdown (`| cell` escapes there).

    Templates are Jinja with square brackets, since curly ones are cookiecutter's.
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
    environment.filters |= {"number": _number, "share": _share, "signed": _signed, "cell": _cell}
    return environment.get_template(template).render(content)


def _number(value: float | None) -> str:
    """Four significant digits; a dash where it is undefined."""
    return "–" if value is None or value != value else f"{value:,.4g}"


def _share(value: float | None) -> str:
    """A share as a percentage with one decimal."""
    return "–" if value is None or value != value else f"{value:.1%}"


def _signed(value: float | None) -> str:
    """A difference, with its sign."""
    return "–" if value is None or value != value else f"{value:+,.4f}".replace("-", "−")


def _cell(value: Any) -> str:
    """A value for a cell of a Markdown table, as code: whatever it holds, it is neither markup nor a mention."""
    text = "–" if value is None else str(value)
    text = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{text[:80]}{'…' if len(text) > 80 else ''}`" if value is not None else text
