"""The native engine: our own kernels for int8 and 4-bit weights, see library.py for the processors.

A checkpoint's weights are converted once into the layout of the kernels and mapped from there; no graph is compiled,
so a model loads in milliseconds. See docs/decisions/0007-native-kernels.md for what it gains.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.contract import EngineOptions
from turboprop.engines.conversion import converted_bytes
from turboprop.engines.native.kept import kept_weights
from turboprop.engines.native.library import BLOCK, Matrix, refusal
from turboprop.engines.native.ops import NativeOps
from turboprop.engines.native.program import Program
from turboprop.engines.native.steps import Kind, Traced
from turboprop.engines.native.weights import STORED, Format, Weights
from turboprop.engines.pooling import begins_of, pool, takes_one, token_taken
from turboprop.engines.shape import as_format_error, read_shape
from turboprop.engines.step import StepBatch
from turboprop.errors import EngineError, ModelUnsupportedError
from turboprop.machine import usable_cores
from turboprop.models.checkpoint.view import Checkpoint, PoolingMode
from turboprop.types import TokenBatch

RUN_TOKENS = 1024
"""Tokens of one run, unless one input has more: their values (40 MB for a Qwen3-0.6B shape) stay near the cores."""
LONG_RUN = 20_000_000_000
"""Tokens times weights that take about 50 ms on two cores: a longer run listens for Ctrl-C, for 0.1 ms."""


class NativeEncoder:
    """A model with its memory. One inference at a time; it uses `threads` threads inside."""

    def __init__(
        self,
        program: Program,
        traced: Traced,
        weights: str,
        vocabulary: int,
        pooling: tuple[PoolingMode, ...],
        *,
        pairs: bool = False,
    ) -> None:
        """`traced` ends with the rows of `token_taken` where `pooling` takes one token of an input, else with all."""
        self._program: Program | None = program
        self._weights = weights
        self._vocabulary = vocabulary
        self._pooling = pooling
        self._pairs = pairs
        self._width = traced.output
        matrices = [
            step.detail for step in traced.steps if isinstance(step.detail, Matrix) and step.kind == Kind.PRODUCT
        ]
        self._multiplied: int = sum(matrix.inputs * matrix.outputs for matrix in matrices)

    @property
    def dimensions(self) -> int:
        return self._width * len(self._pooling)

    @property
    def weights(self) -> str:
        return self._weights

    def encode(self, batch: TokenBatch) -> NDArray[np.float32]:
        if self._program is None:
            raise EngineError("this model is closed; load it again")
        if len(batch.ids) and not 0 <= batch.ids.min() <= batch.ids.max() < self._vocabulary:
            raise EngineError(
                f"the tokenizer gave the id {batch.ids.max()} and the model has {self._vocabulary} tokens: "
                "it is the tokenizer of another model"
            )
        of_tokens = self._pooling == ("tokens",)
        vectors = np.zeros((len(batch.ids if of_tokens else batch.lengths), self.dimensions), np.float32)
        ends = np.cumsum(batch.lengths)
        first = 0
        while first < len(batch.lengths):
            begin = int(ends[first] - batch.lengths[first])
            last = max(first + 1, int(np.searchsorted(ends, begin + RUN_TOKENS, "right")))
            second = None if batch.second is None else batch.second[first:last]
            seen = None if batch.seen is None else batch.seen[first:last]
            end = int(ends[last - 1])
            part = TokenBatch(batch.ids[begin:end], batch.lengths[first:last], batch.skip, second, seen=seen)
            if len(part.ids):  # a decoder's tokenizer gives an empty text no token: nothing to pool
                rows = slice(begin, end) if of_tokens else slice(first, last)
                vectors[rows] = self._encode(self._program, part)
            first = last
        return vectors

    def _encode(self, program: Program, batch: TokenBatch) -> NDArray[np.float32]:
        lengths = batch.lengths.astype(np.int32)
        begins = begins_of(lengths)
        positions = np.arange(len(batch.ids), dtype=np.int32) - np.repeat(begins[:-1], lengths).astype(np.int32)
        counts = -(-lengths // BLOCK)
        taken = token_taken(begins, batch.skip, self._pooling[0]) if takes_one(self._pooling) else None
        types = None
        if self._pairs and batch.second is not None:
            types = (positions >= np.repeat(batch.second, lengths)).astype(np.int32)
        inputs = StepBatch(
            np.ascontiguousarray(batch.ids, np.int32),
            positions,
            begins,
            np.zeros(len(lengths), np.int32),
            np.arange(counts.sum(), dtype=np.int32),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            np.zeros(1, np.int32) if taken is None else taken[0],
            types,
            None if batch.seen is None else np.ascontiguousarray(batch.seen, np.int32),
        )
        long = len(batch.ids) > RUN_TOKENS or len(batch.ids) * self._multiplied > LONG_RUN
        hidden = _run_listening(program, inputs) if long else program.run(inputs)
        assert hidden is not None  # who interrupts it waits for no answer
        if taken is not None:
            hidden[taken[1]] = 0
            return hidden
        return pool(hidden, begins, batch.skip, self._pooling)

    def close(self) -> None:
        if self._program is not None:
            self._program.close()
            self._program = None


def _run_listening(program: Program, inputs: StepBatch) -> NDArray[np.float32] | None:
    """A run that Ctrl-C ends: the main thread hears of it only while it is not inside of the kernels, and 1,024
    tokens of a model of 7B are half a minute."""
    if threading.current_thread() is not threading.main_thread():
        return program.run(inputs)
    with ThreadPoolExecutor(1, "encode") as pool:
        running = pool.submit(program.run, inputs)
        try:
            return running.result()
        except KeyboardInterrupt:
            while not running.done():  # it may not have begun
                program.interrupt()
                time.sleep(0.001)
            raise


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> NativeEncoder:
    """Convert (or take from the cache) and map.

    Raises `ModelUnsupportedError` where the kernels cannot run it, `ModelFormatError` for a checkpoint whose tensors
    are missing, misshapen or not finite.
    """
    if reason := refusal():
        raise ModelUnsupportedError(f"{checkpoint.name} does not run natively: {reason}; leave --engine away")
    weights = _choose_weights(options)
    module, hp, names = read_shape(checkpoint)

    def trace(source: Weights) -> Traced:
        ops = NativeOps(source)
        with as_format_error(checkpoint):
            hidden = module.forward(ops, hp)
            return ops.output(ops.pick(hidden) if takes_one(checkpoint.pooling) else hidden)

    mapped = kept_weights(checkpoint, names, weights, trace, options.cache_home, options.memory, options.progress)
    traced = trace(mapped)
    program = Program(traced, mapped, options.threads or usable_cores(), -(-RUN_TOKENS // BLOCK), shared=True)
    vocabulary = checkpoint.tensors[names["tokens"]].shape[0]
    return NativeEncoder(program, traced, weights, vocabulary, checkpoint.pooling, pairs=checkpoint.pairs)


def plan(checkpoint: Checkpoint, options: EngineOptions) -> tuple[str, int]:
    """The weight format that `load_encoder` would take, and the bytes of the converted weights."""
    _, _, names = read_shape(checkpoint)
    weights = _choose_weights(options)
    return weights, converted_bytes(checkpoint.tensors, names, weights, STORED)


def _choose_weights(options: EngineOptions) -> Format:
    """int8 unless another is asked for: weights as stored take 0.6 of its memory, their products 1.4 times as long."""
    return "int8" if options.weights == "auto" else options.weights
