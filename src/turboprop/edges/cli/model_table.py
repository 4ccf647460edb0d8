"""Tables of models: on a terminal of any width a name, its size and where it is are whole; in a pipe all is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from turboprop.printable import echo, human_size, printable_name

_RIGHT = frozenset(["size", "dimensions", "context"])
_GIVE_WAY = ("licence", "dimensions", "context", "good for", "kind")
"""Columns that are left out on a narrow terminal, this one first; `good for` is cut before it is left out."""
_LONGEST_NAME = 36
"""Columns of a name beside which others stand; a longer one has a line of its own."""
_SHORTEST_LAST = 16


def print_models(sections: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Models, under a heading for each section that has any."""
    titles = ["name", "size", "state", "kind", "dimensions", "context", "licence", "good for"]
    rows = {title: [_cells(entry) for entry in entries] for title, entries in sections.items() if entries}
    print_table(titles, [row for each in rows.values() for row in each], {title: len(rows[title]) for title in rows})
    if any(not entry["fits_memory"] for entries in sections.values() for entry in entries):
        echo("! needs more memory than this machine has")


def _cells(entry: Mapping[str, Any]) -> list[str]:
    return [
        entry["name"],
        human_size(entry["size"]) + (" " if entry["fits_memory"] else "!"),
        "" if entry["state"] == "remote" else entry["state"],
        entry["kind"],
        str(entry["dimensions"] or ""),
        str(entry["context"] or ""),
        entry["licence"] + (" (gated)" if entry["gated"] else ""),
        entry["good_for"],
    ]


def print_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], sections: Mapping[str, int] | None = None
) -> None:
    """Rows of cells, the first a name; `sections` are headings with the number of rows under each."""
    shown = [[printable_name(cell) for cell in row] for row in rows]
    terminal = sys.stdout.isatty()
    columns = [at for at, _ in enumerate(titles) if at < 2 or any(row[at] for row in shown)]
    widths = {at: max(len(titles[at]), *(len(row[at]) for row in shown)) for at in columns}
    room = shutil.get_terminal_size().columns if terminal else 0
    if terminal:
        fits = sum(widths[at] + 2 for at in columns) - 2 <= room
        short = [len(row[0]) for row in shown if fits or len(row[0]) <= _LONGEST_NAME]
        widths[0] = max(len(titles[0]), *short, 0)
        for title in _GIVE_WAY:
            at = titles.index(title) if title in titles else -1
            left = room - sum(widths[each] + 2 for each in columns if each != at)
            if at not in columns or widths[at] <= left:
                continue
            if at == len(titles) - 1 and left >= _SHORTEST_LAST:
                widths[at] = left
            else:
                columns.remove(at)
    heads = {}
    begin = 0
    for title, count in (sections or {}).items():
        heads[begin] = title
        begin += count
    lines = [_line([titles[at] for at in columns], titles, columns, widths)]
    for number, row in enumerate(shown):
        if terminal and number in heads and len(heads) > 1:
            lines += ([""] if number else []) + [f"{heads[number]}:"]
        cells = [_cut(row[at], widths[at]) if at else row[at] for at in columns]
        if terminal and len(row[0]) > widths[0]:
            lines.append(row[0])
            cells[0] = ""
        lines.append(_line(cells, titles, columns, widths))
    echo("\n".join(lines))


def _line(cells: Sequence[str], titles: Sequence[str], columns: Sequence[int], widths: Mapping[int, int]) -> str:
    padded = (
        f"{cell:>{widths[at]}}" if titles[at] in _RIGHT else f"{cell:<{widths[at]}}"
        for cell, at in zip(cells, columns, strict=True)
    )
    return "  ".join(padded).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
