"""Which repositories' settings files the user trusts: by path and by the hash of what stood in them.

`trusted.json` in the user's data folder: {"<path of the file>": {"sha256": ..., "granted": seconds}}.
A file that changed since has to be trusted again; so has a copy at another path. What is damaged trusts nothing.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from turboprop.errors import SettingsError
from turboprop.settings.project import ProjectFile
from turboprop.settings.records import RecordError, examine_record, read_record, write_record
from turboprop.types import CacheFault

FILE = "trusted.json"
_RECORD = "trust"


@dataclass(frozen=True, slots=True)
class TrustedFile:
    """A settings file that was trusted as it was then; `granted` in seconds since the epoch."""

    path: Path
    sha256: str
    granted: float


def is_trusted(data_home: Path, file: ProjectFile) -> bool:
    """Whether the user trusts the file as it is now."""
    known = _read(data_home).get(_name(file.path))
    return known is not None and known.sha256 == file.sha256


def grant(data_home: Path, file: ProjectFile) -> None:
    """Trust the file as it was read. Raises `SettingsError` where that cannot be recorded."""
    files = _read(data_home)
    files[_name(file.path)] = TrustedFile(file.path, file.sha256, time.time())
    _write(data_home, files)


def revoke(data_home: Path, path: Path) -> bool:
    """Trust the file no longer; returns whether it was trusted."""
    files = _read(data_home)
    if files.pop(_name(path), None) is None:
        return False
    _write(data_home, files)
    return True


def trusted_files(data_home: Path) -> list[TrustedFile]:
    """What was trusted, by path; the files may have changed or be gone."""
    return [file for _, file in sorted(_read(data_home).items())]


def _name(path: Path) -> str:
    """The same file by another way to its folder is the same."""
    return str(path.parent.resolve() / path.name)


def examine_trust(data_home: Path) -> list[CacheFault]:
    """What is wrong with the record, if anything."""
    return examine_record(data_home / FILE, _RECORD, "nothing is trusted until it is removed and granted again")


def _read(data_home: Path) -> dict[str, TrustedFile]:
    """A record that cannot be read trusts nothing."""
    files: dict[str, TrustedFile] = {}
    with contextlib.suppress(OSError, RecordError):
        for name, entry in read_record(data_home / FILE, _RECORD).items():
            with contextlib.suppress(KeyError, TypeError, ValueError):
                files[name] = TrustedFile(Path(name), str(entry["sha256"]), float(entry["granted"]))
    return files


def _write(data_home: Path, files: dict[str, TrustedFile]) -> None:
    values = {name: {"sha256": file.sha256, "granted": file.granted} for name, file in files.items()}
    try:
        data_home.mkdir(parents=True, exist_ok=True)
        write_record(data_home / FILE, _RECORD, values, mode=0o600)
    except OSError as error:
        raise SettingsError(f"{data_home / FILE} cannot be written: {error.strerror}") from error
