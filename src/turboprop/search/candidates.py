"""The rows that are worth ranking: the best by words and the best by vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turboprop.index.read import IndexReader
from turboprop.search.analysis import Query
from turboprop.search.ranking import Candidates

if TYPE_CHECKING:
    from turboprop.index.read import Candidate

LEXICAL, DENSE = 200, 100
"""Rows that each side brings at least. With 400 and 200 the nine repositories gain less than 0.001."""
PER_HIT = 3
_LEAST_SPREAD = 1e-3


def find_candidates(
    reader: IndexReader,
    query: Query,
    vector: NDArray[np.float32] | None,
    *,
    by_words: bool,
    where: str | None,
    limit: int,
) -> Candidates:
    """The candidates of a query; without `vector` the words alone decide, without `by_words` the vectors.

    A row that the vectors did not bring counts as the last one that they did, not as nothing.
    """
    lexicon = reader.lexicon
    rows: NDArray[np.int64] = np.empty(0, np.int64)
    lexical = np.zeros(lexicon.rows, np.float32)
    terms = {
        term: weight
        for term, weight in query.terms.items()
        if term not in query.if_there or len(lexicon.postings(term)[0])
    }
    if terms:
        lexical = lexicon.scores(terms)
        if by_words:
            if where is not None:
                lexical = np.where(reader.allowed(where), lexical, np.float32(0))
            rows = _best(lexical, max(LEXICAL, PER_HIT * limit))
    dense: Sequence[Candidate] = ()
    if vector is not None:
        dense = reader.vector_search(vector, max(DENSE, PER_HIT * limit), where)
    near = lexicon.rows_of([found.row_id for found in dense])
    cosines = np.array([found.score for found in dense])[near >= 0]
    near = near[near >= 0]
    rows = np.union1d(rows, near)
    cosine = np.full(len(rows), cosines.min() if len(cosines) else 0.0)
    cosine[np.searchsorted(rows, near)] = cosines
    deviations = np.zeros(len(rows))
    if vector is not None and len(cosines):
        deviations = _deviations(cosine, lexicon.sample, vector)
    shares = lexical[rows].astype(np.float64) if by_words else np.zeros(len(rows))
    return Candidates(rows, shares, cosine, deviations)


def _best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The rows with the highest scores above zero."""
    best = np.argpartition(-scores, count)[:count] if count < len(scores) else np.arange(len(scores))
    return best[scores[best] > 0]


def _deviations(
    cosine: NDArray[np.float64], sample: NDArray[np.float16], vector: NDArray[np.float32]
) -> NDArray[np.float64]:
    """How many standard deviations the cosines lie above the mean of the index, estimated from a sample."""
    unit = vector / max(float(np.linalg.norm(vector)), 1e-12)
    # Not `@`: from 460,000 numbers on (450 rows of 1,024) it wakes threads that keep a core busy for 100 ms.
    all_cosines = np.einsum("ij,j->i", sample.astype(np.float32), unit)
    spread = max(float(all_cosines.std()), _LEAST_SPREAD)
    return (cosine - float(all_cosines.mean())) / spread
