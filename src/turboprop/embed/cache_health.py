"""Is the cache of vectors what was written, all of it, and how what is sound of it is saved.

SQLite's own check finds damaged pages, trees and free lists; the checksum in each row finds the rest. What neither
sees is looked at here: a write-ahead log that SQLite would read only in part, another table, a time that cannot be.
A check reads everything once and holds one row at a time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from turboprop.embed.cache import SCHEMA, begin, connect, is_sound
from turboprop.embed.cache_log import lost_frames
from turboprop.embed.cache_place import alone, files_of, together
from turboprop.errors import StorageError
from turboprop.files import remove_any, replacing
from turboprop.types import CacheFault

SUBJECT = "kept vectors"
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_FIRST_USE = 1_600_000_000
"""Seconds since the epoch (2020): no vector was kept before."""
_DAY = 86_400
_GROUP = 500
_LAST_ROW = 1 << 62
Row = tuple[bytes, bytes, bytes, int]


def examine_vectors(path: Path) -> list[CacheFault]:
    """Everything that is wrong with the cache at `path` (embeddings.sqlite), which is not changed.

    0.5 s for 100,000 vectors of 384 dimensions that are in memory. A file that holds nothing has no fault.
    """
    faults = [
        CacheFault(SUBJECT, f"{file.name} is no file, so none are kept", file)
        for file in files_of(path)
        if _is_strange(file)
    ]
    if faults or not os.path.lexists(path):
        return faults
    if lost := lost_frames(files_of(path)[1]):
        faults.append(CacheFault(SUBJECT, f"the log is damaged, {lost:,} of its pages are not read", path))
    try:
        with contextlib.closing(_connected(path)) as connection:
            faults += [CacheFault(SUBJECT, problem, path) for problem in _problems(connection)]
    except (sqlite3.Error, OSError, MemoryError) as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _BUSY:
            faults.append(CacheFault(SUBJECT, f"{path.name} is damaged: {error}", path))
    return faults


def mend_vectors(path: Path) -> None:
    """Put a new database with the sound vectors of the old one in its place; does nothing where nothing is wrong.

    Processes that have the old one open go on with it until they write, and open the new one then.
    Raises `StorageError` where it cannot be written, or where others do not let go of it.
    """
    try:
        if any(_is_strange(file) for file in files_of(path)):
            with alone(path.parent):
                for file in files_of(path):
                    if _is_strange(file):
                        remove_any(file)
        if examine_vectors(path):
            _replace(path)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            f"the kept vectors in {path} cannot be mended: {getattr(error, 'strerror', None) or error}. "
            "Make room or change the permissions, or remove them with `tp cache clear`"
        ) from error


def _replace(path: Path) -> None:
    with contextlib.ExitStack() as held:
        inode = path.lstat().st_ino
        # SQLite makes its files with this mode.
        with replacing(path, mode=0o644, durable=True) as stream:
            _save(path, Path(stream.name))
            held.enter_context(alone(path.parent))  # until the new file has its name
            if path.lstat().st_ino != inode:
                raise StorageError(f"another process has replaced {path} meanwhile; look again with `tp doctor`")
            for file in files_of(path)[1:]:
                remove_any(file)


def _save(source: Path, target: Path) -> None:
    made = connect(target)
    try:
        begin(made)
        # Nobody else reads it, and a process that is killed leaves a file that nobody will.
        made.execute("PRAGMA journal_mode = OFF")
        made.execute("PRAGMA synchronous = OFF")
        with contextlib.closing(_connected(source)) as connection:
            group: list[Row] = []
            for row in _sound_rows(connection):
                group.append(row)
                if len(group) == _GROUP:
                    _insert(made, group)
                    group.clear()
            _insert(made, group)
        made.execute("PRAGMA journal_mode = WAL")
    finally:
        made.close()


def _insert(connection: sqlite3.Connection, rows: list[Row]) -> None:
    with connection:
        connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?, ?)", rows)


def _sound_rows(connection: sqlite3.Connection) -> Iterator[Row]:
    """The rows that are as they were written, in their order; what cannot be read is skipped in growing steps."""
    now = int(time.time())
    last, step = 0, 1
    while last < _LAST_ROW:
        try:
            for number, key, vector, checksum, used in connection.execute(
                "SELECT rowid, key, vector, checksum, used FROM vectors WHERE rowid > ? ORDER BY rowid", (last,)
            ):
                if number <= last:  # a damaged tree leads back to where it was
                    raise sqlite3.DatabaseError("the order of rows is damaged")
                last, step = number, 1
                if is_sound(key, vector, checksum):
                    yield key, vector, checksum, used if _is_time(used, now) else now
            return
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
                raise
            last, step = last + step, 2 * step


def _connected(path: Path) -> sqlite3.Connection:
    """A connection in the mode in which nothing is written unless it is asked for."""
    with together(path.parent):
        connection = connect(path)
        connection.isolation_level = None
        with contextlib.suppress(sqlite3.Error):  # opens the files; what is wrong is told by who asks again
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    tables = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()
    if not tables:
        return
    if tables != _tables():
        yield "it holds other tables than were made"
        return
    try:
        connection.execute("DELETE FROM vectors WHERE 0")  # none, but it asks whether it may
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _BUSY:
            yield f"nothing can be written to it: {error}"
    found = bytes(connection.execute("PRAGMA integrity_check(1)").fetchone()[0]).decode("utf-8", "replace")
    if found != "ok":
        yield f"it is damaged: {' '.join(found.split())}"
    now = int(time.time())
    damaged = undated = 0
    for key, vector, checksum, used in connection.execute("SELECT key, vector, checksum, used FROM vectors"):
        if not is_sound(key, vector, checksum):
            damaged += 1
        elif not _is_time(used, now):
            undated += 1
    if damaged:
        yield f"{damaged:,} vectors are not what was written"
    if undated:
        yield f"{undated:,} vectors were last used at a time that cannot be"


def _tables() -> list[tuple[bytes, bytes, bytes, bytes | None]]:
    """What SQLite writes down of the table that this version makes."""
    with contextlib.closing(sqlite3.connect(":memory:")) as made:
        made.text_factory = bytes
        made.execute(SCHEMA)
        return made.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


def _is_time(used: object, now: int) -> bool:
    return isinstance(used, int) and _FIRST_USE <= used <= now + _DAY


def _is_strange(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
