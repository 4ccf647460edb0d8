"""Markdown by heading, without a parser: headings, fences and front matter are all that matter here."""

from __future__ import annotations

import re

from turboprop.code.syntax import FILE, Mark, Owner

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_MARKUP = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|<[^>]*>|[*`]+|\{#[^}]*\}")
_MAX_TITLE = 120
_BLOCK_STARTS = (">", "#", "|", "- ", "* ", "+ ", "<")


def marks(text: str) -> list[Mark]:
    """One mark a section and one a paragraph in it; a section is named by the path of its headings.

    The path reads `Guide > Install`; nested sections carry their parents' titles.
    """
    result: list[Mark] = []
    path: list[tuple[int, str]] = []
    owner = FILE
    fence = ""
    lines = text.split("\n")
    start = _front_matter(lines)
    previous_blank = True
    for number in range(start, len(lines)):
        line = lines[number]
        stripped = line.strip()
        if fence:
            if stripped.startswith(fence) and not stripped.strip(fence[0]):
                fence = ""
            continue
        opening = _FENCE.match(line)
        if opening is not None:
            fence = opening[1]
        heading = None if opening else _heading(lines, number)
        if heading is not None:
            level, title = heading
            while path and path[-1][0] >= level:
                path.pop()
            path.append((level, title))
            symbol = " > ".join(name for _, name in path)
            owner = Owner(symbol, "section", title, symbol)
            result.append(Mark(number, owner))
        elif previous_blank and stripped and not line[0].isspace():
            result.append(Mark(number, owner))
        previous_blank = not stripped
    return result


def _heading(lines: list[str], number: int) -> tuple[int, str] | None:
    line = lines[number]
    found = _HEADING.match(line)
    if found is not None:
        title = _plain(found[2] or "")
        return (len(found[1]), title) if title else None
    if number + 1 >= len(lines) or not line.strip() or line.startswith("    "):
        return None
    underline = _UNDERLINE.match(lines[number + 1])
    if underline is None or line.lstrip().startswith(_BLOCK_STARTS) or _UNDERLINE.match(line):
        return None
    if number and lines[number - 1].strip():
        return None  # the last line of a longer paragraph or table
    title = _plain(line)
    return (1 if underline[1][0] == "=" else 2, title) if title else None


def _plain(title: str) -> str:
    return " ".join(_MARKUP.sub(lambda found: found[1] or "", title).split())[:_MAX_TITLE]


def _front_matter(lines: list[str]) -> int:
    """The line after a YAML (`---`) or TOML (`+++`) front matter; 0 without one."""
    if lines[0].rstrip() not in ("---", "+++"):
        return 0
    for number in range(1, min(len(lines), 200)):
        if lines[number].rstrip() == lines[0].rstrip():
            return number + 1
    return 0
