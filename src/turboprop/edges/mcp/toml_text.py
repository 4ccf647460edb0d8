"""Putting a table into a TOML file that people keep: comments, order and layout of everything else stay."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

Text = str | bool | int | Sequence[str]


def parse(text: str) -> dict[str, Any]:
    """The value of a whole text. Raises `ValueError`."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def with_table(text: str, keys: tuple[str, str], values: Mapping[str, Text]) -> str:
    """The text with `values` set in the table `[first.second]`; its other keys stay, and the lines of those that have
    their value already. Raises `ValueError`."""
    first, second = keys
    expected = parse(text)
    tables = expected.setdefault(first, {})
    table = tables.setdefault(second, {}) if isinstance(tables, dict) else None
    if not isinstance(table, dict):
        raise ValueError(f"{first} holds no tables there")
    wanted = {name: value if isinstance(value, str | bool | int) else list(value) for name, value in values.items()}
    written = {
        name: f"{name} = {_written(value)}"
        for name, value in wanted.items()
        if name not in table or table[name] != value
    }
    table.update(wanted)
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.removesuffix("\n").removesuffix("\r").split(newline) if text else []
    head = re.compile(rf"\s*\[\s*{_either(first)}\s*\.\s*{_either(second)}\s*\]\s*(#.*)?")
    start = next((number for number, line in enumerate(lines) if head.fullmatch(line)), None)
    if start is None:
        gap = [""] if lines and lines[-1].strip() else []
        name = second if re.fullmatch(r"[A-Za-z0-9_-]+", second) else json.dumps(second)
        lines += [*gap, f"[{first}.{name}]", *written.values()]
    else:
        at = start + 1
        while at < len(lines) and not lines[at].lstrip().startswith("["):
            size = _assignment(lines, at)
            name = lines[at].split("=")[0].strip().strip("\"'")
            if name in written:
                lines[at : at + size] = [written.pop(name)]
                size = 1
            at += size
        lines[start + 1 : start + 1] = written.values()
    made = newline.join(lines) + newline
    if parse(made) != expected:
        raise ValueError(f"the table {first}.{second} is written in a way that cannot be changed safely")
    return made


def without_table(text: str, keys: tuple[str, str]) -> str:
    """The text without the table `[first.second]` and those below it; comments before the next table stay."""
    first, second = keys
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(newline)
    ours = re.compile(rf"\s*\[\s*{_either(first)}\s*\.\s*{_either(second)}\s*(?:\.[^\]]*)?\]\s*(#.*)?")
    at = 0
    while at < len(lines):
        if not ours.fullmatch(lines[at]):
            at += 1
            continue
        end = last = at + 1
        while end < len(lines) and not lines[end].lstrip().startswith("["):
            size = _assignment(lines, end)
            if lines[end].strip() and not lines[end].lstrip().startswith("#"):
                last = end + size
            end += size
        if at and not lines[at - 1].strip():
            at -= 1
        del lines[at:last]
    return newline.join(lines).lstrip(newline)


def _either(name: str) -> str:
    quoted = re.escape(name)
    return f"(?:{quoted}|\"{quoted}\"|'{quoted}')"


def _assignment(lines: Sequence[str], at: int) -> int:
    """How many lines the assignment at a line takes: the fewest that are TOML by themselves."""
    for size in range(1, len(lines) - at + 1):
        try:
            parse("\n".join(lines[at : at + size]))
        except ValueError:
            continue
        return size
    return 1


def _written(value: Text) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, bool | int):
        return json.dumps(value)
    return f"[{', '.join(_written(item) for item in value)}]"
