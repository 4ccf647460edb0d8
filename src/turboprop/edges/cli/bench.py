"""`tp bench`: which model and mode find best in a user's own repository."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from turboprop import limits
from turboprop.edges.cli import options
from turboprop.printable import echo, echo_json, human_size, printable_name

if TYPE_CHECKING:
    from rich.table import Table

SOURCES = ("documentation", "commit")


@click.command()
@options.repo_or_path
@click.option("--model", "models", multiple=True, metavar="NAME", help="Embedding model to compare; repeatable.")
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(limits.MODES),
    help="Mode to compare; repeatable [default: all].",
)
@click.option(
    "--queries", type=click.IntRange(min=10), default=100, show_default=True, help="Queries of each source at most."
)
@click.option(
    "--files", type=click.IntRange(min=1), default=400, show_default=True, help="Files of the repository at most."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which files and queries are drawn.")
@options.as_json
def bench(
    repo: str | None,
    models: tuple[str, ...],
    modes: tuple[Any, ...],
    queries: int,
    files: int,
    seed: int,
    as_json: bool,
) -> None:
    """Compare models and modes on a repository, by queries made from its own docstrings and commits.

    The docstrings that become queries are taken out of what is indexed, in a copy; the repository and its index are
    not touched.
    """
    from turboprop.evaluate import evaluate
    from turboprop.workspace.location import root_around

    found = evaluate(
        root_around(repo or "."),
        models or (None,),
        modes or limits.MODES,
        queries=queries,
        files=files,
        seed=seed,
        tell=lambda text: echo(f"tp: {text}", err=True),
    )
    if as_json:
        echo_json({**dataclasses.asdict(found), "repo": str(found.repo)})
        return
    from rich.console import Console

    console = Console(markup=False)
    console.print(
        f"{found.files:,} files, {found.documentation_queries} queries from documentation, "
        f"{found.commit_queries} from commits",
        highlight=False,
    )
    table = _table("model", "mode", "MRR@10", "95%", "docs", "commits", "top 10", "ms")
    for row in sorted(found.outcomes, key=lambda row: -row.mrr):
        sources = [f"{row.by_source[name]:.3f}" if name in row.by_source else "-" for name in SOURCES]
        spread = f"{row.low:.2f}-{row.high:.2f}"
        name, share = printable_name(_short(row.model)), f"{row.found:.0%}"
        table.add_row(name, row.mode, f"{row.mrr:.3f}", spread, *sources, share, f"{row.p50_ms:.0f}")
    console.print(table)
    costs = _table("model", "seconds of indexing", "chunks embedded", "on disk")
    embedded = [row for row in found.outcomes if row.mode != "lexical" and not row.model.endswith(", tuned")]
    for row in {row.model: row for row in embedded}.values():
        size = human_size(row.index_bytes)
        costs.add_row(printable_name(_short(row.model)), f"{row.index_seconds:.1f}", f"{row.embedded:,}", size)
    if costs.row_count:
        console.print(costs)
    echo("Differences within the 95% interval say nothing; more --queries narrow it.")


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("model", "mode") else "right", overflow="fold")
    return table


def _short(name: str) -> str:
    return name.rpartition("/")[2]
