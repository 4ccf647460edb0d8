"""The OpenVINO engine for language models: paged attention over the graph of openvino_generate_ops.py.

On two AVX-512-VNNI cores a Qwen3-0.6B shape in int8 reads a prompt of 1,024 tokens 3.3 times as fast as
llama.cpp's wheel does in Q4_K_M (benchmarks/generation.py). The graph is driven directly: seeds, probabilities,
windows and the prefix cache are then each generation's own and exact.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from turboprop.engines.contract import EngineOptions, Plan
from turboprop.engines.conversion import ConversionProgress, check_memory, converted_bytes
from turboprop.engines.graph_cache import cached_graph
from turboprop.engines.openvino import PAD_TO, choose_weights, padded
from turboprop.engines.openvino_generate_ops import GenerateOps, with_paged_attention
from turboprop.engines.paged_generator import PagedGenerator, cache_size
from turboprop.engines.quantize import GROUP, GROUP_INT4
from turboprop.engines.resident import give_back_heap, pages_given_up
from turboprop.engines.shape import as_format_error, read_language_model
from turboprop.engines.step import StepBatch, StepInterruptedError
from turboprop.engines.stored import is_four_bit
from turboprop.errors import EngineError, ModelUnsupportedError
from turboprop.machine import usable_cores
from turboprop.models.checkpoint import Checkpoint

GRAPH_VERSION = 2
"""Raised whenever the same checkpoint gives another graph."""
_SHORT_STEP = 32
"""Tokens of a step that is never ended early: it is over sooner than what ending it takes."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """The extents of a batch."""

    tokens: int
    sequences: int
    blocks: int
    rows: int

    @classmethod
    def of(cls, batch: StepBatch) -> _Shape:
        return cls(len(batch.ids), len(batch.past), len(batch.blocks), len(batch.rows))


class _Forward:
    """The compiled graph with its cache. Memory of the cache is taken page by page as blocks are first used."""

    def __init__(self, name: str, compiled: Any, blocks: int, mapped: Path | None) -> None:
        self._name = name
        self._scrap = blocks - 1
        self._unread = mapped
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()
        self._busy = False
        self._shape = _Shape(0, 0, 0, 0)
        self._caches: list[NDArray[Any]] = []  # OpenVINO's tensors do not hold them
        for port in compiled.inputs:
            if "_cache." in port.any_name:
                shape = [blocks, *(port.partial_shape[axis].get_length() for axis in (1, 2, 3))]
                cache = np.zeros(shape, port.element_type.to_dtype())
                self._caches.append(cache)
                self._request.set_tensor(port.any_name, ov.Tensor(cache, shared_memory=True))

    def __call__(self, batch: StepBatch) -> NDArray[np.float32]:
        if self._request is None:
            raise EngineError("this model is closed; load it again")
        batch = _padded(batch, self._scrap)
        shape = _Shape.of(batch)
        try:
            with pages_given_up(self._unread):  # the first inference reads all the weights
                self._infer(batch, can_end_early=shape.tokens > _SHORT_STEP)
            self._unread = None
        except RuntimeError as error:
            if "cancel" not in str(error):
                raise self._failed(batch, error) from error
            self._recover(shape)
            raise StepInterruptedError from error
        self._shape = shape
        return cast("NDArray[np.float32]", self._request.get_output_tensor(0).data)

    def interrupt(self) -> None:
        with self._lock:
            if self._busy:
                self._request.cancel()

    def _infer(self, batch: StepBatch, *, can_end_early: bool) -> None:
        inputs = {
            "ids": batch.ids,
            "positions": batch.positions,
            "rows": batch.rows,
            "past_lens": batch.past,
            "subsequence_begins": batch.begins,
            "block_indices": batch.blocks,
            "block_indices_begins": batch.block_begins,
            "max_context_len": np.array((batch.past + np.diff(batch.begins)).max(), np.int32),
        }
        if not can_end_early:
            self._request.infer(inputs, share_inputs=True)
            return
        with self._lock:
            self._request.start_async(inputs, share_inputs=True)
            self._busy = True
        try:
            self._request.wait()
        finally:
            with self._lock:
                self._busy = False

    def _recover(self, ended: _Shape) -> None:
        """Run a small step whose every extent differs from the last step's and from the one that was ended.

        An operation works out its output's shape where an input's shape is not the one of its last run. One that
        was ended between the two keeps the new shape for the old inputs: of 300 ended steps 29 made a later one
        fail with shapes that do not fit, or would compute with them. None of 700 did after such a step.
        """
        batch = _other_batch((self._shape, ended), self._scrap)
        try:
            self._infer(batch, can_end_early=False)
        except RuntimeError as error:
            raise self._failed(batch, error) from error
        self._shape = _Shape.of(batch)

    def _failed(self, batch: StepBatch, error: RuntimeError) -> EngineError:
        return EngineError(f"OpenVINO failed on a step of {len(batch.ids)} tokens with {self._name}: {error}")

    def close(self) -> None:
        self._request = None
        self._caches = []


def _padded(batch: StepBatch, scrap: int) -> StepBatch:
    """The batch with a sequence nobody reads that fills the tokens of a prompt's step up to a multiple of 16.

    OpenVINO keeps kernels and buffers for each number of tokens that it has met (see `contract.PAD_TO`). Answers
    with guessed ids have few tokens, and each more costs time.
    """
    count = len(batch.ids)
    more = padded(count) - count if count > max(len(batch.past), PAD_TO) else 0
    if not more:
        return batch
    return StepBatch(
        np.append(batch.ids, np.zeros(more, np.int32)),
        np.append(batch.positions, np.arange(more, dtype=np.int32)),
        np.append(batch.begins, np.int32(count + more)),
        np.append(batch.past, np.int32(0)),
        np.append(batch.blocks, np.int32(scrap)),
        np.append(batch.block_begins, np.int32(len(batch.blocks) + 1)),
        batch.rows,
    )


def _other_batch(used: tuple[_Shape, ...], scrap: int) -> StepBatch:
    """A few tokens nobody reads, no extent of which is one of `used`."""
    taken = {extent for shape in used for extent in (shape.sequences, shape.blocks)}
    count = next(number for number in range(2, 7) if number not in taken)
    rows = next(number for number in range(1, 4) if number not in {shape.rows for shape in used})
    tokens = next(number for number in range(count, count + 3) if number not in {shape.tokens for shape in used})
    first = tokens - count + 1
    return StepBatch(
        np.zeros(tokens, np.int32),
        np.append(np.arange(first, dtype=np.int32), np.zeros(count - 1, np.int32)),
        np.append(np.int32(0), np.arange(first, tokens + 1, dtype=np.int32)),
        np.zeros(count, np.int32),
        np.full(count, scrap, np.int32),
        np.arange(count + 1, dtype=np.int32),
        np.zeros(rows, np.int32),
    )


def load_generator(checkpoint: Checkpoint, options: EngineOptions) -> PagedGenerator:
    """Convert (or take from the cache) and compile.

    Raises `ModelUnsupportedError` for an architecture that does not generate here, `ModelFormatError` for a
    damaged checkpoint, `EngineError` where the memory does not suffice.
    """
    core = ov.Core()
    module, hp, names = read_language_model(checkpoint)
    weights = _choose_weights(core, checkpoint, names, options)
    place = None

    def build() -> ov.Model:
        sizes: dict[str, int] = {}
        for kind in ("float32", "int8", "int4", weights):
            sizes[kind] = converted_bytes(checkpoint.tensors, names, kind)
        check_memory(checkpoint.name, weights, sizes, options.memory)
        with ConversionProgress(checkpoint.name, weights, sizes["float32"], options.progress) as progress:
            ops = GenerateOps(checkpoint.tensors, names, weights, progress.advance)
            with as_format_error(checkpoint):
                return ops.model(module.forward(ops, hp))

    if options.cache_home is not None:
        parts = {
            "form": "generate",
            "graph": GRAPH_VERSION,
            "openvino": ov.__version__,
            "weights": checkpoint.weights_hash(options.cache_home),
            "format": weights,
            "family": checkpoint.family,
            "origin": checkpoint.origin,
            "config": checkpoint.config if checkpoint.origin == "hf" else None,
        }

        def write(path: Path) -> None:
            ov.save_model(build(), str(path), compress_to_fp16=False)
            give_back_heap()

        try:
            place = cached_graph(options.cache_home, parts, write)
        except OSError:
            # A full or read-only cache folder costs the conversion at each start, nothing else.
            place = None
    folder = place.parent if place else None
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": options.threads or usable_cores(),
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": {"float32": 0, "int8": GROUP}.get(weights, GROUP_INT4),
        "KV_CACHE_PRECISION": "f32" if weights == "float32" else "u8",
    }
    try:
        with pages_given_up(folder):
            model = core.read_model(str(place)) if place else build()
            compiled = core.compile_model(with_paged_attention(model), "CPU", config)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot compile {checkpoint.name}: {error}") from error
    weight_bytes = converted_bytes(checkpoint.tensors, names, weights)
    context, blocks = cache_size(checkpoint, _block_bytes(compiled), weight_bytes, options)
    # One block more takes what padding writes.
    forward = _Forward(checkpoint.name, compiled, blocks + 1, folder)
    vocabulary = int(compiled.output(0).partial_shape[1].get_length())
    return PagedGenerator(checkpoint, forward, Plan(weights, weight_bytes), vocabulary, context, blocks)


def _block_bytes(compiled: Any) -> int:
    total = 0
    for port in compiled.inputs:
        if "_cache." in port.any_name:
            values = np.prod([port.partial_shape[axis].get_length() for axis in (1, 2, 3)])
            total += int(values) * port.element_type.size
    return total


def plan(checkpoint: Checkpoint, options: EngineOptions) -> tuple[str, int]:
    """The weight format that `load_generator` would take, and the bytes of the converted weights."""
    _, _, names = read_language_model(checkpoint)
    weights = _choose_weights(ov.Core(), checkpoint, names, options)
    return weights, converted_bytes(checkpoint.tensors, names, weights)


def _choose_weights(
    core: ov.Core, checkpoint: Checkpoint, names: Mapping[str, str], options: EngineOptions
) -> Literal["float32", "int8", "int4", "stored"]:
    """As asked for. `stored` leaves weights of four bits as the file has them and makes others int8: writing is 1.1
    times as fast as in int8 and reading 0.8 times (docs/decisions/0005-generation.md), so it is no default."""
    if options.weights != "stored":
        return choose_weights(core, EngineOptions(options.weights))
    if not any(is_four_bit(checkpoint.tensors[name]) for name in names.values()):
        raise ModelUnsupportedError(
            f"{checkpoint.name} has no weights of four bits that run as they are stored (Q4_K, Q4_0, Q4_1); take int8"
        )
    return "stored"
