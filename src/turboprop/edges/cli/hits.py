"""How hits are printed: for people on a terminal, in a pipe, as JSON, for editors."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from turboprop.printable import echo, echo_json, printable, printable_name

if TYPE_CHECKING:
    from turboprop.types import Hit
    from turboprop.workspace.merged import RepoHit

OUTPUTS = ("text", "json", "paths", "vimgrep")
SNIPPET_LINES = 12
_NAMES = 3
_ADDED = ("place", "file words", "file name", "folder", "definition", "path", "phrase", "coherence")


def print_hits(
    found: Sequence[RepoHit], output: str, *, whole: bool = False, explain: bool = False, **facts: object
) -> None:
    """Print hits; `facts` stand before them in JSON, `whole` prints all lines, `explain` the parts of the score."""
    match output:
        case "json":
            echo_json({**facts, "hits": [_as_json(one, explain) for one in found]})
        case "paths":
            for path in dict.fromkeys(one.place for one in found):
                # As it is for programs, whose lines a name with a newline would forge.
                exact = not sys.stdout.isatty() and "\n" not in path
                click.echo(path if exact else printable_name(path), color=True)
        case "vimgrep":
            for one in found:
                # A name that says itself which line it is would lead elsewhere.
                place = re.sub(r":(?=\d)", r"\\x3a", printable_name(one.place))
                echo(f"{place}:{one.hit.start_line}:1:{_first_line(one.hit)}")
        case _ if sys.stdout.isatty():
            _print_rich(found, whole, explain)
        case _:
            _print_plain(found, whole, explain)


def explained(hit: Hit) -> str:
    """The parts of a score in words."""
    parts = hit.parts
    said = []
    if parts.get("words"):
        said.append(f"words {parts['words']:.2f}")
    if parts.get("cosine"):
        said.append(f"cosine {parts['cosine']:.2f}")
    said += [f"{name} +{parts[name]:.2f}" for name in _ADDED if parts.get(name, 0) >= 0.005]
    if parts.get("kind of file", 1) != 1:
        said.append(f"test or prose x{parts['kind of file']:.2g}")
    if parts.get("same file", 1) != 1:
        said.append(f"further chunk of its file x{parts['same file']:.2g}")
    if "first place" in parts:
        weight = parts["place weight"]
        said.append(f"place {parts['first place']:.0f} with {parts['first score']:.2f} before reranking x{weight:.2g}")
        if "reranker" in parts:
            said.append(f"reranker {parts['reranker']:.2f} x{1 - weight:.2g}")
    return ", ".join(said)


def _as_json(one: RepoHit, explain: bool) -> dict[str, Any]:
    hit = one.hit
    keys = ("path", "start_line", "end_line", "score", "language", "symbol", "text")
    found: dict[str, Any] = {"repo": one.repo} if one.repo else {}
    found |= {key: getattr(hit, key) for key in keys}
    if hit.sure is not None:
        found["sure"] = hit.sure
    if explain:
        found["parts"] = {name: round(value, 4) for name, value in hit.parts.items()}
    return found


def _symbols(hit: Hit) -> str:
    """The first names that a chunk defines; of many small ones a page would be full."""
    names = printable_name(hit.symbol).split(", ")
    return ", ".join(names) if len(names) <= _NAMES else f"{', '.join(names[:_NAMES])}, ... ({len(names)})"


def _score(hit: Hit) -> str:
    """The score, and the mark of a hit that is less than strong."""
    return f"{hit.score:.4f}" + (f" {hit.sure}" if hit.sure not in (None, "strong") else "")


def _first_line(hit: Hit) -> str:
    return next((line.strip() for line in hit.text.split("\n") if line.strip()), "")


def _print_plain(found: Sequence[RepoHit], whole: bool, explain: bool) -> None:
    for one in found:
        hit = one.hit
        title = [f"{printable_name(one.place)}:{hit.start_line}-{hit.end_line}", _symbols(hit), _score(hit)]
        echo("  ".join(part for part in title if part))
        if explain:
            echo(f"    = {explained(hit)}")
        lines = printable(hit.text.rstrip()).split("\n")
        echo("\n".join(f"    {line}".rstrip() for line in (lines if whole else lines[:SNIPPET_LINES])))
        echo()


def _print_rich(found: Sequence[RepoHit], whole: bool, explain: bool) -> None:
    from rich.console import Console
    from rich.syntax import Syntax
    from rich.text import Text

    console = Console()
    for one in found:
        hit = one.hit
        title = Text(f"{printable_name(one.place)}:{hit.start_line}-{hit.end_line}", style="bold cyan")
        if hit.symbol:
            title.append(f"  {_symbols(hit)}", style="yellow")
        title.append(f"  {_score(hit)}", style="dim")
        console.print(title, soft_wrap=True)
        if explain:
            console.print(Text(f"      = {explained(hit)}", style="dim italic"))
        lines = printable(hit.text.rstrip()).split("\n")
        console.print(
            Syntax(
                "\n".join(lines if whole else lines[:SNIPPET_LINES]),
                Syntax.guess_lexer(hit.path),
                theme="ansi_dark",
                line_numbers=True,
                start_line=hit.start_line,
                background_color="default",
            )
        )
        if not whole and len(lines) > SNIPPET_LINES:
            console.print(f"      ... {len(lines) - SNIPPET_LINES} more lines", style="dim")
        console.print()
