"""`tp mcp`: serve repositories to coding agents."""

from __future__ import annotations

import shutil
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

    # An agent may start its servers in any folder; a home is not indexed because nobody named another, nor because a
    # file that many share names the folder that the server is started in.
    home = Path.home().resolve()
    anywhere = repos == (".",) and Path.cwd() in (home, *home.parents)
    named = () if anywhere else repos
    here = None if named else repository_here()
    create = bool(named) or here is not None
    models = ModelManager(download=True)
    pool = IndexPool(models)
    workspace = Workspace(pool, named or (here or ".",), model=model)
    try:
        server = make_server(workspace, language_model=language_model, refresh=refresh, create=create)
        anyio.run(run_stdio, server)
    finally:
        workspace.close(CLOSE_SECONDS)
        pool.clear()
        models.clear()  # not `close`: it would wait for what is being loaded


class _Agent(click.Choice[str]):
    """The names of agents, which are imported only when one is asked for."""

    def __init__(self) -> None:
        from turboprop.edges.mcp.clients import CLIENTS

        super().__init__(list(CLIENTS))


_NAME = click.option(
    "--name", default="turboprop", show_default=True, metavar="NAME", help="What the agent calls the server."
)
_USER = click.option("--user", is_flag=True, help="The file in your home, not the one in the repository.")


@mcp.command()
@click.argument("client", type=_Agent())
@click.option(
    "--repo",
    "repos",
    multiple=True,
    metavar="PATH",
    help="A repository to serve; repeatable.  [default: the current folder]",
)
@_USER
@click.option(
    "--absolute",
    is_flag=True,
    help="In a repository's file too, name this Python and the repository by their paths on this machine.",
)
@_NAME
@click.option("--print", "print_only", is_flag=True, help="Show what would be written, and write nothing.")
def install(client: str, repos: tuple[str, ...], user: bool, absolute: bool, name: str, print_only: bool) -> None:
    """Tell an agent of the server: write its configuration, where everything else stays as it is.

    What a team commits holds for everyone: it names `tp`, which the agent must find on its PATH, and the repository
    from where the file lies. The file in your home names this Python and the repository by their paths.
    """
    from turboprop.edges.mcp.clients import CLIENTS, entry
    from turboprop.edges.mcp.config_files import install as write
    from turboprop.edges.mcp.config_files import place, snippet
    from turboprop.workspace.location import root_around

    _check_name(name)
    agent = CLIENTS[client]
    roots = list(dict.fromkeys(root_around(repo) for repo in repos or (".",)))
    where = place(agent, roots[0], user)
    portable = where.root is not None and not absolute
    if print_only:
        echo(f"for {where.file}:", err=True)
        echo(snippet(where, name, entry(agent, name, roots, where.root if portable else None)), nl=False)
        return
    done = write(where, name, roots, absolute=absolute)
    if done.changed:
        echo(f"{agent.title} knows {name} now: {where.file}")
    else:
        echo(f"{agent.title} knew {name} already: {where.file}")
    echo(f"next: {agent.next_step}")
    if done.kept:
        echo(f"tp: the entry keeps what stood in it: {', '.join(done.kept)}; take out what you do not know", err=True)
    if done.left_out:
        others = " ".join(map(str, done.left_out))
        echo(f"tp: left out, as they lie outside of the repository: {others}; name with --repo what you want", err=True)
    if portable and shutil.which("tp") is None:
        echo("tp: `tp` is not on this PATH: put it there (such as with pipx), or give --absolute", err=True)


@mcp.command()
@click.argument("client", type=_Agent())
@click.option("--repo", default=".", metavar="PATH", help="The repository whose file it is  [default: this folder].")
@_USER
@_NAME
def uninstall(client: str, repo: str, user: bool, name: str) -> None:
    """Take the server out of an agent's configuration, where everything else stays as it is. Exit code 1 where it
    was not in it."""
    from turboprop.edges.mcp.clients import CLIENTS
    from turboprop.edges.mcp.config_files import place
    from turboprop.edges.mcp.config_files import uninstall as take_out
    from turboprop.workspace.location import root_around

    _check_name(name)
    agent = CLIENTS[client]
    where = place(agent, root_around(repo), user)
    if not take_out(where, name):
        echo(f"{agent.title} does not know {name}: {where.file}", err=True)
        raise SystemExit(1)
    echo(f"{agent.title} does not know {name} any more: {where.file}")


@mcp.command("list")
@click.option("--repo", default=".", metavar="PATH", help="The repository to look in  [default: this folder].")
def list_installed(repo: str) -> None:
    """List the agents that know the server, in this repository and in your home. Exit code 1 where none does."""
    from turboprop.edges.mcp.clients import CLIENTS
    from turboprop.edges.mcp.config_files import installed
    from turboprop.workspace.location import root_around

    found = list(installed(root_around(repo)))
    for where, name, repos in found:
        echo(f"{where.agent.title}  {name}  {where.file}  {' '.join(map(str, repos)) or 'the folder it is started in'}")
    if not found:
        echo(f"no agent knows the server yet; tell one: tp mcp install {'|'.join(CLIENTS)}", err=True)
        raise SystemExit(1)


def _check_name(name: str) -> None:
    from turboprop.errors import UsageError

    if not name or any(ord(letter) < 32 for letter in name):
        raise UsageError(f"{name!r} is no name for a server")
