"""`tp mcp`: serve repositories to coding agents."""

from __future__ import annotations

import click


@click.group("mcp", invoke_without_command=True)
@click.option(
    "--repo",
    "repos",
    multiple=True,
    metavar="PATH",
    help="A repository to serve; repeatable.  [default: the current folder]",
)
@click.option("--model", metavar="NAME", help="Embedding model of new indexes  [default: that of the index].")
@click.option("--refresh/--no-refresh", default=True, help="Bring indexes up to date in the background  [default: do].")
@click.pass_context
def mcp(ctx: click.Context, repos: tuple[str, ...], model: str | None, refresh: bool) -> None:
    """Serve repositories to coding agents over the Model Context Protocol, on standard input and output."""
    if ctx.invoked_subcommand is not None:
        return
    from turboprop.edges.mcp.repositories import Repositories
    from turboprop.edges.mcp.server import make_server

    repositories = Repositories(repos or (".",), model=model, refresh=refresh)
    try:
        make_server(repositories).run("stdio")
    finally:
        repositories.close()
