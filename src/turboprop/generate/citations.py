r"""Citations `[path:start-end]` in an answer: those of lines that the model was shown stay, the others go.

A bracket counts as a citation where it has the form and its path is one that was shown, is a file of the
repository, or looks like a path (it has a dot or a slash), so `items[i:10]` in a line of code is none. The form is
taken widely: models write `\u3010`, `#L`, other dashes, `lines 3 to 7`, and what is not recognised is not checked. A
bracket may hold one pair of others, as the names of routes do (`app/[id]/page.tsx`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

_LONGEST = 400
"""Characters of a bracket that is waited for; paths in repositories are shorter."""
_INNER = r"[^\[\]\u3010\u3011]"
_UNITS = rf"(?:{_INNER}|\[{_INNER}{{0,100}}\]){{0,{_LONGEST}}}"
_BRACKET = re.compile(rf"(?<! )( *)[\[\u3010]({_UNITS})[\]\u3011]")
_OPEN = re.compile(rf"(?<! ) *[\[\u3010]{_UNITS}(?:\[{_INNER}{{0,100}})?\Z")
_BEFORE = r"(?:\s*[:\uff1a\u2236\u2020]\s*|\s*#(?=L)|\s*,?\s+(?=lines?\b|L\d))"
_LINE = r"(?:lines?\s*|L)?(\d+)"
_TO = r"\s*(?:[-:\u2010-\u2015\u2212]|to|\.\.)\s*"
_ONE = re.compile(rf"\s*(\S.*?){_BEFORE}{_LINE}(?:{_TO}{_LINE})?\s*", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)  # with a port, which is no line
_MARKS = "`*_\"' \n\t"


@dataclass(frozen=True, slots=True, order=True)
class Citation:
    """Lines of a file, 1-based and inclusive."""

    path: str
    start_line: int
    end_line: int

    def __str__(self) -> str:
        lines = f"{self.start_line}-{self.end_line}" if self.end_line > self.start_line else f"{self.start_line}"
        return f"{self.path}:{lines}"


def agreed(answers: Sequence[Sequence[Citation]]) -> tuple[Citation, ...]:
    """The lines that every answer cites, in runs; none where there are fewer than two answers."""
    if len(answers) < 2:
        return ()
    sets = [
        {(each.path, line) for each in one for line in range(each.start_line, each.end_line + 1)} for one in answers
    ]
    runs: list[Citation] = []
    for path, line in sorted(set.intersection(*sets)):
        if runs and runs[-1].path == path and runs[-1].end_line == line - 1:
            runs[-1] = Citation(path, runs[-1].start_line, line)
        else:
            runs.append(Citation(path, line, line))
    return tuple(runs)


class CitationFilter:
    """Passes an answer on and takes invented citations out, however it was cut into pieces.

    `shown` are the lines that the model was given, by path as it was shown, `is_file` says whether the repository has
    a file of a name. A bracket with several citations keeps the real ones. `citations` and `removed` say what was
    found, in order, each once.
    """

    def __init__(self, shown: Mapping[str, Iterable[int]], is_file: Callable[[str], bool] = lambda _: False) -> None:
        self._shown = {path: frozenset(lines) for path, lines in shown.items()}
        self._is_file = is_file
        self._held = ""
        self._cited_last = False
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
        waits = _OPEN.search(self._held)
        cut = waits.start() if waits else len(self._held)
        # Spaces before a bracket go with it, so they wait too.
        cut = len(self._held[:cut].rstrip(" "))
        ready, self._held = self._held[:cut], self._held[cut:]
        return self._checked(ready)

    def finish(self) -> str:
        """What waited."""
        ready, self._held = self._held, ""
        return self._checked(ready)

    def _checked(self, text: str) -> str:
        before, self._cited_last = self._cited_last, False
        while (once := self._once(text)) != text:  # what is taken out may leave another one together
            text = once
        if not text:
            self._cited_last = before
        # Behind a citation an address in parentheses would make it a link of Markdown that leads there.
        return f" {text}" if before and text.startswith("(") else text

    def _once(self, text: str) -> str:
        return _BRACKET.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        space, inner = match[1], match[2]
        whole = _named(inner)
        one = whole is not None and (whole.path in self._shown or not re.search("[,;]", whole.path))
        parts = [inner] if one else re.split("[,;]", inner)
        kept: list[str] = []
        cites = False
        for part in parts:
            citation = _named(part)
            if citation is None or not self._is_path(citation.path):
                kept.append(self._once(part.strip()))
            elif self._is_real(citation):
                cites = True
                self._citations[citation] = None
                kept.append(str(citation))
            else:
                cites = True
                self._removed[part.strip()] = None
        if not cites:
            opening = match[0][len(space)]
            return f"{space}{opening}{self._once(inner)}{match[0][-1]}"
        if not kept:
            return ""
        self._cited_last = match.end() == len(match.string)
        gap = " " if match.string.startswith("(", match.end()) else ""
        return f"{space}[{', '.join(kept)}]{gap}"

    def _is_path(self, name: str) -> bool:
        if name in self._shown:
            return True
        return not _ADDRESS.match(name) and ("/" in name or "." in name or self._is_file(name))

    def _is_real(self, citation: Citation) -> bool:
        lines = self._shown.get(citation.path, frozenset())
        if not 1 <= citation.start_line <= citation.end_line or citation.end_line - citation.start_line >= len(lines):
            return False
        return all(line in lines for line in range(citation.start_line, citation.end_line + 1))


def _named(text: str) -> Citation | None:
    """The citation that a text is by its form, whether there is such a file or not."""
    match = _ONE.fullmatch(text)
    if match is None:
        return None
    return Citation(match[1].strip(_MARKS), int(match[2]), int(match[3] or match[2]))
