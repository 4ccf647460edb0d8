"""`tp why`: why a file is indexed or not, and as what."""

from __future__ import annotations

import dataclasses

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.options import plural
from turboprop.printable import echo, echo_json, printable_name


@click.command()
@click.argument("path")
@options.repo
@options.index_dir
@options.as_json
@click.pass_context
def why(ctx: click.Context, path: str, repo: str, index_dir: str | None, as_json: bool) -> None:
    """Why the file PATH is or is not indexed, by which rule, and its chunks.

    Ends with 0 when it is indexed and 1 when it is not.
    """
    from turboprop.workspace.location import Location
    from turboprop.workspace.why import explain_file

    told = explain_file(Location.around(repo, index_dir), path)
    if as_json:
        echo_json(dataclasses.asdict(told))
    else:
        echo(f"{printable_name(told.path)}: {told.state}")
        echo(f"  {printable_name(told.reason)}")
        if told.chunks:
            echo(f"  {plural(len(told.chunks), 'chunk')}:")
        for chunk in told.chunks:
            echo(f"    {chunk.start_line}-{chunk.end_line}  {chunk.kind}  {printable_name(chunk.symbol)}".rstrip())
    ctx.exit(0 if told.indexed else 1)
