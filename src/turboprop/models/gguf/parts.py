"""Block-quantised weights taken apart, nothing rounded: the stored integers, and what they are scaled with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from turboprop.models.gguf.bits import bits_of, half, nibbles, words_of
from turboprop.models.gguf.types import GGMLType

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from turboprop.models.gguf.bits import Bytes, Floats

FOUR_BIT = frozenset({GGMLType.Q4_0, GGMLType.Q4_1, GGMLType.Q4_K})
"""Types of four bits a weight in groups of 32: what `four_bit` takes apart."""
SUPER = frozenset({GGMLType.Q4_K, GGMLType.Q5_K, GGMLType.Q6_K})
"""Types of 256 weights a block, whose scales are integers times one float16: what `super_blocks` takes apart."""


@dataclass(frozen=True, slots=True)
class SuperBlocks:
    """Blocks of 256 weights of a type in `SUPER`.

    Of Q4_K and Q5_K the weight is `q * scales * d - minima * dmin`, of Q6_K `(q - 32) * scales * d`, with the scale of
    its group of 32 or of 16.
    """

    q: Bytes
    """uint8 [n, 256], of 4 to 6 bits."""
    scales: NDArray[np.uint8] | NDArray[np.int8]
    """uint8 [n, 8], from 0 to 63; of Q6_K int8 [n, 16]."""
    minima: Bytes | None
    """uint8 [n, 8], from 0 to 63; of Q6_K None."""
    d: NDArray[np.float16]
    """[n]"""
    dmin: NDArray[np.float16] | None
    """[n]; of Q6_K None."""


def super_blocks(kind: GGMLType, raw: Bytes) -> SuperBlocks:
    """Whole blocks of a type in `SUPER`: `raw` is uint8 [n * kind.block_bytes]."""
    blocks = raw.reshape(-1, kind.block_bytes)
    q = values_of(kind, blocks)
    if kind == GGMLType.Q6_K:
        d = np.ascontiguousarray(blocks[:, 208:210]).view("<f2")[:, 0]
        return SuperBlocks(q, blocks[:, 192:208].view(np.int8), None, d, None)
    both = np.ascontiguousarray(blocks[:, :4]).view("<f2")
    return SuperBlocks(q, *sub_scales(blocks), both[:, 0], both[:, 1])


def values_of(kind: GGMLType, blocks: Bytes) -> Bytes:
    """The stored integers of blocks of a type in `SUPER`, uint8 [n, 256], unsigned, in the order of the weights."""
    if kind == GGMLType.Q4_K:
        return nibbles(blocks[:, 16:], 32)
    if kind == GGMLType.Q5_K:
        fifth = words_of(blocks[:, 16:48], 4)
        q = nibbles(blocks[:, 48:], 32)
        words = q.view(np.uint64).reshape(len(q), 8, 4)
        for index in range(8):
            words[:, index] |= bits_of(fifth, index, 1, 4)
        return q
    low = words_of(blocks[:, :128], 2, 2, 4)
    high = words_of(blocks[:, 128:192], 2, 4)
    six = np.empty((len(blocks), 2, 4, 4), np.uint64)
    for index in range(4):
        six[:, :, index] = bits_of(low[:, :, index % 2], 4 * (index // 2), 15) | bits_of(high, 2 * index, 3, 4)
    return six.view(np.uint8).reshape(len(blocks), -1)


def sub_scales(blocks: Bytes) -> tuple[Bytes, Bytes]:
    """Scales and minima of the 8 sub-blocks of Q4_K and Q5_K: 6 bits each, packed in 12 bytes; uint8 [n, 8] each."""
    first, second, both = (blocks[:, at : at + 4] for at in (4, 8, 12))
    d = np.empty((len(blocks), 8), np.uint8)
    m = np.empty((len(blocks), 8), np.uint8)
    d[:, :4] = first & 63
    m[:, :4] = second & 63
    d[:, 4:] = (both & 15) | ((first >> 2) & 48)
    m[:, 4:] = (both >> 4) | ((second >> 2) & 48)
    return d, m


def four_bit(kind: GGMLType, raw: Bytes) -> tuple[Bytes, Floats, Floats]:
    """Whole blocks of a type in `FOUR_BIT`: q uint8 [n, 32] from 0 to 15, and of each group of 32 the scale and the
    minimum, float32 [n, 1]: a weight is `q * scale + minimum`."""
    blocks = raw.reshape(-1, kind.block_bytes)
    if kind == GGMLType.Q4_K:
        d, m = sub_scales(blocks)
        dm = half(blocks[:, :4])
        scale, minimum = (d * dm[:, :1]).reshape(-1, 1), (m * dm[:, 1:]).reshape(-1, 1)
        return values_of(kind, blocks).reshape(-1, 32), scale, -minimum
    if kind == GGMLType.Q4_1:
        both = half(blocks[:, :4])
        return nibbles(blocks[:, 4:], 16), both[:, :1], both[:, 1:]
    scale = half(blocks[:, :2])
    return nibbles(blocks[:, 2:], 16), scale, scale * np.float32(-8)
