"""Whether looking for changed files is cheap enough to do before a search, told without looking.

The last look's time is kept in `check.json`, which may be deleted at any time; where there is none, the
number of files tells.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from turboprop.code.read import read_source
from turboprop.code.walk import Skipped, SourceFile
from turboprop.types import IndexedFile

CHECK_FILE = "check.json"
BUDGET_SECONDS = 0.2
"""A search looks for changes first where that takes less."""

_START_SECONDS, _FILE_SECONDS = 0.02, 15e-6  # 5,000 files took 0.05 to 0.1 s, a third of it in git
_TOLD_FROM = 1.25
"""A time that differs by less from the one on record is not written again."""

FEW_FILES = 50
FEW_BYTES = 500_000
"""Changes that a search brings in without being asked: about a second's work with the default model."""


def expected_seconds(directory: Path, files: int) -> float:
    """How long a look at so many files will take here."""
    recorded = _recorded(directory)
    if recorded is not None and 0.5 <= (files + 1) / (recorded[0] + 1) <= 2:
        return recorded[1]
    return _START_SECONDS + files * _FILE_SECONDS


def note_seconds(directory: Path, files: int, seconds: float) -> None:
    """Record how long a look took; where the folder may not be written, nothing is."""
    recorded = _recorded(directory)
    if recorded is not None and 1 / _TOLD_FROM < (seconds + 0.01) / (recorded[1] + 0.01) < _TOLD_FROM:
        return
    path = directory / CHECK_FILE
    # A reader that meets a half-written one takes the estimate; a rename would cost more than it saves.
    with contextlib.suppress(OSError):
        path.write_text(json.dumps({"files": files, "seconds": round(seconds, 4)}), "ascii")


def differing(
    files: Sequence[SourceFile], known: Mapping[str, IndexedFile], left_out: Collection[str], max_filesize: int
) -> list[SourceFile]:
    """Of files whose size or time changed, those whose bytes did: a checkout or `touch` changes times alone."""
    found = []
    for file in files:
        source = read_source(file, max_filesize=max_filesize)
        record = known.get(file.path)
        if isinstance(source, Skipped):
            changed = record is not None or file.path not in left_out
        else:
            changed = record is None or source.digest != record.digest
        if changed:
            found.append(file)
    return found


def are_few(files: Sequence[SourceFile]) -> bool:
    """Whether a search may bring so many changes in without being asked."""
    return len(files) <= FEW_FILES and sum(file.size for file in files) <= FEW_BYTES


def _recorded(directory: Path) -> tuple[int, float] | None:
    try:
        with open(directory / CHECK_FILE, "rb") as stream:
            values = json.loads(stream.read(1_000))
        files, seconds = values["files"], values["seconds"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if not isinstance(files, int) or not isinstance(seconds, int | float) or files < 0 or not 0 <= seconds < 3600:
        return None
    return files, float(seconds)


def is_writable(directory: Path) -> bool:
    """Whether a writer could be at work there at all."""
    return os.access(directory, os.W_OK)
