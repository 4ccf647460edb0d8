"""`tp similar`: code like that at a place."""

from __future__ import annotations

import re

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.hits import OUTPUTS, print_hits
from turboprop.errors import UsageError
from turboprop.search.places import as_indexed, find_mentions
from turboprop.workspace.merged import RepoHit

_PLACE = re.compile(r"(?P<path>.+?):(?P<line>\d+)(?:[-:].*)?")


@click.command()
@click.argument("place", metavar="PATH:LINE")
@options.repo
@options.hits
@options.narrowing
@options.widening
@options.index_dir
@click.option("--output", type=click.Choice(OUTPUTS), default="text", show_default=True)
@options.as_json
@click.pass_context
def similar(
    ctx: click.Context,
    place: str,
    repo: str,
    limit: int,
    filetype: tuple[str, ...],
    lang: tuple[str, ...],
    filters: tuple[str, ...],
    context: int,
    full: bool,
    index_dir: str | None,
    output: str,
    as_json: bool,
) -> None:
    """Code like that at PATH:LINE, by meaning. Loads no model: indexed vectors are compared.

    Ends with 0 when something was found and 1 when nothing was.
    """
    match = _PLACE.fullmatch(place)
    path, line = (match["path"], int(match["line"])) if match is not None else ("", 0)
    if not line:  # `#L12`, `(12)`, ` line 12`: whatever names a place to a search
        path, line = next(((each.before, each.line) for each in find_mentions(place) if each.line), ("", 0))
    if not line:
        raise UsageError(f"{place!r} is no place; write it as src/app.py:12")
    from turboprop.workspace.index import Index
    from turboprop.workspace.location import Location

    location = Location.around(repo, index_dir)
    with Index.open(location) as index:
        hits = index.similar(
            as_indexed(path, index.manifest().files, location.seen_from_here() or location.below),
            line,
            limit,
            filters=options.seen_from_root(filters, location.seen_from_here()),
            languages=lang,
            extensions=filetype,
            context=context,
            full=full,
        )
        name = index.model_name
        options.tell_what_is_left(index)
    kind = "json" if as_json else output
    seen_from = location.seen_from_here()
    found = [RepoHit("", hit, seen_from, location.root) for hit in hits]
    print_hits(found, kind, whole=full or context > 0, place=place, model=name)
    ctx.exit(0 if hits else 1)
