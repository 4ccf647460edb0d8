"""`tp symbols` and `tp callers`: definitions and references by name."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.links import address_of
from turboprop.printable import echo, echo_json, printable_name
from turboprop.search.symbols import Asked

if TYPE_CHECKING:
    from turboprop.search.symbols import Place
    from turboprop.workspace.location import Location

_ASKED = {Asked.DEFINITIONS: "defined", Asked.CALLS: "called", Asked.IMPLEMENTATIONS: "extended or implemented"}


def _shared(command: Any) -> Any:
    for option in (
        options.as_json,
        options.index_dir,
        options.narrowing,
        options.hits,
        options.repo,
    ):
        command = option(command)
    return command


@click.command()
@click.argument("query", nargs=-1, required=True)
@_shared
@click.option("--implementations", is_flag=True, help="The types that extend or implement QUERY instead.")
@click.pass_context
def symbols(ctx: click.Context, /, query: tuple[str, ...], implementations: bool, **shared: Any) -> None:
    """List the definitions whose names hold every word of QUERY, the likest first.

    A name may be qualified (Server.run, Server::run). By name, and not by type: definitions of one name are all listed.
    Ends with 0 when something was found and 1 when nothing was.
    """
    _list(ctx, " ".join(query), Asked.IMPLEMENTATIONS if implementations else Asked.DEFINITIONS, **shared)


@click.command()
@click.argument("symbol")
@_shared
@click.pass_context
def callers(ctx: click.Context, /, symbol: str, **shared: Any) -> None:
    """List the places that call SYMBOL, each with the definition that it is in.

    By name, and not by type: of a method `close`, the calls of every `close` are listed; of a qualified name the last
    part counts. Ends with 0 when something was found and 1 when nothing was.
    """
    _list(ctx, symbol, Asked.CALLS, **shared)


def _list(
    ctx: click.Context,
    name: str,
    asked: Asked,
    *,
    repo: str,
    limit: int,
    filters: tuple[str, ...],
    lang: tuple[str, ...],
    filetype: tuple[str, ...],
    index_dir: str | None,
    as_json: bool,
) -> None:
    from turboprop.workspace.index import Index
    from turboprop.workspace.location import Location

    location = Location.around(repo, index_dir)
    with Index.open(location) as index:
        found = index.symbols(name, limit, asked, filters=filters, languages=lang, extensions=filetype)
        options.tell_what_is_left(index)
    if as_json:
        echo_json({"query": name, "asked": str(asked), "places": [each.as_json() for each in found]})
    else:
        _print(found, location)
        if not found:
            echo(f"tp: nothing of that name is {_ASKED[asked]} here; `tp search` looks in all text", err=True)
    ctx.exit(0 if found else 1)


def _print(found: Sequence[Place], location: Location) -> None:
    seen_from = location.seen_from_here()
    for each in found:
        path = posixpath.relpath(each.path, seen_from) if seen_from else each.path
        where = f"{printable_name(path)}:{each.first_line}"
        what = f"{each.kind} {each.name}" if each.kind not in ("call", "implementation") else each.inside or "-"
        line = f"  {printable_name(what)}  {printable_name(each.text)}"
        if address := address_of(location.root / each.path, each.first_line):
            # What was printed safely stands within marks of ours.
            sys.stdout.write(f"\x1b]8;;{address}\x1b\\{where}\x1b]8;;\x1b\\")
            sys.stdout.flush()
            echo(line)
        else:
            echo(where + line)
