"""Texts that are nested deeper than any hand writes, which some grammars' scanners do not survive.

A scanner of tree-sitter keeps its open scopes in a buffer of 1,024 bytes, and not every grammar checks
its end: 5,000 times `- ` ends the process in YAML's, 3,000 times an opened string template in Kotlin's and
Perl's. Such a text is cut by lines.
"""

from __future__ import annotations

import re

# Real code stays under 40 open brackets; the buffers above hold at least 340 scopes.
_MAX_BRACKETS = 250
_MAX_COLUMN = 250
_OPEN, _CLOSE = b"([{", b")]}"
_BRACKETS = re.compile(rb"[^()\[\]{}]+")
# What can stand before a nested YAML value on one line: indentation, `- `, `? `, `: `, tags and anchors.
_YAML_START = re.compile(rb"^(?:[ \t]*(?:[-?:]|[&!]\S*)(?=\s))*[ \t]*", re.MULTILINE)


def too_deep(source: bytes, language: str) -> bool:
    """Whether a text must not be given to a parser."""
    if language == "yaml" and any(len(found[0]) > _MAX_COLUMN for found in _YAML_START.finditer(source)):
        return True
    if sum(source.count(bracket) for bracket in (b"(", b"[", b"{")) <= _MAX_BRACKETS:
        return False
    depth = deepest = 0
    for bracket in _BRACKETS.sub(b"", source):
        if bracket in _OPEN:
            depth += 1
            deepest = max(deepest, depth)
        elif depth:
            depth -= 1
    return deepest > _MAX_BRACKETS
