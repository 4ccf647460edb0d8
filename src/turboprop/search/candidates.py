"""The rows that are worth ranking: the best by words and the best by vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turboprop.code.terms import definition_hash
from turboprop.index.read import IndexReader
from turboprop.search.analysis import Query
from turboprop.search.ranking import Candidates

if TYPE_CHECKING:
    from turboprop.index.lexicon import Lexicon

DEFINING = 50
"""Rows that define a name which the query has. The first line of a long class may stand in a chunk that says little."""
LEXICAL, DENSE = 200, 100
"""Rows that each side brings at first. With 400 and 200 the nine repositories gain less than 0.001."""
WIDER = 3
"""How many times more rows each side brings where the first did not give hits enough."""
_LEAST_SPREAD = 1e-3
_FEW_ROWS = 3
_USUAL = (0.1, 0.1)
"""Mean and spread of cosines of all-MiniLM-L6-v2, which stand in for those of an index of next to no rows: a single
chunk has no spread, and would stand out of nothing, whatever it says."""


@dataclass(frozen=True, slots=True)
class WordStatistics:
    """Over all tables that are searched together: their rows, and how many hold each of the query's terms."""

    rows: int
    holding: Mapping[int, int]

    def rarity(self, term: int) -> float:
        """How much a term tells its holders from the others, 0 where nothing holds it."""
        held = self.holding[term]
        return math.log(1 + (self.rows - held + 0.5) / (held + 0.5)) if held else 0.0


def word_statistics(query: Query, lexicons: Sequence[Lexicon]) -> WordStatistics:
    """Count the rows of tables, and those that hold each term of the query."""
    holding = {term: sum(len(lexicon.postings(term)[0]) for lexicon in lexicons) for term in query.terms}
    return WordStatistics(sum(lexicon.rows for lexicon in lexicons), holding)


def cosine_statistics(tables: Sequence[tuple[NDArray[np.float16], NDArray[np.float32]]]) -> tuple[float, float]:
    """Mean and standard deviation of the query's cosines with rows of one model, from each table's sample, float16
    [n, dimensions] of unit length, and the query's vector as it is meant there."""
    units = [vector / max(float(np.linalg.norm(vector)), 1e-12) for _, vector in tables]
    # Not `@`: from 460,000 numbers on (450 rows of 1,024) it wakes threads that keep a core busy for 100 ms.
    cosines = np.concatenate(
        [np.einsum("ij,j->i", sample.astype(np.float32), unit) for (sample, _), unit in zip(tables, units, strict=True)]
    )
    if not len(cosines):
        return 0.0, 1.0
    if len(cosines) < _FEW_ROWS:
        return _USUAL
    return float(cosines.mean()), max(float(cosines.std()), _LEAST_SPREAD)


def find_candidates(
    reader: IndexReader,
    query: Query,
    vector: NDArray[np.float32] | None,
    words: WordStatistics,
    cosines: tuple[float, float],
    *,
    by_words: bool,
    where: str | None,
    times: int = 1,
) -> Candidates:
    """The candidates of a query; without `vector` the words alone decide, without `by_words` the vectors.

    Each side brings `times` as many rows as `LEXICAL` and `DENSE` say. Every row has its own cosine, also one that
    only its words brought, or, while it waits for its vector, the usual one of those.
    """
    lexicon = reader.lexicon
    rows: NDArray[np.int64] = np.empty(0, np.int64)
    lexical = np.zeros(lexicon.rows, np.float32)
    more = False
    terms = {term: weight for term, weight in query.terms.items() if term not in query.if_there or words.holding[term]}
    if terms:
        lexical = lexicon.scores(terms, words.rows, words.holding)
        if by_words:
            if where is not None:
                lexical = np.where(reader.allowed(where), lexical, np.float32(0))
            rows = _best(lexical, times * LEXICAL)
            more = len(rows) == times * LEXICAL
            rows = np.union1d(rows, _defining(lexicon, query, lexical))
    cosine = deviations = np.zeros(len(rows))
    if vector is not None:
        dense = reader.vector_search(vector, times * DENSE, where)
        more = more or len(dense) == times * DENSE
        near = lexicon.rows_of([found.row_id for found in dense])
        nearest = np.array([found.score for found in dense])[near >= 0]
        near = near[near >= 0]
        rows = np.union1d(rows, near)
        cosine = np.empty(len(rows))
        at = np.searchsorted(rows, near)
        cosine[at] = nearest
        # 250 vectors of 384 dimensions take 2.8 ms among 100,000 rows.
        far = np.delete(np.arange(len(rows)), at)
        cosine[far] = reader.cosines(lexicon.row_ids[rows[far]].tolist(), vector)
        mean, spread = cosines
        deviations = (cosine - mean) / spread
        # While vectors are being made: a row without one is as near as the others that its words brought usually are.
        if (waiting := np.isnan(cosine)).any():
            usual = deviations[~waiting & (lexical[rows] > 0)]
            deviations[waiting] = np.median(usual) if len(usual) else 0.0
            cosine[waiting] = mean + spread * deviations[waiting]
    shares = lexical[rows].astype(np.float64) if by_words else np.zeros(len(rows))
    return Candidates(rows, shares, cosine, deviations, more)


def _defining(lexicon: Lexicon, query: Query, lexical: NDArray[np.float32]) -> NDArray[np.int64]:
    """The rows that define what the query names, the best by words first where they are many."""
    found = [lexicon.postings(definition_hash(name))[0] for name in query.names]
    rows = np.unique(np.concatenate(found)).astype(np.int64) if found else np.empty(0, np.int64)
    rows = rows[lexical[rows] > 0]
    return rows[np.argsort(-lexical[rows], kind="stable")[:DEFINING]]


def _best(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The rows with the highest scores above zero."""
    best = np.argpartition(-scores, count)[:count] if count < len(scores) else np.arange(len(scores))
    return best[scores[best] > 0]
