"""Converted graphs on disk: written once, atomically, checked on every opening, mapped into memory.

Each lies in `<cache>/graphs/<key>/`: `graph.xml`, `graph.bin` (the weights in the engine's format) and
`graph.json` (what it was made from, and the xxh3-128 of both files). The key covers everything that
decides the graph, so nothing is ever updated in place and anything here may be deleted. Whoever writes one removes
those of the same model that an older version made, and what processes that were killed left unfinished.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import xxhash

GRAPH = "graph.xml"
_FILES = (GRAPH, "graph.bin")
_ABOUT = "graph.json"
_FOLDER = "graphs"
_UNFINISHED = ".new-"
_BLOCK = 1 << 22
_VERSIONS = ("graph", "layout")
"""Parts that count up; "openvino" is one that names a version without an order."""
_ABANDONED_SECONDS = 86_400
"""After which an unfinished folder has nobody who works on it: the longest conversion that was seen took 3 minutes."""


@dataclass(frozen=True, slots=True)
class ConvertedStats:
    """What is kept of converted models; `bytes` on disk."""

    path: Path
    models: int
    bytes: int


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
    graphs = cache_home / _FOLDER
    place = graphs / cache_key(parts)
    if _is_whole(place, files, check):
        return place
    graphs.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=graphs))
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
    _tidy(graphs, parts)
    return place


def _tidy(graphs: Path, made_from: Mapping[str, object]) -> None:
    for folder in _folders(graphs):
        if folder.name.startswith(_UNFINISHED):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
        elif _is_older(_made_from(folder), made_from):
            shutil.rmtree(folder, ignore_errors=True)


def _folders(graphs: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (entry for entry in graphs.iterdir() if entry.is_dir() and not entry.is_symlink())


def _made_from(folder: Path) -> Mapping[str, object]:
    """Empty where it does not say so."""
    try:
        found = json.loads((folder / _ABOUT).read_bytes())["made_from"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_older(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Whether both are of the same model and form, and `one` of an earlier version."""

    def same(parts: Mapping[str, object]) -> str:
        unversioned = {**parts, **{name: "" for name in (*_VERSIONS, "openvino") if name in parts}}
        return json.dumps(unversioned, sort_keys=True, default=str)

    def version(parts: Mapping[str, object]) -> list[int]:
        return [number for name in _VERSIONS if isinstance(number := parts.get(name), int)]

    return bool(one) and same(one) == same(other) and version(one) < version(other)


def converted_stats(cache_home: Path) -> ConvertedStats:
    """How many converted models are kept, and what they take with those left unfinished."""
    folders = list(_folders(cache_home / _FOLDER))
    models = sum((folder / _ABOUT).is_file() for folder in folders)
    return ConvertedStats(cache_home / _FOLDER, models, sum(map(_size, folders)))


def clear_converted(cache_home: Path) -> int:
    """Remove all of them; how many bytes that freed. Processes that run one keep it until they end."""
    freed = 0
    for folder in _folders(cache_home / _FOLDER):
        size = _size(folder)
        shutil.rmtree(folder, ignore_errors=True)
        freed += size - _size(folder)
    return freed


def _size(folder: Path) -> int:
    size = 0
    with suppress(OSError):
        for file in folder.rglob("*"):
            with suppress(OSError):
                size += file.lstat().st_size if file.is_file() else 0
    return size


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
