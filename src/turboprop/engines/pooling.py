"""The states of an input's tokens as one vector."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from turboprop.models.checkpoint import PoolingMode


def pooled(hidden: NDArray[np.float32], begins: NDArray[np.int32], skip: int, mode: PoolingMode) -> NDArray[np.float32]:
    """[inputs, width]; the first `skip` tokens of each take no part, an input without tokens gives zeros."""
    vectors = np.zeros((len(begins) - 1, hidden.shape[1]), np.float32)
    for number, (begin, end) in enumerate(pairwise(begins)):
        if end == begin:
            continue
        counted = hidden[min(begin + skip, end) : end]
        if mode == "last":
            vectors[number] = hidden[end - 1]
        elif len(counted) == 0:
            continue
        elif mode == "cls":
            vectors[number] = counted[0]
        elif mode == "max":
            vectors[number] = counted.max(0)
        elif mode == "weighted_mean":
            weight = np.arange(skip + 1, skip + 1 + len(counted), dtype=np.float32)
            # `@` may leave threads behind that take the cores from the next run for 100 ms.
            vectors[number] = np.einsum("i,ij->j", weight, counted) / weight.sum()
        else:
            total = counted.sum(0)
            vectors[number] = total / (np.sqrt(len(counted)) if mode == "mean_sqrt" else np.float32(len(counted)))
    return vectors
