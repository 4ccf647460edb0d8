"""Several indexes searched at once, in one order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from turboprop import limits
from turboprop.errors import EndpointError
from turboprop.limits import Mode, Unit
from turboprop.types import Hit, SearchFilter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.index.read import IndexReader
    from turboprop.rerank.model import Reranker
    from turboprop.runtime.leases import EmbeddingLease
    from turboprop.workspace.index import Freshness, Index

_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]")
"""What a terminal was told (CSI sequences of ECMA-48): Python 3.13 and compilers colour what they say."""
_EMBEDDED = 20_000
"""Characters of a query that its vector is made from; most models take less."""


def nearest_words(indexes: Sequence[Index], query: str) -> tuple[str, ...]:
    """Words of the indexes for those of a query that nothing holds, written nearly like them; the likest first."""
    from turboprop.search.nearest import nearest_words as nearest

    return nearest([index.reader for index in indexes], query)


def search_together(
    indexes: Sequence[Index],
    query: str,
    limit: int = 10,
    mode: Mode = "hybrid",
    *,
    wanted: SearchFilter | None = None,
    threshold: float | None = None,
    by: Unit = "chunk",
    context: int = 0,
    full: bool = False,
    vector: NDArray[np.float32] | None = None,
    rerank: str | Reranker | None = None,
    rerank_top: int | None = None,
    freshness: Freshness = "quick",
    below: Sequence[str] = (),
) -> list[tuple[Index, Hit]]:
    """The best chunks of several indexes in one order, as `Index.search`; each with the index that it is of.

    Without a `threshold` there are none where nothing carries the query (`turboprop.search.sureness`); `nearest_words`
    then has what may have been meant.

    Scores of indexes that one model made compare. `vector` is for indexes of that one model alone. `below` narrows
    each index to a folder of its repository, '' to none.
    """
    from turboprop.search.analysis import analyse, is_searchable
    from turboprop.search.search import search_together as best_of
    from turboprop.search.sureness import of_answer

    limits.check_search(query, limit, mode, by)
    query = _COLOURS.sub("", query)
    if rerank_top is not None:
        limits.RERANKED_HITS.check(rerank_top)
    for index in indexes:
        index.bring_in(freshness)
    if vector is None and not is_searchable(query):
        return []
    readers = [index.reader for index in indexes]
    narrowed = [replace(wanted or SearchFilter(), below=folder) for folder in below or [""] * len(indexes)]
    vectors: dict[str, NDArray[np.float32]] = {}
    if mode != "lexical":
        for index, reader in zip(indexes, readers, strict=True):
            fingerprint = reader.header.spec.fingerprint
            if not reader.header.vectors:
                continue
            if vector is not None:
                vectors[fingerprint] = vector
            elif fingerprint not in vectors:
                try:
                    with index.embedding() as lease:
                        vectors[fingerprint] = embedded(lease, query)
                except EndpointError as error:
                    said = f"{error} (words need no model: `tp search --mode lexical`)"
                    raise EndpointError(said, error.status) from error
    most = limit
    if rerank is not None:
        from turboprop.search.rerank import RERANKED_LATE, rerank_places, reranked_by

        most = max(limit, rerank_top or RERANKED_LATE)
    found = best_of(
        readers,
        query,
        [vectors.get(reader.header.spec.fingerprint) for reader in readers],
        limit=most,
        mode=mode,
        filters=narrowed,
        threshold=threshold,
        by=by,
    )
    # A line that matches speaks for its chunk, whatever the words of the query do.
    is_narrowed = wanted is not None and bool(wanted.regex)
    if threshold is None and vector is None and not is_narrowed and of_answer(h for _, h in found) == "nothing":
        found = []
    if rerank is not None and found:
        with ExitStack() as stack:
            second = stack.enter_context(indexes[0].reranker(rerank)).model if isinstance(rerank, str) else rerank
            found = found[: max(limit, rerank_top or reranked_by(second))]
            again = rerank_places(query, [hit for _, hit in found], second, rerank_top)
        found = [(found[place][0], hit) for place, hit in again[:limit]]
    # A reranker's scores end at 1.
    score = 1.0 if rerank is not None else None
    found = _answers(readers, query, limit, narrowed, by, found, score=score, threshold=threshold)
    analysed = analyse(query)
    shown = {
        at: iter(index._shown(reader, [hit for place, hit in found if place == at], context, full, analysed))
        for at, (index, reader) in enumerate(zip(indexes, readers, strict=True))
    }
    return [(indexes[at], next(shown[at])) for at, _ in found]


def embedded(lease: EmbeddingLease, query: str) -> NDArray[np.float32]:
    """The query's vector."""
    return of_parts([lease.embed_query(part) for part in embedded_parts(query)])


def embedded_parts(query: str) -> list[str]:
    """What is embedded of a query: the whole, and of a report its title, too: a model reads the first 256 words or so
    of a text, and what is wrong is said in the title."""
    from turboprop.search.analysis import analyse, title_of
    from turboprop.search.places import gist

    title = title_of(query)
    whole = gist(query)[:_EMBEDDED]
    return [whole, title] if title and analyse(query).is_report else [whole]


def of_parts(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """A query's vector from those of its parts: of several the sum, each of length 1."""
    if len(vectors) == 1:
        return vectors[0]
    total = _unit(vectors[0])
    for vector in vectors[1:]:
        total = total + _unit(vector)
    return total


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    return vector / np.float32(max(float(np.sqrt(np.square(vector).sum())), 1e-12))


def _answers(
    readers: Sequence[IndexReader],
    query: str,
    limit: int,
    wanted: Sequence[SearchFilter],
    by: Unit,
    found: list[tuple[int, Hit]],
    *,
    score: float | None,
    threshold: float | None,
) -> list[tuple[int, Hit]]:
    """The hits, behind those that answer a question for the definitions, calls or implementations of a name: with
    `score`, where it is given, and none below `threshold`."""
    from turboprop.search.symbols import answer_hits, question_of

    question = question_of(query)
    if question is None:
        return found
    answers = [
        (at, hit)
        for at, (reader, narrowed) in enumerate(zip(readers, wanted, strict=True))
        for each in answer_hits(reader, query, limit, narrowed)
        if threshold is None or each.score >= threshold
        for hit in [each if score is None else replace(each, score=score)]
    ]
    asked, name = question
    # `where is authentication defined` may be answered by meaning, `what calls auth_user` only by that name.
    if not answers and (asked != "definitions" or not name.islower() or "_" in name) and not _is_held(readers, name):
        return []
    kept: dict[tuple[object, ...], tuple[int, Hit]] = {}
    for at, hit in (*answers, *found):
        kept.setdefault((at, hit.path) if by == "file" else (at, hit.path, hit.start_line), (at, hit))
    return list(kept.values())[:limit]


def _is_held(readers: Sequence[IndexReader], name: str) -> bool:
    """Whether an index has all parts of a name; else what is asked of it has no answer."""
    from turboprop.code.terms import counted_terms

    terms = set(counted_terms(name))
    return any(all(len(reader.lexicon.postings(term)[0]) for term in terms) for reader in readers)
