"""What worker processes leave behind, seen from outside."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest


def processes_of_session(session: int) -> list[int]:
    """Living processes that a worker started, itself included: it leads a session of its own."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(after_name[3]) == session and after_name[0] != "Z":
                found.append(int(entry.name))
    return found


def wait_until_gone(session: int, folder: Path | None = None) -> None:
    """Wait for the guard of a worker that was killed to do its work; it has no event that we could wait for."""
    for _ in range(600):
        if not processes_of_session(session) and (folder is None or not folder.exists()):
            return
        time.sleep(0.05)
    pytest.fail(f"left behind: {processes_of_session(session)} {folder or ''}")


def private_folders() -> set[str]:
    """Folders of child processes of this one in the temporary folder."""
    return {path.name for path in Path(tempfile.gettempdir()).glob(f"turboprop-{os.getpid()}-*")}
