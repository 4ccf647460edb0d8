"""One writer at a time: an advisory lock that the operating system drops when its holder dies.

Readers take no lock. Beside it stands a file that says who has it, which is a lock of its own where this one does not
reach: see `holder`.
"""

from __future__ import annotations

import contextlib
import errno
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from turboprop.closing import Closing
from turboprop.errors import IndexBusyError, StorageError
from turboprop.index.failures import translated

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from turboprop.index.holder import Claim

LOCK_FILE = "writer.lock"
SHORT_WAIT_SECONDS = 5.0
"""How long a run that was asked for waits for another writer: a search that brings in an edit first holds the lock
for about a second, on a busy machine for more."""
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class WriterLock(Closing):
    """The right to write the index in `directory` (which must exist), as a context manager.

    Entering raises `IndexBusyError`, naming the holder, when another process or thread has it, and
    `StorageError` where the file system has no locks or may not be written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock: BaseFileLock | None = None
        self._claim: Claim | None = None

    def __enter__(self) -> Self:
        from filelock import Timeout

        from turboprop.index.holder import HOLDER_FILE, Claim  # 4 ms, for writers alone

        lock = _lock_of(self._directory)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise IndexBusyError(
                f"the index in {self._directory} is being written by {self._holder()}. "
                "Wait for it to end, or stop it, and run again; searching works meanwhile"
            ) from None
        except (OSError, NotImplementedError) as error:
            raise self._cannot_lock(error) from error
        self._lock = lock
        try:
            with translated(self._directory, "lock the index"):
                self._claim = Claim.take(self._directory / HOLDER_FILE)
        except BaseException:
            self.close()
            raise
        return self

    def check(self) -> None:
        """Raise `IndexBusyError` where another machine has taken over, whose locks do not reach here.

        Called before each step that others would see: it costs one small file that is read.
        """
        if self._claim is not None:
            with translated(self._directory, "read who writes the index"):
                self._claim.check()

    def close(self) -> None:
        """Let others write; a second call does nothing."""
        if self._claim is not None:
            self._claim.release()
            self._claim = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _holder(self) -> str:
        with contextlib.suppress(OSError):
            from turboprop.index.holder import HOLDER_FILE, read_holder

            return str(read_holder(self._directory / HOLDER_FILE) or "another process")
        return "another process"

    def _cannot_lock(self, error: OSError | NotImplementedError) -> StorageError:
        number = error.errno if isinstance(error, OSError) else errno.ENOSYS
        if number in _NO_LOCKS:
            return StorageError(
                f"the file system of {self._directory} has no file locks, which keep two writers apart. "
                "Put the index on a local disk with --index DIR"
            )
        path = self._directory / LOCK_FILE
        if path.is_symlink() or path.is_dir():
            return StorageError(f"cannot lock the index: {path} is no file. Remove it, and run again")
        return StorageError(
            f"cannot lock the index in {self._directory}: {error}. "
            "Change its permissions, or put the index elsewhere with --index DIR"
        )


def wait_until_free(directory: Path, seconds: float = SHORT_WAIT_SECONDS) -> None:
    """Return once nobody writes the index in `directory`, or after `seconds`: whoever locks it then is told why not."""
    with contextlib.suppress(OSError, NotImplementedError):
        lock = _lock_of(directory)
        if (directory / LOCK_FILE).exists():
            lock.acquire(timeout=seconds)
            lock.release()


def short_wait(directory: Path) -> float:
    """How many seconds a search should wait for whoever writes the index in `directory`: none for one that is at work
    for `SHORT_WAIT_SECONDS` already, so a long run keeps no search waiting."""
    from turboprop.index.holder import HOLDER_FILE, read_holder

    with contextlib.suppress(OSError):
        if (holder := read_holder(directory / HOLDER_FILE)) is not None:
            return min(max(0.0, holder.since + SHORT_WAIT_SECONDS - time.time()), SHORT_WAIT_SECONDS)
    return SHORT_WAIT_SECONDS


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
