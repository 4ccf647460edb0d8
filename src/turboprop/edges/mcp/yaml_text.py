"""Putting a member into a YAML file that people keep: comments, order and layout of everything else stay.

Only block mappings are changed, two levels deep; the text is read again by a parser of YAML, and refused where it does
not say what was meant.
"""

from __future__ import annotations

import json
import re
from typing import Any

_UNSAFE = "it is written in a way that cannot be changed safely"


def parse(text: str) -> Any:
    """The value of a whole text, {} for none. Raises `ValueError`."""
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error).replace("\n", " ")) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return {} if value is None else value


def with_member(text: str, keys: tuple[str, str], value: dict[str, Any]) -> str:
    """The text with `value` under `keys`; lines of members that have their value already stay. Raises `ValueError`
    where that cannot be done by changing lines."""
    expected = parse(text)
    first, second = keys
    if expected.get(first) is None:
        expected[first] = {}
    there = expected[first].get(second) or {}
    expected[first][second] = value
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(newline)
    while lines and not lines[-1].strip():
        lines.pop()
    head = _head(lines, first, "", 0)
    if head is None and (empty := _line(lines, first, "", _EMPTY, 0)) is not None:
        lines[empty] = re.sub(f":{_EMPTY}", r":\1", lines[empty])
        head = empty
    if head is None:
        lines.append(f"{first}:")
        head = len(lines) - 1
    indent = _indent(lines, head)
    old = _head(lines[: _end(lines, head)], second, indent, head + 1)
    if not there:
        span = slice(head + 1, head + 1) if old is None else slice(old, _end(lines, old))
        members = (f"{indent}  {_key(key)}: {_written(each)}" for key, each in value.items())
        lines[span] = [f"{indent}{_key(second)}:", *members]
    elif old is None:
        raise ValueError(_UNSAFE)
    else:
        inner = _indent(lines, old)
        for key in [each for each in reversed(value) if each not in there or there[each] != value[each]]:
            at = _line(lines[: _end(lines, old)], key, inner, _ANY, old + 1)
            span = slice(old + 1, old + 1) if at is None else slice(at, _end(lines, at))
            lines[span] = [f"{inner}{_key(key)}: {_written(value[key])}"]
    return _checked(newline.join([*lines, ""]), expected)


def without_member(text: str, keys: tuple[str, str]) -> str:
    """The text without what stands under `keys`; the first of them stays, with `{}` if need be. Raises `ValueError`."""
    expected = parse(text)
    first, second = keys
    del expected[first][second]
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(newline)
    head = _head(lines, first, "", 0)
    old = None if head is None else _head(lines, second, _indent(lines, head), head + 1)
    if head is None or old is None:
        raise ValueError(f"{first}.{second} is written in a way that cannot be changed safely")
    del lines[old : _end(lines, old)]
    if not expected[first]:
        lines[head] = lines[head].replace(":", ": {}", 1)
    return _checked(newline.join(lines), expected)


def _checked(made: str, expected: Any) -> str:
    if parse(made) != expected:
        raise ValueError(_UNSAFE)
    return made


_BLOCK, _ANY = r"\s*(?:#.*)?", r"(?:\s.*)?"
_EMPTY = r"\s+(?:\{\s*\}|null|~)((?:\s+#.*)?)\s*"


def _head(lines: list[str], key: str, indent: str, start: int) -> int | None:
    """The line of a key at an indent whose block follows it."""
    return _line(lines, key, indent, _BLOCK, start)


def _line(lines: list[str], key: str, indent: str, rest: str, start: int) -> int | None:
    """The line of a key at an indent, with what matches `rest` behind its colon."""
    name = re.escape(key)
    pattern = re.compile(rf"{indent}(?:{name}|\"{name}\"|'{name}')\s*:{rest}")
    return next((at for at in range(start, len(lines)) if pattern.fullmatch(lines[at])), None)


def _end(lines: list[str], head: int) -> int:
    """The line behind the block of a key: comments and empty lines before the next key are the next one's."""
    depth = len(lines[head]) - len(lines[head].lstrip(" "))
    last = head
    for at in range(head + 1, len(lines)):
        body = lines[at].lstrip(" ")
        if not body or body.startswith("#"):
            continue
        indent = len(lines[at]) - len(body)
        if indent < depth or (indent == depth and not body.startswith("- ")):  # a list may stand under its key
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
