"""Copies of one thing: an older version's folder beside the current one, one implementation a platform.

Told by their paths, which are the same but for such a name, and by what they define. One of them is a hit, the others
are named with it: the current version before older ones, on platforms the one that the query fits best.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
_TARGET = r"(?<=\.)(?:jvm|nonJvm|js|wasmJs|web|native|node|browser)"
_NAME = re.compile(rf"(?P<base>.+?)[-_.](?:(?P<version>{_NUMBER}|{_OLD})|(?P<platform>{_PLATFORM}|{_TARGET}))")
"""A name without its ending: `api_v1`, `poll-linux`, `Button.web`. Behind another sign these are words:
`graph_node`, `react-native`."""
_AS_GOOD = 0.6
"""The share of the best copy's score that the one which stands for it has to have: a current version that says less of
what was asked hides nothing."""
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
        # `1` and `v` are words of a question, and no version.
        frozenset(mark.lower() for mark, _ in marks),
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

    `path_of` and `symbols_of` tell of rows. `copies` are the rows that were left out, by the row that stands for them.
    """

    def __init__(
        self, query: str, path_of: Callable[[Row], str], symbols_of: Callable[[Sequence[Row]], Sequence[str]]
    ) -> None:
        asked = words(query)
        self._asked = {word.lower() for word in asked} | {part for word in asked for part in split_identifier(word)}
        self._path_of, self._symbols_of = path_of, symbols_of
        self._places: dict[tuple[int, str], list[tuple[Row, float]]] = {}
        self._groups: dict[tuple[int, str, str], _Group] = {}
        self.copies: dict[Row, list[tuple[Row, CopyKind]]] = {}

    def take(self, ranked: Sequence[tuple[int, Ranked]]) -> list[tuple[int, Ranked]]:
        """The next rows, best first, without those that are copies of others or of rows that came before. One that
        stands for a better copy takes its score."""
        variants = [variant_of(self._path_of((table, one.row))) for table, one in ranked]
        before = {place: len(rows) for place, rows in self._places.items()}
        for (table, one), variant in zip(ranked, variants, strict=True):
            self._places.setdefault((table, variant.place), []).append(((table, one.row), one.score))
        several = {
            place: rows
            for place, rows in self._places.items()
            if len(rows) > before.get(place, 0) and len({self._path_of(row) for row, _ in rows}) > 1
        }
        rows = [row for rows in several.values() for row, _ in rows]
        symbols = dict(zip(rows, self._symbols_of(rows), strict=True))
        new = {(table, one.row): at for at, (table, one) in enumerate(ranked)}
        members: dict[tuple[int, str, str], list[tuple[Row, float]]] = {}
        for (table, place), all_rows in several.items():
            for row, score in all_rows:
                if symbols[row]:
                    members.setdefault((table, place, symbols[row].split(", ")[0]), []).append((row, score))
        order = [*ranked]
        gone: set[int] = set()
        for key, rows_of in members.items():
            names = {row: symbols[row].split(", ") for row, _ in rows_of}
            group = self._groups.get(key) or self._begun(rows_of, names, new)
            self._groups[key] = group
            others = [
                (row, score)
                for row, score in rows_of
                if row in new
                and row != group.row
                and variant_of(self._path_of(row)) != group.variant
                and group.score >= _AS_GOOD * score
                and not self._asks_for({*names[row]} - group.names)
            ]
            for row, _ in others:
                kind = _kind(group.variant, variant_of(self._path_of(row)))
                self.copies.setdefault(group.row, []).append((row, kind))
                gone.add(new[row])
            best = max((score for _, score in others), default=0.0)
            if group.row in new and best > group.score:  # it stands where its best copy would
                at = new[group.row]
                order[at] = (ranked[at][0], replace(ranked[at][1], score=best))
        stay = [each for at, each in enumerate(order) if at not in gone]
        return sorted(stay, key=lambda each: -each[1].score)

    def _begun(
        self, rows: Sequence[tuple[Row, float]], names: Mapping[Row, Sequence[str]], new: Mapping[Row, int]
    ) -> _Group:
        """The row that stands for a thing: one that is shown already; else the one whose mark the query has, the
        newest, or the best."""
        shown = [each for each in rows if each[0] not in new]

        def rank(each: tuple[Row, float]) -> tuple[int, tuple[int, ...], float]:
            variant = variant_of(self._path_of(each[0]))
            return len(variant.marks & self._asked), variant.age, each[1]

        best = max(score for _, score in rows)
        row, score = max([each for each in shown or rows if shown or each[1] >= _AS_GOOD * best], key=rank)
        return _Group(row, score, variant_of(self._path_of(row)), frozenset(names[row]))

    def _asks_for(self, names: Collection[str]) -> bool:
        """Whether the query has all words of one of the names, which a copy defines besides."""
        return any(self._asked.issuperset(split_identifier(name.rpartition(".")[2])) for name in names)


@dataclass(frozen=True, slots=True)
class _Group:
    """The row that stands for a thing, and what its path says."""

    row: Row
    score: float
    variant: Variant
    names: frozenset[str]


def _kind(mine: Variant, other: Variant) -> CopyKind:
    if mine.age == other.age:
        return "variant"
    return "older" if other.age < mine.age else "newer"


def _age(mark: str) -> tuple[int, ...]:
    """`v1beta2` is older than `v1`, and what is called old is older than all."""
    numbers = [int(number) for number in re.findall(r"\d{1,9}", mark)]
    if not numbers:
        return (-1,)
    stage = next((place for place, name in enumerate(_STAGES) if name in mark.lower()), None)
    if stage is None:
        return (*numbers, 0)
    return (numbers[0], stage - len(_STAGES), *numbers[1:])
