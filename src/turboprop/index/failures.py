"""What Lance and the operating system raise, said in our errors.

Lance raises OSError, ValueError, RuntimeError and Arrow's errors with the cause only in the text, and
a damaged table file can end in a Rust panic, which derives from BaseException.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turboprop.errors import IndexDamagedError, IndexNotFoundError, StorageError, TurboPropError, UsageError

_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_BAD_PATTERN = re.compile(r"regex parse error|[Cc]ompiled regex exceeds size limit")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_DAMAGED = {None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
"""A file of the table is missing or is something else; without a number Lance found a file's content wrong."""

_ELSEWHERE = "put the index elsewhere with --index DIR"
_ADVICE = {
    "Raise the limit of open files (ulimit -n), or close other programs, and run again": ("EMFILE", "ENFILE"),
    "Close other programs, or give less memory to this one with --memory SIZE, and run again": ("ENOMEM",),
    f"The disk or its file system fails: look at the system's log, and {_ELSEWHERE}, on another disk": (
        "EIO",
        "EBADMSG",
        "EUCLEAN",
        "EILSEQ",
        "EREMOTEIO",
        "ENXIO",
        "ENODEV",
    ),
    f"Its file system did not answer: run again, and where it is a network's, {_ELSEWHERE}, on this machine": (
        "ETIMEDOUT",
        "ESTALE",
        "EAGAIN",
        "EBUSY",
        "EDEADLK",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ENETUNREACH",
        "ENETRESET",
        "ECONNABORTED",
        "ECONNREFUSED",
        "ECONNRESET",
        "ENOTCONN",
        "ENOLCK",
    ),
    f"Its path cannot be used: {_ELSEWHERE}": ("ELOOP", "ENAMETOOLONG"),
}
_NEXT_STEP = {getattr(errno, name): step for step, names in _ADVICE.items() for name in names if hasattr(errno, name)}


@contextmanager
def translated(directory: Path, action: str) -> Iterator[None]:
    """Turn what fails inside into `StorageError` or `IndexDamagedError`; `action` completes "cannot"."""
    try:
        yield
    except TurboPropError:
        raise
    except BaseException as error:
        if not _is_failure(error):
            raise
        raise _translate(error, directory, action) from error


def damaged(directory: Path, cause: str, action: str = "") -> IndexDamagedError:
    """The error for what is wrong with an index, with the two ways to mend it; `action` completes "cannot"."""
    failed = f"cannot {action}: " if action else ""
    return IndexDamagedError(
        f"{failed}the index in {directory} is damaged: {cause}. Mend it with `tp doctor --fix`, or make it anew with "
        "`tp index --rebuild`"
    )


def _is_failure(error: BaseException) -> bool:
    """Everything but a wish to stop (Ctrl-C, exit) and a bug of the calling code."""
    if type(error).__name__ == "PanicException":
        return True
    return isinstance(error, OSError | ValueError | RuntimeError | MemoryError) or type(error).__module__.startswith(
        "pyarrow"
    )


def error_number(error: BaseException) -> int | None:
    """The errno behind an error, also where only Lance's text tells it."""
    if isinstance(error, MemoryError):  # Arrow's, too
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _OS_ERROR.search(str(error))
    return int(found[1]) if found else None


def _translate(error: BaseException, directory: Path, action: str) -> TurboPropError:
    if (said := _BAD_PATTERN.search(str(error))) is not None:  # the table's engine refuses some that RE2 takes
        return UsageError(f"cannot {action}: the regular expression is too large, or not understood ({said[0]})")
    number = error_number(error)
    if number in _FULL:
        return StorageError(
            f"cannot {action}: no room left for {directory} ({os.strerror(number or 0)}). "
            "The last committed index is still there; free some space, or put the index elsewhere "
            "with --index DIR, and run again"
        )
    if number in _REFUSED:
        return StorageError(
            f"cannot {action}: {directory} may not be written ({os.strerror(number or 0)}). "
            "Change its permissions, or put the index elsewhere with --index DIR"
        )
    if number not in _DAMAGED:
        step = _NEXT_STEP.get(number or 0, f"Run again; where that does not help, {_ELSEWHERE}")
        return StorageError(f"cannot {action}: the index in {directory} ({os.strerror(number or 0)}). {step}")
    # Where a file stands in the place of a folder above, there never was one.
    if number != errno.ENOTDIR and not directory.is_dir():
        return IndexNotFoundError(f"the index in {directory} is gone: its folder was moved or removed")
    cause = str(error).splitlines()[0] if str(error) else type(error).__name__
    return damaged(directory, cause[:300], action)
