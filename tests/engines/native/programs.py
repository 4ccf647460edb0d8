"""Small programs for the kernels: weights in memory, values from tables, and what numpy makes of the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.native.library import (
    BFLOAT16,
    BLOCK,
    EIGHT_BITS,
    FLOAT16,
    FLOAT32,
    FOUR_BITS,
    GROUP,
    GROUP_FOUR,
    SUPER,
    SUPER_FIVE,
    SUPER_FOUR,
    SUPER_SIX,
    Matrix,
)
from turboprop.engines.native.ops import NativeOps
from turboprop.engines.native.panels import PANEL, filled, pack_eight, pack_float, pack_four, pack_super, padded
from turboprop.engines.native.program import Program, aligned
from turboprop.engines.native.steps import Value
from turboprop.engines.quantize import quantize_int8, quantize_uint4
from turboprop.engines.step import StepBatch
from turboprop.models.gguf.parts import SuperBlocks

FLOATS = {"float32": FLOAT32, "float16": FLOAT16, "bfloat16": BFLOAT16}
KINDS = {"int8": EIGHT_BITS, "int4": FOUR_BITS, "Q4_K": SUPER_FOUR, "Q5_K": SUPER_FIVE, "Q6_K": SUPER_SIX, **FLOATS}
Build = Callable[[NativeOps], Value]


class MemoryWeights:
    """Float32 tensors by name; matrices are quantised when they are asked for, and `exact` tells to what."""

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]], kind: str = "int8", factor: float = 1.0) -> None:
        self._tensors = {name: np.ascontiguousarray(values, np.float32) for name, values in tensors.items()}
        self._kind, self._factor = kind, factor
        self._panels: dict[str, NDArray[np.uint8]] = {}
        self.exact: dict[str, NDArray[np.float64]] = {}

    @property
    def keeps_float32(self) -> bool:
        return self._kind in FLOATS

    def has(self, weight: str) -> bool:
        return weight in self._tensors

    def width(self, weight: str) -> int:
        return self._tensors[weight].shape[-1]

    def rows(self, weight: str) -> int:
        return self._tensors[weight].shape[0]

    def dense(self, weight: str) -> NDArray[np.float32]:
        return self._tensors[weight]

    def matrix(self, weight: str, bias: str | None) -> Matrix:
        values = self._tensors[weight]
        outputs, inputs = values.shape
        if weight not in self._panels:
            wide = values if self.keeps_float32 else filled(values, PANEL, GROUP)
            others = dict.fromkeys(FLOATS, self._float)
            quantized = {"int8": self._eight, "int4": self._four, **others}.get(self._kind, self._super)
            packed, exact = quantized(wide)
            self._panels[weight] = aligned(packed.nbytes, np.uint8)
            self._panels[weight][:] = np.ascontiguousarray(packed).view(np.uint8).reshape(-1)
            self.exact[weight] = exact[:outputs, :inputs] * self._factor
        added = None if bias is None else self._tensors[bias].ctypes.data
        panels = self._panels[weight].ctypes.data
        if not self.keeps_float32:
            inputs = padded(inputs)
        return Matrix(panels, added, self._factor, inputs, outputs, KINDS[self._kind])

    def _float(self, values: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        if self._kind == "float16":
            values = values.astype(np.float16).astype(np.float32)
        elif self._kind == "bfloat16":
            values = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        return pack_float(values, KINDS[self._kind]), values.astype(np.float64)

    def _eight(self, wide: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        q, scales = quantize_int8(wide, GROUP)
        exact = (q.astype(np.float64) * scales).reshape(wide.shape)
        return pack_eight(q.reshape(wide.shape), scales[:, :, 0]), exact

    def _four(self, wide: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        q, scales, zeros = quantize_uint4(wide, GROUP_FOUR)
        halves = scales.astype(np.float16), (-zeros.astype(np.float32) * scales).astype(np.float16)
        exact = q * halves[0].astype(np.float64) + halves[1]
        packed = pack_four(q.reshape(wide.shape), halves[0][:, :, 0], halves[1][:, :, 0])
        return packed, exact.reshape(wide.shape)

    def _super(self, wide: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        assert wide.shape[1] % SUPER == 0, "the files have whole blocks"
        more = KINDS[self._kind] - SUPER_FOUR
        group = 16 if more == 2 else 32
        parts = wide.reshape(-1, SUPER // group, group).astype(np.float64)
        least = np.minimum(parts.min(2), 0)
        sizes = np.abs(parts).max(2) / 31 if more == 2 else (parts.max(2) - least) / (2 ** (4 + more) - 1)
        d, scales = _whole(sizes, 127 if more == 2 else 63)
        dmin, minima = _whole(-least, 63)
        step = (d.astype(np.float64)[:, None] * scales)[:, :, None]
        offset = -32 * step if more == 2 else -(dmin.astype(np.float64)[:, None] * minima)[:, :, None]
        with np.errstate(all="ignore"):
            q = np.where(step > 0, np.clip(np.round((parts - offset) / step), 0, 2 ** (4 + more) - 1), 0)
        values = q.astype(np.uint8).reshape(-1, SUPER)
        if more == 2:
            blocks = SuperBlocks(values, scales.astype(np.int8), None, d, None)
        else:
            blocks = SuperBlocks(values, scales.astype(np.uint8), minima.astype(np.uint8), d, dmin)
        return pack_super(blocks, wide.shape[1], more), (q * step + offset).reshape(wide.shape)


def _whole(sizes: NDArray[np.float64], most: int) -> tuple[NDArray[np.float16], NDArray[np.float64]]:
    """[blocks, groups] as one float16 each block, and whole numbers up to `most`."""
    d = (sizes.max(1) / most).astype(np.float16)
    with np.errstate(all="ignore"):
        whole = np.where(d[:, None] > 0, np.round(sizes / d.astype(np.float64)[:, None]), 0)
    return d, np.clip(whole, 0, most)


def make(build: Build, weights: Any, *, threads: int = 2, blocks: int = 64, shared: bool = False) -> Program:
    ops = NativeOps(weights)
    return Program(ops.output(build(ops)), weights, threads, blocks, shared=shared)


def given(
    positions: Sequence[int] | NDArray[Any],
    *,
    ids: Sequence[int] | NDArray[Any] | None = None,
    lengths: Sequence[int] | None = None,
    past: Sequence[int] | None = None,
    blocks: Sequence[Sequence[int]] | None = None,
    rows: Sequence[int] = (0,),
    types: Sequence[int] | NDArray[Any] | None = None,
) -> StepBatch:
    """One sequence of all tokens and the first blocks, unless told otherwise."""
    lengths = [len(positions)] if lengths is None else lengths
    past = [0] * len(lengths) if past is None else past
    if blocks is None:
        ends = np.cumsum([-(-(old + new) // BLOCK) for old, new in zip(past, lengths, strict=True)])
        blocks = [list(range(begin, end)) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]

    def whole(values: Any) -> NDArray[np.int32]:
        return np.array(values, np.int32)

    return StepBatch(
        ids=whole(np.zeros(len(positions)) if ids is None else ids),
        positions=whole(positions),
        begins=whole(np.cumsum([0, *lengths])),
        past=whole(past),
        blocks=whole([number for each in blocks for number in each]),
        block_begins=whole(np.cumsum([0, *map(len, blocks)])),
        rows=whole(rows),
        types=None if types is None else whole(types),
    )


def compute(build: Build, weights: Any, inputs: StepBatch, *, threads: int = 2) -> NDArray[np.float32]:
    program = make(build, weights, threads=threads, blocks=len(inputs.blocks))
    try:
        found = program.run(inputs)
    finally:
        program.close()
    assert found is not None
    return found


def on_rows(build: Callable[[NativeOps, Value], Value], x: NDArray[np.float32], **tensors: Any) -> NDArray[np.float32]:
    """What `build` makes of the rows of x; further tensors by name."""
    weights = MemoryWeights({"x": x, **tensors})
    return compute(lambda ops: build(ops, ops.positions("x")), weights, given(range(len(x))))


def eight_bits(x: NDArray[np.float32], group: int = GROUP) -> NDArray[np.float64]:
    """What the 8-bit values of rows stand for, as the kernels round them: a scale for each group."""
    width = x.shape[-1]
    wide = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -width % group)]).astype(np.float32)
    parts = wide.reshape(*x.shape[:-1], -1, group)
    largest = np.abs(parts).max(-1, keepdims=True)
    by = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest > 1e-36)
    exact = np.rint(parts * by).astype(np.float64) * (largest / np.float32(127))
    return exact.reshape(wide.shape)[..., :width]


def ten_bits(x: NDArray[np.float32], group: int) -> NDArray[np.float64]:
    """What the 10-bit values of keys stand for: a scale and a least value for each group."""
    width = x.shape[-1]
    wide = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -width % group)], "edge").astype(np.float32)
    for start in range(0, width, group):  # a last group that is not whole has no more values than it shows
        short = x[..., start : start + group]
        wide[..., start + short.shape[-1] : start + group] = short[..., :1]
    parts = wide.reshape(*x.shape[:-1], -1, group)
    least, spread = parts.min(-1, keepdims=True), np.ptp(parts, axis=-1, keepdims=True)
    by = np.divide(np.float32(1023), spread, out=np.zeros_like(spread), where=spread > 1e-36)
    exact = np.rint((parts - least) * by).astype(np.float64) * (spread / np.float32(1023)) + least
    return exact.reshape(wide.shape)[..., :width]
