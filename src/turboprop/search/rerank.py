"""The first hits, read again by a reranker together with the query, and blended with the places that they had.

The blend is that of qmd (github.com/tobi/qmd, README, "Position-Aware Blending"): a reranker that was trained on
prose should not throw out what matches exactly, so the first places count more than what it says, the later less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from turboprop.index.schema import embedded_text
from turboprop.rerank.inputs import CODE_INSTRUCTION
from turboprop.types import Chunk, Hit

if TYPE_CHECKING:
    from turboprop.rerank.model import Reranker

RERANKED = 30
"""Hits that are read again, as in qmd."""
RERANKED_LATE = 100
"""The same of a late-interaction model, whose vectors of a chunk are computed once."""
PLACE_WEIGHTS = ((3, 0.75), (10, 0.60))
"""Up to this place, the first ranking counts so much, the reranker the rest."""
LATER_WEIGHT = 0.40


def reranked_by(reranker: Reranker) -> int:
    """How many hits are read again where nobody says."""
    return RERANKED_LATE if reranker.is_late else RERANKED


def rerank(query: str, hits: Sequence[Hit], reranker: Reranker, top: int | None = None) -> list[Hit]:
    """The hits in their new order; as `rerank_places`."""
    return [hit for _, hit in rerank_places(query, hits, reranker, top)]


def rerank_places(query: str, hits: Sequence[Hit], reranker: Reranker, top: int | None = None) -> list[tuple[int, Hit]]:
    """The hits in their new order, each with its place in `hits`; the first `top` (`reranked_by`) are scored, and each
    keeps its place's share.

    The new score is `w / place + (1 - w) * p`, 0 to 1: `place` counts from 1, `w` is the place's weight, `p` the
    reranker's probability. Of a late-interaction model, whose scores lie close together, `p` is 0 for the least of
    those that were read and 1 for the largest. A hit that was not read again has `p` 0, so it stays behind those that
    were.
    """
    documents = [embedded_text(_chunk(hit)) for hit in hits[: top or reranked_by(reranker)]]
    task = CODE_INSTRUCTION if reranker.takes_instruction else None
    chances = reranker.chances(query, documents, instruction=task)
    if reranker.is_late and len(chances):
        chances = (chances - chances.min()) / max(float(np.ptp(chances)), 1e-9)
    blended = []
    for place, hit in enumerate(hits, 1):
        weight = place_weight(place)
        parts = {**hit.parts, "first score": hit.score, "first place": float(place), "place weight": weight}
        score = weight / place
        if place <= len(documents):
            parts["reranker"] = float(chances[place - 1])
            score += (1 - weight) * parts["reranker"]
        blended.append((place - 1, replace(hit, score=score, parts=parts)))
    return sorted(blended, key=lambda each: -each[1].score)


def place_weight(place: int) -> float:
    """What the first ranking counts at a place."""
    return next((weight for last, weight in PLACE_WEIGHTS if place <= last), LATER_WEIGHT)


def _chunk(hit: Hit) -> Chunk:
    return Chunk(hit.path, hit.language, hit.kind, hit.symbol, hit.start_line, hit.end_line, hit.text)
