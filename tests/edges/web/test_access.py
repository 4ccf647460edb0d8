"""For everyone: names of controls, contrast, focus, themes, motion, and the width of a phone."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

VIEWS = {
    "start": "",
    "search": "#/search?q=retry",
    "source": "#/search?q=retry&source=src/store/retry.py:6-10&of=store",
    "nothing": "#/search?q=zzyzx&mode=lexical",
    "ask": "#/ask",
    "chat": "#/chat",
    "map": "#/map",
    "index": "#/index?file=src/store/lock.py",
    "models": "#/models",
}

NAMES = """() => {
  const wanted = "a[href], button, input, select, textarea, [role=button], [tabindex], summary, meter, [role=meter], progress, dialog[open], img, canvas";
  const missing = [];
  const shown = (element) => element.getClientRects().length > 0;
  const named = (element) => {
    const by = element.getAttribute("aria-labelledby");
    if (by) return by.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
    if (element.getAttribute("aria-label")) return element.getAttribute("aria-label").trim();
    if (element.labels?.length) return [...element.labels].map((label) => label.textContent).join(" ").trim();
    return element.textContent.trim();
  };
  for (const element of document.querySelectorAll(wanted)) {
    if (!shown(element) || element.tagName === "MAIN" || element.classList.contains("source-title")) continue;
    if (!named(element)) missing.push(element.outerHTML.slice(0, 120));
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of ids) if (ids.filter((other) => other === id).length > 1) missing.push(`twice: #${id}`);
  for (const name of ["aria-controls", "aria-labelledby", "aria-describedby"]) {
    for (const element of document.querySelectorAll(`[${name}]`)) {
      for (const id of element.getAttribute(name).split(" ")) if (!document.getElementById(id)) missing.push(`${name}=${id}`);
    }
  }
  if (document.querySelectorAll("h1").length !== 1) missing.push(`${document.querySelectorAll("h1").length} h1`);
  if (document.querySelectorAll("main").length !== 1) missing.push("main");
  for (const inner of document.querySelectorAll("button button, a button, button a, label label, a a")) missing.push(`nested: ${inner.outerHTML.slice(0, 80)}`);
  return missing;
}"""  # noqa: E501  one expression of another language

# WCAG 2.1: the relative luminance of sRGB, and the ratio of two, with what lies below a text laid together.
CONTRAST = """() => {
  const parse = (text) => {
    const match = /^(rgba?|color)\\((?:srgb )?([^)]+)\\)$/.exec(text);
    if (!match) return null;
    const parts = match[2].split(/[\\s,/]+/).filter(Boolean).map(Number);
    const scale = match[1] === "color" ? 255 : 1;
    return { r: parts[0] * scale, g: parts[1] * scale, b: parts[2] * scale, a: parts[3] ?? 1 };
  };
  const over = (top, under) => ({ r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a), b: top.b * top.a + under.b * (1 - top.a), a: 1 });
  const luminance = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ratio = (one, other) => {
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour && colour.a > 0) layers.push(colour);
      if (colour?.a === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), { r: 255, g: 255, b: 255, a: 1 });
  };
  const weak = [];
  let measured = 0;
  const check = (element, colour, least, what) => {
    const behind = ground(element);
    const found = ratio(over(colour, behind), behind);
    measured += 1;
    if (found < least) weak.push(`${found.toFixed(2)} ${what} ${JSON.stringify(element.className)} ${element.textContent.slice(0, 30)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest(".unseen, noscript, script, option, button:disabled") || element.getClientRects().length === 0) continue;
    const style = getComputedStyle(element);
    if (style.visibility === "hidden" || Number(style.opacity) === 0) continue;
    check(element, parse(style.color), 4.5, "text");
  }
  for (const element of document.querySelectorAll(".line[data-n]")) check(element, parse(getComputedStyle(element, "::before").color), 4.5, "line number");
  for (const element of document.querySelectorAll("input, textarea")) check(element, parse(getComputedStyle(element, "::placeholder").color), 4.5, "placeholder");
  for (const element of document.querySelectorAll("nav .icon, button .icon")) {
    if (!element.closest("button:disabled") && element.getClientRects().length) check(element.parentElement, parse(getComputedStyle(element).color), 3, "icon");
  }
  return { weak: [...new Set(weak)], measured };
}"""  # noqa: E501  one expression of another language


def settled(page: Page, view: str) -> None:
    """Wait until a view shows what it is for."""
    wait = {
        "search": ".hit",
        "source": ".source .lit",
        "nothing": ".notice",
        "map": ".legend li",
        "index": ".chunk-list",
        "models": ".model",
    }.get(view, "main h1")
    page.locator(wait).first.wait_for(state="attached")
    page.wait_for_timeout(150)


@pytest.mark.parametrize("view", VIEWS)
def test_every_control_has_a_name(open_page: Any, view: str) -> None:
    page = open_page(VIEWS[view])
    settled(page, view)
    assert page.evaluate(NAMES) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_contrast_of_all_that_is_drawn(open_page: Any, view: str, theme: str) -> None:
    page = open_page(VIEWS[view], color_scheme=theme)
    settled(page, view)
    if view == "search":
        page.locator("[data-key=why]").first.click()
    found = page.evaluate(CONTRAST)
    assert found["measured"] > 10
    assert found["weak"] == []


def test_the_measure_of_contrast_sees_a_weak_text(open_page: Any) -> None:
    page = open_page()
    settled(page, "start")
    page.evaluate("document.querySelector('.start-line').style.color = '#aab'")
    assert page.evaluate(CONTRAST)["weak"]


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_wider_than_a_phone(open_page: Any, server: Any, view: str) -> None:
    page = open_page(VIEWS[view], viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    settled(page, view)
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= 360
    assert wide[1] == 360, "the page was zoomed out to fit"
    expect(page.get_by_role("navigation")).to_be_visible()


def test_an_answer_fits_a_phone(open_page: Any, server: Any) -> None:
    server.script.answer = [
        "A word of `" + "x" * 90 + "` and https://example.org/" + "y" * 90 + "\n\n```python\n" + "z = 1; " * 40,
        "\n```\n\n| a | b |\n|---|---|\n| " + "wide " * 30 + " | two |\n\nSee [src/store/retry.py:1-15].",
    ]
    page = open_page("#/ask", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page.get_by_label("Question about the code").fill("q" * 120)
    page.keyboard.press("Enter")
    expect(page.locator(".turn-foot")).to_contain_text("tokens")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_fingers_find_what_they_press(open_page: Any) -> None:
    page = open_page("#/search?q=retry", viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    settled(page, "search")
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, a[href], select, .segments label")]
          .filter((element) => !element.closest("p") && !element.matches(".skip, .place"))
          .filter((element) => element.getClientRects().length > 0)
          .map((element) => [element.textContent.slice(0, 30), element.getBoundingClientRect().height])
          .filter(([, height]) => height < 24)"""
    )
    # WCAG 2.2 asks for 24; the name of a file is a line of text.
    assert small == []


def test_the_theme_follows_the_system_and_the_switch(open_page: Any) -> None:
    page = open_page(color_scheme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    assert dark != light
    switch = page.get_by_role("button", name="Theme: as the system")
    switch.click()
    page.get_by_role("button", name="Theme: light").click()
    assert page.evaluate(ground) == dark
    page.reload()
    assert page.evaluate(ground) == dark
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    page.get_by_role("button", name="Preferences").click()
    page.get_by_role("dialog").get_by_role("radio", name="System").check()
    assert page.evaluate(ground) == light


def test_the_focus_is_seen_on_everything_that_takes_it(open_page: Any) -> None:
    page = open_page("#/search?q=retry")
    settled(page, "search")
    page.locator("body").press("Tab")
    seen = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
              const element = document.activeElement;
              if (element === document.body) return null;
              const drawn = (one) => { const style = getComputedStyle(one); return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2; };
              const near = [element, element.nextElementSibling, element.parentElement].filter(Boolean);
              return [element.outerHTML.slice(0, 60), near.some(drawn)];
            }"""  # noqa: E501  one expression of another language
        )
        if found is not None:
            seen.add(found[0])
            assert found[1], f"no outline on {found[0]}"
    assert len(seen) > 15


def test_a_skip_link_leads_past_the_rail(open_page: Any) -> None:
    page = open_page("#/models")
    settled(page, "models")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


def test_motion_stops_where_it_is_not_wanted(open_page: Any, server: Any) -> None:
    # The spinner goes with the first word, so the first word must not come before it was looked at.
    server.script.answer, server.script.pause = ["word"], 3600
    page = open_page("#/ask")
    page.get_by_label("Question about the code").fill("q")
    page.keyboard.press("Enter")
    expect(page.locator(".spinner").first).to_have_css("animation-iteration-count", "1")


def test_the_title_says_where_one_is(open_page: Any) -> None:
    page = open_page()
    for name in ("Ask", "Chat", "Map", "Index", "Models", "Search"):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(page).to_have_title(f"{name} · TurboProp")
        expect(page.locator("nav a[aria-current=page]")).to_have_text(name)
