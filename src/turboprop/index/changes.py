"""What differs between the files of a walk and an index, by their sizes, times and inodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from turboprop.code.chunk import CHUNKER
from turboprop.code.walk import SourceFile
from turboprop.index.manifest import LeftOutFile
from turboprop.types import IndexedFile


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between the files of a walk and the index."""

    unchanged: int = 0
    to_read: list[SourceFile] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether there is something to do."""
        return bool(self.to_read or self.removed)


def chunker_name(max_chars: int) -> str:
    """What an index records of how its files were cut."""
    return f"{CHUNKER}/{max_chars}"


def find_changes(
    found: Sequence[SourceFile],
    indexed: Mapping[str, IndexedFile],
    left_out: Mapping[str, LeftOutFile],
    limit: int | None = None,
) -> Changes:
    """Compare by size, time of change and inode; what differs has to be read to know.

    Only the first `limit` files are compared; a file counts as removed when the whole walk lacks it.
    """
    unchanged = 0
    to_read: list[SourceFile] = []
    skipped: Counter[str] = Counter()
    for file in found[:limit]:
        known = indexed.get(file.path) or left_out.get(file.path)
        if known is None or known.mtime_ns != file.mtime_ns or known.size != file.size or known.inode != file.inode:
            to_read.append(file)
        elif isinstance(known, LeftOutFile):
            skipped[known.reason] += 1
        else:
            unchanged += 1
    present = {file.path for file in found}
    removed = [path for path in (*indexed, *left_out) if path not in present]
    return Changes(unchanged, to_read, removed, dict(skipped))
