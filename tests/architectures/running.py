"""Running a checkpoint on token ids, pooled and not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engines.loading import load_encoder
from turboprop.architectures import architecture
from turboprop.engines.contract import EngineOptions
from turboprop.models.checkpoint import Checkpoint
from turboprop.types import TokenBatch


def pack(inputs: Sequence[Sequence[int]], skip: int = 0) -> TokenBatch:
    """Token ids as an engine takes them."""
    ids = np.concatenate([np.asarray(ids, np.int32) for ids in inputs])
    return TokenBatch(ids, np.array([len(ids) for ids in inputs], np.int32), skip)


def run(checkpoint: Checkpoint, inputs: Sequence[Sequence[int]], weights: str = "float32", skip: int = 0) -> np.ndarray:
    """Pooled vectors of several inputs in one batch."""
    encoder = load_encoder(checkpoint, "auto", EngineOptions(weights=weights, threads=2))  # type: ignore[arg-type]
    try:
        return encoder.encode(pack(inputs, skip))
    finally:
        encoder.close()


def hidden_states(checkpoint: Checkpoint, inputs: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """float32 states of every token after the final norm, [tokens, width] an input; one padded batch."""
    import openvino as ov

    from turboprop.engines.openvino_ops import OpenVinoOps

    module = architecture(checkpoint.family)
    hp = module.hyperparameters(checkpoint.config, checkpoint.origin)
    names = module.weight_names(hp, checkpoint.origin, checkpoint.tensors)
    ops = OpenVinoOps(checkpoint.tensors, names, "float32")
    model = ov.Model([module.forward(ops, hp).output(0)], ops.inputs[:2], "states")
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    lengths = np.array([len(ids) for ids in inputs], np.int32)
    ids = np.zeros((len(inputs), lengths.max()), np.int32)
    for row, values in zip(ids, inputs, strict=True):
        row[: len(values)] = values
    output = compiled([ids, lengths])[0]
    return [output[index, :length].copy() for index, length in enumerate(lengths)]
