"""Putting a member into a YAML file that people keep: comments, order and layout of everything else stay.

Only block mappings are changed, two levels deep; the text is read again by a parser of YAML, and refused where it does
not say what was meant.
"""

from __future__ import annotations

import json
import re
from typing import Any


def parse(text: str) -> Any:
    """The value of a whole text, {} for none. Raises `ValueError`."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error).replace("\n", " ")) from error
    return {} if value is None else value


def with_member(text: str, keys: tuple[str, str], value: dict[str, Any]) -> str:
    """The text with `value` under `keys`. Raises `ValueError` where that cannot be done by adding lines."""
    expected = parse(text)
    first, second = keys
    expected.setdefault(first, {})[second] = value
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(newline)
    while lines and not lines[-1].strip():
        lines.pop()
    head = _head(lines, first, "", 0)
    if head is None:
        lines.append(f"{first}:")
        head = len(lines) - 1
    indent = _indent(lines, head)
    block = [f"{indent}{_key(second)}:", *(f"{indent}  {_key(key)}: {_written(each)}" for key, each in value.items())]
    old = _head(lines, second, indent, head + 1)
    if old is not None and old < _end(lines, head):
        lines[old : _end(lines, old)] = block
    else:
        lines[head + 1 : head + 1] = block
    return _checked(newline.join([*lines, ""]), expected)


def without_member(text: str, keys: tuple[str, ...]) -> str:
    """The text without what stands under `keys`, one or two of them. Raises `ValueError`."""
    expected = parse(text)
    del (expected if len(keys) == 1 else expected[keys[0]])[keys[-1]]
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(newline)
    head = _head(lines, keys[0], "", 0)
    if head is not None and len(keys) > 1:
        head = _head(lines, keys[1], _indent(lines, head), head + 1)
    if head is None:
        raise ValueError(f"{'.'.join(keys)} is written in a way that cannot be changed safely")
    del lines[head : _end(lines, head)]
    return _checked(newline.join(lines), expected)


def _checked(made: str, expected: Any) -> str:
    if parse(made) != expected:
        raise ValueError("it is written in a way that cannot be changed safely")
    return made


def _head(lines: list[str], key: str, indent: str, start: int) -> int | None:
    """The line of a key at an indent whose block follows it."""
    name = re.escape(key)
    pattern = re.compile(rf"{indent}(?:{name}|\"{name}\"|'{name}')\s*:\s*(?:#.*)?")
    return next((at for at in range(start, len(lines)) if pattern.fullmatch(lines[at])), None)


def _end(lines: list[str], head: int) -> int:
    """The line behind the block of a key: comments and empty lines before the next key are the next one's."""
    depth = len(lines[head]) - len(lines[head].lstrip(" "))
    last = head
    for at in range(head + 1, len(lines)):
        body = lines[at].lstrip(" ")
        if not body or body.startswith("#"):
            continue
        if len(lines[at]) - len(body) <= depth:
            break
        last = at
    return last + 1


def _indent(lines: list[str], head: int) -> str:
    """The indent of the first member of a block, two spaces for one without."""
    for line in lines[head + 1 : _end(lines, head)]:
        body = line.lstrip(" ")
        if body and not body.startswith("#"):
            return line[: len(line) - len(body)]
    return "  "


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_][\w-]*", key) and key.lower() not in _WORDS else json.dumps(key)


_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}


def _written(value: Any) -> str:
    """JSON, which is YAML on one line."""
    return json.dumps(value, ensure_ascii=False)
