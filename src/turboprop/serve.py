"""`tp serve`: one process that keeps models and indexes warm, with the edges that speak over it put together."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

import click

from turboprop.edges.cli.options import Folder, Size
from turboprop.printable import echo

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from turboprop.edges.http.state import ServerState


@click.command()
@click.argument("folders", type=Folder(), nargs=-1, metavar="[PATH]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need an API key.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8321, show_default=True, help="Port; 0 takes any.")
@click.option(
    "--repo",
    "repos",
    type=Folder(),
    multiple=True,
    metavar="PATH",
    help="Repository to search in, as PATH; repeatable.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Model to load at once and keep, of either kind; repeatable [default: the default embedding model].",
)
@click.option(
    "--draft", metavar="NAME", help="Small language model, whose guesses the language models check; their vocabulary."
)
@click.option(
    "--api-key",
    envvar="TP_API_KEY",
    metavar="KEY",
    help="Key that every request must carry, or TP_API_KEY [default: you need none, others the one that is printed].",
)
@click.option("--no-key", is_flag=True, help="Serve every user and container of this machine without a key.")
@click.option("--cors", multiple=True, metavar="ORIGIN", help="Let pages of this origin ask; repeatable.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="Also answer under this host name; repeatable.")
@click.option(
    "--truncate",
    type=click.Choice(["error", "end"]),
    default="error",
    show_default=True,
    help="Refuse texts that are too long to embed, or cut their end, where a request does not say.",
)
@click.option(
    "--memory", type=Size(), metavar="SIZE", help="Memory for all models [default: three quarters of what is free]."
)
@click.option("--log", type=click.Path(dir_okay=False), metavar="FILE", help="Write the log to FILE, too; rotated.")
def serve(
    folders: tuple[str, ...],
    host: str,
    port: int,
    repos: tuple[str, ...],
    models: tuple[str, ...],
    draft: str | None,
    api_key: str | None,
    no_key: bool,
    cors: tuple[str, ...],
    allow_host: tuple[str, ...],
    truncate: Literal["error", "end"],
    memory: int | None,
    log: str | None,
) -> None:
    """Serve embeddings, answers, search and the page over HTTP, as OpenAI's clients expect it.

    Each PATH is a repository to search in; without one that is the repository of the current folder. Ends with 0 after
    Ctrl-C or SIGTERM, once the requests at work are done.
    """
    from contextlib import ExitStack

    from turboprop.edges.http.server import serve as run
    from turboprop.edges.http.state import ServerOptions, ServerState
    from turboprop.runtime.manager import ModelManager
    from turboprop.runtime.memory import CPU
    from turboprop.workspace.location import repository_here, root_around

    given = (*folders, *repos)
    here = None if given else repository_here()
    options = ServerOptions(
        host=host,
        port=port,
        repos=(here,) if here else tuple(dict.fromkeys(map(root_around, given))),
        models=models,
        api_key=api_key,
        no_key=no_key,
        cors=cors,
        allowed_hosts=allow_host,
        truncate=truncate,
    )

    def told(text: str) -> None:
        echo(f"tp: {text}", err=True)
        sys.stderr.flush()

    # What the models do is said; what clients send that is no HTTP is not, or they could fill a disk.
    logging.basicConfig(level=logging.WARNING, format="tp: %(message)s")
    logging.getLogger("turboprop").setLevel(logging.INFO)
    if log is not None:
        _log_to(log)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    with ExitStack() as stack:
        manager = stack.enter_context(ModelManager(budgets={CPU: memory} if memory is not None else None, draft=draft))
        state = ServerState(options, manager)
        mounts: dict[str, Any] = {}
        lifespans: tuple[Any, ...] = ()
        if options.repos:
            tools = _agents_tools(state)
            mounts["/mcp"] = tools
            lifespans = (tools.router.lifespan_context(tools),)
        run(state, told=told, mounts=mounts, lifespans=lifespans)


def _log_to(file: str) -> None:
    """Add a log file. At 5 MB it becomes FILE.1, which is kept with the two before it: 20 MB at most."""
    from logging.handlers import RotatingFileHandler

    handler = RotatingFileHandler(file, maxBytes=5_000_000, backupCount=3, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.getLogger().addHandler(handler)


def _agents_tools(state: ServerState) -> Starlette:
    """The tools for agents over HTTP, with the indexes and models that the other endpoints use."""
    from turboprop.edges.mcp.server import mcp_app

    options = state.options
    hosts = [name for host in (options.host, *options.allowed_hosts) for name in (host, f"{host}:*")]
    return mcp_app(state.workspace, language_model=state.names.language, hosts=hosts, origins=options.cors)
