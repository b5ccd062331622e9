"""What the site has besides this folder: the READMEs as its home, and the README and docs of a generated project.

MkDocs calls `on_files`, `on_page_markdown` and `on_post_page`. Nothing is copied: each text has one place.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

TEMPLATE = Path(__file__).resolve().parents[1]
PROJECT = TEMPLATE / "{{cookiecutter.project}}"
# The site shows the example's names, and what each choice of CI adds.
NAMES = {
    "project": "customer-churn",
    "project_name": "A working day",
    "description": "The README of a generated project.",
}
CHOICE = re.compile(r"\{%.*?%\}\n?")
NAME = re.compile(r"\{\{ cookiecutter\.(\w+) \}\}")
# A page here links to a page of the project as GitHub wants it.
TO_PROJECT = re.compile(r"\(<(?:\.\./)+\{\{cookiecutter\.project\}\}/(?:docs/)?([^>]+)>\)")


def rendered(path: Path) -> str:
    """A page of the project with its names filled in, and the parts for every choice."""
    return NAME.sub(lambda found: NAMES[found[1]], CHOICE.sub("", path.read_text(encoding="utf-8")))


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that stand elsewhere."""
    pages = {f"how-to/{path.name}": rendered(path) for path in sorted((PROJECT / "docs").glob("*.md"))}
    pages["how-to/index.md"] = rendered(PROJECT / "README.md").replace("](docs/", "](")
    for path in TEMPLATE.glob("README*.md"):  # in each language, README.ja.md becoming index.ja.md
        text = path.read_text(encoding="utf-8").replace("](docs/", "](").replace("](README.", "](index.")
        pages[path.name.replace("README", "index")] = text
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Lead links to pages of the project to their place in the site."""
    up = "../" * page.file.src_uri.count("/")
    return TO_PROJECT.sub(lambda found: f"({up}how-to/{found[1].replace('README.md', 'index.md')})", markdown)


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Say that a page is Japanese: browsers choose shapes of characters by that, and screen readers a voice."""
    japanese = page.file.src_uri.endswith(".ja.md")
    return output.replace('<html lang="en"', '<html lang="ja"', 1) if japanese else output
