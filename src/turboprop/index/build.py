"""One pass over a repository: read what changed, chunk it, embed what is new, write.

Memory holds one group of chunks, the writer's buffer and the manifest, whatever the size of the
repository.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from turboprop.code.chunk import chunk_text
from turboprop.code.exclude import Reason
from turboprop.code.read import SourceText, read_source
from turboprop.code.walk import Skipped, SourceFile
from turboprop.errors import MemoryBudgetError
from turboprop.index.budget import MemoryBudget
from turboprop.index.changes import Changes, chunker_name, find_changes
from turboprop.index.fit import fit_chunks
from turboprop.index.manifest import LeftOutFile
from turboprop.index.schema import IndexSpec, bytes_on_disk, embedded_text, text_digest
from turboprop.index.write import TableWriter, expect_shape
from turboprop.types import DEFAULT_SCOPE, Chunk, IndexedFile, IndexScope, IndexSummary, Prompts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIRST_GROUP, SMALLEST_GROUP, LARGEST_GROUP = 64, 16, 2_048
GROUP_SECONDS = 3.0
"""Chunks embedded in one call, which an interrupt loses: enough to sort by length, little enough to hold, and about
three seconds' worth. Of 256 chunks of flask in calls of 256, 128 and 64, native kernels take the same time; calls of 32
take 35% longer, as the last batch of a call leaves a core idle. Slow models fill their batches with fewer."""

PUBLISH_SECONDS = 30.0
"""A run that is killed loses at most this much work."""

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

    def fits(self, texts: Sequence[str]) -> Sequence[bool]:
        """Which texts the model takes whole, its prompt included."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `files_total` counts the files that have to be read."""

    files: int
    files_total: int
    chunks: int
    embedded_chunks: int
    tokens: int
    seconds: float


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
) -> IndexSummary:
    """Bring the index in `directory` up to the files of a walk, or to the first of them that `scope` takes.

    Work is published every `publish_seconds` and at the end; an interrupt publishes the files that are whole
    (at most about `GROUP_SECONDS` of work are lost) and goes on its way, and so does a run that takes more memory
    than its budget. `skipped` are the walk's own
    counts by reason, added to the summary; `sources` are files that were read already, by path. Raises
    `IndexBusyError`, `IndexMismatchError`, `IndexDamagedError`, `StorageError`, and what the embedder raises; the
    index is then as it was last published.
    """
    started = time.monotonic()
    with TableWriter.open(directory, index_spec(embedder), rebuild=rebuild) as writer:
        changes = find_changes(found, writer.files, writer.left_out, scope.limit)
        writer.buffer_bytes = budget.buffer_bytes
        run = _Run(writer, embedder, len(changes.to_read), scope.max_filesize, budget, publish_seconds, progress)
        run.sources = sources or {}
        try:
            run.apply(changes)
            writer.publish(complete=scope.limit is None or scope.limit >= len(found), scope=scope)
        except (KeyboardInterrupt, MemoryBudgetError):
            writer.drop_unfinished()
            if writer.settled:
                writer.publish(complete=False)
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
        self._progress = progress
        self._started = self._published = time.monotonic()
        self._files = 0
        self._chunks = 0
        self._group_size = FIRST_GROUP
        self._group: list[tuple[SourceText, list[Chunk]]] = []
        self._group_chunks = 0
        self._group_chars = 0

    def apply(self, changes: Changes) -> None:
        """Write what changed; the last files are not published yet."""
        for path in changes.removed:
            self._writer.remove_file(path)
        for file in changes.to_read:
            self._take(file)
            if self._group_chunks >= self._group_size or self._group_chars >= self._budget.group_chars:
                self._finish_group()
        self._finish_group()

    def _take(self, file: SourceFile) -> None:
        """Read a file; it joins the group where its chunks have to be written."""
        source = self.sources.get(file.path) or read_source(file, max_filesize=self._max_filesize)
        if isinstance(source, Skipped):
            self._files += 1
            self.skipped[str(source.reason)] += 1
            # What may not be read now may be readable again: its chunks stay until it is gone.
            if source.reason != Reason.UNREADABLE:
                left_out = LeftOutFile(file.path, file.size, _trusted(file.mtime_ns), file.inode, str(source.reason))
                self._writer.leave_out(left_out)
            return
        known = self._writer.files.get(file.path)
        if known and known.digest == source.digest and known.language == source.language:
            self._files += 1
            self.same_content += 1
            self._writer.refresh_file(_record(source, known.chunks))
            return
        chunks = fit_chunks(
            chunk_text(source.path, source.text, source.language, max_chars=self._embedder.max_chars),
            self._embedder.fits,
        )
        self._group.append((source, chunks))
        self._group_chunks += len(chunks)
        self._group_chars += len(source.text)

    def _finish_group(self) -> None:
        group, self._group = self._group, []
        self._group_chunks = self._group_chars = 0
        for pieces in _slices(group, _even(sum(len(chunks) for _, chunks in group), self._group_size)):
            self._write(pieces)
            self._budget.check()
            if self._writer.settled and time.monotonic() - self._published >= self._publish_seconds:
                self._writer.publish(complete=False)
                self._published = time.monotonic()
            self._report()

    def _write(self, pieces: list[_Piece]) -> None:
        """Embed the chunks of files, or of a part of a large file, in one call and write them."""
        chunks = [chunk for piece in pieces for chunk in piece.chunks]
        texts = [embedded_text(chunk) for chunk in chunks]
        digests = [text_digest(text) for text in texts]
        vectors = self._vectors(texts, digests)
        begin = 0
        for piece in pieces:
            end = begin + len(piece.chunks)
            if piece.first:
                self._writer.begin_file(piece.source.path)
            self._writer.add(piece.chunks, digests[begin:end], vectors[begin:end])
            if piece.last:
                self._writer.end_file(_record(piece.source, piece.file_chunks))
                self._files += 1
            begin = end
        self._chunks += len(chunks)

    def _vectors(self, embedded: list[str], digests: list[bytes]) -> NDArray[np.float32]:
        """The vectors of texts, float32 [n, dimensions]: known ones from the table, equal texts once."""
        import numpy as np

        texts = dict(zip(digests, embedded, strict=True))
        known = self._writer.known_vectors(list(texts))
        missing = [digest for digest in texts if digest not in known]
        place = {digest: row for row, digest in enumerate(missing)}
        dimensions = self._writer.dimensions
        fresh = np.empty((0, dimensions), np.float32)
        if missing:
            started = time.monotonic()
            fresh = self._embedder.embed_documents([texts[digest] for digest in missing])
            expect_shape(fresh, len(missing), dimensions, self._embedder.name)
            known_before, self.cached = self.cached, self._embedder.cached - self._cached_before
            self.embedded += len(missing)
            # Vectors that were kept say nothing about how long the next group will take.
            self._adapt(len(missing) - (self.cached - known_before), time.monotonic() - started)
        vectors = np.empty((len(embedded), dimensions), np.float32)
        for row, digest in enumerate(digests):
            vectors[row] = known[digest] if digest in known else fresh[place[digest]]
        return vectors

    def _adapt(self, count: int, seconds: float) -> None:
        if count >= SMALLEST_GROUP:  # fewer say little about the rate
            wanted = int(count * GROUP_SECONDS / max(seconds, 1e-6))
            self._group_size = min(max(wanted, SMALLEST_GROUP), LARGEST_GROUP)

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
                )
            )


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
