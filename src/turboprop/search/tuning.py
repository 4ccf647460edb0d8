"""Learning from pairs of a message and the files that its commit changed how queries of one index are meant.

The vectors of the chunks stay; a query's becomes q + left (right q), begun at identity (left is 0, as in LoRA, Hu and
others 2021). Each message is drawn to the chunk of a file that its commit changed which is nearest to it already, and
away from the nearest chunks of all other files (InfoNCE, van den Oord and others 2018). How often a file was changed is
added to its chunks' scores meanwhile, so that the adapter need not learn it (logit adjustment, Menon and others 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RANK = 16
TEMPERATURE = np.float32(0.05)
EPOCHS = 8
BATCH = 256
RATE = np.float32(0.003)
DECAY = np.float32(0.03)
"""How strongly both factors are drawn to 0, and so the whole to identity; decoupled, as in AdamW."""
_BETAS, _SMALL = (np.float32(0.9), np.float32(0.99)), np.float32(1e-8)
NEGATIVES = 64
"""The hardest of each message, those of the other messages of its batch beside them."""


def train(
    queries: Floats, touched: Sequence[Sequence[int]], vectors: Floats, file_of: NDArray[np.int64], *, seed: int = 0
) -> tuple[Floats, Floats]:
    """`left` float32 [dimensions, RANK] and `right` [RANK, dimensions] from queries [n, dimensions], the numbers of the
    files that each one's commit changed, the chunks' vectors [m, dimensions] and the number of each one's file; vectors
    are of length 1, and every touched file has a chunk.

    The same input gives the same output. Its time grows with n times m, its memory with `BATCH` times m.
    """
    chance = np.random.default_rng(seed)
    width = queries.shape[1]
    left = np.zeros((width, RANK), np.float32)
    right = (chance.standard_normal((RANK, width)) / np.sqrt(width)).astype(np.float32)
    means = [np.zeros_like(left), np.zeros_like(right)]
    squares = [np.zeros_like(left), np.zeros_like(right)]
    own = _own(touched, file_of)
    nearest, hard = compared(queries, touched, vectors, file_of)
    # A file's share of all changes, over its chunks, any of which may be the nearest.
    often = np.log((own.sum(axis=0) + 1) / np.maximum(np.bincount(file_of, minlength=own.shape[1]), 1))
    often_of = often.astype(np.float32)[file_of]
    step = 0
    for _ in range(EPOCHS):
        order = chance.permutation(len(queries))
        for begin in range(0, len(order), BATCH):
            chosen = order[begin : begin + BATCH]
            asked = queries[chosen]
            rows, places = np.unique(np.concatenate([nearest[chosen], hard[chosen].ravel()]), return_inverse=True)
            goal = (np.arange(len(chosen)), places[: len(chosen)])
            among = vectors[rows]
            inner = asked @ right.T
            logits = (asked + inner @ left.T) @ among.T / TEMPERATURE
            logits += often_of[rows]
            wanted = logits[goal]
            logits[own[chosen][:, file_of[rows]]] = -np.inf
            logits[goal] = wanted
            logits -= logits.max(axis=1, keepdims=True)
            shares = np.exp(logits)
            shares /= shares.sum(axis=1, keepdims=True)
            shares[goal] -= 1
            slope = shares @ among / (TEMPERATURE * np.float32(len(chosen)))
            slopes = (slope.T @ inner, (slope @ left).T @ asked)
            step += 1
            for number, (factor, each) in enumerate(zip((left, right), slopes, strict=True)):
                means[number] += (1 - _BETAS[0]) * (each - means[number])
                squares[number] += (1 - _BETAS[1]) * (each * each - squares[number])
                mean = means[number] / (1 - _BETAS[0] ** step)
                square = squares[number] / (1 - _BETAS[1] ** step)
                factor -= RATE * (mean / (np.sqrt(square) + _SMALL) + DECAY * factor)
    return left, right


def compared(
    queries: Floats,
    touched: Sequence[Sequence[int]],
    vectors: Floats,
    file_of: NDArray[np.int64],
    *,
    negatives: int = NEGATIVES,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each query the row of its own files' chunk that is nearest to it, int64 [n], and the `negatives` nearest
    ones of other files, the nearest first, int64 [n, negatives] (fewer where there are not so many). As `train`."""
    count = min(negatives, len(vectors))
    own = _own(touched, file_of)
    nearest = np.empty(len(queries), np.int64)
    hard = np.empty((len(queries), count), np.int64)
    for begin in range(0, len(queries), BATCH):
        part = slice(begin, begin + BATCH)
        cosines, mine = queries[part] @ vectors.T, own[part][:, file_of]
        nearest[part] = np.where(mine, cosines, -np.inf).argmax(axis=1)
        cosines[mine] = -np.inf
        among = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(cosines, among, 1), axis=1, kind="stable")
        hard[part] = np.take_along_axis(among, order, 1)
    return nearest, hard


def _own(touched: Sequence[Sequence[int]], file_of: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which files are each query's own, bool [n, files]."""
    own = np.zeros((len(touched), int(file_of.max()) + 1), np.bool_)
    for at, files in enumerate(touched):
        own[at, list(files)] = True
    return own
