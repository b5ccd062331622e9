"""The drift page with and without time, in a real browser: small, and readable for everyone."""

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from mlops.base import pages
from mlops.monitoring import timeline, verdict

from tests import browser, drift_pages

LARGEST = 1_500_000  # bytes of a page of 60 columns


class Outline(HTMLParser):
    """The headings of a page, and the pictures, tables and ids that a screen reader or a link needs."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages as the stage writes them, of 9 and 60 columns, both with a year, and the page before the first delivery."""
    folder = tmp_path_factory.mktemp("pages")
    small, wide = drift_pages.shown(9), drift_pages.shown(60)
    small_year, year = (
        drift_pages.history(52, [column["column"] for column in content["columns"]]) for content in (small, wide)
    )
    contents = {
        "plain": drift_pages.shown(9, extended=False),
        "small year": timeline.shown(small_year, small),
        "wide": wide,
        "year": timeline.shown(year, wide),
        "empty": verdict.no_delivery(),
    }
    for name, content in contents.items():
        pages.write_page(folder / f"{name}.html", "drift.html", **content)
    return {name: folder / f"{name}.html" for name in contents}


@pytest.fixture(scope="module")
def faults(written: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the browser says of these pages, and of a bad one, in one run, since a browser takes a second."""
    folder = tmp_path_factory.mktemp("browser")
    bad = folder / "bad.html"
    bad.write_text(
        "<!doctype html><title>Bad</title><style>body { background: #fff; color: #999; margin: 0 }"
        "@media (prefers-color-scheme: dark) { body { background: #000; color: #fff } }</style>"
        "<main><p>pale</p><div style='width: 700px'>wide</div></main><script>throw Error('broken')</script>"
    )
    return browser.faults([bad, *(written[name] for name in ("plain", "small year", "empty"))], folder, (400, 1200))


def test_the_pages_fit_narrow_and_wide_windows_and_can_be_read_light_and_dark(faults: list[str]) -> None:
    assert [fault for fault in faults if not fault.startswith("Bad") and "/bad.html" not in fault] == []


def test_the_browser_names_what_overflows_what_is_pale_and_what_fails(faults: list[str]) -> None:
    assert "Bad 400 light: HTML 700 > 400" in faults
    assert 'Bad 400 light: contrast 2.85 of P "pale"' in faults
    assert not any(fault.startswith("Bad 400 dark: contrast") for fault in faults)
    assert not any(fault.startswith("Bad 1200 light: HTML") for fault in faults)
    assert any("Uncaught Error: broken" in fault for fault in faults)


def test_a_page_of_60_columns_is_small_and_loads_nothing(written: dict[str, Path]) -> None:
    for name in ("wide", "year"):
        page = written[name].read_text(encoding="utf-8")
        outline = Outline(page)
        assert len(page.encode()) < LARGEST
        assert not outline.of("script", "link", "img", "iframe", "object")
        assert not re.search(r"url\(|@import|https?://", page)
        assert len(re.findall("<figure id=", page)) == 62


def test_a_screen_reader_finds_headings_words_for_pictures_and_headers_of_tables(written: dict[str, Path]) -> None:
    outline = Outline(written["year"].read_text(encoding="utf-8"))
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch(r"h[1-6]", tag)]
    pictures = [attributes for _, attributes in outline.tags if attributes.get("role") == "img"]
    scrolling = [attributes for attributes in outline.of("div") if attributes.get("class") == "scroll"]
    targets = {attributes["id"] for _, attributes in outline.tags if "id" in attributes}

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert len(pictures) > 50
    assert all(len(str(attributes["aria-label"])) > 40 for attributes in pictures)
    assert all("aria-hidden" in attributes for attributes in outline.of("svg"))
    assert all(attributes.get("scope") in {"row", "col"} for attributes in outline.of("th"))
    assert scrolling
    assert all({"tabindex", "role", "aria-label"} <= set(attributes) for attributes in scrolling)
    assert {str(link["href"])[1:] for link in outline.of("a")} <= targets  # without time, there are links to pages


def test_names_are_text_wherever_they_stand(written: dict[str, Path]) -> None:
    for page in written.values():
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text
        assert "<b>level" not in text
        assert "<i>may" not in text
        assert "<ada@" not in text


def test_the_page_tells_the_whole_story_of_a_delivery(written: dict[str, Path]) -> None:
    page = " ".join(re.sub(r"<[^>]*>", " ", written["wide"].read_text(encoding="utf-8")).split())

    for sentence in (
        "A classifier tells old from new rows by AUC 0.712 (0.68 to 0.744; 0.5 is chance)",
        "What tells them apart: &lt;script&gt;",
        "estimated here not to be trusted",
        "Not to be trusted: the rows are unlike the training data. ",
        f"{drift_pages.ASSUMPTION.capitalize()}.",
        "Measured on 300 rows whose actual value has come, 15.0% of the delivery.",
        "The labels are one-sided: they have come far more often for some predicted classes",
        "Get labels of all kinds of rows: those here are one-sided, the estimate not to be trusted.",
        "Wasserstein distance 0.310 · PSI 0.250",
        "Jensen–Shannon distance 0.123 · PSI 0.250",
        "gone: gone",
    ):
        assert sentence in page
    assert "Over time" not in page


def test_the_page_with_time_says_which_version_and_which_event_each_line_is(written: dict[str, Path]) -> None:
    page = written["year"].read_text(encoding="utf-8")
    accuracy = page[page.index("<h3>accuracy</h3>") : page.index("<h3>ROC AUC</h3>")]
    events = re.findall(r'<tr><th scope="row">(\d+)</th>.*?<td class="left">([a-z ]+)</td>', page)

    assert re.findall(r">(v\d)</span>", accuracy) == ["v1", "v2", "v3"]
    assert events == [("4", "rolled back"), ("3", "promoted"), ("2", "canary"), ("1", "promoted")]
    assert ">2–3</span>" in accuracy
    assert "measured: 0.79 at first" in accuracy
    assert "not to be trusted" in page[page.index("<ul class=") : page.index("</ul>")]
    assert "longest pause 28 days, usually 7" in page
    assert "(2026-08-31: 80)" in page
    assert "&#34;quotes&#34; -0.31 sd (-12.5 %) on 2026-01-05." in page
    assert "The same input gives the same bytes" not in page
