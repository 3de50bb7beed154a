"""The site that `nox -s docs` makes of the documents: complete, and without a request to another host."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

SITE = Path(__file__).parents[1] / "site"
DOCS = SITE.with_name("docs")
pytestmark = pytest.mark.skipif(not SITE.exists(), reason="the site is not built: run nox -s docs")
FOREIGN = re.compile(r"(?:https?:)?//", re.IGNORECASE)


class Fetches(HTMLParser):
    """What a browser fetches, or lets itself be sent to, without a click on a link."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value
            for name, value in attrs
            if value and (name in {"src", "srcset", "action", "data", "poster"} or (name == "href" and tag != "a"))
        ]


def test_every_document_is_a_page() -> None:
    documents = {path.relative_to(DOCS).with_suffix("") for path in DOCS.glob("**/*.md")}
    assert documents <= {path.relative_to(SITE).with_suffix("") for path in SITE.glob("**/*.html")}


def test_index_html_redirects_to_the_first_page() -> None:
    page = (SITE / "index.html").read_text()
    addresses = re.findall(r'(?:url=|href=")([^"]+)"', page)
    assert addresses == ["README.html", "README.html"], "one for browsers to follow, one to click on"
    assert (SITE / "README.html").exists()


def test_no_page_fetches_anything_from_another_host() -> None:
    pages = [*SITE.glob("**/*.html")]
    fetched = [(page.name, address) for page in pages for address in Fetches(page).found]
    assert any(address.endswith(".css") or ".css?" in address for _, address in fetched)
    assert not [(page, address) for page, address in fetched if FOREIGN.match(address)]


def test_no_style_fetches_anything_from_another_host() -> None:
    styles = [*SITE.glob("**/*.css")]
    assert styles
    for style in styles:
        addresses = re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s]+)""", style.read_text())
        assert not [address for address in addresses if FOREIGN.match(address)], style.name
