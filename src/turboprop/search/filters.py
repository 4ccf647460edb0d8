"""Filters as a Lance condition that holds before the best rows are taken.

A glob becomes a regular expression of Rust's `regex` (linear time, whatever the pattern), so what
runs in the table is exact and nothing is filtered afterwards. The pattern for lines is RE2's, as for `tp grep`: it is
looked for in the texts of the table, and the condition has the rows that hold it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from turboprop.code.language_names import languages_called, nearest_language
from turboprop.code.walk import shown
from turboprop.errors import UsageError
from turboprop.index.lance_table import sql_in, sql_text
from turboprop.index.schema import LANGUAGE, PATH
from turboprop.search.patterns import Pattern
from turboprop.types import SearchFilter

if TYPE_CHECKING:
    from turboprop.index.read import IndexReader

MAX_GLOB_CHARS = 1_000


def condition_in(reader: IndexReader, wanted: SearchFilter | None) -> str | None:
    """The SQL condition of a filter for one table, None where everything may be found. Raises `UsageError`."""
    if wanted is None:
        return None
    condition = compile_filter(wanted, reader.header.scope.root)
    if not wanted.regex:
        return condition
    pattern = Pattern((wanted.regex,)).compile()
    held: list[int] = []
    others: list[int] = []
    for row_ids, texts in reader.texts(condition):
        holds = pattern.in_lines_of(texts)
        held += row_ids[holds].tolist()
        others += row_ids[~holds].tolist()
    # The shorter list: Lance needs 6 us for each number, and a pattern may be in nearly all rows.
    few, sign = (held, "IN") if len(held) <= len(others) else (others, "NOT IN")
    rows = f"_rowid {sign} ({','.join(map(str, few))})" if few else "false" if sign == "IN" else "true"
    return f"{condition} AND {rows}" if condition else rows


def compile_filter(wanted: SearchFilter, root: str = "") -> str | None:
    """The SQL condition of a filter but for its pattern for lines, None where there is none. Raises `UsageError`.

    Languages may be called as people do (`py`, `c++`). `root` is the repository's folder, below which a glob may be an
    absolute path. Bytes that are not UTF-8 stand in paths as `\\xNN`, and so they do here.
    """
    conditions = []
    if wanted.languages:
        for name in wanted.languages:
            if near := nearest_language(name):
                raise UsageError(f"there is no language '{shown(name)[:80]}'; did you mean {near}?")
        meant = [language for name in wanted.languages for language in languages_called(shown(name))]
        conditions.append(sql_in(LANGUAGE, dict.fromkeys(meant)))
    if wanted.extensions:
        endings = [shown(extension.lower()) for extension in wanted.extensions]
        either = " OR ".join(f"ends_with(lower({PATH}), {sql_text(_dotted(ending))})" for ending in endings)
        conditions.append(f"({either})")
    if wanted.below:
        conditions.append(f"starts_with({PATH}, {sql_text(wanted.below + '/')})")
    if wanted.globs:
        conditions.append(_globs(tuple(_from_root(shown(glob), root) for glob in wanted.globs)))
    return " AND ".join(conditions) or None


def _from_root(glob: str, root: str) -> str:
    """A glob relative to the root, where it is written as an absolute path below it."""
    sign, path = ("!", glob[1:]) if glob.startswith("!") else ("", glob)
    if root and path.replace("\\", "/").startswith(root.replace("\\", "/").rstrip("/") + "/"):
        return f"{sign}/{path[len(root.rstrip('/')) + 1 :]}"
    return glob


def _dotted(extension: str) -> str:
    if not extension.strip("."):
        raise UsageError("an empty file type; write one such as --filetype .py")
    return extension if extension.startswith(".") else f".{extension}"


def _globs(globs: tuple[str, ...]) -> str:
    """The last glob that matches a path decides; where none does, it is in if no glob includes."""
    condition = "" if any(not glob.startswith("!") for glob in globs) else "true"
    for glob in globs:
        matches = f"regexp_like({PATH}, {sql_text(glob_regex(glob.removeprefix('!')))})"
        if glob.startswith("!"):
            condition = f"({condition} AND NOT {matches})" if condition else ""
        else:
            condition = f"({condition} OR {matches})" if condition else matches
    return condition or "false"


def glob_regex(glob: str) -> str:
    r"""The regular expression (for Rust's `regex` and Python's `re`) of one glob over whole paths.

    `*` and `?` stay within a folder, `**` crosses folders, `[a-z]` and `[!a-z]` are sets, `{a,b}`
    alternatives, `\` takes the next sign as it is; before a letter or a digit it is a separator of Windows, or itself.
    What stands in brackets is also found as it is written (`pages/[slug]/**`). A glob with a `/` before its end, as
    after `./`, starts at the root, any other matches at every depth; one whose last part is a plain name or ends in
    `/` also covers what lies below that folder. Raises `UsageError`.
    """
    if re.search(r"[^\\]\\$", glob):
        glob = f"{glob[:-1]}/"
    if glob.startswith(("./", ".\\")):
        glob = f"/{glob[2:]}"
    if not glob.strip("/") or len(glob) > MAX_GLOB_CHARS:
        raise UsageError(f"{glob[:80]!r} is no path pattern; write one such as 'src/**' or '*.py'")
    if ".." in re.split(r"[/\\]", glob):
        raise UsageError(f"{glob[:80]!r} leads out of the repository; write it from its root, as 'src/**'")
    folder = glob.endswith("/")
    body = glob.strip("/")
    anchored = "/" in glob.rstrip("/")
    name = re.split(r"/|\\(?=\w)", body)[-1]
    below = "/(?s:.)*" if folder else "(?:/(?s:.)*)?" if not re.search(r"[*?{]", name) else ""
    start = "^" if anchored else "^(?:(?s:.)*/)?"
    return f"{start}{_translate(body, glob)}{below}$"


def _translate(body: str, glob: str) -> str:
    parts: list[str] = []
    depth, at = 0, 0
    windows = "/" not in body and re.search(r"\\\w", body) is not None
    while at < len(body):
        char = body[at]
        at += 1
        if char == "*":
            if body.startswith("*", at):
                at += 1
                leads = at == 2 or body[at - 3] == "/"
                if leads and body.startswith("/", at):  # `**/`: any folders, or none
                    at += 1
                    parts.append("(?:(?s:.)*/)?")
                else:
                    parts.append("(?s:.)*")
            else:
                parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "[" and (end := _set_end(body, at)) > 0:
            parts.append(f"(?:{_set(body[at:end])}|{''.join(map(_literal, body[at - 1 : end + 1]))})")
            at = end + 1
        elif char == "[":
            raise UsageError(f"{glob[:80]!r}: a [ without its ]; \\[ is the sign itself")
        elif char == "{":
            depth += 1
            parts.append("(?:")
        elif char == "}" and depth:
            depth -= 1
            parts.append(")")
        elif char == "," and depth:
            parts.append("|")
        elif char == "\\" and (windows or body[at : at + 1].isalnum() or body[at : at + 1] in ("_", ".", "-")):
            parts.append("[/\\x5c]")
        elif char == "\\" and at < len(body):
            parts.append(_literal(body[at]))
            at += 1
        else:
            parts.append(_literal(char))
    if depth:
        raise UsageError(f"{glob!r}: a {{ without its }}")
    return "".join(parts)


def _set_end(body: str, at: int) -> int:
    """Where the set ends that begins at `at`, -1 where it does not; a `]` at its start is a member."""
    first = at + (1 if body[at : at + 1] in ("!", "^") else 0)
    return body.find("]", first + 1)


def _set(members: str) -> str:
    negated = members[:1] in ("!", "^")
    members = members[1:] if negated else members
    ranges: list[str] = []
    at = 0
    while at < len(members):
        low = high = members[at]
        if members[at + 1 : at + 2] == "-" and at + 2 < len(members):
            high = members[at + 2]
            at += 2
        at += 1
        if low <= high:
            ranges.append(_code(low) + ("-" + _code(high) if high != low else ""))
    inside = "".join(ranges)
    if negated:
        return f"[^/{inside}]"
    return f"[{inside}]" if inside else "[^\\x00-\\U0010FFFF]"


def _literal(char: str) -> str:
    return char if char.isalnum() and char.isascii() else f"[{_code(char)}]"


def _code(char: str) -> str:
    r"""A character that Rust's and Python's expressions both read, inside of a set."""
    if char.isascii() and (char.isalnum() or char in "_/ .,@%'"):
        return char
    number = ord(char)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"
