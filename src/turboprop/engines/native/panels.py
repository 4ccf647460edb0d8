"""Matrices as the panels of the kernels, see kernels/kernels.h."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.native.library import BFLOAT16, FLOAT16, GROUP, GROUP_FOUR, LANES, SUPER

if TYPE_CHECKING:
    from turboprop.models.gguf.parts import SuperBlocks

PANEL = 2 * LANES
"""Outputs of a panel, which has two sides."""
_PARTS = SUPER // GROUP_FOUR
_LINE = 64
"""Bytes."""


def padded(inputs: int) -> int:
    return -(-inputs // GROUP) * GROUP


def pack_eight(values: NDArray[np.int8], scales: NDArray[np.float32]) -> NDArray[np.uint8]:
    """int8 [outputs, inputs] and float32 [outputs, inputs / 128] to panels uint8 [outputs / 32, bytes]."""
    outputs, inputs = values.shape
    panels, groups = outputs // PANEL, inputs // GROUP
    bytes_ = (values.view(np.uint8) ^ np.uint8(0x80)).reshape(panels, 2, LANES, groups, GROUP // 4, 4)
    data = bytes_.transpose(0, 3, 4, 1, 2, 5).reshape(panels, groups, -1, 2, _LINE)
    return _joined(_scales(scales), data)


def pack_four(values: NDArray[np.uint8], scales: NDArray[np.float16], minima: NDArray[np.float16]) -> NDArray[np.uint8]:
    """Values 0 to 15 [outputs, inputs], float16 [outputs, inputs / 32] each, to panels uint8 [outputs / 32, bytes]."""
    outputs, inputs = values.shape
    panels, groups = outputs // PANEL, inputs // GROUP_FOUR
    eights = values.reshape(panels, 2, LANES, groups, GROUP_FOUR // 8, 2, 4).transpose(0, 3, 4, 1, 2, 5, 6)
    data = (eights[..., 0, :] | (eights[..., 1, :] << np.uint8(4))).reshape(panels, groups, -1, 2, _LINE)
    return _joined(np.concatenate([_scales(scales), _scales(minima)], -1), data)


def pack_float(values: NDArray[np.float32], kind: int) -> NDArray[Any]:
    """float32 [outputs, inputs] to panels [outputs / 32, inputs, 32] of a kind of floats, which holds all of them."""
    rows: NDArray[Any] = filled(values, PANEL)
    if kind == FLOAT16:
        rows = rows.astype(np.float16)
    elif kind == BFLOAT16:
        rows = (np.ascontiguousarray(rows, np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return rows.reshape(-1, PANEL, values.shape[1]).transpose(0, 2, 1)


def _scales(values: NDArray[Any]) -> NDArray[np.uint8]:
    """[outputs, groups] to the bytes of lines [panels, groups, 1, 2 sides, ...]."""
    by_lane = values.reshape(-1, 2, LANES, values.shape[1]).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(by_lane).view(np.uint8)[:, :, None]


def _joined(*lines: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lines [panels, groups, n, 2 sides, 64], one group after the other, to [panels, bytes]."""
    return np.concatenate(lines, 2).reshape(len(lines[0]), -1)


def pack_super(blocks: SuperBlocks, inputs: int, more: int) -> NDArray[np.uint8]:
    """Rows of blocks, with `more` bits beside the first four, to panels uint8 [outputs / 32, bytes]; rows are filled
    up to whole panels."""
    each = inputs // SUPER

    def by_lane(values: NDArray[Any]) -> NDArray[Any]:
        """[rows * blocks, ...] to [panels, blocks, 2 sides, ..., LANES]."""
        rows = filled(values.reshape(-1, each, *values.shape[1:]), PANEL)
        split = rows.reshape(-1, 2, LANES, *rows.shape[1:])
        return np.moveaxis(split.swapaxes(1, 3), 2, -1)

    q = by_lane(blocks.q.reshape(-1, _PARTS, GROUP_FOUR // 8, 2, 4))
    lines = (q[:, :, :, :, :, 0] & np.uint8(15)) | (q[:, :, :, :, :, 1] << np.uint8(4))
    if more:
        # The line with the others is before those whose weights it completes.
        quads = by_lane(blocks.q.reshape(-1, _PARTS, more, 8 // more, 4)) >> np.uint8(4)
        shifts = (more * np.arange(8 // more, dtype=np.uint8)).reshape(-1, 1, 1)
        high = np.bitwise_or.reduce(quads << shifts, axis=5)
        low = lines.reshape(*lines.shape[:4], more, -1, *lines.shape[5:])
        lines = np.concatenate([high[:, :, :, :, :, None], low], 5)
    lines = lines.reshape(*lines.shape[:4], -1, 4, LANES).transpose(0, 1, 3, 4, 2, 6, 5)
    d = by_lane(blocks.d)
    if blocks.minima is None or blocks.dmin is None:
        head = [by_lane(blocks.scales), d]
    else:
        scales, minima = by_lane(blocks.scales), by_lane(blocks.minima)
        head = [_packed(scales, minima), d, by_lane(-blocks.dmin)]
    panels = len(lines)
    pieces = [np.ascontiguousarray(piece).view(np.uint8).reshape(panels, each, 2, -1) for piece in head]
    heads = np.concatenate(pieces, 3).reshape(panels, each, -1)
    return np.concatenate([heads, lines.reshape(panels, each, -1)], 2).reshape(panels, -1)


def _packed(scales: NDArray[np.uint8], minima: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Numbers of 6 bits [..., 8, LANES] each: those of two groups in three bytes, [..., 4, 3, LANES]."""
    first, third = scales[..., ::2, :], scales[..., 1::2, :]
    second, spread = minima[..., ::2, :], minima[..., 1::2, :]
    sixes = np.stack([first, second, third], -2)
    shifts = np.array([0, 2, 4], np.uint8).reshape(3, 1)
    return sixes | ((spread[..., None, :] >> shifts) & np.uint8(3)) << np.uint8(6)


def filled(values: NDArray[Any], *steps: int) -> NDArray[Any]:
    """With zeros up to multiples of `steps`, for as many axes as there are."""
    more = [(0, -extent % step) for extent, step in zip(values.shape, steps, strict=False)]
    more += [(0, 0)] * (values.ndim - len(more))
    return np.pad(values, more) if any(after for _, after in more) else values
