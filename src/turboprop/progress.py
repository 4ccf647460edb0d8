"""How a download tells what it is doing: the interface, and nothing that draws."""

from __future__ import annotations

from typing import Protocol


class DownloadProgress(Protocol):
    """Called from several threads at once; an implementation locks what it must."""

    def start(self, sizes: dict[str, int]) -> None:
        """The files that will be fetched, with their sizes in bytes."""

    def advance(self, file: str, count: int) -> None:
        """`count` more bytes of `file` are here; negative where some had to be thrown away."""

    def message(self, text: str) -> None:
        """Something that the user should know: a wait, a retry, another process at work."""

    def finish(self) -> None:
        """All files are in place, or the download failed."""


class SilentProgress:
    """For callers that show nothing."""

    def start(self, sizes: dict[str, int]) -> None:
        pass

    def advance(self, file: str, count: int) -> None:
        pass

    def message(self, text: str) -> None:
        pass

    def finish(self) -> None:
        pass
