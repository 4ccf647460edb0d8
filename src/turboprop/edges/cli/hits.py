"""How hits are printed: for people on a terminal, in a pipe, as JSON, for editors."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from turboprop.edges.cli.links import address_of
from turboprop.printable import echo, echo_json, printable, printable_name
from turboprop.search.copies import named_copies
from turboprop.search.excerpt import best_match, shown_lines

if TYPE_CHECKING:
    from rich.syntax import Syntax

    from turboprop.types import Hit, Match
    from turboprop.workspace.merged import RepoHit

OUTPUTS = ("text", "json", "paths", "vimgrep")
SNIPPET_LINES = 12
LONGEST_LINE = 400
TAB_SIZE = 4
_NAMES = 3
_ADDED = ("place", "file words", "file name", "folder", "definition", "path", "phrase", "said before", "coherence")
_OF_REPORT = ("title", "prose", "code", "traceback")


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
                echo(f"{place}:{_vim_place(one.hit)}")
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
    if held := [f"{name} {parts[f'in {name}']:.2f}" for name in _OF_REPORT if f"in {name}" in parts]:
        said.append(f"of the report's words: {', '.join(held)}")
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
    if hit.why:
        found["why"] = hit.why
    if hit.copies:
        found["copies"] = [each._asdict() for each in hit.copies]
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


def _vim_place(hit: Hit) -> str:
    """Line, column in bytes and text of the line that tells most; of a hit without matches, of its first one."""
    lines = hit.text.split("\n")
    best = best_match(hit)
    if best is None:
        return f"{hit.start_line}:1:{next((line.strip() for line in lines if line.strip()), '')}"
    text = lines[best.line - hit.start_line]
    return f"{best.line}:{len(text[: best.begin].encode('utf-8', 'replace')) + 1}:{text.strip()}"


def _shown(hit: Hit, whole: bool) -> tuple[list[str], int, str, str]:
    """The lines to show, the number of the first, and what is said of those left out above and below."""
    lines = hit.text.rstrip().split("\n")
    if whole:
        return lines, hit.start_line, "", ""
    first, last = shown_lines(hit, SNIPPET_LINES)
    above, below = first - hit.start_line, hit.start_line + len(lines) - 1 - last
    return (
        lines[above : len(lines) - below],
        first,
        f"... {above} {'line' if above == 1 else 'lines'} above" if above else "",
        f"... {below} more {'line' if below == 1 else 'lines'}" if below else "",
    )


def _cut(line: str, matches: Sequence[Match]) -> tuple[str, int]:
    """A line that is not too long for a terminal, around its first match, and how many characters were cut before."""
    begin = min((each.begin for each in matches), default=0)
    begin = max(0, min(begin - LONGEST_LINE // 4, len(line) - LONGEST_LINE)) if len(line) > LONGEST_LINE else 0
    end = begin + LONGEST_LINE
    return f"{'... ' * bool(begin)}{line[begin:end]}{' ...' * (end < len(line))}", begin


def _print_plain(found: Sequence[RepoHit], whole: bool, explain: bool) -> None:
    for one in found:
        hit = one.hit
        title = [f"{printable_name(one.place)}:{hit.start_line}-{hit.end_line}", _symbols(hit), _score(hit)]
        echo("  ".join(part for part in title if part))
        if hit.why:
            echo(f"    = {printable_name(hit.why)}")
        if hit.copies:
            echo(f"    {named_copies(hit, printable_name)}")
        if explain:
            echo(f"    = {explained(hit)}")
        lines, _, above, below = _shown(hit, whole)
        shown = [*([above] if above else []), *printable("\n".join(lines)).split("\n"), *([below] if below else [])]
        echo("\n".join(f"    {line}".rstrip() for line in shown))
        echo()


def _print_rich(found: Sequence[RepoHit], whole: bool, explain: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for one in found:
        hit = one.hit
        link = f" link {address}" if (address := _address(one)) else ""
        title = Text(f"{printable_name(one.place)}:{hit.start_line}-{hit.end_line}", style=f"bold cyan{link}")
        if hit.symbol:
            title.append(f"  {_symbols(hit)}", style="yellow")
        title.append(f"  {_score(hit)}", style="dim")
        console.print(title, soft_wrap=True)
        if hit.why:
            console.print(Text(f"      = {printable_name(hit.why)}", style="green"))
        if hit.copies:
            console.print(Text(f"      {named_copies(hit, printable_name)}", style="dim"))
        if explain:
            console.print(Text(f"      = {explained(hit)}", style="dim italic"))
        lines, first, above, below = _shown(hit, whole)
        if above:
            console.print(Text(f"      {above}", style="dim"))
        console.print(_code(hit, lines, first))
        if below:
            console.print(Text(f"      {below}", style="dim"))
        console.print()


def _code(hit: Hit, lines: Sequence[str], first: int) -> Syntax:
    """Lines from number `first` on, coloured, the words of the query marked."""
    from rich.syntax import Syntax

    shown: list[str] = []
    marks: list[tuple[int, int, int]] = []
    for number, line in enumerate(lines):
        matches = [each for each in hit.matches if each.line == first + number]
        cut, before = _cut(line, matches)
        shown.append(printable(cut).expandtabs(TAB_SIZE))
        for each in matches:
            begin, end = (max(0, place - before + 4 * bool(before)) for place in (each.begin, each.end))
            first_column, last_column = (len(printable(cut[:at]).expandtabs(TAB_SIZE)) for at in (begin, end))
            marks.append((number + 1, first_column, last_column))
    code = Syntax(
        "\n".join(shown),
        Syntax.guess_lexer(hit.path),
        theme="ansi_dark",
        line_numbers=True,
        start_line=first,
        background_color="default",
        tab_size=TAB_SIZE,
    )
    for row, begin, end in marks:
        code.stylize_range("bold underline", (row, begin), (row, end))
    return code


def _address(one: RepoHit) -> str:
    """Where the title of a hit leads to, '' in a terminal that takes no links."""
    if one.root is None:
        return ""
    return address_of(one.root / one.hit.path, one.hit.start_line)
