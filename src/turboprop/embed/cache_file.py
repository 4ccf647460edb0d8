"""A cache in one file that one machine writes and others read.

magic      8 bytes    "TPEMB001"
count      uint64     little-endian
entries               count times: key 16 bytes, length uint32, vector (float16) of that length
checksum   16 bytes   xxh3-128 of everything before
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from turboprop.errors import StorageError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from turboprop.embed.cache import EmbeddingCache

MAGIC = b"TPEMB001"
_KEY, _LENGTH = 16, 4
_LONGEST = 2 * (1 << 16)  # bytes of one vector: no model has more dimensions
_GROUP = 2_000


def export_cache(cache: EmbeddingCache, path: Path) -> int:
    """Write every vector to `path` by one rename; returns how many. Raises `StorageError`."""
    digest = xxhash.xxh3_128()
    count = 0
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w+b") as file:
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
            temporary.replace(path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
    return count


def import_cache(cache: EmbeddingCache, path: Path) -> int:
    """Take the vectors of an exported file; returns how many. Raises `UsageError` for one that is not sound,
    before anything of it is kept."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) < len(MAGIC) + 24 or not data.startswith(MAGIC):
        raise UsageError(f"{path} is no exported cache; make one with `tp cache export`")
    if xxhash.xxh3_128_digest(data[:-16]) != data[-16:]:
        raise UsageError(f"{path} is damaged or was cut short; copy it again")
    entries = _entries(data, path)
    for start in range(0, len(entries), _GROUP):
        cache.put(dict(entries[start : start + _GROUP]))
    return len(entries)


def _entries(data: bytes, path: Path) -> list[tuple[bytes, NDArray[np.float16]]]:
    count = int.from_bytes(data[8:16], "little")
    at, end = 16, len(data) - 16
    entries: list[tuple[bytes, NDArray[np.float16]]] = []
    while at < end:
        start = at + _KEY + _LENGTH
        length = int.from_bytes(data[at + _KEY : start], "little")
        if length == 0 or length % 2 or length > _LONGEST or start + length > end:
            raise UsageError(f"{path} is no sound cache: the entry at byte {at} has {length} bytes")
        vector = np.frombuffer(data, np.float16, length // 2, start)
        if not np.isfinite(vector).all():
            raise UsageError(f"{path} is no sound cache: the entry at byte {at} is not finite")
        entries.append((data[at : at + _KEY], vector))
        at = start + length
    if len(entries) != count:
        raise UsageError(f"{path} is no sound cache: it holds {len(entries)} entries and claims {count}")
    return entries
