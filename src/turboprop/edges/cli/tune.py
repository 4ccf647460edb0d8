"""`tp tune`: learn from a repository's commits, and keep it only where it finds more."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.options import plural
from turboprop.errors import UsageError
from turboprop.printable import echo, echo_json, printable_name

if TYPE_CHECKING:
    from turboprop.workspace.tune import Tuning


@click.command()
@options.repo_or_path
@options.index_dir
@click.option("--remove", is_flag=True, help="Search without what was learnt.")
@click.option("--export", metavar="FILE", help="Write the pairs that it learns from as JSON lines, and learn nothing.")
@options.as_json
@click.pass_context
def tune(
    ctx: click.Context,
    repo: str | None,
    index_dir: str | None,
    remove: bool,
    export: str | None,
    as_json: bool,
) -> None:
    """Learn from a repository's commits how its questions are meant, for every search of its index.

    The newest commits are held out. What was learnt is kept only where it finds their files better than the search
    finds them without it, beyond chance, and where neither what changes often nor alike messages explain it.

    Ends with 0 when it is kept and 1 when it is not, or when there was nothing to remove or to export.
    """
    if remove and export:
        raise UsageError("--remove and --export do different things; give one of them")
    from turboprop.workspace import tune as work
    from turboprop.workspace.index import Index

    with Index.open(repo or ".", index_dir=index_dir) as index:
        if remove:
            gone = work.remove(index)
            said = (
                "searched without what was learnt from now on" if gone else "nothing was learnt, so nothing is removed"
            )
            echo_json({"repo": str(index.repo), "removed": gone}) if as_json else echo(said)
            ctx.exit(0 if gone else 1)
        if export:
            count = work.export(index, Path(export))
            if as_json:
                echo_json({"repo": str(index.repo), "file": export, "pairs": count})
            else:
                echo(f"{plural(count, 'pair')} written to {printable_name(export)}")
            ctx.exit(0 if count else 1)
        found = index.tune(progress=lambda text: echo(f"tp: {text}", err=True))
        if as_json:
            echo_json({"repo": str(index.repo), **dataclasses.asdict(found)})
        else:
            _show(found)
    ctx.exit(0 if found.accepted else 1)


def _show(found: Tuning) -> None:
    if found.figures:
        columns = list(next(iter(found.figures.values())))
        echo(f"{found.held_out:,} newest commits held out, {found.learnt_from:,} learnt from, {found.seconds:.1f} s")
        echo(" " * 24 + "".join(f"{name:>8}" for name in columns))
        for name, row in found.figures.items():
            echo(f"{name:24}" + "".join(f"{row[column]:8.3f}" for column in columns))
        for name, (gain, low, high) in found.gained.items():
            echo(f"MRR gained over {name}: {gain:+.3f} (95%: {low:+.3f} to {high:+.3f})")
    if found.accepted:
        echo("kept: every search of this index takes part; `tp tune --remove` ends that")
    else:
        echo(f"not kept: {found.why}")
