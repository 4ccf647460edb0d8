"""`tp grep`: the lines of indexed files that match a regular expression."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from turboprop.code.walk import shown as shown_path
from turboprop.edges.cli import options
from turboprop.edges.cli.links import linked
from turboprop.errors import UsageError
from turboprop.printable import echo_json, printable, printable_name

if TYPE_CHECKING:
    from turboprop.search.grep import FileMatches
    from turboprop.workspace.index import Index
    from turboprop.workspace.location import Location

ORDERS = ("rank", "path")
WHEN = ("auto", "always", "never")
_LONGEST_SHOWN = 500
"""Characters of a line that a terminal is shown, unless `--max-columns` says otherwise: minified code has millions."""
_COUNT = click.IntRange(min=0)


@click.command()
@click.argument("arguments", nargs=-1, metavar="PATTERN [PATH]...")
@click.option("-e", "--regexp", "patterns", multiple=True, metavar="PATTERN", help="A pattern; repeatable.")
@click.option(
    "-f",
    "--file",
    "pattern_files",
    multiple=True,
    type=click.File(encoding="utf-8", errors="replace"),
    metavar="FILE",
    help="Patterns, one a line; - reads standard input.",
)
@click.option("-F", "--fixed-strings", "fixed", is_flag=True, help="Take patterns as plain text.")
@click.option("-i", "--ignore-case", "case", flag_value="ignore", help="Letters match in both cases.")
@click.option(
    "-S", "--smart-case", "case", flag_value="smart", help="The same where the pattern has no capital letter."
)
@click.option(
    "-s", "--case-sensitive", "case", flag_value="as written", help="As they are written; the last one holds."
)
@click.option("-w", "--word-regexp", "words", is_flag=True, help="Whole words alone.")
@click.option("-x", "--line-regexp", "whole_lines", is_flag=True, help="Whole lines alone.")
@click.option("-v", "--invert-match", "invert", is_flag=True, help="The lines that do not match.")
@click.option("-l", "--files-with-matches", "only_paths", is_flag=True, help="Print paths alone.")
@click.option("--files-without-match", "without", is_flag=True, help="Print the paths of the files without a match.")
@click.option("-c", "--count", is_flag=True, help="Print how many lines match in each file.")
@click.option("--count-matches", is_flag=True, help="Print how many matches each file has.")
@click.option("-o", "--only-matching", is_flag=True, help="Print what matches, not its line.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; the exit code tells.")
@click.option("-m", "--max-count", type=click.IntRange(min=1), metavar="N", help="Matching lines of a file at most.")
@click.option("-A", "--after-context", "after", type=_COUNT, default=0, metavar="N", help="Show N lines after each.")
@click.option("-B", "--before-context", "before", type=_COUNT, default=0, metavar="N", help="Show N lines before each.")
@click.option("-C", "--context", "around", type=_COUNT, default=0, metavar="N", help="Show N lines on both sides.")
@click.option(
    "-n/-N", "--line-number/--no-line-number", "numbers", default=True, help="Show line numbers.  [default: on]"
)
@click.option("--column", is_flag=True, help="Show the column of the first match, in bytes.")
@click.option("--heading/--no-heading", default=None, help="Show paths above their lines [default: on a terminal].")
@click.option("--color", type=click.Choice(WHEN), default="auto", show_default=True, help="Mark what matches.")
@click.option("-M", "--max-columns", type=_COUNT, metavar="N", help="Cut longer lines [default: 500 on a terminal].")
@click.option(
    "-g",
    "--glob",
    "--filter",
    "filters",
    multiple=True,
    metavar="GLOB",
    help="Only these paths, `!GLOB` excludes; repeatable.",
)
@click.option("-t", "--type", "--lang", "lang", multiple=True, metavar="NAME", help="Only this language; repeatable.")
@click.option("--filetype", multiple=True, metavar=".EXT", help="Only files with this extension; repeatable.")
@click.option(
    "--sort",
    "order",
    type=click.Choice(ORDERS),
    default="rank",
    show_default=True,
    help="Files that define what was found first and tests last, or by path.",
)
@click.option("--vimgrep", is_flag=True, help="Print each match as path:line:column:text.")
@options.repo_if_given
@options.index_dir
@click.option(
    "--refresh/--no-refresh", default=None, help="Bring in what changed first [default: where that is quick]."
)
@click.option("--no-server", is_flag=True, expose_value=False, help="Search in this process, and start no server.")
@options.as_json
@click.pass_context
def grep(
    ctx: click.Context,
    /,
    arguments: tuple[str, ...],
    patterns: tuple[str, ...],
    before: int,
    after: int,
    around: int,
    filters: tuple[str, ...],
    lang: tuple[str, ...],
    filetype: tuple[str, ...],
    repo: str | None,
    index_dir: str | None,
    refresh: bool | None,
    invert: bool,
    max_count: int | None,
    order: str,
    case: str | None,
    without: bool,
    pattern_files: tuple[IO[str], ...],
    fixed: bool,
    words: bool,
    whole_lines: bool,
    quiet: bool,
    as_json: bool,
    **shown: Any,
) -> None:
    """Find the lines of indexed files that match a regular expression, as the files are now.

    Options are ripgrep's. Paths narrow to files and folders. The syntax is that of RE2: no pattern takes long, and
    there is no look-around. Files that define what was found come first, then other code, prose and tests.

    Ends with 0 when a line was found, 1 when none was and 2 on an error.
    """
    from turboprop.code.language_names import languages_called
    from turboprop.code.languages import LANGUAGES
    from turboprop.search.grep import GrepOptions
    from turboprop.search.patterns import Pattern
    from turboprop.workspace.index import Index

    patterns += tuple(line for file in pattern_files for line in file.read().splitlines())
    if not patterns:
        if pattern_files:
            ctx.exit(1)  # no pattern, no line
        if not arguments:
            raise UsageError("there is no pattern; say what to look for: tp grep PATTERN")
        patterns, arguments = arguments[:1], arguments[1:]
    pattern = Pattern(
        patterns,
        fixed=fixed,
        ignore_case=case == "ignore",
        smart_case=case == "smart",
        words=words,
        whole_lines=whole_lines,
    )
    for name in lang:
        if not all(each in LANGUAGES for each in languages_called(name)):
            raise UsageError(f"there is no language {name!r}; `tp status` lists those of the index")
    pattern.compile()  # what is wrong with it is said before anything is opened
    location, within = _place(arguments, repo, index_dir)
    if invert:  # a line that does not match has no matches: it is shown and counted whole
        shown["only_matching"] = False
        shown["count"] |= shown.pop("count_matches")
    elif shown["count"] and shown["only_matching"]:
        shown["count_matches"] = True
    view = _View(count_matches=shown.pop("count_matches", False), **shown)
    wanted = GrepOptions(
        invert=invert,
        spans=view.needs_spans or as_json,
        before=max(before, around) if not view.is_short else 0,
        after=max(after, around) if not view.is_short else 0,
        most_in_file=max_count,
        in_path_order=order == "path",
    )
    open_index: Callable[..., AbstractContextManager[Index]] = ctx.obj.get("open_index", Index.open)
    with open_index(location, None) as index:
        looked = partial(index.grep, filters=filters, languages=lang, extensions=filetype, within=within)
        found = looked(pattern, options=wanted, freshness="quick" if refresh is None else "all" if refresh else "none")
        if without:
            matching = {each.path for each in found}
            every = looked(Pattern(("",)), options=GrepOptions(most_in_file=1, in_path_order=True), freshness="none")
            found = [each for each in every if each.path not in matching]
            view = _View(count_matches=False, **{**shown, "only_paths": True})
        if refresh is not False:
            options.tell_what_is_left(index)
    if as_json and without:
        echo_json({"pattern": patterns[0] if len(patterns) == 1 else patterns, "paths": [each.path for each in found]})
    elif as_json:
        echo_json(
            {"pattern": patterns[0] if len(patterns) == 1 else patterns, "files": [_as_json(each) for each in found]}
        )
    elif not quiet:
        view.show(found, location)
    ctx.exit(0 if found else 1)


def _place(paths: Sequence[str], repo: str | None, index_dir: str | None) -> tuple[Location, list[str]]:
    """The repository, and the places in it that were named, relative to its root. Raises `UsageError`."""
    from turboprop.workspace.location import Location

    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"there is no file or folder {printable_name(path)}; `tp grep` takes the pattern first")
    if repo is not None or not paths:
        location = Location.around(repo or ".", index_dir)
    else:
        first = Path(paths[0])
        location = Location.around(first if first.is_dir() else first.parent, index_dir)
    within = []
    for path in paths:
        place = Path(os.path.abspath(path))  # noqa: PTH100  a link's own name is what an index has
        place = place.parent.resolve() / place.name if place.name else place
        place = place.resolve() if place == Path(place.anchor) or not place.is_symlink() else place
        if place != location.root and not place.is_relative_to(location.root):
            raise UsageError(f"{printable_name(path)} lies outside of {location.root}; search one repository at a time")
        inside = place.relative_to(location.root).as_posix()
        within.append("" if inside == "." else shown_path(inside))
    if not within and location.below:
        within = [location.below]
    return location, within


def _as_json(one: FileMatches) -> dict[str, Any]:
    spans: Sequence[Sequence[tuple[int, int]]] = one.spans or [()] * len(one.numbers)
    return {
        "path": one.path,
        "language": one.language,
        "lines": [
            {"line": number, "text": text, "matches": [list(span) for span in places]}
            for number, text, places in zip(one.numbers, one.texts, spans, strict=True)
        ],
        **({"context": one.context} if one.context else {}),
    }


class _View:
    """How lines are printed."""

    def __init__(
        self,
        *,
        only_paths: bool,
        count: bool,
        count_matches: bool,
        only_matching: bool,
        numbers: bool,
        column: bool,
        heading: bool | None,
        color: str,
        max_columns: int | None,
        vimgrep: bool,
    ) -> None:
        terminal = sys.stdout.isatty()
        self._only_paths, self._count, self._count_matches = only_paths, count, count_matches
        self._only_matching, self._vimgrep = only_matching, vimgrep
        self._numbers, self._column = numbers or column or vimgrep, column or vimgrep
        self._colored = color == "always" or (color == "auto" and terminal and not os.environ.get("NO_COLOR"))
        self._heading = (terminal if heading is None else heading) and not vimgrep
        self._most = max_columns if max_columns is not None else _LONGEST_SHOWN if terminal and not vimgrep else 0
        self.is_short = only_paths or count or count_matches
        """Whether no lines are shown."""

    @property
    def needs_spans(self) -> bool:
        """Whether it shows where in a line the pattern stands."""
        marks = self._colored or self._only_matching or self._column
        return self._count_matches or (marks and not self.is_short)

    def show(self, found: Sequence[FileMatches], location: Location) -> None:
        """Print them; whatever the text holds, it does nothing to a terminal."""
        seen_from = location.seen_from_here()
        parts: list[str] = []
        for at, each in enumerate(found):
            place = os.path.relpath(each.path, seen_from).replace(os.sep, "/") if seen_from else each.path
            name = self._styled(printable_name(place), "magenta")
            name = linked(name, location.root / each.path) if self._colored else name
            if self._only_paths:
                parts.append(name)
            elif self._count_matches:
                parts.append(f"{name}:{sum(len(spans) or 1 for spans in each.spans)}")
            elif self._count:
                parts.append(f"{name}:{len(each.numbers)}")
            else:
                if self._heading:
                    parts += [""] * bool(at) + [name]
                elif at and each.context:
                    parts.append("--")
                parts += self._lines(each, "" if self._heading else name)
        if parts:
            click.echo("\n".join(parts), color=self._colored or None)

    def _lines(self, each: FileMatches, name: str) -> Iterable[str]:
        plain = not (self._colored or self._most or self._column or each.spans or each.context) and self._numbers
        if plain:  # what a pipe is given: 30,000 lines in 20 ms instead of 200
            prefix = f"{name}:" if name else ""
            whole = printable(
                "\n".join([f"{prefix}{n}:{text}" for n, text in zip(each.numbers, each.texts, strict=True)])
            )
            return [whole]
        return self._each_line(each, name)

    def _each_line(self, each: FileMatches, name: str) -> Iterator[str]:
        last = 0
        waiting = sorted(each.context)
        for at, (number, text) in enumerate(zip(each.numbers, each.texts, strict=True)):
            spans = each.spans[at] if each.spans else ()
            while waiting and waiting[0] < number:
                last = yield from self._context(each.context, waiting.pop(0), last, name)
            if each.context and last and number > last + 1:
                yield "--"
            last = number
            # `^` matches, and there is nothing of it to show.
            nowhere = () if self._only_matching else ((0, 0),)
            for place in (spans if self._vimgrep or self._only_matching else spans[:1]) or nowhere:
                shown = text[slice(*place)] if self._only_matching else text
                marked = ((0, len(shown)),) if self._only_matching else spans
                column = f"{len(text[: place[0]].encode('utf-8', 'replace')) + 1}:" if self._column else ""
                where = f"{self._styled(str(number), 'green')}:" if self._numbers else ""
                yield f"{name}{':' * bool(name)}{where}{column}{self._text(shown, marked)}"
        for number in waiting:
            last = yield from self._context(each.context, number, last, name)

    def _context(self, context: Mapping[int, str], number: int, last: int, name: str) -> Generator[str, None, int]:
        if last and number > last + 1:
            yield "--"
        where = f"{self._styled(str(number), 'green')}-" if self._numbers else ""
        yield f"{name}{'-' * bool(name)}{where}{self._text(context[number], ())}"
        return number

    def _text(self, text: str, spans: Sequence[tuple[int, int]]) -> str:
        cut = self._most and len(text) > self._most
        begin = 0
        if cut:
            # The part where the first match is.
            begin = max(0, min(spans[0][0] - self._most // 4, len(text) - self._most)) if spans else 0
            end = begin + self._most
        else:
            end = len(text)
        out = [f"[{begin} characters] ..."] if begin else []
        at = begin
        for first, last in spans if self._colored else ():
            if first >= at and last <= end:
                out += [printable(text[at:first]), self._styled(printable(text[first:last]), "red", bold=True)]
                at = last
        out.append(printable(text[at:end]))
        if end < len(text):
            out.append(f"... [{len(text) - end} more characters]")
        return "".join(out)

    def _styled(self, text: str, color: str, **more: bool) -> str:
        return click.style(text, fg=color, **more) if self._colored else text
