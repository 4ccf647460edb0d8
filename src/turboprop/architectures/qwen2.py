"""Qwen2: language models, and embedders such as nomic-embed-code and gte-Qwen2.

The decoder block with biases on q, k and v (arXiv 2407.10671). GGUF pairs the rotated features in halves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from turboprop.architectures import decoder
from turboprop.architectures.decoder import Hyperparameters, forward, head_names, logits, weight_names
from turboprop.architectures.values import MOST_LAYERS, count, layer_kinds

__all__ = ["forward", "head_names", "hyperparameters", "logits", "weight_names", "windows"]


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        return replace(decoder.of_metadata(source, "qwen2"), qkv_bias=True)
    return replace(decoder.of_config(source, base=10000.0, windows=windows(source)), qkv_bias=True)


def windows(source: Mapping[str, Any]) -> tuple[int | None, ...]:
    """Windows of Qwen's config.json: off unless `use_sliding_window`, then from `max_window_layers` on."""
    layers = count(source, "num_hidden_layers", most=MOST_LAYERS)
    if not source.get("use_sliding_window") or source.get("sliding_window") is None:
        return (None,) * layers
    window = count(source, "sliding_window")
    kinds = layer_kinds(source, layers)
    if kinds is None:
        full = count(source, "max_window_layers", 28)
        return tuple(window if layer >= full else None for layer in range(layers))
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)
