"""What an agent reads: short text, every piece under its `path:start-end`, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from turboprop.errors import UsageError

if TYPE_CHECKING:
    from turboprop.types import Hit

PAGE_CHARS = 8_000
"""Characters of one answer at most: about 2,500 tokens, a tenth of what clients allow a tool (25,000)."""
LINE_CHARS = 240
SNIPPET_LINES = 12
DEEPEST = 200
"""Hits that can be paged through: ranking puts the best 200 chunks of the words' side in order."""
_NAMES = 3


def page_start(cursor: str | None) -> int:
    """Where a page begins. Raises `UsageError` for a cursor that no page ended with."""
    if cursor is None or cursor == "":
        return 0
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 9:
        raise UsageError(f"{cursor!r} is no cursor; give the one that the last page ended with")
    return int(cursor)


def hits_page(hits: Sequence[Hit], start: int, limit: int, lines: int, nothing: str) -> str:
    """Hits `start` to `start + limit`, and the cursor of the next page where there are more."""
    blocks: list[str] = []
    room = PAGE_CHARS
    at = start
    for hit in hits[start : start + limit]:
        block = _block(hit, lines)
        if blocks and len(block) > room:
            break
        blocks.append(block)
        room -= len(block)
        at += 1
    if not blocks:
        return nothing
    if at < len(hits):
        blocks.append(f'more: cursor "{at}"')
    return "\n\n".join(blocks)


def numbered(lines: Sequence[str], first: int) -> str:
    """Lines with their numbers; a very long one is cut."""
    return "\n".join(f"{number}| {_cut(line)}" for number, line in enumerate(lines, first))


def names(symbol: str) -> str:
    """The first names that a chunk defines."""
    parts = symbol.split(", ")
    return symbol if len(parts) <= _NAMES else f"{', '.join(parts[:_NAMES])}, ..."


def _block(hit: Hit, most: int) -> str:
    head = "  ".join(part for part in (f"{hit.path}:{hit.start_line}-{hit.end_line}", names(hit.symbol)) if part)
    lines = hit.text.rstrip().split("\n")
    body = numbered(lines[:most], hit.start_line) if most else ""
    left = f"... {len(lines) - most} more lines" if most and len(lines) > most else ""
    return "\n".join(part for part in (head, body, left) if part)


def _cut(line: str) -> str:
    line = line.rstrip()
    return line if len(line) <= LINE_CHARS else f"{line[:LINE_CHARS]}..."
