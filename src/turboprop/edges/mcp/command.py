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
@click.option("--language-model", metavar="NAME", help="Answers ask_code  [default: the first that is installed].")
@click.option("--refresh/--no-refresh", default=True, help="Bring indexes up to date in the background  [default: do].")
@click.pass_context
def mcp(
    ctx: click.Context, repos: tuple[str, ...], model: str | None, language_model: str | None, refresh: bool
) -> None:
    """Serve repositories to coding agents over the Model Context Protocol, on standard input and output."""
    if ctx.invoked_subcommand is not None:
        return
    from turboprop.edges.mcp.repositories import Repositories
    from turboprop.edges.mcp.server import make_server

    repositories = Repositories(repos or (".",), model=model, refresh=refresh)
    try:
        make_server(repositories, language_model=language_model).run("stdio")
    finally:
        repositories.close()
