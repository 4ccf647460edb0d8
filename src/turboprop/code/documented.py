"""What a file says about its own definitions: docstrings and the comments right above, apart from the code."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from turboprop.code import syntax
from turboprop.code.encoding import normalise_newlines
from turboprop.code.languages import LANGUAGES
from turboprop.code.lines import line_offsets

_COMMENT = re.compile(r"^\s*(?:///?!?|/\*\*?|\*/|\*|#(?!\[|!|\s*(?:include|define|if|endif|pragma))|--\|?|;;+|%+)\s?")
_MARK_CHARS = 400  # small, so that every definition of some size has a mark of its own


@dataclass(frozen=True, slots=True)
class Documented:
    """A definition and what is said of it: `text` stands in lines `first` to `last` (1-based, inclusive).

    `alone` where the definition has no other content, so that something must stand in its place.
    """

    symbol: str
    text: str
    first: int
    last: int
    alone: bool = False


def documented(text: str, language: str) -> list[Documented]:
    """The documented definitions of a file in line order; none for a language without a grammar, or broken Python."""
    text = normalise_newlines(text)
    if language == "python":
        return _python(text)
    row = LANGUAGES.get(language)
    if row is None or not row.grammar:
        return []
    offsets = line_offsets(text)
    lines = text.split("\n")
    found = []
    for mark in syntax.marks(text, row, offsets, _MARK_CHARS):
        if not mark.names:
            continue
        last = mark.line
        while last < len(lines) and _COMMENT.match(lines[last]):
            last += 1
        said = "\n".join(_COMMENT.sub("", line).removesuffix("*/").strip() for line in lines[mark.line : last])
        if said.strip():
            found.append(Documented(mark.names[0], said.strip(), mark.line + 1, last))
    return found


def without(text: str, parts: Sequence[Documented]) -> str:
    """The text without what is said in `parts`."""
    lines = normalise_newlines(text).split("\n")
    for part in sorted(parts, key=lambda part: -part.first):
        filling = []
        if part.alone:
            first = lines[part.first - 1]
            filling = [first[: len(first) - len(first.lstrip())] + "pass"]
        lines[part.first - 1 : part.last] = filling
    return "\n".join(lines)


def _python(text: str) -> list[Documented]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in other people's strings
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: list[Documented] = []
    pending: list[tuple[str, ast.AST]] = [("", tree)]
    while pending:
        scope, node = pending.pop()
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                pending.append((scope, child))
                continue
            symbol = f"{scope}.{child.name}" if scope else child.name
            pending.append((symbol, child))
            said = ast.get_docstring(child)
            first = child.body[0]
            whole_lines = first.lineno > child.lineno and first.end_lineno is not None
            shared = len(child.body) > 1 and child.body[1].lineno == first.end_lineno
            if said and whole_lines and not shared and first.end_lineno is not None:
                found.append(Documented(symbol, said, first.lineno, first.end_lineno, alone=len(child.body) == 1))
    return sorted(found, key=lambda one: one.first)
