"""The reference says what the code says, and the site is whole, and shows what GitHub shows."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import textwrap
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from mlops.base import params
from ruamel.yaml import YAML
from typer.models import OptionInfo

from tests.conftest import PROJECT, TEMPLATE

CODE = re.compile(r"`((?:mlops|stages|project|tests|docs|benchmarks)/[\w/]+\.\w+)`")
COMMAND = re.compile(r"python -m mlops ([a-z][^\n`#|&;>)\]\"]*)")
PARAMETER = re.compile(rf"(?:`|-S '?)((?:{'|'.join(params.SECTIONS)})\.(?!py\b)[a-z_.]+)")
YAML_BLOCK = re.compile(r"^ *```yaml\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
# A folder of someone's machine, as a terminal or a traceback prints it.
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|root|tmp|work|usr|Users|private|var)\b|[A-Z]:\\")
BLOCKS = ("pre", "table", "tr", "li")


class Page(HTMLParser):
    """What a page of the site links to and loads, its language, its anchors, and the blocks of its article."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.language = ""
        self.anchors: set[str] = set()
        self.blocks = dict.fromkeys(BLOCKS, 0)
        self.in_article = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one tag."""
        given = {name: value or "" for name, value in attrs}
        self.in_article = self.in_article or tag == "article"
        if self.in_article and tag in self.blocks:
            self.blocks[tag] += 1
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "html":
            self.language = given["lang"]
        elif tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("link", "script", "img", "iframe", "source"):
            self.loaded += [given[name] for name in ("href", "src") if name in given]

    def handle_endtag(self, tag: str) -> None:
        """Leave the article."""
        self.in_article = self.in_article and tag != "article"


def module(name: str) -> ModuleType:
    """A script in docs/."""
    spec = importlib.util.spec_from_file_location(name, TEMPLATE / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def texts() -> dict[str, str]:
    """The pages that people write, of the template and of a project, without the record of decisions."""
    folders = (TEMPLATE / "docs", TEMPLATE / PROJECT / "docs")
    pages = [
        *TEMPLATE.glob("README*.md"),
        TEMPLATE / PROJECT / "README.md",
        *(p for one in folders for p in one.rglob("*.md")),
    ]
    return {
        path.relative_to(TEMPLATE).as_posix(): path.read_text(encoding="utf-8")
        for path in pages
        if path.name != "decisions.md" and path.parent.name != "reference"
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """The pages of the site by name, as `make docs` builds it."""
    to = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(to)],
        cwd=TEMPLATE,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.relative_to(to).as_posix(): Page(path) for path in to.rglob("*.html") if path.name != "404.html"}


def test_the_reference_is_what_the_code_gives() -> None:
    reference = module("reference")

    written = {path.name: path.read_text(encoding="utf-8") for path in reference.PAGES.iterdir()}

    assert written == reference.pages(), "run `python docs/reference.py`"


def test_a_variable_that_the_reference_lacks_or_no_code_reads_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = module("reference")
    code = "os.environ['ONE'], environ.get('TWO'), os.environ.setdefault('THREE', ''), (URL := 'FOUR_WORDS'), 'FIVE'"
    assert set(reference.constants(ast.parse(code))) == {"ONE", "TWO", "THREE", "FOUR_WORDS"}

    found = reference.variables_read()
    monkeypatch.setattr(reference, "variables_read", lambda: {**found, "FOUR_WORDS": {"mlops/base"}})
    with pytest.raises(LookupError, match="the code names FOUR_WORDS: say in VARIABLES what it means"):
        reference.environment()
    found.pop("MLOPS_EVENTS")
    monkeypatch.setattr(reference, "variables_read", lambda: found)
    with pytest.raises(LookupError, match="no code names MLOPS_EVENTS: take it out"):
        reference.environment()


def test_every_link_of_the_site_leads_somewhere_and_nothing_comes_from_elsewhere(site: dict[str, Page]) -> None:
    guides = {path.stem for path in (TEMPLATE / PROJECT / "docs").glob("*.md")}

    assert {f"how-to/{name}.html" for name in guides} <= set(site)
    for name, page in site.items():
        assert not [address for address in page.loaded if re.match(r"(https?:)?//", address)], name
        for link in page.links:
            if re.match(r"\w+:", link):
                continue
            path, _, anchor = unquote(link).partition("#")
            target = os.path.normpath(Path(name).parent / path) if path not in ("", ".") else name
            assert target in site, (name, link)
            assert not anchor or anchor in site[target].anchors, (name, link)


def test_the_site_has_the_code_blocks_lists_and_tables_that_github_shows(site: dict[str, Page]) -> None:
    assemble = module("assemble")
    markdown = MarkdownIt("commonmark").enable("table")
    texts = {f"how-to/{path.stem}.html": assemble.rendered(path) for path in (TEMPLATE / PROJECT / "docs").glob("*.md")}
    texts |= {
        path.relative_to(TEMPLATE / "docs").with_suffix(".html").as_posix(): path.read_text(encoding="utf-8")
        for path in (TEMPLATE / "docs").rglob("*.md")
    }
    texts["how-to/index.html"] = assemble.rendered(TEMPLATE / PROJECT / "README.md")
    for path in TEMPLATE.glob("README*.md"):
        name = path.with_suffix(".html").name.replace("README", "index")
        texts[name] = path.read_text(encoding="utf-8")

    different = {}
    for name, text in texts.items():
        html = markdown.render(text)
        shown = {tag: len(re.findall(rf"<{tag}\b", html)) for tag in BLOCKS}
        if shown != site[name].blocks:
            different[name] = (shown, site[name].blocks)

    assert not different


def test_translations_are_marked_as_japanese_and_no_other_page(site: dict[str, Page]) -> None:
    assert {name for name, page in site.items() if page.language == "ja"} == {"index.ja.html", "tutorial.ja.html"}
    assert {page.language for page in site.values()} == {"en", "ja"}


def test_a_project_s_readme_leads_to_each_of_its_pages() -> None:
    readme = (TEMPLATE / PROJECT / "README.md").read_text(encoding="utf-8")

    pages = {f"docs/{path.name}" for path in (TEMPLATE / PROJECT / "docs").glob("*.md")}

    assert set(re.findall(r"\]\((docs/[\w-]+\.md)\)", readme)) == pages


def test_the_code_that_pages_name_is_there() -> None:
    named = {name for text in texts().values() for name in CODE.findall(text)}

    assert named
    assert not [name for name in named if not any((root / name).exists() for root in (TEMPLATE, TEMPLATE / PROJECT))]


def test_commands_and_options_that_pages_name_are_there() -> None:
    reference = module("reference")
    options = {
        name: {"--help", *re.findall(r"-[\w-]+", " ".join(reference.spelling(one, info) for one, _, info in given))}
        for name, function in reference.all_commands()
        for given in [[one for one in reference.arguments(function) if isinstance(one[2], OptionInfo)]]
    }

    wrong = []
    for page, text in texts().items():
        for words in COMMAND.findall(text):
            first, second, *_ = [*words.split(), ""]
            name = f"{first} {second}" if first in reference.command_line.GROUPS else first
            named = re.findall(r"(?<!\S)--?[a-zA-Z][\w-]*", words.partition(" -- ")[0])
            if not set(named) <= options.get(name, set()) or name not in options:
                wrong.append((page, words))

    assert not wrong


def test_parameters_that_pages_name_are_there_and_those_they_show_are_valid() -> None:
    wrong = []
    for page, text in texts().items():
        for name in PARAMETER.findall(text):
            section, field, *_ = name.split(".")
            if section != "models" and field not in params.SECTIONS[section].model_fields:
                wrong.append((page, name))
        for block in YAML_BLOCK.findall(text):
            content = YAML(typ="safe").load(textwrap.dedent(block))
            for section in content.keys() & params.SECTIONS:
                params.SECTIONS[section].model_validate(content[section])

    assert not wrong


def test_pictures_that_pages_show_are_there_say_what_they_show_and_are_small() -> None:
    pictures = module("pictures")
    shown = {
        ((TEMPLATE / page).parent / address).resolve(): words
        for page, text in texts().items()
        if not page.startswith(PROJECT)  # a project has no picture, but an example of how to show one
        for words, address in IMAGE.findall(text)
    }

    assert set(shown) == set(pictures.PICTURES.iterdir())
    assert all(len(words) >= 20 for words in shown.values())
    assert not [path.name for path in shown if path.stat().st_size > pictures.MOST_BYTES]


def test_drawings_name_no_path_of_a_machine_and_load_nothing() -> None:
    for path in module("pictures").PICTURES.glob("*.svg"):
        svg = path.read_text(encoding="utf-8")
        assert not MACHINE_PATH.findall(svg), path.name
        assert not re.findall(r"<script|@import|(?:href=\"|url\()(?!#)", svg), path.name


def test_the_drawing_of_the_pipeline_is_that_of_dvc_yaml() -> None:
    pictures = module("pictures")

    drawn = pictures.pipeline(pictures.PIPELINE.read_text(encoding="utf-8"))

    assert (pictures.PICTURES / "pipeline.svg").read_bytes() == drawn.encode(), "run `python docs/pictures.py pipeline`"


def test_the_recording_shows_a_line_as_it_grows_and_no_bar_that_was_erased() -> None:
    pictures = module("pictures")
    bar = "\x1b[?25l\x1b[2K\x1b[31m10%\x1b[0m\r\x1b[2K\x1b[31m50%\x1b[0m\r\n\x1b[1A\x1b[2K"
    chunks = [(0.0, "[1/2] data .. "), (2.0, f"1.0 s\r\n{bar}"), (3.0, "\x1b[32mdone\x1b[0m <here>\r\n")]

    first, second, _ = pictures.terminal(chunks)
    svg = pictures.recording([("make", 3.0, [first, second], 1.0)])

    assert first.grown == [(0.0, 14), (2.0, 19)]
    assert second.grown == [(3.0, 4), (3.0, 11)]
    assert re.findall(r"<text[^>]*>(.*)</text>", svg) == [
        '<tspan class="c2">$</tspan> <tspan class="b">make</tspan>',
        "[1/2] data .. 1.0 s",
        '<tspan class="c2">done</tspan> &lt;here&gt;',
        '<tspan class="c2">$</tspan>',
    ]
