"""Copies of one thing: an older version's folder beside the current one, one implementation a platform.

Told by their paths, which are the same but for such a name, and by what they define. One of them is a hit, the others
are named with it: the current version before older ones, on platforms the one that the query fits best.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from turboprop.code.terms import split_identifier, words
from turboprop.types import CopyKind, Hit

if TYPE_CHECKING:
    from turboprop.search.ranking import Ranked

_OLD = r"legacy|old|older|deprecated|obsolete|previous|archived?|attic|bak|backup"
_STAGES = ("alpha", "beta", "rc")
_NUMBER = r"[vV](?:ersion)?[-_.]?\d+(?:[._]\d+)*(?:(?:alpha|beta|rc)\d*)?"
_PLATFORM = (
    "linux|windows|win32|win64|win|darwin|macos|osx|mac|unix|posix|bsd|freebsd|netbsd|openbsd|dragonfly|solaris|sunos|"
    "aix|android|ios|wasm|wasi|emscripten|cygwin|mingw|amd64|x86|x86_64|x64|i386|386|arm|arm64|aarch64|riscv64|ppc64le|"
    "s390x|mips|loong64|avx2|avx512|sse2|sse41|neon"
)
_FOLDER = re.compile(rf"(?P<version>{_NUMBER}|{_OLD})|(?P<platform>{_PLATFORM}|jvm|[a-z][A-Za-z0-9]*Main)")
"""A folder: `v1`, `legacy`, `windows`, `jvmMain`. One called `web` or `node` is mostly another program."""
_TARGET = f"{_PLATFORM}|jvm|nonJvm|js|wasmJs|web|native|node|browser"
_NAME = re.compile(rf"(?P<base>.+?)[-_.](?:(?P<version>{_NUMBER}|{_OLD})|(?P<platform>{_TARGET}))")
"""A name without its ending: `api_v1`, `poll-linux`, `Button.web`."""
_NAMED = 3
"""Copies that are named under a hit."""
_CURRENT = (1, 1_000_000)
"""The age of a file without a mark: newer than `v1/` and `v1.9/`, older than `v2/`."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What a path says: `place` is the path without its marks, `marks` are their words. Of two versions the one with
    the higher `age` is the newer one."""

    place: str
    age: tuple[int, ...]
    marks: frozenset[str]


@lru_cache(50_000)
def variant_of(path: str) -> Variant:
    """Judge a path, relative to the repository's root with `/`."""
    *folders, name = path.split("/")
    kept: list[str] = []
    marks: list[tuple[str, bool]] = []
    for folder in folders:
        found = _FOLDER.fullmatch(folder)
        if found is None:
            kept.append(folder)
        else:
            marks.append((found[0], found["version"] is not None))
    stem, dot, ending = name.partition(".") if name.count(".") == 1 else name.rpartition(".")
    found = _NAME.fullmatch(stem)
    while found is not None:  # `poll_linux_amd64`
        marks.append((found["version"] or found["platform"], found["version"] is not None))
        stem = found["base"]
        found = _NAME.fullmatch(stem)
    versions = [mark for mark, is_version in marks if is_version]
    return Variant(
        "/".join([*kept, f"{stem}{dot}{ending}"]),
        max((_age(mark) for mark in versions), default=_CURRENT),
        frozenset(part for mark, _ in marks for part in (mark.lower(), *split_identifier(mark))),
    )


def named_copies(hit: Hit, name: Callable[[str], str]) -> str:
    """The copies of a hit in one line: `also v1/api.py:3-9 (older), ...`; '' for a hit without any. `name` makes a path
    safe for where it is shown."""
    shown = [f"{name(each.path)}:{each.start_line}-{each.end_line} ({each.kind})" for each in hit.copies[:_NAMED]]
    left = len(hit.copies) - len(shown)
    return f"also {', '.join(shown)}{f' and {left} more' if left else ''}" if shown else ""


def has_copies(paths: Iterable[str]) -> bool:
    """Whether any of the paths has a mark that copies are told by."""
    return any(variant_of(path).marks for path in paths)


Row = tuple[int, int]
"""The number of a table, and a row of it."""


class Folding:
    """Takes the rows of a ranking, part by part, and leaves one of each thing.

    `path_of` and `symbol_of` tell of rows; without `symbol_of` files are copies by their paths alone. `copies` are the
    rows that were left out, by the row that stands for them.
    """

    def __init__(
        self,
        query: str,
        path_of: Callable[[Row], str],
        symbols_of: Callable[[Sequence[Row]], Sequence[str]] | None,
    ) -> None:
        asked = words(query)
        self._asked = {word.lower() for word in asked} | {part for word in asked for part in split_identifier(word)}
        self._path_of, self._symbols_of = path_of, symbols_of
        self._seen: dict[tuple[int, str], set[Variant]] = {}
        self._groups: dict[tuple[int, str, str], _Group] = {}
        self.copies: dict[Row, list[tuple[Row, CopyKind]]] = {}

    def take(self, ranked: Sequence[tuple[int, Ranked]]) -> list[tuple[int, Ranked]]:
        """The next rows, best first, without those that are copies of others or of rows that came before. One that
        stands for a better copy takes its score."""
        variants = [variant_of(self._path_of((table, one.row))) for table, one in ranked]
        for (table, _), variant in zip(ranked, variants, strict=True):
            self._seen.setdefault((table, variant.place), set()).add(variant)
        several = [
            at
            for at, ((table, _), variant) in enumerate(zip(ranked, variants, strict=True))
            if len(self._seen[table, variant.place]) > 1
        ]
        rows = [(ranked[at][0], ranked[at][1].row) for at in several]
        symbols = self._symbols_of(rows) if self._symbols_of is not None else ["file"] * len(rows)
        names = {at: symbol.split(", ") for at, symbol in zip(several, symbols, strict=True) if symbol}
        groups: dict[tuple[int, str, str], list[int]] = {}
        for at in several:
            if at in names:
                groups.setdefault((ranked[at][0], variants[at].place, names[at][0]), []).append(at)
        order = [*ranked]
        gone: set[int] = set()
        for key, members in groups.items():
            group, first = self._groups.get(key), None
            if group is None:
                # The one whose mark the query has; else the newest; else the best.
                first = max(members, key=lambda at: (len(variants[at].marks & self._asked), variants[at].age, -at))
                table, one = ranked[first]
                group = self._groups[key] = _Group((table, one.row), variants[first], frozenset(names[first]))
            others = [
                at for at in members if variants[at] != group.variant and not self._asks_for({*names[at]} - group.names)
            ]
            for at in others:
                row = (ranked[at][0], ranked[at][1].row)
                self.copies.setdefault(group.row, []).append((row, _kind(group.variant, variants[at])))
            gone.update(others)
            if first is not None and (best := min(others, default=first)) < first:  # it stands where its copy would
                order[first] = (ranked[first][0], replace(ranked[first][1], score=ranked[best][1].score))
        stay = [each for at, each in enumerate(order) if at not in gone]
        return sorted(stay, key=lambda each: -each[1].score)

    def _asks_for(self, names: Collection[str]) -> bool:
        """Whether the query has all words of one of the names, which a copy defines besides."""
        return any(self._asked.issuperset(split_identifier(name.rpartition(".")[2])) for name in names)


@dataclass(frozen=True, slots=True)
class _Group:
    """The row that stands for a thing, and what its path says."""

    row: Row
    variant: Variant
    names: frozenset[str]


def _kind(mine: Variant, other: Variant) -> CopyKind:
    if mine.age == other.age:
        return "variant"
    return "older" if other.age < mine.age else "newer"


def _age(mark: str) -> tuple[int, ...]:
    """`v1beta2` is older than `v1`, and what is called old is older than all."""
    numbers = [int(number) for number in re.findall(r"\d+", mark)]
    if not numbers:
        return (-1,)
    stage = next((place for place, name in enumerate(_STAGES) if name in mark.lower()), None)
    if stage is None:
        return (*numbers, 0)
    return (numbers[0], stage - len(_STAGES), *numbers[1:])
