"""One pass over a repository: read what changed, chunk it, embed what is new, write.

Where embedding will take long, all files are read and their words published first; the rows wait for their vectors in
the table, and get them in a second part of the run, or of a later one: what `first` puts first, before the rest.

Memory holds one group of chunks, the writer's buffer, the manifest and 30 bytes of each row that waits, whatever the
size of the repository.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from turboprop.code.chunk import chunk_text
from turboprop.code.exclude import Reason
from turboprop.code.read import SourceText, read_source
from turboprop.code.walk import Skipped, SourceFile
from turboprop.engines.resident import give_back_heap
from turboprop.errors import EndpointError, MemoryBudgetError
from turboprop.index.budget import ROW_CHARS, MemoryBudget
from turboprop.index.changes import Changes, chunker_name, find_changes
from turboprop.index.fit import fit_chunks
from turboprop.index.manifest import LeftOutFile
from turboprop.index.schema import (
    DIGEST,
    PATH,
    SYMBOL,
    TEXT,
    WORDS,
    IndexSpec,
    bytes_on_disk,
    embedded_text,
    text_digest,
    text_to_embed,
)
from turboprop.index.write import TableWriter, expect_shape
from turboprop.machine import usable_cores
from turboprop.types import (
    DEFAULT_SCOPE,
    MAX_CHUNK_CHARS,
    NO_MODEL,
    Chunk,
    IndexedFile,
    IndexScope,
    IndexSummary,
    Prompts,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.code.chunk_pool import ChunkPool

_Read = tuple[SourceFile, SourceText | Skipped, Callable[[], list[Chunk]]]

FIRST_GROUP, SMALLEST_GROUP, LARGEST_GROUP = 64, 16, 2_048
GROUP_SECONDS = 3.0
"""Chunks embedded in one call, which an interrupt loses: enough to sort by length, little enough to hold, and about
three seconds' worth. Of 256 chunks of flask in calls of 256, 128 and 64, native kernels take the same time; calls of 32
take 35% longer, as the last batch of a call leaves a core idle. Slow models fill their batches with fewer."""

PUBLISH_SECONDS = 30.0
"""A run that is killed loses at most this much work."""
FIRST_PUBLISH_SECONDS = 8.0
"""The first part of a new index is published so soon: who asks an agent's tool waits 20 seconds for it."""

WORDS_FIRST_SECONDS = 10.0
"""Words are published first where embedding will take longer by the rate so far. Two parts take a second more for each
25,000 rows, which are written twice."""

READ_GROUP, FIRST_READ_GROUP = 2_048, 512
"""Chunks whose words are written in one call, and until something can be searched: on a loaded machine 2,048 took 10 s.
"""
_AHEAD_CHARS = 2_000_000
"""Text that other processes cut ahead of what is written, so that none waits while a group is: 0.83 and 0.99 of
the time with 16 files (0.3 MB), for 30 MB."""
MANY_BYTES = 200_000
"""Where more has to be read, the first call takes few chunks: with a large model it alone takes many seconds."""

WITHOUT_BOUND = MemoryBudget()

_RACY_NS = 2_000_000_000
"""A file changed this shortly before it was read may change again within the same tick of its clock."""


class DocumentEmbedder(Protocol):
    """The embedding side of a run. `tokens_embedded` counts up over all calls."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def dimensions(self) -> int: ...
    @property
    def prompts(self) -> Prompts: ...
    @property
    def max_chars(self) -> int:
        """The size of chunk to aim at, in characters."""
        ...

    @property
    def tokens_embedded(self) -> int: ...
    @property
    def cached(self) -> int:
        """Texts so far whose vectors were known from elsewhere; counts up over all calls."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of texts, float32 [n, dimensions], finite, in their order."""
        ...

    def kept_vectors(self, texts: Sequence[str]) -> dict[int, NDArray[np.float16]]:
        """The vectors that are known from elsewhere, by the place of their text; they count as `cached`."""
        ...

    def fits(self, texts: Sequence[str]) -> Sequence[bool]:
        """Which texts the model takes whole, its prompt included."""
        ...


class WordsOnly:
    """What stands in the place of a model for an index that is searched by words alone."""

    name = NO_MODEL
    fingerprint = WORDS
    dimensions = 0
    prompts = Prompts()
    max_chars = MAX_CHUNK_CHARS
    tokens_embedded = cached = 0

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Raises `RuntimeError`: there is nothing to embed with."""
        raise RuntimeError(f"{len(texts)} texts to embed without a model")

    def kept_vectors(self, texts: Sequence[str]) -> dict[int, NDArray[np.float16]]:  # noqa: ARG002
        """None."""
        return {}

    def fits(self, texts: Sequence[str]) -> Sequence[bool]:
        """All of them."""
        return [True] * len(texts)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `files_total` counts the files that have to be read; of rows that waited for their vectors
    `filled` of `waiting` have them, 0 of 0 while files are read. `bytes` of `bytes_total` are those of the files.
    `seconds_left` is by the rate of the characters so far, None until there is one. `path` is the file at work."""

    files: int
    files_total: int
    chunks: int
    embedded_chunks: int
    tokens: int
    seconds: float
    filled: int = 0
    waiting: int = 0
    bytes: int = 0
    bytes_total: int = 0
    seconds_left: float | None = None
    path: str = ""


def index_spec(embedder: DocumentEmbedder) -> IndexSpec:
    """What an index made with this embedder records."""
    chunker = chunker_name(embedder.max_chars)
    return IndexSpec(embedder.name, embedder.fingerprint, embedder.dimensions, embedder.prompts, chunker)


def update(
    directory: Path,
    found: Sequence[SourceFile],
    embedder: DocumentEmbedder,
    *,
    rebuild: bool = False,
    scope: IndexScope = DEFAULT_SCOPE,
    budget: MemoryBudget = WITHOUT_BOUND,
    skipped: Mapping[str, int] | None = None,
    sources: Mapping[str, SourceText | Skipped] | None = None,
    progress: Callable[[Progress], None] | None = None,
    publish_seconds: float = PUBLISH_SECONDS,
    words_first_seconds: float = WORDS_FIRST_SECONDS,
    first: Callable[[str, str], int] = lambda path, language: 0,  # noqa: ARG005
    fill: bool = True,
) -> IndexSummary:
    """Bring the index in `directory` up to the files of a walk, or to the first of them that `scope` takes.

    Work is published every `publish_seconds` and at the end; an interrupt publishes the files that are whole (at
    most about `GROUP_SECONDS` of work are lost) and goes on its way, and so does a run that takes more memory than
    its budget, or whose model runs elsewhere and is gone. Where embedding would take more than
    `words_first_seconds`, the words of all files are published before the other vectors are made: of rows of a path
    and language with a lower `first` before others, of files that changed last before others. Without `fill` rows
    that wait for their vectors go on waiting. `skipped` are the walk's own counts by reason, added to the summary;
    `sources` are files that were read already, by path. Raises `IndexBusyError`, `IndexMismatchError`,
    `IndexDamagedError`, `StorageError`, and what the embedder raises; the index is then as it was last published.
    """
    started = time.monotonic()
    with TableWriter.open(directory, index_spec(embedder), rebuild=rebuild) as writer:
        changes = find_changes(
            found,
            writer.files,
            writer.left_out,
            scope.limit,
            other_max_filesize=scope.max_filesize != writer.header.scope.max_filesize,
        )
        writer.buffer_bytes = budget.buffer_bytes
        run = _Run(writer, embedder, len(changes.to_read), scope.max_filesize, budget, publish_seconds, progress)
        run.sources = sources or {}
        run.words_first_seconds = words_first_seconds
        complete, read = scope.limit is None or scope.limit >= len(found), False
        try:
            run.apply(changes)
            writer.publish(complete=complete, scope=scope)
            read = True
            if fill and writer.header.waiting:
                run.fill(first, complete)
                writer.publish(complete=complete)
        except (KeyboardInterrupt, MemoryBudgetError, EndpointError):
            writer.drop_unfinished()
            if writer.settled:
                writer.publish(complete=read and complete)
            raise
        budget.check(writer.header.rows)
        writer.maintain()
        header = writer.header
    counts = Counter(skipped or {})
    counts.update(changes.skipped)
    counts.update(run.skipped)
    return IndexSummary(
        files=header.file_count,
        chunks=header.rows,
        embedded_chunks=run.embedded - run.cached,
        cached_chunks=run.cached,
        unchanged_files=changes.unchanged + run.same_content,
        removed_files=len(changes.removed),
        tokens=embedder.tokens_embedded - run.tokens_before,
        seconds=time.monotonic() - started,
        bytes_on_disk=bytes_on_disk(directory),
        model=embedder.name,
        skipped=dict(counts),
        waiting_chunks=header.waiting,
    )


class _Run:
    """The state of one pass."""

    def __init__(
        self,
        writer: TableWriter,
        embedder: DocumentEmbedder,
        files_total: int,
        max_filesize: int,
        budget: MemoryBudget,
        publish_seconds: float,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.sources: Mapping[str, SourceText | Skipped] = {}
        self.skipped: Counter[str] = Counter()
        self.same_content = 0
        self.embedded = 0
        self.cached = 0
        self._cached_before = embedder.cached
        self.tokens_before = embedder.tokens_embedded
        self._writer = writer
        self._embedder = embedder
        self._files_total = files_total
        self._max_filesize = max_filesize
        self._budget = budget
        self._publish_seconds = publish_seconds
        self._is_new = not writer.files
        self._progress = progress
        self._started = self._published = time.monotonic()
        self._files = 0
        self._chunks = 0
        self.words_first_seconds = WORDS_FIRST_SECONDS
        self._words_first = not embedder.dimensions
        self._rate = 0.0  # chunks embedded a second
        self._bytes_left = self._chunks_left = 0
        self._bytes = self._bytes_total = 0
        self._path = ""
        self._fresh_chars, self._fresh_seconds = 0, 0.0  # all that the model was given, and how long it took
        self._read_from: tuple[int, float] | None = None  # bytes and seconds when words alone began to be written
        self._waiting_chars = self._waiting_texts = 0
        self._chars_to_fill = 0.0
        self._filled = self._waiting = 0
        self._group_size = FIRST_GROUP
        self._group: list[tuple[SourceText, list[Chunk]]] = []
        self._group_chunks = 0
        self._group_chars = 0
        self._pool: ChunkPool | None = None
        self._asked_for_pool = False

    def apply(self, changes: Changes) -> None:
        """Write what changed; the last files are not published yet."""
        for path in changes.removed:
            self._writer.remove_file(path)
        self._bytes_left = self._bytes_total = sum(file.size for file in changes.to_read)
        if self._bytes_left > MANY_BYTES:
            self._group_size = SMALLEST_GROUP  # to learn the rate from, before there are words to search
        if self._words_first:
            self._group_size = self._read_group
            self._read_from = 0, time.monotonic()
        try:
            for file, source, chunks in self._ahead(changes.to_read):
                self._take(file, source, chunks)
                self._bytes_left -= file.size
                if self._group_chunks >= self._group_size or self._group_chars >= self._budget.group_chars:
                    self._finish_group()
            self._finish_group()
        finally:
            if self._pool is not None:
                self._pool.close()

    def _ahead(self, files: Sequence[SourceFile]) -> Iterator[_Read]:
        """The files in order, read. Where other processes make their chunks, that is begun for some files ahead."""
        begun: deque[_Read] = deque()
        ahead = 0
        for file in files:
            source = self.sources.get(file.path) or read_source(file, max_filesize=self._max_filesize)
            begun.append((file, source, self._begin(source)))
            ahead += file.size
            while begun and (self._pool is None or ahead > _AHEAD_CHARS):
                ahead -= begun[0][0].size
                yield begun.popleft()
        yield from begun

    def _begin(self, source: SourceText | Skipped) -> Callable[[], list[Chunk]]:
        """What makes the chunks of a text, or waits for those that another process makes."""
        if isinstance(source, Skipped) or self._is_same(source):
            return list
        # A model takes all cores: others chunk while words alone are written. A bound on memory is one on ours alone.
        if self._words_first and not self._asked_for_pool:
            self._asked_for_pool, self._pool = True, self._new_pool()
        if self._pool is not None:
            return self._pool.submit(source, self._embedder.max_chars)
        return partial(chunk_text, source.path, source.text, source.language, max_chars=self._embedder.max_chars)

    def _new_pool(self) -> ChunkPool | None:
        from turboprop.code.chunk_pool import WORTH_BYTES, ChunkPool

        if self._bytes_left < WORTH_BYTES or self._budget.limit is not None:
            return None
        others = usable_cores() - 1
        return ChunkPool(others) if others else None

    def _is_same(self, source: SourceText) -> bool:
        known = self._writer.files.get(source.path)
        return known is not None and known.digest == source.digest and known.language == source.language

    def _take(self, file: SourceFile, source: SourceText | Skipped, chunks_of: Callable[[], list[Chunk]]) -> None:
        """A file joins the group where its chunks have to be written."""
        if isinstance(source, Skipped):
            self._files += 1
            self._bytes += file.size
            self.skipped[str(source.reason)] += 1
            # What may not be read now may be readable again: its chunks stay until it is gone.
            if source.reason != Reason.UNREADABLE:
                left_out = LeftOutFile(file.path, file.size, _trusted(file.mtime_ns), file.inode, str(source.reason))
                self._writer.leave_out(left_out)
            return
        if self._is_same(source):
            self._files += 1
            self._bytes += file.size
            self.same_content += 1
            self._writer.refresh_file(_record(source, self._writer.files[source.path].chunks))
            return
        chunks = fit_chunks(chunks_of(), self._embedder.fits)
        self._group.append((source, chunks))
        self._group_chunks += len(chunks)
        self._group_chars += len(source.text)

    def _finish_group(self) -> None:
        group, self._group = self._group, []
        self._group_chunks = self._group_chars = 0
        self._chunks_left = sum(len(chunks) for _, chunks in group)
        for pieces in _slices(group, _even(self._chunks_left, self._group_size)):
            self._write(pieces)
            self._after_a_call(complete=False)

    def fill(self, first: Callable[[str, str], int], complete: bool) -> None:
        """Embed the rows that wait for their vectors; the last ones are not published yet."""
        self._words_first = False
        give_back_heap()
        self._writer.keep_lexicon()
        row_ids = self._in_order(first)
        self._waiting, self._published = len(row_ids), time.monotonic()
        mean = self._waiting_chars / self._waiting_texts if self._waiting_texts else ROW_CHARS
        self._chars_to_fill = mean * self._waiting
        self._group_size = min(self._group_size, FIRST_GROUP) if not self._rate else self._sized(self._rate)
        while self._filled < len(row_ids):
            rows = self._writer.rows(row_ids[self._filled : self._filled + self._group_size].tolist())
            columns = (rows[name].to_pylist() for name in (PATH, SYMBOL, TEXT))
            texts = [text_to_embed(path, symbol, text) for path, symbol, text in zip(*columns, strict=True)]
            vectors, _ = self._vectors(texts, rows[DIGEST].to_pylist())
            self._writer.fill(rows, vectors)
            self._filled += len(texts)
            self._chars_to_fill -= sum(map(len, texts))
            self._path = rows[PATH][-1].as_py()
            self._after_a_call(complete)

    def _in_order(self, first: Callable[[str, str], int]) -> NDArray[np.uint64]:
        """The rows that wait, in the order in which they are embedded."""
        import numpy as np

        row_ids, paths, languages = self._writer.waiting_rows()
        files = dict(zip(paths, languages, strict=True))
        # One that changed a moment ago is recorded with the time 0.
        changed = {path: self._writer.files[path].mtime_ns or time.time_ns() for path in files}
        ordered = sorted(files, key=lambda path: (first(path, files[path]), -changed[path]))
        place = {path: number for number, path in enumerate(ordered)}
        return row_ids[np.lexsort((row_ids, np.array([place[path] for path in paths])))]

    @property
    def _read_group(self) -> int:
        return FIRST_READ_GROUP if self._is_new else READ_GROUP

    def _after_a_call(self, complete: bool) -> None:
        self._budget.check()
        seconds = min(self._publish_seconds, FIRST_PUBLISH_SECONDS) if self._is_new else self._publish_seconds
        if self._writer.settled and time.monotonic() - self._published >= seconds:
            self._writer.publish(complete=complete)
            self._published, self._is_new = time.monotonic(), False
            if self._words_first:
                self._group_size = READ_GROUP
            give_back_heap()  # 5 ms; what Lance read and wrote grows by 5 MB for each 1,000 rows otherwise
        self._report()

    def _write(self, pieces: list[_Piece]) -> None:
        """Embed the chunks of files, or of a part of a large file, in one call and write them."""
        chunks = [chunk for piece in pieces for chunk in piece.chunks]
        texts = [embedded_text(chunk) for chunk in chunks]
        digests = [text_digest(text) for text in texts]
        vectors, waiting = self._vectors(texts, digests)
        begin = 0
        for piece in pieces:
            end = begin + len(piece.chunks)
            if piece.first:
                self._writer.begin_file(piece.source.path)
            self._writer.add(piece.chunks, digests[begin:end], vectors[begin:end], waiting[begin:end])
            if piece.last:
                self._writer.end_file(_record(piece.source, piece.file_chunks))
                self._files += 1
            share = len(piece.chunks) / piece.file_chunks if piece.file_chunks else 1.0
            self._bytes += round(piece.source.size * share)
            self._path = piece.source.path
            begin = end
        self._chunks += len(chunks)
        self._chunks_left -= len(chunks)
        if self._rate and (self._chunks_left + self._bytes_left / ROW_CHARS) / self._rate > self.words_first_seconds:
            self._words_first, self._group_size = True, self._read_group
            self._read_from = self._bytes, time.monotonic()

    def _vectors(self, embedded: list[str], digests: list[bytes]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The vectors of texts, float32 [n, dimensions]: known ones from the table, equal texts once; and which of
        them have to wait for theirs, bool [n]."""
        import numpy as np

        texts = dict(zip(digests, embedded, strict=True))
        known: dict[bytes, NDArray[Any]] = dict(self._writer.known_vectors(list(texts)))
        missing = [digest for digest in texts if digest not in known]
        if missing and self._words_first:
            kept = self._embedder.kept_vectors([texts[digest] for digest in missing])
            known.update((missing[place], vector) for place, vector in kept.items())
            self.cached += len(kept)
            self.embedded += len(kept)
        elif missing:
            known.update(zip(missing, self._fresh([texts[digest] for digest in missing]), strict=True))
        vectors = np.zeros((len(embedded), self._writer.dimensions), np.float32)
        waiting = np.zeros(len(embedded), np.bool_)
        for row, digest in enumerate(digests):
            if digest in known:
                vectors[row] = known[digest]
            else:
                waiting[row] = True
                self._waiting_chars += len(embedded[row])
                self._waiting_texts += 1
        return vectors, waiting

    def _fresh(self, texts: list[str]) -> NDArray[np.float32]:
        """The vectors of different texts, float32 [n, dimensions], in one call of the model."""
        started = time.monotonic()
        fresh = self._embedder.embed_documents(texts)
        expect_shape(fresh, len(texts), self._writer.dimensions, self._embedder.name)
        known_before, self.cached = self.cached, self._embedder.cached - self._cached_before
        self.embedded += len(texts)
        # Vectors that were kept say nothing about how long the next group will take, few ones little.
        computed = len(texts) - (self.cached - known_before)
        if computed >= SMALLEST_GROUP:
            seconds = max(time.monotonic() - started, 1e-6)
            self._fresh_chars += sum(map(len, texts)) * computed // len(texts)
            self._fresh_seconds += seconds
            self._rate = computed / seconds
            self._group_size = self._sized(self._rate)
        return fresh

    @staticmethod
    def _sized(rate: float) -> int:
        return min(max(int(rate * GROUP_SECONDS), SMALLEST_GROUP), LARGEST_GROUP)

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(
                Progress(
                    files=self._files,
                    files_total=self._files_total,
                    chunks=self._chunks,
                    embedded_chunks=self.embedded,
                    tokens=self._embedder.tokens_embedded - self.tokens_before,
                    seconds=time.monotonic() - self._started,
                    filled=self._filled,
                    waiting=self._waiting,
                    bytes=min(self._bytes, self._bytes_total),
                    bytes_total=self._bytes_total,
                    seconds_left=self._seconds_left(),
                    path=self._path,
                )
            )

    def _seconds_left(self) -> float | None:
        """How long reading and embedding will still take. The rate is that of the whole run: of one group it changes
        by a factor of two with what the group holds and with what else the machine does."""
        left, reading = max(0, self._bytes_total - self._bytes), 0.0
        if self._read_from is not None and not self._waiting and left:
            since, begun = self._read_from
            reading = left * (time.monotonic() - begun) / max(1, self._bytes - since)
        if not self._fresh_seconds:
            return reading if self._read_from is not None and not self._embedder.dimensions else None
        rate = self._fresh_chars / self._fresh_seconds
        if self._waiting:
            return max(0.0, self._chars_to_fill) / rate
        return reading + (left + self._waiting_chars) / rate


@dataclass(frozen=True, slots=True)
class _Piece:
    """Chunks of one file that are embedded in one call; `first` and `last` of that file."""

    source: SourceText
    chunks: list[Chunk]
    first: bool
    last: bool
    file_chunks: int


def _even(total: int, wanted: int) -> int:
    """The size of slices as even as they come, near the one wanted: a last one of a few chunks fills no batch."""
    return -(-total // max(1, round(total / wanted))) or 1


def _slices(group: list[tuple[SourceText, list[Chunk]]], size: int) -> Iterator[list[_Piece]]:
    """A group cut into runs of at most `size` chunks."""
    pieces: list[_Piece] = []
    room = size
    for source, chunks in group:
        begin = 0
        while True:
            end = min(begin + room, len(chunks))
            pieces.append(_Piece(source, chunks[begin:end], begin == 0, end == len(chunks), len(chunks)))
            room -= end - begin
            if room <= 0:
                yield pieces
                pieces, room = [], size
            if end == len(chunks):
                break
            begin = end
    if pieces:
        yield pieces


def _record(source: SourceText, chunks: int) -> IndexedFile:
    return IndexedFile(
        path=source.path,
        size=source.size,
        mtime_ns=_trusted(source.mtime_ns),
        inode=source.inode,
        digest=source.digest,
        chunks=chunks,
        language=source.language,
    )


def _trusted(mtime_ns: int) -> int:
    """The time of change, or 0 (which no file has) where it is too recent to tell a later change."""
    return mtime_ns if mtime_ns < time.time_ns() - _RACY_NS else 0
