"""The cosines and sines of rotary position embeddings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from turboprop.architectures.ops import Rope
from turboprop.engines.step import StepBatch


class Rotation:
    """Cosines and sines of one rotary embedding, looked up by position; the table grows as positions do."""

    def __init__(self, rope: Rope) -> None:
        self._rope = rope
        self._table = np.zeros((0, 2, rope.dims // 2), np.float32)

    def rows(self, inputs: StepBatch) -> NDArray[np.float32]:
        """float32 [tokens, 2, dims / 2]"""
        positions = inputs.positions
        most = int(positions.max()) + 1
        if most > len(self._table):
            count = 1 << (most - 1).bit_length()
            self._table = self._turned(np.arange(count, dtype=np.float32), self._rope.base)
        found = np.ascontiguousarray(self._table[positions])
        if self._rope.dynamic is not None:
            factor, trained = self._rope.dynamic
            for begin, end in pairwise(inputs.begins):
                if (length := int(end - begin)) > trained:
                    stretch = float(factor * length / trained - (factor - 1))
                    base = self._rope.base * stretch ** float(self._rope.dims / (self._rope.dims - 2))
                    found[begin:end] = self._turned(positions[begin:end].astype(np.float32), base)
        return found

    def _turned(self, positions: NDArray[np.float32], base: float) -> NDArray[np.float32]:
        rope = self._rope
        exponents = -np.arange(0, rope.dims, 2, dtype=np.float64) / rope.dims
        frequencies = np.float64(base) ** exponents
        angles = positions[:, None] * frequencies.astype(np.float32)
        if rope.factors:
            angles /= np.array(rope.factors, np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], 1) * np.float32(rope.magnitude)
