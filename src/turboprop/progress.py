"""What a download, a verification or a conversion tells while it runs. Nothing here draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock


@dataclass(frozen=True, slots=True)
class ModelProgress:
    """How far the files of a model are, in bytes. The first report of a piece of work has the sizes, the last one says
    that it has `ended`, well or not; both sizes are empty where only a message is told.

    `message` is something that the user should know: a wait, a retry, another process at work.
    """

    sizes: Mapping[str, int]
    done: Mapping[str, int]
    message: str = ""
    ended: bool = False

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(self.sizes.values())

    @property
    def done_bytes(self) -> int:
        """Of all files, so far."""
        return sum(self.done.values())


DownloadProgress = Callable[[ModelProgress], None]
"""Called from several threads, one call at a time; what it raises ends the work."""


class Transfers:
    """Adds up what threads did of a piece of work, and tells it."""

    def __init__(self, told: DownloadProgress | None) -> None:
        self._told = told
        self._lock = Lock()
        self._sizes: dict[str, int] = {}
        self._done: dict[str, int] = {}

    def start(self, sizes: Mapping[str, int]) -> None:
        """The files, with their sizes in bytes."""
        with self._lock:
            self._sizes, self._done = dict(sizes), dict.fromkeys(sizes, 0)
            self._tell()

    def advance(self, file: str, count: int) -> None:
        """`count` more bytes of `file` are here; negative where some had to be thrown away."""
        with self._lock:
            self._done[file] = self._done.get(file, 0) + count
            self._tell()

    def message(self, text: str) -> None:
        """Tell a sentence."""
        with self._lock:
            self._tell(text)

    def finish(self) -> None:
        """All files are in place, or it failed."""
        with self._lock:
            self._tell(ended=True)

    def _tell(self, message: str = "", *, ended: bool = False) -> None:
        if self._told is not None:
            self._told(ModelProgress(self._sizes, dict(self._done), message, ended))
