"""One writer at a time: an advisory lock that the operating system drops when its holder dies.

Readers take no lock. The side file only tells a second writer whom it waits for; it can be stale, the
lock itself cannot.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from turboprop.errors import IndexBusyError, StorageError

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_FILE = "writer.lock"
HOLDER_FILE = "writer.json"
SHORT_WAIT_SECONDS = 5.0
"""How long a run that was asked for waits for another writer: a search that brings in an edit first holds the lock
for about a second, on a busy machine for more."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class WriterLock:
    """The right to write the index in `directory` (which must exist), as a context manager.

    Entering raises `IndexBusyError`, naming the holder, when another process or thread has it, and
    `StorageError` where the file system has no locks or may not be written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock: BaseFileLock | None = None

    def __enter__(self) -> WriterLock:
        from filelock import Timeout

        lock = _lock_of(self._directory)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise IndexBusyError(
                f"the index in {self._directory} is being written by {self._holder()}. "
                "Wait for it to end, or stop it, and run again; searching works meanwhile"
            ) from None
        except (OSError, NotImplementedError) as error:
            number = error.errno if isinstance(error, OSError) else errno.ENOSYS
            if number in _NO_LOCKS:
                raise StorageError(
                    f"the file system of {self._directory} has no file locks, which keep two writers apart. "
                    "Put the index on a local disk with --index DIR"
                ) from error
            raise StorageError(
                f"cannot lock the index in {self._directory}: {error}. "
                "Change its permissions, or put the index elsewhere with --index DIR"
            ) from error
        self._lock = lock
        with contextlib.suppress(OSError):  # a courtesy: the lock holds without it
            (self._directory / HOLDER_FILE).write_text(
                json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}), "utf-8"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                (self._directory / HOLDER_FILE).unlink()
            self._lock.release()
            self._lock = None

    def _holder(self) -> str:
        try:
            holder = json.loads((self._directory / HOLDER_FILE).read_text("utf-8"))
            since = time.strftime("%H:%M:%S", time.localtime(float(holder["since"])))
            return f"process {int(holder['pid'])} on {holder['host']} since {since}"
        except (OSError, ValueError, TypeError, KeyError):
            return "another process"


def wait_until_free(directory: Path, seconds: float = SHORT_WAIT_SECONDS) -> None:
    """Return once nobody writes the index in `directory`, or after `seconds`: whoever locks it then is told why not."""
    with contextlib.suppress(OSError, NotImplementedError):
        lock = _lock_of(directory)
        if (directory / LOCK_FILE).exists():
            lock.acquire(timeout=seconds)
            lock.release()


def is_being_written(directory: Path) -> bool:
    """Whether a writer is at work in `directory` now; true also where that cannot be told."""
    if not (directory / LOCK_FILE).exists():
        return False
    from filelock import Timeout

    lock = _lock_of(directory)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):
        return True
    lock.release()
    return False


def _lock_of(directory: Path) -> BaseFileLock:
    from filelock import FileLock

    # A soft lock is a file that a killed holder never removes.
    return FileLock(directory / LOCK_FILE, thread_local=False, fallback_to_soft=False)
