"""Matrices as the panels of the kernels, see kernels/kernels.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.native.library import GROUP, GROUP_FOUR, LANES, SUPER

if TYPE_CHECKING:
    from turboprop.models.gguf_parts import SuperBlocks

PAIR = 2 * LANES
"""Outputs of a product's item."""
_PARTS = SUPER // GROUP_FOUR


def padded(inputs: int) -> int:
    return -(-inputs // GROUP) * GROUP


def pack_eight(values: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.uint8]:
    """int8 [outputs, inputs] and float32 [outputs, inputs / 128] to panels uint8 [outputs / 16, bytes]."""
    outputs, inputs = values.shape
    panels, groups = outputs // LANES, inputs // GROUP
    bytes_ = (values.view(np.uint8) ^ np.uint8(0x80)).reshape(panels, LANES, groups, GROUP // 4, 4)
    data = np.ascontiguousarray(bytes_.transpose(0, 2, 3, 1, 4)).reshape(panels, groups, -1)
    by_lane = np.ascontiguousarray(scales.reshape(panels, LANES, groups).transpose(0, 2, 1), np.float32)
    return np.concatenate([data, by_lane.view(np.uint8)], 2).reshape(panels, -1)


def pack_four(values: NDArray[np.uint8], scales: NDArray[np.float16], minima: NDArray[np.float16]) -> NDArray[np.uint8]:
    """Values 0 to 15 [outputs, inputs], float16 [outputs, inputs / 32] each, to panels uint8 [outputs / 16, bytes]."""
    outputs, inputs = values.shape
    panels, groups = outputs // LANES, inputs // GROUP_FOUR
    eights = values.reshape(panels, LANES, groups, GROUP_FOUR // 8, 2, 4).transpose(0, 2, 3, 1, 4, 5)
    data = (eights[..., 0, :] | (eights[..., 1, :] << np.uint8(4))).reshape(panels, groups, -1)
    parts = [data]
    for numbers in (scales, minima):
        by_lane = np.ascontiguousarray(numbers.reshape(panels, LANES, groups).transpose(0, 2, 1), np.float16)
        parts.append(by_lane.view(np.uint8))
    return np.concatenate(parts, 2).reshape(panels, -1)


def pack_super(blocks: SuperBlocks, inputs: int, more: int) -> NDArray[np.uint8]:
    """Rows of blocks, with `more` bits beside the first four, to panels uint8 [outputs / 16, bytes]; rows are filled
    up to a whole pair of panels."""
    each = inputs // SUPER

    def by_lane(values: NDArray[Any]) -> NDArray[Any]:
        """[rows * blocks, ...] to [panels, blocks, ..., LANES]."""
        rows = filled(values.reshape(-1, each, *values.shape[1:]), PAIR)
        return np.moveaxis(rows.reshape(-1, LANES, *rows.shape[1:]), 1, -1)

    q = by_lane(blocks.q.reshape(-1, _PARTS, GROUP_FOUR // 8, 2, 4))
    low = (q[:, :, :, :, 0] & np.uint8(15)) | (q[:, :, :, :, 1] << np.uint8(4))
    data = [_lanes_first(low)]
    if more:
        quads = by_lane(blocks.q.reshape(-1, _PARTS, more, 8 // more, 4)) >> np.uint8(4)
        shifts = (more * np.arange(8 // more, dtype=np.uint8)).reshape(-1, 1, 1)
        data.append(_lanes_first(np.bitwise_or.reduce(quads << shifts, axis=4)))
    parts = np.concatenate(data, 3)
    d = by_lane(blocks.d)
    second = np.zeros_like(d) if blocks.dmin is None else by_lane(-blocks.dmin)
    scales = [blocks.scales] if blocks.minima is None else [blocks.scales, blocks.minima]
    pieces = [parts, *map(by_lane, scales), d, second]
    flat = [np.ascontiguousarray(piece).view(np.uint8).reshape(len(parts), each, -1) for piece in pieces]
    return np.concatenate(flat, 2).reshape(len(parts), -1)


def _lanes_first(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[panels, blocks, parts, n, 4, LANES] to [panels, blocks, parts, n * LANES * 4]."""
    return np.ascontiguousarray(np.moveaxis(values, -1, -2)).reshape(*values.shape[:3], -1)


def filled(values: NDArray[Any], *steps: int) -> NDArray[Any]:
    """With zeros up to multiples of `steps`, for as many axes as there are."""
    more = [(0, -extent % step) for extent, step in zip(values.shape, steps, strict=False)]
    more += [(0, 0)] * (values.ndim - len(more))
    return np.pad(values, more) if any(after for _, after in more) else values
