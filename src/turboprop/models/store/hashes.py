"""sha256 of model files, and a memory of what was hashed before.

Hashing the default model's 90 MB costs about 80 ms, too much for every start. A file that still has the
path, size, modification time and inode it had when it was hashed is taken to have the same bytes; the
memory lies in the cache folder and losing it costs one more hash. `tp model verify` never asks it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.errors import ModelFormatError
from turboprop.files import open_regular
from turboprop.settings.records import RecordError, read_record, write_record

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY_FILE = "verified.json"
MEMORY = "remembered hashes"
_MAX_REMEMBERED = 256
_BLOCK = 1 << 20


def sha256_file(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """Hash one file in blocks of 1 MB; `progress` is told the bytes of each."""
    import hashlib  # 8 ms that finding a model does not need

    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_BLOCK))
    with open_regular(path, follow=True) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if progress is not None:
                progress(count)
    return digest.hexdigest()


def git_object_id(path: Path) -> str:
    """Git's name of a file's bytes: what the hub calls a small file that is not in LFS."""
    import hashlib

    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % path.stat().st_size)
    with open_regular(path, follow=True) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _read_memory(file: Path) -> dict[str, object]:
    try:
        return read_record(file, MEMORY)
    except (OSError, RecordError):
        return {}


def known_sha256(path: Path, cache_home: Path) -> str | None:
    """The sha256 that was taken when the file was as it is by size, time and inode; None where none was."""
    return _known(_read_memory(cache_home / MEMORY_FILE), path, _stamp(path))


def _known(memory: dict[str, object], path: Path, stamp: list[int]) -> str | None:
    match memory.get(str(path.resolve())):
        case [size, mtime, inode, str(known)] if [size, mtime, inode] == stamp:
            return known
    return None


def remembered_sha256(path: Path, cache_home: Path) -> str:
    """The sha256 of a file's bytes, taken anew only when the file has changed since it was last taken."""
    file = cache_home / MEMORY_FILE
    memory = _read_memory(file)
    stamp = _stamp(path)
    if (known := _known(memory, path, stamp)) is not None:
        return known
    actual = sha256_file(path)
    key = str(path.resolve())
    memory.pop(key, None)
    memory[key] = [*stamp, actual]
    while len(memory) > _MAX_REMEMBERED:
        del memory[next(iter(memory))]
    # A cache folder that cannot be written costs time at the next start, nothing else.
    with suppress(OSError):
        cache_home.mkdir(parents=True, exist_ok=True)
        write_record(file, MEMORY, memory)
    return actual


def check_sha256(path: Path, expected: str, cache_home: Path, advice: str) -> None:
    """Raise `ModelFormatError` unless the file's sha256 is `expected`."""
    actual = remembered_sha256(path, cache_home)
    if actual != expected:
        raise ModelFormatError(
            f"{path} is not the file it should be: its sha256 is {actual}, expected {expected}; {advice}"
        )
