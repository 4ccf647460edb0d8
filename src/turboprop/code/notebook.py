"""Jupyter notebooks as text: the lines of their cells, without outputs and metadata.

A notebook that was written with one line of source a line of JSON, as Jupyter writes them, keeps its line numbers: the
text has a line for each of the file, empty where the file has no source. Of any other one the lines are counted anew.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

SUFFIX = ".ipynb"
LARGEST = 20_000_000
"""Bytes up to which a notebook is read: most of a large one is images among its outputs."""
_TOKEN = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"|[\[\]{}:]', re.DOTALL)
_CELL = re.compile(r"# %% (?:\[(markdown|raw)\] )?cell (\d+)$")
_PROSE = ("markdown", "heading")
_LANGUAGES = {"c++": "cpp", "c#": "csharp", "f#": "fsharp", "ipython": "python", "node": "javascript"}


class Notebook(NamedTuple):
    """Its text and the name of its kernel's language in lower case."""

    text: str
    language: str


class Cell(NamedTuple):
    """Lines [start, end) of a notebook's text, without the line that announces them. `number` begins at 1."""

    number: int
    kind: str
    start: int
    end: int


@dataclass(slots=True)
class _Source:
    kind: str
    lines: list[str]
    file_line: int
    """Of the first line, in the file; -1 where the lines are not each on a line of it."""


def read_notebook(text: str) -> Notebook | None:
    """The cells of a notebook; None for a text that is none: no JSON, or JSON without cells."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    cells = found.get("cells")
    if cells is None and isinstance(sheets := found.get("worksheets"), list):  # before 2015
        inner = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
        cells = [cell for one in inner if isinstance(one, list) for cell in one]
    if not isinstance(cells, list):
        return None
    language = _language(found.get("metadata"))
    sources = [_source(cell) for cell in cells if isinstance(cell, dict)]
    if not any(source.lines for source in sources):
        return Notebook("", language)
    places = _places(text)
    starts = list(accumulate((len(line) + 1 for line in text.split("\n")), initial=0))
    if len(places) == len(sources):
        for source, offsets in zip(sources, places, strict=True):
            at = [bisect_right(starts, offset) - 1 for offset in offsets]
            if at and at == list(range(at[0], at[0] + len(source.lines))):
                source.file_line = at[0]
    if all(source.file_line > 0 or not source.lines for source in sources):
        return Notebook(_in_place(sources, len(starts) - 1), language)
    return Notebook(_in_order(sources), language)


def cells_of(text: str) -> list[Cell]:
    """The cells of a notebook's text, those without a line left out."""
    lines = text.split("\n")
    found: list[Cell] = []
    openings = [(at, match) for at, line in enumerate(lines) if (match := _CELL.match(line))]
    for index, (at, match) in enumerate(openings):
        end = openings[index + 1][0] if index + 1 < len(openings) else len(lines)
        while end > at + 1 and not lines[end - 1].strip():
            end -= 1
        if end > at + 1:
            found.append(Cell(int(match[2]), match[1] or "code", at + 1, end))
    return found


def _source(cell: dict[str, Any]) -> _Source:
    kind = cell.get("cell_type")
    raw = cell.get("source", cell.get("input", ""))
    text = "".join(one for one in raw if isinstance(one, str)) if isinstance(raw, list) else raw
    lines = text.replace("\r\n", "\n").split("\n") if isinstance(text, str) and text else []
    if lines and not lines[-1]:
        lines.pop()
    name = "markdown" if kind in _PROSE else "code" if kind == "code" else "raw"
    return _Source(name, lines, -1)


def _heading(number: int, source: _Source) -> str:
    kind = "" if source.kind == "code" else f"[{source.kind}] "
    return f"# %% {kind}cell {number}"


def _in_place(sources: list[_Source], count: int) -> str:
    lines = [""] * count
    for number, source in enumerate(sources, 1):
        if source.lines:
            lines[source.file_line - 1] = _heading(number, source)
            lines[source.file_line : source.file_line + len(source.lines)] = source.lines
    return "\n".join(lines)


def _in_order(sources: list[_Source]) -> str:
    lines: list[str] = []
    for number, source in enumerate(sources, 1):
        lines += [_heading(number, source), *source.lines, ""]
    return "\n".join(lines)


def _places(text: str) -> list[list[int]]:
    """Where the texts of each cell's source begin: offsets of their quotation marks."""
    found: list[list[int]] = []
    # What is open: an object with its last key, or a list with the key that it is the value of.
    stack: list[tuple[str, str]] = []
    key, last = "", ""
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in "{[":
            stack.append((sign, key))
            if sign == "{" and _is_cell(stack):
                found.append([])
            key = ""
        elif sign in "}]":
            if stack:
                stack.pop()
            key = ""
        elif sign == ":":
            key = last
        else:
            last = token[1]
            if found and _is_source(stack, key):
                found[-1].append(token.start())
            if not (stack and stack[-1][0] == "["):
                key = ""
    return found


def _is_cell(stack: list[tuple[str, str]]) -> bool:
    """Whether the innermost of what is open is a cell: in a list of the notebook's own, or of one of its sheets."""
    if len(stack) == 3:
        return stack[1] == ("[", "cells")
    return len(stack) == 5 and stack[1] == ("[", "worksheets") and stack[3] == ("[", "cells")


def _is_source(stack: list[tuple[str, str]], key: str) -> bool:
    if key in ("source", "input"):  # one text
        return _is_cell(stack)
    return bool(stack) and stack[-1] in (("[", "source"), ("[", "input")) and _is_cell(stack[:-1])


def _language(metadata: Any) -> str:
    if not isinstance(metadata, dict):
        return "python"
    for part, name in (("language_info", "name"), ("kernelspec", "language"), ("kernelspec", "name")):
        values = metadata.get(part)
        value = values.get(name) if isinstance(values, dict) else None
        if isinstance(value, str) and value:
            lower = value.lower().rstrip("0123456789.-")
            return _LANGUAGES.get(lower, lower)
    return "python"
