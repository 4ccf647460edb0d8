"""axe-core finds nothing serious in any view, in both themes; with what a view shows when it has something to show."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

AXE = Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js"
SOURCE = {"path": "src/store/retry.py", "start_line": 1, "end_line": 15, "text": "", "repo": "store"}
pytestmark = pytest.mark.skipif(not AXE.is_file(), reason=f"npm install --prefix {AXE.parents[2]} axe-core@4")


def serious(page: Page) -> list[str]:
    """What axe-core calls serious or critical, with the elements."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate(
        """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
          .filter(({ impact }) => impact === "serious" || impact === "critical")
          .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`)"""
    )
    assert page.evaluate("axe.version").startswith("4.")
    return list(found)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_no_view_has_a_serious_barrier(open_page: Any, server: Any, theme: str, width: int) -> None:
    server.script.answer = ["It is tried again [src/store/retry.py:6-10].\n\n```python\nreturn work()\n```\n"]
    server.script.sources = [SOURCE]
    page = open_page("#/search", color_scheme=theme, viewport={"width": width, "height": 860})
    found: dict[str, list[str]] = {}

    def look(name: str, fragment: str, ready: str) -> None:
        page.goto(f"{server.url}{fragment}")
        expect(page.locator(ready).first).to_be_visible(timeout=30_000)
        if problems := serious(page):
            found[name] = problems

    look("start", "#/search", ".start-list a")
    look("hits", "#/search?q=multiply+two+matrices", ".hit")
    look("nothing", "#/search?q=zzyzx&mode=lexical", ".notice-title")
    look("source", "#/search?q=multiply+two+matrices&source=src/math/matrix.rs:1-5", "[role=complementary], aside")
    look("map", "#/map?q=multiply+two+matrices", ".treemap .found")
    look("map by language", "#/map?colour=language&lang=python", ".treemap .dim")
    look("index", "#/index", ".facts-panel dl")
    look("models", "#/models", ".model")
    for name, label in (("ask", "Question about the code"), ("chat", "Message")):
        look(name, f"#/{name}", ".first .lead")
        page.get_by_label(label).fill("What is done when a call fails?")
        page.keyboard.press("Enter")
        expect(page.locator(".turn-foot")).to_contain_text("tokens")
        if problems := serious(page):
            found[f"{name}, answered"] = problems
        page.get_by_role("button", name="New").click()
        expect(page.locator(".talks")).to_be_visible()
        if problems := serious(page):
            found[f"{name}, kept"] = problems
    for key, name in (("?", "keys"), (",", "preferences")):
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(key)
        expect(page.locator("dialog[open]")).to_be_visible()
        if problems := serious(page):
            found[name] = problems
        page.keyboard.press("Escape")
    assert found == {}
