"""What an ONNX export of an encoder takes and gives, the same for each runtime that runs it.

Exports take `input_ids` and `attention_mask`, some `token_type_ids` and `position_ids`, all int64 [n, length],
and give the states of every token, float [n, length, width], or vectors that are pooled already [n, width].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.contract import padded
from turboprop.errors import EngineError, ModelUnsupportedError
from turboprop.models.checkpoint import Checkpoint, PoolingMode
from turboprop.types import TokenBatch

_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_STATES = ("last_hidden_state", "token_embeddings")

Run = Callable[[Mapping[str, NDArray[np.int64]]], NDArray[Any]]


def check_inputs(checkpoint: Checkpoint, names: Sequence[str]) -> None:
    """Refuse an export of another kind of model. Raises `ModelUnsupportedError`."""
    unknown = [name for name in names if name not in _INPUTS]
    if unknown or "input_ids" not in names:
        raise ModelUnsupportedError(
            f"{checkpoint.name} takes the inputs {', '.join(names)}; an export for text embeddings takes input_ids "
            f"and, of the others, {', '.join(_INPUTS[1:])}"
        )


def choose_output(checkpoint: Checkpoint, outputs: Mapping[str, int | None]) -> str:
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


def encode(batch: TokenBatch, checkpoint: Checkpoint, inputs: Sequence[str], run: Run) -> NDArray[np.float32]:
    """Pooled vectors, float32 [n, width]; `run` maps the padded inputs to the chosen output."""
    vocabulary = checkpoint.config.get("vocab_size")  # runtimes read an id beyond it as zeros, or fail
    if isinstance(vocabulary, int) and len(batch.ids) and not 0 <= batch.ids.min() <= batch.ids.max() < vocabulary:
        raise EngineError(
            f"the tokenizer gave the id {batch.ids.max()} and the model has {vocabulary} tokens: "
            "it is the tokenizer of another model"
        )
    lengths = np.asarray(batch.lengths, np.int64)
    width = max(1, int(lengths.max(initial=1)))
    width = max(width, min(padded(width), checkpoint.max_tokens))
    mask = np.arange(width)[None] < lengths[:, None]
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = batch.ids
    values = {
        "input_ids": ids,
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": np.zeros(mask.shape, np.int64),
        "position_ids": np.broadcast_to(np.arange(width, dtype=np.int64), mask.shape).copy(),
    }
    output = np.asarray(run({name: values[name] for name in inputs}), np.float32)
    if output.ndim == 2 and len(output) == len(lengths):
        if batch.skip:
            raise ModelUnsupportedError(f"{checkpoint.name} pools by itself and cannot leave the prompt out")
        return np.array(output)
    if output.ndim != 3 or output.shape[:2] != mask.shape:
        raise EngineError(f"{checkpoint.name} gave an output of shape {output.shape} for ids of shape {mask.shape}")
    with np.errstate(over="ignore", invalid="ignore"):  # whoever takes the vectors looks whether they are finite
        return pool(output, lengths, checkpoint.pooling, batch.skip)


def pool(
    states: NDArray[np.float32], lengths: NDArray[np.int64], modes: Sequence[PoolingMode], skip: int
) -> NDArray[np.float32]:
    """float32 [n, length, width] to [n, width * len(modes)], as sentence-transformers pools.

    The first `skip` tokens and the padding take no part; an empty input gives zeros.
    """
    places = np.arange(states.shape[1])[None]
    counted = (places < lengths[:, None]) & (places >= skip)
    weights = counted.astype(np.float32)
    count = np.maximum(weights.sum(1, keepdims=True), 1)
    rows = np.arange(len(states))
    parts = []
    for mode in modes:
        match mode:
            case "cls":  # with a prompt left out, the first token that counts
                part = states[:, min(skip, states.shape[1] - 1)]
            case "last":
                part = states[rows, np.maximum(lengths - 1, 0)]
            case "max":
                part = np.where(counted[..., None], states, -np.inf).max(1)
            case "mean":
                part = np.einsum("nl,nld->nd", weights, states) / count
            case "mean_sqrt":
                part = np.einsum("nl,nld->nd", weights, states) / np.sqrt(count)
            case "weighted_mean":
                rising = weights * (places + 1)
                part = np.einsum("nl,nld->nd", rising, states) / np.maximum(rising.sum(1, keepdims=True), 1)
        parts.append(np.where(counted.any(1, keepdims=True), part, np.float32(0)))
    return np.concatenate(parts, axis=1).astype(np.float32)
