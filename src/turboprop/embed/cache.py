"""Vectors of texts that this user has embedded before: another worktree, branch or clone embeds nothing twice.

One SQLite file, `<cache>/embeddings.sqlite`, keyed by the xxh3-128 of everything that decides a vector: the
model's fingerprint, engine and weight format, the side, and the text. Values are float16, as the index
stores them, so an index made from the cache has the same bytes as one made afresh. Write-ahead logging
serves many processes and survives a kill; a value with a wrong checksum is dropped, a file that is no
sound database is set aside and begun anew. Whatever goes wrong here costs time, never an index.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

FILE = "embeddings.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    key BLOB PRIMARY KEY, vector BLOB NOT NULL, checksum BLOB NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID
"""
_BATCH = 500  # keys of one query; SQLite takes 32,766 parameters
_WAIT_SECONDS = 2.0
_DAY = 86_400
_SHRINK_TO = 0.8
"""Of the limit, what is left after the least recently used vectors are removed."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache holds; `bytes` on disk, `limit` in bytes."""

    path: Path
    vectors: int
    bytes: int
    limit: int


def cache_key(space: str, side: str, text: str) -> bytes:
    """16 bytes that stand for one vector; `space` names model, engine and weight format."""
    head = f"{space}\0{side}\0".encode()
    return xxhash.xxh3_128_digest(head + text.encode("utf-8", "surrogatepass"))


class EmbeddingCache:
    """Vectors by key. Every method works, or does nothing, whatever the state of the file."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path = path
        self._limit = limit
        self._connection: sqlite3.Connection | None = None
        self._usable = limit > 0

    def get(self, keys: Sequence[bytes], dimensions: int) -> dict[bytes, NDArray[np.float16]]:
        """The vectors that are known, float16 [dimensions]; ones of another width or damaged are left out."""
        found: dict[bytes, NDArray[np.float16]] = {}
        damaged: list[bytes] = []
        stale: list[bytes] = []
        today = _today()
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
                    if len(vector) != 2 * dimensions or _checksum(key, vector) != checksum:
                        damaged.append(key)
                        continue
                    found[key] = np.frombuffer(vector, np.float16)
                    if used != today:
                        stale.append(key)
            with connection:
                connection.executemany("DELETE FROM vectors WHERE key = ?", [(key,) for key in damaged])
                connection.executemany("UPDATE vectors SET used = ? WHERE key = ?", [(today, key) for key in stale])
        return found

    def put(self, vectors: Mapping[bytes, NDArray[np.float16]]) -> None:
        """Keep vectors; where that makes the file too large, those that were used longest ago go."""
        today = _today()
        rows = [
            (key, data, _checksum(key, data), today)
            for key, data in (
                (key, np.ascontiguousarray(value, np.float16).tobytes()) for key, value in vectors.items()
            )
        ]
        with self._guarded() as connection:
            if connection is None or not rows:
                return
            with connection:
                connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
            self._shrink(connection)

    def stats(self) -> CacheStats:
        """How many vectors there are, and what they take."""
        count = 0
        with self._guarded() as connection:
            if connection is not None and self._path.exists():
                count = int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])
        return CacheStats(self._path, count, _size(self._path), self._limit)

    def clear(self) -> int:
        """Remove the file; returns the bytes that are free now."""
        self.close()
        freed = _size(self._path)
        for path in _files(self._path):
            path.unlink(missing_ok=True)
        return freed

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys with their vectors' bytes, damaged ones left out."""
        with self._guarded() as connection:
            if connection is None:
                return
            for key, vector, checksum in connection.execute("SELECT key, vector, checksum FROM vectors"):
                if _checksum(key, vector) == checksum:
                    yield bytes(key), bytes(vector)

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
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            self._set_aside()  # no database, or a damaged one
        else:  # locked for long, disk full, read-only: this run goes on without
            self._usable = False

    def _open(self) -> sqlite3.Connection | None:
        if self._connection is None and self._usable:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")  # a power cut loses the last commits, no more
                connection.execute(_SCHEMA)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _set_aside(self) -> None:
        for path in _files(self._path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _shrink(self, connection: sqlite3.Connection) -> None:
        page = int(connection.execute("PRAGMA page_size").fetchone()[0])
        pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
        if page * pages <= self._limit:
            return
        count = int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])
        kept = int(count * _SHRINK_TO * self._limit / (page * pages))
        with connection:
            connection.execute(
                "DELETE FROM vectors WHERE key IN (SELECT key FROM vectors ORDER BY used, key LIMIT ?)", (count - kept,)
            )
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _checksum(key: bytes, vector: bytes) -> bytes:
    return xxhash.xxh3_64_digest(bytes(key) + bytes(vector))


def _today() -> int:
    return int(time.time()) // _DAY


def _files(path: Path) -> tuple[Path, ...]:
    return (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm"))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path) if file.exists())
