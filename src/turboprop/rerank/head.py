"""From a pooled state to one score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turboprop.embed.head import dense
from turboprop.errors import EngineError, ModelFormatError
from turboprop.models.checkpoint.reranker import Norm

if TYPE_CHECKING:
    from turboprop.models.checkpoint.view import Dense


def check_head(name: str, head: Sequence[Dense | Norm], width: int) -> None:
    """Raises `ModelFormatError` unless the layers fit each other and the model's `width`."""
    for layer in head:
        if isinstance(layer, Norm):
            shapes = [layer.weight.shape] if layer.bias is None else [layer.weight.shape, layer.bias.shape]
            fits = all(shape == (width,) for shape in shapes)
        else:
            fits = layer.weight.shape[1] == width
            width = layer.weight.shape[0]
        if not fits:
            raise ModelFormatError(f"{name}: a layer of its head, {layer.weight.shape}, does not fit its states")


def score(pooled: NDArray[np.float32], head: Sequence[Dense | Norm], name: str) -> NDArray[np.float32]:
    """float32 [n, width] to float32 [n]; raises `EngineError` for a score that is not finite."""
    x = pooled
    for layer in head:
        x = _norm(x, layer) if isinstance(layer, Norm) else dense(x, layer)
    if not np.isfinite(x).all():
        raise EngineError(f"{name} gave a score that is not finite; try --weights float32")
    return np.ascontiguousarray(x[:, 0], np.float32)


def _norm(x: NDArray[np.float32], layer: Norm) -> NDArray[np.float32]:
    mean = x.mean(axis=1, keepdims=True)
    y = (x - mean) / np.sqrt(x.var(axis=1, keepdims=True) + np.float32(layer.eps)) * layer.weight
    return np.asarray(y if layer.bias is None else y + layer.bias, np.float32)
