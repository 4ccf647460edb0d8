"""How sure a hit is: `strong`, `weak`, or `nothing` where nothing speaks for it.

A best hit always has the best score there is, so the score cannot tell. Two things can: the share of the query's words
that a chunk holds, rare ones counting more, and how near its meaning comes, measured on the index itself: 0 is how
alike chunks are that have nothing to do with each other, 1 how alike a chunk and its nearest one are. (How far a cosine
stands out of the others tells nothing: it is the same for queries with an answer and without, AUC 0.52.) The numbers
were fitted on 25 repositories with their own queries and those of others: docs/decisions/0003-ranking.md has the rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from turboprop.types import SURENESS, Sureness

if TYPE_CHECKING:
    from turboprop.types import Hit

BIAS, WORDS, NEARNESS = -6.77, 5.88, 8.41
"""Logistic regression of "is answered" on both signals of the best hit."""
STRONG, NOTHING = -0.5, -5.0
"""Bounds of its log-odds. No query with an answer lies below the lower one."""
STRONG_WORDS, NO_WORDS = 0.35, 0.06
"""Bounds of the share of words where there are no vectors."""
STRONG_NEARNESS, NO_NEARNESS = 0.5, 0.1
"""Bounds of the nearness in a search by meaning alone."""
WEAK_WORDS = 0.2
"""The share of words that is something, however far the meaning is."""
FEW_ROWS, MOST_WORDS = 200, 0.5
"""In an index of fewer chunks, a chunk is something that holds any word of a query whose words are there mostly."""
WORDLESS_NEARNESS, WORDLESS_GROWTH = 0.2, 0.13
"""How near a chunk must come in a search by both where nothing holds a word of the query: of one chunk, and more for
each tenfold, as the best of many comes nearer by chance. A made-up word comes to 0.52 in one of 25 repositories, to
0.05 in one of five files."""
_USUAL = (0.17, 0.77)
"""Anchors of all-MiniLM-L6-v2, which stand in for those of an index with few chunks."""
_USUAL_ROWS = 16
_ROWS, _AMONG = 48, 256
"""Rows that are compared, and with how many: the anchors of all 512 differ by less than 0.03."""


class Anchors(NamedTuple):
    """Cosines of an index: of chunks that have nothing to do with each other, and of nearest ones."""

    far: float
    near: float

    def nearness(self, cosine: float) -> float:
        """Where a cosine lies between both, 0 to 1 and beyond."""
        return (cosine - self.far) / max(self.near - self.far, 1e-3)


def anchors(sample: NDArray[np.float16]) -> Anchors:
    """The anchors of an index, from a sample of its vectors, float16 [n, dimensions] of unit length."""
    rows = len(sample)
    if rows < 2:
        return Anchors(*_USUAL)
    among = sample[np.linspace(0, rows - 1, min(rows, _AMONG)).astype(np.int64)].astype(np.float32)
    chosen = np.linspace(0, len(among) - 1, min(len(among), _ROWS)).astype(np.int64)
    # Not `@`, which wakes threads: see `candidates.cosine_statistics`.
    cosines = np.einsum("ik,jk->ij", among[chosen], among)
    cosines[np.arange(len(chosen)), chosen] = np.nan
    seen = float(np.nanpercentile(cosines, 5)), float(np.nanmedian(np.nanmax(cosines, axis=1)))
    own = rows / (rows + _USUAL_ROWS)
    return Anchors(*(own * mine + (1 - own) * usual for mine, usual in zip(seen, _USUAL, strict=True)))


def sureness(
    parts: Mapping[str, float], known: Anchors | None, *, by_words: bool, held: float = 1.0, rows: int = FEW_ROWS
) -> Sureness:
    """The mark of a hit by the parts of its score. `known` is None where vectors take no part; `held` is the share of
    the query's words that some chunk holds, of an index of `rows` chunks, also those that filters leave out."""
    if parts.get("place") or parts.get("path") or parts.get("phrase"):
        return "strong"
    words = parts.get("words", 0.0)
    # A word that all of a few chunks hold counts as nothing there, and still is a word that was found.
    least = WEAK_WORDS if rows >= FEW_ROWS or held < MOST_WORDS else 1e-6
    # A chunk that still waits for its vector has no cosine, and its words alone speak for it.
    if known is None or (by_words and not parts.get("cosine")):
        return _between(words, min(NO_WORDS, least), STRONG_WORDS)
    near = known.nearness(parts.get("cosine", 0.0))
    if not by_words:
        return _between(near, NO_NEARNESS, STRONG_NEARNESS)
    if not held and near < WORDLESS_NEARNESS + WORDLESS_GROWTH * math.log10(max(rows, 1)):
        return "nothing"
    mark = _between(BIAS + WORDS * words + NEARNESS * near, NOTHING, STRONG)
    # Where all chunks are alike, as in a repository of copies, the anchors say little and the words still do.
    return "weak" if mark == "nothing" and words >= least else mark


def of_answer(hits: Iterable[Hit]) -> Sureness:
    """The mark of an answer: that of its surest hit, "nothing" for one without hits."""
    return min((hit.sure or "nothing" for hit in hits), key=SURENESS.index, default="nothing")


def _between(value: float, low: float, high: float) -> Sureness:
    return "nothing" if value < low else "weak" if value < high else "strong"
