"""Several rankings into one."""

from __future__ import annotations

from collections.abc import Sequence

RRF_K = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""


def reciprocal_rank_fusion(rankings: Sequence[Sequence[int]], k: int = RRF_K) -> list[tuple[int, float]]:
    """Row ids with their fused score, best first: the sum of 1 / (k + rank) over the rankings.

    Scores are divided by the greatest possible one, so a row that leads every ranking has 1.0. Equal
    scores keep the order of the first ranking that holds them.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, row_id in enumerate(ranking, start=1):
            scores[row_id] = scores.get(row_id, 0.0) + 1.0 / (k + rank)
    most = len(rankings) / (k + 1.0)
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    return [(row_id, score / most) for row_id, score in ordered]
