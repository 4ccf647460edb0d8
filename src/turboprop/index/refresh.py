"""Whether looking for changed files is cheap enough to do before a search, told without looking.

The times of the last two looks are kept in `check.json`, which may be deleted at any time; where there is none,
the number of files tells.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from turboprop.code.walk import SourceFile
from turboprop.files import open_regular, replace_file

CHECK_FILE = "check.json"
BUDGET_SECONDS = 0.2
"""A search looks for changes first where that takes less."""

_START_SECONDS, _FILE_SECONDS = 0.02, 15e-6  # 5,000 files took 0.05 to 0.1 s, a third of it in git
_TOLD_FROM = 1.25
"""A time that differs by less from the one on record is not written again."""

_AGAIN_SECONDS = 300.0
"""After so long a look is tried again where the last ones were too slow: a busy machine or a cold disk may have been
the reason, and nobody would find out that it is over."""

SMALL = 500
"""Files up to which a search looks for changes whatever the last looks took: of so few it takes 0.1 s on a quiet
machine, and a busy one is no reason for an answer that is out of date."""

FEW_FILES = 50
FEW_BYTES = 500_000
"""Changes that a search brings in without being asked: about a second's work with the default model."""
MOST_FILES = 1_000
MOST_BYTES = 8_000_000
"""Files that are read to see whether they changed at all: 0.1 s on two cores. A checkout changes the times of many,
and one that was indexed within two seconds of its last change is not told from its time."""


@dataclass(frozen=True, slots=True)
class _Looks:
    """The last look, over how many files, the one before, and how many seconds ago that was written."""

    files: int
    seconds: float
    before: float
    age: float


def expected_seconds(directory: Path, files: int) -> float:
    """How long a look at so many files will take here: the faster one of the last two, as one may meet a burst of
    other work. Of up to `SMALL` files their number alone tells."""
    looks = _recorded(directory) if files > SMALL else None
    if looks is not None and 0.5 <= (files + 1) / (looks.files + 1) <= 2:
        seconds = min(looks.seconds, looks.before)
        if seconds <= BUDGET_SECONDS or looks.age < _AGAIN_SECONDS:
            return seconds
    return _START_SECONDS + files * _FILE_SECONDS


def note_seconds(directory: Path, files: int, seconds: float) -> None:
    """Record how long a look took; where the folder may not be written, or nobody asks the record, nothing is."""
    if files <= SMALL:
        return
    looks = _recorded(directory)
    before = seconds if looks is None else looks.seconds
    if looks is not None and seconds <= BUDGET_SECONDS and _alike(seconds, looks.seconds, looks.before):
        return
    path = directory / CHECK_FILE
    with contextlib.suppress(OSError):
        values = {"files": files, "seconds": round(seconds, 4), "before": round(before, 4)}
        replace_file(path, json.dumps({**values, "sum": _sum(values)}).encode("ascii"))


def is_sound(directory: Path) -> bool:
    """Whether the record of looks, where there is one, is as it was written; one that is not counts as none."""
    return not os.path.lexists(directory / CHECK_FILE) or _recorded(directory) is not None


def _sum(values: Mapping[str, object]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(values, sort_keys=True).encode())


def _alike(*seconds: float) -> bool:
    return max(seconds) + 0.01 < _TOLD_FROM * (min(seconds) + 0.01)


def are_few(files: Sequence[SourceFile]) -> bool:
    """Whether a search may bring so many changes in without being asked."""
    return len(files) <= FEW_FILES and sum(file.size for file in files) <= FEW_BYTES


def may_be_read(files: Sequence[SourceFile]) -> bool:
    """Whether a look may read so many files to see whether they changed."""
    return len(files) <= MOST_FILES and sum(file.size for file in files) <= MOST_BYTES


def _recorded(directory: Path) -> _Looks | None:
    try:
        with open_regular(directory / CHECK_FILE) as stream:
            values = json.loads(stream.read(1_000))
            age = abs(time.time() - os.fstat(stream.fileno()).st_mtime)  # a clock may have been set back
        files, seconds, before = values["files"], values["seconds"], values["before"]
        if values.pop("sum") != _sum(values):
            return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not isinstance(files, int) or files < 0:
        return None
    if not all(isinstance(value, int | float) and 0 <= value < 3600 for value in (seconds, before)):
        return None
    return _Looks(files, float(seconds), float(before), age)


def is_writable(directory: Path) -> bool:
    """Whether a writer could be at work there at all."""
    return os.access(directory, os.W_OK)
