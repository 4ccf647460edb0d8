"""What a user wants in an index whatever leaves it out: `--include`, the setting, and `!` lines of `.tpignore` files.

A rule for files brings back those in folders that Git sees. Into a folder that Git ignores, or that holds installed
packages, leads only a rule that names that folder: `*.py` does not read all of `node_modules/`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from turboprop.code.ignore import IgnoreRules

LARGEST = 20_000_000
"""Bytes of an included file: it is held in memory while it is read, and a repository's own file may say what is."""


class IncludeRules:
    """What is wanted of the files that are ignored, by lines in gitignore syntax from the root on."""

    def __init__(self, lines: Sequence[str] = ()) -> None:
        self._rules: list[tuple[IgnoreRules, IgnoreRules | None]] = []
        self._folders: list[list[str]] = []
        self._add(lines, ())

    def take_back(self, folder: str, lines: Sequence[str]) -> None:
        """Add the lines with `!` of the `.tpignore` in `folder`. One that takes back what an earlier line of the file
        excludes (`*` and `!src/**`) does that, and does not bring in what Git ignores."""
        wanted = [_rooted(folder, line[1:]) for line in lines if line.startswith("!")]
        self._add(wanted, [_rooted(folder, line) for line in lines if line.strip() and line[0] not in "!#"])

    def _add(self, lines: Sequence[str], excluded: Sequence[str]) -> None:
        if lines:
            self._rules.append((IgnoreRules("", top=lines), IgnoreRules("", top=excluded) if excluded else None))
            self._folders += filter(None, map(_folder_parts, lines))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def match(self, folder: str, base: str) -> bool:
        """Whether the file `base` in `folder` is wanted."""
        return any(
            wanted.excludes(folder, base) and not (excluded is not None and excluded.excludes(folder, base))
            for wanted, excluded in self._rules
        )

    def lead_into(self, folder: str, *, below: bool = False) -> bool:
        """Whether a rule names this folder or one in it; with `below`, in one that was named, also by `**`."""
        parts = folder.split("/")
        return any(_names(rule, parts, below) for rule in self._folders)


def _rooted(folder: str, line: str) -> str:
    """A line of a rule file in `folder` as a line of one at the root."""
    if not folder:
        return line
    folder = re.sub(r"([*?\[\\])", r"\\\1", folder)
    inside = "/" in line.rstrip("/")
    return f"/{folder}/{line.lstrip('/')}" if inside else f"/{folder}/**/{line}"


def _folder_parts(line: str) -> list[str]:
    """The names of a rule's path from the root on, `**` where it may begin anywhere; none for a rule without one."""
    bare = line.strip()
    if not bare or bare.startswith(("#", "!")):
        return []
    anchored = "/" in bare.rstrip("/")
    parts = bare.strip("/").split("/")
    # `build` may be a folder, `*.py` hardly.
    if not anchored and not bare.endswith("/") and re.search(r"[*?\[]", bare):
        return []
    return parts if anchored else ["**", *parts]


def _names(rule: list[str], folder: list[str], below: bool) -> bool:
    """Whether a rule's first names are those of a folder; a `**` at its beginning stands for folders above."""
    if rule[0] == "**":
        return len(rule) > 1 and any(_names(rule[1:], folder[at:], below) for at in range(len(folder)))
    given = rule[: len(folder)]
    if "**" in given:
        return below and _names(rule[: given.index("**")], folder[: given.index("**")], below)
    return len(given) == len(folder) and all(map(fnmatchcase, folder, given))
