"""What the user trusts: settings files and indexes that came from elsewhere, and by a key, what was made here.

`trusted.json` in the user's data folder: {"<path of the file>": {"sha256": ..., "granted": seconds}}.
A file that changed since has to be trusted again; so has a copy at another path. What is damaged trusts nothing.

`index-<user>.key` there holds 32 random bytes, which only the user can read, and a digest of them. An index carries a
signature made with them, so one that came with a repository cannot pass for one of this user.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from turboprop.errors import SettingsError
from turboprop.files import UNFINISHED, open_regular, replace_file
from turboprop.settings.records import RecordError, examine_record, read_record, write_record
from turboprop.types import CacheFault

FILE = "trusted.json"
_RECORD = "trust"
SIGNATURE_DIGITS = 32
_KEY_BYTES, _CHECK_BYTES = 32, 8


@dataclass(frozen=True, slots=True)
class TrustedFile:
    """A file that was trusted as it was then; `granted` in seconds since the epoch."""

    path: Path
    sha256: str
    granted: float


def is_trusted(data_home: Path, path: Path, sha256: str) -> bool:
    """Whether the user trusts the file at `path` with the content of that hash."""
    known = trusted_file(data_home, path)
    return known is not None and known.sha256 == sha256


def trusted_file(data_home: Path, path: Path) -> TrustedFile | None:
    """What was trusted at `path`, which may have changed since."""
    return _read(data_home).get(_name(path))


def grant(data_home: Path, path: Path, sha256: str) -> None:
    """Trust the file as it was read. Raises `SettingsError` where that cannot be recorded."""
    files = _read(data_home)
    files[_name(path)] = TrustedFile(path, sha256, time.time())
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


def key_file(data_home: Path) -> Path:
    """Where this user's key lies; users who share a data folder have a key each."""
    return data_home / (f"index-{os.getuid()}.key" if hasattr(os, "getuid") else "index.key")


def sign(data_home: Path, content: bytes) -> str:
    """The signature of `content`, 32 hex digits: keyed BLAKE2b. The first one makes the user's key.

    Raises `SettingsError` where there is no key and none can be kept.
    """
    path = key_file(data_home)
    key = _read_key(path) or _make_key(path)
    return _signature(key, content)


def is_signed(data_home: Path, content: bytes, signature: str) -> bool:
    """Whether this user signed `content`; without a key nobody has signed anything."""
    key = _read_key(key_file(data_home))
    return key is not None and hmac.compare_digest(_signature(key, content).encode(), signature.encode())


def _signature(key: bytes, content: bytes) -> str:
    return hashlib.blake2b(content, key=key, digest_size=SIGNATURE_DIGITS // 2).hexdigest()


def _read_key(path: Path) -> bytes | None:
    """The key; None where there is none, or one that others could have read, or made."""
    try:
        with open_regular(path) as stream:
            status = os.fstat(stream.fileno())
            key = stream.read(_KEY_BYTES + _CHECK_BYTES + 1)
    except OSError:
        return None
    if hasattr(os, "getuid") and (status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077):
        return None
    return key[:_KEY_BYTES] if key == _kept(key[:_KEY_BYTES]) else None


def _kept(key: bytes) -> bytes:
    """What stands in the file: the key and a digest, so that a flipped bit is seen and makes no index a stranger's."""
    return key + hashlib.blake2b(key, digest_size=_CHECK_BYTES).digest()


def _make_key(path: Path) -> bytes:
    """Of two first runs at once both take the key that was there first."""
    beside = path.with_name(f"{UNFINISHED}{os.urandom(8).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(beside, _kept(os.urandom(_KEY_BYTES)), mode=0o600, durable=True)
        try:
            os.link(beside, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            beside.replace(path)
        beside.unlink(missing_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{path}, by which an index of yours is told from one that came with a repository, cannot be written: "
            f"{error.strerror}. Change the folder's permissions, or set TP_HOME to another folder"
        ) from error
    if (key := _read_key(path)) is None:
        raise SettingsError(
            f"{path} is no key that this user alone can read. Remove it (indexes are then made anew), or set "
            "TP_HOME to another folder"
        )
    return key


def _name(path: Path) -> str:
    """The same file by another way to its folder is the same."""
    return str(path.parent.resolve() / path.name)


def examine_trust(data_home: Path) -> list[CacheFault]:
    """What is wrong with the record and with the key, if anything."""
    loss = "nothing is trusted until it is removed and granted again"
    faults = examine_record(data_home / FILE, _RECORD, loss, follow=True)
    key = key_file(data_home)
    if os.path.lexists(key) and _read_key(key) is None:
        lost = "without it indexes of before count as somebody else's, and are made anew with tp index --rebuild"
        faults.append(CacheFault("key", f"{key} is damaged, or no file that this user alone can read; {lost}", key))
    return faults


def _read(data_home: Path) -> dict[str, TrustedFile]:
    """A record that cannot be read trusts nothing."""
    files: dict[str, TrustedFile] = {}
    with contextlib.suppress(OSError, RecordError):
        for name, entry in read_record(data_home / FILE, _RECORD, follow=True).items():
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
