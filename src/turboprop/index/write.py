"""The one writer of a table: rows go in as they come, and count once `publish` has named them.

Between two publishes the table has versions that no manifest names. Readers never open them, and the
next writer goes back to the named one: after a crash at any moment nothing that was published is
lost, and nothing else is seen.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from turboprop.engines.resident import give_back_heap
from turboprop.errors import EngineError, IndexDamagedError
from turboprop.files import sync_folder
from turboprop.index import maintain, recover
from turboprop.index.buffer import RowBuffer
from turboprop.index.failures import translated
from turboprop.index.integrity import measure, version_files
from turboprop.index.lance_table import load_lance, open_version, sql_in, vector_column
from turboprop.index.lease import version_file
from turboprop.index.lexicon_build import keep_lexicon
from turboprop.index.lock import WriterLock
from turboprop.index.manifest import Header, LeftOutFile, write_manifest
from turboprop.index.reuse import KnownVectors
from turboprop.index.schema import (
    END_LINE,
    LANGUAGE,
    PATH,
    START_LINE,
    VECTOR,
    IndexSpec,
    manifest_file,
    table_folder,
)
from turboprop.settings import user_data_home
from turboprop.settings.trust import sign
from turboprop.types import Chunk, IndexedFile, IndexScope

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

BUFFER_ROWS = 20_000
BUFFER_BYTES = 64_000_000
"""Rows are handed to Lance in fragments of about this size: 100,000 rows make five, not five hundred."""

RETENTION_SECONDS = 600.0
"""How long a version stays after a newer one was published where the system cannot tell whether a reader
holds it; elsewhere it goes with its last reader, see `turboprop.index.lease`."""

_DELETE_PATHS = 500  # names in one filter
_DELETE_ROWS = 5_000
_SYNC_THREADS = 16


class TableWriter:
    """Writes one table of an index; get one from `open`, use it as a context manager.

    For each file: `begin_file`, `add` its chunks, `end_file`; for one that is gone: `remove_file`.
    Nothing counts before `publish`; leaving without it drops what was not published.
    """

    def __init__(self, directory: Path, opened: recover.OpenedTable, lock: WriterLock, retention: float) -> None:
        self._directory = directory
        self._dataset = opened.dataset
        self._header = opened.header
        self._files = opened.files
        self._left_out = opened.left_out
        self._stored = opened.stored
        self._lock = lock
        self._retention = retention
        self.buffer_bytes = BUFFER_BYTES
        self._buffer = RowBuffer(self.dimensions)
        self._stale: set[str] = set()
        self._filled: list[int] = []
        self._may_wait = bool(opened.header.waiting) and not opened.begun
        self._unsettled = self._flushing = False
        self._open_file: str | None = None
        self._begun = opened.begun
        # A writer that died after Lance's last commit leaves a version that nobody named, and going back makes another:
        # unless that one is named, every later run finds the same.
        self._changed = opened.begun or int(opened.dataset.version) != opened.header.version
        self._synced = set() if opened.begun else _file_names(self._folder)
        self._known: KnownVectors | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        spec: IndexSpec,
        *,
        rebuild: bool = False,
        retention_seconds: float = RETENTION_SECONDS,
    ) -> TableWriter:
        """Lock the index folder (made where missing) and open the table of `spec`, or begin one.

        `rebuild` begins anew whatever is there; readers keep the old rows until the first publish.
        Raises `IndexBusyError`, `IndexMismatchError`, `IndexDamagedError` (neither with `rebuild`) and
        `StorageError`.
        """
        sign(user_data_home(), b"")  # before anything is begun or removed: what cannot be signed would be nobody's
        recover.make_folder(directory, rebuild)
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context(WriterLock(directory))
            opened = recover.open_table(directory, spec, rebuild)
            stack.pop_all()
            return cls(directory, opened, lock, retention_seconds)

    @property
    def files(self) -> Mapping[str, IndexedFile]:
        """The files of the index by path, with what was written since."""
        return self._files

    @property
    def left_out(self) -> Mapping[str, LeftOutFile]:
        """The files that were read and left out, by path."""
        return self._left_out

    @property
    def header(self) -> Header:
        """What is published."""
        return self._header

    @property
    def settled(self) -> bool:
        """Whether no file is half written, so that `publish` may be called (after an interrupt, say)."""
        return not self._unsettled

    @property
    def dimensions(self) -> int:
        """The width of the vectors."""
        return self._header.spec.dimensions

    def known_vectors(self, digests: Sequence[bytes]) -> dict[bytes, NDArray[np.float16]]:
        """The vectors of those digests that were in the table when it was opened; none in a rebuild."""
        if self._begun or not self.dimensions or (self._header.rows == 0 and self._known is None):
            return {}
        with self._translated("read known vectors"):
            if self._known is None:
                published = open_version(self._folder, self._header.version)
                self._known = KnownVectors(published, self.dimensions, bool(self._header.waiting))
            return self._known.find(digests)

    def begin_file(self, path: str) -> None:
        """What the table holds of this file goes, and chunks of it may be added."""
        self._open_file = path
        self._unsettled = True
        if path in self._files:
            self._stale.add(path)

    def add(
        self,
        chunks: Sequence[Chunk],
        digests: Sequence[bytes],
        vectors: NDArray[np.float32] | NDArray[np.float16],
        waiting: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add chunks of the file that was begun, with their vectors [n, dimensions].

        Those that are `waiting`, bool [n], have none yet: `waiting_rows` tells of them once they are published.
        Raises `EngineError` for vectors of another width or with values that are not finite.
        """
        if not chunks:
            return
        stored = self._checked(vectors, [f"{each.path}:{each.start_line}-{each.end_line}" for each in chunks])
        if waiting is not None and waiting.any():
            stored[waiting] = float("nan")
            self._may_wait = True
        with self._translated("add rows"):
            self._buffer.add(chunks, digests, stored)
        if self._buffer.rows >= BUFFER_ROWS or self._buffer.bytes >= self.buffer_bytes:
            self._flush()

    def end_file(self, file: IndexedFile) -> None:
        """The file is whole: record it."""
        self._left_out.pop(file.path, None)
        self._files[file.path] = file
        self._buffer.end_file()
        self._unsettled = False
        self._changed = True

    def drop_unfinished(self) -> None:
        """Forget a file that was begun and is not whole, so that what is whole may be published (after an interrupt).

        Its chunks go, those of before included; the next run reads it again. Where Lance was interrupted while it
        wrote, what the table holds is not known, and nothing is done.
        """
        if self._flushing or not self._unsettled or self._open_file is None:
            return
        self._buffer.drop_open_file()
        self._files.pop(self._open_file, None)
        self._stale.add(self._open_file)  # some of it may be in the table already
        self._changed = True
        self._unsettled = False

    def waiting_rows(self) -> tuple[NDArray[np.uint64], list[str], list[str]]:
        """The published rows that have no vector: their ids, paths and languages. Ids hold until `maintain`."""
        with self._translated("read the index"):
            table = self._dataset.scanner(
                columns=[PATH, LANGUAGE], filter=f"{VECTOR} IS NULL", with_row_id=True
            ).to_table()
        return table["_rowid"].to_numpy(), table[PATH].to_pylist(), table[LANGUAGE].to_pylist()

    def rows(self, row_ids: Sequence[int]) -> pa.Table:
        """Rows by their ids, as the table has them, with their `_rowid`, in any order."""
        with self._translated("read the index"):
            return self._dataset.scanner(filter=_rows_in(row_ids), with_row_id=True).to_table()

    def fill(self, rows: pa.Table, vectors: NDArray[np.float32]) -> None:
        """Give rows that `rows` told their vectors [n, dimensions]. Raises `EngineError` as `add` does."""
        places = zip(rows[PATH].to_pylist(), rows[START_LINE].to_pylist(), rows[END_LINE].to_pylist(), strict=True)
        stored = self._checked(vectors, [f"{path}:{start}-{end}" for path, start, end in places])
        # Unsettled, and of no file: an interrupt in between drops what was not published.
        self._open_file, self._unsettled = None, True
        with self._translated("add rows"):
            whole = rows.drop_columns(["_rowid", VECTOR]).append_column(VECTOR, vector_column(stored))
            for batch in whole.combine_chunks().to_batches():
                self._buffer.add_batch(batch)
        self._filled += rows["_rowid"].to_pylist()
        self._changed, self._unsettled = True, False
        if self._buffer.rows >= BUFFER_ROWS or self._buffer.bytes >= self.buffer_bytes:
            self._flush()

    def refresh_file(self, file: IndexedFile) -> None:
        """Record another size, time or inode of a file whose content is the same."""
        self._files[file.path] = file
        self._changed = True

    def remove_file(self, path: str) -> None:
        """Forget a file and its chunks."""
        if self._files.pop(path, None) is not None:
            self._stale.add(path)
            self._changed = True
        if self._left_out.pop(path, None) is not None:
            self._changed = True

    def leave_out(self, file: LeftOutFile) -> None:
        """Record that a file was read and left out; its chunks, if any, go."""
        self.remove_file(file.path)
        self._left_out[file.path] = file
        self._changed = True

    def publish(self, *, complete: bool = True, scope: IndexScope | None = None) -> bool:
        """Make everything so far the index that readers open; returns whether anything was new.

        `scope` is recorded where it is given: what the run was asked for.
        Raises `StorageError`, after which the published state is the old one.
        """
        if self._unsettled:
            raise RuntimeError("publish while a file is half written")
        if scope is not None and (scope, scope.root) != (self._header.scope, self._header.scope.root):
            self._header = replace(self._header, scope=scope)
            self._changed = True
        if not self._changed and complete == self._header.complete:
            return False
        self._flush()
        self._name_newest(complete)
        self._changed = False
        return True

    def maintain(self) -> None:
        """Bring search indexes up to date, compact, drop old versions; publish the result.

        A full disk here costs speed alone: what was published stays, and the next run tries again.
        Raises `StorageError` or `IndexDamagedError`.
        """
        if self._changed or self._buffer or self._stale:
            raise RuntimeError("maintain before publish")
        try:
            updated = False
            if self.dimensions and not self._header.waiting:
                with self._translated("update the search indexes"):
                    updated = maintain.update_indexes(self._dataset)
            if updated:
                self._name_newest(self._header.complete)
                give_back_heap()  # of 36,000 rows 40 MB, and what follows takes as much
            with self._translated("compact the index"):
                compacted = maintain.compact(self._dataset)
            if compacted:
                self._name_newest(self._header.complete)
                give_back_heap()
        except BaseException:
            self._go_back()
            raise
        self.keep_lexicon()
        self._lock.check()
        with self._translated("remove old versions"):
            removed = maintain.remove_old_versions(self._dataset, self._folder, self._header.version, self._kept())
        if removed:
            self._known = None  # it may have read from one of them
        with contextlib.suppress(OSError):  # the note of the newest version helps object stores, no more
            recover.mend_hint(self._folder)

    def keep_lexicon(self) -> None:
        """Write the postings of what is published, so that no search has to make them."""
        with self._translated("keep the lexicon"):
            keep_lexicon(self._directory, self._header.table, self._dataset)

    def close(self) -> None:
        """Drop what was not published and release the lock; safe to call twice."""
        try:
            if self._buffer or self._changed or self._dataset.version != self._header.version:
                self._go_back()
        finally:
            self._lock.close()

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _folder(self) -> Path:
        return table_folder(self._directory, self._header.table)

    @contextlib.contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            with translated(self._directory, action):
                yield
        except IndexDamagedError:
            self._lock.check()  # two writers do that to each other
            raise

    def _checked(self, vectors: Any, places: Sequence[str]) -> NDArray[np.float16]:
        import numpy as np

        values = np.asarray(vectors)
        name = self._header.spec.model
        expect_shape(values, len(places), self.dimensions, name)
        with np.errstate(over="ignore"):
            stored = values.astype(np.float16)
        finite = np.isfinite(stored).all(axis=1)
        if not finite.all():
            raise EngineError(
                f"{name} gave a vector with values that are not finite (or beyond 65504) for "
                f"{places[int(np.argmin(finite))]}; try --engine with another engine"
            )
        return stored

    def _flush(self) -> None:
        """Hand deletes and rows to Lance. Deletes first: an edited file's new rows have its old path."""
        self._flushing, self._unsettled, inside = True, True, self._unsettled
        with self._translated("write to the index"):
            stale = sorted(self._stale)
            for start in range(0, len(stale), _DELETE_PATHS):
                self._dataset.delete(sql_in(PATH, stale[start : start + _DELETE_PATHS]))
            self._stale.clear()
            for start in range(0, len(self._filled), _DELETE_ROWS):
                self._dataset.delete(_rows_in(self._filled[start : start + _DELETE_ROWS]))
            self._filled.clear()
            if self._buffer:
                import pyarrow as pa

                table = pa.Table.from_batches(self._buffer.batches())
                self._dataset = load_lance().write_dataset(table, self._dataset, mode="append")
        self._buffer.clear()
        self._unsettled = inside
        self._flushing = False

    def _name_newest(self, complete: bool) -> None:
        """Write the manifest that names the table's newest version, after that is safely on the disk."""
        rows = int(self._dataset.count_rows())
        expected = sum(file.chunks for file in self._files.values())
        if rows != expected:
            self._lock.check()  # Lance joins the rows of two writers
            raise IndexDamagedError(
                f"the index in {self._directory} would have {rows} rows where its files have {expected} "
                "chunks; nothing was published. Make it anew with `tp index --rebuild`"
            )
        with self._translated("write to the index"):
            self._sync_new_files()
            self._stored = measure(self._folder, version_files(self._dataset), self._stored)
            waiting = int(self._dataset.count_rows(f"{VECTOR} IS NULL")) if self._may_wait and self.dimensions else 0
        self._may_wait = waiting > 0
        now = time.time()
        superseded = self._superseded(now)
        header = replace(
            self._header,
            version=int(self._dataset.version),
            rows=rows,
            updated=now,
            superseded=superseded,
            complete=complete,
            waiting=waiting,
        )
        path = manifest_file(self._directory, header.table)
        self._lock.check()
        self._header = write_manifest(path, header, self._files, self._left_out, self._stored)

    def _superseded(self, now: float) -> tuple[tuple[int, float], ...]:
        """The versions before the newest one that a manifest named and that are still there."""
        known = self._header.superseded
        if self._header.version not in (0, self._dataset.version):
            known = (*known, (self._header.version, now))
        return tuple(item for item in known if version_file(self._folder, item[0]).exists())

    def _kept(self) -> set[int]:
        """The superseded versions that are too young to go where readers cannot be seen; one from a future
        clock is young."""
        now = time.time()
        return {version for version, when in self._header.superseded if now - when < self._retention}

    def _sync_new_files(self) -> None:
        """Flush what Lance wrote since the last time to the disk: it leaves that to the system.

        At once, because a disk answers sixteen flushes in little more than the time of one.
        """
        from concurrent.futures import ThreadPoolExecutor

        names = _file_names(self._folder)
        new = names - self._synced
        folders = {name.rpartition("/")[0] for name in new}
        with ThreadPoolExecutor(_SYNC_THREADS) as pool:
            list(pool.map(_sync_file, new))
            list(pool.map(sync_folder, map(Path, folders)))
        self._synced = names

    def _go_back(self) -> None:
        """Return the table to what is published and give back the room of what was not."""
        self._buffer.clear()
        self._stale.clear()
        self._filled.clear()
        self._changed = False
        # The next writer does this too, so a disk that is too full for it now is no harm.
        with contextlib.suppress(Exception), self._translated("go back to the last commit"):
            self._lock.check()  # what is published may be another machine's by now
            if self._header.version == 0:
                recover.remove_table(self._folder)
            else:
                self._dataset = recover.restore(self._folder, self._header.version)


def _rows_in(row_ids: Sequence[int]) -> str:
    return f"_rowid IN ({','.join(map(str, row_ids))})"


def expect_shape(vectors: Any, count: int, dimensions: int, model: str) -> None:
    """Raise `EngineError` where a model gave something else than [count, dimensions]."""
    if vectors.shape != (count, dimensions):
        raise EngineError(
            f"{model} gave vectors of the shape {list(vectors.shape)} for {count} texts; "
            f"the index holds {dimensions} dimensions"
        )


def _sync_file(name: str) -> None:
    with contextlib.suppress(FileNotFoundError), open(name, "r+b") as stream:
        os.fsync(stream.fileno())


def _file_names(folder: Path) -> set[str]:
    return {f"{parent}/{name}" for parent, _, names in os.walk(folder) for name in names}
