"""The OpenVINO engine: any checkpoint whose architecture has a file here, on the CPU.

A checkpoint is turned into a graph once, kept in the cache with its weights in the engine's format, and
mapped from there at every later start: 0.3 s for all-MiniLM-L6-v2 besides 0.3 s of importing OpenVINO.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from turboprop.engines.compiled_cache import compile_graph
from turboprop.engines.contract import EngineOptions
from turboprop.engines.conversion import ConversionProgress, check_memory, converted_bytes
from turboprop.engines.graph_cache import cached_graph
from turboprop.engines.openvino_ops import OpenVinoOps
from turboprop.engines.quantize import GROUP, GROUP_INT4
from turboprop.engines.resident import give_back_heap, pages_given_up
from turboprop.engines.shape import as_format_error, read_shape
from turboprop.errors import EngineError, ModelUnsupportedError
from turboprop.machine import usable_cores
from turboprop.models.checkpoint import Checkpoint
from turboprop.types import TokenBatch

_Format = Literal["float32", "int8", "int4"]

PAD_TO = 16


def padded(length: int) -> int:
    return -(-length // PAD_TO) * PAD_TO


GRAPH_VERSION = 3
"""Raised whenever the same checkpoint gives another graph: an architecture, an operation, a rounding."""


class OpenVinoEncoder:
    """A compiled graph. One inference at a time; it uses `threads` threads inside."""

    def __init__(
        self, compiled: Any, weights: _Format, vocabulary: int, positions: int, mapped: Path | None = None
    ) -> None:
        self._request = compiled.create_infer_request()
        self._compiled = compiled
        self._weights = weights
        self._vocabulary = vocabulary
        self._positions = positions
        self._unread: Path | None = mapped
        self._pairs = len(compiled.inputs) == 4
        self._dimensions = int(compiled.output(0).partial_shape[1].get_length())

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def weights(self) -> str:
        return self._weights

    def encode(self, batch: TokenBatch) -> NDArray[np.float32]:
        if self._request is None:
            raise EngineError("this model is closed; load it again")
        if len(batch.ids) and not 0 <= batch.ids.min() <= batch.ids.max() < self._vocabulary:
            raise EngineError(
                f"the tokenizer gave the id {batch.ids.max()} and the model has {self._vocabulary} tokens: "
                "it is the tokenizer of another model"
            )
        lengths = np.ascontiguousarray(batch.lengths, np.int32)
        empty = lengths == 0
        if empty.any():  # a decoder's tokenizer gives an empty text no token: nothing to pool
            vectors = np.zeros((len(lengths), self._dimensions), np.float32)
            if not empty.all():
                second = None if batch.second is None else batch.second[~empty]
                vectors[~empty] = self.encode(TokenBatch(batch.ids, lengths[~empty], batch.skip, second))
            return vectors
        longest = int(lengths.max())
        width = max(longest, min(padded(longest), self._positions))
        ids = np.zeros((len(lengths), width), np.int32)
        ids[np.arange(ids.shape[1])[None] < lengths[:, None]] = batch.ids
        inputs = [ids, lengths, np.array(batch.skip, np.int32)]
        if self._pairs:
            inputs.append(lengths if batch.second is None else np.ascontiguousarray(batch.second, np.int32))
        try:
            with pages_given_up(self._unread):  # the first inference reads all the weights
                output = self._request.infer(inputs, share_outputs=True)
            self._unread = None
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO failed on {len(lengths)} inputs of up to {ids.shape[1]} tokens, perhaps as this processor "
                f"lacks what {self.weights} needs; try --weights float32. It says: {error}"
            ) from error
        return np.array(output[0], np.float32)  # a copy: the request's memory is used again

    def close(self) -> None:
        self._request = self._compiled = None


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> OpenVinoEncoder:
    """Convert (or take from the cache) and compile.

    Raises `ModelUnsupportedError` for an unknown architecture, `ModelFormatError` for a checkpoint whose
    tensors are missing, misshapen or not finite.
    """
    core = ov.Core()
    weights = choose_weights(core, options)
    _, _, names = read_shape(checkpoint)
    place: Path | None = None

    def build() -> ov.Model:
        formats: tuple[str, ...] = ("float32", "int8", "int4")
        sizes = {kind: converted_bytes(checkpoint.tensors, names, kind) for kind in formats}
        check_memory(checkpoint.name, weights, sizes, options.memory)
        with ConversionProgress(checkpoint.name, weights, sizes["float32"], options.progress) as progress:
            return _build(checkpoint, weights, progress.advance)

    if options.cache_home is not None:
        parts = {
            "graph": GRAPH_VERSION,
            "openvino": ov.__version__,
            "weights": checkpoint.weights_hash(options.cache_home),
            "format": weights,
            "family": checkpoint.family,
            "origin": checkpoint.origin,
            "config": checkpoint.config if checkpoint.origin == "hf" else None,
            "pooling": checkpoint.pooling,
            "stretched": checkpoint.config.get("rotary_scaling_factor"),
            **({"pairs": True} if checkpoint.pairs else {}),
        }

        def write(path: Path) -> None:
            ov.save_model(build(), str(path), compress_to_fp16=False)
            give_back_heap()

        try:
            place = cached_graph(options.cache_home, parts, write)
        except OSError:
            # A full or read-only cache folder costs the conversion at each start, nothing else.
            place = None
    model = build() if place is None else None
    folder = place.parent if place else None
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": options.threads or usable_cores(),
        "INFERENCE_PRECISION_HINT": "f32",
        # Pinned threads of two processes would sit on the same cores.
        "ENABLE_CPU_PINNING": False,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": {"float32": 0, "int8": GROUP, "int4": GROUP_INT4}[weights],
    }
    try:
        with pages_given_up(folder):
            compiled = compile_graph(core, place, config) if place else core.compile_model(model, "CPU", config)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot compile {checkpoint.name}: {error}") from error
    tokens = checkpoint.tensors[names["tokens"]].shape[0]
    return OpenVinoEncoder(compiled, weights, tokens, checkpoint.max_tokens, folder)


def plan(checkpoint: Checkpoint, options: EngineOptions) -> tuple[str, int]:
    """The weight format that `load_encoder` would take, and the bytes of the converted weights."""
    _, _, names = read_shape(checkpoint)
    weights = choose_weights(ov.Core(), options)
    return weights, converted_bytes(checkpoint.tensors, names, weights)


def choose_weights(core: ov.Core, options: EngineOptions) -> _Format:
    """int8 where the CPU has int8 dot products: 1.7 to 2.1 times float32 with a cosine above 0.995
    (docs/decisions/0001-weight-formats.md); elsewhere float32."""
    match options.weights:
        case "float32" | "int8" | "int4":
            return options.weights
        case "auto":
            return "int8" if "INT8" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "float32"
        case other:
            raise ModelUnsupportedError(
                f"the OpenVINO engine has no weight format {other!r}: auto, float32, int8 or int4"
            )


def _build(checkpoint: Checkpoint, weights: _Format, advance: Callable[[int], None]) -> ov.Model:
    module, hp, names = read_shape(checkpoint)
    ops = OpenVinoOps(checkpoint.tensors, names, weights, advance, pairs=checkpoint.pairs)
    with as_format_error(checkpoint):
        hidden = module.forward(ops, hp)
        pooled = ops.pool(hidden, checkpoint.pooling)
    return ov.Model([pooled.output(0)], ops.inputs, "encoder")
