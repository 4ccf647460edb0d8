"""What differs between the files of a walk and an index: by their sizes, times and inodes, then by their bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from turboprop.code import notebook
from turboprop.code.exclude import Reason
from turboprop.code.walk import Skipped, SourceFile
from turboprop.index.manifest import LeftOutFile, Manifest
from turboprop.types import CHUNKER, IndexedFile

if TYPE_CHECKING:
    from turboprop.code.read import SourceText


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
    *,
    other_max_filesize: bool = False,
) -> Changes:
    """Compare by size, time of change and inode; what differs has to be read to know.

    Only the first `limit` files are compared; a file counts as removed when the whole walk lacks it.
    With `other_max_filesize`, where the index was made with another one, files that it is applied to after reading
    (notebooks, by the characters of their cells) are read again.
    """
    unchanged = 0
    to_read: list[SourceFile] = []
    skipped: Counter[str] = Counter()
    for file in found[:limit]:
        known = indexed.get(file.path) or left_out.get(file.path)
        if known is None or known.mtime_ns != file.mtime_ns or known.size != file.size or known.inode != file.inode:
            to_read.append(file)
        elif isinstance(known, LeftOutFile) and known.reason in file.exempt:
            to_read.append(file)  # somebody has asked for it since
        elif other_max_filesize and (
            file.path.endswith(notebook.SUFFIX) or (isinstance(known, LeftOutFile) and known.reason == Reason.TOO_LARGE)
        ):
            to_read.append(file)
        elif isinstance(known, LeftOutFile):
            skipped[known.reason] += 1
        else:
            unchanged += 1
    present = {file.path for file in found}
    removed = [path for path in (*indexed, *left_out) if path not in present]
    return Changes(unchanged, to_read, removed, dict(skipped))


def differing(
    files: Sequence[SourceFile],
    known: Manifest,
    max_filesize: int,
    sources: MutableMapping[str, SourceText | Skipped] | None = None,
) -> tuple[SourceFile, ...]:
    """Of files whose size or time changed, those whose bytes did: a checkout or `touch` changes times alone.

    `sources` takes what was read, by path, so that a run need not read it again.
    """
    if not files:
        return ()
    from turboprop.code.read import read_source  # 1 ms that a run without changes need not take

    found = []
    for file in files:
        source = read_source(file, max_filesize=max_filesize)
        if sources is not None:
            sources[file.path] = source
        record = known.files.get(file.path)
        if isinstance(source, Skipped):
            changed = record is not None or file.path not in known.left_out
        else:
            changed = record is None or (source.digest, source.language) != (record.digest, record.language)
        if changed:
            found.append(file)
    return tuple(found)
