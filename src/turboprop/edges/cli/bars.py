"""Bars of long work on a terminal's stderr: how far, how long still, which file. They fit 40 columns, and vanish."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from turboprop.printable import printable_name

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from turboprop.index.build import Progress

_WIDE = 76
"""Columns from which counts and rate stand beside the bar."""


def moves() -> bool:
    """Whether stderr is a terminal on which something can be drawn over."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None] | None]:
    """A bar of a run of the index; None where stderr is no terminal."""
    if not moves():
        yield None
        return
    bar: Bar | None = None
    task: Any = None

    def show(state: Progress) -> None:
        nonlocal bar, task
        if bar is None:  # a model's download or conversion has shown its own bars until now
            bar = _bar()
            bar.start()
            task = bar.add_task("reading", counts="", until=None, path="")
        until = None if state.seconds_left is None else time.monotonic() + state.seconds_left
        rate = f"  {state.tokens / state.seconds:,.0f} tokens/s" if state.tokens and state.seconds else ""
        if state.waiting:  # the words are published, and the vectors follow
            what, done, total = "embedding", state.filled, state.waiting
            counts = f"{done:,} of {total:,} chunks{rate}"
        else:
            what, done, total = "indexing", state.bytes, state.bytes_total
            counts = f"{state.files:,} of {state.files_total:,} files{rate}"
        known: dict[str, Any] = {"counts": counts, "until": until, "path": printable_name(state.path)}
        bar.update(task, description=what, completed=done, total=max(1, total), **known)

    try:
        yield show
    finally:
        if bar is not None:
            bar.stop()


def duration(seconds: float) -> str:
    """`20 s`, `5 min`, `1.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds)) if seconds < 20 else round(seconds / 10) * 10} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _left_column() -> Any:
    """The time that is left, which goes down between two reports."""
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Left(ProgressColumn):
        max_refresh = 0.5

        def render(self, task: Any) -> Text:
            until = task.fields["until"]
            seconds = None if until is None else max(0, round(until - time.monotonic()))
            said = "" if seconds is None else f"{seconds // 60}:{seconds % 60:02} left"
            return Text(said.rjust(len("0:00 left")), no_wrap=True)

    return Left()


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    console = Console(stderr=True)

    class WithFile(Bar):
        """The bar, and under it the file at work, as much of its end as has room."""

        def get_renderables(self) -> Iterator[Any]:
            yield from super().get_renderables()
            path = self.tasks[0].fields["path"] if self.tasks else ""
            room = console.width - 3
            yield Text("  " + (path if len(path) <= room else f"...{path[len(path) - room + 3 :]}"), no_wrap=True)

    counts = [TextColumn("{task.fields[counts]}")] if console.width >= _WIDE else []
    return WithFile(
        TextColumn("{task.description}"),
        BarColumn(24 if counts else 16),
        TextColumn("{task.percentage:>3.0f}%"),
        _left_column(),
        *counts,
        console=console,
        transient=True,
    )
