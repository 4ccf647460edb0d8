"""One rule of gitignore syntax as a regular expression that takes no path long.

The library writes each `*` and `**` as a repetition that is tried again from every place: `*a*a*a*a*a*b` takes a
minute for a name of 200 times `a`, and a clone may hold both. What stands between two stars has one length, so the
first place where it fits is as good as any later one, and need not be left again (as in Python's `fnmatch`).
"""

from __future__ import annotations

import re
from typing import AnyStr

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

_STAR = "[^/]*"
_ONE = "[^/]"
_FIRST_FOLDERS = "^(?:.+/)?"  # `**/` at the beginning
_FOLDERS = "(?:/.+)?"  # `/**` between others
_END = "(?=/)"
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)


class IgnorePattern(GitIgnoreSpecPattern):
    """As the library's own, with other expressions for the same paths."""

    __slots__ = ()

    @classmethod
    def pattern_to_regex(cls, pattern: AnyStr) -> tuple[AnyStr | None, bool | None]:
        """The expression of a rule and whether it excludes. Raises `GitIgnorePatternError`."""
        text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
        regex, include = super().pattern_to_regex(text)
        if regex is None:
            return None, include
        regex = never_slow(regex)
        return (regex if isinstance(pattern, str) else regex.encode("latin-1")), include


def never_slow(regex: str) -> str:
    """An expression of the library's that matches the same, in at most quadratic time."""
    # A class such as [!a] or [+-9] takes a slash in the library, and not in Git.
    regex = _TOKEN.sub(lambda token: f"(?!/){token[0]}" if token[0][0] == "[" and token[0] != _ONE else token[0], regex)
    *before, last = regex.split(_FOLDERS)
    if not before:
        return _segments(last)
    done = ""
    for number, part in enumerate(before):
        start = "(?:/.+?)??" if number else ""
        if part.startswith(_FIRST_FOLDERS):
            start, part = "^(?:.+?/)??", part.removeprefix(_FIRST_FOLDERS)
        done += f"(?>{start}{_segments(part)}{_END})"
    return done + _FOLDERS + _segments(last)


def _segments(regex: str) -> str:
    """What is between two stars of one name is looked for once."""
    first, *rest = regex.split(_STAR)
    if not rest:
        return first
    *inner, last = rest
    done = [first]
    for part in inner:
        within = "/" not in part.replace(_ONE, "").replace("(?!/)", "")
        done.append(f"(?>[^/]*?{part})" if within else _STAR + part)
    return "".join([*done, _STAR, last])
