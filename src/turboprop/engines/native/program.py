"""A traced model, ready to run: its steps as the kernels take them, and the memory that a run needs."""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.native.library import (
    BLOCK,
    GROUP_FOUR,
    HALF,
    Place,
    Run,
    Step,
    counter_bytes,
    library,
)
from turboprop.engines.native.passes import lay_out
from turboprop.engines.native.steps import Traced, TracedStep, Value
from turboprop.engines.native.weights import Weights
from turboprop.engines.rotation import Rotation
from turboprop.engines.step import StepBatch
from turboprop.errors import EngineError


def aligned(count: int, kind: Any) -> NDArray[Any]:
    """Zeros that begin at a page. Their pages are taken when they are first used, and are small ones: numpy asks for
    pages of 2 MB, of which a cache that few tokens are in would take one for each head and layer."""
    kind = np.dtype(kind)
    return np.frombuffer(mmap.mmap(-1, max(1, count * kind.itemsize)), kind, count)


def cache_bytes(traced: Traced, layer: int) -> int:
    """Bytes of one block of the cache of a layer."""
    return traced.kv_heads[layer] * int(library().cache_chunk_bytes(traced.padded[layer], traced.exact))


class Program:
    """One run at a time. `blocks` is the extent of the cache; with `shared` all layers use one, which is enough
    where nothing of a run is kept."""

    def __init__(self, traced: Traced, weights: Weights, threads: int, blocks: int, *, shared: bool) -> None:
        self._traced = traced
        self._weights = weights  # holds the mapping that the steps point into
        self._places, self._width = lay_out(traced)
        self._steps = (Step * len(traced.steps))(*(self._laid(step) for step in traced.steps))
        self._rotations = [Rotation(rope) for rope in traced.rotations]
        self._threads = threads
        self._team = library().team_new(threads)
        self._end = weakref.finalize(self, library().team_free, self._team)
        self._end.atexit = False  # at the end of the process a thread may still be in a run
        sizes = [cache_bytes(traced, layer) for layer in range(traced.layers)]
        self._shared = shared
        if shared:
            self._block_bytes = max(sizes, default=0)
            self._caches = [aligned(self._block_bytes * blocks, np.uint8)] * traced.layers
        else:
            self._caches = [aligned(size * blocks, np.uint8) for size in sizes]
        self._blocks = blocks
        self._capacity = 0
        self._longest = 0
        self._stop = ctypes.c_int(0)
        self._counters = aligned(counter_bytes() * len(self._steps), np.uint8)
        self._turn = threading.Lock()  # of those who run, and of who closes
        self._lock = threading.Lock()
        self._busy = False

    def close(self) -> None:
        """Wait for what runs and give the memory back. A second call does nothing."""
        with self._turn:
            self._end()
            self._caches = []

    def interrupt(self) -> None:
        """End the run of another thread between two steps."""
        with self._lock:
            if self._busy:
                self._stop.value = 1

    def run(self, inputs: StepBatch) -> NDArray[np.float32] | None:
        """float32 [rows or tokens, output width]; None where it was interrupted.

        Raises `EngineError` for ids, positions and types that the model has no rows for, and once it is closed.
        """
        self._check(inputs)
        with self._turn:
            if not self._end.alive:
                raise EngineError("this model is closed; load it again")
            return self._run(inputs)

    def _check(self, inputs: StepBatch) -> None:
        for what, limit in self._traced.limits.items():
            values = getattr(inputs, what)
            if values is not None and not 0 <= values.min() <= values.max() < limit:
                raise EngineError(
                    f"the model has {what} of tokens from 0 to {limit - 1}, and the input has {values.min()} to "
                    f"{values.max()}: its files do not belong together; download it again"
                )

    def _run(self, inputs: StepBatch) -> NDArray[np.float32] | None:
        tokens, picked = len(inputs.ids), len(inputs.rows)
        self._make_room(max(tokens, picked), int((inputs.past + np.diff(inputs.begins)).max()))
        if self._shared and len(inputs.blocks) > self._blocks:
            self._blocks = len(inputs.blocks)
            self._caches = [aligned(self._block_bytes * self._blocks, np.uint8)] * len(self._caches)
        last = self._traced.steps[-1]
        output = np.empty((picked if last.picked else tokens, self._traced.output), np.float32)
        rotations = [rotation.rows(inputs) for rotation in self._rotations]
        run = Run(
            steps=self._steps,
            count=len(self._steps),
            arena=self._arena.ctypes.data,
            output=output.ctypes.data,
            capacity=self._capacity,
            values=self._values.ctypes.data,
            scales=self._scales.ctypes.data,
            offsets=self._offsets.ctypes.data,
            sums=self._sums.ctypes.data,
            caches=_pointers(self._caches),
            cache_blocks=self._blocks,
            rotations=_pointers(rotations),
            scratch=self._scratch.ctypes.data,
            scratch_bytes=self._scratch_bytes,
            types=None if inputs.types is None else inputs.types.ctypes.data,
            seen=None if inputs.seen is None else inputs.seen.ctypes.data,
            tokens=tokens,
            sequences=len(inputs.past),
            picked=picked,
            counters=self._counters.ctypes.data,
            stop=ctypes.addressof(self._stop),
            team=self._team,
            **{
                name: getattr(inputs, name).ctypes.data
                for name in ("ids", "positions", "begins", "past", "blocks", "block_begins", "rows")
            },
        )
        with self._lock:
            self._stop.value = 0
            self._busy = True
        try:
            stopped = library().run_program(ctypes.byref(run))
        finally:
            with self._lock:
                self._busy = False
        return None if stopped else output

    def _make_room(self, tokens: int, longest: int) -> None:
        if tokens > self._capacity:
            self._capacity = tokens = -(-tokens // 16) * 16
            inputs = self._traced.inputs
            self._arena = aligned(self._width * tokens, np.float32)
            self._values = aligned(inputs * tokens, np.int8)
            self._scales = aligned(inputs // GROUP_FOUR * tokens, np.float32)
            self._offsets = aligned(inputs // HALF * tokens, np.int32)
            self._sums = aligned(inputs // GROUP_FOUR * tokens, np.float32)
        longest = -(-longest // BLOCK) * BLOCK
        if longest > self._longest:
            self._longest = longest
            each = int(library().attention_scratch_bytes(max(self._traced.padded, default=0), longest))
            self._scratch_bytes = -(-each // 4096) * 4096  # no two threads write to one page
            self._scratch = aligned(self._scratch_bytes * self._threads, np.uint8)

    def _laid(self, step: TracedStep) -> Step:
        def pointer(values: NDArray[np.float32] | None) -> int | None:
            return None if values is None else values.ctypes.data

        return Step(
            kind=step.kind,
            picked=step.picked,
            rows=step.rows,
            x=self._place(step.x),
            y=self._place(step.y),
            to=self._place(step.to),
            width=step.width,
            a=step.a,
            b=step.b,
            c=step.c,
            d=step.d,
            f=step.f,
            weight=pointer(step.weight),
            bias=pointer(step.bias),
            detail=None if step.detail is None else ctypes.addressof(step.detail),
        )

    def _place(self, value: Value | None) -> Place:
        if value is None:
            return Place(0, 0, 0)
        buffer = value.buffer.root
        return Place(-1 if buffer.output else self._places[buffer], buffer.width, value.column)


def _pointers(arrays: list[NDArray[Any]]) -> Any:
    return (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))
