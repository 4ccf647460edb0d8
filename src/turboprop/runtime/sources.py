"""A file of a repository as it is now, for callers who may see that repository and nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from turboprop.code.read import decode, normalise_newlines
from turboprop.errors import IndexNotFoundError, UsageError

MOST_BYTES = 20_000_000
"""Larger files are not read for a caller; it is what a repository's own settings may raise `max_filesize` to."""


def source_lines(root: Path, path: str) -> list[str]:
    """The lines of a file that was indexed.

    It may have become a link since: one that leads out of the repository is not followed. Raises
    `IndexNotFoundError` for what cannot be read and `UsageError` for what is too large.
    """
    place = root / path
    try:
        place = place.resolve(strict=True)
        if not place.is_relative_to(root):
            raise IndexNotFoundError(f"{path} leads out of the repository now")
        # A link or a pipe put there after the check above is refused by the flags.
        descriptor = os.open(place, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise IndexNotFoundError(f"{path} is no file now")
            content = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:  # pathlib tells of a loop of links as a RuntimeError
        why = getattr(error, "strerror", None) or str(error)
        raise IndexNotFoundError(f"{path} cannot be read now ({why}); bring the index up to date") from error
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path} has more than {MOST_BYTES:,} bytes")
    return normalise_newlines(decode(content)[0]).removesuffix("\n").split("\n")
