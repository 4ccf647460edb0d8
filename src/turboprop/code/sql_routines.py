"""Procedures of SQL, and who calls them, by lines: the grammar has no procedures, and reads hardly any dialect's bodies
(of a kit of forty T-SQL files it makes one error each)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

# Bounded: `call [call [` without an end would be looked through from each bracket to the end of its line.
_NAME = r"""(?:"[^"\n]{1,200}"|\[[^\]\n]{1,200}\]|`[^`\n]{1,200}`|[\w$#]+)"""
_PATH = rf"{_NAME}(?:\s?\.\s?{_NAME})*"
_HEAD = re.compile(
    r"^[ \t]*(?:create\s+(?:or\s+(?:replace|alter)\s+)?|alter\s+)(?:definer\s*=\s*\S+\s+)?(?:(?:non)?editionable\s+)?"
    rf"(?:proc(?:edure)?|function|package(?:\s+body)?|event)\s+(?:if\s+not\s+exists\s+)?(?P<made>{_PATH})"
    # A member of a package: `PROCEDURE hire (`, `FUNCTION total RETURN NUMBER`.
    rf"|^[ \t]*(?:procedure|function)\s+(?P<member>{_NAME})\s*(?=\(|;|(?:is|as|return)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_ENDS = re.compile(r"^[ \t]*(?:(?:go|/)[ \t]*;?[ \t\r]*$|delimiter\b)", re.IGNORECASE | re.MULTILINE)
"""Where a batch of T-SQL, a unit of PL/SQL or a routine of MySQL ends."""
_CALL = re.compile(
    rf"\b(?:exec(?:ute)?(?:\s+@\w+\s*=)?|call|perform)\s+(?P<name>{_PATH})(?=\s*(?:\(|;|@|'|N'|\d|$|\r))",
    re.IGNORECASE | re.MULTILINE,
)
_SAID = re.compile(r"--[^\n]*|/\*.*?(?:\*/|\Z)|'[^'\n]*'", re.DOTALL)
"""Comments and strings, where nothing is made or called."""
_SIGN = re.compile(r"[^\n']")
_MOST = 2_000_000
"""Characters that are looked at; a dump has more, and no routines in its rows."""


def routines(text: str) -> Iterator[tuple[str, int, int]]:
    """Each routine's bare name, with its first and last line in `text`, 0-based. It ends before the next one, or where
    its batch does."""
    text = _code(text)
    heads = list(_HEAD.finditer(text))
    stops = sorted([head.start() for head in heads] + [end.start() for end in _ENDS.finditer(text)])
    lines = _Lines(text)
    for head in heads:
        at = bisect_right(stops, head.start())
        end = stops[at] - 1 if at < len(stops) else len(text.rstrip())
        first = lines.of(head.start())
        yield _bare(head["made"] or head["member"]), first, max(first, lines.of(end - 1))


def calls(text: str) -> Iterator[tuple[str, int]]:
    """The bare names that are executed, each with its 0-based line."""
    lines = _Lines(text := _code(text))
    for found in _CALL.finditer(text):
        yield _bare(found["name"]), lines.of(found.start("name"))


def _code(text: str) -> str:
    """The text without what its comments and strings say; all else stays where it is."""
    return _SAID.sub(lambda said: _SIGN.sub(" ", said[0]), text[:_MOST])


class _Lines:
    def __init__(self, text: str) -> None:
        self._starts = [0, *(at + 1 for at, sign in enumerate(text) if sign == "\n")]

    def of(self, offset: int) -> int:
        return bisect_right(self._starts, max(0, offset)) - 1


def _bare(path: str) -> str:
    last = re.findall(_NAME, path)[-1]
    return str(last).strip('"`[]')
