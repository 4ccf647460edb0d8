"""What a user sees of a long transfer: bars on a terminal, one line per event elsewhere; all on stderr."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING

from turboprop.edges.cli.bars import moves
from turboprop.printable import echo, printable, printable_name
from turboprop.progress import SilentProgress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from turboprop.progress import DownloadProgress


_WIDE = 78
"""Columns from which bytes and rate stand beside a bar."""


def transfer_progress() -> DownloadProgress:
    """Bars where stderr is a terminal, else messages only."""
    return TransferBars() if moves() else TransferLines()


class TransferLines(SilentProgress):
    """For logs: what the user should know, and no bars."""

    def message(self, text: str) -> None:
        echo(text, err=True)


class TransferBars:
    """One bar for all and one a file, with rate and time left."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}
        self._total: TaskID | None = None

    @cached_property
    def _progress(self) -> Progress:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        console = Console(stderr=True)
        wide = console.width >= _WIDE
        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(16 if wide else 10),
            *([DownloadColumn(), TransferSpeedColumn()] if wide else [TextColumn("{task.percentage:>3.0f}%")]),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )

    def _shown(self, name: str) -> str:
        """A name that leaves room for the bar beside it; the end of a path tells most."""
        shown, room = printable_name(name), max(12, self._progress.console.width - (60 if self._is_wide else 28))
        return shown if len(shown) <= room else f"...{shown[3 - room :]}"

    @property
    def _is_wide(self) -> bool:
        return self._progress.console.width >= _WIDE

    def start(self, sizes: dict[str, int]) -> None:
        with self._lock:
            self._progress.start()
            if len(sizes) > 1:
                self._total = self._progress.add_task("in all", total=sum(sizes.values()))
            for name, size in sizes.items():
                self._tasks[name] = self._progress.add_task(self._shown(name), total=size)

    def advance(self, file: str, count: int) -> None:
        with self._lock:
            if file in self._tasks:
                self._progress.advance(self._tasks[file], count)
            if self._total is not None:
                self._progress.advance(self._total, count)

    def message(self, text: str) -> None:
        self._progress.console.print(printable(text), markup=False, highlight=False)

    def finish(self) -> None:
        with self._lock:
            self._progress.stop()
