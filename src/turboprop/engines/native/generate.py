"""Language models on the native kernels: one copy of the weights reads prompts and writes answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turboprop.architectures.ops import Architecture
from turboprop.engines.contract import EngineOptions, Plan
from turboprop.engines.conversion import converted_bytes
from turboprop.engines.native.kept import kept_weights
from turboprop.engines.native.library import refusal
from turboprop.engines.native.ops import NativeOps
from turboprop.engines.native.program import Program, cache_bytes
from turboprop.engines.native.steps import Traced
from turboprop.engines.native.weights import STORED, Format, Weights, stored_kinds
from turboprop.engines.paged_generator import PagedGenerator, cache_size
from turboprop.engines.shape import as_format_error, read_language_model
from turboprop.engines.step import StepBatch, StepInterruptedError
from turboprop.errors import EngineError, ModelFormatError, ModelUnsupportedError
from turboprop.machine import usable_cores
from turboprop.models.checkpoint.view import Checkpoint

_SIX_BITS = frozenset({"Q6_K"})
"""No reason by themselves to run weights as stored: reading a prompt takes 1.5 times as long as in int8."""


class _Forward:
    """See `generation_loop.Forward`."""

    def __init__(self, name: str, program: Program) -> None:
        self._name = name
        self._program: Program | None = program

    def __call__(self, batch: StepBatch) -> NDArray[np.float32]:
        if self._program is None:
            raise EngineError("this model is closed; load it again")
        logits = self._program.run(batch)
        if logits is None:
            raise StepInterruptedError
        return logits

    def interrupt(self) -> None:
        if self._program is not None:
            self._program.interrupt()

    def close(self) -> None:
        if self._program is not None:
            self._program.close()
            self._program = None


def choose_weights(checkpoint: Checkpoint, options: EngineOptions) -> Format:
    """As asked for; by default weights as the file has them where it has some of four or five bits, else int8."""
    if options.weights == "auto":
        return "stored" if stored_kinds(checkpoint) - _SIX_BITS else "int8"
    return options.weights


def plan(checkpoint: Checkpoint, options: EngineOptions) -> tuple[str, int]:
    """The weight format that `load_generator` would take, and the bytes of the converted weights."""
    _, _, names = _read(checkpoint)
    weights = choose_weights(checkpoint, options)
    return weights, converted_bytes(checkpoint.tensors, names, weights, STORED)


def _read(checkpoint: Checkpoint) -> tuple[Architecture, Any, Mapping[str, str]]:
    if reason := refusal():
        raise ModelUnsupportedError(f"{checkpoint.name} does not run natively: {reason}; leave --engine away")
    return read_language_model(checkpoint)


def load_generator(checkpoint: Checkpoint, options: EngineOptions) -> PagedGenerator:
    """Convert (or take from the cache) and map.

    Raises `ModelUnsupportedError` for an architecture that does not generate here, `ModelFormatError` for a
    damaged checkpoint, `EngineError` where the memory does not suffice.
    """
    module, hp, names = _read(checkpoint)
    weights = choose_weights(checkpoint, options)
    head = "head.weight" if "head.weight" in names else "tokens"
    bias = "head.bias" if "head.bias" in names else None

    def trace(source: Weights) -> Traced:
        ops = NativeOps(source)
        with as_format_error(checkpoint):
            return ops.output(module.logits(ops, hp, ops.pick(module.forward(ops, hp)), head, bias))

    mapped = kept_weights(checkpoint, names, weights, trace, options.cache_home, options.memory, options.progress)
    traced = trace(mapped)
    if traced.output > traced.limits["ids"]:
        raise ModelFormatError(
            f"{checkpoint.name}: its head gives {traced.output} ids and the embedding matrix has "
            f"{traced.limits['ids']}; download it again"
        )
    weight_bytes = converted_bytes(checkpoint.tensors, names, weights, STORED)
    block_bytes = sum(cache_bytes(traced, layer) for layer in range(traced.layers))
    context, blocks = cache_size(checkpoint, block_bytes, weight_bytes, options)
    program = Program(traced, mapped, options.threads or usable_cores(), blocks, shared=False)
    forward = _Forward(checkpoint.name, program)
    return PagedGenerator(checkpoint, forward, Plan(weights, weight_bytes), traced.output, context, blocks)
