"""The page's files are whole: each is used, each that is named is there, and the documentation names every key."""

from __future__ import annotations

import re
from pathlib import Path

import turboprop

PAGE = Path(turboprop.__file__).parent / "edges" / "web"
SCRIPTS = PAGE / "assets" / "js"
DOCUMENTATION = Path(__file__).parents[3] / "docs" / "web.md"


def imports(path: Path) -> list[Path]:
    return [path.parent / name for name in re.findall(r"from \"(\./[\w.]+)\"", path.read_text("utf-8"))]


def test_every_module_is_reached_from_the_first_one_and_is_there() -> None:
    seen: set[Path] = set()
    left = [SCRIPTS / "app.js"]
    while left:
        path = left.pop().resolve()
        assert path.is_file(), path
        if path not in seen:
            seen.add(path)
            left += imports(path)
    assert seen == {path.resolve() for path in SCRIPTS.glob("*.js")} - {(SCRIPTS / "first.js").resolve()}


def test_every_style_sheet_is_linked_and_every_link_leads_somewhere() -> None:
    linked = re.findall(r"(?:href|src)=\"(assets/[^\"]+)\"", (PAGE / "index.html").read_text("utf-8"))
    assert all((PAGE / name).is_file() for name in linked)
    assert {PAGE / name for name in linked if name.endswith(".css")} == set(PAGE.rglob("*.css"))


def test_what_is_imported_is_used_and_exported() -> None:
    for path in SCRIPTS.glob("*.js"):
        text = path.read_text("utf-8")
        for names, module in re.findall(r"import \{([^}]+)\} from \"\./([\w.]+)\"", text):
            exported = (SCRIPTS / module).read_text("utf-8")
            for name in (part.split(" as ") for part in re.split(r",\s*", names.strip().rstrip(","))):
                used = len(re.findall(rf"(?<![\w$])(?<![^.]\.){re.escape(name[-1].strip())}(?![\w$])", text))
                assert used > 1, f"{path.name} imports {name[-1]} and does not use it"
                declared = rf"export (?:async )?(?:const|let|function\*?|class) {re.escape(name[0].strip())}\b"
                grouped = rf"export const \{{[^}}]*\b{re.escape(name[0].strip())}\b"
                assert re.search(declared, exported) or re.search(grouped, exported), f"{module}: {name[0]}"


def test_modules_stay_readable() -> None:
    pages = [path for kind in ("css", "html", "js", "py") for path in PAGE.rglob(f"*.{kind}")]
    assert [path.name for path in pages if len(path.read_text("utf-8").splitlines()) > 400] == []


def test_colours_stand_in_the_palette_alone() -> None:
    for path in PAGE.rglob("*.css"):
        if path.name != "palette.css":
            found = re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;,\s)])|rgba?\(|hsla?\(|oklch\(", path.read_text("utf-8"))
            assert found == [], path.name


def test_every_shortcut_is_documented() -> None:
    told = DOCUMENTATION.read_text("utf-8")
    listed = (SCRIPTS / "app.js").read_text("utf-8")
    keys = re.search(r"listen\(\s*\{(.*?)\n  \},", listed, re.DOTALL)
    assert keys is not None
    names = {"ArrowDown": "↓", "ArrowUp": "↑", "Escape": "Esc"}
    for key in re.findall(r"^\s{4}\"?([^\s\":]+)\"?:", keys[1], re.MULTILINE):
        assert f"`{names.get(key, key)}`" in told, key
