"""Citations `[path:start-end]` in an answer: those of lines that the model was shown stay, the others go.

A bracket counts as a citation where it has the form and its path is one that was shown or looks like a path
(it has a dot or a slash), so `items[i:10]` in a line of code is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_LONGEST = 400
"""Characters of a bracket that is waited for; paths in repositories are shorter."""
_BRACKET = re.compile(rf"\[([^\[\]\n]{{0,{_LONGEST}}})\]")
_ONE = re.compile(r"\s*`?([^:`]+?)`?\s*:\s*L?(\d{1,9})(?:\s*[-\u2013]\s*L?(\d{1,9}))?\s*")


@dataclass(frozen=True, slots=True, order=True)
class Citation:
    """Lines of a file, 1-based and inclusive."""

    path: str
    start_line: int
    end_line: int

    def __str__(self) -> str:
        lines = f"{self.start_line}-{self.end_line}" if self.end_line > self.start_line else f"{self.start_line}"
        return f"{self.path}:{lines}"


class CitationFilter:
    """Passes an answer on and takes invented citations out, however it was cut into pieces.

    `shown` are the lines that the model was given, by path. A bracket with several citations keeps the real
    ones. `citations` and `removed` say what was found, in order, each once.
    """

    def __init__(self, shown: Mapping[str, Iterable[int]]) -> None:
        self._shown = {path: frozenset(lines) for path, lines in shown.items()}
        self._held = ""
        self._citations: dict[Citation, None] = {}
        self._removed: dict[str, None] = {}

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Real citations."""
        return tuple(self._citations)

    @property
    def removed(self) -> tuple[str, ...]:
        """Invented citations as they stood, without brackets."""
        return tuple(self._removed)

    def push(self, text: str) -> str:
        """What may be shown now; a bracket that is still open waits."""
        self._held += text
        cut = len(self._held)
        place = self._held.rfind("[")
        if place >= 0:
            rest = self._held[place:]
            if "]" not in rest and "\n" not in rest and len(rest) <= _LONGEST + 1:
                cut = place
        # A space before the bracket goes with it, so it waits too.
        while 0 < cut < len(self._held) and self._held[cut - 1] == " ":
            cut -= 1
        if cut == len(self._held):
            cut = len(self._held.rstrip(" "))
        ready, self._held = self._held[:cut], self._held[cut:]
        return self._checked(ready)

    def finish(self) -> str:
        """What waited."""
        ready, self._held = self._held, ""
        return self._checked(ready)

    def _checked(self, text: str) -> str:
        return re.sub(r" *" + _BRACKET.pattern, self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        inner = match[1]
        parts = re.split(r"[,;]", inner)
        found = [_ONE.fullmatch(part) for part in parts]
        if not all(found) or not any(one and self._is_path(one[1]) for one in found):
            return match[0]
        kept: list[str] = []
        for one, part in zip(found, parts, strict=True):
            assert one is not None
            citation = Citation(one[1], int(one[2]), int(one[3] or one[2]))
            if self._is_real(citation):
                self._citations[citation] = None
                kept.append(str(citation))
            else:
                self._removed[part.strip()] = None
        space = match[0][: match[0].index("[")]
        return f"{space}[{', '.join(kept)}]" if kept else ""

    def _is_path(self, name: str) -> bool:
        return name in self._shown or "/" in name or "." in name

    def _is_real(self, citation: Citation) -> bool:
        lines = self._shown.get(citation.path, frozenset())
        if not 1 <= citation.start_line <= citation.end_line or citation.end_line - citation.start_line >= len(lines):
            return False
        return all(line in lines for line in range(citation.start_line, citation.end_line + 1))
