"""`tp index`: index a repository, or say what would be indexed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.bars import progress_bar
from turboprop.edges.cli.options import plural
from turboprop.errors import UsageError
from turboprop.printable import echo, echo_json, human_size, printable_message, printable_name
from turboprop.types import NO_MODEL, vectors_note

if TYPE_CHECKING:
    from pathlib import Path

    from turboprop.types import IndexSummary, LeftOut
    from turboprop.workspace.index import Index
    from turboprop.workspace.location import Location


@click.command()
@options.repo_or_path
@options.model_and_adapter
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Index the first N files only.")
@options.index_dir
@click.option(
    "--max-filesize",
    type=options.Size(),
    metavar="SIZE",
    help="Leave out larger files [default: 1mb].",
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Take in what would be left out, also what Git ignores (gitignore syntax; may be repeated).",
)
@options.engine
@options.weights
@options.memory
@click.option("--rebuild", is_flag=True, help="Start anew, whatever is there.")
@click.option("--dry-run", is_flag=True, help="Say what would be indexed and what is left out; write nothing.")
@click.option("--watch", is_flag=True, help="Stay, and bring in what changes until Ctrl-C.")
@click.option(
    "--background", is_flag=True, help="Return once words can be searched; the server of `tp daemon` makes the vectors."
)
@options.verbose
@options.as_json
@click.pass_context
def index(
    ctx: click.Context,
    repo: str | None,
    model: str | None,
    limit: int | None,
    index_dir: str | None,
    max_filesize: int | None,
    include: tuple[str, ...],
    engine: str | None,
    weights: Any,
    memory: int | None,
    rebuild: bool,
    dry_run: bool,
    watch: bool,
    background: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Index a repository, or bring its index up to date.

    Without PATH that is the indexed repository which the current folder is in, else the current folder. Files that
    did not change since the last run are not read again. Where embedding takes long, words can be searched first, and
    the vectors follow. The model `none` makes an index of words alone.
    """
    from turboprop.workspace.location import Location

    location = Location.around(".", index_dir) if repo is None else Location.at(repo, index_dir)
    if dry_run:
        from turboprop.edges.cli.dry_run import show_dry_run

        scope = location.scope(limit=limit, max_filesize=max_filesize, include=include)
        show_dry_run(location, model, engine, scope, as_json=as_json)
        return
    if repo is not None and index_dir is None:
        _tell_of_the_one_around(location)
    from turboprop.edges.cli.download import transfer_progress
    from turboprop.workspace.index import Index

    how: dict[str, Any] = {
        "limit": limit,
        "max_filesize": max_filesize,
        "include": include,
        "engine": engine,
        "weights": weights,
    }
    if background and (in_background := ctx.obj.get("in_background")) is not None:  # we are the server
        in_background(
            str(location.directory),
            lambda models, report: Index.create(location, model, **how, models=models, progress=report).close(),
        )
        return
    if background and watch:
        raise UsageError("--background returns at once and --watch stays; give one of them")
    if background and not location.settings.server:
        raise UsageError("--background leaves the vectors to the server, which the settings forbid; leave it out")
    with progress_bar() as progress:
        made = Index.create(
            location,
            model,
            **how,
            rebuild=rebuild,
            memory=memory,
            fill=not background,
            progress=progress,
            model_progress=transfer_progress(),
        )
    with made:  # the bar is gone by now, or it would stand in the lines that follow
        summary = made.summary
        assert summary is not None
        if verbose and made.has_model:
            with made.embedding() as lease:
                echo(options.choice_text(lease.model), err=True)
        _show(made.repo, summary, as_json)
        if background and summary.waiting_chunks:
            echo("tp: the vectors follow in the background; `tp status` says how far they are", err=True)
        if watch:
            _watch(made, as_json)


def _tell_of_the_one_around(location: Location) -> None:
    """A folder that is named gets an index of its own, which may not be what was meant."""
    from turboprop.workspace.location import root_around

    around = root_around(location.root)
    if around != location.root:
        said = printable_name(str(around))
        echo(f"tp: {said} is indexed and holds this folder; `tp index` without PATH brings that up to date", err=True)


def _show(repo: Path, summary: IndexSummary, as_json: bool) -> None:
    for note in summary.notes:
        echo(f"tp: {printable_message(note)}", err=True)
    if as_json:
        echo_json({"repo": str(repo), **dataclasses.asdict(summary)})
    else:
        echo(summary_text(summary))


def _watch(made: Index, as_json: bool) -> None:
    """Print a line for each run, until an interrupt, which is how this ends."""
    import threading

    from turboprop.workspace.watch import watch

    echo("tp: watching; Ctrl-C ends it", err=True)
    stop = threading.Event()
    try:
        for event in watch(made, stop):
            if event.note:
                echo(f"tp: {printable_message(event.note)}", err=True)
            if event.summary is None:
                continue
            if as_json:
                echo_json({"repo": str(made.repo), **dataclasses.asdict(event.summary)})
                continue
            new = plural(event.summary.embedded_chunks + event.summary.cached_chunks, "new chunk")
            gone = f", {plural(event.summary.removed_files, 'file')} removed" if event.summary.removed_files else ""
            content = f"{plural(event.summary.files, 'file')}, {plural(event.summary.chunks, 'chunk')}"
            echo(f"{time.strftime('%H:%M:%S')}  {new}{gone}; {content} ({event.summary.seconds:.1f} s)")
    except KeyboardInterrupt:
        echo("tp: no longer watching", err=True)
    finally:
        stop.set()


def summary_text(summary: IndexSummary) -> str:
    """What a run did, for people."""
    content = f"{plural(summary.files, 'file')}, {plural(summary.chunks, 'chunk')}"
    size = human_size(summary.bytes_on_disk)
    how = "by words alone" if summary.model == NO_MODEL else f"with {summary.model}"
    lines = [f"{content} indexed {how} in {summary.seconds:.1f} s ({size} on disk)"]
    did_nothing = not (summary.embedded_chunks or summary.cached_chunks or summary.removed_files)
    if did_nothing and summary.unchanged_files == summary.files:
        lines = [f"up to date: {content}, {how} ({size} on disk)"]
    if summary.waiting_chunks:
        lines.append(vectors_note(summary.chunks - summary.waiting_chunks, summary.chunks))
    if summary.embedded_chunks:
        rate = summary.tokens / summary.seconds if summary.seconds else 0.0
        lines.append(
            f"embedded {plural(summary.embedded_chunks, 'chunk')}, {plural(summary.tokens, 'token')}, "
            f"{rate:,.0f} tokens a second"
        )
    if summary.cached_chunks:
        lines.append(f"{plural(summary.cached_chunks, 'chunk')} known from another index")
    if summary.removed_files:
        lines.append(f"removed {plural(summary.removed_files, 'file')} that are gone")
    if summary.skipped:
        left = ", ".join(f"{count:,} {reason}" for reason, count in sorted(summary.skipped.items()))
        lines.append(f"left out: {left}")
        if said := left_out_text(summary.left_out):
            lines.append(f"  {said}; `tp why FILE` says more, and how to bring it in")
    return "\n".join(lines)


_NAMED = 3
"""Files that are named where more are left out."""


def left_out_text(left_out: Sequence[LeftOut]) -> str:
    """How many source files are left out, and the first of them; '' for none."""
    from turboprop.workspace.survey import FOLDERS

    said: list[str] = []
    for noun, wanted in (("source file", False), ("folder", True)):
        some = [each for each in left_out if (each.reason in FOLDERS) is wanted]
        if some:
            named = ", ".join(f"{printable_name(each.path)} ({each.reason})" for each in some[:_NAMED])
            said.append(f"{plural(len(some), noun)}: {named}{', ...' if len(some) > _NAMED else ''}")
    return "; ".join(said)
