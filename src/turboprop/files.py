"""The one way in which files are written, and the one way in which a stranger's files are opened.

A folder may hold what came with a repository: links, pipes, names that a writer was expected to use. So a new
file gets a random name that nobody can prepare, is created and never opened, and takes the place of the old
one by a rename, which replaces a link instead of following it.

Imported on the short way of `tp search`: nothing here loads more than `os` has loaded already.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from typing import IO

UNFINISHED = ".new-"
"""How the names of files begin that are being written; one that stays is of a process that was killed."""

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_CREATE |= getattr(os, "O_BINARY", 0)
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


MOST_BYTES = 20_000_000
"""Of a file whose text is held in memory: more is not read, unless the user raises `max_filesize` over it."""


class NotRegularFileError(OSError):
    """What lies there is a link, a pipe, a device or a folder."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, mode: int = 0o666, durable: bool = False) -> Iterator[IO[bytes]]:
    """A new file, open for writing and reading, that takes the name `path` once the block ends without an error.

    Readers see the old content or the new one, whole. The stream's `name` is where the file lies meanwhile, in
    the same folder. `mode` are its permissions, less the umask. `durable` flushes content and name to the disk,
    so that a power cut leaves one of the two contents as well. Raises `OSError`.
    """
    target = os.fspath(path)
    folder, _ = os.path.split(target)
    temporary = os.path.join(folder, UNFINISHED + os.urandom(8).hex())  # noqa: PTH118 pathlib is not loaded there
    stream = open(temporary, "w+b", opener=lambda name, _: os.open(name, _CREATE, mode))  # noqa: SIM115 closed below
    try:
        with stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.replace(temporary, target)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    if durable:
        sync_folder(folder or ".")


def replace_file(path: str | os.PathLike[str], content: bytes, *, mode: int = 0o666, durable: bool = False) -> None:
    """Write `content` to `path` in one step, as `replacing` does. Raises `OSError`."""
    with replacing(path, mode=mode, durable=durable) as stream:
        stream.write(content)


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Flush the names in a folder to the disk; systems that cannot open folders (Windows) need it not."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_regular(path: str | os.PathLike[str], *, follow: bool = False, dir_fd: int | None = None) -> BufferedReader:
    """Open a regular file for reading. A pipe is never waited for, and a link is followed only with `follow`.

    With `dir_fd`, the descriptor of a folder, a relative `path` begins there.

    Raises `NotRegularFileError` for anything else than a file, and `OSError` as `open` does.
    """
    flags = _READ if follow else _READ | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags, dir_fd=dir_fd)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)  # a link that leads nowhere is one all the same
        if (
            not follow and not missing and _is_link(path, dir_fd)
        ):  # ELOOP on Linux and macOS, EMLINK or EFTYPE elsewhere
            raise NotRegularFileError(error.errno, "it is a link, which is not followed", os.fspath(path)) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularFileError(0, "it is no file", os.fspath(path))
    except BaseException:
        os.close(descriptor)
        raise
    # From here on the stream alone closes it: an interrupt that met a second owner became "bad file descriptor".
    return open(path, "rb", opener=lambda *_: descriptor)


def _is_link(path: str | os.PathLike[str], dir_fd: int | None) -> bool:
    try:
        return stat.S_ISLNK(os.stat(path, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except OSError:
        return False


def create_file(path: str | os.PathLike[str], content: bytes, *, mode: int = 0o666) -> None:
    """Write a file where there is none, whoever else tries the same. Raises `FileExistsError` and `OSError`.

    A link counts as a file, whatever it names. Others may see the file before its content.
    """
    descriptor = os.open(path, _CREATE, mode)
    with open(descriptor, "wb") as stream:
        stream.write(content)


def remove_any(path: str | os.PathLike[str]) -> None:
    """Delete what lies there: a file, a pipe, a folder with all that is in it, a link and not what it names.

    Does nothing where there is nothing. Raises `OSError`.
    """
    try:
        folder = stat.S_ISDIR(os.lstat(path).st_mode)
        if not folder:
            os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
    if folder:
        import shutil

        shutil.rmtree(path)
