"""The files that a published version rests on: what they are, and whether they still hold what was written.

Lance writes each file once under a new name. Its own formats notice some damage; of 120 flipped bits 98 changed
what was read without a word. So the manifest lists the files of its version, each with a digest of every block.
An index is opened by their sizes and a sample of blocks, a writer and `tp doctor` read all of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from turboprop.errors import IndexUntrustedError
from turboprop.files import NotRegularFileError, open_regular

BLOCK_BYTES = 1 << 18
"""What one digest covers: an index of 150 MB has 600 of them (10 kB), and a sample costs 20 microseconds."""

_DEEPEST = 5
"""Lance's own folders lie within three: table, `_indices`, one for each index."""
_OWN_FILE = re.compile(
    r"chunks_[0-9a-f]{16}\.(manifest\.json|\d+\.lexicon|adapter)|writer\.lock|check\.json|\.gitignore"
)
_NOT_THERE = (FileNotFoundError, NotADirectoryError, NotRegularFileError)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it was written: its size in bytes and the xxh3-64 of each block of `BLOCK_BYTES`, in hex."""

    size: int
    blocks: tuple[str, ...]


def version_files(dataset: Any) -> list[str]:
    """The files that an opened version needs, relative to the table's folder: rows, deletions, search indexes."""
    version = int(dataset.version)
    tracked = dataset.tracked_files(min_version=version).read_all()
    rows = zip(tracked["version"].to_pylist(), tracked["path"].to_pylist(), strict=True)
    return sorted({path for of, path in rows if of == version})


def measure(folder: Path, names: list[str], known: Mapping[str, StoredFile]) -> dict[str, StoredFile]:
    """The named files as they are. Those in `known` are taken from there: a file is never written twice.

    Raises `OSError` for one that cannot be read.
    """
    return {name: known[name] if name in known else _measured(folder / name) for name in names}


def find_damage(folder: Path, files: Mapping[str, StoredFile]) -> Iterator[str]:
    """Read every file whole; what is wrong with each that is not as it was written.

    Raises `OSError` where the disk or the process fails.
    """
    for name, file in files.items():
        try:
            seen = _measured(folder / name, file.size)
        except _NOT_THERE as error:
            yield f"{name} is missing, or is no file ({error.strerror})"
            continue
        if seen.size != file.size:
            yield f"{name} has {seen.size:,} bytes where {file.size:,} were written"
        elif seen != file:
            yield f"{name} holds something else than was written"


def sample_damage(folder: Path, files: Mapping[str, StoredFile]) -> str:
    """What is wrong by the sizes, the last block of each file and one other block of it; empty where nothing is.

    The last block of Lance's files says where the rest lies. Raises `OSError` where the disk or the process fails.
    """
    for name, file in files.items():
        last = len(file.blocks) - 1
        try:
            with open_regular(folder / name) as stream:
                if (size := os.fstat(stream.fileno()).st_size) != file.size:
                    return f"{name} has {size:,} bytes where {file.size:,} were written"
                for number in {last, int.from_bytes(os.urandom(4)) % (last + 1)} if last >= 0 else ():
                    stream.seek(number * BLOCK_BYTES)
                    if _digest(stream.read(BLOCK_BYTES)) != file.blocks[number]:
                        return f"{name} holds something else than was written"
        except _NOT_THERE as error:
            return f"{name} is missing, or is no file ({error.strerror})"
    return ""


def irregular_entries(folder: str | Path) -> Iterator[str]:
    """What no index holds, in a folder or below it: links, pipes, devices, folders in place of its own files, and
    folders within more than `_DEEPEST` others. Nothing where the folder is missing. Raises `OSError`."""
    waiting = [(os.fspath(folder), 0)]
    while waiting:
        place, depth = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except FileNotFoundError:
            continue
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                if not entry.is_file(follow_symlinks=False):
                    yield entry.path
            elif depth == _DEEPEST or (depth == 0 and _OWN_FILE.fullmatch(entry.name)):
                yield entry.path
            else:
                waiting.append((entry.path, depth + 1))


def check_regular(folder: Path) -> None:
    """Refuse a folder of an index that is a link or holds one. Raises `IndexUntrustedError` and `OSError`."""
    found = str(folder) if folder.is_symlink() else next(irregular_entries(folder), None)
    if found is not None:
        what = "a link" if Path(found).is_symlink() else "no file"
        raise IndexUntrustedError(
            f"{found} is {what}, and an index has none: it did not get there by indexing. "
            "Look at it and remove it, then make the index with `tp index --rebuild`"
        )


def _measured(path: Path, expected: int | None = None) -> StoredFile:
    """The file as it is; one of another size than is expected is not read: a terabyte of nothing takes no room."""
    blocks = []
    size = 0
    with open_regular(path) as stream:
        there = os.fstat(stream.fileno()).st_size
        if expected is not None and there != expected:
            return StoredFile(there, ())
        while block := stream.read(BLOCK_BYTES):
            blocks.append(_digest(block))
            size += len(block)
    return StoredFile(size, tuple(blocks))


def _digest(block: bytes) -> str:
    return xxhash.xxh3_64_hexdigest(block)
