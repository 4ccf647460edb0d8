"""A cache in one file that one machine writes and others read.

magic      8 bytes    "TPEMB001"
count      uint64     little-endian
entries               count times: key 16 bytes, length uint32, vector (float16) of that length
checksum   16 bytes   xxh3-128 of everything before

Read and written in blocks, so that neither takes more memory than one group of vectors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import xxhash

from turboprop.errors import StorageError, UsageError
from turboprop.files import open_regular, replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from turboprop.embed.cache import EmbeddingCache

MAGIC = b"TPEMB001"
_HEAD, _KEY, _LENGTH, _CHECKSUM = 16, 16, 4, 16
_LONGEST = 2 * (1 << 16)  # bytes of one vector: no model has more dimensions
_GROUP = 2_000


def export_cache(cache: EmbeddingCache, path: Path) -> int:
    """Write every vector to `path` by one rename; returns how many. Raises `StorageError`."""
    digest = xxhash.xxh3_128()
    count = 0
    try:
        with replacing(path, mode=0o600) as file:
            file.write(MAGIC + bytes(8))
            for key, vector in cache.entries():
                file.write(key + len(vector).to_bytes(_LENGTH, "little") + vector)
                count += 1
            file.seek(len(MAGIC))
            file.write(count.to_bytes(8, "little"))
            file.seek(0)
            while block := file.read(1 << 20):
                digest.update(block)
            file.write(digest.digest())
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
    return count


def import_cache(cache: EmbeddingCache, path: Path) -> int:
    """Take the vectors of an exported file; returns how many.

    Raises `UsageError` for one that is not sound, before anything of it is kept, and `StorageError` where
    the cache cannot keep them.
    """
    try:
        with open_regular(path, follow=True) as file:
            for _ in _groups(file, path):
                pass
            taken = 0
            for group in _groups(file, path):
                if not cache.put(group):
                    raise StorageError(
                        f"only {taken:,} vectors could be kept: the cache is switched off, its disk is full, it "
                        "cannot be written, or another process keeps it locked; see `tp cache stats`"
                    )
                taken += len(group)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    return taken


def _groups(file: IO[bytes], path: Path) -> Iterator[dict[bytes, NDArray[np.float16]]]:
    """The entries in order; the last group comes once the whole file was found to be sound."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(_HEAD)
    if size < _HEAD + _CHECKSUM or not head.startswith(MAGIC):
        raise UsageError(f"{path} is no exported cache; make one with `tp cache export`")
    digest = xxhash.xxh3_128(head)
    count, end = 0, size - _CHECKSUM
    at = _HEAD
    group: dict[bytes, NDArray[np.float16]] = {}
    while at < end:
        entry = file.read(_KEY + _LENGTH)
        length = int.from_bytes(entry[_KEY:], "little")
        if length == 0 or length % 2 or length > _LONGEST or at + _KEY + _LENGTH + length > end:
            raise UsageError(f"{path} is damaged: the entry at byte {at:,} cannot be; copy it again")
        data = file.read(length)
        digest.update(entry + data)
        vector = np.frombuffer(data, np.float16)
        if len(data) != length or not np.isfinite(vector).all():
            raise UsageError(f"{path} is damaged: the vector at byte {at:,} is not finite or cut short; copy it again")
        if len(group) == _GROUP:
            yield group
            group = {}
        group[entry[:_KEY]] = vector
        count += 1
        at += _KEY + _LENGTH + length
    if file.read(_CHECKSUM) != digest.digest() or count != int.from_bytes(head[len(MAGIC) :], "little"):
        raise UsageError(f"{path} is damaged or was cut short; copy it again")
    yield group
