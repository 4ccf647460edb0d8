"""Several repositories in the page: which one is shown is part of the address; the server walks what is asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from turboprop.code import walk


@pytest.fixture(scope="module")
def several(start_page_server: Any, web_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server of two repositories that are indexed."""
    other = tmp_path_factory.mktemp("second") / "kettle"
    other.mkdir()
    (other / "boil.py").write_text("def boil_water():\n    return 100\n")
    return start_page_server(repos=(web_server.repo, other))


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The repositories that the server walked since."""
    seen: list[str] = []
    checked = walk._checked_root

    def counted(root: Path) -> str:
        seen.append(root.name)
        return checked(root)

    monkeypatch.setattr(walk, "_checked_root", counted)
    return seen


def view(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()


def test_several_repositories_are_searched_together_or_one_by_one(open_page: Any, several: Any) -> None:
    page = open_page("#/search?q=boil+water", at=several.url)
    expect(page.locator(".hit").first).to_contain_text("boil.py")
    expect(page.locator(".hit .repo").first).to_have_text("kettle")
    expect(page.locator(".hit .repo").first).to_be_visible()
    page.get_by_label("Repository").select_option("store")
    expect(page.locator(".hit .path", has_text="boil.py")).to_have_count(0)
    page.reload()
    expect(page.get_by_label("Repository")).to_have_value("store")
    page.get_by_label("Repository").select_option("kettle")
    expect(page.locator(".hit")).to_have_count(1)
    page.locator(".hit .place").first.click()
    expect(page.get_by_role("complementary")).to_contain_text("return 100")
    page.get_by_role("navigation").get_by_role("link", name="Index").click()
    expect(page.locator(".facts-panel")).to_contain_text("kettle")


def test_hits_that_come_before_the_status_learn_from_it(open_page: Any, several: Any) -> None:
    page = open_page("#/search?q=boil+water", at=several.url)
    held: list[Route] = []
    page.route("**/api/events", lambda route: held.append(route))
    page.reload()
    hit = page.locator(".hit").first
    expect(hit).to_contain_text("boil.py")
    repository, editor = hit.locator(".repo"), hit.locator("a", has_text="Open in VS Code")
    expect(repository).to_be_hidden()
    expect(editor).to_be_hidden()
    page.get_by_role("navigation").get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", name="Models", exact=True)).to_be_visible()
    page.unroute("**/api/events")  # which lets go of those that are held
    assert held
    expect(page.get_by_label("Repository")).to_be_visible()
    page.go_back()
    expect(repository).to_have_text("kettle")
    expect(repository).to_be_visible()
    expect(editor).to_be_visible()


def test_the_address_says_which_repository(open_page: Any, several: Any) -> None:
    page = open_page("#/search?q=boil+water", at=several.url)
    picker = page.get_by_label("Repository", exact=True)
    expect(page.locator(".hit .repo").first).to_have_text("kettle")
    expect(picker).to_have_value("")
    picker.select_option("kettle")
    expect(page).to_have_url(re.compile(r"#/search\?q=boil\+water&repo=kettle$"))
    for name in ("Ask", "Map", "Index", "Models", "Chat", "Search"):
        view(page, name)
        searched = r"q=boil\+water&" if name in ("Map", "Search") else ""  # one search for both
        expect(page).to_have_url(re.compile(rf"#/{name.lower()}\?{searched}repo=kettle$"))
    copied = page.url
    picker.select_option("store")
    expect(page).to_have_url(re.compile("repo=store"))
    page.go_back()
    expect(picker).to_have_value("kettle")
    page.go_forward()
    expect(picker).to_have_value("store")
    picker.select_option("")
    expect(page).to_have_url(re.compile(r"#/search\?q=boil\+water$"))
    other = open_page(copied.removeprefix(several.url), at=several.url)
    expect(other.get_by_label("Repository", exact=True)).to_have_value("kettle")


def test_the_last_choice_counts_where_the_address_says_nothing(open_page: Any, several: Any) -> None:
    page = open_page("#/map?repo=kettle", at=several.url)
    picker = page.get_by_label("Repository", exact=True)
    expect(picker).to_have_value("kettle")
    picker.select_option("store")
    expect(page).to_have_url(re.compile("repo=store"))
    page.goto("about:blank")
    page.goto(several.url)
    expect(page).to_have_url(re.compile("repo=store"))
    expect(picker).to_have_value("store")
    page.goto("about:blank")
    page.goto(several.url + "#/search?q=boil+water")
    expect(page.locator(".hit .repo").first).to_have_text("kettle")
    expect(picker).to_have_value("")


def test_a_repository_that_is_none_is_said_and_all_are_offered(open_page: Any, several: Any) -> None:
    page = open_page("#/search?q=boil+water&repo=pan", at=several.url)
    expect(page.get_by_text("There is no repository “pan” here.")).to_be_visible()
    expect(page.get_by_role("main")).to_be_hidden()
    offered = page.get_by_role("list", name="Repositories").get_by_role("link")
    expect(offered).to_have_text(["All repositories", "store", "kettle"])
    offered.nth(2).click()
    expect(page).to_have_url(re.compile(r"q=boil\+water&repo=kettle"))
    expect(page.locator(".hit")).to_have_count(1)
    expect(page.get_by_text("There is no repository")).to_be_hidden()


def test_without_a_choice_each_view_says_which(open_page: Any, several: Any) -> None:
    page = open_page("#/index", at=several.url)
    facts = page.locator(".facts-panel")
    expect(facts).to_have_count(2)
    expect(facts.nth(0)).to_contain_text("Up to date")
    expect(page.get_by_role("heading", name="Health")).to_be_hidden()
    facts.get_by_role("link", name="kettle").click()
    expect(page).to_have_url(re.compile(r"#/index\?repo=kettle"))
    expect(facts).to_have_count(1)
    expect(page.get_by_role("list", name="Files", exact=True)).to_contain_text("boil.py")
    page.get_by_label("Repository", exact=True).select_option("")
    for name, asked in (("Map", "Which repository?"), ("Ask", "Which repository is the question about?")):
        view(page, name)
        expect(page.get_by_text(asked)).to_be_visible()
        page.get_by_role("main").get_by_role("link", name="kettle").click()
        expect(page).to_have_url(re.compile(rf"#/{name.lower()}\?repo=kettle"))
        expect(page.get_by_text(asked)).to_be_hidden()
        page.get_by_label("Repository", exact=True).select_option("")
    view(page, "Map")
    page.get_by_role("main").get_by_role("link", name="kettle").click()
    expect(page.locator(".map-list li")).to_have_count(1)


def test_a_repository_without_an_index_is_named_beside_the_hits_of_others(
    open_page: Any, start_page_server: Any, web_server: Any, tmp_path: Path
) -> None:
    fresh = tmp_path / "pan"
    fresh.mkdir()
    (fresh / "fry.py").write_text("def fry_an_egg():\n    return 180\n")
    server = start_page_server(repos=(web_server.repo, fresh), indexed=False)
    page = open_page("#/search?q=fry+an+egg", at=server.url)
    expect(page.locator(".left-out")).to_contain_text("Not searched, because not indexed yet: pan")
    page.locator(".left-out").get_by_role("link", name="pan").click()
    page.get_by_role("button", name="Index now").click()
    expect(page.locator(".facts-panel")).to_contain_text("Up to date", timeout=30_000)
    page.go_back()
    expect(page.locator(".hit").first).to_contain_text("fry.py")
    expect(page.locator(".left-out")).to_be_hidden()


def test_a_page_that_is_left_alone_walks_nothing_and_the_index_once(
    open_page: Any, several: Any, walks: list[str]
) -> None:
    page = open_page("#/models?repo=kettle", at=several.url)
    expect(page.locator(".memory")).to_be_visible()
    told = "async () => (await import('/assets/js/state.js')).state.status.memory.budget"
    budgets = several.state.manager.budgets
    device, budget = next(iter(budgets.items()))
    total = sum(budgets.values())
    try:
        for more in (1, 2, 3):
            budgets[device] = budget + more
            page.wait_for_function(f"async () => await ({told})() === {total + more}")
    finally:
        budgets[device] = budget
    assert walks == []
    view(page, "Index")
    expect(page.get_by_role("list", name="Files", exact=True)).to_contain_text("boil.py")
    expect(page.get_by_text("Nothing is wrong.")).to_be_visible(timeout=30_000)
    page.wait_for_function(f"async () => await ({told})() === {total}")
    assert walks == ["kettle"]
    page.get_by_label("Filter files by a part of their path").fill("nothing")
    expect(page.get_by_text("No such file.")).to_be_visible()
    assert walks == ["kettle"]
    with page.expect_response("**/api/status?repo=kettle"):
        page.evaluate("dispatchEvent(new Event('focus'))")
    assert walks == ["kettle"] * 2


def test_a_hidden_page_follows_nothing_until_it_is_seen(open_page: Any, several: Any) -> None:
    page = open_page("#/models", at=several.url)
    expect(page.locator(".memory")).to_be_visible()
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with page.expect_event("requestfailed", lambda request: request.url.endswith("api/events")):
        page.evaluate(hide, True)
    with page.expect_request("**/api/events"):
        page.evaluate(hide, False)
    expect(page.locator(".banner")).to_be_hidden()
