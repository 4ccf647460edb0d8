"""MaxSim over token vectors of few bits: for each token of a query the most like one of a document, summed.

The kernels (`kernels/maxsim.c`) compute it from the packed vectors; where there are none, numpy does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.native.library import GROUP_FOUR, LANES, library, refusal

Bits = Literal[4, 8]


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """Token vectors in 8 or 4 bits: GROUP_FOUR features share a scale, the width is padded with zeros to whole groups.

    `values` is uint8 [tokens, padded width * bits / 8], `scales` float16 [tokens, padded width / GROUP_FOUR]. In 4 bits
    a byte holds feature i of its group in the low half and i + 16 in the high one, plus 8.
    """

    values: NDArray[np.uint8]
    scales: NDArray[np.float16]
    bits: Bits

    def __len__(self) -> int:
        return len(self.scales)

    def to_bytes(self) -> bytes:
        """The values, then the scales."""
        return self.values.tobytes() + self.scales.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, width: int, bits: Bits) -> TokenVectors:
        """What `to_bytes` gave, of vectors of so many features."""
        groups = groups_of(width)
        tokens = len(data) // token_bytes(width, bits)
        end = tokens * groups * GROUP_FOUR * bits // 8
        values = np.frombuffer(data, np.uint8, end).reshape(tokens, groups * GROUP_FOUR * bits // 8)
        scales = np.frombuffer(data, np.float16, tokens * groups, end).reshape(tokens, groups)
        return cls(values, scales, bits)

    def unpacked(self) -> NDArray[np.float32]:
        """float32 [tokens, padded width]: what the packed values stand for."""
        tokens, groups = self.scales.shape
        if self.bits == 8:
            whole = self.values.view(np.int8).reshape(tokens, groups, GROUP_FOUR).astype(np.float32)
        else:
            halves = self.values.reshape(tokens, groups, GROUP_FOUR // 2)
            whole = np.concatenate([halves & 15, halves >> 4], 2).astype(np.float32) - np.float32(8)
        return (whole * self.scales.astype(np.float32)[:, :, None]).reshape(tokens, groups * GROUP_FOUR)


def groups_of(width: int) -> int:
    """Groups that so many features are padded to."""
    return -(-width // GROUP_FOUR)


def token_bytes(width: int, bits: Bits) -> int:
    """Bytes of one packed vector: 4.5 or 8.5 bits a feature, of a width of whole groups."""
    return groups_of(width) * (GROUP_FOUR * bits // 8 + 2)


def packed(vectors: NDArray[np.float32], bits: Bits) -> TokenVectors:
    """Round token vectors, float32 [tokens, width], all of them finite."""
    tokens, width = vectors.shape
    groups = groups_of(width)
    padded = np.zeros((tokens, groups * GROUP_FOUR), np.float32)
    padded[:, :width] = vectors
    parts = padded.reshape(tokens, groups, GROUP_FOUR)
    if bits == 8:
        scales = (np.abs(parts).max(2) / 127).astype(np.float16)
    else:  # the largest becomes -8, of which there is one more than of 7
        at = np.abs(parts).argmax(2)
        scales = (np.take_along_axis(parts, at[:, :, None], 2)[:, :, 0] / -8).astype(np.float16)
    by = scales.astype(np.float32)
    by = np.divide(1, by, out=np.zeros_like(by), where=by != 0)
    low, high = (-127, 127) if bits == 8 else (-8, 7)
    whole = np.clip(np.rint(parts * by[:, :, None]), low, high).astype(np.int8)
    if bits == 8:
        return TokenVectors(whole.view(np.uint8).reshape(tokens, groups * GROUP_FOUR), scales, bits)
    raised = (whole + 8).view(np.uint8)
    values = raised[:, :, : GROUP_FOUR // 2] | raised[:, :, GROUP_FOUR // 2 :] << 4
    return TokenVectors(values.reshape(tokens, groups * GROUP_FOUR // 2), scales, bits)


class MaxSim:
    """The token vectors of a query, float32 [tokens, width], ready to be compared."""

    def __init__(self, queries: NDArray[np.float32]) -> None:
        count, width = queries.shape
        self._count, self._width = count, groups_of(width) * GROUP_FOUR
        self._columns = np.zeros((self._width, -(-count // LANES) * LANES), np.float32)
        self._columns[:width, :count] = queries.T
        self._kernels = None if refusal() else library()

    def score(self, document: TokenVectors, kernels: Any = None) -> float:
        """The sum of the largest products of each query token; 0 where the document has none.

        `kernels` are others than the best ones that run here.
        """
        if not len(document) or not self._count:
            return 0.0
        run = kernels or self._kernels
        if run is None:
            products = document.unpacked() @ self._columns[:, : self._count]
            return float(products.max(0).sum())
        values, scales = np.ascontiguousarray(document.values), document.scales.astype(np.float32)
        scratch = np.empty(4 * self._width + self._columns.shape[1], np.float32)
        return float(
            run.max_similarity(
                self._columns.ctypes.data,
                self._count,
                self._columns.shape[1],
                self._width,
                values.ctypes.data,
                scales.ctypes.data,
                document.bits,
                len(document),
                scratch.ctypes.data,
            )
        )
