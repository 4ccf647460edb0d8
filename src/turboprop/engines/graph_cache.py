"""Converted weights on disk: written once, atomically, checked on every opening, mapped into memory.

Those of one model in one format lie in `<cache>/graphs/<key>/`: the engine's files and `graph.json` (what they were
made from, and the xxh3-128 of each). The key covers everything that decides them, so nothing is ever updated in place
and anything here may be deleted. It is compared with what the folder says that it was made from: one that lies under
another's name has the right checksums and the wrong weights. Whoever writes one removes those of the same model that an
older version made, those of an engine that is no more, and what processes that were killed left unfinished.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import xxhash

from turboprop.files import open_regular, remove_any
from turboprop.settings.records import ABANDONED_SECONDS, RecordError, read_record, write_record
from turboprop.types import CacheFault

_ABOUT = "graph.json"
_FOLDER = "graphs"
_UNFINISHED = ".new-"
_KEY = re.compile(r"[0-9a-f]{32}")
_BLOCK = 1 << 22
_VERSION = "layout"
"""The part that counts up."""
_FORMER = "openvino"
"""A part of what earlier versions made for an engine that is no more."""
SUBJECT = "converted model"


@dataclass(frozen=True, slots=True)
class ConvertedStats:
    """What is kept of converted models; `bytes` on disk."""

    path: Path
    models: int
    bytes: int


def cache_key(parts: Mapping[str, object]) -> str:
    """A folder name from everything that matters, the same for what is read again from JSON."""
    plain = json.loads(json.dumps(parts, default=str))
    return xxhash.xxh3_128_hexdigest(json.dumps(plain, sort_keys=True).encode())


def cached_files(
    cache_home: Path, parts: Mapping[str, object], files: tuple[str, ...], write: Callable[[Path], None]
) -> Path:
    """The folder that holds `files` for `parts`; `write(folder)` makes them where they are missing or damaged.

    Every byte is compared with the checksums (about 0.1 s for each gigabyte that is in memory already).
    Raises OSError when the cache cannot be written; the caller can then go on without one.
    """
    graphs = cache_home / _FOLDER
    place = graphs / cache_key(parts)
    if _is_whole(place, files):
        return place
    graphs.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=graphs))
    try:
        write(temporary)
        about = {"made_from": dict(parts), "xxh3": {name: _digest(temporary / name) for name in files}}
        write_record(temporary / _ABOUT, SUBJECT, about)
        _put_in_place(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if not _is_whole(place, files):  # neither ours nor one that another process has just made
        raise OSError(f"{place} cannot be replaced")
    _tidy(graphs, parts)
    return place


def _put_in_place(folder: Path, place: Path) -> None:
    """Give a finished folder its name, whatever lies there. Where another process wins the race, its files stay."""
    with suppress(OSError):
        remove_any(place)
    with suppress(OSError):
        folder.rename(place)


def _tidy(graphs: Path, made_from: Mapping[str, object]) -> None:
    for folder in _folders(graphs):
        if folder.name.startswith(_UNFINISHED):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
        elif _is_older(_made_from(folder), made_from):
            shutil.rmtree(folder, ignore_errors=True)


def _folders(graphs: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (entry for entry in graphs.iterdir() if entry.is_dir() and not entry.is_symlink())


def _ours(graphs: Path) -> list[Path]:
    """The folders that were made here, for a user may keep others beside them; none where `graphs` is a link."""
    if graphs.is_symlink():
        return []
    return [
        folder
        for folder in _folders(graphs)
        if folder.name.startswith(_UNFINISHED) or (_KEY.fullmatch(folder.name) and (folder / _ABOUT).is_file())
    ]


def _made_from(folder: Path) -> Mapping[str, object]:
    """Empty where it does not say so."""
    try:
        found = read_record(folder / _ABOUT, SUBJECT).get("made_from")
    except (OSError, RecordError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_older(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Whether both are of the same model and form, and `one` of an earlier version, or of an engine that is no more."""

    def same(parts: Mapping[str, object]) -> str:
        return json.dumps({**parts, _VERSION: ""}, sort_keys=True, default=str)

    if _FORMER in one:
        return True
    first, second = one.get(_VERSION), other.get(_VERSION)
    return isinstance(first, int) and isinstance(second, int) and first < second and same(one) == same(other)


def converted_stats(cache_home: Path) -> ConvertedStats:
    """How many converted models are kept, and what they take with those left unfinished."""
    folders = _ours(cache_home / _FOLDER)
    models = sum((folder / _ABOUT).is_file() for folder in folders)
    return ConvertedStats(cache_home / _FOLDER, models, sum(map(_size, folders)))


def clear_converted(cache_home: Path) -> int:
    """Remove them and nothing else; how many bytes that freed. Processes that run one keep it until they end."""
    freed = 0
    for folder in _ours(cache_home / _FOLDER):
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


def examine_converted(cache_home: Path) -> list[CacheFault]:
    """Everything that is wrong with the converted models. Each goes when its path is removed, and is made again.

    Reads every byte; changes nothing.
    """
    graphs = cache_home / _FOLDER
    faults: list[CacheFault] = []
    try:
        entries = sorted(graphs.iterdir())
    except FileNotFoundError:
        entries = []
        if graphs.is_symlink():
            faults.append(CacheFault(SUBJECT, f"{graphs.name} is a link that leads nowhere", graphs))
    except OSError as error:
        return [CacheFault(SUBJECT, f"{graphs.name} cannot be read: {error.strerror or error}", graphs)]
    for entry in entries:
        if entry.name.startswith(_UNFINISHED):
            if _is_abandoned(entry):
                faults.append(CacheFault("leftover", f"{entry.name} is of a process that was killed", entry))
        elif not _is_folder(entry):
            faults.append(CacheFault(SUBJECT, f"{entry.name} is no folder", entry))
        elif problem := _problem(entry, _listed(entry)):
            faults.append(CacheFault(SUBJECT, f"{_name_of(entry)}: {problem}", entry))
        else:
            faults += _inside(entry, _listed(entry))
    return faults


def _inside(folder: Path, files: Collection[str]) -> Iterator[CacheFault]:
    """What lies beside the files of a sound folder."""
    entries: list[Path] = []
    with suppress(OSError):
        entries = sorted(folder.iterdir())
    for entry in entries:
        if entry.name not in files and entry.name != _ABOUT:
            yield CacheFault(SUBJECT, f"{_name_of(folder)}: {entry.name} does not belong there", entry)


def _listed(folder: Path) -> Collection[str]:
    """The files that a folder says it holds."""
    try:
        found = read_record(folder / _ABOUT, SUBJECT).get("xxh3")
    except (OSError, RecordError):
        return ()
    return found if isinstance(found, dict) else ()


def _name_of(folder: Path) -> str:
    made_from = _made_from(folder)
    return f"{made_from.get('family', 'a model')} in {made_from.get('format', 'some form')} ({folder.name[:8]})"


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _is_abandoned(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > ABANDONED_SECONDS
    except OSError:
        return False


def _is_whole(place: Path, files: Collection[str]) -> bool:
    return _is_folder(place) and not _problem(place, files)


def _problem(place: Path, files: Collection[str]) -> str:
    """What is wrong with a folder that should hold `files`."""
    try:
        about = read_record(place / _ABOUT, SUBJECT)
        digests = about["xxh3"]
        if cache_key(about["made_from"]) != place.name:
            return "it is another's"
        if not files or set(digests) != set(files):
            return f"{_ABOUT} lists other files"
        damaged = sorted(name for name in files if _digest(place / name) != digests[name])
    except (OSError, RecordError, KeyError, TypeError) as error:
        return str(error) or type(error).__name__
    return f"{', '.join(damaged)} is not what was written" if damaged else ""


def _digest(path: Path) -> str:
    """The xxh3-128 of a file, in hex. Raises `OSError`, for a link and a pipe too."""
    hashed = xxhash.xxh3_128()
    buffer = memoryview(bytearray(_BLOCK))
    with open_regular(path) as file:
        while count := file.readinto(buffer):
            hashed.update(buffer[:count])
    return hashed.hexdigest()
