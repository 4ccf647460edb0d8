"""Bits and float16 of block-quantised bytes: what the decoders are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float32]
    Words = NDArray[np.uint64]


def half(column: Bytes) -> Floats:
    """Little-endian float16 in the last axis to float32."""
    return np.ascontiguousarray(column).view("<f2").astype(np.float32)


def words_of(column: Bytes, *shape: int) -> Words:
    """The bytes of a field, eight to a word: bit operations on them cost an eighth."""
    return np.ascontiguousarray(column).view(np.uint64).reshape(len(column), *shape)


def each_byte(byte: int) -> np.uint64:
    """A word with `byte` in each of its eight bytes."""
    return np.uint64(byte * 0x0101010101010101)


def bits_of(words: Words, shift: int, mask: int, left: int = 0) -> Words:
    """In every byte: its bits from `shift` on that `mask` keeps, moved up by `left`."""
    kept = (words >> np.uint64(shift)) & each_byte(mask)
    return kept << np.uint64(left) if left else kept


def nibbles(field: Bytes, lanes: int) -> Bytes:
    """Low halves of `lanes` bytes, then their high halves, and so on: uint8 [n, 2 * bytes]."""
    words = words_of(field, -1, lanes // 8)
    both = np.empty((len(field), words.shape[1], 2, lanes // 8), np.uint64)
    both[:, :, 0] = bits_of(words, 0, 15)
    both[:, :, 1] = bits_of(words, 4, 15)
    return both.view(np.uint8).reshape(len(field), -1)
