"""`tp search`: the best chunks for a query."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from turboprop.edges.cli import options
from turboprop.errors import IndexNotFoundError

if TYPE_CHECKING:
    from turboprop.api import Index
    from turboprop.types import Hit

_OUTPUTS = ("text", "json", "paths", "vimgrep")


@click.command()
@click.argument("query", nargs=-1, required=True)
@options.repo
@options.model
@click.option("--limit", "-n", type=click.IntRange(min=1), default=10, show_default=True, help="Hits at most.")
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "semantic", "lexical"]),
    default="hybrid",
    show_default=True,
    help="By meaning and words, by meaning, or by words alone (needs no model).",
)
@click.option("--filetype", multiple=True, metavar=".EXT", help="Only files with this extension; repeatable.")
@click.option("--lang", multiple=True, metavar="NAME", help="Only this language; repeatable.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="GLOB",
    help="Only these paths, `!GLOB` excludes; repeatable.",
)
@click.option("--threshold", type=float, metavar="SCORE", help="Leave out hits with a lower score.")
@options.index_dir
@options.engine
@options.weights
@click.option("--build", is_flag=True, help="Make the index first where there is none.")
@click.option("--output", type=click.Choice(_OUTPUTS), default="text", show_default=True)
@options.as_json
@click.pass_context
def search(
    ctx: click.Context,
    query: tuple[str, ...],
    repo: str,
    model: str | None,
    limit: int,
    mode: Any,
    filetype: tuple[str, ...],
    lang: tuple[str, ...],
    filters: tuple[str, ...],
    threshold: float | None,
    index_dir: str | None,
    engine: str | None,
    weights: Any,
    build: bool,
    output: str,
    as_json: bool,
) -> None:
    """Search a repository by meaning and by words.

    Ends with 0 when something was found, 1 when nothing was and 2 on an error.
    """
    text = " ".join(query)
    started = time.perf_counter()
    with _open(repo, model, index_dir, engine, weights, build) as index:
        hits = index.search(
            text, limit, mode, filters=filters, languages=lang, extensions=filetype, threshold=threshold
        )
        name = index.model_name
    took = (time.perf_counter() - started) * 1000
    match "json" if as_json else output:
        case "json":
            keys = ("path", "start_line", "end_line", "score", "language", "symbol", "text")
            found = [{key: value for key, value in dataclasses.asdict(hit).items() if key in keys} for hit in hits]
            click.echo(json.dumps({"query": text, "model": name, "took_ms": round(took, 1), "hits": found}))
        case "paths":
            for path in dict.fromkeys(hit.path for hit in hits):
                click.echo(path)
        case "vimgrep":
            for hit in hits:
                click.echo(f"{hit.path}:{hit.start_line}:1:{_first_line(hit)}")
        case _:
            _print_hits(hits)
            if not hits:
                click.echo("nothing found", err=True)
    ctx.exit(0 if hits else 1)


def _open(repo: str, model: str | None, index_dir: str | None, engine: str | None, weights: Any, build: bool) -> Index:
    from turboprop.api import Index

    try:
        return Index.open(repo, model, index_dir=index_dir, engine=engine, weights=weights)
    except IndexNotFoundError:
        if not build:
            raise
    from turboprop.edges.cli.index import progress_bar, summary_text

    with progress_bar() as progress:
        made = Index.create(repo, model, index_dir=index_dir, engine=engine, weights=weights, progress=progress)
    if made.summary is not None:
        click.echo(summary_text(made.summary), err=True)
    return made


def _first_line(hit: Hit) -> str:
    return next((line.strip() for line in hit.text.split("\n") if line.strip()), "")


def _print_hits(hits: list[Hit]) -> None:
    if not sys.stdout.isatty():
        for hit in hits:
            click.echo(
                f"{hit.path}:{hit.start_line}-{hit.end_line}  {hit.symbol}  {hit.score:.4f}".replace("    ", "  ")
            )
            click.echo("\n".join(f"    {line}".rstrip() for line in hit.text.rstrip().split("\n")[:_SNIPPET_LINES]))
            click.echo()
        return
    from rich.console import Console
    from rich.syntax import Syntax
    from rich.text import Text

    console = Console()
    for hit in hits:
        title = Text(f"{hit.path}:{hit.start_line}-{hit.end_line}", style="bold cyan")
        if hit.symbol:
            title.append(f"  {hit.symbol}", style="yellow")
        title.append(f"  {hit.score:.4f}", style="dim")
        console.print(title, soft_wrap=True)
        lines = hit.text.rstrip().split("\n")
        console.print(
            Syntax(
                "\n".join(lines[:_SNIPPET_LINES]),
                Syntax.guess_lexer(hit.path),
                theme="ansi_dark",
                line_numbers=True,
                start_line=hit.start_line,
                background_color="default",
            )
        )
        if len(lines) > _SNIPPET_LINES:
            console.print(f"      ... {len(lines) - _SNIPPET_LINES} more lines", style="dim")
        console.print()


_SNIPPET_LINES = 12
