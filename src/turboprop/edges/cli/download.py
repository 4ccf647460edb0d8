"""What a user sees of a long transfer: bars on a terminal, one line per event elsewhere; all on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from turboprop.edges.cli.bars import moves
from turboprop.printable import echo, printable, printable_name

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from turboprop.progress import DownloadProgress, ModelProgress


_WIDE = 78
"""Columns from which bytes and rate stand beside a bar."""


def transfer_progress() -> DownloadProgress:
    """Bars where stderr is a terminal, else messages only."""
    return TransferBars() if moves() else tell_messages


def tell_messages(state: ModelProgress) -> None:
    """For logs: what the user should know, and no bars."""
    if state.message:
        echo(state.message, err=True)


class TransferBars:
    """One bar for all and one a file, with rate and time left."""

    def __init__(self) -> None:
        self._sizes: Mapping[str, int] = {}
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

    def __call__(self, state: ModelProgress) -> None:
        """Draw how far it is."""
        if state.message:
            self._progress.console.print(printable(state.message), markup=False, highlight=False)
        if state.sizes is not self._sizes and state.sizes:
            self._begin(state.sizes)
        for name, task in self._tasks.items():
            self._progress.update(task, completed=state.done.get(name, 0))
        if self._total is not None:
            self._progress.update(self._total, completed=state.done_bytes)
        if state.ended:
            self._progress.stop()

    def _begin(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self._progress.start()
        self._total = self._progress.add_task("in all", total=sum(sizes.values())) if len(sizes) > 1 else None
        self._tasks = {name: self._progress.add_task(self._shown(name), total=size) for name, size in sizes.items()}
