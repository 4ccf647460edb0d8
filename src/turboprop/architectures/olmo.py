"""OLMo 2 (arXiv 2501.00656) and OLMoE (arXiv 2409.02060): q and k are normalised over all heads together.

OLMo 2 normalises behind attention and MLP. OLMoE normalises before them, and its experts' shares do not add up to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from turboprop.architectures import decoder
from turboprop.architectures.decoder import Hyperparameters, forward, head_names, logits, weight_names
from turboprop.architectures.experts import experts_of_config
from turboprop.architectures.values import MOST_LAYERS, count

__all__ = ["forward", "head_names", "hyperparameters", "logits", "weight_names"]


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Hyperparameters:
    """Read the shape. KeyError names a missing key; ValueError one that is not supported."""
    if origin == "gguf":
        family = "olmoe" if source.get("general.architecture") == "olmoe" else "olmo2"
        shape = replace(decoder.of_metadata(source, family), wide_norms=True, norms_after=family == "olmo2")
        if family == "olmo2" and source.get("olmo2.attention.sliding_window"):
            raise ValueError("olmo2.attention.sliding_window is stated: OLMo 3")
        if shape.experts is None:
            return shape
        return replace(shape, experts=replace(shape.experts, normalized=False))
    if source.get("clip_qkv") is not None:
        raise ValueError(f"clip_qkv is {str(source['clip_qkv'])[:80]}")
    layers = count(source, "num_hidden_layers", most=MOST_LAYERS)
    shape = replace(decoder.of_config(source, base=10000.0, windows=(None,) * layers), wide_norms=True)
    if source.get("model_type") == "olmo2":
        return replace(shape, norms_after=True)
    normalized = bool(source.get("norm_topk_prob", False))
    experts = experts_of_config(source, shape.activation, count_key="num_experts", normalized=normalized)
    return replace(shape, experts=experts)
