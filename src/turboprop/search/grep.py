"""Lines of indexed files that match a pattern, as they are now, in the order of a search."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakSet

from turboprop.code.inside import read_each
from turboprop.code.longlines import CUT_WORDS
from turboprop.code.terms import counted_terms, defined_names, definition_hash
from turboprop.search.filters import condition_in
from turboprop.search.path_rules import place_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.index.lexicon import Lexicon
    from turboprop.index.read import IndexReader
    from turboprop.search.patterns import LinePattern, Pattern
    from turboprop.types import SearchFilter

BATCH_BYTES = 4_000_000
"""Text that is looked through at once, in a thread beside the one that reads."""
MOST_KEPT_BYTES = 64_000_000
"""Texts that all indexes of a process keep together."""
_MOST_LINES, _MOST_NAMES = 20, 2_000
"""Matching lines of a file, and of all, whose identifiers are looked up: are they defined there?"""
_LONGEST_NAME = 100
_LONGEST_LOOKED = 2_000
"""Characters of a line in which identifiers are looked for: minified code has lines of megabytes."""


Span = tuple[int, int]


@dataclass(slots=True)
class FileMatches:
    """The matching lines of one file: their `numbers` (from 1, rising) and their `texts` without their ends.

    `spans` are, where they were asked for, the places [begin, end) in characters at which the pattern stands in each;
    `context` has the lines around them by number.
    """

    path: str
    language: str
    numbers: list[int]
    texts: list[str]
    spans: list[tuple[Span, ...]] = field(default_factory=list)
    context: dict[int, str] = field(default_factory=dict)
    defines: bool = False
    """Whether the file defines an identifier that was found in it."""


@dataclass(frozen=True, slots=True)
class GrepOptions:
    """`before` and `after` are lines of context, `most_in_file` the matching lines of a file at most, `most` those of
    all files, and `most_spans` the spans of a line.

    `invert` finds the lines that do not match, which have no spans; `in_path_order` leaves the order of a search.
    """

    invert: bool = False
    spans: bool = False
    before: int = 0
    after: int = 0
    most_in_file: int | None = None
    most: int | None = None
    most_spans: int | None = None
    in_path_order: bool = False


DEFAULT = GrepOptions()


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of files, side by side in an Arrow array of strings; all are ASCII, or some of them may not be."""

    paths: list[str]
    array: Any
    is_ascii: bool


@dataclass(frozen=True, slots=True)
class _Kept:
    version: tuple[str, int]
    texts: list[Texts]
    size: int


class KeptTexts:
    """The texts of all files of one published version, for the next time.

    A process that answers many searches need not read 2,000 files again, which takes half of the time that looking
    through their 30 MB does.
    """

    _lock = Lock()
    _all: ClassVar[WeakSet[KeptTexts]] = WeakSet()

    def __init__(self) -> None:
        # Threads that read two versions see the texts of one, and of which.
        self._kept: _Kept | None = None
        with self._lock:
            self._all.add(self)

    def read(self, root: Path, reader: IndexReader, paths: Collection[str], current: bool) -> Iterable[Texts]:
        """The texts of files, and perhaps of others. With `current` the index holds what the files hold now."""
        if not current:
            return read_texts(root, paths)
        version = (reader.header.table, reader.header.version)
        kept = self._kept
        if kept is not None and kept.version == version:
            return kept.texts
        self._kept = None
        if len(paths) < len(reader.lexicon.files):
            return read_texts(root, paths)
        return self._keeping(read_texts(root, paths), version)

    def _keeping(self, texts: Iterable[Texts], version: tuple[str, int]) -> Iterator[Texts]:
        kept: list[Texts] | None = []
        size = 0
        for each in texts:
            yield each
            size += each.array.nbytes
            if size > MOST_KEPT_BYTES:
                kept = None
            elif kept is not None:
                kept.append(each)
        if kept is None:
            return
        with self._lock:
            self._kept = _Kept(version, kept, size)
            # All indexes of a process have the room of one; what was read last stays.
            if sum(one._kept.size for one in self._all if one._kept is not None) > MOST_KEPT_BYTES:
                for one in self._all:
                    one._kept = one._kept if one is self else None


def grep(
    root: Path,
    reader: IndexReader,
    *,
    pattern: Pattern,
    wanted: SearchFilter | None = None,
    within: Sequence[str] = (),
    current: bool = False,
    options: GrepOptions = DEFAULT,
    kept: KeptTexts | None = None,
) -> list[FileMatches]:
    """The matching lines of the indexed files of a repository at `root`, read as they are now.

    Files come as a search ranks them: those that define what was found, other code, prose, tests. `within` names files
    and folders, relative to the root, that they have to be or lie in. With `current` the index holds what the files
    hold now: its postings say which of them need not be read, and `kept` may have them. Raises `UsageError` for a bad
    pattern or filter.
    """
    compiled = pattern.compile()
    languages = _files(reader, wanted, within, () if options.invert or not current else compiled.terms)
    texts = (kept or KeptTexts()).read(root, reader, languages, current)
    found = sorted(search_texts(texts, languages, compiled, options), key=lambda each: each.path)
    for each in found:
        each.language = languages[each.path]
    if not options.in_path_order and not options.invert:
        _mark_defining(reader.lexicon, found, compiled)
        found.sort(key=rank)
    if options.most is not None:
        found = first_lines(found, options.most)
    if options.spans and not options.invert:
        spans = iter(compiled.spans([text for each in found for text in each.texts], options.most_spans))
        for each in found:
            each.spans = [next(spans) for _ in each.texts]
    return found


def first_lines(found: Sequence[FileMatches], limit: int) -> list[FileMatches]:
    """The files in their order until `limit` lines are reached; the last one is cut there."""
    kept = []
    for each in found:
        if limit <= 0:
            break
        kept.append(replace(each, numbers=each.numbers[:limit], texts=each.texts[:limit], spans=each.spans[:limit]))
        limit -= len(each.numbers)
    return kept


def rank(one: FileMatches) -> tuple[bool, bool, bool, str]:
    """What files are ordered by: code that defines what was found, other code, prose, tests."""
    place = place_of(one.path, one.language)
    return place.is_test, place.is_prose, not one.defines, one.path


def _files(
    reader: IndexReader, wanted: SearchFilter | None, within: Sequence[str], terms: Sequence[int]
) -> dict[str, str]:
    """Path and language of the files that are to be read."""
    import numpy as np

    lexicon = reader.lexicon
    if lexicon.rows == 0:
        return {}
    where = condition_in(reader, wanted)
    if where is None and not terms:
        files = lexicon.files
    else:
        chosen = np.unique(lexicon.file_of if where is None else lexicon.file_of[reader.allowed(where)])
        files = [lexicon.files[int(number)] for number in _may_hold(lexicon, chosen, terms)]
    below = tuple(f"{place}/" for place in within if place)
    if within and "" not in within:
        files = [(path, language) for path, language in files if path in within or path.startswith(below)]
    return dict(files)


def _may_hold(lexicon: Lexicon, chosen: NDArray[np.uint32], terms: Sequence[int]) -> NDArray[np.uint32]:
    """Those of the chosen files that may have a line with all terms."""
    import numpy as np

    if not terms:
        return chosen
    # A line that nobody can read is looked at whole, though its chunk has only its ends.
    return np.intersect1d(chosen, np.union1d(_holding(lexicon, terms), _holding(lexicon, counted_terms(CUT_WORDS))))


def _holding(lexicon: Lexicon, terms: Iterable[int]) -> NDArray[np.uint32]:
    """The files that hold all terms, in one chunk or in several."""
    import numpy as np

    return reduce(np.intersect1d, (np.unique(lexicon.file_of[lexicon.postings(term)[0]]) for term in terms))


def search_texts(
    texts: Iterable[Texts], wanted: Collection[str], pattern: LinePattern, options: GrepOptions = DEFAULT
) -> Iterator[FileMatches]:
    """The wanted files that hold matching lines, without spans. Reading and looking go on side by side."""
    threads = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[list[FileMatches]]] = deque()
        for each in texts:
            waiting.append(pool.submit(_search, each, wanted, pattern, options))
            if len(waiting) > 2 * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def read_texts(root: Path, paths: Iterable[str]) -> Iterator[Texts]:
    """The texts of files below `root`, some megabytes at a time. What cannot be read is left out.

    Those that are ASCII stay apart: there, the automaton of `\\w` is made in 0.02 ms, with Unicode's letters in 3.
    """
    batches: dict[bool, list[tuple[str, bytes]]] = {True: [], False: []}
    sizes = {True: 0, False: 0}
    for path, content in read_each(root, paths):
        is_ascii = content.isascii()
        batches[is_ascii].append((path, content))
        sizes[is_ascii] += len(content)
        if sizes[is_ascii] >= BATCH_BYTES:
            yield _texts(batches[is_ascii], is_ascii)
            batches[is_ascii], sizes[is_ascii] = [], 0
    for is_ascii, batch in batches.items():
        if batch:
            yield _texts(batch, is_ascii)


def _search(texts: Texts, wanted: Collection[str], pattern: LinePattern, options: GrepOptions) -> list[FileMatches]:
    import numpy as np

    chosen = [at for at, path in enumerate(texts.paths) if path in wanted]
    if not chosen:
        return []
    array = texts.array if len(chosen) == len(texts.paths) else texts.array.take(chosen)
    held = None if options.invert else pattern.in_texts(array, texts.is_ascii)
    if held is not None:
        chosen = [at for at, may in zip(chosen, held.tolist(), strict=True) if may]
    if not chosen:
        return []
    lines, first = _lines([texts.array[at].as_buffer().to_pybytes() for at in chosen])
    matches = pattern.in_lines(lines, texts.is_ascii)
    rows = np.flatnonzero(~matches if options.invert else matches)
    ends = np.searchsorted(rows, first).tolist()
    shown = lines.take(rows).to_pylist()  # at once: 0.05 ms for each call
    found = []
    for at, file in enumerate(chosen):
        begin, end = ends[at], ends[at + 1]
        if options.most_in_file is not None:
            end = min(end, begin + options.most_in_file)
        if begin < end:
            numbers = (rows[begin:end] - (first[at] - 1)).tolist()
            around = _around(lines, int(first[at]), int(first[at + 1]), numbers, options)
            found.append(FileMatches(texts.paths[file], "", numbers, shown[begin:end], context=around))
    return found


def _around(lines: Any, first: int, end: int, numbers: Sequence[int], options: GrepOptions) -> dict[int, str]:
    """The lines of context of one file, whose lines are `first` to `end` of all."""
    if not options.before and not options.after:
        return {}
    wanted = {
        near
        for number in numbers
        for near in range(max(1, number - options.before), min(end - first, number + options.after) + 1)
    }
    chosen = sorted(wanted.difference(numbers))
    if not chosen:
        return {}
    return dict(zip(chosen, lines.take([first + number - 1 for number in chosen]).to_pylist(), strict=True))


def _texts(batch: Sequence[tuple[str, bytes]], is_ascii: bool) -> Texts:
    import numpy as np

    sizes = np.fromiter((len(content) for _, content in batch), np.int64, len(batch))
    joined = b"".join([content for _, content in batch])
    return Texts([path for path, _ in batch], _array(np.concatenate(([0], np.cumsum(sizes))), joined), is_ascii)


def _lines(contents: Sequence[bytes]) -> tuple[Any, NDArray[np.int64]]:
    """All lines of texts without their ends, as an Arrow array, and the number of each text's first line, int64
    [texts + 1]."""
    import numpy as np

    whole = [content if content.endswith(b"\n") or not content else content + b"\n" for content in contents]
    joined = b"".join(whole)
    ends = np.flatnonzero(np.frombuffer(joined, np.uint8) == 10)
    sizes = np.fromiter(map(len, whole), np.int64, len(whole))
    first = np.searchsorted(ends, np.concatenate(([0], np.cumsum(sizes))))
    offsets = np.concatenate(([0], ends - np.arange(len(ends))))
    return _array(offsets, joined.replace(b"\n", b"")), first


def _array(offsets: NDArray[np.int64], content: bytes) -> Any:
    import numpy as np
    import pyarrow as pa

    return pa.LargeStringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(np.ascontiguousarray(offsets, np.int64)), pa.py_buffer(content)
    )


def _mark_defining(lexicon: Lexicon, found: Sequence[FileMatches], pattern: LinePattern) -> None:
    """Mark the files that define an identifier which a match is, or is part of, by their first matches."""
    import numpy as np

    looked = [(each, text[:_LONGEST_LOOKED]) for each in found for text in each.texts[:_MOST_LINES]][:_MOST_NAMES]
    spans = pattern.spans([text for _, text in looked])
    defining: dict[str, set[str]] = {}
    for (each, text), places in zip(looked, spans, strict=True):
        for name in {_identifier(text, *place) for place in places}:
            if name not in defining:
                held = [lexicon.postings(definition_hash(bare))[0] for bare in defined_names(name)]
                numbers = np.unique(lexicon.file_of[np.concatenate([np.empty(0, np.uint32), *held])])
                defining[name] = {lexicon.files[int(number)][0] for number in numbers}
            each.defines = each.defines or each.path in defining[name]


def _identifier(text: str, begin: int, end: int) -> str:
    """The identifier that a match lies in; '' where it spans anything else."""
    matched = text[begin:end].strip()
    last = matched.split()[-1].rstrip("(:={[<") if matched else ""  # `def name`, `class Name(`
    if not last or len(last) > _LONGEST_NAME:
        return ""
    begin = text.rfind(last, begin, end)
    end = begin + len(last)
    while begin > 0 and end - begin <= _LONGEST_NAME and (text[begin - 1].isalnum() or text[begin - 1] in "_$"):
        begin -= 1
    while end < len(text) and end - begin <= _LONGEST_NAME and (text[end].isalnum() or text[end] in "_$"):
        end += 1
    return text[begin:end]
