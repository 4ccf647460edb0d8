"""Weights to int8: symmetric, one scale for each run of `group` inputs of an output row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GROUP = 128  # the width that OpenVINO's int8 kernels and their dynamic quantisation of activations share


def group_for(inputs: int) -> int:
    """128 where it divides the row, else the whole row (one scale per output channel)."""
    return GROUP if inputs % GROUP == 0 else inputs


def quantize_int8(weight: NDArray[np.float32], group: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """[out, in] to int8 [out, in/group, group] and scales float32 [out, in/group, 1]."""
    rows, inputs = weight.shape
    parts = weight.reshape(rows, inputs // group, group)
    scale = np.abs(parts).max(axis=-1, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1  # an all-zero group stays zero
    return np.rint(parts / scale).astype(np.int8), scale
