"""Running a checkpoint on token ids, pooled and not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engines.loading import load_encoder
from turboprop.engines.contract import EngineOptions
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.types import TokenBatch


def pack(inputs: Sequence[Sequence[int]], skip: int = 0) -> TokenBatch:
    """Token ids as an engine takes them."""
    ids = np.concatenate([np.asarray(ids, np.int32) for ids in inputs])
    return TokenBatch(ids, np.array([len(ids) for ids in inputs], np.int32), skip)


def run(checkpoint: Checkpoint, inputs: Sequence[Sequence[int]], weights: str = "float32", skip: int = 0) -> np.ndarray:
    """Pooled vectors of several inputs in one batch."""
    encoder = load_encoder(checkpoint, "auto", EngineOptions(weights=weights, threads=2))  # type: ignore[arg-type]
    try:
        return encoder.encode(pack(inputs, skip))
    finally:
        encoder.close()


def hidden_states(checkpoint: Checkpoint, inputs: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """float32 states of every token after the final norm, [tokens, width] an input: with so many tokens skipped, the
    pooling `cls` takes the next one."""
    encoder = load_encoder(replace(checkpoint, pooling=("cls",)), "auto", EngineOptions("float32", threads=2))
    try:
        found = [encoder.encode(pack(inputs, skip)) for skip in range(max(map(len, inputs)))]
    finally:
        encoder.close()
    return [np.stack([states[row] for states in found[: len(ids)]]) for row, ids in enumerate(inputs)]
