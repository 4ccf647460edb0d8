"""A file of a repository as it is now, for callers who may see that repository and nothing else.

Which file comes from an index or a request, and both are untrusted: the path may be absolute or lead upward, and what
was indexed may have become a link or a pipe since.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from turboprop.code.longlines import cut_long_lines
from turboprop.code.read import read_text
from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.files import NotRegularFileError, open_regular

MOST_BYTES = 20_000_000
"""Larger files are not read for a caller; it is what a repository's own settings may raise `max_filesize` to."""
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)


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
