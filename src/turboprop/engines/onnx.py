"""ONNX exports in ONNX Runtime, on the CPU, all of its graph optimisations on.

Exports take `input_ids` and `attention_mask`, some `token_type_ids` and `position_ids`, all int64 [n, length], and give
the states of every token, float [n, length, width], or vectors that are pooled already [n, width]. Tokens come from our
tokenizer and the pooling is ours, so that one model gives one vector in every engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.contract import EngineOptions, Plan
from turboprop.engines.pooling import begins_of, pool
from turboprop.errors import EngineError, ModelFormatError, ModelUnsupportedError, OutOfMemoryError
from turboprop.machine import usable_cores

if TYPE_CHECKING:
    from turboprop.engines.generation_contract import Generator
    from turboprop.models.checkpoint.view import Checkpoint
    from turboprop.models.kind import Kind
    from turboprop.types import TokenBatch

_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_STATES = ("last_hidden_state", "token_embeddings")
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")


class OnnxEncoder:
    """A session of ONNX Runtime. One inference at a time; it uses `threads` threads inside."""

    def __init__(self, checkpoint: Checkpoint, session: Any) -> None:
        self._checkpoint = checkpoint
        self._inputs = [port.name for port in session.get_inputs()]
        _check_inputs(checkpoint, self._inputs)
        outputs = {port.name: len(port.shape) if port.shape else None for port in session.get_outputs()}
        self._output = _choose_output(checkpoint, outputs)
        self._session = session
        self._dimensions = 0
        self._dimensions = int(self._pooled(np.zeros(1, np.int32), np.ones(1, np.int32), 0).shape[1])

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def encode(self, batch: TokenBatch) -> NDArray[np.float32]:
        if self._session is None:
            raise EngineError("this model is closed; load it again")
        vocabulary = self._checkpoint.config.get("vocab_size")  # the runtime reads an id beyond it as zeros, or fails
        if isinstance(vocabulary, int) and len(batch.ids) and not 0 <= batch.ids.min() <= batch.ids.max() < vocabulary:
            raise EngineError(
                f"the tokenizer gave the id {batch.ids.max()} and the model has {vocabulary} tokens: "
                "it is the tokenizer of another model"
            )
        vectors = np.zeros((len(batch.lengths), self._dimensions), np.float32)
        some = batch.lengths > 0  # an export's own pooling divides by the length
        if some.any():
            vectors[some] = self._pooled(batch.ids, batch.lengths[some], batch.skip)
        return vectors

    def close(self) -> None:
        self._session = None

    def _pooled(self, ids: NDArray[np.int32], lengths: NDArray[np.int32], skip: int) -> NDArray[np.float32]:
        mask = np.arange(int(lengths.max()))[None] < lengths[:, None]
        padded = np.zeros(mask.shape, np.int64)
        padded[mask] = ids
        values = {
            "input_ids": padded,
            "attention_mask": mask.astype(np.int64),
            "token_type_ids": np.zeros(mask.shape, np.int64),
            "position_ids": np.broadcast_to(np.arange(mask.shape[1], dtype=np.int64), mask.shape).copy(),
        }
        output = np.asarray(self._run({name: values[name] for name in self._inputs}), np.float32)
        name = self._checkpoint.name
        if output.ndim == 2 and len(output) == len(lengths):
            if skip:
                raise ModelUnsupportedError(f"{name} pools by itself and cannot leave the prompt out")
            return output
        if output.ndim != 3 or output.shape[:2] != mask.shape:
            raise EngineError(f"{name} gave an output of shape {output.shape} for ids of shape {mask.shape}")
        return pool(output[mask], begins_of(lengths), skip, self._checkpoint.pooling)

    def _run(self, values: Mapping[str, NDArray[np.int64]]) -> NDArray[Any]:
        try:
            return np.asarray(self._session.run([self._output], dict(values))[0])
        except Exception as error:  # the runtime's exceptions have no common class
            said = str(error)[:300]
            if any(words in str(error) for words in _NO_MEMORY):
                tokens = values["input_ids"].size
                raise OutOfMemoryError(
                    f"{self._checkpoint.name} ran out of memory with a batch of {tokens} tokens: embed shorter texts, "
                    f"or close other programs ({said})"
                ) from error
            raise EngineError(f"ONNX Runtime failed on {self._checkpoint.name}: {said}") from error


def _check_inputs(checkpoint: Checkpoint, names: Sequence[str]) -> None:
    """Refuse an export of another kind of model. Raises `ModelUnsupportedError`."""
    unknown = [name for name in names if name not in _INPUTS]
    if unknown or "input_ids" not in names:
        raise ModelUnsupportedError(
            f"{checkpoint.name} takes the inputs {', '.join(names)}; an export for text embeddings takes input_ids "
            f"and, of the others, {', '.join(_INPUTS[1:])}"
        )


def _choose_output(checkpoint: Checkpoint, outputs: Mapping[str, int | None]) -> str:
    """The output to read, of `outputs` by name with their ranks (None where the export does not state it).

    States of every token are preferred to an export's own pooling, because the files state the pooling.
    """
    for name in _STATES:
        if name in outputs:
            return name
    for rank in (3, 2, None):
        for name, found in outputs.items():
            if found == rank:
                return name
    raise ModelUnsupportedError(f"{checkpoint.name} gives neither token states nor vectors: {', '.join(outputs)}")


def devices() -> list[str]:
    """The processor; the runtime's other devices are not used."""
    return ["cpu"]


def why_not(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> str | None:
    """That it has a vector for each token; what else an export holds shows when it is opened."""
    if checkpoint.late is not None:
        return "pools what it runs, and this model keeps the vectors of its tokens; take its safetensors"
    return None


def plan(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> Plan:
    """The weights run as they are stored."""
    return Plan("as stored", sum(path.stat().st_size for path in checkpoint.weight_files), padded_to=1)


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> OnnxEncoder:
    """Open a session. Raises `ModelFormatError` for a file that the runtime cannot read, `ModelUnsupportedError` for an
    export of another kind of model."""
    onnxruntime = import_module("onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = options.threads or usable_cores()
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    path = checkpoint.weight_files[0].resolve()  # a hub cache holds links, and external data lies beside the file
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions have no common class
        raise ModelFormatError(f"{path} cannot be loaded by ONNX Runtime: {str(error)[:300]}; get it again") from error
    return OnnxEncoder(checkpoint, session)


def load_generator(checkpoint: Checkpoint, options: EngineOptions) -> Generator:
    """Its row has no such purpose."""
    raise ModelUnsupportedError(f"{checkpoint.name}: the engine onnx does not write")
