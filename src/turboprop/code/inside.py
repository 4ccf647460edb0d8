"""A file of a repository as it is now, for callers who may see that repository and nothing else.

Which file comes from an index or a request, and both are untrusted: the path may be absolute or lead upward, and what
was indexed may have become a link or a pipe since.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from turboprop.code import notebook
from turboprop.code.longlines import cut_long_lines
from turboprop.code.read import read_text
from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.files import NotRegularFileError, open_regular

MOST_BYTES = 20_000_000
"""Larger files are not read for a caller; it is what a repository's own settings may raise `max_filesize` to."""
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_FILE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def read_inside(root: Path, path: str) -> str:
    """The text of a file, as it was read for the index: a notebook's is that of its cells. `path` is relative to
    `root`, as an index has it.

    No link on the way is followed, also none that leads to another file of the repository: what is indexed has none.
    Raises `IndexNotFoundError` for what cannot be read and `UsageError` for more than `MOST_BYTES`.
    """
    try:
        with _open_inside(root, path) as stream:
            content = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = "it leads out of the repository" if _leads_out(root, path) else getattr(error, "strerror", None) or error
        raise IndexNotFoundError(f"{path} cannot be read now ({why}); bring the index up to date") from error
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path} has more than {MOST_BYTES:,} bytes")
    read = read_text(path, content)
    return read[0].text if read is not None else content.decode("utf-8", "replace")


def lines_inside(root: Path, path: str) -> list[str]:
    """Its lines, the first one at 0, without their ends, and those that nobody can read cut as in a chunk; otherwise as
    `read_inside`."""
    return cut_long_lines(read_inside(root, path)).removesuffix("\n").split("\n")


def is_inside(root: Path, path: str) -> bool:
    """Whether the repository has such a file, on the same terms."""
    try:
        _open_inside(root, path).close()
    except (OSError, ValueError):
        return False
    return True


def read_each(root: Path, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Path and text of many files, on the same terms, as UTF-8 that lines of `\\n` alone divide.

    In the order of their paths, so that a folder is opened once: 2,000 files of 30 MB take 20 ms, one by one 90. What
    cannot be read, or has more than `MOST_BYTES`, is left out.
    """
    with _Way(root) as way:
        for path in sorted(paths):
            try:
                content = way.read(path)
            except (OSError, ValueError, UsageError, IndexNotFoundError):
                continue
            yield path, content


def _as_utf8(path: str, content: bytes) -> bytes:
    """The text that `read_inside` would give, in UTF-8; what is that already is not decoded."""
    try:
        plain = content.isascii() or not (content.startswith(codecs.BOM_UTF8) or b"\0" in content[:64])
        if plain and not content.isascii():
            content.decode("utf-8")
    except UnicodeDecodeError:
        plain = False
    if plain and b"\r" not in content and not path.endswith(notebook.SUFFIX):
        return content
    read = read_text(path, content)
    return (read[0].text if read is not None else content.decode("utf-8", "replace")).encode("utf-8", "replace")


class _Way:
    """The folders from the root to the file that was read last, kept open for the next one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: list[str] = []
        self._open: list[int] = []

    def read(self, path: str) -> bytes:
        if os.open not in os.supports_dir_fd:  # Windows
            return read_inside(self._root, path).encode("utf-8", "replace")
        *folders, name = path.split("/")
        if not {"", ".", ".."}.isdisjoint([*folders, name]):
            raise NotRegularFileError(0, "it is no path inside of the repository", path)
        self._go(folders)
        descriptor = os.open(name, _FILE, dir_fd=self._open[-1])
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
                raise NotRegularFileError(0, "it is no file to read", path)
            content = os.read(descriptor, status.st_size)
        finally:
            os.close(descriptor)
        return _as_utf8(path, content)

    def _go(self, folders: list[str]) -> None:
        shared = 0
        for before, now in zip(self._folders, folders, strict=False):
            if before != now:
                break
            shared += 1
        self._leave(shared)
        for folder in folders[shared:]:
            self._open.append(os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=self._open[-1]))
            self._folders.append(folder)

    def _leave(self, kept: int) -> None:
        while len(self._folders) > kept:
            self._folders.pop()
            os.close(self._open.pop())

    def __enter__(self) -> _Way:
        if os.open in os.supports_dir_fd:
            self._open.append(os.open(self._root, _FOLDER))
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(0)
        if self._open:
            os.close(self._open.pop())


def _open_inside(root: Path, path: str) -> IO[bytes]:
    """Raises `NotRegularFileError` for a path that leads elsewhere, `OSError` and `ValueError` as `os.open` does."""
    *folders, name = path.split("/")
    if not {"", ".", ".."}.isdisjoint([*folders, name]):
        raise NotRegularFileError(0, "it is no path inside of the repository", path)
    if os.open not in os.supports_dir_fd:  # Windows
        place = root / path
        if "\\" in path or place.resolve() != root.resolve() / path:
            raise NotRegularFileError(0, "it leads elsewhere", path)
        return open_regular(place)
    # Each folder from the one before, so that none of them can become a link after it was looked at.
    current = os.open(root, _FOLDER)
    try:
        for folder in folders:
            current, last = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=current), current
            os.close(last)
        return open_regular(name, dir_fd=current)
    finally:
        os.close(current)


def _leads_out(root: Path, path: str) -> bool:
    try:
        return not (root / path).resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError):  # pathlib tells of a loop of links as a RuntimeError
        return False
