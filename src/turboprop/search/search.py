"""A query to hits: candidates, fusion, threshold, the rows themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from turboprop.errors import UsageError
from turboprop.index.read import IndexReader
from turboprop.search.candidates import lexical_candidates, semantic_candidates
from turboprop.search.filters import compile_filter
from turboprop.search.fusion import reciprocal_rank_fusion
from turboprop.types import Hit, SearchFilter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Mode = Literal["hybrid", "semantic", "lexical"]
MODES: tuple[str, ...] = get_args(Mode)

MIN_CANDIDATES = 50
CANDIDATES_PER_HIT = 3
"""Each side brings max(50, 3 x limit): a chunk that neither ranks among these cannot reach the top."""


def search(
    reader: IndexReader,
    query: str,
    vector: NDArray[np.float32] | None,
    *,
    limit: int = 10,
    mode: str = "hybrid",
    filters: SearchFilter | None = None,
    threshold: float | None = None,
) -> list[Hit]:
    """The best chunks for a query, best first.

    `vector` is the query's embedding, float32 [dimensions]; `lexical` needs none. Scores are cosine
    similarities (semantic), BM25 (lexical) or fused ranks between 0 and 1 (hybrid); hits below
    `threshold` are left out. Raises `UsageError` for an unknown mode, a missing vector or a bad filter.
    """
    if mode not in MODES:
        raise UsageError(f"no search mode {mode!r}; there are {', '.join(MODES)}")
    if mode != "lexical" and vector is None:
        raise UsageError(f"the search mode {mode} needs the query's vector")
    if limit < 1:
        raise UsageError(f"a limit of {limit}; ask for at least one hit")
    where = compile_filter(filters) if filters is not None else None
    depth = max(MIN_CANDIDATES, CANDIDATES_PER_HIT * limit)
    scored: list[tuple[int, float]]
    if mode == "semantic" and vector is not None:
        scored = [(found.row_id, found.score) for found in semantic_candidates(reader, vector, limit, where)]
    elif mode == "lexical" or vector is None:
        scored = [(found.row_id, found.score) for found in lexical_candidates(reader, query, limit, where)]
    else:
        sides = (
            semantic_candidates(reader, vector, depth, where),
            lexical_candidates(reader, query, depth, where),
        )
        scored = reciprocal_rank_fusion([[found.row_id for found in side] for side in sides])
    best = [item for item in scored[:limit] if threshold is None or item[1] >= threshold]
    rows = reader.fetch([row_id for row_id, _ in best])
    return [
        Hit(
            path=row["path"],
            start_line=row["start_line"],
            end_line=row["end_line"],
            score=score,
            language=row["language"],
            symbol=row["symbol"],
            text=row["text"],
            kind=row["kind"],
        )
        for row, (_, score) in zip(rows, best, strict=True)
    ]
