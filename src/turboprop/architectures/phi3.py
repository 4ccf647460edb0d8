"""Phi-3 and Phi-4-mini (arXiv 2404.14219, 2503.01743): q, k and v in one matrix, gate and up in one.

Long forms of these models (`longrope`) have divisors of the frequencies for inputs up to the length they were first
trained on, and others beyond it. They run up to that length here: keys that were kept would have to be turned again
when an answer passes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from turboprop.architectures import decoder
from turboprop.architectures.decoder import Hyperparameters, forward, head_names, logits, weight_names
from turboprop.architectures.rope import longrope_magnitude
from turboprop.architectures.values import MOST_LAYERS, count, real

__all__ = ["forward", "head_names", "hyperparameters", "logits", "weight_names"]


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        shape = decoder.of_metadata(source, "phi3")
        key = "phi3.attention.sliding_window"
        windows = (count(source, key),) * shape.layers if source.get(key) is not None else shape.windows
        trained = count(source, "phi3.rope.scaling.original_context_length", 1)
        default = longrope_magnitude(count(source, "phi3.context_length"), trained) if trained > 1 else 1.0
        magnitude = real(source, "phi3.rope.scaling.attn_factor", default)
        return replace(shape, fused=True, windows=windows, rope=replace(shape.rope, magnitude=magnitude))
    layers = count(source, "num_hidden_layers", most=MOST_LAYERS)
    window = None if source.get("sliding_window") is None else count(source, "sliding_window")
    return replace(decoder.of_config(source, base=10000.0, windows=(window,) * layers), fused=True)
