"""`tp mcp`: serve repositories to coding agents."""

from __future__ import annotations

from pathlib import Path

import click

from turboprop.printable import echo

CLOSE_SECONDS = 1.5
"""For work in the background to end; clients kill a server two seconds after they left it."""


class _Commands(click.Group):
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and Path(args[0]).is_dir():
            raise click.UsageError(f"a repository is given with --repo: tp mcp --repo {args[0]}", ctx)
        return super().resolve_command(ctx, args)


@click.group("mcp", cls=_Commands, invoke_without_command=True)
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
    import anyio

    from turboprop.edges.mcp.sdk import run_stdio
    from turboprop.edges.mcp.server import make_server
    from turboprop.runtime.manager import ModelManager
    from turboprop.workspace.location import repository_here
    from turboprop.workspace.pool import IndexPool
    from turboprop.workspace.workspace import Workspace

    # An agent may start its servers in any folder; a home is not indexed because nobody named another.
    here = None if repos else repository_here()
    create = bool(repos) or here is not None
    models = ModelManager(download=True)
    pool = IndexPool(models)
    workspace = Workspace(pool, repos or (here or ".",), model=model)
    try:
        server = make_server(workspace, language_model=language_model, refresh=refresh, create=create)
        anyio.run(run_stdio, server)
    finally:
        workspace.close(CLOSE_SECONDS)
        pool.clear()
        models.clear()  # not `close`: it would wait for what is being loaded


@mcp.command()
@click.argument("client", type=click.Choice(["claude", "cursor", "vscode", "windsurf", "codex"]))
@click.option(
    "--repo",
    "repos",
    multiple=True,
    metavar="PATH",
    help="A repository to serve; repeatable.  [default: the current folder]",
)
@click.option("--user", is_flag=True, help="Write the file in your home, not the one in the repository.")
@click.option("--name", default="turboprop", show_default=True, metavar="NAME", help="What the agent calls the server.")
@click.option("--print", "print_only", is_flag=True, help="Show what would be written, and write nothing.")
def install(client: str, repos: tuple[str, ...], user: bool, name: str, print_only: bool) -> None:
    """Tell an agent of the server: write its configuration, where everything else stays as it is."""
    from turboprop.edges.mcp.clients import CLIENTS, configuration_file, entry, snippet
    from turboprop.edges.mcp.clients import install as write
    from turboprop.errors import UsageError
    from turboprop.workspace.location import root_around

    if not name or any(ord(letter) < 32 for letter in name):
        raise UsageError(f"{name!r} is no name for a server")
    agent = CLIENTS[client]
    roots = list(dict.fromkeys(root_around(repo) for repo in repos or (".",)))
    file = configuration_file(agent, roots[0], user)
    if print_only:
        echo(f"for {file}:", err=True)
        echo(snippet(agent, name, entry(agent, roots)), nl=False)
    elif write(agent, file, name, roots):
        echo(f"{agent.title} knows {name} now: {file}")
    else:
        echo(f"{agent.title} knew {name} already: {file}")
