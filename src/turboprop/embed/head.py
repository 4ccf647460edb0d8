"""From a pooled vector to the one that is kept: Dense layers, Matryoshka cut, unit length."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turboprop.errors import EngineError, ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turboprop.models.checkpoint.view import Checkpoint, Dense

_BLAS = threading.Lock()
"""The number of its threads belongs to the process: who finds 1 and sets it back must be the only one."""


def finish(
    pooled: NDArray[np.float32], checkpoint: Checkpoint, dimensions: int | None, *, normalize: bool
) -> NDArray[np.float32]:
    """float32 [n, d] to float32 [n, dimensions or d]; raises `EngineError` for a non-finite vector."""
    with np.errstate(over="ignore", invalid="ignore"):
        return _finished(pooled, checkpoint, dimensions, normalize=normalize)


def _finished(
    vectors: NDArray[np.float32], checkpoint: Checkpoint, dimensions: int | None, *, normalize: bool
) -> NDArray[np.float32]:
    for layer in checkpoint.dense:
        vectors = dense(vectors, layer)
    if dimensions is not None and dimensions < vectors.shape[1]:
        if checkpoint.layer_norm_before_cut:
            mean = vectors.mean(axis=1, keepdims=True)
            vectors = (vectors - mean) / np.sqrt(vectors.var(axis=1, keepdims=True) + 1e-5)
        vectors = vectors[:, :dimensions]
    if not np.isfinite(vectors).all():
        raise EngineError(
            f"{checkpoint.name} gave a vector that is not finite, which is never stored; try --weights float32"
        )
    if normalize:
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.maximum(norms, np.float32(1e-12))
    return np.ascontiguousarray(vectors, np.float32)


def check_takes(checkpoint: Checkpoint, head: Sequence[object], width: int) -> None:
    """Raises `ModelFormatError` where the first layer of a head does not take the `width` that a model gives."""
    first = getattr(head[0], "weight", None) if head else None
    if first is not None and first.shape[-1] != width:
        raise ModelFormatError(
            f"{checkpoint.name}: the layer after the pooling takes {first.shape[-1]} features and the model gives "
            f"{width}; download it again"
        )


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def dense(x: NDArray[np.float32], layer: Dense) -> NDArray[np.float32]:
    """float32 [n, in] to float32 [n, out]."""
    # OpenBLAS's threads wait 100 ms for more work and take the cores from whatever encodes next: 30 pairs by a
    # MiniLM reranker, whose head runs after each batch, took 1.17 times as long.
    with _BLAS, _blas().limit(limits=1, user_api="blas"):
        y = x @ layer.weight.T
    if layer.bias is not None:
        y = y + layer.bias
    match layer.activation:
        case "tanh":
            return np.asarray(np.tanh(y), np.float32)
        case "relu":
            return np.asarray(np.maximum(y, 0), np.float32)
        case "gelu":
            from math import erf

            half = np.vectorize(erf, otypes=[np.float32])(y / np.sqrt(np.float32(2)))
            return np.asarray(y * (half + 1) / 2, np.float32)
        case "identity":
            return y
