"""A repository without an index: on a terminal `tp search` and `tp ask` offer to make one, and go on."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from turboprop.edges.cli.bars import duration, progress_bar
from turboprop.edges.cli.options import plural
from turboprop.printable import echo, human_size, printable_message, printable_name

if TYPE_CHECKING:
    from pathlib import Path

    from turboprop.workspace.index import Index
    from turboprop.workspace.location import Location


def root_to_index(location: Location, index_dir: str | None) -> Path | None:
    """The work tree that an index can be offered for, after a yes; None where nobody can be asked, or for a folder in
    no work tree, which may be a home. Raises `click.Abort` after Ctrl-C."""
    from turboprop.workspace.location import Location, work_tree_of

    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    root = work_tree_of(location.root)
    if root is None:
        return None
    question = _question(Location.at(root, index_dir))
    _forget_what_was_typed()
    return root if question and click.confirm(question, default=True, err=True) else None


def make_index(ctx: click.Context, location: Location, model: str | None, **how: Any) -> Index:
    """Make it, and say on stderr what was done. Where embedding takes long, words are there first, and the process in
    the background makes the vectors while they are searched."""
    from turboprop.edges.cli.download import transfer_progress
    from turboprop.edges.cli.index import summary_text
    from turboprop.workspace.index import Index

    leave = model is None and location.settings.server and "after" in ctx.obj
    with progress_bar() as progress:
        made = Index.create(
            location, model, fill=not leave, progress=progress, model_progress=transfer_progress(), **how
        )
    if made.summary is not None:
        for note in made.summary.notes:
            echo(f"tp: {printable_message(note)}", err=True)
        echo(summary_text(made.summary), err=True)
        if leave and made.summary.waiting_chunks:
            echo("tp: the vectors follow in the background; `tp status` says how far they are", err=True)
            index_dir = ["--index", str(location.directory)] if location.directory.parent != location.root else []
            ctx.obj["after"].append(["index", "--background", "--repo", str(location.root), *index_dir])
    return made


def _forget_what_was_typed() -> None:
    """What was typed before a question was there is no answer to it. Without effect on Windows."""
    with contextlib.suppress(ImportError, OSError):
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def _question(location: Location) -> str:
    """How many files, and how long by a short measurement; '' where there is nothing to index."""
    from rich.console import Console

    from turboprop.workspace.preflight import preflight

    console = Console(stderr=True)
    try:
        with console.status("no index here yet; looking at the repository"):
            found = preflight(location, scope=location.scope(), quick=True).estimate
    finally:
        console.show_cursor()  # Ctrl-C may come once it is hidden and before the block is entered
    if not found.files:
        return ""
    about = ""
    if found.seconds is not None:
        about = f" (about {duration(found.seconds)})"
    elif location.settings.offline:
        about = " (by words: no model is here)"
    elif size := _model_size(found.model):
        about = f" (a model of {human_size(size)} is fetched first)"
    return f"No index in {printable_name(str(location.root))}. Index {plural(found.files, 'file')} now{about}?"


def _model_size(name: str) -> int:
    from turboprop.models.catalog import load_catalog

    row = load_catalog().find(name)
    return row.size if row is not None else 0
