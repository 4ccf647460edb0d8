"""The documentation site: built, every link followed, and no other host asked."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

PROJECT = Path(__file__).parent.parent.parent
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
"""Tags whose address a browser asks for by itself."""


class Page(HTMLParser):
    """The links, the anchors and what is fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.anchors |= {given.get("id", ""), given.get("name", "")}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in FETCHED and FETCHED[tag] in given and given.get("rel") != "canonical":
            self.fetched.append(given[FETCHED[tag]])


def build(folder: Path, *options: str) -> None:
    done = subprocess.run(
        [sys.executable, PROJECT / "tools/site.py", folder, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_reference_is_made_from_the_code(tmp_path: Path) -> None:
    build(tmp_path, "--pages")
    pages = tmp_path / "docs/reference"
    assert "### `tp mcp install`" in (pages / "options.md").read_text("utf-8")
    assert "| `TP_SERVER_IDLE` |" in (pages / "settings.md").read_text("utf-8")
    assert "#### `Index.search`" in (pages / "python.md").read_text("utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("zensical is not installed")
    folder = tmp_path_factory.mktemp("site")
    build(folder)
    return folder / "site"


def test_every_page_is_in_the_navigation(site: Path) -> None:
    home = Page((site / "index.html").read_text("utf-8"))
    reached = {(site / unquote(link.partition("#")[0])).resolve() for link in home.links if "://" not in link}
    pages = {path.resolve() for path in site.rglob("*.html") if path.name != "404.html"}
    assert {path.relative_to(site.resolve()).as_posix() for path in pages - reached} <= {"index.html"}
    assert len(pages) > 35


def test_every_link_leads_somewhere(site: Path) -> None:
    pages = {path.resolve(): Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    wrong = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are from the root of a host
            continue
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            file, _, anchor = unquote(link).partition("#")
            to = (path.parent / file).resolve() if file else path
            to = to / "index.html" if to.is_dir() else to
            if not to.is_file() or (anchor and to in pages and anchor not in pages[to].anchors):
                wrong.append(f"{path.relative_to(site.resolve())}: {link}")
    assert wrong == []


def test_no_page_asks_another_host(site: Path) -> None:
    for path in site.rglob("*.html"):
        asked = [address for address in Page(path.read_text("utf-8")).fetched if re.match(r"(?:[a-z]+:)?//", address)]
        assert asked == [], path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(?:https?:)?//", path.read_text("utf-8")), path.name
