"""Candidates of each side of a search, before they are fused and ranked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from turboprop.index.read import Candidate, IndexReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_QUERY_WORDS = 64
"""Different words of a query that are looked up, the first ones; pasted code can have thousands."""

_WORD = re.compile(r"\w+")


def semantic_candidates(
    reader: IndexReader, vector: NDArray[np.float32], limit: int, where: str | None
) -> list[Candidate]:
    """The chunks nearest to a query vector, float32 [dimensions], by cosine similarity."""
    return reader.vector_search(vector, limit, where)


def lexical_candidates(reader: IndexReader, query: str, limit: int, where: str | None) -> list[Candidate]:
    """The chunks that hold the query's words, by BM25.

    A word of the path or of the symbol counts as much as one of the text: each chunk has the better of
    its two scores.
    """
    words = " ".join(list(dict.fromkeys(_WORD.findall(query)))[:MAX_QUERY_WORDS])
    return reader.text_search(words, limit, where)
