"""Weights to int8 (symmetric) and to 4 bits (asymmetric), one scale for each run of inputs of an output row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GROUP = 128


def group_for(inputs: int, group: int = GROUP) -> int:
    """`group` where it divides the row, else the whole row (one scale per output channel)."""
    return group if inputs % group == 0 else inputs


def quantize_int8(weight: NDArray[np.float32], group: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """[out, in] to int8 [out, in/group, group] and scales float32 [out, in/group, 1]."""
    rows, inputs = weight.shape
    parts = weight.reshape(rows, inputs // group, group)
    scale = np.abs(parts).max(axis=-1, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1  # an all-zero group stays zero
    return np.rint(parts / scale).astype(np.int8), scale


def quantize_uint4(
    weight: NDArray[np.float32], group: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """[out, in] to values 0 to 15 as uint8 [out, in/group, group], scales float32 and zero points uint8
    [out, in/group, 1]: a weight is `(value - zero) * scale`. Zero is kept exactly."""
    rows, inputs = weight.shape
    parts = weight.reshape(rows, inputs // group, group)
    low = np.minimum(parts.min(axis=-1, keepdims=True), 0)
    high = np.maximum(parts.max(axis=-1, keepdims=True), 0)
    scale = (high - low) / np.float32(15)
    scale[scale == 0] = 1
    zero = np.rint(-low / scale)
    values = np.clip(np.rint(parts / scale) + zero, 0, 15)
    return values.astype(np.uint8), scale, zero.astype(np.uint8)
