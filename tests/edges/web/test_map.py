"""The map: every file has its place by its size, hits are numbered as in the list, and all of it works by keyboard."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, expect


def open_map(open_page: Any, params: str = "", **options: Any) -> Page:
    page = open_page(f"#/map{params}", **options)
    expect(page.locator(".treemap .box").first).to_be_visible()
    return page


def boxes(page: Page) -> list[dict[str, Any]]:
    """What is drawn: path, kind, rectangle, and whether its name or numbers hang out of it."""
    return page.evaluate(
        """() => [...document.querySelectorAll(".treemap .box")].map((box) => {
          const { left, top, width, height } = box.getBoundingClientRect();
          return {
            path: box.dataset.path, open: box.classList.contains("open"), file: box.classList.contains("file"),
            left, top, width, height, share: Number(box.dataset.share ?? 0),
            out: [...box.querySelectorAll(".box-name, .box-hits")].some(
              (one) => one.getBoundingClientRect().right > left + width + 0.5),
          };
        })"""
    )


def box(page: Page, path: str) -> Any:
    return page.locator(f'.treemap .box[data-path="{path}"]')


def apart(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (
        one["left"] + one["width"] <= other["left"] + 1
        or other["left"] + other["width"] <= one["left"] + 1
        or one["top"] + one["height"] <= other["top"] + 1
        or other["top"] + other["height"] <= one["top"] + 1
    )


def test_areas_are_bytes_and_nothing_lies_on_anything_else(open_page: Any, server: Any) -> None:
    page = open_map(open_page)
    drawn = [each for each in boxes(page) if each["file"]]
    sizes = {file.path: file.bytes for file in server.repository.map()}
    assert {"src/store/retry.py", "src/math/matrix.rs", "src/long/table.py"} <= {each["path"] for each in drawn}
    for number, one in enumerate(drawn):
        assert not one["out"], one
        for other in drawn[number + 1 :]:
            assert apart(one, other), (one, other)
    largest = max(drawn, key=lambda each: each["width"] * each["height"])
    assert largest["path"] == max(sizes, key=lambda path: sizes[path]) == "src/long/table.py"
    expect(page.locator(".crumbs")).to_contain_text(f"{len(sizes)} files")


def test_hits_have_the_numbers_of_the_list_and_fit_colours_them(open_page: Any) -> None:
    page = open_page("#/search?q=multiply+two+matrices")
    expect(page.locator(".hit").first).to_contain_text("matrix.rs")
    expect(page.locator(".hit .rank").first).to_have_text("1")
    listed = [text.split("/")[-1] for text in page.locator(".hit .place").all_inner_texts()]
    page.get_by_role("link", name="See them on the map").click()
    expect(page.get_by_label("Search the code")).to_have_value("multiply two matrices")
    found = box(page, "src/math/matrix.rs")
    expect(found).to_have_accessible_name(re.compile(r"^1 .*src/math/matrix\.rs, .*hits? 1\b"))
    expect(found.locator(".box-hits")).to_have_text("1")
    assert page.locator(".map-list.numbered .map-name").all_inner_texts() == listed
    assert page.locator(".map-list.numbered .box-hits").all_inner_texts() == [str(at + 1) for at in range(len(listed))]
    shares = {each["path"]: each["share"] for each in boxes(page)}
    assert shares["src/math/matrix.rs"] == max(shares.values()) == 1


def test_a_filter_of_the_search_shows_on_the_map_and_back(open_page: Any) -> None:
    page = open_page("#/search?q=retry&lang=python")
    expect(page.locator(".hit").first).to_be_visible()
    page.get_by_role("link", name="Map", exact=True).click()
    expect(page.get_by_label("Language")).to_have_value("python")
    expect(box(page, "src/math/matrix.rs")).to_have_class(re.compile(r"\bdim\b"))
    expect(box(page, "src/store/retry.py")).not_to_have_class(re.compile(r"\bdim\b"))
    page.get_by_label("Search the code").fill("a lock")
    expect(page.locator(".map-told")).to_contain_text("“a lock”")
    assert "lang=python" in page.url
    assert "q=a+lock" in page.url
    page.get_by_role("link", name="Search", exact=True).click()
    expect(page.get_by_label("Search the code")).to_have_value("a lock")
    expect(page.locator(".hit").first).to_contain_text("lock.py")


def test_a_folder_is_entered_and_left_and_the_address_says_so(open_page: Any) -> None:
    page = open_map(open_page)
    page.locator(".map-list").get_by_role("button", name="src/").click()
    expect(page.locator(".crumbs")).to_contain_text("src")
    assert "folder=src" in page.url
    expect(box(page, "README.md")).to_have_count(0)
    page.reload()
    expect(page.locator(".crumbs [aria-current]")).to_have_text("src")
    box(page, "src/store").click(position={"x": 12, "y": 8})  # its name: its files lie on the rest
    expect(page.locator(".crumbs [aria-current]")).to_have_text("store")
    assert {each["path"] for each in boxes(page)} == {"src/store/retry.py", "src/store/cache.py", "src/store/lock.py"}
    page.go_back()
    expect(page.locator(".crumbs [aria-current]")).to_have_text("src")
    page.get_by_role("button", name="To the folder above").click()
    expect(box(page, "README.md")).to_have_count(1)


def test_it_works_by_keyboard_alone(open_page: Any) -> None:
    page = open_map(open_page, "?folder=src/store")
    assert page.locator('.treemap .box[tabindex="0"]').count() == 1
    page.locator('.treemap .box[tabindex="0"]').focus()
    seen = set()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
        seen.add(page.evaluate("document.activeElement.dataset.path"))
        page.keyboard.press(key)
    assert len(seen) > 1
    assert page.locator('.treemap .box[tabindex="0"]').count() == 1
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary").locator(".source-code, pre").first).to_be_visible()
    page.keyboard.press("Escape")
    page.locator('.treemap .box[tabindex="0"]').focus()
    page.keyboard.press("Backspace")
    expect(page.locator(".crumbs [aria-current]")).to_have_text("src")


def test_colours_by_age_language_and_state(open_page: Any, server: Any) -> None:
    page = open_map(open_page)
    assert not any(each["share"] for each in boxes(page))
    page.get_by_label("Colour by").select_option("language")
    expect(page.locator(".legend")).to_contain_text("python")
    assert any(each["share"] for each in boxes(page))
    assert "colour=language" in page.url
    page.get_by_label("Colour by").select_option("age")
    expect(page.locator(".legend")).to_contain_text("today")
    assert [each for each in boxes(page) if each["file"] and each["share"] == 0] == []  # written just now
    page.reload()
    expect(page.get_by_label("Colour by")).to_have_value("age")


def test_a_colour_that_there_is_not_is_the_first(open_page: Any) -> None:
    page = open_map(open_page, "?colour=toString")
    expect(page.get_by_label("Colour by")).to_have_value("fit")
    expect(page.locator(".legend")).to_contain_text("fits best")


def test_what_is_too_small_is_counted(open_page: Any) -> None:
    page = open_page()
    found = page.evaluate(
        """async () => {
          const { boxes, folderAt, squarified, treeOf } = await import("/assets/js/treemap.js");
          const files = [{ path: "big/a.py", bytes: 1e6 }];
          for (let at = 0; at < 3000; at += 1) files.push({ path: `many/folder${at % 7}/file${at}.py`, bytes: 40 });
          const root = treeOf(files);
          const drawn = boxes(root, { x: 0, y: 0, w: 800, h: 600 });
          const rows = squarified([6, 6, 4, 3, 2, 2, 1], { x: 0, y: 0, w: 6, h: 4 });
          return {
            files: root.files, bytes: root.bytes, many: folderAt(root, "many").files, none: folderAt(root, "many/x"),
            drawn: drawn.length, area: rows.map(({ w, h }) => Math.round(w * h * 1000) / 1000),
            inside: drawn.every(({ x, y, w, h }) => x >= 0 && y >= 0 && x + w < 800.01 && y + h < 600.01),
          };
        }"""
    )
    assert found["files"] == 3001
    assert found["bytes"] == 1e6 + 3000 * 40
    assert found["many"] == 3000
    assert found["none"] is None
    assert found["drawn"] < 800
    assert found["area"] == [6, 6, 4, 3, 2, 2, 1]
    assert found["inside"]
