"""`writer.json`: who writes an index, and the second lock where the first one ends at the machine.

A network file system that is mounted without locks grants `flock` to every machine. So whoever holds the lock also
writes this file, with a word that nobody else has, and touches it every second. A writer that finds another's file
waits until it is touched, and is refused then; one that stays as it is for `SILENT_SECONDS` is of a writer that was
killed. No clock is compared with another machine's. Where the lock is known to reach (the same system, the writer's
process is gone) nothing is waited for. Before each step that others would see, a writer reads whether the word is still
its own: one that slept while another took over publishes nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from turboprop.errors import IndexBusyError
from turboprop.files import NotRegularFileError, create_file, open_regular, remove_any, replace_file

HOLDER_FILE = "writer.json"
BEAT_SECONDS = 1.0
SILENT_SECONDS = 5.0
"""How long a file must stay untouched before its writer counts as dead."""
SETTLE_SECONDS = 1.0
"""What a writer waits after it has taken over: for another one that did the same, and for a step that the one before
began when the file was still its own. Naming a version, the last of them, takes some ten milliseconds."""
_LOOK_SECONDS = 0.1
_LARGEST = 10_000
_LATEST = 1e11
"""Seconds since the epoch that every calendar has."""
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}")


@dataclass(frozen=True, slots=True)
class Holder:
    """A writer. `system` tells one running system from another, a reboot included; `since` in seconds of its clock."""

    pid: int
    host: str
    system: str
    word: str
    since: float

    @classmethod
    def of_this_process(cls) -> Holder:
        """With a new word."""
        return cls(os.getpid(), socket.gethostname(), _system(), secrets.token_hex(16), time.time())

    def __str__(self) -> str:
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} on {self.host} since {since}"

    def is_gone(self) -> bool:
        """Whether it ran on this system and does not any more; False where that cannot be told."""
        if (self.host, self.system) != (socket.gethostname(), _system()):
            return False
        if os.name == "nt":  # locks reach everywhere there, and signal 0 would end the process
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


class Claim:
    """The file, held: made by `take`, touched until `release`."""

    def __init__(self, path: Path, holder: Holder) -> None:
        self._path = path
        self._holder = holder
        self._done = threading.Event()
        self._descriptor: int | None = None
        if os.utime in os.supports_fd:  # by the descriptor, so that never another's file is touched
            with contextlib.suppress(OSError):
                self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor is not None:
            threading.Thread(target=self._beat, args=(self._descriptor,), name="writer-beat", daemon=True).start()

    @classmethod
    def take(cls, path: Path) -> Claim:
        """Hold the file. Raises `IndexBusyError`, naming who has it, and `OSError` where it cannot be written."""
        mine = Holder.of_this_process()
        content = json.dumps(asdict(mine)).encode()
        while True:
            try:
                create_file(path, content)
                return cls(path, mine)
            except FileExistsError:
                pass
            found = read_holder(path)
            gone = found is not None and found.is_gone()
            if not gone and not _is_silent(path, found):
                continue  # it ended meanwhile
            if path.is_dir() and not path.is_symlink():
                remove_any(path)
            replace_file(path, content)
            claim = cls(path, mine)
            if not gone:
                time.sleep(SETTLE_SECONDS)
                try:
                    claim.check()
                except IndexBusyError:
                    claim.release()
                    raise
            return claim

    def check(self) -> None:
        """Raise `IndexBusyError` where the file is no longer ours, and `OSError` where that cannot be told.

        A file that is gone counts as another's: that one has taken over, published and ended.
        """
        found = read_holder(self._path)
        if found is None or found.word != self._holder.word:
            raise IndexBusyError(
                f"{found or 'another process'} has taken over the index in {self._path.parent}, so this run has "
                "stopped; what it had published stays. Locks in this folder do not reach from one machine to another: "
                "run again when that one has ended, or put the index on a local disk with --index DIR"
            )

    def release(self) -> None:
        """Remove the file, if it is still ours; a second call does nothing."""
        self._done.set()
        with contextlib.suppress(OSError):
            found = read_holder(self._path)
            if found is not None and found.word == self._holder.word:
                self._path.unlink()

    def _beat(self, descriptor: int) -> None:
        try:
            while not self._done.wait(BEAT_SECONDS):
                with contextlib.suppress(OSError):
                    os.utime(descriptor)
        finally:
            os.close(descriptor)


def read_holder(path: Path) -> Holder | None:
    """Who holds the file; None where nobody does or it does not say so in a way that can be understood.

    Raises `OSError` where a file is there and cannot be read.
    """
    try:
        with open_regular(path) as stream:
            values = json.loads(stream.read(_LARGEST))
        holder = Holder(
            int(values["pid"]), str(values["host"]), str(values["system"]), str(values["word"]), float(values["since"])
        )
    except (FileNotFoundError, NotRegularFileError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    # What stands there may have come with a repository, and is printed.
    sound = 0 < holder.pid < 1 << 31 and 0 <= holder.since < _LATEST and _HOST.fullmatch(holder.host)
    return holder if sound else None


def _is_silent(path: Path, found: Holder | None) -> bool:
    """Whether nobody touches the file for `SILENT_SECONDS`; False where it has gone meanwhile.

    Raises `IndexBusyError` once it is touched.
    """
    before = _touched(path)
    until = time.monotonic() + SILENT_SECONDS
    while before is not None and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
        now = _touched(path)
        if now is not None and now != before:
            raise IndexBusyError(
                f"the index in {path.parent} is being written by {read_holder(path) or found or 'another process'}. "
                "Wait for it to end, or stop it, and run again; searching works meanwhile"
            )
        before = now
    return before is not None


def _touched(path: Path) -> tuple[int, int] | None:
    """What changes with each touch; None where there is no file.

    Opened and asked then, because a network file system answers for a name from memory.
    """
    try:
        try:
            with open_regular(path) as stream:
                found = os.fstat(stream.fileno())
        except NotRegularFileError:
            found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _system() -> str:
    """Empty where the system does not tell: then its name alone counts."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
