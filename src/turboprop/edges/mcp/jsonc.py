"""Putting a member into a JSON file that people keep: comments, order and layout of everything else stay.

Reads JSON with `//` and `/* */` comments and trailing commas, as editors write their settings.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from turboprop.errors import UsageError

_SPACE = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SCALAR = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"|[-+.\w]+')
_DEEPEST = 100


@dataclass(slots=True)
class Node:
    """A value and where it stands: `text[start:end]`. `members` are those of an object."""

    start: int
    end: int
    value: Any
    members: dict[str, Node] = field(default_factory=dict)
    last_end: int = 0
    """End of the last member, or 0."""
    comma: bool = False
    """Whether a comma stands after the last member."""
    key_start: int = 0
    """Where its key begins, if it is a member."""


def parse(text: str) -> Node:
    """The value of a whole text. Raises `ValueError`."""
    node = _value(text, _skip(text, 0), 0)
    if _skip(text, node.end) != len(text):
        raise ValueError(f"something stands after the value, at character {node.end}")
    return node


def with_member(text: str, keys: tuple[str, ...], value: Any) -> str:
    """The text with `value` at the path of `keys`; objects on the way are made, in the place of null, too. Raises
    `UsageError`, `ValueError`."""
    if _skip(text, 0) == len(text):
        text = f"{text.rstrip()}\n{{}}\n".lstrip("\n")
    before = parse(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = _indent(text, before)
    node = before
    depth = 0
    for key in keys:
        if node.value is None:
            break
        if not isinstance(node.value, dict):
            raise UsageError(f"{'.'.join(keys[:depth]) or 'the whole'} is no object there")
        if key not in node.members:
            break
        node = node.members[key]
        depth += 1
    if depth == len(keys) or node.value is None:
        for key in reversed(keys[depth:]):
            value = {key: value}
        made = text[: node.start] + _written(value, indent, depth, newline) + text[node.end :]
    else:
        for key in reversed(keys[depth + 1 :]):
            value = {key: value}
        made = _inserted(text, node, keys[depth], value, indent, depth, newline)
    return made


def without_member(text: str, keys: tuple[str, ...]) -> str:
    """The text without the member at the path of `keys`, which is there; comments stay. Raises `ValueError`."""
    parent = parse(text)
    for key in keys[:-1]:
        parent = parent.members[key]
    member = parent.members[keys[-1]]
    names = list(parent.members)
    at = names.index(keys[-1])
    comma = _skip(text, member.end)
    gone = [(member.key_start, member.end)]
    if text[comma] == ",":
        gone.append((comma, comma + 1))
    elif at:
        comma = _skip(text, parent.members[names[at - 1]].end)
        gone.append((comma, comma + 1))
    # Its lines go as a whole where nothing else stands on them.
    start, end = gone[0]
    behind = gone[1][1] if len(gone) > 1 and gone[1][0] >= end and not text[end : gone[1][0]].strip() else end
    before, after = text.rfind("\n", 0, start), text.find("\n", behind)
    if before >= 0 and after >= 0 and not text[before:start].strip() and not text[behind:after].strip():
        gone[0] = (before, end)
        if behind != end:
            gone[1] = (end, after - (text[after - 1] == "\r"))
        else:
            gone[0] = (before, after - (text[after - 1] == "\r"))
        if text[before - 1] == "\r":
            gone[0] = (before - 1, gone[0][1])
    for first, last in sorted(gone, reverse=True):
        text = text[:first] + text[last:]
    return text


def _inserted(text: str, node: Node, key: str, value: Any, indent: str, depth: int, newline: str) -> str:
    close = node.end - 1
    body = len(text[:close].rstrip(" \t\r\n"))
    member = f"{newline}{indent * (depth + 1)}{json.dumps(key)}: {_written(value, indent, depth + 1, newline)}"
    tail = text[body:close] if "\n" in text[body:close] else newline + indent * depth
    if node.last_end and not node.comma:
        return f"{text[: node.last_end]},{text[node.last_end : body]}{member}{tail}{text[close:]}"
    return f"{text[:body]}{member}{tail}{text[close:]}"


def _written(value: Any, indent: str, depth: int, newline: str) -> str:
    lines = json.dumps(value, indent=indent, ensure_ascii=False).split("\n")
    return (newline + indent * depth).join(lines)


def _indent(text: str, root: Node) -> str:
    for member in root.members.values():
        line = text[text.rfind("\n", 0, member.start) + 1 : member.start]
        if space := line[: len(line) - len(line.lstrip(" \t"))]:
            return space
    return "  "


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _value(text: str, at: int, depth: int) -> Node:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    opening = text[at : at + 1]
    if opening == "{":
        return _object(text, at, depth)
    if opening == "[":
        items: list[Any] = []
        place = _skip(text, at + 1)
        while text[place : place + 1] != "]":
            item = _value(text, place, depth + 1)
            items.append(item.value)
            place, _ = _after(text, item.end, "]")
        return Node(at, place + 1, items)
    match = _SCALAR.match(text, at)
    if match is None:
        raise ValueError(f"no value at character {at}")
    return Node(at, match.end(), json.loads(match[0]))


def _object(text: str, at: int, depth: int) -> Node:
    node = Node(at, at, {})
    place = _skip(text, at + 1)
    while text[place : place + 1] != "}":
        key = _value(text, place, depth + 1)
        colon = _skip(text, key.end)
        if not isinstance(key.value, str) or text[colon : colon + 1] != ":":
            raise ValueError(f"no member at character {place}")
        member = _value(text, _skip(text, colon + 1), depth + 1)
        member.key_start = place
        node.members[key.value] = member
        node.value[key.value] = member.value
        node.last_end = member.end
        place, node.comma = _after(text, member.end, "}")
    node.end = place + 1
    return node


def _after(text: str, at: int, closing: str) -> tuple[int, bool]:
    """Where the next item or the closing bracket stands, and whether a comma stood before it."""
    place = _skip(text, at)
    if text[place : place + 1] == ",":
        return _skip(text, place + 1), True
    if text[place : place + 1] != closing:
        raise ValueError(f"no comma and no {closing} at character {place}")
    return place, False
