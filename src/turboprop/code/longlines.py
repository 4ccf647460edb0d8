"""Lines that nobody can read: embedded images, tables of numbers, minified code. They are cut, the file is kept.

A file is judged by its lines and left out only where no hand is in it at all: a bundle, a document of data on one line.
"""

from __future__ import annotations

import re

CUT_WORDS = "characters cut"
"""What each note of a cut says, so that the words of an index tell which chunks lack a part of their file."""
LONGEST_LINE = 1_000
"""Characters up to which a line stays whole, whatever is in it. One of words does at any length: many hands write a
paragraph a line."""
_HEAD, _TAIL, _RUN_HEAD = 400, 100, 40
# An image or a key in base64, hex or percent signs, within a line that says more.
_RUN = re.compile(r"[A-Za-z0-9+/=_%\\-]{300,}")
# Of prose one character in six is a blank, of minified code one in thirty to fifty; formulas have blanks, and few
# letters; a document of JSON with code in its strings has both, and many signs.
_BLANKS = 1 / 12
_LETTERS = 0.6
_PART = 4_000

_MINIFIED_FROM = 2_000
_PACKED_LINE = 400
"""Some minifiers wrap at 500 characters."""
_PACKED_SHARE = 0.5
_FEW_STATEMENTS = 3
"""Lines outside comments that a bundle may have beside its packed ones: `"use strict";`, a wrapper's first line."""
_COMMENTS = ("//", "/*", "*", "#", "<!--", "--", ";", "%", '"""', "'''")
# What minifiers write; a table of numbers in C or in SQL is as packed, and somebody's.
_PACKED_SIGNS = {
    "javascript": (re.compile(r"\bfunction\b|=>|\breturn\b|\bvar\b|\bthis\."), 1 / 400),
    "css": (re.compile(r"[{};:]"), 1 / 30),
    "json": (re.compile(r'"'), 1 / 400),
}
_PROSE_SIGNS = '(){}[];="\\'
_MOST_SIGNS = 0.04


def cut_long_lines(text: str) -> str:
    """The text with as many lines, those that nobody can read cut, with a note of how many characters are missing."""
    if len(text) <= LONGEST_LINE:
        return text
    lines = text.split("\n")
    if max(map(len, lines)) <= LONGEST_LINE:
        return text
    return "\n".join(line if len(line) <= LONGEST_LINE else _cut(line) for line in lines)


def is_minified(text: str, language: str) -> bool:
    """Whether all that a file holds is what a minifier writes: next to none of its lines was written by hand."""
    if len(text) < _MINIFIED_FROM or language not in _PACKED_SIGNS:
        return False
    lines = text.split("\n")
    packed = "\n".join(line for line in lines if len(line) > _PACKED_LINE and not _is_prose(line))
    if len(packed) <= _PACKED_SHARE * len(text):
        return False
    statements = [line for line in lines if len(line) <= _PACKED_LINE and not _is_comment(line.strip())]
    signs, share = _PACKED_SIGNS[language]
    return len(statements) < _FEW_STATEMENTS and len(signs.findall(packed)) >= share * len(packed)


def _is_comment(line: str) -> bool:
    return not line or line.startswith(_COMMENTS)


def _cut(line: str) -> str:
    line = _RUN.sub(lambda run: run[0][:_RUN_HEAD] + _mark(len(run[0]) - _RUN_HEAD), line)
    if len(line) <= LONGEST_LINE or _is_prose(line):
        return line
    return line[:_HEAD] + _mark(len(line) - _HEAD - _TAIL) + line[-_TAIL:]


def _mark(characters: int) -> str:
    return f"[... {characters:,} {CUT_WORDS} ...]"


def _is_prose(line: str) -> bool:
    """Whether a line is of words rather than of data or packed code; tells by its beginning and its middle."""
    middle = len(line) // 2
    part = line if len(line) <= 2 * _PART else line[:_PART] + line[middle : middle + _PART]
    words = "".join(part.split())
    letters = sum(map(str.isalpha, words))
    signs = sum(part.count(sign) for sign in _PROSE_SIGNS)
    if not letters or letters < _LETTERS * len(words) or signs > _MOST_SIGNS * len(part):
        return False
    beyond_ascii = len(words) - len(words.encode("ascii", "ignore"))
    # Chinese, Japanese and Thai are written without blanks.
    return len(part) - len(words) >= _BLANKS * len(part) or beyond_ascii > len(words) / 2
