"""Mercurial's `.hgignore`, without Mercurial, which would run what a repository's settings name.

Globs become rules of gitignore syntax. Regular expressions come with a repository and Python's take for ever over
some of them, so they are given to RE2, which does not (`pyarrow` has it).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from turboprop.code.ignore import compiled, rule_lines

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

FILE = ".hgignore"
_SYNTAXES = {"re": "regexp", "regexp": "regexp", "relre": "regexp", "glob": "glob", "relglob": "glob"}
_SYNTAXES |= {"rootglob": "rootglob", "path": "path", "rootfilesin": "path"}
_BRACES = re.compile(r"\{([^{}]*)\}")
_MOST_EXPANDED = 100


class HgIgnore:
    """The rules of the repository at `root` (with its last `/`). `notes` are sentences about rules that do not hold."""

    def __init__(self, root: str) -> None:
        self.notes: list[str] = []
        self._globs: GitIgnoreSpec | None = None
        self._regexps: list[str] = []
        globs: list[str] = []
        syntax = "regexp"
        for line in rule_lines(root + FILE):
            rule = re.sub(r"(?<!\\)#.*", "", line).replace(r"\#", "#").rstrip()
            if not rule:
                continue
            if rule.startswith("syntax:"):
                syntax = _SYNTAXES.get(rule.removeprefix("syntax:").strip(), "")
                continue
            kind, colon, rest = rule.partition(":")
            if colon and kind in ("include", "subinclude"):
                self.notes.append(f"{FILE}: {rule!r} is not followed.")
            elif colon and kind in _SYNTAXES:
                self._take(_SYNTAXES[kind], rest, globs)
            elif syntax:
                self._take(syntax, rule, globs)
        if globs:
            self._globs = compiled(globs)

    def _take(self, syntax: str, rule: str, globs: list[str]) -> None:
        if syntax == "regexp":
            if not _is_valid(rule):
                self.notes.append(f"{FILE}: {rule!r} is no regular expression of RE2 and does not hold here.")
            else:
                self._regexps.append(rule)
        elif syntax == "path":
            globs.append("/" + re.sub(r"([*?\[\\])", r"\\\1", rule.strip("/")))
        else:
            globs += [f"/{one}" if syntax == "rootglob" else f"**/{one}" for one in _expanded(rule.strip("/"))]

    def excludes(self, names: Sequence[str]) -> list[bool]:
        """Which of some paths are ignored; that of a folder ends with `/`."""
        spec = self._globs
        found = [bool(spec.check_file(name).include) if spec is not None else False for name in names]
        if self._regexps and names:
            # `build$` is about a folder, too, and `^build/` about what is in it.
            asked = [*names, *(name.rstrip("/") for name in names)]
            matched = _search("|".join(f"(?:{one})" for one in self._regexps), asked)
            found = [one or matched[at] or matched[at + len(names)] for at, one in enumerate(found)]
        return found


def _search(expression: str, names: Sequence[str]) -> list[bool]:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts: Any = pa.array([name.encode("utf-8", "replace").decode() for name in names], pa.string())
    return list(pc.match_substring_regex(texts, expression).to_pylist())


def _is_valid(expression: str) -> bool:
    import pyarrow as pa

    try:
        _search(expression, [""])
    except pa.ArrowInvalid:
        return False
    return True


def _expanded(glob: str) -> list[str]:
    """Its alternatives: `*.{a,b}` is `*.a` and `*.b`."""
    found, done = [glob], False
    while not done and len(found) < _MOST_EXPANDED:
        done = True
        for at, one in enumerate(found):
            if braces := _BRACES.search(one):
                parts = braces[1].split(",")
                found[at : at + 1] = [one[: braces.start()] + part + one[braces.end() :] for part in parts]
                done = False
                break
    return list(itertools.islice(found, _MOST_EXPANDED))
