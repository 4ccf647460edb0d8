"""Searching in the page: as one types, with filters, by keyboard, and what a hit offers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect


def found(page: Page) -> list[str]:
    return ["".join(text.split()) for text in page.locator(".hit .path").all_inner_texts()]


def search(page: Page, text: str) -> None:
    page.get_by_role("searchbox", name="Search the code").fill(text)
    expect(page.locator(".hit").first).to_be_visible()


def test_hits_come_as_one_types(open_page: Any) -> None:
    page = open_page()
    page.get_by_role("searchbox", name="Search the code").press_sequentially("try again after a failure", delay=15)
    expect(page.locator(".hit").first).to_be_visible()
    assert found(page)[0] == "src/store/retry.py"
    expect(page.locator(".summary")).to_contain_text("hits")
    expect(page).to_have_url(re.compile("q=try[+]again[+]after[+]a[+]failure"))
    lines = page.locator(".hit").first.locator(".line")
    expect(lines.first).to_have_attribute("data-n", "1")
    expect(page.locator(".hit").first.locator(".t-keyword", has_text="def").first).to_be_visible()
    expect(page.locator("#said")).to_contain_text("hits")


def test_a_hit_shows_the_lines_that_match(open_page: Any) -> None:
    page = open_page("#/search?q=what+calls+sleep&mode=lexical")
    first = page.locator(".hit").first
    expect(first.locator(".hit-why")).to_have_text("calls sleep in retry (line 14)")
    expect(first.locator(".hit-code > .cut")).to_have_text(re.compile(r"… \d+ lines? above"))
    expect(first.locator('.line[data-n="14"]')).to_contain_text("time.sleep(wait")
    first.get_by_role("button", name="Show all").click()
    expect(first.locator(".hit-code > .cut")).to_have_count(0)
    expect(first.locator('.line[data-n="1"]')).to_be_visible()


def test_a_slow_answer_never_replaces_a_later_one(open_page: Any) -> None:
    page = open_page()
    held: list[Route] = []

    def hold(route: Route) -> None:
        if '"retry"' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/search", hold)
    box = page.get_by_role("searchbox", name="Search the code")
    box.fill("retry")
    page.wait_for_timeout(300)
    box.fill("multiply matrices")
    expect(page.locator(".hit").first).to_contain_text("matrix.rs")
    assert held, "the first search was never asked for"
    page.wait_for_timeout(300)
    assert found(page)[0] == "src/math/matrix.rs"


def test_filters_narrow_and_stand_in_the_address(open_page: Any) -> None:
    page = open_page("#/search?q=retry")
    expect(page.locator(".hit").first).to_be_visible()
    page.get_by_label("Language").select_option("python")
    expect(page.locator(".hit .path", has_text="settings.json")).to_have_count(0)
    assert all(path.endswith(".py") for path in found(page))
    page.get_by_label("Paths").fill("tests/**")
    expect(page.locator(".hit")).to_have_count(1)
    assert found(page) == ["tests/test_retry.py"]
    page.get_by_role("radio", name="Words").check()
    expect(page).to_have_url(re.compile("lang=python&path=tests.*&mode=lexical"))
    page.reload()
    expect(page.locator(".hit")).to_have_count(1)
    expect(page.get_by_role("radio", name="Words")).to_be_checked()
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".hit").nth(1)).to_be_visible()
    expect(page).not_to_have_url(re.compile("lang="))


def test_one_hit_per_file_and_how_many(open_page: Any) -> None:
    page = open_page("#/search?q=prime+number+of+the+table&n=50")
    expect(page.locator(".hit").nth(1)).to_be_visible()
    paths = found(page)
    assert paths.count("src/long/table.py") > 1
    page.get_by_label("One per file").check()
    expect(page.locator(".hit .path", has_text="table.py")).to_have_count(1)
    page.get_by_label("Hits at most").select_option("10")
    expect(page).to_have_url(re.compile("n=10"))
    page.get_by_label("One per file").uncheck()
    expect(page.locator(".summary")).to_contain_text("10 hits")
    assert len(found(page)) == 10


def test_the_language_filter_offers_what_is_indexed(open_page: Any) -> None:
    page = open_page()
    options = page.get_by_label("Language").locator("option")
    expect(options.filter(has_text="Rust (1)")).to_have_count(1)  # they come after the page
    assert not any(option.startswith("Swift") for option in options.all_inner_texts())


def test_a_score_is_explained(open_page: Any) -> None:
    page = open_page("#/search?q=retry")
    hit = page.locator(".hit").first
    why = hit.get_by_role("button", name="Why this score")
    why.click()
    expect(why).to_have_attribute("aria-expanded", "true")
    table = hit.get_by_role("table")
    expect(table).to_contain_text("words")
    expect(table).to_contain_text("cosine")
    why.click()
    expect(table).to_be_hidden()


def test_similar_code_and_back(open_page: Any) -> None:
    page = open_page("#/search?q=retry")
    page.locator(".hit", has_text="retry.py").first.get_by_role("button", name="Similar code").click()
    expect(page.locator(".summary")).to_contain_text("like")
    assert "src/store/retry.py" not in found(page)
    # A cosine has no parts to explain.
    expect(page.get_by_role("button", name="Why this score")).to_have_count(0)
    page.go_back()
    expect(page.locator(".summary")).to_contain_text("hits")
    assert "src/store/retry.py" in found(page)


def test_the_editor_link_names_the_file_and_can_be_chosen(open_page: Any, server: Any) -> None:
    page = open_page("#/search?q=lock+file")
    link = page.locator(".hit", has_text="lock.py").first.get_by_role("link", name="Open in VS Code")
    expect(link).to_have_attribute("href", f"vscode://file{server.repo}/src/store/lock.py:1:1")
    page.get_by_role("button", name="Preferences").click()
    page.get_by_label("Editor").select_option("cursor")
    page.keyboard.press("Escape")
    changed = page.locator(".hit", has_text="lock.py").first.get_by_role("link", name="Open in Cursor")
    expect(changed).to_have_attribute("href", f"cursor://file{server.repo}/src/store/lock.py:1:1")
    page.reload()
    expect(page.get_by_role("link", name="Open in Cursor").first).to_be_visible()


def test_the_source_opens_around_a_hit_and_grows(open_page: Any) -> None:
    page = open_page("#/search?q=prime+number+200+of+the+table&mode=lexical")
    place = page.locator(".hit .place").first
    place.click()
    source = page.get_by_role("complementary", name="src/long/table.py")
    expect(source).to_be_visible()
    expect(source.locator(".lit").first).to_be_visible()
    before = source.locator(".line").count()
    assert before < 400
    source.get_by_role("button", name="Later lines").click()
    expect(source.locator(".line").nth(before)).to_be_attached()
    page.keyboard.press("Escape")
    expect(source).to_be_hidden()
    expect(place).to_be_focused()


def test_a_source_that_is_linked_opens_at_once(open_page: Any) -> None:
    page = open_page("#/search?source=src/store/cache.py:4-8&of=store")
    source = page.get_by_role("complementary")
    expect(source.locator(".lit")).to_have_count(5)
    expect(source.locator(".lit").first).to_contain_text("class Cache")
    # The docstring above has ended, and the class is no string.
    expect(source.locator(".lit").first.locator(".t-defined")).to_have_text("Cache")


def test_by_keyboard_alone(open_page: Any) -> None:
    page = open_page("#/models")
    page.get_by_role("heading", name="Models").wait_for()
    page.keyboard.press("/")
    box = page.get_by_role("searchbox", name="Search the code")
    expect(box).to_be_focused()
    # The answer to the whole query: the list of a shorter one would be drawn over, and the focus in it lost.
    with page.expect_response(lambda answer: "read a date" in (answer.request.post_data or "")):
        page.keyboard.type("read a date")
    page.evaluate("() => new Promise((drawn) => setTimeout(() => requestAnimationFrame(drawn), 50))")
    expect(page.locator(".hit").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".hit .place").first).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator(".hit .place").nth(1)).to_be_focused()
    page.keyboard.press("k")
    expect(page.locator(".hit .place").first).to_be_focused()
    page.keyboard.press("e")
    expect(page.locator(".hit-parts").first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("complementary")).to_be_hidden()
    page.keyboard.press("l")
    expect(page.locator(".summary")).to_contain_text("like")
    page.keyboard.press("g")
    page.keyboard.press("i")
    expect(page.get_by_role("heading", name="Index", exact=True)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_letters_are_letters_in_a_field(open_page: Any) -> None:
    page = open_page()
    box = page.get_by_role("searchbox", name="Search the code")
    box.press_sequentially("g ?/jt")
    expect(box).to_have_value("g ?/jt")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_nothing_found_says_what_to_do(open_page: Any) -> None:
    page = open_page("#/search?q=zzyzx&mode=lexical")
    expect(page.get_by_text("Nothing in the code carries “zzyzx”")).to_be_visible()
    expect(page.get_by_text("The filters leave nothing over.")).to_be_visible()


def test_an_error_of_the_server_is_shown_and_can_be_tried_again(open_page: Any) -> None:
    page = open_page()
    page.route("**/api/search", lambda route: route.fulfill(status=503, json={"error": {"message": "still loading"}}))
    page.get_by_role("searchbox", name="Search the code").fill("retry")
    expect(page.get_by_role("alert").filter(has_text="still loading")).to_be_visible()
    page.unroute("**/api/search")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".hit").first).to_be_visible()


def test_a_pattern_that_is_none_says_why(open_page: Any) -> None:
    page = open_page("#/search?q=retry&path=src/{a")
    expect(page.get_by_role("alert").filter(has_text="without its }")).to_be_visible()


def test_a_server_that_went_away_is_said_once_and_forgotten(open_page: Any) -> None:
    page = open_page()
    page.route("**/api/events", lambda route: route.abort())
    page.reload()
    banner = page.locator(".banner")
    expect(banner).to_contain_text("does not answer")
    page.unroute("**/api/events")
    banner.get_by_role("button", name="Try again").click()
    expect(banner).to_be_hidden()


@pytest.fixture(scope="module")
def locked(start_page_server: Any, web_server: Any) -> Any:
    """A server of the same repository that wants a key."""
    return start_page_server(repos=(web_server.repo,), api_key="a key of the user")


def test_a_key_is_asked_for_once_and_kept_for_the_tab(open_page: Any, locked: Any) -> None:
    page = open_page(at=locked.url)
    dialog = page.get_by_role("dialog", name="This server wants a key")
    expect(dialog).to_be_visible()
    dialog.get_by_label("API key").fill("a wrong one")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_text("not accepted")).to_be_visible()
    dialog.get_by_label("API key").fill("a key of the user")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    search(page, "retry")
    expect(page).to_have_url(re.compile("q=retry"))
    page.reload()
    expect(page.locator(".hit").first).to_be_visible()
    expect(dialog).to_be_hidden()
    assert page.evaluate("JSON.stringify(localStorage)").count("a key of the user") == 0


def test_who_has_no_key_is_not_asked_over_and_over(open_page: Any, locked: Any) -> None:
    page = open_page(at=locked.url)
    dialog = page.get_by_role("dialog", name="This server wants a key")
    dialog.get_by_role("button", name="Not now").click()
    expect(page.locator(".banner")).to_contain_text("wants a key")
    page.wait_for_timeout(4500)
    expect(dialog).to_be_hidden()
    page.locator(".banner").get_by_role("button", name="Try again").click()
    expect(dialog).to_be_visible()


FORWARDED = {"extra_http_headers": {"X-Forwarded-For": "192.0.2.7"}}
"""As somebody behind a proxy asks, who is not the server's own user."""


def test_the_own_user_needs_no_key(open_page: Any, server: Any) -> None:
    page = open_page("#/search?q=retry")
    expect(page.locator(".hit").first).to_be_visible()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_the_key_of_the_link_is_taken_and_leaves_the_address(open_page: Any, server: Any) -> None:
    page = open_page(f"#key={server.state.options.start_key}", **FORWARDED)
    expect(page).to_have_url(re.compile(r"/(#/.*)?$"))
    search(page, "retry")
    expect(page.locator(".hit").first).to_be_visible()
    page.reload()
    expect(page.locator(".hit").first).to_be_visible()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert server.state.options.start_key not in page.evaluate("location.href + JSON.stringify(localStorage)")


@pytest.mark.parametrize("way", ["the link in the address", "the link in the dialog", "the key in the dialog"])
def test_without_the_key_it_is_asked_for_and_taken_later(open_page: Any, server: Any, way: str) -> None:
    key = server.state.options.start_key
    page = open_page("#/search?q=retry", **FORWARDED)
    dialog = page.get_by_role("dialog", name="This server wants a key")
    expect(dialog).to_be_visible()
    if "dialog" in way:
        dialog.get_by_label("API key").fill(f"{server.url}#key={key}" if "link" in way else key)
        page.keyboard.press("Enter")
    else:
        page.evaluate(f"location.hash = 'key={key}'")
        search(page, "retry")
    expect(page.locator(".hit").first).to_be_visible()
    expect(dialog).to_be_hidden()


def test_a_server_without_a_repository_says_how_to_give_it_one(open_page: Any, start_page_server: Any) -> None:
    page = open_page(at=start_page_server().url)
    expect(page.get_by_text("tp serve --repo PATH")).to_be_visible()


def test_a_repository_that_is_not_indexed_can_be_indexed(
    open_page: Any, start_page_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fresh = tmp_path_factory.mktemp("third") / "fresh"
    fresh.mkdir()
    (fresh / "sum.py").write_text("def total(values):\n    return sum(values)\n")
    page = open_page(at=start_page_server(repos=(fresh,), indexed=False).url)
    page.get_by_role("link", name="Index it").click()
    page.get_by_role("button", name="Index now").click()
    expect(page.locator(".facts-panel")).to_contain_text("Up to date", timeout=30_000)
    page.keyboard.press("/")
    search(page, "add up numbers")
    expect(page.locator(".hit").first).to_contain_text("sum.py")


def test_the_start_page_suggests_from_the_code_and_remembers(open_page: Any, server: Any) -> None:
    page = open_page("#/search")
    examples = page.get_by_role("list", name="Examples").get_by_role("link")
    expect(examples.first).to_be_visible()
    told = examples.all_inner_texts()
    assert told == list(server.repository.questions())
    expect(page.get_by_role("list", name="Changed lately").get_by_role("link")).not_to_have_count(0)
    expect(page.get_by_role("list", name="Recent searches")).to_have_count(0)
    examples.last.click()
    expect(page.locator(".hit").first).to_be_visible()
    page.get_by_label("Search the code").press("Enter")
    page.goto(f"{server.url}#/search")
    expect(page.get_by_role("list", name="Recent searches")).to_have_text(told[-1])
    page.get_by_role("button", name="Forget them").click()
    page.reload()
    expect(page.get_by_role("list", name="Recent searches")).to_have_count(0)


def test_a_query_that_nothing_carries_fills_no_bar(open_page: Any, server: Any) -> None:
    page = open_page("#/search?q=how+to+bake+sourdough+bread")
    expect(page.locator(".unsure, .notice-title").filter(has_text="carries").locator("visible=true")).to_have_count(1)
    shown = [
        float(each) for each in page.locator(".hit .meter").evaluate_all("all => all.map((one) => one.ariaValueNow)")
    ]
    assert all(value <= 0.4 for value in shown)
    page.goto(f"{server.url}#/search?q=multiply+two+matrices")
    expect(page.locator(".hit").first).to_contain_text("matrix.rs")
    expect(page.locator(".unsure")).to_be_hidden()
    assert page.locator(".hit .meter").first.get_attribute("aria-valuenow") == "1"
    assert "null" not in page.locator(".hit").first.inner_text()
