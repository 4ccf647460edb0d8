"""Converted graphs on disk: written once, atomically, checked on every opening, mapped into memory.

Each lies in `<cache>/graphs/<key>/`: `graph.xml`, `graph.bin` (the weights in the engine's format) and
`graph.json` (what it was made from, and the xxh3-128 of both files). The key covers everything that
decides the graph, so nothing is ever updated in place and anything here may be deleted.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import xxhash

GRAPH = "graph.xml"
_FILES = (GRAPH, "graph.bin")
_ABOUT = "graph.json"
_BLOCK = 1 << 22


def cache_key(parts: Mapping[str, object]) -> str:
    """A folder name from everything that matters."""
    return xxhash.xxh3_128_hexdigest(json.dumps(parts, sort_keys=True, default=str).encode())


def cached_graph(
    cache_home: Path, parts: Mapping[str, object], write: Callable[[Path], None], *, check: bool = True
) -> Path:
    """Path of the graph for `parts`; `write(path)` makes it where it is missing or damaged.

    `check` compares the checksums (about 0.1 s for each gigabyte that is in memory already).
    Raises OSError when the cache cannot be written; the caller can then go on without one.
    """
    return cached_files(cache_home, parts, _FILES, lambda folder: write(folder / GRAPH), check=check) / GRAPH


def cached_files(
    cache_home: Path,
    parts: Mapping[str, object],
    files: tuple[str, ...],
    write: Callable[[Path], None],
    *,
    check: bool = True,
) -> Path:
    """The folder that holds `files` for `parts`; `write(folder)` makes them where they are missing or damaged."""
    graphs = cache_home / "graphs"
    place = graphs / cache_key(parts)
    if _is_whole(place, files, check):
        return place
    graphs.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=graphs))
    try:
        write(temporary)
        about = {"made_from": dict(parts), "xxh3": {name: digest(temporary / name) for name in files}}
        (temporary / _ABOUT).write_text(json.dumps(about, indent=1, default=str), "utf-8")
        if place.exists():  # damaged, or just made by another process
            shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # the other process won the race; its files are the same
            temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place


def _is_whole(place: Path, files: tuple[str, ...], check: bool) -> bool:
    try:
        about = json.loads((place / _ABOUT).read_bytes())
        digests = about["xxh3"]
        return all((place / name).is_file() and (not check or digest(place / name) == digests[name]) for name in files)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def digest(path: Path) -> str:
    """The xxh3-128 of a file, in hex."""
    digest = xxhash.xxh3_128()
    buffer = memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()
