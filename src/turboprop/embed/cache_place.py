"""The files of a cache in SQLite, and how processes keep out of each other's way while one takes their place.

SQLite's locks belong to a file, not to its name: a process that opens the name between two steps of another one, which
puts a new database there, would pair the new file with the old one's log. So opening and replacing exclude each other,
for the milliseconds that either takes, by a lock on the folder, which is no file that could be damaged.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]

_WAIT_SECONDS = 2.0
_LOOK_SECONDS = 0.01


def files_of(path: Path) -> tuple[Path, ...]:
    """The database and what SQLite puts beside it."""
    return (path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal")))


def size_of(path: Path) -> int:
    """Bytes of all of them."""
    total = 0
    for file in files_of(path):
        with contextlib.suppress(OSError):  # another process may remove it meanwhile
            total += file.lstat().st_size
    return total


@contextlib.contextmanager
def together(folder: Path) -> Iterator[None]:
    """While one opens the database. Where there are no locks, or one is held for long, nothing is waited for."""
    with _locked(folder, exclusive=False):
        yield


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While one removes or replaces the files. Raises `OSError` where others do not let go in time."""
    with _locked(folder, exclusive=True) as held:
        if not held:
            raise OSError(f"other processes hold {folder}")
        yield


@contextlib.contextmanager
def _locked(folder: Path, *, exclusive: bool) -> Iterator[bool]:
    """Whether nobody holds it against us; closing the descriptor lets go."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except (FileNotFoundError, PermissionError):  # Windows opens no folders
        yield True
        return
    try:
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                if fcntl is None:
                    raise OSError(errno.ENOSYS, "no locks")
                fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                held = True
            except BlockingIOError:
                held = False
            except OSError:  # a file system without locks
                held = True
            if held or time.monotonic() > until:
                break
            time.sleep(_LOOK_SECONDS)
        yield held
    finally:
        os.close(descriptor)
