"""From the states of tokens to one vector an input, the same for every engine that does not pool by itself.

The poolings are those of sentence-transformers. The first `skip` tokens of each input take no part, and an input of
which no token counts gives zeros. Inputs lie end to end: `begins` [n + 1] says where each begins, and where the last
one ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from turboprop.models.checkpoint.view import PoolingMode


def begins_of(lengths: NDArray[np.int32]) -> NDArray[np.int32]:
    """`begins` of inputs of so many tokens."""
    begins = np.zeros(len(lengths) + 1, np.int32)
    lengths.cumsum(out=begins[1:])
    return begins


def takes_one(modes: Sequence[PoolingMode]) -> bool:
    """Whether one token of an input is all that pooling takes."""
    return tuple(modes) in (("cls",), ("last",))


def token_taken(begins: NDArray[np.int32], skip: int, mode: PoolingMode) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """For `cls` and `last`: the row of the token that stands for each input, and which inputs have none (row 0)."""
    first, end = begins[:-1], begins[1:]
    # With a prompt left out, the first token that counts stands where [CLS] stood.
    at, none = (end - 1, first == end) if mode == "last" else (first + skip, first + skip >= end)
    return np.where(none, 0, at).astype(np.int32), none


def pool(
    states: NDArray[np.float32], begins: NDArray[np.int32], skip: int, modes: Sequence[PoolingMode]
) -> NDArray[np.float32]:
    """float32 [tokens, width] to [n, width * len(modes)]; as it is for `tokens`."""
    if tuple(modes) == ("tokens",):
        return states
    with np.errstate(over="ignore", invalid="ignore"):  # whoever takes the vectors looks whether they are finite
        return np.concatenate([_pooled(states, begins, skip, mode) for mode in modes], 1)


def _pooled(
    states: NDArray[np.float32], begins: NDArray[np.int32], skip: int, mode: PoolingMode
) -> NDArray[np.float32]:
    pooled = np.zeros((len(begins) - 1, states.shape[1]), np.float32)
    if not len(states):
        return pooled
    if mode in ("cls", "last"):
        at, none = token_taken(begins, skip, mode)
        pooled[~none] = states[at[~none]]
        return pooled
    for number, (begin, end) in enumerate(pairwise(begins)):
        counted = states[min(begin + skip, end) : end]
        if not len(counted):
            continue
        if mode == "max":
            pooled[number] = counted.max(0)
        elif mode == "weighted_mean":
            weight = np.arange(skip + 1, skip + 1 + len(counted), dtype=np.float32)
            # `@` may leave threads behind that take the cores from the next run for 100 ms.
            pooled[number] = np.einsum("i,ij->j", weight, counted) / weight.sum()
        else:
            total = counted.sum(0)
            pooled[number] = total / (np.sqrt(len(counted)) if mode == "mean_sqrt" else np.float32(len(counted)))
    return pooled
