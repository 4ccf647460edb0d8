"""Small records of ours in JSON: written in one step, and read only where they are what was written.

A record has a `check` beside its values, the CRC-32 of them and of what it is a record of: a bit that flips inside of
a hash or a path leaves valid JSON that says something else, and so does a file under another's name. One without a
check was written by an older version and is read as it is. A CRC protects from accidents. Whoever may write the file
may write the check too.
"""

from __future__ import annotations

import contextlib
import json
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turboprop.files import UNFINISHED, open_regular, replace_file
from turboprop.types import CacheFault

_CHECK = "check"
_LARGEST = 16_000_000
"""Bytes that are read: the largest record lists the files of one model, some hundred kB."""

ABANDONED_SECONDS = 86_400
"""After which an unfinished file has nobody who works on it: the longest conversion that was seen took 3 minutes."""


class RecordError(ValueError):
    """The content of a record is not what was written."""


def read_record(path: Path, of: str, *, follow: bool = False) -> dict[str, Any]:
    """The values of a record of `of`, the words it was written with; a link is followed only with `follow`.

    Raises `RecordError`, and `OSError` where it is missing, a link or no file.
    """
    with open_regular(path, follow=follow) as stream:
        data = stream.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise RecordError(f"{path} has more than {_LARGEST:,} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise RecordError(f"{path} holds no values")
    check = found.pop(_CHECK, None)
    if check is not None and check != _check_of(found, of):
        raise RecordError(f"{path} has another content than was written")
    return found


def write_record(path: Path, of: str, values: Mapping[str, Any], *, mode: int = 0o666) -> None:
    """Put a record in the place of the one before. Values that JSON does not know become texts. Raises `OSError`."""
    plain = json.loads(json.dumps(values, default=str))
    text = json.dumps({**plain, _CHECK: _check_of(plain, of)}, indent=1)
    replace_file(path, text.encode("ascii") + b"\n", mode=mode)


def examine_record(path: Path, of: str, loss: str, *, follow: bool = False) -> list[CacheFault]:
    """What is wrong with the record of `of`, if anything; `loss` says what it costs until it is removed."""
    try:
        read_record(path, of, follow=follow)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [CacheFault(of, f"{path.name} cannot be read: {error.strerror or error}; {loss}", path)]
    except RecordError:
        return [CacheFault(of, f"{path.name} is damaged; {loss}", path)]
    return []


def examine_leftovers(folder: Path) -> list[CacheFault]:
    """What processes that were killed left half written in a folder, once nobody can be at it any more."""
    found = []
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            if entry.name.startswith(UNFINISHED) and time.time() - entry.lstat().st_mtime > ABANDONED_SECONDS:
                found.append(CacheFault("leftover", f"{entry.name} is of a process that was killed", entry))
    return found


def _check_of(values: Mapping[str, Any], of: str) -> str:
    return f"{zlib.crc32(json.dumps([of, values], sort_keys=True).encode('ascii')):08x}"
