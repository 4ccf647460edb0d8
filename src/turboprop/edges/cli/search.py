"""`tp search`: the best chunks for a query."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

import click

from turboprop import limits
from turboprop.edges.cli import options
from turboprop.edges.cli.first_index import make_index, root_to_index
from turboprop.edges.cli.hits import OUTPUTS, print_hits
from turboprop.edges.cli.input import text_or_input
from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.printable import echo, printable_message, printable_name
from turboprop.types import SearchFilter
from turboprop.workspace.merged import RepoHit, repository_names

if TYPE_CHECKING:
    from pathlib import Path

    from turboprop.workspace.index import Index
    from turboprop.workspace.location import Location


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option(
    "--repo",
    "repos",
    type=options.Folder(),
    multiple=True,
    metavar="PATH",
    help="A repository, or a folder in one to search in; repeatable.  [default: the current folder's repository]",
)
@options.model
@options.hits
@click.option(
    "--mode",
    type=click.Choice(limits.MODES),
    default="hybrid",
    show_default=True,
    help="By meaning and words, by meaning, or by words alone (needs no model).",
)
@click.option("--by", type=click.Choice(limits.UNITS), default="chunk", show_default=True, help="What is found.")
@options.narrowing
@click.option("--regex", metavar="PATTERN", default="", help="Only what has a line that matches, as for `tp grep`.")
@click.option("--threshold", type=float, metavar="SCORE", help="Leave out hits with a lower score.")
@options.widening
@click.option("--rerank", metavar="MODEL", help="Read the first hits again with this reranker.")
@click.option(
    "--rerank-top",
    type=options.InRange(limits.RERANKED_HITS),
    metavar="N",
    help="How many of them [default: 30, or 100].",
)
@click.option("--explain", is_flag=True, help="Say for each hit what its score is made of.")
@options.index_dir
@options.engine
@options.weights
@options.verbose
@click.option(
    "--refresh/--no-refresh",
    default=None,
    help="Bring in what changed first [default: where that takes less than a moment].",
)
@click.option("--here", is_flag=True, help="Search in the current folder alone, not in all of its repository.")
@click.option(
    "--no-server",
    is_flag=True,
    expose_value=False,  # decided before the command runs, where the command line is looked at first
    help="Search in this process, and start no server.",
)
@click.option("--build", is_flag=True, help="Make the index first where there is none.")
@click.option("--output", type=click.Choice(OUTPUTS), default="text", show_default=True)
@options.as_json
@click.pass_context
def search(
    ctx: click.Context,
    query: tuple[str, ...],
    repos: tuple[str, ...],
    model: str | None,
    limit: int,
    mode: Any,
    by: Any,
    filetype: tuple[str, ...],
    lang: tuple[str, ...],
    filters: tuple[str, ...],
    regex: str,
    threshold: float | None,
    context: int,
    full: bool,
    rerank: str | None,
    rerank_top: int | None,
    explain: bool,
    index_dir: str | None,
    engine: str | None,
    weights: Any,
    verbose: bool,
    refresh: bool | None,
    here: bool,
    build: bool,
    output: str,
    as_json: bool,
) -> None:
    """Search a repository by meaning and by words.

    The repository is the indexed one that the current folder is in. Several words need no quotes; `-` reads the query
    from standard input, as a long traceback. A last word that is written as a path and names a folder or a file (./app,
    src/app.py) is the repository, or the part of one, to search in.

    Ends with 0 when something was found, 1 when nothing was and 2 on an error.
    """
    if index_dir is not None and len(repos) > 1:
        raise UsageError("--index belongs to one repository; leave it out, or search in one")
    if rerank_top is not None and rerank is None:
        raise UsageError("--rerank-top says how many hits a reranker reads; name one with --rerank MODEL")
    from turboprop.code.language_names import languages_called
    from turboprop.search.analysis import is_searchable
    from turboprop.search.sureness import of_answer
    from turboprop.workspace.location import Location
    from turboprop.workspace.together import nearest_words, search_together

    if not repos and options.last_is_a_file(query):
        query, filters = query[:-1], (*filters, re.sub(r"[*?\[\]{}]", r"\\\g<0>", os.path.realpath(query[-1])))
    text, folder = (" ".join(query), None) if repos else options.words_and_folder(query)
    if text == "-":
        text = text_or_input(())
    kind = "json" if as_json else output
    started = time.perf_counter()
    with ExitStack() as stack:
        indexes: dict[Path, Index] = {}
        below: dict[Path, str] = {}
        missing: list[IndexNotFoundError] = []
        for place in repos or (folder or ".",):
            location = Location.around(place, index_dir)
            if location.root not in indexes:
                try:
                    opened = _open(ctx, location, model, engine, weights, build)
                except IndexNotFoundError as error:
                    root = root_to_index(location, index_dir) if kind == "text" and not repos[1:] else None
                    if root is None:
                        missing.append(error)
                        continue
                    opened = make_index(ctx, Location.at(root, index_dir), model, engine=engine, weights=weights)
                    location = Location.around(place, index_dir)
                indexes[location.root] = stack.enter_context(opened)
            inside = location.below if here or repos or folder else ""
            # Two folders of one repository: what holds both is searched.
            below[location.root] = inside if below.get(location.root, inside) == inside else ""
        if missing and not indexes:
            raise missing[0]
        for absent in missing:
            echo(f"tp: left out: {printable_message(str(absent))}", err=True)
        _bring_in(indexes.values(), refresh)
        first = next(iter(indexes.values()))
        seen_from = first.location.seen_from_here()  # as other programs tell their paths
        found = search_together(
            list(indexes.values()),
            text,
            limit,
            mode,
            wanted=SearchFilter.of(options.seen_from_root(filters, seen_from), lang, filetype, regex),
            threshold=threshold,
            by=by,
            context=context,
            full=full,
            rerank=rerank,
            rerank_top=rerank_top,
            freshness="none",
            below=list(below.values()),
        )
        if verbose and mode != "lexical" and first.has_model:
            echo(options.choice_text(stack.enter_context(first.embedding()).model), err=True)
        if verbose and rerank is not None:
            echo(options.choice_text(stack.enter_context(first.reranker(rerank)).model), err=True)
        names = dict(zip(indexes, [""] if len(indexes) == 1 else repository_names(list(indexes)), strict=True))
        models = ", ".join(dict.fromkeys(index.model_name for index in indexes.values()))
        indexed = _languages(indexes.values()) if lang and not found else []
        nearest = [] if found or not is_searchable(text) else list(nearest_words(list(indexes.values()), text))
        headers = [index.reader.header for index in indexes.values()]
        chunks = sum(header.rows for header in headers)
        vectors = round(sum(header.vectors for header in headers) / chunks, 4) if chunks else 1.0
    seen_from = first.location.seen_from_here()  # as other programs tell their paths
    best = [RepoHit(names[index.repo], hit, seen_from, index.repo) for index, hit in found]
    took = round((time.perf_counter() - started) * 1000, 1)
    sure = of_answer(one.hit for one in best)
    facts = {"query": text, "model": models, "vectors": vectors, "took_ms": took, "sure": sure, "nearest": nearest}
    print_hits(best, kind, whole=full or context > 0, explain=explain, **facts)
    if not best and kind != "json":
        unknown = [name for name in lang if not set(languages_called(name)) & set(indexed)]
        if unknown:
            why = f"no {' or '.join(unknown)} is indexed; there is {', '.join(indexed)}"
        elif not is_searchable(text):
            why = "the query has no word to look for"
        else:
            why = f"did you mean {' or '.join(map(printable_name, nearest))}?" if nearest else ""
            if not why and mode == "lexical" and first.has_model:
                why = "nothing here has these words; without `--mode lexical` it is searched by meaning too"
        echo("nothing found" + (f": {why}" if why else ""), err=True)
    elif kind == "text" and sure == "weak":
        echo("tp: no hit is sure: each holds few of the query's words, or is only somewhat near in meaning", err=True)
    ctx.exit(0 if best else 1)


def _bring_in(indexes: Iterable[Index], wanted: bool | None) -> None:
    """Bring in what changed: always, never, or where that is quick."""
    from turboprop.edges.cli.bars import progress_bar

    for index in indexes:
        if wanted is False:
            options.tell_what_is_left(index)
            continue
        with progress_bar() as progress:
            index.bring_in("all" if wanted else "quick", progress)
        options.tell_what_is_left(index)


def _languages(indexes: Iterable[Index]) -> list[str]:
    """The languages that are indexed; '' is plain text, which has no name to narrow by."""
    files = (file for index in indexes for file in index.manifest().files.values())
    return sorted({file.language for file in files} - {""})


def _open(
    ctx: click.Context,
    location: Location,
    model: str | None,
    engine: str | None,
    weights: Any,
    build: bool,
) -> AbstractContextManager[Index]:
    from turboprop.edges.cli.download import transfer_progress
    from turboprop.workspace.index import Index

    open_index: Callable[..., AbstractContextManager[Index]] = ctx.obj.get("open_index", Index.open)
    try:
        return open_index(location, model, engine=engine, weights=weights, model_progress=transfer_progress())
    except IndexNotFoundError:
        if not build:
            raise
    return make_index(ctx, location, model, engine=engine, weights=weights)
