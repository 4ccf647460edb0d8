"""`tp daemon`: what keeps `tp search` warm."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any

import click

from turboprop import __version__
from turboprop.edges.warm import client, place
from turboprop.printable import echo, echo_json

_MOST_LOG = 10_000_000


@click.group()
def daemon() -> None:
    """Show or stop the background process that keeps `tp search` warm.

    The first `tp search` starts it; it ends by itself after ten minutes without one.
    """


@daemon.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show whether one runs, and what it keeps open. Ends with 0 when one does and 1 when none does."""
    state = _ask("status")
    if as_json:
        echo_json({"running": state is not None, **(state or {})})
    elif state is None:
        echo("no server runs; the next `tp search` starts one")
    else:
        memory = f", {state['memory'] / 1e6:.0f} MB" if state["memory"] else ""
        echo(f"server   process {state['pid']}, version {state['version']}{memory}")
        echo(f"running  {_span(time.time() - state['started'])}, {state['answered']:,} searches answered")
        echo(f"ends     in {_span(state['ends_in'])} unless it is used")
        for index in state["indexes"]:
            loaded = "" if index["model_loaded"] else ", not loaded"
            echo(f"index    {index['repo']} ({index['chunks']:,} chunks; {index['model']}{loaded})")
    ctx.exit(0 if state else 1)


@daemon.command()
@click.pass_context
def stop(ctx: click.Context) -> None:
    """End it, also while it starts; a search that it works on is finished.

    Ends with 0 when one ran and 1 when none did.
    """
    starting = _call_off()
    state = _ask("stop")
    if state is None and not starting:
        echo("no server runs", err=True)
        ctx.exit(1)
    until = time.monotonic() + 10
    while _ask("status") is not None or any(map(_runs, starting)):
        if time.monotonic() > until:
            process = state["pid"] if state is not None else starting[0]
            echo(f"tp: the server was told to stop and works on; its process is {process}", err=True)
            ctx.exit(2)
        time.sleep(0.02)
    echo("stopped")


@click.command()
@click.option("--lines", "-n", type=click.IntRange(min=1), default=50, metavar="N", help="The last N lines.")
@click.option("--path", is_flag=True, help="Print where the file is instead.")
@click.pass_context
def logs(ctx: click.Context, lines: int, path: bool) -> None:
    """Show what the background process wrote: warnings and errors, the ones of the process before it first.

    Ends with 1 when it wrote nothing.
    """
    file = os.path.join(place.folder(), place.LOG_FILE)
    if path:
        echo(file)
        return
    written: list[str] = []
    for name in (file + place.OLDER_LOG, file):
        with contextlib.suppress(OSError), open(name, "rb") as stream:
            start = max(0, stream.seek(0, os.SEEK_END) - _MOST_LOG)
            stream.seek(start)
            found = stream.read(_MOST_LOG).decode("utf-8", "replace").splitlines()
            written += found[1:] if start else found  # the first one may be cut
    for line in written[-lines:]:
        echo(line)
    if not written:
        echo(f"nothing is written in {file}", err=True)
        ctx.exit(1)


@daemon.command(hidden=True)
@click.option("--loopback", is_flag=True, help="Listen on a port of the loopback interface.")
@click.pass_context
def run(ctx: click.Context, loopback: bool) -> None:
    """Be the server; a search to warm up with stands on standard input."""
    identity = place.identity(__version__)  # before the imports: some packages set variables
    from turboprop.edges.warm.server import Server
    from turboprop.settings import load_settings

    first = None if sys.stdin is None or sys.stdin.isatty() else json.loads(sys.stdin.read() or "null")
    Server(ctx.obj["main"], identity, idle=load_settings().server_idle, loopback=loopback).serve(first)


def _call_off() -> list[int]:
    """Take the files of servers away that are starting, which end when they find that; their processes."""
    found = []
    home = place.folder()
    if not place.is_private(home):
        return []
    for name in os.listdir(home):
        if name.startswith(place.STARTING):
            with contextlib.suppress(OSError, ValueError):
                file = os.path.join(home, name)
                with open(file, encoding="ascii") as stream:
                    process = int(stream.read())
                os.unlink(file)
                found.append(process)
    return [process for process in found if _runs(process)]  # one that was killed left its file


def _runs(process: int) -> bool:
    if sys.platform == "win32":  # where asking with signal 0 would end it
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, by now
        return False
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"  # ended, and nobody has asked how
    except (OSError, IndexError):
        return True


def in_a_line() -> str:
    """How the server is, for `tp` alone."""
    state = _ask("status")
    if state is None:
        return "none runs; the first `tp search` starts one"
    return f"process {state['pid']} keeps {len(state['indexes'])} of your indexes warm (`tp daemon status`)"


def _ask(question: str) -> dict[str, Any] | None:
    try:
        return client.ask(question)
    except (OSError, ValueError, KeyError, client.Refused):
        return None


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
