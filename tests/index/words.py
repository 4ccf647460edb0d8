"""What the words of an index find by themselves: tests look through it whether a table's postings are its rows'."""

from __future__ import annotations

import numpy as np

from turboprop.code.terms import counted_terms
from turboprop.index.read import Candidate, IndexReader


def text_search(reader: IndexReader, query: str, limit: int, where: str | None = None) -> list[Candidate]:
    """The rows that hold words of `query`, by BM25F, as a share of what the words could reach."""
    lexicon = reader.lexicon
    scores = lexicon.scores(dict.fromkeys(counted_terms(query), 1.0))
    if where is not None:
        scores = np.where(reader.allowed(where), scores, 0)
    best = np.argsort(-scores, kind="stable")[:limit]
    return [Candidate(int(lexicon.row_ids[row]), float(scores[row])) for row in best if scores[row] > 0]
