"""How long a regular expression may take on a text, told from its tree before it is run.

Oniguruma, which the library `tokenizers` runs them with, tries one way to match after the other and cannot be stopped
from outside. From each character of a text it looks for a match; what it reads there without taking it is lost. So
where a pattern can read far and then fail, time grows with the square of a text's length, unless another branch takes
what was read, as `\\s*[\\r\\n]+|\\s+` does in the patterns of GPT-4. Each loop that can hand what it took to the
part behind it, as the two of `a*a*b`, raises the power by one, and loops within loops leave no power at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from turboprop.errors import ModelUnsupportedError
from turboprop.models.tokenizer.pattern_syntax import (
    Alphabet,
    Chars,
    Choice,
    Edge,
    Keep,
    Look,
    Node,
    Repeat,
    Sequence,
    parse_pattern,
)

LONGEST_PATTERN = 4000
"""Characters; the longest published ones have some 2,000."""
_MOST_WAYS = 5000
"""To match from one character, loops apart; the patterns of published tokenizers have up to 60."""
_UNROLLED = 16
_MOST_STEPS = 20_000
"""Of the analysis itself; the longest published patterns take 300."""
_MANY = 256
"""A class that may repeat so many times counts as one without limit."""


@dataclass(frozen=True, slots=True)
class PatternCost:
    """`power` of a text's length that time grows with, 1 or 2; `ways` to match from one character."""

    power: int
    ways: int
    least: int
    """Characters of the shortest match."""
    takes: tuple[str, ...] | None
    """The ASCII characters that a match may hold, None where it may hold others too."""
    looks_far: bool
    """Whether a condition may depend on characters that are any number of places away."""


@dataclass(frozen=True, slots=True)
class _After:
    """What is left to match from some place on."""

    first: int
    """Cells of the characters that it may begin with; all where it may begin with nothing and fail."""
    fails: bool
    power: int = 0
    """Of the characters that are read in vain."""
    ways: int = 1
    read: int = 0
    """Cells of the characters that are read in vain."""


def pattern_cost(pattern: str) -> PatternCost:
    """Raises `ModelUnsupportedError` where time may grow with more than the square, or cannot be told."""
    if len(pattern) > LONGEST_PATTERN:
        raise ModelUnsupportedError(f"a regular expression has {len(pattern)} characters, at most {LONGEST_PATTERN}")
    shown = pattern if len(pattern) <= 100 else pattern[:100] + "..."
    node, alphabet = parse_pattern(pattern)
    branches = node.parts if isinstance(node, Choice) else (node,)
    try:
        rests = [_Analysis(alphabet).after(branch, _After(0, False)) for branch in branches]
    except _TooManyWaysError:
        raise ModelUnsupportedError(
            f"the regular expression {shown!r} may try ever more ways to match a text: a repeated part can match in "
            "several ways"
        ) from None
    if _span(node) > LONGEST_PATTERN:
        raise ModelUnsupportedError(
            f"the regular expression {shown!r} counts {_span(node)} characters, at most {LONGEST_PATTERN} are read"
        )
    power = max(rest.power for rest in rests)
    if power > 1:
        raise ModelUnsupportedError(
            f"the regular expression {shown!r} may take a time that grows with the power {power + 1} of a text's "
            "length: parts that repeat the same characters follow each other"
        )
    wasted = any(rest.power and not _taken(number, branches, rest.read) for number, rest in enumerate(rests))
    most = _chars(node)
    takes = tuple(chr(char) for char in range(128) if most & 1 << char) if not most & ~alphabet.ascii else None
    return PatternCost(2 if wasted else 1, sum(rest.ways for rest in rests), _least(node), takes, _looks_far(node))


class _TooManyWaysError(Exception):
    pass


class _Analysis:
    def __init__(self, alphabet: Alphabet) -> None:
        self._all = alphabet.all
        self._steps = 0

    def after(self, node: Node, rest: _After) -> _After:
        """What is left where `node` stands before `rest`."""
        self._steps += 1
        made = self._after(node, rest)
        if made.ways > _MOST_WAYS or self._steps > _MOST_STEPS:
            raise _TooManyWaysError
        return made

    def _after(self, node: Node, rest: _After) -> _After:
        match node:
            case Chars():
                return _After(node.most, True, rest.power, rest.ways, rest.read)
            case Edge():
                return _After(self._all, True, rest.power, rest.ways, rest.read)
            case Sequence():
                return reduce(lambda left, part: self.after(part, left), reversed(node.parts), rest)
            case Choice():
                return _either([self.after(part, rest) for part in node.parts])
            case Look():
                inner = self.after(node.part, _After(0, False))
                far = _loops(node.part)
                power, read = (1, self._all) if far else (0, 0)
                return _After(
                    self._all, True, max(rest.power, inner.power, power), rest.ways * inner.ways, rest.read | read
                )
            case Keep():
                inner = self.after(node.part, _After(0, False))
                power = max(inner.power, int(_loops(node.part)))
                first = inner.first | (rest.first if not _least(node.part) else 0)
                return _After(
                    first, True, max(rest.power, power), rest.ways * inner.ways, rest.read | _chars(node.part)
                )
            case Repeat():
                return self._repeated(node, rest)

    def _repeated(self, node: Repeat, rest: _After) -> _After:
        part = _simple(node.part)
        if node.most is not None and node.most <= _MANY and isinstance(part, Chars):
            gives = part.most & rest.first and rest.fails and not node.keeps
            ways = rest.ways * (node.most - node.least + 1 if gives else 1)
            return _After(
                _first(part.most, node.least, rest), rest.fails or node.least > 0, rest.power, ways, rest.read
            )
        if node.most is not None and (node.most <= _UNROLLED or (node.most == node.least and node.most <= _MANY)):
            made = rest
            for _ in range(node.most - node.least):
                made = _either([self.after(part, made), rest])
            for _ in range(node.least):
                made = self.after(part, made)
            return made
        if isinstance(part, Chars):
            power = rest.power
            if rest.fails:
                gives = part.most & rest.first and not node.keeps
                power = rest.power + 1 if gives else max(1, rest.power)
            read = rest.read | (part.most if rest.fails else 0)
            first = _first(part.most, node.least, rest)
            return _After(first, rest.fails or node.least > 0, power, rest.ways, read)
        begin = self.after(part, rest).first
        if not _least(part) or not self._one_way(part, begin):
            raise _TooManyWaysError
        power = 1 + rest.power if rest.fails else max(int(_loops(part)), rest.power)
        read = rest.read | (_chars(part) if rest.fails or _loops(part) else 0)
        ways = self.after(part, _After(0, False)).ways * rest.ways
        return _After(_first(begin, node.least, rest), rest.fails or node.least > 0, power, ways, read)

    def _one_way(self, node: Node, follows: int) -> bool:
        """Whether it matches in one way at most before characters of `follows`."""
        match node:
            case Chars() | Edge() | Keep():
                return True
            case Look():
                return not _loops(node.part)
            case Sequence():
                for part in reversed(node.parts):
                    if not self._one_way(part, follows):
                        return False
                    follows = self._begins(part, follows)
                return True
            case Choice():
                taken = 0
                for part in node.parts:
                    begins = self._begins(part, follows)
                    if begins & taken or not self._one_way(part, follows):
                        return False
                    taken |= begins
                return True
            case Repeat():
                begins = self._begins(node.part, follows if not _least(node.part) else 0)
                if not _least(node.part) or (node.most != node.least and begins & follows):
                    return False
                return self._one_way(node.part, begins | follows)

    def _begins(self, node: Node, follows: int) -> int:
        """The characters that it, or what follows where it is empty, may begin with. Conditions are left out."""
        match node:
            case Chars():
                return node.most
            case Edge() | Look():
                return follows
            case Sequence():
                return reduce(lambda left, part: self._begins(part, left), reversed(node.parts), follows)
            case Choice():
                return reduce(lambda left, part: left | self._begins(part, follows), node.parts, 0)
            case Keep():
                return self._begins(node.part, follows)
            case Repeat():
                return self._begins(node.part, follows) | (follows if not node.least else 0)


def _simple(node: Node) -> Node:
    return node.parts[0] if isinstance(node, Sequence | Choice) and len(node.parts) == 1 else node


def _first(begin: int, least: int, rest: _After) -> int:
    return begin if least else begin | rest.first


def _either(options: list[_After]) -> _After:
    return _After(
        reduce(lambda left, each: left | each.first, options, 0),
        all(each.fails for each in options),
        max(each.power for each in options),
        sum(each.ways for each in options),
        reduce(lambda left, each: left | each.read, options, 0),
    )


def _parts(node: Node) -> tuple[Node, ...]:
    match node:
        case Sequence() | Choice():
            return node.parts
        case Repeat() | Look() | Keep():
            return (node.part,)
        case _:
            return ()


def _loops(node: Node) -> bool:
    """Whether it may read any number of characters."""
    far = isinstance(node, Repeat) and (node.most is None or node.most > _MANY)
    return far or any(_loops(part) for part in _parts(node))


def _looks_far(node: Node) -> bool:
    return (isinstance(node, Look) and _loops(node.part)) or any(_looks_far(part) for part in _parts(node))


def _chars(node: Node) -> int:
    """Cells of the characters that a match may hold."""
    if isinstance(node, Chars):
        return node.most
    if isinstance(node, Look):
        return 0
    return reduce(lambda left, part: left | _chars(part), _parts(node), 0)


def _least(node: Node) -> int:
    """Characters of the shortest match."""
    match node:
        case Chars():
            return 1
        case Sequence():
            return sum(_least(part) for part in node.parts)
        case Choice():
            return min(_least(part) for part in node.parts)
        case Repeat():
            return node.least * _least(node.part)
        case Keep():
            return _least(node.part)
        case Edge() | Look():
            return 0


def _span(node: Node) -> int:
    """Characters of the longest match, each loop without limit counted once."""
    match node:
        case Chars():
            return 1
        case Sequence():
            return sum(_span(part) for part in node.parts)
        case Repeat():
            return (node.most or 1) * _span(node.part)
        case _:
            return max((_span(part) for part in _parts(node)), default=0)


def _taken(number: int, branches: tuple[Node, ...], read: int) -> bool:
    """Whether what a branch reads in vain is taken by one that comes after it, all but a character or two.

    Then no part of a text is read more than a few times. It is told of branches that read with one loop over a class
    and then need one class at most: such a branch fails, or takes all up to the last place where it could match, and
    in what is left fails at the next try. Branches that come between the two must not take less: each takes as much or
    cannot match within what was read.
    """
    parts = _listed(branches[number])
    at = next(place for place, part in enumerate(parts) if _loops(part))
    before, loop, needed = parts[:at], parts[at], [part for part in parts[at + 1 :] if not _is_spare(part)]
    if not _is_loop(loop) or len(needed) > 1 or not all(_is_class(part) or _is_barrier(part) for part in needed):
        return False
    within = read | reduce(lambda left, part: left | _chars(part), before, 0)
    for branch in branches[number + 1 :]:
        others = _listed(branch)
        if others[: len(before)] != before:
            if not _apart(others, within):
                return False
            continue
        at = len(before)
        while not before and at < len(others) - 1 and _is_optional_char(others[at]):
            at += 1
        taker, rest = others[at] if at < len(others) else Edge(), others[at + 1 :]
        if isinstance(taker, Repeat) and _is_loop(taker) and taker.least <= 1 and not taker.few:
            assert isinstance(taker.part, Chars)
            covers = not read & ~taker.part.least
            if covers and all(_is_spare(part) for part in rest):
                return True
            if covers and len(rest) == 1 and _is_barrier(rest[0]) and not _barred(rest[0]) & read:
                continue
        if not _apart(others, within):
            return False
    return False


def _is_loop(node: Node) -> bool:
    """A class without a limit."""
    return isinstance(node, Repeat) and isinstance(node.part, Chars) and node.most is None


def _is_class(node: Node) -> bool:
    """A class, once or repeated, that takes one character at least."""
    return isinstance(node, Chars) or (isinstance(node, Repeat) and isinstance(node.part, Chars) and node.least == 1)


def _is_spare(node: Node) -> bool:
    """What may be empty, cannot fail, and reads nothing in vain but a few characters."""
    return (isinstance(node, Repeat | Choice | Sequence) and not _least(node) and not _conditions(node)) and (
        _is_loop(node) or not _loops(node)
    )


def _is_barrier(node: Node) -> bool:
    """A character that must not follow: `(?!\\S)`."""
    return isinstance(node, Look) and node.negative and not node.behind and isinstance(node.part, Chars)


def _barred(node: Node) -> int:
    assert isinstance(node, Look)
    return _chars(node.part)


def _conditions(node: Node) -> bool:
    return isinstance(node, Look | Edge | Keep) or any(_conditions(part) for part in _parts(node))


def _is_optional_char(node: Node) -> bool:
    return isinstance(node, Repeat) and isinstance(node.part, Chars) and (node.least, node.most) == (0, 1)


def _apart(parts: tuple[Node, ...], within: int) -> bool:
    """Whether it must take a character that is not among those."""
    for part in parts:
        char = part.part if isinstance(part, Repeat) and part.least else part
        if isinstance(char, Chars) and not char.most & within:
            return True
        if isinstance(char, Choice) and all(_apart(_listed(each), within) for each in char.parts):
            return True
    return False


def _listed(node: Node) -> tuple[Node, ...]:
    return node.parts if isinstance(node, Sequence) else (node,)
