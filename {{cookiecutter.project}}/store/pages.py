"""Reports for looking at: one self-contained HTML file each, without scripts, readable offline and in ten years."""

from pathlib import Path
from typing import Any

from store import files

TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, **content: Any) -> None:
    """Fill a template of `store/templates` and write it; text is escaped, a figure (SVG) is set in as it is.

    Templates are Jinja with square brackets, since curly ones are cookiecutter's.

    Raises:
        StoreError: the page cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
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
    environment.filters["number"] = _number
    environment.filters["share"] = _share
    files.write_text(path, environment.get_template(template).render(content))


def _number(value: float | None) -> str:
    """Four significant digits; a dash where it is undefined."""
    return "–" if value is None or value != value else f"{value:,.4g}"


def _share(value: float | None) -> str:
    """A share as a percentage with one decimal."""
    return "–" if value is None or value != value else f"{value:.1%}"
