"""Regular expressions of tokenizers (Oniguruma's, Ruby syntax) as trees, to be looked at before they are run.

What a character class holds is known within bounds: `least` are characters that it surely takes, `most` those that it
may take. Case folding and the properties that Python has no table of (scripts, Emoji) make the two differ.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from turboprop.errors import ModelUnsupportedError

_DEEPEST = 32
"""Groups within each other; published patterns have 3."""
_CATEGORIES = (
    "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()  # noqa: SIM905
)
_LONG_NAMES = {
    "letter": "L",
    "mark": "M",
    "number": "N",
    "punctuation": "P",
    "symbol": "S",
    "separator": "Z",
    "other": "C",
    "uppercaseletter": "Lu",
    "lowercaseletter": "Ll",
    "digit": "Nd",
    "punct": "P",
}
_ASCII = 128
_NEXT_LINE = 0x85
_LAST = 0x110000
_SINGLE = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}
_WRITTEN = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}|\\x([0-9A-Fa-f]{1,2})|\\u([0-9A-Fa-f]{4})")
_INTERVAL = re.compile(r"\{(?:(\d+)|(\d*),(\d*))\}")
_MOST_TIMES = 1000
"""Published patterns repeat a part up to three times, and runs of spaces up to some hundred."""
_PROPERTY = re.compile(r"\\([pP])\{(\^?)([^{}]{1,60})\}")
_POSIX = re.compile(r"\[:(\^?)([a-z]{1,12}):\]")
_OPTIONS = re.compile(r"\?([im]*)(?:-[im]*)?([:)])")
_NAME = re.compile(r"\?<[A-Za-z_]\w{0,40}>")
_ZERO_WIDTH = {"b", "B", "A", "z", "Z", "G"}


@dataclass(frozen=True, slots=True)
class Chars:
    """One character. `least` and `most` are sets of cells of an `Alphabet`, as bits."""

    least: int
    most: int

    def __or__(self, other: Chars) -> Chars:
        return Chars(self.least | other.least, self.most | other.most)

    def __and__(self, other: Chars) -> Chars:
        return Chars(self.least & other.least, self.most & other.most)


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`most` is None where there is no limit; `keeps`: what it took is not given back; `few`: it takes as few as do."""

    part: Node
    least: int
    most: int | None
    keeps: bool = False
    few: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """A condition on what follows, or with `behind` on what precedes."""

    part: Node
    negative: bool
    behind: bool


@dataclass(frozen=True, slots=True)
class Keep:
    """A group that gives nothing back: `(?>...)`."""

    part: Node


@dataclass(frozen=True, slots=True)
class Edge:
    """A condition of no width that looks at neighbours only, such as `\\b`."""


Node = Chars | Sequence | Choice | Repeat | Look | Keep | Edge


class Alphabet:
    """The characters, cut into cells that no class of one pattern cuts again.

    Each ASCII character is a cell; above, a cell is a range between characters that the pattern names, of one general
    category. A cell that no character is in does no harm.
    """

    def __init__(self, pattern: str) -> None:
        named = {ord(char) for char in pattern if ord(char) >= _ASCII} | {_NEXT_LINE}
        for written in _WRITTEN.finditer(pattern):
            named.add(min(int(next(filter(None, written.groups())), 16), _LAST - 1))
        cuts = sorted({_ASCII, _LAST} | {place for each in named if each >= _ASCII for place in (each, each + 1)})
        self._ranges = [*((each, each + 1) for each in range(_ASCII)), *pairwise(cuts)]
        self._cells: list[tuple[int, int]] = []  # first bit and number of bits of each range
        self._of_category = dict.fromkeys(_CATEGORIES, 0)
        bit = 0
        for begin, end in self._ranges:
            kinds = [unicodedata.category(chr(begin))] if end == begin + 1 else _CATEGORIES
            self._cells.append((bit, len(kinds)))
            for kind in kinds:
                self._of_category[kind] |= 1 << bit
                bit += 1
        self.all = (1 << bit) - 1
        self.ascii = (1 << _ASCII) - 1
        self.spaces = self.category("Z").most | self.range(9, 13).most | self.range(_NEXT_LINE, _NEXT_LINE).most
        self._letters = self.category("L").most | self.category("M").most

    def category(self, name: str) -> Chars:
        """A general category (`Lu`) or all that begin with a letter (`L`)."""
        cells = sum(cells for kind, cells in self._of_category.items() if kind.startswith(name))
        return Chars(cells, cells)

    def range(self, first: int, last: int) -> Chars:
        cells = 0
        for (begin, end), (bit, count) in zip(self._ranges, self._cells, strict=True):
            if first <= begin and end <= last + 1:
                cells |= ((1 << count) - 1) << bit
        return Chars(cells, cells)

    def inverse(self, chars: Chars) -> Chars:
        return Chars(self.all & ~chars.most, self.all & ~chars.least)

    def property(self, name: str) -> Chars:
        name = re.sub(r"[\s_-]", "", name).casefold()
        short = _LONG_NAMES.get(name, name.capitalize())
        if short in ("Any", "Assigned"):
            return Chars(self.all if short == "Any" else 0, self.all)
        if any(kind.startswith(short) for kind in _CATEGORIES):
            return self.category(short)
        if name in ("space", "whitespace"):
            return Chars(self.spaces, self.spaces)
        return Chars(0, self.all)

    def word(self) -> Chars:
        marks = self.category("Mn").most | self.category("Mc").most
        least = self.category("L").most | self.category("Nd").most | self.category("Pc").most | marks
        return Chars(least, least | self.category("M").most | self.category("N").most | self.category("So").most)

    def folded(self, chars: Chars) -> Chars:
        """The same whatever its case: above ASCII any letter may be another's."""
        twins = 0
        for char in range(ord("A"), ord("Z") + 1):
            pair = 1 << char | 1 << char + 32
            twins |= pair if chars.most & pair else 0
        above = self._letters & ~self.ascii if chars.most & self._letters else 0
        letters = self._letters & self.ascii if chars.most & self._letters & ~self.ascii else 0
        return Chars(chars.least, chars.most | twins | above | letters)


class PatternParser:
    """Reads one pattern. Raises `ModelUnsupportedError` for what is not understood, which is not run."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0
        self._ignores_case = False
        self.alphabet = Alphabet(pattern)

    def parse(self) -> Node:
        node = self._choice()
        if self._at < len(self._text):
            self._refuse("a `)` too many")
        return node

    def _refuse(self, what: str) -> NoReturn:
        shown = self._text if len(self._text) <= 100 else self._text[:100] + "..."
        raise ModelUnsupportedError(f"the regular expression {shown!r} has {what}")

    def _peek(self, what: str) -> bool:
        return self._text.startswith(what, self._at)

    def _take(self, what: str) -> bool:
        found = self._peek(what)
        self._at += len(what) if found else 0
        return found

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found

    def _choice(self) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse(f"more than {_DEEPEST} groups within each other")
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        self._depth -= 1
        if len(parts) == 1:
            return parts[0]
        union = Chars(0, 0)
        for part in parts:
            if not isinstance(part, Chars) or part.most & union.most:  # `(x|x)*` has two ways for each character
                return Choice(tuple(parts))
            union |= part
        return union

    def _sequence(self) -> Node:
        parts: list[Node] = []
        begin = self._at
        while self._at < len(self._text) and not self._peek("|") and not self._peek(")"):
            if (options := self._isolated()) is not None:
                if self._at - options > begin:
                    self._refuse("an option within a branch")
                begin = self._at
                continue
            parts.append(self._repeated(self._atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _isolated(self) -> int | None:
        """Length of an option that holds to the end of its group, such as `(?i)`."""
        if not self._peek("(?"):
            return None
        found = _OPTIONS.match(self._text, self._at + 1)
        if found is None or found[2] != ")":
            return None
        self._at = found.end()
        self._ignores_case |= "i" in found[1]
        return len(found[0]) + 1

    def _repeated(self, node: Node) -> Node:
        while True:
            if self._take("*"):
                least, most = 0, None
            elif self._take("+"):
                least, most = 1, None
            elif self._take("?"):
                least, most = 0, 1
            elif found := _INTERVAL.match(self._text, self._at):
                exactly, low, high = found.groups()
                if not (exactly or low or high):
                    return node  # `{,}` stands for itself
                self._at = found.end()
                least = int(exactly or low or 0)
                most = int(exactly or high) if exactly or high else None
                if max(least, most or 0) > _MOST_TIMES:
                    self._refuse(f"a part that is repeated more than {_MOST_TIMES} times")
                if most is not None and most < least:
                    self._refuse("a range from more to less")
                few = self._take("?")
                if few and exactly:
                    least = 0  # all of it or nothing
                node = self._made(node, least, most, keeps=False, few=few)
                continue
            else:
                return node
            keeps = self._take("+")
            node = self._made(node, least, most, keeps=keeps, few=not keeps and self._take("?"))

    def _made(self, node: Node, least: int, most: int | None, *, keeps: bool, few: bool) -> Node:
        if isinstance(node, Look | Edge):
            self._refuse("a condition that is repeated")
        return Repeat(node, least, most, keeps, few)

    def _atom(self) -> Node:
        char = self._text[self._at]
        if char == "(":
            return self._group()
        if char == "[":
            self._at += 1
            return self._class()
        if char == "\\":
            return self._escape()
        self._at += 1
        if char == ".":
            return Chars(self.alphabet.inverse(self._char(ord("\n"))).least, self.alphabet.all)
        if char in "^$":
            return Edge()
        if char in "*+?":
            self._refuse("a repetition of nothing")
        return self._cased(self._char(ord(char)))

    def _char(self, number: int) -> Chars:
        return self.alphabet.range(number, number)

    def _cased(self, chars: Chars) -> Chars:
        return self.alphabet.folded(chars) if self._ignores_case else chars

    def _group(self) -> Node:
        before = self._ignores_case
        self._at += 1
        wrap = None
        if self._take("?>"):
            wrap = "keep"
        elif self._peek("?="):
            wrap = "ahead"
        elif self._peek("?!"):
            wrap = "not ahead"
        elif self._peek("?<="):
            wrap = "behind"
        elif self._peek("?<!"):
            wrap = "not behind"
        elif found := self._match(_OPTIONS):
            self._ignores_case |= "i" in found[1]
        elif self._peek("?") and self._match(_NAME) is None:
            self._refuse(f"a group `({self._text[self._at : self._at + 3]}`, which is not known here")
        if wrap not in (None, "keep"):
            self._at += 3 if "behind" in wrap else 2
        node = self._choice()
        if not self._take(")"):
            self._refuse("a `(` without its `)`")
        self._ignores_case = before
        if wrap is None:
            return node
        return Keep(node) if wrap == "keep" else Look(node, "not" in wrap, "behind" in wrap)

    def _escape(self) -> Node:
        if found := self._match(_PROPERTY):
            chars = self.alphabet.property(found[3])
            negative = (found[1] == "P") != bool(found[2])
            return self._cased(self.alphabet.inverse(chars) if negative else chars)
        if found := self._match(_WRITTEN):
            number = int(next(filter(None, found.groups())), 16)
            return self._cased(self._char(min(number, _LAST - 1)))
        letter = self._text[self._at + 1 : self._at + 2]
        self._at += 2
        if letter in _ZERO_WIDTH:
            return Edge()
        kinds = {
            "s": Chars(self.alphabet.spaces, self.alphabet.spaces),
            "d": self.alphabet.category("Nd"),
            "w": self.alphabet.word(),
        }
        if letter.lower() in kinds and letter:
            kind = kinds[letter.lower()]
            return kind if letter.islower() else self.alphabet.inverse(kind)
        if letter in _SINGLE:
            return self._char(ord(_SINGLE[letter]))
        if not letter or letter.isalnum():
            self._refuse(f"`\\{letter}`, which is not known here")
        return self._cased(self._char(ord(letter)))

    def _class(self) -> Chars:
        """After its `[`."""
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse(f"more than {_DEEPEST} classes within each other")
        negative = self._take("^")
        found, wanted = Chars(0, 0), Chars(self.alphabet.all, self.alphabet.all)
        first = True
        while not self._peek("]") or first:
            if self._at >= len(self._text):
                self._refuse("a `[` without its `]`")
            if self._take("&&"):
                wanted, found = wanted & found, Chars(0, 0)
            else:
                found |= self._member()
            first = False
        self._at += 1
        self._depth -= 1
        chars = self._cased(wanted & found)
        return self.alphabet.inverse(chars) if negative else chars

    def _member(self) -> Chars:
        if posix := self._match(_POSIX):
            name = {"digit": "nd", "punct": "?", "space": "space"}.get(posix[2], "?")
            chars = self.alphabet.property(name)
            return self.alphabet.inverse(chars) if posix[1] else chars
        if self._take("["):
            return self._class()
        begin = self._single()
        if isinstance(begin, Chars):
            return begin
        after = self._text[self._at + 1 : self._at + 2]
        if self._peek("-") and after not in ("]", "[", "") and not self._text.startswith("&&", self._at + 1):
            place = self._at
            self._at += 1
            end = self._single()
            if isinstance(end, int):
                if end < begin:
                    self._refuse("a range from more to less")
                return self.alphabet.range(begin, end)
            self._at = place  # `[a-\d]`: the three of them
        return self._char(begin)

    def _single(self) -> int | Chars:
        """A character's number, or what an escape stands for."""
        if not self._peek("\\"):
            self._at += 1
            return ord(self._text[self._at - 1])
        if found := self._match(_WRITTEN):
            return min(int(next(filter(None, found.groups())), 16), _LAST - 1)
        letter = self._text[self._at + 1 : self._at + 2]
        if letter == "b":
            self._at += 2
            return 8
        if letter in _SINGLE or (letter and not letter.isalnum()):
            self._at += 2
            return ord(_SINGLE.get(letter, letter))
        node = self._escape()
        if not isinstance(node, Chars):
            self._refuse(f"`\\{letter}` within a class")
        return node


def parse_pattern(pattern: str) -> tuple[Node, Alphabet]:
    """The tree of a pattern, and the alphabet of its classes. Raises `ModelUnsupportedError`."""
    parser = PatternParser(pattern)
    return parser.parse(), parser.alphabet
