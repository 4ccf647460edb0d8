"""A broken download goes on where it ended, and writes to no file but its own."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from turboprop.models.hub.files import RemoteFile
from turboprop.models.hub.partial import PartialFile, WrongBytesError
from turboprop.progress import Transfers

CONTENT = bytes(range(256)) * 40
FILE = RemoteFile("model.safetensors", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def fetched(path: Path) -> int:
    """Bring the rest; returns how many bytes were there."""
    partial = PartialFile(path, FILE, Transfers(None))
    try:
        there = partial.position
        partial.write(CONTENT[there:])
        partial.check()
    finally:
        partial.close()
    return there


def test_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.incomplete"
    path.write_bytes(CONTENT[:4_000])
    assert fetched(path) == 4_000
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe"])
def test_what_is_not_its_own_is_never_written_to(tmp_path: Path, kind: str) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a.incomplete"
    victim.write_bytes(CONTENT[:100])
    match kind:
        case "link":
            path.symlink_to(victim)
        case "dangling link":
            path.symlink_to(tmp_path / "not there")
        case "hard link":
            path.hardlink_to(victim)
        case "pipe":
            os.mkfifo(path)
    assert fetched(path) == 0
    assert path.read_bytes() == CONTENT
    assert not path.is_symlink()
    assert victim.read_bytes() == CONTENT[:100]
    assert not (tmp_path / "not there").exists()


def test_wrong_bytes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.incomplete"
    path.write_bytes(b"\xff" + CONTENT[1:4_000])
    with pytest.raises(WrongBytesError):
        fetched(path)
