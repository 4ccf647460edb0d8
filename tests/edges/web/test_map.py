"""The map: every chunk has its place, hits are lit, and all of it can be had without a mouse."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect


def pixels(page: Page, x: float, y: float, reach: int = 4) -> set[tuple[int, int, int]]:
    """The colours drawn around a place of the canvas."""
    found = page.evaluate(
        """([x, y, reach]) => {
          const canvas = document.querySelector(".map-canvas");
          const ratio = canvas.width / canvas.clientWidth;
          const data = canvas.getContext("2d").getImageData((x - reach) * ratio, (y - reach) * ratio, 2 * reach, 2 * reach).data;
          const colours = [];
          for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 200) colours.push([data[at], data[at + 1], data[at + 2]]);
          return colours;
        }""",  # noqa: E501  one expression of another language
        [x, y, reach],
    )
    return {tuple(colour) for colour in found}


def place(page: Page, path: str) -> tuple[float, float]:
    found = page.evaluate("async (path) => (await import('/assets/js/map.js')).placeOf(path)", path)
    return found["x"], found["y"]


def accent(page: Page) -> tuple[int, ...]:
    text = page.evaluate(
        """() => {
          const probe = document.body.appendChild(document.createElement("i"));
          probe.style.color = "var(--accent)";
          const { color } = getComputedStyle(probe);
          probe.remove();
          return color;
        }"""
    )
    return tuple(int(part) for part in text.removeprefix("rgb(").removesuffix(")").split(","))


def open_map(open_page: Any, **options: Any) -> Page:
    page = open_page("#/map", **options)
    expect(page.locator(".legend li").first).to_be_visible()
    page.wait_for_timeout(200)
    return page


def test_every_chunk_is_drawn_and_listed(open_page: Any, server: Any) -> None:
    page = open_map(open_page)
    chunks = server.repository.status().chunks
    expect(page.locator(".map-told")).to_contain_text(f"{chunks} chunks")
    expect(page.locator(".map-list li")).to_have_count(min(chunks, 200))
    for path in ("src/math/matrix.rs", "src/store/lock.py", "src/web/server.go"):
        assert pixels(page, *place(page, path)), path


def test_hits_are_lit_in_the_accent(open_page: Any) -> None:
    page = open_map(open_page)
    assert accent(page) not in pixels(page, *place(page, "src/math/matrix.rs"))
    page.get_by_label("Light up hits of a search").fill("multiply two matrices")
    expect(page.locator(".map-told")).to_contain_text("on the map")
    page.wait_for_timeout(200)
    assert accent(page) in pixels(page, *place(page, "src/math/matrix.rs"))
    expect(page.locator(".map-list button").first).to_contain_text("matrix.rs")


def test_a_search_lights_the_map(open_page: Any) -> None:
    page = open_page("#/search?q=multiply+two+matrices")
    page.get_by_role("link", name="See them on the map").click()
    expect(page.locator(".map-told")).to_contain_text("multiply two matrices")
    expect(page.get_by_label("Light up hits of a search")).to_have_value("multiply two matrices")


def test_hover_names_a_chunk_and_a_click_opens_it(open_page: Any) -> None:
    page = open_map(open_page)
    box = page.locator(".map-canvas").bounding_box()
    assert box is not None
    x, y = place(page, "src/math/matrix.rs")
    page.mouse.move(box["x"] + x, box["y"] + y)
    expect(page.locator(".map-tip")).to_contain_text("src/math/matrix.rs")
    page.mouse.click(box["x"] + x, box["y"] + y)
    expect(page.get_by_role("complementary")).to_contain_text("pub fn multiply")


def test_wheel_zooms_at_the_pointer_and_dragging_moves(open_page: Any) -> None:
    page = open_map(open_page)
    box = page.locator(".map-canvas").bounding_box()
    assert box is not None
    x, y = place(page, "src/math/matrix.rs")
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.wheel(0, -600)
    zoomed = place(page, "src/math/matrix.rs")
    assert abs(zoomed[0] - x) < 1
    assert abs(zoomed[1] - y) < 1
    other = place(page, "src/store/lock.py")
    page.mouse.down()
    page.mouse.move(box["x"] + x + 50, box["y"] + y + 30, steps=5)
    page.mouse.up()
    moved = place(page, "src/store/lock.py")
    assert abs(moved[0] - other[0] - 50) < 1
    assert abs(moved[1] - other[1] - 30) < 1
    expect(page.get_by_role("complementary")).to_be_hidden()
    page.get_by_role("button", name="Show all").click()
    shown = place(page, "src/math/matrix.rs")
    assert abs(shown[0] - x) < 1


def test_keys_move_and_zoom(open_page: Any) -> None:
    page = open_map(open_page)
    before = place(page, "src/math/matrix.rs")
    page.locator(".map-canvas").focus()
    page.keyboard.press("ArrowRight")
    assert abs(place(page, "src/math/matrix.rs")[0] - before[0] + 60) < 1
    page.keyboard.press("+")
    page.keyboard.press("0")
    assert abs(place(page, "src/math/matrix.rs")[0] - before[0]) < 1


def test_a_folder_can_be_shown_alone_and_its_chunks_opened_by_keyboard(open_page: Any) -> None:
    page = open_map(open_page)
    folder = page.get_by_role("list", name="Folders").get_by_role("button", name="src/math")
    folder.click()
    expect(folder).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".map-list li")).to_have_count(1)
    page.locator(".map-list button").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary")).to_contain_text("pub fn multiply")


def test_colours_follow_the_theme(open_page: Any) -> None:
    page = open_map(open_page)
    light = pixels(page, *place(page, "src/math/matrix.rs"))
    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("t")
    page.keyboard.press("t")
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert pixels(page, *place(page, "src/math/matrix.rs")) != light


def test_folders_are_split_until_colours_run_out(open_page: Any) -> None:
    page = open_page()
    groups = page.evaluate(
        """async () => {
          const { groupsOf } = await import("/assets/js/map_groups.js");
          const points = [];
          for (const [folder, count] of [["app/src/one", 50], ["app/src/two", 30], ["app/src/three/deep", 5], ["app/tests", 10]]) {
            for (let at = 0; at < count; at += 1) points.push({ path: `${folder}/file${at}.py` });
          }
          points.push({ path: "README.md" });
          const { groups, groupOf } = groupsOf(points);
          return [groups.map((group) => [group.name, group.count]), [...groupOf].length];
        }"""  # noqa: E501  one expression of another language
    )
    named = dict(map(tuple, groups[0]))
    assert named["app/src/one"] == 50
    assert named["app/src/two"] == 30
    assert sum(named.values()) == groups[1] == 96
