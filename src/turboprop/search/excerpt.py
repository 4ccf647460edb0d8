"""What is shown of a hit: its lines, lines around them, or the whole definition that it is a part of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.code.inside import lines_inside
from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.index.lance_table import sql_text
from turboprop.index.schema import PATH, SYMBOL

if TYPE_CHECKING:
    from turboprop.index.read import IndexReader
    from turboprop.types import Hit


def whole_definition(reader: IndexReader, hit: Hit) -> Hit:
    """The hit widened to all chunks of its definition; itself where it defines nothing or is whole."""
    if not hit.symbol:
        return hit
    rows = reader.rows_where(
        f"{PATH} = {sql_text(hit.path)} AND {SYMBOL} = {sql_text(hit.symbol)}", ["start_line", "end_line", "text"]
    )
    rows.sort(key=lambda row: row["start_line"])
    at = next((number for number, row in enumerate(rows) if row["start_line"] == hit.start_line), None)
    if at is None:
        return hit
    first = last = at
    # Two definitions of one name may lie in a file: only what adjoins belongs together.
    while first > 0 and rows[first - 1]["end_line"] >= rows[first]["start_line"] - 1:
        first -= 1
    while last + 1 < len(rows) and rows[last + 1]["start_line"] <= rows[last]["end_line"] + 1:
        last += 1
    part = rows[first : last + 1]
    return replace(
        hit,
        start_line=part[0]["start_line"],
        end_line=part[-1]["end_line"],
        text="".join(row["text"] for row in part),
    )


def with_context(root: Path, hit: Hit, lines: int) -> Hit:
    """The hit with lines before and after it from its file; itself where the file has changed since."""
    try:
        every = lines_inside(root, hit.path)
    except (IndexNotFoundError, UsageError):
        return hit
    shown = "\n".join(every[hit.start_line - 1 : hit.end_line])
    if shown.strip() != hit.text.strip():
        return hit
    first, last = max(1, hit.start_line - lines), min(len(every), hit.end_line + lines)
    return replace(hit, start_line=first, end_line=last, text="\n".join(every[first - 1 : last]))
