"""The index in the page: its facts, bringing it up to date, findings, and why a file is in it or not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect


@pytest.fixture
def changed(server: Any) -> Any:
    """A file that is newer than the index; gone again afterwards."""
    path = Path(server.repo) / "src/store/fresh.py"
    path.write_text("def fresh():\n    return 'new'\n", "utf-8")
    yield path
    path.unlink()
    server.repository.update()


def test_facts_of_an_index_that_is_up_to_date(open_page: Any, server: Any) -> None:
    page = open_page("#/index")
    state = server.repository.status()
    facts = page.locator(".facts-panel")
    expect(facts).to_contain_text("Up to date")
    expect(facts).to_contain_text(str(state.files))
    expect(facts).to_contain_text(state.model)
    expect(facts).to_contain_text("rust 1")
    expect(page.get_by_text("Nothing is wrong.")).to_be_visible(timeout=30_000)


def test_what_changed_is_listed_and_brought_up_to_date(open_page: Any, changed: Path) -> None:
    page = open_page("#/index")
    expect(page.locator(".facts-panel")).to_contain_text("1 file changed since", timeout=15_000)
    expect(page.locator(".changed")).to_contain_text("src/store/fresh.py")
    page.get_by_role("button", name="Bring up to date").click()
    expect(page.locator(".facts-panel")).to_contain_text("Up to date", timeout=30_000)
    expect(page.get_by_role("progressbar")).to_have_count(0)
    page.keyboard.press("/")
    page.get_by_role("searchbox", name="Search the code").fill("fresh")
    expect(page.locator(".hit").first).to_contain_text("fresh.py")


def test_nothing_is_offered_where_nothing_is_to_be_done(open_page: Any) -> None:
    page = open_page("#/index")
    expect(page.locator(".facts-panel")).to_contain_text("Up to date")
    expect(page.get_by_role("button", name="Bring up to date")).to_be_hidden()


@pytest.mark.usefixtures("changed")
def test_a_run_shows_how_far_it_is(open_page: Any, server: Any) -> None:
    server.script.jobs = True
    page = open_page("#/index")
    page.get_by_role("button", name="Bring up to date").click()
    expect(page.get_by_role("progressbar", name="Indexing")).to_be_visible()
    expect(page.locator(".job-told")).to_contain_text(re.compile(r"\d of 10 files · 16 files/s"))
    expect(page.get_by_role("progressbar")).to_have_count(0)


@pytest.mark.usefixtures("changed")
def test_a_run_can_be_cancelled(open_page: Any, server: Any) -> None:
    server.script.jobs = True
    server.script.job_seconds = 30
    page = open_page("#/index")
    page.get_by_role("button", name="Bring up to date").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    assert [job["state"] for job in server.script.started.values()] == ["cancelled"]
    expect(page.get_by_role("button", name="Bring up to date")).to_be_enabled()


def test_findings_come_with_their_repair(open_page: Any) -> None:
    page = open_page()
    page.route(
        "**/api/health-findings*",
        lambda route: route.fulfill(
            json={"findings": [{"level": "rows", "what": "3 rows are missing", "repair": "tp index --rebuild"}]}
        ),
    )
    page.get_by_role("link", name="Index", exact=True).click()
    expect(page.locator(".finding-list")).to_contain_text("3 rows are missing")
    expect(page.get_by_role("button", name="Copy the repair")).to_be_visible()


def test_files_by_state_and_by_a_part_of_their_path(open_page: Any, changed: Path) -> None:
    page = open_page("#/index")
    files = page.get_by_role("list", name="Files", exact=True)
    expect(files).to_contain_text("src/math/matrix.rs")
    page.get_by_label("Filter files by a part of their path").fill("LOCK")
    expect(files.get_by_role("listitem")).to_have_count(1)
    files.get_by_role("button").click()
    expect(page.get_by_role("complementary")).to_contain_text("def acquire")
    page.keyboard.press("Escape")
    page.get_by_label("Filter files by a part of their path").fill("")
    page.get_by_role("radio", name="Changed").check()
    expect(files).to_contain_text("src/store/fresh.py")
    expect(files).to_contain_text("not indexed yet")
    page.get_by_role("radio", name="Left out").check()
    expect(files).to_contain_text("lock file")
    files.get_by_role("button", name="package-lock.json").click()
    expect(page.locator(".why-told")).to_contain_text("is left out")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("src/store/lock.py", "is indexed"),
        ("build/out.py", "ignored by"),
        ("src/nothing.py", "no such file"),
    ],
)
def test_why_a_file_is_indexed_or_not(open_page: Any, path: str, said: str) -> None:
    page = open_page("#/index")
    page.get_by_label("Path in the repository").fill(path)
    page.get_by_role("button", name="Explain").click()
    expect(page.locator(".why-told")).to_contain_text(said)


def test_a_path_outside_is_refused_in_words(open_page: Any) -> None:
    page = open_page("#/index?file=../../etc/passwd")
    expect(page.locator(".why-told [role=alert]")).to_contain_text("outside")


def test_a_chunk_of_an_explained_file_opens(open_page: Any) -> None:
    page = open_page("#/index?file=src/store/lock.py")
    page.get_by_role("list", name="Its chunks").get_by_role("button").first.click()
    expect(page.get_by_role("complementary").locator(".lit").first).to_be_visible()
