"""Vectors of texts that this user has embedded before: another worktree, branch or clone embeds nothing twice.

One SQLite file, `<cache>/embeddings.sqlite`, keyed by a hash of everything that decides a vector: the
model's fingerprint, engine and weight format, the side, and the text. Values are float16, as the index
stores them, so an index made from the cache has the same bytes as one made afresh. Write-ahead logging
serves many processes and survives a kill; a value with a wrong checksum is dropped, a file that is no
sound database is removed and begun anew, one that is a link or a pipe is left alone. Whatever goes wrong here
costs time, never an index. `cache_health` looks at all of it and saves what is sound.
The figures behind it are in docs/decisions/0006-embedding-cache.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from turboprop.embed.cache_place import alone, files_of, size_of, together
from turboprop.errors import StorageError
from turboprop.files import NotRegularFileError, remove_any

FILE = "embeddings.sqlite"
_PAGE = 16_384
"""Bytes of a page. A vector of 1,024 dimensions takes 2.4 kB with it, 4.1 kB with SQLite's own 4,096."""
# Not WITHOUT ROWID: vectors in the order of random keys made writing 7 times and reading 2 to 3 times slower.
SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    key BLOB PRIMARY KEY, vector BLOB NOT NULL, checksum BLOB NOT NULL, used INTEGER NOT NULL
)
"""
_BATCH = 500  # keys of one query; SQLite takes 32,766 parameters
_WAIT_SECONDS = 2.0
_TOUCH_SECONDS = 86_400
"""How old the recorded use of a vector may be: finer would turn every reader into a writer."""
_SHRINK_TO = 0.8
"""Of the limit, what is left after the least recently used vectors are removed."""
_LOG_BYTES = 64_000_000
"""What the write-ahead log is cut to after a large commit."""
LONGEST = 1 << 20
"""Bytes of a value: more is a damaged length, and SQLite would make room for it. No model has 65,536 dimensions, and
token vectors of 128 dimensions are 7,000 tokens in 8 bits."""
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG}
"""Result codes of a file to begin anew; SQLITE_ERROR is a table of another shape."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache holds; `bytes` on disk, `limit` in bytes."""

    path: Path
    vectors: int
    bytes: int
    limit: int


def cache_key(space: str, side: str, text: str) -> bytes:
    """16 bytes that stand for one vector; `space` names model, engine and weight format.

    BLAKE2b, because one cache serves all repositories of a user: collisions of xxh3 can be made at will, and
    a hostile repository could give its vector to a text of another one.
    """
    head = f"{space}\0{side}\0".encode()
    return hashlib.blake2b(head + text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class EmbeddingCache:
    """Vectors by key. `get` and `put` work, or do nothing, whatever the state of the file."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._usable = limit > 0

    def get(self, keys: Sequence[bytes], dimensions: int) -> dict[bytes, NDArray[np.float16]]:
        """The vectors that are known, float16 [dimensions]; ones of another width or damaged are left out."""
        found = self._get(keys, lambda size: size == 2 * dimensions)
        return {key: np.frombuffer(vector, np.float16) for key, vector in found.items()}

    def get_bytes(self, keys: Sequence[bytes], step: int) -> dict[bytes, bytes]:
        """What is known as `put_bytes` was given it, of whole `step` bytes; damaged ones are left out."""
        return self._get(keys, lambda size: size > 0 and size % step == 0)

    def _get(self, keys: Sequence[bytes], fits: Callable[[int], bool]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        damaged: list[tuple[bytes]] = []
        touched: list[tuple[int, bytes]] = []
        now = _now()
        with self._guarded() as connection:
            if connection is None:
                return {}
            for start in range(0, len(keys), _BATCH):
                part = list(keys[start : start + _BATCH])
                marks = ",".join("?" * len(part))
                rows = connection.execute(
                    f"SELECT key, vector, checksum, used FROM vectors WHERE key IN ({marks})",  # noqa: S608
                    part,
                )
                for key, vector, checksum, used in rows:
                    if not is_sound(key, vector, checksum) or not fits(len(vector)):
                        damaged.append((key,))
                        continue
                    found[key] = vector
                    # A clock that was set back must not freeze it.
                    if not isinstance(used, int) or abs(now - used) >= _TOUCH_SECONDS:
                        touched.append((now, key))
            # Another process may be writing, or the disk be full: what was read is still right.
            if damaged or touched:
                with contextlib.suppress(sqlite3.OperationalError), connection:
                    connection.executemany("DELETE FROM vectors WHERE key = ?", damaged)
                    connection.executemany("UPDATE vectors SET used = ? WHERE key = ?", touched)
        return found

    def put(self, vectors: Mapping[bytes, NDArray[np.float16]]) -> bool:
        """Keep vectors; where that makes the file too large, those that were used longest ago go.

        Returns whether they were written.
        """
        return self.put_bytes(
            {key: np.ascontiguousarray(value, np.float16).tobytes() for key, value in vectors.items()}
        )

    def put_bytes(self, values: Mapping[bytes, bytes]) -> bool:
        """The same for bytes as they are, each of `LONGEST` at most."""
        now = _now()
        rows = [(key, data, checksum_of(key, data), now) for key, data in values.items() if len(data) <= LONGEST]
        written = not rows
        with self._guarded() as connection:
            if connection is None or not rows:
                return written
            with connection:
                connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
            written = True
            self._shrink(connection)
        return written

    def stats(self) -> CacheStats:
        """How many vectors there are, and what they take; 0 where they cannot be counted, which mends nothing."""
        count = 0
        if os.path.lexists(self._path):
            try:
                if (connection := self._open()) is not None:
                    count = int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])
            except (sqlite3.Error, OSError):
                self.close()
        return CacheStats(self._path, count, size_of(self._path), self._limit)

    def clear(self) -> int:
        """Remove the file; returns the bytes that are free now. Raises `StorageError`."""
        self.close()
        freed = size_of(self._path)
        try:
            with alone(self._path.parent):
                for path in files_of(self._path):
                    remove_any(path)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be removed: {error.strerror or error}") from error
        return freed

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys with their vectors' bytes, damaged ones left out. Raises `StorageError`."""
        try:
            connection = self._open()
            if connection is None:
                return
            for key, vector, checksum in connection.execute("SELECT key, vector, checksum FROM vectors"):
                if is_sound(key, vector, checksum):
                    yield bytes(key), bytes(vector)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"the cache {self._path} cannot be read to its end: {error}") from error

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection | None]:
        connection = None
        try:
            connection = self._open()
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
        try:
            yield connection
        except (sqlite3.Error, OSError) as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            self._remove_damaged()
        else:  # locked for long, disk full, read-only, a link: this run goes on without
            self._usable = False

    def _open(self) -> sqlite3.Connection | None:
        if self._connection is not None and self._is_replaced():
            self.close()
        if self._connection is None and self._usable:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with together(self._path.parent):
                connection = connect(self._path)
                try:
                    self._inode = self._path.stat().st_ino
                    begin(connection)
                except BaseException:
                    connection.close()
                    raise
            self._connection = connection
        return self._connection

    def _is_replaced(self) -> bool:
        """Whether another process has removed or mended the file: what is written to the old one is lost."""
        try:
            return self._path.stat().st_ino != self._inode
        except OSError:
            return True

    def _remove_damaged(self) -> None:
        # Unless another process has begun anew already.
        try:
            with alone(self._path.parent):
                if self._path.stat().st_ino == self._inode:
                    for path in files_of(self._path):
                        path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        except OSError:
            self._usable = False

    def _shrink(self, connection: sqlite3.Connection) -> None:
        page = int(connection.execute("PRAGMA page_size").fetchone()[0])
        pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
        free = int(connection.execute("PRAGMA freelist_count").fetchone()[0])
        used = page * (pages - free)
        if used <= self._limit:
            return
        count = int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])
        kept = int(count * _SHRINK_TO * self._limit / used)
        with connection:
            connection.execute(
                "DELETE FROM vectors WHERE rowid IN (SELECT rowid FROM vectors ORDER BY used, rowid LIMIT ?)",
                (count - kept,),
            )
        connection.executescript("PRAGMA incremental_vacuum")  # `execute` would free one page
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the file, which is made where it is missing; nothing of it is read yet.

    Raises `OSError` where the file or one of SQLite's beside it is a link or no file, and `sqlite3.Error`.
    """
    for file in files_of(path):
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(file.lstat().st_mode):
                raise NotRegularFileError(0, "it is no file", str(file))
    connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, check_same_thread=False)
    connection.text_factory = bytes  # a damaged type must not end in a decoder
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    return connection


def begin(connection: sqlite3.Connection) -> None:
    """Set a connection up, and make the table where there is none. Raises `sqlite3.Error`."""
    connection.execute(f"PRAGMA page_size = {_PAGE}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # what is removed is given back to the disk
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # a power cut loses the last commits, no more
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    connection.execute(SCHEMA)


def is_sound(key: object, vector: object, checksum: object) -> bool:
    """Whether a row is as it was written, whatever types its columns have by now."""
    return isinstance(key, bytes) and isinstance(vector, bytes) and checksum == checksum_of(key, vector)


def checksum_of(key: bytes, vector: bytes) -> bytes:
    """The 8 bytes that stand beside a vector."""
    return xxhash.xxh3_64_digest(key + vector)


def _now() -> int:
    return int(time.time())
