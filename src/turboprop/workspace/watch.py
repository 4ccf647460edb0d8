"""Keeping an index up to date while files change."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from turboprop.errors import IndexBusyError, TurboPropError
from turboprop.types import IndexSummary
from turboprop.workspace.index import Index

DEBOUNCE_MS = 600
"""Changes are waited for until nothing has changed for so long: a save is several writes, a checkout thousands."""
LONGEST_WAIT_MS = 10_000
"""Something that writes without end does not put the index off for longer."""
POLL_MS = 2_000
_BUSY_SECONDS = 2.0
_FIRST_MS = 500
_UNWATCHED = {".turboprop", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".mypy_cache", ".pytest_cache"}
_GIT_FILES = ("HEAD", "index", "info/exclude")
"""What of `.git` says that another branch is checked out or other rules hold; the rest of it changes for ever."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One event: `summary` of a run that was done, or a `note` for the user."""

    summary: IndexSummary | None = None
    note: str = ""


def watch(index: Index, stop: threading.Event, *, force_polling: bool = False) -> Iterator[Watched]:
    """Bring an index up to date whenever its repository changes, until `stop` is set.

    Each batch of changes is looked at as `tp index` would, so that ignore rules, renames and branch switches need
    nothing of their own. Where the system allows no more watches the folder is polled, and a note says so. An
    index that another process writes is tried again; a run that fails is a note, and the next change a new try.
    """
    polling = force_polling
    while not stop.is_set():
        try:
            for _ in _changes(index.repo, stop, polling):
                yield from _update(index, stop)
            return
        except OSError as error:
            if polling:
                raise
            polling = True
            yield Watched(
                note=f"the system watches no more files ({error}); looking every {POLL_MS // 1000} s instead. "
                "On Linux `sysctl fs.inotify.max_user_watches` raises the limit"
            )


def _changes(root: Path, stop: threading.Event, polling: bool) -> Iterator[None]:
    """Once when the watch is set up, since nobody saw what changed before, and after every batch of changes."""
    import watchfiles

    top = str(root)
    first = True
    for changes in watchfiles.watch(
        root,
        watch_filter=lambda _, path: matters(os.path.relpath(path, top)),
        debounce=LONGEST_WAIT_MS,
        step=DEBOUNCE_MS,
        stop_event=stop,
        rust_timeout=_FIRST_MS,
        yield_on_timeout=True,
        force_polling=polling,
        poll_delay_ms=POLL_MS,
        raise_interrupt=True,
        ignore_permission_denied=True,
    ):
        if changes or first:
            yield None
        first = False


def matters(path: str) -> bool:
    """Whether a change at `path` (relative to the repository) can change what is indexed."""
    parts = Path(path).parts
    if not _UNWATCHED.isdisjoint(parts):
        return False
    if ".git" in parts:
        return "/".join(parts[parts.index(".git") + 1 :]) in _GIT_FILES
    return True


def _update(index: Index, stop: threading.Event) -> Iterator[Watched]:
    while not stop.is_set():
        before = index.reader.header.version
        try:
            summary = index.update()
        except IndexBusyError:
            if stop.wait(_BUSY_SECONDS):
                return
            continue
        except TurboPropError as error:
            yield Watched(note=str(error))
            return
        if index.reader.header.version != before:
            yield Watched(summary)
        return
