"""Matrices of four bits as OpenVINO's CPU kernels take them: values and zero points of type u4, float32 scales.

A matrix whose groups have minima of any value (Q4_K, Q4_1) gets columns for what its whole zero points leave, see
`quantize.with_remainders`; its input then carries the sums of the groups behind it (`with_sums`).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from openvino import Node, Shape, Tensor, Type
from openvino import opset15 as op

from turboprop.engines.quantize import SUMMED, pack_uint4, sum_columns

Rows = tuple[slice, NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]
"""Which rows; their values, scales and zero points as `quantize.quantize_uint4` gives them."""


def _i64(*values: int) -> Node:
    return op.constant(np.array(values, np.int64))


def matrix(parts: Iterable[Rows], rows: int, inputs: int, group: int) -> Node:
    """A matrix [rows, inputs] from its rows, a few at a time."""
    # OpenVINO's own memory: a constant over a packed numpy array would outlive the array.
    values = Tensor(Type.u4, Shape([rows, inputs // group, group]))
    packed = values.data.reshape(rows, inputs // 2)
    scales = np.empty((rows, inputs // group, 1), np.float32)
    zeros = np.empty((rows, inputs // group, 1), np.uint8)
    for block, four, scale, zero in parts:
        packed[block] = pack_uint4(four).reshape(-1, inputs // 2)
        scales[block], zeros[block] = scale, zero
    offsets = Tensor(Type.u4, Shape(list(zeros.shape)))
    offsets.data[:] = pack_uint4(zeros)
    wide = op.subtract(op.convert(op.constant(values), "f32"), op.convert(op.constant(offsets), "f32"))
    return op.reshape(op.multiply(wide, op.constant(scales, shared_memory=True)), _i64(rows, inputs), False)


def with_sums(x: Node, inputs: int) -> Node:
    """[1, tokens, inputs] with the sum of each group of `SUMMED` inputs behind them, and zeros up to whole blocks."""
    groups = inputs // SUMMED
    sums = op.reduce_sum(op.reshape(x, _i64(0, 0, groups, SUMMED), True), _i64(3), False)
    if more := sum_columns(inputs) - groups:
        sums = op.pad(sums, _i64(0, 0, 0), _i64(0, 0, more), "constant", op.constant(np.float32(0)))
    return op.concat([x, sums], 2)
